package trigger

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 8: what became of runs.

func (d *Door) runRoutes() {
	d.route("GET /api/v3/runs/{run}", public, (*environment).getRun)
	d.route("GET /api/v1/runs", secret, (*environment).listRuns)
	d.route("POST /api/v2/runs/{run}/cancel", public, (*environment).cancelRun)
	d.route("POST /api/v1/runs/{run}/cancel", public, (*environment).cancelRun)
	d.route("POST /api/v1/runs/{run}/replay", secret, (*environment).replayRun)
	d.route("POST /api/v1/runs/{run}/reschedule", secret, (*environment).rescheduleRun)
	d.route("POST /api/v1/runs/{run}/tags", secret, (*environment).addTags)
	d.route("GET /api/v1/runs/{run}/result", secret, (*environment).runResult)
	d.route("GET /api/v1/runs/{run}/packets/{field}", public, (*environment).runPacket)
	d.route("PUT /api/v1/runs/{run}/metadata", secret, (*environment).putMetadata)
	d.route("GET /api/v1/runs/{run}/metadata", secret, (*environment).getMetadata)
}

// publicName is a status as the API has it: section 2.3.
func publicName(s string, old bool) string {
	if old {
		s = oldStatus(s)
	}
	switch s {
	case statusPending:
		return "QUEUED"
	case statusRetrying:
		if old {
			return "REATTEMPTING"
		}
		return "EXECUTING"
	case statusWaiting:
		if old {
			return "FROZEN"
		}
		return "WAITING"
	case statusDone:
		return "COMPLETED"
	case statusFailed:
		return "FAILED"
	}
	return s
}

// oldStatus is a status as clients of version 3 know it, whose lists are without the newer ones.
func oldStatus(s string) string {
	switch s {
	case statusVersion:
		return "WAITING_FOR_DEPLOY"
	case statusDequeued:
		return statusExecuting
	}
	return s
}

// oldAPI says that a client knows the statuses of version 3.
func oldAPI(r *http.Request) bool { return r.Header.Get("X-Trigger-Api-Version") == "" }

// common are the fields that every form of a run has.
func (env *environment) common(rec *record, status string, old bool) map[string]any {
	name := publicName(status, old)
	is := func(names ...string) bool { return slices.Contains(names, name) }
	completed := finalStatus(status)
	tags := slices.Clone(rec.note.Tags)
	if tags == nil {
		tags = []string{}
	}
	slices.Sort(tags)
	v := map[string]any{
		"id": friendly(runPrefix, rec.ID), "status": name, "taskIdentifier": rec.opts.Task,
		"isQueued": is("QUEUED", "DELAYED", "PENDING_VERSION", "WAITING_FOR_DEPLOY"), "isExecuting": is("EXECUTING", "DEQUEUED", "REATTEMPTING"), "isWaiting": is("WAITING", "FROZEN"),
		"isCompleted": completed, "isSuccess": status == statusDone, "isFailed": completed && status != statusDone, "isCancelled": status == statusCanceled,
		"isTest": rec.opts.Test, "createdAt": iso(rec.QueuedAt), "updatedAt": iso(max(rec.note.UpdatedAt, rec.Started, rec.Ended, rec.QueuedAt)),
		"tags": tags, "costInCents": 0, "baseCostInCents": 0, "durationMs": rec.note.DurationMs,
	}
	for k, at := range map[string]int64{"startedAt": rec.Started, "finishedAt": rec.Ended, "delayedUntil": rec.StartAt} {
		if at > 0 {
			v[k] = iso(at)
		}
	}
	if status == statusExpired {
		v["expiredAt"] = iso(rec.Ended)
	}
	for k, text := range map[string]string{"idempotencyKey": rec.opts.UserKey, "ttl": rec.opts.TTL} {
		if text != "" {
			v[k] = text
		}
	}
	if w := env.workers.named(rec.note.Worker); w != nil {
		v["version"] = w.Version
	}
	if len(rec.note.Metadata) > 0 {
		v["metadata"] = rec.note.Metadata
	}
	return v
}

