package lua

import (
	"math"
	"strings"
)

var structFuncs = natives{"pack": structPack, "unpack": structUnpack, "size": structSize}

const (
	maxIntSize  = 32
	nativeAlign = 8
)

// structFormat reads the options of a format one by one.
type structFormat struct {
	f      *frame
	fmt    string
	pos    int
	align  int
	big    bool
	offset int // in the data, so far
}

// option is one element of a format, with its size and the padding before it.
type option struct {
	kind     byte
	size     int
	padding  int
	unsigned bool
}

func (s *structFormat) count(otherwise int) int {
	if s.pos >= len(s.fmt) || !isDigit(s.fmt[s.pos]) {
		return otherwise
	}
	n := 0
	for s.pos < len(s.fmt) && isDigit(s.fmt[s.pos]) {
		if n > math.MaxInt32/10 || n*10 > math.MaxInt32-int(s.fmt[s.pos]-'0') {
			s.f.fail("integral size overflow")
		}
		n = n*10 + int(s.fmt[s.pos]-'0')
		s.pos++
	}
	return n
}

// next gives the next element; settings of order and alignment are taken in passing.
func (s *structFormat) next() (option, bool) {
	for s.pos < len(s.fmt) {
		c := s.fmt[s.pos]
		s.pos++
		switch c {
		case ' ':
		case '<':
			s.big = false
		case '>':
			s.big = true
		case '!':
			n := s.count(nativeAlign)
			if n == 0 || n&(n-1) != 0 {
				s.f.fail("alignment is not a power of 2")
			}
			s.align = n
		default:
			o := option{kind: c, size: s.size(c), unsigned: strings.IndexByte("BHLTI", c) >= 0}
			if size := min(o.size, s.align); o.size > 0 && c != 'c' && size > 1 {
				o.padding = (size - s.offset&(size-1)) & (size - 1)
			}
			s.offset += o.padding
			return o, true
		}
	}
	return option{}, false
}

func (s *structFormat) size(c byte) int {
	switch c {
	case 'b', 'B', 'x':
		return 1
	case 'h', 'H':
		return 2
	case 'l', 'L', 'T', 'd':
		return 8
	case 'f':
		return 4
	case 'c':
		return s.count(1)
	case 'i', 'I':
		n := s.count(4)
		if n > maxIntSize {
			s.f.fail("integral size %d is larger than limit of %d", n, maxIntSize)
		}
		return n
	case 's':
		return 0
	}
	s.f.argError(0, "invalid format option '%s'", string([]byte{c}))
	return 0
}

func structPack(f *frame) {
	s := &structFormat{f: f, fmt: f.text(0), align: 1}
	f.args = append(f.args[:len(f.args):len(f.args)], nilValue) // the library has something of its own behind them
	b := f.e.buf[:0]
	arg := 1
	for o, ok := s.next(); ok; o, ok = s.next() {
		f.e.step(1)
		before := len(b)
		b = append(b, make([]byte, o.padding)...)
		switch o.kind {
		case 'x':
			b = append(b, 0)
		case 'f':
			b = s.put(b, uint64(math.Float32bits(float32(f.num(arg)))), 4)
			arg++
		case 'd':
			b = s.put(b, math.Float64bits(f.num(arg)), 8)
			arg++
		case 'c', 's':
			text := f.text(arg)
			if o.size == 0 {
				o.size = len(text)
			}
			if len(text) < o.size {
				f.argError(arg+1, "string too short")
			}
			f.e.charge(o.size)
			b = append(b, text[:o.size]...)
			if o.kind == 's' {
				b = append(b, 0)
			}
			arg++
		default:
			b = s.put(b, unsigned(f.num(arg)), o.size)
			arg++
		}
		s.offset += len(b) - before - o.padding
	}
	f.e.keepBuf(b)
	f.e.charge(len(b))
	f.ret(str(string(b)))
}

// put writes the low bytes of u. Bytes beyond its eight are zero.
func (s *structFormat) put(b []byte, u uint64, size int) []byte {
	start := len(b)
	for range size {
		b = append(b, byte(u))
		u >>= 8
	}
	if s.big {
		part := b[start:]
		for i, j := 0, len(part)-1; i < j; i, j = i+1, j-1 {
			part[i], part[j] = part[j], part[i]
		}
	}
	return b
}

// get reads an integer of any size; of more than eight bytes the low ones count.
func (s *structFormat) get(data string, unsigned bool) float64 {
	var u uint64
	for i := range len(data) {
		at := len(data) - 1 - i
		if s.big {
			at = i
		}
		u = u<<8 | uint64(data[at])
	}
	if unsigned {
		return float64(u)
	}
	if shift := 64 - 8*len(data); shift > 0 {
		return float64(int64(u<<shift) >> shift)
	}
	return float64(int64(u))
}

func structUnpack(f *frame) {
	data := f.text(1)
	pos := f.intOr(2, 1) - 1
	if pos < 0 {
		f.argError(2, "offset must be 1 or greater")
	}
	s := &structFormat{f: f, fmt: f.text(0), align: 1, offset: pos}
	var vals []value
	for o, ok := s.next(); ok; o, ok = s.next() {
		f.e.step(1)
		if o.size > len(data) || s.offset > len(data)-o.size {
			f.argError(1, "data string too short")
		}
		if len(vals) >= maxUnpack {
			f.fail("stack overflow (too many results)")
		}
		part := data[s.offset : s.offset+o.size]
		s.offset += o.size
		switch o.kind {
		case 'x':
		case 'f':
			vals = append(vals, number(float64(math.Float32frombits(uint32(s.bits(part))))))
		case 'd':
			vals = append(vals, number(math.Float64frombits(s.bits(part))))
		case 'c':
			if o.size == 0 {
				part, vals = s.counted(data, vals)
			}
			f.e.charge(len(part))
			vals = append(vals, str(strings.Clone(part)))
		case 's':
			n := strings.IndexByte(data[s.offset:], 0)
			if n < 0 {
				f.fail("unfinished string in data")
			}
			f.e.charge(n)
			vals = append(vals, str(strings.Clone(data[s.offset:s.offset+n])))
			s.offset += n + 1
		default:
			vals = append(vals, number(s.get(part, o.unsigned)))
		}
	}
	f.retMany(append(vals, number(float64(s.offset+1)))...)
}

// counted reads a text whose length is the number before it, which it replaces.
func (s *structFormat) counted(data string, vals []value) (string, []value) {
	if len(vals) == 0 || !vals[len(vals)-1].isNumber() {
		s.f.fail("format 'c0' needs a previous size")
	}
	n := truncate(vals[len(vals)-1].num)
	if n < 0 || n > len(data)-s.offset {
		s.f.argError(1, "data string too short")
	}
	part := data[s.offset : s.offset+n]
	s.offset += n
	return part, vals[:len(vals)-1]
}

func (s *structFormat) bits(data string) uint64 {
	var u uint64
	for i := range len(data) {
		at := len(data) - 1 - i
		if s.big {
			at = i
		}
		u = u<<8 | uint64(data[at])
	}
	return u
}

func structSize(f *frame) {
	s := &structFormat{f: f, fmt: f.text(0), align: 1}
	for o, ok := s.next(); ok; o, ok = s.next() {
		switch {
		case o.kind == 's':
			f.argError(0, "variable-size format in format")
		case o.kind == 'c' && o.size == 0:
			f.argError(0, "variable-length format")
		}
		s.offset += o.size
	}
	f.ret(number(float64(s.offset)))
}
