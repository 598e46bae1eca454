package engine

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/store"
)

// A lane holds the ready jobs that stand under exactly the same limits. If its first job must wait so must the others, so
// a decision looks at lanes, never at a backlog, and a full key blocks nobody else's.
type lane struct {
	key    string // "": one of function.lanes
	fn     *function
	claims []claim
	jobs   heap[*job]
	state  laneState
	group  *waitGroup // when parked
	on     *limiter   // what it is parked on
	index  int32
	pool   *pool // of a Pulled function: where it stands when it is ready, instead of with its function
	kind   laneKind
}

// laneKind says what jobs of a lane wait for.
type laneKind uint8

const (
	firstCalls  laneKind = iota // of their runs
	laterCalls                  // of runs that have begun
	entries                     // their runs' places in queues; then they wait for the rest in another lane
	resumptions                 // the slots that they gave up; workers have them
	laneKinds
)

type laneState uint8

const (
	laneEmpty  laneState = iota
	laneReady            // in its function's ready heap
	laneParked           // waits in a limiter
)

func (l *lane) place() *int32 { return &l.index }

// before puts those who are under way already before those who are not.
func (l *lane) before(o *lane) bool {
	if a, b := l.kind == resumptions, o.kind == resumptions; a != b {
		return a
	}
	return l.jobs.top().before(o.jobs.top())
}

// flight is a call that is out. It outlives its run when that is cancelled: the slots it holds are real work elsewhere.
type flight struct {
	request ID
	run     ID
	job     *job // nil: the run ended meanwhile
	slots   []*limiter
	lease   *lease // nil: a call that was made
}

// ring is the queue of functions that have a ready lane. One call of one function at a time keeps a backlog from
// starving the others.
type ring struct {
	fns  []*function
	head int
}

func (r *ring) len() int { return len(r.fns) - r.head }

func (r *ring) push(f *function) {
	if f.inRing {
		return
	}
	f.inRing = true
	r.fns = append(r.fns, f)
}

func (r *ring) pop() *function {
	f := r.fns[r.head]
	r.fns[r.head] = nil
	r.head++
	if r.head == len(r.fns) {
		r.fns, r.head = r.fns[:0], 0
	} else if r.head > 1024 && r.head > len(r.fns)/2 {
		r.fns = append(r.fns[:0], r.fns[r.head:]...)
		r.head = 0
	}
	f.inRing = false
	return f
}

// enqueue makes a job wait for its due time, or for flow control if that has come.
func (m *Machine) enqueue(j *job) {
	if j.await && j.due == 0 {
		return // it is brought forward some time
	}
	if j.due > m.now {
		m.timers.start(&j.timer, j.due, timerJob, j)
		return
	}
	m.ready(j)
}

// ready puts a due job into its lane.
func (m *Machine) ready(j *job) {
	if j.run.expired {
		return // it ends as soon as the call that is out returns
	}
	j.await = false // what it waited for will not be asked for any more, however often it is tried
	m.seq++
	j.seq = m.seq
	m.line(j)
}

// line puts a job into its lane.
func (m *Machine) line(j *job) {
	ln := m.laneFor(j)
	j.lane = ln
	ln.jobs.push(j)
	switch ln.state {
	case laneEmpty:
		m.offer(ln)
	case laneReady:
		m.stand(ln).fix(ln)
	case laneParked:
		ln.group.lanes.fix(ln)
	}
}

func (m *Machine) offer(ln *lane) {
	ln.state = laneReady
	if p := ln.pool; p != nil && p.ready.len() == 0 {
		m.emit(&Work{Door: ln.fn.def.Door, Env: p.key.env, Pool: p.key.name})
	}
	m.stand(ln).push(ln)
	if ln.pool == nil && ln.kind != resumptions {
		m.ring.push(ln.fn)
	}
}

