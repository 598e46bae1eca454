package keyspace

import (
	"container/heap"
	"slices"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// waits is who waits for which keys.
type waits struct {
	clients map[uint64]*waiter
	queues  map[keyName]*waitQueue
	due     dueHeap
	ready   []keyName // keys that may have something for those who wait
	order   uint64
}

// waiter is a command that blocks.
type waiter struct {
	client, request uint64
	db              int
	keys            []string
	deadline        int64 // ms; 0: none
	order           uint64
	place           int // in the heap; -1: not there
	missing         reply.Reply
	pops            bool // it takes something away, so that a key that is gone has nothing for others like it
	// serve tries to answer from a key; ok is false if the key has nothing for it.
	serve func(c *call, key string) (r reply.Reply, ok bool)
}

// waitQueue is those who wait for one key, first come, first served. Who is gone leaves a hole until half of the queue are holes.
type waitQueue struct {
	waiters []*waiter
	holes   int
	ready   bool // it is among the keys that are ready
}

type dueHeap []*waiter

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return h[i].deadline < h[j].deadline || h[i].deadline == h[j].deadline && h[i].order < h[j].order
}

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *dueHeap) Push(x any) {
	w := x.(*waiter)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *dueHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.place = -1
	return w
}

func (w *waits) init() {
	w.clients = map[uint64]*waiter{}
	w.queues = map[keyName]*waitQueue{}
}

func (w *waits) len() int { return len(w.clients) }

func (w *waits) next() (at int64, ok bool) {
	if len(w.due) == 0 {
		return 0, false
	}
	return w.due[0].deadline, true
}

// of lists the keys of a database that somebody waits for, in the order in which the first of them came.
func (w *waits) of(db int) []keyName {
	type first struct {
		keyName
		order uint64
	}
	var names []first
	for name, q := range w.queues { // sorted below
		for _, x := range q.waiters {
			if x != nil && name.db == db {
				names = append(names, first{name, x.order})
				break
			}
		}
	}
	slices.SortFunc(names, func(a, b first) int {
		if a.order != b.order {
			return int(int64(a.order - b.order))
		}
		if a.key < b.key {
			return -1
		}
		return 1
	})
	out := make([]keyName, len(names))
	for i := range names {
		out[i] = names[i].keyName
	}
	return out
}

// block makes the command wait, or answers at once what it gives when its time is up if it may not wait. The waiter says for
// which keys, until when, what is missing then, and how it is served.
func (c *call) block(x *waiter) reply.Reply {
	w := &c.m.waits
	if c.nested || c.client == 0 {
		return x.missing
	}
	w.order++
	x.client, x.request, x.db, x.order, x.place = c.client, c.request, c.db, w.order, -1
	x.keys = slices.Clone(x.keys)
	w.forget(c.client)
	w.clients[c.client] = x
	for i, key := range x.keys {
		if slices.Contains(x.keys[:i], key) {
			continue
		}
		name := keyName{c.db, key}
		q := w.queues[name]
		if q == nil {
			q = &waitQueue{}
			w.queues[name] = q
		}
		if q.holes > 16 && q.holes > len(q.waiters)/2 {
			q.waiters = slices.DeleteFunc(q.waiters, func(x *waiter) bool { return x == nil })
			q.holes = 0
		}
		q.waiters = append(q.waiters, x)
	}
	if x.deadline != 0 {
		heap.Push(&w.due, x)
	}
	c.blocked = true
	return null
}

// forget takes the command of a client out of everything.
func (w *waits) forget(client uint64) *waiter {
	x := w.clients[client]
	if x == nil {
		return nil
	}
	delete(w.clients, client)
	if x.place >= 0 {
		heap.Remove(&w.due, x.place)
	}
	for _, key := range x.keys {
		name := keyName{x.db, key}
		q := w.queues[name]
		if q == nil {
			continue
		}
		if i := slices.Index(q.waiters, x); i == 0 {
			q.waiters[0] = nil
			q.waiters = q.waiters[1:]
			for len(q.waiters) > 0 && q.waiters[0] == nil {
				q.waiters = q.waiters[1:]
				q.holes--
			}
		} else if i > 0 {
			q.waiters[i] = nil
			q.holes++
		}
		if len(q.waiters) == 0 {
			delete(w.queues, name)
		}
	}
	return x
}

// ready notes that a key may have something for those who wait for it. They are served when the command, transaction or script has
// ended.
func (m *Machine) ready(db int, key string) {
	if len(m.waits.queues) == 0 {
		return
	}
	name := keyName{db, key}
	if q := m.waits.queues[name]; q != nil && !q.ready {
		q.ready = true
		m.waits.ready = append(m.waits.ready, name)
	}
}

func (c *call) ready(key string) { c.m.ready(c.db, key) }

// serve answers who waits for the keys that became ready, in the order in which they came. Serving may make other keys ready.
func (m *Machine) serve() {
	w := &m.waits
	for len(w.ready) > 0 {
		name := w.ready[0]
		w.ready = w.ready[1:]
		q := w.queues[name]
		if q == nil {
			continue
		}
		q.ready = false
		for i := 0; i < len(q.waiters); {
			x := q.waiters[i]
			if x == nil {
				i++
				continue
			}
			c := m.enter(call{db: x.db, client: x.client, nested: true})
			r, ok := x.serve(c, name.key)
			m.leave()
			switch {
			case ok && i == 0: // the queue begins with the next one then
				w.forget(x.client)
				m.answer(x, r)
			case ok:
				w.forget(x.client)
				m.answer(x, r)
				i++
			case x.pops && m.find(name.db, name.key) == nil:
				i = len(q.waiters)
			default:
				i++
			}
		}
	}
	w.ready = nil
}

func (m *Machine) answer(x *waiter, r reply.Reply) {
	m.out.Effects = append(m.out.Effects, &Answer{Client: x.client, Request: x.request, Reply: r})
}

// timeOut answers those whose time is up.
func (m *Machine) timeOut(limit int) int {
	w := &m.waits
	for limit > 0 && len(w.due) > 0 && w.due[0].deadline <= m.now {
		x := w.due[0]
		w.forget(x.client)
		m.answer(x, x.missing)
		limit--
	}
	return limit
}

// unblock answers the command of a client before its time.
func (m *Machine) unblock(u *Unblock) int64 {
	x := m.waits.forget(u.Client)
	if x == nil {
		return 0
	}
	if u.Error {
		m.answer(x, reply.Fail("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
	} else {
		m.answer(x, x.missing)
	}
	return 1
}
