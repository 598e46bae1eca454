package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// checker holds the server to its promises. It knows only what was let out: replies and effects that were released.
type checker struct {
	w    *world
	life int
	sent int
	errs []string

	events map[engine.ID]*sentEvent
	runs   map[engine.ID]*seenRun
	order  []engine.ID // of runs, as their first calls came
	starts map[string][]int64
	facts  map[engine.ID]int

	driven   map[engine.ID]*drivenRun
	messages map[engine.ID]*message
	dedup    map[string]engine.ID // the first message with a key
	windows  [2]struct {
		start int64
		count int
	}
}

type sentEvent struct {
	engine.Event
	k int
	n int
}

type seenRun struct {
	slug      string
	life      int // of the first call
	out       map[engine.ID]*call
	done      map[string]bool // steps whose report was acknowledged
	cancelled bool
	events    []engine.ID
}

func newChecker(w *world) *checker {
	return &checker{
		w: w, events: map[engine.ID]*sentEvent{}, runs: map[engine.ID]*seenRun{}, starts: map[string][]int64{}, facts: map[engine.ID]int{},
		messages: map[engine.ID]*message{}, driven: map[engine.ID]*drivenRun{}, dedup: map[string]engine.ID{},
	}
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Sprintf(format, args...))
}

func (c *checker) accepted(events []engine.Event, ids []engine.ID) {
	for i, id := range ids {
		var d struct{ K, N int }
		must(json.Unmarshal(events[i].Data, &d))
		c.events[id] = &sentEvent{events[i], d.K, d.N}
	}
}

// called checks a call that was let out.
func (c *checker) called(cl *call) {
	r := c.runs[cl.Run]
	if r == nil {
		r = &seenRun{slug: cl.Fn.Slug, life: c.life, out: map[engine.ID]*call{}, done: map[string]bool{}, events: cl.Events}
		c.runs[cl.Run] = r
		c.order = append(c.order, cl.Run)
		c.starts[cl.Fn.Slug] = append(c.starts[cl.Fn.Slug], cl.Started)
	}
	if r.cancelled {
		c.fail("run %s was called after its cancellation was acknowledged", cl.Run)
	}
	for _, o := range r.out {
		if o.StepID == cl.StepID && o.life == cl.life {
			c.fail("run %s step %q: called while the same call is out", cl.Run, cl.StepID)
		}
	}
	r.out[cl.Request] = cl
	if cl.Fn.Driven {
		c.drivenCall(cl)
	} else {
		c.input(cl)
	}
	c.queued(cl)
	c.w.note("call %s %s step=%q attempt=%d", cl.Fn.Slug, cl.Run, cl.StepID, cl.Attempt)
	c.limits(cl)
}

// input checks that a step that was planned with an input still has it when its call comes. A call that was overtaken by the end of
// its step or run may come without: its report will be refused.
func (c *checker) input(cl *call) {
	if !cl.Input || c.ended(cl.Run) {
		return
	}
	row, ok, err := c.w.core.Store.Get(context.Background(), store.Steps, engine.StepRowKey(cl.Run, cl.StepID))
	must(err)
	if ok {
		s, err := engine.ParseStepRow(row)
		must(err)
		if s.Seq > 0 {
			return
		}
	}
	v, ok, err := c.w.core.Store.Get(context.Background(), store.Steps, engine.StepInputKey(cl.Run, cl.StepID))
	must(err)
	if want := "input of " + cl.StepID; !ok || string(v) != want {
		c.fail("run %s step %s: its input is %q, want %q", cl.Run, cl.StepID, v, want)
	}
}

// limits checks that no concurrency limit is exceeded by the calls of this life of the server: those of an earlier one
// have nobody any more who could know of them.
func (c *checker) limits(cl *call) {
	total := 0
	for _, r := range c.runs {
		total += len(r.out)
	}
	p := c.w.program(cl.Fn.Slug)
	for _, l := range cl.Fn.Flow.Concurrency {
		n := 0
		for id, r := range c.runs {
			switch {
			case l.PerRun:
				// A run that is in progress since before a crash counts too: its slot is durable.
				if r.slug == p.slug && !c.ended(id) {
					n++
				}
			default:
				for _, o := range r.out {
					if o.life == cl.life && c.sharesKey(l, cl, o) {
						n++
					}
				}
			}
		}
		if n > l.Limit {
			c.fail("%s: %d in progress under a limit of %d (scope %s, key %q, per run %v)", cl.Fn.Slug, n, l.Limit, l.Scope, l.Key, l.PerRun)
		}
	}
}

