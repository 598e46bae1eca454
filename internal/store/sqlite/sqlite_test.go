package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/journal"
	"github.com/quartetjobs/quartet/internal/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place { return &place{dir: t.TempDir()} })
}

// place lets the suite at a directory.
type place struct {
	dir   string
	store *Store
	full  atomic.Bool // no file of the journal can be made
}

// smallSegments make the journal begin a new file every few appends.
const smallSegments = 16 << 10

func (p *place) Open(ctx context.Context) (store.Store, error) {
	disk := journal.OS
	disk.Create = func(path string, size int64) (*os.File, error) {
		if p.full.Load() {
			return nil, syscall.ENOSPC
		}
		return journal.OS.Create(path, size)
	}
	s, err := Open(ctx, Options{Dir: p.dir, Readers: 2, Journal: journal.Config{Segment: smallSegments, Disk: disk}})
	if err != nil {
		return nil, err
	}
	p.store = s
	return s, nil
}

func (p *place) Hook(fn func(storetest.Point) error) {
	p.store.hook = nil
	if fn != nil {
		p.store.hook = func(at point) error { return fn(storetest.Point(at)) }
	}
}

// Crash copies the files as they are, which is what a process that is killed leaves behind.
func (p *place) Crash(t *testing.T) storetest.Place { return &place{dir: copyDir(t, p.dir)} }

