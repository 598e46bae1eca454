package qstash

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// serveRuns is everything below /v2/workflows/runs.
func (d *Door) serveRuns(w http.ResponseWriter, r *http.Request, rest string) error {
	runID, err := url.PathUnescape(rest)
	if err != nil {
		return badRequest("%v", err)
	}
	switch {
	case runID != "" && r.Method == http.MethodGet:
		return d.getSteps(w, r, runID)
	case runID != "" && r.Method == http.MethodDelete:
		return d.endRun(w, r, runID)
	case runID == "" && r.Method == http.MethodDelete:
		return d.cancelRuns(w, r)
	}
	return wrongMethod(r)
}

// getSteps is GET /v2/workflows/runs/{id}: section 23.4.
func (d *Door) getSteps(w http.ResponseWriter, r *http.Request, runID string) error {
	run, ok, err := d.findRun(r.Context(), runID)
	if err != nil {
		return err
	}
	if !ok {
		return notFound("workflow run", runID)
	}
	row, err := history.Run(r.Context(), d.cfg.Host, run)
	if err != nil {
		return err
	}
	h, err := d.history(r.Context(), run)
	if err != nil {
		return err
	}
	if row == nil || h == nil || row.Status.Ended() {
		return notFound("workflow run", runID)
	}
	return writeJSON(w, http.StatusOK, h.raw(nil, d.nowMS()))
}

// endRun is DELETE /v2/workflows/runs/{id}: the run is done, or is cancelled from inside. Section 28.
func (d *Door) endRun(w http.ResponseWriter, r *http.Request, runID string) error {
	body, err := d.readBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	cancel, err := parseTruth(cmp.Or(r.URL.Query().Get("cancel"), "false"))
	if err != nil {
		return badRequest("cancel: %v", err)
	}
	run, ok, err := d.findRun(r.Context(), runID)
	if err != nil {
		return err
	}
	if !ok {
		return notFound("workflow run", runID)
	}
	if cancel {
		if _, err := d.cfg.Host.Submit(r.Context(), &engine.Cancel{Run: run, Reason: "cancelled by the workflow"}); err != nil {
			return err
		}
		return done(w)
	}
	h, err := d.history(r.Context(), run)
	if err != nil {
		return err
	}
	c := &engine.Drive{Run: run}
	if h != nil {
		// The call in which the library says this has not answered yet, and nobody will hear its answer.
		now := d.nowMS()
		for _, s := range h.steps {
			if s.Seq == 0 && s.begun(now) {
				a := stepAttempt{step: s, attempt: attempt{status: http.StatusOK}}
				c.Ops = append(c.Ops, engine.Op{Kind: engine.OpStepDone, Step: s.Step, Value: a.result(), Started: s.Begin, Ended: now})
			}
		}
	}
	c.Ops = append(c.Ops, engine.Op{Kind: engine.OpRunDone, Value: asJSON(body)})
	for {
		v, err := d.cfg.Host.Submit(r.Context(), c)
		if err != nil {
			return err
		}
		if v.(engine.DriveReply) != engine.DriveRefused {
			return done(w) // also when it has ended already
		}
		c.Ops = c.Ops[len(c.Ops)-1:] // a delivery answered meanwhile
	}
}

// asJSON is a text that may be JSON as JSON.
func asJSON(b []byte) []byte {
	switch {
	case len(b) == 0:
		return []byte("null")
	case json.Valid(b):
		return b
	}
	return mustJSON(string(b))
}