// sharesKey says whether call o counts against limit l of call cl.
func (c *checker) sharesKey(l engine.Concurrency, cl, o *call) bool {
	if l.Scope == engine.ScopeFunction {
		return o.Fn.Slug == cl.Fn.Slug && (l.Key == "" || c.key(o) == c.key(cl))
	}
	uses := slices.ContainsFunc(o.Fn.Flow.Concurrency, func(x engine.Concurrency) bool { return x.Scope == l.Scope })
	return uses && c.key(o) == c.key(cl)
}

// key is data.k of the event that started a call's run. It is read from the store: the call may be out before the sender
// of the event has heard that it was accepted.
func (c *checker) key(cl *call) int {
	v, ok, err := c.w.core.Store.Get(context.Background(), store.Events, engine.EventKey(env, cl.Events[0]))
	must(err)
	if !ok {
		c.fail("run %s: its event is not stored", cl.Run)
		return -1
	}
	e, err := engine.ParseEventRow(v)
	must(err)
	d := struct{ K int }{-1}
	must(json.Unmarshal(e.Data, &d))
	return d.K
}

func (c *checker) ended(id engine.ID) bool {
	row := c.row(id)
	return row != nil && row.Status.Ended()
}

func (c *checker) row(id engine.ID) *engine.RunRow {
	v, ok, err := c.w.core.Store.Get(context.Background(), store.Runs, engine.RunKey(id))
	must(err)
	if !ok {
		return nil
	}
	r, err := engine.ParseRunRow(v)
	must(err)
	return r
}

// sees checks what an app is given: every step that was acknowledged is there, so it is never run again.
func (c *checker) sees(cl *call, done map[string]bool) {
	if cl.life != c.life {
		return
	}
	for id := range c.runs[cl.Run].done {
		if !done[id] {
			c.fail("run %s: step %s was acknowledged and is not in the state of a later call", cl.Run, id)
		}
	}
	if cl.StepID != "" && done[cl.StepID] && !c.w.calm {
		c.w.note("planned step %s is done already", cl.StepID)
	}
}

func (c *checker) memoized(cl *call, ran []string) {
	for _, id := range ran {
		c.runs[cl.Run].done[id] = true
	}
}

// returned takes note that a call is over in its app, whatever becomes of its answer.
func (c *checker) returned(cl *call) { delete(c.runs[cl.Run].out, cl.Request) }

func (c *checker) reported(cl *call, taken bool, ran []string) {
	if taken {
		c.memoized(cl, ran)
	}
	if taken && cl.life != c.life {
		c.fail("run %s: a report of an earlier life was taken", cl.Run)
	}
}

func (c *checker) cancelled(id engine.ID) {
	c.runs[id].cancelled = true
}

func (c *checker) settled(batch []*engine.Settle) {
	for _, f := range batch {
		c.facts[f.Run]++
	}
}

func (c *checker) crashed() {
	// Calls of the old life go on in their apps; nobody counts them any more.
	for _, r := range c.runs {
		clear(r.out)
	}
}

// changed forgets what a new configuration makes incomparable.
func (c *checker) changed(p *program) {
	delete(c.starts, p.slug)
	for _, r := range c.runs {
		if r.slug == p.slug {
			clear(r.out)
		}
	}
}

