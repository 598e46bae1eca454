package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// pageSize is that of the database. A frame of its write-ahead log is a page and its header.
const (
	pageSize  = 4096
	frameSize = pageSize + 24
)

// tables is the database that queries and recovery read, and the connection that folds into it.
type tables struct {
	mu      sync.Mutex // owns the rest, and is held across its I/O: folds take turns
	conn    *conn
	mark    *stmt
	writers []tableWriter // as store.Tables
	closed  bool
	atOnce  int // rows of one transaction
}

// tableWriter holds the statements that put and delete rows of one table, one row and groupRows of them at a time.
type tableWriter struct {
	spec                store.Spec
	put, putGroup       *stmt
	delete, deleteGroup *stmt
}

// groupRows is how many rows one statement writes. Measured: a statement for each row costs 50 % more per row of steps and 25 %
// more per row of runs with three tags; 16 rows are within a tenth of 64.
const groupRows = 64

// transactionRows bounds a fold's transaction, and so the write-ahead log that it needs. A fold of a few hundred
// milliseconds fits in one; only what piled up while folding was impossible takes several. That is as safe: a crash between
// two of them folds all of it again, and folding is last write wins.
const transactionRows = 32 << 10

const markFoldedSQL = `UPDATE shards SET folded = max(folded, ?1) WHERE shard = ?2 AND epoch = ?3`

func openTables(ctx context.Context, path string, cacheBytes int) (_ *tables, err error) {
	t := &tables{atOnce: transactionRows}
	defer func() {
		if err != nil {
			_ = t.close() // the error that brought us here is the one to report
		}
	}()
	// Checkpoints are automatic: they hold up the fold that happens to run one, and nobody waits for a fold. The log
	// is allowed to be larger than SQLite's 4 MB, because pages that many folds touch are then copied once. What
	// undoes a statement of many rows stays in memory: as a temporary file it was a third of a fold.
	if t.conn, err = open(ctx, path, pragma("page_size", pageSize), "journal_mode(wal)", "synchronous(full)",
		pragma("wal_autocheckpoint", 32<<20/frameSize), pragma("journal_size_limit", 64<<20), "temp_store(memory)",
		pragma("cache_size", -cacheBytes/1024)); err != nil {
		return nil, err
	}
	if err := t.conn.requireWAL(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	steps, err := migrations("tables")
	if err != nil {
		return nil, err
	}
	if err := migrate(t.conn, tablesFile, steps); err != nil {
		return nil, err
	}
	if t.mark, err = t.conn.prepare(markFoldedSQL); err != nil {
		return nil, err
	}
	for _, spec := range store.Tables {
		w, err := newTableWriter(t.conn, spec)
		if err != nil {
			return nil, err
		}
		t.writers = append(t.writers, w)
	}
	return t, nil
}

// openReaders opens the connections that Get, List, Scan and Load use.
func openReaders(ctx context.Context, path string, n, cacheBytes int) (*pool, error) {
	p := &pool{idle: make(chan *conn, n), done: make(chan struct{})}
	for range n {
		c, err := open(ctx, path, pragma("query_only", 1), pragma("cache_size", -cacheBytes/1024))
		if err != nil {
			for range len(p.idle) {
				_ = (<-p.idle).close() // the error that brought us here is the one to report
			}
			return nil, err
		}
		p.put(c)
	}
	return p, nil
}

func (t *tables) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed = true; t.conn == nil {
		return nil
	}
	return t.conn.close()
}

// owner returns the epoch of a shard and the newest batch of it that is folded, zeros when it never had an owner.
func (t *tables) owner(shard int) (epoch, folded uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, 0, errClosed
	}
	s, err := t.conn.prepare("SELECT epoch, folded FROM shards WHERE shard = ?")
	if err != nil {
		return 0, 0, err
	}
	s.bind(int64(shard))
	err = s.query(context.Background(), func(row []driver.Value) error {
		epoch, folded = uint64(row[0].(int64)), uint64(row[1].(int64))
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read epoch of tables: %w", err)
	}
	return epoch, folded, nil
}

// own makes epoch the only one that may fold.
func (t *tables) own(shard int, epoch uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed
	}
	_, err := t.conn.execute(`
		INSERT INTO shards (shard, epoch, folded) VALUES (?, ?, 0)
		ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch`, int64(shard), int64(epoch))
	if err != nil {
		return fmt.Errorf("raise epoch of tables: %w", err)
	}
	return nil
}