// related is a run as its relatives show it.
func (env *environment) related(rec *record, status string, old bool) map[string]any {
	v := env.common(rec, status, old)
	v["depth"] = rec.opts.Depth
	f := "trigger"
	if rec.opts.Batch != "" {
		f, v["batchId"] = "batchTrigger", rec.opts.Batch
	}
	if rec.opts.Wait {
		f += "AndWait"
	}
	v["triggerFunction"] = f
	return v
}

// permitRun is who may read a run: section 13.3.
func permitRun(r *http.Request, rec *record, action string) error {
	return permitAction(r, action, rec.ID, rec.opts.Task, rec.opts.Batch, rec.note.Tags)
}

func permitAction(r *http.Request, action string, id engine.ID, task, batch string, tags []string) error {
	scopes := []string{action + ":runs:" + friendly(runPrefix, id), action + ":tasks:" + task, action + ":batch:" + batch}
	for _, t := range tags {
		scopes = append(scopes, action+":tags:"+t)
	}
	return permit(r, scopes...)
}

// getRun is GET /api/v3/runs/{run}.
func (env *environment) getRun(r *http.Request) (any, error) {
	ctx := r.Context()
	x, err := env.look(ctx, r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	rec := x.rec
	if err := permitRun(r, rec, "read"); err != nil {
		return nil, err
	}
	old := oldAPI(r)
	v := env.related(rec, x.status, old)
	v["attempts"], v["attemptCount"] = []any{}, rec.note.Attempt
	if rec.payload.Type == typeStore {
		if text, ok := rec.payload.text(); ok {
			v["payloadPresignedUrl"] = env.packetURL(r, text)
		}
	} else if rec.payload.Data != nil {
		v["payload"] = rec.payload.Data
	}
	if rec.Status == engine.Completed {
		if text, typ, ok := rec.output(); ok && typ == typeStore {
			v["outputPresignedUrl"] = env.packetURL(r, text)
		} else if ok {
			v["output"] = json.RawMessage(rec.Output)
		}
	} else if e := rec.failure(); e != nil && x.status != statusCanceled {
		v["error"] = serialized(e)
	}
	if id := rec.opts.Schedule; id != "" {
		if s, err := env.findSchedule(ctx, id); err == nil { // it may have been removed
			v["schedule"] = s.short()
		}
	}
	related := map[string]any{}
	for k, id := range map[string]string{"root": rec.opts.Root, "parent": rec.opts.Parent} {
		if id == "" {
			continue
		}
		if o, err := env.look(ctx, id); err == nil {
			related[k] = env.related(o.rec, o.status, old)
		}
	}
	ids, err := env.children(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	children := []any{}
	for _, id := range ids[:min(len(ids), 100)] {
		if o, err := env.look(ctx, friendly(runPrefix, id)); err == nil {
			children = append(children, env.related(o.rec, o.status, old))
		}
	}
	if len(children) > 0 {
		related["children"] = children
	}
	v["relatedRuns"] = related
	return v, nil
}

// serialized is an error as the API has it: section 8.1.
func serialized(e *taskError) map[string]any {
	v := map[string]any{"message": e.Message}
	switch {
	case e.Type == "INTERNAL_ERROR":
		v["name"] = e.Code
		if e.Message == "" {
			v["message"] = e.Code
		}
	case e.Raw != "":
		v["message"] = e.Raw
	case e.Name != "":
		v["name"] = e.Name
	}
	if e.StackTrace != "" {
		v["stackTrace"] = e.StackTrace
	}
	if len(e.Causes) > 0 {
		v["causes"] = e.Causes
	}
	return v
}

// runFilter is section 8.2.
type runFilter struct {
	status, tasks, versions, tags, queues, machines []string
	batch, schedule                                 string
	test                                            *bool
	from, to                                        int64
}

var publicStatuses = []string{
	"PENDING_VERSION", "QUEUED", "DEQUEUED", "EXECUTING", "WAITING", "COMPLETED", "CANCELED", "FAILED", "CRASHED", "SYSTEM_FAILURE", "DELAYED", "EXPIRED", "TIMED_OUT",
	"REATTEMPTING", "FROZEN", "INTERRUPTED", "WAITING_FOR_DEPLOY",
}

func checkStatuses(list []string) error {
	for _, s := range list {
		if !slices.Contains(publicStatuses, s) {
			return fail(http.StatusBadRequest, "Invalid status values: %s", s)
		}
	}
	return nil
}

func (d *Door) readFilter(r *http.Request) (*runFilter, error) {
	q := r.URL.Query()
	list := func(name string) []string {
		if s := q.Get("filter[" + name + "]"); s != "" {
			return strings.Split(s, ",")
		}
		return nil
	}
	f := &runFilter{
		status: list("status"), tasks: list("taskIdentifier"), versions: list("version"), tags: list("tag"), queues: list("queue"),
		machines: list("machine"), batch: q.Get("filter[batch]"), schedule: q.Get("filter[schedule]"),
	}
	if err := checkStatuses(f.status); err != nil {
		return nil, err
	}
	if s := q.Get("filter[isTest]"); s != "" {
		b := s == "true"
		f.test = &b
	}
	var err error
	f.from, f.to, err = d.createdWithin(r)
	return f, err
}

// parseInstant reads a time in ms or as a date: T49.
func (d *Door) parseInstant(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if at, ok := parseWhen(s, d.cfg.Now()); ok {
		return at, nil
	}
	return 0, fail(http.StatusBadRequest, "Invalid date %s", s)
}

// createdWithin are the times of filter[createdAt], in ms; 0: no end. They are numbers or dates: T49.
func (d *Door) createdWithin(r *http.Request) (from, to int64, err error) {
	q := r.URL.Query()
	for name, at := range map[string]*int64{"from": &from, "to": &to} {
		s := q.Get("filter[createdAt][" + name + "]")
		if s == "" {
			continue
		}
		if *at, err = d.parseInstant(s); err != nil {
			return 0, 0, err
		}
	}
	if s := q.Get("filter[createdAt][period]"); s != "" {
		span, ok := parseDuration(s)
		if !ok {
			return 0, 0, fail(http.StatusBadRequest, "Invalid period %s", s)
		}
		from = max(from, d.cfg.Now().Add(-span).UnixMilli())
	}
	return from, to, nil
}

func (f *runFilter) matches(rec *record, version string) bool {
	any := func(list []string, values ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(list, v) })
	}
	return any(f.tasks, rec.opts.Task) && any(f.versions, version) && any(f.tags, rec.note.Tags...) && any(f.queues, rec.opts.Queue) && any(f.machines, rec.opts.Machine) &&
		(f.batch == "" || f.batch == rec.opts.Batch) && (f.schedule == "" || f.schedule == rec.opts.Schedule) && (f.test == nil || *f.test == rec.opts.Test) &&
		rec.QueuedAt >= f.from && (f.to == 0 || rec.QueuedAt <= f.to)
}

