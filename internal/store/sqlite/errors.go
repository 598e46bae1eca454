package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/quartetjobs/quartet/internal/store"
)

var errClosed = store.ErrClosed

// classify gives SQLite's "disk full" its name in the contract. SQLite reports it for a full file system as well as for
// a database that reached its page limit, and rolls back before it does.
func classify(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}
