package qstash

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// A step that waits is planned for its time-out, with the step that says so as its input. A notification brings it forward with
// another input. Who waits for what stands in rows of Meta, written and deleted together with that.

const (
	defaultWait = 7 * 24 * 3600 // s: section 26.1
	maxWaitFor  = 2 * 365 * 24 * 3600
	maxEvent    = 1 << 10 // bytes of an event id
	maxNotes    = 200     // notifications kept for one run and event, some of which anybody can make who knows a webhook
)

// waitRequest is the body of a wait: section 26.1.
type waitRequest struct {
	URL            string                     `json:"url"`
	Timeout        json.RawMessage            `json:"timeout"`
	TimeoutURL     string                     `json:"timeoutUrl"`
	TimeoutHeaders map[string]json.RawMessage `json:"timeoutHeaders"`
	TimeoutBody    []byte                     `json:"timeoutBody"`
	Step           json.RawMessage            `json:"step"`
}

// waiter is a step that waits for an event.
type waiter struct {
	Run            engine.ID       `json:"run"`
	RunID          string          `json:"runId"`
	StepID         string          `json:"stepId"` // in the engine
	URL            string          `json:"url"`
	Header         http.Header     `json:"header"`
	Deadline       int64           `json:"deadline"` // ms
	TimeoutURL     string          `json:"timeoutUrl"`
	TimeoutHeaders http.Header     `json:"timeoutHeaders"`
	TimeoutBody    []byte          `json:"timeoutBody,omitempty"`
	Step           json.RawMessage `json:"step"`
}

// waiterView is a waiter as the API shows it: section 26.3.
type waiterView struct {
	URL            string      `json:"url"`
	Headers        http.Header `json:"headers"`
	Deadline       int64       `json:"deadline"` // s
	TimeoutURL     string      `json:"timeoutUrl"`
	TimeoutHeaders http.Header `json:"timeoutHeaders"`
	TimeoutBody    []byte      `json:"timeoutBody,omitempty"`
}

func (v *waiter) view() waiterView {
	h := v.Header.Clone()
	h["Upstash-Workflow-Runid"] = []string{v.RunID}
	return waiterView{v.URL, h, v.Deadline / 1000, v.TimeoutURL, orEmpty(v.TimeoutHeaders), v.TimeoutBody}
}

// notified is the answer for one waiter.
type notified struct {
	Waiter       waiterView `json:"waiter"`
	MessageID    string     `json:"messageId"`
	Deduplicated bool       `json:"deduplicated"`
	RunID        string     `json:"workflowRunId"`
	CreatedAt    int64      `json:"workflowCreatedAt"`
}

func (d *Door) waiterKey(event string, run engine.ID, step string) []byte {
	return d.metaKey("waiter", event+"\x00"+run.String()+step)
}

func (d *Door) notePrefix(run engine.ID, event string) []byte {
	return d.metaKey("note", run.String()+event+"\x00")
}

// eventID reads an event's id from a path.
func eventID(raw string) (string, error) {
	id, err := url.PathUnescape(raw)
	switch {
	case err != nil:
		return "", badRequest("%v", err)
	case id == "":
		return "", badRequest("the event id is missing")
	case len(id) > maxEvent || strings.ContainsRune(id, 0):
		return "", badRequest("the event id is longer than %d bytes or has a NUL", maxEvent)
	}
	return id, nil
}

// serveWait is POST /v2/wait/{eventId}.
func (d *Door) serveWait(w http.ResponseWriter, r *http.Request, rest string) error {
	if err := allow(r, http.MethodPost); err != nil {
		return err
	}
	event, err := eventID(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return err
	}
	body, err := d.readBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	var in waitRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return badRequest("the body of a wait is not understood: %v", err)
	}
	all, err := mergeHeaders(r.Header, nil)
	if err != nil {
		return err
	}
	run, err := parseRunHeaders(all)
	if err != nil {
		return err
	}
	if run == nil {
		return badRequest("Upstash-Workflow-RunId is missing")
	}
	cfg, err := readConfig(all, ownPrefix, 0)
	if err != nil {
		return err
	}
	if _, err := parseStepJSON(in.Step); err != nil {
		return err
	}
	wait := int64(defaultWait)
	if text := strings.Trim(string(in.Timeout), `" `); text != "" && text != "null" {
		if wait, err = parseSeconds(text); err != nil || wait > maxWaitFor {
			return badRequest("timeout: %s is no duration of at most two years", text)
		}
	}
	timeoutHeaders, err := itemHeader(in.TimeoutHeaders)
	if err != nil {
		return err
	}
	s := &submission{run: run, config: cfg}
	v := &waiter{
		RunID: run.runID, URL: in.URL, Header: waiterHeader(all), Deadline: d.nowMS() + wait*1000, TimeoutURL: in.TimeoutURL, TimeoutHeaders: timeoutHeaders,
		TimeoutBody: in.TimeoutBody, Step: in.Step,
	}
	id, err := d.wait(r.Context(), s, v, event)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"messageId": id})
}