// moment is how long a run may take from its id to its making, in ms.
const moment = int64(engine.Minute)

// maxScanned bounds the runs that one page looks at: a filter that nothing matches must not read everything.
const maxScanned = 20_000

// listRuns is GET /api/v1/runs.
func (env *environment) listRuns(r *http.Request) (any, error) {
	return env.listRunsOf(r, []*environment{env})
}

// listProjectRuns is GET /api/v1/projects/{ref}/runs: of all environments, or of those that filter[env] names.
func (d *Door) listProjectRuns(r *http.Request) (any, error) {
	var slugs []string
	if s := r.URL.Query().Get("filter[env]"); s != "" {
		slugs = strings.Split(s, ",")
	}
	key := callerOf(r).env // whoever has no access token sees what his key is for
	envs := d.ofProject(r.PathValue("ref"))
	if len(envs) == 0 {
		return nil, fail(http.StatusNotFound, "Project not found")
	}
	return d.listRunsOf(r, slices.DeleteFunc(envs, func(env *environment) bool {
		return len(slugs) > 0 && !slices.Contains(slugs, env.Slug) || key != nil && env != key
	}))
}

// listRunsOf lists the runs of some environments, the newest first.
func (d *Door) listRunsOf(r *http.Request, envs []*environment) (any, error) {
	f, err := d.readFilter(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	size := 25
	if s := q.Get("page[size]"); s != "" {
		if size, err = strconv.Atoi(s); err != nil || size < 1 || size > 100 {
			return nil, fail(http.StatusBadRequest, "page[size] must be from 1 to 100")
		}
	}
	query := store.Query{Table: store.Runs, Desc: true, Limit: 200}
	backwards := false
	if id, ok := parseID(runPrefix, q.Get("page[after]")); ok {
		query.To = id.Bytes()
	} else if id, ok := parseID(runPrefix, q.Get("page[before]")); ok {
		backwards, query.Desc, query.From = true, false, append(id.Bytes(), 0)
	}
	found, err := d.findRuns(r, envs, f, query, size, maxScanned)
	if err != nil {
		return nil, err
	}
	list := found.runs
	if backwards {
		slices.Reverse(list)
	}
	data := []any{}
	for _, x := range list {
		v := x.env.related(x.rec, x.status, oldAPI(r))
		v["env"] = map[string]any{"id": x.env.id, "name": x.env.Slug}
		data = append(data, v)
	}
	pages := map[string]string{}
	if len(list) > 0 {
		if backwards {
			pages["next"] = friendly(runPrefix, list[len(list)-1].rec.ID)
		} else if q.Get("page[after]") != "" {
			pages["previous"] = friendly(runPrefix, list[0].rec.ID)
		}
	}
	if to := friendly(runPrefix, found.reached); found.more && backwards {
		pages["previous"] = to
	} else if found.more {
		pages["next"] = to
	}
	return map[string]any{"data": data, "pagination": pages}, nil
}

// findings are runs that match a filter, in the order in which they were looked for.
type findings struct {
	runs    []*execution
	more    bool      // there are more, or may be: not everything was looked at
	reached engine.ID // what was looked at last
}

// findRuns collects up to size runs of environments that match, of the first most that q gives of anybody's.
func (d *Door) findRuns(r *http.Request, envs []*environment, f *runFilter, q store.Query, size, most int) (*findings, error) {
	ctx := r.Context()
	found := &findings{}
	f.within(&q)
	if len(envs) == 1 && len(f.tasks) == 1 {
		q.Tags[0] = engine.RunFunctionTag(envs[0].functionID(f.tasks[0]))
	}
	byName := make(map[string]*environment, len(envs))
	for _, env := range envs {
		byName[env.Name] = env
	}
	for scanned := 0; scanned < most; scanned += q.Limit {
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			x, err := candidate(ctx, byName, row)
			if err != nil {
				return nil, err
			}
			if x == nil {
				continue
			}
			version := ""
			if w := x.env.workers.named(x.rec.note.Worker); w != nil {
				version = w.Version
			}
			if !f.matches(x.rec, version) || len(f.status) > 0 && !slices.Contains(f.status, publicName(x.status, oldAPI(r))) {
				continue
			}
			if len(found.runs) == size {
				found.more = true
				return found, nil
			}
			found.runs, found.reached = append(found.runs, x), x.rec.ID
		}
		if len(rows) < q.Limit {
			return found, nil
		}
		last := rows[len(rows)-1].Key
		if q.Desc {
			q.To = last
		} else {
			q.From = append(slices.Clone(last), 0)
		}
		copy(found.reached[:], last)
	}
	found.more = true
	return found, nil
}

