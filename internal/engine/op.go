package engine

import "github.com/quartetjobs/quartet/internal/expr"

// OpKind is what one op of a report says.
type OpKind uint8

// The ops. Each protocol's answers are translated into these; new features should be compositions of them.
const (
	_            OpKind = iota
	OpStepDone          // a step returned Value
	OpStepFailed        // a step failed; retried unless Final or out of attempts
	OpPlan              // a step was found; make a call for exactly this step
	OpSleep             // resume at Until
	OpWaitEvent         // resume when an event matches, or at Until
	OpWaitSignal        // resume when the named signal is sent, or at Until
	OpInvoke            // start another function's run and resume with its result, or at Until
	OpContinue          // nothing stored; call again
	OpRunDone           // the run returned Value
	OpRunFailed         // the function itself failed; retried unless Final or out of attempts
)

// ValueKind says how a memoized value is to be understood; the door gives it its protocol's shape.
type ValueKind uint8

// Kinds of a step's value.
const (
	ValueNone  ValueKind = iota // not memoized yet
	ValueData                   // what the step returned
	ValueError                  // why it failed for good
	ValueRaw                    // passed on as it is: a matched event, or null
	ValueInput                  // not a result: arguments with which the step is to run
)

// Step identifies a step and says how to show it.
type Step struct {
	ID   string // as the protocol gives it; unique in the run
	Name string // what users see
	Type string // kind of work, in the door's words, for display
	Opts []byte // JSON for display: the expression and time-out of a wait, the target of an invoke
}

// Op is one thing that a call of a run reported. Which fields count is said at each kind.
type Op struct {
	Kind  OpKind
	Step  Step
	Value []byte // StepDone, RunDone: result; StepFailed, RunFailed: error, all as JSON
	// Input of a Plan is what its call needs beyond the step's id, opaque here and kept out of memory: it stands under
	// StepInputKey until the step is done, or with KeepInput as long as the run's history. nil: nothing.
	Input     []byte
	KeepInput bool

	Final   bool  // StepFailed, RunFailed: do not retry
	RetryAt int64 // StepFailed, RunFailed: when to retry, ms
	Until   int64 // Sleep: wake; waits and Invoke: give up; Plan: when to call; ms, 0 for now

	Attempts int         // Plan: how often to call; 0: as often as the run says
	Target   string      // Plan: what its calls share Config.PerTarget with; "": as the run's
	Queues   []QueueJoin // Plan: that its calls stand in instead of the run's, none with a slot per run; nil: the run's
	// Await says that a Plan may be brought forward by a second one of the same step, whose Input it then gets. Without Until it waits
	// for that only.
	Await bool

	OnTimeout      []byte    // waits and Invoke: value to memoize at Until
	OnTimeoutKind  ValueKind // and its kind
	Event          string    // WaitEvent: name
	Match          *expr.Bound
	Signal         string // WaitSignal: name
	SignalReplaces bool   // WaitSignal: take the name over from another waiting run instead of failing
	Race           bool   // its completion continues the run at once even under JoinAll

	Child *Start // Invoke, Plan: how another run is started; its Env is this run's
	// Joined is an unfinished run that Invoke waits for instead of starting one. If it has ended, Child is started; without Child the
	// step fails.
	Joined ID

	Started, Ended int64 // StepDone, StepFailed: when it ran, if the SDK told; 0: the call's times
}

// Join says when a run with several pending steps is continued.
type Join uint8

// Joins.
const (
	JoinAll  Join = iota // once, when the last pending step is done
	JoinEach             // after every step that is done
)

// CallInfo is what the door saw of one call, for the run's history.
type CallInfo struct {
	Started, Ended int64
	Status         int    // HTTP status, 0 when there was no answer
	Headers        []byte // JSON object of the headers worth showing
	Body           []byte // beginning of the answer, for calls that failed
}