// cancelRuns is DELETE /v2/workflows/runs: section 28.2.
func (d *Door) cancelRuns(w http.ResponseWriter, r *http.Request) error {
	q, err := d.bulkQuery(w, r)
	if err != nil {
		return err
	}
	f, err := parseRunFilter(q, cancelRunFilters)
	if err != nil {
		return err
	}
	count, err := countOf(q, 100, 1000)
	if err != nil {
		return err
	}
	var runs []engine.ID
	if len(f.runIDs) > 0 {
		count = len(f.runIDs)
		for _, id := range f.runIDs {
			run, ok, err := d.findRun(r.Context(), id)
			if err != nil {
				return err
			}
			if ok {
				runs = append(runs, run)
			}
		}
	} else {
		v, err := d.cfg.Host.Submit(r.Context(), &engine.LiveRuns{Fn: d.workflowFn()})
		if err != nil {
			return err
		}
		runs = v.([]engine.ID)
	}
	n := 0
	for _, run := range runs {
		if n == count {
			break
		}
		if len(f.runIDs) == 0 {
			wf, err := d.loadWorkflow(r.Context(), run)
			if err != nil {
				return err
			}
			if wf == nil || !f.matches(wf) {
				continue
			}
		}
		v, err := d.cfg.Host.Submit(r.Context(), &engine.Cancel{Run: run, Reason: "cancelled by its sender"})
		if err != nil {
			return err
		}
		if v.(bool) {
			n++
		}
	}
	return writeJSON(w, http.StatusOK, map[string]int{"cancelled": n})
}

// Settle does what the end of a run asks for: whoever invoked it goes on, its failure is told, and what waits for it is forgotten. Each
// part can be done again, and all of it is, until the engine hears that it was. It does not block.
func (d *Door) Settle(s *engine.Settle) {
	d.calls.Insist(d.cfg.Log.With("run", s.Run), "what follows from the end of a workflow run", func(ctx context.Context) error { return d.settle(ctx, s) })
}

func (d *Door) settle(ctx context.Context, s *engine.Settle) error {
	h, err := d.history(ctx, s.Run)
	if err != nil {
		return err
	}
	if h != nil {
		if err := d.tellInvoker(ctx, h, s.Status); err != nil {
			return err
		}
		if s.Status == engine.Failed {
			if err := d.tellFailure(ctx, h); err != nil {
				return err
			}
		}
		if err := d.forgetWaits(ctx, h); err != nil {
			return err
		}
	}
	_, err = d.cfg.Host.Submit(ctx, &engine.Settled{Facts: []engine.ID{s.Run}})
	return err
}

// invoked is the result of a run for the step that invoked it: section 27.
type invoked struct {
	Body       *string `json:"body,omitempty"`
	IsFailed   bool    `json:"isFailed"`
	IsCanceled bool    `json:"isCanceled"`
}

// tellInvoker brings the step forward that waits for a run.
func (d *Door) tellInvoker(ctx context.Context, h *runHistory, status engine.Status) error {
	by := h.w.Invoker
	if by == nil {
		return nil
	}
	row, err := history.Run(ctx, d.cfg.Host, h.id)
	if err != nil || row == nil {
		return err
	}
	out := invoked{IsFailed: status == engine.Failed, IsCanceled: status == engine.Cancelled}
	if status == engine.Completed {
		text := responseText(row.Output)
		out.Body = &text
	}
	step, err := parseStepJSON(by.Step)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(by.Step, &fields); err != nil {
		return err
	}
	fields["out"] = mustJSON(string(mustJSON(out)))
	raw, ok, err := history.StepInput(ctx, d.cfg.Host, by.Run, step.id())
	if err != nil || !ok {
		return err
	}
	it := &item{}
	if err := json.Unmarshal(raw, it); err != nil {
		return err
	}
	it.Body, it.Await = mustJSON(fields), false
	// Nothing is done when it was told before, or has ended itself.
	_, err = d.cfg.Host.Submit(ctx, &engine.Drive{Run: by.Run, Ops: []engine.Op{d.itemOp(engine.Step{ID: step.id()}, it)}})
	return err
}

// responseText is what a run ended with, as text.
func responseText(output []byte) string {
	if string(output) == "null" {
		return ""
	}
	return string(output)
}

