package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// bench is a machine with a clock that stands still and rows as they would be after a fold.
type bench struct {
	t    *testing.T
	m    *Machine
	now  int64
	n    byte
	rows map[store.Table]map[string][]byte
	out  []*Call
}

func setup(t *testing.T, cfg Config, fns ...Function) *bench {
	t.Helper()
	b := &bench{t: t, now: 1_800_000_000_000, rows: map[store.Table]map[string][]byte{}}
	b.m = New(b.config(cfg))
	b.register(fns...)
	return b
}

func (b *bench) config(cfg Config) Config {
	seq := uint64(0)
	cfg.NewID = func(ms int64) (id ID) {
		seq++
		_ = id.SetTime(uint64(ms))
		id[14], id[15] = byte(seq>>8), byte(seq)
		return id
	}
	return cfg
}

func (b *bench) register(fns ...Function) {
	b.t.Helper()
	for i := range fns {
		f := &fns[i]
		f.ID, f.Env, f.App, f.MaxAttempts, f.Silent = UUID{byte(i + 1)}, "e", "app", max(1, f.MaxAttempts), true
	}
	b.n++
	reply := b.apply(&Register{App: App{Env: "e", Name: "app", Checksum: fmt.Sprint(b.n)}, Functions: fns}).(RegisterReply)
	if reply.Err != nil {
		b.t.Fatal(reply.Err)
	}
}

func (b *bench) keep(out *Out) {
	for _, r := range out.Records {
		if b.rows[r.Table] == nil {
			b.rows[r.Table] = map[string][]byte{}
		}
		if r.Value == nil {
			delete(b.rows[r.Table], string(r.Key))
		} else {
			b.rows[r.Table][string(r.Key)] = r.Value
		}
	}
	for _, e := range out.Effects {
		if c, ok := e.(*Call); ok {
			b.out = append(b.out, c)
		}
	}
}

func (b *bench) apply(c Command) any {
	var out Out
	v := b.m.Apply(b.now, c, &out)
	b.keep(&out)
	return v
}

func (b *bench) advance(ms int64) {
	b.now += ms
	var out Out
	for b.m.Tick(b.now, 10, &out) {
	}
	b.keep(&out)
}

func (b *bench) send(name string, data ...string) {
	c := &SendEvents{Env: "e"}
	for _, d := range data {
		c.Events = append(c.Events, Event{Name: name, Data: []byte(d)})
	}
	b.apply(c)
}

// calls takes what is out as "slug/step".
func (b *bench) calls() []*Call {
	out := b.out
	b.out = nil
	return out
}

func (b *bench) answer(c *Call, join Join, ops ...Op) bool {
	return b.apply(&Report{Run: c.Run, Request: c.Request, Ops: ops, Join: join}).(bool)
}

func (b *bench) one() *Call {
	b.t.Helper()
	calls := b.calls()
	if len(calls) != 1 {
		b.t.Fatalf("%d calls are out, want 1", len(calls))
	}
	return calls[0]
}

func step(id string) Step { return Step{ID: id, Name: id} }

