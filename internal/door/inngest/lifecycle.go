package inngest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
)

// Names of the events that only the server sends: section 15.3.
const (
	eventFinished  = "inngest/function.finished"
	eventFailed    = "inngest/function.failed"
	eventCancelled = "inngest/function.cancelled"
	eventInvoked   = "inngest/function.invoked"
	eventTimer     = "inngest/scheduled.timer"
)

// lifecycle collects ended runs until their events are sent. It is bounded by the engine's outbox, where every one of
// them still is.
type lifecycle struct {
	mu    sync.Mutex
	facts []*engine.Settle
	wake  chan struct{} // capacity 1; full means that the worker knows
}

// maxSettle is how many ended runs are dealt with in one command.
const maxSettle = 64

// Settle takes note of an ended run. It does not block.
func (d *Door) Settle(s *engine.Settle) {
	l := &d.lifecycle
	l.mu.Lock()
	l.facts = append(l.facts, s)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lifecycle) take(n int) []*engine.Settle {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.facts))
	out := l.facts[:n:n]
	l.facts = l.facts[n:]
	if len(l.facts) == 0 {
		l.facts = nil
	}
	return out
}

// runLifecycle turns ended runs into events until ctx ends. What it does not get to is in the outbox after a restart.
func (d *Door) runLifecycle(ctx context.Context) {
	for {
		facts := d.lifecycle.take(maxSettle)
		if len(facts) == 0 {
			select {
			case <-d.lifecycle.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			err := d.settle(ctx, facts)
			if err == nil || ctx.Err() != nil {
				break
			}
			d.cfg.Log.Debug("lifecycle events are sent again", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	}
}

// settle sends the events of ended runs, those of one environment in one command.
func (d *Door) settle(ctx context.Context, facts []*engine.Settle) error {
	byEnv := map[string]*engine.SendEvents{}
	for _, f := range facts {
		events, err := d.lifecycleEvents(ctx, f)
		if err != nil {
			return fmt.Errorf("run %s: %w", f.Run, err)
		}
		c := byEnv[f.Env]
		if c == nil {
			c = &engine.SendEvents{Env: f.Env}
			byEnv[f.Env] = c
		}
		c.Events = append(c.Events, events...)
		c.Settles = append(c.Settles, f.Run)
	}
	var errs []error
	for _, c := range byEnv {
		if _, err := d.cfg.Host.Submit(ctx, c); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// finishedData is the payload of the three events about a run.
type finishedData struct {
	FunctionID    string            `json:"function_id"`
	RunID         string            `json:"run_id"`
	Event         json.RawMessage   `json:"event"`
	Events        []json.RawMessage `json:"events"`
	Result        json.RawMessage   `json:"result,omitempty"`
	Error         json.RawMessage   `json:"error,omitempty"`
	CorrelationID string            `json:"correlation_id,omitempty"`
	Inngest       struct {
		Status string `json:"status"`
	} `json:"_inngest"`
}

// lifecycleEvents are the events that a run's end causes; none for runs that such an event started, or they would never
// stop.
func (d *Door) lifecycleEvents(ctx context.Context, f *engine.Settle) ([]engine.Event, error) {
	run, err := history.Run(ctx, d.cfg.Host, f.Run)
	if err != nil || run == nil { // none: retention was faster
		return nil, err
	}
	if run.Trigger == eventFinished || run.Trigger == eventFailed {
		return nil, nil
	}
	data := finishedData{FunctionID: run.Slug, RunID: run.ID.String(), Event: json.RawMessage("{}")}
	var correlations []string
	for i, id := range run.Events {
		ev, err := history.Event(ctx, d.cfg.Host, run.Env, id)
		if err != nil {
			return nil, err
		}
		if ev == nil {
			continue
		}
		data.Events = append(data.Events, ev.JSON())
		if i == 0 {
			data.Event = data.Events[0]
		}
		if c := correlation(ev); c != "" {
			correlations = append(correlations, c)
		}
	}
	data.Inngest.Status = titleStatus(run.Status)
	now := d.cfg.Now().UnixMilli()
	make := func(name, key string) engine.Event {
		b, _ := json.Marshal(data) // made of values that were valid JSON before
		return engine.Event{Name: name, Key: key, Data: b, TS: now, Internal: true, Source: "lifecycle", Fact: run.ID}
	}
	var out []engine.Event
	switch run.Status {
	case engine.Failed:
		data.Error, data.Result = failedError(run.Output), run.Output
		out = append(out, make(eventFailed, run.ID.String()))
		data.Result = nil
	case engine.Cancelled:
		out = append(out, make(eventCancelled, run.ID.String()))
	default:
		data.Result = orNull(run.Output)
	}
	if len(correlations) == 0 {
		correlations = []string{""}
	}
	for _, c := range correlations {
		data.CorrelationID = c
		out = append(out, make(eventFinished, ""))
	}
	return out, nil
}

// failedError is the run's error with the text that older handlers read.
func failedError(output []byte) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(named(output), &m) != nil || m == nil {
		m = map[string]json.RawMessage{"name": json.RawMessage(`"Error"`), "message": jsonValue(output)}
	}
	var name, msg string
	_, _ = json.Unmarshal(m["name"], &name), json.Unmarshal(m["message"], &msg)
	m["error"], _ = json.Marshal(name + ": " + msg)
	b, _ := json.Marshal(m)
	return b
}

// correlation is the step that waits for the run that an event started.
func correlation(ev *engine.EventRow) string {
	if ev.Name != eventInvoked {
		return ""
	}
	var d struct {
		Inngest struct {
			CorrelationID string `json:"correlation_id"`
		} `json:"_inngest"`
	}
	if json.Unmarshal(ev.Data, &d) != nil {
		return ""
	}
	return d.Inngest.CorrelationID
}

// titleStatus is a status as the v1 API and events write it: section 15.1.
func titleStatus(s engine.Status) string {
	switch s {
	case engine.Queued:
		return "Scheduled"
	case engine.Running:
		return "Running"
	case engine.Completed:
		return "Completed"
	case engine.Failed:
		return "Failed"
	case engine.Cancelled:
		return "Cancelled"
	}
	return "Skipped"
}

func uuidText(id engine.UUID) string { return uuid.UUID(id).String() }
