package engine

import (
	"slices"

	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
	"google.golang.org/protobuf/encoding/protowire"
)

// run is the scheduling state of an unfinished run. Payloads are not in it: they are in the store.
type run struct {
	id       ID
	fn       *function
	spec     spec
	queuedAt int64
	started  int64 // first call, 0: none yet

	steps    []stepKey // memoized, in order of completion
	jobs     []*job
	waits    []*wait
	cancels  []*cancelEntry
	held     []*limiter // slots held until the run ends
	deadline timer      // of the first call or, once that is made, of the end

	doorState int32
	nextJob   uint32
	attempts  uint32 // rows of Attempts written
	place     int32  // in the list of its function
	idle      uint8  // calls in a row that brought nothing new
	join      Join
	parallel  bool // under JoinEach: several steps were found at once some time
	again     bool // a call from the top is wanted as soon as the one that is out returns
	entered   bool // it has its places in queues with a slot per run
	expired   bool // it ends with the call that is out: its finish timeout passed, or somebody cancelled it gently
	dirty     bool
	stored    bool // a live row was written
	hasSteps  bool // rows of Steps were written, or may have been before the machine was recovered
	ended     bool
	stopping  *stopping // of an expired run that somebody cancelled
}

// keep makes a run one of those that are not over.
func (m *Machine) keep(r *run) {
	m.runs[r.id] = r
	r.place = int32(len(r.fn.runs))
	r.fn.runs = append(r.fn.runs, r)
}

// drop undoes keep.
func (m *Machine) drop(r *run) {
	delete(m.runs, r.id)
	f := r.fn
	last := len(f.runs) - 1
	moved := f.runs[last]
	f.runs[r.place], moved.place = moved, r.place
	f.runs[last] = nil
	f.runs = f.runs[:last]
	if cap(f.runs) > 1024 && last < cap(f.runs)/4 {
		f.runs = append(make([]*run, 0, last*2), f.runs...)
	}
}

// stopping is what is to be done when an expired run ends as cancelled.
type stopping struct {
	reason string
	rows   []RowPut
}

// spec is what was decided about a run when its event arrived: everything that needs the event's payload.
type spec struct {
	events      []ID
	trigger     string // name of the first event
	cron        string
	throttle    string
	singleton   string
	concurrency []string // values of the function's concurrency keys, in their order
	cancels     []cancelSpec
	parents     []parent
	priority    int64 // ms
	at          int64
	batch       ID
	original    ID
	maxAttempts int
	patience    int64    // ms from when it is due to its first call, instead of the function's; 0: as the function says
	single      bool     // has a singleton key
	routing     *routing // nil for most
	name        *name    // nil for most
}

// routing is where a run or a job goes that does not go where its function says.
type routing struct {
	queues []string
	target string // instead of the function's
	pool   string // instead of the function's
}

// name is the key of a Start with KeyOfRun.
type name struct {
	key    string
	window int64
}

var nowhere routing

// routed is where the calls of a run go.
func (s *spec) routed() *routing {
	if s.routing == nil {
		return &nowhere
	}
	return s.routing
}

// routed is where the calls of a job go.
func (j *job) routed() *routing {
	if j.routing != nil {
		return j.routing
	}
	return j.run.spec.routed()
}

// route is the routing of a run in queues or with a target or pool of its own.
func route(queues []string, target, pool string) *routing {
	if len(queues) == 0 && target == "" && pool == "" {
		return nil
	}
	return &routing{queues, target, pool}
}

type cancelSpec struct {
	event   string
	bound   *expr.Bound // nil: any event of the name
	timeout int64
}

// parent is the step of another run that waits for this run's result.
type parent struct {
	run  ID
	step stepKey
}

// job is one call to be made, with its own attempts: of the function from the top, or of one planned step.
type job struct {
	timer    timer // its due time, when that is in the future
	run      *run
	step     *Step // nil: from the top
	key      stepKey
	lane     *lane // where it waits for flow control
	flight   *flight
	due      int64
	seq      uint64
	index    int32 // in the lane's heap
	id       uint32
	attempt  int
	gen      int
	returns  int // how often a lease of it ran out before the work began
	race     bool
	input    bool     // a row under StepInputKey goes with it
	keep     bool     // and stays when it is done
	await    bool     // it may be brought forward while it is not due; without a due time it waits for that only
	attempts int      // in all; 0: as the run says
	begin    int64    // when it was due first, ms
	child    ID       // the run that was started with it
	routing  *routing // nil: the run's
	queuedAt int64    // when it was created, for display
}

func (j *job) place() *int32 { return &j.index }

func (j *job) order() int64 { return j.due - j.run.spec.priority }

func (j *job) before(o *job) bool {
	a, b := j.order(), o.order()
	return a < b || a == b && j.seq < o.seq
}

