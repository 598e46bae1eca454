package taskpool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Times of the driving of a run: sections 18.9 and 19.4.
const (
	heartbeat  = 20 * time.Second
	lookAgain  = 5 * time.Second // between looks at a run that nobody gave notice of
	cancelTime = 30 * time.Second
	flushTime  = 5 * time.Second
)

// drive is the life of one run in the pool.
type drive struct {
	pool    *Pool
	run     Run
	noticed chan struct{}
	quit    chan struct{} // closed when the pool cannot wait any longer
	waiting bool          // under the pool's lock

	attempt int
	proc    *process
}

func (d *drive) notice() {
	select {
	case d.noticed <- struct{}{}:
	default:
	}
}

// execute makes attempts of the run until it is not the pool's any more.
func (d *drive) execute(ctx context.Context) {
	defer d.putBack()
	for {
		att, err := d.start(ctx)
		if err != nil {
			if !errors.Is(err, ErrLost) {
				d.pool.cfg.Log.Warn("start a run", "run", d.run.ID, "err", err)
			}
			return
		}
		result, ok := d.attend(ctx, att)
		if !ok {
			return
		}
		again, delay := d.complete(ctx, result)
		if !again {
			return
		}
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-d.quit: // the lease of the attempt that has not begun runs out
			t.Stop()
			return
		}
	}
}

// start begins an attempt and sees to it that there is a process. What keeps a process from starting fails the attempt.
func (d *drive) start(ctx context.Context) (*Attempt, error) {
	p := d.pool
	var dir string
	var broken error
	if d.proc != nil && !d.proc.alive() {
		p.drop(d.proc)
		d.proc = nil
	}
	if d.proc == nil {
		if d.proc = p.claim(d.run); d.proc == nil {
			dir, broken = p.ensure(ctx, d.run)
		}
	}
	att, err := insist(ctx, d.quit, func() (*Attempt, error) { return p.cfg.Source.Start(ctx, d.run) })
	if err != nil {
		return nil, err
	}
	d.run.Snapshot, d.attempt = att.Snapshot, att.Number
	if d.proc == nil && broken == nil {
		if d.proc, broken = p.launch(d.run, dir, att); d.proc != nil {
			p.mu.Lock()
			p.live[d.proc] = true
			p.mu.Unlock()
		}
	}
	if broken != nil {
		p.cfg.Log.Error("make a task process", "run", d.run.ID, "deployment", d.run.Deployment, "err", broken)
		d.complete(ctx, failed(d.run.ID, internalError("COULD_NOT_IMPORT_TASK", broken.Error())))
		return nil, ErrLost
	}
	p.hold(d.run, d.attempt, d.proc.cmd.Process.Pid)
	return att, nil
}

// attend executes an attempt in the process, and sees that it goes on where it waits. It is false when the run is not the pool's any more.
func (d *drive) attend(ctx context.Context, att *Attempt) (result json.RawMessage, ok bool) {
	q := d.proc
	warm := q.runs > 0
	q.runs++
	err := q.send("EXECUTE_TASK_RUN", map[string]any{
		"version": "v1", "execution": att.Execution, "traceContext": att.Trace, "env": att.Env, "isWarmStart": warm,
		"metadata": map[string]string{"id": d.run.Worker, "contentHash": d.run.Hash, "version": d.run.Version, "engine": "V2"},
	})
	if err != nil {
		return failed(d.run.ID, q.died()), true
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		select {
		case m, open := <-q.events:
			if !open {
				q.kill() // without its channel it is of no use
				return failed(d.run.ID, q.died()), true
			}
			if result, over := d.heard(m); over {
				return result, true
			}
		case <-beat.C:
			_ = d.pool.cfg.Source.Heartbeat(ctx, d.run) // the next one may get through
		case <-d.noticed:
			if result, over := d.look(ctx); over {
				return result, result != nil
			}
		case <-look.C:
			if result, over := d.look(ctx); over {
				return result, result != nil
			}
		case <-d.quit:
			q.terminate()
			return failed(d.run.ID, internalError("TASK_RUN_STALLED_EXECUTING", "The server stopped while the task was executing")), true
		}
	}
}

