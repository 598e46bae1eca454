package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/quartetjobs/quartet/internal/durable"
	"github.com/quartetjobs/quartet/internal/store"
)

// legacyFile is the journal of versions up to 3 of the tables: a database with one row an append.
const legacyFile = "journal.db"

// legacyVersion is the only version of its schema that there was.
const legacyVersion = 1

// foldLegacy folds what such a journal holds and removes it. A crash on the way does no harm: what is folded twice is the
// same.
func (s *Store) foldLegacy(ctx context.Context) error {
	path := filepath.Join(s.dir, legacyFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := s.foldLegacyFile(ctx, path); err != nil {
		return fmt.Errorf("fold %s: %w", legacyFile, err)
	}
	// The database goes first. Its log alone means nothing, while without its log it would be an older journal.
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return durable.SyncDir(s.dir)
}

func (s *Store) foldLegacyFile(ctx context.Context, path string) (err error) {
	c, err := open(ctx, path)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := c.close(); err == nil {
			err = closeErr
		}
	}()
	switch version, err := c.integer("PRAGMA user_version"); {
	case err != nil:
		return err
	case version > legacyVersion:
		return fmt.Errorf("%w: it has schema version %d, this version of quartet knows up to %d", store.ErrNewer, version, legacyVersion)
	case version == 0:
		return nil // a crash came before its first transaction
	}
	owners, err := legacyOwners(c)
	if err != nil {
		return err
	}
	for shard, epoch := range owners {
		if err := s.foldLegacyShard(ctx, c, shard, epoch); err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
	}
	return nil
}

// legacyOwners returns the epochs of the shards.
func legacyOwners(c *conn) (map[int]uint64, error) {
	s, err := c.prepare("SELECT shard, epoch FROM shards")
	if err != nil {
		return nil, err
	}
	owners := make(map[int]uint64)
	err = s.query(context.Background(), func(row []driver.Value) error {
		owners[int(row[0].(int64))] = uint64(row[1].(int64))
		return nil
	})
	return owners, err
}

func (s *Store) foldLegacyShard(ctx context.Context, c *conn, shard int, epoch uint64) error {
	tablesEpoch, folded, err := s.tables.owner(shard)
	if err != nil {
		return err
	}
	epoch = max(epoch, tablesEpoch)
	if err := s.tables.own(shard, epoch); err != nil {
		return err
	}
	h := newShard(s, nil, shard, epoch)
	h.seq = folded
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := h.readLegacy(c); err != nil {
			return err
		}
		g := h.overlay.Seal()
		if g == nil {
			return nil
		}
		if err := h.apply(g); err != nil {
			return err
		}
		h.overlay.Folded()
	}
}

// readLegacy puts batches into the overlay, as many as may be in memory at once.
func (h *Shard) readLegacy(c *conn) error {
	s, err := c.prepare("SELECT seq, data FROM journal WHERE shard = ? AND seq > ? ORDER BY seq")
	if err != nil {
		return err
	}
	s.bind(int64(h.id))
	s.bind(int64(h.seq))
	size := 0
	err = s.query(context.Background(), func(row []driver.Value) error {
		seq, data := uint64(row[0].(int64)), blob(row[1])
		records, err := store.DecodeBatch(nil, data)
		if err != nil {
			return fmt.Errorf("batch %d: %w", seq, err)
		}
		h.overlay.Append(seq, records)
		h.seq = seq
		if size += len(data); size >= recoverBytes {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return nil
}
