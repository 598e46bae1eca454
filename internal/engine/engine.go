package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
)

// Config of a Machine. Zero fields take the defaults that are named.
type Config struct {
	// NewID makes the ids of events, runs and requests: ULIDs of the given millisecond, ever increasing. Required.
	NewID func(ms int64) ID
	// MaxCalls bounds the calls that are out at once, over all functions. Default 2000.
	MaxCalls int
	// PerTarget bounds the calls that are out at once to one Function.Target, so that a target that hangs cannot hold every
	// call of the server. Default 500.
	PerTarget int
	// KeyWindow is for how long an event's key starts a function only once, in ms. Default 24 hours.
	KeyWindow int64
}

func (c Config) withDefaults() Config {
	if c.MaxCalls <= 0 {
		c.MaxCalls = 2000
	}
	if c.PerTarget <= 0 {
		c.PerTarget = 500
	}
	if c.KeyWindow <= 0 {
		c.KeyWindow = Day
	}
	return c
}

// Out collects what commands produced. The host empties it between batches.
type Out = store.Out[Effect]

// Machine is the durable-execution state machine of one shard. It is not safe for concurrent use: one loop owns it.
type Machine struct {
	cfg Config
	now int64
	out *Out

	envs   map[string]*env
	fns    map[UUID]*function
	runs   map[ID]*run
	timers timers
	seq    uint64 // orders jobs of equal due time
	dirty  []*run // runs whose live row must be written at the end of the command

	flights  map[ID]*flight
	leases   map[ID]*flight // by run
	pools    map[poolKey]*pool
	limits   map[string]*limiter // concurrency and throttles that are in use
	lanes    map[string]*lane    // lanes of runs with keys that hold a job
	ring     ring
	resuming heap[*lane] // lanes of runs whose workers wait for their slots

	rates   map[string]int64 // rate limits: theoretical arrival time in µs
	pending map[string]*pending
	singles map[singleKey]*run
	outbox  map[ID]*Settle
	queues  map[string]*queue
	recent  recent
}

// env is what is registered, and waited for, in one environment.
type env struct {
	name     string
	apps     map[string]*App
	slugs    map[string]*function
	triggers map[string][]triggerRef
	waits    map[string]*expr.Index[*wait]
	cancels  map[string]*expr.Index[*cancelEntry]
	signals  map[string]*wait
}

type triggerRef struct {
	fn    *function
	index int
}

// New makes an empty machine.
func New(cfg Config) *Machine {
	return &Machine{
		cfg:     cfg.withDefaults(),
		envs:    map[string]*env{},
		fns:     map[UUID]*function{},
		runs:    map[ID]*run{},
		flights: map[ID]*flight{},
		leases:  map[ID]*flight{},
		pools:   map[poolKey]*pool{},
		limits:  map[string]*limiter{},
		lanes:   map[string]*lane{},
		rates:   map[string]int64{},
		pending: map[string]*pending{},
		singles: map[singleKey]*run{},
		outbox:  map[ID]*Settle{},
		queues:  map[string]*queue{},
		recent:  newRecent(),
	}
}

// Apply is the only way state changes from outside. It must be deterministic: equal state, now and cmd give equal
// results. The reply's type is said at each command.
func (m *Machine) Apply(now int64, cmd Command, out *Out) any {
	m.begin(now, out)
	reply := m.apply(cmd)
	m.end()
	return reply
}

// Tick does everything that is due at now, at most limit timers of it, and reports whether more is due.
func (m *Machine) Tick(now int64, limit int, out *Out) (more bool) {
	m.begin(now, out)
	for range limit {
		at, ok := m.timers.next()
		if !ok || at > m.now {
			m.end()
			return false
		}
		m.fire(m.timers.items[0])
	}
	m.end()
	at, ok := m.timers.next()
	return ok && at <= m.now
}

// Next is the time at which Tick has something to do.
func (m *Machine) Next() (at int64, ok bool) { return m.timers.next() }

func (m *Machine) begin(now int64, out *Out) {
	// A clock that steps back must not make ids or orders go back.
	m.now = max(m.now, now)
	m.out = out
	m.recent.rotate(m.now)
}

func (m *Machine) end() {
	m.pump()
	for _, r := range m.dirty {
		r.dirty = false
		if !r.ended {
			m.put(r.liveRecord())
			r.stored = true
		}
	}
	m.dirty = m.dirty[:0]
	m.out = nil
}

func (m *Machine) apply(cmd Command) any {
	switch c := cmd.(type) {
	case *SendEvents:
		return m.sendEvents(c)
	case *Start:
		return m.startCommand(c)
	case *Report:
		return m.report(c)
	case *Checkpoint:
		return m.checkpoint(c)
	case *Drive:
		return m.drive(c)
	case *Lease:
		return m.leaseOut(c)
	case *Hold:
		return m.hold(c)
	case *Block:
		return m.block(c)
	case *ReadLease:
		return m.readLease(c.Run)
	case *Postpone:
		return m.postpone(c)
	case *FreeKey:
		return m.freeKey(c)
	case *Cancel:
		return m.cancel(c)
	case *Signal:
		return m.signal(c)
	case *Register:
		return m.register(c)
	case *SetAppMeta:
		return m.setAppMeta(c)
	case *RemoveApp:
		return m.removeApp(c)
	case *Pause:
		return m.pause(c)
	case *SetQueue:
		return m.setQueue(c)
	case *ReadQueues:
		return m.readQueues(c)
	case *Settled:
		m.settled(c.Facts)
		return nil
	case *Put:
		m.putRows(c.Rows)
		return nil
	case *Forget:
		return m.forget(c)
	case *Explain:
		return m.explain(c.Run)
	case *LiveRuns:
		return m.liveRuns(c)
	case *Overview:
		return m.overview()
	}
	panic(fmt.Sprintf("BUG: engine: unknown command %T", cmd))
}

