package data

import (
	"encoding/binary"
	"slices"
)

// Bounds of a list's blocks.
const (
	blockItems = 128
	blockBytes = 4 << 10
)

// step is the distance between the positions of neighbours in a list, so that inserting between them finds room without moving
// anything most of the time.
const step = 1 << 16

// List is a list of strings in blocks. Every item has a position that grows from left to right and that it keeps for as long as
// nothing has to make room (see InsertAt). The zero List is empty.
type List struct {
	blocks []*block
	head   int // blocks before it are gone
	n      int
	low    int64 // positions from low to high may have been used before
	high   int64
}

// block is some items one after the other: position relative to base, length, bytes, and the size of all that backwards.
type block struct {
	buf  []byte
	lo   int // room in front for more
	n    int
	base int64
}

// item is one item of a block.
type item struct {
	at, end int
	pos     int64
	val     []byte
}

func (b *block) bytes() int { return len(b.buf) - b.lo }

func (b *block) itemAt(at int) (it item) {
	it.at = at
	buf := b.buf[at:]
	rel, n := binary.Varint(buf)
	it.pos = b.base + rel
	size, k := uvarint(buf[n:])
	n += k
	it.val = buf[n : n+int(size)]
	n += int(size)
	it.end = at + n + uvarintSize(uint64(n))
	return it
}

// itemBefore reads the item that ends at a place.
func (b *block) itemBefore(end int) item {
	size, shift := 0, 0
	i := end - 1
	for {
		c := b.buf[i]
		size |= int(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			break
		}
		i--
	}
	return b.itemAt(i - size)
}

// appendItem encodes an item.
func appendItem(dst []byte, rel int64, val string) []byte {
	start := len(dst)
	dst = binary.AppendVarint(dst, rel)
	dst = binary.AppendUvarint(dst, uint64(len(val)))
	dst = append(dst, val...)
	size := len(dst) - start
	for i := uvarintSize(uint64(size)) - 1; i >= 0; i-- {
		c := byte(size>>(7*i)) & 0x7f
		if i != uvarintSize(uint64(size))-1 {
			c |= 0x80
		}
		dst = append(dst, c)
	}
	return dst
}

// Len is the number of items.
func (l *List) Len() int { return l.n }

func (l *List) live() []*block { return l.blocks[l.head:] }

// Fresh reports whether no item has ever had a position, and notes that one has now.
func (l *List) Fresh(pos int64) bool {
	switch {
	case l.low == l.high && l.low == 0:
		l.low, l.high = pos, pos+1
	case pos < l.low:
		l.low = pos
	case pos >= l.high:
		l.high = pos + 1
	default:
		return false
	}
	return true
}

// PushRight adds an item at the right end and returns its position.
func (l *List) PushRight(val string) int64 {
	pos := int64(step)
	if l.n > 0 {
		pos = l.last().pos + step
	}
	l.Restore(val, pos)
	return pos
}

// Restore adds an item with a position behind that of all others.
func (l *List) Restore(val string, pos int64) {
	var b *block
	if l.n > 0 {
		b = l.blocks[len(l.blocks)-1]
	}
	if b == nil || b.n >= blockItems || b.bytes()+len(val) > blockBytes {
		b = &block{base: pos}
		l.blocks = append(l.blocks, b)
	}
	b.buf = appendItem(b.buf, pos-b.base, val)
	b.n++
	l.n++
}

// PushLeft adds an item at the left end and returns its position.
func (l *List) PushLeft(val string) int64 {
	pos := int64(0)
	if l.n > 0 {
		pos = l.first().pos - step
	}
	var b *block
	if l.n > 0 {
		b = l.blocks[l.head]
	}
	if b == nil || b.n >= blockItems || b.bytes()+len(val) > blockBytes {
		b = &block{base: pos}
		l.pushBlock(b)
	}
	var scratch [64]byte
	it := appendItem(scratch[:0], pos-b.base, val)
	if b.lo < len(it) {
		room := max(64, b.bytes(), len(it))
		grown := make([]byte, room+b.bytes())
		copy(grown[room:], b.buf[b.lo:])
		b.buf, b.lo = grown, room
	}
	b.lo -= len(it)
	copy(b.buf[b.lo:], it)
	b.n++
	l.n++
	return pos
}

func (l *List) pushBlock(b *block) {
	if l.head == 0 {
		room := max(4, len(l.blocks))
		l.blocks = append(make([]*block, room, room+len(l.blocks)+4), l.blocks...)
		l.head = room
	}
	l.head--
	l.blocks[l.head] = b
}

func (l *List) first() item { b := l.blocks[l.head]; return b.itemAt(b.lo) }

func (l *List) last() item {
	b := l.blocks[len(l.blocks)-1]
	return b.itemBefore(len(b.buf))
}

