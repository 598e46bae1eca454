package expr

import (
	"cmp"
	"slices"
)

// Index holds conditions and finds those that an event fulfils. Conditions that have a key are found by it: their number
// does not matter. The others are evaluated one by one.
//
// The zero value is empty and ready. An Index is not safe for concurrent use. It is deterministic: what it finds comes
// in the order in which it was added.
type Index[T any] struct {
	byPath  map[string]*pathIndex[T]
	paths   []*pathIndex[T] // the values of byPath in a fixed order
	unkeyed ring[T]         // conditions without a key, and entries without a condition
	waiting int             // how many of unkeyed have a condition
	len     int
	seq     uint64
	found   []*Entry[T] // reused by Find
}

// pathIndex has the entries whose key is at one path.
type pathIndex[T any] struct {
	path  []string
	group string
	byKey map[string]ring[T]
}

// Entry is an item in an [Index], by which it can be removed.
type Entry[T any] struct {
	item       T
	bound      *Bound // nil matches every event
	seq        uint64 // order of adding
	prev, next *Entry[T]
	event      any  // of a condition without a key, decoded because every event needs it
	removed    bool // while Find is under way
}

// Add puts item under the condition b, which must stay unchanged; without one it matches every event.
func (x *Index[T]) Add(b *Bound, item T) *Entry[T] {
	x.seq++
	x.len++
	entry := &Entry[T]{item: item, bound: b, seq: x.seq}
	if b == nil || b.plan == nil || b.plan.term == noKey {
		x.addUnkeyed(entry)
		return entry
	}
	at := x.byPath[b.plan.group]
	if at == nil {
		at = &pathIndex[T]{path: b.plan.path, group: b.plan.group, byKey: make(map[string]ring[T])}
		if x.byPath == nil {
			x.byPath = make(map[string]*pathIndex[T])
		}
		x.byPath[at.group] = at
		x.paths = append(x.paths, at)
	}
	entries := at.byKey[b.key]
	if entries.add(entry) {
		at.byKey[b.key] = entries
	}
	return entry
}

func (x *Index[T]) addUnkeyed(entry *Entry[T]) {
	x.unkeyed.add(entry)
	if entry.bound == nil {
		return
	}
	x.waiting++
	// JSON that does not decode cannot be: Bind wrote it, or ParseBound looked at it. Then the event is null.
	entry.event, _ = entry.bound.decodeEvent()
}

// Remove takes entry out. It may be called while Find is under way, for the entry just found or any other. An entry that
// is not in the index any more is left alone.
func (x *Index[T]) Remove(entry *Entry[T]) {
	if entry.removed {
		return
	}
	entry.removed = true
	x.len--
	b := entry.bound
	if b == nil || b.plan == nil || b.plan.term == noKey {
		x.unkeyed.remove(entry)
		if b != nil {
			x.waiting--
		}
		return
	}
	at := x.byPath[b.plan.group]
	entries := at.byKey[b.key]
	if !entries.remove(entry) {
		return
	}
	if entries.first != nil {
		at.byKey[b.key] = entries
		return
	}
	delete(at.byKey, b.key)
	if len(at.byKey) == 0 {
		delete(x.byPath, at.group)
		x.paths = slices.DeleteFunc(x.paths, func(p *pathIndex[T]) bool { return p == at })
	}
}

// Len returns how many entries there are.
func (x *Index[T]) Len() int { return x.len }

// Find calls yield for every item whose condition the event fulfils, until it returns false. The event is asked for at
// most once, and only if a condition depends on it; now is what now() returns. Entries may be added and removed by
// yield: added ones are not found, removed ones neither.
func (x *Index[T]) Find(async func() any, now int64, yield func(T) bool) {
	found := x.found[:0]
	x.found = nil // a Find inside yield makes its own
	var event any
	if len(x.paths) > 0 || x.waiting > 0 {
		event = async()
	}
	lists := 0
	var buf [64]byte
	for _, at := range x.paths {
		key, ok := appendKey(buf[:0], lookup(event, at.path))
		if !ok {
			continue
		}
		if entries, ok := at.byKey[string(key)]; ok {
			found = entries.appendTo(found)
			lists++
		}
	}
	if x.unkeyed.first != nil {
		found = x.unkeyed.appendTo(found)
		lists++
	}
	if lists > 1 {
		slices.SortFunc(found, func(a, b *Entry[T]) int { return cmp.Compare(a.seq, b.seq) })
	}
	for _, entry := range found {
		if !entry.removed && entry.matches(event, now) && !yield(entry.item) {
			break
		}
	}
	clear(found)
	if cap(found) <= maxReused {
		x.found = found
	}
}

// maxReused bounds the space that a Find with many candidates leaves behind.
const maxReused = 1024

// matches evaluates what the lookup has not already decided. An evaluation that fails is no match.
func (e *Entry[T]) matches(event any, now int64) bool {
	switch {
	case e.bound == nil:
		return true
	case e.bound.plan == nil:
		return false
	case e.bound.plan.term == noKey:
		ok, err := e.bound.matchRest(e.event, event, now)
		return ok && err == nil
	case !e.bound.plan.rest:
		return true
	}
	ok, err := e.bound.Match(event, now)
	return ok && err == nil
}

// ring is a list of entries in the order they were added. It is closed to a circle, so that the first knows the last.
type ring[T any] struct{ first *Entry[T] }

// add reports whether first has changed.
func (r *ring[T]) add(e *Entry[T]) bool {
	if r.first == nil {
		r.first, e.prev, e.next = e, e, e
		return true
	}
	e.prev, e.next = r.first.prev, r.first
	e.prev.next, e.next.prev = e, e
	return false
}

// remove reports whether first has changed.
func (r *ring[T]) remove(e *Entry[T]) bool {
	wasFirst := r.first == e
	e.prev.next, e.next.prev = e.next, e.prev
	if wasFirst {
		r.first = e.next
		if r.first == e {
			r.first = nil
		}
	}
	e.prev, e.next = nil, nil
	return wasFirst
}

func (r *ring[T]) appendTo(entries []*Entry[T]) []*Entry[T] {
	for e := r.first; e != nil; e = e.next {
		entries = append(entries, e)
		if e.next == r.first {
			break
		}
	}
	return entries
}
