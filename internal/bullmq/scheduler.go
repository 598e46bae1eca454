package bullmq

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Scheduler makes jobs again and again: section 5.5.
type Scheduler struct {
	ID      string
	Name    string // of its jobs
	Pattern string // cron, with Zone; "": Every counts
	Zone    string
	Every   time.Duration
	Limit   int64 // of runs; 0: none
	Runs    int64 // made
	Start   time.Time
	End     time.Time
	Next    time.Time
	Data    json.RawMessage
	Options json.RawMessage
}

// Schedulers lists schedulers by their next run.
func (q *Queue) Schedulers(ctx context.Context, start, count int64) ([]*Scheduler, error) {
	v, err := q.redis.Do(ctx, "ZRANGE", q.key("repeat"), start, start+count-1, "WITHSCORES")
	if err != nil {
		return nil, fmt.Errorf("bullmq: schedulers of %s: %w", q.Name, err)
	}
	flat := texts(v)
	if len(flat) < 2 {
		return nil, nil
	}
	var commands [][]any
	for i := 0; i+1 < len(flat); i += 2 {
		commands = append(commands, []any{"HGETALL", q.key("repeat:" + flat[i])})
	}
	replies, err := q.redis.Pipeline(ctx, commands)
	if err != nil {
		return nil, fmt.Errorf("bullmq: schedulers of %s: %w", q.Name, err)
	}
	var out []*Scheduler
	for i, r := range replies {
		f := fields(r)
		raw := func(s string) json.RawMessage {
			if !json.Valid([]byte(s)) {
				return nil
			}
			return json.RawMessage(s)
		}
		out = append(out, &Scheduler{
			ID: flat[2*i], Next: timeOf(flat[2*i+1]), Name: f["name"], Pattern: f["pattern"], Zone: f["tz"], Every: time.Duration(number(f["every"])) * time.Millisecond,
			Limit: number(f["limit"]), Runs: number(f["ic"]), Start: timeOf(f["startDate"]), End: timeOf(f["endDate"]), Data: raw(f["data"]), Options: raw(f["opts"]),
		})
	}
	return out, nil
}

// RemoveScheduler removes a scheduler and the run that it would make next.
func (q *Queue) RemoveScheduler(ctx context.Context, id string) error {
	return q.change(ctx, "unschedule", id)
}

// RunScheduler adds a job as a scheduler would make it, now and once.
func (q *Queue) RunScheduler(ctx context.Context, id string) (string, error) {
	f, err := q.redis.Do(ctx, "HGETALL", q.key("repeat:"+id))
	if err != nil {
		return "", fmt.Errorf("bullmq: scheduler %s: %w", id, err)
	}
	s := fields(f)
	if len(s) == 0 {
		return "", ErrNotFound
	}
	var more map[string]any
	_ = json.Unmarshal([]byte(s["opts"]), &more) // a scheduler without a template has none
	return q.Add(ctx, s["name"], json.RawMessage(s["data"]), Options{More: more})
}
