package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// options are what a run was triggered with: the Meta of the event that starts it, whose Data is the payload. They never change.
type options struct {
	Packet         packet    `json:"packet"`
	Task           string    `json:"task"`
	Queue          string    `json:"queue"`
	ConcurrencyKey string    `json:"concurrencyKey,omitempty"`
	Limits         *[]string `json:"limits,omitempty"` // named ones instead of the task's; nil: the task's
	Gates          []gate    `json:"gates,omitempty"`
	Key            string    `json:"key,omitempty"`     // idempotency key as the client sent it
	UserKey        string    `json:"userKey,omitempty"` // and as its user wrote it
	KeyScope       string    `json:"keyScope,omitempty"`
	KeyTTL         int64     `json:"keyTTL,omitempty"` // ms
	TTL            string    `json:"ttl,omitempty"`
	TTLMillis      int64     `json:"ttlMillis,omitempty"`
	Delay          int64     `json:"delay,omitempty"` // not before, ms
	MaxAttempts    int       `json:"maxAttempts,omitempty"`
	MaxDuration    float64   `json:"maxDuration,omitempty"`
	Machine        string    `json:"machine,omitempty"`
	Priority       float64   `json:"priority,omitempty"` // s
	Test           bool      `json:"test,omitempty"`
	Replay         bool      `json:"replay,omitempty"`
	Tags           []string  `json:"tags,omitempty"`
	Metadata       string    `json:"metadata,omitempty"` // JSON, of the beginning
	Parent         string    `json:"parent,omitempty"`
	Root           string    `json:"root,omitempty"`
	Depth          int       `json:"depth,omitempty"`
	Wait           bool      `json:"wait,omitempty"` // the parent waits for it
	Batch          string    `json:"batch,omitempty"`
	BatchIndex     int       `json:"batchIndex,omitempty"`
	Lock           string    `json:"lock,omitempty"`  // version
	Trace          string    `json:"trace,omitempty"` // as a traceparent, with the span of the run itself
	Span           string    `json:"span,omitempty"`  // in which it was triggered
	Schedule       string    `json:"schedule,omitempty"`
	Streams        string    `json:"streams,omitempty"`
}

