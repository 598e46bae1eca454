package qstash

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// runView is a run in the logs: section 30.2.
type runView struct {
	RunID       string       `json:"workflowRunId"`
	URL         string       `json:"workflowUrl"`
	State       string       `json:"workflowState"`
	CreatedAt   int64        `json:"workflowRunCreatedAt"`
	CompletedAt int64        `json:"workflowRunCompletedAt,omitempty"`
	CallerIP    string       `json:"workflowRunCallerIp,omitempty"`
	Steps       []groupSteps `json:"steps"`
	Response    string       `json:"workflowRunResponse,omitempty"`
	Invoker     *invokerView `json:"invoker,omitempty"`
	Failure     *failureView `json:"failureFunction,omitempty"`
	DLQID       string       `json:"dlqId,omitempty"`
	Label       string       `json:"label,omitempty"`
	Labels      []string     `json:"labels,omitempty"`
	FlowKey     string       `json:"flowControlKey,omitempty"`
}

type invokerView struct {
	RunID     string `json:"workflowRunId"`
	URL       string `json:"workflowUrl"`
	CreatedAt int64  `json:"workflowRunCreatedAt"`
}

// failureView is the failure callback of a run: section 30.2.
type failureView struct {
	MessageID    string      `json:"messageId"`
	URL          string      `json:"url"`
	State        string      `json:"state"`
	FailHeaders  http.Header `json:"failHeaders"`
	FailStatus   int         `json:"failStatus"`
	FailResponse string      `json:"failResponse"`
	DLQID        string      `json:"dlqId"`
	Errors       []tryView   `json:"errors,omitempty"`
	RespBody     string      `json:"responseBody,omitempty"`
	RespHeaders  http.Header `json:"responseHeaders,omitempty"`
	RespStatus   int         `json:"responseStatus,omitempty"`
	MaxRetries   int         `json:"maxRetries"`
}

// tryView is one failed attempt.
type tryView struct {
	Error   string      `json:"error"`
	Body    string      `json:"body,omitempty"`
	Headers http.Header `json:"headers,omitempty"`
	Status  int         `json:"status"`
	Time    int64       `json:"time"`
}

// groupSteps is a group of steps: section 30.3.
type groupSteps struct {
	Type  string     `json:"type"` // sequential, parallel or next
	Steps []stepView `json:"steps"`
}

// stepView is a step in the logs: section 30.3.
type stepView struct {
	StepID     *int        `json:"stepId,omitempty"`
	StepName   string      `json:"stepName,omitempty"`
	StepType   string      `json:"stepType,omitempty"`
	CallType   string      `json:"callType,omitempty"`
	MessageID  string      `json:"messageId"`
	Out        *string     `json:"out,omitempty"`
	Concurrent int         `json:"concurrent,omitempty"`
	TargetStep int         `json:"targetStep,omitempty"`
	State      string      `json:"state"`
	CreatedAt  int64       `json:"createdAt,omitempty"`
	Headers    http.Header `json:"headers,omitempty"`
	Retries    int         `json:"retries"`
	RetryDelay string      `json:"retryDelay,omitempty"`
	NextTime   int64       `json:"nextDeliveryTime,omitempty"`
	Errors     []tryView   `json:"errors,omitempty"`

	SleepFor   int64 `json:"sleepFor,omitempty"`
	SleepUntil int64 `json:"sleepUntil,omitempty"`

	CallURL     string      `json:"callUrl,omitempty"`
	CallMethod  string      `json:"callMethod,omitempty"`
	CallBody    string      `json:"callBody,omitempty"`
	CallHeaders http.Header `json:"callHeaders,omitempty"`
	CallStatus  int         `json:"callResponseStatus,omitempty"`
	CallResp    string      `json:"callResponseBody,omitempty"`
	CallRespHdr http.Header `json:"callResponseHeaders,omitempty"`

	InvokedRunID     string      `json:"invokedWorkflowRunId,omitempty"`
	InvokedURL       string      `json:"invokedWorkflowUrl,omitempty"`
	InvokedCreatedAt int64       `json:"invokedWorkflowCreatedAt,omitempty"`
	InvokedBody      string      `json:"invokedWorkflowRunBody,omitempty"`
	InvokedHeaders   http.Header `json:"invokedWorkflowRunHeaders,omitempty"`

	WaitEventID  string `json:"waitEventId,omitempty"`
	WaitDuration string `json:"waitTimeoutDuration,omitempty"`
	WaitDeadline int64  `json:"waitTimeoutDeadline,omitempty"`
	WaitTimeout  *bool  `json:"waitTimeout,omitempty"`
}