// waiterHeader are the headers that a waiter is shown with.
func waiterHeader(all http.Header) http.Header {
	out := http.Header{}
	for k, v := range all {
		if strings.HasPrefix(k, "Upstash-Workflow-") || k == "Content-Type" || k == "Upstash-Feature-Set" {
			out[k] = v
		}
	}
	return out
}

// wait makes a step wait for an event, or go on at once with a notification that came before it.
func (d *Door) wait(ctx context.Context, s *submission, v *waiter, event string) (messageID string, err error) {
	d.changes.Lock()
	defer d.changes.Unlock()
	run, ok, err := d.findRun(ctx, v.RunID)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", errOver(v.RunID)
	}
	step, err := parseStepJSON(v.Step)
	if err != nil {
		return "", err
	}
	v.Run, v.StepID = run, step.id()
	w, err := d.loadWorkflow(ctx, run)
	if err == nil && w == nil {
		err = errOver(v.RunID)
	}
	if err != nil {
		return "", err
	}
	it := &item{Kind: itemStep, Event: event}
	it.Config, it.Own = s.own(w)
	show := step.show(v.StepID)
	show.Opts = mustJSON(map[string]any{"event": event, "until": v.Deadline})
	cmd := &engine.Drive{Run: run}
	note, data, err := d.firstNote(ctx, run, event)
	if err != nil {
		return "", err
	}
	if note != nil {
		it.Body = waited(v.Step, event, data)
		cmd.Rows = []engine.RowPut{{Table: store.Meta, Key: note}}
	} else {
		it.Body, it.At, it.Await = waited(v.Step, event, nil), v.Deadline, true
		cmd.Rows = []engine.RowPut{{Table: store.Meta, Key: d.waiterKey(event, run, v.StepID), Value: mustJSON(v)}}
	}
	cmd.Ops = []engine.Op{d.itemOp(show, it)}
	rep, err := d.cfg.Host.Submit(ctx, cmd)
	if err != nil {
		return "", err
	}
	if rep.(engine.DriveReply) == engine.DriveUnknown {
		return "", errOver(v.RunID)
	}
	return stepMessageID(run, v.StepID), nil
}

// waited is the JSON of a step that waited: with the data that came, or with nil as one whose time is up. Section 26.2.
func waited(step json.RawMessage, event string, data []byte) []byte {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(step, &fields); err != nil {
		return step // it was checked when it came
	}
	fields["waitEventId"] = mustJSON(event)
	fields["waitTimeout"] = mustJSON(data == nil)
	if data != nil {
		fields["out"] = mustJSON(base64.StdEncoding.EncodeToString(data))
	}
	return mustJSON(fields)
}

// serveNotify is POST /v2/notify/{eventId} and POST /v2/notify/{runId}/{eventId}: sections 26.3 and 26.4.
func (d *Door) serveNotify(w http.ResponseWriter, r *http.Request, rest string) error {
	if err := allow(r, http.MethodPost); err != nil {
		return err
	}
	first, second, one := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	raw := first
	if one {
		raw = second
	}
	event, err := eventID(raw)
	if err != nil {
		return err
	}
	data, err := d.readBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	if !one {
		list, err := d.notify(r.Context(), event, nil, orNothing(data))
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, list)
	}
	runID, err := url.PathUnescape(first)
	if err != nil {
		return badRequest("%v", err)
	}
	run, ok, err := d.findRun(r.Context(), runID)
	if err != nil {
		return err
	}
	if !ok {
		// The library does not encode ids, so this may be one of an event that has a slash.
		list, err := d.notify(r.Context(), runID+"/"+event, nil, orNothing(data))
		if err == nil && len(list) == 0 && strings.HasPrefix(runID, "wfr_") {
			err = notFound("workflow run", runID)
		}
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, list)
	}
	list, err := d.notifyRun(r.Context(), run, event, orNothing(data))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list)
}

// notifyRun notifies one run, or remembers the notification until a step of it waits.
func (d *Door) notifyRun(ctx context.Context, run engine.ID, event string, data []byte) ([]notified, error) {
	d.changes.Lock()
	defer d.changes.Unlock()
	list, err := d.notify(ctx, event, &run, data)
	if err != nil || len(list) > 0 {
		return list, err
	}
	row, err := history.Run(ctx, d.cfg.Host, run)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Status.Ended() {
		return nil, &inputError{http.StatusNotFound, "the workflow run has ended"}
	}
	prefix := d.notePrefix(run, event)
	notes, err := d.cfg.Host.Scan(ctx, store.Query{Table: store.Meta, Prefix: prefix, Limit: maxNotes})
	if err != nil {
		return nil, err
	}
	if len(notes) == maxNotes {
		return nil, &inputError{http.StatusTooManyRequests, fmt.Sprintf("%d notifications of this event wait for the run already", maxNotes)}
	}
	id := d.cfg.NewID(d.nowMS())
	// As an op on the run, it is written only while that goes on.
	rep, err := d.cfg.Host.Submit(ctx, &engine.Drive{Run: run, Rows: []engine.RowPut{{Table: store.Meta, Key: append(prefix, id[:]...), Value: data}}})
	if err == nil && rep.(engine.DriveReply) == engine.DriveUnknown {
		err = &inputError{http.StatusNotFound, "the workflow run has ended"}
	}
	return []notified{}, err
}

