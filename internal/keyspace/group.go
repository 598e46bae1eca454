package keyspace

import (
	"slices"
	"sort"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Consumer groups: what they are, and reading in one. The commands about them are in xgroup.go and xpending.go.

// group is a consumer group of a stream.
type group struct {
	name      string
	last      data.ID
	read      int64      // entries that it read; -1: not known
	pending   []*pending // given to consumers and not acknowledged, by id
	consumers []*consumer
}

// consumer is one that read in a group.
type consumer struct {
	name    string
	seen    int64 // ms
	pending int
}

// pending is an entry that was given to a consumer.
type pending struct {
	id       data.ID
	consumer *consumer
	at       int64 // when it was given, ms
	count    uint64
}

func (s *stream) group(name string) *group {
	i, ok := s.findGroup(name)
	if !ok {
		return nil
	}
	return s.groups[i]
}

func (s *stream) findGroup(name string) (int, bool) {
	return slices.BinarySearchFunc(s.groups, name, func(g *group, name string) int { return strings.Compare(g.name, name) })
}

func (g *group) findConsumer(name string) (int, bool) {
	return slices.BinarySearchFunc(g.consumers, name, func(c *consumer, name string) int { return strings.Compare(c.name, name) })
}

func (g *group) findPending(id data.ID) (int, bool) {
	// Entries are given in order, so the place of a new one is mostly at the end.
	if n := len(g.pending); n == 0 || g.pending[n-1].id.Less(id) {
		return n, false
	}
	return slices.BinarySearchFunc(g.pending, id, func(p *pending, id data.ID) int { return p.id.Compare(id) })
}

// others is about the number of rows of a stream that are no entries.
func (s *stream) others() int {
	n := 0
	for _, g := range s.groups {
		n += 1 + len(g.consumers) + len(g.pending)
	}
	return n
}

// Rows of groups.

func (m *Machine) putGroup(gen uint64, g *group) {
	b := appendID(m.alloc(26), g.last)
	m.putRow(append(m.streamKey(gen, 'g'), g.name...), appendUvarint(b, uint64(g.read+1)), false)
}

func (m *Machine) putConsumer(gen uint64, g *group, c *consumer) {
	m.putRow(append(m.streamKey(gen, 'c', g.name), c.name...), appendUvarint(m.alloc(10), uint64(c.seen)), false)
}

func (m *Machine) putPending(gen uint64, g *group, p *pending) {
	b := m.alloc(25 + len(p.consumer.name))
	b = appendString(b, p.consumer.name)
	b = appendUvarint(b, uint64(max(0, p.at)))
	m.putRow(appendID(m.streamKey(gen, 'n', g.name), p.id), appendUvarint(b, p.count), false)
}

func (m *Machine) deletePending(gen uint64, g *group, id data.ID) {
	m.deleteRow(appendID(m.streamKey(gen, 'n', g.name), id))
}

// deleteGroup deletes the rows of a group.
func (m *Machine) deleteGroup(gen uint64, g *group) {
	for _, p := range g.pending {
		m.deletePending(gen, g, p.id)
	}
	for _, c := range g.consumers {
		m.deleteRow(append(m.streamKey(gen, 'c', g.name), c.name...))
	}
	m.deleteRow(append(m.streamKey(gen, 'g'), g.name...))
}

// sweepStream deletes rows of a stream that is gone, about limit of them.
func (m *Machine) sweepStream(gen uint64, s *stream, limit int) (more bool) {
	if s.Numbers(limit, func(id data.ID) { m.deleteEntry(gen, id) }) {
		return true
	}
	for len(s.groups) > 0 && limit > 0 {
		g := s.groups[0]
		if n := min(limit, len(g.pending)); n > 0 {
			for _, p := range g.pending[:n] {
				m.deletePending(gen, g, p.id)
			}
			g.pending = g.pending[n:]
			limit -= n
			continue
		}
		m.deleteGroup(gen, g)
		s.groups = s.groups[1:]
		limit--
	}
	return len(s.groups) > 0
}

// recover reads a row of a stream.
func (s *stream) recover(m *Machine, it *item, id, value []byte) error {
	key, in := reader{b: id}, reader{b: value}
	switch key.byte() {
	case 'e':
		at := key.id()
		n := in.uvarint()
		if n > uint64(len(in.b)) {
			return errRow
		}
		fields := make([]string, n)
		size := 0
		for i := range fields {
			fields[i] = in.string()
			size += len(fields[i])
		}
		if key.bad || in.bad {
			return errRow
		}
		s.Add(at, fields)
		m.grow(it, size)
	case 'g':
		// Rows come in order of their bytes, and those of consumers before those of groups: either may be the first to name one.
		g := s.makeGroup(string(key.b))
		g.last = in.id()
		g.read = int64(in.uvarint()) - 1
	case 'c':
		g := s.makeGroup(key.string())
		g.makeConsumer(string(key.b)).seen = int64(in.uvarint())
	case 'n':
		g := s.makeGroup(key.string())
		p := &pending{id: key.id(), consumer: g.makeConsumer(in.string()), at: int64(in.uvarint()), count: in.uvarint()}
		g.addPending(p)
	default:
		return errRow
	}
	if key.bad || in.bad {
		return errRow
	}
	return nil
}

func (s *stream) makeGroup(name string) *group {
	i, ok := s.findGroup(name)
	if !ok {
		s.groups = slices.Insert(s.groups, i, &group{name: name})
	}
	return s.groups[i]
}

func (g *group) makeConsumer(name string) *consumer {
	i, ok := g.findConsumer(name)
	if !ok {
		g.consumers = slices.Insert(g.consumers, i, &consumer{name: name})
	}
	return g.consumers[i]
}

func (g *group) addPending(p *pending) {
	i, ok := g.findPending(p.id)
	if ok {
		g.pending[i].consumer.pending--
		g.pending[i] = p
	} else {
		g.pending = slices.Insert(g.pending, i, p)
	}
	p.consumer.pending++
}

// consumer returns a consumer of a group, made if need be, and notes that it was seen.
func (c *call) consumer(key string, it *item, g *group, name string) *consumer {
	_, old := g.findConsumer(name)
	x := g.makeConsumer(name)
	x.seen = c.m.now
	if !old {
		c.m.putConsumer(it.gen, g, x)
		c.touch(key)
	}
	return x
}

// readGroup is XREADGROUP of one stream.
func (c *call) readGroup(key string, it *item, s *stream, r *reading, at place) (entries reply.Reply, ok bool) {
	g := s.group(r.group)
	var elems []reply.Reply
	if at.history {
		x := c.consumer(key, it, g, r.consumer)
		i := sort.Search(len(g.pending), func(i int) bool { return at.id.Less(g.pending[i].id) })
		for _, p := range g.pending[i:] {
			if p.consumer != x {
				continue
			}
			if r.count != 0 && int64(len(elems)) >= r.count {
				break
			}
			if e, ok := s.Get(p.id); ok {
				elems = append(elems, entryReply(e))
				p.at = c.m.now
				p.count++
				c.m.putPending(it.gen, g, p)
			} else {
				elems = append(elems, reply.List(reply.Of(p.id.String()), nullArray))
			}
		}
		return reply.Reply{Kind: reply.Array, Elems: elems}, true
	}
	from, ok := g.last.Next()
	if !ok || !s.hasAfter(g.last) {
		return null, false
	}
	x := c.consumer(key, it, g, r.consumer)
	s.Range(from, data.MaxID, func(e data.Entry) bool {
		elems = append(elems, entryReply(e))
		s.delivered(g, e.ID)
		if !r.noAck {
			p := &pending{id: e.ID, consumer: x, at: c.m.now, count: 1}
			g.addPending(p)
			c.m.putPending(it.gen, g, p)
		}
		return r.count == 0 || int64(len(elems)) < r.count
	})
	if len(elems) > 0 {
		c.m.putGroup(it.gen, g)
		c.touch(key)
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}, len(elems) > 0
}

// delivered notes that a group has come to an entry.
func (s *stream) delivered(g *group, id data.ID) {
	if !g.last.Less(id) {
		return
	}
	if g.read >= 0 && !s.deletedSince(id) {
		g.read++
	} else if s.added > 0 {
		g.read = s.position(id)
	}
	g.last = id
}

// deletedSince reports whether XDEL may have removed entries from an id on.
func (s *stream) deletedSince(id data.ID) bool {
	first, ok := s.First()
	return ok && s.maxDeleted != (data.ID{}) && !s.maxDeleted.Less(first) && !s.maxDeleted.Less(id)
}

// position is the number of entries that were ever added up to an id, -1 if that is not known.
func (s *stream) position(id data.ID) int64 {
	if s.added == 0 {
		return 0
	}
	if s.Len() == 0 && !s.last.Less(id) {
		return int64(s.added)
	}
	switch n := id.Compare(s.last); {
	case n == 0:
		return int64(s.added)
	case n > 0:
		return -1
	}
	first, _ := s.First()
	if s.maxDeleted == (data.ID{}) || s.maxDeleted.Less(first) {
		switch n := id.Compare(first); {
		case n < 0:
			return int64(s.added) - int64(s.Len())
		case n == 0:
			return int64(s.added) - int64(s.Len()) + 1
		}
	}
	return -1
}

// lag is how many entries a group has not read, if that is known.
func (s *stream) lag(g *group) (n int64, known bool) {
	switch {
	case s.added == 0:
		return 0, true
	case g.read >= 0 && !s.deletedSince(g.last):
		return int64(s.added) - g.read, true
	}
	n = s.position(g.last)
	return int64(s.added) - n, n >= 0
}

// duplicateStream makes a key with a copy of a stream.
func (c *call) duplicateStream(key string, from *stream) {
	s := newStream()
	it := c.create(key, s)
	from.Range(data.ID{}, data.MaxID, func(e data.Entry) bool {
		c.addEntry(key, it, s, e.ID, e.Fields)
		return true
	})
	s.last, s.maxDeleted, s.added = from.last, from.maxDeleted, from.added
	for _, g := range from.groups {
		h := s.makeGroup(g.name)
		h.last, h.read = g.last, g.read
		c.m.putGroup(it.gen, h)
		for _, x := range g.consumers {
			y := h.makeConsumer(x.name)
			y.seen = x.seen
			c.m.putConsumer(it.gen, h, y)
		}
		for _, p := range g.pending {
			q := &pending{id: p.id, consumer: h.makeConsumer(p.consumer.name), at: p.at, count: p.count}
			h.addPending(q)
			c.m.putPending(it.gen, h, q)
		}
	}
}
