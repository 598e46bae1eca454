//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/quartetjobs/quartet/internal/store"
)

// lock takes the directory for this process until the result is closed. Where there is no flock an exclusive transaction
// on an empty database does the same: SQLite knows each platform's own file locks, and they end with the process.
func lock(dir, path string) (io.Closer, error) {
	c, err := open(context.Background(), path, "busy_timeout(0)")
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	err = c.exec("BEGIN EXCLUSIVE")
	if err == nil {
		return closerFunc(c.close), nil
	}
	_ = c.close() // nothing was written
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_BUSY {
		return nil, fmt.Errorf("%w: %s", store.ErrLocked, dir)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }
