package engine

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
	"google.golang.org/protobuf/encoding/protowire"
)

// Status of a run.
type Status uint8

// Statuses. Ended tells the last four from the first two.
const (
	Queued Status = iota + 1 // created, no call made yet
	Running
	Completed
	Failed
	Cancelled
	Skipped // recorded but never started
)

func (s Status) String() string {
	switch s {
	case Queued:
		return "queued"
	case Running:
		return "running"
	case Completed:
		return "completed"
	case Failed:
		return "failed"
	case Cancelled:
		return "cancelled"
	case Skipped:
		return "skipped"
	}
	return "unknown"
}

// ParseStatus is the inverse of Status.String; 0 for an unknown word.
func ParseStatus(s string) Status {
	for st := Queued; st <= Skipped; st++ {
		if st.String() == s {
			return st
		}
	}
	return 0
}

// Ended says that nothing more will happen to a run.
func (s Status) Ended() bool { return s >= Completed }

// MarshalText writes the status as its word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// EventRow is a stored event: table Events, keyed by EventKey.
type EventRow struct {
	ID       ID
	Env      string
	Name     string
	Key      string // the sender's id
	TS       int64
	Received int64
	Data     []byte
	User     []byte
	V        string
	Meta     []byte
	Internal bool
	Source   string
}

// UserID is the id that functions see: the sender's, or the internal one.
func (e *EventRow) UserID() string {
	if e.Key != "" {
		return e.Key
	}
	return e.ID.String()
}

// JSON is the event as user code sees it: name, data, user, id, ts and v, the payloads byte for byte as they were sent.
func (e *EventRow) JSON() []byte {
	return eventJSON(e.Name, e.Data, e.User, e.UserID(), e.TS, e.V)
}

func eventJSON(name string, data, user []byte, id string, ts int64, v string) []byte {
	b := make([]byte, 0, len(data)+len(user)+len(name)+len(id)+64)
	b = append(b, `{"name":`...)
	b = appendString(b, name)
	b = append(b, `,"data":`...)
	b = append(b, orJSON(data, "{}")...)
	b = append(b, `,"user":`...)
	b = append(b, orJSON(user, "{}")...)
	b = append(b, `,"id":`...)
	b = appendString(b, id)
	b = append(b, `,"ts":`...)
	b = appendInt(b, ts)
	if v != "" {
		b = append(b, `,"v":`...)
		b = appendString(b, v)
	}
	return append(b, '}')
}

func orJSON(raw []byte, absent string) []byte {
	if len(raw) == 0 || string(raw) == "null" {
		return []byte(absent)
	}
	return raw
}

func appendString(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always marshals
	return append(b, q...)
}

func appendInt(b []byte, n int64) []byte {
	q, _ := json.Marshal(n) // so does a number
	return append(b, q...)
}

// Keys of rows. An environment is a short name without NUL.

// EventKey is the key of an event's row.
func EventKey(env string, id ID) []byte { return envKey(env, id[:]) }

// RunKey is the key of a run's rows in Runs and Live, and the partition of its Steps and Attempts.
func RunKey(id ID) []byte { return bytes.Clone(id[:]) }

// EnvPrefix is the prefix of all keys of an environment in Events, Apps and Functions.
func EnvPrefix(env string) []byte { return append([]byte(env), 0) }

func envKey(env string, rest []byte) []byte {
	k := make([]byte, 0, len(env)+1+len(rest))
	k = append(k, env...)
	k = append(k, 0)
	return append(k, rest...)
}

// Tags of rows.

// EventNameTag selects events of one name.
func EventNameTag(env, name string) string { return env + "\x00" + name }

// EventExternalTag selects the events that came from outside, which lists show by default.
func EventExternalTag(env string) string { return env }

// RunFunctionTag selects the runs of one function.
func RunFunctionTag(fn UUID) string { return string(fn[:]) }

// RunStatusTag selects the runs of an environment in one status.
func RunStatusTag(env string, s Status) string { return env + "\x00" + s.String() }

// RunEventTag selects the runs whose first event is id.
func RunEventTag(id ID) string { return string(id[:]) }