// crash recovers a new machine from the rows.
func (b *bench) crash(cfg Config) {
	b.t.Helper()
	b.m = New(b.config(cfg))
	err := b.m.Recover(b.now, func(t store.Table, fn func(k, v []byte) error) error {
		keys := make([]string, 0, len(b.rows[t]))
		for k := range b.rows[t] {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if err := fn([]byte(k), b.rows[t][k]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.out = nil
	b.advance(0)
}

func (b *bench) status(id ID) Status {
	b.t.Helper()
	row, err := ParseRunRow(b.rows[store.Runs][string(id[:])])
	if err != nil {
		b.t.Fatal(err)
	}
	return row.Status
}

func on(event string) []Trigger { return []Trigger{{Event: event}} }

func TestSequentialSteps(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{}, Function{Slug: "f", Triggers: on("go")})
	b.send("go", "{}")
	c := b.one()
	if c.Attempt != 0 || c.StepID != "" || c.PlanOnly || c.Steps {
		t.Errorf("first call: %+v", c)
	}
	b.answer(c, JoinAll, Op{Kind: OpStepDone, Step: step("a"), Value: []byte("1")})
	if c = b.one(); !c.Steps || c.PlanOnly {
		t.Errorf("second call: %+v", c)
	}
	b.answer(c, JoinAll, Op{Kind: OpRunDone, Value: []byte("2")})
	if got := b.status(c.Run); got != Completed {
		t.Errorf("status %s", got)
	}
	if n := len(b.rows[store.Live]); n != 0 {
		t.Errorf("%d live rows are left", n)
	}
	if b.answer(c, JoinAll, Op{Kind: OpRunDone}) {
		t.Error("a second report for the same call was taken")
	}
}

// The two ways of going on with several steps pending: protocol versions differ in nothing else.
func TestJoins(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		join  Join
		after []int // calls from the top after each of three steps
	}{{JoinAll, []int{0, 0, 1}}, {JoinEach, []int{1, 1, 1}}} {
		b := setup(t, Config{}, Function{Slug: "f", Triggers: on("go")})
		b.send("go", "{}")
		b.answer(b.one(), tc.join, Op{Kind: OpPlan, Step: step("a")}, Op{Kind: OpPlan, Step: step("b")}, Op{Kind: OpSleep, Step: step("s"), Until: b.now + 50})
		planned := b.calls()
		if len(planned) != 2 || !planned[0].PlanOnly || planned[0].StepID != "a" {
			t.Fatalf("join %d: planned calls %+v", tc.join, planned)
		}
		var tops []int
		count := func() {
			n := 0
			for _, c := range b.calls() {
				if c.StepID == "" {
					n++
					if want := tc.join == JoinEach; c.PlanOnly != want {
						t.Errorf("join %d: PlanOnly %v", tc.join, c.PlanOnly)
					}
					b.answer(c, tc.join)
				}
			}
			tops = append(tops, n)
		}
		for _, c := range planned {
			b.answer(c, tc.join, Op{Kind: OpStepDone, Step: step(c.StepID), Value: []byte("1")})
			count()
		}
		b.advance(50)
		count()
		if !slices.Equal(tops, tc.after) {
			t.Errorf("join %d: calls from the top %v, want %v", tc.join, tops, tc.after)
		}
	}
}

func TestStepsPlannedTwiceRunOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{}, Function{Slug: "f", Triggers: on("go")})
	b.send("go", "{}")
	b.answer(b.one(), JoinEach, Op{Kind: OpPlan, Step: step("a")}, Op{Kind: OpPlan, Step: step("b")})
	calls := b.calls()
	b.answer(calls[0], JoinEach, Op{Kind: OpStepDone, Step: step("a")})
	top := b.one()
	b.answer(top, JoinEach, Op{Kind: OpPlan, Step: step("b")}) // still out
	if n := len(b.calls()); n != 0 {
		t.Errorf("%d more calls, want none", n)
	}
}

func TestAStuckFunctionFails(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{}, Function{Slug: "f", Triggers: on("go")})
	b.send("go", "{}")
	var run ID
	for i := 0; ; i++ {
		calls := b.calls()
		if len(calls) == 0 {
			break
		}
		if i > 20 {
			t.Fatal("it is called for ever")
		}
		run = calls[0].Run
		b.answer(calls[0], JoinAll)
	}
	if got := b.status(run); got != Failed {
		t.Errorf("status %s, want failed", got)
	}
}

func TestNoFunctionStarvesAnother(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{MaxCalls: 4}, Function{Slug: "big", Triggers: on("big")}, Function{Slug: "small", Triggers: on("small")})
	b.send("big", slices.Repeat([]string{"{}"}, 100)...)
	b.send("small", "{}", "{}")
	var order []string
	for range 6 {
		calls := b.calls()
		for _, c := range calls {
			order = append(order, c.Fn.Slug)
			b.answer(c, JoinAll, Op{Kind: OpRunDone})
		}
	}
	if i := slices.Index(order, "small"); i < 0 || i > 6 {
		t.Errorf("the small function waited behind the big one's backlog: %v", order)
	}
}

func TestAFullKeyBlocksNobodyElse(t *testing.T) {
	t.Parallel()
	fn := Function{Slug: "f", Triggers: on("go"), Flow: Flow{Concurrency: []Concurrency{{Limit: 1, Scope: ScopeFunction, Key: "event.data.k"}}}}
	b := setup(t, Config{}, fn)
	b.send("go", `{"k":"a"}`, `{"k":"a"}`, `{"k":"a"}`, `{"k":"b"}`)
	first := b.calls()
	if len(first) != 2 {
		t.Fatalf("%d calls are out, want one for each key", len(first))
	}
	blocked := b.apply(&Explain{Run: b.queued()}).(Explanation)
	if want := `the concurrency key "a" is at its limit of 1`; blocked.Reasons[0].Text != want {
		t.Errorf("explained as %q, want %q", blocked.Reasons[0].Text, want)
	}
	b.answer(first[0], JoinAll, Op{Kind: OpRunDone})
	if n := len(b.calls()); n != 1 {
		t.Errorf("%d calls after one of key a returned, want 1", n)
	}
}

// queued is some run that was not called yet.
func (b *bench) queued() ID {
	for _, v := range b.rows[store.Runs] {
		if r, err := ParseRunRow(v); err == nil && r.Status == Queued {
			return r.ID
		}
	}
	b.t.Fatal("no run is queued")
	return ID{}
}

