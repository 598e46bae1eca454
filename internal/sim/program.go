package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
)

// program is a function that apps run: stages one after the other, the steps of one stage at the same time.
type program struct {
	slug    string
	event   string
	stages  [][]item
	flow    engine.Flow
	cancel  bool // an event ends its runs
	fails   int  // of 100 calls
	join    engine.Join
	fifo    bool // one run at a time, in the order of the events
	child   bool // started by others only
	driven  bool
	message bool
}

type item struct {
	kind engine.OpKind
	id   string
}

// keys is the number of different values of data.k in events.
const keys = 3

func makePrograms(rng *rand.Rand) []*program {
	kinds := []engine.OpKind{engine.OpStepDone, engine.OpStepDone, engine.OpStepDone, engine.OpSleep, engine.OpWaitEvent, engine.OpInvoke}
	var progs []*program
	for i := range 6 {
		p := &program{slug: "fn-" + strconv.Itoa(i), event: "ev/" + strconv.Itoa(rng.IntN(4)), fails: rng.IntN(25), join: engine.Join(rng.IntN(2)), cancel: rng.IntN(3) == 0}
		for s := range rng.IntN(4) {
			var stage []item
			for k := range 1 + rng.IntN(2)*rng.IntN(4) {
				stage = append(stage, item{kinds[rng.IntN(len(kinds))], fmt.Sprintf("s%d-%d", s, k)})
			}
			p.stages = append(p.stages, stage)
		}
		p.flow = makeFlow(rng, p)
		progs = append(progs, p)
	}
	progs = append(progs, &program{slug: drivenSlug, event: "none", child: true, driven: true, fails: 20})
	progs = append(progs, &program{slug: "message", event: "none", child: true, message: true, fails: 20})
	return append(progs, &program{slug: "child", event: "none", child: true, fails: 10, stages: [][]item{{{engine.OpStepDone, "c"}}}})
}

// makeFlow draws flow control; some programs have none.
func makeFlow(rng *rand.Rand, p *program) (f engine.Flow) {
	key := func() string {
		if rng.IntN(2) == 0 {
			return ""
		}
		return "event.data.k"
	}
	switch rng.IntN(9) {
	case 0:
		f.Concurrency = []engine.Concurrency{{Limit: 1 + rng.IntN(3), Scope: engine.ScopeFunction, Key: key()}}
	case 1:
		f.Concurrency = []engine.Concurrency{{Limit: 2, Scope: engine.ScopeFunction}, {Limit: 1, Scope: engine.ScopeEnv, Key: "event.data.k"}}
	case 2:
		f.Concurrency = []engine.Concurrency{{Limit: 1, Scope: engine.ScopeFunction, PerRun: true}}
		p.fifo, p.cancel = true, false
	case 3:
		f.Throttle = &engine.Rate{Limit: 1 + rng.IntN(3), Period: 1000, Burst: rng.IntN(2), Key: key()}
	case 4:
		f.RateLimit = &engine.Rate{Limit: 1 + rng.IntN(20), Period: 2000, Key: key()}
	case 5:
		f.Debounce = &engine.Debounce{Period: 500, Timeout: int64(rng.IntN(2) * 2000), Key: key()}
	case 6:
		f.Batch = &engine.Batch{Size: 2 + rng.IntN(4), Timeout: 1000, Key: key()}
		p.cancel = false
	case 7:
		f.Singleton = &engine.Singleton{Key: key(), Cancel: rng.IntN(2) == 0}
	}
	return f
}

// register tells the server about all programs.
func (w *world) register() {
	for done := false; !done; { // a crash may lose it
		w.apply(w.registration(), func(any) { done = true })
		w.flush()
	}
}