// heard deals with a message of the process; over says that the attempt is, with the result.
func (d *drive) heard(m message) (result json.RawMessage, over bool) {
	q := d.proc
	switch m.Type {
	case "TASK_RUN_COMPLETED":
		var in struct {
			Execution struct {
				Run struct {
					ID string `json:"id"`
				} `json:"run"`
				Attempt struct {
					Number int `json:"number"`
				} `json:"attempt"`
			} `json:"execution"`
			Result json.RawMessage `json:"result"`
		}
		if json.Unmarshal(m.Payload, &in) != nil || in.Execution.Run.ID != d.run.ID || in.Execution.Attempt.Number != d.attempt {
			return nil, false // of another run or attempt: a process cannot speak for these
		}
		return in.Result, true
	case "UNCAUGHT_EXCEPTION":
		var in struct {
			Error struct {
				Name, Message, Stack string
			} `json:"error"`
		}
		_ = json.Unmarshal(m.Payload, &in) // what it does not say is empty
		q.terminate()
		e := internalError("TASK_RUN_UNCAUGHT_EXCEPTION", in.Error.Message)
		e.Stack = in.Error.Stack
		return failed(d.run.ID, e), true
	case "MAX_DURATION_EXCEEDED":
		var in struct {
			Most float64 `json:"maxDurationInSeconds"`
		}
		_ = json.Unmarshal(m.Payload, &in) // what it does not say is 0
		q.terminate()
		return failed(d.run.ID, internalError("MAX_DURATION_EXCEEDED", fmt.Sprintf("Run exceeded maximum compute time (maxDuration) of %v seconds", in.Most))), true
	}
	return nil, false
}

// look finds out where the run is and tells its process. over says that the attempt is: with a result that is to be reported, or without because the run
// is not the pool's any more.
func (d *drive) look(ctx context.Context) (result json.RawMessage, over bool) {
	s, err := d.pool.cfg.Source.Latest(ctx, d.run)
	if err != nil {
		return nil, errors.Is(err, ErrLost)
	}
	if s.Snapshot == d.run.Snapshot {
		return nil, false
	}
	switch {
	case s.Status == "PENDING_CANCEL":
		d.run.Snapshot = s.Snapshot
		d.pool.wait(d, false)
		d.proc.ask("CANCEL", map[string]any{"timeoutInMs": cancelTime.Milliseconds()}, cancelTime+time.Second)
		d.proc.terminate()
		return failed(d.run.ID, internalError("TASK_RUN_CANCELLED", "")), true
	case s.Attempt != d.attempt || s.Status != "EXECUTING" && !s.waits():
		d.proc.kill()
		return nil, true
	}
	d.run.Snapshot = s.Snapshot
	d.pool.wait(d, s.waits())
	if s.Status == "EXECUTING" {
		for _, w := range s.Completed {
			if d.proc.send("RESOLVE_WAITPOINT", map[string]any{"version": "v1", "waitpoint": w}) != nil {
				return nil, false // its end is noticed
			}
		}
	}
	return nil, false
}

// complete tells of the result of an attempt, and says whether and when the same process is to make the next.
func (d *drive) complete(ctx context.Context, result json.RawMessage) (again bool, delay time.Duration) {
	d.pool.wait(d, false)
	for {
		out, err := insist(ctx, nil, func() (*Outcome, error) { return d.pool.cfg.Source.Complete(ctx, d.run, result) })
		if errors.Is(err, ErrLost) {
			// It may have moved on without being somebody else's: the process went on before it was told.
			s, err := insist(ctx, nil, func() (*State, error) { return d.pool.cfg.Source.Latest(ctx, d.run) })
			if err == nil && s.Snapshot != d.run.Snapshot && s.Attempt == d.attempt && s.begun() {
				d.run.Snapshot = s.Snapshot
				continue
			}
			return false, 0
		}
		if err != nil || out.Status != RetryImmediately {
			return false, 0
		}
		d.run.Snapshot = out.Snapshot
		var r struct {
			Retry struct {
				Delay float64 `json:"delay"`
			} `json:"retry"`
		}
		_ = json.Unmarshal(result, &r) // without a delay the next attempt is at once
		return true, time.Duration(r.Retry.Delay) * time.Millisecond
	}
}

// putBack keeps the process for another run, or ends it.
func (d *drive) putBack() {
	q := d.proc
	if q == nil {
		return
	}
	flush := map[string]any{"timeoutInMs": flushTime.Milliseconds(), "disableContext": true}
	if d.pool.mayKeep(q) && q.send("FLUSH", flush) == nil && d.pool.keep(q) { // it flushes before it executes the next run
		return
	}
	if q.alive() {
		q.ask("FLUSH", flush, flushTime+time.Second)
	}
	d.pool.drop(q)
}

// insist repeats what fails for another reason than that the run is lost, until ctx ends or quit is closed.
func insist[T any](ctx context.Context, quit <-chan struct{}, f func() (*T, error)) (*T, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		v, err := f()
		if err == nil || errors.Is(err, ErrLost) || ctx.Err() != nil {
			return v, err
		}
		select {
		case <-quit:
			return v, err
		case <-ctx.Done():
			return v, err
		case <-time.After(wait):
		}
	}
}
