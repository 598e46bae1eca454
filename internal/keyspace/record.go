package keyspace

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/store"
)

// The rows of store.Keys. The first byte of a row's key says what it is; rows are loaded in this order. Numbers in keys are big-endian.
//
//	d <database 1>                 the space of a database: uvarint
//	k <generation 8>               the header of a key: space, name, kind, expiry, and what the kind adds
//	p <generation 8> <element …>   an element of the key whose header has that generation
//	s <SHA-1 40>                   a script
//
// A key gets a new generation when it is made and keeps it for as long as it lives, also under another name. So deleting a key of any size
// is the delete of its header; its elements are swept later, and what a crash leaves of them is known by the missing header.
// A database's space is to its keys what a key's generation is to its elements.
//
// Elements are keyed by what stays the same:
//
//	hash, set    number of the field 8          field, value; empty for a field of the header that is gone
//	sorted set   number of the member 8         score 8, member
//	list         position 8, sign bit flipped   the item
//	stream       'e' id 16                      strings
//	             'g' group                      last id, entries read
//	             'c' group, consumer            time
//	             'n' group, id 16               consumer, time, count
const (
	rowDatabase = 'd'
	rowHeader   = 'k'
	rowPart     = 'p'
	rowScript   = 's'
)

// Kinds in headers.
const (
	kindString = 1 + iota
	kindHash
	kindList
	kindSet
	kindZset
	kindStream
)

const (
	headerKeyLen = 9
	partKeyLen   = 17
)

var errRow = errors.New("malformed row")

// alloc returns an empty slice with room for n bytes. Rows are made in large pieces of memory, because two small ones for each
// were most of a command's garbage.
func (m *Machine) alloc(n int) []byte {
	const piece = 64 << 10
	if n > piece/8 {
		return make([]byte, 0, n)
	}
	if n > len(m.arena) {
		m.arena = make([]byte, piece)
	}
	b := m.arena[:0:n]
	m.arena = m.arena[n:]
	return b
}

func (m *Machine) putRow(key, value []byte, fresh bool) {
	m.written += len(value)
	m.out.Records = append(m.out.Records, store.Record{Table: store.Keys, Key: key, Value: value, Fresh: fresh})
}

func (m *Machine) deleteRow(key []byte) {
	m.out.Records = append(m.out.Records, store.Record{Table: store.Keys, Key: key})
}

func headerKey(b []byte, gen uint64) []byte {
	b = append(b, rowHeader)
	return binary.BigEndian.AppendUint64(b, gen)
}

func partKey(b []byte, gen, id uint64) []byte {
	b = append(b, rowPart)
	b = binary.BigEndian.AppendUint64(b, gen)
	return binary.BigEndian.AppendUint64(b, id)
}

// header notes that the header of a key must be written when the command ends.
func (m *Machine) header(db int, key string, it *item) {
	if s, ok := it.val.(str); ok {
		m.written += len(s) // written once, but it may be another one by then
	}
	if !it.dirty {
		it.dirty = true
		m.dirty = append(m.dirty, keyName{db, key})
	}
}

// writeHeaders names the headers that the command changed. Keys that were made and removed again are not found.
func (m *Machine) writeHeaders() {
	for _, name := range m.dirty {
		t := &m.dbs[name.db].keys
		i := t.Find(name.key)
		if i == data.None {
			continue
		}
		it := t.At(i)
		if !it.dirty {
			continue
		}
		it.dirty = false
		m.putRow(headerKey(m.alloc(headerKeyLen), it.gen), m.encodeHeader(name, it), !it.stored)
		it.stored = true
	}
	clear(m.dirty)
	m.dirty = m.dirty[:0]
}

func (m *Machine) encodeHeader(name keyName, it *item) []byte {
	size := 40 + len(name.key)
	if s, ok := it.val.(str); ok {
		size += len(s)
	} else if _, ok := it.val.(*stream); ok {
		size += 60
	} else if h, ok := it.val.(*hash); ok && h.inHeader != 0 {
		size += int(it.size) + 8*min(64, h.Len())
	}
	b := m.alloc(size)
	b = binary.AppendUvarint(b, uint64(m.dbs[name.db].space))
	b = appendString(b, name.key)
	kind := byte(0)
	switch it.val.(type) {
	case str:
		kind = kindString
	case *hash:
		kind = kindHash
	case *list:
		kind = kindList
	case *set:
		kind = kindSet
	case *zset:
		kind = kindZset
	case *stream:
		kind = kindStream
	}
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(it.expires))
	switch v := it.val.(type) {
	case str:
		b = append(b, v...)
	case *stream:
		b = v.appendState(b)
	case *hash:
		b = v.appendFields(b)
	}
	return b
}

// appendFields encodes the fields that are in the header: which they are, and then number, field and value of each.
func (h *hash) appendFields(b []byte) []byte {
	if h.inHeader == 0 {
		return b
	}
	b = binary.AppendUvarint(b, h.inHeader)
	h.Each(func(field, value string, seq uint64) bool {
		if h.inHeader>>seq&1 != 0 && seq < 64 {
			b = append(b, byte(seq))
			b = appendString(appendString(b, field), value)
		}
		return seq < 64
	})
	return b
}

func appendString[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func (m *Machine) deletePart(gen, id uint64) {
	m.deleteRow(partKey(m.alloc(partKeyLen), gen, id))
}

func (m *Machine) putField(gen, seq uint64, field, value string, fresh bool) {
	b := m.alloc(binary.MaxVarintLen32 + len(field) + len(value))
	b = append(appendString(b, field), value...)
	m.putRow(partKey(m.alloc(partKeyLen), gen, seq), b, fresh)
}

func (m *Machine) putScore(gen, seq uint64, member string, score float64, fresh bool) {
	b := m.alloc(8 + len(member))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(score))
	m.putRow(partKey(m.alloc(partKeyLen), gen, seq), append(b, member...), fresh)
}

func posID(pos int64) uint64 { return uint64(pos) ^ 1<<63 }

func (m *Machine) putListItem(gen uint64, pos int64, val string, fresh bool) {
	b := append(m.alloc(max(1, len(val))), val...)
	m.putRow(partKey(m.alloc(partKeyLen), gen, posID(pos)), b, fresh)
}

// streamKey is the key of a row of a stream; names are a group and a consumer.
func (m *Machine) streamKey(gen uint64, what byte, names ...string) []byte {
	size := partKeyLen + 16
	for _, n := range names {
		size += binary.MaxVarintLen32 + len(n)
	}
	b := append(m.alloc(size), rowPart)
	b = binary.BigEndian.AppendUint64(b, gen)
	b = append(b, what)
	for _, n := range names {
		b = appendString(b, n)
	}
	return b
}

func appendID(b []byte, id data.ID) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, id.MS), id.Seq)
}

func (m *Machine) putEntry(gen uint64, id data.ID, fields []string) {
	size := 8
	for _, f := range fields {
		size += binary.MaxVarintLen32 + len(f)
	}
	b := m.alloc(size)
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for _, f := range fields {
		b = appendString(b, f)
	}
	m.putRow(appendID(m.streamKey(gen, 'e'), id), b, true)
}

func (m *Machine) deleteEntry(gen uint64, id data.ID) {
	m.deleteRow(appendID(m.streamKey(gen, 'e'), id))
}

// reader takes the encoding of a row apart. After the first malformed part bad is set and everything reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) string() string { return string(r.take(r.uvarint())) }

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) id() data.ID { return data.ID{MS: r.uint64(), Seq: r.uint64()} }
