package engine

import (
	"encoding/json"
	"slices"

	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
)

// progress is what the ops of one report amounted to.
type progress struct {
	memoized int  // steps stored
	found    int  // new pending steps
	planned  int  // of those, how many are calls of their own
	raced    bool // a step that continues the run at once was stored
	more     bool // the SDK asked for another call
	retried  bool // the job will be repeated
}

// maxIdle is how many calls in a row may bring nothing new before a run counts as stuck. One happens when the answer to a
// call was lost; a second when that coincides with a step that was done meanwhile.
const maxIdle = 3

// report applies what a call answered.
func (m *Machine) report(c *Report) bool {
	fl := m.flights[c.Request]
	if l := m.leases[c.Run]; l != nil && l.request == c.Request {
		if m.keepLease(c, l) {
			return true
		}
		fl = l
	}
	if fl == nil || fl.run != c.Run {
		return false
	}
	j := fl.job
	m.land(fl)
	if j == nil {
		return false
	}
	r := j.run
	m.putRows(c.Rows)
	r.doorState, r.join = c.State, c.Join
	var p progress
	// Waits first, so that an event that a step of the same answer caused cannot be missed.
	for i := range c.Ops {
		if k := c.Ops[i].Kind; k == OpWaitEvent || k == OpWaitSignal {
			m.applyOp(r, j, &c.Ops[i], &c.Call, &p)
		}
	}
	for i := range c.Ops {
		if k := c.Ops[i].Kind; k != OpWaitEvent && k != OpWaitSignal {
			m.applyOp(r, j, &c.Ops[i], &c.Call, &p)
		}
		if r.ended {
			return true
		}
	}
	if r.ended {
		return true
	}
	if r.expired {
		m.giveUp(r)
		return true
	}
	m.touch(r)
	if !p.retried {
		m.dropInput(j)
		r.dropJob(j)
		if j.step != nil && j.race {
			p.raced = true
		}
		if j.step != nil || p.found == 0 {
			p.more = p.more || r.join == JoinEach && p.memoized > 0
		}
		if j.step == nil && (p.found > 1 || p.planned > 0) {
			r.parallel = true
		}
	}
	again := r.again && j.step == nil
	if again {
		r.again = false
	}
	if p.found > 0 {
		r.idle = 0
	}
	if r.fn.def.Pulled {
		m.dropWaits(r) // the next attempt begins at the top, and waits again if it has to
	}
	m.proceed(r, p.memoized > 0, p.more || p.raced || again)
	return true
}

// proceed makes the next call from the top if it is time for it. stored: a step was done since the last call; now: call
// even though steps are pending.
func (m *Machine) proceed(r *run, stored, now bool) {
	if r.fn.def.Pulled {
		m.unblock(r)
		return
	}
	if r.fn.def.Driven {
		return
	}
	if stored {
		r.idle = 0
	}
	switch {
	case now:
	case stored && r.join == JoinAll && r.pendingSteps(false) == 0:
	case len(r.jobs) == 0 && len(r.waits) == 0:
	default:
		return
	}
	for _, j := range r.jobs {
		if j.step != nil {
			continue
		}
		// Calls from the top are made one at a time: two at once could both find, and run, the same step.
		if j.flight != nil {
			r.again = true
			return
		}
		return // it is due anyway, or waits for its retry with everything stored so far
	}
	if !stored && !now {
		r.idle++
		if r.idle > maxIdle {
			m.finish(r, Failed, errorValue("Error", "the function answered repeatedly without a new step, a wait or a result; its code may depend on something other than its steps"), "")
			return
		}
	}
	m.addJob(r, nil, m.now)
}

