package engine

// Effect is something that may happen once the command that caused it is durable.
type Effect interface{ effect() }

// Call asks a door to make one call of a run and to answer with a Report that carries Request. The call is not itself
// durable: after a crash it is asked for again, with a new Request.
type Call struct {
	Request     ID
	Run         ID
	Fn          *Function // as registered now; never changed in place
	Events      []ID      // the trigger event or the batch, in order
	Job         uint32    // stays the same over the retries of one job
	StepID      string    // run exactly this planned step; "": run from the top and report what is new
	Input       bool      // the step was planned with one, which is in the store under StepInputKey
	Steps       bool      // some are stored; false spares the door a look
	Attempt     int       // of this job, from 0
	MaxAttempts int
	Generation  int  // grows with each call of the same job
	PlanOnly    bool // several steps are pending: new ones must be planned, not run
	State       int32
	QueuedAt    int64 // when the job became due
	Started     int64 // when the run's first call was made
}

// Settle tells a door that a run ended, for what its protocol makes of that: events, callbacks. It is repeated after a
// crash until a SendEvents or Settled command names the run.
type Settle struct {
	Door   string
	Env    string
	Run    ID
	Status Status
}

// Notice says that a run of a Pulled function is not where its worker thinks it is. It is not repeated after a crash.
type Notice struct {
	Door string
	Env  string
	Run  ID
}

// Work says that a pool of workers, which had nothing for them, has. It is not repeated after a crash, so workers also ask from time to time.
type Work struct {
	Door string
	Env  string
	Pool string
}

func (*Notice) effect() {}
func (*Work) effect()   {}
func (*Call) effect()   {}
func (*Settle) effect() {}
