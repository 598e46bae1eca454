package engine

import (
	"encoding/json"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/cron"
	"github.com/quartetjobs/quartet/internal/expr"
)

// ID is a ULID: runs, events and requests have one. Its first six bytes are the milliseconds of its making.
type ID = ulid.ULID

// UUID identifies a function or app. Doors derive it from the name, so it is the same after every registration.
type UUID [16]byte

// Milliseconds of common spans.
const (
	Second = int64(1000)
	Minute = 60 * Second
	Hour   = 60 * Minute
	Day    = 24 * Hour
)

// App is a group of functions that one process serves and registers together.
type App struct {
	ID       UUID
	Env      string
	Name     string          // its identity within the environment
	Door     string          // the door that registered it
	URL      string          // where it was last registered from
	Checksum string          // of the last registration; an equal one changes nothing
	Meta     json.RawMessage // what the door wants to show about it: SDK, framework, version, last error
}

// Function is anything runnable, as a door registered it.
type Function struct {
	ID      UUID
	Env     string
	App     string
	Slug    string // unique in the environment
	Name    string
	Door    string          // which door makes its calls
	Target  string          // calls to one target share Config.PerTarget slots; usually scheme and host
	Config  json.RawMessage // the door's own: where and how to call it; opaque here
	Version int             // counts changed registrations, from 1

	MaxAttempts int // attempts of each job before its error is final; at least 1
	Triggers    []Trigger
	Cancel      []CancelRule
	Flow        Flow

	Driven bool   // its runs make no calls from the top: see Drive
	Pulled bool   // its calls are not made but handed out to workers that ask: see Lease
	Pool   string // Pulled: what workers name when they ask; "": nobody does
	Silent bool   // its runs' ends are not turned into facts for the door (see Settle)
	// FailuresOnly: of its runs' ends only the failures are turned into facts.
	FailuresOnly bool `json:",omitempty"`

	Archived bool // no longer registered: starts nothing new, existing runs go on
	Paused   bool // starts nothing new: matches become skipped runs
}

// Trigger starts runs: exactly one of Event and Cron is set.
type Trigger struct {
	Event string // exact name, or a prefix that ends in "/*" or ".*"
	If    string // CEL over event; empty: always

	Cron       string // as written, TZ= prefix included; five or six fields, or a descriptor
	CronEvent  string // name of the event that each tick sends
	CronJitter int64  // ms; each tick is late by a fixed pseudo-random part of it
}

// CancelRule ends unfinished runs of a function when an event arrives.
type CancelRule struct {
	Event   string
	If      string // CEL over event (the trigger event) and async (the arriving one); empty: any
	Timeout int64  // ms after the run's creation at which the rule stops listening; 0: never
}

// Scope says who shares a concurrency limit.
type Scope string

// Scopes of a Concurrency limit.
const (
	ScopeFunction Scope = "fn"      // this function, per key
	ScopeEnv      Scope = "env"     // every function of the environment that uses the same key value
	ScopeAccount  Scope = "account" // every function of the server that uses the same key value
)

// Concurrency limits how many calls, or with PerRun how many runs, are in progress at once for one key.
type Concurrency struct {
	Limit  int // 0: no limit
	Scope  Scope
	Key    string // CEL over event; empty: one key for all
	PerRun bool   // hold the slot from the first call to the run's end instead of per call
}

// Rate is a GCRA limit: one per Period/Limit, and Burst more at once.
type Rate struct {
	Limit  int
	Period int64 // ms
	Burst  int
	Key    string // CEL over event; empty: one bucket for the function
}

// Debounce postpones a run until no event has come for Period.
type Debounce struct {
	Period  int64
	Timeout int64 // ms after the first event at which the run starts anyway; 0: never
	Key     string
}

// Batch collects events into one run.
type Batch struct {
	Size    int
	Timeout int64 // ms after the first event
	Key     string
	If      string // events for which it is false start a run of their own
}

// Singleton allows one unfinished run per key.
type Singleton struct {
	Key    string
	Cancel bool // end the older run instead of skipping the newer
}