func (m *Machine) applyOp(r *run, j *job, op *Op, call *CallInfo, p *progress) {
	if r.ended {
		return
	}
	switch op.Kind {
	case OpStepDone:
		if m.memoize(r, stepRow(op, j, call, ValueData)) {
			p.memoized++
			p.raced = p.raced || op.Race
		}
	case OpStepFailed:
		attempt := j.attempt
		if p.memoized > 0 {
			attempt = 0 // the steps before it were this job's success
		}
		final := op.Final || attempt+1 >= j.maxAttempts()
		m.putAttempt(r, op, attempt, final, call)
		if !final {
			m.retry(r, j, attempt+1, op.RetryAt)
			if k := hashStep(op.Step.ID); !r.has(k) {
				row := stepRow(op, j, call, ValueNone)
				row.Value, row.State, row.Attempt, row.Due = nil, "retrying", attempt, j.due
				m.putStep(r, row)
			}
			p.retried = true
			return
		}
		row := stepRow(op, j, call, ValueError)
		row.Attempt = attempt
		if m.memoize(r, row) {
			p.memoized++
			p.raced = p.raced || op.Race
		}
	case OpPlan:
		if !r.fn.def.Pulled && m.plan(r, op) {
			p.found++
			if op.Input == nil {
				p.planned++ // the function itself is called for it, and so must not run other steps meanwhile
			}
		}
	case OpSleep, OpWaitEvent, OpWaitSignal, OpInvoke:
		if m.await(r, op) {
			p.found++
		}
	case OpContinue:
		p.more = true
	case OpRunDone:
		m.finish(r, Completed, op.Value, "")
	case OpRunFailed:
		attempt := j.attempt
		if p.memoized > 0 {
			attempt = 0
		}
		final := op.Final || attempt+1 >= r.maxAttempts()
		m.putAttempt(r, op, attempt, final, call)
		if final {
			m.finish(r, Failed, op.Value, "")
			return
		}
		m.retry(r, j, attempt+1, op.RetryAt)
		p.retried = true
	}
}

func stepRow(op *Op, j *job, call *CallInfo, kind ValueKind) *StepRow {
	row := &StepRow{
		Step: op.Step, Kind: kind, Value: op.Value, Attempt: j.attempt, QueuedAt: j.queuedAt,
		Started: call.Started, Ended: call.Ended,
	}
	if j.step != nil && j.step.ID == op.Step.ID {
		row.Begin, row.Job = j.inRun()
		row.Child = j.child
	}
	if op.Started > 0 {
		row.Started = op.Started
	}
	if op.Ended > 0 {
		row.Ended = op.Ended
	}
	return row
}

// memoize stores a step's value. The first one wins: false means that there was one.
func (m *Machine) memoize(r *run, row *StepRow) bool {
	k := hashStep(row.ID)
	if r.has(k) {
		return false
	}
	// Whatever else was to give the value is no longer needed.
	for _, j := range r.jobs {
		if j.step != nil && j.key == k {
			m.withdraw(j)
			m.dropInput(j)
			r.dropJob(j)
			break
		}
	}
	for _, w := range r.waits {
		if w.key == k {
			m.dropWait(w)
			break
		}
	}
	r.steps = append(r.steps, k)
	row.Seq = len(r.steps)
	row.State = "done"
	if row.Kind == ValueError {
		row.State = "failed"
	}
	m.putStep(r, row)
	m.touch(r)
	return true
}

// retry repeats a job with its next attempt.
func (m *Machine) retry(r *run, j *job, attempt int, at int64) {
	j.attempt, j.due = attempt, max(at, m.now)
	m.touch(r)
	m.enqueue(j)
}

func (m *Machine) putAttempt(r *run, op *Op, attempt int, final bool, call *CallInfo) {
	a := AttemptRow{Step: op.Step, Attempt: attempt, Error: op.Value, Final: final, Call: *call}
	if !final {
		a.RetryAt = op.RetryAt
	}
	r.attempts++
	m.put(a.record(r.id, r.attempts))
}

// putStep writes a row of a step, and says so when it is the run's first.
func (m *Machine) putStep(r *run, row *StepRow) {
	rec := row.record(r.id)
	rec.First, r.hasSteps = !r.hasSteps, true
	m.put(rec)
}

