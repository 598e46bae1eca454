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
	"time"

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
		Name  string `json:"name,omitempty"`
		Limit *int   `json:"concurrencyLimit,omitempty"`
	} `json:"queue,omitempty"`
	Retry *struct {
		MaxAttempts int     `json:"maxAttempts,omitempty"`
		Factor      float64 `json:"factor,omitempty"`
		Min         float64 `json:"minTimeoutInMs,omitempty"`
		Max         float64 `json:"maxTimeoutInMs,omitempty"`
	} `json:"retry,omitempty"`
	Machine *struct {
		Preset string `json:"preset,omitempty"`
	} `json:"machine,omitempty"`
	Source   string `json:"triggerSource,omitempty"`
	Schedule *struct {
		Cron         string   `json:"cron"`
		Timezone     string   `json:"timezone,omitempty"`
		Environments []string `json:"environments,omitempty"`
	} `json:"schedule,omitempty"`
	MaxDuration float64         `json:"maxDuration,omitempty"`
	TTL         json.RawMessage `json:"ttl,omitempty"`
}

// queueDef is a queue as a worker's manifest has it.
type queueDef struct {
	Name  string `json:"name"`
	Limit *int   `json:"concurrencyLimit,omitempty"`
}

// worker is one registered version.
type worker struct {
	ID          string     `json:"id"` // friendly
	Version     string     `json:"version"`
	ContentHash string     `json:"contentHash"`
	Runtime     string     `json:"runtime,omitempty"`
	Project     string     `json:"project"`
	CreatedAt   int64      `json:"createdAt"`
	Tasks       []task     `json:"tasks"`
	Queues      []queueDef `json:"queues,omitempty"`
}

func (w *worker) task(id string) *task {
	if w == nil {
		return nil
	}
	for i := range w.Tasks {
		if w.Tasks[i].ID == id {
			return &w.Tasks[i]
		}
	}
	return nil
}

// queueOf is the queue that runs of a task stand in, and its limit; nil: none.
func (w *worker) queueOf(id string) (name string, limit *int) {
	name = slugPrefix + id
	t := w.task(id)
	if t == nil || t.Queue == nil {
		return name, nil
	}
	if t.Queue.Name != "" {
		name = t.Queue.Name
	}
	if t.Queue.Limit != nil {
		return name, t.Queue.Limit
	}
	return name, w.limitOf(name)
}

// limitOf is the declared limit of a queue; nil: none.
func (w *worker) limitOf(name string) *int {
	if w == nil {
		return nil
	}
	for i := range w.Queues {
		if w.Queues[i].Name == name {
			return w.Queues[i].Limit
		}
	}
	for i := range w.Tasks {
		if q := w.Tasks[i].Queue; q != nil && (q.Name == name || q.Name == "" && slugPrefix+w.Tasks[i].ID == name) {
			return q.Limit
		}
	}
	return nil
}

