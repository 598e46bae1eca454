package engine

import (
	"cmp"
	"slices"

	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
)

type singleKey struct {
	fn  UUID
	key string
}

// begin says how one function is to be started.
type begin struct {
	bypass   bool
	direct   bool // no idempotency by the event's key
	parents  []parent
	cron     string
	original ID
	presets  []StepRow
	attempts int
	id       ID
	queues   []string
	target   string
	ops      []Op
	name     *name
	pool     string
	priority int64
	patience int64
}

// startCommand starts one function because somebody asked for it by name.
func (m *Machine) startCommand(c *Start) StartReply { return m.startFor(c, nil) }

// startFor is startCommand for the steps of other runs that wait for the result.
func (m *Machine) startFor(c *Start, parents []parent) StartReply {
	e := m.env(c.Env)
	f := e.slugs[c.Slug]
	if f == nil || f.def.Archived {
		m.storeEvents(e, c)
		return StartReply{Outcome: NotFound, Event: c.Events[0].ID}
	}
	// The command's key is worth an event key of its own, that nothing else can have. Beside the function stands its run.
	key := StartKey(c.Slug, c.Key)
	if run := m.taken(e, c); run != (ID{}) {
		return StartReply{Outcome: Duplicate, Run: run}
	}
	m.storeEvents(e, c)
	b := begin{
		bypass: c.Bypass, direct: true, original: c.Original, presets: c.Presets, attempts: c.MaxAttempts, id: c.Run, target: c.Target, parents: parents,
		queues: m.joinAll(c.Env, c.Queues), ops: c.Ops, pool: c.Pool, priority: c.Priority, patience: c.StartTimeout,
	}
	if c.KeyOfRun && c.Key != "" {
		b.name = &name{c.Key, cmp.Or(c.KeyWindow, m.cfg.KeyWindow)}
	}
	rep := m.start(f, c.Events, b)
	rep.Event = c.Events[0].ID
	if rep.Outcome == Started {
		if c.Key != "" {
			expires := m.now + cmp.Or(c.KeyWindow, m.cfg.KeyWindow)
			if b.name != nil {
				expires = 0
			}
			m.rememberKey(e, key, []UUID{f.def.ID, UUID(rep.Run)}, expires)
		}
		m.putRows(c.Rows)
	}
	return rep
}

// taken is the run that was started under the key of a command; zero when it may be started.
func (m *Machine) taken(e *env, c *Start) ID {
	if c.Key == "" {
		return ID{}
	}
	known := m.knownKey(e, StartKey(c.Slug, c.Key), c.known)
	if len(known) < 2 || c.KeyOfRun && m.runs[ID(known[1])] == nil || ID(known[1]) == c.Freed && m.runs[c.Freed] == nil {
		return ID{}
	}
	return ID(known[1])
}

func (m *Machine) storeEvents(e *env, c *Start) {
	for i := range c.Events {
		if !c.Existing {
			m.storeEvent(e, &c.Events[i])
		}
	}
}

// StartKey is the key under which IdempotencyKey has the Key of a Start.
func StartKey(slug, key string) string { return slug + "\x00" + key }

// SetKnown hands over what the store has under the command's Key.
func (c *Start) SetKnown(known []UUID) { c.known = known }

// start takes one function through the decisions between an event and a run, in their order: paused, batch, rate
// limit, debounce, singleton, idempotency, run. Reruns bring several events, everything else one.
func (m *Machine) start(f *function, events []Event, b begin) StartReply {
	ev := &events[0]
	flow := &f.def.Flow
	s := m.specFor(f, events, b)
	if b.bypass {
		return StartReply{Run: m.newRun(f, s, &b).id}
	}
	if f.def.Paused {
		return StartReply{Outcome: SkippedRun, Run: m.skip(f, s, ID{}, "the function is paused")}
	}
	if bt := flow.Batch; bt != nil && m.joinsBatch(f, ev) {
		return m.addToBatch(f, ev, s)
	}
	if rl := flow.RateLimit; rl != nil && !m.takeRate(f, rl, ev) {
		return StartReply{Outcome: Limited}
	}
	if db := flow.Debounce; db != nil {
		return m.addToDebounce(f, ev, s)
	}
	return m.startNow(f, s, ev, b)
}

