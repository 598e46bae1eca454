// Package storetest holds every implementation of the store to its contract.
//
// A test of an implementation calls [Run] with a function that makes a fresh [Place]. The suite drives the place through
// everything the contract promises, crashes at every step included, and compares what it reads with a plain map.
package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quartetjobs/quartet/internal/store"
)

// Point is a moment at which a test looks in, makes an operation fail, or crashes.
type Point string

// The points that each implementation has.
const (
	AppendStart   Point = "append start"   // nothing was written
	AppendDone    Point = "append done"    // durable, and the caller does not know
	FoldStart     Point = "fold start"     // nothing was written; the generation is taken
	FoldWritten   Point = "fold written"   // written in part or in whole, not committed
	FoldCommitted Point = "fold committed" // the tables are durable, the journal is not truncated
	FoldTruncated Point = "fold truncated" // the journal is truncated
)

var points = []Point{AppendStart, AppendDone, FoldStart, FoldWritten, FoldCommitted, FoldTruncated}

// Place is where one store keeps its data.
type Place interface {
	// Open opens the place. It is called again after Close, or on the result of Crash.
	Open(ctx context.Context) (store.Store, error)
	// Hook makes the open store call fn at each point and fail there with its error. nil removes it.
	Hook(fn func(Point) error)
	// Crash returns the place as the next process finds it if this one dies now. It may be called within a hook. The store
	// that is open will not be used again, except to be closed.
	Crash(t *testing.T) Place
	// Full leaves the open store no room for appends, for folds, or gives it back.
	Full(t *testing.T, journal, tables bool)
}

// Run runs the suite.
func Run(t *testing.T, fresh func(t *testing.T) Place) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"ReadsSeeAppends", testReadsSeeAppends},
		{"ReadsOwnTheirBytes", testReadsOwnTheirBytes},
		{"EmptyIsNotDeleted", testEmptyIsNotDeleted},
		{"Coalescing", testCoalescing},
		{"Fresh", testFresh},
		{"FreshTakenByFold", testFreshTakenByFold},
		{"Queries", testQueries},
		{"QueryLimits", testQueryLimits},
		{"Load", testLoad},
		{"BadCalls", testBadCalls},
		{"Cancelled", testCancelled},
		{"Fencing", testFencing},
		{"FencedFold", testFencedFold},
		{"EpochsAscend", testEpochsAscend},
		{"Shards", testShards},
		{"UnknownOutcome", testUnknownOutcome},
		{"FailedFold", testFailedFold},
		{"AppendDuringFold", testAppendDuringFold},
		{"FreshInPartialFold", testFreshInPartialFold},
		{"Full", testFull},
		{"Locked", testLocked},
		{"Closed", testClosed},
		{"Concurrent", testConcurrent},
		{"Crashes", testCrashes},
		{"Random", testRandom},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newBench(t, fresh))
		})
	}
}

// bench is a store under test with its shard 0 and the model it must agree with.
type bench struct {
	t     *testing.T
	fresh func(*testing.T) Place
	place Place
	store store.Store
	shard store.Shard
	model model
}

func newBench(t *testing.T, fresh func(*testing.T) Place) *bench {
	t.Helper()
	b := &bench{t: t, fresh: fresh, place: fresh(t), model: newModel()}
	b.open()
	return b
}

// open opens the place and acquires its shard.
func (b *bench) open() {
	b.t.Helper()
	s, err := b.place.Open(b.t.Context())
	if err != nil {
		b.t.Fatalf("open: %v", err)
	}
	b.store = s
	b.t.Cleanup(func() { _ = s.Close() })
	b.acquire()
}

func (b *bench) acquire() {
	b.t.Helper()
	h, err := b.store.Acquire(b.t.Context(), 0)
	if err != nil {
		b.t.Fatalf("acquire: %v", err)
	}
	b.shard = h
}

func (b *bench) reopen() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatalf("close: %v", err)
	}
	b.open()
}

// append appends records, which must work, and tells the model.
func (b *bench) append(records ...store.Record) {
	b.t.Helper()
	if err := b.shard.Append(b.t.Context(), records); err != nil {
		b.t.Fatalf("append %d records: %v", len(records), err)
	}
	b.model.apply(records)
}

