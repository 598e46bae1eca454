package qstash

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// runDeadView is a dead letter of a workflow run: section 31.1.
type runDeadView struct {
	deadView
	RunID        string       `json:"workflowRunId"`
	CreatedAt    int64        `json:"workflowCreatedAt"`
	URL          string       `json:"workflowUrl"`
	FailureInfo  *failureInfo `json:"failureCallbackInfo,omitempty"`
	FailureState string       `json:"failureFunctionState,omitempty"`
}

type failureInfo struct {
	State   string      `json:"state"`
	Status  int         `json:"responseStatus,omitempty"`
	Body    string      `json:"responseBody,omitempty"`
	Headers http.Header `json:"responseHeaders,omitempty"`
}

// viewRunDead is a dead letter as the API shows it.
func (d *Door) viewRunDead(ctx context.Context, l *deadLetter, w *workflow, trim int) (*runDeadView, error) {
	l.Body = cut(l.Body, trim)
	v := &runDeadView{deadView: l.view(w.cut(trim)), RunID: w.RunID, CreatedAt: w.CreatedAt, URL: w.URL}
	v.MessageID = stepMessageID(l.Run, l.Step)
	f, err := d.viewFailure(ctx, w, l)
	if err == nil && f != nil {
		v.FailureState = f.State
		v.FailureInfo = &failureInfo{f.State, f.RespStatus, f.RespBody, f.RespHeaders}
	}
	return v, err
}

// scanRunDead gives the dead letters of runs that a filter selects to fn, newest first, until fn returns false.
func (d *Door) scanRunDead(ctx context.Context, f *runFilter, cursor string, oldest bool, fn func(*deadLetter, *workflow) (bool, error)) error {
	check := func(l *deadLetter) (bool, error) {
		if !l.Workflow {
			return true, nil
		}
		h, err := d.history(ctx, l.Run)
		if err != nil || h == nil || !f.matchesDead(l, h.w) {
			return true, err
		}
		if len(f.failureStates) > 0 {
			v, err := d.viewFailure(ctx, h.w, l)
			if err != nil || v == nil || !slices.Contains(f.failureStates, v.State) {
				return true, err
			}
		}
		return fn(l, h.w)
	}
	if len(f.dlqIDs) > 0 {
		for _, id := range f.dlqIDs {
			l, err := d.deadLetter(ctx, id)
			var in *inputError
			if errors.As(err, &in) {
				continue
			}
			if err != nil {
				return err
			}
			if more, err := check(l); err != nil || !more {
				return err
			}
		}
		return nil
	}
	return d.scanDeadRows(ctx, cursor, oldest, check)
}

// matchesDead decides by a dead letter and what its run was started with. Times are those of the failure.
func (f *runFilter) matchesDead(l *deadLetter, w *workflow) bool {
	if !f.within(l.At) || len(f.statuses) > 0 && !slices.Contains(f.statuses, l.Status) || !f.has(l.Run) {
		return false
	}
	g := *f
	g.from, g.to = 0, 0
	return g.matches(w)
}

// serveRunDLQ is everything below /v2/workflows/dlq.
func (d *Door) serveRunDLQ(w http.ResponseWriter, r *http.Request, rest string) error {
	id, err := url.PathUnescape(rest)
	if err != nil {
		return badRequest("%v", err)
	}
	verb, one, _ := strings.Cut(id, "/")
	switch {
	case id == "" && r.Method == http.MethodGet:
		return d.listRunDead(w, r)
	case id == "" && r.Method == http.MethodDelete:
		return d.deleteRunDead(w, r)
	case (verb == "resume" || verb == "restart") && r.Method == http.MethodPost && one == "":
		return d.repeatRuns(w, r, verb == "resume")
	case (verb == "resume" || verb == "restart") && r.Method == http.MethodPost:
		l, err := d.runDead(r.Context(), one)
		if err != nil {
			return err
		}
		t, err := d.repeatRun(r.Context(), r.Header, l, verb == "resume")
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, t)
	case verb == "callback" && one != "" && r.Method == http.MethodPost:
		return d.repeatFailureCallback(w, r, one)
	case verb == "callback" && one != "" && r.Method == http.MethodDelete:
		return d.cancelFailureCallback(w, r, one)
	case one == "" && r.Method == http.MethodGet:
		l, err := d.runDead(r.Context(), id)
		if err != nil {
			return err
		}
		h, err := d.history(r.Context(), l.Run)
		if err != nil {
			return err
		}
		if h == nil {
			return notFound("DLQ message", id)
		}
		v, err := d.viewRunDead(r.Context(), l, h.w, 0)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, v)
	case one == "" && r.Method == http.MethodDelete:
		if _, err := d.runDead(r.Context(), id); err != nil {
			return err
		}
		if err := d.deleteDead(r.Context(), id); err != nil {
			return err
		}
		return done(w)
	}
	return wrongMethod(r)
}

