package engine

import (
	"slices"

	"github.com/quartetjobs/quartet/internal/store"
	"google.golang.org/protobuf/encoding/protowire"
)

// Runs of a function that is Pulled are taken by workers instead of being called. A worker leases a run, says when it begins, is heard
// of often enough, and reports the outcome. What it holds is named by a token that changes whenever the run moves on without it or
// by its hand, so that one who is behind is refused. Tokens of a run sort in the order of their making. Leases are durable: after a crash the
// worker goes on with the token that it has.
//
// A pulled run has one job. Its steps are only what it waits for.

// Lease hands out runs that are due and that nothing holds back, those that were due first at first. Reply: []Leased.
type Lease struct {
	Env   string
	Pools []string
	Bind  string // the pool that a run which may go to any worker of its function's belongs to from now on; "": it stays as it is
	Max   int
	Hold  int64 // ms until the worker has to be heard of
	Lapse Lapse
}

// Leased is a run that a worker got.
type Leased struct {
	Run     ID
	Token   ID
	Fn      *Function // as registered now; never changed in place
	Pool    string    // that it belongs to
	Attempt int       // from 0
}

// Lapse says what becomes of a lease that runs out. The zero value is a failed attempt that is repeated at once.
type Lapse struct {
	Error []byte // JSON: why the attempt failed
	Final bool   // there is no other attempt
	// Return gives the run back as if it had not been taken, due Wait ms later, and at most Most times in its life; from then on the run
	// fails with Error.
	Return bool
	Wait   int64
	Most   int
}

// Hold says that the worker of a run is well. Reply: LeaseState; Held is false when the token is not the run's, and nothing was done.
type Hold struct {
	Run   ID
	Token ID
	Begin bool // the work begins: the token changes
	Again bool // with Begin: if it began with this token and nothing came after, that is said once more; for who did not hear the reply
	Hold  int64
	Lapse *Lapse   // from now on; nil: as before
	Rows  []RowPut // written if the token is the run's
}

// Keep lets the worker of a failed attempt have the next one.
type Keep struct {
	Hold  int64 // ms from now, the time until the next attempt included
	Lapse Lapse
}

// Block makes a run that a worker has begun wait: it gives its slots up, and goes on when all its waits are done and it has them again. It
// comes first among those that wait for them. OpSleep, OpWaitSignal, OpInvoke and OpStepDone count. Reply: bool, false when no worker has begun the run.
type Block struct {
	Run   ID
	Short bool // it keeps its slots, unless it also waits for something that is not short
	Ops   []Op
	Rows  []RowPut
}

// ReadLease asks where a run of a Pulled function is. It changes nothing. Reply: LeaseState.
type ReadLease struct{ Run ID }

// LeaseState is where a run of a Pulled function is.
type LeaseState struct {
	Held      bool // a worker has it, even if it has been cancelled
	Token     ID   // of the worker
	Begun     bool
	Kept      bool // the worker that has it also had the attempt before, and has not begun
	Blocked   bool // it waits, with its worker
	Resuming  bool // it is Blocked, but only because it has no slots
	Cancelled bool // its worker has yet to stop
	Unended   bool
	Started   bool // some worker took it some time
	Attempt   int  // from 0
	Due       int64
	Pool      string // that it belongs to
	Mark      int    // the steps from here on are what it waited for last: those whose StepRow.Seq is greater
	Max       int    // attempts
}

// Postpone moves the beginning of a run that is not due yet. Reply: bool, false when it is due, or has ended.
type Postpone struct {
	Run         ID
	At          int64    // ms
	MaxAttempts int      // that it has from now on; 0: as before
	Rows        []RowPut // written if it is moved
}

// FreeKey forgets the key of a Start. Reply: nil.
type FreeKey struct{ Env, Slug, Key string }

func (*Lease) command()     {}
func (*Hold) command()      {}
func (*Block) command()     {}
func (*ReadLease) command() {}
func (*Postpone) command()  {}
func (*FreeKey) command()   {}

// orphaned is for how long a worker may go on with a run that was cancelled, in ms.
const orphaned = Minute

type poolKey struct{ env, name string }

// pool holds the lanes that are ready for its workers.
type pool struct {
	key   poolKey
	ready heap[*lane]
	refs  int // lanes that stand here when they are ready
}

