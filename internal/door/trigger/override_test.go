package trigger

import (
	"fmt"
	"testing"

	"github.com/quartetjobs/quartet/internal/engine"
)

// TestOverride: a limit that is set by hand holds instead of the declared one, over registrations and restarts, until it is reset.
func TestOverride(t *testing.T) {
	t.Parallel()
	b := setup(t)
	register := func(hash string, limit int) (id string) {
		t.Helper()
		var v struct {
			ID string `json:"id"`
		}
		b.json("POST", "/api/v1/projects/proj_x/background-workers", fmt.Sprintf(`{"localOnly":true,"metadata":{"packageVersion":"4.8.3","contentHash":"%s","tasks":[{"id":"told","filePath":"a.ts","queue":{"name":"q"}},{"id":"free","filePath":"a.ts"}],
			"queues":[{"name":"q","concurrencyLimit":%d}]},"engine":"V2"}`, hash, limit), 200, &v)
		return v.ID
	}
	type queue struct {
		Paused      bool `json:"paused"`
		Limit       *int `json:"concurrencyLimit"`
		Concurrency struct {
			Current  *int    `json:"current"`
			Base     *int    `json:"base"`
			Override *int    `json:"override"`
			At       *string `json:"overriddenAt"`
		} `json:"concurrency"`
	}
	text := func(q queue) string {
		f := func(n *int) any {
			if n == nil {
				return "-"
			}
			return *n
		}
		return fmt.Sprint(q.Paused, " ", f(q.Limit), " ", f(q.Concurrency.Current), " ", f(q.Concurrency.Base), " ", f(q.Concurrency.Override), " ", q.Concurrency.At != nil)
	}
	change := func(what, body, want string) {
		t.Helper()
		var q queue
		b.json("POST", "/api/v1/queues/q/"+what, body, 200, &q)
		if got := text(q); got != want {
			t.Errorf("%s %s: %s, want %s", what, body, got, want)
		}
		b.json("GET", "/api/v1/queues/q?type=custom", "", 200, &q)
		if got := text(q); got != want {
			t.Errorf("after %s %s: %s, want %s", what, body, got, want)
		}
	}
	slotsOf := func() (n int, paused bool) {
		t.Helper()
		states, err := do[[]engine.QueueState](t.Context(), b.door, &engine.ReadQueues{Env: "dev", Prefix: "trigger:"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			switch s.Name {
			case (line{name: "q"}).keyed(""):
				n = s.Parallelism
			case (line{name: "q"}).whole():
				paused = s.Paused
			}
		}
		return n, paused
	}
	expect := func(when string, n int, paused bool) {
		t.Helper()
		if gotN, gotPaused := slotsOf(); gotN != n || gotPaused != paused {
			t.Errorf("%s the engine has %d slots, paused %v; want %d, %v", when, gotN, gotPaused, n, paused)
		}
	}
	worker := register("one", 2)
	b.trigger()
	b.trigger()
	expect("at first", 2, false)
	change("concurrency/override", `{"type":"custom","concurrencyLimit":5}`, "false 5 5 2 5 true")
	expect("after an override", 5, false)
	register("two", 3)
	b.trigger()
	expect("after a registration and a run", 5, false)
	change("pause", `{"type":"custom","action":"pause"}`, "true 5 5 3 5 true")
	change("concurrency/override", `{"type":"custom","concurrencyLimit":0}`, "true 0 0 3 0 true")
	change("pause", `{"type":"custom","action":"resume"}`, "false 0 0 3 0 true")
	expect("with a limit of 0", -1, false)
	var none struct {
		Messages []any `json:"dequeuedMessages"`
	}
	if b.json("POST", "/engine/v1/dev/dequeue", `{"currentWorker":"`+worker+`","oldWorkers":[]}`, 200, &none); len(none.Messages) != 0 {
		t.Errorf("%d runs begin although the limit is 0", len(none.Messages))
	}

	// As after a restart in the middle of it: the row is there, and the engine does not know.
	if _, err := b.host.Submit(t.Context(), &engine.SetQueue{Env: "dev", Name: (line{name: "q"}).keyed(""), Parallelism: new(7)}); err != nil {
		t.Fatal(err)
	}
	b.env().overrides.set("q", nil)
	if err := b.env().loadOverrides(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after a restart", -1, false)
	change("concurrency/reset", `{"type":"custom"}`, "false 3 3 3 - false")
	expect("after a reset", 3, false)

	b.json("POST", "/api/v1/queues/q/concurrency/reset", `{"type":"custom"}`, 400, nil)
	for _, limit := range []string{"-1", "100001", "1.5", "null", `"x"`} {
		b.json("POST", "/api/v1/queues/q/concurrency/override", `{"type":"custom","concurrencyLimit":`+limit+`}`, 400, nil)
	}
	b.json("POST", "/api/v1/queues/none/concurrency/override", `{"type":"custom","concurrencyLimit":1}`, 404, nil)
	b.json("POST", "/api/v1/queues/q/else", `{"type":"custom"}`, 404, nil)
}