func (w *world) registration() *engine.Register {
	r := &engine.Register{App: engine.App{Env: env, Name: "app", Door: "sim", Checksum: strconv.Itoa(w.rng.Int())}}
	for i, p := range w.progs {
		f := engine.Function{
			ID: engine.UUID{byte(i + 1)}, Env: env, App: "app", Slug: p.slug, Name: p.slug, Door: "sim", Target: "app", MaxAttempts: 4, Flow: p.flow,
			Triggers: []engine.Trigger{{Event: p.event}}, Config: json.RawMessage(`{}`), Driven: p.driven,
		}
		if p.cancel {
			f.Cancel = []engine.CancelRule{{Event: "stop", If: "event.data.k == async.data.k"}}
		}
		r.Functions = append(r.Functions, f)
	}
	return r
}

// reconfigure changes a limit while runs are under way.
func (w *world) reconfigure() {
	p := w.progs[w.rng.IntN(len(w.progs))]
	switch {
	case len(p.flow.Concurrency) == 1 && !p.fifo:
		p.flow.Concurrency = slices.Clone(p.flow.Concurrency)
		p.flow.Concurrency[0].Limit = 1 + w.rng.IntN(4)
	case p.flow.Throttle != nil:
		t := *p.flow.Throttle
		t.Limit = 1 + w.rng.IntN(4)
		p.flow.Throttle = &t
	default:
		return
	}
	w.note("reconfigure %s", p.slug)
	w.flush()
	w.check.changed(p)
	w.register()
}

func (w *world) sendEvents() {
	c := &engine.SendEvents{Env: env}
	for range 1 + w.rng.IntN(3) {
		w.check.sent++
		ev := engine.Event{Name: "ev/" + strconv.Itoa(w.rng.IntN(4)), Data: fmt.Appendf(nil, `{"k":%d,"n":%d}`, w.rng.IntN(keys), w.check.sent)}
		switch w.rng.IntN(12) {
		case 0:
			ev.Name = "stop"
		case 1:
			ev.Name = "wake"
		case 2:
			ev.At = w.now + int64(w.rng.IntN(3000))
		}
		c.Events = append(c.Events, ev)
	}
	events := slices.Clone(c.Events)
	w.apply(c, func(v any) { w.check.accepted(events, v.(engine.SendReply).IDs) })
}

func (w *world) cancelSome() {
	runs := w.check.unfinished()
	if len(runs) == 0 {
		return
	}
	id := runs[w.rng.IntN(len(runs))]
	w.apply(&engine.Cancel{Run: id, Gently: w.rng.IntN(2) == 0}, func(v any) {
		if v.(bool) {
			w.check.cancelled(id)
		}
	})
}

// answer lets one call that is out come back, with its work done, or failed, or lost.
func (w *world) answer() {
	i := slices.IndexFunc(w.calls, func(c *call) bool { return c.due <= w.now || w.calm })
	if i < 0 {
		return
	}
	c := w.calls[i]
	w.calls = slices.Delete(w.calls, i, i+1)
	p := w.program(c.Fn.Slug)
	rep := &engine.Report{Run: c.Run, Request: c.Request, Join: p.join, Call: engine.CallInfo{Started: w.now, Ended: w.now}}
	ran := []string{}
	if p.driven {
		rep.Ops, ran = w.driveWork(c, p.fails)
	} else if p.message {
		var out engine.Report
		out, ran = w.deliver(c, p.fails)
		rep.Ops, rep.Rows = out.Ops, out.Rows
	} else if !w.calm && w.rng.IntN(100) < p.fails {
		rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Value: []byte(`{"message":"boom"}`), RetryAt: w.now + int64(w.rng.IntN(3000)), Final: w.rng.IntN(10) == 0}}
	} else {
		rep.Ops, ran = w.work(p, c)
	}
	if !w.calm && !p.driven && !p.message && len(ran) == 1 && c.StepID == "" && w.rng.IntN(6) == 0 {
		// The app stores its step while it goes on, and then the connection breaks.
		cp := &engine.Checkpoint{Run: c.Run, Job: c.Job, Request: c.Request, Ops: slices.Clone(rep.Ops)}
		w.apply(cp, func(v any) {
			if v.(engine.CheckpointReply) == engine.CheckpointStored {
				w.check.memoized(c, ran)
			}
		})
		rep.Ops, ran = []engine.Op{{Kind: engine.OpRunFailed, Value: []byte(`{}`), RetryAt: w.now}}, nil
	}
	w.check.returned(c)
	twice := !w.calm && w.rng.IntN(12) == 0
	again := *rep
	again.Ops = slices.Clone(rep.Ops)
	w.apply(rep, func(v any) { w.check.reported(c, v.(bool), ran) })
	if twice {
		w.apply(&again, func(v any) {
			if v.(bool) {
				w.check.fail("run %s: the same report was taken twice", c.Run)
			}
		})
	}
}

