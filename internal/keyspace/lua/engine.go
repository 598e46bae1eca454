package lua

import (
	"errors"
	"sync/atomic"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Limits bound a run of a script. Zero fields are replaced by the defaults.
type Limits struct {
	Steps  int // turns of loops and calls of Lua functions, and as much work of library functions; default 200 million
	Memory int // bytes that are allocated in the course of the run, freed or not; default 1 GiB
}

// Limits of a script's text.
const maxSource = 16 << 20

// chunkName is what error texts call a script.
const chunkName = "user_script"

// Engine compiles and runs scripts for the keyspace, which it is a part of: one goroutine uses it, but for [Engine.Kill] and
// [Engine.Running].
type Engine struct {
	limits  Limits
	scripts map[string]*function
	env     *table
	strings *table // the metatable of strings
	keys    *table
	argv    *table
	next    *function // so that loops over pairs know it

	// Log receives what scripts pass to redis.log, with a level from 0 (debug) to 3 (warning). May be nil.
	Log func(level int, text string)

	base, stack, spare []value // where calls keep their values: the piece that stays, the current one, one to grow into
	top, high          int     // of the current piece; the most that was used of any
	frames             []*frame
	depth              int
	natives            int
	single             [1]value
	tailArgs           []value

	run    run
	fuel   int // steps until the next look at budget and kill
	budget int // steps beyond fuel
	memory int // bytes left
	killed atomic.Bool
	state  atomic.Int32

	current *coroutine // that runs, nil for the script itself

	words []string // arguments of redis.call
	buf   []byte   // for texts under construction
}

// run is what belongs to one run of a script.
type run struct {
	script   *keyspace.Script
	stop     string // why it must end, when it must
	resp3    bool   // redis.setresp(3)
	random   uint64
	json     jsonOptions
	routines []*coroutine
}

// states of a run, for Kill.
const (
	idle int32 = iota
	running
	writing // it has run a command that may have changed something
)

const (
	fuelChunk  = 4096
	keptFrames = 32 // from one run to the next
)

// New makes an engine.
func New(limits Limits) *Engine {
	if limits.Steps == 0 {
		limits.Steps = 200_000_000
	}
	if limits.Memory == 0 {
		limits.Memory = 1 << 30
	}
	e := &Engine{limits: limits, scripts: map[string]*function{}, base: make([]value, 1024), frames: []*frame{nil}}
	e.stack = e.base
	e.open()
	return e
}

// Compile implements [keyspace.Scripts].
func (e *Engine) Compile(sha, body string) error {
	_, err := e.compile(sha, body)
	return err
}

func (e *Engine) compile(sha, body string) (*function, error) {
	if fn := e.scripts[sha]; fn != nil {
		return fn, nil
	}
	fn, err := e.load(chunkName, skipShebang(body))
	if err == nil {
		e.scripts[sha] = fn
	}
	return fn, err
}

// skipShebang empties a first line that is for the machine; the line itself stays, so that the others keep their numbers.
func skipShebang(body string) string {
	if len(body) < 2 || body[:2] != "#!" {
		return body
	}
	for i := range len(body) {
		if body[i] == '\n' {
			return body[i:]
		}
	}
	return ""
}

func (e *Engine) load(chunk, body string) (*function, error) {
	if len(body) > maxSource {
		return nil, errors.New(chunk + ":1: script is too long")
	}
	tree, err := parse(chunk, body)
	if err != nil {
		return nil, err
	}
	return compileChunk(e, chunk, tree), nil
}

// Forget implements [keyspace.Scripts].
func (e *Engine) Forget() { clear(e.scripts) }

// Run implements [keyspace.Scripts].
func (e *Engine) Run(s *keyspace.Script) reply.Reply {
	fn, err := e.compile(s.SHA, s.Body)
	if err != nil {
		return reply.Fail("ERR Error compiling script (new function): " + err.Error())
	}
	e.begin(s)
	r, failure := e.result(fn)
	if failure != nil {
		r = e.failure(failure)
	}
	e.end()
	return r
}

// result runs a script. Its result is turned into a reply within the bounds of the run, too.
func (e *Engine) result(fn *function) (r reply.Reply, err *luaError) {
	f, err := e.try(value{ref: fn}, nil)
	if err != nil {
		return r, err
	}
	defer catch(&err)
	return e.toReply(f.first(), 0), nil
}

func (e *Engine) begin(s *keyspace.Script) {
	e.run = run{script: s, random: seed48(0), json: defaultJSON}
	e.fuel, e.budget, e.memory = 0, e.limits.Steps, e.limits.Memory
	fill(e.keys, s.Keys)
	fill(e.argv, s.Args)
	e.killed.Store(false)
	e.state.Store(running)
}

// fill makes t a list of the texts and nothing else.
func fill(t *table, texts []string) {
	*t = table{arr: t.arr[:0]}
	for _, s := range texts {
		t.arr = append(t.arr, str(s))
	}
}

// end forgets the run, so that what it used can be freed.
func (e *Engine) end() {
	e.state.Store(idle)
	for _, co := range e.run.routines {
		co.close()
	}
	if e.depth != 0 || e.top != 0 || e.natives != 0 {
		panic("BUG: a script ended within a call")
	}
	clear(e.base[:min(e.high, len(e.base))])
	e.high = 0
	e.spare, e.tailArgs, e.single[0] = nil, nil, nilValue
	if len(e.frames) > keptFrames {
		clear(e.frames[keptFrames:])
		e.frames = e.frames[:keptFrames]
	}
	for d, f := range e.frames[1:] {
		*f = frame{e: e, depth: d + 1}
	}
	fill(e.keys, nil)
	fill(e.argv, nil)
	e.run = run{}
}

// Kill asks the script that runs to end. It may be called from any goroutine. What it reports is what SCRIPT KILL answers: that no script runs,
// or that the one that does has changed something already and must not be stopped half-way, or success.
func (e *Engine) Kill() reply.Reply {
	switch e.state.Load() {
	case idle:
		return reply.Fail("NOTBUSY No scripts in execution right now.")
	case writing:
		return reply.Fail("UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.")
	}
	e.killed.Store(true)
	return reply.OK
}

// Running reports whether a script runs now. It may be called from any goroutine.
func (e *Engine) Running() bool { return e.state.Load() != idle }

// refuel is called when fuel has run out: it takes more off the budget, or ends the run.
func (e *Engine) refuel() {
	if e.run.stop == "" {
		switch {
		case e.killed.Load() && e.state.Load() != writing:
			e.run.stop = "Script killed by user with SCRIPT KILL."
		case e.budget <= 0:
			e.run.stop = "script takes too many steps"
		}
	}
	if e.run.stop != "" {
		e.fuel = 0 // so that what catches the error gets it again at once
		e.fail(e.run.stop)
	}
	e.fuel = min(fuelChunk, e.budget)
	e.budget -= e.fuel
}

// step counts work of library functions.
func (e *Engine) step(n int) {
	e.fuel -= n
	for e.fuel < 0 {
		short := -e.fuel
		e.refuel()
		e.fuel -= short
	}
}

// charge counts bytes that a script makes the engine allocate. It is called before they are.
func (e *Engine) charge(n int) {
	if e.memory -= n; e.memory < 0 {
		e.run.stop = "not enough memory"
		e.fuel = 0
		e.fail(e.run.stop)
	}
}
