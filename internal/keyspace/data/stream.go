package data

import (
	"encoding/binary"
	"slices"
	"sort"
	"strconv"
)

// ID is the id of a stream's entry.
type ID struct{ MS, Seq uint64 }

// MaxID is the greatest id.
var MaxID = ID{^uint64(0), ^uint64(0)}

// Compare orders ids.
func (a ID) Compare(b ID) int {
	if a.MS != b.MS {
		return cmpUint(a.MS, b.MS)
	}
	return cmpUint(a.Seq, b.Seq)
}

// Less reports whether a comes before b.
func (a ID) Less(b ID) bool { return a.Compare(b) < 0 }

// Next is the id after a; ok is false if a is the greatest.
func (a ID) Next() (ID, bool) {
	switch {
	case a.Seq < ^uint64(0):
		return ID{a.MS, a.Seq + 1}, true
	case a.MS < ^uint64(0):
		return ID{a.MS + 1, 0}, true
	}
	return a, false
}

// Prev is the id before a; ok is false if a is the smallest.
func (a ID) Prev() (ID, bool) {
	switch {
	case a.Seq > 0:
		return ID{a.MS, a.Seq - 1}, true
	case a.MS > 0:
		return ID{a.MS - 1, ^uint64(0)}, true
	}
	return a, false
}

func (a ID) String() string {
	b := make([]byte, 0, 24)
	b = strconv.AppendUint(b, a.MS, 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, a.Seq, 10))
}

// Bounds of a stream's blocks, as in Redis: approximate trimming drops whole blocks.
const (
	streamItems = 100
	streamBytes = 4 << 10
)

// Stream is the entries of a stream in blocks, in order of their ids. The zero Stream is empty.
type Stream struct {
	blocks []*streamBlock
	head   int // blocks before it are gone
	n      int
}

// streamBlock is some entries one after the other: milliseconds since base, sequence number, number of strings, and those.
type streamBlock struct {
	base ID
	buf  []byte
	n    int // entries that are left
	made int // entries that were ever added
	last ID
}

// Entry is one entry: field and value in turn.
type Entry struct {
	ID     ID
	Fields []string
}

// Len is the number of entries.
func (s *Stream) Len() int { return s.n }

func (s *Stream) live() []*streamBlock { return s.blocks[s.head:] }

// Add adds an entry whose id is greater than all that the stream ever had.
func (s *Stream) Add(id ID, fields []string) {
	var b *streamBlock
	if s.head < len(s.blocks) {
		b = s.blocks[len(s.blocks)-1]
	}
	if b == nil || b.made >= streamItems || len(b.buf) >= streamBytes {
		b = &streamBlock{base: id}
		s.blocks = append(s.blocks, b)
	}
	b.buf = binary.AppendUvarint(b.buf, id.MS-b.base.MS)
	b.buf = binary.AppendUvarint(b.buf, id.Seq)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(fields)))
	for _, f := range fields {
		b.buf = binary.AppendUvarint(b.buf, uint64(len(f)))
		b.buf = append(b.buf, f...)
	}
	b.n++
	b.made++
	b.last = id
	s.n++
}

// idAt reads the id of the entry at a place and where its strings begin.
func (b *streamBlock) idAt(at int) (id ID, n, body int) {
	ms, k := uvarint(b.buf[at:])
	at += k
	seq, k := binary.Uvarint(b.buf[at:])
	at += k
	count, k := uvarint(b.buf[at:])
	return ID{b.base.MS + ms, seq}, int(count), at + k
}

func (b *streamBlock) skip(n, body int) (end int) {
	for range n {
		size, k := uvarint(b.buf[body:])
		body += k + int(size)
	}
	return body
}

func (b *streamBlock) fields(n, body int) []string {
	fields := make([]string, n)
	end := b.skip(n, body)
	all := string(b.buf[body:end]) // one allocation for all of them
	at := 0
	for i := range fields {
		size, k := uvarint(b.buf[body+at:])
		at += k
		fields[i] = all[at : at+int(size)]
		at += int(size)
	}
	return fields
}

// blockOf is the index of the first block that may hold an id or a greater one.
func (s *Stream) blockOf(id ID) int {
	live := s.live()
	return s.head + sort.Search(len(live), func(i int) bool { return !live[i].last.Less(id) })
}

// Range calls fn with the entries from and to some ids, both included, until it returns false.
func (s *Stream) Range(from, to ID, fn func(Entry) bool) {
	for i := s.blockOf(from); i < len(s.blocks); i++ {
		b := s.blocks[i]
		for at := 0; at < len(b.buf); {
			id, n, body := b.idAt(at)
			if to.Less(id) {
				return
			}
			if id.Less(from) {
				at = b.skip(n, body)
				continue
			}
			if !fn(Entry{id, b.fields(n, body)}) {
				return
			}
			at = b.skip(n, body)
		}
	}
}

