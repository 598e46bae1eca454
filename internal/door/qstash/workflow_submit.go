package qstash

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// maxInvokeDepth is how deep runs may invoke each other: section 27.
const maxInvokeDepth = 100

// runHeaders are the headers that make a publish about a workflow run: section 21.2.
type runHeaders struct {
	runID    string
	url      string
	init     bool
	callType string
	invoke   bool
	takeover bool // the library takes over a run that was started without it
	features []string
	sent     http.Header // all headers of the request that are ours
}

// parseRunHeaders reads the headers of a workflow run; nil when a publish is about none.
func parseRunHeaders(all http.Header) (*runHeaders, error) {
	text := func(name string) string { return strings.TrimSpace(all.Get("Upstash-Workflow-" + name)) }
	h := &runHeaders{
		runID: text("Runid"), url: text("Url"), callType: text("Calltype"), invoke: strings.EqualFold(text("Invoke"), "true"),
		takeover: strings.EqualFold(text("Trigger-By-Sdk"), "true"), sent: all,
	}
	init := text("Init")
	if init == "" && h.runID == "" {
		return nil, nil
	}
	switch {
	case !strings.EqualFold(init, "true") && !strings.EqualFold(init, "false"):
		return nil, badRequest("Upstash-Workflow-Init: %q must be true or false", init)
	case h.runID == "":
		return nil, badRequest("Upstash-Workflow-RunId is missing")
	case len(h.runID) > 512 || hasControl(h.runID) || strings.ContainsAny(h.runID, "/,"):
		return nil, badRequest("Upstash-Workflow-RunId: %.80q cannot be the id of a run", h.runID)
	}
	h.init = strings.EqualFold(init, "true")
	h.features = splitList(strings.Join(all["Upstash-Feature-Set"], ","))
	if n := strings.TrimSpace(all.Get("Upstash-Forward-Upstash-Workflow-Invoke-Count")); n != "" {
		depth, err := strconv.Atoi(n)
		if err != nil || depth < 0 {
			return nil, badRequest("Upstash-Workflow-Invoke-Count: %q is no number", n)
		}
		if depth > maxInvokeDepth {
			return nil, badRequest("Upstash-Workflow-Invoke-Count: runs invoke each other more than %d deep", maxInvokeDepth)
		}
	}
	return h, nil
}

// submission is a publish that is about a workflow run.
type submission struct {
	run      *runHeaders
	dest     string
	config   *config
	body     []byte
	callerIP string
}

// submit prepares what a publish asks of a workflow run: to start it, to append a step, or to make a third-party call for one.
func (d *Door) submit(ctx context.Context, s *submission) (*prepared, error) {
	if !isURL(s.dest) {
		return nil, badRequest("%q: a workflow runs at a URL", s.dest)
	}
	switch {
	case s.run.init && s.run.takeover:
		return d.submitTakeover(ctx, s)
	case s.run.init && s.run.invoke:
		return d.submitInvoke(ctx, s)
	case s.run.init:
		c, err := d.startRun(ctx, d.newWorkflow(s), nil)
		if err != nil {
			return nil, err
		}
		return startedRun(c, s.run.runID), nil
	}
	run, ok, err := d.findRun(ctx, s.run.runID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errOver(s.run.runID)
	}
	w, err := d.loadWorkflow(ctx, run)
	if err != nil {
		return nil, err
	}
	if w == nil {
		return nil, errOver(s.run.runID)
	}
	if s.run.callType == "toCallback" {
		return d.submitCall(run, w, s)
	}
	step, err := parseStepJSON(s.body)
	if err != nil {
		return nil, err
	}
	it := &item{Kind: itemStep, Body: s.body, At: notBefore(s.config, d.nowMS())}
	it.Config, it.Own = s.own(w)
	return d.driven(run, s.run.runID, engine.Op{}, step.show(step.id()), it), nil
}

