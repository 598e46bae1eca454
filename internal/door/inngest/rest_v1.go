package inngest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// The REST API of section 22. Errors have real status codes.

// envelope is the success shape of section 2.3.
func (d *Door) envelope(w http.ResponseWriter, data any, cached time.Duration) {
	now := d.cfg.Now().UTC()
	meta := map[string]any{"fetched_at": now.Format(time.RFC3339Nano)}
	if cached > 0 {
		meta["cached_until"] = now.Add(cached).Format(time.RFC3339Nano)
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": data, "metadata": meta})
}

type v1Event struct {
	InternalID    string          `json:"internal_id"`
	AccountID     string          `json:"account_id"`
	EnvironmentID string          `json:"environment_id"`
	Source        string          `json:"source"`
	SourceID      *string         `json:"source_id"`
	ReceivedAt    string          `json:"received_at"`
	ID            string          `json:"id"`
	Name          string          `json:"name"`
	Data          json.RawMessage `json:"data"`
	User          json.RawMessage `json:"user,omitempty"`
	TS            int64           `json:"ts"`
	V             *string         `json:"v,omitempty"`
}

func eventV1(e *engine.EventRow) v1Event {
	out := v1Event{
		InternalID: e.ID.String(), AccountID: uuidText(accountID), EnvironmentID: uuidText(envID(e.Env)), Source: e.Source,
		ReceivedAt: rfc3339(e.Received), ID: e.UserID(), Name: e.Name, Data: orNull(e.Data), User: e.User, TS: e.TS,
	}
	if e.V != "" {
		out.V = &e.V
	}
	return out
}

// accountID is the one account of a self-hosted server.
var accountID = appID("", "account")

func envID(env string) engine.UUID { return appID(env, "\x00environment") }

func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

func rfc3339OrNil(ms int64) *string {
	if ms == 0 {
		return nil
	}
	s := rfc3339(ms)
	return &s
}

// listEvents is GET /v1/events.
func (d *Door) listEvents(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	q := r.URL.Query()
	limit := 20
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			writeError(w, http.StatusBadRequest, "", "Invalid limit query parameter: "+s)
			return
		}
		limit = min(max(n, 1), 100)
	}
	sq := store.Query{Table: store.Events, Prefix: engine.EnvPrefix(env.Name), Desc: true, Limit: limit}
	if name := q.Get("name"); name != "" {
		sq.Tags[0] = engine.EventNameTag(env.Name, name)
	} else {
		sq.Tags[1] = engine.EventExternalTag(env.Name)
	}
	if s := q.Get("cursor"); s != "" {
		id, err := ulid.ParseStrict(s)
		if err != nil {
			writeError(w, http.StatusBadRequest, "", "Invalid cursor query parameter")
			return
		}
		sq.To = engine.EventKey(env.Name, id)
	}
	for param, bound := range map[string]*[]byte{"received_after": &sq.From, "received_before": &sq.To} {
		s := q.Get(param)
		if s == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			writeError(w, http.StatusBadRequest, "", "Invalid "+param+" query parameter: "+s)
			return
		}
		var id ulid.ULID
		if id.SetTime(uint64(max(0, t.UnixMilli()))) == nil && *bound == nil {
			*bound = engine.EventKey(env.Name, id)
		}
	}
	rows, err := d.cfg.Host.Scan(r.Context(), sq)
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	out := make([]v1Event, 0, len(rows))
	for _, row := range rows {
		e, err := engine.ParseEventRow(row.Value)
		if err != nil {
			d.writeFailure(w, r, err)
			return
		}
		out = append(out, eventV1(e))
	}
	d.envelope(w, out, 0)
}

