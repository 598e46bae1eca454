package engine

import (
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

func pulled(t *testing.T) *bench {
	t.Helper()
	return setup(t, Config{}, Function{Slug: "f", Pulled: true, Pool: "current", MaxAttempts: 3})
}

func (b *bench) startPulled(c Start) ID {
	b.t.Helper()
	if c.Env, c.Slug = "e", "f"; len(c.Events) == 0 {
		c.Events = []Event{{Name: "go"}}
	}
	rep := b.apply(&c).(StartReply)
	if rep.Outcome != Started {
		b.t.Fatalf("outcome %d", rep.Outcome)
	}
	return rep.Run
}

func (b *bench) lease(pools ...string) []Leased {
	return b.apply(&Lease{Env: "e", Pools: pools, Bind: "w1", Max: 10, Hold: 1000, Lapse: Lapse{Return: true, Most: 1, Error: []byte(`{}`)}}).([]Leased)
}

func (b *bench) begin(l Leased) LeaseState {
	b.t.Helper()
	s := b.apply(&Hold{Run: l.Run, Token: l.Token, Begin: true, Hold: 5000, Lapse: &Lapse{Final: true, Error: []byte(`{"message":"stalled"}`)}}).(LeaseState)
	if !s.Held || !s.Begun || s.Token == l.Token {
		b.t.Fatalf("begin: %+v", s)
	}
	return s
}

func (b *bench) state(run ID) LeaseState { return b.apply(&ReadLease{Run: run}).(LeaseState) }

func (b *bench) row(run ID) *RunRow {
	b.t.Helper()
	r, err := ParseRunRow(b.rows[store.Runs][string(RunKey(run))])
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func TestLeasedRunBelongsToItsPool(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{})
	if got := b.lease("other"); len(got) != 0 {
		t.Fatalf("leased %v from a pool that the function is not in", got)
	}
	l := b.lease("current")
	if len(l) != 1 || l[0].Run != run || l[0].Pool != "w1" {
		t.Fatalf("leased %+v", l)
	}
	b.advance(1000) // the worker never began
	if s := b.state(run); s.Held || s.Pool != "w1" || s.Attempt != 0 {
		t.Fatalf("after the lease ran out: %+v", s)
	}
	if got := b.lease("current"); len(got) != 0 {
		t.Errorf("a bound run was leased by another worker: %+v", got)
	}
	if got := b.lease("w1"); len(got) != 1 {
		t.Errorf("leased %+v", got)
	}
	b.advance(1000)
	if r := b.row(run); r.Status != Failed {
		t.Errorf("status %s after the last return", r.Status)
	}
}

func TestRetryWithTheSameWorker(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{})
	s := b.begin(b.lease("current")[0])
	boom := []Op{{Kind: OpRunFailed, Value: []byte(`{}`), RetryAt: b.now + 100}}
	if !b.apply(&Report{Run: run, Request: s.Token, Ops: boom, Keep: &Keep{Hold: 1100, Lapse: Lapse{Return: true, Most: 5}}}).(bool) {
		t.Fatal("refused")
	}
	kept := b.state(run)
	if !kept.Held || !kept.Kept || kept.Begun || kept.Attempt != 1 || kept.Token.Compare(s.Token) <= 0 {
		t.Fatalf("kept %+v", kept)
	}
	if b.apply(&Report{Run: run, Request: s.Token, Ops: boom}).(bool) {
		t.Error("a report with an old token was taken")
	}
	s = b.begin(Leased{Run: run, Token: kept.Token})
	if !b.apply(&Report{Run: run, Request: s.Token, Ops: []Op{{Kind: OpRunDone, Value: []byte("1")}}}).(bool) {
		t.Fatal("refused")
	}
	if r := b.row(run); r.Status != Completed {
		t.Errorf("status %s", r.Status)
	}
}

