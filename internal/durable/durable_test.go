package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestWriteFile: a file is replaced as a whole or not at all, and what a crash left is swept.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	name := filepath.Join(dir, "file")
	if err := WriteFile(name, strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := WriteFile(name, io.MultiReader(strings.NewReader("tw"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("writing gave %v, not the reader's error", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "one" {
		t.Errorf("the file has %q (%v), not what it had", b, err)
	}
	left := filepath.Join(dir, unfinished+"1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, age := range []time.Duration{time.Hour, 0} {
		if err := Sweep(dir, age); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(left); (err == nil) != (age > 0) {
			t.Errorf("sweeping what is older than %v: %v", age, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v is left (%v), not the file alone", entries, err)
	}
	if err := Sweep(filepath.Join(dir, "none"), 0); err != nil {
		t.Errorf("sweeping no directory: %v", err)
	}
}
