// Package namedlock serialises what is read, changed and written back, by name.
package namedlock

import "sync"

// Set is a set of locks. Whoever holds one may take another: only equal names wait for each other. The zero value is ready to use.
type Set struct {
	mu sync.Mutex
	of map[string]*lock
}

type lock struct {
	sync.Mutex
	users int // who hold it or wait for it
}

// Lock waits for a name's turn, which lasts until unlock is called. A name that nobody uses takes no memory.
func (s *Set) Lock(name string) (unlock func()) {
	s.mu.Lock()
	if s.of == nil {
		s.of = map[string]*lock{}
	}
	n := s.of[name]
	if n == nil {
		n = &lock{}
		s.of[name] = n
	}
	n.users++
	s.mu.Unlock()
	n.Lock()
	return func() {
		n.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if n.users--; n.users == 0 {
			delete(s.of, name)
		}
	}
}