// stand is the heap that the lane is in when it is ready.
func (m *Machine) stand(ln *lane) *heap[*lane] {
	switch {
	case ln.kind == resumptions:
		return &m.resuming
	case ln.pool != nil:
		return &ln.pool.ready
	}
	return &ln.fn.ready
}

// laneFor finds or makes the lane with the limits of a job.
func (m *Machine) laneFor(j *job) *lane {
	f, first := j.run.fn, j.run.started == 0
	flow := &f.def.Flow
	kind := laterCalls
	switch {
	case j.flight != nil:
		kind = resumptions
	case m.entering(j.run):
		kind = entries
	case first:
		kind = firstCalls
	}
	keyed := first && flow.Throttle != nil && flow.Throttle.Key != ""
	for _, c := range flow.Concurrency {
		keyed = keyed || c.Key != "" && (first || !c.PerRun)
	}
	to := j.routed()
	if !keyed && len(to.queues) == 0 && to.target == "" && to.pool == "" {
		if f.lanes[kind] == nil {
			f.lanes[kind] = m.newLane(j, "", kind)
		}
		return f.lanes[kind]
	}
	var b strings.Builder
	b.Write(f.def.ID[:])
	b.WriteByte(byte(kind))
	if first {
		b.WriteString(j.run.spec.throttle)
	}
	for _, v := range j.run.spec.concurrency {
		b.WriteByte(0)
		b.WriteString(v)
	}
	for _, q := range to.queues {
		b.WriteByte(1)
		b.WriteString(q)
	}
	b.WriteByte(2)
	b.WriteString(to.target)
	b.WriteByte(3)
	b.WriteString(to.pool)
	key := b.String()
	ln := m.lanes[key]
	if ln == nil {
		ln = m.newLane(j, key, kind)
		m.lanes[key] = ln
	}
	return ln
}

// newLane makes the lane that a job is the first to stand in.
func (m *Machine) newLane(j *job, key string, kind laneKind) *lane {
	ln := &lane{key: key, fn: j.run.fn, kind: kind}
	switch kind {
	case resumptions:
		ln.claims = m.claims(j, false)
	case entries:
		ln.pool, ln.claims = m.poolOf(j), m.entryClaims(j.run)
	default:
		ln.pool, ln.claims = m.poolOf(j), m.claims(j, kind == firstCalls)
	}
	return ln
}

// claims lists what a job of a run needs before it may go. The throttle is last: a token is spent only when every
// slot is free.
func (m *Machine) claims(j *job, first bool) []claim {
	d := j.run.fn.def
	var cs []claim
	defer func() {
		for _, c := range cs {
			c.limiter.refs++
		}
	}()
	if target := cmp.Or(j.routed().target, d.Target); target != "" {
		cs = append(cs, claim{limiter: m.limiter("t\x00" + target), limit: m.cfg.PerTarget})
	}
	for i, c := range d.Flow.Concurrency {
		if c.Limit <= 0 || c.PerRun && !first {
			continue
		}
		value := ""
		if i < len(j.run.spec.concurrency) {
			value = j.run.spec.concurrency[i]
		}
		cs = append(cs, claim{limiter: m.limiter(concurrencyKey(d, c, value)), limit: c.Limit, perRun: c.PerRun})
	}
	for _, name := range j.routed().queues {
		if q := m.queues[queueKey(d.Env, name)]; q != nil && !q.def.PerRun {
			cs = append(cs, claim{limiter: q.limiter})
		}
	}
	if t := d.Flow.Throttle; t != nil && first {
		l := m.limiter(throttleKey(d.ID, j.run.spec.throttle))
		l.rate, l.fn = t, j.run.fn
		cs = append(cs, claim{limiter: l})
	}
	return cs
}

func concurrencyKey(d *Function, c Concurrency, value string) string {
	switch c.Scope {
	case ScopeEnv:
		return "e\x00" + d.Env + "\x00" + value
	case ScopeAccount:
		return "a\x00" + value
	}
	return "f\x00" + string(d.ID[:]) + strconv.FormatBool(c.PerRun) + c.Key + "\x00" + value
}

