package inngest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/expr"
)

// Limits of sections 11 and 32.
const (
	maxValueBytes = 4 << 20
	maxStateBytes = 32 << 20
	maxSteps      = 1000
	maxWait       = 366 * engine.Day
	invokeTimeout = 365 * engine.Day
)

// wireOp is one element of a 206 answer: section 10.3.
type wireOp struct {
	ID          string          `json:"id"`
	Op          string          `json:"op"`
	Name        string          `json:"name"`
	DisplayName *string         `json:"displayName"`
	Opts        json.RawMessage `json:"opts"`
	Data        json.RawMessage `json:"data"`
	Error       json.RawMessage `json:"error"`
	Userland    *struct {
		ID string `json:"id"`
	} `json:"userland"`
	Timing *struct {
		Start    float64 `json:"a"`
		Duration float64 `json:"b"`
	} `json:"timing"`
}

// wireOpts is the union of what ops carry in opts.
type wireOpts struct {
	Type         string          `json:"type"`
	ParallelMode string          `json:"parallelMode"`
	Duration     string          `json:"duration"`
	Event        string          `json:"event"`
	Timeout      string          `json:"timeout"`
	If           *string         `json:"if"`
	FunctionID   string          `json:"function_id"`
	Payload      json.RawMessage `json:"payload"`
	Signal       string          `json:"signal"`
	Conflict     string          `json:"conflict"`
}

// ops reads a 206 body.
func (a *answer) ops(body []byte) {
	list, err := parseOps(body)
	if err != nil {
		a.fail("Error", "the app's answer is no list of ops: "+err.Error(), body)
		return
	}
	steps, size := len(a.state.steps), a.state.bytes
	for i := range list {
		op := &list[i]
		size += len(op.Data) + len(op.Error)
		if addsStep(op.Op) {
			steps++
		}
		switch {
		case len(op.Data) > maxValueBytes || len(op.Error) > maxValueBytes || size > maxStateBytes:
			a.refuse("InngestErrStateOverflowed", fmt.Sprintf("The function run exceeded the state size limit of %d bytes.", maxStateBytes))
			return
		case steps > maxSteps:
			a.refuse("InngestErrFunctionOverflowed", fmt.Sprintf("The function run exceeded the step limit of %d steps.", maxSteps))
			return
		}
		out, err := a.door.translate(a, op)
		if err != nil {
			var r *opError
			if errors.As(err, &r) {
				a.refuse(r.name, r.msg)
			} else {
				a.refuse("Error", err.Error())
			}
			return
		}
		a.report.Ops = append(a.report.Ops, out...)
		if k := op.Op; k == "StepError" || k == "StepFailed" {
			a.excerpt(op.Error)
		}
	}
}

// refuse fails the run for good because of what its function asked for.
func (a *answer) refuse(name, msg string) {
	a.report.Ops = append(a.report.Ops, failOp(name, msg, true, 0))
}

func addsStep(op string) bool {
	switch op {
	case "None", "RunComplete", "DiscoveryRequest", "DeferAdd", "DeferAbort":
		return false
	}
	return true
}

func parseOps(body []byte) ([]wireOp, error) {
	body = bytes.TrimSpace(body)
	if absent(body) == nil {
		return nil, nil
	}
	if body[0] == '{' {
		var one wireOp
		if err := json.Unmarshal(body, &one); err != nil {
			return nil, err
		}
		return []wireOp{one}, nil
	}
	var list []wireOp
	err := json.Unmarshal(body, &list)
	return list, err
}

// opError is an op that makes the run fail, with the protocol's name for it.
type opError struct{ name, msg string }

func (e *opError) Error() string { return e.msg }

// translate turns one op into the engine's: section 11.
func (d *Door) translate(a *answer, op *wireOp) ([]engine.Op, error) {
	var opts wireOpts
	if o := absent(op.Opts); o != nil && o[0] == '{' {
		// A user's own options may have other types under these names; what does not decode is as absent.
		_ = json.Unmarshal(o, &opts)
	}
	out := engine.Op{Step: engine.Step{ID: op.ID, Name: opName(op), Type: stepType(op.Op, opts.Type)}, Race: opts.ParallelMode == "race"}
	if t := op.Timing; t != nil && t.Start > 0 {
		out.Started, out.Ended = int64(t.Start/1e6), int64((t.Start+t.Duration)/1e6)
	}
	now := a.now.UnixMilli()
	var err error
	switch op.Op {
	case "StepRun", "Step":
		out.Kind, out.Value = engine.OpStepDone, orNull(op.Data)
	case "StepError":
		out.Kind, out.Value, out.Final, out.RetryAt = engine.OpStepFailed, stepError(op.Error), a.noRetry || noRetry(op.Error), a.retryAt()
	case "StepFailed":
		out.Kind, out.Value, out.Final = engine.OpStepFailed, stepError(op.Error), true
	case "StepPlanned":
		out.Kind = engine.OpPlan
	case "Sleep":
		out.Kind = engine.OpSleep
		text := opts.Duration
		if text == "" {
			text = op.Name
		}
		if out.Until, err = until(text, now); err != nil {
			return nil, err
		}
	case "WaitForEvent":
		err = a.waitForEvent(&out, op, &opts, now)
	case "WaitForSignal":
		out.Kind, out.Signal, out.SignalReplaces = engine.OpWaitSignal, opts.Signal, opts.Conflict == "replace"
		out.OnTimeout, out.OnTimeoutKind = []byte("null"), engine.ValueRaw
		out.Step.Opts = show(map[string]any{"signal": opts.Signal})
		if opts.Signal == "" {
			return nil, fmt.Errorf("step %s waits for a signal without a name", out.Step.Name)
		}
		out.Until, err = until(opts.Timeout, now)
	case "InvokeFunction":
		err = a.invoke(&out, &opts, now)
	case "Gateway", "AIGateway":
		err = planRequest(&out, op)
	case "RunComplete":
		out = engine.Op{Kind: engine.OpRunDone, Value: orNull(op.Data)}
	case "DiscoveryRequest":
		out = engine.Op{Kind: engine.OpContinue}
	case "None", "DeferAdd", "DeferAbort":
		return nil, nil // deferred functions: see docs/compatibility.md
	default:
		return nil, fmt.Errorf("the app answered with the op %q, which this server does not know", op.Op)
	}
	if err != nil {
		return nil, err
	}
	if op.ID == "" && addsStep(op.Op) {
		return nil, fmt.Errorf("the app answered with a %s without an id", op.Op)
	}
	return []engine.Op{out}, nil
}

