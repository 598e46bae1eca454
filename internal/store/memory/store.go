// Package memory is a store that forgets everything when the process ends, for trying Quartet out and for tests, and the
// lossy disk of the simulator.
//
// It keeps to the contract the way a real disk makes the others keep to it: a journal, an overlay, folds into tables, owners with
// epochs. A [Disk] outlives the stores that are opened on it, can fail at every step of an append or a fold, and can
// crash.
package memory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// Store is a disk that is open.
type Store struct {
	disk *Disk
}

// New returns a store on a disk of its own.
func New() *Store {
	s, err := Open(NewDisk())
	if err != nil {
		panic("BUG: a new disk cannot be in use")
	}
	return s
}

// Open opens a disk. Like a data directory, it can be open once at a time.
func Open(disk *Disk) (*Store, error) {
	disk.mu.Lock()
	defer disk.mu.Unlock()
	if disk.owner != nil {
		return nil, store.ErrLocked
	}
	s := &Store{disk: disk}
	disk.owner = s
	return s, nil
}

// Acquire implements [store.Store].
func (s *Store) Acquire(ctx context.Context, shard int) (store.Shard, error) {
	h := &Shard{store: s, id: shard, overlay: store.NewOverlay()}
	err := s.disk.as(s, shard, func(data *shardData) error {
		data.epoch++
		h.epoch = data.epoch
		h.seq = data.folded
		// Raising the epoch synced the journal with it. Fresh spoke about the fold that never ended.
		for i := range data.journal {
			b := &data.journal[i]
			b.synced = true
			if b.seq <= data.folded {
				continue
			}
			for j := range b.records {
				b.records[j].Fresh = false
			}
			h.overlay.Append(b.seq, b.records)
			h.seq = b.seq
		}
		return nil
	})
	if err == nil {
		err = h.Fold(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("acquire shard %d: %w", shard, err)
	}
	return h, nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.disk.owner == s {
		s.disk.owner = nil
	}
	return nil
}

// Shard is an owner's handle. It implements [store.Shard].
type Shard struct {
	store   *Store
	id      int
	epoch   uint64
	overlay *store.Overlay

	// Owned by the one caller of Append.
	seq     uint64
	unknown error // the append whose outcome nobody knows

	folding sync.Mutex // one fold at a time; taken before the disk's
}

// Epoch implements [store.Shard].
func (h *Shard) Epoch() uint64 { return h.epoch }

// Append implements [store.Shard].
func (h *Shard) Append(ctx context.Context, records []store.Record) error {
	if len(records) == 0 {
		return nil
	}
	if err := h.append(ctx, records); err != nil {
		return fmt.Errorf("append %d records to shard %d: %w", len(records), h.id, err)
	}
	return nil
}

func (h *Shard) append(ctx context.Context, records []store.Record) error {
	if h.unknown != nil {
		return fmt.Errorf("acquire the shard again after: %w", h.unknown)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i := range records {
		if err := records[i].Validate(); err != nil {
			return err
		}
	}
	err := h.journal(h.seq+1, records)
	switch {
	case err == nil:
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrFenced), errors.Is(err, store.ErrClosed):
		return err // known: nothing was kept
	default:
		h.unknown = err
		return err
	}
	h.seq++
	h.overlay.Append(h.seq, records)
	return nil
}

func (h *Shard) journal(seq uint64, records []store.Record) error {
	disk := h.store.disk
	if err := disk.at(h.id, AppendWrite); err != nil {
		return err
	}
	err := disk.as(h.store, h.id, func(data *shardData) error {
		if data.epoch != h.epoch {
			return store.ErrFenced
		}
		data.journal = append(data.journal, batch{seq: seq, records: append([]store.Record(nil), records...)})
		return nil
	})
	if err != nil {
		return err
	}
	if err := disk.at(h.id, AppendSync); err != nil {
		return unknownOutcome{err}
	}
	err = disk.as(h.store, h.id, func(data *shardData) error {
		for i := range data.journal {
			data.journal[i].synced = true
		}
		return nil
	})
	if err == nil {
		err = disk.at(h.id, AppendReturn)
	}
	if err != nil {
		return unknownOutcome{err}
	}
	return nil
}

// unknownOutcome hides what a hook returned after the batch was written from errors.Is: with the batch in the journal it
// cannot be an error that promises the opposite.
type unknownOutcome struct{ cause error }

func (e unknownOutcome) Error() string { return "outcome unknown: " + e.cause.Error() }

// Fold implements [store.Shard].
func (h *Shard) Fold(ctx context.Context) error {
	h.folding.Lock()
	defer h.folding.Unlock()
	if err := h.fold(ctx); err != nil {
		return fmt.Errorf("fold shard %d: %w", h.id, err)
	}
	return nil
}

func (h *Shard) fold(ctx context.Context) error {
	// The first round may be left from a fold that failed; the second has what came since.
	for range 2 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g := h.overlay.Seal()
		if g == nil {
			break
		}
		if err := h.write(g); err != nil {
			return err
		}
		h.overlay.Folded()
	}
	return h.truncate()
}

