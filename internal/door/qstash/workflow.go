package qstash

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// A workflow is a driven run: the app submits its steps, and each step is planned and delivered to the workflow's endpoint with all the
// steps before it. Part two of the protocol. Where to look: workflow_submit.go takes runs and steps, workflow_deliver.go delivers them,
// workflow_wait.go has waits, notifications and webhooks, workflow_end.go ends runs and tells of that, workflow_logs.go and
// workflow_dlq.go show them and make them go on.

// workflowSlug is the function whose runs are workflow runs.
const workflowSlug = "qstash-workflow"

// workflowEvent is the name of the event that has a run's payload.
const workflowEvent = "qstash/workflow"

// Features of the client library that change what the server does: section 21.3.
const (
	featureInitialBody   = "InitialBody"
	featureDetectTrigger = "WF_DetectTrigger"
	featureTriggerConfig = "WF_TriggerOnConfig"
)

// workflow is a run as it was started: section 22.3. Its message is the first delivery: the configuration of the run, the endpoint's URL,
// and the initial payload as the body.
type workflow struct {
	RunID string `json:"workflowRunId"`
	message
	Features []string `json:"features,omitempty"`
	Unknown  bool     `json:"unknownSdk,omitempty"` // started without the library, which has yet to take it over: section 22.6
	Invoker  *invoker `json:"invoker,omitempty"`
}

// invoker is the step of another run that waits for this one: section 27.
type invoker struct {
	Run       engine.ID       `json:"run"`
	RunID     string          `json:"workflowRunId"`
	URL       string          `json:"workflowUrl"`
	CreatedAt int64           `json:"workflowRunCreatedAt"`
	Step      json.RawMessage `json:"step"`
	Config    *config         `json:"config"` // of the delivery that brings the result
}

func (w *workflow) has(feature string) bool { return slices.Contains(w.Features, feature) }

// What a planned step of a run does.
const (
	itemInit     = "init"     // delivers the initial payload
	itemTakeover = "takeover" // does so again, after the library took over a run that was started without it
	itemStep     = "step"     // delivers a step that was submitted, or that something waited for
	itemCall     = "call"     // makes a third-party call
	itemCallback = "callback" // delivers its outcome
)

// item is the input of a planned step.
type item struct {
	Kind   string          `json:"kind"`
	Body   []byte          `json:"body,omitempty"`   // step: its JSON; call, callback: what is sent
	Config *config         `json:"config,omitempty"` // what was said with it; nil: as the run says
	Own    bool            `json:"own,omitempty"`    // Config says how often to try, too
	URL    string          `json:"url,omitempty"`    // of a call
	Step   json.RawMessage `json:"step,omitempty"`   // call: what is known of the step that it is for
	Run    *workflow       `json:"run,omitempty"`    // takeover: the run as the library configures it
	Event  string          `json:"event,omitempty"`  // step: the event that it waits for, or waited
	At     int64           `json:"at,omitempty"`     // when it is to begin, ms; 0: at once, or when it is brought forward
	Await  bool            `json:"await,omitempty"`  // it may be brought forward
}

// wfStep is the JSON of a step as the library submits it: section 21.4.
type wfStep struct {
	StepID      int             `json:"stepId"`
	StepName    string          `json:"stepName"`
	StepType    string          `json:"stepType"`
	Out         json.RawMessage `json:"out,omitempty"`
	Concurrent  int             `json:"concurrent"`
	TargetStep  int             `json:"targetStep,omitempty"`
	SleepFor    json.RawMessage `json:"sleepFor,omitempty"`
	SleepUntil  json.Number     `json:"sleepUntil,omitempty"`
	WaitEventID string          `json:"waitEventId,omitempty"`
	Timeout     json.RawMessage `json:"timeout,omitempty"`
	WaitTimeout bool            `json:"waitTimeout,omitempty"`
}

func parseStepJSON(raw []byte) (*wfStep, error) {
	s := &wfStep{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, badRequest("the step is not understood: %v", err)
	}
	if s.StepID < 0 || s.TargetStep < 0 || s.StepID == 0 && s.TargetStep == 0 {
		return nil, badRequest("the step has neither a stepId nor a targetStep of 1 or more")
	}
	return s, nil
}