// lease is a flight that a worker has.
type lease struct {
	timer                timer
	hold                 int64
	lapse                Lapse
	mark                 int
	begun, kept, blocked bool
	holds                bool // it is blocked and has its slots
	blocking             bool // the ops of a Block are being applied
	attempt              int  // of the run that was cancelled
	from                 ID   // the token with which it has just begun; none once anything came after
}

// poolOf is where a new lane for a job stands when it is ready; nil for calls that are made.
func (m *Machine) poolOf(j *job) *pool {
	d := j.run.fn.def
	if !d.Pulled {
		return nil
	}
	k := poolKey{d.Env, j.pool()}
	p := m.pools[k]
	if p == nil {
		p = &pool{key: k}
		m.pools[k] = p
	}
	p.refs++
	return p
}

// leavePool is for a lane that is forgotten; a pool without lanes is forgotten too.
func (m *Machine) leavePool(p *pool) {
	if p == nil {
		return
	}
	if p.refs--; p.refs == 0 {
		delete(m.pools, p.key)
	}
}

func (j *job) pool() string {
	if p := j.run.spec.routed().pool; p != "" {
		return p
	}
	return j.run.fn.def.Pool
}

func (m *Machine) leaseOut(c *Lease) []Leased {
	var got []Leased
	for len(got) < c.Max {
		p := m.earliest(c.Env, c.Pools)
		if p == nil {
			break
		}
		m.advance(&p.ready, func(ln *lane, j *job) { got = append(got, m.grant(c, ln, j)) })
	}
	return got
}

// earliest is the pool whose first lane comes before those of the others.
func (m *Machine) earliest(env string, names []string) (best *pool) {
	for _, name := range names {
		p := m.pools[poolKey{env, name}]
		if p != nil && p.ready.len() > 0 && (best == nil || p.ready.top().before(best.ready.top())) {
			best = p
		}
	}
	return best
}

func (m *Machine) grant(c *Lease, ln *lane, j *job) Leased {
	r := j.run
	if c.Bind != "" && r.spec.routed().pool == "" {
		to := *r.spec.routed()
		to.pool = c.Bind
		r.spec.routing = &to
	}
	fl := m.take(ln, j)
	fl.lease = &lease{hold: c.Hold, lapse: c.Lapse}
	m.leases[r.id] = fl
	m.timers.start(&fl.lease.timer, m.now+c.Hold, timerLease, fl)
	m.touch(r)
	return Leased{Run: r.id, Token: fl.request, Fn: r.fn.def, Pool: j.pool(), Attempt: j.attempt}
}

// renew gives a lease a new token.
func (m *Machine) renew(fl *flight) {
	fl.request, fl.lease.from = m.newID(), ID{}
	if fl.job != nil {
		m.touch(fl.job.run)
	}
}

func (m *Machine) notify(r *run) {
	m.emit(&Notice{Door: r.fn.def.Door, Env: r.env(), Run: r.id})
}

func (m *Machine) hold(c *Hold) LeaseState {
	fl := m.leases[c.Run]
	if c.Begin && c.Again && fl != nil && fl.job != nil && c.Token != (ID{}) && fl.lease.from == c.Token {
		return m.readLease(c.Run)
	}
	if fl == nil || fl.request != c.Token || c.Begin && (fl.job == nil || fl.lease.begun) {
		return LeaseState{}
	}
	m.putRows(c.Rows)
	l := fl.lease
	if c.Hold > 0 && c.Hold != l.hold || c.Lapse != nil {
		if c.Hold > 0 {
			l.hold = c.Hold
		}
		if c.Lapse != nil {
			l.lapse = *c.Lapse
		}
		if fl.job != nil {
			m.touch(fl.job.run)
		}
	}
	m.timers.start(&l.timer, m.now+l.hold, timerLease, fl)
	if c.Begin {
		l.begun, l.kept, l.mark = true, false, len(fl.job.run.steps)
		fl.job.returns = 0
		m.renew(fl)
		l.from = c.Token
	}
	return m.readLease(c.Run)
}

