package engine

// Command is one of the types of this file. Commands are given to Machine.Apply and belong to it from then on.
type Command interface{ command() }

// Event is a fact on its way in.
type Event struct {
	ID       ID     // zero: the machine makes one
	Key      string // the sender's own id, used for idempotency; "": none
	Name     string
	Data     []byte // JSON, "" for absent
	User     []byte // JSON
	TS       int64  // ms
	V        string
	Meta     []byte // JSON
	Internal bool   // sent by a door about its own runs, hidden from lists by default
	At       int64  // runs that it starts begin no earlier, ms; 0: now
	Source   string // where it came from, for display
	// Fact is the ended run that a door made this event from. It is taken only while that fact is in the outbox, so that a
	// door that does not know whether it was heard can send it again.
	Fact ID

	parsed   any
	isParsed bool
	known    []UUID // functions that its Key started before, as loaded from the store
	stored   bool   // its ID is in the store already
}

// SendEvents stores events and lets them start, resume and cancel runs. Reply: SendReply.
type SendEvents struct {
	Env    string
	Events []Event
	// Settles names facts of the outbox that these events were made from; they are removed together with the events' arrival, so
	// that each fact is turned into events exactly once.
	Settles []ID
}

// SendReply gives the ids of the events, in order.
type SendReply struct{ IDs []ID }

// Start begins a run of one function directly. Reply: StartReply.
type Start struct {
	Env      string
	Slug     string
	Events   []Event // the trigger event, or a batch's events
	Existing bool    // the events are in the store already: a rerun
	// Bypass skips pause, idempotency, rate limit, debounce, batch and singleton: a person asked for this run.
	Bypass      bool
	Original    ID        // the run that this one repeats
	Presets     []StepRow // steps to take over from Original, in order of completion
	MaxAttempts int       // overrides the function's; 0: as the function says
	Key         string    // idempotency key within the function; "": none
	KeyWindow   int64     // ms for which Key is remembered; 0: Config.KeyWindow
	KeyOfRun    bool      // Key names the run: it is taken until the run has ended, and remembered for KeyWindow from then on
	Ops         []Op      // of a Driven function: what its run begins with, as of a Drive
	Run         ID        // of the new run; zero: the machine makes one
	Queues      []QueueJoin
	Pool        string // of a Pulled function: the only pool that may lease the run; "": the function's, until a lease binds it
	Priority    int64  // ms by which the run's calls are ordered earlier, instead of the function's
	// StartTimeout is the time from when the run is due to its first call, in ms, instead of the function's; 0: as the function says.
	StartTimeout int64
	Freed        ID       // a run that the caller has seen end: if Key is taken by it, it is free again
	Target       string   // shares the calls of Config.PerTarget with others of that name; "": the function's
	Rows         []RowPut // written together with the run, if it is started

	known []UUID // what the store has under Key
}

// StartReply says what became of a Start or of one event for one function.
type StartReply struct {
	Outcome StartOutcome
	Run     ID // the new run, or the existing one for Duplicate and Skipped
	Event   ID
}

// StartOutcome is what became of an event for one function.
type StartOutcome uint8

// Outcomes.
const (
	Started StartOutcome = iota
	NotFound
	Duplicate   // the key was used before
	Limited     // dropped by the rate limit
	Debounced   // waits for quiet
	Batched     // waits for its batch
	SkippedRun  // a singleton is busy or the function is paused; a skipped run records it
	NoCondition // the trigger's condition was not true
)

// Register replaces an app's functions. Doors validate with Check before. Reply: RegisterReply.
type Register struct {
	App       App
	Functions []Function
}

// RegisterReply tells whether anything changed.
type RegisterReply struct {
	Modified bool
	Err      error // a function does not compile: nothing was changed
}

// SetAppMeta stores what a door wants to show about an app without touching its functions. Reply: bool, whether the
// app exists.
type SetAppMeta struct {
	Env, Name string
	Meta      []byte
}

// RemoveApp archives all functions of an app. Reply: bool, whether it existed.
type RemoveApp struct{ Env, Name string }

// Pause stops or resumes starting runs of a function. Reply: bool, whether it exists.
type Pause struct {
	Env, Slug string
	Paused    bool
}

// Report applies the outcome of a call. Reply: bool, false when the call was no longer expected (the run ended, or
// the call had been given up) and nothing was done.
type Report struct {
	Run     ID
	Request ID
	Ops     []Op
	Join    Join
	State   int32 // the door's own memory of the run, given back with the next call
	Call    CallInfo
	Rows    []RowPut // written together with the outcome, if it is still expected
	Keep    *Keep    // of a lease: if the outcome is an attempt that will be repeated, the same worker repeats it
}

// Checkpoint stores steps of a call that is still running. Only OpStepDone and OpPlan are applied. Reply:
// CheckpointReply.
type Checkpoint struct {
	Run        ID
	Job        uint32
	Request    ID  // zero: not checked
	Generation int // zero: not checked
	Ops        []Op
}

// CheckpointReply is the answer to a Checkpoint.
type CheckpointReply uint8

// Checkpoint replies.
const (
	CheckpointStored  CheckpointReply = iota
	CheckpointStale                   // the job was given to another call since: this one must stop
	CheckpointUnknown                 // no such unfinished run
)

// Cancel ends an unfinished run. Reply: bool, whether it was unfinished.
type Cancel struct {
	Run    ID
	Reason string
	// Gently lets a call that is out come to its end: if that ends the run, the run has ended so, otherwise it is cancelled then.
	Gently bool
	Rows   []RowPut // written if it was unfinished
	Later  []RowPut // written when it ends as cancelled, if that is later; not after a crash in between
}

// Signal resumes the runs that wait for its names, one for each. Reply: SignalReply.
type Signal struct {
	Env, Name string
	Also      []string // more names, for what several runs wait for
	Value     []byte
	Rows      []RowPut // written whether a run waits or not
}

// SignalReply names the first run that was resumed.
type SignalReply struct {
	Found bool
	Run   ID
}

// Settle removes facts that a door has dealt with and made no events from. Reply: nil.
type Settled struct{ Facts []ID }

// Put writes rows of tables that only doors and operators use (Meta, Jobs, Logs, Dead). Reply: nil.
type Put struct{ Rows []RowPut }

// Forget deletes history that retention chose. Rows that an unfinished run or an open batch or debounce needs are kept.
// Reply: int, the number of rows deleted.
type Forget struct{ Rows []RowKey }

// Explain asks why a run is where it is. It changes nothing. Reply: Explanation.
type Explain struct{ Run ID }

// LiveRuns lists unfinished runs of a function created within [After, Before). It changes nothing. Reply: []ID.
type LiveRuns struct {
	Fn            UUID
	After, Before int64 // ms; 0: open
	Limit         int
}

// Overview counts what is in memory, for metrics and the dashboard. Reply: Counts.
type Overview struct{}

func (*SendEvents) command() {}
func (*Start) command()      {}
func (*Register) command()   {}
func (*SetAppMeta) command() {}
func (*RemoveApp) command()  {}
func (*Pause) command()      {}
func (*Report) command()     {}
func (*Checkpoint) command() {}
func (*Cancel) command()     {}
func (*Signal) command()     {}
func (*Settled) command()    {}
func (*Put) command()        {}
func (*Forget) command()     {}
func (*Explain) command()    {}
func (*LiveRuns) command()   {}
func (*Overview) command()   {}