// PopLeft removes the first item. The list must not be empty.
func (l *List) PopLeft() (val string, pos int64) {
	b := l.blocks[l.head]
	it := b.itemAt(b.lo)
	val = string(it.val)
	b.lo = it.end
	l.took(l.head, b)
	return val, it.pos
}

// PopRight removes the last item. The list must not be empty.
func (l *List) PopRight() (val string, pos int64) {
	i := len(l.blocks) - 1
	b := l.blocks[i]
	it := b.itemBefore(len(b.buf))
	val = string(it.val)
	b.buf = b.buf[:it.at]
	l.took(i, b)
	return val, it.pos
}

// took notes that a block has an item less.
func (l *List) took(i int, b *block) {
	b.n--
	l.n--
	if b.n > 0 {
		return
	}
	switch i {
	case l.head:
		l.blocks[i] = nil
		l.head++
		if l.head > 64 && l.head > len(l.blocks)*3/4 {
			l.blocks, l.head = slices.Clone(l.blocks[l.head:]), 0
		}
	default:
		l.blocks = slices.Delete(l.blocks, i, i+1)
	}
	if l.n == 0 {
		l.blocks, l.head = nil, 0
	}
}

// locate finds the block of an index and the place of the item in it.
func (l *List) locate(index int) (blk, at int) {
	if index <= l.n/2 {
		i := l.head
		for index >= l.blocks[i].n {
			index -= l.blocks[i].n
			i++
		}
		return i, l.blocks[i].seek(index)
	}
	left := l.n - 1 - index // items behind it
	i := len(l.blocks) - 1
	for left >= l.blocks[i].n {
		left -= l.blocks[i].n
		i--
	}
	return i, l.blocks[i].seek(l.blocks[i].n - 1 - left)
}

func (b *block) seek(index int) int {
	if index <= b.n/2 {
		at := b.lo
		for range index {
			at = b.itemAt(at).end
		}
		return at
	}
	at := len(b.buf)
	for range b.n - index {
		at = b.itemBefore(at).at
	}
	return at
}

// At returns the item of an index between 0 and Len-1.
func (l *List) At(index int) string {
	i, at := l.locate(index)
	return string(l.blocks[i].itemAt(at).val)
}

// SetAt replaces the item of an index and returns its position and by how many bytes it grew.
func (l *List) SetAt(index int, val string) (pos int64, grown int) {
	i, at := l.locate(index)
	b := l.blocks[i]
	it := b.itemAt(at)
	grown = len(val) - len(it.val)
	b.buf = slices.Replace(b.buf, it.at, it.end, appendItem(nil, it.pos-b.base, val)...)
	return it.pos, grown
}

// Range calls fn with the items of the indexes from up to and without to, until it returns false.
func (l *List) Range(from, to int, fn func(val string) bool) {
	if from >= to {
		return
	}
	i, at := l.locate(from)
	for n := to - from; n > 0; n-- {
		b := l.blocks[i]
		if at >= len(b.buf) {
			i++
			b = l.blocks[i]
			at = b.lo
		}
		it := b.itemAt(at)
		if !fn(string(it.val)) {
			return
		}
		at = it.end
	}
}

// Each calls fn with every item and its position, from the left, until it returns false.
func (l *List) Each(fn func(val []byte, pos int64) bool) {
	for _, b := range l.live() {
		for at := b.lo; at < len(b.buf); {
			it := b.itemAt(at)
			if !fn(it.val, it.pos) {
				return
			}
			at = it.end
		}
	}
}

// Find calls fn with the indexes of the items that equal val, from the left or from the right, until it returns false. At most
// limit items are compared; 0: all.
func (l *List) Find(val string, fromRight bool, limit int, fn func(index int) bool) {
	if limit == 0 {
		limit = l.n
	}
	if !fromRight {
		index := 0
		l.Each(func(v []byte, _ int64) bool {
			if limit == 0 || string(v) == val && !fn(index) {
				return false
			}
			limit--
			index++
			return true
		})
		return
	}
	index := l.n - 1
	for i := len(l.blocks) - 1; i >= l.head; i-- {
		b := l.blocks[i]
		for at := len(b.buf); at > b.lo; {
			it := b.itemBefore(at)
			if limit == 0 || string(it.val) == val && !fn(index) {
				return
			}
			limit--
			index--
			at = it.at
		}
	}
}

// Remove removes items that equal val: the first limit from the left, or from the right; 0: all. gone hears their positions. It returns how
// many there were.
func (l *List) Remove(val string, limit int, fromRight bool, gone func(pos int64)) (removed int) {
	if limit == 0 {
		limit = l.n
	}
	for i := range len(l.blocks) - l.head {
		i += l.head
		if fromRight {
			i = len(l.blocks) - 1 - (i - l.head)
		}
		b := l.blocks[i]
		removed += b.remove(val, limit-removed, fromRight, gone)
		if removed == limit {
			break
		}
	}
	if removed > 0 {
		l.n -= removed
		l.dropEmpty()
	}
	return removed
}

