package keyspace

import (
	"math"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Sorted sets: ZADD and its relatives. Ranges are in zrange.go, operations on several sets in zstore.go.

// setScore gives a member a score.
func (c *call) setScore(it *item, z *zset, member string, score float64) (added bool) {
	if score == 0 {
		score = 0 // not -0: Redis loses its sign in small sets
	}
	seq, added := z.Set(member, score)
	c.m.putScore(it.gen, seq, member, score, added)
	if added {
		c.m.grow(it, 8+len(member))
	}
	return added
}

func (c *call) deleteScored(it *item, z *zset, member string) bool {
	seq, ok := z.Delete(member)
	if ok {
		c.m.deletePart(it.gen, seq)
		c.m.grow(it, -8-len(member))
	}
	return ok
}

// zsetFor opens a sorted set or makes one.
func (c *call) zsetFor(key string) (it *item, z *zset, ok bool) {
	if it, z, ok = open[*zset](c, key); ok && it == nil {
		z = new(zset)
		it = c.create(key, z)
	}
	return it, z, ok
}

var errNaN = reply.Fail("ERR resulting score is not a number (NaN)")

// zaddOptions are those of ZADD.
type zaddOptions struct{ nx, xx, gt, lt, ch, incr bool }

func zadd(c *call) reply.Reply {
	var o zaddOptions
	i := 2
options:
	for ; i < len(c.args); i++ {
		switch a := c.args[i]; {
		case isWord(a, "NX"):
			o.nx = true
		case isWord(a, "XX"):
			o.xx = true
		case isWord(a, "GT"):
			o.gt = true
		case isWord(a, "LT"):
			o.lt = true
		case isWord(a, "CH"):
			o.ch = true
		case isWord(a, "INCR"):
			o.incr = true
		default:
			break options
		}
	}
	pairs := c.args[i:]
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		return errSyntax
	case o.nx && o.xx:
		return reply.Fail("ERR XX and NX options at the same time are not compatible")
	case o.gt && o.nx || o.lt && o.nx || o.gt && o.lt:
		return reply.Fail("ERR GT, LT, and/or NX options at the same time are not compatible")
	case o.incr && len(pairs) > 2:
		return reply.Fail("ERR INCR option supports a single increment-element pair")
	}
	return c.zadd(c.args[1], pairs, o)
}

func zincrby(c *call) reply.Reply {
	return c.zadd(c.args[1], c.args[2:], zaddOptions{incr: true})
}

func (c *call) zadd(key string, pairs []string, o zaddOptions) reply.Reply {
	var few [8]float64
	scores := few[:0]
	for i := 0; i < len(pairs); i += 2 {
		score, ok := parseScore(pairs[i])
		if !ok {
			return errFloat
		}
		scores = append(scores, score)
	}
	it, z, ok := open[*zset](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil && o.xx && o.incr:
		return null
	case it == nil && o.xx:
		return zero
	case it == nil:
		it, z, _ = c.zsetFor(key)
	}
	added, changed := int64(0), int64(0)
	result := null
	var bad reply.Reply
members:
	for i, score := range scores {
		member := pairs[2*i+1]
		old, there := z.Score(member)
		switch {
		case there && o.nx, !there && o.xx:
			continue
		case o.incr && there:
			score += old
		}
		if score != score {
			bad = errNaN
			break members
		}
		if there && (o.gt && score <= old || o.lt && score >= old) {
			continue
		}
		if o.incr {
			result = reply.Float(score)
		}
		if there && score == old {
			continue
		}
		if c.setScore(it, z, member, score) {
			added++
		} else {
			changed++
		}
	}
	if added+changed > 0 {
		c.touch(key)
		c.ready(key)
	}
	if z.Len() == 0 {
		c.remove(key)
	}
	switch {
	case bad.Kind == reply.Error:
		return bad
	case o.incr:
		return result
	case o.ch:
		return reply.Num(added + changed)
	}
	return reply.Num(added)
}

func zrem(c *call) reply.Reply {
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	n := int64(0)
	for _, member := range c.args[2:] {
		if c.deleteScored(it, z, member) {
			n++
		}
	}
	if n > 0 {
		c.shrunk(c.args[1], z.Len())
	}
	return reply.Num(n)
}

func zcard(c *call) reply.Reply {
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	return reply.Num(int64(z.Len()))
}

func zscore(c *call) reply.Reply {
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return null
	}
	return scoreOf(z, c.args[2])
}

func scoreOf(z *zset, member string) reply.Reply {
	if score, ok := z.Score(member); ok {
		return reply.Float(score)
	}
	return null
}

