package taskpool

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archive makes a bundle of files by their names.
func archive(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	tw := tar.NewWriter(zip)
	for _, h := range headers {
		text := "text of " + h.Name
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Size = int64(len(text))
		} else {
			text = ""
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := errors.Join(tw.WriteHeader(h), write(tw, text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(w *tar.Writer, text string) error {
	_, err := w.Write([]byte(text))
	return err
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := archive(t, &tar.Header{Name: "./a/b.mjs"}, &tar.Header{Name: "bin/run", Mode: 0o755}, &tar.Header{Name: "skipped"}, &tar.Header{Name: "d/", Typeflag: tar.TypeDir})
	if err := unpack(bytes.NewReader(b), dir, func(name string) bool { return name != "skipped" }); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a/b.mjs")); err != nil || string(text) != "text of ./a/b.mjs" {
		t.Errorf("a/b.mjs: %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/run")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("bin/run: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "skipped")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("skipped: %v", err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	f := func(want string, b []byte) {
		t.Helper()
		dir := t.TempDir()
		inner := filepath.Join(dir, "inner")
		if err := os.Mkdir(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		err := unpack(bytes.NewReader(b), inner, func(string) bool { return true })
		var bad *BuildError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something with %q", err, want)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
			t.Errorf("it got out: %v", left)
		}
	}
	f("no gzip", []byte("text"))
	f("no tar", archive(t, &tar.Header{Name: "a"})[:60])
	f("outside", archive(t, &tar.Header{Name: "../out"}))
	f("outside", archive(t, &tar.Header{Name: "/etc/out"}))
	f("outside", archive(t, &tar.Header{Name: "a/../../out"}))
	f("neither", archive(t, &tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/"}))
	f("neither", archive(t, &tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "a"}))
	f("cannot be made", archive(t, &tar.Header{Name: "a"}, &tar.Header{Name: "a/b"}))
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, &tar.Header{Name: "a"}, &tar.Header{Name: "b/../../c"}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		inner := filepath.Join(dir, "inner")
		if err := os.Mkdir(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = unpack(bytes.NewReader(b), inner, func(string) bool { return true }) // what counts is where it wrote
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
			t.Errorf("it got out: %v", left)
		}
	})
}

func TestRelocate(t *testing.T) {
	t.Parallel()
	in := `{"a":"/app/x.mjs","b":"/app","c":"/apples/x","d":"file:///app/l.mjs"}`
	there := relocate([]byte(in), "/app", "/data/tasks/d1")
	if want := `{"a":"/data/tasks/d1/x.mjs","b":"/data/tasks/d1","c":"/apples/x","d":"file:///data/tasks/d1/l.mjs"}`; string(there) != want {
		t.Errorf("got %s", there)
	}
	if back := relocate(there, "/data/tasks/d1", "/app"); string(back) != in {
		t.Errorf("and back: %s", back)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	b := &tail{most: 8}
	for _, s := range []string{"abc", "defghij", strings.Repeat("x", 20) + "end"} {
		if n, err := b.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if got := b.String(); got != "…xxxxxend" {
		t.Errorf("got %q", got)
	}
}

func TestNodeOptions(t *testing.T) {
	t.Parallel()
	m := indexed{Loader: "/d/loader.mjs", Conditions: []string{"react-server"}}
	got := m.options(Machine{Memory: 1}, "--max-old-space-size=9000 --inspect")
	if want := "--inspect --max-old-space-size=819 --import=file:///d/loader.mjs --conditions=react-server"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	p := &Pool{cfg: Config{BaseUID: 1000}}
	file := filepath.Join(t.TempDir(), "users.json")
	p.uids.load(file, 1000)
	a, _ := p.user("a")
	b, _ := p.user("b")
	p.uids.load(file, 1000) // after a restart
	again, _ := p.user("a")
	if a != 1001 || b != 1002 || again != a {
		t.Errorf("%d, %d, %d", a, b, again)
	}
	if _, ok := (&Pool{}).user("a"); ok {
		t.Error("a user where there are none")
	}
}
