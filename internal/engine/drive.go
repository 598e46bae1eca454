package engine

import "github.com/quartetjobs/quartet/internal/store"

// Runs of a function that is Driven make no calls from the top: what is to happen in them is said from outside, by Start.Ops and Drive, and
// a call is made for each step that is planned so. Where a protocol lets the app submit its steps instead of returning them, its runs
// are driven.

// Drive applies ops to an unfinished run from outside of its calls: all of them, or none if one would change nothing. OpPlan,
// OpStepDone, OpRunDone and OpRunFailed count. Reply: DriveReply.
type Drive struct {
	Run  ID
	Ops  []Op
	Rows []RowPut // written together with what the ops do
}

// DriveReply is the answer to a Drive.
type DriveReply uint8

// Drive replies. All but the first mean that nothing was done.
const (
	DriveDone      DriveReply = iota
	DriveUnknown              // no such unfinished run
	DriveRefused              // a step is known already
	DriveDuplicate            // the run that a step is to start has a key that is taken
)

func (*Drive) command() {}

func (m *Machine) drive(c *Drive) DriveReply {
	r := m.runs[c.Run]
	if r == nil || r.expired {
		return DriveUnknown
	}
	for i := range c.Ops {
		if rep := m.drivable(r, &c.Ops[i]); rep != DriveDone {
			return rep
		}
	}
	m.putRows(c.Rows)
	for i := range c.Ops {
		m.driveOp(r, &c.Ops[i])
	}
	return DriveDone
}

// drivable says whether an op has something to do.
func (m *Machine) drivable(r *run, op *Op) DriveReply {
	k := hashStep(op.Step.ID)
	switch op.Kind {
	case OpPlan:
		j := r.jobOf(k)
		if r.has(k) || j == nil && r.isPending(k) || j != nil && (op.Await || !j.awaiting()) {
			return DriveRefused
		}
		if c := op.Child; c != nil && m.taken(m.env(r.env()), c) != (ID{}) {
			return DriveDuplicate
		}
	case OpStepDone:
		if r.has(k) {
			return DriveRefused
		}
	}
	return DriveDone
}

func (m *Machine) driveOp(r *run, op *Op) {
	switch {
	case r.ended:
	case op.Kind == OpPlan:
		m.plan(r, op)
	case op.Kind == OpStepDone:
		m.driveDone(r, op)
	case op.Kind == OpRunDone:
		m.finish(r, Completed, op.Value, "")
	case op.Kind == OpRunFailed:
		m.finish(r, Failed, op.Value, "")
	}
}

// driveDone stores a step that no call was made for, or whose call will not tell any more.
func (m *Machine) driveDone(r *run, op *Op) {
	row := &StepRow{Step: op.Step, Kind: ValueData, Value: op.Value, QueuedAt: m.now, Started: op.Started, Ended: op.Ended}
	if j := r.jobOf(hashStep(op.Step.ID)); j != nil {
		row.Step, row.QueuedAt, row.Attempt = *j.step, j.queuedAt, j.attempt
		row.Begin, row.Job = j.inRun()
		row.Child = j.child
	} else if op.KeepInput {
		r.nextJob++
		row.Begin, row.Job = m.now, r.nextJob
	}
	if m.memoize(r, row) && op.Input != nil && op.KeepInput {
		m.put(store.Record{Table: store.Steps, Key: StepInputKey(r.id, op.Step.ID), Value: op.Input})
	}
}

// awaiting says that a job's time has not come, and that a second plan of its step may bring it forward.
func (j *job) awaiting() bool { return j.await && j.flight == nil && (j.due == 0 || j.timer.set()) }

// bring makes a job that waits due now, with another input.
func (m *Machine) bring(j *job, op *Op) {
	m.timers.stop(&j.timer)
	j.await, j.due = false, max(op.Until, m.now)
	m.number(j)
	if op.Input != nil {
		m.put(store.Record{Table: store.Steps, Key: StepInputKey(j.run.id, j.step.ID), Value: op.Input})
	}
	m.touch(j.run)
	m.putStep(j.run, j.row())
	m.enqueue(j)
}

// number gives a job its place in the order in which the planned steps of its run begin. Time alone is not enough: several begin in one
// millisecond.
func (m *Machine) number(j *job) {
	j.run.nextJob++
	j.id, j.begin = j.run.nextJob, j.due
}

// row is what the store has of a planned step until its call is through.
func (j *job) row() *StepRow {
	row := &StepRow{Step: *j.step, State: "planned", QueuedAt: j.queuedAt, Due: j.due, Child: j.child}
	switch {
	case j.await:
		row.State = "waiting"
	case j.due > j.queuedAt:
		row.State = "sleeping"
	}
	row.Begin, row.Job = j.inRun()
	return row
}

// inRun is a job's place in the order of its run, for steps whose history is kept.
func (j *job) inRun() (begin int64, number uint32) {
	if !j.keep {
		return 0, 0
	}
	return j.begin, j.id
}

// jobOf is the job that was planned for a step, nil if there is none.
func (r *run) jobOf(k stepKey) *job {
	for _, j := range r.jobs {
		if j.step != nil && j.key == k {
			return j
		}
	}
	return nil
}
