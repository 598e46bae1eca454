package keyspace

import (
	"math"
	"slices"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// XREAD and XREADGROUP.

// reading is what they are told.
type reading struct {
	keys     []string
	ids      []string
	count    int64
	blocks   bool
	deadline int64
	group    string
	consumer string
	grouped  bool
	noAck    bool
}

func xread(c *call) reply.Reply      { return c.xread(false) }
func xreadgroup(c *call) reply.Reply { return c.xread(true) }

func (c *call) parseReading(grouped bool) (r reading, bad reply.Reply, ok bool) {
	for i := 1; i < len(c.args); i++ {
		a := c.args[i]
		left := len(c.args) - i - 1
		switch {
		case isWord(a, "BLOCK") && left > 0:
			if c.script {
				return r, reply.Fail("ERR " + oneLine(c.args[0]) + " command is not allowed with BLOCK option from scripts"), false
			}
			i++
			ms, ok := parseInt(c.args[i])
			switch {
			case !ok:
				return r, reply.Fail("ERR timeout is not an integer or out of range"), false
			case ms < 0:
				return r, reply.Fail("ERR timeout is negative"), false
			case ms > math.MaxInt64-c.m.now:
				return r, reply.Fail("ERR timeout is out of range"), false
			case ms > 0:
				r.deadline = c.m.now + ms
			}
			r.blocks = true
		case isWord(a, "COUNT") && left > 0:
			i++
			if r.count, ok = parseInt(c.args[i]); !ok {
				return r, errInteger, false
			}
			r.count = max(r.count, 0)
		case isWord(a, "STREAMS") && left > 0:
			if left%2 != 0 {
				return r, reply.Fail("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."), false
			}
			r.keys, r.ids = c.args[i+1:i+1+left/2], c.args[i+1+left/2:]
			i = len(c.args)
		case isWord(a, "GROUP") && left >= 2:
			if !grouped {
				return r, reply.Fail("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."), false
			}
			r.group, r.consumer, r.grouped = c.args[i+1], c.args[i+2], true
			i += 2
		case isWord(a, "NOACK"):
			if !grouped {
				return r, reply.Fail("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."), false
			}
			r.noAck = true
		default:
			return r, errSyntax, false
		}
	}
	switch {
	case r.keys == nil:
		return r, errSyntax, false
	case grouped && !r.grouped:
		return r, reply.Fail("ERR Missing GROUP option for XREADGROUP"), false
	}
	return r, null, true
}

// place is from where on a stream is read.
type place struct {
	id      data.ID
	history bool // of a consumer: what it was given and has not acknowledged
}

func (r *reading) noGroup(key string) reply.Reply {
	return reply.Fail("NOGROUP No such key '" + oneLine(key) + "' or consumer group '" + oneLine(r.group) + "' in XREADGROUP with GROUP option")
}

// places resolves the ids.
func (c *call) places(r *reading) (at []place, bad reply.Reply, ok bool) {
	for i, key := range r.keys {
		it, s, ok := open[*stream](c, key)
		if !ok {
			return nil, wrongType, false
		}
		if r.grouped && (it == nil || s.group(r.group) == nil) {
			return nil, r.noGroup(key), false
		}
		var p place
		switch id := r.ids[i]; {
		case id == "$" && r.grouped:
			return nil, reply.Fail("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."), false
		case id == "$":
			if it != nil {
				p.id = s.last
			}
		case id == ">" && !r.grouped:
			return nil, reply.Fail("ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."), false
		case id == ">":
		default:
			if p.id, ok = parseID(id, 0); !ok {
				return nil, errStreamID, false
			}
			p.history = r.grouped && p.id != data.MaxID
		}
		at = append(at, p)
	}
	return at, null, true
}

func (c *call) xread(grouped bool) reply.Reply {
	r, bad, ok := c.parseReading(grouped)
	if !ok {
		return bad
	}
	at, bad, ok := c.places(&r)
	if !ok {
		return bad
	}
	var elems []reply.Reply
	for i, key := range r.keys {
		if entries, ok := c.readStream(key, &r, at[i]); ok {
			elems = append(elems, reply.Of(key), entries)
		}
	}
	if len(elems) > 0 {
		return reply.Reply{Kind: reply.Nested, Elems: elems}
	}
	if !r.blocks {
		return nullArray
	}
	r.keys = slices.Clone(r.keys)
	r.ids = nil
	return c.block(&waiter{
		keys: r.keys, deadline: r.deadline, missing: nullArray,
		serve: func(c *call, key string) (reply.Reply, bool) {
			it, s, ok := open[*stream](c, key)
			if r.grouped && (it == nil || !ok) {
				return reply.Fail("UNBLOCKED the stream key no longer exists"), true
			}
			if !ok || it == nil {
				return null, false
			}
			if r.grouped && s.group(r.group) == nil {
				return r.noGroup(key), true
			}
			entries, ok := c.readStream(key, &r, at[slices.Index(r.keys, key)])
			if !ok {
				return null, false
			}
			return reply.Reply{Kind: reply.Nested, Elems: []reply.Reply{reply.Of(key), entries}}, true
		},
	})
}

// readStream reads one stream; ok is false if there is nothing new.
func (c *call) readStream(key string, r *reading, at place) (entries reply.Reply, ok bool) {
	it, s, _ := open[*stream](c, key)
	if it == nil {
		return null, false
	}
	if r.grouped {
		return c.readGroup(key, it, s, r, at)
	}
	from, ok := at.id.Next()
	if !ok || !s.hasAfter(at.id) {
		return null, false
	}
	var elems []reply.Reply
	s.Range(from, data.MaxID, func(e data.Entry) bool {
		elems = append(elems, entryReply(e))
		return r.count == 0 || int64(len(elems)) < r.count
	})
	return reply.Reply{Kind: reply.Array, Elems: elems}, len(elems) > 0
}
