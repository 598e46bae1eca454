package bullmq

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultPrefix is what keys begin with unless the option prefix says otherwise.
const DefaultPrefix = "bull"

// State is where a job is.
type State string

// States of jobs, in BullMQ's words. Paused exists in queues of the 5.x packages only, see [Counts].
const (
	Waiting         State = "waiting"
	Paused          State = "paused"
	Active          State = "active"
	Prioritized     State = "prioritized"
	Delayed         State = "delayed"
	WaitingChildren State = "waiting-children"
	Completed       State = "completed"
	Failed          State = "failed"
	Unknown         State = "unknown"
)

// States lists all states that a job can be in, in the order of a job's life.
var States = []State{Waiting, Paused, Active, Prioritized, Delayed, WaitingChildren, Completed, Failed}

// suffix is the key of a state below the queue's prefix.
func (s State) suffix() string {
	if s == Waiting {
		return "wait"
	}
	return string(s)
}

// isList says that a state is kept in a list and not in a sorted set.
func (s State) isList() bool { return s == Waiting || s == Paused || s == Active }

// ParseState reads a state; "wait" is the same as "waiting".
func ParseState(s string) (State, error) {
	if s == "wait" {
		return Waiting, nil
	}
	if slices.Contains(States, State(s)) {
		return State(s), nil
	}
	return Unknown, fmt.Errorf("bullmq: there is no state %q", s)
}

// Queue is one queue on a server.
type Queue struct {
	Prefix string
	Name   string
	redis  Redis
	now    func() time.Time
}

// NewQueue names a queue; nothing is read or written. A name has no colon.
func NewQueue(r Redis, prefix, name string) *Queue {
	return &Queue{Prefix: prefix, Name: name, redis: r, now: time.Now}
}

// key is a key of the queue: section 5.1.
func (q *Queue) key(suffix string) string { return q.Prefix + ":" + q.Name + ":" + suffix }

// maxQueues bounds what Queues finds.
const maxQueues = 10_000

// Queues finds the queues on a server by their keys: section 5.7. prefix "" finds those of any prefix. They are sorted by prefix and name.
func Queues(ctx context.Context, r Redis, prefix string) ([]*Queue, error) {
	pattern := "*:meta"
	if prefix != "" {
		pattern = escape(prefix) + ":*:meta"
	}
	seen := map[[2]string]bool{}
	cursor := "0"
	for {
		v, err := r.Do(ctx, "SCAN", cursor, "MATCH", pattern, "COUNT", 1000, "TYPE", "hash")
		if err != nil {
			return nil, fmt.Errorf("bullmq: find queues: %w", err)
		}
		l := list(v)
		if len(l) != 2 {
			return nil, errors.New("bullmq: find queues: SCAN answered something else than a cursor and keys")
		}
		for _, key := range texts(l[1]) {
			base := strings.TrimSuffix(key, ":meta")
			i := strings.LastIndexByte(base, ':')
			if i > 0 && i < len(base)-1 && (prefix == "" || base[:i] == prefix) {
				seen[[2]string{base[:i], base[i+1:]}] = true
			}
		}
		if cursor = text(l[0]); cursor == "0" || len(seen) > maxQueues {
			break
		}
	}
	out := make([]*Queue, 0, len(seen))
	for k := range seen { // sorted below
		out = append(out, NewQueue(r, k[0], k[1]))
	}
	slices.SortFunc(out, func(a, b *Queue) int { return strings.Compare(a.key(""), b.key("")) })
	return out, nil
}

// escape makes a text match only itself in a pattern.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// Counts are the numbers of a queue.
type Counts struct {
	Jobs       map[State]int64
	Schedulers int64
	Paused     bool
	// Concurrency is how many jobs may be active at once in the whole queue, Max how many may begin in Duration; 0: no limit.
	Concurrency, Max int64
	Duration         time.Duration
	LimitedFor       time.Duration // for which the rate limit's window is open; 0: it is not
	Version          string        // of the package that made the queue, like "bullmq:6.7.0"
}

// Counts reads them all at one moment.
func (q *Queue) Counts(ctx context.Context) (*Counts, error) {
	v, err := q.run(ctx, "counts")
	if err != nil {
		return nil, err
	}
	return parseCounts(v)
}

func parseCounts(v any) (*Counts, error) {
	l := list(v)
	if len(l) != 15 {
		return nil, errors.New("bullmq: counts: an answer of another length")
	}
	c := &Counts{
		Jobs: map[State]int64{
			Waiting: number(l[0]), Paused: number(l[1]), Active: number(l[2]), Prioritized: number(l[3]), Delayed: number(l[4]),
			WaitingChildren: number(l[5]), Completed: number(l[6]), Failed: number(l[7]),
		},
		Schedulers: number(l[8]), Paused: text(l[9]) != "", Concurrency: number(l[10]), Max: number(l[11]),
		Duration: time.Duration(number(l[12])) * time.Millisecond, Version: text(l[13]), LimitedFor: max(0, time.Duration(number(l[14]))*time.Millisecond),
	}
	return c, nil
}

// Pause lets no more jobs begin; those that are active go on. It says whether that changed anything.
func (q *Queue) Pause(ctx context.Context) (bool, error) { return q.pause(ctx, 1) }

// Resume ends a pause. It says whether that changed anything.
func (q *Queue) Resume(ctx context.Context) (bool, error) { return q.pause(ctx, 0) }