// Flow is the flow control of one function. The zero value is: start at once, no limit.
type Flow struct {
	Concurrency   []Concurrency
	Throttle      *Rate // delays starts
	RateLimit     *Rate // drops starts
	Debounce      *Debounce
	Batch         *Batch
	Singleton     *Singleton
	Priority      string // CEL giving seconds by which the run's calls are ordered earlier
	StartTimeout  int64  // ms from creation to the first call; 0: none
	FinishTimeout int64  // ms from the first call to the end; 0: none
}

// maxPriority bounds what a priority expression may give, in seconds.
const maxPriority = 12 * 60 * 60

// function is a registered function with everything compiled.
type function struct {
	def      *Function
	triggers []trigger
	cancel   []*expr.Program // nil where the rule has no condition
	keys     flowKeys
	runs     []*run      // that are not over, in no order
	ready    heap[*lane] // lanes with a job that nothing is known to block
	inRing   bool
	lanes    [laneKinds]*lane // of runs without keys
}

type trigger struct {
	cond *expr.Program
	cron *cronState
}

type flowKeys struct {
	concurrency         []*expr.Program
	throttle, rate      *expr.Program
	debounce, batch     *expr.Program
	batchIf             *expr.Program
	singleton, priority *expr.Program
}

// cronState is the clock of one cron trigger.
type cronState struct {
	fn    *function
	index int
	sched *cron.Schedule
	tick  int64 // the tick that the timer waits for, before jitter
	timer timer
}

// compile prepares a registered function. The error names the field: doors check first, so here it means that a
// stored function no longer compiles.
func compile(def *Function) (*function, error) {
	f := &function{def: def}
	c := compiler{}
	for i, t := range def.Triggers {
		ct := trigger{cond: c.program("triggers.expression", t.If)}
		if t.Cron != "" {
			// Each door has checked what its protocol allows; here everything is understood that any of them does.
			s, err := cron.Parse(t.Cron, cron.Options{Seconds: true, Descriptors: true, Last: true})
			if err != nil {
				return nil, &FieldError{Field: "triggers.cron", Err: err}
			}
			ct.cron = &cronState{fn: f, index: i, sched: s}
		}
		f.triggers = append(f.triggers, ct)
	}
	for _, r := range def.Cancel {
		f.cancel = append(f.cancel, c.program("cancel.if", r.If))
	}
	fl := def.Flow
	for _, l := range fl.Concurrency {
		f.keys.concurrency = append(f.keys.concurrency, c.program("concurrency.key", l.Key))
	}
	if fl.Throttle != nil {
		f.keys.throttle = c.program("throttle.key", fl.Throttle.Key)
	}
	if fl.RateLimit != nil {
		f.keys.rate = c.program("rateLimit.key", fl.RateLimit.Key)
	}
	if fl.Debounce != nil {
		f.keys.debounce = c.program("debounce.key", fl.Debounce.Key)
	}
	if fl.Batch != nil {
		f.keys.batch = c.program("batch.key", fl.Batch.Key)
		f.keys.batchIf = c.program("batch.if", fl.Batch.If)
	}
	if fl.Singleton != nil {
		f.keys.singleton = c.program("singleton.key", fl.Singleton.Key)
	}
	f.keys.priority = c.program("priority.run", fl.Priority)
	if c.err != nil {
		return nil, c.err
	}
	return f, nil
}

// FieldError says which field of a function definition is wrong.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// programs caches compiled expressions for all machines of the process; compiling is pure, so sharing shows nowhere.
var programs = expr.NewCache(8192)

type compiler struct{ err error }

func (c *compiler) program(field, src string) *expr.Program {
	if src == "" {
		return nil
	}
	p, err := programs.Get(src)
	if err != nil && c.err == nil {
		c.err = &FieldError{Field: field, Err: err}
	}
	return p
}

// Check reports the first thing in def that cannot be registered.
func Check(def *Function) error {
	_, err := compile(def)
	return err
}