func (b *bench) fold() {
	b.t.Helper()
	if err := b.shard.Fold(b.t.Context()); err != nil {
		b.t.Fatalf("fold: %v", err)
	}
}

// wantRow checks what Get says of a key; want is nil for a row that must not be.
func (b *bench) wantRow(table store.Table, key string, want []byte) {
	b.t.Helper()
	got, ok, err := b.shard.Get(b.t.Context(), table, []byte(key))
	if err != nil {
		b.t.Fatalf("get %v %q: %v", table, key, err)
	}
	if ok != (want != nil) || string(got) != string(want) || ok && got == nil {
		b.t.Errorf("get %v %q = %q, %v; want %q, %v", table, key, got, ok, want, want != nil)
	}
}

func (b *bench) wantUnfolded(want int) {
	b.t.Helper()
	if got, _ := b.shard.Unfolded(); got != want {
		b.t.Errorf("%d records wait for a fold, want %d", got, want)
	}
}

// wantPointReads compares Get and List with the model. They must agree whether or not anything is folded.
func (b *bench) wantPointReads() {
	b.t.Helper()
	for table, keys := range b.model.ever {
		for key := range keys {
			var want []byte
			if r, ok := b.model.rows[table][key]; ok {
				want = r.Value
			}
			b.wantRow(table, key, want)
		}
	}
	for _, spec := range store.Tables {
		if spec.Part == 0 {
			continue
		}
		for part := range b.model.parts(spec) {
			got, err := b.shard.List(b.t.Context(), spec.Table, []byte(part))
			if err != nil {
				b.t.Fatalf("list %s %q: %v", spec.Name, part, err)
			}
			b.wantRows("list "+spec.Name, got, b.model.query(store.Query{Table: spec.Table, Prefix: []byte(part)}))
		}
	}
}

// wantAll compares everything with the model. It folds.
func (b *bench) wantAll() {
	b.t.Helper()
	b.wantPointReads()
	b.fold()
	for _, spec := range store.Tables {
		var got []store.Row
		err := b.shard.Load(b.t.Context(), spec.Table, func(key, value []byte) error {
			got = append(got, store.Row{Key: append([]byte{}, key...), Value: append([]byte{}, value...)})
			return nil
		})
		if err != nil {
			b.t.Fatalf("load %s: %v", spec.Name, err)
		}
		b.wantRows("load "+spec.Name, got, b.model.query(store.Query{Table: spec.Table, Limit: store.MaxLimit}))
		for i := range spec.Tags {
			for _, tag := range tags {
				q := store.Query{Table: spec.Table}
				q.Tags[i] = tag
				b.wantQuery(q)
			}
		}
		b.wantQuery(store.Query{Table: spec.Table, ExpiredBefore: 50})
	}
	b.wantPointReads()
}

func (b *bench) wantQuery(q store.Query) {
	b.t.Helper()
	got, err := b.shard.Scan(b.t.Context(), q)
	if err != nil {
		b.t.Fatalf("scan %+v: %v", q, err)
	}
	want := b.model.query(q)
	if q.ExpiredBefore != 0 {
		sortRows(got) // in no particular order, says the contract
	}
	b.wantRows("scan "+describe(q), got, want)
}

func (b *bench) wantRows(what string, got, want []store.Row) {
	b.t.Helper()
	if diff := cmp.Diff(printable(want), printable(got)); diff != "" {
		b.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	for _, row := range got {
		if row.Value == nil {
			b.t.Fatalf("%s: row %q has a nil value", what, row.Key)
		}
	}
}

// printable makes rows of a diff readable.
func printable(rows []store.Row) []string {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = string(r.Key) + " = " + string(r.Value)
	}
	return lines
}

// errInjected is what hooks fail with.
var errInjected = errors.New("injected failure")

// failOnce returns a hook that fails the next visit of a point.
func failOnce(at Point) func(Point) error {
	done := false
	return func(p Point) error {
		if p != at || done {
			return nil
		}
		done = true
		return errInjected
	}
}
