package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Messages are runs that are started by name and join queues: lines that go one after the other, and keys that limit how many calls
// are out and how many begin in a period.

const period = 1000

var (
	lines = []string{"line-0", "line-1"}
	keyed = []string{"key-0", "key-1"}
	// policies of the keys; they stay what they are, so that every call can be held to them.
	policies = []engine.Policy{{Parallelism: 2}, {Parallelism: 3, Rate: 4, Period: period}}
)

// makeQueues sets up the lines; keys are made by the first message that names them.
func (w *world) makeQueues() {
	w.lineMax = map[string]int{}
	for _, name := range lines {
		one := 1
		w.lineMax[name] = one
		for done := false; !done; {
			w.apply(&engine.SetQueue{Env: env, Name: name, Create: true, PerRun: true, Parallelism: &one}, func(any) { done = true })
			w.flush()
		}
	}
}

// publish starts a message.
func (w *world) publish() {
	c := &engine.Start{
		Env: env, Slug: "message", Run: w.newID(w.now), MaxAttempts: 1 + w.rng.IntN(4),
		Events: []engine.Event{{Name: "message", Internal: true, Data: fmt.Appendf(nil, `{"k":%d}`, w.rng.IntN(keys))}},
	}
	if w.rng.IntN(3) > 0 {
		c.Queues = append(c.Queues, engine.QueueJoin{Queue: lines[w.rng.IntN(len(lines))], PerRun: true})
	}
	if w.rng.IntN(3) > 0 {
		i := w.rng.IntN(len(keyed))
		p := policies[i]
		c.Queues = append(c.Queues, engine.QueueJoin{Queue: keyed[i], Policy: &p})
	}
	if w.rng.IntN(6) == 0 {
		c.Events[0].At = w.now + int64(w.rng.IntN(2000))
	}
	if w.rng.IntN(4) == 0 {
		c.Key = fmt.Sprint("dedup-", w.rng.IntN(5))
	}
	m := &message{id: c.Run, key: c.Key, delayed: c.Events[0].At != 0}
	for _, q := range c.Queues {
		m.queues = append(m.queues, q.Queue)
	}
	w.check.messages[c.Run] = m
	if c.Key != "" {
		row, _, err := w.core.Store.Get(context.Background(), store.Idempotency, engine.IdempotencyKey(env, engine.StartKey(c.Slug, c.Key)))
		must(err)
		c.SetKnown(engine.ParseIdempotency(row))
	}
	w.apply(c, func(v any) { w.check.published(m, v.(engine.StartReply)) })
}

// manage pauses, resumes and widens queues.
func (w *world) manage() {
	name := slices.Concat(lines, keyed)[w.rng.IntN(len(lines)+len(keyed))]
	c := &engine.SetQueue{Env: env, Name: name}
	switch w.rng.IntN(3) {
	case 0:
		paused := w.rng.IntN(2) == 0
		c.Paused = &paused
	case 1:
		paused := false
		c.Paused = &paused
	default:
		if name != lines[1] {
			return
		}
		w.lineMax[name] = min(3, w.lineMax[name]+w.rng.IntN(2)) // only ever wider: who is in stays in when it gets narrower
		n := w.lineMax[name]
		c.Parallelism = &n
	}
	w.apply(c, nil)
}

// resumeAll lets everything go on that was paused.
func (w *world) resumeAll() {
	for _, name := range slices.Concat(lines, keyed) {
		paused := false
		w.apply(&engine.SetQueue{Env: env, Name: name, Paused: &paused}, nil)
	}
	w.flush()
}

type message struct {
	id      engine.ID
	key     string
	queues  []string
	delayed bool
	started bool // acknowledged
}

// published takes note of what a publisher was told.
func (c *checker) published(m *message, r engine.StartReply) {
	switch r.Outcome {
	case engine.Started:
		m.started = true
		if r.Run != m.id {
			c.fail("message %s was started as run %s", m.id, r.Run)
		}
		if m.key == "" {
			return
		}
		if first, ok := c.dedup[m.key]; ok && c.messages[first].started {
			c.fail("message %s was started although %s has the key %s", m.id, first, m.key)
		}
		c.dedup[m.key] = m.id
	case engine.Duplicate:
		if first := c.messages[r.Run]; first == nil || first.key != m.key {
			c.fail("message %s is called a duplicate of %s, which has another key", m.id, r.Run)
		}
	default:
		c.fail("message %s: outcome %d", m.id, r.Outcome)
	}
}

// queued checks a call of a message against the queues that it is in.
func (c *checker) queued(cl *call) {
	for _, name := range c.queuesOf(cl) {
		out, inside := 0, 0
		for id, r := range c.runs {
			for _, x := range r.out {
				if x.life == cl.life && slices.Contains(c.queuesOf(x), name) {
					out++
				}
			}
			if m := c.messages[id]; m != nil && slices.Contains(m.queues, name) && !c.ended(id) {
				inside++
			}
		}
		if limit, ok := c.w.lineMax[name]; ok && inside > limit {
			c.fail("queue %s: %d messages in progress under a limit of %d", name, inside, limit)
		}
		if i := slices.Index(keyed, name); i >= 0 {
			p := policies[i]
			if out > p.Parallelism {
				c.fail("key %s: %d calls are out under a limit of %d", name, out, p.Parallelism)
			}
			c.window(name, p, int64(cl.Request.Time()))
		}
	}
}

// queuesOf are the queues that a call stands in: those of its run, or of its step.
func (c *checker) queuesOf(cl *call) []string {
	if m := c.messages[cl.Run]; m != nil {
		return m.queues
	}
	if d := c.driven[cl.Run]; d != nil {
		if s := d.steps[cl.StepID]; s != nil && s.queue != "" {
			return []string{s.queue}
		}
	}
	return nil
}

// window checks that a rate is kept. What counts is when the machine began a call, which may be let out later. A call that a crash
// swallowed may have opened the machine's window before the first that was seen, so one seen window may have calls of two.
func (c *checker) window(name string, p engine.Policy, at int64) {
	if p.Rate == 0 {
		return
	}
	n := &c.windows[slices.Index(keyed, name)]
	if at >= n.start+p.Period {
		n.start, n.count = at, 0
	}
	if n.count++; n.count > 2*p.Rate {
		c.fail("key %s: %d calls began in the %d ms from %d under a limit of %d", name, n.count, p.Period, n.start, p.Rate)
	}
}

// inLine checks that a line that lets one through at a time kept the order in which its messages were accepted.
func (c *checker) inLine() {
	var last engine.ID
	for _, id := range c.order {
		m := c.messages[id]
		if m == nil || m.delayed || !slices.Contains(m.queues, lines[0]) {
			continue
		}
		if last.Compare(id) > 0 {
			c.fail("%s: message %s came after the later message %s", lines[0], id, last)
		}
		last = id
	}
}