func (e *EventRow) record() store.Record {
	var b encoder = make([]byte, 0, len(e.Data)+len(e.User)+len(e.Name)+64)
	b.id(1, e.ID)
	b.str(2, e.Env)
	b.str(3, e.Name)
	b.str(4, e.Key)
	b.int(5, e.TS)
	b.int(6, e.Received)
	b.bytes(7, e.Data)
	b.bytes(8, e.User)
	b.str(9, e.V)
	b.bytes(10, e.Meta)
	b.bool(11, e.Internal)
	b.str(12, e.Source)
	r := store.Record{Table: store.Events, Key: EventKey(e.Env, e.ID), Value: b}
	r.Tags[0] = EventNameTag(e.Env, e.Name)
	if !e.Internal {
		r.Tags[1] = EventExternalTag(e.Env)
	}
	return r
}

// ParseEventRow decodes a row of Events.
func ParseEventRow(row []byte) (*EventRow, error) {
	e := &EventRow{}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			e.ID = toID(b)
		case 2:
			e.Env = string(b)
		case 3:
			e.Name = string(b)
		case 4:
			e.Key = string(b)
		case 5:
			e.TS = int64(u)
		case 6:
			e.Received = int64(u)
		case 7:
			e.Data = bytes.Clone(b)
		case 8:
			e.User = bytes.Clone(b)
		case 9:
			e.V = string(b)
		case 10:
			e.Meta = bytes.Clone(b)
		case 11:
			e.Internal = u != 0
		case 12:
			e.Source = string(b)
		}
	})
	return e, err
}

// Event turns a stored event back into one that a Start command can carry.
func (e *EventRow) Event() Event {
	return Event{
		ID: e.ID, Key: e.Key, Name: e.Name, Data: e.Data, User: e.User, TS: e.TS, V: e.V, Meta: e.Meta,
		Internal: e.Internal, Source: e.Source,
	}
}

// RunRow is a run as lists and pages show it: table Runs, keyed by RunKey.
type RunRow struct {
	ID       ID
	Env      string
	Fn       UUID
	Slug     string
	App      string
	Status   Status
	Events   []ID
	Trigger  string // name of the first event
	Cron     string // the schedule, for runs that a clock started
	Batch    ID     // set for batches
	Original ID     // the run that this one repeats
	Parent   ID     // the run that invoked it
	Existing ID     // skipped in favour of this run
	Reason   string // why it was cancelled or skipped
	QueuedAt int64
	StartAt  int64 // not before, for delayed runs
	Started  int64
	Ended    int64
	Output   []byte // result or error
	Version  int    // of the function when the run was created
	Steps    int    // memoized steps, for ended runs
}

func (r *RunRow) record() store.Record {
	var b encoder = make([]byte, 0, 160+len(r.Output)+len(r.Slug)+len(r.Trigger))
	b.id(1, r.ID)
	b.str(2, r.Env)
	b.bytes(3, r.Fn[:])
	b.str(4, r.Slug)
	b.str(5, r.App)
	b.uint(6, uint64(r.Status))
	for _, id := range r.Events {
		b.elem(7, id[:])
	}
	b.str(8, r.Trigger)
	b.str(9, r.Cron)
	b.id(10, r.Batch)
	b.id(11, r.Original)
	b.id(12, r.Parent)
	b.id(13, r.Existing)
	b.str(14, r.Reason)
	b.int(15, r.QueuedAt)
	b.int(16, r.StartAt)
	b.int(17, r.Started)
	b.int(18, r.Ended)
	b.bytes(19, r.Output)
	b.int(20, int64(r.Version))
	b.int(21, int64(r.Steps))
	rec := store.Record{Table: store.Runs, Key: RunKey(r.ID), Value: b}
	rec.Tags[0] = RunFunctionTag(r.Fn)
	rec.Tags[1] = RunStatusTag(r.Env, r.Status)
	if len(r.Events) > 0 {
		rec.Tags[2] = RunEventTag(r.Events[0])
	}
	return rec
}

// ParseRunRow decodes a row of Runs.
func ParseRunRow(row []byte) (*RunRow, error) {
	r := &RunRow{}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			r.ID = toID(b)
		case 2:
			r.Env = string(b)
		case 3:
			r.Fn = toUUID(b)
		case 4:
			r.Slug = string(b)
		case 5:
			r.App = string(b)
		case 6:
			r.Status = Status(u)
		case 7:
			r.Events = append(r.Events, toID(b))
		case 8:
			r.Trigger = string(b)
		case 9:
			r.Cron = string(b)
		case 10:
			r.Batch = toID(b)
		case 11:
			r.Original = toID(b)
		case 12:
			r.Parent = toID(b)
		case 13:
			r.Existing = toID(b)
		case 14:
			r.Reason = string(b)
		case 15:
			r.QueuedAt = int64(u)
		case 16:
			r.StartAt = int64(u)
		case 17:
			r.Started = int64(u)
		case 18:
			r.Ended = int64(u)
		case 19:
			r.Output = bytes.Clone(b)
		case 20:
			r.Version = int(u)
		case 21:
			r.Steps = int(u)
		}
	})
	return r, err
}