// workers are the versions that are known.
type workers struct {
	mu       sync.RWMutex
	list     []*worker // oldest first
	byID     map[string]*worker
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
func (d *Door) metaKey(kind, id string) []byte {
	return []byte("trigger\x00" + d.cfg.Env + "\x00" + kind + "\x00" + id)
}

// load reads what is registered.
func (d *Door) load(ctx context.Context) error {
	rows, err := d.cfg.Host.Scan(ctx, store.Query{Table: store.Meta, Prefix: d.metaKey("worker", ""), Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	d.workers.mu.Lock()
	defer d.workers.mu.Unlock()
	d.workers.list, d.workers.byID, d.workers.tasks = nil, map[string]*worker{}, map[string]bool{}
	for _, row := range rows {
		w := &worker{}
		if err := json.Unmarshal(row.Value, w); err != nil {
			return err
		}
		d.workers.list = append(d.workers.list, w)
		d.workers.byID[w.ID] = w
	}
	slices.SortFunc(d.workers.list, func(a, b *worker) int { return cmp.Compare(a.ID, b.ID) })
	rows, err = d.cfg.Host.Scan(ctx, store.Query{Table: store.Functions, Prefix: engine.FunctionKey(d.cfg.Env, slugPrefix), Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	for _, row := range rows {
		var fn engine.Function
		if err := json.Unmarshal(row.Value, &fn); err != nil {
			return err
		}
		if fn.Door == Name {
			d.workers.tasks[strings.TrimPrefix(fn.Slug, slugPrefix)] = true
		}
	}
	return nil
}

// registerWorker is POST /api/v1/projects/{ref}/background-workers.
func (d *Door) registerWorker(r *http.Request) (any, error) {
	var in struct {
		Engine   string `json:"engine"`
		Metadata *struct {
			ContentHash string     `json:"contentHash"`
			Runtime     string     `json:"runtime"`
			Tasks       []task     `json:"tasks"`
			Queues      []queueDef `json:"queues"`
		} `json:"metadata"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Metadata == nil:
		return nil, fail(http.StatusBadRequest, "metadata is missing")
	case in.Engine != "" && in.Engine != "V2":
		return nil, fail(http.StatusBadRequest, "This server runs tasks of trigger.dev 4 and later: upgrade with npx trigger.dev@latest update")
	}
	if err := checkTasks(in.Metadata.Tasks); err != nil {
		return nil, err
	}
	d.workers.register.Lock()
	defer d.workers.register.Unlock()
	if old := d.workers.newest(); old != nil && old.ContentHash == in.Metadata.ContentHash && in.Metadata.ContentHash != "" {
		return registered(old), nil
	}
	now := d.cfg.Now().UTC()
	w := &worker{
		ID: friendly(workerPrefix, d.newID()), Version: d.nextVersion(now), ContentHash: in.Metadata.ContentHash, Runtime: in.Metadata.Runtime,
		Project: r.PathValue("ref"), CreatedAt: now.UnixMilli(), Tasks: in.Metadata.Tasks, Queues: in.Metadata.Queues,
	}
	if err := d.adopt(r.Context(), w); err != nil {
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
			if _, err := parseCron(t.Schedule.Cron, t.Schedule.Timezone); err != nil {
				return fail(http.StatusBadRequest, "task %s: %v", t.ID, err)
			}
		}
	}
	return nil
}

// nextVersion is the next of a day: section 17.2.
func (d *Door) nextVersion(now time.Time) string {
	day := now.Format("20060102")
	n := 0
	d.workers.mu.RLock()
	defer d.workers.mu.RUnlock()
	for _, w := range d.workers.list {
		var i int
		if _, err := fmt.Sscanf(w.Version, day+".%d", &i); err == nil {
			n = max(n, i)
		}
	}
	return fmt.Sprintf("%s.%d", day, n+1)
}

// adopt makes a worker the current one: its tasks are handed to it, those that it does not have wait for their version.
func (d *Door) adopt(ctx context.Context, w *worker) error {
	b, err := json.Marshal(w)
	if err != nil {
		return err
	}
	rows := []engine.RowPut{{Table: store.Meta, Key: d.metaKey("worker", w.ID), Value: b}}
	d.workers.mu.RLock()
	var gone []*worker
	if n := len(d.workers.list) + 1 - maxWorkers; n > 0 {
		gone = slices.Clone(d.workers.list[:n])
	}
	d.workers.mu.RUnlock()
	for _, old := range gone {
		rows = append(rows, engine.RowPut{Table: store.Meta, Key: d.metaKey("worker", old.ID)})
	}
	// The worker first: a run that is handed out must find it.
	if _, err := d.cfg.Host.Submit(ctx, &engine.Put{Rows: rows}); err != nil {
		return err
	}
	names := d.taskNames()
	for _, t := range w.Tasks {
		names[t.ID] = true
	}
	if err := d.registerTasks(ctx, w, names); err != nil {
		return err
	}
	d.workers.mu.Lock()
	d.workers.list = append(d.workers.list[len(gone):], w)
	d.workers.byID[w.ID] = w
	for _, old := range gone {
		delete(d.workers.byID, old.ID)
	}
	d.workers.tasks = names
	d.workers.mu.Unlock()
	if err := d.limitQueues(ctx, w); err != nil {
		return err
	}
	return d.declareSchedules(ctx, w)
}

func (d *Door) taskNames() map[string]bool {
	d.workers.mu.RLock()
	defer d.workers.mu.RUnlock()
	names := make(map[string]bool, len(d.workers.tasks))
	for n := range d.workers.tasks {
		names[n] = true
	}
	return names
}

// registerTasks tells the engine of all tasks, as worker has them.
func (d *Door) registerTasks(ctx context.Context, w *worker, names map[string]bool) error {
	app := engine.App{ID: engine.UUID(uuid.NewSHA1(idSpace, []byte(d.cfg.Env))), Env: d.cfg.Env, Name: appName, Door: Name}
	if w != nil {
		app.Checksum = w.ID
		app.Meta = mustJSON(map[string]string{"framework": "trigger.dev " + w.Version, "sdk": "trigger.dev"})
	}
	c := &engine.Register{App: app}
	for name := range names { // sorted below
		fn := engine.Function{
			ID: engine.UUID(uuid.NewSHA1(idSpace, []byte(d.cfg.Env+"\x00"+name))), Env: d.cfg.Env, App: appName, Slug: slugPrefix + name, Name: name, Door: Name,
			Config: json.RawMessage(`{}`), MaxAttempts: 1, Pulled: true, Silent: true,
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
	rep, err := do[engine.RegisterReply](ctx, d, c)
	if err != nil {
		return err
	}
	return rep.Err
}

// know makes sure that a task can be triggered, even if no worker has it yet: section 6.2.
func (d *Door) know(ctx context.Context, name string) error {
	if d.workers.knows(name) {
		return nil
	}
	d.workers.register.Lock()
	defer d.workers.register.Unlock()
	names := d.taskNames()
	if names[name] {
		return nil
	}
	if len(names) >= maxTasks {
		return invalid("there are more than %d tasks", maxTasks)
	}
	names[name] = true
	if err := d.registerTasks(ctx, d.workers.newest(), names); err != nil {
		return err
	}
	d.workers.mu.Lock()
	d.workers.tasks = names
	d.workers.mu.Unlock()
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
	s, err := cron.Parse(zoned(expression, timezone), cron.Options{})
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