func TestBlockedRunGivesItsSlotUp(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	line := []QueueJoin{{Queue: "line", Policy: &Policy{Parallelism: 1}}}
	first, second := b.startPulled(Start{Queues: line}), b.startPulled(Start{Queues: line})
	l := b.lease("current")
	if len(l) != 1 || l[0].Run != first {
		t.Fatalf("leased %+v", l)
	}
	s := b.begin(l[0])
	ops := []Op{{Kind: OpSleep, Step: Step{ID: "s"}, Until: b.now + 500}, {Kind: OpStepDone, Step: Step{ID: "d"}, Value: []byte("1")}}
	if !b.apply(&Block{Run: first, Ops: ops}).(bool) {
		t.Fatal("not blocked")
	}
	blocked := b.state(first)
	if !blocked.Blocked || blocked.Token == s.Token {
		t.Fatalf("blocked %+v", blocked)
	}
	if l := b.lease("current"); len(l) != 1 || l[0].Run != second {
		t.Errorf("leased %+v while the first waits", l)
	}
	b.advance(500)
	waits := b.state(first)
	if !waits.Blocked || !waits.Resuming || waits.Token != blocked.Token {
		t.Errorf("without a slot after the wait: %+v", waits)
	}
	if x := b.apply(&Explain{Run: first}).(Explanation); x.State != "blocked" || x.Reasons[0].Text != "the queue line is at its limit of 1" {
		t.Errorf("explained as %+v", x)
	}
	b.crash(Config{})
	if got := b.state(first); got != waits {
		t.Errorf("after a restart %+v, before %+v", got, waits)
	}
	third := b.startPulled(Start{Queues: line, Priority: 3_600_000})
	b.apply(&Cancel{Run: second, Reason: "it has not begun, so it leaves its slot at once"})
	if s := b.state(first); s.Blocked || s.Resuming || !s.Begun || s.Mark != 0 || s.Token == waits.Token {
		t.Errorf("with a slot after the wait: %+v", s)
	}
	if l := b.lease("current"); len(l) != 0 {
		t.Errorf("leased %+v while the first has the slot; the third is %s", l, third)
	}
}

func TestShortWaitKeepsItsSlot(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	line := []QueueJoin{{Queue: "line", Policy: &Policy{Parallelism: 1}}}
	first, second := b.startPulled(Start{Queues: line}), b.startPulled(Start{Queues: line})
	b.begin(b.lease("current")[0])
	sleep := func(id string, short bool) {
		t.Helper()
		ops := []Op{{Kind: OpSleep, Step: Step{ID: id}, Until: b.now + 500}}
		if !b.apply(&Block{Run: first, Short: short, Ops: ops}).(bool) {
			t.Fatal("not blocked")
		}
	}
	sleep("a", true)
	if l := b.lease("current"); len(l) != 0 {
		t.Errorf("leased %+v during a short wait", l)
	}
	b.crash(Config{})
	if q := b.apply(&ReadQueues{Env: "e"}).([]QueueState); q[0].Active != 1 {
		t.Errorf("%d slots are held", q[0].Active)
	}
	b.advance(500)
	if s := b.state(first); s.Blocked || !s.Begun {
		t.Errorf("after a short wait: %+v", s)
	}
	sleep("b", true)
	sleep("c", false)
	if l := b.lease("current"); len(l) != 1 || l[0].Run != second {
		t.Errorf("leased %+v during a wait that is not only short", l)
	}
}

func TestResumingRunOutlivesARegistration(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	line := []QueueJoin{{Queue: "line", Policy: &Policy{Parallelism: 1}}}
	first, second := b.startPulled(Start{Queues: line}), b.startPulled(Start{Queues: line})
	b.begin(b.lease("current")[0])
	b.apply(&Block{Run: first, Ops: []Op{{Kind: OpSleep, Step: Step{ID: "a"}, Until: b.now + 500}}})
	b.lease("current")
	b.advance(500)
	f := *b.m.fns[UUID{1}].def
	f.MaxAttempts = 9
	b.apply(&Register{App: App{Env: "e", Name: "a", Door: "d", Checksum: "other"}, Functions: []Function{f}})
	if s := b.state(first); !s.Resuming || !s.Held {
		t.Fatalf("after a registration: %+v", s)
	}
	b.apply(&Cancel{Run: second})
	if s := b.state(first); s.Resuming || !s.Begun {
		t.Errorf("with a slot: %+v", s)
	}
}