func TestGCRA(t *testing.T) {
	t.Parallel()
	f := func(r Rate, at []int64, want string) {
		t.Helper()
		var tat int64
		var got strings.Builder
		for _, now := range at {
			if gcraFree(tat, now, &r) {
				tat = gcraTake(tat, now, &r)
				got.WriteByte('y')
			} else {
				got.WriteByte('n')
			}
		}
		if got.String() != want {
			t.Errorf("%+v at %v: %s, want %s", r, at, got.String(), want)
		}
	}
	f(Rate{Limit: 1, Period: 1000}, []int64{0, 1, 999, 1000, 1999, 2000}, "ynnyny")
	f(Rate{Limit: 2, Period: 1000}, []int64{0, 0, 499, 500, 1000}, "ynnyy")
	f(Rate{Limit: 1, Period: 2000, Burst: 2}, []int64{0, 0, 0, 0, 1999, 2000}, "yyynny")
	f(Rate{Limit: 3, Period: 1000}, []int64{0, 333, 334, 667, 668}, "ynyyn")
	f(Rate{Limit: 10, Period: 60000, Burst: 1}, []int64{0, 0, 0, 6000, 11999}, "yynyn")
}

// TestRecovery compares what a recovered machine does with what the one before was about to do.
func TestRecovery(t *testing.T) {
	t.Parallel()
	fn := Function{Slug: "f", Triggers: on("go"), MaxAttempts: 3, Cancel: []CancelRule{{Event: "stop", If: "event.data.k == async.data.k"}}}
	b := setup(t, Config{}, fn)
	b.send("go", `{"k":1}`, `{"k":2}`, `{"k":3}`)
	calls := b.calls()
	b.answer(calls[0], JoinAll, Op{Kind: OpSleep, Step: step("s"), Until: b.now + 1000})
	b.answer(calls[1], JoinAll, Op{Kind: OpRunFailed, Value: []byte(`{}`), RetryAt: b.now + 500})
	b.crash(Config{})
	// The call that was out is made again, as a newer generation.
	again := b.one()
	if again.Run != calls[2].Run || again.Request == calls[2].Request || again.Generation <= calls[2].Generation {
		t.Errorf("after the crash: %+v, before: %+v", again, calls[2])
	}
	if b.answer(calls[2], JoinAll, Op{Kind: OpRunDone}) {
		t.Error("an answer to a call of the life before was taken")
	}
	b.advance(500)
	if retry := b.one(); retry.Run != calls[1].Run || retry.Attempt != 1 {
		t.Errorf("retry: %+v", retry)
	}
	b.send("stop", `{"k":3}`)
	if got := b.status(calls[2].Run); got != Cancelled {
		t.Errorf("run 3 is %s, want cancelled: its condition was not recovered", got)
	}
	b.advance(500)
	if woken := b.one(); woken.Run != calls[0].Run || !woken.Steps {
		t.Errorf("woken: %+v", woken)
	}
}

func TestRowsSurviveEncoding(t *testing.T) {
	t.Parallel()
	run := &RunRow{ID: ID{1}, Env: "e", Fn: UUID{2}, Slug: "s", App: "a", Status: Failed, Events: []ID{{3}, {4}}, Trigger: "t", Reason: "r", QueuedAt: 5, Ended: 6, Output: []byte(`{}`), Version: 7, Steps: 8}
	step := &StepRow{Step: Step{ID: "i", Name: "n", Type: "t", Opts: []byte(`{}`)}, Seq: 1, Kind: ValueError, Value: []byte(`1`), State: "done", Attempt: 2, QueuedAt: 3, Started: 4, Ended: 5, Due: 6, Child: ID{7}, Event: ID{8}}
	event := &EventRow{ID: ID{1}, Env: "e", Name: "n", Key: "k", TS: 2, Received: 3, Data: []byte(`{}`), User: []byte(`{"a":1}`), V: "v", Internal: true, Source: "s"}
	same(t, run, must(ParseRunRow(run.record().Value)))
	same(t, step, must(ParseStepRow(step.record(ID{9}).Value)))
	same(t, event, must(ParseEventRow(event.record().Value)))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func same(t *testing.T, want, got any) {
	t.Helper()
	w, _ := json.Marshal(want)
	g, _ := json.Marshal(got)
	if string(w) != string(g) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// FuzzRows: whatever is in a damaged row, reading it is an error or a value, never a panic.
func FuzzRows(f *testing.F) {
	f.Add([]byte{0x0a, 0x10})
	f.Add((&RunRow{ID: ID{1}, Slug: "s"}).record().Value)
	f.Fuzz(func(_ *testing.T, row []byte) {
		_, _ = ParseRunRow(row)
		_, _ = ParseStepRow(row)
		_, _ = ParseEventRow(row)
		_, _ = ParseAttemptRow(row)
		var failed error
		parseSpec(row, &failed)
		parseWait(&run{}, row, &failed)
		parseJob(&run{}, row, &failed)
	})
}
