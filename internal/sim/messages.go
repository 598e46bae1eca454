package sim

import (
	"context"
	"strconv"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Messages are delivered as a door does it: what came of the last attempt is a step, told by a callback that the run waits for, and a
// failure leaves a dead letter in the same commit.

const (
	deliverStep  = "deliver"
	callbackStep = "callback"
)

// toldOf says whether the outcome of a message is told; half of them ask for it.
func toldOf(id engine.ID) bool { return id[15]%2 == 0 }

// deliver is one attempt to deliver a message, or the end of one whose outcome is told.
func (w *world) deliver(c *call, fails int) (rep engine.Report, ran []string) {
	step := engine.Step{ID: deliverStep, Name: deliverStep}
	if row := w.stepRow(c.Run, deliverStep); row != nil && row.Seq > 0 {
		w.check.sees(c, map[string]bool{deliverStep: true, callbackStep: true})
		op := engine.Op{Kind: engine.OpRunDone, Value: row.Value}
		if row.Kind == engine.ValueError {
			op = engine.Op{Kind: engine.OpRunFailed, Final: true, Value: row.Value}
		}
		rep.Ops = []engine.Op{op}
		return rep, nil
	}
	w.check.sees(c, nil)
	switch failed := !w.calm && w.rng.IntN(100) < fails; {
	case failed && c.Attempt+1 < c.MaxAttempts:
		rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Value: []byte(`{}`), RetryAt: w.now + int64(w.rng.IntN(3000))}}
		return rep, nil
	case failed:
		rep.Ops = []engine.Op{{Kind: engine.OpStepFailed, Final: true, Step: step, Value: []byte(`{}`)}}
		rep.Rows = []engine.RowPut{{Table: store.Dead, Key: c.Run[:], Value: []byte("dead")}}
	default:
		rep.Ops = []engine.Op{{Kind: engine.OpStepDone, Step: step, Value: []byte(strconv.Itoa(c.Attempt))}}
	}
	if toldOf(c.Run) {
		rep.Ops = append(rep.Ops, engine.Op{
			Kind: engine.OpInvoke, Step: engine.Step{ID: callbackStep, Name: callbackStep}, OnTimeoutKind: engine.ValueError,
			Child: &engine.Start{Slug: "child", Events: []engine.Event{{Name: "told", Data: []byte(`{}`), Internal: true}}},
		})
	}
	return rep, []string{deliverStep}
}

// stepRow reads a step; nil when there is none.
func (w *world) stepRow(run engine.ID, step string) *engine.StepRow {
	v, ok, err := w.core.Store.Get(context.Background(), store.Steps, engine.StepRowKey(run, step))
	must(err)
	if !ok {
		return nil
	}
	row, err := engine.ParseStepRow(v)
	must(err)
	return row
}

// outcomes checks that each outcome of a message is told exactly once if that was asked for, and that those which failed, and no others,
// are dead letters.
func (c *checker) outcomes() {
	told := map[engine.ID]int{}
	must(c.w.core.Store.Load(context.Background(), store.Runs, func(_, v []byte) error {
		r, err := engine.ParseRunRow(v)
		must(err)
		if r.Parent != (engine.ID{}) {
			told[r.Parent]++
		}
		return nil
	}))
	for id := range c.messages {
		row := c.w.stepRow(id, deliverStep)
		over := row != nil && row.Seq > 0
		want := 0
		if over && toldOf(id) {
			want = 1
		}
		if told[id] != want {
			c.fail("message %s: its outcome was told %d times, want %d", id, told[id], want)
		}
		_, dead, err := c.w.core.Store.Get(context.Background(), store.Dead, id[:])
		must(err)
		if failed := over && row.Kind == engine.ValueError; dead != failed {
			c.fail("message %s: failed %v, a dead letter %v", id, failed, dead)
		}
	}
}