// RangeBack is Range from the greatest id down.
func (s *Stream) RangeBack(from, to ID, fn func(Entry) bool) {
	for i := min(s.blockOf(to), len(s.blocks)-1); i >= s.head; i-- {
		b := s.blocks[i]
		var places []int
		for at := 0; at < len(b.buf); {
			id, n, body := b.idAt(at)
			if to.Less(id) {
				break
			}
			if !id.Less(from) {
				places = append(places, at)
			}
			at = b.skip(n, body)
		}
		for _, at := range slices.Backward(places) {
			id, n, body := b.idAt(at)
			if !fn(Entry{id, b.fields(n, body)}) {
				return
			}
		}
		if b.base.Less(from) {
			return
		}
	}
}

// Get returns one entry.
func (s *Stream) Get(id ID) (e Entry, ok bool) {
	s.Range(id, id, func(found Entry) bool {
		e, ok = found, true
		return false
	})
	return e, ok
}

// First returns the id of the first entry; ok is false if there is none.
func (s *Stream) First() (id ID, ok bool) {
	if s.n == 0 {
		return ID{}, false
	}
	id, _, _ = s.blocks[s.head].idAt(0)
	return id, true
}

// Last returns the id of the last entry; ok is false if there is none.
func (s *Stream) Last() (id ID, ok bool) {
	s.RangeBack(ID{}, MaxID, func(e Entry) bool {
		id, ok = e.ID, true
		return false
	})
	return id, ok
}

// Delete removes an entry. bytes is the size of its strings.
func (s *Stream) Delete(id ID) (bytes int, ok bool) {
	i := s.blockOf(id)
	if i == len(s.blocks) {
		return 0, false
	}
	b := s.blocks[i]
	for at := 0; at < len(b.buf); {
		got, n, body := b.idAt(at)
		end := b.skip(n, body)
		if got == id {
			bytes = b.stringBytes(n, body)
			b.buf = slices.Delete(b.buf, at, end)
			s.took(i)
			return bytes, true
		}
		at = end
	}
	return 0, false
}

// stringBytes is the size of n strings.
func (b *streamBlock) stringBytes(n, body int) (bytes int) {
	for range n {
		size, k := uvarint(b.buf[body:])
		body += k + int(size)
		bytes += int(size)
	}
	return bytes
}

// took notes that a block has an entry less.
func (s *Stream) took(i int) {
	b := s.blocks[i]
	b.n--
	s.n--
	if b.n > 0 {
		return
	}
	if i != s.head {
		s.blocks = slices.Delete(s.blocks, i, i+1)
		return
	}
	s.blocks[i] = nil
	s.head++
	if s.head > 64 && s.head > len(s.blocks)/2 {
		s.blocks, s.head = slices.Clone(s.blocks[s.head:]), 0
	}
}

// Trim says how far a stream is to be cut from the front.
type Trim struct {
	Keep   int  // leave that many entries
	MinID  *ID  // instead, leave entries from that id on
	Whole  bool // drop whole blocks only
	AtMost int  // remove no more than that many with Whole; 0: no bound
}

// Cut removes entries from the front. gone hears of each, and of the size of its
// strings. It returns how many there were.
func (s *Stream) Cut(t Trim, gone func(id ID, bytes int)) (removed int) {
	for s.n > 0 {
		b := s.blocks[s.head]
		if t.MinID == nil && s.n <= t.Keep {
			break
		}
		if t.MinID != nil {
			if first, _, _ := b.idAt(0); !first.Less(*t.MinID) {
				break
			}
		}
		whole := t.MinID == nil && s.n-b.n >= t.Keep || t.MinID != nil && b.last.Less(*t.MinID)
		if t.Whole && (!whole || t.AtMost > 0 && removed+b.n > t.AtMost) {
			break
		}
		at, n := 0, b.n
		if !whole && t.MinID == nil {
			n = s.n - t.Keep
		}
		for range n {
			id, count, body := b.idAt(at)
			if t.MinID != nil && !id.Less(*t.MinID) {
				break
			}
			at = b.skip(count, body)
			gone(id, b.stringBytes(count, body))
			removed++
			s.took(s.head)
		}
		b.buf = b.buf[at:]
	}
	return removed
}

// Numbers calls fn with the ids of entries, at most limit, and forgets those entries. more is true if some are left.
func (s *Stream) Numbers(limit int, fn func(ID)) (more bool) {
	s.Cut(Trim{Keep: max(0, s.n-limit)}, func(id ID, _ int) { fn(id) })
	return s.n > 0
}

// Blocks is the number of blocks, which XINFO shows.
func (s *Stream) Blocks() int { return len(s.blocks) - s.head }
