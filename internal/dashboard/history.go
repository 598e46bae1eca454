package dashboard

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// maxPage is the most rows that one list request returns.
const maxPage = 200

type eventView struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Key      string          `json:"key,omitempty"`
	TS       int64           `json:"ts"`
	Received int64           `json:"received"`
	Internal bool            `json:"internal"`
	Source   string          `json:"source"`
	Runs     []runView       `json:"runs"`
	Data     json.RawMessage `json:"data,omitempty"`
	User     json.RawMessage `json:"user,omitempty"`
	V        string          `json:"v,omitempty"`
	Meta     json.RawMessage `json:"meta,omitempty"`
}

type runView struct {
	ID       string          `json:"id"`
	Function string          `json:"function"`
	App      string          `json:"app"`
	Status   engine.Status   `json:"status"`
	Trigger  string          `json:"trigger"`
	Cron     string          `json:"cron,omitempty"`
	Events   []string        `json:"events"`
	Batch    string          `json:"batch,omitempty"`
	Original string          `json:"original,omitempty"`
	Parent   string          `json:"parent,omitempty"`
	Existing string          `json:"existing,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	QueuedAt int64           `json:"queuedAt"`
	StartAt  int64           `json:"startAt,omitempty"`
	Started  int64           `json:"startedAt,omitempty"`
	Ended    int64           `json:"endedAt,omitempty"`
	Version  int             `json:"version"`
	Output   json.RawMessage `json:"output,omitempty"`
}

type stepView struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Type     string          `json:"type"`
	State    string          `json:"state"`
	Kind     string          `json:"kind"`
	Opts     json.RawMessage `json:"opts,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	Seq      int             `json:"seq"`
	Attempt  int             `json:"attempt"`
	QueuedAt int64           `json:"queuedAt"`
	Started  int64           `json:"startedAt,omitempty"`
	Ended    int64           `json:"endedAt,omitempty"`
	Due      int64           `json:"dueAt,omitempty"`
	Child    string          `json:"childRun,omitempty"`
	Event    string          `json:"event,omitempty"`
}

type attemptView struct {
	Step    string          `json:"step,omitempty"` // id; absent for the function itself
	Name    string          `json:"name,omitempty"`
	Attempt int             `json:"attempt"`
	Error   json.RawMessage `json:"error"`
	Final   bool            `json:"final"`
	RetryAt int64           `json:"retryAt,omitempty"`
	Started int64           `json:"startedAt"`
	Ended   int64           `json:"endedAt"`
	Status  int             `json:"httpStatus,omitempty"`
	Headers json.RawMessage `json:"httpHeaders,omitempty"`
	Body    string          `json:"httpBody,omitempty"`
}

func idText(id engine.ID) string {
	if id == (engine.ID{}) {
		return ""
	}
	return id.String()
}

func viewEvent(e *engine.EventRow, payload bool) eventView {
	v := eventView{ID: e.ID.String(), Name: e.Name, Key: e.Key, TS: e.TS, Received: e.Received, Internal: e.Internal, Source: e.Source, Runs: []runView{}}
	if payload {
		v.Data, v.User, v.V, v.Meta = rawJSON(e.Data), rawJSON(e.User), e.V, rawJSON(e.Meta)
	}
	return v
}

func viewRun(r *engine.RunRow, output bool) runView {
	v := runView{
		ID: r.ID.String(), Function: r.Slug, App: r.App, Status: r.Status, Trigger: r.Trigger, Cron: r.Cron, Events: []string{},
		Batch: idText(r.Batch), Original: idText(r.Original), Parent: idText(r.Parent), Existing: idText(r.Existing), Reason: r.Reason,
		QueuedAt: r.QueuedAt, StartAt: r.StartAt, Started: r.Started, Ended: r.Ended, Version: r.Version,
	}
	for _, id := range r.Events {
		v.Events = append(v.Events, id.String())
	}
	if output {
		v.Output = rawJSON(r.Output)
	}
	return v
}

var valueKinds = map[engine.ValueKind]string{
	engine.ValueNone: "none", engine.ValueData: "data", engine.ValueError: "error", engine.ValueRaw: "raw", engine.ValueInput: "input",
}

func viewStep(s *engine.StepRow) stepView {
	return stepView{
		ID: s.ID, Name: s.Name, Type: s.Type, State: s.State, Kind: valueKinds[s.Kind], Opts: rawJSON(s.Opts), Output: rawJSON(s.Value), Seq: s.Seq,
		Attempt: s.Attempt, QueuedAt: s.QueuedAt, Started: s.Started, Ended: s.Ended, Due: s.Due, Child: idText(s.Child), Event: idText(s.Event),
	}
}

