package engine

import "testing"

// join starts runs of a function in queues.
func (b *bench) join(n int, joins ...QueueJoin) {
	b.t.Helper()
	for range n {
		r := b.apply(&Start{Env: "e", Slug: "f", Events: []Event{{Name: "m", Data: []byte(`{}`), Internal: true}}, Queues: joins}).(StartReply)
		if r.Outcome != Started {
			b.t.Fatalf("a start came out as %d", r.Outcome)
		}
	}
}

func TestQueueOfCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{}, Function{Slug: "f"})
	key := QueueJoin{Queue: "key", Policy: &Policy{Parallelism: 2, Rate: 3, Period: 1000}}
	b.join(6, key)
	if n := len(b.out); n != 2 {
		t.Fatalf("%d calls are out under a parallelism of 2", n)
	}
	b.done(b.out[0])
	b.done(b.out[1])
	if n := len(b.out); n != 3 {
		t.Fatalf("%d calls began under a rate of 3", n)
	}
	b.done(b.out[2])
	b.advance(999)
	if n := len(b.out); n != 3 {
		t.Fatalf("%d calls began before the window ended", n)
	}
	b.advance(1)
	if n := len(b.out); n != 5 {
		t.Fatalf("%d calls began when the next window opened, want 5: two at a time", n)
	}
	state := b.apply(&ReadQueues{Env: "e"}).([]QueueState)
	if s := state[0]; len(state) != 1 || s.Active != 2 || s.Waiting != 1 || s.WindowCount != 2 {
		t.Errorf("the queue is %+v", state)
	}
	// Another policy holds for those who wait, a pause for everyone, a pin against later policies.
	b.apply(&SetQueue{Env: "e", Name: "key", Paused: new(true)})
	b.done(b.out[3])
	if n := len(b.out); n != 5 {
		t.Errorf("%d calls began in a paused queue", n)
	}
	b.apply(&SetQueue{Env: "e", Name: "key", Paused: new(false), Parallelism: new(5), PinParallelism: new(true), ResetWindow: true})
	b.join(3, key)
	if n := len(b.out); n != 8 {
		t.Errorf("%d calls began, want 8: three of the new window, with the pinned parallelism", n)
	}
}

func TestQueueOfRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{}, Function{Slug: "f", MaxAttempts: 2})
	line := QueueJoin{Queue: "line", PerRun: true, Initial: Policy{Parallelism: 1}}
	b.join(1, line, QueueJoin{Queue: "slow", Policy: &Policy{Parallelism: 1}})
	b.apply(&SetQueue{Env: "e", Name: "slow", Paused: new(true)})
	first := b.out[0]
	b.answer(first, JoinAll, Op{Kind: OpRunFailed, Value: []byte(`{}`), RetryAt: b.now + 500})
	b.join(2, line)
	b.advance(500)
	if n := len(b.out); n != 1 {
		t.Fatalf("%d calls: the first run waits for its retry and for a paused queue, and holds the line", n)
	}
	b.apply(&SetQueue{Env: "e", Name: "slow", Paused: new(false)})
	if n := len(b.out); n != 2 || b.out[1].Run != first.Run {
		t.Fatalf("%d calls: the first run goes on when its other queue does", n)
	}
	b.done(b.out[1])
	if n := len(b.out); n != 3 {
		t.Fatalf("%d calls: the next in line goes when the first has ended", n)
	}
	b.apply(&SetQueue{Env: "e", Name: "line", Delete: true})
	if n := len(b.out); n != 4 {
		t.Errorf("%d calls: who waits in a queue that is deleted goes on without it", n)
	}
}

// done ends a call's run.
func (b *bench) done(c *Call) {
	b.t.Helper()
	if !b.answer(c, JoinAll, Op{Kind: OpRunDone, Value: []byte(`1`)}) {
		b.t.Fatal("an answer was refused")
	}
}

func TestQueueWithoutSlots(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	run := b.startPulled(Start{Queues: []QueueJoin{{Queue: "line", Title: "the line", Policy: &Policy{Parallelism: -1}}}})
	if l := b.lease("current"); len(l) != 0 {
		t.Errorf("leased %+v", l)
	}
	if x := b.apply(&Explain{Run: run}).(Explanation); x.State != "blocked" || x.Reasons[0].Text != "the line is at its limit of 0" {
		t.Errorf("explained as %+v", x)
	}
	b.apply(&SetQueue{Env: "e", Name: "line", Parallelism: new(1)})
	if l := b.lease("current"); len(l) != 1 {
		t.Errorf("leased %+v with a slot", l)
	}
}

func TestPassingQueueIsForgotten(t *testing.T) {
	t.Parallel()
	b := pulled(t)
	join := Start{Queues: []QueueJoin{{Queue: "key", Passing: true, Policy: &Policy{Parallelism: 1}}}}
	there := func(want int, when string) {
		t.Helper()
		if q := b.apply(&ReadQueues{Env: "e"}).([]QueueState); len(q) != want {
			t.Errorf("%s: %+v", when, q)
		}
	}
	first, second := b.startPulled(join), b.startPulled(join)
	b.apply(&Cancel{Run: first})
	there(1, "with one run in it")
	b.crash(Config{})
	b.apply(&Cancel{Run: second})
	there(0, "with none")
	b.crash(Config{})
	there(0, "after a restart")
	third := b.startPulled(join)
	b.apply(&SetQueue{Env: "e", Name: "key", Paused: new(true)})
	b.apply(&Cancel{Run: third})
	there(1, "paused by somebody")
}
