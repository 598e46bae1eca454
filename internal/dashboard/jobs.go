package dashboard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/quartetjobs/quartet/internal/bullmq"
)

// JobSource is a server whose BullMQ queues the dashboard shows.
type JobSource struct {
	ID    string // in URLs: "own", or "upstream"
	Name  string // what users see
	Redis bullmq.Redis
	Loose bool // its answers do not wait for the disk
}

// Bounds of what one answer has.
const (
	maxJobs    = 100
	maxScan    = 20_000 // jobs that one search looks at
	maxMinutes = 24 * 60
)

// queueView is a queue in lists and at the top of its page.
type queueView struct {
	Source      string                  `json:"source"`
	Prefix      string                  `json:"prefix"`
	Name        string                  `json:"name"`
	Counts      map[bullmq.State]int64  `json:"counts"`
	Paused      bool                    `json:"paused"`
	Schedulers  int64                   `json:"schedulers"`
	Workers     int                     `json:"workers"`
	Concurrency int64                   `json:"concurrency"` // of the whole queue; 0: no limit
	Max         int64                   `json:"max"`         // jobs that may begin in Duration; 0: no limit
	Duration    int64                   `json:"duration"`    // ms
	LimitedFor  int64                   `json:"limitedFor"`  // ms
	Version     string                  `json:"version,omitempty"`
	Metrics     map[bullmq.State]*meter `json:"metrics,omitempty"`
	WorkerList  []workerView            `json:"workerList,omitempty"`
}

type meter struct {
	Total  int64   `json:"total"`
	Points []int64 `json:"points"` // a minute each, newest first
}

type workerView struct {
	Name string `json:"name,omitempty"`
	Addr string `json:"addr"`
	Age  int64  `json:"age"`  // s, of its connection
	Idle int64  `json:"idle"` // s, since it last asked for work
}

// jobView is a job in lists and on its page.
type jobView struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	State     bullmq.State    `json:"state,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
	Options   json.RawMessage `json:"options,omitempty"`
	Progress  json.RawMessage `json:"progress,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     string          `json:"error,omitempty"`
	Stack     []string        `json:"stack,omitempty"`
	AddedAt   int64           `json:"addedAt"`
	StartedAt int64           `json:"startedAt,omitempty"`
	EndedAt   int64           `json:"endedAt,omitempty"`
	DueAt     int64           `json:"dueAt,omitempty"`
	Priority  int64           `json:"priority,omitempty"`
	Attempts  int64           `json:"attempts"`
	Started   int64           `json:"attemptsStarted"`
	MaxTries  int64           `json:"maxAttempts"`
	Stalled   int64           `json:"stalled,omitempty"`
	Worker    string          `json:"worker,omitempty"`
	Scheduler string          `json:"scheduler,omitempty"`
	Dedup     string          `json:"deduplicationId,omitempty"`
	Parent    *jobRef         `json:"parent,omitempty"`
	Queue     *queueRef       `json:"queue,omitempty"` // in lists over several queues
}

type queueRef struct {
	Source string `json:"source"`
	Prefix string `json:"prefix"`
	Name   string `json:"name"`
}

type jobRef struct {
	queueRef
	ID string `json:"id"`
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func viewJob(q *bullmq.Queue, source string, j *bullmq.Job, state bullmq.State) jobView {
	v := jobView{
		ID: j.ID, Name: j.Name, State: state, Data: j.Data, Options: j.Options, Progress: j.Progress, Result: j.Result, Error: j.Error, Stack: j.Stack,
		AddedAt: millis(j.Timestamp), StartedAt: millis(j.Processed), EndedAt: millis(j.Finished), Priority: j.Priority, Attempts: j.Attempts,
		Started: j.Started, MaxTries: max(1, j.MaxTries), Stalled: j.Stalled, Worker: j.Worker, Scheduler: j.Scheduler, Dedup: j.Dedup,
	}
	if state == bullmq.Delayed {
		v.DueAt = millis(j.Due)
	}
	if p, id, ok := q.ParentOf(j); ok {
		v.Parent = &jobRef{queueRef{source, p.Prefix, p.Name}, id}
	}
	return v
}

// source is the server that a request names; the first one if it names none.
func (d *Dashboard) source(q url.Values) (*JobSource, error) {
	id := q.Get("source")
	for i := range d.cfg.Jobs {
		if s := &d.cfg.Jobs[i]; id == "" || s.ID == id {
			return s, nil
		}
	}
	return nil, notFound("source of jobs", id)
}

// queue is the queue that a request names.
func (d *Dashboard) queue(r *http.Request) (*bullmq.Queue, *JobSource, error) {
	q := r.URL.Query()
	s, err := d.source(q)
	if err != nil {
		return nil, nil, err
	}
	name := q.Get("queue")
	if name == "" {
		return nil, nil, badRequest("queue is missing")
	}
	return bullmq.NewQueue(s.Redis, cmp.Or(q.Get("prefix"), bullmq.DefaultPrefix), name), s, nil
}

// jobsError gives the errors of operations on jobs their status.
func jobsError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bullmq.ErrNotFound):
		return &apiError{http.StatusNotFound, "there is no such job, queue or scheduler any more"}
	case errors.Is(err, bullmq.ErrState), errors.Is(err, bullmq.ErrLocked), errors.Is(err, bullmq.ErrScheduled), errors.Is(err, bullmq.ErrNotPaused), errors.Is(err, bullmq.ErrActive):
		return &apiError{http.StatusConflict, err.Error()}
	}
	if in, ok := errors.AsType[bullmq.InputError](err); ok {
		return badRequest(in.Error())
	}
	return err
}

// unreachable is what goes wrong with a server of somebody else's.
func unreachable(s *JobSource, err error) error {
	var known *apiError
	if err = jobsError(err); err == nil || errors.As(err, &known) {
		return err
	}
	return &apiError{http.StatusBadGateway, s.Name + ": " + err.Error()}
}

// listQueues is GET /jobs/queues: the queues of all sources.
func (d *Dashboard) listQueues(w http.ResponseWriter, r *http.Request, _ string) error {
	out, problems := []queueView{}, map[string]string{}
	for i := range d.cfg.Jobs {
		s := &d.cfg.Jobs[i]
		views, err := d.queuesOf(r.Context(), s)
		if err != nil {
			problems[s.Name] = err.Error()
			continue
		}
		out = append(out, views...)
	}
	sources := []map[string]any{}
	for _, s := range d.cfg.Jobs {
		sources = append(sources, map[string]any{"id": s.ID, "name": s.Name, "loose": s.Loose})
	}
	writeJSON(w, http.StatusOK, map[string]any{"queues": out, "problems": problems, "sources": sources})
	return nil
}

func (d *Dashboard) queuesOf(ctx context.Context, s *JobSource) ([]queueView, error) {
	queues, err := bullmq.Queues(ctx, s.Redis, "")
	if err != nil {
		return nil, err
	}
	workers, err := bullmq.Workers(ctx, s.Redis, queues)
	if err != nil {
		return nil, err
	}
	var out []queueView
	for _, q := range queues {
		c, err := q.Counts(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, viewQueue(s, q, c, workers[q]))
	}
	return out, nil
}

func viewQueue(s *JobSource, q *bullmq.Queue, c *bullmq.Counts, workers []bullmq.Worker) queueView {
	return queueView{
		Source: s.ID, Prefix: q.Prefix, Name: q.Name, Counts: c.Jobs, Paused: c.Paused, Schedulers: c.Schedulers, Workers: len(workers), Concurrency: c.Concurrency,
		Max: c.Max, Duration: c.Duration.Milliseconds(), LimitedFor: c.LimitedFor.Milliseconds(), Version: c.Version,
	}
}

