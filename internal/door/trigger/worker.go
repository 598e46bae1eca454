package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/cron"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 17: a worker is one version of the tasks' code.

// Pools of the engine: the tasks of the newest worker stand in poolCurrent, a run that was given to a worker in the pool of that worker's
// name. A task that the newest worker does not have stands in none: it waits for its version.
const poolCurrent = "trigger:current"

// slugPrefix begins the slugs of functions that are tasks.
const slugPrefix = "task/"

// appName is the app that all tasks belong to.
const appName = "trigger.dev"

// maxTasks bounds the tasks of an environment, the unknown ones included that somebody triggered.
const maxTasks = 5000

// maxWorkers bounds how many versions are known. A run that is bound to an older one is executed no more.
const maxWorkers = 100

// task is a task as a worker's manifest has it.
type task struct {
	ID       string `json:"id"`
	FilePath string `json:"filePath"`
	Queue    *struct {
		Name     string `json:"name,omitempty"`
		Limit    *int   `json:"concurrencyLimit,omitempty"`
		Combined *int   `json:"combinedConcurrencyLimit,omitempty"`
	} `json:"queue,omitempty"`
	Concurrency *taskConcurrency `json:"concurrency,omitempty"`
	Gates       []gate           `json:"gates,omitempty"`
	Retry       *struct {
		MaxAttempts int     `json:"maxAttempts,omitempty"`
		Factor      float64 `json:"factor,omitempty"`
		Min         float64 `json:"minTimeoutInMs,omitempty"`
		Max         float64 `json:"maxTimeoutInMs,omitempty"`
		OutOfMemory *struct {
			Machine string `json:"machine"`
		} `json:"outOfMemory,omitempty"`
	} `json:"retry,omitempty"`
	Machine *struct {
		Preset string `json:"preset,omitempty"`
	} `json:"machine,omitempty"`
	Source   string `json:"triggerSource,omitempty"`
	Schedule *struct {
		Cron         string   `json:"cron"`
		Timezone     string   `json:"timezone,omitempty"`
		Environments []string `json:"environments,omitempty"`
		Window       string   `json:"window,omitempty"`
	} `json:"schedule,omitempty"`
	MaxDuration float64         `json:"maxDuration,omitempty"`
	TTL         json.RawMessage `json:"ttl,omitempty"`
	Export      string          `json:"exportName,omitempty"`
	Schema      json.RawMessage `json:"payloadSchema,omitempty"`
	Description string          `json:"description,omitempty"`
}

// source says what triggers a task: a clock, or who likes.
func (t *task) source() string { return cmp.Or(t.Source, "standard") }

// queueDef is a queue as a worker's manifest has it.
type queueDef struct {
	Name     string `json:"name"`
	Limit    *int   `json:"concurrencyLimit,omitempty"`
	Combined *int   `json:"combinedConcurrencyLimit,omitempty"` // for all keys together
}

// limitDef is a concurrency limit as a worker's manifest has it.
type limitDef struct {
	Name string `json:"name"`
	bounds
}

// taskConcurrency is the limit that a task has for itself, and the names of those that it shares.
type taskConcurrency struct {
	Inline *bounds  `json:"inline,omitempty"`
	Limits []string `json:"limits,omitempty"`
}

// gate is another queue in which a run must have a slot, by a key of its own or the run's.
type gate struct {
	Queue string `json:"queue"`
	Key   string `json:"concurrencyKey,omitempty"`
}

// worker is one registered version.
type worker struct {
	ID          string     `json:"id"` // friendly
	Version     string     `json:"version"`
	ContentHash string     `json:"contentHash"`
	Runtime     string     `json:"runtime,omitempty"`
	RuntimeIs   string     `json:"runtimeVersion,omitempty"`
	SDK         string     `json:"sdk,omitempty"`
	CLI         string     `json:"cli,omitempty"`
	Deployment  string     `json:"deployment,omitempty"` // friendly; "": a CLI is connected that has it
	Project     string     `json:"project"`
	CreatedAt   int64      `json:"createdAt"`
	Tasks       []task     `json:"tasks"`
	Queues      []queueDef `json:"queues,omitempty"`
	Limits      []limitDef `json:"limits,omitempty"`

	once   sync.Once // fills in what follows
	byID   map[string]*task
	bounds map[line]bounds
}

