package trigger

import (
	"sync"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// watchers are the requests that wait for a run to change, by its id, or for more of a stream.
type watchers struct {
	mu sync.Mutex
	of map[string]map[chan struct{}]bool
}

// watch begins to watch; the channel gets something when there was a change.
func (ws *watchers) watch(name string) (changed <-chan struct{}, forget func()) {
	c := make(chan struct{}, 1)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of == nil {
		ws.of = map[string]map[chan struct{}]bool{}
	}
	if ws.of[name] == nil {
		ws.of[name] = map[chan struct{}]bool{}
	}
	ws.of[name][c] = true
	return c, func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if delete(ws.of[name], c); len(ws.of[name]) == 0 {
			delete(ws.of, name)
		}
	}
}

// Changed tells subscribers of records that became durable. It does not block.
func (d *Door) Changed(records []store.Record) {
	for _, env := range d.all() {
		env.lists.note(env, records)
	}
	ws := &d.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.of) == 0 {
		return
	}
	for i := range records {
		switch r := &records[i]; r.Table {
		case store.Runs, store.Live:
			if len(r.Key) >= 16 {
				ws.tell(friendly(runPrefix, engine.ID(r.Key[:16])))
			}
		case store.Streams:
			if len(r.Key) >= streamKeyLen {
				ws.tell(streamWatch(r.Key))
			}
		}
	}
}

// tell wakes those who watch a name. The lock is held.
func (ws *watchers) tell(name string) {
	for c := range ws.of[name] { // each hears of it
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// wake tells those who watch a name to look again.
func (ws *watchers) wake(name string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.tell(name)
}