// getQueue is GET /jobs/queue: one queue with its workers and what ended in each of the last minutes.
func (d *Dashboard) getQueue(w http.ResponseWriter, r *http.Request, _ string) error {
	q, s, err := d.queue(r)
	if err != nil {
		return err
	}
	minutes := min(max(1, intParam(r, "minutes", 60)), maxMinutes)
	v, err := d.queueDetails(r.Context(), s, q, minutes)
	if err != nil {
		return unreachable(s, err)
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}

func (d *Dashboard) queueDetails(ctx context.Context, s *JobSource, q *bullmq.Queue, minutes int) (*queueView, error) {
	c, err := q.Counts(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := bullmq.Workers(ctx, s.Redis, []*bullmq.Queue{q})
	if err != nil {
		return nil, err
	}
	v := viewQueue(s, q, c, workers[q])
	for _, k := range workers[q] {
		v.WorkerList = append(v.WorkerList, workerView{k.Name, k.Addr, int64(k.Age.Seconds()), int64(k.Idle.Seconds())})
	}
	v.Metrics = map[bullmq.State]*meter{}
	for _, state := range []bullmq.State{bullmq.Completed, bullmq.Failed} {
		m, err := q.Metrics(ctx, state, minutes)
		if err != nil {
			return nil, err
		}
		v.Metrics[state] = &meter{m.Total, append([]int64{}, m.Points...)}
	}
	return &v, nil
}

func intParam(r *http.Request, name string, def int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		return def
	}
	return n
}

// listJobs is GET /jobs?state=&start=&search=: jobs of one state, or those of them that a text is in.
func (d *Dashboard) listJobs(w http.ResponseWriter, r *http.Request, _ string) error {
	q, s, err := d.queue(r)
	if err != nil {
		return err
	}
	state, err := bullmq.ParseState(cmp.Or(r.URL.Query().Get("state"), string(bullmq.Waiting)))
	if err != nil {
		return badRequest(err.Error())
	}
	count := int64(min(max(1, intParam(r, "count", 50)), maxJobs))
	start := int64(max(0, intParam(r, "start", 0)))
	var jobs []*bullmq.Job
	next := ""
	if search := r.URL.Query().Get("search"); search != "" {
		jobs, err = d.search(r.Context(), q, state, search, count)
	} else if jobs, err = q.List(r.Context(), state, start, count); int64(len(jobs)) == count {
		next = strconv.FormatInt(start+count, 10)
	}
	if err != nil {
		return unreachable(s, err)
	}
	out := []jobView{}
	for _, j := range jobs {
		out = append(out, viewJob(q, s.ID, j, state))
	}
	writeJSON(w, http.StatusOK, map[string]any{"jobs": out, "next": next})
	return nil
}

// search finds the job of an id at once, and others by looking through those of a state.
func (d *Dashboard) search(ctx context.Context, q *bullmq.Queue, state bullmq.State, text string, limit int64) ([]*bullmq.Job, error) {
	j, err := q.Get(ctx, text)
	if err == nil {
		return []*bullmq.Job{j}, nil
	}
	if !errors.Is(err, bullmq.ErrNotFound) {
		return nil, err
	}
	return q.Search(ctx, state, text, maxScan, limit)
}

// listFailed is GET /jobs/failed: the last failed jobs of all queues.
func (d *Dashboard) listFailed(w http.ResponseWriter, r *http.Request, _ string) error {
	count := min(max(1, intParam(r, "count", 50)), maxJobs)
	out := []jobView{}
	for i := range d.cfg.Jobs {
		s := &d.cfg.Jobs[i]
		queues, err := bullmq.Queues(r.Context(), s.Redis, "")
		if err != nil {
			return unreachable(s, err)
		}
		for _, q := range queues {
			jobs, err := q.List(r.Context(), bullmq.Failed, 0, int64(count))
			if err != nil {
				return unreachable(s, err)
			}
			for _, j := range jobs {
				v := viewJob(q, s.ID, j, bullmq.Failed)
				v.Queue = &queueRef{s.ID, q.Prefix, q.Name}
				out = append(out, v)
			}
		}
	}
	slices.SortFunc(out, func(a, b jobView) int { return cmp.Compare(b.EndedAt, a.EndedAt) })
	writeJSON(w, http.StatusOK, map[string]any{"jobs": out[:min(len(out), count)]})
	return nil
}

// nodeView is a job of a flow.
type nodeView struct {
	jobRef
	Job      string       `json:"job,omitempty"` // name
	State    bullmq.State `json:"state"`
	Children []nodeView   `json:"children,omitempty"`
	More     bool         `json:"more,omitempty"`
}

func viewNode(source string, n *bullmq.Node) nodeView {
	v := nodeView{jobRef: jobRef{queueRef{source, n.Prefix, n.Queue}, n.ID}, State: n.State, More: n.More}
	if n.Job != nil {
		v.Job = n.Job.Name
	}
	for _, c := range n.Children {
		v.Children = append(v.Children, viewNode(source, c))
	}
	return v
}

// getJob is GET /jobs/job?id=: everything about one job.
func (d *Dashboard) getJob(w http.ResponseWriter, r *http.Request, _ string) error {
	q, s, err := d.queue(r)
	if err != nil {
		return err
	}
	ctx, id := r.Context(), r.URL.Query().Get("id")
	j, err := q.Get(ctx, id)
	if err != nil {
		return unreachable(s, err)
	}
	state, err := q.State(ctx, id)
	if err != nil {
		return unreachable(s, err)
	}
	logs, total, err := q.Logs(ctx, id, int64(max(0, intParam(r, "logs", 0))), 500)
	if err != nil {
		return unreachable(s, err)
	}
	flow, err := q.Flow(ctx, id)
	if err != nil {
		return unreachable(s, err)
	}
	writeJSON(w, http.StatusOK, map[string]any{"job": viewJob(q, s.ID, j, state), "logs": logs, "logCount": total, "flow": viewNode(s.ID, flow), "now": d.cfg.Now().UnixMilli()})
	return nil
}

// schedulerView is a scheduler of jobs.
type schedulerView struct {
	ID      string          `json:"id"`
	Name    string          `json:"name"`
	Pattern string          `json:"pattern,omitempty"`
	Zone    string          `json:"zone,omitempty"`
	Every   int64           `json:"every,omitempty"` // ms
	Limit   int64           `json:"limit,omitempty"`
	Runs    int64           `json:"runs"`
	EndAt   int64           `json:"endAt,omitempty"`
	NextAt  int64           `json:"nextAt"`
	Data    json.RawMessage `json:"data,omitempty"`
	Options json.RawMessage `json:"options,omitempty"`
}

// listSchedulers is GET /jobs/schedulers.
func (d *Dashboard) listSchedulers(w http.ResponseWriter, r *http.Request, _ string) error {
	q, s, err := d.queue(r)
	if err != nil {
		return err
	}
	list, err := q.Schedulers(r.Context(), int64(max(0, intParam(r, "start", 0))), maxJobs)
	if err != nil {
		return unreachable(s, err)
	}
	out := []schedulerView{}
	for _, x := range list {
		out = append(out, schedulerView{
			ID: x.ID, Name: x.Name, Pattern: x.Pattern, Zone: x.Zone, Every: x.Every.Milliseconds(), Limit: x.Limit, Runs: x.Runs, EndAt: millis(x.End), NextAt: millis(x.Next),
			Data: x.Data, Options: x.Options,
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{"schedulers": out})
	return nil
}

// action is what one changes: which fields count is said at each action.
type action struct {
	ID          string          `json:"id"`
	State       string          `json:"state"`
	Name        string          `json:"name"`
	Data        json.RawMessage `json:"data"`
	Options     map[string]any  `json:"options"`
	Delay       int64           `json:"delay"` // ms
	Priority    int64           `json:"priority"`
	Front       bool            `json:"front"`
	Children    bool            `json:"children"`
	Reset       bool            `json:"reset"`
	Force       bool            `json:"force"`
	Older       int64           `json:"older"` // ms
	Limit       int             `json:"limit"`
	Concurrency int             `json:"concurrency"`
	Max         int             `json:"max"`
	Duration    int64           `json:"duration"` // ms
}

// actions are POST /jobs/{action}: what they are called, and what they do and answer.
var actions = map[string]func(ctx context.Context, q *bullmq.Queue, a *action) (any, error){
	"add": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		if a.Name == "" {
			return nil, badRequest("the job has no name")
		}
		o := bullmq.Options{Delay: time.Duration(a.Delay) * time.Millisecond, Priority: a.Priority, Front: a.Front, More: a.Options}
		if err := takeOptions(&o); err != nil {
			return nil, err
		}
		id, err := q.Add(ctx, a.Name, a.Data, o)
		return map[string]string{"id": id}, err
	},
	"retry": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		state, err := bullmq.ParseState(cmp.Or(a.State, "failed"))
		if err != nil {
			return nil, badRequest(err.Error())
		}
		return nil, q.Retry(ctx, a.ID, state, a.Reset)
	},
	"promote": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) { return nil, q.Promote(ctx, a.ID) },
	"remove": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.Remove(ctx, a.ID, a.Children)
	},
	"data": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.SetData(ctx, a.ID, a.Data)
	},
	"delay": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.SetDelay(ctx, a.ID, time.Duration(a.Delay)*time.Millisecond)
	},
	"priority": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.SetPriority(ctx, a.ID, a.Priority, a.Front)
	},
	"pause":  func(ctx context.Context, q *bullmq.Queue, _ *action) (any, error) { return changed(q.Pause(ctx)) },
	"resume": func(ctx context.Context, q *bullmq.Queue, _ *action) (any, error) { return changed(q.Resume(ctx)) },
	"drain": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		n, err := q.Drain(ctx, a.State == string(bullmq.Delayed))
		return map[string]int64{"count": n}, err
	},
	"clean": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		state, err := bullmq.ParseState(a.State)
		if err != nil {
			return nil, badRequest(err.Error())
		}
		limit := a.Limit
		if limit <= 0 {
			limit = math.MaxInt32
		}
		total := 0
		for total < limit {
			ids, err := q.Clean(ctx, state, time.Duration(a.Older)*time.Millisecond, min(1000, limit-total))
			if total += len(ids); err != nil || len(ids) == 0 {
				return map[string]int{"count": total}, err
			}
		}
		return map[string]int{"count": total}, nil
	},
	"retry-all": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		state, err := bullmq.ParseState(cmp.Or(a.State, "failed"))
		if err != nil {
			return nil, badRequest(err.Error())
		}
		n, err := q.RetryAll(ctx, state, math.MaxInt64)
		return map[string]int64{"count": n}, err
	},
	"obliterate": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.Obliterate(ctx, a.Force)
	},
	"concurrency": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.SetConcurrency(ctx, max(0, a.Concurrency))
	},
	"rate-limit": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		if a.Max > 0 && a.Duration <= 0 {
			return nil, badRequest("a rate limit needs a duration in milliseconds")
		}
		return nil, q.SetRateLimit(ctx, max(0, a.Max), time.Duration(a.Duration)*time.Millisecond)
	},
	"unschedule": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		return nil, q.RemoveScheduler(ctx, a.ID)
	},
	"run-scheduler": func(ctx context.Context, q *bullmq.Queue, a *action) (any, error) {
		id, err := q.RunScheduler(ctx, a.ID)
		return map[string]string{"id": id}, err
	},
}

