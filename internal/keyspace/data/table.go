package data

import "math/bits"

// None is the number of no entry.
const None = ^uint32(0)

const (
	chunkSlots = 1024
	freeBit    = 1 << 31
)

// Table is a hash table whose entries have numbers, and that grows one bucket at a time (linear hashing) so that no insert ever
// waits for all entries to be moved. An entry keeps its number until it is deleted or the table is shrunk. The zero Table is
// empty. It holds up to 2³¹-1 entries.
type Table[V any] struct {
	chunks [][]slot[V] // chunkSlots each, but for the last
	heads  []uint32    // first slot of each bucket
	free   uint32      // first of the slots that hold nothing, plus 1
	used   uint32      // slots that were ever used
	n      int
}

type slot[V any] struct {
	key  string
	hash uint32
	next uint32 // in the bucket, or in the list of free slots with freeBit set
	val  V
}

// Len is the number of entries.
func (t *Table[V]) Len() int { return t.n }

func (t *Table[V]) slot(i uint32) *slot[V] { return &t.chunks[i/chunkSlots][i%chunkSlots] }

// Key returns the key of an entry.
func (t *Table[V]) Key(i uint32) string { return t.slot(i).key }

// At returns the value of an entry, valid until the next insert.
func (t *Table[V]) At(i uint32) *V { return &t.slot(i).val }

func (t *Table[V]) bucket(hash uint32) uint32 {
	n := uint32(len(t.heads))
	mask := uint32(1)<<bits.Len32(n-1) - 1
	if b := hash & mask; b < n {
		return b
	}
	return hash & (mask >> 1)
}

// Find returns the entry of a key, or None.
func (t *Table[V]) Find(key string) uint32 {
	if t.n == 0 {
		return None
	}
	h := hashOf(key)
	for i := t.heads[t.bucket(h)]; i != None; {
		s := t.slot(i)
		if s.hash == h && s.key == key {
			return i
		}
		i = s.next
	}
	return None
}

// Insert adds a key that is not there.
func (t *Table[V]) Insert(key string, val V) uint32 {
	if len(t.heads) == 0 {
		t.heads = []uint32{None, None, None, None}
	}
	h := hashOf(key)
	i := t.take()
	b := t.bucket(h)
	*t.slot(i) = slot[V]{key: key, hash: h, next: t.heads[b], val: val}
	t.heads[b] = i
	t.n++
	if t.n > len(t.heads) {
		t.split()
	}
	return i
}

func (t *Table[V]) take() uint32 {
	if t.free != 0 {
		i := t.free - 1
		t.free = t.slot(i).next &^ freeBit
		return i
	}
	i := t.used
	t.used++
	if i/chunkSlots == uint32(len(t.chunks)) {
		size := chunkSlots
		if i == 0 {
			size = 4
		}
		t.chunks = append(t.chunks, make([]slot[V], 0, size))
	}
	c := &t.chunks[i/chunkSlots]
	*c = append(*c, slot[V]{})
	return i
}

// split adds a bucket and moves to it what belongs there of the one that it is the second half of.
func (t *Table[V]) split() {
	n := uint32(len(t.heads))
	from := n - 1<<(bits.Len32(n)-1)
	t.heads = append(t.heads, None)
	list := t.heads[from]
	t.heads[from] = None
	for list != None {
		s := t.slot(list)
		i := list
		list = s.next
		b := t.bucket(s.hash)
		s.next = t.heads[b]
		t.heads[b] = i
	}
}

// Delete removes an entry.
func (t *Table[V]) Delete(i uint32) {
	s := t.slot(i)
	at := &t.heads[t.bucket(s.hash)]
	for *at != i {
		at = &t.slot(*at).next
	}
	*at = s.next
	*s = slot[V]{next: t.free | freeBit}
	t.free = i + 1
	t.n--
	if t.n == 0 {
		*t = Table[V]{}
	}
}

// Sparse reports that a table has become so empty that it should be shrunk.
func (t *Table[V]) Sparse() bool { return t.used > 2*chunkSlots && uint32(t.n) < t.used/8 }

// Shrink gives the memory of deleted entries back. moved hears the new number of every entry.
func (t *Table[V]) Shrink(moved func(from, to uint32)) {
	old := *t
	*t = Table[V]{}
	for i := range old.used {
		if s := old.slot(i); s.next&freeBit == 0 || s.next == None {
			to := t.Insert(s.key, s.val)
			if moved != nil {
				moved(i, to)
			}
		}
	}
}

// Each calls fn with every entry until it returns false. fn must not change the table.
func (t *Table[V]) Each(fn func(i uint32) bool) {
	for i := range t.used {
		if s := t.slot(i); (s.next&freeBit == 0 || s.next == None) && !fn(i) {
			return
		}
	}
}

// Slots is the range of numbers that entries have; Live tells which of them are in use.
func (t *Table[V]) Slots() uint32 { return t.used }

// Live reports whether a number below Slots is that of an entry.
func (t *Table[V]) Live(i uint32) bool {
	s := t.slot(i)
	return s.next&freeBit == 0 || s.next == None
}

// Random returns an entry; r are random numbers.
func (t *Table[V]) Random(r func() uint64) uint32 {
	// At least an eighth of a large table is in use, see Sparse, so this ends soon.
	for range 1000 {
		if i := uint32(r() % uint64(t.used)); t.Live(i) {
			return i
		}
	}
	i := uint32(0)
	for !t.Live(i) {
		i++
	}
	return i
}

// Scan calls fn with entries from a cursor on, at least count of them and whole buckets, and returns the cursor to go on from,
// 0 at the end. The first cursor is 0. fn must not change the table.
func (t *Table[V]) Scan(cursor uint64, count int, fn func(i uint32)) (next uint64) {
	if t.n == 0 || cursor >= scanEnd {
		return 0
	}
	for count > 0 {
		b := t.bucket(bits.Reverse32(uint32(cursor)))
		for i := t.heads[b]; i != None; {
			s := t.slot(i)
			if point(s.hash) >= cursor {
				fn(i)
				count--
			}
			i = s.next
		}
		// The bucket is the interval of hashes that share its low bits. How many bits that is depends on whether it was split in
		// the current round.
		n := uint32(len(t.heads))
		width := bits.Len32(n - 1)
		if half := uint32(1) << (width - 1); b < half && b+half >= n {
			width--
		}
		cursor = cursor&^(1<<(32-width)-1) + 1<<(32-width)
		if cursor >= scanEnd {
			return 0
		}
	}
	return cursor
}
