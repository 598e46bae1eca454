package engine

import (
	"slices"

	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
	"google.golang.org/protobuf/encoding/protowire"
)

// pending is an open debounce or batch of one function and key: events that will start a run together or in each
// other's stead.
type pending struct {
	timer timer
	key   string
	fn    UUID
	batch bool
	spec  spec
	id    ID    // of the batch
	first int64 // when it was opened
	ts    int64 // debounce: of the event that it holds
	size  int   // batch: bytes of payload
}

// maxBatchBytes closes a batch early.
const maxBatchBytes = 10 << 20

func (m *Machine) vars(ev *Event) expr.Vars { return expr.Vars{Event: ev.Value(), Now: m.now} }

// joinsBatch says whether an event belongs into a batch; the others start runs of their own.
func (m *Machine) joinsBatch(f *function, ev *Event) bool {
	if f.keys.batchIf == nil {
		return true
	}
	ok, err := f.keys.batchIf.Bool(m.vars(ev))
	return err == nil && ok
}

func (m *Machine) addToBatch(f *function, ev *Event, s spec) StartReply {
	b := f.def.Flow.Batch
	name := "b\x00" + string(f.def.ID[:]) + keyText(f.keys.batch, func() expr.Vars { return m.vars(ev) })
	p := m.pending[name]
	if p != nil && slices.Contains(p.spec.events, ev.ID) {
		return StartReply{Outcome: Duplicate}
	}
	if p != nil && p.size+len(ev.Data) > maxBatchBytes {
		m.release(p)
		p = nil
	}
	if p == nil {
		s.at = 0 // batches are not delayed
		p = &pending{key: name, fn: f.def.ID, batch: true, spec: s, id: m.newID(), first: m.now}
		p.spec.batch = p.id
		m.pending[name] = p
		m.timers.start(&p.timer, m.now+b.Timeout, timerBatch, p)
	} else {
		p.spec.events = append(p.spec.events, ev.ID)
		p.spec.parents = append(p.spec.parents, s.parents...)
	}
	p.size += len(ev.Data)
	if len(p.spec.events) >= b.Size {
		return m.release(p)
	}
	m.put(p.record())
	return StartReply{Outcome: Batched}
}

func (m *Machine) addToDebounce(f *function, ev *Event, s spec) StartReply {
	d := f.def.Flow.Debounce
	k, _ := key(f.keys.debounce, func() expr.Vars { return m.vars(ev) })
	text := k.Text
	if k.Null {
		text = ""
	}
	name := "d\x00" + string(f.def.ID[:]) + text
	p := m.pending[name]
	switch {
	case p == nil:
		p = &pending{key: name, fn: f.def.ID, first: m.now}
		m.pending[name] = p
	case ev.TS < p.ts:
		return StartReply{Outcome: Debounced} // older than what is waiting: changes nothing
	}
	s.parents = append(p.spec.parents, s.parents...)
	p.spec, p.ts = s, ev.TS
	due := m.now + d.Period
	if d.Timeout > 0 {
		due = min(due, p.first+d.Timeout)
	}
	m.timers.start(&p.timer, due, timerDebounce, p)
	m.put(p.record())
	return StartReply{Outcome: Debounced}
}

// release turns an open debounce or batch into a run.
func (m *Machine) release(p *pending) StartReply {
	m.timers.stop(&p.timer)
	delete(m.pending, p.key)
	m.delete(store.Pending, []byte(p.key))
	f := m.fns[p.fn]
	if f == nil || f.def.Archived {
		m.resolveParents(p.spec.parents, ID{}, ValueError, errorValue("Error", "the invoked function is no longer registered"))
		return StartReply{Outcome: NotFound}
	}
	return m.startNow(f, p.spec, nil, begin{})
}

func (p *pending) record() store.Record {
	var b encoder = make([]byte, 0, 128+16*len(p.spec.events))
	b.bytes(1, p.fn[:])
	b.bool(2, p.batch)
	b.elem(3, p.spec.encode())
	b.id(4, p.id)
	b.int(5, p.first)
	b.int(6, p.ts)
	b.int(7, int64(p.size))
	b.int(8, p.timer.at)
	return store.Record{Table: store.Pending, Key: []byte(p.key), Value: b}
}

func parsePending(key, row []byte) (*pending, int64, error) {
	p := &pending{key: string(key)}
	var due int64
	var failed error
	err := fields(row, func(n protowire.Number, u uint64, b []byte) {
		switch n {
		case 1:
			p.fn = toUUID(b)
		case 2:
			p.batch = u != 0
		case 3:
			p.spec = parseSpec(b, &failed)
		case 4:
			p.id = toID(b)
		case 5:
			p.first = int64(u)
		case 6:
			p.ts = int64(u)
		case 7:
			p.size = int(u)
		case 8:
			due = int64(u)
		}
	})
	if err == nil {
		err = failed
	}
	return p, due, err
}