func (w *world) program(slug string) *program {
	for _, p := range w.progs {
		if p.slug == slug {
			return p
		}
	}
	panic("no program " + slug)
}

// work is what an SDK does with a call: it skips what is stored and runs or reports what is new.
func (w *world) work(p *program, c *call) (ops []engine.Op, ran []string) {
	done := map[string]bool{}
	rows, err := w.core.Store.List(context.Background(), store.Steps, engine.RunKey(c.Run))
	must(err)
	for _, r := range rows {
		if engine.IsStepInput(r.Key) {
			continue
		}
		s, err := engine.ParseStepRow(r.Value)
		must(err)
		if s.Seq > 0 {
			done[s.ID] = true
		}
	}
	w.check.sees(c, done)
	for _, stage := range p.stages {
		var open []item
		for _, it := range stage {
			if !done[it.id] {
				open = append(open, it)
			}
		}
		if len(open) == 0 {
			continue
		}
		for _, it := range open {
			if c.StepID != "" && c.StepID != it.id {
				continue
			}
			run := c.StepID == it.id || len(open) == 1 && !c.PlanOnly
			op := w.op(p, c, it, run)
			if op.Kind == engine.OpStepDone {
				ran = append(ran, it.id)
			}
			ops = append(ops, op)
		}
		return ops, ran
	}
	if c.StepID != "" {
		return nil, nil
	}
	return []engine.Op{{Kind: engine.OpRunDone, Value: []byte(`"done"`)}}, nil
}

func (w *world) op(p *program, c *call, it item, run bool) engine.Op {
	op := engine.Op{Kind: it.kind, Step: engine.Step{ID: it.id, Name: it.id}}
	switch it.kind {
	case engine.OpStepDone:
		switch {
		case !run:
			op.Kind = engine.OpPlan
			if w.rng.IntN(3) == 0 {
				op.Input = []byte("input of " + it.id)
			}
		case !w.calm && w.rng.IntN(100) < p.fails:
			op.Kind, op.Value, op.RetryAt = engine.OpStepFailed, []byte(`{"message":"step"}`), w.now+int64(w.rng.IntN(2000))
		default:
			op.Value = []byte(strconv.Itoa(int(c.Attempt)))
		}
	case engine.OpSleep:
		op.Until = w.now + int64(w.rng.IntN(4000))
	case engine.OpWaitEvent:
		op.Event, op.Until = "wake", w.now+int64(w.rng.IntN(8000))
		op.OnTimeout, op.OnTimeoutKind = []byte("null"), engine.ValueRaw
		if w.rng.IntN(2) == 0 {
			prog, err := expr.Compile("async.data.k == event.data.k")
			must(err)
			b := prog.Bind(map[string]any{"data": map[string]any{"k": int64(w.rng.IntN(keys))}}, w.now)
			op.Match = &b
		}
	case engine.OpInvoke:
		op.Until = w.now + 1_000_000
		op.OnTimeout, op.OnTimeoutKind = []byte(`{"message":"late"}`), engine.ValueError
		op.Child = &engine.Start{Slug: "child", Events: []engine.Event{{Name: "invoked", Data: []byte(`{}`), Internal: true}}}
	}
	return op
}
