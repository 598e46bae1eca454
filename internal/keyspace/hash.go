package keyspace

import (
	"math"
	"math/bits"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Hashes: HSET and its relatives.

// hashFor opens a hash or makes one.
func (c *call) hashFor(key string) (it *item, h *hash, ok bool) {
	if it, h, ok = open[*hash](c, key); ok && it == nil {
		h = new(hash)
		it = c.create(key, h)
	}
	return it, h, ok
}

// setField gives a field a value.
func (c *call) setField(it *item, h *hash, field, val string) (added bool) {
	seq, added, grown := h.Set(field, val)
	c.m.grow(it, grown)
	c.m.writeField(it, h, seq, field, val, added)
	return added
}

// writeField makes a field durable, with the header if that is written for the first time when the command ends.
func (m *Machine) writeField(it *item, h *hash, seq uint64, field, val string, added bool) {
	bit := uint64(1) << seq // 0 from 64 on
	// The header is read before all rows of fields, so it can only have those that come before them.
	first := seq == uint64(bits.Len64(h.inHeader))
	switch {
	case added && it.dirty && !it.stored && bit != 0 && first && len(field)+len(val) <= headerValue:
		h.inHeader |= bit
	case h.inHeader&bit == 0:
		m.putField(it.gen, seq, field, val, added)
	case h.over&bit == 0 && it.dirty && len(field)+len(val) <= headerValue:
		// The header is written anyway.
	default:
		m.putField(it.gen, seq, field, val, h.over&bit == 0)
		h.over |= bit
	}
}

// deleteField makes it durable that a field is gone.
func (m *Machine) deleteField(it *item, h *hash, seq uint64) {
	bit := uint64(1) << seq
	switch {
	case h.inHeader&bit == 0:
		m.deletePart(it.gen, seq)
	case h.over&bit == 0 && it.dirty:
		h.inHeader &^= bit
	default:
		m.putRow(partKey(m.alloc(partKeyLen), it.gen, seq), []byte{}, h.over&bit == 0)
		h.over |= bit
	}
}

func hset(c *call) reply.Reply {
	n, bad, ok := c.hset("hset")
	if !ok {
		return bad
	}
	return reply.Num(n)
}

func hmset(c *call) reply.Reply {
	if _, bad, ok := c.hset("hmset"); !ok {
		return bad
	}
	return reply.OK
}

func (c *call) hset(name string) (added int64, bad reply.Reply, ok bool) {
	if len(c.args)%2 != 0 {
		return 0, wrongArity(name), false
	}
	it, h, ok := c.hashFor(c.args[1])
	if !ok {
		return 0, wrongType, false
	}
	bytes := 0
	for _, a := range c.args[2:] {
		bytes += len(a)
	}
	h.Grow(len(c.args)/2-1, bytes)
	for i := 2; i < len(c.args); i += 2 {
		if c.setField(it, h, c.args[i], c.args[i+1]) {
			added++
		}
	}
	c.touch(c.args[1])
	return added, null, true
}

func hsetnx(c *call) reply.Reply {
	it, h, ok := c.hashFor(c.args[1])
	switch {
	case !ok:
		return wrongType
	case h.Has(c.args[2]):
		return zero
	}
	c.setField(it, h, c.args[2], c.args[3])
	c.touch(c.args[1])
	return one
}

func hget(c *call) reply.Reply {
	it, h, ok := open[*hash](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return null
	}
	if val, ok := h.Get(c.args[2]); ok {
		return reply.Of(val)
	}
	return null
}

func hmget(c *call) reply.Reply {
	it, h, ok := open[*hash](c, c.args[1])
	if !ok {
		return wrongType
	}
	elems := make([]reply.Reply, len(c.args)-2)
	if it != nil {
		for i, f := range c.args[2:] {
			if val, ok := h.Get(f); ok {
				elems[i] = reply.Of(val)
			}
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func hgetall(c *call) reply.Reply { return c.fields(true, true, reply.Map) }
func hkeys(c *call) reply.Reply   { return c.fields(true, false, reply.Array) }
func hvals(c *call) reply.Reply   { return c.fields(false, true, reply.Array) }

func (c *call) fields(names, values bool, kind reply.Kind) reply.Reply {
	it, h, ok := open[*hash](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return reply.Reply{Kind: kind}
	}
	elems := make([]reply.Reply, 0, 2*h.Len())
	h.Each(func(field, value string, _ uint64) bool {
		if names {
			elems = append(elems, reply.Of(field))
		}
		if values {
			elems = append(elems, reply.Of(value))
		}
		return true
	})
	return reply.Reply{Kind: kind, Elems: elems}
}

func hdel(c *call) reply.Reply {
	key := c.args[1]
	it, h, ok := open[*hash](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	n := int64(0)
	for _, f := range c.args[2:] {
		if seq, ok, freed := h.Delete(f); ok {
			c.m.deleteField(it, h, seq)
			c.m.grow(it, -freed)
			n++
		}
	}
	if n > 0 {
		c.touch(key)
	}
	if h.Len() == 0 {
		c.remove(key)
	}
	return reply.Num(n)
}

func hexists(c *call) reply.Reply {
	it, h, ok := open[*hash](c, c.args[1])
	if !ok {
		return wrongType
	}
	return flag(it != nil && h.Has(c.args[2]))
}

func hlen(c *call) reply.Reply {
	it, h, ok := open[*hash](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	return reply.Num(int64(h.Len()))
}

func hstrlen(c *call) reply.Reply {
	it, h, ok := open[*hash](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	return reply.Num(int64(h.Size(c.args[2])))
}

func hincrby(c *call) reply.Reply {
	key, field := c.args[1], c.args[2]
	by, ok := parseInt(c.args[3])
	if !ok {
		return errInteger
	}
	it, h, ok := open[*hash](c, key)
	if !ok {
		return wrongType
	}
	old := int64(0)
	if it != nil {
		if val, ok := h.Get(field); ok {
			if old, ok = parseInt(val); !ok {
				return reply.Fail("ERR hash value is not an integer")
			}
		}
	}
	if by > 0 && old > math.MaxInt64-by || by < 0 && old < math.MinInt64-by {
		return errOverflow
	}
	it, h, _ = c.hashFor(key)
	c.setField(it, h, field, formatInt(old+by))
	c.touch(key)
	return reply.Num(old + by)
}

func hincrbyfloat(c *call) reply.Reply {
	key, field := c.args[1], c.args[2]
	if x, ok := parseLong(c.args[3]); !ok {
		return errFloat
	} else if x.IsInf() {
		return reply.Fail("ERR value is NaN or Infinity")
	}
	it, h, ok := open[*hash](c, key)
	if !ok {
		return wrongType
	}
	old := "0"
	if it != nil {
		if val, ok := h.Get(field); ok {
			old = val
		}
	}
	sum, bad, ok := addFloats(old, c.args[3], reply.Fail("ERR hash value is not a float"))
	if !ok {
		return bad
	}
	it, h, _ = c.hashFor(key)
	c.setField(it, h, field, sum)
	c.touch(key)
	return reply.Of(sum)
}

func hrandfield(c *call) reply.Reply {
	values := len(c.args) == 4 && isWord(c.args[3], "WITHVALUES")
	if len(c.args) > 4 || len(c.args) == 4 && !values {
		if _, ok := parseInt(c.args[2]); !ok {
			return errInteger
		}
		return errSyntax
	}
	n, bad, ok := c.randomCount(values)
	if !ok {
		return bad
	}
	it, h, ok := open[*hash](c, c.args[1])
	if !ok {
		return wrongType
	}
	if len(c.args) == 2 {
		if it == nil {
			return null
		}
		f, _ := h.Random(c.m.random)
		return reply.Of(f)
	}
	if it == nil || n == 0 {
		return reply.Reply{Kind: pairsIf(values)}
	}
	var elems []reply.Reply
	add := func(field, value string) {
		elems = append(elems, reply.Of(field))
		if values {
			elems = append(elems, reply.Of(value))
		}
	}
	if n < 0 {
		for range -n {
			add(h.Random(c.m.random))
		}
	} else {
		all := make([][2]string, 0, h.Len())
		h.Each(func(f, v string, _ uint64) bool {
			all = append(all, [2]string{f, v})
			return true
		})
		for _, p := range sample(c.m, all, n) {
			add(p[0], p[1])
		}
	}
	return reply.Reply{Kind: pairsIf(values), Elems: elems}
}

func pairsIf(b bool) reply.Kind {
	if b {
		return reply.Pairs
	}
	return reply.Array
}

// maxSample bounds how many elements one command may draw with repetition.
const maxSample = 1 << 20

// randomCount reads the count of HRANDFIELD, SRANDMEMBER and ZRANDMEMBER: 0 if there is none.
func (c *call) randomCount(pairs bool) (n int64, bad reply.Reply, ok bool) {
	if len(c.args) < 3 {
		return 0, null, true
	}
	n, ok = parseInt(c.args[2])
	switch {
	case !ok:
		return 0, errInteger, false
	case n == math.MinInt64, pairs && (n < -math.MaxInt64/2 || n > math.MaxInt64/2):
		return 0, reply.Fail("ERR value is out of range"), false
	case n < -maxSample:
		return 0, reply.Fail("ERR value is out of range"), false
	}
	return n, null, true
}

// sample draws n of all without repetition, in the order in which they stand if that is all of them.
func sample[T any](m *Machine, all []T, n int64) []T {
	if n >= int64(len(all)) {
		return all
	}
	for i := range int(n) {
		j := i + int(m.random()%uint64(len(all)-i))
		all[i], all[j] = all[j], all[i]
	}
	return all[:n]
}

func hscan(c *call) reply.Reply {
	h, s, done, ok := scanKey[*hash](c)
	if !ok {
		return done
	}
	if h.Short(128, 64) {
		s.cursor, s.count = 0, h.Len() // Redis gives a small one all at once, whatever the cursor
	}
	return s.reply(h.Scan(s.cursor, s.count, func(field, value string) {
		if s.matches(field) {
			s.add(field, value)
		}
	}))
}
