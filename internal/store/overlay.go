package store

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
)

// Overlay holds the records that are journalled but not yet in the tables, the newest per key. Reads look here first.
//
// It has two generations. Appends go to the active one; [Overlay.Seal] hands it to a fold and starts another, and
// [Overlay.Folded] forgets it once its records are in the tables. Until then they stay visible, so a fold that fails costs
// nothing but time: the next Seal returns the same generation.
//
// An Overlay is safe for concurrent use.
type Overlay struct {
	mu      sync.RWMutex
	active  *Generation
	folding *Generation // sealed and not folded yet, or nil
	spare   *Generation // folded, empty, kept for its memory
	seals   uint64      // how many generations were ever sealed
	pending []batch     // appended, and not in active yet; whoever reads puts them there first
}

type batch struct {
	seq     uint64
	records []Record
}

// fewRecords is up to how many records of a batch are put in their places at once.
const fewRecords = 64

// NewOverlay returns an empty overlay.
func NewOverlay() *Overlay {
	return &Overlay{active: new(Generation)}
}

// Append adds the records of the journal's batch seq, which stay as they are from then on. Batches must come in order. Many are only noted, so that who
// waits for the batch does not wait for that too: there is time for [Overlay.Absorb] while the next one is written.
func (o *Overlay) Append(seq uint64, records []Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(records) > fewRecords {
		o.pending = append(o.pending, batch{seq, records})
		return
	}
	o.absorb()
	o.active.add(seq, records)
}

// Pending says that there is something to absorb.
func (o *Overlay) Pending() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return len(o.pending) > 0
}

// Absorb puts the records in their places that were only noted.
func (o *Overlay) Absorb() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.absorb()
}

func (o *Overlay) absorb() {
	for i := range o.pending {
		o.active.add(o.pending[i].seq, o.pending[i].records)
	}
	clear(o.pending)
	o.pending = o.pending[:0]
}

// rlock locks for reading, with everything in its place.
func (o *Overlay) rlock() {
	for o.mu.RLock(); len(o.pending) > 0; o.mu.RLock() {
		o.mu.RUnlock()
		o.Absorb()
	}
}

func (g *Generation) add(seq uint64, records []Record) {
	for i := range records {
		g.put(&records[i])
	}
	g.through = seq
}

// Get looks up one key and returns a copy of its value. found says that the overlay knows the key; value is nil when what it knows is that the row is
// deleted.
func (o *Overlay) Get(table Table, key []byte) (value []byte, found bool) {
	if table >= maxTable {
		return nil, false
	}
	o.rlock()
	defer o.mu.RUnlock()
	if s := o.active.find(table, key); s != nil {
		return bytes.Clone(s.record.Value), true
	}
	if o.folding != nil {
		if s := o.folding.find(table, key); s != nil {
			return bytes.Clone(s.record.Value), true
		}
	}
	return nil, false
}

// Partition returns what the overlay knows of one partition in key order, deleted rows included as rows with a nil Value.
// Merge it over the table's rows with [Merge]. seals is the [Overlay.Seals] of the same moment.
func (o *Overlay) Partition(table Table, part []byte) (rows []Row, seals uint64) {
	if table >= maxTable {
		return nil, 0
	}
	o.rlock()
	defer o.mu.RUnlock()
	rows = o.active.partition(nil, table, part)
	if o.folding != nil {
		newer := len(rows)
		rows = o.folding.partition(rows, table, part)
		if newer > 0 && newer < len(rows) {
			sortRows(rows[:newer])
			sortRows(rows[newer:])
			return Merge(rows[:newer], rows[newer:], true), o.seals
		}
	}
	sortRows(rows)
	return rows, o.seals
}

// Holds reports whether any record of the table waits for a fold.
func (o *Overlay) Holds(table Table) bool {
	if table >= maxTable {
		return false
	}
	o.rlock()
	defer o.mu.RUnlock()
	return len(o.active.tables[table].slots) > 0 || o.folding != nil && len(o.folding.tables[table].slots) > 0
}

// Seals counts the generations that were handed to folds. A reader of the overlay and then of the tables has a picture of one
// moment if no seal came between: only sealed records move to the tables.
func (o *Overlay) Seals() uint64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.seals
}

// Unfolded is the number of records that wait for a fold, and the bytes of their keys and values.
func (o *Overlay) Unfolded() (records int, bytes int64) {
	o.rlock()
	defer o.mu.RUnlock()
	records, bytes = o.active.records, o.active.bytes
	if o.folding != nil {
		records += o.folding.records
		bytes += o.folding.bytes
	}
	return records, bytes
}

// Seal returns the generation to fold next, nil when there is nothing to fold or truncate. A generation that was sealed and not
// reported [Overlay.Folded] is returned again before any newer one. Only one fold may be running.
func (o *Overlay) Seal() *Generation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.folding != nil {
		return o.folding
	}
	o.absorb()
	if o.active.through == 0 {
		return nil
	}
	o.folding = o.active
	o.active, o.spare = cmp.Or(o.spare, new(Generation)), nil
	o.seals++
	return o.folding
}

// Folded drops the sealed generation: its records are in the tables now.
func (o *Overlay) Folded() {
	o.mu.Lock()
	folded := o.folding
	o.folding = nil
	o.mu.Unlock()

	folded.reset()

	o.mu.Lock()
	o.spare = folded
	o.mu.Unlock()
}

