package keyspace

import (
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/store"
)

// Out collects what commands produce.
type Out = store.Out[Effect]

// Machine is the keyspace. It is not safe for concurrent use: one loop owns it.
type Machine struct {
	cfg Config
	now int64
	out *Out

	dbs    [Databases]database
	gen    uint64 // the last generation given to a key
	spaces uint32 // the last space given to a database
	used   int64  // bytes of keys and values

	expiries expiries
	garbage  []garbage
	scripts  map[string]string // by SHA-1
	bodies   int64             // bytes of them
	waits    waits
	watches  watches

	written int       // bytes of rows that the command has named so far, and of strings that it will
	dirty   []keyName // keys whose header must be written at the end of the command
	arena   []byte    // what is left of the memory that records are made in
	frames  [4]call   // calls that are under way: a command, within a script, within a transaction
	depth   int
	chance  uint64 // state of the source of chance if there is no other
}

// keyName names a key of a database.
type keyName struct {
	db  int
	key string
}

// call is one command while it runs.
type call struct {
	m       *Machine
	db      int
	args    []string
	client  uint64
	request uint64
	micros  int64
	nested  bool // in a script or a transaction: it must not block
	script  bool
	blocked bool // it waits, and its reply means nothing
}

// New makes an empty keyspace.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, scripts: map[string]string{}}
	for i := range m.dbs {
		m.dbs[i].space = uint32(i)
	}
	m.spaces = Databases
	m.waits.init()
	m.watches.init()
	return m
}

// begin opens a command; end closes it.
func (m *Machine) begin(now int64, out *Out) {
	m.now, m.out, m.written = now, out, 0
}

// end serves those who wait for what the command brought, and names the headers that it changed.
func (m *Machine) end() {
	m.serve()
	m.writeHeaders()
	m.out = nil
}

// Apply runs a command at now, in ms since the epoch.
func (m *Machine) Apply(now int64, cmd Command, out *Out) Result {
	m.begin(now, out)
	var r Result
	switch c := cmd.(type) {
	case *Do:
		r = m.do(c)
	case *Exec:
		r = m.exec(c)
	case *Watch:
		m.watch(c)
		r = Result{Reply: reply.OK, DB: c.DB}
	case *Unwatch:
		m.watches.forget(c.Client)
		r.Reply = reply.OK
	case *Unblock:
		r.Reply = reply.Num(m.unblock(c))
	case *Forget:
		m.watches.forget(c.Client)
		m.waits.forget(c.Client)
		r.Reply = reply.OK
	case *Count:
		r.Stats = m.stats()
	}
	m.end()
	return r
}

func (m *Machine) do(d *Do) Result {
	s, bad := Check(d.Args)
	if s == nil {
		return Result{Reply: bad, DB: d.DB}
	}
	c := m.enter(call{db: d.DB, args: d.Args, client: d.Client, request: d.Request, micros: d.Micros})
	r := m.run(s, c)
	m.leave()
	return Result{Reply: r, Blocked: c.blocked, DB: c.db}
}

// enter opens a call. Calls are kept in the machine, because each would be garbage otherwise.
func (m *Machine) enter(c call) *call {
	at := &m.frames[m.depth]
	m.depth++
	c.m = m
	*at = c
	return at
}

func (m *Machine) leave() {
	m.depth--
	m.frames[m.depth].args = nil
}

func (m *Machine) run(s *Spec, c *call) reply.Reply {
	switch {
	case s.Flags&Outside != 0:
		if m.cfg.Server == nil {
			return reply.Fail("ERR command '" + s.Name + "' is not available here")
		}
		return m.cfg.Server.Answer(c.client, c.db, c.args)
	case s.Flags&Write != 0 && m.written+argBytes(c.args) > maxWrite:
		return errTooMuch
	case s.Flags&DenyOOM != 0 && m.cfg.Limit > 0 && m.used > m.cfg.Limit:
		return reply.Fail("OOM command not allowed when used memory > 'maxmemory'.")
	}
	return s.run(c)
}

func argBytes(args []string) (n int) {
	for _, a := range args {
		n += len(a)
	}
	return n
}

// Tick does what is due: time-outs of commands that block, keys that expire, and deleted keys whose parts are still to be forgotten. It
// does at most limit of them; more is true if that was not all.
func (m *Machine) Tick(now int64, limit int, out *Out) (more bool) {
	m.begin(now, out)
	limit = m.timeOut(limit)
	limit = m.expireSome(limit)
	m.sweep(limit)
	m.end()
	at, ok := m.Next()
	return ok && at <= now
}

// Next is when the next Tick has something to do, in ms; ok is false when nothing is due by itself.
func (m *Machine) Next() (at int64, ok bool) {
	if len(m.garbage) > 0 {
		return 0, true
	}
	at, ok = m.expiries.next()
	if due, waits := m.waits.next(); waits && (!ok || due < at) {
		return due, true
	}
	return at, ok
}

// Stats are numbers for INFO.
type Stats struct {
	Keys    [Databases]int // of each database
	Expires [Databases]int // those that have a time to live
	Used    int64          // bytes of keys and values
	Blocked int            // commands that wait
	Scripts int            // in the cache
	Garbage int            // deleted keys that are still to be forgotten
}

func (m *Machine) stats() *Stats {
	var s Stats
	for i := range m.dbs {
		s.Keys[i], s.Expires[i] = m.dbs[i].keys.Len(), m.dbs[i].volatile
	}
	s.Used, s.Blocked, s.Scripts, s.Garbage = m.used, m.waits.len(), len(m.scripts), len(m.garbage)
	return &s
}

// random draws from the configured source, or from a sequence that is always the same.
func (m *Machine) random() uint64 {
	if m.cfg.Random != nil {
		return m.cfg.Random()
	}
	m.chance += 0x9e3779b97f4a7c15 // splitmix64
	z := m.chance
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
