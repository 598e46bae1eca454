package keyspace

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/store"
)

// Loader reads all rows of a table in key order; store.Shard.Load is one.
type Loader = func(table store.Table, fn func(key, value []byte) error) error

// recovery is what only the reading of rows needs.
type recovery struct {
	m      *Machine
	spaces map[uint32]int // database of each
	items  map[uint64]keyName
	rows   [][]byte // that belong to nothing
	gen    uint64   // whose parts are being read, and where they go
	part   func(key, value []byte) error
}

// Recover reads the keyspace back into an empty machine. Nobody waits and nobody watches in it.
func (m *Machine) Recover(now int64, load Loader) error {
	m.begin(now, &Out{})
	r := &recovery{m: m, items: map[uint64]keyName{}}
	if err := load(store.Keys, r.row); err != nil {
		return fmt.Errorf("recover the keyspace: %w", err)
	}
	if len(r.rows) > 0 {
		m.garbage = append(m.garbage, garbage{rows: r.rows})
	}
	m.dirty = m.dirty[:0]
	m.out = nil
	return nil
}

func (r *recovery) row(key, value []byte) error {
	if len(key) < 2 {
		return fmt.Errorf("row %x: %w", key, errRow)
	}
	var err error
	switch key[0] {
	case rowDatabase:
		err = r.database(key, value)
	case rowHeader:
		err = r.header(key, value)
	case rowPart:
		err = r.element(key, value)
	case rowScript:
		r.m.keepScript(string(key[1:]), string(value))
	default:
		err = errRow
	}
	if err != nil {
		return fmt.Errorf("row %x: %w", clip(string(key), 64), err)
	}
	return nil
}

func (r *recovery) database(key, value []byte) error {
	in := reader{b: value}
	space := uint32(in.uvarint())
	if in.bad || int(key[1]) >= Databases {
		return errRow
	}
	r.m.dbs[key[1]].space = space
	r.m.spaces = max(r.m.spaces, space)
	return nil
}

func (r *recovery) header(key, value []byte) error {
	m := r.m
	if r.spaces == nil {
		r.spaces = map[uint32]int{}
		for i := range m.dbs {
			r.spaces[m.dbs[i].space] = i
		}
	}
	if len(key) != headerKeyLen {
		return errRow
	}
	gen := binary.BigEndian.Uint64(key[1:])
	m.gen = max(m.gen, gen)
	in := reader{b: value}
	space := uint32(in.uvarint())
	name := in.string()
	kind := in.byte()
	expires := int64(in.uvarint())
	if in.bad {
		return errRow
	}
	db, ok := r.spaces[space]
	if !ok {
		m.spaces = max(m.spaces, space)
		r.rows = append(r.rows, slices.Clone(key))
		return nil
	}
	var val any
	size := 0
	switch kind {
	case kindString:
		val = str(in.b)
	case kindHash:
		h := new(hash)
		if size = h.readFields(&in); in.bad {
			return errRow
		}
		val = h
	case kindList:
		val = new(list)
	case kindSet:
		val = new(set)
	case kindZset:
		val = new(zset)
	case kindStream:
		s := newStream()
		s.readState(&in)
		if in.bad {
			return errRow
		}
		val = s
	default:
		return errRow
	}
	size += len(name) + keyCost
	if s, ok := val.(str); ok {
		size += len(s)
	} else {
		r.items[gen] = keyName{db, name}
	}
	d := &m.dbs[db]
	if d.keys.Find(name) != data.None {
		return fmt.Errorf("a second key %q: %w", clip(name, 64), errRow)
	}
	i := d.keys.Insert(name, item{val: val, gen: gen, size: int64(size), expires: expires, stored: true})
	m.used += int64(size)
	if expires != 0 {
		d.volatile++
		m.enqueue(db, name, d.keys.At(i))
	}
	return nil
}

// element reads one element. The parts of a key come one after the other.
func (r *recovery) element(key, value []byte) error {
	if len(key) <= headerKeyLen {
		return errRow
	}
	gen := binary.BigEndian.Uint64(key[1:])
	if gen != r.gen || r.part == nil {
		r.m.gen = max(r.m.gen, gen)
		r.gen, r.part = gen, r.owner(gen)
	}
	return r.part(key[headerKeyLen:], value)
}

// owner returns what takes the parts of a key.
func (r *recovery) owner(gen uint64) func(id, value []byte) error {
	name, ok := r.items[gen]
	if !ok {
		return func(id, _ []byte) error {
			row := binary.BigEndian.AppendUint64([]byte{rowPart}, gen)
			r.rows = append(r.rows, append(row, id...))
			return nil
		}
	}
	t := &r.m.dbs[name.db].keys
	it := t.At(t.Find(name.key))
	numbered := func(put func(seq uint64, in *reader) int) func(id, value []byte) error {
		return func(id, value []byte) error {
			if len(id) != 8 {
				return errRow
			}
			in := reader{b: value}
			r.m.grow(it, put(binary.BigEndian.Uint64(id), &in))
			if in.bad {
				return errRow
			}
			return nil
		}
	}
	switch v := it.val.(type) {
	case *hash:
		return numbered(func(seq uint64, in *reader) int { return v.readField(seq, in) })
	case *set:
		return numbered(func(seq uint64, in *reader) int {
			member := in.string()
			v.Restore(member, "", seq)
			return len(member)
		})
	case *list:
		return numbered(func(id uint64, in *reader) int {
			pos := int64(id ^ 1<<63)
			v.Fresh(pos)
			v.Restore(string(in.b), pos)
			return len(in.b)
		})
	case *zset:
		return numbered(func(seq uint64, in *reader) int {
			score := math.Float64frombits(in.uint64())
			v.Restore(string(in.b), score, seq)
			return 8 + len(in.b)
		})
	case *stream:
		return func(id, value []byte) error { return v.recover(r.m, it, id, value) }
	}
	return func(_, _ []byte) error { return errRow }
}

// readFields reads the fields of a header and returns their size.
func (h *hash) readFields(in *reader) (size int) {
	if len(in.b) == 0 {
		return 0
	}
	h.inHeader = in.uvarint()
	for len(in.b) > 0 {
		seq, field, value := in.byte(), in.string(), in.string()
		if in.bad || seq >= 64 {
			in.bad = true
			return 0
		}
		h.Restore(field, value, uint64(seq))
		size += len(field) + len(value)
	}
	h.Skip(uint64(bits.Len64(h.inHeader)))
	return size
}

// readField reads a field's own row and returns by how many bytes the hash grew.
func (h *hash) readField(seq uint64, in *reader) (grown int) {
	if h.inHeader&(1<<seq) == 0 {
		field := in.string()
		h.Restore(field, string(in.b), seq)
		return len(field) + len(in.b)
	}
	h.over |= 1 << seq
	if len(in.b) == 0 {
		if field, ok := h.Field(seq); ok {
			_, _, freed := h.Delete(field)
			return -freed
		}
		return 0
	}
	_, _, grown = h.Set(in.string(), string(in.b))
	return grown
}
