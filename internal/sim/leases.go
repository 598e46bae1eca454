package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
)

// Workers that lease runs, begin them, let themselves be heard of or not, wait, report, report late and vanish.

const (
	pulledSlug = "pulled"
	poolName   = "pool"
	lineName   = "leased"
	keyName    = "leased-by-" // and a key: these are forgotten when nobody is in them
	lineSlots  = 3
	keySlots   = 1
	leaseHold  = 2000 // ms
)

// workers is a history of leases in a world of its own.
type workers struct {
	*world
	runs     []*pulledRun
	held     []*holding
	idle     int                // wakes when the pools were found empty last; -1: they were not
	failures map[engine.ID]bool // runs whose failure the door was told of
}

// pulledRun is a run as those know it who were answered.
type pulledRun struct {
	id        engine.ID
	started   bool
	over      bool      // somebody was told that it has ended
	finished  bool      // a worker's outcome ended it
	token     engine.ID // the newest that somebody was told of
	cancelled bool
}

// holding is a run as a worker has it. What it knows may be old.
type holding struct {
	run     *pulledRun
	token   engine.ID
	from    engine.ID // the token with which it began
	begun   bool
	attempt int
}

func newWorkers(seed uint64) *workers {
	w := &workers{world: newWorld(seed), idle: -1, failures: map[engine.ID]bool{}}
	for done := false; !done; { // a crash may lose it
		w.apply(&engine.Register{App: engine.App{Env: env, Name: "pulled", Door: "sim", Checksum: "1"}, Functions: []engine.Function{{
			ID: engine.UUID{200}, Env: env, App: "pulled", Slug: pulledSlug, Name: pulledSlug, Door: "sim", MaxAttempts: 3, Pulled: true, Pool: poolName,
			FailuresOnly: true, Config: json.RawMessage(`{}`),
		}}}, func(any) { done = true })
		w.flush()
	}
	return w
}

func (w *workers) step() {
	switch n := w.rng.IntN(100); {
	case n < 10:
		w.start(nil)
	case n < 12:
		w.openOrClose(w.rng.IntN(2) == 0)
	case n < 25:
		w.lease()
	case n < 60:
		w.work()
	case n < 70:
		w.seal()
	case n < 84:
		w.commit()
		w.slots()
	case n < 86:
		w.fold()
	case n < 94:
		w.advance(int64(w.rng.IntN(700)))
	case n < 96:
		w.cancelOne()
	case n < 97:
		w.crash("power")
	case n < 98:
		w.breakDisk()
	default:
		w.forgetOne()
	}
}

// start starts a run, or says how a run that somebody waits for is started.
func (w *workers) start(parent *pulledRun) *engine.Start {
	p := &pulledRun{id: w.newID(w.now)}
	w.runs = append(w.runs, p)
	joins := []engine.QueueJoin{{Queue: lineName, Initial: engine.Policy{Parallelism: lineSlots}}}
	if w.rng.IntN(2) == 0 {
		joins = append(joins, engine.QueueJoin{Queue: keyName + string(rune('a'+w.rng.IntN(3))), Passing: true, Policy: &engine.Policy{Parallelism: keySlots}})
	}
	c := &engine.Start{
		Env: env, Slug: pulledSlug, Run: p.id, Priority: int64(w.rng.IntN(3)) * 1000, Queues: joins,
		Events: []engine.Event{{Name: pulledSlug, Internal: true, Data: []byte(`{"k":0}`)}},
	}
	if w.rng.IntN(3) == 0 {
		c.Events[0].At = w.now + int64(w.rng.IntN(3000))
	}
	if w.rng.IntN(5) == 0 {
		c.StartTimeout = 1 + int64(w.rng.IntN(5000))
	}
	if parent == nil {
		w.apply(c, func(v any) { p.started = v.(engine.StartReply).Outcome == engine.Started })
	}
	return c
}

// openOrClose takes all slots of the line away, or gives them back; those who have one keep it.
func (w *workers) openOrClose(open bool) {
	n := lineSlots
	if !open {
		n = -1
	}
	w.apply(&engine.SetQueue{Env: env, Name: lineName, Parallelism: &n}, nil)
}

// slots checks that never more runs have a slot than there are, whoever goes on after a wait or a crash.
func (w *workers) slots() {
	w.apply(&engine.ReadQueues{Env: env, Prefix: lineName}, func(v any) {
		for _, q := range v.([]engine.QueueState) {
			limit := keySlots
			if q.Name == lineName {
				limit = lineSlots
			}
			if q.Active > limit {
				w.check.fail("queue %s: %d runs have a slot of %d", q.Name, q.Active, limit)
			}
		}
	})
}

func (w *workers) find(id engine.ID) *pulledRun {
	i := slices.IndexFunc(w.runs, func(p *pulledRun) bool { return p.id == id })
	if i < 0 {
		panic("no run " + id.String())
	}
	return w.runs[i]
}

// told checks a token that somebody hears of.
func (w *workers) told(p *pulledRun, token engine.ID, what string) {
	if token.Compare(p.token) < 0 {
		w.check.fail("run %s: %s gave the token %s after %s", p.id, what, token, p.token)
	}
	p.token = token
}