// own is the configuration that a step has beside its run's. Older libraries send the whole of it with each step, newer ones what differs.
func (s *submission) own(w *workflow) (*config, bool) {
	c := *s.config
	c.Delay, c.NotBefore = 0, 0
	c.Header = c.Header.Clone()
	delete(c.Header, "Content-Type")
	own := !w.has(featureTriggerConfig) || s.run.sent.Get("Upstash-Retries") != ""
	return &c, own
}

// notBefore is when a message may be delivered; 0: at once.
func notBefore(c *config, now int64) int64 {
	switch {
	case c.NotBefore > 0:
		return c.NotBefore
	case c.Delay > 0:
		return now + c.Delay*1000
	}
	return 0
}

// shownTypes are the words that the run page has for the library's types of steps.
var shownTypes = map[string]string{
	"Run": "run", "SleepFor": "sleep", "SleepUntil": "sleep", "Call": "call", "Wait": "waitForEvent", "Notify": "notify", "Invoke": "invoke",
	"CreateWebhook": "createWebhook", "WaitForWebhook": "waitForWebhook",
}

// show is how the engine shows a step.
func (s *wfStep) show(id string) engine.Step {
	step := engine.Step{ID: id, Name: s.StepName, Type: cmp.Or(shownTypes[s.StepType], s.StepType)}
	if s.StepID == 0 {
		step.Type = "plan"
	}
	return step
}

// driven is a publish that adds a planned step to a run.
func (d *Door) driven(run engine.ID, runID string, more engine.Op, step engine.Step, it *item) *prepared {
	op := d.itemOp(step, it)
	op.Child = more.Child
	return &prepared{
		commands: []engine.Command{&engine.Drive{Run: run, Ops: []engine.Op{op}}},
		read: func(replies []any) (*result, error) {
			if replies[0].(engine.DriveReply) == engine.DriveUnknown {
				return nil, errOver(runID)
			}
			// A step that is known already was submitted before, by a call whose answer got lost: the first one counts.
			return &result{list: []published{{MessageID: stepMessageID(run, step.ID), Deduplicated: replies[0].(engine.DriveReply) == engine.DriveRefused}}}, nil
		},
	}
}

// submitCall makes a third-party call: section 25.
func (d *Door) submitCall(run engine.ID, w *workflow, s *submission) (*prepared, error) {
	forward, err := callbackConfig(s.config.CallbackHeader, s.config)
	if err != nil {
		return nil, err
	}
	get := func(name string) string { return forward.Header.Get("Upstash-Workflow-" + name) }
	id, err := strconv.Atoi(get("Stepid"))
	if err != nil || id < 1 {
		return nil, badRequest("Upstash-Callback-Forward-Upstash-Workflow-StepId: %q is no number of 1 or more", get("Stepid"))
	}
	concurrent, _ := strconv.Atoi(get("Concurrent")) // for display
	step := &wfStep{StepID: id, StepName: get("Stepname"), StepType: get("Steptype"), Concurrent: concurrent}
	// A retried delivery of older libraries has no header that says so, but its step has an id of its own.
	it := &item{
		Kind: itemCall, Body: s.body, Config: s.config, URL: s.dest, Step: mustJSON(step), At: notBefore(s.config, d.nowMS()),
	}
	show := step.show(callID(id))
	show.Opts = mustJSON(map[string]string{"url": s.dest, "method": s.config.Method})
	return d.driven(run, w.RunID, engine.Op{}, show, it), nil
}

// newWorkflow is the run that a trigger asks for.
func (d *Door) newWorkflow(s *submission) *workflow {
	w := &workflow{RunID: s.run.runID, Features: s.run.features}
	w.message = message{URL: s.dest, config: *s.config, Body: s.body, CallerIP: s.callerIP}
	if isURL(s.run.url) && checkURL(s.run.url) == nil {
		w.URL = s.run.url
	}
	w.NotBefore = notBefore(s.config, d.nowMS())
	w.Method, w.Delay = http.MethodPost, 0
	return w
}

