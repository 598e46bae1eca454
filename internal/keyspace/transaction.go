package keyspace

import (
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// watches is which clients watch which keys.
type watches struct {
	keys    map[keyName][]*watcher
	clients map[uint64]*watcher
}

// watcher is a client that watches keys.
type watcher struct {
	names []keyName
	dirty bool // one of them was changed
}

func (w *watches) init() {
	w.keys = map[keyName][]*watcher{}
	w.clients = map[uint64]*watcher{}
}

func (w *watches) touch(name keyName) {
	for _, x := range w.keys[name] {
		x.dirty = true
	}
}

// of lists the keys of a database that somebody watches.
func (w *watches) of(db int) []keyName {
	var names []keyName
	for name := range w.keys { // sorted below
		if name.db == db {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b keyName) int { return strings.Compare(a.key, b.key) })
	return names
}

func (w *watches) forget(client uint64) {
	x := w.clients[client]
	if x == nil {
		return
	}
	delete(w.clients, client)
	for _, name := range x.names {
		left := slices.DeleteFunc(w.keys[name], func(y *watcher) bool { return y == x })
		if len(left) == 0 {
			delete(w.keys, name)
		} else {
			w.keys[name] = left
		}
	}
}

func (m *Machine) watch(c *Watch) {
	x := m.watches.clients[c.Client]
	if x == nil {
		x = &watcher{}
		m.watches.clients[c.Client] = x
	}
	for _, key := range c.Keys {
		name := keyName{c.DB, key}
		if slices.Contains(m.watches.keys[name], x) {
			continue
		}
		m.find(c.DB, key) // what has expired already counts as missing
		m.watches.keys[name] = append(m.watches.keys[name], x)
		x.names = append(x.names, name)
	}
}

// exec runs a transaction. An error of one command is its reply and stops nothing.
func (m *Machine) exec(e *Exec) Result {
	if x := m.watches.clients[e.Client]; x != nil {
		for _, name := range x.names {
			m.find(name.db, name.key) // one that has expired by now was changed
		}
		dirty := x.dirty
		m.watches.forget(e.Client)
		if dirty {
			return Result{Reply: nullArray, DB: e.DB}
		}
	}
	db := e.DB
	replies := make([]reply.Reply, 0, len(e.Queued))
	for _, args := range e.Queued {
		s, bad := Check(args)
		if s == nil {
			replies = append(replies, bad)
			continue
		}
		c := m.enter(call{db: db, args: args, client: e.Client, micros: e.Micros, nested: true})
		replies = append(replies, m.run(s, c))
		db = c.db
		m.leave()
	}
	return Result{Reply: reply.Reply{Kind: reply.Array, Elems: replies}, DB: db}
}
