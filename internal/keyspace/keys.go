package keyspace

import (
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Keys of any type: DEL, EXISTS, RENAME and their relatives. Times to live are in ttl.go.

func del(c *call) reply.Reply {
	n := int64(0)
	for _, key := range c.args[1:] {
		if c.find(key) != nil && c.remove(key) {
			n++
		}
	}
	return reply.Num(n)
}

// exists is also TOUCH: there is no access time to touch.
func exists(c *call) reply.Reply {
	n := int64(0)
	for _, key := range c.args[1:] {
		if c.find(key) != nil {
			n++
		}
	}
	return reply.Num(n)
}

func typeCommand(c *call) reply.Reply {
	kind := "none"
	if it := c.find(c.args[1]); it != nil {
		kind = kindOf(it.val)
	}
	return reply.Reply{Kind: reply.Status, Str: kind}
}

func rename(c *call) reply.Reply {
	if c.find(c.args[1]) == nil {
		return errNoKey
	}
	c.rename(c.args[1], c.args[2])
	return reply.OK
}

func renamenx(c *call) reply.Reply {
	if c.find(c.args[1]) == nil {
		return errNoKey
	}
	if c.find(c.args[2]) != nil {
		return zero
	}
	c.rename(c.args[1], c.args[2])
	return one
}

func (c *call) rename(from, to string) {
	if from != to {
		c.m.transfer(c.db, from, c.db, to)
	}
}

// transfer gives a key another name or database, with all its rows. What the new name held is gone.
func (m *Machine) transfer(db int, from string, toDB int, to string) {
	m.find(toDB, to)
	m.remove(toDB, to)
	t := &m.dbs[db].keys
	i := t.Find(from)
	it := *t.At(i)
	m.unlink(db, i)
	m.touch(db, from)
	if _, ok := it.val.(*stream); ok {
		m.ready(db, from)
	}
	grown := len(to) - len(from)
	it.queued, it.dirty = 0, false
	d := &m.dbs[toDB]
	at := d.keys.At(d.keys.Insert(to, it))
	m.grow(at, grown)
	if at.expires != 0 {
		d.volatile++
		m.enqueue(toDB, to, at)
	}
	m.header(toDB, to, at)
	m.touch(toDB, to)
	m.ready(toDB, to)
}

func moveCommand(c *call) reply.Reply {
	key := c.args[1]
	n, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	if n < 0 || n >= Databases {
		return reply.Fail("ERR DB index is out of range")
	}
	if int(n) == c.db {
		return reply.Fail("ERR source and destination objects are the same")
	}
	if c.find(key) == nil || c.m.find(int(n), key) != nil {
		return zero
	}
	c.m.transfer(c.db, key, int(n), key)
	return one
}

func copyCommand(c *call) reply.Reply {
	db, replace := c.db, false
	for i := 3; i < len(c.args); i++ {
		switch {
		case isWord(c.args[i], "REPLACE"):
			replace = true
		case isWord(c.args[i], "DB") && i+1 < len(c.args):
			n, ok := parseInt(c.args[i+1])
			if !ok {
				return errInteger
			}
			if n < 0 || n >= Databases {
				return reply.Fail("ERR DB index is out of range")
			}
			db = int(n)
			i++
		default:
			return errSyntax
		}
	}
	from, to := c.args[1], c.args[2]
	if db == c.db && from == to {
		return reply.Fail("ERR source and destination objects are the same")
	}
	it := c.find(from)
	if it == nil {
		return zero
	}
	val, expires := it.val, it.expires
	if c.m.find(db, to) != nil {
		if !replace {
			return zero
		}
		c.m.remove(db, to)
	}
	target := call{m: c.m, db: db}
	target.duplicate(to, val)
	if expires != 0 {
		c.m.setExpiry(db, to, c.m.find(db, to), expires)
	}
	c.m.touch(db, to)
	c.m.ready(db, to)
	return one
}

// duplicate makes a key with a copy of a value.
func (c *call) duplicate(key string, val any) {
	switch v := val.(type) {
	case str:
		c.setString(key, string(v), false)
	case *hash:
		h := new(hash)
		it := c.create(key, h)
		v.Each(func(field, value string, _ uint64) bool {
			c.setField(it, h, strings.Clone(field), strings.Clone(value))
			return true
		})
	case *set:
		s := new(set)
		it := c.create(key, s)
		v.Each(func(member, _ string, _ uint64) bool {
			c.addMember(it, s, strings.Clone(member))
			return true
		})
	case *list:
		l := new(list)
		it := c.create(key, l)
		v.Each(func(val []byte, _ int64) bool {
			c.push(it, l, string(val), false)
			return true
		})
	case *zset:
		z := new(zset)
		it := c.create(key, z)
		for _, e := range v.all() {
			c.setScore(it, z, e.member, e.score)
		}
	case *stream:
		c.duplicateStream(key, v)
	}
}

func randomkey(c *call) reply.Reply {
	t := &c.m.dbs[c.db].keys
	for range 100 {
		if t.Len() == 0 {
			return null
		}
		key := t.Key(t.Random(c.m.random))
		if c.find(key) != nil {
			return reply.Of(key)
		}
	}
	return null
}

func keysCommand(c *call) reply.Reply {
	t := &c.m.dbs[c.db].keys
	var found []reply.Reply
	t.Each(func(i uint32) bool {
		if it := t.At(i); (it.expires == 0 || c.m.now <= it.expires) && match(c.args[1], t.Key(i)) {
			found = append(found, reply.Of(t.Key(i)))
		}
		return true
	})
	return reply.Reply{Kind: reply.Array, Elems: found}
}

func dbsize(c *call) reply.Reply { return reply.Num(int64(c.m.dbs[c.db].keys.Len())) }

// flushOption checks [ASYNC|SYNC], which makes no difference: the rows are always swept later.
func (c *call) flushOption() bool {
	return len(c.args) == 1 || len(c.args) == 2 && (isWord(c.args[1], "ASYNC") || isWord(c.args[1], "SYNC"))
}

func flushdb(c *call) reply.Reply {
	if !c.flushOption() {
		return errSyntax
	}
	c.m.flush(c.db)
	return reply.OK
}

func flushall(c *call) reply.Reply {
	if !c.flushOption() {
		return errSyntax
	}
	for db := range c.m.dbs {
		c.m.flush(db)
	}
	return reply.OK
}

func swapdb(c *call) reply.Reply {
	a, ok := parseInt(c.args[1])
	if !ok {
		return reply.Fail("ERR invalid first DB index")
	}
	b, ok := parseInt(c.args[2])
	if !ok {
		return reply.Fail("ERR invalid second DB index")
	}
	if a < 0 || a >= Databases || b < 0 || b >= Databases {
		return reply.Fail("ERR DB index is out of range")
	}
	if a != b {
		c.m.swap(int(a), int(b))
	}
	return reply.OK
}

// swap exchanges two databases. Who watches or waits for a key of one of them looks at the other's now.
func (m *Machine) swap(a, b int) {
	m.writeHeaders() // under the databases that they were changed in
	m.flushed(a)
	m.flushed(b)
	m.dbs[a], m.dbs[b] = m.dbs[b], m.dbs[a]
	m.flushed(a)
	m.flushed(b)
	m.writeSpace(a)
	m.writeSpace(b)
	for i := range m.expiries.heap {
		switch x := &m.expiries.heap[i]; x.db {
		case a:
			x.db = b
		case b:
			x.db = a
		}
	}
}

func object(c *call) reply.Reply {
	sub := strings.ToLower(c.args[1])
	it := c.find(c.args[2])
	if it == nil {
		return null
	}
	switch sub {
	case "encoding":
		return reply.Of(encoding(it.val))
	case "refcount":
		return one
	case "idletime":
		return zero
	}
	return reply.Fail("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
}

// encoding is what Redis would keep a value as. Its own structures differ, but tools show it.
func encoding(val any) string {
	switch v := val.(type) {
	case str:
		if _, ok := parseInt(string(v)); ok && len(v) <= 20 {
			return "int"
		}
		if len(v) <= 44 {
			return "embstr"
		}
		return "raw"
	case *hash:
		if v.Short(128, 64) {
			return "listpack"
		}
		return "hashtable"
	case *set:
		if v.Integers(512) {
			return "intset"
		}
		return "hashtable"
	case *zset:
		if v.Short(128, 64) {
			return "listpack"
		}
		return "skiplist"
	case *list:
		return "quicklist"
	}
	return "stream"
}

func memoryUsage(c *call) reply.Reply {
	if len(c.args) != 3 && len(c.args) != 5 {
		return errSyntax
	}
	if len(c.args) == 5 {
		if !isWord(c.args[3], "SAMPLES") {
			return errSyntax
		}
		if n, ok := parseInt(c.args[4]); !ok || n < 0 {
			return errSyntax
		}
	}
	it := c.find(c.args[2])
	if it == nil {
		return null
	}
	return reply.Num(it.size + int64(elements(it.val))*8)
}