// tellFailure starts the failure callback of a run: section 29.
func (d *Door) tellFailure(ctx context.Context, h *runHistory) error {
	if h.w.FailureURL == "" {
		return nil
	}
	l, err := d.deadOf(ctx, h.id)
	if err != nil || l == nil {
		return err // it failed in another way than by a delivery
	}
	return d.startFailureCallback(ctx, h, l, nil)
}

// startFailureCallback starts the message that the dead letter names as its callback, once.
func (d *Door) startFailureCallback(ctx context.Context, h *runHistory, l *deadLetter, rows []engine.RowPut) error {
	w := h.w
	source := w.Body
	if !w.has(featureInitialBody) {
		source = mustJSON(h.raw(h.byName[l.Step], l.At))
	}
	body := mustJSON(failureBody{
		callbackBody: callbackBody{
			Status: l.Status, Header: orEmpty(l.Header), Body: orNothing(l.Body), Retried: l.Retried, MaxRetries: l.MaxRetries,
			SourceID: stepMessageID(h.id, l.Step), URL: w.URL, Method: http.MethodPost, SourceHeader: orEmpty(w.Header), SourceBody: orNothing(source),
			NotBefore: max(w.NotBefore, w.CreatedAt), CreatedAt: w.CreatedAt, CallerIP: w.CallerIP, DLQID: l.id(),
		}, RunID: w.RunID, RunCreatedAt: w.CreatedAt,
	})
	cfg, err := callbackConfig(w.FailureHeader, &w.config)
	if err != nil {
		return err
	}
	cfg.Header.Set("Upstash-Workflow-Runid", w.RunID)
	cfg.Header.Set("Upstash-Workflow-Url", w.URL)
	cfg.Header.Set("Upstash-Workflow-Createdat", strconv.FormatInt(w.CreatedAt, 10))
	o := &outgoing{dest: w.FailureURL, config: *cfg, body: body, callerIP: w.CallerIP, callback: true, noDead: true, id: l.Callback, retried: rows}
	o.key = "workflow-failure:" + l.Callback.String()
	_, err = d.publish(ctx, o)
	var in *inputError
	if errors.As(err, &in) { // a group that is gone, for one; nothing would change that
		d.cfg.Log.Warn("the failure callback of a workflow run cannot be made", "run", w.RunID, "err", err)
		return nil
	}
	return err
}

// failureBody is section 29: a callback's body, and which run it tells of.
type failureBody struct {
	callbackBody
	RunID        string `json:"workflowRunId"`
	RunCreatedAt int64  `json:"workflowCreatedAt"`
}

// forgetWaits deletes what is kept for a run while it goes on.
func (d *Door) forgetWaits(ctx context.Context, h *runHistory) error {
	var rows []engine.RowPut
	for _, s := range h.steps {
		if s.item.Event != "" {
			rows = append(rows, engine.RowPut{Table: store.Meta, Key: d.waiterKey(s.item.Event, h.id, s.ID)})
		}
	}
	notes, err := d.cfg.Host.Scan(ctx, store.Query{Table: store.Meta, Prefix: d.metaKey("note", h.id.String()), Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	for _, n := range notes {
		rows = append(rows, engine.RowPut{Table: store.Meta, Key: n.Key})
	}
	for chunk := range slices.Chunk(rows, 500) {
		if _, err := d.cfg.Host.Submit(ctx, &engine.Put{Rows: chunk}); err != nil {
			return err
		}
	}
	return nil
}

// deadOf is the dead letter of a run; nil when there is none.
func (d *Door) deadOf(ctx context.Context, run engine.ID) (*deadLetter, error) {
	q := store.Query{Table: store.Dead, Prefix: engine.EnvPrefix(d.cfg.Env), Limit: 1}
	q.Tags[0] = string(run[:])
	rows, err := d.cfg.Host.Scan(ctx, q)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	l := &deadLetter{}
	return l, json.Unmarshal(rows[0].Value, l)
}
