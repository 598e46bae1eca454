package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/quartetjobs/quartet/internal/durable"
)

// Backup writes a consistent copy of the store, as of this moment or a little later, to a file that must not exist. To
// restore it, put it into an empty directory as quartet.db. Appends go on meanwhile; folds do too, and the log
// of the tables grows by what they write until the copy is done.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.backup(ctx, path); err != nil {
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	return nil
}

func (s *Store) backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	for _, h := range s.handles() {
		if err := h.Fold(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return errClosed
	}
	// A connection of its own, so that a long copy takes none from the readers.
	c, err := open(ctx, filepath.Join(s.dir, tablesFile))
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := c.close(); err == nil {
			err = closeErr
		}
	}()

	// Whoever finds the file under its name finds all of it.
	unfinished := path + ".unfinished"
	if err := os.Remove(unfinished); err != nil && !os.IsNotExist(err) {
		return err
	}
	defer func() { _ = os.Remove(unfinished) }() // gone already when all went well
	if _, err := c.execute("VACUUM INTO ?", unfinished); err != nil {
		return err
	}
	if err := durable.Sync(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