// id is the step's id in the engine: a result's, or a plan's. It is the same for whoever submits the same step again.
func (s *wfStep) id() string {
	if s.StepID == 0 {
		return "p" + strconv.Itoa(s.TargetStep)
	}
	return resultID(s.StepID)
}

func resultID(stepID int) string   { return "s" + strconv.Itoa(stepID) }
func callID(stepID int) string     { return "c" + strconv.Itoa(stepID) }
func callbackID(stepID int) string { return "b" + strconv.Itoa(stepID) }

// stepMessageID is the id of the message that delivers a step.
func stepMessageID(run engine.ID, step string) string {
	if step == itemInit || step == itemTakeover {
		return messageID(run)
	}
	return messageID(run) + "-" + step
}

// stepOfMessage is the inverse of stepMessageID.
func stepOfMessage(id string) (run engine.ID, step string, ok bool) {
	text, found := strings.CutPrefix(id, "msg_")
	text, step, _ = strings.Cut(text, "-")
	run, err := ulid.ParseStrict(text)
	return run, cmp.Or(step, itemInit), found && err == nil
}

// op is the engine op that plans an item.
func (d *Door) itemOp(step engine.Step, it *item) engine.Op {
	op := engine.Op{Kind: engine.OpPlan, Step: step, Input: mustJSON(it), KeepInput: true, Until: it.At, Await: it.Await}
	if it.Kind == itemCall {
		op.Target = hostOf(it.URL)
		op.Queues = []engine.QueueJoin{}
	}
	if c := it.Config; c != nil {
		if it.Own || it.Kind == itemCall {
			op.Attempts = c.Retries + 1
		}
		if c.Flow != nil {
			op.Queues = append(op.Queues, flowJoin(c.Flow))
		}
	}
	return op
}

// flowJoin is the queue of a flow-control key.
func flowJoin(f *flow) engine.QueueJoin {
	return engine.QueueJoin{Queue: flowPrefix + f.Key, Title: titleOf(flowPrefix + f.Key), Policy: &engine.Policy{Parallelism: f.Parallelism, Rate: f.Rate, Period: f.Period * 1000}}
}

func (d *Door) workflowFn() engine.UUID {
	return engine.UUID(uuid.NewSHA1(idSpace, []byte(d.cfg.Env+"\x00workflow")))
}

// workflowKeep is for how long the id of a run that has ended is known.
func (d *Door) workflowKeep() int64 {
	if d.cfg.Keep <= 0 {
		return 10 * 365 * engine.Day
	}
	return 4*d.cfg.Keep.Milliseconds() + engine.Day // as long as its dead letter
}

// findRun is the newest run with an id, ended or not; ok is false when there is none.
func (d *Door) findRun(ctx context.Context, runID string) (run engine.ID, ok bool, err error) {
	row, ok, err := d.cfg.Host.Get(ctx, store.Idempotency, engine.IdempotencyKey(d.cfg.Env, engine.StartKey(workflowSlug, runID)))
	if err != nil || !ok {
		return run, false, err
	}
	known := engine.ParseIdempotency(row)
	if len(known) < 2 {
		return run, false, nil
	}
	return engine.ID(known[1]), true, nil
}

// overError is what a step of a run hears that takes none: section 24. It is the answer to the whole request, also if that is a batch: the
// library then stops quietly.
type overError struct{ inputError }

func (e *overError) Unwrap() error { return &e.inputError }

func errOver(runID string) error {
	return &overError{inputError{http.StatusBadRequest, fmt.Sprintf("the workflow run %s does not exist or has ended; it takes no more steps", runID)}}
}

// runHistory is everything that is stored of a workflow run.
type runHistory struct {
	id     engine.ID
	w      *workflow // as it was taken over, if it was
	steps  []*runStep
	byName map[string]*runStep
}

// runStep is one planned step with what it does.
type runStep struct {
	*engine.StepRow
	item item
}

// begun says whether a step is in the history that others see.
func (s *runStep) begun(now int64) bool { return s.Begin > 0 && s.Begin <= now }

