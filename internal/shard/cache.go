package shard

import (
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// cache keeps rows that never change once they are written, which events are: a run that goes on for a while needs its
// event with every call. It holds two generations, and forgets the older one when the newer is full.
type cache struct {
	mu    sync.Mutex
	limit int
	size  int
	young map[string][]byte
	old   map[string][]byte
}

func newCache(limit int) *cache {
	return &cache{limit: limit, young: map[string][]byte{}, old: map[string][]byte{}}
}

// cached says whether rows of a table may be kept.
func cached(t store.Table) bool { return t == store.Events }

func (c *cache) get(key []byte) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[string(key)]; ok {
		return v, true
	}
	v, ok := c.old[string(key)]
	if ok {
		c.put(key, v)
	}
	return v, ok
}

// put keeps a row; the caller holds the lock.
func (c *cache) put(key, value []byte) {
	if c.size > c.limit/2 {
		c.old, c.young, c.size = c.young, make(map[string][]byte, len(c.young)), 0
	}
	c.young[string(key)] = value
	c.size += len(key) + len(value) + 96 // what a map entry costs besides
}

// note takes over the rows of a batch that became durable.
func (c *cache) note(records []store.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range records {
		r := &records[i]
		switch {
		case !cached(r.Table):
		case r.Value == nil:
			delete(c.young, string(r.Key))
			delete(c.old, string(r.Key))
		default:
			c.put(r.Key, r.Value)
		}
	}
}

func (c *cache) add(key, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, value)
}
