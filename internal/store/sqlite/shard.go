package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/journal"
)

// Shard is an owner's handle. It implements [store.Shard].
type Shard struct {
	store   *Store
	id      int
	epoch   uint64
	journal *journal.Journal
	overlay *store.Overlay

	// Owned by the one caller of Append.
	seq     uint64 // newest batch of the journal
	unknown error  // the append whose outcome nobody knows

	folding   sync.Mutex // one fold at a time; taken before the locks of journal and tables
	records   []*store.Record
	folded    uint64 // newest batch in the tables
	truncated uint64 // newest batch that the journal was told to be folded
}

func newShard(s *Store, j *journal.Journal, id int, epoch uint64) *Shard {
	return &Shard{store: s, id: id, epoch: epoch, journal: j, overlay: store.NewOverlay()}
}

// recoverBytes bounds how much of the journal is in memory at once while it is folded at start, but for one segment.
const recoverBytes = 32 << 20

// recover folds what the journal holds after the batch folded.
func (h *Shard) recover(ctx context.Context, folded uint64) error {
	h.seq, h.folded, h.truncated = folded, folded, folded
	size := 0
	err := h.journal.Replay(folded, func(seq uint64, records []store.Record, bytes int) error {
		h.overlay.Append(seq, records)
		h.seq = seq
		if size += bytes; size < recoverBytes {
			return nil
		}
		size = 0
		return h.Fold(ctx)
	})
	if err != nil {
		return err
	}
	return h.Fold(ctx)
}

// Epoch implements [store.Shard].
func (h *Shard) Epoch() uint64 { return h.epoch }

// Append implements [store.Shard]. Once the batch is on its way the context is not asked any more: an append that is
// given up halfway would leave its outcome unknown.
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
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	for i := range records {
		if err := records[i].Validate(); err != nil {
			return err
		}
	}
	if h.overlay.Pending() {
		go h.overlay.Absorb() // while this batch is on its way to the disk
	}
	err := h.write(h.seq+1, records)
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

func (h *Shard) write(seq uint64, records []store.Record) error {
	if err := h.store.at(appendStart); err != nil {
		return err
	}
	if err := h.journal.Append(h.epoch, seq, records); err != nil {
		return err
	}
	return h.store.at(appendDone)
}

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
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		g := h.overlay.Seal()
		if g == nil {
			break
		}
		if err := h.apply(g); err != nil {
			return err
		}
		h.folded = g.Through()
		h.overlay.Folded()
	}
	if h.truncated == h.folded {
		return nil
	}
	if err := h.store.at(foldCommitted); err != nil {
		return err
	}
	if err := h.journal.Truncate(h.folded); err != nil {
		return err
	}
	h.truncated = h.folded
	return h.store.at(foldTruncated)
}

// apply writes a generation to the tables.
func (h *Shard) apply(g *store.Generation) error {
	if err := h.store.at(foldStart); err != nil {
		return err
	}
	for _, spec := range store.Tables {
		h.records = g.Records(h.records, spec.Table)
	}
	err := h.store.tables.fold(h.id, h.epoch, g.Through(), h.records, func() error { return h.store.at(foldWritten) })
	clear(h.records)
	h.records = h.records[:0]
	return err
}

// Get implements [store.Shard].
func (h *Shard) Get(ctx context.Context, table store.Table, key []byte) (value []byte, ok bool, err error) {
	spec, known := store.SpecOf(table)
	if !known {
		return nil, false, fmt.Errorf("get from shard %d: no table has number %d", h.id, table)
	}
	if value, found := h.overlay.Get(table, key); found {
		if err := h.store.readers.check(); err != nil {
			return nil, false, fmt.Errorf("get from table %s: %w", spec.Name, err)
		}
		return value, value != nil, nil
	}
	err = h.read(ctx, getSQL(spec), []driver.Value{blob(key)}, func(row []driver.Value) error {
		value, ok = blob(row[0]), true
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("get from table %s: %w", spec.Name, err)
	}
	return value, ok, nil
}

// List implements [store.Shard].
func (h *Shard) List(ctx context.Context, table store.Table, part []byte) ([]store.Row, error) {
	spec, known := store.SpecOf(table)
	if !known || spec.Part == 0 || len(part) != spec.Part {
		return nil, fmt.Errorf("list table %v of shard %d: %d bytes do not name a partition", table, h.id, len(part))
	}
	q := store.Query{Table: table, Prefix: part}
	for {
		unfolded, seals := h.overlay.Partition(table, part)
		folded, err := h.list(ctx, spec, &q)
		if err != nil {
			return nil, fmt.Errorf("list table %s: %w", spec.Name, err)
		}
		if h.overlay.Seals() == seals {
			return store.Merge(unfolded, folded, false), nil
		}
		// A fold began in between and may have moved newer records to the tables, of which only some would show.
	}
}

func (h *Shard) list(ctx context.Context, spec store.Spec, q *store.Query) (rows []store.Row, err error) {
	from, to := q.KeyRange()
	query, args := listSQL(spec, from, to)
	err = h.read(ctx, query, args, collect(&rows))
	return rows, err
}

// Scan implements [store.Shard]. It folds only if the query's table has something to fold.
func (h *Shard) Scan(ctx context.Context, q store.Query) (rows []store.Row, err error) {
	spec, known := store.SpecOf(q.Table)
	if !known {
		return nil, fmt.Errorf("scan shard %d: no table has number %d", h.id, q.Table)
	}
	query, args, err := scanSQL(spec, &q)
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	if h.overlay.Holds(q.Table) {
		if err := h.Fold(ctx); err != nil {
			return nil, fmt.Errorf("scan table %s: %w", spec.Name, err)
		}
	}
	if err := h.read(ctx, query, args, collect(&rows)); err != nil {
		return nil, fmt.Errorf("scan table %s: %w", spec.Name, err)
	}
	return rows, nil
}

// Load implements [store.Shard].
func (h *Shard) Load(ctx context.Context, table store.Table, fn func(key, value []byte) error) error {
	spec, known := store.SpecOf(table)
	if !known {
		return fmt.Errorf("load from shard %d: no table has number %d", h.id, table)
	}
	if h.overlay.Holds(table) {
		if err := h.Fold(ctx); err != nil {
			return fmt.Errorf("load table %s: %w", spec.Name, err)
		}
	}
	rows := 0
	err := h.read(ctx, loadSQL(spec), nil, func(row []driver.Value) error {
		if rows++; rows%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fn(blob(row[0]), blob(row[1]))
	})
	if err != nil {
		return fmt.Errorf("load table %s: %w", spec.Name, err)
	}
	return nil
}

// Unfolded implements [store.Shard].
func (h *Shard) Unfolded() (records int, bytes int64) { return h.overlay.Unfolded() }

// read runs a query on one of the reading connections.
func (h *Shard) read(ctx context.Context, query string, args []driver.Value, fn func(row []driver.Value) error) error {
	c, err := h.store.readers.get(ctx)
	if err != nil {
		return err
	}
	defer h.store.readers.put(c)
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	for _, arg := range args {
		s.bind(arg)
	}
	return s.query(context.Background(), fn)
}

// collect returns a function that appends rows.
func collect(rows *[]store.Row) func([]driver.Value) error {
	return func(row []driver.Value) error {
		*rows = append(*rows, store.Row{Key: blob(row[0]), Value: blob(row[1])})
		return nil
	}
}
