package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Driven runs get their steps from outside, by whoever knows their name: steps that are due at once or later, and steps that wait to be
// brought forward.

const drivenSlug = "driven"

// drivenNames are the keys of driven runs; while one of a name is unfinished there is no other.
var drivenNames = []string{"name-0", "name-1", "name-2"}

type drivenRun struct {
	name    string
	started bool // acknowledged
	over    bool // somebody was told that it has ended
	steps   map[string]*drivenStep
}

type drivenStep struct {
	planned  bool     // acknowledged
	inputs   []string // that it may have been called with
	brought  bool     // acknowledged, or possible: the last input counts
	forever  bool     // it waits until it is brought forward
	input    string   // of its first call
	snapshot string   // the steps that came before it, as of its first call
	queue    string
}

// plan makes an op for a new step.
func (w *world) plan(d *drivenRun) (engine.Op, *drivenStep) {
	id := fmt.Sprintf("d%d", len(d.steps))
	s := &drivenStep{inputs: []string{"input of " + id}}
	op := engine.Op{Kind: engine.OpPlan, Step: engine.Step{ID: id, Name: id}, Input: []byte(s.inputs[0]), KeepInput: true, Attempts: 1 + w.rng.IntN(4)}
	switch w.rng.IntN(5) {
	case 0:
		op.Until = w.now + int64(w.rng.IntN(3000))
	case 1:
		op.Await, op.Until = true, w.now+1+int64(w.rng.IntN(4000))
	case 2:
		op.Await, s.forever = true, true
	}
	if w.rng.IntN(3) == 0 {
		i := w.rng.IntN(len(keyed))
		p := policies[i]
		op.Queues, s.queue = []engine.QueueJoin{{Queue: keyed[i], Policy: &p}}, keyed[i]
	}
	d.steps[id] = s
	return op, s
}

// drive does something with a driven run.
func (w *world) drive() {
	ids := w.check.drivenIDs()
	if len(ids) == 0 || w.rng.IntN(8) == 0 {
		w.startDriven()
		return
	}
	id := ids[w.rng.IntN(len(ids))]
	d := w.check.driven[id]
	switch n := w.rng.IntN(12); {
	case n < 6:
		op, s := w.plan(d)
		w.apply(&engine.Drive{Run: id, Ops: []engine.Op{op}}, func(v any) {
			w.check.drove(id, v.(engine.DriveReply), false)
			s.planned = v.(engine.DriveReply) == engine.DriveDone
		})
	case n < 10:
		w.bring(id, d)
	case n < 11:
		step := fmt.Sprintf("done%d", w.rng.IntN(100))
		w.apply(&engine.Drive{Run: id, Ops: []engine.Op{{Kind: engine.OpStepDone, Step: engine.Step{ID: step}, Input: []byte("kept"), KeepInput: true}}}, nil)
	case w.rng.IntN(4) == 0:
		w.apply(&engine.Drive{Run: id, Ops: []engine.Op{{Kind: engine.OpRunDone, Value: []byte(`"over"`)}}}, func(v any) { w.check.drove(id, v.(engine.DriveReply), true) })
	}
}

func (w *world) startDriven() {
	d := &drivenRun{name: drivenNames[w.rng.IntN(len(drivenNames))], steps: map[string]*drivenStep{}}
	op, s := w.plan(d)
	s.planned = true // if the run is
	c := &engine.Start{
		Env: env, Slug: drivenSlug, Run: w.newID(w.now), Key: d.name, KeyOfRun: true, KeyWindow: 1000, Ops: []engine.Op{op},
		Events: []engine.Event{{Name: drivenSlug, Internal: true, Data: []byte(`{"k":0}`)}},
	}
	row, _, err := w.core.Store.Get(context.Background(), store.Idempotency, engine.IdempotencyKey(env, engine.StartKey(c.Slug, c.Key)))
	must(err)
	c.SetKnown(engine.ParseIdempotency(row))
	w.check.driven[c.Run] = d
	w.apply(c, func(v any) {
		r := v.(engine.StartReply)
		switch {
		case r.Outcome == engine.Started:
			d.started = true
			for id, o := range w.check.driven {
				if o != d && o.started && o.name == d.name && !w.check.ended(id) && !w.check.ended(c.Run) {
					w.check.fail("driven runs %s and %s have the name %s at the same time", id, c.Run, d.name)
				}
			}
		case r.Outcome == engine.Duplicate && w.check.driven[r.Run] != nil && w.check.driven[r.Run].name == d.name:
		default:
			w.check.fail("driven run %s: outcome %d, run %s", c.Run, r.Outcome, r.Run)
		}
	})
}

// bring brings a step forward that waits, or may wait no more.
func (w *world) bring(id engine.ID, d *drivenRun) {
	for n := range len(d.steps) {
		step := fmt.Sprintf("d%d", n)
		s := d.steps[step]
		if !s.planned || w.rng.IntN(3) > 0 {
			continue
		}
		input := fmt.Sprintf("input %d of %s", len(s.inputs), step)
		s.inputs = append(s.inputs, input)
		w.apply(&engine.Drive{Run: id, Ops: []engine.Op{{Kind: engine.OpPlan, Step: engine.Step{ID: step, Name: step}, Input: []byte(input), KeepInput: true}}}, func(v any) {
			w.check.drove(id, v.(engine.DriveReply), false)
			if v.(engine.DriveReply) != engine.DriveDone {
				return
			}
			s.forever = false
			if s.brought {
				w.check.fail("driven run %s: step %s was brought forward twice", id, step)
			}
			if s.brought = true; s.input != "" && s.input != input {
				w.check.fail("driven run %s: step %s was called with %q and then brought forward with %q", id, step, s.input, input)
			}
			s.inputs = []string{input}
		})
		return
	}
}