// serveRunLogs is GET /v2/workflows/events and GET /v2/workflows/logs.
func (d *Door) serveRunLogs(w http.ResponseWriter, r *http.Request) error {
	if err := allow(r, http.MethodGet); err != nil {
		return err
	}
	q := r.URL.Query()
	f, err := parseRunFilter(q, runLogFilters)
	if err != nil {
		return err
	}
	show, err := pageOf(q, 10, 1000)
	if err != nil {
		return err
	}
	from, err := cursorOf(q.Get("cursor"))
	if err != nil {
		return err
	}
	runs := []*runView{}
	next := ""
	err = d.scanRuns(r.Context(), f, from, func(row *engine.RunRow, wf *workflow) (bool, error) {
		if len(runs) == show.count {
			return false, nil
		}
		v, err := d.viewRun(r.Context(), row, show.trim)
		if err != nil || v == nil {
			return true, err
		}
		runs = append(runs, v)
		if len(runs) == show.count {
			next = row.ID.String()
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if len(runs) < show.count || len(f.runIDs) == 1 && len(runs) == 1 {
		next = ""
	}
	return writeJSON(w, http.StatusOK, map[string]any{"cursor": next, "runs": runs})
}

// scanRuns gives the runs that a filter selects to fn, newest first, until that returns false.
func (d *Door) scanRuns(ctx context.Context, f *runFilter, from *engine.ID, fn func(*engine.RunRow, *workflow) (bool, error)) error {
	q := store.Query{Table: store.Runs, Desc: true, Limit: 200}
	q.Tags[0] = engine.RunFunctionTag(d.workflowFn())
	if from != nil {
		q.To = engine.RunKey(*from)
	}
	if f.createdAt != 0 {
		var lo, hi ulid.ULID
		_, _ = lo.SetTime(uint64(max(0, f.createdAt))), hi.SetTime(uint64(max(0, f.createdAt)+1))
		q.From = lo[:]
		if q.To == nil || slices.Compare(hi[:], q.To) < 0 {
			q.To = hi[:]
		}
	}
	for seen := 0; seen < maxScanned; {
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return err
		}
		for _, raw := range rows {
			seen++
			q.To = raw.Key
			row, err := engine.ParseRunRow(raw.Value)
			if err != nil {
				return err
			}
			if len(f.runStates) > 0 && !slices.Contains(f.runStates, runState(row.Status)) || !f.has(row.ID) {
				continue
			}
			wf, err := d.loadWorkflow(ctx, row.ID)
			if err != nil {
				return err
			}
			if wf == nil || !f.matches(wf) {
				continue
			}
			if more, err := fn(row, wf); err != nil || !more {
				return err
			}
		}
		if len(rows) < q.Limit {
			return nil
		}
	}
	return nil
}

func runState(s engine.Status) string {
	switch s {
	case engine.Completed:
		return "RUN_SUCCESS"
	case engine.Failed:
		return "RUN_FAILED"
	case engine.Cancelled:
		return "RUN_CANCELED"
	}
	return "RUN_STARTED"
}

// viewRun is a run as the logs show it; nil when it is gone.
func (d *Door) viewRun(ctx context.Context, row *engine.RunRow, trim int) (*runView, error) {
	h, err := d.history(ctx, row.ID)
	if err != nil || h == nil {
		return nil, err
	}
	w := h.w
	v := &runView{
		RunID: w.RunID, URL: w.URL, State: runState(row.Status), CreatedAt: w.CreatedAt, CompletedAt: row.Ended, CallerIP: w.CallerIP, Labels: w.Labels,
	}
	if len(w.Labels) > 0 {
		v.Label = w.Labels[0]
	}
	if w.Flow != nil {
		v.FlowKey = w.Flow.Key
	}
	if by := w.Invoker; by != nil {
		v.Invoker = &invokerView{by.RunID, by.URL, by.CreatedAt}
	}
	if row.Status == engine.Completed {
		v.Response = string(cut([]byte(responseText(row.Output)), trim))
	}
	if row.Status == engine.Failed {
		l, err := d.deadOf(ctx, row.ID)
		if err != nil {
			return nil, err
		}
		if l != nil {
			v.DLQID = l.id()
			if v.Failure, err = d.viewFailure(ctx, w, l); err != nil {
				return nil, err
			}
		}
	}
	attempts, err := history.Attempts(ctx, d.cfg.Host, row.ID)
	if err != nil {
		return nil, err
	}
	b := &stepsView{door: d, h: h, row: row, trim: trim, tries: map[string][]tryView{}}
	for _, a := range attempts {
		if a.Step.ID != "" {
			b.tries[a.Step.ID] = append(b.tries[a.Step.ID], viewTry(a))
		}
	}
	v.Steps = b.groups(ctx)
	return v, nil
}

func viewTry(a *engine.AttemptRow) tryView {
	var e struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(a.Error, &e) // this door wrote it
	t := tryView{Error: e.Message, Body: string(a.Call.Body), Status: a.Call.Status, Time: a.Call.Ended, Headers: http.Header{}}
	var flat map[string]string
	_ = json.Unmarshal(a.Call.Headers, &flat) // so did it that
	for k, value := range flat {
		t.Headers[k] = []string{value}
	}
	// The text before the answer repeats its status.
	if body, ok := strings.CutPrefix(t.Error, strconv.Itoa(t.Status)+" - "); ok && t.Body != "" {
		t.Error = body
	}
	return t
}

// stepsView makes the groups of section 30.3.
type stepsView struct {
	door  *Door
	h     *runHistory
	row   *engine.RunRow
	trim  int
	tries map[string][]tryView
}

func (b *stepsView) groups(ctx context.Context) []groupSteps {
	h := b.h
	payload, b64 := shownBody(&h.w.config, h.w.Body)
	out := string(cut([]byte(cmp.Or(payload, b64)), b.trim))
	first := stepView{
		StepName: itemInit, StepType: "Initial", CallType: "step", MessageID: messageID(h.id), Out: &out, Concurrent: 1, State: "STEP_SUCCESS", CreatedAt: h.w.CreatedAt,
		Headers: orEmpty(h.w.shownHeader()), Retries: h.w.Retries, RetryDelay: h.w.RetryDelay, StepID: new(int),
	}
	groups := []groupSteps{{"sequential", []stepView{first}}}
	results := b.results(ctx)
	for i := 0; i < len(results); {
		n := max(1, min(results[i].Concurrent, len(results)-i))
		if results[i].Concurrent <= 1 {
			groups = append(groups, groupSteps{"sequential", results[i : i+1]})
			i++
			continue
		}
		groups = append(groups, groupSteps{"parallel", results[i : i+n]})
		i += n
	}
	if next := b.next(); len(next) > 0 {
		groups = append(groups, groupSteps{"next", next})
	}
	return groups
}

// results are the steps by their number: those that have a result, and those that are on the way to one.
func (b *stepsView) results(ctx context.Context) []stepView {
	byID := map[int]*stepView{}
	for _, s := range b.h.steps {
		raw := s.item.Body
		if s.item.Kind == itemCall {
			raw = s.item.Step
		}
		if s.item.Kind != itemStep && s.item.Kind != itemCall {
			continue
		}
		step, err := parseStepJSON(raw)
		if err != nil {
			continue // it was checked when it came
		}
		id := cmp.Or(step.StepID, step.TargetStep)
		v := byID[id]
		if v == nil {
			v = &stepView{StepID: &id, State: "STEP_PROGRESS"}
			byID[id] = v
		}
		b.add(ctx, v, s, step)
	}
	var list []stepView
	for _, v := range byID { // sorted below
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b stepView) int { return cmp.Compare(*a.StepID, *b.StepID) })
	return list
}

// add tells what one planned step says about the step of its number.
func (b *stepsView) add(ctx context.Context, v *stepView, s *runStep, step *wfStep) {
	v.StepName, v.StepType = cmp.Or(v.StepName, step.StepName), cmp.Or(v.StepType, step.StepType)
	v.Concurrent, v.TargetStep = max(v.Concurrent, step.Concurrent), max(v.TargetStep, step.TargetStep)
	if v.CreatedAt == 0 {
		v.CreatedAt = s.QueuedAt
	}
	v.Retries, v.RetryDelay = b.h.w.Retries, b.h.w.RetryDelay
	if s.item.Own && s.item.Config != nil {
		v.Retries, v.RetryDelay = s.item.Config.Retries, s.item.Config.RetryDelay
	}
	if seconds, err := parseSeconds(strings.Trim(string(step.SleepFor), `"`)); err == nil {
		v.SleepFor = seconds
	}
	if until, err := step.SleepUntil.Float64(); err == nil {
		v.SleepUntil = int64(until)
	}
	over := b.row.Status.Ended()
	switch {
	case s.item.Kind == itemCall:
		b.addCall(v, s)
		return
	case step.StepID == 0: // a plan: its branch is not done yet
		v.MessageID = cmp.Or(v.MessageID, stepMessageID(b.h.id, s.ID))
	case s.Child != (engine.ID{}):
		b.addInvoke(ctx, v, s)
		v.MessageID = stepMessageID(b.h.id, s.ID)
	default:
		v.MessageID = stepMessageID(b.h.id, s.ID)
	}
	v.CallType, v.Headers = "step", http.Header{}
	if c := s.item.Config; c != nil && len(c.Header) > 0 {
		v.Headers = c.Header
	}
	if e := s.item.Event; e != "" {
		v.WaitEventID = e
		if !s.item.Await { // it is over one way or the other
			v.WaitTimeout = &step.WaitTimeout
		} else {
			v.WaitDeadline = s.item.At
			v.WaitDuration = strconv.FormatInt((s.item.At-s.QueuedAt+500)/1000, 10) + "s"
			if s.begun(b.door.nowMS()) {
				v.WaitTimeout = &step.WaitTimeout
			}
		}
	}
	if step.StepID != 0 && s.begun(b.door.nowMS()) {
		v.State = "STEP_SUCCESS"
		if len(step.Out) > 0 {
			text := cut([]byte(outText(step.Out)), b.trim)
			out := string(text)
			v.Out = &out
		}
	}
	if over && v.State == "STEP_PROGRESS" && b.row.Status == engine.Cancelled {
		v.State = "STEP_CANCELED"
	}
}

// outText is the result of a step as text.
func outText(out json.RawMessage) string {
	var s string
	if json.Unmarshal(out, &s) == nil {
		return s
	}
	return string(out)
}

func (b *stepsView) addCall(v *stepView, s *runStep) {
	c := s.item.Config
	text, b64 := shownBody(c, s.item.Body)
	v.CallURL, v.CallMethod, v.CallHeaders = s.item.URL, c.Method, c.shownHeader()
	v.CallBody = string(cut([]byte(cmp.Or(text, b64)), b.trim))
	v.CallType, v.MessageID = "toCallback", stepMessageID(b.h.id, s.ID)
	if back := b.h.byName["b"+strings.TrimPrefix(s.ID, "c")]; back != nil {
		var in callbackBody
		if json.Unmarshal(back.item.Body, &in) == nil {
			v.CallStatus, v.CallRespHdr = in.Status, in.Header
			v.CallResp = string(cut([]byte(excerpt(in.Body)), b.trim))
		}
	}
}

func (b *stepsView) addInvoke(ctx context.Context, v *stepView, s *runStep) {
	child, err := b.door.loadWorkflow(ctx, s.Child)
	if err != nil || child == nil {
		return // it was deleted
	}
	v.InvokedRunID, v.InvokedURL, v.InvokedCreatedAt, v.InvokedHeaders = child.RunID, child.URL, child.CreatedAt, child.shownHeader()
	text, b64 := shownBody(&child.config, child.Body)
	v.InvokedBody = string(cut([]byte(cmp.Or(text, b64)), b.trim))
	// A run that ended before has left its step behind: the child tells how it went on.
	if row, err := history.Run(ctx, b.door.cfg.Host, s.Child); err == nil && row != nil && row.Status.Ended() {
		v.State = "STEP_SUCCESS"
		if row.Status != engine.Completed {
			v.State = "STEP_FAILED"
		}
	}
}

// next are the deliveries that are under way or failed.
func (b *stepsView) next() []stepView {
	var list []stepView
	now := b.door.nowMS()
	for _, s := range b.h.steps {
		if s.Seq > 0 && s.Kind != engine.ValueError || s.item.Kind == itemCall || !s.begun(now) {
			continue
		}
		v := stepView{MessageID: stepMessageID(b.h.id, s.ID), State: "STEP_PROGRESS", Retries: len(b.tries[s.ID]), RetryDelay: b.h.w.RetryDelay, Errors: b.tries[s.ID]}
		switch {
		case b.row.Status == engine.Cancelled:
			v.State = "STEP_CANCELED"
		case s.Kind == engine.ValueError:
			v.State, v.Retries = "STEP_FAILED", max(0, len(b.tries[s.ID])-1)
		case b.row.Status.Ended():
			continue
		case len(v.Errors) > 0:
			v.State, v.NextTime = "STEP_RETRY", s.Due
		}
		if n := len(v.Errors); n > 0 { // newer libraries say which step of theirs it was
			v.StepName = v.Errors[n-1].Headers.Get("Upstash-Error-Step-Name")
		}
		list = append(list, v)
	}
	return list
}

// viewFailure is the failure callback that belongs to a dead letter; nil when there is none.
func (d *Door) viewFailure(ctx context.Context, w *workflow, l *deadLetter) (*failureView, error) {
	if l.Callback == (engine.ID{}) {
		return nil, nil
	}
	v := &failureView{
		MessageID: messageID(l.Callback), URL: w.FailureURL, State: "CALLBACK_INPROGRESS", FailHeaders: orEmpty(l.Header), FailStatus: l.Status,
		FailResponse: excerpt(l.Body), DLQID: l.id(), MaxRetries: w.Retries,
	}
	row, err := history.Run(ctx, d.cfg.Host, l.Callback)
	if err != nil || row == nil {
		return v, err // it is about to be started
	}
	switch row.Status {
	case engine.Completed:
		v.State = "CALLBACK_SUCCESS"
	case engine.Failed:
		v.State = "CALLBACK_FAIL"
	case engine.Cancelled:
		v.State = "CALLBACK_CANCELED"
	}
	f := &filter{ids: []string{messageID(l.Callback)}}
	_, err = d.scanLogs(ctx, f, nil, true, func(e *logEntry, m *message) bool {
		if m != nil {
			v.MaxRetries = m.Retries
		}
		switch e.State {
		case stateError, stateDelivered:
			v.RespStatus, v.RespHeaders, v.RespBody = e.Status, e.Header, string(e.Body)
		}
		if e.State == stateError {
			v.Errors = append(v.Errors, tryView{Error: e.Error, Body: string(e.Body), Headers: orEmpty(e.Header), Status: e.Status, Time: e.Time})
		}
		return true
	})
	if v.RespHeaders.Get("Upstash-Workflow-Failure-Callback-Notfound") != "" {
		v.RespBody = "" // the endpoint has no failure function
	}
	return v, err
}
