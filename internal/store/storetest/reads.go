package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

func put(table store.Table, key, value string) store.Record {
	return store.Record{Table: table, Key: []byte(key), Value: []byte(value)}
}

func del(table store.Table, key string) store.Record {
	return store.Record{Table: table, Key: []byte(key)}
}

// in names a row of a partition.
func in(part, key string) string { return fmt.Sprintf("%016s", part) + key }

func testReadsSeeAppends(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "1"), put(store.Steps, in("r1", "s2"), "two"), put(store.Steps, in("r1", "s1"), "one"))
	b.wantPointReads()
	b.fold()
	b.wantPointReads()
	b.wantUnfolded(0)

	// Over folded rows: an update, a delete, an insert between them, and another partition.
	b.append(put(store.Live, "a", "2"), del(store.Steps, in("r1", "s1")), put(store.Steps, in("r1", "s15"), "between"),
		put(store.Steps, in("r2", "s1"), "other"))
	b.wantPointReads()
	b.wantAll()
	b.append(del(store.Live, "a"))
	b.wantAll()
	b.reopen()
	b.wantAll()
}

func testReadsOwnTheirBytes(t *testing.T, b *bench) {
	key := in("r1", "s1")
	b.append(put(store.Steps, key, "value"))
	for range 2 { // before and after the fold
		value, _, err := b.shard.Get(t.Context(), store.Steps, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := b.shard.List(t.Context(), store.Steps, []byte(key[:16]))
		if err != nil {
			t.Fatal(err)
		}
		clear(value)
		clear(rows[0].Key)
		clear(rows[0].Value)
		b.wantPointReads()
		b.fold()
	}
	b.wantAll()
}

func testEmptyIsNotDeleted(t *testing.T, b *bench) {
	b.append(put(store.Live, "empty", ""), put(store.Live, "", "empty key"), put(store.Steps, in("r1", ""), ""))
	b.wantAll()
	b.reopen()
	b.wantAll()
	b.append(del(store.Live, "empty"), del(store.Live, ""), del(store.Live, "never was"))
	b.wantAll()
}

func testCoalescing(t *testing.T, b *bench) {
	for i := range 10 {
		b.append(put(store.Live, "a", fmt.Sprint(i)), put(store.Live, fmt.Sprint("b", i%2), fmt.Sprint(i)))
	}
	b.wantUnfolded(3)
	if _, bytes := b.shard.Unfolded(); bytes != 3+5 {
		t.Errorf("keys and values that wait for a fold have %d bytes, want 8", bytes)
	}
	b.append(del(store.Live, "a"))
	b.wantUnfolded(3) // the delete waits: "a" was not fresh
	b.wantAll()
	b.wantUnfolded(0)
}

func testFresh(t *testing.T, b *bench) {
	fresh := func(table store.Table, key string) store.Record {
		r := put(table, key, "value")
		r.Fresh = true
		return r
	}
	b.append(fresh(store.Live, "a"), fresh(store.Steps, in("r1", "s1")), fresh(store.Steps, in("r1", "s2")),
		fresh(store.Steps, in("r1", "s3")))
	b.append(put(store.Live, "a", "updated"))
	b.append(del(store.Live, "a"), del(store.Steps, in("r1", "s2")))
	b.wantUnfolded(2)
	b.wantPointReads()
	b.append(del(store.Steps, in("r1", "s3")), del(store.Steps, in("r1", "s1")))
	b.wantUnfolded(0)
	b.wantAll()

	// The memory of what vanished is used again.
	b.append(fresh(store.Live, "b"), fresh(store.Steps, in("r1", "s4")), fresh(store.Steps, in("r2", "s1")))
	b.append(del(store.Live, "b"))
	b.wantUnfolded(2)
	b.wantAll()

	// Folded is not fresh any more, and neither is what a newer generation updates.
	b.append(del(store.Steps, in("r1", "s4")))
	b.wantUnfolded(1)
	b.wantAll()
	b.reopen()
	b.wantAll()
}

// A fold that is running has taken the fresh row, so its delete is a real one.
func testFreshTakenByFold(t *testing.T, b *bench) {
	r := put(store.Live, "a", "value")
	r.Fresh = true
	b.append(r)
	b.place.Hook(func(p Point) error {
		if p == FoldStart {
			b.place.Hook(nil)
			b.append(del(store.Live, "a"))
			b.wantPointReads()
		}
		return nil
	})
	b.fold()
	b.wantRow(store.Live, "a", nil)
	b.fold()
	b.wantAll()
}

func fillForQueries(b *bench) {
	var batch []store.Record
	for i := range 60 {
		for _, table := range []store.Table{store.Runs, store.Events, store.Jobs, store.Live} {
			r := put(table, fmt.Sprintf("env%d/%03d", i%3, i), fmt.Sprint(table, i))
			spec, _ := store.SpecOf(table)
			for j := range spec.Tags {
				r.Tags[j] = append(tags, "")[(i>>j)%4]
			}
			if i%4 == 0 {
				r.Expires = int64(i + 1)
			}
			batch = append(batch, r)
		}
	}
	batch = append(batch, put(store.Live, "\xff\xff", "last"), put(store.Live, "\xff\xff\x00", "very last"))
	b.append(batch...)
}

func testQueries(t *testing.T, b *bench) {
	fillForQueries(b)
	b.fold()
	// Change tags and expiries, so that the indexes have to follow.
	moved := put(store.Runs, "env0/000", "moved")
	moved.Tags = [3]string{"b", "", "a"}
	b.append(moved, del(store.Runs, "env1/001"), put(store.Events, "env2/002", "no tags"))

	ranges := []store.Query{
		{},
		{Prefix: []byte("env1")},
		{Prefix: []byte("none")},
		{Prefix: []byte("\xff\xff")},
		{Prefix: []byte("\xff")},
		{From: []byte("env1/016")},
		{To: []byte("env1/016")},
		{From: []byte("env0/030"), To: []byte("env2/020")},
		{From: []byte("env2"), To: []byte("env1")},
		{Prefix: []byte("env1"), From: []byte("env0/030"), To: []byte("env1/040")},
		{Prefix: []byte("env1"), From: []byte("env1/019"), To: []byte("env3")},
	}
	for _, spec := range store.Tables {
		for _, q := range ranges {
			q.Table = spec.Table
			for _, selection := range selections(spec.Tags) {
				q.Tags = selection
				for _, q.Limit = range []int{0, 1, 7} {
					for _, q.Desc = range []bool{false, true} {
						b.wantQuery(q)
					}
				}
			}
		}
		for _, before := range []int64{1, 2, 30, 1000} {
			b.wantQuery(store.Query{Table: spec.Table, ExpiredBefore: before})
		}
	}
	rows, err := b.shard.Scan(t.Context(), store.Query{Table: store.Live, ExpiredBefore: 1000, Limit: 4})
	if err != nil || len(rows) != 4 {
		t.Errorf("a limited scan for expired rows gave %d rows and %v, want 4", len(rows), err)
	}
}

// selections are combinations of tags to ask for.
func selections(n int) [][3]string {
	all := [][3]string{{}}
	for i := range n {
		for _, s := range slices.Clone(all) {
			s[i] = tags[i]
			all = append(all, s)
		}
	}
	return all
}

func testQueryLimits(t *testing.T, b *bench) {
	batch := make([]store.Record, 0, store.MaxLimit+10)
	for i := range cap(batch) {
		batch = append(batch, put(store.Live, fmt.Sprintf("%06d", i), ""))
	}
	b.append(batch...)
	for limit, want := range map[int]int{0: store.DefaultLimit, -1: store.DefaultLimit, 5: 5, 1 << 30: store.MaxLimit} {
		rows, err := b.shard.Scan(t.Context(), store.Query{Table: store.Live, Limit: limit})
		if err != nil || len(rows) != want {
			t.Errorf("limit %d gave %d rows and %v, want %d", limit, len(rows), err, want)
		}
	}
}

func testLoad(t *testing.T, b *bench) {
	for i := 0; i < 5000; {
		batch := make([]store.Record, 250)
		for j := range batch {
			batch[j] = put(store.Live, fmt.Sprintf("%05d", i*7919%5000), fmt.Sprint(i))
			i++
		}
		b.append(batch...)
		if i%1000 == 0 {
			b.fold()
		}
	}
	b.reopen()
	n := 0
	err := b.shard.Load(t.Context(), store.Live, func(key, value []byte) error {
		if want := fmt.Sprintf("%05d", n); string(key) != want || string(value) != string(b.model.rows[store.Live][want].Value) {
			return fmt.Errorf("row %d is %q = %q", n, key, value)
		}
		n++
		return nil
	})
	if err != nil || n != 5000 {
		t.Errorf("loaded %d rows, %v", n, err)
	}

	n = 0
	err = b.shard.Load(t.Context(), store.Live, func(_, _ []byte) error {
		if n++; n == 3 {
			return errInjected
		}
		return nil
	})
	if !errors.Is(err, errInjected) || n != 3 {
		t.Errorf("a callback that fails on row 3 was called %d times, and Load returned %v", n, err)
	}
	b.wantRow(store.Live, "00000", []byte("0")) // the connection is fine
}
