package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"unique"

	"github.com/quartetjobs/quartet/internal/store"
	"google.golang.org/protobuf/encoding/protowire"
)

// Loader reads all rows of a table in key order; store.Shard.Load is one.
type Loader = func(table store.Table, fn func(key, value []byte) error) error

// Recover reads live state back into an empty machine. Calls that were out when the state was written are due again. The
// first Tick afterwards makes them.
func (m *Machine) Recover(now int64, load Loader) error {
	m.begin(now, &Out{})
	defer func() { m.out = nil }()
	steps := []struct {
		table store.Table
		what  string
		row   func(key, value []byte) error
	}{
		{store.Apps, "app", m.recoverApp},
		{store.Functions, "function", m.recoverFunction},
		{store.Queues, "queue", m.recoverQueue},
		{store.Flow, "flow state", m.recoverFlow},
		{store.Live, "run", m.recoverRun},
		{store.Pending, "pending events", m.recoverPending},
		{store.Outbox, "ended run", m.recoverOutbox},
	}
	for _, s := range steps {
		if err := load(s.table, func(key, value []byte) error {
			if err := s.row(key, value); err != nil {
				return fmt.Errorf("%s %x: %w", s.what, key, err)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	for _, r := range m.dirty {
		r.dirty = false // reading is no change
	}
	m.dirty = m.dirty[:0]
	return nil
}

// Facts lists what doors have not dealt with, for the effects that a crash swallowed.
func (m *Machine) Facts() []*Settle {
	var facts []*Settle
	for _, s := range m.outbox { // doors take them in any order
		facts = append(facts, s)
	}
	return facts
}

func (m *Machine) recoverApp(_, value []byte) error {
	var a App
	if err := json.Unmarshal(value, &a); err != nil {
		return err
	}
	m.env(a.Env).apps[a.Name] = &a
	return nil
}

func (m *Machine) recoverFunction(_, value []byte) error {
	var def Function
	if err := json.Unmarshal(value, &def); err != nil {
		return err
	}
	f, err := compile(&def)
	if err != nil {
		return err
	}
	m.install(m.env(def.Env), f)
	if !def.Archived {
		m.startClocks(f, m.now)
	}
	return nil
}

func (m *Machine) recoverFlow(key, value []byte) error {
	n := decodeTAT(value)
	switch {
	case len(key) < 2 || key[1] != 0:
		return errRow
	case key[0] == 'w':
		return m.recoverWindow(key, value)
	case key[0] == 'l' && n > m.now*1000:
		m.rates[string(key)] = n
	case key[0] == 'r' && n > m.now*1000:
		m.limiter(string(key)).tat = n
	case key[0] == 'c' && len(key) > 18:
		// A tick that was made just before must not be made again because the clock was set back.
		f := m.fns[toUUID(key[2:18])]
		if f == nil {
			return nil
		}
		for i := range f.triggers {
			if c := f.triggers[i].cron; c != nil && f.def.Triggers[i].Cron == string(key[18:]) && n >= c.tick {
				m.setTick(c, n)
			}
		}
	}
	return nil
}

func (m *Machine) recoverRun(key, value []byte) error {
	r := &run{id: toID(key), stored: true, hasSteps: true}
	var failed error
	var cancels [][]byte
	err := fields(value, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			r.fn = m.fns[toUUID(b)]
		case 2:
			r.queuedAt = int64(u)
		case 3:
			r.started = int64(u)
		case 4:
			r.doorState = int32(u)
		case 5:
			r.nextJob = uint32(u)
		case 6:
			r.attempts = uint32(u)
		case 7:
			r.idle = uint8(u)
		case 8:
			r.join = Join(u)
		case 9:
			r.parallel = u != 0
		case 10:
			r.expired = u != 0
		case 11:
			r.again = u != 0
		case 12:
			r.steps = make([]stepKey, 0, len(b)/stepKeyLen)
			for ; len(b) >= stepKeyLen; b = b[stepKeyLen:] {
				r.steps = append(r.steps, stepKey(b[:stepKeyLen]))
			}
		case 13:
			r.jobs = append(r.jobs, parseJob(r, b, &failed))
		case 14:
			r.waits = append(r.waits, parseWait(r, b, &failed))
		case 15:
			cancels = append(cancels, b)
		case 16:
			r.spec = parseSpec(b, &failed)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if r.fn == nil {
		return errors.New("its function is not in the store")
	}
	m.keep(r)
	for _, raw := range cancels {
		if err := m.recoverCancel(r, raw); err != nil {
			return err
		}
	}
	m.resumeRun(r)
	return nil
}

func (m *Machine) recoverCancel(r *run, raw []byte) error {
	var failed error
	c := parseCancel(raw, &failed)
	if failed == nil {
		m.addCancel(r, c.event, c.bound, c.timeout)
	}
	return failed
}

// resumeRun puts a run that was read back into everything that watches it.
func (m *Machine) resumeRun(r *run) {
	m.inQueues(r, 1)
	flow := &r.fn.def.Flow
	if r.spec.single {
		m.singles[singleKey{r.fn.def.ID, r.spec.singleton}] = r
	}
	for _, w := range r.waits {
		m.addWait(w)
	}
	if r.started == 0 {
		m.awaitStart(r)
	} else {
		if flow.FinishTimeout > 0 || r.expired {
			m.timers.start(&r.deadline, r.started+flow.FinishTimeout, timerFinish, r) // ends it at once if it is expired
		}
		for i, c := range flow.Concurrency {
			if c.PerRun && c.Limit > 0 {
				value := ""
				if i < len(r.spec.concurrency) {
					value = r.spec.concurrency[i]
				}
				l := m.limiter(concurrencyKey(r.fn.def, c, value))
				l.used++
				r.held = append(r.held, l)
			}
		}
	}
	for _, name := range r.spec.routed().queues {
		if q := m.queues[queueKey(r.env(), name)]; q != nil && q.def.PerRun && r.started != 0 {
			q.limiter.used++
			r.held = append(r.held, q.limiter)
			r.entered = true
		}
	}
	for _, j := range r.jobs {
		if j.flight != nil {
			m.resumeLease(j)
		} else {
			m.enqueue(j)
		}
	}
}

func parseJob(r *run, row []byte, failed *error) *job {
	j := &job{run: r}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			j.id = uint32(u)
		case 2:
			j.due = int64(u)
		case 3:
			j.attempt = int(u)
		case 4:
			j.gen = int(u) + 1 // a call of the recorded generation may still be running in the app
		case 5:
			j.race = u != 0
		case 6:
			j.queuedAt = int64(u)
		case 7:
			s := parseStep(b, failed)
			j.step, j.key = &s, hashStep(s.ID)
		case 8:
			j.input = u != 0
		case 9:
			j.keep = u != 0
		case 10:
			j.await = u != 0
		case 11:
			j.attempts = int(u)
		case 12:
			j.begin = int64(u)
		case 13:
			j.child = toID(b)
		case 14:
			j.routing = parseRouting(b, failed)
		case 15:
			j.flight = parseLease(j, b, failed)
		case 16:
			j.returns = int(u)
		}
	})
	if err != nil {
		*failed = err
	}
	return j
}

func parseWait(r *run, row []byte, failed *error) *wait {
	w := &wait{run: r}
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			w.step = parseStep(b, failed)
			w.key = hashStep(w.step.ID)
		case 2:
			w.kind = OpKind(u)
		case 3:
			w.race = u != 0
		case 4:
			w.queuedAt = int64(u)
		case 5:
			w.until = int64(u)
		case 6:
			w.event = intern(string(b))
		case 7:
			w.bound = parseBound(b, failed)
		case 8:
			w.child = toID(b)
		case 9:
			w.value = append([]byte(nil), b...)
		case 10:
			w.valKind = ValueKind(u)
		}
	})
	if err != nil {
		*failed = err
	}
	return w
}

func (m *Machine) recoverPending(key, value []byte) error {
	p, due, err := parsePending(key, value)
	if err != nil {
		return err
	}
	m.pending[p.key] = p
	kind := timerDebounce
	if p.batch {
		kind = timerBatch
	}
	m.timers.start(&p.timer, due, kind, p)
	return nil
}

func (m *Machine) recoverOutbox(key, value []byte) error {
	s := &Settle{Run: toID(key)}
	err := fields(value, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			s.Door = string(b)
		case 2:
			s.Env = string(b)
		case 3:
			s.Status = Status(u)
		}
	})
	m.outbox[s.Run] = s
	return err
}

// intern shares one copy of a string that many runs have: a million rows name a handful of events.
func intern(s string) string { return unique.Make(s).Value() }
