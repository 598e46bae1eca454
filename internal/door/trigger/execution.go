package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/taskpool"
)

// Section 18: how a worker executes runs. A snapshot is what the engine's lease says, and its id is the lease's token.

// Times of section 22.9, in ms.
const (
	startHold   = engine.Minute     // from being handed out to the start of the attempt
	executeHold = 5 * engine.Minute // between heartbeats
)

// maxAttempts is the cap of section 22.4.
const maxAttempts = 250

// maxDeliveries is how often a run may be handed out in vain.
const maxDeliveries = 12

// stalledCode begins the codes of attempts whose worker was lost.
const stalledCode = "TASK_RUN_STALLED_EXECUTING"

// quickRetry is the delay below which the worker that failed repeats the attempt itself, in ms: section 22.4.
const quickRetry = 30 * engine.Second

func (d *Door) executionRoutes() {
	d.route("POST /engine/v1/dev/dequeue", secret, (*environment).dequeue)
	d.route("POST /engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/start", secret, (*environment).startAttempt)
	d.route("POST /engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/complete", secret, (*environment).completeAttempt)
	d.route("POST /engine/v1/dev/runs/{run}/snapshots/{snapshot}/heartbeat", secret, (*environment).heartbeat)
	d.route("GET /engine/v1/dev/runs/{run}/snapshots/latest", secret, (*environment).latestSnapshot)
}

// machines are the presets of section 2.5.
var machines = map[string][2]float64{
	"micro": {0.25, 0.25}, "small-1x": {0.5, 0.5}, "small-2x": {1, 1}, "medium-1x": {1, 2}, "medium-2x": {2, 4}, "large-1x": {4, 8}, "large-2x": {8, 16},
}

const defaultMachine = "small-1x"

// machineFor is the machine that a run is for: what it was triggered with, or its task's.
func machineFor(opts *options, n *note, t *task) taskpool.Machine {
	name := cmp.Or(n.Machine, opts.Machine)
	if name == "" && t != nil && t.Machine != nil {
		name = t.Machine.Preset
	}
	m, ok := machines[name]
	if !ok {
		name = defaultMachine
		m = machines[name]
	}
	return taskpool.Machine{Name: name, CPU: m[0], Memory: m[1]}
}

func machineView(m taskpool.Machine) map[string]any {
	return map[string]any{"name": m.Name, "cpu": m.CPU, "memory": m.Memory, "centsPerMs": 0}
}

// returned is what becomes of a run that a worker took and did not begin.
func returned() engine.Lapse {
	e := &taskError{Type: "INTERNAL_ERROR", Code: "TASK_RUN_DEQUEUED_MAX_RETRIES", Message: "no worker that took the run began it"}
	return engine.Lapse{Return: true, Wait: engine.Second, Most: maxDeliveries, Error: e.stored()}
}

// stalled is what becomes of a run whose worker is not heard of any more. A development worker is gone with its process, so nobody
// would try again; a deployed version has others, which make another attempt.
func (env *environment) stalled() *engine.Lapse {
	e := &taskError{Type: "INTERNAL_ERROR", Code: stalledCode, Message: "its worker has not been heard of any more"}
	return &engine.Lapse{Final: !env.deployed(), Error: e.stored()}
}