// write applies a generation table by table, so that a failure leaves some of it behind. That does not show: reads see the
// overlay over it, and recovery folds all of it again.
func (h *Shard) write(g *store.Generation) error {
	disk := h.store.disk
	if err := disk.at(h.id, FoldWrite); err != nil {
		return err
	}
	for _, spec := range store.Tables {
		records := g.Records(nil, spec.Table)
		if len(records) == 0 {
			continue
		}
		err := disk.as(h.store, h.id, func(data *shardData) error {
			if data.epoch != h.epoch {
				return store.ErrFenced
			}
			for _, r := range records {
				row := *r // the generation's memory is used again
				disk.tables[spec.Table].apply(&row)
			}
			return nil
		})
		if err == nil {
			err = disk.at(h.id, FoldTable)
		}
		if err != nil {
			return err
		}
	}
	return disk.as(h.store, h.id, func(data *shardData) error {
		if data.epoch != h.epoch {
			return store.ErrFenced
		}
		data.folded = g.Through()
		return nil
	})
}

// truncate deletes what is folded.
func (h *Shard) truncate() error {
	disk := h.store.disk
	dead := 0
	err := disk.as(h.store, h.id, func(data *shardData) error {
		for dead < len(data.journal) && data.journal[dead].seq <= data.folded {
			dead++
		}
		return nil
	})
	if err != nil || dead == 0 {
		return err
	}
	if err := disk.at(h.id, FoldTruncate); err != nil {
		return err
	}
	err = disk.as(h.store, h.id, func(data *shardData) error {
		// Appends may have come since, at the other end; only a fold takes from this one.
		data.journal = slices.Delete(data.journal, 0, min(dead, len(data.journal)))
		return nil
	})
	if err != nil {
		return err
	}
	return disk.at(h.id, FoldReturn)
}