// runDead reads a dead letter of a workflow run, or says that there is none.
func (d *Door) runDead(ctx context.Context, id string) (*deadLetter, error) {
	l, err := d.deadLetter(ctx, id)
	if err == nil && !l.Workflow {
		err = notFound("DLQ message", id)
	}
	return l, err
}

// listRunDead is GET /v2/workflows/dlq, and GET /v2/dlq for workflows.
func (d *Door) listRunDead(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := parseRunFilter(q, runDLQFilters)
	if err != nil {
		return err
	}
	show, err := pageOf(q, 100, 100)
	if err != nil {
		return err
	}
	list := []*runDeadView{}
	more := false
	err = d.scanRunDead(r.Context(), f, q.Get("cursor"), q.Get("order") == "earliestFirst", func(l *deadLetter, wf *workflow) (bool, error) {
		if more = len(list) == show.count; more {
			return false, nil
		}
		v, err := d.viewRunDead(r.Context(), l, wf, show.trim)
		list = append(list, v)
		return true, err
	})
	if err != nil {
		return err
	}
	out := map[string]any{"messages": list}
	if more {
		out["cursor"] = list[len(list)-1].DLQID
	}
	return writeJSON(w, http.StatusOK, out)
}

// selectRunDead reads the dead letters that a bulk operation is about, at most so many, and where the next ones begin.
func (d *Door) selectRunDead(w http.ResponseWriter, r *http.Request, most int) (list []*deadLetter, cursor string, err error) {
	q, err := d.bulkQuery(w, r)
	if err != nil {
		return nil, "", err
	}
	f, err := parseRunFilter(q, runDLQFilters)
	if err != nil {
		return nil, "", err
	}
	count, err := countOf(q, most, most)
	if err != nil {
		return nil, "", err
	}
	err = d.scanRunDead(r.Context(), f, q.Get("cursor"), false, func(l *deadLetter, _ *workflow) (bool, error) {
		if len(list) == count {
			cursor = list[count-1].id()
			return false, nil
		}
		list = append(list, l)
		return true, nil
	})
	return list, cursor, err
}

// deleteRunDead is DELETE /v2/workflows/dlq.
func (d *Door) deleteRunDead(w http.ResponseWriter, r *http.Request) error {
	list, cursor, err := d.selectRunDead(w, r, 100)
	if err != nil {
		return err
	}
	ids := make([]string, len(list))
	for i, l := range list {
		ids[i] = l.id()
	}
	if err := d.deleteDead(r.Context(), ids...); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, withCursor(map[string]any{"deleted": len(list)}, cursor))
}

func withCursor(out map[string]any, cursor string) map[string]any {
	if cursor != "" {
		out["cursor"] = cursor
	}
	return out
}

// repeatRuns is POST /v2/workflows/dlq/resume and /restart: section 31.3.
func (d *Door) repeatRuns(w http.ResponseWriter, r *http.Request, resume bool) error {
	list, cursor, err := d.selectRunDead(w, r, 50)
	if err != nil {
		return err
	}
	runs := []*triggered{}
	for _, l := range list {
		t, err := d.repeatRun(r.Context(), r.Header, l, resume)
		if err != nil {
			return err
		}
		runs = append(runs, t)
	}
	return writeJSON(w, http.StatusOK, withCursor(map[string]any{"workflowRuns": runs}, cursor))
}

// repeatRun starts a failed run again as a new one: from its beginning, or with the steps that it had, going on with the deliveries that
// were not made. The dead letter is gone from then on.
func (d *Door) repeatRun(ctx context.Context, header http.Header, l *deadLetter, resume bool) (*triggered, error) {
	d.changes.Lock() // of two who ask at once, one does it
	defer d.changes.Unlock()
	if _, err := d.runDead(ctx, l.id()); err != nil {
		return nil, err
	}
	h, err := d.history(ctx, l.Run)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, notFound("DLQ message", l.id())
	}
	key, _ := d.deadKey(l.id())
	c, err := d.startAgain(ctx, h, header, resume)
	if err != nil {
		return nil, err
	}
	c.Rows = append(c.Rows, engine.RowPut{Table: store.Dead, Key: key})
	v, err := d.cfg.Host.Submit(ctx, c)
	if err != nil {
		return nil, err
	}
	if v.(engine.StartReply).Outcome != engine.Started {
		return nil, errStarting
	}
	return &triggered{RunID: c.Key, CreatedAt: created(c.Run)}, nil
}

// Rerun starts a run of a workflow again from its beginning, as a new one.
func (d *Door) Rerun(ctx context.Context, run engine.ID) (engine.ID, error) {
	h, err := d.history(ctx, run)
	if err != nil {
		return engine.ID{}, err
	}
	if h == nil {
		return engine.ID{}, notFound("workflow run", run.String())
	}
	c, err := d.startAgain(ctx, h, nil, false)
	if err != nil {
		return engine.ID{}, err
	}
	if _, err := d.cfg.Host.Submit(ctx, c); err != nil {
		return engine.ID{}, err
	}
	return c.Run, nil
}