// startRun is the command that starts a run, with the steps that it begins with instead of its first delivery if there are any.
func (d *Door) startRun(ctx context.Context, w *workflow, ops []engine.Op) (*engine.Start, error) {
	id := d.cfg.NewID(d.nowMS())
	w.CreatedAt = created(id)
	if len(ops) == 0 {
		ops = []engine.Op{d.itemOp(engine.Step{ID: itemInit, Name: itemInit, Type: "initial"}, &item{Kind: itemInit, At: w.NotBefore})}
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	c := &engine.Start{
		Env: d.cfg.Env, Slug: workflowSlug, Run: id, Bypass: true, MaxAttempts: w.Retries + 1, Target: hostOf(w.URL), Key: w.RunID, KeyOfRun: true,
		KeyWindow: d.workflowKeep(), Ops: ops,
		Events: []engine.Event{{ID: id, Name: workflowEvent, Data: data, TS: w.CreatedAt, At: w.NotBefore, Internal: true, Source: "qstash"}},
	}
	if w.Flow != nil {
		c.Queues = []engine.QueueJoin{flowJoin(w.Flow)}
	}
	return c, d.setKnown(ctx, c)
}

// startedRun is a publish that starts a run, or finds that it is under way: section 22.4.
func startedRun(c *engine.Start, runID string) *prepared {
	return &prepared{
		commands: []engine.Command{c},
		read: func(replies []any) (*result, error) {
			rep := replies[0].(engine.StartReply)
			if rep.Outcome == engine.NotFound {
				return nil, errStarting
			}
			return &result{list: []published{{
				MessageID: messageID(rep.Run), Deduplicated: rep.Outcome == engine.Duplicate, WorkflowRunID: runID, WorkflowCreatedAt: created(rep.Run),
			}}}, nil
		},
	}
}

// submitTakeover gives a run that was started without the library its configuration, and delivers it again: section 22.6.
func (d *Door) submitTakeover(ctx context.Context, s *submission) (*prepared, error) {
	run, ok, err := d.findRun(ctx, s.run.runID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errOver(s.run.runID)
	}
	w := d.newWorkflow(s)
	w.Body = nil // it has been there from the beginning
	it := &item{Kind: itemTakeover, Run: w, At: w.NotBefore}
	it.Config, it.Own = &config{Retries: w.Retries}, true
	return d.driven(run, s.run.runID, engine.Op{}, engine.Step{ID: itemTakeover, Name: itemInit, Type: "initial"}, it), nil
}

// invocation is the body of an invoke: section 27.
type invocation struct {
	Body      *string                    `json:"body"`
	Headers   map[string]json.RawMessage `json:"headers"`
	RunID     string                     `json:"workflowRunId"`
	URL       string                     `json:"workflowUrl"`
	CreatedAt int64                      `json:"workflowRunCreatedAt"`
	Step      json.RawMessage            `json:"step"`
}

// submitInvoke starts a run for which a step of another one waits.
func (d *Door) submitInvoke(ctx context.Context, s *submission) (*prepared, error) {
	var in invocation
	if err := json.Unmarshal(s.body, &in); err != nil {
		return nil, badRequest("the body of an invoke is not understood: %v", err)
	}
	step, err := parseStepJSON(in.Step)
	if err != nil {
		return nil, err
	}
	if in.RunID == "" {
		return nil, badRequest("the body of an invoke has no workflowRunId")
	}
	h, err := itemHeader(in.Headers)
	if err != nil {
		return nil, err
	}
	back, err := parseConfig(h, nil)
	if err != nil {
		return nil, err
	}
	parent, ok, err := d.findRun(ctx, in.RunID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errOver(in.RunID)
	}
	by, err := d.loadWorkflow(ctx, parent)
	if err != nil {
		return nil, err
	}
	w := d.newWorkflow(s)
	w.Body = nil
	if in.Body != nil {
		w.Body = []byte(*in.Body)
	}
	delete(back.Header, "Content-Type")
	w.Invoker = &invoker{Run: parent, RunID: in.RunID, URL: in.URL, CreatedAt: created(parent), Step: in.Step, Config: back}
	child, err := d.startRun(ctx, w, nil)
	if err != nil {
		return nil, err
	}
	it := &item{Kind: itemStep, Body: in.Step, Config: back, Await: true}
	it.Own = by == nil || !by.has(featureTriggerConfig)
	show := step.show(step.id())
	show.Opts = mustJSON(map[string]string{"url": w.URL, "run": w.RunID})
	p := d.driven(parent, in.RunID, engine.Op{Child: child}, show, it)
	read := p.read
	p.read = func(replies []any) (*result, error) {
		switch replies[0].(engine.DriveReply) {
		case engine.DriveDuplicate:
			return nil, badRequest("the workflow run %s is under way already; it cannot be invoked", w.RunID)
		case engine.DriveRefused:
			return read(replies) // invoked before, by a call whose answer got lost
		case engine.DriveDone:
			return &result{list: []published{{MessageID: messageID(child.Run), WorkflowRunID: w.RunID, WorkflowCreatedAt: created(child.Run)}}}, nil
		}
		return read(replies)
	}
	return p, nil
}

// serveTrigger is POST /v2/trigger/{url}: section 22.6.
func (d *Door) serveTrigger(w http.ResponseWriter, r *http.Request, _ string) error {
	dest, query, body, err := d.readPublish(w, r, "/v2/trigger/")
	if err != nil {
		return err
	}
	p, err := d.trigger(r.Context(), dest, r.Header, query, body, callerIP(r))
	if err != nil {
		return err
	}
	if err := d.startAll(r.Context(), p); err != nil {
		return err
	}
	res, err := p.result()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, triggeredOf(res.list[0]))
}