func opName(op *wireOp) string {
	switch {
	case op.DisplayName != nil && *op.DisplayName != "":
		return *op.DisplayName
	case op.Userland != nil && op.Userland.ID != "":
		return op.Userland.ID
	}
	return op.Name
}

// stepType is a step's kind for display.
func stepType(op, marker string) string {
	if marker != "" && len(marker) < 64 {
		return marker
	}
	switch op {
	case "Sleep":
		return "sleep"
	case "WaitForEvent":
		return "waitForEvent"
	case "WaitForSignal":
		return "waitForSignal"
	case "InvokeFunction":
		return "invoke"
	case "Gateway":
		return "fetch"
	case "AIGateway":
		return "ai"
	}
	return "run"
}

func orNull(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}

func noRetry(raw json.RawMessage) bool {
	var e struct {
		NoRetry bool `json:"noRetry"`
	}
	return json.Unmarshal(raw, &e) == nil && e.NoRetry
}

// stepError is an op's error as it is stored: complete, since Go decodes its data, but without the SDK's own marker.
func stepError(raw json.RawMessage) []byte {
	if absent(raw) == nil {
		return errorJSON("Error", "the step failed without saying why")
	}
	if !bytes.Contains(raw, []byte("__serialized")) {
		return raw
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return raw
	}
	delete(m, "__serialized")
	out, err := json.Marshal(m)
	if err != nil {
		return raw
	}
	return out
}

// until reads the end of a sleep or wait and refuses what is too far.
func until(text string, now int64) (int64, error) {
	at, err := parseUntil(text, now)
	if err != nil {
		return 0, err
	}
	if at-now > maxWait {
		return 0, &opError{"InngestErrTimeoutTooLong", fmt.Sprintf("%q is longer than the maximum of 366 days", text)}
	}
	return at, nil
}

// show is a step's options for display.
func show(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// waitForEvent is section 11.2.
func (a *answer) waitForEvent(out *engine.Op, op *wireOp, opts *wireOpts, now int64) (err error) {
	out.Kind, out.Event = engine.OpWaitEvent, opts.Event
	if out.Event == "" {
		out.Event = op.Name
	}
	out.OnTimeout, out.OnTimeoutKind = []byte("null"), engine.ValueRaw
	shown := map[string]any{"event": out.Event}
	if opts.If != nil && *opts.If != "" {
		shown["if"] = *opts.If
		p, err := programs.Get(*opts.If)
		if err != nil {
			return &opError{"Error", fmt.Sprintf("invalid expression %q in step %s: %v", *opts.If, out.Step.Name, err)}
		}
		var trigger any
		if len(a.state.events) > 0 {
			ev := a.state.events[0].Event()
			trigger = ev.Value()
		}
		bound := p.Bind(trigger, now)
		out.Match = &bound
	}
	out.Step.Opts = show(shown)
	out.Until, err = until(opts.Timeout, now)
	return err
}

// programs caches the conditions of waits, which the same code asks for again and again.
var programs = expr.NewCache(4096)

// invoke is section 11.3.
func (a *answer) invoke(out *engine.Op, opts *wireOpts, now int64) error {
	var payload struct {
		Data json.RawMessage `json:"data"`
		User json.RawMessage `json:"user"`
		V    string          `json:"v"`
	}
	if p := absent(opts.Payload); p != nil {
		if err := json.Unmarshal(p, &payload); err != nil {
			return fmt.Errorf("step %s: the payload of invoke is no object: %w", out.Step.Name, err)
		}
	}
	at, err := now+invokeTimeout, error(nil)
	if opts.Timeout != "" {
		if at, err = until(opts.Timeout, now); err != nil {
			return err
		}
	}
	fn := a.call.Fn
	out.Kind, out.Until = engine.OpInvoke, at
	out.OnTimeoutKind = engine.ValueError
	out.OnTimeout = errorJSON("InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete")
	out.Step.Opts = show(map[string]any{"function": opts.FunctionID})
	data := payload.Data
	if d := absent(data); d == nil || d[0] != '{' {
		data = nil
	}
	out.Child = &engine.Start{Slug: opts.FunctionID, Events: []engine.Event{{
		Name: eventInvoked, User: absent(payload.User), V: payload.V, TS: now, Internal: true, Source: "invoke",
		Data: withInvoked(data, map[string]any{
			"fn_id": opts.FunctionID, "correlation_id": a.call.Run.String() + "." + out.Step.ID, "source_app_id": strings.TrimSpace(fn.App),
			"source_fn_id": uuidText(fn.ID), "source_fn_v": fn.Version, "name": out.Step.Name, "expire": at,
		}),
	}}}
	return nil
}
