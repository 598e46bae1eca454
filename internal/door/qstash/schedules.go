package qstash

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/cron"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// A schedule is an engine function of its own, whose runs are its ticks: each makes the messages. Section 12.
const scheduleSlug = "qstash-schedule:"

// schedule is what the engine keeps as the function's config.
type schedule struct {
	ID          string `json:"id"`
	Destination string `json:"destination"`
	CreatedAt   int64  `json:"createdAt"`
	config
	Body     []byte `json:"body,omitempty"`
	CallerIP string `json:"callerIP,omitempty"`
}

// ticked is the result of a tick's run.
type ticked struct {
	Messages []string `json:"messages"`
	Error    string   `json:"error,omitempty"`
}

// scheduleView is section 12.2.
type scheduleView struct {
	ScheduleID     string            `json:"scheduleId"`
	Cron           string            `json:"cron"`
	Destination    string            `json:"destination"`
	CreatedAt      int64             `json:"createdAt"`
	Method         string            `json:"method"`
	Paused         bool              `json:"isPaused"`
	Header         http.Header       `json:"header,omitempty"`
	Body           string            `json:"body,omitempty"`
	BodyBase64     string            `json:"bodyBase64,omitempty"`
	Retries        int               `json:"retries"`
	Delay          int64             `json:"delay,omitempty"`
	Timeout        int64             `json:"timeout,omitempty"`
	Callback       string            `json:"callback,omitempty"`
	CallbackHeader http.Header       `json:"callbackHeader,omitempty"`
	Failure        string            `json:"failureCallback,omitempty"`
	FailureHeader  http.Header       `json:"failureCallbackHeader,omitempty"`
	CallerIP       string            `json:"callerIP,omitempty"`
	Queue          string            `json:"queueName,omitempty"`
	FlowKey        string            `json:"flowControlKey,omitempty"`
	Parallelism    int               `json:"parallelism,omitempty"`
	Rate           int               `json:"rate,omitempty"`
	Period         int64             `json:"period,omitempty"`
	RetryDelay     string            `json:"retryDelayExpression,omitempty"`
	Label          string            `json:"label,omitempty"`
	Labels         []string          `json:"labels,omitempty"`
	Last           int64             `json:"lastScheduleTime,omitempty"`
	Next           int64             `json:"nextScheduleTime,omitempty"`
	LastStates     map[string]string `json:"lastScheduleStates,omitempty"`
	Error          string            `json:"error,omitempty"`
}

func (d *Door) scheduleFn(id string) engine.UUID {
	return engine.UUID(uuid.NewSHA1(idSpace, []byte(d.cfg.Env+"\x00schedule\x00"+id)))
}

// putSchedule creates a schedule or replaces the one of its id whole, and returns its id.
func (d *Door) putSchedule(ctx context.Context, dest string, c *config, body []byte, ip string) (string, error) {
	id := c.Schedule
	if id == "" {
		id = "scd_" + d.cfg.NewID(d.cfg.Now().UnixMilli()).String()
	}
	if !isURL(dest) {
		g, err := d.group(ctx, dest)
		if err != nil {
			return "", err
		}
		if g == nil {
			return "", &inputError{http.StatusNotFound, "topic " + dest + " not found"}
		}
	}
	s := schedule{ID: id, Destination: dest, CreatedAt: d.cfg.Now().UnixMilli(), config: *c, Body: body, CallerIP: ip}
	s.NotBefore = 0
	d.changes.Lock()
	defer d.changes.Unlock()
	if old, _, err := d.schedule(ctx, id); err != nil {
		return "", err
	} else if old != nil {
		s.CreatedAt = old.CreatedAt
	}
	if c.Queue != "" { // an existing one is left as it is
		if ok, err := d.setQueue(ctx, &engine.SetQueue{Name: queuePrefix + c.Queue}); err != nil {
			return "", err
		} else if !ok {
			if _, err := d.setQueue(ctx, &engine.SetQueue{Name: queuePrefix + c.Queue, Create: true, PerRun: true, Parallelism: new(1)}); err != nil {
				return "", err
			}
		}
	}
	cfg := mustJSON(s)
	v, err := d.cfg.Host.Submit(ctx, &engine.Register{
		App: engine.App{ID: d.scheduleFn(id), Env: d.cfg.Env, Name: scheduleSlug + id, Door: Name, Checksum: string(cfg)},
		Functions: []engine.Function{{
			ID: d.scheduleFn(id), Env: d.cfg.Env, App: scheduleSlug + id, Slug: scheduleSlug + id, Name: "QStash schedule " + id, Door: Name, Config: cfg,
			MaxAttempts: 1, Silent: true, Triggers: []engine.Trigger{{Cron: c.Cron, CronEvent: "qstash/schedule"}},
		}},
	})
	if err != nil {
		return "", err
	}
	if rep := v.(engine.RegisterReply); rep.Err != nil {
		return "", badRequest("Upstash-Cron: %v", rep.Err)
	}
	return id, nil
}