// note is what changes about a run beside what the engine knows. It is written together with what changes it, or under the run's lock.
type note struct {
	Tags       []string        `json:"tags,omitempty"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	Output     packet          `json:"output"`
	DurationMs float64         `json:"durationMs,omitempty"`
	Worker     string          `json:"worker,omitempty"`
	Machine    string          `json:"machine,omitempty"` // in place of the one that it was triggered with
	Attempt    int             `json:"attempt,omitempty"` // the latest, from 1
	Streams    []string        `json:"streams,omitempty"` // that it writes
	Inputs     []string        `json:"inputs,omitempty"`  // streams that were sent into it, or for which it waits
	Newest     bool            `json:"newest,omitempty"`  // what it was debounced with last has a row of its own
	UpdatedAt  int64           `json:"updatedAt"`
}

// record is a run with everything that is known about it.
type record struct {
	*engine.RunRow
	opts    options
	payload packet
	note    note
}

// runNote names the row of a run's note; children's rows begin with childNote.
const (
	runNote   = "run"
	childNote = "child/"
)

func (env *environment) noteRow(run engine.ID, n *note) engine.RowPut {
	n.UpdatedAt = max(n.UpdatedAt+1, env.cfg.Now().UnixMilli())
	return engine.RowPut{Table: store.Steps, Key: engine.NoteKey(run, runNote), Value: mustJSON(n)}
}

// read reads a run; nil when there is none of this door.
func (env *environment) read(ctx context.Context, id engine.ID) (*record, error) {
	row, err := history.Run(ctx, env.cfg.Host, id)
	if err != nil || row == nil || row.Env != env.Name || !strings.HasPrefix(row.Slug, slugPrefix) || row.App != appName || len(row.Events) == 0 {
		return nil, err
	}
	ev, err := history.Event(ctx, env.cfg.Host, row.Env, row.Events[0])
	if err != nil || ev == nil {
		return nil, err
	}
	rec := &record{RunRow: row}
	if len(ev.Meta) == 0 { // the dashboard started it
		rec.opts = options{Task: strings.TrimPrefix(row.Slug, slugPrefix), Queue: row.Slug, Packet: packet{Type: typeJSON}}
	} else if err := json.Unmarshal(ev.Meta, &rec.opts); err != nil {
		return nil, fmt.Errorf("decode options of run %s: %w", id, err)
	}
	rec.payload = rec.opts.Packet
	if len(ev.Data) > 0 {
		rec.payload.Data = ev.Data
	}
	return rec, env.readNote(ctx, rec)
}

func (env *environment) readNote(ctx context.Context, rec *record) error {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Steps, engine.NoteKey(rec.ID, runNote))
	if err != nil {
		return err
	}
	if !ok { // the dashboard started it, or repeats another
		rec.note.Tags = rec.opts.Tags
		if rec.opts.Metadata != "" {
			rec.note.Metadata = json.RawMessage(rec.opts.Metadata)
		}
		return nil
	}
	if err := json.Unmarshal(raw, &rec.note); err != nil {
		return fmt.Errorf("decode note of run %s: %w", rec.ID, err)
	}
	if rec.note.Newest {
		if err := env.readNewest(ctx, rec); err != nil {
			return err
		}
	}
	if rec.Status == engine.Completed && rec.note.Output.Type != "" && string(rec.Output) != "" && rec.note.Output.Raw != none {
		rec.note.Output.Data = rec.Output
	}
	return nil
}

// none marks an output that is absent.
const none = "\x00"

// output is a run's output as the worker gave it.
func (rec *record) output() (text, typ string, ok bool) {
	p := rec.note.Output
	if p.Raw == none {
		return "", p.Type, false
	}
	text, ok = p.text()
	return text, p.Type, ok
}

// mustRead reads the run that a path names.
func (env *environment) mustRead(ctx context.Context, friendlyID string) (*record, error) {
	if id, ok := parseID(runPrefix, friendlyID); ok {
		rec, err := env.read(ctx, id)
		if err != nil || rec != nil {
			return rec, err
		}
	}
	return nil, fail(404, "Run not found")
}

// children lists the runs that a run triggered.
func (env *environment) children(ctx context.Context, run engine.ID) ([]engine.ID, error) {
	rows, err := env.cfg.Host.List(ctx, store.Steps, engine.RunKey(run))
	if err != nil {
		return nil, err
	}
	var ids []engine.ID
	for _, r := range rows {
		if engine.IsStepInput(r.Key) && len(r.Value) == 16 && strings.Contains(string(r.Key[32:]), "n"+childNote) {
			ids = append(ids, engine.ID(r.Value))
		}
	}
	return ids, nil
}

// taskError is why a run failed, in the worker's words: section 18.7.
type taskError struct {
	Type       string          `json:"type"`
	Name       string          `json:"name,omitempty"`
	Message    string          `json:"message,omitempty"`
	StackTrace string          `json:"stackTrace,omitempty"`
	Causes     json.RawMessage `json:"causes,omitempty"`
	Raw        string          `json:"raw,omitempty"`
	Code       string          `json:"code,omitempty"`
}

// stored is the error as the engine has it: name, message and stack, as errors of all doors, and the worker's words beside them.
func (e *taskError) stored() json.RawMessage {
	v := struct {
		Name    string    `json:"name"`
		Message string    `json:"message"`
		Stack   string    `json:"stack,omitempty"`
		Trigger taskError `json:"trigger"`
	}{e.Name, e.Message, e.StackTrace, *e}
	switch {
	case e.Type == "INTERNAL_ERROR":
		v.Name = e.Code
		if v.Message == "" {
			v.Message = e.Code
		}
	case e.Raw != "":
		v.Name, v.Message = "Error", e.Raw
	}
	if v.Name == "" {
		v.Name = "Error"
	}
	return mustJSON(v)
}

// failure is why a run ended other than well.
func (rec *record) failure() *taskError {
	switch rec.Status {
	case engine.Cancelled:
		if rec.Reason == engine.NotStarted {
			return &taskError{Type: "STRING_ERROR", Raw: fmt.Sprintf("Run expired because the TTL (%s) was reached", rec.opts.TTL)}
		}
		return &taskError{Type: "STRING_ERROR", Raw: rec.Reason}
	case engine.Failed:
		var v struct {
			Name    string     `json:"name"`
			Message string     `json:"message"`
			Trigger *taskError `json:"trigger"`
		}
		_ = json.Unmarshal(rec.Output, &v) // an error of the engine's own has a name and a message
		if v.Trigger != nil {
			return v.Trigger
		}
		return &taskError{Type: "BUILT_IN_ERROR", Name: v.Name, Message: v.Message}
	}
	return nil
}

// Internal names of statuses: section 2.3.
const (
	statusDelayed   = "DELAYED"
	statusVersion   = "PENDING_VERSION"
	statusPending   = "PENDING"
	statusDequeued  = "DEQUEUED"
	statusExecuting = "EXECUTING"
	statusWaiting   = "WAITING_TO_RESUME"
	statusRetrying  = "RETRYING_AFTER_FAILURE"
	statusCanceled  = "CANCELED"
	statusDone      = "COMPLETED_SUCCESSFULLY"
	statusFailed    = "COMPLETED_WITH_ERRORS"
	statusSystem    = "SYSTEM_FAILURE"
	statusCrashed   = "CRASHED"
	statusExpired   = "EXPIRED"
	statusTimedOut  = "TIMED_OUT"
)

// status is a run's status by its internal name.
func (env *environment) status(rec *record, s engine.LeaseState) string {
	switch rec.Status {
	case engine.Completed:
		return statusDone
	case engine.Cancelled, engine.Skipped:
		if rec.Reason == engine.NotStarted {
			return statusExpired
		}
		return statusCanceled
	case engine.Failed:
		return env.failedStatus(rec.failure())
	}
	switch {
	case s.Held && s.Blocked:
		return statusWaiting
	case s.Held && s.Begun:
		return statusExecuting
	case s.Held && !s.Kept:
		return statusDequeued
	case s.Attempt > 0:
		return statusRetrying
	case s.Due > env.cfg.Now().UnixMilli():
		return statusDelayed
	case s.Pool == "", strings.HasPrefix(s.Pool, externalPool) && env.pooled(s.Pool) == nil:
		return statusVersion
	}
	return statusPending
}

// failedStatus is section 22.5.
func (env *environment) failedStatus(e *taskError) string {
	if e.Type != "INTERNAL_ERROR" {
		return statusFailed
	}
	switch e.Code {
	case "RECURSIVE_WAIT_DEADLOCK", "TASK_INPUT_ERROR", "TASK_OUTPUT_ERROR", "TASK_MIDDLEWARE_ERROR", "TASK_RUN_UNCAUGHT_EXCEPTION":
		return statusFailed
	case "TASK_RUN_CANCELLED":
		return statusCanceled
	case stalledCode, stalledCode + "_WITH_WAITPOINTS":
		if env.deployed() {
			return statusFailed
		}
		return statusCanceled
	case "MAX_DURATION_EXCEEDED":
		return statusTimedOut
	case "TASK_PROCESS_OOM_KILLED", "TASK_PROCESS_MAYBE_OOM_KILLED", "TASK_PROCESS_SIGSEGV", "DISK_SPACE_EXCEEDED", "OUTDATED_SDK_VERSION",
		"HANDLE_ERROR_ERROR", "TASK_RUN_CRASHED", "TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE":
		return statusCrashed
	}
	return statusSystem
}

// finalStatus says that nothing more will happen to a run of a status.
func finalStatus(s string) bool {
	switch s {
	case statusDone, statusFailed, statusCanceled, statusSystem, statusCrashed, statusExpired, statusTimedOut:
		return true
	}
	return false
}