func (w *workers) randomLapse() engine.Lapse {
	if w.rng.IntN(2) == 0 {
		return engine.Lapse{Return: true, Wait: int64(w.rng.IntN(300)), Most: 4, Error: []byte(`{"message":"nobody began"}`)}
	}
	return engine.Lapse{Error: []byte(`{"message":"not heard of"}`), Final: w.rng.IntN(4) == 0}
}

// lease takes runs. Workers that found nothing do not ask again before they are told: an engine that forgets to tell them never comes to rest.
func (w *workers) lease() {
	if w.idle == w.wakes {
		return
	}
	wakes := w.wakes
	c := &engine.Lease{Env: env, Pools: []string{poolName, "bound"}, Bind: "bound", Max: 1 + w.rng.IntN(3), Hold: leaseHold, Lapse: w.randomLapse()}
	w.apply(c, func(v any) {
		if got := v.([]engine.Leased); len(got) < c.Max {
			w.idle = wakes
		}
		for _, l := range v.([]engine.Leased) {
			p := w.find(l.Run)
			if p.over {
				w.check.fail("run %s was leased after its end was acknowledged", p.id)
			}
			if l.Pool != "bound" {
				w.check.fail("run %s is in the pool %q after it was bound", p.id, l.Pool)
			}
			w.told(p, l.Token, "a lease")
			w.held = append(w.held, &holding{run: p, token: l.Token, attempt: l.Attempt})
		}
	})
}

// work lets a worker do something with what it believes to hold.
func (w *workers) work() {
	if len(w.held) == 0 {
		return
	}
	h := w.held[w.rng.IntN(len(w.held))]
	switch n := w.rng.IntN(10); {
	case !h.begun:
		w.hold(h, true)
	case n < 1:
		w.hold(h, false)
	case n < 2:
		w.beginAgain(h)
	case n < 5:
		w.wait(h)
	default:
		w.report(h)
	}
}

func (w *workers) hold(h *holding, begin bool) {
	c := &engine.Hold{Run: h.run.id, Token: h.token, Begin: begin}
	if begin {
		l := w.randomLapse()
		c.Hold, c.Lapse = leaseHold, &l
	}
	before := h.run.token
	w.apply(c, func(v any) {
		s := v.(engine.LeaseState)
		if !s.Held {
			return
		}
		if c.Token.Compare(before) < 0 {
			w.check.fail("run %s: the token %s was taken although %s was given out", h.run.id, c.Token, before)
		}
		w.told(h.run, s.Token, "a hold")
		if c.Begin {
			h.from = c.Token
		}
		h.token, h.begun, h.attempt = s.Token, s.Begun, s.Attempt
	})
}

// beginAgain asks for the reply to a beginning once more, as a worker does that did not hear it.
func (w *workers) beginAgain(h *holding) {
	w.apply(&engine.Hold{Run: h.run.id, Token: h.from, Begin: true, Again: true, Hold: leaseHold}, func(v any) {
		s := v.(engine.LeaseState)
		switch {
		case !s.Held:
		case s.Attempt != h.attempt || !s.Begun || s.Blocked:
			w.check.fail("run %s: attempt %d was begun, and once more it is %+v", h.run.id, h.attempt, s)
		default:
			w.told(h.run, s.Token, "a beginning once more")
			h.token = s.Token
		}
	})
}

// wait makes a run wait for something, and tells its worker of the token.
func (w *workers) wait(h *holding) {
	step := engine.Step{ID: w.newID(w.now).String(), Name: "wait"}
	var ops []engine.Op
	for range 1 + w.rng.IntN(3) {
		op := engine.Op{Kind: engine.OpSleep, Step: step, Until: w.now + int64(w.rng.IntN(1500))}
		op.Step.ID += fmt.Sprint(len(ops))
		switch w.rng.IntN(4) {
		case 0:
			op.Kind, op.Value = engine.OpStepDone, []byte("1")
		case 1:
			op.Kind, op.Signal, op.OnTimeout, op.OnTimeoutKind = engine.OpWaitSignal, op.Step.ID, []byte("null"), engine.ValueRaw
		case 2:
			op.Kind, op.Until, op.Child = engine.OpInvoke, 0, w.start(h.run)
		}
		ops = append(ops, op)
	}
	w.apply(&engine.Block{Run: h.run.id, Short: w.rng.IntN(3) == 0, Ops: ops}, func(v any) {
		for i := range ops {
			if c := ops[i].Child; c != nil {
				w.find(c.Run).started = v.(bool)
			}
		}
		if v.(bool) && h.run.over {
			w.check.fail("run %s was made to wait after its end was acknowledged", h.run.id)
		}
	})
	if w.rng.IntN(2) == 0 {
		w.apply(&engine.Signal{Env: env, Name: "none", Also: []string{step.ID + "0", step.ID + "1"}, Value: []byte("1")}, nil)
	}
	w.learn(h)
}