// getEvent is GET /v1/events/{event}.
func (d *Door) getEvent(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	id, err := ulid.ParseStrict(r.PathValue("event"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid event ID: "+r.PathValue("event"))
		return
	}
	e, err := history.Event(r.Context(), d.cfg.Host, env.Name, id)
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	if e == nil {
		writeError(w, http.StatusNotFound, "", "Event not found")
		return
	}
	d.envelope(w, eventV1(e), 5*time.Second)
}

type v1Run struct {
	RunID           string          `json:"run_id"`
	RunStartedAt    string          `json:"run_started_at"`
	FunctionID      string          `json:"function_id"`
	FunctionVersion int             `json:"function_version"`
	EnvironmentID   string          `json:"environment_id"`
	EventID         string          `json:"event_id"`
	BatchID         *string         `json:"batch_id,omitempty"`
	OriginalRunID   *string         `json:"original_run_id,omitempty"`
	Cron            *string         `json:"cron,omitempty"`
	Status          string          `json:"status"`
	EndedAt         *string         `json:"ended_at"`
	Output          json.RawMessage `json:"output,omitempty"`
}

func runV1(run *engine.RunRow) v1Run {
	started := run.Started
	if started == 0 {
		started = run.QueuedAt
	}
	out := v1Run{
		RunID: run.ID.String(), RunStartedAt: rfc3339(started), FunctionID: uuidText(run.Fn), FunctionVersion: run.Version,
		EnvironmentID: uuidText(envID(run.Env)), Status: titleStatus(run.Status), EndedAt: rfc3339OrNil(run.Ended), Output: run.Output,
	}
	if len(run.Events) > 0 {
		out.EventID = run.Events[0].String()
	}
	if run.Batch != (engine.ID{}) {
		s := run.Batch.String()
		out.BatchID = &s
	}
	if run.Original != (engine.ID{}) {
		s := run.Original.String()
		out.OriginalRunID = &s
	}
	if run.Cron != "" {
		out.Cron = &run.Cron
	}
	if run.Status == engine.Cancelled {
		out.Output = json.RawMessage("{}")
	}
	return out
}

// eventRuns is GET /v1/events/{event}/runs.
func (d *Door) eventRuns(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	id, err := ulid.ParseStrict(r.PathValue("event"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid event ID: "+r.PathValue("event"))
		return
	}
	runs, err := history.RunsOfEvent(r.Context(), d.cfg.Host, id)
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	out := make([]v1Run, 0, len(runs))
	for _, run := range runs {
		out = append(out, runV1(run))
	}
	d.envelope(w, out, 15*time.Second)
}

// pathRun reads the {run} of a path and loads the run, or answers the request with why not.
func (d *Door) pathRun(w http.ResponseWriter, r *http.Request, missing string) *engine.RunRow {
	id, err := ulid.ParseStrict(r.PathValue("run"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid run ID: "+r.PathValue("run"))
		return nil
	}
	run, err := history.Run(r.Context(), d.cfg.Host, id)
	if err != nil {
		d.writeFailure(w, r, err)
		return nil
	}
	if run == nil {
		writeError(w, http.StatusNotFound, "", fmt.Sprintf(missing, id))
		return nil
	}
	return run
}

// getRun is GET /v1/runs/{run}.
func (d *Door) getRun(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	if run := d.pathRun(w, r, "Unable to load function run: %s"); run != nil {
		d.envelope(w, runV1(run), 0)
	}
}

// cancelV1 is DELETE /v1/runs/{run}; it can be repeated.
func (d *Door) cancelV1(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	run := d.pathRun(w, r, "Unable to load function run: %s")
	if run == nil {
		return
	}
	if _, err := d.cfg.Host.Submit(r.Context(), &engine.Cancel{Run: run.ID, Reason: "cancelled through the API"}); err != nil {
		d.writeFailure(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// cancelV0 is DELETE /v0/runs/{run}.
func (d *Door) cancelV0(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	run := d.pathRun(w, r, "A function run with the given ID could not be found: %s")
	if run == nil {
		return
	}
	v, err := d.cfg.Host.Submit(r.Context(), &engine.Cancel{Run: run.ID, Reason: "cancelled through the API"})
	switch {
	case err != nil:
		d.writeFailure(w, r, err)
	case !v.(bool):
		writeError(w, http.StatusConflict, "", "The function run has already ended: "+run.ID.String())
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// runJobs is GET /v1/runs/{run}/jobs: what the run waits for.
func (d *Door) runJobs(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	run := d.pathRun(w, r, "Unable to load function run: %s")
	if run == nil {
		return
	}
	v, err := d.cfg.Host.Submit(r.Context(), &engine.Explain{Run: run.ID})
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	type job struct {
		JobID    string `json:"JobID"`
		At       string `json:"at"`
		Position int    `json:"position"`
		Kind     string `json:"kind"`
		Attempt  int    `json:"attempt"`
		Raw      any    `json:"Raw"`
	}
	jobs := []job{}
	for i, w := range v.(engine.Explanation).Reasons {
		at := w.Until
		if at == 0 {
			at = d.cfg.Now().UnixMilli()
		}
		jobs = append(jobs, job{JobID: run.ID.String() + "-" + strconv.Itoa(i), At: rfc3339(at), Position: i, Kind: w.What, Raw: w})
	}
	d.envelope(w, jobs, 0)
}

// signal is POST /v1/signals: section 21.1.
func (d *Door) signal(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	var in struct {
		Signal string          `json:"signal"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxValueBytes)).Decode(&in); err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid signal data")
		return
	}
	if in.Signal == "" {
		writeError(w, http.StatusBadRequest, "", "Invalid signal data: signal is required")
		return
	}
	value, err := json.Marshal(map[string]any{"signal": in.Signal, "data": json.RawMessage(orNull(in.Data))})
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid signal data")
		return
	}
	v, err := d.cfg.Host.Submit(r.Context(), &engine.Signal{Env: env.Name, Name: in.Signal, Value: value})
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	reply := v.(engine.SignalReply)
	if !reply.Found {
		writeError(w, http.StatusNotFound, "", "No signal found")
		return
	}
	d.envelope(w, map[string]string{"run_id": reply.Run.String()}, 0)
}

// appFunctions is GET /v1/apps/{app}/functions: a bare array.
func (d *Door) appFunctions(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	rows, err := d.cfg.Host.Scan(r.Context(), store.Query{Table: store.Functions, Prefix: engine.EnvPrefix(env.Name), Limit: store.MaxLimit})
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	out := []any{}
	for _, row := range rows {
		var f engine.Function
		var t target
		if json.Unmarshal(row.Value, &f) != nil || f.App != r.PathValue("app") || f.Archived || json.Unmarshal(f.Config, &t) != nil {
			continue
		}
		var config map[string]any
		if json.Unmarshal(t.Wire, &config) != nil {
			continue
		}
		config["id"], config["fv"], config["slug"] = uuidText(f.ID), f.Version, f.Slug
		config["steps"] = []any{map[string]any{"id": "step", "name": f.Name, "uri": t.URL, "retries": f.MaxAttempts - 1}}
		out = append(out, map[string]any{
			"internal_id": uuidText(f.ID), "env_id": uuidText(envID(env.Name)), "app_id": uuidText(appID(env.Name, f.App)), "id": f.Slug,
			"name": f.Name, "config": config, "created_at": nil, "archived_at": nil,
		})
	}
	writeJSON(w, http.StatusOK, out)
}

// cancellation is a bulk cancellation: section 22.6.
type cancellation struct {
	ID            string  `json:"id"`
	EnvironmentID string  `json:"environment_id"`
	AppID         string  `json:"app_id"`
	FunctionID    string  `json:"function_id"`
	StartedAfter  *string `json:"started_after"`
	StartedBefore string  `json:"started_before"`
	If            string  `json:"if,omitempty"`
	Cancelled     int     `json:"cancelled"`
}

// bulkCancel is POST /v1/cancellations.
func (d *Door) bulkCancel(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	var in struct {
		AppID         string  `json:"app_id"`
		FunctionID    string  `json:"function_id"`
		StartedAfter  *string `json:"started_after"`
		StartedBefore *string `json:"started_before"`
		If            *string `json:"if"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid request: "+err.Error())
		return
	}
	now := d.cfg.Now()
	var problems []string
	var after, before time.Time
	instant := func(name string, s *string) (t time.Time) {
		t, err := time.Parse(time.RFC3339, *s)
		if err != nil {
			problems = append(problems, name+" is not an RFC 3339 time")
		}
		return t
	}
	if in.AppID == "" {
		problems = append(problems, "app_id is required")
	}
	if in.FunctionID == "" {
		problems = append(problems, "function_id is required")
	}
	if in.StartedBefore == nil {
		problems = append(problems, "started_before is required")
	} else if before = instant("started_before", in.StartedBefore); before.After(now.Add(5 * time.Second)) {
		problems = append(problems, "started_before is in the future")
	}
	if in.StartedAfter != nil {
		if after = instant("started_after", in.StartedAfter); in.StartedBefore != nil && after.After(before) {
			problems = append(problems, "started_after is later than started_before")
		}
	}
	match := func(*engine.EventRow) bool { return true }
	if in.If != nil && *in.If != "" {
		p, err := programs.Get(*in.If)
		if err != nil {
			problems = append(problems, "if: "+err.Error())
		} else {
			match = func(row *engine.EventRow) bool {
				ev := row.Event()
				ok, err := p.Bool(exprVars(ev.Value(), now))
				return err == nil && ok
			}
		}
	}
	if len(problems) > 0 {
		writeError(w, http.StatusBadRequest, "", strings.Join(problems, "\n"))
		return
	}
	row, ok, err := d.cfg.Host.Get(r.Context(), store.Functions, engine.FunctionKey(env.Name, in.AppID+"-"+in.FunctionID))
	if err == nil && !ok { // it may have been given with the app's name
		row, ok, err = d.cfg.Host.Get(r.Context(), store.Functions, engine.FunctionKey(env.Name, in.FunctionID))
	}
	var fn engine.Function
	if err == nil && ok {
		err = json.Unmarshal(row, &fn)
	}
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	if !ok || fn.App != in.AppID {
		writeError(w, http.StatusNotFound, "", "function not found")
		return
	}
	from := int64(0)
	if in.StartedAfter != nil {
		from = after.UnixMilli()
	}
	n, err := d.cancelMatching(r.Context(), &fn, from, before.UnixMilli(), match)
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	c := cancellation{
		ID: ulid.Make().String(), EnvironmentID: uuidText(envID(env.Name)), AppID: in.AppID, FunctionID: uuidText(fn.ID),
		StartedAfter: in.StartedAfter, StartedBefore: *in.StartedBefore, Cancelled: n,
	}
	if in.If != nil {
		c.If = *in.If
	}
	value, err := json.Marshal(c)
	if err == nil {
		_, err = d.cfg.Host.Submit(r.Context(), &engine.Put{Rows: []engine.RowPut{{Table: store.Jobs, Key: cancellationKey(env.Name, c.ID), Value: value}}})
	}
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	d.envelope(w, c, 0)
}

func cancellationKey(env, id string) []byte {
	return append(engine.EnvPrefix(env), "cancellation/"+id...)
}

// cancelMatching cancels the unfinished runs of a function created within a time range whose event matches.
func (d *Door) cancelMatching(ctx context.Context, fn *engine.Function, from, to int64, match func(*engine.EventRow) bool) (int, error) {
	v, err := d.cfg.Host.Submit(ctx, &engine.LiveRuns{Fn: fn.ID, After: from, Before: to})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range v.([]engine.ID) {
		run, err := history.Run(ctx, d.cfg.Host, id)
		if err != nil {
			return n, err
		}
		if run == nil || len(run.Events) == 0 {
			continue
		}
		ev, err := history.Event(ctx, d.cfg.Host, run.Env, run.Events[0])
		if err != nil {
			return n, err
		}
		if ev == nil || !match(ev) {
			continue
		}
		done, err := d.cfg.Host.Submit(ctx, &engine.Cancel{Run: id, Reason: "cancelled in bulk"})
		if err != nil {
			return n, err
		}
		if done.(bool) {
			n++
		}
	}
	return n, nil
}

// listCancellations is GET /v1/cancellations.
func (d *Door) listCancellations(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	rows, err := d.cfg.Host.Scan(r.Context(), store.Query{Table: store.Jobs, Prefix: cancellationKey(env.Name, ""), Desc: true})
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	out := make([]json.RawMessage, 0, len(rows))
	for _, row := range rows {
		out = append(out, row.Value)
	}
	d.envelope(w, out, 0)
}

// deleteCancellation is DELETE /v1/cancellations/{id}. What it cancelled stays cancelled.
func (d *Door) deleteCancellation(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	id, err := ulid.ParseStrict(r.PathValue("id"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid cancellation ID: "+r.PathValue("id"))
		return
	}
	key := cancellationKey(env.Name, id.String())
	_, ok, err := d.cfg.Host.Get(r.Context(), store.Jobs, key)
	if err == nil && !ok {
		writeError(w, http.StatusNotFound, "", "cancellation not found")
		return
	}
	if err == nil {
		_, err = d.cfg.Host.Submit(r.Context(), &engine.Put{Rows: []engine.RowPut{{Table: store.Jobs, Key: key}}})
	}
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	d.envelope(w, map[string]bool{"ok": true}, 0)
}
