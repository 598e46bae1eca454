package keyspace

import (
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Sets: SADD and its relatives.

func (c *call) addMember(it *item, s *set, member string) bool {
	if s.Has(member) {
		return false
	}
	seq, _, grown := s.Set(member, "")
	c.m.putField(it.gen, seq, member, "", true)
	c.m.grow(it, grown)
	return true
}

func (c *call) deleteMember(it *item, s *set, member string) bool {
	seq, ok, freed := s.Delete(member)
	if ok {
		c.m.deletePart(it.gen, seq)
		c.m.grow(it, -freed)
	}
	return ok
}

// setFor opens a set or makes one.
func (c *call) setFor(key string) (it *item, s *set, ok bool) {
	if it, s, ok = open[*set](c, key); ok && it == nil {
		s = new(set)
		it = c.create(key, s)
	}
	return it, s, ok
}

func sadd(c *call) reply.Reply {
	it, s, ok := c.setFor(c.args[1])
	if !ok {
		return wrongType
	}
	n := int64(0)
	for _, member := range c.args[2:] {
		if c.addMember(it, s, member) {
			n++
		}
	}
	if n > 0 {
		c.touch(c.args[1])
	}
	return reply.Num(n)
}

func srem(c *call) reply.Reply {
	it, s, ok := open[*set](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	n := int64(0)
	for _, member := range c.args[2:] {
		if c.deleteMember(it, s, member) {
			n++
		}
	}
	if n > 0 {
		c.shrunk(c.args[1], s.Len())
	}
	return reply.Num(n)
}

func smove(c *call) reply.Reply {
	from, to, member := c.args[1], c.args[2], c.args[3]
	c.find(to) // if it has expired it goes now: the item of the other key would not be valid afterwards
	it, s, ok := open[*set](c, from)
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	if !isType[*set](c, to) {
		return wrongType
	}
	if from == to {
		return flag(s.Has(member))
	}
	if !c.deleteMember(it, s, member) {
		return zero
	}
	c.shrunk(from, s.Len())
	it, s, _ = c.setFor(to)
	if c.addMember(it, s, member) {
		c.touch(to)
	}
	return one
}

func scard(c *call) reply.Reply {
	it, s, ok := open[*set](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	return reply.Num(int64(s.Len()))
}

func sismember(c *call) reply.Reply {
	it, s, ok := open[*set](c, c.args[1])
	if !ok {
		return wrongType
	}
	return flag(it != nil && s.Has(c.args[2]))
}

func smismember(c *call) reply.Reply {
	it, s, ok := open[*set](c, c.args[1])
	if !ok {
		return wrongType
	}
	elems := make([]reply.Reply, 0, len(c.args)-2)
	for _, member := range c.args[2:] {
		elems = append(elems, flag(it != nil && s.Has(member)))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func smembers(c *call) reply.Reply {
	it, s, ok := open[*set](c, c.args[1])
	if !ok {
		return wrongType
	}
	var members []string
	if it != nil {
		members = s.members()
	}
	return asSet(members)
}

func (s *set) members() []string {
	all := make([]string, 0, s.Len())
	s.Each(func(member, _ string, _ uint64) bool {
		all = append(all, member)
		return true
	})
	return all
}

func asSet(members []string) reply.Reply {
	r := flat(members)
	r.Kind = reply.Set
	return r
}

func spop(c *call) reply.Reply {
	if len(c.args) > 3 {
		return errSyntax
	}
	n := int64(1)
	if len(c.args) == 3 {
		var ok bool
		if n, ok = parseInt(c.args[2]); !ok || n < 0 {
			return reply.Fail("ERR value is out of range, must be positive")
		}
	}
	it, s, ok := open[*set](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil && len(c.args) == 2:
		return null
	case it == nil || n == 0:
		return asSet(nil)
	}
	var popped []string
	for range min(n, int64(s.Len())) {
		member, _ := s.Random(c.m.random)
		c.deleteMember(it, s, member)
		popped = append(popped, member)
	}
	c.shrunk(c.args[1], s.Len())
	if len(c.args) == 2 {
		return reply.Of(popped[0])
	}
	return asSet(popped)
}

func srandmember(c *call) reply.Reply {
	if len(c.args) > 3 {
		return errSyntax
	}
	n, bad, ok := c.randomCount(false)
	if !ok {
		return bad
	}
	it, s, ok := open[*set](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil && len(c.args) == 2:
		return null
	case it == nil || n == 0 && len(c.args) == 3:
		return empty
	case len(c.args) == 2:
		member, _ := s.Random(c.m.random)
		return reply.Of(member)
	case n > 0:
		return flat(sample(c.m, s.members(), n))
	}
	drawn := make([]string, 0, -n)
	for range -n {
		member, _ := s.Random(c.m.random)
		drawn = append(drawn, member)
	}
	return flat(drawn)
}

// combine computes the intersection, union or difference of sets.
func (c *call) combine(op byte, keys []string, limit int) (members []string, ok bool) {
	sets := make([]*set, len(keys))
	for i, key := range keys {
		it, s, ok := open[*set](c, key)
		if !ok {
			return nil, false
		}
		if it == nil {
			s = new(set)
		}
		sets[i] = s
	}
	switch op {
	case 'i':
		return intersect(sets, limit), true
	case 'u':
		var union set
		for _, s := range sets {
			s.Each(func(member, _ string, _ uint64) bool {
				union.Set(member, "")
				return true
			})
		}
		return union.members(), true
	}
	sets[0].Each(func(member, _ string, _ uint64) bool {
		for _, s := range sets[1:] {
			if s.Has(member) {
				return true
			}
		}
		members = append(members, member)
		return true
	})
	return members, true
}

// intersect goes through the smallest set, and stops at limit unless that is 0.
func intersect(sets []*set, limit int) (members []string) {
	least := sets[0]
	for _, s := range sets {
		if s.Len() < least.Len() {
			least = s
		}
	}
	least.Each(func(member, _ string, _ uint64) bool {
		for _, s := range sets {
			if s != least && !s.Has(member) {
				return true
			}
		}
		members = append(members, member)
		return limit == 0 || len(members) < limit
	})
	return members
}

func sinter(c *call) reply.Reply { return c.combined('i') }
func sunion(c *call) reply.Reply { return c.combined('u') }
func sdiff(c *call) reply.Reply  { return c.combined('d') }

func (c *call) combined(op byte) reply.Reply {
	members, ok := c.combine(op, c.args[1:], 0)
	if !ok {
		return wrongType
	}
	return asSet(members)
}

func sinterstore(c *call) reply.Reply { return c.combineInto('i') }
func sunionstore(c *call) reply.Reply { return c.combineInto('u') }
func sdiffstore(c *call) reply.Reply  { return c.combineInto('d') }

func (c *call) combineInto(op byte) reply.Reply {
	members, ok := c.combine(op, c.args[2:], 0)
	if !ok {
		return wrongType
	}
	if len(members) == 0 {
		c.remove(c.args[1])
		return zero
	}
	s := new(set)
	it := c.replace(c.args[1], s, false)
	for _, member := range members {
		c.addMember(it, s, member)
	}
	return reply.Num(int64(len(members)))
}

func sintercard(c *call) reply.Reply {
	keys, next, bad, ok := c.manyKeys(1, errNumKeys)
	if !ok {
		if bad.Str == errSyntax.Str {
			bad = reply.Fail("ERR Number of keys can't be greater than number of args")
		}
		return bad
	}
	limit := int64(0)
	for i := next; i < len(c.args); i += 2 {
		if !isWord(c.args[i], "LIMIT") || i+1 == len(c.args) {
			return errSyntax
		}
		if limit, ok = parseInt(c.args[i+1]); !ok || limit < 0 {
			return reply.Fail("ERR LIMIT can't be negative")
		}
	}
	members, ok := c.combine('i', keys, int(min(limit, 1<<31)))
	if !ok {
		return wrongType
	}
	return reply.Num(int64(len(members)))
}

func sscan(c *call) reply.Reply {
	s, sc, done, ok := scanKey[*set](c)
	if !ok {
		return done
	}
	if s.Integers(512) {
		sc.cursor, sc.count = 0, s.Len() // Redis gives a small set of integers all at once, whatever the cursor
	}
	return sc.reply(s.Scan(sc.cursor, sc.count, func(member, _ string) {
		if sc.matches(member) {
			sc.add(member)
		}
	}))
}
