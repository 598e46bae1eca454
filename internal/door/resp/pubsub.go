package resp

import (
	"slices"
	"strings"
	"sync"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// SUBSCRIBE and its relatives. What is published comes from the keyspace, as an effect.

var allowedWhileSubscribed = map[string]bool{
	"subscribe": true, "unsubscribe": true, "psubscribe": true, "punsubscribe": true, "ssubscribe": true, "sunsubscribe": true, "ping": true, "quit": true, "reset": true,
}

// pubsub is who listens to what.
type pubsub struct {
	mu       sync.Mutex
	channels map[string]map[*conn]bool
	patterns map[string]map[*conn]bool
	sharded  map[string]map[*conn]bool
}

func (p *pubsub) init() {
	p.channels, p.patterns, p.sharded = map[string]map[*conn]bool{}, map[string]map[*conn]bool{}, map[string]map[*conn]bool{}
}

// kind is one of the three ways to listen.
type kind struct {
	verb string // the prefix of the confirmation's first word
	all  func(*pubsub) map[string]map[*conn]bool
	mine func(*conn) *map[string]bool
}

var (
	byChannel = kind{"", func(p *pubsub) map[string]map[*conn]bool { return p.channels }, func(c *conn) *map[string]bool { return &c.channels }}
	byPattern = kind{"p", func(p *pubsub) map[string]map[*conn]bool { return p.patterns }, func(c *conn) *map[string]bool { return &c.patterns }}
	byShard   = kind{"s", func(p *pubsub) map[string]map[*conn]bool { return p.sharded }, func(c *conn) *map[string]bool { return &c.sharded }}
)

func subscribe(c *conn, args []string)    { c.listen(byChannel, args[1:]) }
func psubscribe(c *conn, args []string)   { c.listen(byPattern, args[1:]) }
func ssubscribe(c *conn, args []string)   { c.listen(byShard, args[1:]) }
func unsubscribe(c *conn, args []string)  { c.unlisten(byChannel, args[1:]) }
func punsubscribe(c *conn, args []string) { c.unlisten(byPattern, args[1:]) }
func sunsubscribe(c *conn, args []string) { c.unlisten(byShard, args[1:]) }

func (c *conn) listen(k kind, names []string) {
	d := c.door
	for _, name := range names {
		n := c.place() // before messages can come
		d.pub.mu.Lock()
		c.mu.Lock()
		mine := k.mine(c)
		if *mine == nil {
			*mine = map[string]bool{}
		}
		(*mine)[name] = true
		count := c.countOf(k)
		c.mu.Unlock()
		all := k.all(&d.pub)
		if all[name] == nil {
			all[name] = map[*conn]bool{}
		}
		all[name][c] = true
		d.pub.mu.Unlock()
		c.answer(n, confirm(k.verb+"subscribe", reply.Of(name), count))
	}
}

func (c *conn) unlisten(k kind, names []string) {
	d := c.door
	if len(names) == 0 {
		c.mu.Lock()
		for name := range *k.mine(c) {
			names = append(names, name)
		}
		count := c.countOf(k)
		c.mu.Unlock()
		slices.Sort(names)
		if len(names) == 0 {
			c.respond(confirm(k.verb+"unsubscribe", reply.Reply{}, count))
			return
		}
	}
	for _, name := range names {
		d.pub.mu.Lock()
		c.mu.Lock()
		delete(*k.mine(c), name)
		count := c.countOf(k)
		c.mu.Unlock()
		d.pub.remove(k, name, c)
		d.pub.mu.Unlock()
		c.respond(confirm(k.verb+"unsubscribe", reply.Of(name), count))
	}
}

func (p *pubsub) remove(k kind, name string, c *conn) {
	all := k.all(p)
	delete(all[name], c)
	if len(all[name]) == 0 {
		delete(all, name)
	}
}

// countOf is the number in a confirmation: channels and patterns count together, shard channels alone.
func (c *conn) countOf(k kind) int {
	if k.verb == "s" {
		return len(c.sharded)
	}
	return len(c.channels) + len(c.patterns)
}

func confirm(verb string, name reply.Reply, count int) reply.Reply {
	return reply.Reply{Kind: reply.Push, Elems: []reply.Reply{reply.Of(verb), name, reply.Num(int64(count))}}
}

func (d *Door) unsubscribeAll(c *conn) {
	d.pub.mu.Lock()
	defer d.pub.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range []kind{byChannel, byPattern, byShard} {
		for name := range *k.mine(c) {
			d.pub.remove(k, name, c)
		}
		*k.mine(c) = nil
	}
}

// deliver sends a message to everyone who listens.
func (d *Door) deliver(m *keyspace.Message) {
	verb, all := "message", d.pub.channels
	if m.Shard {
		verb, all = "smessage", d.pub.sharded
	}
	d.pub.mu.Lock()
	direct := members(all[m.Channel])
	type match struct {
		pattern string
		conns   []*conn
	}
	var matches []match
	if !m.Shard {
		for pattern, conns := range d.pub.patterns {
			if keyspace.Match(pattern, m.Channel) {
				matches = append(matches, match{pattern, members(conns)})
			}
		}
	}
	d.pub.mu.Unlock()
	slices.SortFunc(matches, func(a, b match) int { return strings.Compare(a.pattern, b.pattern) })
	for _, c := range direct {
		c.push(reply.Reply{Kind: reply.Push, Elems: []reply.Reply{reply.Of(verb), reply.Of(m.Channel), reply.Of(m.Payload)}})
	}
	for _, x := range matches {
		for _, c := range x.conns {
			c.push(reply.Reply{Kind: reply.Push, Elems: []reply.Reply{reply.Of("pmessage"), reply.Of(x.pattern), reply.Of(m.Channel), reply.Of(m.Payload)}})
		}
	}
}

func members(set map[*conn]bool) []*conn {
	list := make([]*conn, 0, len(set))
	for c := range set {
		list = append(list, c)
	}
	sortByID(list)
	return list
}

// Receivers implements [keyspace.Server].
func (d *Door) Receivers(channel string, shard bool) int {
	d.pub.mu.Lock()
	defer d.pub.mu.Unlock()
	if shard {
		return len(d.pub.sharded[channel])
	}
	n := len(d.pub.channels[channel])
	for pattern, conns := range d.pub.patterns {
		if keyspace.Match(pattern, channel) {
			n += len(conns)
		}
	}
	return n
}

func pubsubChannels(c *conn, args []string) reply.Reply { return c.door.listChannels(byChannel, args) }

func pubsubShardChannels(c *conn, args []string) reply.Reply {
	return c.door.listChannels(byShard, args)
}

func pubsubNumSub(c *conn, args []string) reply.Reply {
	return c.door.countChannels(byChannel, args[2:])
}

func pubsubShardNumSub(c *conn, args []string) reply.Reply {
	return c.door.countChannels(byShard, args[2:])
}

func pubsubNumPat(c *conn, _ []string) reply.Reply {
	c.door.pub.mu.Lock()
	defer c.door.pub.mu.Unlock()
	return reply.Num(int64(len(c.door.pub.patterns)))
}

func (d *Door) listChannels(k kind, args []string) reply.Reply {
	if len(args) > 3 {
		return wrongArity("pubsub|channels")
	}
	d.pub.mu.Lock()
	defer d.pub.mu.Unlock()
	var names []string
	for name := range k.all(&d.pub) {
		if len(args) < 3 || keyspace.Match(args[2], name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	elems := make([]reply.Reply, len(names))
	for i, n := range names {
		elems[i] = reply.Of(n)
	}
	return reply.List(elems...)
}

func (d *Door) countChannels(k kind, names []string) reply.Reply {
	d.pub.mu.Lock()
	defer d.pub.mu.Unlock()
	var elems []reply.Reply
	for _, name := range names {
		elems = append(elems, reply.Of(name), reply.Num(int64(len(k.all(&d.pub)[name]))))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}
