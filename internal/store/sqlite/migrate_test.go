package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quartetjobs/quartet/internal/store"
)

func openFile(t *testing.T) *conn {
	t.Helper()
	c, err := open(t.Context(), filepath.Join(t.TempDir(), "test.db"), "journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	return c
}

func version(t *testing.T, c *conn) int64 {
	t.Helper()
	v, err := c.integer("PRAGMA user_version")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMigrateOlder(t *testing.T) {
	c := openFile(t)
	steps, err := migrations("tables")
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(c, "test", steps); err != nil {
		t.Fatal(err)
	}
	if err := c.exec("INSERT INTO live (key, value) VALUES (x'01', x'02')"); err != nil {
		t.Fatal(err)
	}
	released := int64(len(steps))
	if got := version(t, c); got != released {
		t.Errorf("schema version %d, want %d", got, released)
	}

	// The second of two later versions breaks off halfway: the first stays, nothing of the second does.
	later := append(slices.Clone(steps), "ALTER TABLE live ADD COLUMN note TEXT; UPDATE live SET note = 'old'",
		"DROP TABLE live; CREATE TABLE nonsense")
	if err := migrate(c, "test", later); err == nil {
		t.Error("a broken migration worked")
	}
	if got := version(t, c); got != released+1 {
		t.Errorf("schema version %d after the broken migration, want %d", got, released+1)
	}
	later[len(later)-1] = "UPDATE live SET value = x'03'"
	if err := migrate(c, "test", later); err != nil {
		t.Fatal(err)
	}
	got, err := c.integer("SELECT count(*) FROM live WHERE key = x'01' AND value = x'03' AND note = 'old'")
	if err != nil || got != 1 {
		t.Errorf("the row did not come through the migrations: %d, %v", got, err)
	}

	err = migrate(c, "test", steps)
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), fmt.Sprint("version ", released+2)) || !strings.Contains(err.Error(), fmt.Sprint("up to ", released)) {
		t.Errorf("an older program says %v, want ErrNewer and both versions", err)
	}
}

func TestNewerIsRefused(t *testing.T) {
	s, h := setup(t)
	appendRows(t, h, row(1, "value"))
	if err := s.tables.conn.exec("PRAGMA user_version = 9"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the refusal lets go of the lock
		_, err := Open(t.Context(), Options{Dir: s.dir})
		if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), tablesFile) || !strings.Contains(err.Error(), "version 9") {
			t.Errorf("open with a newer %s: %v", tablesFile, err)
		}
	}
}

// The migrations must lead to the columns that the statements use.
func TestSchemaFitsSpecs(t *testing.T) {
	s, _ := setup(t)
	for _, spec := range store.Tables {
		want := []string{"key BLOB", "value BLOB"}
		for i := range spec.Tags {
			want = append(want, tagColumn(i)+" TEXT")
		}
		want = append(want, "expires INTEGER")

		stmt, err := s.tables.conn.prepare("SELECT name || ' ' || type FROM pragma_table_info(?) ORDER BY cid")
		if err != nil {
			t.Fatal(err)
		}
		stmt.bind(spec.Name)
		var got []string
		err = stmt.query(t.Context(), func(row []driver.Value) error {
			got = append(got, row[0].(string))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %s (-want +got):\n%s", spec.Name, diff)
		}
	}
}
