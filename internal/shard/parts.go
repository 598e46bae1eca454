package shard

import (
	"bytes"
	"slices"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// parts keeps whole partitions of Steps, those of runs that began and have not ended since this owner serves: a run that goes on
// needs its steps with every call, and mostly they have not reached a table yet. When they take too much memory all are forgotten, and
// reads go to the store.
type parts struct {
	mu    sync.Mutex
	limit int
	size  int
	of    map[string]map[string][]byte // partition -> key -> value
}

func newParts(limit int) *parts { return &parts{limit: limit, of: map[string]map[string][]byte{}} }

func (p *parts) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = 0
	clear(p.of)
}

// partLen is the length of the partitions of Steps: a run's id.
const partLen = 16

// note takes over what a batch that became durable says.
func (p *parts) note(records []store.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range records {
		switch r := &records[i]; r.Table {
		case store.Live:
			if r.Value == nil {
				p.drop(string(r.Key)) // the run has ended
			}
		case store.Steps:
			name := string(r.Key[:partLen])
			if r.First {
				p.drop(name)
				p.of[name] = map[string][]byte{}
			}
			if part, ok := p.of[name]; ok {
				p.set(part, r)
			}
		}
	}
	if p.size > p.limit {
		p.size = 0
		clear(p.of)
	}
}

func (p *parts) set(part map[string][]byte, r *store.Record) {
	if old, ok := part[string(r.Key)]; ok {
		p.size -= rowSize(string(r.Key), old)
		delete(part, string(r.Key))
	}
	if r.Value != nil {
		part[string(r.Key)] = r.Value
		p.size += rowSize(string(r.Key), r.Value)
	}
}

func (p *parts) drop(name string) {
	for k, v := range p.of[name] { // summed up, so the order does not show
		p.size -= rowSize(k, v)
	}
	delete(p.of, name)
}

// rowSize is what a row costs in memory, map entries included.
func rowSize(key string, value []byte) int { return len(key) + len(value) + 128 }

// list returns the rows of a partition in key order, if the whole of it is known.
func (p *parts) list(name []byte) ([]store.Row, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	part, ok := p.of[string(name)]
	if !ok {
		return nil, false
	}
	rows := make([]store.Row, 0, len(part))
	for k, v := range part { // sorted below
		rows = append(rows, store.Row{Key: []byte(k), Value: v})
	}
	slices.SortFunc(rows, func(a, b store.Row) int { return bytes.Compare(a.Key, b.Key) })
	return rows, true
}
