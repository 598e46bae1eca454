package keyspace

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Operations on several sorted sets, or sets whose members count as 1: ZUNION, ZINTER, ZDIFF and those that store.

// zoperation is one such operation.
type zoperation struct {
	op        byte // 'u', 'i' or 'd'
	sources   []source
	weights   []float64
	aggregate byte // 's' sum, 'm' min, 'x' max
	scores    bool
}

// zoperation reads one from the number of keys on.
func (c *call) zoperation(op byte, at int, name string, stores bool) (o zoperation, bad reply.Reply, ok bool) {
	o = zoperation{op: op, aggregate: 's'}
	n, ok := parseInt(c.args[at])
	switch {
	case !ok:
		return o, errInteger, false
	case n < 1:
		return o, reply.Fail("ERR at least 1 input key is needed for '" + name + "' command"), false
	case n > int64(len(c.args)-at-1):
		return o, errSyntax, false
	}
	at += 1 + int(n)
	if o.sources, ok = c.sources(c.args[at-int(n) : at]); !ok {
		return o, wrongType, false
	}
	for i := at; i < len(c.args); i++ {
		a := c.args[i]
		switch {
		case op != 'd' && isWord(a, "WEIGHTS") && int64(len(c.args)-i-1) >= n:
			o.weights = make([]float64, n)
			for j := range o.weights {
				if o.weights[j], ok = parseScore(c.args[i+1+j]); !ok {
					return o, reply.Fail("ERR weight value is not a float"), false
				}
			}
			i += int(n)
		case op != 'd' && isWord(a, "AGGREGATE") && i+1 < len(c.args):
			i++
			switch {
			case isWord(c.args[i], "SUM"):
				o.aggregate = 's'
			case isWord(c.args[i], "MIN"):
				o.aggregate = 'm'
			case isWord(c.args[i], "MAX"):
				o.aggregate = 'x'
			default:
				return o, errSyntax, false
			}
		case !stores && isWord(a, "WITHSCORES"):
			o.scores = true
		default:
			return o, errSyntax, false
		}
	}
	return o, null, true
}

// source is one of the sets.
type source struct {
	z *zset
	s *set
}

func (s source) len() int {
	switch {
	case s.z != nil:
		return s.z.Len()
	case s.s != nil:
		return s.s.Len()
	}
	return 0
}

func (s source) score(member string) (float64, bool) {
	switch {
	case s.z != nil:
		return s.z.Score(member)
	case s.s != nil:
		return 1, s.s.Has(member)
	}
	return 0, false
}

func (s source) each(fn func(member string, score float64)) {
	switch {
	case s.z != nil:
		s.z.Range(0, s.z.Len(), false, func(member string, score float64) bool {
			fn(member, score)
			return true
		})
	case s.s != nil:
		s.s.Each(func(member, _ string, _ uint64) bool {
			fn(member, 1)
			return true
		})
	}
}

func (c *call) sources(keys []string) (out []source, ok bool) {
	for _, key := range keys {
		it := c.find(key)
		var s source
		if it != nil {
			switch v := it.val.(type) {
			case *zset:
				s.z = v
			case *set:
				s.s = v
			default:
				return nil, false
			}
		}
		out = append(out, s)
	}
	return out, true
}

