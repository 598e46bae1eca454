package trigger

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// Section 22.2: runs stand in lines. Each stands in one queue, and may hold concurrency limits and gates beside it. A line is two kinds of queues of the engine:
// one with its name, which is what is paused and has the slots for all together, and one with slots for each concurrency key, which is forgotten with the key's
// last run. All runs of an environment stand in one more, which is the environment's.

// line is a queue, or a concurrency limit.
type line struct {
	limit bool
	name  string // of a task's own, which has no other: slugPrefix and the task's id
}

// What the names of the engine's queues begin with.
const (
	queuePrefix     = "trigger:queue:"
	queueKeyPrefix  = "trigger:slots:"
	limitPrefix     = "trigger:limit:"
	limitKeyPrefix  = "trigger:limitslots:"
	engineQueuesAll = "trigger:"
)

// whole is the engine's queue for all that is in a line.
func (l line) whole() string {
	if l.limit {
		return limitPrefix + l.name
	}
	return queuePrefix + l.name
}

// keyed is the engine's queue for a concurrency key; those without one share the one for "".
func (l line) keyed(key string) string {
	if l.limit {
		return limitKeyPrefix + l.name + "\x00" + key
	}
	return queueKeyPrefix + l.name + "\x00" + key
}

// lineOf is the line of a queue of the engine, and the key if it is one for a key.
func lineOf(name string) (l line, key string, keyed, ok bool) {
	for prefix, of := range map[string]struct{ limit, keyed bool }{queuePrefix: {}, queueKeyPrefix: {keyed: true}, limitPrefix: {limit: true}, limitKeyPrefix: {true, true}} {
		if rest, found := strings.CutPrefix(name, prefix); found {
			if of.keyed {
				rest, key, _ = strings.Cut(rest, "\x00")
			}
			return line{of.limit, rest}, key, of.keyed, true
		}
	}
	return line{}, "", false, false
}

// title is what people know a line by.
func (l line) title() string {
	name, own := strings.CutPrefix(l.name, slugPrefix)
	switch {
	case !l.limit:
		return "the queue " + name
	case own:
		return "the concurrency limit of the task " + name
	}
	return "the concurrency limit " + name
}

// bounds are how many runs of a line are executed at once; nil: no bound.
type bounds struct {
	PerKey *int `json:"perKey,omitempty"`
	Total  *int `json:"total,omitempty"`
}

// parallelism is a bound, nil for none, as the engine has it.
func parallelism(limit *int) int {
	switch {
	case limit == nil:
		return 0
	case *limit == 0:
		return -1
	}
	return *limit
}

// declare notes what a worker says about lines.
func (w *worker) declare() {
	w.byID, w.bounds = make(map[string]*task, len(w.Tasks)), map[line]bounds{}
	for _, q := range w.Queues {
		w.bounds[line{name: q.Name}] = bounds{q.Limit, q.Combined}
	}
	for _, l := range w.Limits {
		w.bounds[line{true, l.Name}] = l.bounds
	}
	also := func(l line, b bounds) {
		if _, ok := w.bounds[l]; !ok {
			w.bounds[l] = b
		}
	}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		w.byID[t.ID] = t
		queue := bounds{}
		if t.Queue != nil {
			queue = bounds{t.Queue.Limit, t.Queue.Combined}
		}
		also(line{name: t.queue()}, queue)
		if c := t.Concurrency; c != nil {
			if c.Inline != nil {
				also(line{true, slugPrefix + t.ID}, *c.Inline)
			}
			for _, name := range c.Limits {
				also(line{true, name}, bounds{})
			}
		}
	}
}

// declared are the bounds that a worker says a line has; ok says that it knows the line.
func (w *worker) declared(l line) (b bounds, ok bool) {
	if w == nil {
		return bounds{}, false
	}
	w.once.Do(w.declare)
	b, ok = w.bounds[l]
	return b, ok
}

func (w *worker) task(id string) *task {
	if w == nil {
		return nil
	}
	w.once.Do(w.declare)
	return w.byID[id]
}

// queue is the one that runs of a task stand in.
func (t *task) queue() string {
	if t.Queue != nil && t.Queue.Name != "" {
		return t.Queue.Name
	}
	return slugPrefix + t.ID
}

// holds are the lines in which runs of a task stand. queue replaces the task's, named its named limits, gates its gates, where they are given.
func (w *worker) holds(id, key, queue string, named *[]string, gates []gate) []hold {
	t := w.task(id)
	var c taskConcurrency
	switch {
	case t == nil: // it may turn out to have a limit of its own
		c.Inline = &bounds{}
	case t.Concurrency != nil:
		c = *t.Concurrency
	}
	if named != nil {
		c.Limits = *named
	}
	if gates == nil && t != nil {
		gates = t.Gates
	}
	list := []hold{{line{name: queue}, key}}
	if c.Inline != nil {
		list = append(list, hold{line{true, slugPrefix + id}, key})
	}
	for _, name := range c.Limits {
		list = append(list, hold{line{true, name}, key})
	}
	for _, g := range gates {
		list = append(list, hold{line{name: g.Queue}, cmp.Or(g.Key, key)})
	}
	return list
}