// Full forbids the database to grow, and the journal to make files. What is free in them is used up by the bigger records of the
// suite.
func (p *place) Full(t *testing.T, journal, tables bool) {
	t.Helper()
	p.full.Store(journal)
	pages := int64(1 << 30)
	if tables {
		var err error
		if pages, err = p.store.tables.conn.integer("PRAGMA page_count"); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.store.tables.conn.exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a log that SQLite removed meanwhile
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// setup opens a store in a new directory and acquires shard 0.
func setup(t *testing.T) (*Store, *Shard) {
	t.Helper()
	s := openDir(t, t.TempDir())
	return s, acquire(t, s)
}

func openDir(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Journal: journal.Config{Segment: smallSegments}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func acquire(t *testing.T, s *Store) *Shard {
	t.Helper()
	h, err := s.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return h.(*Shard)
}

func row(n int, value string) store.Record {
	return store.Record{Table: store.Live, Key: fmt.Appendf(nil, "key-%06d", n), Value: []byte(value)}
}

func appendRows(t *testing.T, h *Shard, records ...store.Record) {
	t.Helper()
	if err := h.Append(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

func fold(t *testing.T, h *Shard) {
	t.Helper()
	if err := h.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// countRows loads the table Live.
func countRows(t *testing.T, h *Shard) (rows int) {
	t.Helper()
	err := h.Load(t.Context(), store.Live, func(_, _ []byte) error { rows++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A fold of more rows than fit a transaction, cut off between two of them, is folded again from the start.
func TestLargeFold(t *testing.T) {
	const rows = 1200
	s, h := setup(t)
	s.tables.atOnce = 500
	for n := 0; n < rows; n += 100 {
		records := make([]store.Record, 100)
		for i := range records {
			records[i] = row(n+i, "value")
			records[i].Fresh = true
		}
		appendRows(t, h, records...)
	}
	s.hook = func(p point) error {
		if p == foldWritten {
			return errors.New("died in the last transaction")
		}
		return nil
	}
	if err := h.Fold(t.Context()); err == nil {
		t.Fatal("the fold worked")
	}
	// The first key is in the tables by now. If recovery believed the fresh of its record this would forget the row.
	appendRows(t, h, store.Record{Table: store.Live, Key: row(0, "").Key})

	crashed := acquire(t, openDir(t, copyDir(t, s.dir)))
	if got := countRows(t, crashed); got != rows-1 {
		t.Errorf("%d rows after a crash, want %d", got, rows-1)
	}
	s.hook = nil
	fold(t, h)
	if got := countRows(t, h); got != rows-1 {
		t.Errorf("%d rows after another fold, want %d", got, rows-1)
	}
}

// A list that looks at the overlay, and at the tables only after an append and a fold, must not mix the two moments.
func TestListAcrossFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := setup(t)
		part := []byte("0123456789abcdef")
		step := func(name, value string) store.Record {
			return store.Record{Table: store.Steps, Key: append(part[:16:16], name...), Value: []byte(value)}
		}
		appendRows(t, h, step("a", "1"), step("b", "1"))
		fold(t, h)
		appendRows(t, h, step("a", "2"))

		var readers []*conn
		for range cap(s.readers.idle) {
			readers = append(readers, <-s.readers.idle)
		}
		var rows []store.Row
		var err error
		done := make(chan struct{})
		go func() {
			rows, err = h.List(t.Context(), store.Steps, part)
			close(done)
		}()
		synctest.Wait() // the list has seen the overlay and waits for a reader
		appendRows(t, h, step("a", "3"), step("b", "3"))
		fold(t, h)
		for _, c := range readers {
			s.readers.put(c)
		}
		<-done
		if err != nil || len(rows) != 2 || string(rows[0].Value) != "3" || string(rows[1].Value) != "3" {
			t.Errorf("list: %q, %v; want both rows of the last append", rows, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The journal's files stay small under any amount of traffic, as long as folds work.
func TestJournalIsBounded(t *testing.T) {
	s, h := setup(t)
	value := string(make([]byte, 1000))
	for n := range 40 {
		for i := range 4 {
			records := make([]store.Record, 0, 50)
			for j := range cap(records) {
				records = append(records, row(i*50+j, value))
			}
			appendRows(t, h, records...)
		}
		fold(t, h)
		if got := s.Stats().JournalBytes; got > 1<<20 {
			t.Fatalf("after %d kB the journal has %d kB", (n+1)*200, got>>10)
		}
	}
}

// A journal that lost something is not passed over. Who moves it away goes on with what is folded.
func TestDamagedJournal(t *testing.T) {
	s, h := setup(t)
	appendRows(t, h, row(1, "folded"))
	fold(t, h)
	appendRows(t, h, row(2, "journalled"))
	appendRows(t, h, row(3, "journalled"))
	dir := filepath.Join(s.dir, journalDir, "0")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the journal is %q, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, row(2, "").Key)]++
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Acquire(t.Context(), 0)
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "batch 2 ") || !strings.Contains(err.Error(), dir) {
			t.Errorf("acquire with a damaged journal: %v", err)
		}
	}
	if err := os.Rename(dir, dir+".damaged"); err != nil {
		t.Fatal(err)
	}
	h = acquire(t, s)
	appendRows(t, h, row(4, "new"))
	if got := countRows(t, h); got != 2 {
		t.Errorf("%d rows without the damaged journal, want 2", got)
	}
}

func TestBackup(t *testing.T) {
	s, h := setup(t)
	appendRows(t, h, row(1, "folded"))
	fold(t, h)
	appendRows(t, h, row(2, "journalled"))

	dir := t.TempDir()
	path := filepath.Join(dir, tablesFile)
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a backup over a file that exists: %v", err)
	}
	appendRows(t, h, row(3, "later"))

	restored := acquire(t, openDir(t, dir))
	if got := countRows(t, restored); got != 2 {
		t.Errorf("%d rows are in the backup, want 2", got)
	}
	if restored.Epoch() <= h.Epoch() {
		t.Errorf("the backup gave out epoch %d, the original had %d", restored.Epoch(), h.Epoch())
	}
	// Its journal begins after what the tables say they have of the lost one.
	appendRows(t, restored, row(4, "new"))
	if got := countRows(t, acquire(t, restored.store)); got != 3 {
		t.Errorf("%d rows after an append to the backup, want 3", got)
	}
}

func TestStats(t *testing.T) {
	s, h := setup(t)
	appendRows(t, h, row(1, "value"))
	got := s.Stats()
	if got.UnfoldedRecords != 1 || got.UnfoldedBytes != 15 || got.JournalBytes == 0 || got.TablesBytes == 0 {
		t.Errorf("stats %+v", got)
	}
}
