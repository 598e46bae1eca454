package keyspace

import (
	"math"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// BITFIELD and BITFIELD_RO: integers of any width in a string.

// bitType is i1 to i64 or u1 to u63.
type bitType struct {
	signed bool
	width  int64
}

// bitOp is one operation of a BITFIELD.
type bitOp struct {
	what     byte // 'g' GET, 's' SET, 'i' INCRBY
	t        bitType
	at       int64
	value    int64
	overflow byte // 'w' WRAP, 's' SAT, 'f' FAIL
}

func bitfield(c *call) reply.Reply   { return c.bitfield(false) }
func bitfieldRO(c *call) reply.Reply { return c.bitfield(true) }

func parseBitType(s string) (t bitType, ok bool) {
	if len(s) < 2 || s[0] != 'i' && s[0] != 'u' {
		return t, false
	}
	t.signed = s[0] == 'i'
	t.width, ok = parseInt(s[1:])
	return t, ok && t.width >= 1 && (t.width <= 63 || t.signed && t.width == 64)
}

// parseFieldOffset reads an offset in bits, or with # in fields.
func parseFieldOffset(s string, t bitType) (int64, bool) {
	factor := int64(1)
	if len(s) > 0 && s[0] == '#' {
		s, factor = s[1:], t.width
	}
	n, ok := parseInt(s)
	if !ok || n < 0 || n > maxString*8/factor {
		return 0, false
	}
	return n * factor, (n*factor+t.width-1)>>3 < maxString
}

func (c *call) bitOps(readOnly bool) (ops []bitOp, bad reply.Reply, ok bool) {
	overflow := byte('w')
	for i := 2; i < len(c.args); i++ {
		a := c.args[i]
		left := len(c.args) - i - 1
		op := bitOp{overflow: overflow}
		switch {
		case isWord(a, "GET") && left >= 2:
			op.what = 'g'
		case isWord(a, "SET") && left >= 3:
			op.what = 's'
		case isWord(a, "INCRBY") && left >= 3:
			op.what = 'i'
		case isWord(a, "OVERFLOW") && left >= 1:
			i++
			switch w := c.args[i]; {
			case isWord(w, "WRAP"):
				overflow = 'w'
			case isWord(w, "SAT"):
				overflow = 's'
			case isWord(w, "FAIL"):
				overflow = 'f'
			default:
				return nil, reply.Fail("ERR Invalid OVERFLOW type specified"), false
			}
			continue
		default:
			return nil, errSyntax, false
		}
		if op.t, ok = parseBitType(c.args[i+1]); !ok {
			return nil, reply.Fail("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."), false
		}
		if op.at, ok = parseFieldOffset(c.args[i+2], op.t); !ok {
			return nil, errBitOffset, false
		}
		i += 2
		if op.what != 'g' {
			i++
			if readOnly {
				return nil, reply.Fail("ERR BITFIELD_RO only supports the GET subcommand"), false
			}
			if op.value, ok = parseInt(c.args[i]); !ok {
				return nil, errInteger, false
			}
		}
		ops = append(ops, op)
	}
	return ops, null, true
}

func (c *call) bitfield(readOnly bool) reply.Reply {
	ops, bad, ok := c.bitOps(readOnly)
	if !ok {
		return bad
	}
	val, _, ok := c.text(c.args[1])
	if !ok {
		return wrongType
	}
	size, writes := int64(len(val)), false
	for _, op := range ops {
		if op.what != 'g' {
			writes = true
			size = max(size, (op.at+op.t.width-1)>>3+1)
		}
	}
	b := make([]byte, size)
	copy(b, val)
	elems := make([]reply.Reply, 0, len(ops))
	for _, op := range ops {
		elems = append(elems, op.run(b))
	}
	if writes {
		c.setString(c.args[1], string(b), true)
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func (op *bitOp) run(b []byte) reply.Reply {
	old := op.t.read(b, op.at)
	switch op.what {
	case 's':
		val, ok := op.fit(op.value, false)
		if !ok {
			return null
		}
		op.t.write(b, op.at, val)
		return reply.Num(old)
	case 'i':
		sum := old + op.value
		over := op.value > 0 && sum < old || op.value < 0 && sum > old
		val, ok := op.fit(sum, over)
		if !ok {
			return null
		}
		op.t.write(b, op.at, val)
		return reply.Num(val)
	}
	return reply.Num(old)
}

// fit makes a value one of the type, as OVERFLOW says. over says that an int64 could not hold it and that it was wrapped.
func (op *bitOp) fit(val int64, over bool) (int64, bool) {
	low, high := int64(0), int64(math.MaxInt64)
	if op.t.signed {
		low, high = -1<<(op.t.width-1), 1<<(op.t.width-1)-1
	} else if op.t.width < 63 {
		high = 1<<op.t.width - 1
	}
	up := val > high
	down := val < low
	if over {
		up, down = op.value > 0, op.value < 0
	}
	switch {
	case !up && !down:
		return val, true
	case op.overflow == 'f':
		return 0, false
	case op.overflow == 's' && !op.t.signed && op.what == 's' && val < 0:
		return high, true // SET takes a negative value for a very large one
	case op.overflow == 's' && up:
		return high, true
	case op.overflow == 's':
		return low, true
	}
	return op.t.wrap(uint64(val)), true
}

func (t bitType) wrap(u uint64) int64 {
	u &= math.MaxUint64 >> (64 - t.width)
	if t.signed && u>>(t.width-1) != 0 {
		u |= math.MaxUint64 << (t.width - 1)
	}
	return int64(u)
}

func (t bitType) read(b []byte, at int64) int64 {
	u := uint64(0)
	for i := at; i < at+t.width; i++ {
		u <<= 1
		if i>>3 < int64(len(b)) && b[i>>3]&(0x80>>(i&7)) != 0 {
			u |= 1
		}
	}
	return t.wrap(u)
}

func (t bitType) write(b []byte, at, val int64) {
	for i := range t.width {
		p := at + i
		mask := byte(0x80) >> (p & 7)
		if uint64(val)>>(t.width-1-i)&1 != 0 {
			b[p>>3] |= mask
		} else {
			b[p>>3] &^= mask
		}
	}
}