func throttleKey(fn UUID, value string) string { return "r\x00" + string(fn[:]) + value }

func (m *Machine) limiter(key string) *limiter {
	l := m.limits[key]
	if l == nil {
		l = &limiter{key: key}
		m.limits[key] = l
	}
	return l
}

// pump makes all calls that may be made now.
func (m *Machine) pump() {
	for m.resuming.len() > 0 {
		m.advance(&m.resuming, m.regain)
	}
	for len(m.flights) < m.cfg.MaxCalls && m.ring.len() > 0 {
		f := m.ring.pop()
		if f.ready.len() == 0 {
			continue
		}
		m.advance(&f.ready, m.fly)
		if f.ready.len() > 0 {
			m.ring.push(f)
		}
	}
}

// advance does what is next for the first lane of a heap: it parks, or its first job enters, or goes.
func (m *Machine) advance(ready *heap[*lane], goes func(*lane, *job)) {
	ln := ready.pop()
	ln.state = laneEmpty
	if c, ok := m.blocker(ln); ok {
		m.park(ln, c)
		return
	}
	if ln.kind == entries {
		m.enter(ln, ln.jobs.pop())
	} else {
		goes(ln, ln.jobs.pop())
	}
	if ln.jobs.len() > 0 {
		m.offer(ln)
	} else {
		m.dropLane(ln)
	}
}

func (m *Machine) blocker(ln *lane) (claim, bool) {
	for _, c := range ln.claims {
		if !c.free(m.now) {
			return c, true
		}
	}
	return claim{}, false
}

func (m *Machine) park(ln *lane, c claim) {
	ln.state, ln.on = laneParked, c.limiter
	c.limiter.park(ln, c.limit)
	m.armThrottle(c.limiter)
	// It may have been woken to use a slot of another limiter, which it now leaves to the next.
	for _, o := range ln.claims {
		if o.limiter != c.limiter {
			m.wake(o.limiter)
		}
	}
}

// wake offers the best waiting lane of a limiter that has become free.
func (m *Machine) wake(l *limiter) {
	ln := l.best(m.now)
	if ln == nil {
		m.armThrottle(l)
		return
	}
	ln.group.lanes.remove(ln)
	ln.group, ln.on = nil, nil
	m.offer(ln)
}

func (m *Machine) armThrottle(l *limiter) {
	if at, ok := l.next(m.now); ok && !l.timer.set() && l.waiters() > 0 {
		m.timers.start(&l.timer, at, timerThrottle, l)
	}
}

func (m *Machine) wakeThrottle(l *limiter) {
	m.wakeAll(l)
	m.armThrottle(l)
	m.dropLimiter(l)
}

// wakeAll offers as many waiting lanes as a limiter has room for, which is more than one when its policy or its window changed.
func (m *Machine) wakeAll(l *limiter) {
	n := 1
	if l.queue != nil {
		n = l.queue.room(m.now)
	}
	for ; n > 0 && l.waiters() > 0; n-- {
		m.wake(l)
	}
	m.armThrottle(l)
}

// fly makes one call.
func (m *Machine) fly(ln *lane, j *job) {
	r := j.run
	fl := m.take(ln, j)
	m.flights[fl.request] = fl
	call := &Call{
		Request: fl.request, Run: r.id, Fn: r.fn.def, Events: r.spec.events, Job: j.id, Attempt: j.attempt,
		MaxAttempts: j.maxAttempts(), Generation: j.gen, State: r.doorState, QueuedAt: j.due, Started: r.started,
		Steps: len(r.steps) > 0 || r.spec.original != (ID{}), // a repeated run may have input for a step
	}
	if j.step != nil {
		call.StepID, call.PlanOnly, call.Input = j.step.ID, true, j.input
	} else if r.join == JoinEach {
		call.PlanOnly = r.parallel
	} else {
		call.PlanOnly = r.pendingSteps(true) > 0
	}
	m.emit(call)
}