// wait is a step that is done by a time, an event, a signal or another run.
type wait struct {
	timer    timer
	run      *run
	step     Step
	key      stepKey
	kind     OpKind
	race     bool
	queuedAt int64
	until    int64
	event    string // or signal name
	bound    *expr.Bound
	entry    *expr.Entry[*wait]
	child    ID
	value    []byte // memoized at until
	valKind  ValueKind
}

type cancelEntry struct {
	timer timer
	run   *run
	event string
	bound *expr.Bound
	entry *expr.Entry[*cancelEntry]
	until int64
}

// calling says that a call of the run is out.
func (r *run) calling() bool {
	return slices.ContainsFunc(r.jobs, func(j *job) bool { return j.flight != nil })
}

func (r *run) env() string { return r.fn.def.Env }

func (j *job) maxAttempts() int {
	if j.attempts > 0 {
		return j.attempts
	}
	return j.run.maxAttempts()
}

func (r *run) maxAttempts() int {
	if r.spec.maxAttempts > 0 {
		return r.spec.maxAttempts
	}
	return max(1, r.fn.def.MaxAttempts)
}

func (r *run) has(k stepKey) bool { return slices.Contains(r.steps, k) }

// isPending says that a step was found and is not done.
func (r *run) isPending(k stepKey) bool {
	return slices.ContainsFunc(r.waits, func(w *wait) bool { return w.key == k }) ||
		slices.ContainsFunc(r.jobs, func(j *job) bool { return j.step != nil && j.key == k })
}

// pendingSteps counts steps that were found and are not done; races only if asked for.
func (r *run) pendingSteps(races bool) int {
	n := 0
	for _, w := range r.waits {
		if races || !w.race {
			n++
		}
	}
	for _, j := range r.jobs {
		if j.step != nil && (races || !j.race) {
			n++
		}
	}
	return n
}

func (r *run) dropJob(j *job) {
	r.jobs = slices.DeleteFunc(r.jobs, func(o *job) bool { return o == j })
}

func (m *Machine) touch(r *run) {
	if !r.dirty {
		r.dirty = true
		m.dirty = append(m.dirty, r)
	}
}

// row is the run's history row as of now.
func (m *Machine) row(r *run) RunRow {
	d := r.fn.def
	row := RunRow{
		ID: r.id, Env: d.Env, Fn: d.ID, Slug: d.Slug, App: d.App, Status: Queued,
		Events: r.spec.events, Trigger: r.spec.trigger, Cron: r.spec.cron, Batch: r.spec.batch, Original: r.spec.original,
		QueuedAt: r.queuedAt, StartAt: r.spec.at, Started: r.started, Version: d.Version, Steps: len(r.steps),
	}
	if len(r.spec.parents) > 0 {
		row.Parent = r.spec.parents[0].run
	}
	if r.started != 0 {
		row.Status = Running
	}
	return row
}

// The live row: everything recovery needs, and nothing else.

func (r *run) liveRecord() store.Record {
	var b encoder = make([]byte, 0, 192+16*len(r.steps))
	b.bytes(1, r.fn.def.ID[:])
	b.int(2, r.queuedAt)
	b.int(3, r.started)
	b.int(4, int64(r.doorState))
	b.uint(5, uint64(r.nextJob))
	b.uint(6, uint64(r.attempts))
	b.uint(7, uint64(r.idle))
	b.uint(8, uint64(r.join))
	b.bool(9, r.parallel)
	b.bool(10, r.expired)
	b.bool(11, r.again)
	if len(r.steps) > 0 {
		keys := make([]byte, 0, len(r.steps)*stepKeyLen)
		for i := range r.steps {
			keys = append(keys, r.steps[i][:]...)
		}
		b.bytes(12, keys)
	}
	for _, j := range r.jobs {
		b.elem(13, j.encode())
	}
	for _, w := range r.waits {
		b.elem(14, w.encode())
	}
	for _, c := range r.cancels {
		var e encoder
		e.str(1, c.event)
		e.int(2, c.until)
		if c.bound != nil {
			e.bytes(3, c.bound.Append(nil))
		}
		b.elem(15, e)
	}
	b.elem(16, r.spec.encode())
	return store.Record{Table: store.Live, Key: RunKey(r.id), Value: b, Fresh: !r.stored}
}

func (j *job) encode() encoder {
	var b encoder = make([]byte, 0, 32)
	b.uint(1, uint64(j.id))
	b.int(2, j.due)
	b.int(3, int64(j.attempt))
	b.int(4, int64(j.gen))
	b.bool(5, j.race)
	b.int(6, j.queuedAt)
	if j.step != nil {
		b.elem(7, j.step.encode())
	}
	b.bool(8, j.input)
	b.bool(9, j.keep)
	b.bool(10, j.await)
	b.int(11, int64(j.attempts))
	b.int(12, j.begin)
	b.id(13, j.child)
	if j.routing != nil {
		b.elem(14, j.routing.encode())
	}
	if j.flight != nil && j.flight.lease != nil {
		b.elem(15, j.flight.encode())
	}
	b.int(16, int64(j.returns))
	return b
}