func zmscore(c *call) reply.Reply {
	it, z, ok := open[*zset](c, c.args[1])
	if !ok {
		return wrongType
	}
	elems := make([]reply.Reply, len(c.args)-2)
	if it != nil {
		for i, member := range c.args[2:] {
			elems[i] = scoreOf(z, member)
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func zrank(c *call) reply.Reply    { return c.rank(false) }
func zrevrank(c *call) reply.Reply { return c.rank(true) }

func (c *call) rank(back bool) reply.Reply {
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return null
	}
	rank, ok := z.Rank(c.args[2])
	switch {
	case !ok:
		return null
	case back:
		rank = z.Len() - 1 - rank
	}
	return reply.Num(int64(rank))
}

// popScored takes up to n members from one end. The reply is of member and score in turn.
func (c *call) popScored(key string, it *item, z *zset, highest bool, n int64) []reply.Reply {
	n = min(n, int64(z.Len()))
	elems := make([]reply.Reply, 0, 2*n)
	for range n {
		rank := 0
		if highest {
			rank = z.Len() - 1
		}
		member, score, seq := z.DeleteAt(rank)
		c.m.deletePart(it.gen, seq)
		c.m.grow(it, -8-len(member))
		elems = append(elems, reply.Of(member), reply.Float(score))
	}
	c.shrunk(key, z.Len())
	return elems
}

func zpopmin(c *call) reply.Reply { return c.zpop(false) }
func zpopmax(c *call) reply.Reply { return c.zpop(true) }

func (c *call) zpop(highest bool) reply.Reply {
	if len(c.args) > 3 {
		return errSyntax
	}
	n := int64(1)
	kind := reply.Array // RESP3 has a flat pair without a count
	if len(c.args) == 3 {
		var ok bool
		if n, ok = parseInt(c.args[2]); !ok || n < 0 {
			return reply.Fail("ERR value is out of range, must be positive")
		}
		kind = reply.Pairs
	}
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil || n == 0:
		return empty
	}
	return reply.Reply{Kind: kind, Elems: c.popScored(c.args[1], it, z, highest, n)}
}

func bzpopmin(c *call) reply.Reply { return c.bzpop(false) }
func bzpopmax(c *call) reply.Reply { return c.bzpop(true) }

func (c *call) bzpop(highest bool) reply.Reply {
	last := len(c.args) - 1
	deadline, bad, ok := c.parseTimeout(c.args[last])
	if !ok {
		return bad
	}
	serve := func(c *call, key string) (reply.Reply, bool) {
		it, z, ok := open[*zset](c, key)
		if !ok || it == nil {
			return null, false
		}
		pair := c.popScored(key, it, z, highest, 1)
		return reply.List(reply.Of(key), pair[0], pair[1]), true
	}
	return c.serveOrBlock(&waiter{keys: c.args[1:last], deadline: deadline, missing: nullArray, pops: true, serve: serve}, isType[*zset])
}

func zmpop(c *call) reply.Reply  { return popFirst(c, 1, false, "MIN", "MAX", popZset) }
func bzmpop(c *call) reply.Reply { return popFirst(c, 2, true, "MIN", "MAX", popZset) }

func popZset(c *call, key string, it *item, z *zset, lowest bool, count int64) reply.Reply {
	flat := c.popScored(key, it, z, !lowest, count)
	pairs := make([]reply.Reply, 0, len(flat)/2) // nested in both versions of the protocol
	for i := 0; i < len(flat); i += 2 {
		pairs = append(pairs, reply.List(flat[i], flat[i+1]))
	}
	return reply.Reply{Kind: reply.Array, Elems: pairs}
}

func zrandmember(c *call) reply.Reply {
	scores := len(c.args) == 4 && isWord(c.args[3], "WITHSCORES")
	if len(c.args) > 4 || len(c.args) == 4 && !scores {
		if _, ok := parseInt(c.args[2]); !ok {
			return errInteger
		}
		return errSyntax
	}
	n, bad, ok := c.randomCount(scores)
	if !ok {
		return bad
	}
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil && len(c.args) == 2:
		return null
	case len(c.args) == 2:
		member, _ := z.Random(c.m.random)
		return reply.Of(member)
	case it == nil || n == 0:
		return reply.Reply{Kind: pairsIf(scores)}
	}
	var elems []reply.Reply
	add := func(member string, score float64) {
		elems = append(elems, reply.Of(member))
		if scores {
			elems = append(elems, reply.Float(score))
		}
	}
	if n < 0 {
		for range -n {
			add(z.Random(c.m.random))
		}
	} else {
		for _, e := range sample(c.m, z.all(), n) {
			add(e.member, e.score)
		}
	}
	return reply.Reply{Kind: pairsIf(scores), Elems: elems}
}

// scored is a member with its score.
type scored struct {
	member string
	score  float64
}

func (z *zset) all() []scored {
	all := make([]scored, 0, z.Len())
	z.Range(0, z.Len(), false, func(member string, score float64) bool {
		all = append(all, scored{member, score})
		return true
	})
	return all
}

func zscan(c *call) reply.Reply {
	z, s, done, ok := scanKey[*zset](c)
	if !ok {
		return done
	}
	if z.Short(128, 64) {
		s.cursor, s.count = 0, math.MaxInt32 // Redis gives a small one all at once, whatever the cursor
	}
	return s.reply(z.Scan(s.cursor, s.count, func(member string, score float64) {
		if s.matches(member) {
			s.add(member, formatFloat(score))
		}
	}))
}
