package keyspace

import (
	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// database is the keys of one number that SELECT takes.
type database struct {
	// space is what headers call it: FLUSHDB gives the database a new one, so that it costs one record and not one a key, and SWAPDB exchanges
	// two.
	space    uint32
	keys     data.Table[item]
	volatile int // keys with a time to live
}

// item is what is known of a key.
type item struct {
	val     any    // str, *hash, *list, *set, *zset or *stream
	gen     uint64 // names the key's rows; never used twice
	expires int64  // ms; 0: never
	queued  int64  // when the expiries look at it; 0: not at all
	size    int64  // bytes of key and value
	dirty   bool   // its header must be written
	stored  bool   // a header was written before
}

// The types of values.
type (
	str  string
	set  struct{ data.Dict }
	list struct{ data.List }
	zset struct{ data.Sorted }
)

// hash keeps the fields that it was made with in its header, so that a job that waits is one row and not ten: they are most of what
// recovery has to read. A bit of inHeader stands for each field with a number below 64 that is there, one of over for each such field that has
// got a row of its own since, which counts then: with another value, or empty for a field that is gone.
type hash struct {
	data.Dict
	inHeader, over uint64
}

// headerValue is the size up to which fields are in headers, because a header is written again when the time to live changes.
const headerValue = 4 << 10

// keyCost is what a key costs besides its bytes.
const keyCost = 96

var wrongType = reply.Fail("WRONGTYPE Operation against a key holding the wrong kind of value")

func kindOf(v any) string {
	switch v.(type) {
	case str:
		return "string"
	case *hash:
		return "hash"
	case *list:
		return "list"
	case *set:
		return "set"
	case *zset:
		return "zset"
	case *stream:
		return "stream"
	}
	return "none"
}

// find looks a key up and removes it if its time has passed: a key is alive up to and including its last millisecond. The item is valid
// until a key is made or removed.
func (m *Machine) find(db int, key string) *item {
	t := &m.dbs[db].keys
	i := t.Find(key)
	if i == data.None {
		return nil
	}
	it := t.At(i)
	if it.expires != 0 && m.now > it.expires {
		m.remove(db, key)
		return nil
	}
	return it
}

func (c *call) find(key string) *item { return c.m.find(c.db, key) }

// open looks up a key that must hold a T: the zero T if there is no such key, and ok false if it holds something else.
func open[T any](c *call, key string) (it *item, v T, ok bool) {
	it = c.find(key)
	if it == nil {
		return nil, v, true
	}
	v, ok = it.val.(T)
	return it, v, ok
}

// create makes a key, which must not exist.
func (m *Machine) create(db int, key string, val any) *item {
	m.gen++
	d := &m.dbs[db]
	size := int64(len(key) + keyCost)
	i := d.keys.Insert(key, item{val: val, gen: m.gen, size: size})
	m.used += size
	it := d.keys.At(i)
	m.header(db, key, it)
	return it
}

func (c *call) create(key string, val any) *item { return c.m.create(c.db, key, val) }

// grow notes that a key needs more or fewer bytes.
func (m *Machine) grow(it *item, bytes int) {
	it.size += int64(bytes)
	m.used += int64(bytes)
}

// touch notes that a key was changed.
func (m *Machine) touch(db int, key string) {
	if len(m.watches.keys) > 0 {
		m.watches.touch(keyName{db, key})
	}
}

func (c *call) touch(key string) { c.m.touch(c.db, key) }

// remove deletes a key and what it holds. A large value is forgotten later, in slices.
func (m *Machine) remove(db int, key string) bool {
	d := &m.dbs[db]
	i := d.keys.Find(key)
	if i == data.None {
		return false
	}
	it := *d.keys.At(i)
	m.unlink(db, i)
	m.used -= it.size
	if it.stored {
		m.deleteRow(headerKey(m.alloc(headerKeyLen), it.gen))
	}
	m.discard(it.gen, it.val)
	m.touch(db, key)
	if _, ok := it.val.(*stream); ok {
		m.ready(db, key) // those who wait in a group of it must hear
	}
	return true
}

func (c *call) remove(key string) bool { return c.m.remove(c.db, key) }

// unlink takes a key out of its database.
func (m *Machine) unlink(db int, i uint32) {
	d := &m.dbs[db]
	if d.keys.At(i).expires != 0 {
		d.volatile--
	}
	d.keys.Delete(i)
	if d.keys.Sparse() {
		d.keys.Shrink(nil)
	}
}

// setExpiry gives a key a time to live, or none with 0.
func (m *Machine) setExpiry(db int, key string, it *item, at int64) {
	if it.expires == at {
		return
	}
	d := &m.dbs[db]
	switch {
	case at == 0:
		d.volatile--
	case it.expires == 0:
		d.volatile++
	}
	it.expires = at
	m.header(db, key, it)
	m.enqueue(db, key, it)
}

// replace overwrites whatever a key holds. The time to live is gone unless keepTTL.
func (c *call) replace(key string, val any, keepTTL bool) *item {
	expires := int64(0)
	if old := c.find(key); old != nil {
		if keepTTL {
			expires = old.expires
		}
		c.remove(key)
	}
	it := c.create(key, val)
	if expires != 0 {
		c.m.setExpiry(c.db, key, it, expires)
	}
	c.touch(key)
	return it
}

// setString makes a key hold a string. One that holds a string already keeps its rows.
func (c *call) setString(key, val string, keepTTL bool) *item {
	it := c.find(key)
	if it == nil {
		it = c.create(key, str(val))
		c.m.grow(it, len(val))
		c.touch(key)
		return it
	}
	old, ok := it.val.(str)
	if !ok {
		it = c.replace(key, str(val), keepTTL)
		c.m.grow(it, len(val))
		return it
	}
	it.val = str(val)
	c.m.grow(it, len(val)-len(old))
	if !keepTTL {
		c.m.setExpiry(c.db, key, it, 0)
	}
	c.m.header(c.db, key, it)
	c.touch(key)
	return it
}