// dequeue is POST /engine/v1/dev/dequeue.
func (env *environment) dequeue(r *http.Request) (any, error) {
	var in struct {
		Current string   `json:"currentWorker"`
		Old     []string `json:"oldWorkers"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Old) > maxWorkers {
		in.Old = in.Old[len(in.Old)-maxWorkers:]
	}
	c := &engine.Lease{Env: env.Name, Max: 10, Hold: startHold, Lapse: returned()}
	if w := env.current(); w != nil && w.ID == in.Current {
		c.Pools, c.Bind = []string{poolCurrent}, w.ID
	}
	for _, id := range append(in.Old, in.Current) {
		if env.workers.named(id) != nil {
			c.Pools = append(c.Pools, id)
		}
	}
	leased, err := do[[]engine.Leased](r.Context(), env, c)
	if err != nil {
		return nil, err
	}
	messages := []any{}
	for i := range leased {
		rec, err := env.read(r.Context(), leased[i].Run)
		if err != nil {
			env.cfg.Log.Error("read a leased run", "run", leased[i].Run, "err", err)
		}
		w := env.workers.named(leased[i].Pool)
		if rec == nil || w == nil {
			continue // its lease runs out, and it is handed out again
		}
		messages = append(messages, env.dequeued(&leased[i], rec, w))
	}
	return map[string]any{"dequeuedMessages": messages}, nil
}

func (env *environment) dequeued(l *engine.Leased, rec *record, w *worker) any {
	now := iso(env.cfg.Now().UnixMilli())
	return map[string]any{
		"version": "1", "dequeuedAt": now, "snapshot": snapshotView(l.Token, "PENDING_EXECUTING"), "completedWaitpoints": []any{},
		"backgroundWorker": map[string]any{"id": strings.TrimPrefix(w.ID, workerPrefix), "friendlyId": w.ID, "version": w.Version},
		"deployment":       map[string]any{},
		"run": map[string]any{
			"id": internalID(rec.ID), "friendlyId": friendly(runPrefix, rec.ID), "isTest": rec.opts.Test, "isReplay": rec.opts.Replay,
			"machine": machineView(machineFor(&rec.opts, &rec.note, w.task(rec.opts.Task))), "attemptNumber": l.Attempt + 1, "masterQueue": env.id,
			"traceContext": map[string]any{"traceparent": rec.opts.Trace},
		},
		"environment": map[string]any{"id": env.id, "type": env.typ()}, "organization": map[string]any{"id": organizationID},
		"project": map[string]any{"id": projectID(w.Project)},
	}
}

func snapshotView(id engine.ID, status string) map[string]any {
	return map[string]any{
		"id": internalID(id), "friendlyId": friendly(snapshotPrefix, id), "executionStatus": status, "description": strings.ToLower(status),
		"createdAt": iso(int64(id.Time())),
	}
}

// execution is where a run is, as its worker is told: section 18.3.
type execution struct {
	env    *environment
	rec    *record
	state  engine.LeaseState
	status string // of the run
}

// look reads where a run is.
func (env *environment) look(ctx context.Context, friendlyID string) (*execution, error) {
	id, ok := parseID(runPrefix, friendlyID)
	if !ok {
		return nil, fail(http.StatusNotFound, "Run not found")
	}
	s, err := do[engine.LeaseState](ctx, env, &engine.ReadLease{Run: id})
	if err != nil {
		return nil, err
	}
	rec, err := env.mustRead(ctx, friendlyID)
	if err != nil {
		return nil, err
	}
	return &execution{env, rec, s, env.status(rec, s)}, nil
}

// snapshotID is the newest one's.
func (x *execution) snapshotID() engine.ID {
	s := x.state
	id := s.Token
	if !s.Held {
		// It has no worker to be told from others; what counts is that this one comes after all that were.
		_ = id.SetTime(uint64(max(x.rec.Ended, x.rec.Started, x.rec.QueuedAt))) // they are times
		for i := 6; i < len(id); i++ {
			id[i] = 0xff
		}
	}
	return id
}

// executionStatus is section 2.4.
func (x *execution) executionStatus() string {
	s := x.state
	switch {
	case s.Cancelled:
		return "PENDING_CANCEL"
	case !s.Unended:
		return "FINISHED"
	case s.Held && s.Resuming:
		return "QUEUED_EXECUTING"
	case s.Held && s.Blocked:
		return "EXECUTING_WITH_WAITPOINTS"
	case s.Held && (s.Begun || s.Kept):
		return "EXECUTING"
	case s.Held:
		return "PENDING_EXECUTING"
	case x.status == statusDelayed:
		return "DELAYED"
	}
	return "QUEUED"
}

// snapshot is the newest one.
func (x *execution) snapshot() map[string]any {
	return snapshotView(x.snapshotID(), x.executionStatus())
}

// attempt is the number of the attempt that is under way, or was the last.
func (x *execution) attempt() int {
	switch {
	case !x.state.Held && !x.state.Unended:
		return x.rec.note.Attempt
	case x.state.Begun:
		return x.state.Attempt + 1
	}
	return x.state.Attempt
}

// run is the short form of a run. A worker that sees another attempt number than its own drops the run: T15.
func (x *execution) run() map[string]any {
	status := x.status
	if status == statusWaiting {
		status = statusExecuting // it is: with waitpoints
	}
	return map[string]any{"id": internalID(x.rec.ID), "friendlyId": friendly(runPrefix, x.rec.ID), "status": status, "attemptNumber": x.attempt()}
}

// latest is where a run is, with what it waited for if that is why it goes on.
func (env *environment) latest(ctx context.Context, run string) (*execution, []any, error) {
	x, err := env.look(ctx, run)
	if err != nil || !x.state.Begun || x.state.Blocked || x.state.Cancelled {
		return x, []any{}, err
	}
	points, err := env.completed(ctx, x)
	return x, points, err
}

// latestSnapshot is GET …/snapshots/latest.
func (env *environment) latestSnapshot(r *http.Request) (any, error) {
	x, points, err := env.latest(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"execution": executionData(x, points)}, nil
}

// executionData is section 18.3.
func executionData(x *execution, points []any) map[string]any {
	v := map[string]any{"version": "1", "snapshot": x.snapshot(), "run": x.run(), "completedWaitpoints": points}
	if b := x.rec.opts.Batch; b != "" {
		v["batch"] = batchRef(b)
	}
	return v
}

func batchRef(id string) map[string]any {
	return map[string]any{"id": strings.TrimPrefix(id, batchPrefix), "friendlyId": id}
}

// snapshotOf is the token that a path names.
func snapshotOf(r *http.Request) engine.ID {
	id, _ := parseID(snapshotPrefix, r.PathValue("snapshot")) // one that is no id is nobody's token
	return id
}

// heartbeat is POST …/heartbeat.
func (env *environment) heartbeat(r *http.Request) (any, error) {
	return map[string]bool{"ok": true}, env.beat(r.Context(), r.PathValue("run"), snapshotOf(r))
}

// beat says that a worker is well. One that comes too late is none: section 18.2.
func (env *environment) beat(ctx context.Context, run string, token engine.ID) error {
	id, ok := parseID(runPrefix, run)
	if !ok {
		return nil
	}
	_, err := do[engine.LeaseState](ctx, env, &engine.Hold{Run: id, Token: token})
	return err
}

// startAttempt is POST …/attempts/start.
func (env *environment) startAttempt(r *http.Request) (any, error) {
	b, err := env.begin(r.Context(), r.PathValue("run"), snapshotOf(r), origin(r), false)
	if err != nil {
		return nil, err
	}
	return b.answer(), nil
}

// begun is an attempt that has begun.
type begun struct {
	x    *execution
	vars map[string]string
	view any // what the task process gets
}

func (b *begun) answer() map[string]any {
	return map[string]any{"snapshot": b.x.snapshot(), "run": b.x.run(), "envVars": b.vars, "execution": b.view}
}

// begin begins an attempt of a run for whoever holds it. o is where its process reaches the server; again says that whoever asks may have asked before and not
// have heard the answer.
func (env *environment) begin(ctx context.Context, run string, token engine.ID, o string, again bool) (*begun, error) {
	x, err := env.look(ctx, run)
	if err != nil {
		return nil, err
	}
	if !x.state.Unended {
		return nil, fail(http.StatusBadRequest, "Run is already finished")
	}
	rec := x.rec
	w := env.pooled(x.state.Pool)
	if w == nil {
		return nil, fail(http.StatusBadRequest, "Run is not locked")
	}
	vars, err := env.variables(o)
	if err != nil {
		return nil, err
	}
	unlock := env.locks.Lock(rec.ID.String())
	defer unlock()
	if err := env.readNote(ctx, rec); err != nil {
		return nil, err
	}
	rec.note.Attempt, rec.note.Worker = x.state.Attempt+1, w.ID
	now := env.cfg.Now().UnixMilli()
	hold := int64(executeHold)
	if env.deployed() {
		hold = poolHold
	}
	x.state, err = do[engine.LeaseState](ctx, env, &engine.Hold{
		Run: rec.ID, Token: token, Begin: true, Again: again, Hold: hold, Lapse: env.stalled(), Rows: []engine.RowPut{env.noteRow(rec.ID, &rec.note)},
	})
	if err != nil {
		return nil, err
	}
	if !x.state.Held {
		return nil, fail(http.StatusConflict, "The snapshot of the run has changed")
	}
	x.status = statusExecuting
	machine := machineFor(&rec.opts, &rec.note, w.task(rec.opts.Task))
	vars["TRIGGER_RUN_ID"] = friendly(runPrefix, rec.ID)
	vars["TRIGGER_JWT"] = env.mint(&claims{}, time.Hour)
	vars["TRIGGER_MACHINE_PRESET"] = machine.Name
	return &begun{x, vars, env.executionView(x, w, machine, now)}, nil
}

// executionView is what the task process gets: section 18.6.
func (env *environment) executionView(x *execution, w *worker, m taskpool.Machine, now int64) any {
	rec, opts := x.rec, &x.rec.opts
	t := w.task(opts.Task)
	started := rec.Started
	if started == 0 {
		started = now
	}
	payload, ok := rec.payload.text()
	typ := rec.payload.Type
	if !ok {
		payload, typ = "", typeJSON
	}
	tags := rec.note.Tags
	if tags == nil {
		tags = []string{}
	}
	run := map[string]any{
		"id": friendly(runPrefix, rec.ID), "payload": payload, "payloadType": typ, "tags": tags, "isTest": opts.Test, "isReplay": opts.Replay,
		"createdAt": iso(rec.QueuedAt), "startedAt": iso(started), "maxAttempts": x.state.Max, "version": w.Version, "traceContext": map[string]any{"traceparent": opts.Trace},
		"durationMs": rec.note.DurationMs, "costInCents": 0, "baseCostInCents": 0, "priority": opts.Priority, "realtimeStreamsVersion": opts.streams(),
	}
	for k, v := range map[string]string{"idempotencyKey": opts.UserKey, "idempotencyKeyScope": opts.KeyScope, "parentTaskRunId": opts.Parent, "rootTaskRunId": opts.Root} {
		if v != "" {
			run[k] = v
		}
	}
	if len(rec.note.Metadata) > 0 {
		run["metadata"] = rec.note.Metadata
	}
	limit := opts.MaxDuration
	file := ""
	if t != nil {
		file = t.FilePath
		if limit == 0 {
			limit = t.MaxDuration
		}
	}
	const unlimited = 1<<31 - 1
	if limit > 0 && limit < unlimited {
		run["maxDuration"] = max(5, limit)
	}
	v := map[string]any{
		"attempt": map[string]any{"number": x.state.Attempt + 1, "startedAt": iso(now)}, "run": run,
		"task":         map[string]any{"id": opts.Task, "filePath": file},
		"queue":        map[string]any{"id": queueID(opts.Queue), "name": opts.Queue},
		"environment":  env.view(),
		"organization": shortOrganization(),
		"project":      env.projectNamed(w.Project).short(), "machine": machineView(m),
	}
	if opts.Batch != "" {
		v["batch"] = map[string]any{"id": opts.Batch}
	}
	if p := env.deployments.named(w.Deployment); p != nil {
		v["deployment"] = map[string]any{"id": p.ID, "shortCode": p.Short, "version": p.Version, "runtime": w.Runtime, "runtimeVersion": w.RuntimeIs}
	}
	return v
}

// completion is the outcome of an attempt: section 18.7.
type completion struct {
	OK         bool       `json:"ok"`
	Output     *string    `json:"output"`
	OutputType string     `json:"outputType"`
	Error      *taskError `json:"error"`
	Retry      *struct {
		Timestamp float64 `json:"timestamp"`
		Delay     float64 `json:"delay"`
	} `json:"retry"`
	Skipped bool `json:"skippedRetrying"`
	Usage   *struct {
		DurationMs float64 `json:"durationMs"`
	} `json:"usage"`
	Flushed *struct {
		Data *string `json:"data"`
		Type string  `json:"dataType"`
	} `json:"flushedMetadata"`
}

// completeAttempt is POST …/attempts/complete.
func (env *environment) completeAttempt(r *http.Request) (any, error) {
	ctx := r.Context()
	var in struct {
		Completion *completion `json:"completion"`
		Requeue    bool        `json:"forceRequeue"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Completion == nil || !in.Completion.OK && in.Completion.Error == nil {
		return nil, fail(http.StatusBadRequest, "Invalid request body: completion is missing")
	}
	x, status, err := env.finish(ctx, r.PathValue("run"), snapshotOf(r), in.Completion, in.Requeue)
	if err != nil {
		return nil, err
	}
	return map[string]any{"result": map[string]any{"attemptStatus": status, "snapshot": x.snapshot(), "run": x.run()}}, nil
}

// finish takes the outcome of an attempt from whoever has begun it, and says what follows: section 18.7.
func (env *environment) finish(ctx context.Context, run string, token engine.ID, c *completion, requeue bool) (*execution, string, error) {
	x, err := env.look(ctx, run)
	if err != nil {
		return nil, "", err
	}
	switch {
	case !x.state.Held && !x.state.Unended:
		return nil, "", fail(http.StatusBadRequest, "Run is already finished")
	case !x.state.Held || x.state.Token != token || !x.state.Begun:
		return nil, "", fail(http.StatusBadRequest, "Snapshot ID doesn't match the latest snapshot")
	}
	unlock := env.locks.Lock(x.rec.ID.String())
	ops, again, err := env.complete(ctx, x, c, requeue)
	unlock()
	if err != nil {
		return nil, "", err
	}
	for to, list := range ops {
		if err := env.operate(ctx, to, list); err != nil {
			env.cfg.Log.Warn("metadata of another run", "run", to, "err", err)
		}
	}
	if x, err = env.look(ctx, run); err != nil {
		return nil, "", err
	}
	switch {
	case again && x.state.Kept:
		return x, taskpool.RetryImmediately, nil
	case again:
		return x, taskpool.RetryQueued, nil
	}
	return x, taskpool.Finished, nil
}

// complete applies the outcome of an attempt. It returns the metadata operations for other runs, and whether another attempt follows.
func (env *environment) complete(ctx context.Context, x *execution, c *completion, requeue bool) (others map[string][]metadataOp, again bool, err error) {
	rec := x.rec
	if err := env.readNote(ctx, rec); err != nil {
		return nil, false, err
	}
	if c.Usage != nil {
		rec.note.DurationMs += c.Usage.DurationMs
	}
	if c.Flushed != nil && c.Flushed.Data != nil {
		others = env.flush(rec, *c.Flushed.Data, c.Flushed.Type)
	}
	rep := &engine.Report{Run: rec.ID, Request: x.state.Token, Call: engine.CallInfo{Started: rec.Started, Ended: env.cfg.Now().UnixMilli()}}
	switch {
	case x.state.Cancelled:
	case c.OK:
		rec.note.Output = readPacket(c.Output, c.OutputType)
		value := rec.note.Output.Data
		if c.Output == nil {
			rec.note.Output.Raw, value = none, []byte("null")
		}
		rep.Ops = []engine.Op{{Kind: engine.OpRunDone, Value: value}}
	case c.Error.Code == "TASK_RUN_CANCELLED":
		if _, err := env.cfg.Host.Submit(ctx, &engine.Cancel{Run: rec.ID, Reason: "Task run was cancelled"}); err != nil {
			return nil, false, err
		}
		if x.state, err = do[engine.LeaseState](ctx, env, &engine.ReadLease{Run: rec.ID}); err != nil {
			return nil, false, err
		}
		rep.Request = x.state.Token
	default:
		at, retry := env.retryAt(x, c)
		if m := env.larger(x, c); m != "" {
			rec.note.Machine, at, retry, requeue = m, env.cfg.Now().UnixMilli(), true, true
		}
		op := engine.Op{Kind: engine.OpRunFailed, Value: c.Error.stored(), Final: !retry, RetryAt: at}
		rep.Ops, again = []engine.Op{op}, retry
		if delay := at - env.cfg.Now().UnixMilli(); retry && c.Retry != nil && delay < quickRetry && !requeue {
			rep.Keep = &engine.Keep{Hold: max(0, delay) + startHold, Lapse: returned()}
		}
	}
	rep.Rows = []engine.RowPut{env.noteRow(rec.ID, &rec.note)}
	ok, err := do[bool](ctx, env, rep)
	if err == nil && !ok && !x.state.Cancelled && len(rep.Ops) > 0 {
		err = fail(http.StatusBadRequest, "Snapshot ID doesn't match the latest snapshot")
	}
	return others, again, err
}

// final are the codes that are never tried again: section 22.5.
var final = map[string]bool{
	"COULD_NOT_FIND_EXECUTOR": true, "COULD_NOT_FIND_TASK": true, "COULD_NOT_IMPORT_TASK": true, "CONFIGURED_INCORRECTLY": true, "TASK_ALREADY_RUNNING": true,
	"TASK_PROCESS_SIGKILL_TIMEOUT": true, "TASK_PROCESS_OOM_KILLED": true, "TASK_PROCESS_MAYBE_OOM_KILLED": true, "TASK_RUN_CANCELLED": true,
	"MAX_DURATION_EXCEEDED": true, "DISK_SPACE_EXCEEDED": true, "OUTDATED_SDK_VERSION": true, "TASK_RUN_HEARTBEAT_TIMEOUT": true,
	"TASK_DID_CONCURRENT_WAIT": true, "RECURSIVE_WAIT_DEADLOCK": true, "TASK_HAS_N0_EXECUTION_SNAPSHOT": true, "TASK_DEQUEUED_INVALID_STATE": true,
	"TASK_DEQUEUED_QUEUE_NOT_FOUND": true, "TASK_RUN_DEQUEUED_MAX_RETRIES": true, "BATCH_ITEM_COULD_NOT_TRIGGER": true, "PAYLOAD_TOO_LARGE": true,
	"UNSPECIFIED_ERROR": true,
}

// crashes are the codes after which the server says when the next attempt is, because the process could not.
var crashes = map[string]bool{
	"TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE": true, "TASK_PROCESS_SIGTERM": true, "TASK_PROCESS_SIGSEGV": true, "TASK_RUN_UNCAUGHT_EXCEPTION": true,
	"TASK_MIDDLEWARE_ERROR": true,
}

// retryAt says whether and when a failed attempt is repeated: section 22.4.
func (env *environment) retryAt(x *execution, c *completion) (int64, bool) {
	now := env.cfg.Now().UnixMilli()
	switch {
	case c.Skipped, c.Error.Type == "INTERNAL_ERROR" && final[c.Error.Code], x.state.Attempt+1 >= min(x.state.Max, maxAttempts):
		return 0, false
	case c.Retry != nil:
		return now + max(0, int64(c.Retry.Delay)), true // the timestamp is by the worker's clock
	case env.deployed() && strings.HasPrefix(c.Error.Code, stalledCode):
		return now + 250, true
	case c.Error.Type == "INTERNAL_ERROR" && crashes[c.Error.Code]:
		return now + backoff(env.pooled(x.state.Pool).task(x.rec.opts.Task), x.state.Attempt), true
	}
	return 0, false
}

// larger is the machine on which an attempt that ran out of memory is repeated, once; "" when there is none.
func (env *environment) larger(x *execution, c *completion) string {
	t := env.pooled(x.state.Pool).task(x.rec.opts.Task)
	switch {
	case c.Error.Code != "TASK_PROCESS_OOM_KILLED" && c.Error.Code != "TASK_PROCESS_MAYBE_OOM_KILLED", t == nil, t.Retry == nil, t.Retry.OutOfMemory == nil:
		return ""
	case x.state.Attempt+1 >= min(x.state.Max, maxAttempts), x.rec.note.Machine != "":
		return ""
	}
	name := t.Retry.OutOfMemory.Machine
	if _, ok := machines[name]; !ok || name == machineFor(&x.rec.opts, &x.rec.note, t).Name {
		return ""
	}
	return name
}

// backoff is the delay after an attempt, from 0, in ms.
func backoff(t *task, attempt int) int64 {
	low, high, factor := 1000.0, 60_000.0, 2.0
	if t != nil && t.Retry != nil {
		if t.Retry.Min > 0 {
			low = t.Retry.Min
		}
		if t.Retry.Max > 0 {
			high = t.Retry.Max
		}
		if t.Retry.Factor >= 1 {
			factor = t.Retry.Factor
		}
	}
	for range attempt {
		if low *= factor; low > high {
			break
		}
	}
	return int64(min(low, high))
}

// point is what a step of a run waits for, in the step's Opts.
type point struct {
	Type  string `json:"type"` // section 18.3
	Run   string `json:"run,omitempty"`
	Batch string `json:"batch,omitempty"`
	Index *int   `json:"index,omitempty"`
	Until int64  `json:"until,omitempty"` // ms
	Token string `json:"token,omitempty"`
}

// completed are the waitpoints that a run waited for last.
func (env *environment) completed(ctx context.Context, x *execution) ([]any, error) {
	out := []any{}
	steps, err := history.Steps(ctx, env.cfg.Host, x.rec.ID)
	if err != nil {
		return nil, err
	}
	for _, s := range steps {
		if s.Seq <= x.state.Mark {
			continue
		}
		v, err := env.completedPoint(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (env *environment) completedPoint(ctx context.Context, s *engine.StepRow) (map[string]any, error) {
	var p point
	if err := json.Unmarshal(s.Opts, &p); err != nil {
		return nil, err
	}
	id := strings.TrimPrefix(s.ID, waitPrefix)
	v := map[string]any{"id": id, "friendlyId": waitPrefix + id, "type": p.Type, "completedAt": iso(s.Ended), "outputIsError": false}
	switch p.Type {
	case "DATETIME":
		v["completedAfter"] = iso(p.Until)
	case "BATCH":
		v["completedByBatch"] = batchRef(p.Batch)
	case "MANUAL":
		v["id"], v["friendlyId"] = strings.TrimPrefix(p.Token, waitPrefix), p.Token
		var out tokenOutput
		_ = json.Unmarshal(s.Value, &out) // both ways to the end of the wait give one
		v["outputIsError"] = out.IsError
		if out.Output != nil {
			v["output"], v["outputType"] = *out.Output, out.Type
		}
	case "RUN":
		return v, env.completedRun(ctx, v, &p)
	}
	return v, nil
}

// completedRun adds the result of a run that another one waited for.
func (env *environment) completedRun(ctx context.Context, v map[string]any, p *point) error {
	by := map[string]any{"id": strings.TrimPrefix(p.Run, runPrefix), "friendlyId": p.Run}
	v["completedByTaskRun"] = by
	if p.Batch != "" {
		by["batch"] = batchRef(p.Batch)
		if p.Index != nil {
			v["index"] = *p.Index
		}
	}
	var e *taskError
	if id, ok := parseID(runPrefix, p.Run); ok {
		rec, err := env.read(ctx, id)
		if err != nil {
			return err
		}
		if rec != nil {
			if e = rec.failure(); e == nil && rec.Status == engine.Completed {
				if text, typ, ok := rec.output(); ok {
					v["output"], v["outputType"] = text, typ
				}
				return nil
			}
		}
	}
	if e == nil {
		e = &taskError{Type: "INTERNAL_ERROR", Code: "BATCH_ITEM_COULD_NOT_TRIGGER", Message: "the run could not be triggered"}
	}
	v["output"], v["outputType"], v["outputIsError"] = string(mustJSON(e)), typeJSON, true
	return nil
}