// history reads a run; nil when there is none.
func (d *Door) history(ctx context.Context, run engine.ID) (*runHistory, error) {
	h := &runHistory{id: run, byName: map[string]*runStep{}}
	var err error
	if h.w, err = d.loadWorkflow(ctx, run); err != nil || h.w == nil {
		return nil, err
	}
	rows, err := d.cfg.Host.List(ctx, store.Steps, engine.RunKey(run))
	if err != nil {
		return nil, err
	}
	inputs := map[string][]byte{}
	for _, r := range rows {
		if engine.IsStepInput(r.Key) {
			inputs[string(r.Key[:len(r.Key)-1])] = r.Value
			continue
		}
		row, err := engine.ParseStepRow(r.Value)
		if err != nil {
			return nil, err
		}
		h.steps = append(h.steps, &runStep{StepRow: row})
		h.byName[row.ID] = h.steps[len(h.steps)-1]
	}
	for _, s := range h.steps {
		if err := json.Unmarshal(inputs[string(engine.StepRowKey(run, s.ID))], &s.item); err != nil {
			return nil, fmt.Errorf("step %s of workflow run %s: %w", s.ID, run, err)
		}
	}
	slices.SortFunc(h.steps, func(a, b *runStep) int {
		if (a.Begin == 0) != (b.Begin == 0) { // it has yet to begin
			return cmp.Compare(b.Begin, a.Begin)
		}
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.Job, b.Job))
	})
	if t := h.byName[itemTakeover]; t != nil {
		h.w.takeOver(t.item.Run)
	}
	return h, nil
}

// takeOver gives a run that was started without the library the configuration that it has with it.
func (w *workflow) takeOver(by *workflow) {
	id, created, ip, body, inv := w.RunID, w.CreatedAt, w.CallerIP, w.Body, w.Invoker
	*w = *by
	w.RunID, w.CreatedAt, w.CallerIP, w.Body, w.Invoker = id, created, ip, body, inv
}

// loadWorkflow reads the payload of a run; nil when there is none.
func (d *Door) loadWorkflow(ctx context.Context, run engine.ID) (*workflow, error) {
	ev, err := history.Event(ctx, d.cfg.Host, d.cfg.Env, run)
	if err != nil || ev == nil || ev.Name != workflowEvent {
		return nil, err
	}
	w := &workflow{}
	if err := json.Unmarshal(ev.Data, w); err != nil {
		return nil, fmt.Errorf("decode workflow run %s: %w", run, err)
	}
	return w, nil
}

// rawStep is an element of deliveries: section 21.4.
type rawStep struct {
	MessageID string `json:"messageId"`
	Body      []byte `json:"body"`
	CallType  string `json:"callType"`
}

// raw are the steps that a delivery carries: the initial payload and then every step up to the one that causes it. Without one they are
// all that have begun.
func (h *runHistory) raw(until *runStep, now int64) []rawStep {
	list := []rawStep{{MessageID: messageID(h.id), Body: orNothing(h.w.Body), CallType: "step"}}
	for _, s := range h.steps {
		if s.item.Kind == itemStep && (until != nil || s.begun(now)) {
			list = append(list, rawStep{MessageID: stepMessageID(h.id, s.ID), Body: s.item.Body, CallType: "step"})
		}
		if s == until {
			break
		}
	}
	return list
}

func orNothing(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// serveWorkflows is everything below /v2/workflows.
func (d *Door) serveWorkflows(w http.ResponseWriter, r *http.Request, rest string) error {
	first, rest, _ := strings.Cut(rest, "/")
	rest = strings.TrimSuffix(rest, "/")
	switch strings.ToLower(first) {
	case "runs":
		return d.serveRuns(w, r, rest)
	case "hooks":
		return d.serveHook(w, r, rest)
	case "events", "logs":
		return d.serveRunLogs(w, r)
	case "dlq":
		return d.serveRunDLQ(w, r, rest)
	}
	return notFound("endpoint", r.URL.Path)
}

// at is the time of now that a run's rows are in.
func (d *Door) nowMS() int64 { return d.cfg.Now().UnixMilli() }

// created is when a run was created, in ms: the time of its id.
func created(run engine.ID) int64 { return int64(run.Time()) }

// newRunID is the id of a run for which nobody gave one.
func newRunID() string { return "wfr_" + strings.ReplaceAll(uuid.NewString(), "-", "") }