func changed(ok bool, err error) (any, error) { return map[string]bool{"changed": ok}, err }

// takeOptions reads the options of a job that was typed or copied in BullMQ's own notation: those that decide where it goes.
func takeOptions(o *bullmq.Options) error {
	num := func(name string) (int64, bool) {
		switch v := o.More[name].(type) {
		case json.Number:
			n, err := v.Int64()
			return n, err == nil
		case float64:
			return int64(v), true
		}
		return 0, false
	}
	if n, ok := num("delay"); ok && o.Delay == 0 {
		o.Delay = time.Duration(n) * time.Millisecond
	}
	if n, ok := num("priority"); ok && o.Priority == 0 {
		o.Priority = n
	}
	if n, ok := num("attempts"); ok {
		o.Attempts = int(n)
	}
	if b, ok := o.More["lifo"].(bool); ok {
		o.Front = o.Front || b
	}
	if id, ok := o.More["jobId"].(string); ok {
		o.ID = id
	}
	for _, name := range []string{"repeat", "parent", "de", "deduplication"} {
		if _, ok := o.More[name]; ok {
			return badRequest("the option " + name + " cannot be given here")
		}
	}
	return nil
}

// changeJobs is POST /jobs/{action}.
func (d *Dashboard) changeJobs(w http.ResponseWriter, r *http.Request, _ string) error {
	do := actions[r.PathValue("action")]
	if do == nil {
		return notFound("action", r.PathValue("action"))
	}
	q, s, err := d.queue(r)
	if err != nil {
		return err
	}
	a := &action{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(a); err != nil && err != io.EOF {
		return badRequest("invalid JSON: " + err.Error())
	}
	v, err := do(r.Context(), q, a)
	if err != nil {
		return unreachable(s, err)
	}
	if v == nil {
		v = struct{}{}
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}
