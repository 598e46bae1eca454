package lua

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// modules is where the end-to-end tests install the packages whose scripts are run here. The scripts themselves are not ours to keep.
const modules = "../../../test/e2e/node_modules"

var template = regexp.MustCompile("(?s)content = `(.*?[^\\\\])`")

// bullScripts reads the scripts of an installed package by their names; none if it is not installed.
func bullScripts(t testing.TB, pkg string) map[string]string {
	files, err := filepath.Glob(filepath.Join(modules, pkg, "dist/cjs/scripts/*.js"))
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m := template.FindSubmatch(src); m != nil {
			name, _, _ := strings.Cut(filepath.Base(file), "-")
			scripts[name] = strings.NewReplacer("\\`", "`", `\\`, `\`, `\n`, "\n", `\${`, `${`).Replace(string(m[1]))
		}
	}
	plain, err := filepath.Glob(filepath.Join(modules, pkg, "lib/commands/*.lua"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range plain {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts[filepath.Base(file)] = string(src)
	}
	return scripts
}

func TestPublishedScriptsCompile(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"bullmq", "bullmq5", "bullmq4", "bull"} {
		scripts := bullScripts(t, pkg)
		e := New(Limits{})
		for name, body := range scripts {
			if err := e.Compile(name, body); err != nil {
				t.Errorf("%s %s: %v", pkg, name, err)
			}
		}
		t.Logf("%s: %d scripts", pkg, len(scripts))
	}
}

// BenchmarkInterpreter runs an add with commands that do nothing, so that what is left is the interpreter's own time.
func BenchmarkInterpreter(b *testing.B) {
	body := bullScripts(b, "bullmq")["addStandardJob"]
	if body == "" {
		b.Skip("the package bullmq is not installed")
	}
	n := 0
	call := func(args []string) reply.Reply {
		switch args[0] {
		case "INCR":
			n++
			return reply.Num(int64(n))
		case "HGET", "HEXISTS":
			return reply.Of("10000")
		case "HMGET":
			return reply.List(reply.Reply{}, reply.Reply{}, reply.Reply{}, reply.Reply{})
		}
		return reply.Num(1)
	}
	p := "bull:q:"
	keys := []string{p + "wait", p + "paused", p + "meta", p + "id", p + "completed", p + "delayed", p + "active", p + "events", p + "marker"}
	packed := "\x9a\xa7bull:q:\xa0\xa1n\xcb\x42\x7a\x20\x8f\x62\xbd\xb0\x00\xc0\xc0\xc0\xc0\xc0\xc0"
	opts := "\xde\x00\x02\xa8attempts\x03\xa7backoff\xde\x00\x02\xa4type\xabexponential\xa5delay\xcd\x03\xe8"
	s := script(body, keys, []string{packed, `{"a":1}`, opts}, call)
	e := New(Limits{})
	if r := e.Run(s); r.Str != strconv.Itoa(n) {
		b.Fatalf("%+v", r)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Run(s)
	}
}