// Generation is the records between two folds.
type Generation struct {
	tables  [maxTable]slots
	records int
	bytes   int64
	through uint64 // the newest batch it has records of
}

// Through is the sequence number of the newest batch in the generation.
func (g *Generation) Through() uint64 { return g.through }

// Records appends the records of a table to dst in key order, one for each key. They are the fold's to read while the
// generation is sealed.
func (g *Generation) Records(dst []*Record, table Table) []*Record {
	n := len(dst)
	for _, i := range g.tables[table].byKey {
		dst = append(dst, &g.tables[table].slots[i].record)
	}
	slices.SortFunc(dst[n:], func(a, b *Record) int { return bytes.Compare(a.Key, b.Key) })
	return dst
}

// slots are the records of one table. Records are kept in a slice and found by index, so that a put allocates nothing but
// its key once the slice and the map have grown to the traffic between two folds.
type slots struct {
	slots []slot
	byKey map[string]int32
	parts map[string]int32 // first slot of each partition's list, for tables that have partitions
	free  []int32          // slots that hold no record
}

type slot struct {
	record     Record
	fresh      bool  // neither the tables nor an older generation have the key
	prev, next int32 // neighbours in the partition's list; none ends it
}

const none = -1

func (g *Generation) find(table Table, key []byte) *slot {
	t := &g.tables[table]
	if i, ok := t.byKey[string(key)]; ok {
		return &t.slots[i]
	}
	return nil
}

func (g *Generation) put(r *Record) {
	t := &g.tables[r.Table]
	i, ok := t.byKey[string(r.Key)]
	if !ok {
		t.insert(r)
		g.records++
		g.bytes += r.size()
		return
	}
	s := &t.slots[i]
	g.bytes -= s.record.size()
	if r.Value == nil && s.fresh {
		t.remove(i)
		g.records--
		return
	}
	s.record = *r
	g.bytes += r.size()
}

func (t *slots) insert(r *Record) {
	if t.byKey == nil {
		t.byKey = make(map[string]int32)
	}
	var i int32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = int32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	key := string(r.Key)
	t.byKey[key] = i
	s := &t.slots[i]
	*s = slot{record: *r, fresh: r.Fresh && r.Value != nil, prev: none, next: none}

	part := specs[r.Table].Part
	if part == 0 || len(key) < part {
		return
	}
	if t.parts == nil {
		t.parts = make(map[string]int32)
	}
	if first, ok := t.parts[key[:part]]; ok {
		s.next = first
		t.slots[first].prev = i
	}
	t.parts[key[:part]] = i
}

func (t *slots) remove(i int32) {
	s := &t.slots[i]
	delete(t.byKey, string(s.record.Key))
	if s.next != none {
		t.slots[s.next].prev = s.prev
	}
	if s.prev != none {
		t.slots[s.prev].next = s.next
	} else if part := specs[s.record.Table].Part; part > 0 && len(s.record.Key) >= part {
		if s.next != none {
			t.parts[string(s.record.Key[:part])] = s.next
		} else {
			delete(t.parts, string(s.record.Key[:part]))
		}
	}
	*s = slot{}
	t.free = append(t.free, i)
}

func (g *Generation) partition(dst []Row, table Table, part []byte) []Row {
	t := &g.tables[table]
	i, ok := t.parts[string(part)]
	for ok && i != none {
		s := &t.slots[i]
		dst = append(dst, Row{Key: bytes.Clone(s.record.Key), Value: bytes.Clone(s.record.Value)})
		i = s.next
	}
	return dst
}

// keepSlots is how large a table of a generation may be to be kept for the next one; a burst's memory is given back.
const keepSlots = 1 << 16

func (g *Generation) reset() {
	for i := range g.tables {
		t := &g.tables[i]
		if len(t.slots) > keepSlots {
			*t = slots{}
			continue
		}
		clear(t.slots) // lets go of keys and values
		t.slots, t.free = t.slots[:0], t.free[:0]
		clear(t.byKey)
		clear(t.parts)
	}
	g.records, g.bytes, g.through = 0, 0, 0
}

func (r *Record) size() int64 { return int64(len(r.Key) + len(r.Value)) }

// Merge merges two lists of rows in key order; where both have a key the row of newer wins. Rows with a nil Value are
// deleted ones: they are dropped from the result unless keepDeleted.
func Merge(newer, older []Row, keepDeleted bool) []Row {
	merged := make([]Row, 0, len(newer)+len(older))
	for len(newer) > 0 || len(older) > 0 {
		var row Row
		switch order := compareHeads(newer, older); {
		case order < 0:
			row, newer = newer[0], newer[1:]
		case order > 0:
			row, older = older[0], older[1:]
		default:
			row, newer, older = newer[0], newer[1:], older[1:]
		}
		if row.Value != nil || keepDeleted {
			merged = append(merged, row)
		}
	}
	return merged
}

// compareHeads compares the first keys of two lists; an empty list comes last.
func compareHeads(a, b []Row) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return bytes.Compare(a[0].Key, b[0].Key)
}

func sortRows(rows []Row) {
	slices.SortFunc(rows, func(a, b Row) int { return bytes.Compare(a.Key, b.Key) })
}