// StepRow is one step of a run: table Steps, keyed by the run and a hash of the step's id.
type StepRow struct {
	Step
	Seq      int       // place in the order of completion, from 1; 0: not done
	Kind     ValueKind // of Value
	Value    []byte
	State    string // "planned", "retrying", "sleeping", "waiting", "invoking", "done", "failed", "input"
	Attempt  int    // of the attempt that gave the value, or of the last that failed
	QueuedAt int64
	Started  int64
	Ended    int64
	Due      int64 // next attempt, wake-up or give-up
	Child    ID    // the run that an invoke started
	// Begin and Job order planned steps whose input is kept: by the time at which they were due first, in ms, and within that by their number.
	Begin int64
	Job   uint32
	Event ID // the event that matched
}

// stepKeyLen is the length of the hashed step id in keys and memory.
const stepKeyLen = 16

// StepRowKey is the key of a step's row.
func StepRowKey(run ID, stepID string) []byte {
	k := hashStep(stepID)
	return append(RunKey(run), k[:]...)
}

// StepInputKey is the key of the row beside a planned step's that holds Op.Input. It is in the same partition: IsStepInput tells
// the two apart.
func StepInputKey(run ID, stepID string) []byte { return append(StepRowKey(run, stepID), 'i') }

// IsStepInput says whether a key of Steps is a StepInputKey; its row is no StepRow.
func IsStepInput(key []byte) bool { return len(key) > 16+stepKeyLen }

func (s *StepRow) record(run ID) store.Record {
	var b encoder = make([]byte, 0, 96+len(s.Value)+len(s.Opts)+len(s.Name)+len(s.ID))
	b.str(1, s.ID)
	b.str(2, s.Name)
	b.str(3, s.Type)
	b.bytes(4, s.Opts)
	b.int(5, int64(s.Seq))
	b.uint(6, uint64(s.Kind))
	b.bytes(7, s.Value)
	b.str(8, s.State)
	b.int(9, int64(s.Attempt))
	b.int(10, s.QueuedAt)
	b.int(11, s.Started)
	b.int(12, s.Ended)
	b.int(13, s.Due)
	b.id(14, s.Child)
	b.id(15, s.Event)
	b.int(16, s.Begin)
	b.uint(17, uint64(s.Job))
	return store.Record{Table: store.Steps, Key: StepRowKey(run, s.ID), Value: b}
}

// ParseStepRow decodes a row of Steps.
func ParseStepRow(row []byte) (*StepRow, error) {
	s := &StepRow{}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			s.ID = string(b)
		case 2:
			s.Name = string(b)
		case 3:
			s.Type = string(b)
		case 4:
			s.Opts = bytes.Clone(b)
		case 5:
			s.Seq = int(u)
		case 6:
			s.Kind = ValueKind(u)
		case 7:
			s.Value = bytes.Clone(b)
		case 8:
			s.State = string(b)
		case 9:
			s.Attempt = int(u)
		case 10:
			s.QueuedAt = int64(u)
		case 11:
			s.Started = int64(u)
		case 12:
			s.Ended = int64(u)
		case 13:
			s.Due = int64(u)
		case 14:
			s.Child = toID(b)
		case 15:
			s.Event = toID(b)
		case 16:
			s.Begin = int64(u)
		case 17:
			s.Job = uint32(u)
		}
	})
	return s, err
}

// AttemptRow is one failed attempt: table Attempts, keyed by the run and a counter.
type AttemptRow struct {
	Step    Step // empty ID: the function itself
	Attempt int
	Error   []byte // JSON
	Final   bool
	RetryAt int64
	Call    CallInfo
}

