package engine

import (
	"github.com/quartetjobs/quartet/internal/store"
)

// NotStarted is the reason of a run that was cancelled because its first call did not come in time.
const NotStarted = "not started within its start timeout"

// cancel ends an unfinished run because somebody asked for it.
func (m *Machine) cancel(c *Cancel) bool {
	r := m.runs[c.Run]
	if r == nil {
		return false
	}
	if c.Gently && r.calling() {
		if r.expired {
			return false // as good as done
		}
		m.putRows(c.Rows)
		r.stopping = &stopping{c.Reason, c.Later}
		m.holdBack(r)
		return true
	}
	m.putRows(c.Rows)
	m.putRows(c.Later)
	m.finish(r, Cancelled, nil, c.Reason)
	return true
}

// expire ends a run whose finish timeout passed, unless a call is out: what that answers may still be the result.
func (m *Machine) expire(r *run) {
	if !r.expired {
		m.holdBack(r)
	}
	if !r.calling() {
		m.giveUp(r)
	}
}

// holdBack lets nothing more of a run begin: it ends with the calls that are out.
func (m *Machine) holdBack(r *run) {
	r.expired = true
	for _, j := range r.jobs {
		if j.flight == nil {
			m.withdraw(j)
		}
	}
	m.touch(r)
}

// giveUp ends an expired run.
func (m *Machine) giveUp(r *run) {
	reason := "not ended within its finish timeout"
	if s := r.stopping; s != nil {
		reason = s.reason
		m.putRows(s.rows)
	}
	m.finish(r, Cancelled, nil, reason)
}

// finish ends a run, once. Everything it held or waited for is given up, whoever waits for it gets its result, and its
// door gets a fact to deal with. A call that is out is left alone; its answer will find nobody.
func (m *Machine) finish(r *run, status Status, output []byte, reason string) {
	if r.ended {
		return
	}
	r.ended = true
	for _, j := range r.jobs {
		m.endLease(j, status)
		m.withdraw(j)
		m.dropInput(j)
	}
	m.dropWaits(r)
	for len(r.cancels) > 0 {
		m.dropCancel(r.cancels[len(r.cancels)-1])
	}
	m.timers.stop(&r.deadline)
	if k := (singleKey{r.fn.def.ID, r.spec.singleton}); r.spec.single && m.singles[k] == r {
		delete(m.singles, k)
	}
	row := m.row(r)
	row.Status, row.Ended, row.Output, row.Reason = status, m.now, output, reason
	m.put(row.record())
	// A live row that was never written needs no delete, but one in this very command may have been: deleting is always right.
	m.put(store.Record{Table: store.Live, Key: RunKey(r.id)})
	m.drop(r)
	m.free(r.held)
	m.inQueues(r, -1)
	r.jobs, r.held = nil, nil

	if n := r.spec.name; n != nil {
		m.rememberKey(m.env(r.env()), StartKey(r.fn.def.Slug, n.key), []UUID{r.fn.def.ID, UUID(r.id)}, m.now+n.window)
	}
	switch status {
	case Completed:
		m.resolveParents(r.spec.parents, r.id, ValueData, output)
	case Failed:
		m.resolveParents(r.spec.parents, r.id, ValueError, output)
	default:
		m.resolveParents(r.spec.parents, r.id, ValueError, errorValue("Error", "the invoked run was cancelled"))
	}
	if r.fn.def.Pulled {
		m.notify(r)
	}
	if d := r.fn.def; !d.Silent && (status == Failed || !d.FailuresOnly) {
		s := &Settle{Door: d.Door, Env: d.Env, Run: r.id, Status: status}
		m.outbox[r.id] = s
		var b encoder
		b.str(1, s.Door)
		b.str(2, s.Env)
		b.uint(3, uint64(status))
		m.put(store.Record{Table: store.Outbox, Key: RunKey(r.id), Value: b, Fresh: true})
		m.emit(s)
	}
}