// learn lets a worker look where its run is.
func (w *workers) learn(h *holding) {
	w.apply(&engine.ReadLease{Run: h.run.id}, func(v any) {
		if s := v.(engine.LeaseState); s.Held {
			w.told(h.run, s.Token, "a look")
			h.token, h.begun = s.Token, s.Begun
		}
	})
}

func (w *workers) report(h *holding) {
	rep := &engine.Report{Run: h.run.id, Request: h.token, Ops: []engine.Op{{Kind: engine.OpRunDone, Value: []byte(`"done"`)}}}
	fails := !w.calm && w.rng.IntN(2) == 0
	if fails {
		rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Value: []byte(`{"message":"boom"}`), RetryAt: w.now + int64(w.rng.IntN(1000))}}
		if w.rng.IntN(2) == 0 {
			rep.Keep = &engine.Keep{Hold: leaseHold, Lapse: w.randomLapse()}
		}
	}
	before := h.run.token
	w.apply(rep, func(v any) {
		if !v.(bool) {
			return
		}
		switch {
		case h.run.finished:
			w.check.fail("run %s: a second outcome was taken", h.run.id)
		case h.run.over:
			w.check.fail("run %s: an outcome was taken after its end was acknowledged", h.run.id)
		case rep.Request.Compare(before) < 0:
			w.check.fail("run %s: the outcome for %s was taken although %s was given out", h.run.id, rep.Request, before)
		}
		if !fails {
			h.run.finished, h.run.over = true, true
		}
	})
	w.learn(h)
}

func (w *workers) cancelOne() {
	if len(w.runs) == 0 {
		return
	}
	p := w.runs[w.rng.IntN(len(w.runs))]
	w.apply(&engine.Cancel{Run: p.id, Reason: "because"}, func(v any) { p.over, p.cancelled = p.over || v.(bool), p.cancelled || v.(bool) })
}

// forgetOne is a worker that vanishes.
func (w *workers) forgetOne() {
	if len(w.held) > 0 {
		i := w.rng.IntN(len(w.held))
		w.held = slices.Delete(w.held, i, i+1)
	}
}

// rest lets good workers finish everything, and then holds the server to its promises.
func (w *workers) rest() error {
	w.calm = true
	w.disk.SetHook(nil)
	w.flush()
	w.openOrClose(true)
	w.flush()
	w.held = nil
	for range 100_000 {
		w.lease()
		w.flush()
		for _, h := range slices.Clone(w.held) {
			w.hold(h, true)
			w.flush()
			if h.begun {
				w.report(h)
			}
			w.flush()
		}
		w.held = nil
		for _, f := range w.facts {
			w.failures[f.Run] = true
			w.apply(&engine.Settled{Facts: []engine.ID{f.Run}}, nil)
		}
		w.facts = nil
		w.flush()
		if w.unfinished() == 0 {
			return w.atRest()
		}
		if at, ok := w.core.Machine.Next(); ok {
			w.now = max(w.now, at)
			w.tick()
			w.flush()
		}
	}
	return fmt.Errorf("%d leased runs do not come to an end", w.unfinished())
}

func (w *workers) unfinished() int {
	n := 0
	w.apply(&engine.LiveRuns{Fn: engine.UUID{200}}, func(v any) { n = len(v.([]engine.ID)) })
	w.flush()
	return n
}

func (w *workers) atRest() error {
	slices.SortFunc(w.runs, func(a, b *pulledRun) int { return cmp.Compare(a.id.String(), b.id.String()) })
	for _, p := range w.runs {
		row, err := history.Run(context.Background(), w.core.Store, p.id)
		must(err)
		switch {
		case row == nil && p.started:
			w.check.fail("run %s was acknowledged and is gone", p.id)
		case row == nil:
		case p.finished && row.Status != engine.Completed:
			w.check.fail("run %s was completed and is %s", p.id, row.Status)
		case p.cancelled && row.Status != engine.Cancelled:
			w.check.fail("run %s was cancelled and is %s", p.id, row.Status)
		case !row.Status.Ended():
			w.check.fail("run %s is %s at the end", p.id, row.Status)
		case w.failures[p.id] != (row.Status == engine.Failed):
			w.check.fail("run %s is %s, and that the door was told of a failure is %v", p.id, row.Status, w.failures[p.id])
		}
	}
	// Workers that were told to stop are given their time.
	w.now += 10 * leaseHold * 30
	w.tick()
	w.flush()
	w.apply(&engine.ReadQueues{Env: env, Prefix: lineName}, func(v any) {
		for _, q := range v.([]engine.QueueState) {
			if q.Active != 0 || q.Waiting != 0 {
				w.check.fail("queue %s has %d active and %d waiting at the end", q.Name, q.Active, q.Waiting)
			}
			if q.Name != lineName {
				w.check.fail("queue %s is still there although nobody is in it", q.Name)
			}
		}
	})
	w.apply(&engine.Overview{}, func(v any) {
		if c := v.(engine.Counts); c.Leases != 0 {
			w.check.fail("%d leases are held at the end", c.Leases)
		}
	})
	w.flush()
	return nil
}
