package bullmq

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// server starts a Redis for one test.
func server(t *testing.T) Redis {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--port", fmt.Sprint(port), "--save", "", "--bind", "127.0.0.1", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c, err := Dial(fmt.Sprintf("redis://127.0.0.1:%d/0", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := c.Do(t.Context(), "PING"); err == nil {
			return c
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// testQueue is a queue with a clock that stands still.
func testQueue(r Redis, name string) *Queue {
	q := NewQueue(r, DefaultPrefix, name)
	q.now = func() time.Time { return time.UnixMilli(1_800_000_000_000) }
	return q
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// events are the entries of a queue's stream as lists of texts.
func events(t *testing.T, q *Queue) [][]string {
	t.Helper()
	var out [][]string
	for _, e := range list(must(q.redis.Do(t.Context(), "XRANGE", q.key("events"), "-", "+"))) {
		out = append(out, texts(list(e)[1]))
	}
	return out
}

func TestAddOrdersJobs(t *testing.T) {
	t.Parallel()
	ctx, q := t.Context(), testQueue(server(t), "q")
	add := func(name string, o Options) string { return must(q.Add(ctx, name, json.RawMessage(`{"n":1}`), o)) }
	first := add("first", Options{Attempts: 3, Backoff: time.Second, Grow: true})
	add("second", Options{})
	add("front", Options{Front: true})
	add("low", Options{Priority: 9})
	add("high", Options{Priority: 1, ID: "high"})
	for i := range 3 {
		add(fmt.Sprint("later", i), Options{Delay: time.Minute})
	}
	names := func(s State) (out []string) {
		for _, j := range must(q.List(ctx, s, 0, 100)) {
			out = append(out, j.Name)
		}
		return out
	}
	for state, want := range map[State][]string{
		Waiting: {"front", "first", "second"}, Prioritized: {"high", "low"}, Delayed: {"later0", "later1", "later2"},
	} {
		if got := names(state); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", state, got, want)
		}
	}
	j := must(q.Get(ctx, first))
	if j.ID != "1" || j.MaxTries != 3 || string(j.Data) != `{"n":1}` || string(j.Options) != `{"attempts":3,"backoff":{"delay":1000,"type":"exponential"}}` || j.Timestamp.UnixMilli() != 1_800_000_000_000 {
		t.Errorf("the first job is %+v", j)
	}
	if got := events(t, q)[:2]; !slices.Equal(got[0], []string{"event", "added", "jobId", "1", "name", "first"}) || !slices.Equal(got[1], []string{"event", "waiting", "jobId", "1"}) {
		t.Errorf("events of the first job: %v", got)
	}
	c := must(q.Counts(ctx))
	if c.Jobs[Waiting] != 3 || c.Jobs[Prioritized] != 2 || c.Jobs[Delayed] != 3 || c.Paused {
		t.Errorf("counts: %+v", c)
	}
	if id := add("again", Options{ID: "high"}); id != "high" {
		t.Errorf("a job with a used id was added as %s", id)
	}
	for _, o := range []Options{{ID: "7"}, {ID: "a:b"}, {ID: "0:1"}, {Priority: -1}, {Delay: -1}, {Priority: maxPriority + 1}} {
		if id, err := q.Add(ctx, "bad", nil, o); err == nil {
			t.Errorf("%+v was added as %s", o, id)
		}
	}
	if _, err := q.Add(ctx, "bad", json.RawMessage("{"), Options{}); err == nil {
		t.Error("data that is no JSON was taken")
	}
	a := must(q.Add(ctx, "dedup", nil, Options{Dedup: "d"}))
	if b := must(q.Add(ctx, "dedup", nil, Options{Dedup: "d"})); a != b {
		t.Errorf("deduplicated jobs are %s and %s", a, b)
	}
}

// end ends a job as a worker would, so far as this package can tell.
func end(t *testing.T, q *Queue, id string, state State) {
	t.Helper()
	ctx := t.Context()
	for _, args := range [][]any{
		{"LREM", q.key("wait"), 0, id},
		{"ZREM", q.key("delayed"), id},
		{"ZREM", q.key("prioritized"), id},
		{"ZADD", q.key(string(state)), 1_800_000_000_000, id},
		{"HSET", q.key(id), "finishedOn", 1_800_000_000_000, "processedOn", 1_799_999_999_000, "failedReason", "boom", "stacktrace", `["Error: boom"]`, "atm", 1},
	} {
		must(q.redis.Do(ctx, args...))
	}
}

func TestRetryPromoteRemoveClean(t *testing.T) {
	t.Parallel()
	ctx, q := t.Context(), testQueue(server(t), "q")
	add := func(o Options) string { return must(q.Add(ctx, "n", nil, o)) }
	failed, done, later, waiting := add(Options{}), add(Options{Priority: 3}), add(Options{Delay: time.Hour}), add(Options{})
	end(t, q, failed, Failed)
	end(t, q, done, Completed)
	if j := must(q.Get(ctx, failed)); j.Error != "boom" || len(j.Stack) != 1 || j.Attempts != 1 || must(q.State(ctx, failed)) != Failed {
		t.Errorf("a failed job: %+v", j)
	}
	if err := q.Retry(ctx, failed, Completed, false); !errors.Is(err, ErrState) {
		t.Errorf("retry of a failed job as a completed one: %v", err)
	}
	if err := errors.Join(q.Retry(ctx, failed, Failed, true), q.Retry(ctx, done, Completed, false), q.Promote(ctx, later)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]State{failed: Waiting, done: Prioritized, later: Waiting, waiting: Waiting, "99": Unknown} {
		if got := must(q.State(ctx, id)); got != want {
			t.Errorf("job %s is %s, want %s", id, got, want)
		}
	}
	if j := must(q.Get(ctx, failed)); j.Error != "" || j.Attempts != 0 || !j.Finished.IsZero() {
		t.Errorf("a retried job: %+v", j)
	}
	for _, err := range []error{q.Promote(ctx, waiting), q.Promote(ctx, "99"), q.SetDelay(ctx, waiting, time.Second)} {
		if !errors.Is(err, ErrState) && !errors.Is(err, ErrNotFound) {
			t.Errorf("an operation on a job in another state: %v", err)
		}
	}
	if err := errors.Join(q.SetPriority(ctx, waiting, 5, false), q.SetData(ctx, waiting, json.RawMessage(`[1]`))); err != nil {
		t.Fatal(err)
	}
	if j := must(q.Get(ctx, waiting)); must(q.State(ctx, waiting)) != Prioritized || j.Priority != 5 || string(j.Data) != "[1]" {
		t.Errorf("a changed job: %+v", j)
	}
	must(q.redis.Do(ctx, "SET", q.key(failed+":lock"), "token"))
	if err := q.Remove(ctx, failed, true); !errors.Is(err, ErrLocked) {
		t.Errorf("removal of a locked job: %v", err)
	}
	must(q.redis.Do(ctx, "DEL", q.key(failed+":lock")))
	if err := q.Remove(ctx, failed, true); err != nil {
		t.Error(err)
	}
	if err := q.Remove(ctx, failed, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("second removal: %v", err)
	}
	for range 5 {
		end(t, q, add(Options{}), Failed)
	}
	if ids := must(q.Clean(ctx, Failed, 0, 3)); len(ids) != 3 {
		t.Errorf("cleaned %v", ids)
	}
	if n := must(q.RetryAll(ctx, Failed, 100)); n != 2 {
		t.Errorf("retried %d", n)
	}
	if ids := must(q.Clean(ctx, Waiting, time.Hour, 10)); len(ids) != 0 {
		t.Errorf("cleaned young jobs: %v", ids)
	}
	before := must(q.Counts(ctx)).Jobs[Waiting]
	if ids := must(q.Clean(ctx, Waiting, 0, 2)); len(ids) != 2 || must(q.Counts(ctx)).Jobs[Waiting] != before-2 {
		t.Errorf("cleaned %v of %d", ids, before)
	}
	add(Options{Delay: time.Hour})
	if n := must(q.Drain(ctx, false)); n != before-2+2 {
		t.Errorf("drained %d, want %d and two with a priority", n, before-2)
	}
	if c := must(q.Counts(ctx)); c.Jobs[Waiting] != 0 || c.Jobs[Prioritized] != 0 || c.Jobs[Delayed] != 1 {
		t.Errorf("after draining: %v", c.Jobs)
	}
}

func TestPauseByVersion(t *testing.T) {
	t.Parallel()
	r := server(t)
	for _, version := range []string{"bullmq:5.81.5", "bullmq:6.7.0"} {
		ctx, q := t.Context(), testQueue(r, "q"+version[7:8])
		must(r.Do(ctx, "HSET", q.key("meta"), "version", version))
		must(q.Add(ctx, "a", nil, Options{}))
		if !must(q.Pause(ctx)) || must(q.Pause(ctx)) {
			t.Error("the first pause changes something, the second nothing")
		}
		must(q.Add(ctx, "b", nil, Options{}))
		c := must(q.Counts(ctx))
		if !c.Paused || c.Jobs[Waiting]+c.Jobs[Paused] != 2 || (c.Jobs[Paused] == 2) != (version[7] == '5') || c.Version != version {
			t.Errorf("%s paused: %+v", version, c)
		}
		if n := number(must(r.Do(ctx, "EXISTS", q.key("marker")))); n != 0 {
			t.Errorf("%s: a paused queue wakes workers", version)
		}
		if !must(q.Resume(ctx)) || must(q.Resume(ctx)) {
			t.Error("the first resume changes something, the second nothing")
		}
		if c := must(q.Counts(ctx)); c.Paused || c.Jobs[Waiting] != 2 || c.Jobs[Paused] != 0 {
			t.Errorf("%s resumed: %+v", version, c)
		}
		if n := number(must(r.Do(ctx, "EXISTS", q.key("marker")))); n != 1 {
			t.Errorf("%s: no worker is woken", version)
		}
	}
	found := must(Queues(t.Context(), r, ""))
	if len(found) != 2 || found[0].Name != "q5" || found[1].Name != "q6" {
		t.Errorf("queues: %v", found)
	}
	q := found[0]
	if err := q.Obliterate(t.Context(), false); !errors.Is(err, ErrNotPaused) {
		t.Errorf("obliterate a running queue: %v", err)
	}
	must(q.Pause(t.Context()))
	if err := q.Obliterate(t.Context(), false); err != nil {
		t.Error(err)
	}
	if keys := texts(must(r.Do(t.Context(), "KEYS", "bull:q5:*"))); len(keys) != 0 {
		t.Errorf("left over: %v", keys)
	}
}

func TestFlowIsReadAndRemoved(t *testing.T) {
	t.Parallel()
	ctx, q := t.Context(), testQueue(server(t), "parents")
	kids := NewQueue(q.redis, DefaultPrefix, "kids")
	p := must(q.Add(ctx, "parent", nil, Options{ID: "p"}))
	must(q.redis.Do(ctx, "LREM", q.key("wait"), 0, p))
	must(q.redis.Do(ctx, "ZADD", q.key("waiting-children"), 1, p))
	for _, id := range []string{"a", "b"} {
		must(kids.Add(ctx, "kid", nil, Options{ID: id}))
		must(q.redis.Do(ctx, "HSET", kids.key(id), "parentKey", q.key(p)))
		must(q.redis.Do(ctx, "SADD", q.key(p)+":dependencies", kids.key(id)))
	}
	n := must(q.Flow(ctx, p))
	if n.State != WaitingChildren || len(n.Children) != 2 || n.Children[0].Queue != "kids" || n.Children[1].ID != "b" || n.Children[0].State != Waiting {
		t.Errorf("flow: %+v", n)
	}
	if parent, id, ok := kids.ParentOf(n.Children[0].Job); !ok || parent.Name != "parents" || id != "p" {
		t.Errorf("parent: %v %s", parent, id)
	}
	if err := kids.Remove(ctx, "a", false); err != nil {
		t.Fatal(err)
	}
	if s := must(q.State(ctx, p)); s != WaitingChildren {
		t.Errorf("a parent with a child left is %s", s)
	}
	if err := kids.Remove(ctx, "b", false); err != nil {
		t.Fatal(err)
	}
	if s := must(q.State(ctx, p)); s != Waiting {
		t.Errorf("a parent without children is %s", s)
	}
}

func TestSchedulersAndWorkers(t *testing.T) {
	t.Parallel()
	ctx, q := t.Context(), testQueue(server(t), "q")
	must(q.redis.Do(ctx, "ZADD", q.key("repeat"), 1_800_000_060_000, "tick"))
	must(q.redis.Do(ctx, "HSET", q.key("repeat:tick"), "name", "t", "every", 60000, "ic", 3, "opts", `{"attempts":2}`, "data", `{"x":1}`))
	list := must(q.Schedulers(ctx, 0, 10))
	if len(list) != 1 || list[0].ID != "tick" || list[0].Every != time.Minute || list[0].Runs != 3 || list[0].Next.UnixMilli() != 1_800_000_060_000 {
		t.Fatalf("schedulers: %+v", list)
	}
	must(q.redis.Do(ctx, "HSET", q.key("repeat:tick:1800000060000"), "name", "t", "timestamp", 1, "rjk", "tick"))
	must(q.redis.Do(ctx, "ZADD", q.key("delayed"), 1_800_000_060_000*4096, "repeat:tick:1800000060000"))
	if err := q.Remove(ctx, "repeat:tick:1800000060000", true); !errors.Is(err, ErrScheduled) {
		t.Errorf("removal of the next run: %v", err)
	}
	id := must(q.RunScheduler(ctx, "tick"))
	if j := must(q.Get(ctx, id)); j.Name != "t" || string(j.Data) != `{"x":1}` || j.MaxTries != 2 {
		t.Errorf("a run by hand: %+v", j)
	}
	if err := q.RemoveScheduler(ctx, "tick"); err != nil {
		t.Fatal(err)
	}
	if err := q.RemoveScheduler(ctx, "tick"); !errors.Is(err, ErrNotFound) {
		t.Errorf("second removal: %v", err)
	}
	if c := must(q.Counts(ctx)); c.Jobs[Delayed] != 0 || c.Schedulers != 0 {
		t.Errorf("after removal: %+v", c)
	}
	must(q.redis.Do(ctx, "CLIENT", "SETNAME", "bull:cQ==:w:alpha")) // of the one connection that is open
	w := must(Workers(ctx, q.redis, []*Queue{q}))
	if len(w[q]) != 1 || w[q][0].Name != "alpha" {
		t.Errorf("workers: %+v", w)
	}
	if err := errors.Join(q.SetConcurrency(ctx, 3), q.SetRateLimit(ctx, 10, time.Second)); err != nil {
		t.Fatal(err)
	}
	if c := must(q.Counts(ctx)); c.Concurrency != 3 || c.Max != 10 || c.Duration != time.Second {
		t.Errorf("limits: %+v", c)
	}
}

func TestSearchLooksEverywhere(t *testing.T) {
	t.Parallel()
	ctx, q := t.Context(), testQueue(server(t), "q")
	for i := range 30 {
		must(q.Add(ctx, "mail", json.RawMessage(fmt.Sprintf(`{"to":"user%d@x"}`, i)), Options{}))
	}
	if got := must(q.Search(ctx, Waiting, "USER17@", 1000, 10)); len(got) != 1 || got[0].ID != "18" {
		t.Errorf("found %v", got)
	}
	if got := must(q.Search(ctx, Waiting, "mail", 1000, 10)); len(got) != 10 {
		t.Errorf("found %d", len(got))
	}
}
