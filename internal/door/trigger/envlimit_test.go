package trigger

import (
	"testing"

	"github.com/quartetjobs/quartet/internal/engine"
)

// TestEnvironmentLimit: all runs of an environment share its limit, which can be changed and taken back, and the environment can be paused.
func TestEnvironmentLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var w struct {
		ID string `json:"id"`
	}
	b.json("POST", "/api/v1/projects/proj_x/background-workers", `{"localOnly":true,"metadata":{"packageVersion":"4.8.3","contentHash":"a","tasks":[{"id":"told","filePath":"a.ts"},{"id":"free","filePath":"a.ts"}]},"engine":"V2"}`, 200, &w)
	type limit struct {
		Limit, Default, Running, Queued int
		ByHand, Paused                  bool
	}
	change := func(body string, want limit) {
		t.Helper()
		var got limit
		if b.json("POST", inside+"limit", body, 200, &got); got != want {
			t.Errorf("after %s: %+v, want %+v", body, got, want)
		}
		if b.json("GET", inside+"limit", "", 200, &got); got != want {
			t.Errorf("read after %s: %+v, want %+v", body, got, want)
		}
	}
	dequeue := func(want int, when string) {
		t.Helper()
		var got struct {
			Messages []any `json:"dequeuedMessages"`
		}
		if b.json("POST", "/engine/v1/dev/dequeue", `{"currentWorker":"`+w.ID+`","oldWorkers":[]}`, 200, &got); len(got.Messages) != want {
			t.Errorf("%s %d runs begin, want %d", when, len(got.Messages), want)
		}
	}
	for range 3 {
		b.trigger()
		b.json("POST", "/api/v1/tasks/free/trigger", `{"payload":"1"}`, 200, nil)
	}
	change(`{"limit":0}`, limit{Limit: 0, Default: 25, Queued: 6, ByHand: true})
	dequeue(0, "under a limit of 0")
	change(`{"limit":2}`, limit{Limit: 2, Default: 25, Queued: 6, ByHand: true})
	dequeue(2, "under a limit of 2")
	dequeue(0, "under a full limit of 2")
	change(`{"limit":5,"paused":true}`, limit{Limit: 5, Default: 25, Running: 2, Queued: 4, ByHand: true, Paused: true})
	dequeue(0, "while it is paused")

	// As after a restart of a server with another default: what was set by hand stays.
	b.door.cfg.Limit = 7
	if err := b.env().loadLimit(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(`{"paused":false}`, limit{Limit: 5, Default: 7, Running: 2, Queued: 4, ByHand: true})
	dequeue(3, "when it goes on")
	change(`{"reset":true}`, limit{Limit: 7, Default: 7, Running: 5, Queued: 1})
	dequeue(1, "under the server's limit")
	b.door.cfg.Limit = 9
	if err := b.env().loadLimit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := b.env().limit(t.Context()); err != nil || s.Parallelism != 9 {
		t.Errorf("after a restart with another default: %+v, %v", s, err)
	}
	for _, body := range []string{`{}`, `{"limit":-1}`, `{"limit":100001}`, `{"limit":1.5}`, `{"limit":"x"}`} {
		b.json("POST", inside+"limit", body, 400, nil)
	}
}

// TestConcurrencyKeysAreForgotten: a key costs nothing once its runs are done.
func TestConcurrencyKeysAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var run struct {
		ID string `json:"id"`
	}
	b.json("POST", "/api/v1/tasks/told/trigger", `{"payload":"1","options":{"concurrencyKey":"user-1","queue":{"name":"q"}}}`, 200, &run)
	count := func() int {
		t.Helper()
		s, err := do[[]engine.QueueState](t.Context(), b.env(), &engine.ReadQueues{Env: "dev", Prefix: (line{name: "q"}).keyed("")})
		if err != nil {
			t.Fatal(err)
		}
		return len(s)
	}
	if n := count(); n != 1 {
		t.Errorf("%d keys", n)
	}
	b.json("POST", "/api/v2/runs/"+run.ID+"/cancel", "", 200, nil)
	if n := count(); n != 0 {
		t.Errorf("%d keys after the run has ended", n)
	}
}