func (m *Machine) fire(t *timer) {
	kind, owner := t.kind, t.owner
	m.timers.stop(t)
	switch kind {
	case timerJob:
		m.ready(owner.(*job))
	case timerWait:
		m.timeout(owner.(*wait))
	case timerStart:
		m.finish(owner.(*run), Cancelled, nil, NotStarted)
	case timerFinish:
		m.expire(owner.(*run))
	case timerDebounce, timerBatch:
		m.release(owner.(*pending))
	case timerCron:
		m.tick(owner.(*cronState))
	case timerThrottle:
		m.wakeThrottle(owner.(*limiter))
	case timerLease:
		m.lapse(owner.(*flight))
	case timerCancel:
		m.dropCancel(owner.(*cancelEntry))
	default:
		panic(fmt.Sprintf("BUG: engine: unknown timer %d", kind))
	}
}

func (m *Machine) put(r store.Record) { m.out.Records = append(m.out.Records, r) }

// putRows writes the rows that a door wants written together with what its command does.
func (m *Machine) putRows(rows []RowPut) {
	for i := range rows {
		r := rows[i].record()
		if rows[i].Stamp {
			id := m.newID()
			r.Key = append(slices.Clone(r.Key), id[:]...)
		}
		if r.Table == store.Steps && len(r.Key) >= 16 {
			if run := m.runs[toID(r.Key[:16])]; run != nil {
				r.First, run.hasSteps = !run.hasSteps, true
			}
		}
		m.put(r)
	}
}

func (m *Machine) delete(t store.Table, key []byte) {
	m.put(store.Record{Table: t, Key: key})
}

func (m *Machine) emit(e Effect) { m.out.Effects = append(m.out.Effects, e) }

func (m *Machine) newID() ID { return m.cfg.NewID(m.now) }

func (m *Machine) env(name string) *env {
	e := m.envs[name]
	if e == nil {
		e = &env{
			name: name, apps: map[string]*App{}, slugs: map[string]*function{}, triggers: map[string][]triggerRef{},
			waits: map[string]*expr.Index[*wait]{}, cancels: map[string]*expr.Index[*cancelEntry]{}, signals: map[string]*wait{},
		}
		m.envs[name] = e
	}
	return e
}

// stepKey is what memory and keys hold of a step's id: sixteen bytes of its hash.
type stepKey [stepKeyLen]byte

func hashStep(id string) (k stepKey) {
	// A protocol whose step ids are SHA-1 in hex has hashed already.
	if len(id) == 40 {
		var b [20]byte
		if _, err := hex.Decode(b[:], []byte(id)); err == nil {
			copy(k[:], b[:])
			return k
		}
	}
	sum := sha256.Sum256([]byte(id))
	copy(k[:], sum[:])
	return k
}

// recent remembers what was applied in the last minutes: what a command loaded from the store before it was applied may be
// older than that, so memory has to know what came in between.
type recent struct {
	rotated  int64
	keys     [2]map[string][]UUID // functions that an event key started
	events   [2]map[ID]struct{}   // events that came with an ID
	lifetime int64
}

func newRecent() recent {
	r := recent{lifetime: 2 * Minute}
	for i := range 2 {
		r.keys[i], r.events[i] = map[string][]UUID{}, map[ID]struct{}{}
	}
	return r
}

func (r *recent) rotate(now int64) {
	if now-r.rotated < r.lifetime {
		return
	}
	r.rotated = now
	r.keys[1], r.events[1] = r.keys[0], r.events[0]
	r.keys[0], r.events[0] = map[string][]UUID{}, map[ID]struct{}{}
}

func (r *recent) started(key string) []UUID {
	if fns, ok := r.keys[0][key]; ok {
		return fns
	}
	return r.keys[1][key]
}

func (r *recent) setStarted(key string, fns []UUID) { r.keys[0][key] = fns }

func (r *recent) seen(id ID) bool {
	if _, ok := r.events[0][id]; ok {
		return true
	}
	_, ok := r.events[1][id]
	return ok
}

// overview counts what is in memory.
func (m *Machine) overview() Counts {
	c := Counts{Runs: len(m.runs), Calls: len(m.flights), Leases: len(m.leases), Timers: len(m.timers.items), Outbox: len(m.outbox), Pending: len(m.pending)}
	if at, ok := m.timers.next(); ok {
		c.NextDue = at
	}
	return c
}

// Counts is the reply to Overview.
type Counts struct {
	Runs    int   // unfinished
	Calls   int   // out at this moment
	Leases  int   // held by workers at this moment
	Timers  int   // due times set
	Outbox  int   // ended runs that a door has not dealt with yet
	Pending int   // open debounces and batches
	NextDue int64 // ms; 0: nothing is due ever
}

func (m *Machine) liveRuns(c *LiveRuns) []ID {
	var ids []ID
	f := m.fns[c.Fn]
	if f == nil {
		return nil
	}
	for _, r := range f.runs { // sorted below
		if r.queuedAt >= c.After && (c.Before == 0 || r.queuedAt < c.Before) {
			ids = append(ids, r.id)
		}
	}
	slices.SortFunc(ids, func(a, b ID) int { return a.Compare(b) })
	if c.Limit > 0 && len(ids) > c.Limit {
		ids = ids[:c.Limit]
	}
	return ids
}