// lapse ends a lease whose worker was not heard of.
func (m *Machine) lapse(fl *flight) {
	l, j := fl.lease, fl.job
	m.land(fl)
	if j == nil {
		return
	}
	r := j.run
	m.touch(r)
	defer m.notify(r)
	switch {
	case r.expired:
		m.giveUp(r)
	case l.lapse.Return && j.returns >= l.lapse.Most:
		m.finish(r, Failed, l.lapse.Error, "")
	case l.lapse.Return:
		j.returns++
		m.retry(r, j, j.attempt, m.now+l.lapse.Wait)
	default:
		m.dropWaits(r)
		var p progress
		op := Op{Kind: OpRunFailed, Value: l.lapse.Error, Final: l.lapse.Final}
		m.applyOp(r, j, &op, &CallInfo{Started: r.started, Ended: m.now}, &p)
	}
}

// keepLease applies a failed attempt that the same worker repeats; false when it is something else.
func (m *Machine) keepLease(c *Report, fl *flight) bool {
	j := fl.job
	if c.Keep == nil || j == nil || len(c.Ops) != 1 || c.Ops[0].Kind != OpRunFailed || c.Ops[0].Final || j.attempt+1 >= j.maxAttempts() || j.run.expired || fl.lease.blocked {
		return false
	}
	r, l := j.run, fl.lease
	m.putRows(c.Rows)
	m.putAttempt(r, &c.Ops[0], j.attempt, false, &c.Call)
	m.dropWaits(r)
	j.attempt++
	j.gen++
	l.begun, l.kept, l.hold, l.lapse = false, true, c.Keep.Hold, c.Keep.Lapse
	m.timers.start(&l.timer, m.now+l.hold, timerLease, fl)
	m.renew(fl)
	return true
}

func (m *Machine) dropWaits(r *run) {
	for len(r.waits) > 0 {
		m.dropWait(r.waits[len(r.waits)-1])
	}
}

func (m *Machine) block(c *Block) bool {
	fl := m.leases[c.Run]
	if fl == nil || fl.job == nil || !fl.lease.begun {
		return false
	}
	r, l := fl.job.run, fl.lease
	m.putRows(c.Rows)
	m.leaveLane(fl.job)
	if !l.blocked {
		l.blocked, l.holds, l.mark = true, true, len(r.steps)
		m.renew(fl)
		m.notify(r)
	}
	if l.holds && !c.Short {
		l.holds = false
		m.free(fl.slots)
		fl.slots = nil
	}
	var p progress
	l.blocking = true
	for i := range c.Ops {
		switch c.Ops[i].Kind {
		case OpSleep, OpWaitSignal, OpInvoke, OpStepDone:
			m.applyOp(r, fl.job, &c.Ops[i], &CallInfo{Started: m.now, Ended: m.now}, &p)
		}
	}
	l.blocking = false
	m.unblock(r)
	return true
}

// unblock lets a run whose waits are all done go on, or wait for its slots.
func (m *Machine) unblock(r *run) {
	fl := m.leases[r.id]
	if r.ended || fl == nil || fl.job == nil || fl.job.lane != nil || !fl.lease.blocked || fl.lease.blocking || len(r.waits) > 0 {
		return
	}
	if !fl.lease.holds {
		m.line(fl.job)
		return
	}
	m.goOn(fl)
}

// goOn lets the worker of a blocked run go on.
func (m *Machine) goOn(fl *flight) {
	fl.lease.blocked, fl.lease.holds = false, false
	m.renew(fl)
	m.notify(fl.job.run)
}

// regain gives a lease that waited for its slots what its lane claims, and lets its worker go on.
func (m *Machine) regain(ln *lane, j *job) {
	j.lane = nil
	j.flight.take(ln.claims)
	m.goOn(j.flight)
}

// take takes the slots that a lease holds while it works.
func (fl *flight) take(cs []claim) {
	for _, c := range cs {
		c.limiter.used++
		fl.slots = append(fl.slots, c.limiter)
	}
}

// endLease is for a run that ends while a worker has it. A worker that has begun is given the time to hear of it.
func (m *Machine) endLease(j *job, status Status) {
	fl := j.flight
	if fl == nil || fl.lease == nil {
		return
	}
	if status != Cancelled || !fl.lease.begun {
		m.land(fl)
		return
	}
	m.renew(fl)
	fl.lease.hold, fl.lease.attempt = orphaned, j.attempt
	m.timers.start(&fl.lease.timer, m.now+orphaned, timerLease, fl)
}