// within narrows what is looked through to the times of the filter: ids begin with when their runs were asked for, which is a moment before they were made.
func (f *runFilter) within(q *store.Query) {
	at := func(ms int64) []byte {
		var id engine.ID
		_ = id.SetTime(uint64(max(0, ms))) // it is a time
		return id.Bytes()
	}
	if from := at(f.from - moment); f.from > 0 && bytes.Compare(q.From, from) < 0 {
		q.From = from
	}
	if to := at(f.to + 1); f.to > 0 && (q.To == nil || bytes.Compare(q.To, to) > 0) {
		q.To = to
	}
}

// candidate is a row of Runs as a run of this door in one of some environments; nil when it is another's.
func candidate(ctx context.Context, envs map[string]*environment, row store.Row) (*execution, error) {
	run, err := engine.ParseRunRow(row.Value)
	if err != nil {
		return nil, err
	}
	env := envs[run.Env]
	if env == nil || run.App != appName || !strings.HasPrefix(run.Slug, slugPrefix) {
		return nil, nil
	}
	rec, err := env.read(ctx, run.ID)
	if err != nil || rec == nil {
		return nil, err
	}
	var s engine.LeaseState
	if !rec.Status.Ended() {
		if s, err = do[engine.LeaseState](ctx, env, &engine.ReadLease{Run: run.ID}); err != nil {
			return nil, err
		}
	}
	return &execution{env, rec, s, env.status(rec, s)}, nil
}