// fold writes records, which are sorted by table and key, and notes that the tables now hold the journal up to the batch
// through. beforeCommit is called once, in the last transaction.
func (t *tables) fold(shard int, epoch, through uint64, records []*store.Record, beforeCommit func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed
	}
	for len(records) > t.atOnce {
		err := t.conn.transaction(func() error { return t.write(shard, epoch, 0, records[:t.atOnce]) })
		if err != nil {
			return err
		}
		records = records[t.atOnce:]
	}
	return t.conn.transaction(func() error {
		if err := t.write(shard, epoch, through, records); err != nil {
			return err
		}
		return beforeCommit()
	})
}

func (t *tables) write(shard int, epoch, through uint64, records []*store.Record) error {
	t.mark.bind(int64(through))
	t.mark.bind(int64(shard))
	t.mark.bind(int64(epoch))
	marked, err := t.mark.exec()
	if err != nil {
		return err
	}
	if marked == 0 {
		return store.ErrFenced
	}
	for i := range t.writers {
		w := &t.writers[i]
		n := 0
		for n < len(records) && records[n].Table == w.spec.Table {
			n++
		}
		if err := w.write(records[:n]); err != nil {
			return fmt.Errorf("table %s: %w", w.spec.Name, err)
		}
		records = records[n:]
	}
	return nil
}

func newTableWriter(c *conn, spec store.Spec) (w tableWriter, err error) {
	w.spec = spec
	for _, p := range []struct {
		stmt **stmt
		sql  string
	}{
		{&w.put, putSQL(spec, 1)},
		{&w.putGroup, putSQL(spec, groupRows)},
		{&w.delete, deleteSQL(spec, 1)},
		{&w.deleteGroup, deleteSQL(spec, groupRows)},
	} {
		if *p.stmt, err = c.prepare(p.sql); err != nil {
			return w, err
		}
	}
	return w, nil
}

// write puts and deletes rows of one table. Their keys differ, so puts and deletes need not keep their order.
func (w *tableWriter) write(records []*store.Record) error {
	deletes, err := inGroups(records, isPut, w.put, w.putGroup, w.bindPut)
	if err != nil || deletes == 0 {
		return err
	}
	_, err = inGroups(records, isDelete, w.delete, w.deleteGroup, bindKey)
	return err
}

// inGroups binds the selected records to the group statement and runs it whenever it is full. What is left over in the end
// goes one by one. It returns how many records were not selected.
func inGroups(records []*store.Record, selected func(*store.Record) bool, one, group *stmt,
	bind func(*stmt, *store.Record),
) (others int, err error) {
	var rest [groupRows]*store.Record
	n := 0
	for _, r := range records {
		if !selected(r) {
			others++
			continue
		}
		rest[n] = r
		if n++; n < groupRows {
			continue
		}
		for _, r := range rest {
			bind(group, r)
		}
		if _, err := group.exec(); err != nil {
			return others, err
		}
		n = 0
	}
	for _, r := range rest[:n] {
		bind(one, r)
		if _, err := one.exec(); err != nil {
			return others, err
		}
	}
	return others, nil
}

func isPut(r *store.Record) bool    { return r.Value != nil }
func isDelete(r *store.Record) bool { return r.Value == nil }

func bindKey(s *stmt, r *store.Record) { s.bind(blob(r.Key)) }

func (w *tableWriter) bindPut(s *stmt, r *store.Record) {
	s.bind(blob(r.Key))
	s.bind(r.Value)
	for i := range w.spec.Tags {
		if r.Tags[i] == "" {
			s.bind(nil)
		} else {
			s.bind(r.Tags[i])
		}
	}
	if r.Expires == 0 {
		s.bind(nil)
	} else {
		s.bind(r.Expires)
	}
}

// putSQL inserts rows or replaces those whose key exists.
func putSQL(spec store.Spec, rows int) string {
	columns := []string{"key", "value"}
	for i := range spec.Tags {
		columns = append(columns, tagColumn(i))
	}
	columns = append(columns, "expires")
	row := "(?" + strings.Repeat(",?", len(columns)-1) + ")"
	updates := make([]string, 0, len(columns)-1)
	for _, column := range columns[1:] {
		updates = append(updates, column+"=excluded."+column)
	}
	return "INSERT INTO " + spec.Name + " (" + strings.Join(columns, ",") + ") VALUES " +
		strings.Join(slices.Repeat([]string{row}, rows), ",") +
		" ON CONFLICT (key) DO UPDATE SET " + strings.Join(updates, ",")
}

func deleteSQL(spec store.Spec, rows int) string {
	if rows == 1 {
		return "DELETE FROM " + spec.Name + " WHERE key = ?"
	}
	return "DELETE FROM " + spec.Name + " WHERE key IN (?" + strings.Repeat(",?", rows-1) + ")"
}

func tagColumn(i int) string { return [...]string{"t1", "t2", "t3"}[i] }