// rawJSON passes JSON on and wraps what is none, so that one bad payload cannot break a page.
func rawJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	if json.Valid(b) {
		return b
	}
	q, _ := json.Marshal(string(b)) // strings always marshal
	return q
}

// page reads ?limit= and ?before=, the id of the last row of the previous page.
func page(r *http.Request) (limit int, before engine.ID, err error) {
	limit = 50
	q := r.URL.Query()
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			return 0, before, badRequest("limit must be a positive number")
		}
		limit = min(limit, maxPage)
	}
	if s := q.Get("before"); s != "" {
		if before, err = ulid.ParseStrict(s); err != nil {
			return 0, before, badRequest("before must be the id of a row")
		}
	}
	return limit, before, nil
}

func pathID(r *http.Request) (engine.ID, error) {
	id, err := ulid.ParseStrict(r.PathValue("id"))
	if err != nil {
		return id, badRequest("not an id: " + r.PathValue("id"))
	}
	return id, nil
}

// listEvents is GET /events?name=&internal=1&before=&limit=.
func (d *Dashboard) listEvents(w http.ResponseWriter, r *http.Request, env string) error {
	limit, before, err := page(r)
	if err != nil {
		return err
	}
	q := store.Query{Table: store.Events, Prefix: engine.EnvPrefix(env), Desc: true, Limit: limit}
	if name := r.URL.Query().Get("name"); name != "" {
		q.Tags[0] = engine.EventNameTag(env, name)
	} else if r.URL.Query().Get("internal") != "1" {
		q.Tags[1] = engine.EventExternalTag(env)
	}
	if before != (engine.ID{}) {
		q.To = engine.EventKey(env, before)
	}
	rows, err := d.cfg.Host.Scan(r.Context(), q)
	if err != nil {
		return err
	}
	out := make([]eventView, 0, len(rows))
	last := ""
	for _, row := range rows {
		e, err := engine.ParseEventRow(row.Value)
		if err != nil {
			return err
		}
		v := viewEvent(e, false)
		last = v.ID
		if v.Runs, err = d.eventRuns(r.Context(), e.ID); err != nil {
			return err
		}
		out = append(out, v)
	}
	writePage(w, "events", out, len(rows) == limit, last)
	return nil
}

// writePage answers a list. A full page names its last row, which the request for the next one gives back.
func writePage[T any](w http.ResponseWriter, name string, rows []T, full bool, last string) {
	next := ""
	if full {
		next = last
	}
	writeJSON(w, http.StatusOK, map[string]any{name: rows, "next": next})
}

// eventRuns are the runs that an event started, alone or in a batch.
func (d *Dashboard) eventRuns(ctx context.Context, id engine.ID) ([]runView, error) {
	runs, err := history.RunsOfEvent(ctx, d.cfg.Host, id)
	if err != nil {
		return nil, err
	}
	out := make([]runView, 0, len(runs))
	for _, run := range runs {
		out = append(out, viewRun(run, false))
	}
	return out, nil
}

// getEvent is GET /events/{id}?payload=0.
func (d *Dashboard) getEvent(w http.ResponseWriter, r *http.Request, env string) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	e, err := history.Event(r.Context(), d.cfg.Host, env, id)
	if err != nil {
		return err
	}
	if e == nil {
		return notFound("event", id.String())
	}
	v := viewEvent(e, payload(r))
	if v.Runs, err = d.eventRuns(r.Context(), id); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}

// listRuns is GET /runs?status=&function=&event=&before=&limit=.
func (d *Dashboard) listRuns(w http.ResponseWriter, r *http.Request, env string) error {
	limit, before, err := page(r)
	if err != nil {
		return err
	}
	p := r.URL.Query()
	q := store.Query{Table: store.Runs, Desc: true}
	if s := p.Get("function"); s != "" {
		f, err := d.loadFunction(r.Context(), env, s)
		if err != nil {
			return err
		}
		if f == nil {
			return notFound("function", s)
		}
		q.Tags[0] = engine.RunFunctionTag(f.ID)
	}
	if s := p.Get("status"); s != "" {
		st := engine.ParseStatus(s)
		if st == 0 {
			return badRequest("no such status: " + s)
		}
		q.Tags[1] = engine.RunStatusTag(env, st)
	}
	if s := p.Get("event"); s != "" {
		id, err := ulid.ParseStrict(s)
		if err != nil {
			return badRequest("event must be the id of an event")
		}
		q.Tags[2] = engine.RunEventTag(id)
	}
	if before != (engine.ID{}) {
		q.To = engine.RunKey(before)
	}
	out := make([]runView, 0, limit)
	last, more, err := d.fill(r.Context(), q, limit, func(row store.Row) (string, bool, error) {
		run, err := engine.ParseRunRow(row.Value)
		if err != nil {
			return "", false, err
		}
		shown := run.Env == env
		if shown {
			out = append(out, viewRun(run, false))
		}
		return run.ID.String(), shown, nil
	})
	if err != nil {
		return err
	}
	writePage(w, "runs", out, more, last)
	return nil
}

