package keyspace

import (
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Ranges of sorted sets by rank, by score and, among members of equal score, by their bytes.

// zrange is a range of one sorted set: ranks once it is resolved.
type zrange struct {
	by     byte // 'r' rank, 's' score, 'l' bytes
	back   bool
	min    string
	max    string
	scores bool
	limit  bool
	offset int64
	count  int64
}

var (
	errBound = reply.Fail("ERR min or max is not a float")
	errLex   = reply.Fail("ERR min or max not valid string range item")
)

// lexBound is one end of a range of bytes.
type lexBound struct {
	s         string
	exclusive bool
	infinite  int // -1: before all, 1: behind all
}

func parseLex(s string) (b lexBound, ok bool) {
	switch {
	case s == "-":
		return lexBound{infinite: -1}, true
	case s == "+":
		return lexBound{infinite: 1}, true
	case s != "" && s[0] == '[':
		return lexBound{s: s[1:]}, true
	case s != "" && s[0] == '(':
		return lexBound{s: s[1:], exclusive: true}, true
	}
	return b, false
}

// before reports whether a member is in front of a range that begins with the bound.
func (b lexBound) before(member string) bool {
	switch {
	case b.infinite != 0:
		return b.infinite > 0
	case b.exclusive:
		return member <= b.s
	}
	return member < b.s
}

// within reports whether a member is in front of the end of a range that ends with the bound.
func (b lexBound) within(member string) bool {
	switch {
	case b.infinite != 0:
		return b.infinite > 0
	case b.exclusive:
		return member < b.s
	}
	return member <= b.s
}

// check reports what is wrong with the bounds.
func (r *zrange) check() (bad reply.Reply, ok bool) {
	switch r.by {
	case 'r':
		if _, _, ok := parseSpan(r.min, r.max); !ok {
			return errInteger, false
		}
	case 's':
		_, _, ok1 := parseBound(r.min)
		_, _, ok2 := parseBound(r.max)
		if !ok1 || !ok2 {
			return errBound, false
		}
	case 'l':
		_, ok1 := parseLex(r.min)
		_, ok2 := parseLex(r.max)
		if !ok1 || !ok2 {
			return errLex, false
		}
	}
	return null, true
}

// ranks resolves a range that was checked: from a first rank to behind a last, without the limit.
func (r *zrange) ranks(z *zset) (from, to int) {
	switch r.by {
	case 'r':
		start, stop, _ := parseSpan(r.min, r.max)
		from, to = span(start, stop, z.Len())
		if r.back {
			from, to = z.Len()-to, z.Len()-from
		}
	case 's':
		low, lowOut, _ := parseBound(r.min)
		high, highOut, _ := parseBound(r.max)
		if low > high || low == high && (lowOut || highOut) {
			return 0, 0
		}
		from = z.Count(func(_ string, s float64) bool { return s < low || lowOut && s == low })
		to = z.Count(func(_ string, s float64) bool { return s < high || !highOut && s == high })
	case 'l':
		low, _ := parseLex(r.min)
		high, _ := parseLex(r.max)
		from = z.Count(func(m string, _ float64) bool { return low.before(m) })
		to = z.Count(func(m string, _ float64) bool { return high.within(m) })
	}
	return from, max(from, to)
}

// limited applies LIMIT.
func (r *zrange) limited(from, to int) (int, int) {
	if !r.limit {
		return from, to
	}
	n := int64(to - from)
	if r.offset < 0 || r.offset >= n {
		return 0, 0
	}
	count := n - r.offset
	if r.count >= 0 {
		count = min(count, r.count)
	}
	if r.back {
		to -= int(r.offset)
		return to - int(count), to
	}
	from += int(r.offset)
	return from, from + int(count)
}

// elements lists the range.
func (r *zrange) elements(z *zset) reply.Reply {
	from, to := r.limited(r.ranks(z))
	if from >= to {
		return reply.Reply{Kind: pairsIf(r.scores)}
	}
	n := to - from
	if r.scores {
		n *= 2
	}
	elems := make([]reply.Reply, 0, n)
	z.Range(from, to, r.back, func(member string, score float64) bool {
		elems = append(elems, reply.Of(member))
		if r.scores {
			elems = append(elems, reply.Float(score))
		}
		return true
	})
	return reply.Reply{Kind: pairsIf(r.scores), Elems: elems}
}

// options reads what follows the bounds. unified allows what only ZRANGE and ZRANGESTORE know.
func (r *zrange) options(args []string, unified, scores bool) (bad reply.Reply, ok bool) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case scores && isWord(a, "WITHSCORES"):
			r.scores = true
		case isWord(a, "LIMIT") && i+2 < len(args):
			var ok1, ok2 bool
			r.offset, ok1 = parseInt(args[i+1])
			r.count, ok2 = parseInt(args[i+2])
			if !ok1 || !ok2 {
				return errInteger, false
			}
			r.limit = true
			i += 2
		case unified && isWord(a, "REV"):
			r.back = true
		case unified && isWord(a, "BYSCORE"):
			r.by = 's'
		case unified && isWord(a, "BYLEX"):
			r.by = 'l'
		default:
			return errSyntax, false
		}
	}
	if r.limit && r.by == 'r' {
		return reply.Fail("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"), false
	}
	if r.scores && r.by == 'l' {
		return reply.Fail("ERR syntax error, WITHSCORES not supported in combination with BYLEX"), false
	}
	if r.back && r.by != 'r' {
		r.min, r.max = r.max, r.min
	}
	return null, true
}