// cancelRun is POST /api/v2/runs/{run}/cancel.
func (env *environment) cancelRun(r *http.Request) (any, error) {
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	if err := permitRun(r, rec, "write"); err != nil {
		return nil, err
	}
	if _, err := env.cancel(r.Context(), rec.ID, "Cancelled by user"); err != nil {
		return nil, err
	}
	return map[string]string{"id": friendly(runPrefix, rec.ID)}, nil
}

// cancel ends a run and the runs below it: section 22.10. False when it had ended.
func (env *environment) cancel(ctx context.Context, run engine.ID, reason string) (bool, error) {
	first := true
	var done bool
	for queue := []engine.ID{run}; len(queue) > 0; queue = queue[1:] {
		rec, err := env.read(ctx, queue[0])
		if err != nil {
			return done, err
		}
		if rec == nil {
			continue
		}
		ok, err := do[bool](ctx, env, &engine.Cancel{Run: queue[0], Reason: reason})
		if err != nil {
			return done, err
		}
		if first {
			first, done, reason = false, ok, "Parent run was cancelled"
		}
		if !ok {
			continue // what ended before leaves its children alone
		}
		below, err := env.children(ctx, queue[0])
		if err != nil {
			return done, err
		}
		queue = append(queue, below...)
	}
	return done, nil
}

// replayRun is POST /api/v1/runs/{run}/replay.
func (env *environment) replayRun(r *http.Request) (any, error) {
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	var raw map[string]json.RawMessage
	if err := decode(r, &raw); err != nil {
		return nil, err
	}
	s, err := env.replay(r, rec, raw, func(*order) {})
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": friendly(runPrefix, s.ID)}, nil
}

// replay starts a run again, with some fields set anew. The order may be changed before it is placed.
func (env *environment) replay(r *http.Request, rec *record, raw map[string]json.RawMessage, change func(*order)) (started, error) {
	in := triggerBody{Options: triggerOptions{
		MaxAttempts: rec.opts.MaxAttempts, MaxDuration: rec.opts.MaxDuration, Machine: rec.opts.Machine, Priority: rec.opts.Priority, Test: rec.opts.Test,
		ConcurrencyKey: quote(rec.opts.ConcurrencyKey), Concurrency: rec.opts.Limits, Gates: rec.opts.Gates, Tags: mustJSON(rec.opts.Tags), PayloadType: rec.opts.Packet.Type,
	}}
	if text, ok := rec.payload.text(); ok {
		in.Payload = quote(text)
	}
	if rec.opts.Metadata != "" {
		in.Options.Metadata = json.RawMessage(rec.opts.Metadata)
	}
	queue := rec.opts.Queue
	for k, v := range raw {
		if err := overrideReplay(&in, &queue, k, v); err != nil {
			return started{}, err
		}
	}
	if raw["payload"] != nil && raw["payloadType"] == nil {
		in.Options.PayloadType = ""
	}
	if queue != slugPrefix+rec.opts.Task {
		in.Options.Queue = &struct {
			Name  string `json:"name"`
			Limit *int   `json:"concurrencyLimit"`
		}{Name: queue}
	}
	o, err := env.order(r, rec.opts.Task, &in)
	if err != nil {
		return started{}, err
	}
	o.opts.Replay = true
	change(o)
	return env.place(r.Context(), o)
}

