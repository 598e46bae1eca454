package keyspace

import (
	"math/bits"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Bits of strings: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.

var errBitOffset = reply.Fail("ERR bit offset is not an integer or out of range")

func parseBitOffset(s string) (int64, bool) {
	n, ok := parseInt(s)
	return n, ok && n >= 0 && n>>3 < maxString
}

func setbit(c *call) reply.Reply {
	at, ok := parseBitOffset(c.args[2])
	if !ok {
		return errBitOffset
	}
	if c.args[3] != "0" && c.args[3] != "1" {
		return reply.Fail("ERR bit is not an integer or out of range")
	}
	val, _, ok := c.text(c.args[1])
	if !ok {
		return wrongType
	}
	b := make([]byte, max(len(val), int(at>>3)+1))
	copy(b, val)
	mask := byte(0x80) >> (at & 7)
	old := b[at>>3]&mask != 0
	if c.args[3] == "1" {
		b[at>>3] |= mask
	} else {
		b[at>>3] &^= mask
	}
	c.setString(c.args[1], string(b), true)
	return flag(old)
}

func getbit(c *call) reply.Reply {
	at, ok := parseBitOffset(c.args[2])
	if !ok {
		return errBitOffset
	}
	val, _, ok := c.text(c.args[1])
	if !ok {
		return wrongType
	}
	return flag(at>>3 < int64(len(val)) && val[at>>3]&(0x80>>(at&7)) != 0)
}

// bitSpan reads [start end [BYTE|BIT]] and gives the range in bits.
func bitSpan(args []string, size int) (from, to int64, bad reply.Reply, ok bool) {
	for _, a := range args[:min(2, len(args))] {
		if _, ok := parseInt(a); !ok {
			return 0, 0, errInteger, false
		}
	}
	unit := int64(8)
	if len(args) == 3 {
		switch {
		case isWord(args[2], "BIT"):
			unit = 1
		case !isWord(args[2], "BYTE"):
			return 0, 0, errSyntax, false
		}
	}
	n := int64(size) * 8 / unit
	from, to = 0, n-1
	if len(args) > 0 {
		from, _ = parseInt(args[0])
	}
	if len(args) > 1 {
		to, _ = parseInt(args[1])
	}
	if from < 0 && to < 0 && from > to {
		return 0, 0, null, true
	}
	if from < 0 {
		from = max(0, from+n)
	}
	if to < 0 {
		to = max(0, to+n)
	}
	to = min(to, n-1)
	if from > to {
		return 0, 0, null, true
	}
	return from * unit, (to + 1) * unit, null, true
}

func bitAt(s string, i int64) bool { return s[i>>3]&(0x80>>(i&7)) != 0 }

func bitcount(c *call) reply.Reply {
	val, there, ok := c.text(c.args[1])
	switch {
	case !ok:
		return wrongType
	case !there:
		return zero
	case len(c.args) == 3 || len(c.args) > 5:
		return errSyntax
	}
	if len(c.args) == 5 { // an empty range is one whatever the unit is called
		if start, stop, ok := parseSpan(c.args[2], c.args[3]); ok && stop < start && start < 0 {
			return zero
		}
	}
	from, to, bad, ok := bitSpan(c.args[2:], len(val))
	if !ok {
		return bad
	}
	n := 0
	for from < to && from&7 != 0 {
		n += int(flag(bitAt(val, from)).N)
		from++
	}
	for ; from+8 <= to; from += 8 {
		n += bits.OnesCount8(val[from>>3])
	}
	for ; from < to; from++ {
		n += int(flag(bitAt(val, from)).N)
	}
	return reply.Num(int64(n))
}

func bitpos(c *call) reply.Reply {
	if c.args[2] != "0" && c.args[2] != "1" {
		if _, ok := parseInt(c.args[2]); !ok {
			return errInteger
		}
		return reply.Fail("ERR The bit argument must be 1 or 0.")
	}
	want := c.args[2] == "1"
	val, there, ok := c.text(c.args[1])
	if !ok {
		return wrongType
	}
	if !there {
		return reply.Num(-flag(want).N)
	}
	if len(c.args) > 6 {
		return errSyntax
	}
	from, to, bad, ok := bitSpan(c.args[3:], len(val))
	if !ok {
		return bad
	}
	for i := from; i < to; i++ {
		if i&7 == 0 && i+8 <= to && (want && val[i>>3] == 0 || !want && val[i>>3] == 0xff) {
			i += 7
			continue
		}
		if bitAt(val, i) == want {
			return reply.Num(i)
		}
	}
	if !want && len(c.args) < 5 && from < to {
		return reply.Num(to) // as if zeros followed
	}
	return reply.Num(-1)
}

func bitop(c *call) reply.Reply {
	op := c.args[1]
	if !isWord(op, "AND") && !isWord(op, "OR") && !isWord(op, "XOR") && !isWord(op, "NOT") {
		return errSyntax
	}
	if isWord(op, "NOT") && len(c.args) != 4 {
		return reply.Fail("ERR BITOP NOT must be called with a single source key.")
	}
	var vals []string
	size := 0
	for _, key := range c.args[3:] {
		val, _, ok := c.text(key)
		if !ok {
			return wrongType
		}
		vals = append(vals, val)
		size = max(size, len(val))
	}
	if size == 0 {
		c.remove(c.args[2])
		return zero
	}
	b := make([]byte, size)
	copy(b, vals[0])
	for _, val := range vals[1:] {
		for i := range b {
			x := byte(0)
			if i < len(val) {
				x = val[i]
			}
			switch op[0] | 0x20 {
			case 'a':
				b[i] &= x
			case 'o':
				b[i] |= x
			case 'x':
				b[i] ^= x
			}
		}
	}
	if isWord(op, "NOT") {
		for i := range b {
			b[i] = ^b[i]
		}
	}
	c.setString(c.args[2], string(b), false)
	return reply.Num(int64(size))
}