func (a *AttemptRow) record(run ID, n uint32) store.Record {
	var b encoder = make([]byte, 0, 96+len(a.Error)+len(a.Call.Body)+len(a.Call.Headers))
	b.str(1, a.Step.ID)
	b.str(2, a.Step.Name)
	b.int(3, int64(a.Attempt))
	b.bytes(4, a.Error)
	b.bool(5, a.Final)
	b.int(6, a.RetryAt)
	b.int(7, a.Call.Started)
	b.int(8, a.Call.Ended)
	b.int(9, int64(a.Call.Status))
	b.bytes(10, a.Call.Headers)
	b.bytes(11, a.Call.Body)
	key := append(RunKey(run), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return store.Record{Table: store.Attempts, Key: key, Value: b}
}

// ParseAttemptRow decodes a row of Attempts.
func ParseAttemptRow(row []byte) (*AttemptRow, error) {
	a := &AttemptRow{}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			a.Step.ID = string(b)
		case 2:
			a.Step.Name = string(b)
		case 3:
			a.Attempt = int(u)
		case 4:
			a.Error = bytes.Clone(b)
		case 5:
			a.Final = u != 0
		case 6:
			a.RetryAt = int64(u)
		case 7:
			a.Call.Started = int64(u)
		case 8:
			a.Call.Ended = int64(u)
		case 9:
			a.Call.Status = int(u)
		case 10:
			a.Call.Headers = bytes.Clone(b)
		case 11:
			a.Call.Body = bytes.Clone(b)
		}
	})
	return a, err
}

// FunctionKey is the key of a function's row, whose value is the Function as JSON.
func FunctionKey(env, slug string) []byte { return envKey(env, []byte(slug)) }

// QueueKey is the key of a queue's row, whose value is the Queue as JSON.
func QueueKey(env, name string) []byte { return envKey(env, []byte(name)) }

// AppKey is the key of an app's row, whose value is the App as JSON.
func AppKey(env, name string) []byte { return envKey(env, []byte(name)) }

// IdempotencyKey is the key of the row that says which functions an event's key has started.
func IdempotencyKey(env, key string) []byte { return envKey(env, []byte(key)) }

// ParseIdempotency decodes a row of Idempotency.
func ParseIdempotency(row []byte) []UUID {
	var fns []UUID
	for ; len(row) >= len(UUID{}); row = row[len(UUID{}):] {
		fns = append(fns, toUUID(row[:len(UUID{})]))
	}
	return fns
}

// RowPut is a row of a table that the machine itself does not use.
type RowPut struct {
	Table   store.Table
	Key     []byte
	Value   []byte // nil deletes
	Tags    [3]string
	Expires int64 // ms; 0: never
	Stamp   bool  // the machine appends an id to the key that it makes as it writes the row, for rows in order of time
}

func (r *RowPut) record() store.Record {
	return store.Record{Table: r.Table, Key: r.Key, Value: r.Value, Tags: r.Tags, Expires: r.Expires}
}

// RowKey names a row.
type RowKey struct {
	Table store.Table
	Key   []byte
}

// SetParsed hands over the event as expressions see it, so that the machine need not parse it again.
func (e *Event) SetParsed(v any) { e.parsed, e.isParsed = v, true }

// SetKnown hands over what the store knows about the event before it is applied: the functions that its Key started, and
// whether an event with its ID exists.
func (e *Event) SetKnown(started []UUID, stored bool) { e.known, e.stored = started, stored }

// Value is the event as expressions see it. Data that is no JSON, which doors refuse, is as absent.
func (e *Event) Value() any {
	if !e.isParsed {
		id := e.Key
		if id == "" {
			id = e.ID.String()
		}
		m := map[string]any{"name": e.Name, "id": id, "ts": e.TS, "data": nil, "user": map[string]any{}}
		if v, err := expr.ParseJSON(e.Data); err == nil {
			m["data"] = v
		}
		if v, err := expr.ParseJSON(e.User); err == nil && v != nil {
			m["user"] = v
		}
		if e.V != "" {
			m["v"] = e.V
		}
		e.SetParsed(m)
	}
	return e.parsed
}

// MatchesPattern says whether an event name is matched by a trigger's pattern: the name itself, or a prefix of it up to a
// "/" or "." and then "*".
func MatchesPattern(pattern, name string) bool {
	if pattern == name {
		return true
	}
	prefix, ok := strings.CutSuffix(pattern, "*")
	return ok && (strings.HasSuffix(prefix, "/") || strings.HasSuffix(prefix, ".")) && strings.HasPrefix(name, prefix)
}