// maxFill bounds the scans that one page may take: a list of which almost nothing is shown must not become a walk over
// the whole table, so its pages may be short.
const maxFill = 20

// fill scans until limit rows are shown, since a row that a query cannot leave out would otherwise make a page short, or
// empty with more behind it. add takes a row and returns its name in a cursor and whether it is shown; last is the name of
// the last row read, more whether there may be others behind it.
func (d *Dashboard) fill(ctx context.Context, q store.Query, limit int, add func(store.Row) (string, bool, error)) (last string, more bool, err error) {
	q.Limit = limit
	shown := 0
	for range maxFill {
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return "", false, err
		}
		for i, row := range rows {
			name, ok, err := add(row)
			if err != nil {
				return "", false, err
			}
			last = name
			if ok {
				shown++
			}
			if shown == limit {
				return last, len(rows) == q.Limit || i < len(rows)-1, nil
			}
		}
		if len(rows) < q.Limit {
			return last, false, nil
		}
		q.Limit = maxPage
		if end := rows[len(rows)-1].Key; q.Desc {
			q.To = end
		} else {
			q.From = append(slices.Clone(end), 0)
		}
	}
	return last, true, nil
}

// payload is whether a request wants the payloads of events. They can be megabytes and never change, so a view that
// follows what happens leaves them out with ?payload=0 and fetches them once.
func payload(r *http.Request) bool { return r.URL.Query().Get("payload") != "0" }

// getRun is GET /runs/{id}?payload=0: everything the run page shows.
func (d *Dashboard) getRun(w http.ResponseWriter, r *http.Request, env string) error {
	run, err := d.loadRun(r, env)
	if err != nil {
		return err
	}
	ctx := r.Context()
	events := []eventView{}
	for _, id := range run.Events {
		e, err := history.Event(ctx, d.cfg.Host, env, id)
		if err != nil {
			return err
		}
		if e != nil {
			events = append(events, viewEvent(e, payload(r)))
		}
	}
	stepRows, err := history.Steps(ctx, d.cfg.Host, run.ID)
	if err != nil {
		return err
	}
	steps := make([]stepView, 0, len(stepRows))
	for _, s := range stepRows {
		steps = append(steps, viewStep(s))
	}
	attemptRows, err := history.Attempts(ctx, d.cfg.Host, run.ID)
	if err != nil {
		return err
	}
	attempts := make([]attemptView, 0, len(attemptRows))
	for _, a := range attemptRows {
		attempts = append(attempts, attemptView{
			Step: a.Step.ID, Name: a.Step.Name, Attempt: a.Attempt, Error: rawJSON(a.Error), Final: a.Final, RetryAt: a.RetryAt,
			Started: a.Call.Started, Ended: a.Call.Ended, Status: a.Call.Status, Headers: rawJSON(a.Call.Headers), Body: string(a.Call.Body),
		})
	}
	fn, err := d.loadFunction(ctx, env, run.Slug)
	if err != nil {
		return err
	}
	driven := fn != nil && fn.Driven
	var why engine.Explanation
	if !run.Status.Ended() {
		if why, err = shard.Do[engine.Explanation](ctx, d.cfg.Host, &engine.Explain{Run: run.ID}); err != nil {
			return err
		}
	}
	out := map[string]any{"run": viewRun(run, true), "events": events, "steps": steps, "attempts": attempts, "waiting": why, "driven": driven, "now": d.cfg.Now().UnixMilli()}
	tags, metadata, measures, err := d.cfg.About(ctx, run)
	if err != nil {
		return err
	}
	if len(tags) > 0 {
		out["tags"] = tags
	}
	if len(metadata) > 0 {
		out["metadata"] = rawJSON(metadata)
	}
	if len(measures) > 0 {
		out["measures"] = rawJSON(measures)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (d *Dashboard) loadRun(r *http.Request, env string) (*engine.RunRow, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	run, err := history.Run(r.Context(), d.cfg.Host, id)
	if err != nil {
		return nil, err
	}
	if run == nil || run.Env != env {
		return nil, notFound("run", id.String())
	}
	return run, nil
}

// sendEvents is POST /events with one event or a list: {"name", "data", "user"?, "id"?, "ts"?}.
func (d *Dashboard) sendEvents(w http.ResponseWriter, r *http.Request, env string) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		return &apiError{http.StatusRequestEntityTooLarge, "the request is larger than 4 MiB"}
	}
	ids, err := d.cfg.Send(r.Context(), env, body)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"ids": ids})
	return nil
}