// firstNote is the oldest notification that waits for a run; its key is nil when there is none.
func (d *Door) firstNote(ctx context.Context, run engine.ID, event string) (key, data []byte, err error) {
	rows, err := d.cfg.Host.Scan(ctx, store.Query{Table: store.Meta, Prefix: d.notePrefix(run, event), Limit: 1})
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	return rows[0].Key, orNothing(rows[0].Value), nil
}

// waiters gives everyone who waits for an event to fn, only those of one run if it is not nil.
func (d *Door) waiters(ctx context.Context, event string, run *engine.ID, fn func(key []byte, v *waiter) error) error {
	prefix := event + "\x00"
	if run != nil {
		prefix += run.String()
	}
	q := store.Query{Table: store.Meta, Prefix: d.metaKey("waiter", prefix), Limit: 1000}
	for {
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return err
		}
		for _, row := range rows {
			v := &waiter{}
			if err := json.Unmarshal(row.Value, v); err != nil {
				return err
			}
			if err := fn(row.Key, v); err != nil {
				return err
			}
			q.From = append(row.Key, 0)
		}
		if len(rows) < q.Limit {
			return nil
		}
	}
}

// notify brings forward everyone who waits for an event.
func (d *Door) notify(ctx context.Context, event string, run *engine.ID, data []byte) ([]notified, error) {
	list := []notified{}
	err := d.waiters(ctx, event, run, func(key []byte, v *waiter) error {
		raw, ok, err := history.StepInput(ctx, d.cfg.Host, v.Run, v.StepID)
		if err != nil || !ok {
			return err // its run was deleted
		}
		it := &item{}
		if err := json.Unmarshal(raw, it); err != nil {
			return err
		}
		it.Body, it.At, it.Await = waited(v.Step, event, data), 0, false
		rep, err := d.cfg.Host.Submit(ctx, &engine.Drive{
			Run: v.Run, Ops: []engine.Op{d.itemOp(engine.Step{ID: v.StepID}, it)}, Rows: []engine.RowPut{{Table: store.Meta, Key: key}},
		})
		if err != nil {
			return err
		}
		if rep.(engine.DriveReply) == engine.DriveDone {
			list = append(list, notified{Waiter: v.view(), MessageID: stepMessageID(v.Run, v.StepID), RunID: v.RunID, CreatedAt: created(v.Run)})
		}
		return nil // its time was up, or its run has ended
	})
	return list, err
}

// serveWaiters is GET /v2/waiters/{eventId}.
func (d *Door) serveWaiters(w http.ResponseWriter, r *http.Request, rest string) error {
	if err := allow(r, http.MethodGet); err != nil {
		return err
	}
	event, err := eventID(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return err
	}
	list := []waiterView{}
	now := d.nowMS()
	err = d.waiters(r.Context(), event, nil, func(_ []byte, v *waiter) error {
		row, err := history.Run(r.Context(), d.cfg.Host, v.Run)
		if err == nil && row != nil && !row.Status.Ended() && v.Deadline > now {
			list = append(list, v.view())
		}
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list)
}

// hookCall is a call of a webhook as the step that waits for it gets it: section 26.6.
type hookCall struct {
	Method string      `json:"method"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
	Proto  string      `json:"proto"`
	Host   string      `json:"host"`
	URL    string      `json:"url"`
}

// maxHook bounds the body of a call of a webhook, which anybody can make who knows its URL.
const maxHook = 1 << 20

// serveHook is any method on /v2/workflows/hooks/{userId}/{runId}/{eventId}.
func (d *Door) serveHook(w http.ResponseWriter, r *http.Request, rest string) error {
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return notFound("webhook", r.URL.Path)
	}
	runID, err := url.PathUnescape(parts[1])
	if err != nil {
		return badRequest("%v", err)
	}
	event, err := eventID(parts[2])
	if err != nil {
		return err
	}
	body, err := d.readBody(w, r, maxHook)
	if err != nil {
		return err
	}
	run, ok, err := d.findRun(r.Context(), runID)
	if err != nil {
		return err
	}
	if !ok {
		return notFound("webhook", r.URL.Path)
	}
	proto := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		proto = "https"
	}
	call := mustJSON(hookCall{Method: r.Method, Header: r.Header, Body: orNothing(body), Proto: proto, Host: r.Host, URL: r.RequestURI})
	if _, err := d.notifyRun(r.Context(), run, event, call); err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return done(w)
}

// isHook says that a request needs no key: the URL of a webhook is public, and cannot be guessed.
func isHook(r *http.Request) bool {
	const prefix = "/v2/workflows/hooks/"
	return len(r.URL.Path) > len(prefix) && strings.EqualFold(r.URL.Path[:len(prefix)], prefix)
}
