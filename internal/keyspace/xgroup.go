package keyspace

import (
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// XGROUP and XINFO.

func noGroup(group, key string) reply.Reply {
	return reply.Fail("NOGROUP No such consumer group '" + oneLine(group) + "' for key name '" + oneLine(key) + "'")
}

var errGroupKey = reply.Fail("ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.")

// groupOptions reads [MKSTREAM] [ENTRIESREAD n].
func (c *call) groupOptions(makes bool) (mkstream bool, read int64, bad reply.Reply, ok bool) {
	read = -1
	for i := 5; i < len(c.args); i++ {
		switch {
		case makes && isWord(c.args[i], "MKSTREAM"):
			mkstream = true
		case isWord(c.args[i], "ENTRIESREAD") && i+1 < len(c.args):
			i++
			if read, ok = parseInt(c.args[i]); !ok {
				return false, 0, errInteger, false
			}
			if read < -1 {
				return false, 0, reply.Fail("ERR value for ENTRIESREAD must be positive or -1"), false
			}
		default:
			return false, 0, reply.Fail("ERR unknown subcommand or wrong number of arguments for '" + oneLine(c.args[1]) + "'. Try XGROUP HELP."), false
		}
	}
	return mkstream, read, null, true
}

// groupID reads the id that a group begins behind. XGROUP SETID, unlike CREATE, takes the ends of ranges too.
func groupID(arg string, s *stream, ends bool) (id data.ID, ok bool) {
	switch {
	case arg == "$" && s != nil:
		return s.last, true
	case arg == "$", ends && arg == "-":
		return id, true
	case ends && arg == "+":
		return data.MaxID, true
	}
	return parseID(arg, 0)
}

func xgroupCreate(c *call) reply.Reply {
	mkstream, read, bad, ok := c.groupOptions(true)
	if !ok {
		return bad
	}
	key, name := c.args[2], c.args[3]
	it, s, ok := open[*stream](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil && !mkstream:
		return errGroupKey
	}
	id, ok := groupID(c.args[4], s, false)
	if !ok {
		return errStreamID
	}
	if it == nil {
		s = newStream()
		it = c.create(key, s)
	}
	if s.group(name) != nil {
		return reply.Fail("BUSYGROUP Consumer Group name already exists")
	}
	g := s.makeGroup(name)
	g.last, g.read = id, read
	c.m.putGroup(it.gen, g)
	c.touch(key)
	return reply.OK
}

// openGroup opens the stream and group of an XGROUP subcommand.
func (c *call) openGroup() (it *item, s *stream, g *group, bad reply.Reply, ok bool) {
	it, s, ok = open[*stream](c, c.args[2])
	switch {
	case !ok:
		return nil, nil, nil, wrongType, false
	case it == nil:
		return nil, nil, nil, errGroupKey, false
	}
	if g = s.group(c.args[3]); g == nil {
		return nil, nil, nil, noGroup(c.args[3], c.args[2]), false
	}
	return it, s, g, null, true
}

func xgroupSetID(c *call) reply.Reply {
	_, read, bad, ok := c.groupOptions(false)
	if !ok {
		return bad
	}
	it, s, g, bad, ok := c.openGroup()
	if !ok {
		return bad
	}
	id, ok := groupID(c.args[4], s, true)
	if !ok {
		return errStreamID
	}
	g.last, g.read = id, read
	c.m.putGroup(it.gen, g)
	c.touch(c.args[2])
	return reply.OK
}

func xgroupDestroy(c *call) reply.Reply {
	it, s, ok := open[*stream](c, c.args[2])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return errGroupKey
	}
	i, ok := s.findGroup(c.args[3])
	if !ok {
		return zero
	}
	c.m.deleteGroup(it.gen, s.groups[i])
	s.groups = slices.Delete(s.groups, i, i+1)
	c.touch(c.args[2])
	c.ready(c.args[2]) // those who wait in it must hear
	return one
}

func xgroupCreateConsumer(c *call) reply.Reply {
	it, _, g, bad, ok := c.openGroup()
	if !ok {
		return bad
	}
	if _, ok := g.findConsumer(c.args[4]); ok {
		return zero
	}
	c.consumer(c.args[2], it, g, c.args[4])
	return one
}

func xgroupDelConsumer(c *call) reply.Reply {
	it, _, g, bad, ok := c.openGroup()
	if !ok {
		return bad
	}
	i, ok := g.findConsumer(c.args[4])
	if !ok {
		return zero
	}
	x := g.consumers[i]
	n := int64(x.pending)
	g.pending = slices.DeleteFunc(g.pending, func(p *pending) bool {
		if p.consumer != x {
			return false
		}
		c.m.deletePending(it.gen, g, p.id)
		return true
	})
	g.consumers = slices.Delete(g.consumers, i, i+1)
	c.m.deleteRow(append(c.m.streamKey(it.gen, 'c', g.name), x.name...))
	c.touch(c.args[2])
	return reply.Num(n)
}