// run computes the result in order of score and bytes.
func (o *zoperation) run() []scored {
	type input struct {
		source
		weight float64
	}
	inputs := make([]input, len(o.sources))
	for i, s := range o.sources {
		inputs[i] = input{s, 1}
		if o.weights != nil {
			inputs[i].weight = o.weights[i]
		}
	}
	var out []scored
	switch o.op {
	case 'u':
		at := map[string]int{}
		for _, in := range inputs {
			in.each(func(member string, score float64) {
				score = weigh(score, in.weight)
				if i, ok := at[member]; ok {
					out[i].score = o.merge(out[i].score, score)
					return
				}
				at[member] = len(out)
				out = append(out, scored{member, score})
			})
		}
	case 'i':
		slices.SortStableFunc(inputs, func(a, b input) int { return cmp.Compare(a.len(), b.len()) })
		inputs[0].each(func(member string, score float64) {
			score = weigh(score, inputs[0].weight)
			for _, in := range inputs[1:] {
				other, ok := in.score(member)
				if !ok {
					return
				}
				score = o.merge(score, weigh(other, in.weight))
			}
			out = append(out, scored{member, score})
		})
	case 'd':
		inputs[0].each(func(member string, score float64) {
			for _, in := range inputs[1:] {
				if _, ok := in.score(member); ok {
					return
				}
			}
			out = append(out, scored{member, score})
		})
	}
	slices.SortFunc(out, func(a, b scored) int {
		if a.score != b.score {
			return cmp.Compare(a.score, b.score)
		}
		return strings.Compare(a.member, b.member)
	})
	return out
}

// weigh multiplies; infinity times 0 is 0.
func weigh(score, weight float64) float64 {
	if w := score * weight; w == w {
		return w
	}
	return 0
}

// merge joins two scores; infinity minus infinity is 0.
func (o *zoperation) merge(a, b float64) float64 {
	switch o.aggregate {
	case 'm':
		return min(a, b)
	case 'x':
		return max(a, b)
	}
	if sum := a + b; !math.IsNaN(sum) {
		return sum
	}
	return 0
}

func zunion(c *call) reply.Reply { return c.zcombined('u', "zunion") }
func zinter(c *call) reply.Reply { return c.zcombined('i', "zinter") }
func zdiff(c *call) reply.Reply  { return c.zcombined('d', "zdiff") }

func (c *call) zcombined(op byte, name string) reply.Reply {
	o, bad, ok := c.zoperation(op, 1, name, false)
	if !ok {
		return bad
	}
	var elems []reply.Reply
	for _, e := range o.run() {
		elems = append(elems, reply.Of(e.member))
		if o.scores {
			elems = append(elems, reply.Float(e.score))
		}
	}
	return reply.Reply{Kind: pairsIf(o.scores), Elems: elems}
}

func zunionstore(c *call) reply.Reply { return c.zcombineInto('u', "zunionstore") }
func zinterstore(c *call) reply.Reply { return c.zcombineInto('i', "zinterstore") }
func zdiffstore(c *call) reply.Reply  { return c.zcombineInto('d', "zdiffstore") }

func (c *call) zcombineInto(op byte, name string) reply.Reply {
	o, bad, ok := c.zoperation(op, 2, name, true)
	if !ok {
		return bad
	}
	return c.storeScored(c.args[1], o.run())
}

// storeScored makes a key hold a sorted set.
func (c *call) storeScored(key string, members []scored) reply.Reply {
	if len(members) == 0 {
		c.find(key)
		c.remove(key)
		return zero
	}
	z := new(zset)
	it := c.replace(key, z, false)
	for _, e := range members {
		c.setScore(it, z, e.member, e.score)
	}
	c.ready(key)
	return reply.Num(int64(len(members)))
}

func zintercard(c *call) reply.Reply {
	n, ok := parseInt(c.args[1])
	switch {
	case !ok:
		return errInteger
	case n < 1:
		return reply.Fail("ERR at least 1 input key is needed for 'zintercard' command")
	case n > int64(len(c.args)-2):
		return errSyntax
	}
	sources, ok := c.sources(c.args[2 : 2+n])
	if !ok {
		return wrongType
	}
	limit := int64(0)
	for i := 2 + int(n); i < len(c.args); i += 2 {
		if !isWord(c.args[i], "LIMIT") || i+1 == len(c.args) {
			return errSyntax
		}
		if limit, ok = parseInt(c.args[i+1]); !ok || limit < 0 {
			return reply.Fail("ERR LIMIT can't be negative")
		}
	}
	o := zoperation{op: 'i', aggregate: 's', sources: sources}
	count := int64(len(o.run()))
	if limit > 0 {
		count = min(count, limit)
	}
	return reply.Num(count)
}
