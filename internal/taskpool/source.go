// Package taskpool executes deployed Trigger.dev tasks: it makes bundles runnable, keeps Node.js processes that load them, and drives runs in
// these through the channel that Node.js has for child processes.
//
// Where to look: pool.go takes runs and gives them to processes, drive.go is the life of one run in a process, process.go is a process and its
// channel, crash.go says what the end of a process means; bundle.go and build.go make a bundle runnable; limits_linux.go bounds what a process may
// use; client.go is the source of runs of a pool on another machine.
package taskpool

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

// Source is where runs come from and where it is told what becomes of them. Its methods may be called by many at once.
type Source interface {
	// Lease waits for runs, and returns at most most of them, none after a while without any. Each is the caller's for a minute, and from its start on
	// for five minutes from one heartbeat to the next.
	Lease(ctx context.Context, most int) ([]Run, error)
	// Start begins the next attempt of a run. Asked once more it says the same, for a caller that did not hear it. ErrLost: the run is not the caller's any more.
	Start(ctx context.Context, r Run) (*Attempt, error)
	// Complete tells of the outcome of an attempt: section 18.7. ErrLost: the run has moved on, Latest says where to.
	Complete(ctx context.Context, r Run, completion json.RawMessage) (*Outcome, error)
	Heartbeat(ctx context.Context, r Run) error
	Latest(ctx context.Context, r Run) (*State, error)
	// Notices calls fn with the id of each run that is not where its worker thinks it is, until ctx ends or the connection breaks.
	Notices(ctx context.Context, fn func(run string)) error
	// Bundle is what Build was given, and what indexing made of it.
	Bundle(ctx context.Context, env, deployment string) (archive io.ReadCloser, index []byte, err error)
}

// ErrLost says that a run is not this pool's any more.
var ErrLost = errors.New("the run has moved on")

// Run is a run that a pool holds.
type Run struct {
	Env        string  `json:"env"`      // name of its environment
	ID         string  `json:"id"`       // run_…
	Snapshot   string  `json:"snapshot"` // what the pool holds of it; it changes with each step
	Task       string  `json:"task"`
	Project    string  `json:"project"` // ref
	Deployment string  `json:"deployment"`
	Version    string  `json:"version"`
	Worker     string  `json:"worker"`
	Hash       string  `json:"contentHash"`
	Machine    Machine `json:"machine"`
	Token      string  `json:"token"` // lets the bundle's own controller drive it
}

// Machine is what a process may use: section 2.5.
type Machine struct {
	Name   string  `json:"name"`
	CPU    float64 `json:"cpu"`    // processors
	Memory float64 `json:"memory"` // GB
}

// Attempt is one execution of a run.
type Attempt struct {
	Snapshot  string            `json:"snapshot"`
	Number    int               `json:"number"`    // from 1
	Execution json.RawMessage   `json:"execution"` // section 18.6
	Trace     json.RawMessage   `json:"traceContext"`
	Env       map[string]string `json:"envVars"`
}

// What follows an attempt: section 18.7.
const (
	Finished         = "RUN_FINISHED"
	RetryImmediately = "RETRY_IMMEDIATELY"
	RetryQueued      = "RETRY_QUEUED"
)

// Outcome is what follows an attempt.
type Outcome struct {
	Status   string `json:"attemptStatus"`
	Snapshot string `json:"snapshot"`
}

// State is where a run is.
type State struct {
	Snapshot  string            `json:"snapshot"`
	Status    string            `json:"status"` // section 2.4
	Attempt   int               `json:"attempt"`
	Completed []json.RawMessage `json:"completedWaitpoints"`
}

// begun says that an attempt is under way, whatever it does.
func (s *State) begun() bool {
	return s.Status == "EXECUTING" || s.waits() || s.Status == "PENDING_CANCEL"
}

// waits says that the run waits, for what it asked for or for its slots.
func (s *State) waits() bool {
	return s.Status == "EXECUTING_WITH_WAITPOINTS" || s.Status == "QUEUED_EXECUTING"
}
