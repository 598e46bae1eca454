package lua

import (
	"encoding/binary"
	"math"
	"strings"
)

var msgpackConstants = map[string]value{
	"_NAME": str("cmsgpack"), "_VERSION": str("lua-cmsgpack 0.4.0"), "_DESCRIPTION": str("MessagePack for Lua"), "_COPYRIGHT": str(""),
}

var msgpackFuncs = natives{
	"pack":   msgpackPack,
	"unpack": func(f *frame) { f.unpackMessages(0, 0, false) },
	"unpack_one": func(f *frame) {
		f.text(0)
		f.unpackMessages(1, f.intOr(1, 0), true)
	},
	"unpack_limit": func(f *frame) {
		f.text(0)
		f.unpackMessages(f.int(1), f.intOr(2, 0), true)
	},
}

const (
	packDepth   = 16    // deeper tables are packed as nil
	unpackDepth = 1_000 // of what is unpacked
)

func msgpackPack(f *frame) {
	if len(f.args) == 0 {
		f.argError(-1, "MessagePack pack needs input.")
	}
	b := f.e.buf[:0]
	for _, v := range f.args {
		b = f.pack(b, v, 0)
	}
	f.e.keepBuf(b)
	f.e.charge(len(b))
	f.ret(str(string(b)))
}

func (f *frame) pack(b []byte, v value, depth int) []byte {
	f.e.step(1)
	switch r := v.ref.(type) {
	case string:
		f.e.charge(len(r))
		return append(packHead(b, len(r), 0xa0, 32, 0xd9), r...)
	case *table:
		if depth == packDepth {
			break
		}
		return f.packTable(b, r, depth)
	case *tag:
		switch r {
		case trueTag:
			return append(b, 0xc3)
		case falseTag:
			return append(b, 0xc2)
		case numberTag:
			return packNumber(b, v.num)
		}
	}
	return append(b, 0xc0)
}

// packHead writes the length of a text, array or map: within the first byte, or behind one of the bytes from long on.
func packHead(b []byte, n int, short byte, limit int, long byte) []byte {
	switch {
	case n < limit:
		return append(b, short|byte(n))
	case long == 0xd9 && n <= math.MaxUint8:
		return append(b, long, byte(n))
	}
	if long == 0xd9 {
		long++
	}
	if n <= math.MaxUint16 {
		return binary.BigEndian.AppendUint16(append(b, long), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, long+1), uint32(n))
}

func packNumber(b []byte, n float64) []byte {
	if n != math.Trunc(n) || n < -9223372036854775808 || n >= 9223372036854775808 {
		if float64(float32(n)) == n {
			return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(float32(n)))
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(n))
	}
	i := int64(n)
	switch {
	case i >= 0 && i <= 127, i < 0 && i >= -32:
		return append(b, byte(i))
	case i >= 0 && i <= math.MaxUint8:
		return append(b, 0xcc, byte(i))
	case i >= 0 && i <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(i))
	case i >= 0 && i <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(i))
	case i >= 0:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(i))
	case i >= math.MinInt8:
		return append(b, 0xd0, byte(i))
	case i >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(i))
	case i >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(i))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(i))
}

func (f *frame) packTable(b []byte, t *table, depth int) []byte {
	if n := denseLength(t); n >= 0 {
		b = packHead(b, n, 0x90, 16, 0xdc)
		for i := 1; i <= n; i++ {
			b = f.pack(b, t.getInt(i), depth+1)
		}
		return b
	}
	n := 0
	for at := 0; ; n++ {
		k, _, after := t.next(at)
		if k.isNil() {
			break
		}
		at = after
	}
	b = packHead(b, n, 0x80, 16, 0xde)
	for at := 0; ; {
		k, v, after := t.next(at)
		if k.isNil() {
			return b
		}
		b = f.pack(f.pack(b, k, depth+1), v, depth+1)
		at = after
	}
}

// denseLength is the number of elements of a table that has nothing but the keys 1 to n, -1 for others.
func denseLength(t *table) int {
	most, items := 0, 0
	for at := 0; ; {
		k, _, after := t.next(at)
		if k.isNil() {
			break
		}
		if arrayIndex(k) < 0 {
			return -1
		}
		most, items, at = max(most, int(k.num)), items+1, after
	}
	if most != items {
		return -1
	}
	return items
}