// workers are the versions that are known.
type workers struct {
	mu       sync.RWMutex
	list     []*worker // oldest first
	byID     map[string]*worker
	promoted string     // id of the one that gets the runs of a deployed environment
	handed   string     // id of the one that was handed the tasks: another than the current one only while it is made that, or after that failed
	register sync.Mutex // held while a worker or a task is registered
	tasks    map[string]bool
}

func (w *workers) newest() *worker {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if len(w.list) == 0 {
		return nil
	}
	return w.list[len(w.list)-1]
}

// current is the one that gets runs that are not for a certain version: section 17.3.
func (env *environment) current() *worker {
	if !env.deployed() {
		return env.workers.newest()
	}
	env.workers.mu.RLock()
	defer env.workers.mu.RUnlock()
	return env.workers.byID[env.workers.promoted]
}

// isHanded says that a version was handed the tasks, after everything else that makes it the current one.
func (w *workers) isHanded(id string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.handed == id
}

func (w *workers) named(id string) *worker {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.byID[id]
}

func (w *workers) version(v string) *worker {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, k := range w.list {
		if k.Version == v {
			return k
		}
	}
	return nil
}

func (w *workers) knows(task string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.tasks[task]
}

// metaKey is the key of a row of this door in Meta.
func (env *environment) metaKey(kind, id string) []byte {
	return []byte("trigger\x00" + env.Name + "\x00" + kind + "\x00" + id)
}

