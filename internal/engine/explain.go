package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Explanation says where an unfinished run is and why it is not further.
type Explanation struct {
	Found   bool      `json:"found"`
	State   string    `json:"state"` // "executing", "ready", "delayed", "retrying", "blocked", "waiting"
	Reasons []Waiting `json:"reasons"`
}

// Waiting is one thing that a run waits for.
type Waiting struct {
	What  string `json:"what"`            // one of the words of State, or "sleep", "event", "signal", "run"
	Step  string `json:"step,omitempty"`  // name of the step, "" for the function itself
	Until int64  `json:"until,omitempty"` // ms: when it ends by itself
	Text  string `json:"text"`            // a sentence
}

// explain answers "why is this run not running?".
func (m *Machine) explain(id ID) Explanation {
	r := m.runs[id]
	if r == nil {
		return Explanation{}
	}
	x := Explanation{Found: true}
	for _, j := range r.jobs {
		if fl := j.flight; fl != nil && fl.lease != nil && fl.lease.blocked && len(r.waits) > 0 {
			continue // its worker waits with it
		}
		x.Reasons = append(x.Reasons, m.explainJob(j))
	}
	for _, w := range r.waits {
		v := Waiting{Step: w.step.Name, Until: w.until}
		switch w.kind {
		case OpSleep:
			v.What, v.Text = "sleep", "sleeps"
		case OpWaitEvent:
			v.What, v.Text = "event", fmt.Sprintf("waits for the event %s", w.event)
		case OpWaitSignal:
			v.What, v.Text = "signal", fmt.Sprintf("waits for the signal %s", w.event)
		case OpInvoke:
			v.What, v.Text = "run", "waits for a run that it invoked"
			if w.child != (ID{}) {
				v.Text += ": " + w.child.String()
			}
		}
		x.Reasons = append(x.Reasons, v)
	}
	for _, state := range []string{"executing", "ready", "blocked", "retrying", "delayed"} {
		if slices.ContainsFunc(x.Reasons, func(w Waiting) bool { return w.What == state }) {
			x.State = state
			return x
		}
	}
	x.State = "waiting"
	return x
}

func (m *Machine) explainJob(j *job) Waiting {
	v := Waiting{}
	if j.step != nil {
		v.Step = j.step.Name
	}
	switch {
	case j.lane != nil && j.lane.state == laneParked:
		v.What = "blocked"
		v.Text, v.Until = explainLimit(j.lane.on, j.lane.group.limit, m.now)
	case j.flight != nil && j.flight.lease != nil:
		v.What, v.Text = "executing", "a worker has it"
	case j.flight != nil:
		v.What, v.Text = "executing", "a call is being made"
	case j.await && j.due == 0:
		v.What, v.Text = "waiting", "waits for what it was planned for"
		if j.child != (ID{}) {
			v.What, v.Text = "run", "waits for a run that it invoked: "+j.child.String()
		}
	case j.awaiting():
		v.What, v.Until, v.Text = "waiting", j.due, "waits for what it was planned for"
	case j.timer.set() && j.attempt > 0:
		v.What, v.Until = "retrying", j.due
		v.Text = fmt.Sprintf("attempt %d follows after a failure", j.attempt+1)
	case j.timer.set():
		v.What, v.Until, v.Text = "delayed", j.due, "is not due yet"
	case !j.run.fn.def.Pulled && len(m.flights) >= m.cfg.MaxCalls:
		v.What = "blocked"
		v.Text = fmt.Sprintf("the server has its maximum of %d calls out", m.cfg.MaxCalls)
	case j.run.fn.def.Pulled:
		v.What, v.Text = "ready", "waits for a worker that takes it"
	default:
		v.What, v.Text = "ready", "is about to be called"
	}
	return v
}

func explainLimit(l *limiter, limit int, now int64) (text string, until int64) {
	if l.rate != nil {
		return fmt.Sprintf("throttled to %d starts per %d ms", l.rate.Limit, l.rate.Period), gcraNext(l.tat, l.rate)
	}
	if q := l.queue; q != nil {
		title := cmp.Or(q.def.Title, "the queue "+q.def.Name)
		if q.def.Paused {
			return title + " is paused", 0
		}
		if at, ok := q.next(now); ok {
			return fmt.Sprintf("%s has begun its %d calls of this period", title, q.def.Rate), at
		}
		return fmt.Sprintf("%s is at its limit of %d", title, max(0, q.def.Parallelism)), 0
	}
	kind, rest, _ := strings.Cut(l.key, "\x00")
	value := rest[strings.LastIndexByte(rest, 0)+1:]
	switch kind {
	case "t":
		return fmt.Sprintf("the target %s has its maximum of %d calls out", value, limit), 0
	case "e", "a":
		return fmt.Sprintf("the shared concurrency key %q is at its limit of %d", value, limit), 0
	}
	if value == "" {
		return fmt.Sprintf("the function is at its concurrency limit of %d", limit), 0
	}
	return fmt.Sprintf("the concurrency key %q is at its limit of %d", value, limit), 0
}