// startAgain is the command that starts a run again, with what a request says otherwise about its configuration.
func (d *Door) startAgain(ctx context.Context, h *runHistory, header http.Header, resume bool) (*engine.Start, error) {
	w := *h.w
	w.RunID, w.Invoker, w.NotBefore = newRunID(), nil, 0
	w.Header, w.FailureHeader = w.Header.Clone(), w.FailureHeader.Clone()
	if err := w.config.override(header); err != nil {
		return nil, err
	}
	w.NotBefore = notBefore(&w.config, d.nowMS())
	if w.FailureHeader.Get("Workflow-Runid") != "" {
		w.FailureHeader["Workflow-Runid"] = []string{w.RunID}
	}
	var ops []engine.Op
	if resume {
		ops = d.resumeOps(h, w.NotBefore)
	}
	c, err := d.startRun(ctx, &w, ops)
	if err != nil {
		return nil, err
	}
	c.Original = h.id
	for _, s := range h.steps {
		if resume && s.item.Event != "" && s.Seq == 0 && s.item.Await {
			if row, ok := d.waitAgain(h, s, &w, c.Run); ok {
				c.Rows = append(c.Rows, row)
			}
		}
	}
	return c, nil
}

// resumeOps are the steps of a run for another one that goes on from them. Invoked runs are not started again: their step keeps waiting for
// nobody, so it is delivered as failed.
func (d *Door) resumeOps(h *runHistory, at int64) []engine.Op {
	var ops []engine.Op
	for _, s := range h.steps {
		it := s.item
		if it.Kind == itemTakeover {
			continue // the new run begins as what the old one had become
		}
		if s.Seq > 0 && s.Kind != engine.ValueError {
			ops = append(ops, engine.Op{Kind: engine.OpStepDone, Step: s.Step, Value: s.Value, Input: mustJSON(&it), KeepInput: true, Started: s.Started, Ended: s.Ended})
			continue
		}
		if s.begun(d.nowMS()) {
			it.At = at
		}
		if s.Child != (engine.ID{}) && it.Await {
			var fields map[string]json.RawMessage
			if json.Unmarshal(it.Body, &fields) == nil {
				fields["out"] = mustJSON(string(mustJSON(invoked{IsFailed: true})))
				it.Body = mustJSON(fields)
			}
			it.Await = false
		}
		ops = append(ops, d.itemOp(s.Step, &it))
	}
	return ops
}

// waitAgain is the row of a step that goes on waiting in another run.
func (d *Door) waitAgain(h *runHistory, s *runStep, w *workflow, run engine.ID) (engine.RowPut, bool) {
	step, err := parseStepJSON(s.item.Body)
	if err != nil {
		return engine.RowPut{}, false
	}
	step.WaitTimeout = false
	v := &waiter{
		Run: run, RunID: w.RunID, StepID: s.ID, URL: h.w.URL, Header: http.Header{"Upstash-Workflow-Url": {h.w.URL}}, Deadline: s.item.At, TimeoutURL: h.w.URL,
		Step: mustJSON(step),
	}
	return engine.RowPut{Table: store.Meta, Key: d.waiterKey(s.item.Event, run, s.ID), Value: mustJSON(v)}, true
}

// repeatFailureCallback is POST /v2/workflows/dlq/callback/{id}: section 31.4.
func (d *Door) repeatFailureCallback(w http.ResponseWriter, r *http.Request, id string) error {
	d.changes.Lock()
	defer d.changes.Unlock()
	l, h, f, err := d.failureOf(r.Context(), id)
	if err != nil {
		return err
	}
	if f == nil || f.State != "CALLBACK_FAIL" {
		return badRequest("the failure callback of this run has not failed")
	}
	l.Callback = d.cfg.NewID(d.nowMS())
	if err := d.startFailureCallback(r.Context(), h, l, []engine.RowPut{d.deadRow(l)}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, triggered{RunID: h.w.RunID, CreatedAt: h.w.CreatedAt})
}

// cancelFailureCallback is DELETE /v2/workflows/dlq/callback/{id}.
func (d *Door) cancelFailureCallback(w http.ResponseWriter, r *http.Request, id string) error {
	l, h, f, err := d.failureOf(r.Context(), id)
	if err != nil {
		return err
	}
	if f == nil || f.State != "CALLBACK_INPROGRESS" {
		return badRequest("no failure callback of this run is in progress")
	}
	if _, err := d.cancel(r.Context(), l.Callback); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, triggered{RunID: h.w.RunID, CreatedAt: h.w.CreatedAt})
}

// failureOf reads a dead letter with its run and its failure callback.
func (d *Door) failureOf(ctx context.Context, id string) (*deadLetter, *runHistory, *failureView, error) {
	l, err := d.runDead(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	h, err := d.history(ctx, l.Run)
	if err != nil {
		return nil, nil, nil, err
	}
	if h == nil {
		return nil, nil, nil, notFound("DLQ message", id)
	}
	f, err := d.viewFailure(ctx, h.w, l)
	return l, h, f, err
}