// overrideReplay sets one field of a replay.
func overrideReplay(in *triggerBody, queue *string, name string, v json.RawMessage) error {
	to := map[string]any{
		"payload": &in.Payload, "payloadType": &in.Options.PayloadType, "metadata": &in.Options.Metadata, "tags": &in.Options.Tags, "queue": queue,
		"concurrencyKey": &in.Options.ConcurrencyKey, "machine": &in.Options.Machine, "version": &in.Options.Lock, "region": new(string), "delay": &in.Options.Delay,
		"ttl": &in.Options.TTL, "idempotencyKey": &in.Options.Key, "idempotencyKeyTTL": &in.Options.KeyTTL, "maxAttempts": &in.Options.MaxAttempts,
		"maxDuration": &in.Options.MaxDuration, "priority": &in.Options.Priority,
	}[name]
	if to == nil {
		return fail(http.StatusBadRequest, "Unrecognized key: %q", name)
	}
	if err := json.Unmarshal(v, to); err != nil {
		return fail(http.StatusBadRequest, "%s: %v", name, err)
	}
	return nil
}

// rescheduleRun is POST /api/v1/runs/{run}/reschedule.
func (env *environment) rescheduleRun(r *http.Request) (any, error) {
	var in struct {
		Delay json.RawMessage `json:"delay"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	at, ok := parseWhen(scalar(in.Delay), env.cfg.Now())
	if !ok {
		return nil, fail(http.StatusBadRequest, "Invalid delay: %s", scalar(in.Delay))
	}
	moved, err := do[bool](r.Context(), env, &engine.Postpone{Run: rec.ID, At: at})
	if err != nil {
		return nil, err
	}
	if !moved {
		return nil, invalid("Cannot reschedule a run that is not delayed")
	}
	return env.getRun(r)
}

// addTags is POST /api/v1/runs/{run}/tags.
func (env *environment) addTags(r *http.Request) (any, error) {
	var in struct {
		Tags json.RawMessage `json:"tags"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	tags, err := readTags(in.Tags)
	if err != nil {
		return nil, err
	}
	n := 0
	_, err = env.edit(r.Context(), r.PathValue("run"), func(rec *record) error {
		var fresh []string
		for _, t := range tags {
			if !slices.Contains(rec.note.Tags, t) {
				fresh = append(fresh, t)
			}
		}
		if all := len(rec.note.Tags) + len(fresh); all > maxTags {
			return invalid("Runs can only have %d tags, you're trying to set %d. These tags have not been set: %s.", maxTags, all, strings.Join(fresh, ", "))
		}
		n, rec.note.Tags = len(fresh), append(rec.note.Tags, fresh...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return map[string]string{"message": "No new tags to add"}, nil
	}
	return map[string]string{"message": "Successfully set " + strconv.Itoa(n) + " new tags."}, nil
}

// runResult is GET /api/v1/runs/{run}/result.
func (env *environment) runResult(r *http.Request) (any, error) {
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	if !rec.Status.Ended() {
		return nil, fail(http.StatusNotFound, "Run is not finished")
	}
	return rec.result(), nil
}

// result is what became of a run that has ended, as the client tells tasks.
func (rec *record) result() map[string]any {
	id := friendly(runPrefix, rec.ID)
	if e := rec.failure(); e != nil {
		return map[string]any{"ok": false, "id": id, "error": e, "taskIdentifier": rec.opts.Task}
	}
	v := map[string]any{"ok": true, "id": id, "outputType": typeJSON, "taskIdentifier": rec.opts.Task, "usage": map[string]any{"durationMs": rec.note.DurationMs}}
	if text, typ, ok := rec.output(); ok {
		v["output"], v["outputType"] = text, typ
	}
	return v
}

// runPacket is GET /api/v1/runs/{run}/packets/payload and …/output: where what is too large for an answer is to be had, by whoever may read the run.
func (env *environment) runPacket(r *http.Request) (any, error) {
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	if err := permitRun(r, rec, "read"); err != nil {
		return nil, err
	}
	name, typ := "", ""
	switch r.PathValue("field") {
	case "payload":
		name, _ = rec.payload.text()
		typ = rec.payload.Type
	case "output":
		name, typ, _ = rec.output()
	}
	if name == "" || typ != typeStore {
		return nil, fail(http.StatusNotFound, "Packet not found")
	}
	return map[string]string{"presignedUrl": env.packetURL(r, name)}, nil
}

// clock is the present, for what is shown.
func (d *Door) clock() time.Time { return d.cfg.Now().UTC() }