// startNow is the part of start that also ends a batch or debounce: singleton, idempotency, run.
func (m *Machine) startNow(f *function, s spec, ev *Event, b begin) StartReply {
	if s.single {
		k := singleKey{f.def.ID, s.singleton}
		if old := m.singles[k]; old != nil {
			if !f.def.Flow.Singleton.Cancel {
				return StartReply{Outcome: SkippedRun, Run: m.skip(f, s, old.id, "another run of this singleton is not finished")}
			}
			m.finish(old, Cancelled, nil, "replaced by a newer run of this singleton")
		}
	}
	if ev != nil && ev.Key != "" && !b.direct {
		e := m.env(f.def.Env)
		known := m.knownKey(e, ev.Key, ev.known)
		if slices.Contains(known, f.def.ID) {
			return StartReply{Outcome: Duplicate}
		}
		m.useKey(e, ev.Key, f.def.ID, ev.known)
	}
	return StartReply{Run: m.newRun(f, s, &b).id}
}

func (m *Machine) knownKey(e *env, key string, loaded []UUID) []UUID {
	if fns := m.recent.started(e.name + "\x00" + key); fns != nil {
		return fns
	}
	return loaded
}

func (m *Machine) useKey(e *env, key string, fn UUID, loaded []UUID) {
	m.rememberKey(e, key, append(slices.Clone(m.knownKey(e, key, loaded)), fn), m.now+m.cfg.KeyWindow)
}

func (m *Machine) rememberKey(e *env, key string, fns []UUID, expires int64) {
	m.recent.setStarted(e.name+"\x00"+key, fns)
	row := make([]byte, 0, len(fns)*len(UUID{}))
	for _, f := range fns {
		row = append(row, f[:]...)
	}
	m.put(store.Record{Table: store.Idempotency, Key: IdempotencyKey(e.name, key), Value: row, Expires: expires})
}

// specFor evaluates everything about a run that needs the event's payload.
func (m *Machine) specFor(f *function, events []Event, b begin) spec {
	ev := &events[0]
	s := spec{
		trigger: ev.Name, at: ev.At, parents: b.parents, cron: b.cron, original: b.original, maxAttempts: b.attempts,
		routing: route(b.queues, b.target, b.pool), name: b.name, patience: b.patience,
	}
	for i := range events {
		s.events = append(s.events, events[i].ID)
	}
	vars := func() expr.Vars { return expr.Vars{Event: ev.Value(), Now: m.now} }
	for _, p := range f.keys.concurrency {
		s.concurrency = append(s.concurrency, keyText(p, vars))
	}
	if f.def.Flow.Throttle != nil {
		s.throttle = keyText(f.keys.throttle, vars)
	}
	if f.def.Flow.Singleton != nil {
		k, ok := key(f.keys.singleton, vars)
		s.singleton, s.single = k.Text, ok && !k.False
	}
	if f.keys.priority != nil {
		if n, ok := f.keys.priority.Int(vars()); ok {
			s.priority = min(max(n, -maxPriority), maxPriority) * Second
		}
	}
	if b.priority != 0 {
		s.priority = min(max(b.priority, -maxPriority*Second), maxPriority*Second)
	}
	for i, rule := range f.def.Cancel {
		c := cancelSpec{event: rule.Event, timeout: rule.Timeout}
		if p := f.cancel[i]; p != nil {
			bound := p.Bind(ev.Value(), m.now)
			c.bound = &bound
		}
		s.cancels = append(s.cancels, c)
	}
	return s
}

// key evaluates a key expression; without one the key is empty. An expression that cannot be evaluated gives the
// same bucket as an unknown value.
func key(p *expr.Program, vars func() expr.Vars) (expr.Key, bool) {
	if p == nil {
		return expr.Key{}, true
	}
	k, err := p.Key(vars())
	if err != nil {
		return expr.Key{Text: "false", False: true}, false
	}
	return k, true
}

func keyText(p *expr.Program, vars func() expr.Vars) string {
	k, _ := key(p, vars)
	return k.Text
}

// takeRate lets an event through a rate limit or not.
func (m *Machine) takeRate(f *function, r *Rate, ev *Event) bool {
	k, ok := key(f.keys.rate, func() expr.Vars { return expr.Vars{Event: ev.Value(), Now: m.now} })
	if !ok || k.False {
		return true // the key says: not this event
	}
	name := "l\x00" + string(f.def.ID[:]) + k.Text
	tat := m.rates[name]
	if !gcraFree(tat, m.now, r) {
		return false
	}
	tat = gcraTake(tat, m.now, r)
	m.rates[name] = tat
	m.put(store.Record{Table: store.Flow, Key: []byte(name), Value: encodeTAT(tat), Expires: tat/1000 + 1})
	return true
}

