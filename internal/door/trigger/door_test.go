package trigger

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// bench is a door on a shard of its own, whose clock only the test moves.
type bench struct {
	t    *testing.T
	door *Door
	host *shard.Host
	now  atomic.Int64
	srv  *httptest.Server
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t}
	b.now.Store(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	now := func() time.Time { return time.UnixMilli(b.now.Load()) }
	var n atomic.Uint32
	ids := func(ms int64) (id engine.ID) {
		_ = id.SetTime(uint64(ms)) // it is a time
		v := n.Add(1)
		id[12], id[13], id[14], id[15] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		return id
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b.host = shard.New(shard.Config{
		Store: memory.New(), Log: log, Now: now, Engine: engine.Config{NewID: ids}, Effect: func(engine.Effect) {},
		Changed: func(r []store.Record) { b.door.Changed(r) },
	})
	b.door = New(Config{Host: b.host, Log: log, Now: now, NewID: ids, Env: "dev", Box: auth.NewBox("x"), Dev: true})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 2)
	go func() { stopped <- b.host.Run(ctx) }()
	go func() { stopped <- b.door.Run(ctx) }()
	b.srv = httptest.NewServer(b.door)
	t.Cleanup(func() {
		b.srv.Close()
		cancel()
		for range 2 {
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		}
	})
	<-b.door.Prepared()
	return b
}

// env is the environment of the key that requests have.
func (b *bench) env() *environment { return b.door.named("dev") }

// do makes a request; headers are names and values in turn. It returns the status and the answer.
func (b *bench) do(method, path string, body []byte, headers ...string) (int, []byte) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+DevKey)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.srv.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, out
}

// json makes a request and decodes its answer.
func (b *bench) json(method, path, body string, want int, to any) {
	b.t.Helper()
	status, out := b.do(method, path, []byte(body))
	if status != want {
		b.t.Fatalf("%s %s: status %d, want %d: %s", method, path, status, want, out)
	}
	if to != nil {
		if err := json.Unmarshal(out, to); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, path, err, out)
		}
	}
}

// function is what the engine was told of a task.
func (b *bench) function(task string) (fn engine.Function) {
	b.t.Helper()
	raw, ok, err := b.host.Get(b.t.Context(), store.Functions, engine.FunctionKey("dev", slugPrefix+task))
	if err != nil || !ok {
		b.t.Fatalf("the task is not registered: %v", err)
	}
	if err := json.Unmarshal(raw, &fn); err != nil {
		b.t.Fatal(err)
	}
	return fn
}

// trigger starts a run of a task that nobody has.
func (b *bench) trigger(headers ...string) string {
	b.t.Helper()
	status, out := b.do("POST", "/api/v1/tasks/told/trigger", []byte(`{"options":{"ttl":0}}`), headers...)
	var v struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(out, &v); status != 200 || err != nil || !strings.HasPrefix(v.ID, runPrefix) {
		b.t.Fatalf("trigger: status %d: %s", status, out)
	}
	return v.ID
}
