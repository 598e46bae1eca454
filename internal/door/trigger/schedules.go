package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/cron"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 10: a schedule is a function of its own with a clock; its run triggers the task, once for each tick.

const scheduleSlug = "trigger-schedule/"

// schedule is a schedule as it is stored: the Config of its function.
type schedule struct {
	ID        string `json:"id"`
	Type      string `json:"type"` // "DECLARATIVE" or "IMPERATIVE"
	Task      string `json:"task"`
	Cron      string `json:"cron"`
	Timezone  string `json:"timezone"`
	Key       string `json:"deduplicationKey,omitempty"`
	External  string `json:"externalId,omitempty"`
	Window    string `json:"window,omitempty"`
	CreatedAt int64  `json:"createdAt"`

	active bool
}

func (d *Door) scheduleRoutes() {
	d.anyone("GET /api/v1/timezones", func(_ *Door, r *http.Request) (any, error) {
		zones := cron.Zones()
		if r.URL.Query().Get("excludeUtc") == "true" {
			zones = slices.DeleteFunc(zones, func(name string) bool { return name == "UTC" })
		}
		return map[string]any{"timezones": zones}, nil
	})
	d.route("POST /api/v1/schedules", secret, (*environment).createSchedule)
	d.route("GET /api/v1/schedules", secret, (*environment).listSchedules)
	d.route("GET /api/v1/schedules/{id}", secret, func(env *environment, r *http.Request) (any, error) {
		s, err := env.findSchedule(r.Context(), r.PathValue("id"))
		return env.showSchedule(s, err)
	})
	d.route("PUT /api/v1/schedules/{id}", secret, (*environment).updateSchedule)
	d.route("DELETE /api/v1/schedules/{id}", secret, (*environment).deleteSchedule)
	d.route("POST /api/v1/schedules/{id}/activate", secret, func(env *environment, r *http.Request) (any, error) { return env.activate(r, true) })
	d.route("POST /api/v1/schedules/{id}/deactivate", secret, func(env *environment, r *http.Request) (any, error) { return env.activate(r, false) })
}