// bounds are those that hold for a line now: of the current worker, or set by hand.
func (env *environment) bounds(w *worker, l line) bounds {
	b, _ := w.declared(l)
	if o := env.override(l.rule(rulePerKey, "")); o != nil {
		b.PerKey = &o.Limit
	}
	if l.limit {
		if o := env.override(l.rule(ruleTotal, "")); o != nil {
			b.Total = &o.Limit
		}
	}
	return b
}

// slots are how many a queue of the engine has, of a line and a key of it.
func (env *environment) slots(w *worker, l line, key string, keyed bool) int {
	b := env.bounds(w, l)
	if !keyed {
		return parallelism(b.Total)
	}
	if o := env.override(l.rule(ruleKey, key)); l.limit && o != nil {
		return parallelism(&o.Limit)
	}
	return parallelism(b.PerKey)
}

// checkGates refuses gates that cannot be.
func checkGates(what string, gates []gate) error {
	if len(gates) > maxGates {
		return fail(http.StatusBadRequest, "%s: there are more than %d gates", what, maxGates)
	}
	for _, g := range gates {
		if g.Queue == "" || len(g.Queue) > maxTag || queueStrip.MatchString(g.Queue) || len(g.Key) > maxTag {
			return fail(http.StatusBadRequest, "%s: a gate is the name of a queue, and maybe a key, of at most %d characters each", what, maxTag)
		}
	}
	return nil
}

// hold is a line that a run stands in, with the key that it has there.
type hold struct {
	line
	key string
}

// joins are the engine's queues that a run stands in. Their slots are what the current worker says, whichever executes the run.
func (env *environment) joins(holds []hold) []engine.QueueJoin {
	w := env.current()
	joins := append(make([]engine.QueueJoin, 0, 1+2*len(holds)), env.limitJoin())
	for _, h := range holds {
		title := h.title()
		whole := engine.QueueJoin{Queue: h.whole(), Title: title, Policy: &engine.Policy{Parallelism: env.slots(w, h.line, "", false)}}
		keyed := engine.QueueJoin{Queue: h.keyed(h.key), Title: title, Policy: &engine.Policy{Parallelism: env.slots(w, h.line, h.key, true)}}
		if h.key != "" {
			keyed.Title, keyed.Passing = fmt.Sprintf("the concurrency key %q of %s", h.key, title), true
		}
		for _, j := range []engine.QueueJoin{whole, keyed} {
			if !slices.ContainsFunc(joins, func(o engine.QueueJoin) bool { return o.Queue == j.Queue }) { // nobody takes two slots of the same
				joins = append(joins, j)
			}
		}
	}
	return joins
}

// adjust gives the engine's queues whose names begin so the slots that their lines have with a worker.
func (env *environment) adjust(ctx context.Context, w *worker, prefix string) error {
	states, err := do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: prefix})
	if err != nil {
		return err
	}
	for i := range states {
		l, key, keyed, ok := lineOf(states[i].Name)
		if !ok {
			continue
		}
		n := env.slots(w, l, key, keyed)
		if states[i].PinParallelism || states[i].Parallelism == n {
			continue
		}
		if _, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: states[i].Name, Parallelism: &n}); err != nil {
			return err
		}
	}
	return nil
}

// lineState is a line with what is going on in it.
type lineState struct {
	line
	running, queued int
	paused          bool
}

// lines are those that are declared or have had runs, by name.
func (env *environment) lines(ctx context.Context, limits bool) ([]lineState, error) {
	states, err := do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: line{limit: limits}.whole()})
	if err != nil {
		return nil, err
	}
	list := make([]lineState, 0, len(states))
	seen := map[string]bool{}
	w := env.current()
	for i := range states {
		s := &states[i]
		l, _, _, _ := lineOf(s.Name)
		if _, ok := w.declared(l); l.limit && !ok && strings.HasPrefix(l.name, slugPrefix) {
			continue // a task that has none; its runs hold it in case that a version comes that has one
		}
		seen[l.name] = true
		list = append(list, lineState{l, s.Active, s.Waiting, s.Paused})
	}
	if w != nil {
		w.once.Do(w.declare)
		for l := range w.bounds { // sorted below
			if l.limit == limits && !seen[l.name] {
				list = append(list, lineState{line: l})
			}
		}
	}
	slices.SortFunc(list, func(a, b lineState) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// pauseLine stops a line, so that no run in it begins, or lets it go on.
func (env *environment) pauseLine(ctx context.Context, s *lineState, action string) error {
	if action != "pause" && action != "resume" {
		return fail(http.StatusBadRequest, "the action is pause or resume")
	}
	s.paused = action == "pause"
	n := env.slots(env.current(), s.line, "", false)
	_, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: s.whole(), Title: s.title(), Create: true, Parallelism: &n, Paused: &s.paused})
	return err
}
