package bullmq

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Job is one job as it is stored: section 5.3. Texts that are JSON are as BullMQ wrote them.
type Job struct {
	ID         string
	Name       string
	Data       json.RawMessage
	Options    json.RawMessage // with BullMQ's short names
	Progress   json.RawMessage // nil: none
	Result     json.RawMessage // of a completed job
	Error      string          // of the last attempt that failed
	Stack      []string        // of the attempts that failed, newest last
	Timestamp  time.Time       // when it was added
	Processed  time.Time       // when the last attempt began; zero: none did
	Finished   time.Time       // when it completed or failed for good
	Delay      time.Duration
	Priority   int64
	Attempts   int64 // made
	Started    int64 // begun
	Stalled    int64 // how often its worker was lost
	Worker     string
	Parent     string // key
	Scheduler  string // that made it
	Dedup      string // deduplication id
	Due        time.Time
	MaxTries   int64 // 0: one
	KeptReason string
}

func parseJob(id string, f map[string]string) *Job {
	raw := func(s string) json.RawMessage {
		switch {
		case s == "":
			return nil
		case json.Valid([]byte(s)):
			return json.RawMessage(s)
		}
		b, _ := json.Marshal(s) // a string always marshals
		return b
	}
	j := &Job{
		ID: id, Name: f["name"], Data: raw(f["data"]), Options: raw(f["opts"]), Progress: raw(f["progress"]), Result: raw(f["returnvalue"]),
		Error: f["failedReason"], Timestamp: timeOf(f["timestamp"]), Processed: timeOf(f["processedOn"]), Finished: timeOf(f["finishedOn"]),
		Delay: time.Duration(number(f["delay"])) * time.Millisecond, Priority: number(f["priority"]), Attempts: max(number(f["atm"]), number(f["attemptsMade"])),
		Started: number(f["ats"]), Stalled: number(f["stc"]), Worker: f["pb"], Parent: f["parentKey"], Scheduler: f["rjk"], Dedup: f["deid"], KeptReason: f["defa"],
	}
	_ = json.Unmarshal([]byte(f["stacktrace"]), &j.Stack) // what is no list of texts shows nothing
	var opts struct {
		Attempts json.Number `json:"attempts"`
	}
	_ = json.Unmarshal([]byte(f["opts"]), &opts) // options are shown as they are, whatever is in them
	j.MaxTries, _ = opts.Attempts.Int64()
	if j.Delay > 0 {
		j.Due = j.Timestamp.Add(j.Delay)
	}
	return j
}

// Get reads a job.
func (q *Queue) Get(ctx context.Context, id string) (*Job, error) {
	v, err := q.redis.Do(ctx, "HGETALL", q.key(id))
	if err != nil {
		return nil, fmt.Errorf("bullmq: read job %s: %w", id, err)
	}
	f := fields(v)
	if len(f) == 0 || f["timestamp"] == "" {
		return nil, ErrNotFound
	}
	return parseJob(id, f), nil
}

// State reads where a job is.
func (q *Queue) State(ctx context.Context, id string) (State, error) {
	commands := make([][]any, 0, len(States))
	for _, s := range States {
		if s.isList() {
			commands = append(commands, []any{"LPOS", q.key(s.suffix()), id})
		} else {
			commands = append(commands, []any{"ZSCORE", q.key(s.suffix()), id})
		}
	}
	replies, err := q.redis.Pipeline(ctx, commands)
	if err != nil {
		return Unknown, fmt.Errorf("bullmq: state of job %s: %w", id, err)
	}
	for i, r := range replies {
		if _, failed := r.(error); r != nil && !failed {
			return States[i], nil
		}
	}
	return Unknown, nil
}

// IDs lists the ids of jobs in a state from start on. The first one is the next to run, or the one that ended last.
func (q *Queue) IDs(ctx context.Context, state State, start, count int64) ([]string, error) {
	if !slices.Contains(States, state) {
		return nil, fmt.Errorf("%w: %q", ErrState, state)
	}
	key, stop := q.key(state.suffix()), start+count-1
	var v any
	var err error
	switch {
	case state.isList():
		v, err = q.redis.Do(ctx, "LRANGE", key, -stop-1, -start-1) // taken from the right
	case state == Completed || state == Failed:
		v, err = q.redis.Do(ctx, "ZREVRANGE", key, start, stop)
	default:
		v, err = q.redis.Do(ctx, "ZRANGE", key, start, stop)
	}
	if err != nil {
		return nil, fmt.Errorf("bullmq: list %s jobs of %s: %w", state, q.Name, err)
	}
	ids := texts(v)
	if state.isList() {
		slices.Reverse(ids)
	}
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" || id == "0" || strings.HasPrefix(id, "0:") }), nil // markers of old versions
}

// List reads jobs of a state as IDs lists them. One that was removed meanwhile is left out.
func (q *Queue) List(ctx context.Context, state State, start, count int64) ([]*Job, error) {
	ids, err := q.IDs(ctx, state, start, count)
	if err != nil {
		return nil, err
	}
	return q.GetMany(ctx, ids)
}

// GetMany reads jobs by their ids; those that do not exist are left out.
func (q *Queue) GetMany(ctx context.Context, ids []string) ([]*Job, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	commands := make([][]any, len(ids))
	for i, id := range ids {
		commands[i] = []any{"HGETALL", q.key(id)}
	}
	replies, err := q.redis.Pipeline(ctx, commands)
	if err != nil {
		return nil, fmt.Errorf("bullmq: read jobs of %s: %w", q.Name, err)
	}
	var jobs []*Job
	for i, r := range replies {
		if f := fields(r); f["timestamp"] != "" {
			jobs = append(jobs, parseJob(ids[i], f))
		}
	}
	return jobs, nil
}

