// Package sqlite keeps a store in one directory, with nothing to install: the embedded form of Quartet.
//
//	journal/     the batches that were acknowledged and not yet folded, a directory for each shard; see package journal
//	quartet.db   the tables, and how far into the journal they go
//
// An append touches the journal alone, so a fold's long transaction never makes one wait. The database uses write-ahead
// logging with synchronous=FULL and has one connection that writes; a few more read. The number of the newest folded batch is part of
// the transaction that folds it, and segments of the journal are used again after that has committed, so a crash between the two repeats or
// loses nothing. quartet.db alone is a complete store as of the last fold, which is what [Store.Backup] copies.
package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/journal"
)

// Names of the files in the directory.
const (
	tablesFile = "quartet.db"
	journalDir = "journal"
	lockFile   = "quartet.lock"
)

// Options say where a store is and what it may use.
type Options struct {
	// Dir is the data directory. It is created if missing, for this user only.
	Dir string
	// Readers is how many Gets, Lists and Scans may read the tables at the same time. 0: 4.
	Readers int
	// CacheBytes bounds the page cache of the connection that folds; each reader has a quarter of it. 0: 32 MiB.
	CacheBytes int
	// Journal says how the journal uses the disk. Its zero value is right for all but tests.
	Journal journal.Config
}

// Store is a data directory that this process has open.
type Store struct {
	dir     string
	config  journal.Config
	lock    io.Closer
	tables  *tables
	readers *pool

	// Locks nest in this order, and mu is held for no other: acquiring, Shard.folding, tables.mu or Journal.mu.
	acquiring sync.Mutex // one Acquire at a time

	mu       sync.Mutex
	journals map[int]*journal.Journal
	shards   map[int]*Shard // newest handle of each shard
	closed   bool

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
	s := &Store{
		dir: opts.Dir, config: opts.Journal, journals: make(map[int]*journal.Journal), shards: make(map[int]*Shard),
	}
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
	if err := s.foldLegacy(ctx); err != nil {
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
	j, err := s.journal(shard)
	if err != nil {
		return nil, err
	}
	// From here on appends of the older owner fail, and after own its folds too. Only then is what the journal holds final.
	journalEpoch, err := j.Begin()
	if err != nil {
		return nil, err
	}
	tablesEpoch, folded, err := s.tables.owner(shard)
	if err != nil {
		return nil, err
	}
	// The journal names epochs too, so that tables of an older date cannot repeat one.
	epoch := max(tablesEpoch, journalEpoch) + 1
	if err := s.tables.own(shard, epoch); err != nil {
		return nil, err
	}
	h := newShard(s, j, shard, epoch)
	if err := h.recover(ctx, folded); err != nil {
		return nil, err
	}
	return h, j.Own(epoch)
}

// journal returns the journal of a shard.
func (s *Store) journal(shard int) (*journal.Journal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	j := s.journals[shard]
	if j == nil {
		j = journal.New(filepath.Join(s.dir, journalDir, strconv.Itoa(shard)), shard, s.config)
		s.journals[shard] = j
	}
	return j, nil
}

// Stats is what a store holds on disk, in bytes, the tables' write-ahead log included, and what waits for a fold.
type Stats struct {
	JournalBytes    int64
	TablesBytes     int64
	UnfoldedRecords int
	UnfoldedBytes   int64
}

// Stats adds up what operators watch. It costs two calls to stat.
func (s *Store) Stats() Stats {
	stats := Stats{
		TablesBytes: fileSize(filepath.Join(s.dir, tablesFile)) + fileSize(filepath.Join(s.dir, tablesFile+"-wal")),
	}
	for _, h := range s.handles() {
		records, bytes := h.Unfolded()
		stats.UnfoldedRecords += records
		stats.UnfoldedBytes += bytes
		stats.JournalBytes += h.journal.Bytes()
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
	s.mu.Lock()
	journals := slices.Collect(maps.Values(s.journals))
	s.mu.Unlock()
	var errs []error
	for _, j := range journals {
		errs = append(errs, j.Close())
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