func (m *Machine) readLease(id ID) (s LeaseState) {
	if r := m.runs[id]; r != nil {
		s.Unended, s.Started, s.Pool, s.Max = true, r.started != 0, r.fn.def.Pool, r.maxAttempts()
		if len(r.jobs) > 0 {
			j := r.jobs[0]
			s.Attempt, s.Due, s.Pool = j.attempt, j.due, j.pool()
		}
	}
	if fl := m.leases[id]; fl != nil {
		l := fl.lease
		s.Held, s.Token, s.Begun, s.Kept, s.Blocked, s.Mark, s.Cancelled = true, fl.request, l.begun, l.kept, l.blocked, l.mark, fl.job == nil
		s.Resuming = fl.job != nil && fl.job.lane != nil
		if s.Cancelled {
			s.Attempt = l.attempt
		}
	}
	return s
}

func (m *Machine) postpone(c *Postpone) bool {
	r := m.runs[c.Run]
	if r == nil || r.started != 0 || len(r.jobs) != 1 || !r.jobs[0].timer.set() {
		return false
	}
	j := r.jobs[0]
	r.spec.at, j.due = c.At, max(c.At, m.now)
	if c.MaxAttempts > 0 {
		r.spec.maxAttempts = c.MaxAttempts
	}
	m.putRows(c.Rows)
	m.withdraw(j)
	m.awaitStart(r)
	m.touch(r)
	row := m.row(r)
	m.put(row.record())
	m.enqueue(j)
	return true
}

func (m *Machine) freeKey(c *FreeKey) any {
	key := StartKey(c.Slug, c.Key)
	m.recent.setStarted(c.Env+"\x00"+key, []UUID{})
	m.delete(store.Idempotency, IdempotencyKey(c.Env, key))
	return nil
}

func (fl *flight) encode() encoder {
	var b encoder
	l := fl.lease
	b.id(1, fl.request)
	b.int(2, l.hold)
	b.bool(3, l.begun)
	b.bool(4, l.kept)
	b.bool(5, l.blocked)
	b.int(6, int64(l.mark))
	b.bytes(7, l.lapse.Error)
	b.bool(8, l.lapse.Final)
	b.bool(9, l.lapse.Return)
	b.int(10, l.lapse.Wait)
	b.int(11, int64(l.lapse.Most))
	b.bool(12, l.holds)
	if l.from != (ID{}) {
		b.id(13, l.from)
	}
	return b
}

func parseLease(j *job, row []byte, failed *error) *flight {
	l := &lease{}
	fl := &flight{run: j.run.id, job: j, lease: l}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			fl.request = toID(b)
		case 2:
			l.hold = int64(u)
		case 3:
			l.begun = u != 0
		case 4:
			l.kept = u != 0
		case 5:
			l.blocked = u != 0
		case 6:
			l.mark = int(u)
		case 7:
			l.lapse.Error = slices.Clone(b)
		case 8:
			l.lapse.Final = u != 0
		case 9:
			l.lapse.Return = u != 0
		case 10:
			l.lapse.Wait = int64(u)
		case 11:
			l.lapse.Most = int(u)
		case 12:
			l.holds = u != 0
		case 13:
			l.from = toID(b)
		}
	})
	if err != nil {
		*failed = err
	}
	return fl
}

// resumeLease goes on with a lease that was read back. Its worker may have been unable to reach the server, so it has its whole time again.
func (m *Machine) resumeLease(j *job) {
	fl := j.flight
	m.leases[fl.run] = fl
	m.timers.start(&fl.lease.timer, m.now+fl.lease.hold, timerLease, fl)
	if !fl.lease.blocked || fl.lease.holds {
		cs := m.claims(j, false)
		fl.take(cs)
		for _, c := range cs {
			c.limiter.refs-- // the slot keeps it
		}
	}
	m.unblock(j.run)
}

// NoteKey is the key of a row in Steps that a door keeps about a run. It stays as long as the history of the run, and is none of its steps.
func NoteKey(run ID, name string) []byte { return append(StepRowKey(run, name), "n"+name...) }