func (c *checker) unfinished() []engine.ID {
	var ids []engine.ID
	for _, id := range c.order {
		if !c.runs[id].cancelled && !c.ended(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// atRest checks everything that must hold when nothing is left to do.
func (c *checker) atRest() {
	ctx := context.Background()
	must(c.w.core.Store.Fold(ctx))
	byEvent := map[string][]*engine.RunRow{} // slug + event
	lifecycle := map[string]int{}
	must(c.w.core.Store.Load(ctx, store.Runs, func(_, v []byte) error {
		r, err := engine.ParseRunRow(v)
		must(err)
		if !r.Status.Ended() {
			c.fail("run %s of %s is %s for ever", r.ID, r.Slug, r.Status)
		}
		for _, id := range r.Events {
			byEvent[r.Slug+id.String()] = append(byEvent[r.Slug+id.String()], r)
		}
		return nil
	}))
	must(c.w.core.Store.Load(ctx, store.Live, func(k, _ []byte) error {
		c.fail("live row %x is left over", k)
		return nil
	}))
	must(c.w.core.Store.Load(ctx, store.Outbox, func(k, _ []byte) error {
		c.fail("fact %x was never dealt with", k)
		return nil
	}))
	must(c.w.core.Store.Load(ctx, store.Steps, func(k, _ []byte) error {
		if engine.IsStepInput(k) && c.driven[engine.ID(k[:16])] == nil {
			c.fail("input of step %x is left over", k)
		}
		return nil
	}))
	stored := map[engine.ID]bool{}
	must(c.w.core.Store.Load(ctx, store.Events, func(_, v []byte) error {
		e, err := engine.ParseEventRow(v)
		must(err)
		stored[e.ID] = true
		if e.Name == "run/ended" {
			lifecycle[e.Key]++
		}
		return nil
	}))
	for run, n := range lifecycle {
		if n != 1 {
			c.fail("run %s: its end was told %d times", run, n)
		}
	}
	c.everyRunTold(lifecycle)
	for id, ev := range c.events {
		if !stored[id] {
			c.fail("event %s was acknowledged and is not stored", id)
		}
		for _, p := range c.w.progs {
			if p.event == ev.Name {
				c.oneStart(p, id, byEvent[p.slug+id.String()])
			}
		}
	}
	c.fifo()
	c.inLine()
	c.outcomes()
	c.rates()
	for id, m := range c.messages {
		if m.started && c.row(id) == nil {
			c.fail("message %s was acknowledged and is not stored", id)
		}
	}
}

func (c *checker) everyRunTold(told map[string]int) {
	for id := range c.runs {
		if told[id.String()] != 1 {
			c.fail("run %s: its end was told %d times", id, told[id.String()])
		}
	}
}

// oneStart checks how often an acknowledged event started a function that listens to it.
func (c *checker) oneStart(p *program, ev engine.ID, runs []*engine.RunRow) {
	switch {
	case len(runs) > 1:
		c.fail("event %s started %s %d times", ev, p.slug, len(runs))
	case len(runs) == 0 && p.flow.RateLimit == nil && p.flow.Debounce == nil:
		c.fail("event %s was acknowledged and never started %s", ev, p.slug)
	}
}

// fifo checks that functions with one run at a time ran in the order of their events.
func (c *checker) fifo() {
	last := map[string]engine.ID{}
	delayed := func(r *seenRun) bool {
		ev := c.events[r.events[0]]
		return ev == nil || ev.At != 0
	}
	for _, id := range c.order {
		r := c.runs[id]
		if !c.w.program(r.slug).fifo || delayed(r) {
			continue
		}
		if prev, ok := last[r.slug]; ok && prev.Compare(r.events[0]) > 0 {
			c.fail("%s: event %s ran after the later event %s", r.slug, r.events[0], prev)
		}
		last[r.slug] = r.events[0]
	}
}

// rates checks throttles without keys: never more starts in a period than the limit and the burst allow.
func (c *checker) rates() {
	for _, p := range c.w.progs {
		t := p.flow.Throttle
		if t == nil || t.Key != "" {
			continue
		}
		s := c.starts[p.slug]
		for i := range s {
			n := i + t.Limit + t.Burst
			if n < len(s) && s[n]-s[i] < t.Period-int64(t.Limit)-1 {
				c.fail("%s: %d starts within %d ms under a throttle of %d+%d per %d ms", p.slug, t.Limit+t.Burst+1, s[n]-s[i], t.Limit, t.Burst, t.Period)
				return
			}
		}
	}
}

func (c *checker) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s\n\nlast steps:\n%s", strings.Join(c.errs[:min(5, len(c.errs))], "\n"), strings.Join(c.w.log[max(0, len(c.w.log)-60):], "\n"))
}
