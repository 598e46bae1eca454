package qstash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/engine"
)

// Texts of failures that the library's users know: sections 22.5 and 22.6.
const (
	errNoWorkflow = "detected a non-workflow destination for trigger/invoke. make sure you are sending the request to the correct endpoint"
	errOldSDK     = "trigger rest api is only usable with sdk versions after v1.0.0 major version"
)

// stepAttempt is one try of what a planned step of a run does.
type stepAttempt struct {
	attempt
	h    *runHistory
	step *runStep
}

// deliverStep makes one attempt of a planned step. A nil report means that the server is stopping or the shard went away: it is made
// again.
func (d *Door) deliverStep(ctx context.Context, c *engine.Call) *engine.Report {
	a := &stepAttempt{attempt: attempt{door: d, call: c, id: stepMessageID(c.Run, c.StepID), rep: &engine.Report{Run: c.Run, Request: c.Request}}}
	a.rep.Call.Started = d.nowMS()
	h, err := d.history(ctx, c.Run)
	if calls.Gone(err) {
		return nil
	}
	switch {
	case err != nil:
	case h == nil:
		err = errors.New("the workflow run is not in the store")
	case h.byName[c.StepID] == nil:
		err = fmt.Errorf("the step %q is not in the store", c.StepID)
	}
	if err != nil {
		a.rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Final: true, Value: errorValue("load the workflow run: " + err.Error())}}
		return a.rep
	}
	a.h, a.step = h, h.byName[c.StepID]
	a.m = a.message()
	if err := a.send(ctx); calls.Gone(err) {
		return nil
	}
	switch {
	case a.step.item.Kind == itemCall:
		a.called()
	case a.delivered() && a.misplaced() == "":
		a.rep.Ops = []engine.Op{a.stepOp(engine.OpStepDone, a.result())}
	default:
		a.undelivered()
	}
	return a.rep
}

// message is the request that a step makes, with what decides about its attempts: sections 23.1 and 25.
func (a *stepAttempt) message() *message {
	w, it := a.h.w, &a.step.item
	if it.Kind == itemCall {
		return &message{URL: it.URL, config: *it.Config, Body: it.Body, CallerIP: w.CallerIP}
	}
	m := &message{URL: w.URL, config: w.config, CallerIP: w.CallerIP}
	if c := it.Config; c != nil && it.Kind != itemTakeover {
		if it.Own {
			m.config = *c
		}
		m.Header = a.h.headers(it)
	}
	m.Header = maps.Clone(m.Header)
	if m.Header == nil {
		m.Header = http.Header{}
	}
	m.Method, m.CallbackURL = http.MethodPost, ""
	set := func(name, value string) { m.Header["Upstash-Workflow-"+name] = []string{value} }
	set("Runid", w.RunID)
	set("Url", w.URL)
	set("Createdat", strconv.FormatInt(w.CreatedAt, 10))
	m.Header.Set("Content-Type", "application/json")
	switch {
	case it.Kind == itemCallback:
		// With it the library would take the outcome for a list of steps: section 25.
		delete(m.Header, "Upstash-Workflow-Sdk-Version")
		delete(m.Header, "Upstash-Workflow-Unknown-Sdk")
		m.Body = it.Body
		return m
	case it.Kind == itemInit && w.Unknown:
		delete(m.Header, "Upstash-Workflow-Sdk-Version")
		set("Unknown-Sdk", "true")
	default:
		set("Sdk-Version", "1")
	}
	m.Body = mustJSON(a.h.raw(a.step, a.door.nowMS()))
	return m
}

// headers are those that the delivery of a step forwards: the step's own, above the run's if those belong to every delivery of it.
func (h *runHistory) headers(it *item) http.Header {
	if !h.w.has(featureTriggerConfig) {
		return it.Config.Header
	}
	out := h.w.Header.Clone()
	if out == nil {
		out = http.Header{}
	}
	maps.Copy(out, it.Config.Header)
	return out
}

// misplaced says why an answer with success is none: what answered is no workflow. Sections 22.5 and 22.6.
func (a *stepAttempt) misplaced() string {
	w := a.h.w
	switch kind := a.step.item.Kind; {
	case kind == itemInit && w.Unknown && a.header.Get("Upstash-Workflow-Sdk") == "":
		return errOldSDK
	case (kind == itemInit && !w.Unknown || kind == itemTakeover) && w.has(featureDetectTrigger) && a.header.Get("Upstash-Workflow-Sdk-Version") == "":
		return errNoWorkflow
	}
	return ""
}

