// Package lint is the repository checking itself: who may import whom, what a machine may not do, and what tests may
// not do. Each rule says its reason; an exception is one line with one.
package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/quartetjobs/quartet/"

// floors orders the rooms from the top of the house down. A package may import those of lower floors only: a door must not
// know another, and a machine must know neither doors nor stores nor the network.
var floors = [][]string{
	{"cmd/", "bench", "internal/lint"},
	{"internal/server"},
	{"internal/door/", "internal/dashboard", "internal/retention", "internal/sim"},
	{"internal/trace"},
	{"internal/history", "internal/calls"},
	{"internal/shard"},
	{"internal/store/sqlite", "internal/store/memory", "internal/store/storetest"},
	{"internal/store/journal"},
	{"internal/keyspace/lua"},
	{"internal/engine", "internal/keyspace"},
	{"internal/store"},
	{"internal/keyspace/data"},
	{"internal/keyspace/reply"},
	{"internal/taskpool"},
	{"internal/dispatch", "internal/auth", "internal/otlp", "internal/bullmq", "internal/expr", "internal/cron", "internal/telemetry", "internal/namedlock", "internal/durable"},
}

// machines must be deterministic: no clock, no chance, no goroutine, no network, no files.
var machines = []string{"internal/engine", "internal/keyspace", "internal/keyspace/data", "internal/keyspace/lua", "internal/expr", "internal/cron"}

var machineMayNotImport = []string{"math/rand", "math/rand/v2", "crypto/rand", "net", "net/http", "os", "context", "log/slog"}

type file struct {
	pkg  string // folder below the module's root
	path string
	ast  *ast.File
	fset *token.FileSet
}

func files(t *testing.T) []file {
	t.Helper()
	root := "../.."
	var out []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "gosdk") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_gen.go") { // generators are run, not built
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, file{filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), f, fset})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func floor(pkg string) int {
	return slices.IndexFunc(floors, func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return pkg == n || strings.HasSuffix(n, "/") && strings.HasPrefix(pkg, n) })
	})
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		from := floor(f.pkg)
		if from < 0 {
			t.Errorf("%s: the package %s has no floor; add it to floors", f.path, f.pkg)
			continue
		}
		for _, imp := range f.ast.Imports {
			to, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
			if !ours || to == f.pkg {
				continue
			}
			if n := floor(to); n <= from && !strings.HasSuffix(f.path, "_test.go") {
				t.Errorf("%s imports %s, which is not below it", f.path, to)
			}
		}
	}
}

func TestMachinesAreDeterministic(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if !slices.Contains(machines, f.pkg) || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, imp := range f.ast.Imports {
			if p := strings.Trim(imp.Path.Value, `"`); slices.Contains(machineMayNotImport, p) {
				t.Errorf("%s imports %s: what a machine needs of the outside comes with the command", f.path, p)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a machine starts no goroutine", f.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer"}, n.Sel.Name) {
					t.Errorf("%s: time.%s in a machine; the time comes with the command", f.fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestMapRanges: the order of a map must not show. Whether an expression is a map cannot be seen without types, so known maps of the
// machine are named; a range over one needs a comment on its line that says why the order does not show.
func TestMapRanges(t *testing.T) {
	t.Parallel()
	maps := []string{"runs", "fns", "envs", "flights", "limits", "lanes", "rates", "pending", "singles", "outbox", "slugs", "apps", "triggers", "waits", "cancels", "signals"}
	for _, f := range files(t) {
		if f.pkg != "internal/engine" || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		commented := map[int]bool{}
		for _, g := range f.ast.Comments {
			commented[f.fset.Position(g.Pos()).Line] = true
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			r, ok := n.(*ast.RangeStmt)
			if !ok {
				return true
			}
			sel, ok := r.X.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, _ := sel.X.(*ast.Ident)
			line := f.fset.Position(r.Pos()).Line
			if x != nil && (x.Name == "m" || x.Name == "e") && slices.Contains(maps, sel.Sel.Name) && !commented[line] {
				t.Errorf("%s:%d ranges over the map %s without saying why its order does not show", f.path, line, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestNoSleepInTests(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if !strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s: a test waits for a condition, not for a time", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	doc := map[string]bool{}
	for _, f := range files(t) {
		doc[f.pkg] = doc[f.pkg] || f.ast.Doc != nil && (!strings.HasSuffix(f.path, "_test.go") || f.pkg == "internal/lint")
	}
	for pkg, ok := range doc {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

func TestNoPrinting(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if !strings.HasPrefix(f.pkg, "internal/") || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Print") {
				if x, ok := s.X.(*ast.Ident); ok && (x.Name == "fmt" || x.Name == "log") {
					t.Errorf("%s: %s.%s; logs go through the logger that was passed in", f.fset.Position(n.Pos()), x.Name, s.Sel.Name)
				}
			}
			return true
		})
	}
}
