package data

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// Bounds of a packed dict. Looking something up goes through all of it, and changing the size of a value moves what is behind it.
const (
	packedFields = 64
	packedBytes  = 8 << 10
)

// Dict is a hash, or a set if all values are empty. It keeps the order in which fields were added. Every field has a number,
// growing in that order and never used again. The zero Dict is empty.
type Dict struct {
	packed []byte // number, field, value, one after the other
	n      int
	next   uint64 // the number that the next field gets
	big    *bigDict
}

type bigDict struct {
	table       Table[dictEntry]
	first, last uint32 // of the order
}

type dictEntry struct {
	value      string
	seq        uint64
	prev, next uint32 // in the order
}

// Len is the number of fields.
func (d *Dict) Len() int {
	if d.big != nil {
		return d.big.table.Len()
	}
	return d.n
}

// entry is one field in packed bytes.
type entry struct {
	at, value, end int // where it begins, where its value does, and where it ends
	seq            uint64
	field          []byte
}

// entryAt reads the entry at a place.
func (d *Dict) entryAt(at int) (e entry) {
	e.at = at
	b := d.packed[at:]
	seq, n := uvarint(b)
	e.seq = seq
	size, k := uvarint(b[n:])
	n += k
	e.field = b[n : n+int(size)]
	n += int(size)
	size, k = uvarint(b[n:])
	n += k
	e.value = at + n
	e.end = e.value + int(size)
	return e
}

// uvarint is binary.Uvarint with the common case in front.
func uvarint(b []byte) (uint64, int) {
	if c := b[0]; c < 0x80 {
		return uint64(c), 1
	}
	return binary.Uvarint(b)
}

func (d *Dict) find(field string) (entry, bool) {
	for at := 0; at < len(d.packed); {
		e := d.entryAt(at)
		if string(e.field) == field {
			return e, true
		}
		at = e.end
	}
	return entry{}, false
}

// Get returns the value of a field.
func (d *Dict) Get(field string) (value string, ok bool) {
	if d.big != nil {
		i := d.big.table.Find(field)
		if i == None {
			return "", false
		}
		return d.big.table.At(i).value, true
	}
	e, ok := d.find(field)
	if !ok {
		return "", false
	}
	return string(d.packed[e.value:e.end]), true
}

// Has reports whether there is a field.
func (d *Dict) Has(field string) bool {
	if d.big != nil {
		return d.big.table.Find(field) != None
	}
	_, ok := d.find(field)
	return ok
}

// Size is the length of a field's value, 0 if there is none.
func (d *Dict) Size(field string) int {
	if d.big != nil {
		v, _ := d.Get(field)
		return len(v)
	}
	e, _ := d.find(field)
	return e.end - e.value
}

// Set gives a field a value. It returns the field's number, whether it is new, and by how many bytes the dict grew.
func (d *Dict) Set(field, value string) (seq uint64, added bool, grown int) {
	if d.big != nil {
		if i := d.big.table.Find(field); i != None {
			e := d.big.table.At(i)
			grown = len(value) - len(e.value)
			e.value = value
			return e.seq, false, grown
		}
		d.next++
		d.big.add(field, value, d.next-1)
		return d.next - 1, true, len(field) + len(value)
	}
	if e, ok := d.find(field); ok {
		grown = len(value) - (e.end - e.value)
		if grown == 0 {
			copy(d.packed[e.value:e.end], value)
			return e.seq, false, 0
		}
		if len(d.packed)+grown <= packedBytes {
			d.replace(e, value)
			return e.seq, false, grown
		}
		d.unpack()
		d.big.table.At(d.big.table.Find(field)).value = value
		return e.seq, false, grown
	}
	seq = d.next
	d.put(field, value, seq)
	return seq, true, len(field) + len(value)
}

// Restore puts a field back under the number that it had. Fields must come in the order of their numbers.
func (d *Dict) Restore(field, value string, seq uint64) { d.put(field, value, seq) }

func (d *Dict) put(field, value string, seq uint64) {
	d.next = seq + 1
	if d.big == nil && (d.n >= packedFields || len(d.packed)+len(field)+len(value)+16 > packedBytes) {
		d.unpack()
	}
	if d.big != nil {
		d.big.add(field, value, seq)
		return
	}
	d.packed = binary.AppendUvarint(d.packed, seq)
	d.packed = binary.AppendUvarint(d.packed, uint64(len(field)))
	d.packed = append(d.packed, field...)
	d.packed = binary.AppendUvarint(d.packed, uint64(len(value)))
	d.packed = append(d.packed, value...)
	d.n++
}

// Skip makes sure that the next field gets a number that is at least next.
func (d *Dict) Skip(next uint64) { d.next = max(d.next, next) }

// Field finds a field by its number, the slow way.
func (d *Dict) Field(seq uint64) (field string, ok bool) {
	d.Each(func(f, _ string, n uint64) bool {
		if ok = n == seq; ok {
			field = f
		}
		return n < seq
	})
	return field, ok
}

// Grow makes room for that many more bytes of fields and values.
func (d *Dict) Grow(fields, bytes int) {
	if need := bytes + 6*fields; d.big == nil && d.n+fields <= packedFields && len(d.packed)+need <= packedBytes {
		d.packed = slices.Grow(d.packed, need)
	}
}

// replace changes the length of a value.
func (d *Dict) replace(e entry, value string) {
	var head [binary.MaxVarintLen64]byte
	h := binary.AppendUvarint(head[:0], uint64(len(value)))
	// The length of the old value is right in front of it.
	oldHead := e.value - uvarintSize(uint64(e.end-e.value))
	d.packed = slices.Replace(d.packed, oldHead, e.end, append(h, value...)...)
}