// result is what the run page shows as the outcome of a step: what the library submitted, or else how its delivery was answered.
func (a *stepAttempt) result() []byte {
	if a.step.item.Kind == itemStep {
		if step, err := parseStepJSON(a.step.item.Body); err == nil && len(step.Out) > 0 {
			return asJSON([]byte(outText(step.Out)))
		}
	}
	return outcome{Status: a.status}.json()
}

func (a *stepAttempt) stepOp(kind engine.OpKind, value []byte) engine.Op {
	return engine.Op{Kind: kind, Step: a.step.Step, Value: value}
}

// undelivered reports a failed attempt: another one follows, or the run fails.
func (a *stepAttempt) undelivered() {
	final := a.call.Attempt+1 >= a.call.MaxAttempts || a.nonRetryable()
	if why := a.misplaced(); why != "" && a.delivered() {
		final, a.errMsg = true, why
		a.rep.Call.Body = []byte(excerpt(a.body))
	}
	failed := a.stepOp(engine.OpStepFailed, errorValue(a.errMsg))
	if !final {
		failed.RetryAt = a.at.Add(a.wait()).UnixMilli()
		a.rep.Ops = []engine.Op{failed}
		return
	}
	failed.Final = true
	a.rep.Ops = []engine.Op{failed, {Kind: engine.OpRunFailed, Final: true, Value: errorValue(a.errMsg)}}
	l := &deadLetter{
		At: a.at.UnixMilli(), Run: a.call.Run, Status: a.status, Header: a.header, Body: a.answer(), Workflow: true, Step: a.call.StepID,
		Retried: a.call.Attempt, MaxRetries: a.call.MaxAttempts - 1,
	}
	if a.h.w.FailureURL != "" {
		l.Callback = a.door.cfg.NewID(a.door.nowMS())
	}
	a.rep.Rows = append(a.rep.Rows, a.door.deadRow(l))
}

// called reports a third-party call. Its failure is no failure of the run: whatever came of it in the end is delivered.
func (a *stepAttempt) called() {
	if !a.delivered() && a.call.Attempt+1 < a.call.MaxAttempts && !a.nonRetryable() {
		op := a.stepOp(engine.OpStepFailed, errorValue(a.errMsg))
		op.RetryAt = a.at.Add(a.wait()).UnixMilli()
		a.rep.Ops = []engine.Op{op}
		return
	}
	it := &a.step.item
	done := a.stepOp(engine.OpStepDone, outcome{Status: a.status}.json())
	retried := a.call.Attempt
	if !a.delivered() {
		retried = it.Config.Retries // there are no more, which is how the library knows that this is the end
	}
	body := mustJSON(callbackBody{
		Status: a.status, Header: orEmpty(a.header), Body: orNothing(a.answer()), Retried: retried, MaxRetries: it.Config.Retries, SourceID: a.id, URL: it.URL,
		Method: it.Config.Method, SourceHeader: orEmpty(it.Config.Header), SourceBody: orNothing(it.Body), NotBefore: a.step.Begin, CreatedAt: a.step.QueuedAt,
		CallerIP: a.h.w.CallerIP,
	})
	cfg, err := callbackConfig(it.Config.CallbackHeader, &a.h.w.config)
	step := &wfStep{}
	if err == nil {
		err = json.Unmarshal(it.Step, step)
	}
	if err != nil { // both were read when the call was submitted
		a.rep.Ops = []engine.Op{done, {Kind: engine.OpRunFailed, Final: true, Value: errorValue(err.Error())}}
		return
	}
	back := &item{Kind: itemCallback, Body: body, Config: cfg, Step: it.Step}
	back.Own = !slices.Contains(splitList(strings.Join(it.Config.CallbackHeader["Feature-Set"], ",")), featureTriggerConfig)
	show := step.show(callbackID(step.StepID))
	show.Type = "callback"
	a.rep.Ops = []engine.Op{done, a.door.itemOp(show, back)}
}

// nonRetryable says that an answer forbids another attempt: section 7.2.
func (a *attempt) nonRetryable() bool {
	return a.status == 489 && a.header.Get("Upstash-Nonretryable-Error") == "true"
}
