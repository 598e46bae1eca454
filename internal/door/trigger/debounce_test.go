package trigger

import (
	"fmt"
	"strings"
	"testing"
)

// TestDebounce: triggers with the same key share a run while it is delayed.
func TestDebounce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type run struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Delayed string `json:"delayedUntil"`
		Payload struct {
			N int `json:"n"`
		} `json:"payload"`
		Tags     []string       `json:"tags"`
		Metadata map[string]int `json:"metadata"`
	}
	trigger := func(task string, n int, debounce string) string {
		t.Helper()
		var v run
		b.json("POST", "/api/v1/tasks/"+task+"/trigger", fmt.Sprintf(`{"payload":{"n":%d},"options":{"ttl":0,"tags":["t%d"],"metadata":{"n":%d},"debounce":%s}}`, n, n, n, debounce), 200, &v)
		return v.ID
	}
	get := func(id string) (v run) {
		t.Helper()
		status, out := b.do("GET", "/api/v3/runs/"+id, nil, "X-Trigger-Api-Version", "2025-07-16")
		if status != 200 {
			t.Fatalf("run %s: %d %s", id, status, out)
		}
		b.json("GET", "/api/v3/runs/"+id, "", 200, &v)
		return v
	}
	at := func(ms int64) string { return iso(b.now.Load() + ms) }

	const leading, trailing = `{"key":"k","delay":"10s"}`, `{"key":"k","delay":"10s","mode":"trailing"}`
	first := trigger("a", 1, leading)
	if r := get(first); r.Status != "DELAYED" || r.Delayed != at(10_000) {
		t.Errorf("after one trigger: %+v", r)
	}
	b.now.Add(4000)
	if again := trigger("a", 2, leading); again != first {
		t.Errorf("a second trigger started %s, want %s", again, first)
	}
	if r := get(first); r.Delayed != at(10_000) || r.Payload.N != 1 || r.Tags[0] != "t1" {
		t.Errorf("after a second trigger: %+v", r)
	}
	b.now.Add(4000)
	trigger("a", 3, trailing)
	if r := get(first); r.Delayed != at(10_000) || r.Payload.N != 3 || r.Tags[0] != "t3" || r.Metadata["n"] != 3 {
		t.Errorf("after a trigger whose data count: %+v", r)
	}
	if trigger("a", 4, `{"key":"k","delay":"2s"}`); get(first).Delayed != at(10_000) {
		t.Errorf("a shorter delay brought it forward: %+v", get(first))
	}
	if other := trigger("b", 1, leading); other == first {
		t.Error("another task shares the key")
	}
	if other := trigger("a", 1, `{"key":"other","delay":"10s"}`); other == first {
		t.Error("another key shares the run")
	}
	// It would have to begin before that: 8 s are gone, and there are 12 at most.
	second := trigger("a", 5, `{"key":"k","delay":"10s","maxDelay":"12s"}`)
	if second == first || get(first).Delayed != at(10_000) {
		t.Errorf("a run was put off for too long: %s %+v", second, get(first))
	}
	if third := trigger("a", 6, leading); third != second {
		t.Errorf("the new run does not have the key: %s, want %s", third, second)
	}
	b.now.Add(10_001)
	if third := trigger("a", 7, leading); third == second {
		t.Error("a run that is due was put off")
	}

	for debounce, says := range map[string]string{
		`{"key":"","delay":"10s"}`: "key", `{"key":"` + strings.Repeat("k", 513) + `","delay":"10s"}`: "key", `{"key":"k","delay":"2027-01-01T00:00:00Z"}`: "delay", `{"key":"k","delay":"0s"}`: "at least 1s",
		`{"key":"k"}`: "delay", `{"key":"k","delay":"10s","mode":"both"}`: "mode", `{"key":"k","delay":"10s","maxDelay":"10s"}`: "longer than the delay", `{"key":"k","delay":"10s","maxDelay":"x"}`: "maxDelay", `7`: "debounce",
	} {
		if status, out := b.do("POST", "/api/v1/tasks/a/trigger", []byte(`{"options":{"debounce":`+debounce+`}}`)); status != 422 || !strings.Contains(string(out), says) {
			t.Errorf("debounce %.60s: %d %s", debounce, status, out)
		}
	}
}
