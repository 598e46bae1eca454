package keyspace

import (
	"math/bits"
	"slices"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
)

// sweepAtOnce is how many elements a deleted key may have for their rows to be deleted with it.
const sweepAtOnce = 64

// garbage is rows that mean nothing any more: the elements of a deleted key, the keys of a flushed database, or what a crash left of
// either.
type garbage struct {
	gen  uint64
	val  any               // what the key held
	keys *data.Table[item] // of a flushed database
	next uint32            // how far into keys it is
	rows [][]byte          // rows without a header, found by recovery
}

// discard forgets what a deleted key held.
func (m *Machine) discard(gen uint64, val any) {
	if elements(val) > sweepAtOnce {
		m.garbage = append(m.garbage, garbage{gen: gen, val: val})
		return
	}
	m.sweepValue(gen, val, sweepAtOnce)
}

// elements is about the number of rows that a value has besides its header.
func elements(val any) int {
	switch v := val.(type) {
	case *hash:
		return v.Len()
	case *set:
		return v.Len()
	case *list:
		return v.Len()
	case *zset:
		return v.Len()
	case *stream:
		return v.Len() + v.others()
	}
	return 0
}

// sweepValue deletes rows of a value that nothing refers to any more, at most limit; more is true if some are left.
func (m *Machine) sweepValue(gen uint64, val any, limit int) (more bool) {
	number := func(seq uint64) { m.deletePart(gen, seq) }
	switch v := val.(type) {
	case *hash:
		for ; v.over != 0; v.over &= v.over - 1 {
			number(uint64(bits.TrailingZeros64(v.over)))
		}
		return v.Numbers(limit, func(seq uint64) {
			if v.inHeader&(1<<seq) == 0 {
				number(seq)
			}
		})
	case *set:
		return v.Numbers(limit, number)
	case *list:
		return v.Numbers(limit, func(pos int64) { m.deletePart(gen, posID(pos)) })
	case *zset:
		return v.Numbers(limit, number)
	case *stream:
		return m.sweepStream(gen, v, limit)
	}
	return false
}

// sweep forgets some of what was deleted: about limit rows.
func (m *Machine) sweep(limit int) {
	for limit > 0 && len(m.garbage) > 0 {
		limit -= 64
		if !m.sweepOne(64) {
			m.garbage[0] = garbage{}
			m.garbage = m.garbage[1:]
		}
	}
	if len(m.garbage) == 0 {
		m.garbage = nil
	}
}

func (m *Machine) sweepOne(limit int) (more bool) {
	g := &m.garbage[0]
	switch {
	case g.keys != nil:
		keys, i := g.keys, g.next
		for n := 0; i < keys.Slots() && n < limit; i++ {
			if keys.Live(i) {
				it := keys.At(i)
				m.deleteRow(headerKey(m.alloc(headerKeyLen), it.gen))
				gen, val := it.gen, it.val
				m.discard(gen, val) // appends to m.garbage: g is not valid any more
				n++
			}
		}
		m.garbage[0].next = i
		return i < keys.Slots()
	case g.rows != nil:
		n := min(limit, len(g.rows))
		for _, key := range g.rows[:n] {
			m.deleteRow(slices.Clone(key))
		}
		g.rows = g.rows[n:]
		return len(g.rows) > 0
	}
	return m.sweepValue(g.gen, g.val, limit)
}

// flush empties a database at once.
func (m *Machine) flush(db int) {
	d := &m.dbs[db]
	if d.keys.Len() == 0 {
		return
	}
	keys := d.keys
	for i := range keys.Slots() {
		if keys.Live(i) {
			m.used -= keys.At(i).size
		}
	}
	m.flushed(db)
	m.spaces++
	*d = database{space: m.spaces}
	m.writeSpace(db)
	m.garbage = append(m.garbage, garbage{keys: &keys})
}

// flushed tells those who watch keys of a database, or wait in groups of its streams, that all are gone.
func (m *Machine) flushed(db int) {
	t := &m.dbs[db].keys
	for _, name := range m.watches.of(db) {
		if t.Find(name.key) != data.None {
			m.watches.touch(name)
		}
	}
	for _, name := range m.waits.of(db) {
		if t.Find(name.key) != data.None {
			m.ready(db, name.key)
		}
	}
}

func (m *Machine) writeSpace(db int) {
	key := append(m.alloc(2), rowDatabase, byte(db))
	m.putRow(key, appendUvarint(m.alloc(5), uint64(m.dbs[db].space)), false)
}