func xinfoStream(c *call) reply.Reply {
	it, s, ok := open[*stream](c, c.args[2])
	if !ok {
		return wrongType
	}
	if it == nil {
		return errNoKey
	}
	full, count := false, int64(10)
	if len(c.args) > 3 {
		full = isWord(c.args[3], "FULL")
		switch {
		case !full, len(c.args) == 5, len(c.args) > 6:
			return reply.Fail("ERR unknown subcommand or wrong number of arguments for '" + oneLine(c.args[1]) + "'. Try XINFO HELP.")
		case len(c.args) == 6:
			if !isWord(c.args[4], "COUNT") {
				return errSyntax
			}
			if count, ok = parseInt(c.args[5]); !ok {
				return errInteger
			}
			if count < 0 {
				count = 10
			}
		}
	}
	first, _ := s.First()
	fields := []reply.Reply{
		reply.Of("length"), reply.Num(int64(s.Len())),
		reply.Of("radix-tree-keys"), reply.Num(int64(s.Blocks())),
		reply.Of("radix-tree-nodes"), reply.Num(int64(s.Blocks() + 1)),
		reply.Of("last-generated-id"), reply.Of(s.last.String()),
		reply.Of("max-deleted-entry-id"), reply.Of(s.maxDeleted.String()),
		reply.Of("entries-added"), reply.Num(int64(s.added)),
		reply.Of("recorded-first-entry-id"), reply.Of(first.String()),
	}
	if full {
		fields = append(fields, s.fullInfo(count)...)
		return reply.Reply{Kind: reply.Map, Elems: fields}
	}
	ends := [2]reply.Reply{}
	s.Range(data.ID{}, data.MaxID, func(e data.Entry) bool { ends[0] = entryReply(e); return false })
	s.RangeBack(data.ID{}, data.MaxID, func(e data.Entry) bool { ends[1] = entryReply(e); return false })
	fields = append(
		fields, reply.Of("groups"), reply.Num(int64(len(s.groups))), reply.Of("first-entry"), ends[0], reply.Of("last-entry"), ends[1],
	)
	return reply.Reply{Kind: reply.Map, Elems: fields}
}

// fullInfo is what XINFO STREAM FULL adds.
func (s *stream) fullInfo(count int64) []reply.Reply {
	var entries, groups []reply.Reply
	s.Range(data.ID{}, data.MaxID, func(e data.Entry) bool {
		entries = append(entries, entryReply(e))
		return count == 0 || int64(len(entries)) < count
	})
	for _, g := range s.groups {
		var pel, consumers []reply.Reply
		for i, p := range g.pending {
			if count != 0 && int64(i) >= count {
				break
			}
			pel = append(pel, reply.List(reply.Of(p.id.String()), reply.Of(p.consumer.name), reply.Num(p.at), reply.Num(int64(p.count))))
		}
		for _, x := range g.consumers {
			var own []reply.Reply
			for _, p := range g.pending {
				if p.consumer == x && (count == 0 || int64(len(own)) < count) {
					own = append(own, reply.List(reply.Of(p.id.String()), reply.Num(p.at), reply.Num(int64(p.count))))
				}
			}
			consumers = append(consumers, reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
				reply.Of("name"), reply.Of(x.name), reply.Of("seen-time"), reply.Num(x.seen), reply.Of("pel-count"), reply.Num(int64(x.pending)),
				reply.Of("pending"),
				{Kind: reply.Array, Elems: own},
			}})
		}
		groups = append(groups, reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
			reply.Of("name"), reply.Of(g.name), reply.Of("last-delivered-id"), reply.Of(g.last.String()),
			reply.Of("entries-read"), countOr(g.read, g.read >= 0), reply.Of("lag"), countOr(s.lag(g)), reply.Of("pel-count"), reply.Num(int64(len(g.pending))),
			reply.Of("pending"),
			{Kind: reply.Array, Elems: pel},
			reply.Of("consumers"),
			{Kind: reply.Array, Elems: consumers},
		}})
	}
	return []reply.Reply{
		reply.Of("entries"), {Kind: reply.Array, Elems: entries}, reply.Of("groups"), {Kind: reply.Array, Elems: groups},
	}
}

// countOr is a number, or null if it is not known.
func countOr(n int64, known bool) reply.Reply {
	if !known {
		return null
	}
	return reply.Num(n)
}

func xinfoGroups(c *call) reply.Reply {
	it, s, ok := open[*stream](c, c.args[2])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return errNoKey
	}
	var elems []reply.Reply
	for _, g := range s.groups {
		elems = append(elems, reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
			reply.Of("name"), reply.Of(g.name), reply.Of("consumers"), reply.Num(int64(len(g.consumers))),
			reply.Of("pending"), reply.Num(int64(len(g.pending))), reply.Of("last-delivered-id"), reply.Of(g.last.String()),
			reply.Of("entries-read"), countOr(g.read, g.read >= 0), reply.Of("lag"), countOr(s.lag(g)),
		}})
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func xinfoConsumers(c *call) reply.Reply {
	it, s, ok := open[*stream](c, c.args[2])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return errNoKey
	}
	g := s.group(c.args[3])
	if g == nil {
		return noGroup(c.args[3], c.args[2])
	}
	var elems []reply.Reply
	for _, x := range g.consumers {
		elems = append(elems, reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
			reply.Of("name"), reply.Of(x.name), reply.Of("pending"), reply.Num(int64(x.pending)), reply.Of("idle"), reply.Num(max(0, c.m.now-x.seen)),
		}})
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// help answers the HELP of a command with subcommands.
func help(lines ...string) func(*call) reply.Reply {
	return func(c *call) reply.Reply {
		elems := []reply.Reply{{Kind: reply.Status, Str: strings.ToUpper(c.args[0]) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}}
		for _, l := range lines {
			elems = append(elems, reply.Reply{Kind: reply.Status, Str: l})
		}
		return reply.Reply{Kind: reply.Array, Elems: elems}
	}
}