func (c *call) rangeReply(key string, r *zrange) reply.Reply {
	if bad, ok := r.check(); !ok {
		return bad
	}
	it, z, ok := open[*zset](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return reply.Reply{Kind: pairsIf(r.scores)}
	}
	return r.elements(z)
}

func (c *call) rangeCommand(by byte, back, unified bool) reply.Reply {
	r := zrange{by: by, back: back, min: c.args[2], max: c.args[3]}
	if bad, ok := r.options(c.args[4:], unified, by != 'l'); !ok {
		return bad
	}
	return c.rangeReply(c.args[1], &r)
}

func zrangeCommand(c *call) reply.Reply    { return c.rangeCommand('r', false, true) }
func zrangebyscore(c *call) reply.Reply    { return c.rangeCommand('s', false, false) }
func zrevrangebyscore(c *call) reply.Reply { return c.rangeCommand('s', true, false) }
func zrangebylex(c *call) reply.Reply      { return c.rangeCommand('l', false, false) }
func zrevrangebylex(c *call) reply.Reply   { return c.rangeCommand('l', true, false) }
func zrevrange(c *call) reply.Reply        { return c.rangeCommand('r', true, false) }

func zrangestore(c *call) reply.Reply {
	r := zrange{by: 'r', min: c.args[3], max: c.args[4]}
	if bad, ok := r.options(c.args[5:], true, false); !ok {
		return bad
	}
	if bad, ok := r.check(); !ok {
		return bad
	}
	it, z, ok := open[*zset](c, c.args[2])
	if !ok {
		return wrongType
	}
	var found []scored
	if it != nil {
		from, to := r.limited(r.ranks(z))
		z.Range(from, to, r.back, func(member string, score float64) bool {
			found = append(found, scored{member, score})
			return true
		})
	}
	return c.storeScored(c.args[1], found)
}

func zcount(c *call) reply.Reply    { return c.countRange('s') }
func zlexcount(c *call) reply.Reply { return c.countRange('l') }

func (c *call) countRange(by byte) reply.Reply {
	r := zrange{by: by, min: c.args[2], max: c.args[3]}
	if bad, ok := r.check(); !ok {
		return bad
	}
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	from, to := r.ranks(z)
	return reply.Num(int64(to - from))
}

func zremrangebyrank(c *call) reply.Reply  { return c.removeRange('r') }
func zremrangebyscore(c *call) reply.Reply { return c.removeRange('s') }
func zremrangebylex(c *call) reply.Reply   { return c.removeRange('l') }

func (c *call) removeRange(by byte) reply.Reply {
	r := zrange{by: by, min: c.args[2], max: c.args[3]}
	if bad, ok := r.check(); !ok {
		return bad
	}
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	from, to := r.ranks(z)
	if from == 0 && to == z.Len() {
		c.remove(c.args[1]) // at once, however many there are
		return reply.Num(int64(to))
	}
	for range to - from {
		member, _, seq := z.DeleteAt(from)
		c.m.deletePart(it.gen, seq)
		c.m.grow(it, -8-len(member))
	}
	if from < to {
		c.shrunk(c.args[1], z.Len())
	}
	return reply.Num(int64(to - from))
}
