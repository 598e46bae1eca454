package sqlite

import (
	"embed"
	"fmt"
	"io/fs"
	"path"

	"github.com/quartetjobs/quartet/internal/store"
)

//go:embed migrations
var migrationFiles embed.FS

// migrations returns the SQL of a database's versions: what takes version i to i+1 is at index i. A file that was released
// is never edited; a change to the schema is a new file.
func migrations(database string) ([]string, error) {
	files, err := fs.Glob(migrationFiles, path.Join("migrations", database, "*.sql"))
	if err != nil {
		return nil, fmt.Errorf("list migrations of %s: %w", database, err)
	}
	steps := make([]string, len(files)) // Glob sorts, and the names begin with the number
	for i, name := range files {
		text, err := fs.ReadFile(migrationFiles, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		steps[i] = string(text)
	}
	return steps, nil
}

// migrate brings the schema of a database to version len(steps), each step in a transaction of its own with the version
// number it leads to.
func migrate(c *conn, database string, steps []string) error {
	version, err := c.integer("PRAGMA user_version")
	if err != nil {
		return fmt.Errorf("read schema version of %s: %w", database, err)
	}
	if version > int64(len(steps)) {
		return fmt.Errorf("%w: %s has schema version %d, this version of quartet knows up to %d",
			store.ErrNewer, database, version, len(steps))
	}
	for i := version; i < int64(len(steps)); i++ {
		err := c.transaction(func() error {
			if err := c.exec(steps[i]); err != nil {
				return err
			}
			return c.exec(fmt.Sprintf("PRAGMA user_version = %d", i+1))
		})
		if err != nil {
			return fmt.Errorf("migrate %s to schema version %d: %w", database, i+1, err)
		}
	}
	return nil
}