// schedule reads a schedule; nil when there is none.
func (d *Door) schedule(ctx context.Context, id string) (*schedule, *engine.Function, error) {
	raw, ok, err := d.cfg.Host.Get(ctx, store.Functions, engine.FunctionKey(d.cfg.Env, scheduleSlug+id))
	if err != nil || !ok {
		return nil, nil, err
	}
	return parseSchedule(raw)
}

func parseSchedule(raw []byte) (*schedule, *engine.Function, error) {
	fn, s := &engine.Function{}, &schedule{}
	if err := json.Unmarshal(raw, fn); err != nil {
		return nil, nil, err
	}
	if fn.Archived {
		return nil, nil, nil
	}
	if err := json.Unmarshal(fn.Config, s); err != nil {
		return nil, nil, err
	}
	return s, fn, nil
}

// tick makes the messages of one tick.
func (d *Door) tick(ctx context.Context, c *engine.Call) *engine.Report {
	rep := &engine.Report{Run: c.Run, Request: c.Request}
	rep.Call.Started = d.cfg.Now().UnixMilli()
	s := &schedule{}
	var out ticked
	err := json.Unmarshal(c.Fn.Config, s)
	if err == nil {
		var res *result
		res, err = d.publish(ctx, &outgoing{
			dest: s.Destination, config: s.config, body: s.Body, callerIP: s.CallerIP, schedule: s.ID, key: "tick:" + c.Run.String(),
		})
		if calls.Gone(err) {
			return nil
		}
		if err == nil {
			for _, p := range res.list {
				out.Messages = append(out.Messages, p.MessageID)
			}
		}
	}
	rep.Call.Ended = d.cfg.Now().UnixMilli()
	if err != nil {
		out.Error = err.Error()
		rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Final: true, Value: mustJSON(map[string]any{"name": "ScheduleError", "message": out.Error, "error": out.Error})}}
		return rep
	}
	rep.Ops = []engine.Op{{Kind: engine.OpRunDone, Value: mustJSON(out)}}
	return rep
}

// serveSchedules is everything below /v2/schedules.
func (d *Door) serveSchedules(w http.ResponseWriter, r *http.Request, rest string) error {
	ctx := r.Context()
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if id, verb, ok := strings.Cut(strings.Trim(rest, "/"), "/"); !ok || verb != "pause" && verb != "resume" {
			return d.createSchedule(w, r)
		} else if r.Method == http.MethodPost {
			return d.pauseSchedule(w, r, id, verb == "pause")
		}
	}
	id, verb, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	id, err := url.PathUnescape(id)
	if err != nil {
		return badRequest("%v", err)
	}
	switch {
	case id == "" && r.Method == http.MethodGet:
		return d.listSchedules(w, r)
	case (verb == "pause" || verb == "resume") && r.Method == http.MethodPatch:
		return d.pauseSchedule(w, r, id, verb == "pause")
	case verb == "" && r.Method == http.MethodGet:
		s, fn, err := d.schedule(ctx, id)
		if err != nil {
			return err
		}
		if s == nil {
			return notFound("schedule", id)
		}
		v, err := d.viewSchedule(ctx, s, fn)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, v)
	case verb == "" && id != "" && r.Method == http.MethodDelete:
		if _, err := d.cfg.Host.Submit(ctx, &engine.RemoveApp{Env: d.cfg.Env, Name: scheduleSlug + id}); err != nil {
			return err
		}
		return done(w)
	}
	return wrongMethod(r)
}