// Search looks through at most scan jobs of a state for those whose id, name, data or error has a text in it, and answers at most limit.
func (q *Queue) Search(ctx context.Context, state State, want string, scan, limit int64) ([]*Job, error) {
	want = strings.ToLower(want)
	var found []*Job
	for start := int64(0); start < scan; start += 500 {
		jobs, err := q.List(ctx, state, start, min(500, scan-start))
		if err != nil || len(jobs) == 0 {
			return found, err
		}
		for _, j := range jobs {
			text := strings.ToLower(j.ID + "\x00" + j.Name + "\x00" + string(j.Data) + "\x00" + j.Error)
			if strings.Contains(text, want) {
				if found = append(found, j); int64(len(found)) == limit {
					return found, nil
				}
			}
		}
	}
	return found, nil
}

// Options of a new job. The zero value adds it to the end of the line.
type Options struct {
	ID       string        // "": the queue's next number. BullMQ refuses ids that are numbers, and most with a colon
	Delay    time.Duration // before it may run
	Priority int64         // 1 comes before 2, and 0 before both
	Front    bool          // of the line
	Attempts int           // 0: one
	Backoff  time.Duration // before another attempt; 0: none
	Grow     bool          // double the backoff each time
	Dedup    string        // deduplication id
	DedupFor time.Duration // 0: as long as the job is not done
	// More are other options as BullMQ writes them, which win.
	More map[string]any
}

// maxPriority is BullMQ's limit.
const maxPriority = 2_097_151

const errPriority = InputError("a priority must be between 0 and 2097151")

// Add adds a job and answers its id: that of the older one if there is one with the same id or deduplication id.
func (q *Queue) Add(ctx context.Context, name string, data json.RawMessage, o Options) (string, error) {
	if len(data) == 0 {
		data = json.RawMessage("{}")
	}
	switch {
	case !json.Valid(data):
		return "", InputError("the data of a job must be JSON")
	case o.Priority < 0 || o.Priority > maxPriority:
		return "", errPriority
	case strings.Trim(o.ID, "0123456789") == "" && o.ID != "":
		return "", InputError("the id of a job cannot be a number")
	case strings.HasPrefix(o.ID, "0:") || strings.Contains(o.ID, ":") && strings.Count(o.ID, ":") != 2:
		return "", InputError("the id of a job cannot have a colon")
	case o.Delay < 0:
		return "", InputError("a delay cannot be negative")
	}
	opts := map[string]any{"attempts": o.Attempts}
	if o.ID != "" {
		opts["jobId"] = o.ID
	}
	if o.Delay > 0 {
		opts["delay"] = o.Delay.Milliseconds()
	}
	if o.Priority > 0 {
		opts["priority"] = o.Priority
	}
	if o.Front {
		opts["lifo"] = true
	}
	if o.Backoff > 0 {
		kind := "fixed"
		if o.Grow {
			kind = "exponential"
		}
		opts["backoff"] = map[string]any{"type": kind, "delay": o.Backoff.Milliseconds()}
	}
	ttl := ""
	if o.Dedup != "" {
		d := map[string]any{"id": o.Dedup}
		if o.DedupFor > 0 {
			d["ttl"] = o.DedupFor.Milliseconds()
			ttl = fmt.Sprint(o.DedupFor.Milliseconds())
		}
		opts["de"] = d
	}
	maps.Copy(opts, o.More)
	b, err := json.Marshal(opts)
	if err != nil {
		return "", InputError("options: " + err.Error())
	}
	v, err := q.run(ctx, "add", o.ID, name, string(data), string(b), o.Delay.Milliseconds(), o.Priority, flag(o.Front), o.Dedup, ttl)
	return text(v), err
}

// Retry puts a job that failed or completed in the line again; reset forgets the attempts that it made.
func (q *Queue) Retry(ctx context.Context, id string, state State, reset bool) error {
	if state != Failed && state != Completed {
		return fmt.Errorf("%w: only failed and completed jobs can be retried", ErrState)
	}
	return q.change(ctx, "retry", id, state.suffix(), flag(reset))
}

// Promote lets a delayed job run now.
func (q *Queue) Promote(ctx context.Context, id string) error { return q.change(ctx, "promote", id) }

// SetDelay lets a delayed job run so much later from now.
func (q *Queue) SetDelay(ctx context.Context, id string, d time.Duration) error {
	return q.change(ctx, "delay", id, max(0, d.Milliseconds()))
}

// SetPriority gives a job another priority, at the front of those of the same one if asked.
func (q *Queue) SetPriority(ctx context.Context, id string, priority int64, front bool) error {
	if priority < 0 || priority > maxPriority {
		return errPriority
	}
	return q.change(ctx, "prioritize", id, priority, flag(front))
}

// SetData gives a job other data.
func (q *Queue) SetData(ctx context.Context, id string, data json.RawMessage) error {
	if !json.Valid(data) {
		return InputError("the data of a job must be JSON")
	}
	return q.change(ctx, "update", id, string(data))
}

// Remove removes a job, and the jobs that it waits for if asked. One that a worker works on, or any of those, forbids it.
func (q *Queue) Remove(ctx context.Context, id string, children bool) error {
	return q.change(ctx, "remove", id, flag(children))
}

// Logs reads the rows that a job's processor wrote from start on, oldest first, and how many there are.
func (q *Queue) Logs(ctx context.Context, id string, start, count int64) ([]string, int64, error) {
	key := q.key(id + ":logs")
	replies, err := q.redis.Pipeline(ctx, [][]any{{"LRANGE", key, start, start + count - 1}, {"LLEN", key}})
	if err != nil {
		return nil, 0, fmt.Errorf("bullmq: logs of job %s: %w", id, err)
	}
	return texts(replies[0]), number(replies[1]), nil
}
