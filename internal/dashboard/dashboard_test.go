package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// bench is a dashboard on a host of its own with the environments a and b, whose ids count up.
type bench struct {
	t    *testing.T
	host *shard.Host
	mux  *http.ServeMux
}

func setup(t *testing.T) *bench {
	t.Helper()
	var seq atomic.Uint64
	host := shard.New(shard.Config{
		Store: memory.New(),
		Engine: engine.Config{NewID: func(ms int64) (id engine.ID) {
			n := seq.Add(1)
			_ = id.SetTime(uint64(ms))
			id[8], id[14], id[15] = 1, byte(n>>8), byte(n)
			return id
		}},
		Effect: func(engine.Effect) {},
		Log:    slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = host.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	<-host.Ready()
	b := &bench{t: t, host: host, mux: http.NewServeMux()}
	keys := &auth.Keys{Dev: true, Environments: []auth.Environment{{Name: "a"}, {Name: "b"}}}
	New(Config{Host: host, Keys: keys, Log: slog.New(slog.DiscardHandler), Own: []string{"own"}, AppError: func(string, string) string { return "" }}).Routes(b.mux)
	return b
}

// registerOwn adds apps of the server itself, each with one function.
func (b *bench) registerOwn(env string, names ...string) {
	b.t.Helper()
	for _, name := range names {
		id := engine.UUID{}
		copy(id[:], env+name)
		fns := []engine.Function{{ID: id, Env: env, App: name, Slug: name, Name: name, Door: "own", MaxAttempts: 1}}
		reply, err := shard.Do[engine.RegisterReply](b.t.Context(), b.host, &engine.Register{App: engine.App{ID: id, Env: env, Name: name, Door: "own", Checksum: name}, Functions: fns})
		if err != nil || reply.Err != nil {
			b.t.Fatal(err, reply.Err)
		}
	}
}

// register replaces the functions of an environment's app.
func (b *bench) register(env string, slugs ...string) {
	b.t.Helper()
	var fns []engine.Function
	for _, s := range slugs {
		id := engine.UUID{}
		copy(id[:], env+s)
		fns = append(fns, engine.Function{ID: id, Env: env, App: "app", Slug: s, Name: s, MaxAttempts: 1, Triggers: []engine.Trigger{{Event: "x"}}})
	}
	app := engine.App{Env: env, Name: "app", Checksum: strings.Join(slugs, " ")}
	reply, err := shard.Do[engine.RegisterReply](b.t.Context(), b.host, &engine.Register{App: app, Functions: fns})
	if err != nil || reply.Err != nil {
		b.t.Fatal(err, reply.Err)
	}
}

func (b *bench) start(env, slug string) {
	b.t.Helper()
	cmd := &engine.Start{Env: env, Slug: slug, Events: []engine.Event{{Name: "x", Data: json.RawMessage(`{}`)}}}
	if _, err := shard.Do[engine.StartReply](b.t.Context(), b.host, cmd); err != nil {
		b.t.Fatal(err)
	}
}

// list follows a list from page to page and returns how many rows each page had.
func (b *bench) list(path, rows, cursor string) []int {
	b.t.Helper()
	var sizes []int
	next := ""
	for {
		w := httptest.NewRecorder()
		b.mux.ServeHTTP(w, httptest.NewRequest("GET", prefix+path+"&"+cursor+"="+next, nil))
		var out map[string]json.RawMessage
		var list []json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
			b.t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
		}
		if err := json.Unmarshal(out[rows], &list); err != nil {
			b.t.Fatal(err)
		}
		sizes = append(sizes, len(list))
		if err := json.Unmarshal(out["next"], &next); err != nil {
			b.t.Fatal(err)
		}
		if next == "" {
			return sizes
		}
	}
}

func (b *bench) pages(path, rows, cursor string, want ...int) {
	b.t.Helper()
	if got := b.list(path, rows, cursor); fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("GET %s: pages of %v rows, want %v", path, got, want)
	}
}

func TestPagesAreFilledPastWhatIsNotShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("a", "f")
	b.register("b", "f")
	for range 7 {
		b.start("a", "f")
	}
	for range 300 {
		b.start("b", "f")
	}
	b.pages("/runs?env=a&limit=5", "runs", "before", 5, 2)
	b.pages("/runs?env=a&limit=50", "runs", "before", 7)
	b.pages("/runs?env=b&limit=200", "runs", "before", 200, 100)

	// Functions that are gone stay in the table.
	b.register("a", "f", "f1", "f2", "f3", "f4", "f5")
	b.register("a", "f3", "f5", "g")
	b.pages("/functions?env=a&limit=2", "functions", "after", 2, 1)
	b.pages("/functions?env=a&limit=2&archived=1", "functions", "after", 2, 2, 2, 1)
}

func TestWhatTheServerMadeForItselfIsNotListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.registerOwn("a", "aa", "zz")
	b.pages("/apps?env=a&limit=1", "apps", "after", 0)
	b.pages("/functions?env=a&limit=1", "functions", "after", 0)
	b.register("a", "f", "g")
	b.pages("/apps?env=a&limit=1", "apps", "after", 1, 0) // whether more is behind it is known only after a look
	b.pages("/functions?env=a&limit=2&archived=1", "functions", "after", 2, 0)
}

func TestPayloadsAreLeftOutOnRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register("a", "f")
	cmd := &engine.Start{Env: "a", Slug: "f", Events: []engine.Event{{Name: "x", Data: json.RawMessage(`{"big":1}`)}}}
	reply, err := shard.Do[engine.StartReply](t.Context(), b.host, cmd)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/runs/" + reply.Run.String(), "/events/" + reply.Event.String()} {
		for query, want := range map[string]bool{"": true, "?payload=0": false} {
			w := httptest.NewRecorder()
			b.mux.ServeHTTP(w, httptest.NewRequest("GET", prefix+path+query, nil))
			if got := bytes.Contains(w.Body.Bytes(), []byte(`"big"`)); got != want || w.Code != http.StatusOK {
				t.Errorf("GET %s%s: %d, payload %v, want %v: %s", path, query, w.Code, got, want, w.Body)
			}
		}
	}
}