// createSchedule is POST /v2/schedules/{destination}.
func (d *Door) createSchedule(w http.ResponseWriter, r *http.Request) error {
	const prefix = "/v2/schedules/"
	dest, query, err := destination(r.RequestURI, r.RequestURI[:min(len(prefix), len(r.RequestURI))])
	if err != nil {
		return err
	}
	body, err := d.readBody(w, r, d.cfg.MaxBody)
	if err != nil {
		return err
	}
	c, err := parseConfig(r.Header, query)
	if err != nil {
		return err
	}
	if c.Cron == "" {
		return badRequest("Upstash-Cron is required")
	}
	id, err := d.putSchedule(r.Context(), dest, c, body, callerIP(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"scheduleId": id})
}

func (d *Door) pauseSchedule(w http.ResponseWriter, r *http.Request, id string, paused bool) error {
	id, err := url.PathUnescape(id)
	if err != nil {
		return badRequest("%v", err)
	}
	s, _, err := d.schedule(r.Context(), id)
	if err != nil {
		return err
	}
	if s == nil {
		return notFound("schedule", id)
	}
	if _, err := d.cfg.Host.Submit(r.Context(), &engine.Pause{Env: d.cfg.Env, Slug: scheduleSlug + id, Paused: paused}); err != nil {
		return err
	}
	return done(w)
}

func (d *Door) listSchedules(w http.ResponseWriter, r *http.Request) error {
	rows, err := d.cfg.Host.Scan(r.Context(), store.Query{Table: store.Functions, Prefix: engine.FunctionKey(d.cfg.Env, scheduleSlug), Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	out := []*scheduleView{}
	for _, row := range rows {
		s, fn, err := parseSchedule(row.Value)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		v, err := d.viewSchedule(r.Context(), s, fn)
		if err != nil {
			return err
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *scheduleView) int { return cmp.Compare(a.CreatedAt, b.CreatedAt) })
	return writeJSON(w, http.StatusOK, out)
}

func (d *Door) viewSchedule(ctx context.Context, s *schedule, fn *engine.Function) (*scheduleView, error) {
	v := &scheduleView{
		ScheduleID: s.ID, Cron: s.Cron, Destination: s.Destination, CreatedAt: s.CreatedAt, Method: s.Method, Paused: fn.Paused, Header: s.shownHeader(),
		Retries: s.Retries, Delay: s.Delay, Timeout: s.Timeout, Callback: s.CallbackURL, CallbackHeader: s.CallbackHeader, Failure: s.FailureURL,
		FailureHeader: s.FailureHeader, CallerIP: s.CallerIP, Queue: s.Queue, RetryDelay: s.RetryDelay, Labels: s.Labels,
	}
	v.Body, v.BodyBase64 = shownBody(&s.config, s.Body)
	if len(s.Labels) > 0 {
		v.Label = s.Labels[0]
	}
	if f := s.Flow; f != nil {
		v.FlowKey, v.Parallelism, v.Rate, v.Period = f.Key, f.Parallelism, f.Rate, f.Period
	}
	if c, err := cron.Parse(s.Cron, cronOptions); err == nil && !fn.Paused {
		v.Next = c.Next(d.cfg.Now().UTC()).UnixMilli()
	}
	q := store.Query{Table: store.Runs, Desc: true, Limit: 1}
	q.Tags[0] = engine.RunFunctionTag(fn.ID)
	rows, err := d.cfg.Host.Scan(ctx, q)
	if err != nil || len(rows) == 0 {
		return v, err
	}
	run, err := engine.ParseRunRow(rows[0].Value)
	if err != nil {
		return nil, err
	}
	v.Last = time.UnixMilli(run.QueuedAt).Truncate(time.Minute).UnixMilli()
	var out ticked
	_ = json.Unmarshal(run.Output, &out) // the run may not have ended
	v.Error = out.Error
	for _, id := range out.Messages {
		if v.LastStates == nil {
			v.LastStates = map[string]string{}
		}
		state := "IN_PROGRESS"
		if of, ok := runOf(id); ok {
			if row, err := history.Run(ctx, d.cfg.Host, of); err != nil {
				return nil, err
			} else if row != nil && row.Status.Ended() {
				if state = "FAIL"; row.Status == engine.Completed {
					state = "SUCCESS"
				}
			}
		}
		v.LastStates[id] = state
	}
	return v, nil
}