// driveWork is what the call of a driven run's step brings.
func (w *world) driveWork(c *call, fails int) (ops []engine.Op, ran []string) {
	step := engine.Step{ID: c.StepID, Name: c.StepID}
	switch {
	case w.calm || w.rng.IntN(100) >= fails:
		ops = []engine.Op{{Kind: engine.OpStepDone, Step: step, Value: []byte("1")}}
		if d := w.check.driven[c.Run]; !w.calm && w.rng.IntN(5) == 0 {
			op, _ := w.plan(d)
			ops = append(ops, op)
		}
		return ops, []string{c.StepID}
	case c.Attempt+1 < c.MaxAttempts:
		return []engine.Op{{Kind: engine.OpStepFailed, Step: step, Value: []byte(`{}`), RetryAt: w.now + int64(w.rng.IntN(2000))}}, nil
	default:
		return []engine.Op{{Kind: engine.OpStepFailed, Final: true, Step: step, Value: []byte(`{}`)}, {Kind: engine.OpRunFailed, Final: true, Value: []byte(`{}`)}}, nil
	}
}

// endDriven ends all driven runs, once nothing is left to do in them; false when there was none to end.
func (w *world) endDriven() bool {
	any := false
	for id, d := range w.check.driven { // each is ended on its own, and nothing random follows
		if w.check.row(id) == nil || w.check.ended(id) {
			continue // its start may have been lost in a crash
		}
		any = true
		for step, s := range d.steps {
			if d.started && s.planned && !s.forever && s.input == "" {
				w.check.fail("driven run %s: step %s was acknowledged and never called", id, step)
			}
		}
		w.apply(&engine.Drive{Run: id, Ops: []engine.Op{{Kind: engine.OpRunDone, Value: []byte("0")}}}, nil)
	}
	w.flush()
	return any
}

// drivenIDs are the driven runs that were acknowledged, in order.
func (c *checker) drivenIDs() []engine.ID {
	var ids []engine.ID
	for id, d := range c.driven { // sorted below
		if d.started {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b engine.ID) int { return a.Compare(b) })
	return ids
}

// drove checks the answer to a Drive.
func (c *checker) drove(id engine.ID, r engine.DriveReply, ends bool) {
	d := c.driven[id]
	switch {
	case r == engine.DriveUnknown && !c.ended(id) && (c.runs[id] == nil || !c.runs[id].cancelled): // a cancelled run may end later
		c.fail("driven run %s is not finished, but a Drive was told so", id)
	case r == engine.DriveDone && d.over:
		c.fail("driven run %s had ended and was driven on", id)
	case r == engine.DriveUnknown, r == engine.DriveDone && ends:
		d.over = true
	}
}

// drivenCall checks a call of a driven run's step: what it is given is the same at every attempt, whatever happened in between.
func (c *checker) drivenCall(cl *call) {
	d := c.driven[cl.Run]
	if d == nil {
		return
	}
	if d.over {
		c.fail("driven run %s: step %s was called after its end was acknowledged", cl.Run, cl.StepID)
	}
	if c.runs[cl.Run].done[cl.StepID] {
		c.fail("driven run %s: step %s was called after its outcome was acknowledged", cl.Run, cl.StepID)
	}
	if c.ended(cl.Run) {
		return
	}
	s := d.steps[cl.StepID]
	raw, ok, err := c.w.core.Store.Get(context.Background(), store.Steps, engine.StepInputKey(cl.Run, cl.StepID))
	must(err)
	if !ok || !slices.Contains(s.inputs, string(raw)) {
		c.fail("driven run %s step %s: its input is %q, want one of %q", cl.Run, cl.StepID, raw, s.inputs)
	}
	before := c.snapshot(cl.Run, cl.StepID)
	if s.input != "" && (s.input != string(raw) || s.snapshot != before) {
		c.fail("driven run %s step %s: called with %q after %s, and before with %q after %s", cl.Run, cl.StepID, raw, before, s.input, s.snapshot)
	}
	s.input, s.snapshot = string(raw), before
}

// snapshot lists the steps that began before one, in order.
func (c *checker) snapshot(run engine.ID, step string) string {
	rows, err := c.w.core.Store.List(context.Background(), store.Steps, engine.RunKey(run))
	must(err)
	var steps []*engine.StepRow
	var own *engine.StepRow
	for _, r := range rows {
		if engine.IsStepInput(r.Key) {
			continue
		}
		s, err := engine.ParseStepRow(r.Value)
		must(err)
		if steps = append(steps, s); s.ID == step {
			own = s
		}
	}
	if own == nil {
		return "nothing: it is not stored"
	}
	slices.SortFunc(steps, func(a, b *engine.StepRow) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.Job, b.Job))
	})
	var ids []string
	for _, s := range steps[:slices.Index(steps, own)] {
		if s.Begin > 0 {
			ids = append(ids, s.ID)
		}
	}
	return strings.Join(ids, " ")
}