func (b *block) remove(val string, limit int, fromRight bool, gone func(pos int64)) (removed int) {
	if fromRight {
		for at := len(b.buf); at > b.lo && removed < limit; {
			it := b.itemBefore(at)
			if string(it.val) == val {
				gone(it.pos)
				b.buf = slices.Delete(b.buf, it.at, it.end)
				removed++
			}
			at = it.at
		}
		b.n -= removed
		return removed
	}
	for at := b.lo; at < len(b.buf) && removed < limit; {
		it := b.itemAt(at)
		if string(it.val) != val {
			at = it.end
			continue
		}
		gone(it.pos)
		b.buf = slices.Delete(b.buf, it.at, it.end)
		removed++
	}
	b.n -= removed
	return removed
}

func (l *List) dropEmpty() {
	l.blocks = slices.DeleteFunc(l.live(), func(b *block) bool { return b.n == 0 })
	l.head = 0
	if l.n == 0 {
		l.blocks = nil
	}
}

// InsertAt puts an item before the one with an index. Where there is no position left between its neighbours, items around it
// get new ones: moved hears of each, the old position first, before anything has the new.
func (l *List) InsertAt(index int, val string, moved func(from, to int64, val string)) (pos int64) {
	if index == 0 {
		return l.PushLeft(val)
	}
	if index == l.n {
		return l.PushRight(val)
	}
	left, right := l.posAt(index-1), l.posAt(index)
	if right-left < 2 {
		l.spread(index, moved)
		left, right = l.posAt(index-1), l.posAt(index)
	}
	pos = left + (right-left)/2
	i, at := l.locate(index)
	b := l.blocks[i]
	b.buf = slices.Insert(b.buf, at, appendItem(nil, pos-b.base, val)...)
	b.n++
	l.n++
	if b.n > 2*blockItems {
		l.cut(i)
	}
	return pos
}

func (l *List) posAt(index int) int64 {
	i, at := l.locate(index)
	return l.blocks[i].itemAt(at).pos
}

// spread gives the items of a window around an index new positions at equal distances. The window is widened until
// they are far enough apart, which they are at the latest when it is the whole list.
func (l *List) spread(index int, moved func(from, to int64, val string)) {
	for width := 64; ; width *= 4 {
		from, to := max(0, index-width), min(l.n, index+width)
		low, high := l.posAt(from), l.posAt(to-1)
		n := int64(to - from)
		if from == 0 {
			low = high - n*step
		}
		if to == l.n {
			high = low + n*step
		}
		gap := (high - low) / n
		if gap < 64 {
			continue
		}
		l.renumber(from, to, low, gap, moved)
		return
	}
}

func (l *List) renumber(from, to int, low, gap int64, moved func(from, to int64, val string)) {
	pos := low
	for _, b := range l.live() {
		if from >= b.n {
			from -= b.n
			to -= b.n
			continue
		}
		if to <= 0 {
			break
		}
		fresh := make([]byte, 0, b.bytes()+b.n)
		index := 0
		for at := b.lo; at < len(b.buf); index++ {
			it := b.itemAt(at)
			p := it.pos
			if index >= from && index < to {
				p = pos
				pos += gap
				if p != it.pos {
					moved(it.pos, p, string(it.val))
				}
			}
			fresh = appendItem(fresh, p-b.base, string(it.val))
			at = it.end
		}
		from = max(0, from-b.n)
		to -= b.n
		b.buf, b.lo = fresh, 0
	}
}

// cut splits a block that inserts made too large.
func (l *List) cut(i int) {
	b := l.blocks[i]
	at := b.seek(b.n / 2)
	right := &block{n: b.n - b.n/2, base: b.base, buf: slices.Clone(b.buf[at:])}
	b.n /= 2
	b.buf = b.buf[:at]
	l.blocks = slices.Insert(l.blocks, i+1, right)
}

// Numbers calls fn with the positions of items, at most limit, and forgets those items. more is true if some are left.
func (l *List) Numbers(limit int, fn func(pos int64)) (more bool) {
	for ; limit > 0 && l.n > 0; limit-- {
		_, pos := l.PopLeft()
		fn(pos)
	}
	return l.n > 0
}

// Short reports whether all items together are what Redis keeps as one block of memory, of up to 8 kB.
func (l *List) Short() bool {
	bytes := 0
	for _, b := range l.live() {
		if bytes += b.bytes(); bytes > 8<<10 {
			return false
		}
	}
	return true
}