// unpackMessages gives the values in a text, all of them if limit is 0, behind the offset at which to go on if one was asked for.
func (f *frame) unpackMessages(limit, offset int, next bool) {
	s := f.text(0)
	switch {
	case offset < 0 || limit < 0:
		f.fail("Invalid request to unpack with offset of %d and limit of %d.", offset, len(s))
	case offset > len(s):
		f.fail("Start offset %d greater than input length %d.", offset, len(s))
	}
	r := &msgpackReader{f: f, src: s, pos: offset}
	vals := make([]value, 0, 2)
	if next {
		vals = append(vals, nilValue)
	}
	for n := 0; r.pos < len(s) && (limit == 0 || n < limit); n++ {
		if n >= maxUnpack {
			f.fail("stack overflow (in function mp_decode_to_lua_type)")
		}
		vals = append(vals, r.value(0))
	}
	if next {
		vals[0] = number(-1)
		if r.pos < len(s) {
			vals[0] = number(float64(r.pos))
		}
	}
	f.retMany(vals...)
}

type msgpackReader struct {
	f   *frame
	src string
	pos int
}

// take gives the next n bytes.
func (r *msgpackReader) take(n int) string {
	if n > len(r.src)-r.pos {
		r.f.fail("Missing bytes in input.")
	}
	s := r.src[r.pos : r.pos+n]
	r.pos += n
	return s
}

func (r *msgpackReader) uint(n int) uint64 {
	var u uint64
	for _, c := range []byte(r.take(n)) {
		u = u<<8 | uint64(c)
	}
	return u
}

func (r *msgpackReader) value(depth int) value {
	if depth > unpackDepth {
		r.f.fail("stack overflow (in function mp_decode_to_lua_type)")
	}
	r.f.e.step(1)
	c := r.take(1)[0]
	switch {
	case c < 0x80:
		return number(float64(c))
	case c >= 0xe0:
		return number(float64(int8(c)))
	case c < 0x90:
		return r.table(int(c&15), true, depth)
	case c < 0xa0:
		return r.table(int(c&15), false, depth)
	case c < 0xc0:
		return r.text(int(c & 31))
	}
	switch c {
	case 0xc0:
		return nilValue
	case 0xc2:
		return falseValue
	case 0xc3:
		return trueValue
	case 0xca:
		return number(float64(math.Float32frombits(uint32(r.uint(4)))))
	case 0xcb:
		return number(math.Float64frombits(r.uint(8)))
	case 0xcc, 0xcd, 0xce:
		return number(float64(r.uint(1 << (c - 0xcc))))
	case 0xcf, 0xd3: // as a signed number, even the unsigned kind
		return number(float64(int64(r.uint(8))))
	case 0xd0:
		return number(float64(int8(r.uint(1))))
	case 0xd1:
		return number(float64(int16(r.uint(2))))
	case 0xd2:
		return number(float64(int32(r.uint(4))))
	case 0xd9, 0xda, 0xdb:
		return r.text(int(r.uint(1 << (c - 0xd9))))
	case 0xdc, 0xdd:
		return r.table(int(r.uint(2<<(c-0xdc))), false, depth)
	case 0xde, 0xdf:
		return r.table(int(r.uint(2<<(c-0xde))), true, depth)
	}
	r.f.fail("Bad data format in input.")
	return nilValue
}

// text copies: what a script stores must not hold on to all of its arguments.
func (r *msgpackReader) text(n int) value {
	s := r.take(n)
	r.f.e.charge(len(s) + 16)
	return str(strings.Clone(s))
}

func (r *msgpackReader) table(n int, pairs bool, depth int) value {
	t := &table{}
	room := min(n, len(r.src)-r.pos) // each element has a byte at least, so what is announced is not trusted
	r.f.e.charge(tableBytes + slotBytes*room)
	if pairs {
		t.list = make([]entry, 0, min(room, 64))
	} else {
		t.arr = make([]value, 0, room)
	}
	for i := range n {
		k := number(float64(i + 1))
		if pairs {
			if k = r.value(depth + 1); k.isNil() {
				r.f.e.raise(str("table index is nil"))
			}
			if isNaN(k) {
				r.f.e.raise(str("table index is NaN"))
			}
		}
		v := r.value(depth + 1)
		if pairs {
			r.f.e.charge(t.set(k, v))
		} else {
			t.arr = append(t.arr, v) // holes too, so that what follows them is found
		}
	}
	t.trim()
	return value{ref: t}
}