// schedules reads all schedules, oldest first.
func (env *environment) schedules(ctx context.Context) ([]*schedule, error) {
	rows, err := env.cfg.Host.Scan(ctx, store.Query{Table: store.Functions, Prefix: engine.FunctionKey(env.Name, scheduleSlug), Limit: store.MaxLimit})
	if err != nil {
		return nil, err
	}
	var list []*schedule
	for _, row := range rows {
		s, err := parseSchedule(row.Value)
		if err != nil {
			return nil, err
		}
		if s != nil {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *schedule) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// parseSchedule reads a schedule from its function; nil when it was removed.
func parseSchedule(raw []byte) (*schedule, error) {
	var fn engine.Function
	if err := json.Unmarshal(raw, &fn); err != nil || fn.Archived {
		return nil, err
	}
	s := &schedule{active: !fn.Paused}
	return s, json.Unmarshal(fn.Config, s)
}

func (env *environment) findSchedule(ctx context.Context, id string) (s *schedule, err error) {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Functions, engine.FunctionKey(env.Name, scheduleSlug+id))
	if err == nil && ok {
		s, err = parseSchedule(raw)
	}
	if err == nil && s == nil {
		err = fail(http.StatusNotFound, "Schedule not found")
	}
	return s, err
}

// putSchedule makes or changes a schedule.
func (env *environment) putSchedule(ctx context.Context, s *schedule) error {
	window, err := s.window()
	if err != nil {
		return err
	}
	return env.registerCalled(ctx, engine.Function{
		Slug: scheduleSlug + s.ID, Name: "schedule of " + s.Task, Config: mustJSON(s), MaxAttempts: 5,
		Triggers: []engine.Trigger{{Cron: zoned(s.Cron, s.Timezone), CronEvent: "trigger/schedule", CronJitter: window}},
	})
}

// window is the time, in ms, by which the ticks of a schedule may be late, each by its own part of it: section 10.2.
func (s *schedule) window() (int64, error) {
	if s.Window == "" {
		return 0, nil
	}
	wrong := invalid("Invalid window: '%s'. It is whole minutes or hours of at most a day, like 30m or 2h, or a part of the time between two ticks, like 30%%", s.Window)
	m := windowForm.FindStringSubmatch(s.Window)
	if m == nil {
		return 0, wrong
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // four digits
	switch m[2] {
	case "%":
		c, err := parseCron(s.Cron, s.Timezone)
		if err != nil || n > 100 {
			return 0, wrong
		}
		next := c.Next(time.UnixMilli(s.CreatedAt))
		return c.Next(next).Sub(next).Milliseconds() * n / 100, nil
	case "h":
		n *= engine.Hour
	default:
		n *= engine.Minute
	}
	if n > engine.Day {
		return 0, wrong
	}
	return n, nil
}

var windowForm = regexp.MustCompile(`^([0-9]{1,4})(m|h|%)$`)

func (env *environment) dropSchedule(ctx context.Context, id string) error {
	return env.dropCalled(ctx, scheduleSlug+id, env.metaKey("tick", id))
}

// declareSchedules makes the declared schedules those of a worker: section 10.3.
func (env *environment) declareSchedules(ctx context.Context, w *worker) error {
	list, err := env.schedules(ctx)
	if err != nil {
		return err
	}
	old := map[string]*schedule{}
	for _, s := range list {
		if s.Type == "DECLARATIVE" {
			old[s.Task] = s
		}
	}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		if t.Schedule == nil || len(t.Schedule.Environments) > 0 && !slices.Contains(t.Schedule.Environments, env.typ()) {
			continue
		}
		s := &schedule{ID: friendly(schedulePrefix, env.newID()), Type: "DECLARATIVE", Task: t.ID, CreatedAt: env.cfg.Now().UnixMilli()}
		if o := old[t.ID]; o != nil {
			s.ID, s.CreatedAt = o.ID, o.CreatedAt
			delete(old, t.ID)
		}
		s.Cron, s.Timezone, s.Window = t.Schedule.Cron, t.Schedule.Timezone, t.Schedule.Window
		if err := env.putSchedule(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range old { // each by itself
		if err := env.dropSchedule(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// tick triggers the task of a schedule.
func (d *Door) tick(ctx context.Context, c *engine.Call) *engine.Report {
	return d.called(ctx, c, "ScheduleError", time.Second, func(env *environment) (any, error) { return env.fire(ctx, c) })
}

func (env *environment) fire(ctx context.Context, c *engine.Call) (any, error) {
	s := &schedule{}
	if err := json.Unmarshal(c.Fn.Config, s); err != nil {
		return nil, err
	}
	if !env.deployed() && !env.connected() {
		return skipped("no worker is connected"), nil
	}
	if env.paused.Load() {
		return skipped("the environment is paused"), nil
	}
	ev, err := history.Event(ctx, env.cfg.Host, env.Name, c.Events[0])
	if err != nil || ev == nil {
		return skipped("the tick is not in the store"), err
	}
	var tick struct {
		At time.Time `json:"scheduledAt"`
	}
	if err := json.Unmarshal(ev.Data, &tick); err != nil {
		return nil, err
	}
	lastKey := env.metaKey("tick", s.ID)
	var last time.Time
	if b, ok, err := env.cfg.Host.Get(ctx, store.Meta, lastKey); err != nil {
		return nil, err
	} else if ok {
		last, _ = time.Parse(time.RFC3339, string(b)) // a time of ours
	}
	text, err := s.payload(tick.At, last)
	if err != nil {
		return nil, err
	}
	// The id follows from the tick, and the key with it: a tick that is repeated finds its run.
	o, err := env.scheduled(s, text, tick.At)
	if err != nil {
		return nil, err
	}
	st, err := env.place(ctx, o)
	if err != nil {
		return nil, err
	}
	return map[string]any{"run": friendly(runPrefix, st.ID)}, env.put(ctx, engine.RowPut{Table: store.Meta, Key: lastKey, Value: []byte(tick.At.UTC().Format(time.RFC3339))})
}

// scheduled is the order of a tick.
func (env *environment) scheduled(s *schedule, text string, at time.Time) (*order, error) {
	r := &http.Request{Header: http.Header{}}
	body := &triggerBody{Payload: quote(text), Options: triggerOptions{PayloadType: typeSuper}}
	o, err := env.order(r, s.Task, body)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(s.ID + at.UTC().Format(time.RFC3339)))
	o.opts.Key, o.opts.KeyTTL, o.opts.Schedule = "\x00schedule\x00"+string(sum[:]), engine.Day, s.ID
	return o, nil
}

// payload is section 10.4: its dates are dates for the task.
func (s *schedule) payload(at, last time.Time) (string, error) {
	c, err := parseCron(s.Cron, s.Timezone)
	if err != nil {
		return "", err
	}
	zone := s.Timezone
	if zone == "" {
		zone = "UTC"
	}
	v := map[string]any{"scheduleId": s.ID, "type": s.Type, "timestamp": iso(at.UnixMilli()), "timezone": zone}
	dates := map[string][]string{"timestamp": {"Date"}}
	if !last.IsZero() {
		v["lastTimestamp"], dates["lastTimestamp"] = iso(last.UnixMilli()), []string{"Date"}
	}
	if s.External != "" {
		v["externalId"] = s.External
	}
	upcoming := []string{}
	next := at
	for i := range 10 {
		if next = c.Next(next); next.IsZero() {
			break
		}
		upcoming = append(upcoming, iso(next.UnixMilli()))
		dates["upcoming."+strconv.Itoa(i)] = []string{"Date"}
	}
	v["upcoming"] = upcoming
	return string(mustJSON(map[string]any{"json": v, "meta": map[string]any{"values": dates}})), nil
}

type scheduleBody struct {
	Task     string `json:"task"`
	Cron     string `json:"cron"`
	Key      string `json:"deduplicationKey"`
	External string `json:"externalId"`
	Timezone string `json:"timezone"`
	Window   string `json:"window"`
}

func (env *environment) readSchedule(r *http.Request) (*scheduleBody, error) {
	in := &scheduleBody{}
	if err := decode(r, in); err != nil {
		return nil, err
	}
	if in.Timezone == "" {
		in.Timezone = "UTC"
	}
	if _, err := time.LoadLocation(in.Timezone); err != nil || in.Timezone == "Local" {
		return nil, invalid("Invalid IANA timezone: '%s'. View the list of valid timezones at /api/v1/timezones", in.Timezone)
	}
	if _, err := parseCron(in.Cron, in.Timezone); err != nil {
		return nil, invalid("%v", err)
	}
	t := env.current().task(in.Task)
	if t == nil {
		return nil, invalid("Task with identifier %s not found in project.", in.Task)
	}
	if t.Source != "schedule" {
		return nil, invalid("Task with identifier %s is not a scheduled task.", in.Task)
	}
	return in, nil
}

// createSchedule is POST /api/v1/schedules; a key that is taken names the schedule that is changed.
func (env *environment) createSchedule(r *http.Request) (any, error) {
	in, err := env.readSchedule(r)
	if err != nil {
		return nil, err
	}
	defer env.locks.Lock("schedules")()
	list, err := env.schedules(r.Context())
	if err != nil {
		return nil, err
	}
	if len(list) >= maxTasks {
		return nil, invalid("there are more than %d schedules", maxTasks)
	}
	s := &schedule{ID: friendly(schedulePrefix, env.newID()), Type: "IMPERATIVE", CreatedAt: env.cfg.Now().UnixMilli(), active: true}
	for _, o := range list {
		if o.Type == "IMPERATIVE" && in.Key != "" && o.Key == in.Key {
			s = o
		}
	}
	s.Task, s.Cron, s.Timezone, s.Key, s.External, s.Window = in.Task, in.Cron, in.Timezone, in.Key, in.External, in.Window
	return env.showSchedule(s, env.putSchedule(r.Context(), s))
}

// updateSchedule is PUT /api/v1/schedules/{id}.
func (env *environment) updateSchedule(r *http.Request) (any, error) {
	s, err := env.findSchedule(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if s.Type == "DECLARATIVE" {
		return nil, invalid("Cannot update a declarative schedule")
	}
	in, err := env.readSchedule(r)
	if err != nil {
		return nil, err
	}
	s.Task, s.Cron, s.Timezone, s.External, s.Window = in.Task, in.Cron, in.Timezone, in.External, in.Window
	return env.showSchedule(s, env.putSchedule(r.Context(), s))
}

func (env *environment) deleteSchedule(r *http.Request) (any, error) {
	s, err := env.findSchedule(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": s.ID}, env.dropSchedule(r.Context(), s.ID)
}

func (env *environment) activate(r *http.Request, active bool) (any, error) {
	s, err := env.findSchedule(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	s.active = active
	_, err = env.cfg.Host.Submit(r.Context(), &engine.Pause{Env: env.Name, Slug: scheduleSlug + s.ID, Paused: !active})
	return env.showSchedule(s, err)
}

func (env *environment) listSchedules(r *http.Request) (any, error) {
	list, err := env.schedules(r.Context())
	if err != nil {
		return nil, err
	}
	return pageOf(r, list, func(s **schedule) any {
		v, _ := env.showSchedule(*s, nil) // it has no error to give
		return v
	})
}

// describe says in words when the schedule fires.
func (s *schedule) describe() string {
	c, err := parseCron(s.Cron, s.Timezone)
	if err != nil { // it was checked when it was made
		return s.Cron
	}
	return c.Describe()
}

// short is what a run says of the schedule that triggered it.
func (s *schedule) short() map[string]any {
	v := map[string]any{"id": s.ID, "generator": map[string]string{"type": "CRON", "expression": s.Cron, "description": s.describe()}}
	for k, text := range map[string]string{"deduplicationKey": s.Key, "externalId": s.External} {
		if text != "" {
			v[k] = text
		}
	}
	return v
}

// showSchedule is section 10.1.
func (env *environment) showSchedule(s *schedule, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	zone := s.Timezone
	if zone == "" {
		zone = "UTC"
	}
	v := s.short()
	v["type"], v["task"], v["active"], v["timezone"] = s.Type, s.Task, s.active, zone
	v["environments"] = []any{map[string]any{"id": env.id, "type": env.typ()}}
	if s.Window != "" {
		v["window"] = s.Window
	}
	if c, err := parseCron(s.Cron, s.Timezone); err == nil && s.active {
		next := c.Next(env.clock()).UnixMilli()
		v["nextRun"] = iso(next)
		if window, err := s.window(); err == nil {
			v["nextRunEffectiveAt"] = iso(next + engine.TickDelay(env.functionID(scheduleSlug+s.ID), next, window))
		}
	}
	return v, nil
}

// pageOf is a page of a list by number: section 4.5.
func pageOf[T any](r *http.Request, list []T, show func(*T) any) (any, error) {
	number := func(name string, otherwise, most int) int {
		n, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil || n < 1 {
			return otherwise
		}
		return min(n, most)
	}
	page, size := number("page", 1, 1<<30), number("perPage", 20, 100)
	data := []any{}
	for i := min((page-1)*size, len(list)); i < min(page*size, len(list)); i++ {
		data = append(data, show(&list[i]))
	}
	return map[string]any{"data": data, "pagination": map[string]int{
		"currentPage": page, "totalPages": (len(list) + size - 1) / size, "count": len(list),
	}}, nil
}
