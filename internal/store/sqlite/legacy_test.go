package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// legacy is the data directory of a server of the time when the journal was a database, as a crash left it: shard 0 has folded the first
// of three batches, shard 1 has folded nothing.
func legacy(t *testing.T) (dir string) {
	t.Helper()
	running := t.TempDir()
	database := func(file string, steps []string, statements ...string) *conn {
		c, err := open(t.Context(), filepath.Join(running, file), "journal_mode(wal)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.close() })
		if err := migrate(c, file, steps); err != nil {
			t.Fatal(err)
		}
		for _, s := range statements {
			if err := c.exec(s); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	steps, err := migrations("tables")
	if err != nil {
		t.Fatal(err)
	}
	database(tablesFile, steps[:3],
		"INSERT INTO shards VALUES (0, 5, 1), (1, 2, 0)",
		"INSERT INTO live (key, value) VALUES (CAST('key-000001' AS BLOB), x'01')")
	schema, err := os.ReadFile("testdata/journal-1.sql")
	if err != nil {
		t.Fatal(err)
	}
	c := database(legacyFile, []string{string(schema)}, "INSERT INTO shards VALUES (0, 6), (1, 2)")
	for _, b := range []struct {
		shard, seq int64
		records    []store.Record
	}{
		{0, 1, []store.Record{row(1, "overwritten by what is folded"), row(4, "deleted since")}},
		{0, 2, []store.Record{row(2, "journalled"), row(3, "journalled")}},
		{0, 3, []store.Record{{Table: store.Live, Key: row(3, "").Key}}},
		{1, 1, []store.Record{{Table: store.Keys, Key: []byte("key"), Value: []byte("value")}}},
	} {
		if _, err := c.execute("INSERT INTO journal VALUES (?, ?, 5, ?)", b.shard, b.seq, store.AppendBatch(nil, b.records)); err != nil {
			t.Fatal(err)
		}
	}
	return copyDir(t, running)
}

func TestLegacyJournal(t *testing.T) {
	dir := legacy(t)
	before := copyDir(t, dir)
	s := openDir(t, dir)
	if files, err := filepath.Glob(filepath.Join(dir, legacyFile+"*")); err != nil || len(files) > 0 {
		t.Errorf("%q are left, %v", files, err)
	}
	check := func(want int) *Shard {
		t.Helper()
		h := acquire(t, s)
		if got := countRows(t, h); got != want {
			t.Errorf("%d rows, want %d", got, want)
		}
		return h
	}
	h := check(2)
	for key, want := range map[string]string{"key-000001": "\x01", "key-000002": "journalled"} {
		if got, _, err := h.Get(t.Context(), store.Live, []byte(key)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	if got, _, err := h.Get(t.Context(), store.Keys, []byte("key")); err != nil || string(got) != "value" {
		t.Errorf("the row of shard 1 is %q, %v", got, err)
	}
	if h.Epoch() <= 6 {
		t.Errorf("epoch %d, and there was a 6", h.Epoch())
	}
	appendRows(t, h, row(2, "new"), row(5, "new"))
	check(3)

	// A crash before the file was removed: it has nothing that is not folded.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{legacyFile, legacyFile + "-wal"} {
		data, err := os.ReadFile(filepath.Join(before, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openDir(t, dir)
	h = check(3)
	if got, _, err := h.Get(t.Context(), store.Live, row(2, "").Key); err != nil || string(got) != "new" {
		t.Errorf("the row that was written since is %q, %v", got, err)
	}
}

func TestLegacyJournalIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		sql  string
		want error
	}{
		"a newer schema": {"PRAGMA user_version = 2", store.ErrNewer},
		"a newer batch":  {"UPDATE journal SET data = x'6300' WHERE shard = 1", store.ErrNewer},
		"nonsense":       {"UPDATE journal SET data = x'' WHERE shard = 1", nil},
	} {
		dir := legacy(t)
		c, err := open(t.Context(), filepath.Join(dir, legacyFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.exec(test.sql), c.close()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // nothing is removed, and the lock is let go of
			_, err := Open(t.Context(), Options{Dir: dir})
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), legacyFile) {
				t.Errorf("open with %s: %v", name, err)
			}
		}
	}
}

// A server that died before its first transaction left an empty database.
func TestEmptyLegacyJournal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, legacyFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := countRows(t, acquire(t, openDir(t, dir))); got != 0 {
		t.Errorf("%d rows", got)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || slices.Contains(names, filepath.Join(dir, legacyFile)) {
		t.Errorf("the directory holds %q, %v", names, err)
	}
}