// take gives a job what its lane claims.
func (m *Machine) take(ln *lane, j *job) *flight {
	r := j.run
	j.lane = nil
	fl := &flight{request: m.newID(), run: r.id, job: j}
	for _, c := range ln.claims {
		if c.queue != nil {
			m.takeWindow(c.queue)
		}
		switch {
		case c.rate != nil:
			c.limiter.tat = gcraTake(c.limiter.tat, m.now, c.rate)
			m.put(store.Record{Table: store.Flow, Key: []byte(c.limiter.key), Value: encodeTAT(c.limiter.tat), Expires: c.limiter.tat/1000 + 1})
			m.armThrottle(c.limiter)
		case c.perRun:
			c.limiter.used++
			r.held = append(r.held, c.limiter)
		default:
			c.limiter.used++
			fl.slots = append(fl.slots, c.limiter)
		}
	}
	if r.started == 0 {
		r.started = m.now
		m.timers.stop(&r.deadline)
		if t := r.fn.def.Flow.FinishTimeout; t > 0 {
			m.timers.start(&r.deadline, m.now+t, timerFinish, r)
		}
		row := m.row(r)
		m.put(row.record())
		m.touch(r)
	}
	j.gen++
	j.flight = fl
	return fl
}

// land takes back what a call held.
func (m *Machine) land(fl *flight) {
	delete(m.flights, fl.request)
	if l := fl.lease; l != nil {
		m.timers.stop(&l.timer)
		if m.leases[fl.run] == fl {
			delete(m.leases, fl.run)
		}
	}
	if fl.job != nil {
		m.leaveLane(fl.job)
		fl.job.flight = nil
	}
	m.free(fl.slots)
	fl.slots = nil
}

func (m *Machine) free(slots []*limiter) {
	for _, l := range slots {
		l.used--
		if l.used < 0 {
			panic("BUG: engine: a slot was freed twice: " + l.key)
		}
		m.wake(l)
		m.dropLimiter(l)
	}
}

// withdraw takes a job out of wherever it waits.
func (m *Machine) withdraw(j *job) {
	m.timers.stop(&j.timer)
	m.leaveLane(j)
	if j.flight != nil {
		j.flight.job = nil
		j.flight = nil
	}
}

// leaveLane takes a job out of the lane that it waits in.
func (m *Machine) leaveLane(j *job) {
	ln := j.lane
	if ln == nil {
		return
	}
	j.lane = nil
	// The lane leaves its heap while its first job changes, since that is what the heap orders it by.
	switch ln.state {
	case laneReady:
		m.stand(ln).remove(ln)
	case laneParked:
		ln.group.lanes.remove(ln)
	}
	ln.jobs.remove(j)
	switch {
	case ln.jobs.len() == 0:
		woken := ln.state == laneReady
		ln.state, ln.group, ln.on = laneEmpty, nil, nil
		m.dropLane(ln)
		if woken {
			for _, c := range ln.claims {
				m.wake(c.limiter)
			}
		}
	case ln.state == laneReady:
		m.stand(ln).push(ln)
	default:
		ln.group.lanes.push(ln)
	}
}

// dropLane forgets an empty lane with keys; there may be as many as there are values.
func (m *Machine) dropLane(ln *lane) {
	if ln.key != "" {
		delete(m.lanes, ln.key)
		m.unclaim(ln)
	}
}

// unclaim ends a lane's hold on its limiters and its pool.
func (m *Machine) unclaim(ln *lane) {
	m.leavePool(ln.pool)
	for _, c := range ln.claims {
		c.limiter.refs--
		m.dropLimiter(c.limiter)
	}
}

// dropLimiter forgets a limiter that nothing uses. A throttle whose clock is ahead stays until Forget finds it expired.
func (m *Machine) dropLimiter(l *limiter) {
	if l.refs == 0 && l.used == 0 && !l.timer.set() && l.tat <= m.now*1000 {
		delete(m.limits, l.key)
	}
}