func (r *routing) encode() encoder {
	var b encoder
	for _, q := range r.queues {
		b.elem(1, []byte(q))
	}
	b.str(2, r.target)
	b.str(3, r.pool)
	return b
}

func (s *Step) encode() encoder {
	var b encoder = make([]byte, 0, 64)
	b.str(1, s.ID)
	b.str(2, s.Name)
	b.str(3, s.Type)
	b.bytes(4, s.Opts)
	return b
}

func (w *wait) encode() encoder {
	var b encoder = make([]byte, 0, 128)
	b.elem(1, w.step.encode())
	b.uint(2, uint64(w.kind))
	b.bool(3, w.race)
	b.int(4, w.queuedAt)
	b.int(5, w.until)
	b.str(6, w.event)
	if w.bound != nil {
		b.bytes(7, w.bound.Append(nil))
	}
	b.id(8, w.child)
	b.bytes(9, w.value)
	b.uint(10, uint64(w.valKind))
	return b
}

func (s *spec) encode() encoder {
	var b encoder = make([]byte, 0, 96)
	for _, id := range s.events {
		b.elem(1, id[:])
	}
	b.str(2, s.trigger)
	b.str(3, s.cron)
	b.str(4, s.throttle)
	b.str(5, s.singleton)
	b.bool(6, s.single)
	for _, v := range s.concurrency {
		b.elem(7, []byte(v))
	}
	for _, c := range s.cancels {
		var e encoder
		e.str(1, c.event)
		e.int(2, c.timeout)
		if c.bound != nil {
			e.bytes(3, c.bound.Append(nil))
		}
		b.elem(8, e)
	}
	for _, p := range s.parents {
		b.elem(9, append(append([]byte(nil), p.run[:]...), p.step[:]...))
	}
	b.int(10, s.priority)
	b.int(11, s.at)
	b.id(12, s.batch)
	b.id(13, s.original)
	b.int(14, int64(s.maxAttempts))
	for _, q := range s.routed().queues {
		b.elem(15, []byte(q))
	}
	b.str(16, s.routed().target)
	if s.name != nil {
		b.str(17, s.name.key)
		b.int(18, s.name.window)
	}
	b.str(19, s.routed().pool)
	b.int(20, s.patience)
	return b
}

// bindings are few expressions over a million runs: bound conditions are parsed as they are read.
func parseBound(raw []byte, failed *error) *expr.Bound {
	b, err := expr.ParseBound(raw)
	if err != nil {
		*failed = err
		return nil
	}
	return &b
}

func parseStep(row []byte, failed *error) (s Step) {
	err := fields(row, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case 1:
			s.ID = string(b)
		case 2:
			s.Name = string(b)
		case 3:
			s.Type = intern(string(b))
		case 4:
			s.Opts = slices.Clone(b)
		}
	})
	if err != nil {
		*failed = err
	}
	return s
}

// parseCancel reads a cancel rule: in a spec with its timeout, in an unfinished run with the time at which it stops listening.
func parseCancel(row []byte, failed *error) (c cancelSpec) {
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			c.event = intern(string(b))
		case 2:
			c.timeout = int64(u)
		case 3:
			c.bound = parseBound(b, failed)
		}
	})
	if err != nil {
		*failed = err
	}
	return c
}

func parseSpec(row []byte, failed *error) (s spec) {
	var queues []string
	var target, pool string
	var called name
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			s.events = append(s.events, toID(b))
		case 2:
			s.trigger = intern(string(b))
		case 3:
			s.cron = intern(string(b))
		case 4:
			s.throttle = string(b)
		case 5:
			s.singleton = string(b)
		case 6:
			s.single = u != 0
		case 7:
			s.concurrency = append(s.concurrency, string(b))
		case 8:
			s.cancels = append(s.cancels, parseCancel(b, failed))
		case 9:
			if len(b) == 32 {
				s.parents = append(s.parents, parent{run: toID(b[:16]), step: stepKey(b[16:])})
			}
		case 10:
			s.priority = int64(u)
		case 11:
			s.at = int64(u)
		case 12:
			s.batch = toID(b)
		case 13:
			s.original = toID(b)
		case 14:
			s.maxAttempts = int(u)
		case 15:
			queues = append(queues, intern(string(b)))
		case 16:
			target = intern(string(b))
		case 17:
			called.key = string(b)
		case 18:
			called.window = int64(u)
		case 19:
			pool = intern(string(b))
		case 20:
			s.patience = int64(u)
		}
	})
	s.routing = route(queues, target, pool)
	if called.key != "" {
		s.name = &called
	}
	if err != nil {
		*failed = err
	}
	return s
}

func parseRouting(row []byte, failed *error) *routing {
	r := &routing{}
	err := fields(row, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case 1:
			r.queues = append(r.queues, intern(string(b)))
		case 2:
			r.target = intern(string(b))
		case 3:
			r.pool = intern(string(b))
		}
	})
	if err != nil {
		*failed = err
	}
	return r
}