func (q *Queue) pause(ctx context.Context, on int) (bool, error) {
	v, err := q.run(ctx, "pause", on)
	return number(v) == 1, err
}

// Drain removes all jobs that wait, and delayed ones if asked. Jobs that are active, ended or made by a scheduler stay. It answers how
// many were removed.
func (q *Queue) Drain(ctx context.Context, delayed bool) (int64, error) {
	v, err := q.run(ctx, "drain", flag(delayed))
	return number(v), err
}

// Clean removes at most limit jobs of a state that are older than that: ended so long ago, or made so long ago if they have not. Jobs that a worker
// works on and next runs of schedulers stay. It answers the ids of the removed ones.
func (q *Queue) Clean(ctx context.Context, state State, older time.Duration, limit int) ([]string, error) {
	if state == WaitingChildren || !slices.Contains(States, state) {
		return nil, fmt.Errorf("%w: %s jobs cannot be cleaned", ErrState, state)
	}
	v, err := q.run(ctx, "clean", state.suffix(), older.Milliseconds(), min(max(1, limit), 10_000))
	return texts(v), err
}

// RetryAll puts jobs that failed or completed, or delayed ones, in the line again, in batches, until none is left or limit are. It
// answers how many.
func (q *Queue) RetryAll(ctx context.Context, state State, limit int64) (int64, error) {
	if state != Failed && state != Completed && state != Delayed {
		return 0, fmt.Errorf("%w: %s jobs cannot be retried", ErrState, state)
	}
	total := int64(0)
	for total < limit {
		v, err := q.run(ctx, "retry_many", state.suffix(), min(1000, limit-total))
		n := number(v)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
	return total, nil
}

// Obliterate removes a paused queue with everything that is in it; active jobs forbid it unless force.
func (q *Queue) Obliterate(ctx context.Context, force bool) error {
	for {
		v, err := q.run(ctx, "obliterate", 1000, flag(force))
		if err != nil {
			return err
		}
		switch number(v) {
		case 0:
			return nil
		case -1:
			return ErrNotPaused
		case -2:
			return ErrActive
		}
	}
}

// SetConcurrency limits how many jobs of the queue are active at once, whatever the workers; 0 takes the limit away.
func (q *Queue) SetConcurrency(ctx context.Context, n int) error {
	return q.setMeta(ctx, map[string]int64{"concurrency": int64(n)})
}

// SetRateLimit lets n jobs begin in each period, whatever the workers; 0 takes the limit away.
func (q *Queue) SetRateLimit(ctx context.Context, n int, period time.Duration) error {
	if n == 0 {
		period = 0
	}
	return q.setMeta(ctx, map[string]int64{"max": int64(n), "duration": period.Milliseconds()})
}

func (q *Queue) setMeta(ctx context.Context, values map[string]int64) error {
	for k, n := range values { // each field on its own
		var err error
		if n > 0 {
			_, err = q.redis.Do(ctx, "HSET", q.key("meta"), k, n)
		} else {
			_, err = q.redis.Do(ctx, "HDEL", q.key("meta"), k)
		}
		if err != nil {
			return fmt.Errorf("bullmq: set %s of queue %s: %w", k, q.Name, err)
		}
	}
	return nil
}

// Worker is a worker as its blocking connection shows it: section 1.6.
type Worker struct {
	Name string // the worker's own; "" for most
	Addr string
	Age  time.Duration // of its connection
	Idle time.Duration // since it last asked for work
}

// Workers lists the workers of several queues with one look at the server's connections, by queue.
func Workers(ctx context.Context, r Redis, queues []*Queue) (map[*Queue][]Worker, error) {
	v, err := r.Do(ctx, "CLIENT", "LIST")
	if err != nil {
		return nil, fmt.Errorf("bullmq: list workers: %w", err)
	}
	byName := make(map[string]*Queue, len(queues))
	for _, q := range queues {
		byName[q.Prefix+":"+base64.StdEncoding.EncodeToString([]byte(q.Name))] = q
	}
	out := map[*Queue][]Worker{}
	for line := range strings.Lines(text(v)) {
		at := map[string]string{}
		for part := range strings.SplitSeq(strings.TrimSpace(line), " ") {
			k, v, _ := strings.Cut(part, "=")
			at[k] = v
		}
		name, own, _ := strings.Cut(at["name"], ":w:")
		if q := byName[name]; q != nil {
			out[q] = append(out[q], Worker{own, at["addr"], time.Duration(number(at["age"])) * time.Second, time.Duration(number(at["idle"])) * time.Second})
		}
	}
	return out, nil
}

// Metrics are how many jobs ended in each of the last minutes, newest first, if workers were told to count.
type Metrics struct {
	Total  int64
	Points []int64
}

// Metrics reads those of completed or failed jobs.
func (q *Queue) Metrics(ctx context.Context, state State, minutes int) (*Metrics, error) {
	if state != Completed && state != Failed {
		return nil, fmt.Errorf("%w: only completed and failed jobs are counted", ErrState)
	}
	key := q.key("metrics:" + string(state))
	replies, err := q.redis.Pipeline(ctx, [][]any{{"HGET", key, "count"}, {"LRANGE", key + ":data", 0, minutes - 1}})
	if err != nil {
		return nil, fmt.Errorf("bullmq: metrics of queue %s: %w", q.Name, err)
	}
	m := &Metrics{Total: number(replies[0])}
	for _, p := range list(replies[1]) {
		m.Points = append(m.Points, number(p))
	}
	return m, nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