// Get implements [store.Shard].
func (h *Shard) Get(_ context.Context, table store.Table, key []byte) (value []byte, ok bool, err error) {
	if _, known := store.SpecOf(table); !known {
		return nil, false, fmt.Errorf("get from shard %d: no table has number %d", h.id, table)
	}
	unfolded, found := h.overlay.Get(table, key)
	err = h.store.disk.as(h.store, h.id, func(*shardData) error {
		if found {
			value, ok = unfolded, unfolded != nil
			return nil
		}
		r, present := h.store.disk.tables[table].rows.get(string(key))
		if present {
			value, ok = clone(r.Value), true
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("get from table %v: %w", table, err)
	}
	return value, ok, nil
}

// List implements [store.Shard].
func (h *Shard) List(_ context.Context, table store.Table, part []byte) ([]store.Row, error) {
	spec, known := store.SpecOf(table)
	if !known || spec.Part == 0 || len(part) != spec.Part {
		return nil, fmt.Errorf("list table %v of shard %d: %d bytes do not name a partition", table, h.id, len(part))
	}
	q := store.Query{Table: table, Prefix: part}
	for {
		unfolded, seals := h.overlay.Partition(table, part)
		var folded []store.Row
		err := h.store.disk.as(h.store, h.id, func(*shardData) error {
			from, to := q.KeyRange()
			for _, r := range h.store.disk.tables[table].rows.ascend(string(from), string(to)) {
				folded = append(folded, toRow(r))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list table %v: %w", table, err)
		}
		if h.overlay.Seals() == seals {
			return store.Merge(unfolded, folded, false), nil
		}
		// A fold began in between and may have moved newer records to the tables, of which only some would show.
	}
}

// Scan implements [store.Shard].
func (h *Shard) Scan(ctx context.Context, q store.Query) (rows []store.Row, err error) {
	spec, known := store.SpecOf(q.Table)
	if !known {
		return nil, fmt.Errorf("scan shard %d: no table has number %d", h.id, q.Table)
	}
	for i := spec.Tags; i < len(q.Tags); i++ {
		if q.Tags[i] != "" {
			return nil, fmt.Errorf("scan: table %s has no tag %d", spec.Name, i+1)
		}
	}
	if h.overlay.Holds(q.Table) {
		if err := h.Fold(ctx); err != nil {
			return nil, fmt.Errorf("scan table %s: %w", spec.Name, err)
		}
	}
	err = h.store.disk.as(h.store, h.id, func(*shardData) error {
		rows = h.store.disk.tables[q.Table].scan(&q)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("scan table %s: %w", spec.Name, err)
	}
	return rows, nil
}

// Load implements [store.Shard]. It works on the rows of the moment when it was called, so that fn may call the store.
func (h *Shard) Load(ctx context.Context, table store.Table, fn func(key, value []byte) error) error {
	if _, known := store.SpecOf(table); !known {
		return fmt.Errorf("load from shard %d: no table has number %d", h.id, table)
	}
	if h.overlay.Holds(table) {
		if err := h.Fold(ctx); err != nil {
			return fmt.Errorf("load table %v: %w", table, err)
		}
	}
	var records []*store.Record
	err := h.store.disk.as(h.store, h.id, func(*shardData) error {
		for _, r := range h.store.disk.tables[table].rows.ascend("", "") {
			records = append(records, r)
		}
		return nil
	})
	for _, r := range records {
		if err = fn(r.Key, r.Value); err != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("load table %v: %w", table, err)
	}
	return nil
}

// Unfolded implements [store.Shard].
func (h *Shard) Unfolded() (records int, bytes int64) { return h.overlay.Unfolded() }

// scan selects rows by the narrowest index that the query can use and compares the rest.
func (t *table) scan(q *store.Query) (rows []store.Row) {
	from, to := q.KeyRange()
	for _, r := range t.candidates(q, string(from), string(to)) {
		if len(rows) == q.RowLimit() {
			break
		}
		if matches(q, r, from, to) {
			rows = append(rows, toRow(r))
		}
	}
	return rows
}

func (t *table) candidates(q *store.Query, from, to string) iter.Seq2[string, *store.Record] {
	if q.ExpiredBefore != 0 {
		return t.expires.ascend("", expiryKey(q.ExpiredBefore, ""))
	}
	index := &t.rows
	for i, tag := range q.Tags {
		if tag == "" {
			continue
		}
		index = &t.tags[i]
		prefix := store.Query{Prefix: []byte(tagKey(tag, ""))}
		_, end := prefix.KeyRange()
		from = tagKey(tag, from)
		if to != "" {
			to = tagKey(tag, to)
		} else {
			to = string(end)
		}
		break
	}
	if q.Desc {
		return index.descend(from, to)
	}
	return index.ascend(from, to)
}

func matches(q *store.Query, r *store.Record, from, to []byte) bool {
	for i, tag := range q.Tags {
		if tag != "" && r.Tags[i] != tag {
			return false
		}
	}
	return string(r.Key) >= string(from) && (to == nil || string(r.Key) < string(to))
}

func toRow(r *store.Record) store.Row { return store.Row{Key: clone(r.Key), Value: clone(r.Value)} }

// clone copies, and keeps an empty slice non-nil.
func clone(b []byte) []byte { return append([]byte{}, b...) }