// cancelRun is POST /runs/{id}/cancel.
func (d *Dashboard) cancelRun(w http.ResponseWriter, r *http.Request, env string) error {
	run, err := d.loadRun(r, env)
	if err != nil {
		return err
	}
	done, err := shard.Do[bool](r.Context(), d.cfg.Host, &engine.Cancel{Run: run.ID, Reason: "cancelled on the dashboard"})
	if err != nil {
		return err
	}
	if !done {
		return &apiError{http.StatusConflict, "the run has already ended"}
	}
	writeJSON(w, http.StatusOK, map[string]bool{"cancelled": true})
	return nil
}

// rerun is POST /runs/{id}/rerun with {} or {"fromStep": id, "input"?: [arguments]}.
func (d *Dashboard) rerun(w http.ResponseWriter, r *http.Request, env string) error {
	run, err := d.loadRun(r, env)
	if err != nil {
		return err
	}
	var in struct {
		FromStep string          `json:"fromStep"`
		Input    json.RawMessage `json:"input"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(&in); err != nil && err != io.EOF {
		return badRequest("invalid JSON: " + err.Error())
	}
	fn, err := d.loadFunction(r.Context(), env, run.Slug)
	if err != nil {
		return err
	}
	if fn != nil && fn.Driven {
		return d.rerunDriven(w, r, run.ID, in.FromStep)
	}
	start := &engine.Start{Env: env, Slug: run.Slug, Existing: true, Bypass: true, Original: run.ID}
	for _, id := range run.Events {
		e, err := history.Event(r.Context(), d.cfg.Host, env, id)
		if err != nil {
			return err
		}
		if e != nil {
			start.Events = append(start.Events, e.Event())
		}
	}
	if len(start.Events) == 0 {
		return &apiError{http.StatusConflict, "the event that started this run is no longer stored"}
	}
	if in.FromStep != "" {
		if start.Presets, err = d.presets(r.Context(), run.ID, in.FromStep, in.Input); err != nil {
			return err
		}
	}
	reply, err := shard.Do[engine.StartReply](r.Context(), d.cfg.Host, start)
	if err != nil {
		return err
	}
	if reply.Outcome != engine.Started {
		return &apiError{http.StatusConflict, "the function is no longer registered"}
	}
	writeJSON(w, http.StatusOK, map[string]string{"run": reply.Run.String()})
	return nil
}

// rerunDriven repeats a run whose steps its app submits: its door knows how they begin.
func (d *Dashboard) rerunDriven(w http.ResponseWriter, r *http.Request, run engine.ID, fromStep string) error {
	if fromStep != "" {
		return badRequest("a run of this kind can be rerun as a whole only")
	}
	id, err := d.cfg.Rerun(r.Context(), run)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"run": id.String()})
	return nil
}

// presets are the steps that were done before the one to start again from, and that step's new input if there is one.
func (d *Dashboard) presets(ctx context.Context, run engine.ID, from string, input json.RawMessage) ([]engine.StepRow, error) {
	steps, err := history.Steps(ctx, d.cfg.Host, run)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(steps, func(s *engine.StepRow) bool { return s.ID == from })
	if i < 0 {
		return nil, notFound("step", from)
	}
	var out []engine.StepRow
	for _, s := range steps[:i] {
		if s.Seq > 0 {
			out = append(out, *s)
		}
	}
	if len(input) > 0 && string(input) != "null" {
		if input[0] != '[' {
			return nil, badRequest("input must be the list of the step's arguments")
		}
		out = append(out, engine.StepRow{Step: steps[i].Step, Kind: engine.ValueInput, Value: input, QueuedAt: d.cfg.Now().UnixMilli()})
	}
	return out, nil
}
