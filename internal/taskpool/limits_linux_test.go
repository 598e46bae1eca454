package taskpool

import (
	"os"
	"path/filepath"
	"testing"
)

// The files of a group, in a directory that is none: what is written there is what the kernel would be told.
func TestCgroup(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	g, err := newCgroup(root, Machine{CPU: 0.25, Memory: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "536870912", "cpu.max": "25000 100000", "pids.max": "512"} {
		if got, err := os.ReadFile(filepath.Join(g.dir, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	if g.oomKilled() {
		t.Error("killed before it began")
	}
	if err := os.WriteFile(filepath.Join(g.dir, "memory.events"), []byte("low 0\noom 1\noom_kill 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !g.oomKilled() {
		t.Error("the kernel's word is not heard")
	}
	if groupRoot(root) != "" {
		t.Error("a directory without controllers is taken for a control group")
	}
}

func TestBegan(t *testing.T) {
	t.Parallel()
	if began(os.Getpid()) == "" || began(1<<30) != "" || resident(os.Getpid()) < 1<<20 || memory() < 1<<28 {
		t.Error("the kernel's tables are not read")
	}
}
