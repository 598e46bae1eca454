package inngest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// maxInlineState is the size of events and steps above which an SDK that can fetch them itself is told to: section 9.2.
const maxInlineState = 4<<20 - 1<<10

// state is what a call of a run needs from the store.
type state struct {
	events []*engine.EventRow
	steps  []*engine.StepRow // done or overridden, in order of completion
	bytes  int
}

// loadState reads a run's events and steps.
func (d *Door) loadState(ctx context.Context, env string, run engine.ID, events []engine.ID, steps bool) (*state, error) {
	s := &state{}
	for _, id := range events {
		ev, err := history.Event(ctx, d.cfg.Host, env, id)
		if err != nil {
			return nil, err
		}
		if ev == nil {
			return nil, fmt.Errorf("event %s is not in the store", id)
		}
		s.events = append(s.events, ev)
		s.bytes += len(ev.Data) + len(ev.User)
	}
	if !steps {
		return s, nil
	}
	rows, err := history.Steps(ctx, d.cfg.Host, run)
	if err != nil {
		return nil, err
	}
	for _, st := range rows {
		if st.Seq > 0 || st.Kind == engine.ValueInput {
			s.steps = append(s.steps, st)
			s.bytes += len(st.Value)
		}
	}
	return s, nil
}

// Call makes a call in the background and reports what came of it. It does not block.
func (d *Door) Call(c *engine.Call) { d.calls.Go(c, d.call) }

// call makes one call. A nil report means that the shard went away meanwhile.
func (d *Door) call(ctx context.Context, c *engine.Call) *engine.Report {
	rep := &engine.Report{Run: c.Run, Request: c.Request, State: c.State, Join: join(version(c.State))}
	rep.Call.Started = d.cfg.Now().UnixMilli()
	if c.Input {
		return d.request(ctx, c, rep)
	}
	t, err := d.target(c.Fn)
	if err != nil {
		rep.Ops = []engine.Op{failOp("Error", err.Error(), true, 0)}
		return rep
	}
	s, err := d.loadState(ctx, c.Fn.Env, c.Run, c.Events, c.Steps)
	if errors.Is(err, shard.ErrUnavailable) || errors.Is(err, store.ErrClosed) {
		return nil
	}
	if err != nil {
		rep.Ops = []engine.Op{failOp("Error", "load the run's state: "+err.Error(), true, 0)}
		return rep
	}
	body := callBody(c, s, t.canFetch() && s.bytes > maxInlineState)
	header, err := d.callHeader(c, body)
	if err == nil {
		var resp *dispatch.Response
		resp, err = d.cfg.Client.Do(ctx, &dispatch.Request{Method: http.MethodPost, URL: callURL(t.URL, c.StepID), Header: header, Body: body})
		rep.Call.Ended = d.cfg.Now().UnixMilli()
		d.metrics.calls.Add(1)
		if errors.Is(err, dispatch.ErrStopped) {
			return nil // the server is stopping: the call is made again when it is back
		}
		a := answer{door: d, call: c, state: s, report: rep, now: d.cfg.Now()}
		a.read(resp, err)
		return rep
	}
	rep.Call.Ended = d.cfg.Now().UnixMilli()
	rep.Ops = []engine.Op{failOp("Error", err.Error(), true, 0)}
	return rep
}

// target decodes how a function is called, once per registration.
func (d *Door) target(fn *engine.Function) (*target, error) {
	if v, ok := d.functions.Load(fn.ID); ok && v.(*target).fn == fn {
		return v.(*target), nil
	}
	t := &target{fn: fn}
	if err := json.Unmarshal(fn.Config, t); err != nil {
		return nil, fmt.Errorf("function %s: decode its registration: %w", fn.Slug, err)
	}
	d.functions.Store(fn.ID, t)
	return t, nil
}

// canFetch: the Go SDK ignores the flag that says state was left out.
func (t *target) canFetch() bool { return !strings.HasPrefix(t.SDK, "go:") }

// callURL is the stored URL with stepId set and everything else kept.
func callURL(raw, step string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	if step == "" {
		step = "step"
	}
	q := u.Query()
	q.Set("stepId", step)
	u.RawQuery = q.Encode()
	return u.String()
}

func (d *Door) callHeader(c *engine.Call, body []byte) (http.Header, error) {
	step := c.StepID
	if step == "" {
		step = "step"
	}
	h := http.Header{
		"Content-Type":            {"application/json"},
		"User-Agent":              {"Inngest"},
		"X-Inngest-Server-Kind":   {d.kind()},
		"X-Inngest-Req-Version":   {strconv.Itoa(version(c.State))},
		"X-Run-Id":                {c.Run.String()},
		"X-Request-Id":            {c.Request.String()},
		"X-Inngest-Generation-Id": {strconv.Itoa(c.Generation)},
		"X-Inngest-Job-Id":        {jobID(c)},
		"X-Inngest-Step-Id":       {step},
		"Traceparent":             {traceparent(c)},
	}
	env, _ := d.cfg.Keys.Named(c.Fn.Env)
	if env != nil && len(env.SigningKeys) > 0 {
		sig, err := signature(env.SigningKeys[0], body, d.cfg.Now())
		if err != nil {
			return nil, err
		}
		h["X-Inngest-Signature"] = []string{sig}
	}
	return h, nil
}