// newRun creates a run and its first job.
func (m *Machine) newRun(f *function, s spec, b *begin) *run {
	id, presets := b.id, b.presets
	if id == (ID{}) {
		id = m.newID()
	}
	r := &run{id: id, fn: f, spec: s, queuedAt: m.now}
	m.keep(r)
	m.inQueues(r, 1)
	if s.single {
		m.singles[singleKey{f.def.ID, s.singleton}] = r
	}
	var first *Step // a step that is to run with other input does so in a call of its own, before anything else
	for i := range presets {
		m.preset(r, &presets[i])
		if presets[i].Kind == ValueInput {
			first = &presets[i].Step
		}
	}
	for _, c := range s.cancels {
		until := int64(0)
		if c.timeout > 0 {
			until = m.now + c.timeout
		}
		m.addCancel(r, c.event, c.bound, until)
	}
	r.spec.cancels = nil // the entries hold them now
	m.awaitStart(r)
	for _, p := range s.parents {
		m.linkChild(p, r.id)
	}
	for _, id := range s.events[min(1, len(s.events)):] {
		m.put(store.Record{Table: store.Links, Key: append(id[:len(id):len(id)], r.id[:]...), Value: []byte{}})
	}
	row := m.row(r)
	m.put(row.record())
	if f.def.Driven {
		m.touch(r)
		for i := range b.ops {
			m.driveOp(r, &b.ops[i])
		}
		return r
	}
	m.addJob(r, first, max(m.now, s.at))
	return r
}

// awaitStart sets the timer for a first call that does not come.
func (m *Machine) awaitStart(r *run) {
	switch {
	case r.spec.patience > 0:
		m.timers.start(&r.deadline, max(r.queuedAt, r.spec.at)+r.spec.patience, timerStart, r)
	case r.fn.def.Flow.StartTimeout > 0:
		m.timers.start(&r.deadline, r.queuedAt+r.fn.def.Flow.StartTimeout, timerStart, r)
	}
}

// preset takes a step over from another run.
func (m *Machine) preset(r *run, s *StepRow) {
	if s.Kind == ValueInput {
		s.State, s.Seq = "input", 0
	} else {
		r.steps = append(r.steps, hashStep(s.ID))
		s.Seq = len(r.steps)
	}
	m.putStep(r, s)
}

func (m *Machine) addCancel(r *run, event string, bound *expr.Bound, until int64) {
	c := &cancelEntry{run: r, event: event, bound: bound, until: until}
	e := m.env(r.env())
	x := e.cancels[event]
	if x == nil {
		x = new(expr.Index[*cancelEntry])
		e.cancels[event] = x
	}
	c.entry = x.Add(bound, c)
	r.cancels = append(r.cancels, c)
	if until > 0 {
		m.timers.start(&c.timer, until, timerCancel, c)
	}
}

func (m *Machine) dropCancel(c *cancelEntry) {
	m.timers.stop(&c.timer)
	e := m.env(c.run.env())
	x := e.cancels[c.event]
	x.Remove(c.entry)
	if x.Len() == 0 {
		delete(e.cancels, c.event)
	}
	r := c.run
	r.cancels = slices.DeleteFunc(r.cancels, func(o *cancelEntry) bool { return o == c })
	m.touch(r)
}

// addJob gives a run one more call to make.
func (m *Machine) addJob(r *run, step *Step, due int64) *job {
	r.nextJob++
	j := &job{run: r, id: r.nextJob, step: step, due: due, queuedAt: m.now}
	if step != nil {
		j.key = hashStep(step.ID)
	}
	r.jobs = append(r.jobs, j)
	m.touch(r)
	m.enqueue(j)
	return j
}

// skip records a run that is not going to happen.
func (m *Machine) skip(f *function, s spec, existing ID, reason string) ID {
	r := &run{id: m.newID(), fn: f, spec: s, queuedAt: m.now}
	row := m.row(r)
	row.Status, row.Ended, row.Existing, row.Reason = Skipped, m.now, existing, reason
	m.put(row.record())
	m.resolveParents(s.parents, ID{}, ValueError, errorValue("Error", "the invoked function was skipped: "+reason))
	return r.id
}
