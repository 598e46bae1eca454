// Package sqlite keeps a store in one directory, with nothing to install: the embedded form of Quartet.
//
// The directory holds two databases, so that a fold's long transaction never makes an append wait:
//
//	journal.db   the batches that were acknowledged and not yet folded; an append is one row and one fsync
//	quartet.db   the tables, and how far into the journal they go
//
// Both databases use write-ahead logging with synchronous=FULL. Each has one connection that writes; a few more read the
// tables. A batch is deleted from the journal after the transaction that folds it has committed, and the number of the
// newest folded batch is part of that transaction, so a crash between the two repeats or loses nothing. quartet.db alone
// is a complete store as of the last fold, which is what [Store.Backup] copies.
package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
)

// Names of the files in the directory.
const (
	tablesFile  = "quartet.db"
	journalFile = "journal.db"
	lockFile    = "quartet.lock"
)

// Options say where a store is and what it may use.
type Options struct {
	// Dir is the data directory. It is created if missing, for this user only.
	Dir string
	// Readers is how many Gets, Lists and Scans may read the tables at the same time. 0: 4.
	Readers int
	// CacheBytes bounds the page cache of the connection that folds; each reader has a quarter of it. 0: 32 MiB.
	CacheBytes int
}

// Store is a data directory that this process has open.
type Store struct {
	dir     string
	lock    io.Closer
	journal *journal
	tables  *tables
	readers *pool

	// Locks nest in this order, and mu is held for no other:
	// acquiring, Shard.folding, tables.mu or (journal.checkpointing, journal.mu).
	acquiring sync.Mutex // one Acquire at a time

	mu     sync.Mutex
	shards map[int]*Shard // newest handle of each shard
	closed bool

	// hook, set by tests only, is called at the points where a crash is interesting; its error stops the operation there.
	hook func(point) error
}

// point names a moment in the life of a batch.
type point string

const (
	appendStart   point = "append start"   // nothing was written
	appendDone    point = "append done"    // durable, and the caller does not know
	foldStart     point = "fold start"     // nothing was written
	foldWritten   point = "fold written"   // the tables are written, not committed
	foldCommitted point = "fold committed" // the tables are durable, the journal has the batches still
	foldTruncated point = "fold truncated" // the journal is rid of them
)

// Open opens the directory, creates what is missing and migrates what is older.
func Open(ctx context.Context, opts Options) (_ *Store, err error) {
	opts.Readers = cmp.Or(opts.Readers, 4)
	opts.CacheBytes = cmp.Or(opts.CacheBytes, 32<<20)
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	s := &Store{dir: opts.Dir, shards: make(map[int]*Shard)}
	if s.lock, err = lock(opts.Dir, filepath.Join(opts.Dir, lockFile)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.release() // the error that brought us here is the one to report
		}
	}()
	if s.tables, err = openTables(ctx, filepath.Join(opts.Dir, tablesFile), opts.CacheBytes); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", opts.Dir, err)
	}
	if s.readers, err = openReaders(ctx, filepath.Join(opts.Dir, tablesFile), opts.Readers, opts.CacheBytes/4); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", opts.Dir, err)
	}
	if s.journal, err = openJournal(ctx, filepath.Join(opts.Dir, journalFile)); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", opts.Dir, err)
	}
	return s, nil
}

// Acquire implements [store.Store].
func (s *Store) Acquire(ctx context.Context, shard int) (store.Shard, error) {
	s.acquiring.Lock()
	defer s.acquiring.Unlock()
	h, err := s.acquire(ctx, shard)
	if err != nil {
		return nil, fmt.Errorf("acquire shard %d: %w", shard, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("acquire shard %d: %w", shard, errClosed)
	}
	s.shards[shard] = h
	return h, nil
}

func (s *Store) acquire(ctx context.Context, shard int) (*Shard, error) {
	// Each database remembers the epoch, so that losing one of them (a backup has no journal) cannot repeat one.
	tablesEpoch, folded, err := s.tables.owner(shard)
	if err != nil {
		return nil, err
	}
	journalEpoch, err := s.journal.owner(shard)
	if err != nil {
		return nil, err
	}
	epoch := max(tablesEpoch, journalEpoch) + 1

	// From here on appends of the older owner fail, and after the second line its folds too. Only then is what the
	// journal holds final.
	if err := s.journal.own(shard, epoch); err != nil {
		return nil, err
	}
	if err := s.tables.own(shard, epoch); err != nil {
		return nil, err
	}
	h := newShard(s, shard, epoch)
	if err := h.recover(ctx, folded); err != nil {
		return nil, err
	}
	return h, nil
}

// Stats is what a store holds on disk, in bytes, write-ahead logs included, and what waits for a fold.
type Stats struct {
	JournalBytes    int64
	TablesBytes     int64
	UnfoldedRecords int
	UnfoldedBytes   int64
}

// Stats adds up what operators watch. It costs four calls to stat.
func (s *Store) Stats() Stats {
	stats := Stats{
		JournalBytes: fileSize(filepath.Join(s.dir, journalFile)) + fileSize(filepath.Join(s.dir, journalFile+"-wal")),
		TablesBytes:  fileSize(filepath.Join(s.dir, tablesFile)) + fileSize(filepath.Join(s.dir, tablesFile+"-wal")),
	}
	for _, h := range s.handles() {
		records, bytes := h.Unfolded()
		stats.UnfoldedRecords += records
		stats.UnfoldedBytes += bytes
	}
	return stats
}

// Close implements [store.Store]. It waits for what is running. What is not folded stays in the journal.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	if err := s.release(); err != nil {
		return fmt.Errorf("close data directory %s: %w", s.dir, err)
	}
	return nil
}

// release closes what Open opened, in reverse, and the lock last.
func (s *Store) release() error {
	var errs []error
	if s.journal != nil {
		errs = append(errs, s.journal.close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.close())
	}
	if s.tables != nil {
		errs = append(errs, s.tables.close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// handles returns the newest handle of each shard.
func (s *Store) handles() []*Shard {
	s.mu.Lock()
	defer s.mu.Unlock()
	handles := make([]*Shard, 0, len(s.shards))
	for _, h := range s.shards {
		handles = append(handles, h)
	}
	return handles
}

// at is where tests look in.
func (s *Store) at(p point) error {
	if s.hook == nil {
		return nil
	}
	return s.hook(p)
}

// fileSize is 0 for a file that is missing: SQLite removes its logs when it can.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