// jobID names a job over all its attempts; checkpoints bring it back as qi_id.
func jobID(c *engine.Call) string {
	return c.Run.String() + "-" + strconv.FormatUint(uint64(c.Job), 10)
}

// traceparent puts every call of a run, and what its app sends meanwhile, into one trace.
func traceparent(c *engine.Call) string {
	return "00-" + hex.EncodeToString(c.Run[:]) + "-" + hex.EncodeToString(c.Request[8:]) + "-01"
}

// The protocol's request version of a run is kept in the engine's State, where 0 means that no call was answered yet.

func version(state int32) int { return int(state) - 1 }

func stateOf(version int) int32 { return int32(version) + 1 }

// join is when a run with several pending steps is continued: section 12.4.
func join(version int) engine.Join {
	if version == 0 || version == 1 {
		return engine.JoinEach
	}
	return engine.JoinAll
}

// callContext is ctx of section 9.2.
type callContext struct {
	RunID       string    `json:"run_id"`
	FnID        string    `json:"fn_id"`
	Env         string    `json:"env"`
	StepID      string    `json:"step_id"`
	Attempt     int       `json:"attempt"`
	MaxAttempts int       `json:"max_attempts"`
	Stack       callStack `json:"stack"`
	PlanOnly    bool      `json:"disable_immediate_execution"`
	UseAPI      bool      `json:"use_api"`
	QueueItem   string    `json:"qi_id"`
	RequestID   string    `json:"request_id"`
	Generation  int       `json:"generation_id"`
	JobID       string    `json:"job_id"`
}

type callStack struct {
	Stack   []string `json:"stack"`
	Current int      `json:"current"`
}

// callBody writes the request of section 9.2. Payloads are copied, never decoded, so every number stays as it was sent.
func callBody(c *engine.Call, s *state, fetch bool) []byte {
	cc := callContext{
		RunID: c.Run.String(), FnID: uuid.UUID(c.Fn.ID).String(), StepID: "step", Attempt: c.Attempt, MaxAttempts: c.MaxAttempts,
		PlanOnly: c.PlanOnly, UseAPI: fetch, QueueItem: jobID(c), RequestID: c.Request.String(), Generation: c.Generation, JobID: jobID(c),
		Stack: callStack{Stack: []string{}},
	}
	for _, st := range s.steps {
		if st.Seq > 0 {
			cc.Stack.Stack = append(cc.Stack.Stack, st.ID)
		}
	}
	cc.Stack.Current = len(cc.Stack.Stack)

	size := 1024
	if !fetch {
		size += 2*s.bytes + 128*len(s.steps)
	}
	b := make([]byte, 0, size)
	b = append(b, `{"event":`...)
	if len(s.events) > 0 {
		b = append(b, s.events[0].JSON()...)
	} else {
		b = append(b, "{}"...)
	}
	b = append(b, `,"events":`...)
	if fetch {
		b = append(b, "[]"...)
	} else {
		b = appendEvents(b, s)
	}
	b = append(b, `,"steps":`...)
	if fetch {
		b = append(b, "{}"...)
	} else {
		b = appendSteps(b, s)
	}
	ctxJSON, _ := json.Marshal(cc) // strings and numbers always marshal
	b = append(b, `,"defers":{},"ctx":`...)
	b = append(b, ctxJSON...)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, int64(version(c.State)), 10)
	b = append(b, `,"use_api":`...)
	b = strconv.AppendBool(b, fetch)
	return append(b, '}')
}

func appendEvents(b []byte, s *state) []byte {
	b = append(b, '[')
	for i, ev := range s.events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, ev.JSON()...)
	}
	return append(b, ']')
}

// appendSteps writes memoized values in the shapes of section 13, in order of completion.
func appendSteps(b []byte, s *state) []byte {
	b = append(b, '{')
	for i, st := range s.steps {
		if i > 0 {
			b = append(b, ',')
		}
		id, _ := json.Marshal(st.ID)
		b = append(b, id...)
		b = append(b, ':')
		b = appendValue(b, st)
	}
	return append(b, '}')
}

func appendValue(b []byte, st *engine.StepRow) []byte {
	value := st.Value
	if len(value) == 0 {
		value = []byte("null")
	}
	switch st.Kind {
	case engine.ValueData:
		b = append(b, `{"data":`...)
	case engine.ValueError:
		b, value = append(b, `{"error":`...), named(value)
	case engine.ValueInput:
		b = append(b, `{"input":`...)
	default:
		return append(b, value...)
	}
	b = append(b, value...)
	return append(b, '}')
}