// plan adds a call for one step.
func (m *Machine) plan(r *run, op *Op) bool {
	k := hashStep(op.Step.ID)
	if j := r.jobOf(k); j != nil && !op.Await && j.awaiting() {
		m.bring(j, op)
		return true
	}
	if r.has(k) || r.isPending(k) {
		return false
	}
	step := op.Step
	j := &job{run: r, step: &step, key: k, due: max(op.Until, m.now), queuedAt: m.now, race: op.Race, await: op.Await, attempts: op.Attempts, keep: op.KeepInput}
	if op.Await && op.Until == 0 {
		j.due = 0
	}
	m.number(j)
	if op.Target != "" || op.Queues != nil {
		j.routing = &routing{target: op.Target, queues: m.joinAll(r.env(), op.Queues)}
	}
	if op.Child != nil {
		j.child = op.Child.Run
	}
	r.jobs = append(r.jobs, j)
	m.touch(r)
	m.putStep(r, j.row())
	if op.Input != nil {
		j.input = true
		m.put(store.Record{Table: store.Steps, Key: StepInputKey(r.id, step.ID), Value: op.Input})
	}
	m.enqueue(j)
	if op.Child != nil {
		child := *op.Child
		child.Env = r.env()
		m.startFor(&child, []parent{{r.id, k}})
	}
	return true
}

// dropInput deletes what only the calls of a job needed.
func (m *Machine) dropInput(j *job) {
	if j.input && !j.keep {
		m.delete(store.Steps, StepInputKey(j.run.id, j.step.ID))
		j.input = false
	}
}

// await parks the run on a step that is done by something else than a call.
func (m *Machine) await(r *run, op *Op) bool {
	k := hashStep(op.Step.ID)
	if r.has(k) || r.isPending(k) {
		return false
	}
	w := &wait{
		run: r, step: op.Step, key: k, kind: op.Kind, race: op.Race, queuedAt: m.now, until: op.Until,
		event: op.Event, bound: op.Match, value: op.OnTimeout, valKind: op.OnTimeoutKind,
	}
	w.step.Type = intern(w.step.Type)
	if op.Kind == OpWaitSignal {
		w.event = op.Signal
		if old := m.env(r.env()).signals[op.Signal]; old != nil {
			if !op.SignalReplaces {
				m.finish(r, Failed, errorValue("Error", "Signal conflict; signal wait already exists for another run"), "")
				return true
			}
			delete(m.env(r.env()).signals, op.Signal) // the older wait can only time out now
		}
	}
	r.waits = append(r.waits, w)
	m.addWait(w)
	m.touch(r)
	m.putStep(r, w.row())
	if op.Kind == OpInvoke {
		m.invoke(r, w, op)
	}
	return true
}

// addWait makes the machine watch for what a wait waits for.
func (m *Machine) addWait(w *wait) {
	if w.until > 0 {
		m.timers.start(&w.timer, w.until, timerWait, w)
	}
	e := m.env(w.run.env())
	switch w.kind {
	case OpWaitEvent:
		x := e.waits[w.event]
		if x == nil {
			x = new(expr.Index[*wait])
			e.waits[w.event] = x
		}
		w.entry = x.Add(w.bound, w)
	case OpWaitSignal:
		if e.signals[w.event] == nil {
			e.signals[w.event] = w
		}
	}
}

func (m *Machine) dropWait(w *wait) {
	m.timers.stop(&w.timer)
	e := m.env(w.run.env())
	switch {
	case w.entry != nil:
		x := e.waits[w.event]
		x.Remove(w.entry)
		w.entry = nil
		if x.Len() == 0 {
			delete(e.waits, w.event)
		}
	case w.kind == OpWaitSignal && e.signals[w.event] == w:
		delete(e.signals, w.event)
	}
	r := w.run
	r.waits = slices.DeleteFunc(r.waits, func(o *wait) bool { return o == w })
}

