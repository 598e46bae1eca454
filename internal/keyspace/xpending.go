package keyspace

import (
	"math"
	"slices"
	"sort"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// XACK, XPENDING, XCLAIM and XAUTOCLAIM.

// pendingGroup is the group whose pending entries a command looks at.
func (c *call) pendingGroup() (it *item, s *stream, g *group, bad reply.Reply, ok bool) {
	if it, s, ok = open[*stream](c, c.args[1]); !ok {
		return nil, nil, nil, wrongType, false
	}
	if it != nil {
		g = s.group(c.args[2])
	}
	if g == nil {
		return nil, nil, nil, reply.Fail("NOGROUP No such key '" + oneLine(c.args[1]) + "' or consumer group '" + oneLine(c.args[2]) + "'"), false
	}
	return it, s, g, null, true
}

func xack(c *call) reply.Reply {
	it, s, ok := open[*stream](c, c.args[1])
	if !ok {
		return wrongType
	}
	var g *group
	if it != nil {
		g = s.group(c.args[2])
	}
	if g == nil {
		return zero
	}
	var ids []data.ID
	for _, a := range c.args[3:] {
		id, ok := parseID(a, 0)
		if !ok {
			return errStreamID
		}
		ids = append(ids, id)
	}
	n := int64(0)
	for _, id := range ids {
		if c.dropPending(it, g, id) {
			n++
		}
	}
	return reply.Num(n)
}

func (c *call) dropPending(it *item, g *group, id data.ID) bool {
	i, ok := g.findPending(id)
	if !ok {
		return false
	}
	g.pending[i].consumer.pending--
	g.pending = slices.Delete(g.pending, i, i+1)
	c.m.deletePending(it.gen, g, id)
	return true
}

func xpending(c *call) reply.Reply {
	args := c.args[3:]
	idle := int64(0)
	if len(args) > 0 && isWord(args[0], "IDLE") {
		if len(args) == 1 {
			return errSyntax
		}
		var ok bool
		if idle, ok = parseInt(args[1]); !ok {
			return errInteger
		}
		if len(args) < 5 {
			return errSyntax
		}
		args = args[2:]
	}
	if len(args) != 0 && (len(args) < 3 || len(args) > 4) {
		return errSyntax
	}
	var start, end data.ID
	var count int64
	if len(args) > 0 {
		var bad reply.Reply
		var ok bool
		if count, ok = parseInt(args[2]); !ok {
			return errInteger
		}
		count = max(count, 0)
		if start, end, bad, ok = parseRange(args[0], args[1]); !ok {
			return bad
		}
	}
	_, _, g, bad, ok := c.pendingGroup()
	if !ok {
		return bad
	}
	if len(args) == 0 {
		return pendingSummary(g)
	}
	var elems []reply.Reply
	i := sort.Search(len(g.pending), func(i int) bool { return !g.pending[i].id.Less(start) })
	for _, p := range g.pending[i:] {
		if end.Less(p.id) || int64(len(elems)) >= count {
			break
		}
		age := max(0, c.m.now-p.at)
		if age < idle || len(args) == 4 && p.consumer.name != args[3] {
			continue
		}
		elems = append(elems, reply.List(reply.Of(p.id.String()), reply.Of(p.consumer.name), reply.Num(age), reply.Num(int64(p.count))))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func pendingSummary(g *group) reply.Reply {
	if len(g.pending) == 0 {
		return reply.List(zero, null, null, nullArray)
	}
	var consumers []reply.Reply
	for _, x := range g.consumers {
		if x.pending > 0 {
			consumers = append(consumers, reply.List(reply.Of(x.name), reply.Of(formatInt(int64(x.pending)))))
		}
	}
	return reply.List(
		reply.Num(int64(len(g.pending))), reply.Of(g.pending[0].id.String()), reply.Of(g.pending[len(g.pending)-1].id.String()),
		reply.Reply{Kind: reply.Array, Elems: consumers},
	)
}

// claiming is what XCLAIM is told.
type claiming struct {
	minIdle int64
	at      int64 // the time that entries get as that of their delivery
	count   int64 // the number of deliveries that they get; -1: one more
	force   bool
	justID  bool
	last    data.ID
}

func xclaim(c *call) reply.Reply {
	cl := claiming{at: c.m.now, count: -1}
	it, s, g, bad, ok := c.pendingGroup()
	if !ok {
		return bad
	}
	if cl.minIdle, ok = parseInt(c.args[4]); !ok {
		return reply.Fail("ERR Invalid min-idle-time argument for XCLAIM")
	}
	cl.minIdle = max(cl.minIdle, 0)
	var ids []data.ID
	i := 5
	for ; i < len(c.args); i++ {
		id, ok := parseID(c.args[i], 0)
		if !ok {
			break
		}
		ids = append(ids, id)
	}
	if bad, ok := c.claimOptions(&cl, i); !ok {
		return bad
	}
	if g.last.Less(cl.last) {
		g.last = cl.last
		c.m.putGroup(it.gen, g)
	}
	var elems []reply.Reply
	for _, id := range ids {
		if r, ok := c.claim(it, s, g, id, &cl); ok {
			elems = append(elems, r)
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func (c *call) claimOptions(cl *claiming, i int) (bad reply.Reply, ok bool) {
	for ; i < len(c.args); i++ {
		a := c.args[i]
		more := i+1 < len(c.args)
		switch {
		case isWord(a, "FORCE"):
			cl.force = true
		case isWord(a, "JUSTID"):
			cl.justID = true
		case isWord(a, "IDLE") && more:
			i++
			n, ok := parseInt(c.args[i])
			if !ok {
				return reply.Fail("ERR Invalid IDLE option argument for XCLAIM"), false
			}
			cl.at = c.m.now - n
		case isWord(a, "TIME") && more:
			i++
			if cl.at, ok = parseInt(c.args[i]); !ok {
				return reply.Fail("ERR Invalid TIME option argument for XCLAIM"), false
			}
		case isWord(a, "RETRYCOUNT") && more:
			i++
			if cl.count, ok = parseInt(c.args[i]); !ok || cl.count < 0 {
				return reply.Fail("ERR Invalid RETRYCOUNT option argument for XCLAIM"), false
			}
		case isWord(a, "LASTID") && more:
			i++
			if cl.last, ok = parseID(c.args[i], 0); !ok {
				return errStreamID, false
			}
		default:
			return reply.Fail("ERR Unrecognized XCLAIM option '" + oneLine(a) + "'"), false
		}
	}
	if cl.at < 0 || cl.at > c.m.now {
		cl.at = c.m.now
	}
	return null, true
}

// claim gives one entry to the consumer that the command names; ok is false if it cannot have it.
func (c *call) claim(it *item, s *stream, g *group, id data.ID, cl *claiming) (r reply.Reply, ok bool) {
	e, exists := s.Get(id)
	i, held := g.findPending(id)
	if !exists {
		if held {
			c.dropPending(it, g, id)
		}
		return null, false
	}
	switch {
	case !held && !cl.force, held && cl.minIdle > 0 && c.m.now-g.pending[i].at < cl.minIdle:
		return null, false
	}
	x := c.consumer(c.args[1], it, g, c.args[3])
	if !held {
		g.addPending(&pending{id: id, consumer: x})
		i, _ = g.findPending(id)
	}
	p := g.pending[i]
	p.consumer.pending--
	p.consumer = x
	x.pending++
	p.at = cl.at
	switch {
	case cl.count >= 0:
		p.count = uint64(cl.count)
	case !cl.justID:
		p.count++
	}
	c.m.putPending(it.gen, g, p)
	c.touch(c.args[1])
	if cl.justID {
		return reply.Of(id.String()), true
	}
	return entryReply(e), true
}

func xautoclaim(c *call) reply.Reply {
	minIdle, ok := parseInt(c.args[4])
	if !ok {
		return reply.Fail("ERR Invalid min-idle-time argument for XAUTOCLAIM")
	}
	minIdle = max(minIdle, 0)
	start, _, bad, ok := parseRange(c.args[5], "+")
	if !ok {
		return bad
	}
	count, justID := int64(100), false
	for i := 6; i < len(c.args); i++ {
		switch {
		case isWord(c.args[i], "COUNT") && i+1 < len(c.args):
			i++
			if count, ok = parseInt(c.args[i]); !ok || count < 1 || count > math.MaxInt64/16/10 {
				return reply.Fail("ERR COUNT must be > 0")
			}
		case isWord(c.args[i], "JUSTID"):
			justID = true
		default:
			return errSyntax
		}
	}
	it, s, g, bad, ok := c.pendingGroup()
	if !ok {
		return bad
	}
	cl := claiming{minIdle: minIdle, at: c.m.now, count: -1, justID: justID}
	var claimed, deleted []reply.Reply
	next := data.ID{}
	attempts := min(count, math.MaxInt64/10) * 10
	at := sort.Search(len(g.pending), func(i int) bool { return !g.pending[i].id.Less(start) })
	for at < len(g.pending) && count > 0 && attempts > 0 {
		attempts--
		p := g.pending[at]
		if _, ok := s.Get(p.id); !ok {
			c.dropPending(it, g, p.id)
			deleted = append(deleted, reply.Of(p.id.String()))
			count--
			continue
		}
		if r, ok := c.claim(it, s, g, p.id, &cl); ok {
			claimed = append(claimed, r)
			count--
		}
		at++
	}
	if at < len(g.pending) {
		next = g.pending[at].id
	}
	return reply.List(reply.Of(next.String()), reply.Reply{Kind: reply.Array, Elems: claimed}, reply.Reply{Kind: reply.Array, Elems: deleted})
}