// load reads what is registered.
func (env *environment) load(ctx context.Context) error {
	list, err := readRows[worker](ctx, env, "worker")
	if err != nil {
		return err
	}
	env.workers.mu.Lock()
	defer env.workers.mu.Unlock()
	env.workers.list, env.workers.byID, env.workers.tasks = list, map[string]*worker{}, map[string]bool{}
	for _, w := range list {
		env.workers.byID[w.ID] = w
	}
	slices.SortFunc(env.workers.list, func(a, b *worker) int { return cmp.Compare(a.ID, b.ID) })
	promoted, _, err := env.cfg.Host.Get(ctx, store.Meta, env.metaKey("promoted", ""))
	if err != nil {
		return err
	}
	env.workers.promoted = string(promoted)
	handed, _, err := env.cfg.Host.Get(ctx, store.Meta, env.metaKey("handed", ""))
	if err != nil {
		return err
	}
	env.workers.handed = string(handed)
	rows, err := env.cfg.Host.Scan(ctx, store.Query{Table: store.Functions, Prefix: engine.FunctionKey(env.Name, slugPrefix), Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	for _, row := range rows {
		var fn engine.Function
		if err := json.Unmarshal(row.Value, &fn); err != nil {
			return err
		}
		if fn.Door == Name {
			env.workers.tasks[strings.TrimPrefix(fn.Slug, slugPrefix)] = true
		}
	}
	return nil
}

// manifest is what somebody registers: section 17.1.
type manifest struct {
	Engine   string `json:"engine"`
	Metadata *struct {
		ContentHash string     `json:"contentHash"`
		Runtime     string     `json:"runtime"`
		RuntimeIs   string     `json:"runtimeVersion"`
		SDK         string     `json:"packageVersion"`
		CLI         string     `json:"cliPackageVersion"`
		Tasks       []task     `json:"tasks"`
		Queues      []queueDef `json:"queues"`
		Limits      []limitDef `json:"concurrencyLimits"`
	} `json:"metadata"`
}

func readManifest(r *http.Request) (*manifest, error) {
	m := &manifest{}
	if err := decode(r, m); err != nil {
		return nil, err
	}
	switch {
	case m.Metadata == nil:
		return nil, fail(http.StatusBadRequest, "metadata is missing")
	case m.Engine != "" && m.Engine != "V2":
		return nil, fail(http.StatusBadRequest, "This server runs tasks of trigger.dev 4 and later: upgrade with npx trigger.dev@latest update")
	}
	return m, cmp.Or(checkTasks(m.Metadata.Tasks), checkLines(m.Metadata.Queues, m.Metadata.Limits, m.Metadata.Tasks))
}

// worker is the version that a manifest describes.
func (env *environment) worker(m *manifest, version string) *worker {
	in := m.Metadata
	return &worker{
		ID: friendly(workerPrefix, env.newID()), Version: version, ContentHash: in.ContentHash, Runtime: in.Runtime, RuntimeIs: in.RuntimeIs, SDK: in.SDK, CLI: in.CLI,
		Project: env.ref(), CreatedAt: env.cfg.Now().UnixMilli(), Tasks: in.Tasks, Queues: in.Queues, Limits: in.Limits,
	}
}

// registerWorker is POST /api/v1/projects/{ref}/background-workers: what a CLI that is connected has to offer.
func (env *environment) registerWorker(r *http.Request) (any, error) {
	m, err := readManifest(r)
	if err != nil {
		return nil, err
	}
	if env.deployed() {
		return nil, fail(http.StatusBadRequest, "The environment %s gets its versions by trigger deploy", env.Slug)
	}
	if _, err := env.use(r.Context(), r.PathValue("ref"), env.Slug, env.Branch); err != nil { // who comes first names the project
		return nil, err
	}
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	if old := env.workers.newest(); old != nil && old.ContentHash == m.Metadata.ContentHash && old.ContentHash != "" {
		if env.workers.isHanded(old.ID) {
			return registered(old), nil
		}
		return registered(old), env.handTo(r.Context(), old) // it was asked before, and that failed half-way
	}
	w := env.worker(m, env.nextVersion())
	if err := env.adopt(r.Context(), w); err != nil {
		return nil, err
	}
	return registered(w), nil
}

func registered(w *worker) any {
	return map[string]string{"id": w.ID, "version": w.Version, "contentHash": w.ContentHash}
}

// checkTasks refuses a manifest that cannot be served: T33, section 17.1.
func checkTasks(tasks []task) error {
	if len(tasks) > maxTasks {
		return fail(http.StatusBadRequest, "there are more than %d tasks", maxTasks)
	}
	seen := map[string]bool{}
	for i := range tasks {
		t := &tasks[i]
		switch {
		case t.ID == "":
			return fail(http.StatusBadRequest, "a task has no id")
		case seen[t.ID]:
			return fail(http.StatusBadRequest, "The task id %s is used twice: ids must be unique in a project", t.ID)
		}
		seen[t.ID] = true
		if t.Schedule != nil {
			_, err := parseCron(t.Schedule.Cron, t.Schedule.Timezone)
			if err == nil {
				_, err = (&schedule{Cron: t.Schedule.Cron, Timezone: t.Schedule.Timezone, Window: t.Schedule.Window}).window()
			}
			if err != nil {
				return fail(http.StatusBadRequest, "task %s: %v", t.ID, err)
			}
		}
	}
	return nil
}

// checkLines refuses queues and limits that make no sense.
func checkLines(queues []queueDef, limits []limitDef, tasks []task) error {
	check := func(what string, least int, list ...*int) error {
		for _, n := range list {
			if n != nil && (*n < least || *n > maxLimit) {
				return fail(http.StatusBadRequest, "%s: a limit must be from %d to %d", what, least, maxLimit)
			}
		}
		return nil
	}
	var errs []error
	for _, q := range queues {
		errs = append(errs, check("queue "+q.Name, 0, q.Limit, q.Combined))
	}
	for _, l := range limits {
		if !limitName.MatchString(l.Name) {
			errs = append(errs, fail(http.StatusBadRequest, "%q is not the name of a concurrency limit: up to 122 letters, digits, _ and -", l.Name))
		}
		errs = append(errs, check("concurrency limit "+l.Name, 1, l.PerKey, l.Total))
	}
	for i := range tasks {
		t := &tasks[i]
		what := "task " + t.ID
		if t.Queue != nil {
			errs = append(errs, check(what, 0, t.Queue.Limit, t.Queue.Combined))
		}
		if c := t.Concurrency; c != nil {
			if c.Inline != nil {
				errs = append(errs, check(what, 1, c.Inline.PerKey, c.Inline.Total))
			}
			if len(c.Limits) > maxLimits {
				errs = append(errs, fail(http.StatusBadRequest, "%s names more than %d concurrency limits", what, maxLimits))
			}
		}
		errs = append(errs, checkGates(what, t.Gates))
	}
	return cmp.Or(errs...)
}

// nextVersion is the next of a day: section 17.2.
func (env *environment) nextVersion() string {
	day := env.cfg.Now().UTC().Format("20060102")
	n := 0
	see := func(version string) {
		var i int
		if _, err := fmt.Sscanf(version, day+".%d", &i); err == nil {
			n = max(n, i)
		}
	}
	env.workers.mu.RLock()
	for _, w := range env.workers.list {
		see(w.Version)
	}
	env.workers.mu.RUnlock()
	for _, p := range env.deployments.all() {
		see(p.Version)
	}
	return fmt.Sprintf("%s.%d", day, n+1)
}

// adopt keeps a worker and makes it the current one.
func (env *environment) adopt(ctx context.Context, w *worker) error {
	if err := env.keep(ctx, w); err != nil {
		return err
	}
	return env.handTo(ctx, w)
}

// keep stores a worker, so that runs may be bound to it. The oldest is forgotten where there are too many.
func (env *environment) keep(ctx context.Context, w *worker) error {
	rows := []engine.RowPut{{Table: store.Meta, Key: env.metaKey("worker", w.ID), Value: mustJSON(w)}}
	env.workers.mu.RLock()
	list := append(slices.Clone(env.workers.list), w)
	promoted := env.workers.promoted
	env.workers.mu.RUnlock()
	var gone []*worker
	for i := 0; len(list) > maxWorkers && i < len(list); {
		if list[i].ID == promoted {
			i++
			continue
		}
		gone = append(gone, list[i])
		list = slices.Delete(list, i, i+1)
	}
	for _, old := range gone {
		rows = append(rows, engine.RowPut{Table: store.Meta, Key: env.metaKey("worker", old.ID)})
	}
	if err := env.put(ctx, rows...); err != nil {
		return err
	}
	env.workers.mu.Lock()
	defer env.workers.mu.Unlock()
	env.workers.list = list
	env.workers.byID[w.ID] = w
	for _, old := range gone {
		delete(env.workers.byID, old.ID)
	}
	return nil
}

// handTo makes a worker that is kept the current one: its tasks are handed to it, those that it does not have wait for their version. It may be done again, and is
// after a crash in the middle of it: see settle.
func (env *environment) handTo(ctx context.Context, w *worker) error {
	ctx = context.WithoutCancel(ctx) // somebody who asked and went away has not changed his mind
	names := env.taskNames()
	for _, t := range w.Tasks {
		names[t.ID] = true
	}
	if env.deployed() {
		row := engine.RowPut{Table: store.Meta, Key: env.metaKey("promoted", ""), Value: []byte(w.ID)}
		if err := env.put(ctx, row); err != nil {
			return err
		}
		// Before the tasks are handed to it: a run that is leased must find it. After a crash in between it is as if the tasks came with it.
		env.workers.mu.Lock()
		env.workers.promoted = w.ID
		env.workers.mu.Unlock()
	}
	if err := env.registerTasks(ctx, w, names); err != nil {
		return err
	}
	env.workers.mu.Lock()
	env.workers.tasks = names
	env.workers.mu.Unlock()
	if err := env.adjust(ctx, w, engineQueuesAll); err != nil {
		return err
	}
	if err := env.declareSchedules(ctx, w); err != nil {
		return err
	}
	if err := env.put(ctx, engine.RowPut{Table: store.Meta, Key: env.metaKey("handed", ""), Value: []byte(w.ID)}); err != nil {
		return err
	}
	env.workers.mu.Lock()
	defer env.workers.mu.Unlock()
	env.workers.handed = w.ID
	return nil
}

// settle does again, at a start, what a crash may have cut short: the runs of a version that is current and was not handed its tasks would wait for ever,
// a channel whose tasks are silent would tell of nothing.
func (env *environment) settle(ctx context.Context) error {
	w := env.current()
	switch {
	case w != nil && !env.workers.isHanded(w.ID):
		return env.handTo(ctx, w)
	case len(env.channels.all()) > 0:
		return env.registerTasks(ctx, w, env.taskNames())
	}
	return nil
}

// retire ends what an environment does by itself.
func (env *environment) retire(ctx context.Context) error {
	list, err := env.schedules(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := env.dropSchedule(ctx, s.ID); err != nil {
			return err
		}
	}
	for _, ch := range env.channels.all() {
		if err := env.dropChannel(ctx, ch); err != nil {
			return err
		}
	}
	_, err = env.cfg.Host.Submit(ctx, &engine.RemoveApp{Env: env.Name, Name: appName})
	return err
}

func (env *environment) taskNames() map[string]bool {
	env.workers.mu.RLock()
	defer env.workers.mu.RUnlock()
	names := make(map[string]bool, len(env.workers.tasks))
	for n := range env.workers.tasks {
		names[n] = true
	}
	return names
}

// registerTasks tells the engine of all tasks, as worker has them.
func (env *environment) registerTasks(ctx context.Context, w *worker, names map[string]bool) error {
	app := engine.App{ID: engine.UUID(uuid.NewSHA1(idSpace, []byte(env.Name))), Env: env.Name, Name: appName, Door: Name}
	if w != nil {
		app.Checksum = w.ID
		app.Meta = mustJSON(map[string]string{"framework": "trigger.dev " + w.Version, "sdk": "trigger.dev"})
	}
	c := &engine.Register{App: app}
	silent := len(env.channels.wanting(alertRunFailed)) == 0
	for name := range names { // sorted below
		fn := engine.Function{
			ID: env.functionID(name), Env: env.Name, App: appName, Slug: slugPrefix + name, Name: name, Door: Name,
			Config: json.RawMessage(`{}`), MaxAttempts: 1, Pulled: true, Silent: silent, FailuresOnly: true,
		}
		if t := w.task(name); t != nil {
			fn.Pool = poolCurrent
			if t.Retry != nil {
				fn.MaxAttempts = min(max(1, t.Retry.MaxAttempts), maxAttempts)
			}
		}
		c.Functions = append(c.Functions, fn)
	}
	slices.SortFunc(c.Functions, func(a, b engine.Function) int { return cmp.Compare(a.Slug, b.Slug) })
	rep, err := do[engine.RegisterReply](ctx, env, c)
	if err != nil {
		return err
	}
	return rep.Err
}

// know makes sure that a task can be triggered, even if no worker has it yet: section 6.2.
func (env *environment) know(ctx context.Context, name string) error {
	if env.workers.knows(name) {
		return nil
	}
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	names := env.taskNames()
	if names[name] {
		return nil
	}
	if len(names) >= maxTasks {
		return invalid("there are more than %d tasks", maxTasks)
	}
	names[name] = true
	if err := env.registerTasks(ctx, env.current(), names); err != nil {
		return err
	}
	env.workers.mu.Lock()
	env.workers.tasks = names
	env.workers.mu.Unlock()
	return nil
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: trigger: does not marshal: " + err.Error())
	}
	return b
}

// parseCron reads a schedule: section 10.2.
func parseCron(expression, timezone string) (*cron.Schedule, error) {
	switch n := len(strings.Fields(expression)); {
	case n == 0:
		return nil, invalid("Invalid cron expression: CRON expression is required")
	case n > 5:
		return nil, invalid("Invalid cron expression: CRON expressions with seconds are not allowed")
	}
	s, err := cron.Parse(zoned(expression, timezone), cron.Options{Last: true})
	if err != nil {
		return nil, invalid("Invalid cron expression: %v", err)
	}
	return s, nil
}

func zoned(expression, timezone string) string {
	if timezone == "" {
		timezone = "UTC"
	}
	return "TZ=" + timezone + " " + expression
}