func TestCancelledWorkerIsTold(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{})
	b.begin(b.lease("current")[0])
	b.apply(&Cancel{Run: run, Reason: "because"})
	s := b.state(run)
	if !s.Cancelled || !s.Held || s.Unended {
		t.Fatalf("cancelled %+v", s)
	}
	if b.apply(&Report{Run: run, Request: s.Token, Ops: []Op{{Kind: OpRunDone}}}).(bool) {
		t.Error("the outcome of a cancelled run was taken")
	}
	if s := b.state(run); s.Held {
		t.Errorf("still held: %+v", s)
	}
}

func TestLeaseSurvivesARestart(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{Queues: []QueueJoin{{Queue: "line", Policy: &Policy{Parallelism: 1}}}})
	s := b.begin(b.lease("current")[0])
	b.crash(Config{})
	if got := b.state(run); got != s {
		t.Fatalf("after a restart %+v, before %+v", got, s)
	}
	if q := b.apply(&ReadQueues{Env: "e"}).([]QueueState); q[0].Active != 1 {
		t.Errorf("%d slots are held", q[0].Active)
	}
	b.advance(5000)
	if r := b.row(run); r.Status != Failed || string(r.Output) != `{"message":"stalled"}` {
		t.Errorf("stalled run: %s %s", r.Status, r.Output)
	}
}

func TestStartTimeoutOfARunCountsFromItsDelay(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{StartTimeout: 100, Events: []Event{{At: b.now + 1000}}})
	b.advance(1050)
	if s := b.state(run); !s.Unended {
		t.Fatal("ended too early")
	}
	b.advance(50)
	if r := b.row(run); r.Status != Cancelled || r.Reason != NotStarted {
		t.Errorf("%s %q", r.Status, r.Reason)
	}
}

func TestPostponeAndFreedKey(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{Key: "k", Events: []Event{{At: b.now + 1000}}})
	if !b.apply(&Postpone{Run: run, At: b.now + 5000}).(bool) {
		t.Fatal("not postponed")
	}
	b.advance(2000)
	if l := b.lease("current"); len(l) != 0 {
		t.Fatal("leased before its time")
	}
	if b.apply(&Postpone{Run: run, At: b.now + 5000, MaxAttempts: 7}); b.apply(&ReadLease{Run: run}).(LeaseState).Max != 7 {
		t.Error("the number of attempts was not changed")
	}
	b.apply(&Cancel{Run: run})
	again := Start{Env: "e", Slug: "f", Key: "k", Events: []Event{{Name: "go"}}}
	if rep := b.apply(&again).(StartReply); rep.Outcome != Duplicate || rep.Run != run {
		t.Fatalf("%+v", rep)
	}
	freed := Start{Env: "e", Slug: "f", Key: "k", Freed: run, Events: []Event{{Name: "go"}}}
	if rep := b.apply(&freed).(StartReply); rep.Outcome != Started {
		t.Errorf("%+v", rep)
	}
}

// TestBeginIsHeardOnceMore: a worker that did not hear that its attempt began asks again and is told the same, until the run is further.
func TestBeginIsHeardOnceMore(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{})
	l := b.lease("current")[0]
	again := func(token ID, asks bool) LeaseState {
		return b.apply(&Hold{Run: run, Token: token, Begin: true, Again: asks, Hold: 5000}).(LeaseState)
	}
	if s := again(ID{}, true); s.Held {
		t.Error("it began without a token")
	}
	s := b.begin(l)
	for range 2 {
		if got := again(l.Token, true); got != s {
			t.Errorf("once more %+v, at first %+v", got, s)
		}
		b.crash(Config{})
	}
	if got := again(l.Token, false); got.Held {
		t.Error("it began a second time")
	}
	if !b.apply(&Block{Run: run, Ops: []Op{{Kind: OpSleep, Step: Step{ID: "s"}, Until: b.now + 100}}}).(bool) {
		t.Fatal("it does not wait")
	}
	if got := again(l.Token, true); got.Held {
		t.Error("a run that waits began once more")
	}
	b.advance(100)
	if got := again(l.Token, true); got.Held {
		t.Error("a run that went on began once more")
	}
}
