package expr

import (
	"container/list"
	"sync"
)

// Cache keeps the programs of the sources that were used most recently, and the errors of those that do not compile. It
// is safe for concurrent use.
type Cache struct {
	programs lru[string, compiled]
}

type compiled struct {
	program *Program
	err     error
}

// NewCache returns a cache for size sources, at least one.
func NewCache(size int) *Cache {
	return &Cache{programs: lru[string, compiled]{size: max(size, 1)}}
}

// Get returns what [Compile] does for src.
func (c *Cache) Get(src string) (*Program, error) {
	if len(src) > maxSource {
		return Compile(src) // an error, not worth its space
	}
	got := c.programs.get(src, func() compiled {
		program, err := Compile(src)
		return compiled{program, err}
	})
	return got.program, got.err
}

// lru is a map of bounded size that forgets what has not been asked for the longest.
type lru[K comparable, V any] struct {
	size int

	mu    sync.Mutex
	byKey map[K]*list.Element
	order list.List // of *lruItem[K, V], most recently used first
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

// get returns the value of key, which is made without the lock: two callers may make it at the same time, and both get
// what the first one put in.
func (c *lru[K, V]) get(key K, create func() V) V {
	if v, ok := c.find(key); ok {
		return v
	}
	v := create()
	c.mu.Lock()
	defer c.mu.Unlock()
	if elem := c.byKey[key]; elem != nil {
		return elem.Value.(*lruItem[K, V]).value
	}
	if c.byKey == nil {
		c.byKey = make(map[K]*list.Element)
	}
	c.byKey[key] = c.order.PushFront(&lruItem[K, V]{key, v})
	if len(c.byKey) > c.size {
		oldest := c.order.Remove(c.order.Back()).(*lruItem[K, V])
		delete(c.byKey, oldest.key)
	}
	return v
}

func (c *lru[K, V]) find(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	elem := c.byKey[key]
	if elem == nil {
		var none V
		return none, false
	}
	c.order.MoveToFront(elem)
	return elem.Value.(*lruItem[K, V]).value, true
}