func (w *wait) row() *StepRow {
	row := &StepRow{Step: w.step, State: "waiting", QueuedAt: w.queuedAt, Started: w.queuedAt, Due: w.until, Child: w.child}
	switch w.kind {
	case OpSleep:
		row.State = "sleeping"
	case OpInvoke:
		row.State = "invoking"
	}
	return row
}

// resume ends a wait with a value and continues its run.
func (m *Machine) resume(w *wait, kind ValueKind, value []byte, event ID) {
	r := w.run
	row := w.row()
	row.Kind, row.Value, row.Ended, row.Event = kind, value, m.now, event
	m.dropWait(w)
	m.memoize(r, row)
	m.proceed(r, true, r.join == JoinEach || w.race)
}

func (m *Machine) timeout(w *wait) {
	if w.kind == OpSleep {
		m.resume(w, ValueRaw, []byte("null"), ID{})
		return
	}
	m.resume(w, w.valKind, w.value, ID{})
}

// invoke starts the run that a step waits for.
func (m *Machine) invoke(r *run, w *wait, op *Op) {
	if o := m.runs[op.Joined]; o != nil && op.Joined != (ID{}) {
		o.spec.parents = append(o.spec.parents, parent{r.id, w.key})
		m.touch(o)
		m.linkChild(parent{r.id, w.key}, o.id)
		return
	}
	fail := func(msg string) { m.resolve(parent{r.id, w.key}, ID{}, ValueError, errorValue("Error", msg)) }
	if op.Child == nil {
		fail("the run has ended")
		return
	}
	child := *op.Child
	child.Env = r.env()
	switch m.startFor(&child, []parent{{r.id, w.key}}).Outcome {
	case NotFound:
		fail("could not find function with ID: " + child.Slug)
	case Limited:
		fail("invoked function is rate limited")
	case Duplicate:
		fail("the run that was to be started had been started before")
	}
}

// linkChild tells the waiting step which run it waits for.
func (m *Machine) linkChild(p parent, child ID) {
	r := m.runs[p.run]
	if r == nil {
		return
	}
	for _, w := range r.waits {
		if w.key == p.step {
			w.child = child
			m.touch(r)
			m.putStep(r, w.row())
		}
	}
}

func (m *Machine) resolveParents(ps []parent, child ID, kind ValueKind, value []byte) {
	for _, p := range ps {
		m.resolve(p, child, kind, value)
	}
}

// resolve gives a waiting step the result of the run it invoked.
func (m *Machine) resolve(p parent, _ ID, kind ValueKind, value []byte) {
	r := m.runs[p.run]
	if r == nil {
		return
	}
	for _, w := range r.waits {
		if w.key == p.step && w.kind == OpInvoke {
			m.resume(w, kind, value, ID{})
			return
		}
	}
}

// checkpoint stores steps of a call that goes on running.
func (m *Machine) checkpoint(c *Checkpoint) CheckpointReply {
	r := m.runs[c.Run]
	if r == nil {
		return CheckpointUnknown
	}
	var j *job
	for _, o := range r.jobs {
		if o.id == c.Job {
			j = o
		}
	}
	switch {
	case j == nil:
		return CheckpointStale
	case c.Request != (ID{}) && (j.flight == nil || j.flight.request != c.Request):
		return CheckpointStale
	case c.Generation != 0 && c.Generation < j.gen:
		return CheckpointStale
	}
	var p progress
	call := CallInfo{Started: m.now, Ended: m.now}
	for i := range c.Ops {
		switch c.Ops[i].Kind {
		case OpStepDone, OpPlan:
			m.applyOp(r, j, &c.Ops[i], &call, &p)
		}
	}
	if p.memoized > 0 {
		j.attempt = 0
		r.idle = 0
	}
	m.touch(r)
	return CheckpointStored
}

// errorValue is an error of the engine's own as a step or run shows it.
func errorValue(name, message string) []byte {
	b, _ := json.Marshal(struct { // strings always marshal
		Name    string `json:"name"`
		Message string `json:"message"`
	}{name, message})
	return b
}