// triggered is what a trigger without the library answers.
type triggered struct {
	RunID        string `json:"workflowRunId"`
	CreatedAt    int64  `json:"workflowCreatedAt"`
	Deduplicated bool   `json:"deduplicated,omitempty"`
}

func triggeredOf(p published) triggered {
	return triggered{p.WorkflowRunID, p.WorkflowCreatedAt, p.Deduplicated}
}

// trigger prepares a run without the library, which takes it over when it is delivered.
func (d *Door) trigger(ctx context.Context, dest string, h http.Header, query url.Values, body []byte, ip string) (*prepared, error) {
	all, err := mergeHeaders(h, query)
	if err != nil {
		return nil, err
	}
	if all.Get("Upstash-Workflow-Runid") == "" {
		all.Set("Upstash-Workflow-Runid", newRunID())
	}
	all.Set("Upstash-Workflow-Init", "true")
	run, err := parseRunHeaders(all)
	if err != nil {
		return nil, err
	}
	cfg, err := readConfig(all, ownPrefix, 0)
	if err != nil {
		return nil, err
	}
	if !isURL(dest) {
		return nil, badRequest("%q: a workflow runs at a URL", dest)
	}
	wf := d.newWorkflow(&submission{run: run, dest: dest, config: cfg, body: body, callerIP: ip})
	wf.Unknown = true
	c, err := d.startRun(ctx, wf, nil)
	if err != nil {
		return nil, err
	}
	return startedRun(c, wf.RunID), nil
}

// serveBatchTrigger is POST /v2/batch/trigger.
func (d *Door) serveBatchTrigger(w http.ResponseWriter, r *http.Request) error {
	items, err := d.readBatch(w, r)
	if err != nil {
		return err
	}
	var list []*prepared
	for i, raw := range items {
		var it batchItem
		if err := json.Unmarshal(raw, &it); err != nil {
			return badRequest("item %d is no object with destination, headers and body: %v", i, err)
		}
		h, err := itemHeader(it.Headers)
		if err != nil {
			return err
		}
		dest, query, err := destination("/"+it.Destination, "/")
		if err != nil {
			return err
		}
		body, err := itemBody(it.Body)
		if err != nil {
			return err
		}
		p, err := d.trigger(r.Context(), dest, h, query, body, callerIP(r))
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	if err := d.startAll(r.Context(), list...); err != nil {
		return err
	}
	answers := []triggered{}
	for _, p := range list {
		res, err := p.result()
		if err != nil {
			return err
		}
		answers = append(answers, triggeredOf(res.list[0]))
	}
	return writeJSON(w, http.StatusCreated, answers)
}
