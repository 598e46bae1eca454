package engine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/store"
)

func (m *Machine) sendEvents(c *SendEvents) SendReply {
	e := m.env(c.Env)
	ids := make([]ID, 0, len(c.Events))
	defer m.settled(c.Settles)
	for i := range c.Events {
		ev := &c.Events[i]
		if ev.Fact != (ID{}) && m.outbox[ev.Fact] == nil {
			ids = append(ids, ID{})
			continue
		}
		if m.storeEvent(e, ev) {
			m.receive(e, ev)
		}
		ids = append(ids, ev.ID)
	}
	return SendReply{IDs: ids}
}

// storeEvent makes an event durable. False means that it was here before: the sender repeated a request whose answer it
// did not get.
func (m *Machine) storeEvent(e *env, ev *Event) bool {
	if ev.ID == (ID{}) {
		ev.ID = m.newID()
	} else {
		if ev.stored || m.recent.seen(ev.ID) {
			return false
		}
		m.recent.events[0][ev.ID] = struct{}{}
	}
	if ev.TS == 0 {
		ev.TS = m.now
	}
	row := EventRow{
		ID: ev.ID, Env: e.name, Name: ev.Name, Key: ev.Key, TS: ev.TS, Received: m.now, Data: ev.Data, User: ev.User,
		V: ev.V, Meta: ev.Meta, Internal: ev.Internal, Source: ev.Source,
	}
	m.put(row.record())
	return true
}

// receive lets an event act: it ends runs, resumes runs, starts runs, in this order, so that a run it starts cannot be
// ended by it.
func (m *Machine) receive(e *env, ev *Event) {
	if x := e.cancels[ev.Name]; x != nil {
		var hit []*run
		x.Find(ev.Value, m.now, func(c *cancelEntry) bool {
			hit = append(hit, c.run)
			return true
		})
		for _, r := range hit {
			m.finish(r, Cancelled, nil, "cancelled by event "+ev.Name+" "+ev.ID.String())
		}
	}
	if x := e.waits[ev.Name]; x != nil {
		var hit []*wait
		x.Find(ev.Value, m.now, func(w *wait) bool {
			hit = append(hit, w)
			return true
		})
		for _, w := range hit {
			if w.entry != nil && !w.run.ended { // resuming one run may have ended another
				m.resume(w, ValueRaw, m.eventValue(ev), ev.ID)
			}
		}
	}
	for _, f := range m.listeners(e, ev) {
		m.start(f, []Event{*ev}, begin{})
	}
}

func (m *Machine) eventValue(ev *Event) []byte {
	id := ev.Key
	if id == "" {
		id = ev.ID.String()
	}
	return eventJSON(ev.Name, ev.Data, ev.User, id, ev.TS, ev.V)
}

// listeners are the functions that an event starts: for each the first trigger that matches decides.
func (m *Machine) listeners(e *env, ev *Event) []*function {
	refs := e.triggers[ev.Name]
	shared := true // refs is the index's own slice
	for i := 0; i < len(ev.Name); i++ {
		if c := ev.Name[i]; c != '/' && c != '.' {
			continue
		}
		if more := e.triggers[ev.Name[:i+1]+"*"]; len(more) > 0 {
			if shared {
				refs, shared = slices.Clone(refs), false
			}
			refs = append(refs, more...)
		}
	}
	if !shared {
		slices.SortFunc(refs, compareTriggers)
	}
	var fns []*function
	for _, ref := range refs {
		if n := len(fns); n > 0 && fns[n-1] == ref.fn {
			continue
		}
		if p := ref.fn.triggers[ref.index].cond; p != nil {
			if ok, err := p.Bool(m.vars(ev)); err != nil || !ok {
				continue
			}
		}
		fns = append(fns, ref.fn)
	}
	return fns
}

func compareTriggers(a, b triggerRef) int {
	if c := strings.Compare(a.fn.def.Slug, b.fn.def.Slug); c != 0 {
		return c
	}
	return cmp.Compare(a.index, b.index)
}

// signal resumes the runs that wait for its names.
func (m *Machine) signal(c *Signal) (rep SignalReply) {
	m.putRows(c.Rows)
	for _, name := range append([]string{c.Name}, c.Also...) {
		if w := m.env(c.Env).signals[name]; w != nil {
			if !rep.Found {
				rep = SignalReply{Found: true, Run: w.run.id}
			}
			m.resume(w, ValueData, c.Value, ID{})
		}
	}
	return rep
}

// settled removes facts that a door has dealt with.
func (m *Machine) settled(facts []ID) {
	for _, id := range facts {
		if m.outbox[id] != nil {
			delete(m.outbox, id)
			m.delete(store.Outbox, RunKey(id))
		}
	}
}