func uvarintSize(n uint64) int {
	size := 1
	for n >= 0x80 {
		n >>= 7
		size++
	}
	return size
}

// Delete removes a field. It returns the number that it had and its bytes.
func (d *Dict) Delete(field string) (seq uint64, ok bool, freed int) {
	if d.big != nil {
		i := d.big.table.Find(field)
		if i == None {
			return 0, false, 0
		}
		e := d.big.table.At(i)
		seq, freed = e.seq, len(field)+len(e.value)
		d.big.remove(i)
		return seq, true, freed
	}
	e, ok := d.find(field)
	if !ok {
		return 0, false, 0
	}
	freed = len(field) + e.end - e.value
	d.packed = slices.Delete(d.packed, e.at, e.end)
	d.n--
	return e.seq, true, freed
}

// unpack makes a dict big. It stays so: a dict at the bound would go back and forth.
func (d *Dict) unpack() {
	b := &bigDict{first: None, last: None}
	all := string(d.packed)
	for at := 0; at < len(d.packed); {
		e := d.entryAt(at)
		field := string(e.field)
		b.add(field, all[e.value:e.end], e.seq)
		at = e.end
	}
	d.big, d.packed, d.n = b, nil, 0
}

func (b *bigDict) add(field, value string, seq uint64) {
	i := b.table.Insert(field, dictEntry{value: value, seq: seq, prev: b.last, next: None})
	if b.last != None {
		b.table.At(b.last).next = i
	} else {
		b.first = i
	}
	b.last = i
}

func (b *bigDict) remove(i uint32) {
	e := b.table.At(i)
	if e.prev != None {
		b.table.At(e.prev).next = e.next
	} else {
		b.first = e.next
	}
	if e.next != None {
		b.table.At(e.next).prev = e.prev
	} else {
		b.last = e.prev
	}
	b.table.Delete(i)
	if b.table.Sparse() {
		small := bigDict{first: None, last: None}
		for i := b.first; i != None; {
			e := b.table.At(i)
			small.add(b.table.Key(i), e.value, e.seq)
			i = e.next
		}
		*b = small
	}
}

// Each calls fn with every field in order until it returns false. The strings of one call share memory. fn must not change
// the dict.
func (d *Dict) Each(fn func(field, value string, seq uint64) bool) {
	if d.big != nil {
		t := &d.big.table
		for i := d.big.first; i != None; {
			e := t.At(i)
			if !fn(t.Key(i), e.value, e.seq) {
				return
			}
			i = e.next
		}
		return
	}
	all := string(d.packed)
	for at := 0; at < len(d.packed); {
		e := d.entryAt(at)
		start := e.value - uvarintSize(uint64(e.end-e.value)) - len(e.field)
		if !fn(all[start:start+len(e.field)], all[e.value:e.end], e.seq) {
			return
		}
		at = e.end
	}
}

// Numbers calls fn with the number of every field from the back of the structure, at most limit of them, and forgets those fields: a
// big dict is torn down in slices. more is true if some are left.
func (d *Dict) Numbers(limit int, fn func(seq uint64)) (more bool) {
	for range limit {
		if d.big == nil {
			if len(d.packed) == 0 {
				return false
			}
			e := d.entryAt(0)
			fn(e.seq)
			d.packed = d.packed[e.end:]
			d.n--
			continue
		}
		if d.big.first == None {
			return false
		}
		i := d.big.first
		e := d.big.table.At(i)
		fn(e.seq)
		d.big.first = e.next
	}
	return d.big == nil && len(d.packed) > 0 || d.big != nil && d.big.first != None
}

// Random returns a field and its value; r are random numbers. The dict must not be empty.
func (d *Dict) Random(r func() uint64) (field, value string) {
	if d.big != nil {
		i := d.big.table.Random(r)
		return d.big.table.Key(i), d.big.table.At(i).value
	}
	at := 0
	for range r() % uint64(d.n) {
		at = d.entryAt(at).end
	}
	e := d.entryAt(at)
	return string(e.field), string(d.packed[e.value:e.end])
}

// Scan calls fn with fields from a cursor on, at least count of them, and returns the next cursor, 0 at the end.
func (d *Dict) Scan(cursor uint64, count int, fn func(field, value string)) (next uint64) {
	if d.big != nil {
		t := &d.big.table
		return t.Scan(cursor, count, func(i uint32) { fn(t.Key(i), t.At(i).value) })
	}
	type place struct {
		at    int
		point uint64
	}
	var places []place
	for at := 0; at < len(d.packed); {
		e := d.entryAt(at)
		if p := point(hashOf(string(e.field))); p >= cursor {
			places = append(places, place{at, p})
		}
		at = e.end
	}
	slices.SortFunc(places, func(a, b place) int { return cmpUint(a.point, b.point) })
	for i, p := range places {
		if i >= count && p.point != places[i-1].point {
			return p.point
		}
		e := d.entryAt(p.at)
		fn(string(e.field), string(d.packed[e.value:e.end]))
	}
	return 0
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Short reports whether there are at most n fields and none of them nor its value is longer than size: what Redis keeps as one
// block of memory, which shows in OBJECT ENCODING and in scans.
func (d *Dict) Short(n, size int) bool {
	if d.Len() > n {
		return false
	}
	short := true
	d.Each(func(field, value string, _ uint64) bool {
		short = len(field) <= size && len(value) <= size
		return short
	})
	return short
}

// Integers reports whether all fields are integers in decimal, and at most n of them.
func (d *Dict) Integers(n int) bool {
	if d.Len() > n {
		return false
	}
	all := true
	d.Each(func(field, _ string, _ uint64) bool {
		i, err := strconv.ParseInt(field, 10, 64)
		all = err == nil && strconv.FormatInt(i, 10) == field
		return all
	})
	return all
}
