package keyspace

import "github.com/quartetjobs/quartet/internal/keyspace/data"

// expiries is a heap of the times at which keys have to be looked at. A key has one place in it: when its time to live is made
// longer the place stays, and is moved when it comes up; a shorter one gets another place, and the old one means nothing any more.
type expiries struct {
	heap []expiry
}

type expiry struct {
	at int64
	keyName
}

func (e *expiries) next() (at int64, ok bool) {
	if len(e.heap) == 0 {
		return 0, false
	}
	return e.heap[0].at + 1, true // a key lives through its last millisecond
}

func (e *expiries) push(x expiry) {
	e.heap = append(e.heap, x)
	i := len(e.heap) - 1
	for i > 0 {
		p := (i - 1) / 2
		if e.heap[p].at <= e.heap[i].at {
			break
		}
		e.heap[p], e.heap[i] = e.heap[i], e.heap[p]
		i = p
	}
}

func (e *expiries) pop() expiry {
	top := e.heap[0]
	last := len(e.heap) - 1
	e.heap[0] = e.heap[last]
	e.heap[last] = expiry{}
	e.heap = e.heap[:last]
	e.down(0)
	return top
}

func (e *expiries) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(e.heap) {
			return
		}
		if c+1 < len(e.heap) && e.heap[c+1].at < e.heap[c].at {
			c++
		}
		if e.heap[i].at <= e.heap[c].at {
			return
		}
		e.heap[i], e.heap[c] = e.heap[c], e.heap[i]
		i = c
	}
}

// enqueue makes sure that a key is looked at when it expires.
func (m *Machine) enqueue(db int, key string, it *item) {
	if it.expires == 0 || it.queued != 0 && it.queued <= it.expires {
		return
	}
	it.queued = it.expires
	m.expiries.push(expiry{it.expires, keyName{db, key}})
	m.tidyExpiries()
}

// tidyExpiries drops places that mean nothing when most of them do: keys that live for a day and are deleted within a second, locks for
// instance, would pile up.
func (m *Machine) tidyExpiries() {
	volatile := 0
	for i := range m.dbs {
		volatile += m.dbs[i].volatile
	}
	if len(m.expiries.heap) < 4*volatile+4096 {
		return
	}
	kept := m.expiries.heap[:0]
	for _, x := range m.expiries.heap {
		t := &m.dbs[x.db].keys
		if i := t.Find(x.key); i != data.None && t.At(i).queued == x.at && t.At(i).expires != 0 {
			kept = append(kept, x)
		} else if i != data.None && t.At(i).queued == x.at {
			t.At(i).queued = 0
		}
	}
	clear(m.expiries.heap[len(kept):])
	m.expiries.heap = kept
	for i := len(kept)/2 - 1; i >= 0; i-- {
		m.expiries.down(i)
	}
}

// expireSome removes keys whose time has passed, at most limit. It returns how many more there may be.
func (m *Machine) expireSome(limit int) int {
	for limit > 0 && len(m.expiries.heap) > 0 && m.expiries.heap[0].at < m.now {
		x := m.expiries.pop()
		limit--
		t := &m.dbs[x.db].keys
		i := t.Find(x.key)
		if i == data.None || t.At(i).queued != x.at {
			continue
		}
		it := t.At(i)
		it.queued = 0
		if it.expires != 0 && m.now > it.expires {
			m.remove(x.db, x.key)
		} else {
			m.enqueue(x.db, x.key, it)
		}
	}
	return limit
}
