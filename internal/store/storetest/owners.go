package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

func testBadCalls(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "1"))
	for _, bad := range []store.Record{
		put(0, "key", "value"), put(200, "key", "value"), put(store.Steps, "shorter than 16", "value"),
	} {
		// What could never be folded must not get into the journal, nor take its batch along.
		if err := b.shard.Append(t.Context(), []store.Record{put(store.Live, "b", "2"), bad}); err == nil {
			t.Errorf("append of a record with table %d, key %q worked", bad.Table, bad.Key)
		}
		b.wantRow(store.Live, "b", nil)
		b.acquire() // the contract says so, after an error
	}
	if err := b.shard.Append(t.Context(), nil); err != nil {
		t.Errorf("append of nothing: %v", err)
	}
	if _, _, err := b.shard.Get(t.Context(), 99, []byte("a")); err == nil {
		t.Error("get from a table that is not worked")
	}
	if _, err := b.shard.List(t.Context(), store.Live, []byte("0123456789abcdef")); err == nil {
		t.Error("list of a table without partitions worked")
	}
	if _, err := b.shard.List(t.Context(), store.Steps, []byte("short")); err == nil {
		t.Error("list of a partition with a short name worked")
	}
	for _, q := range []store.Query{{Table: 99}, {Table: store.Live, Tags: [3]string{"a"}}, {Table: store.Jobs, Tags: [3]string{1: "a"}}} {
		if _, err := b.shard.Scan(t.Context(), q); err == nil {
			t.Errorf("scan %+v worked", q)
		}
	}
	if err := b.shard.Load(t.Context(), 99, nil); err == nil {
		t.Error("load of a table that is not worked")
	}
	b.wantAll()
}

func testCancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.shard.Append(ctx, []store.Record{put(store.Live, "a", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("append with a context that ended: %v", err)
	}
	b.wantRow(store.Live, "a", nil)
	b.acquire()
	b.append(put(store.Live, "a", "1"))
	if err := b.shard.Fold(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("fold with a context that ended: %v", err)
	}
	b.wantAll()
}

func testFencing(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "old"))
	old := b.shard
	b.acquire()
	if b.shard.Epoch() <= old.Epoch() {
		t.Errorf("epoch %d follows %d", b.shard.Epoch(), old.Epoch())
	}
	for range 2 {
		err := old.Append(t.Context(), []store.Record{put(store.Live, "a", "stale"), put(store.Live, "b", "stale")})
		if !errors.Is(err, store.ErrFenced) {
			t.Errorf("append by the older owner: %v, want ErrFenced", err)
		}
	}
	b.wantAll()
	b.append(put(store.Live, "a", "new"))
	b.reopen()
	b.wantAll()
}

// An owner that lost its shard while it had records to fold must not put them over newer ones.
func testFencedFold(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "old"), put(store.Live, "b", "old"))
	old := b.shard
	b.acquire()
	b.append(put(store.Live, "a", "new"), del(store.Live, "b"))
	b.fold()
	if err := old.Fold(t.Context()); !errors.Is(err, store.ErrFenced) {
		t.Errorf("fold by the older owner: %v, want ErrFenced", err)
	}
	b.wantAll()
	b.reopen()
	b.wantAll()
}

func testEpochsAscend(t *testing.T, b *bench) {
	last := b.shard.Epoch()
	for i := range 5 {
		b.append(put(store.Live, fmt.Sprint(i), "value"))
		if i%2 == 0 {
			b.reopen()
		} else {
			b.acquire()
		}
		if b.shard.Epoch() <= last {
			t.Errorf("epoch %d follows %d", b.shard.Epoch(), last)
		}
		last = b.shard.Epoch()
	}
	b.wantAll()
}

// Shards have a journal and an owner each.
func testShards(t *testing.T, b *bench) {
	other, err := b.store.Acquire(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	batch := []store.Record{put(store.Live, "of 7", "value")}
	if err := other.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	b.append(put(store.Live, "of 0", "value"))
	b.fold()
	b.acquire()
	if err := other.Append(t.Context(), []store.Record{put(store.Apps, "of 7", "value")}); err != nil {
		t.Errorf("append to shard 7 after shard 0 had a new owner: %v", err)
	}
	if got, _ := other.Unfolded(); got != 2 {
		t.Errorf("%d records of shard 7 wait for a fold, want 2", got)
	}
	b.reopen()
	if _, err := b.store.Acquire(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	b.model.apply(batch)
	b.model.apply([]store.Record{put(store.Apps, "of 7", "value")})
	b.wantAll()
}

// After an error that says nothing the handle is of no more use, and the next owner finds out.
func testUnknownOutcome(t *testing.T, b *bench) {
	for _, at := range []Point{AppendStart, AppendDone} {
		record := put(store.Live, string(at), "value")
		b.place.Hook(failOnce(at))
		if err := b.shard.Append(t.Context(), []store.Record{record}); err == nil {
			t.Errorf("append worked that fails at %q", at)
		}
		if err := b.shard.Append(t.Context(), []store.Record{put(store.Live, "after", "value")}); err == nil {
			t.Errorf("append worked on a handle that had failed at %q", at)
		}
		b.acquire()
		if at == AppendDone {
			b.model.apply([]store.Record{record})
		}
		b.append(put(store.Live, "again after "+string(at), "value"))
		b.wantAll()
	}
}

func testLocked(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "1"))
	if s, err := b.place.Open(t.Context()); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second open gave %v, want ErrLocked", err)
		if err == nil {
			_ = s.Close()
		}
	}
	b.append(put(store.Live, "b", "2"))
	b.reopen()
	b.wantAll()
}

func testClosed(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "1"), put(store.Apps, "a", "1"))
	b.fold()
	b.append(put(store.Live, "b", "1"))
	for range 2 {
		if err := b.store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	h, ctx := b.shard, t.Context()
	calls := map[string]func() error{
		"append": func() error { return h.Append(ctx, []store.Record{put(store.Live, "c", "1")}) },
		"fold":   func() error { return h.Fold(ctx) },
		"get":    func() error { _, _, err := h.Get(ctx, store.Live, []byte("a")); return err },
		"get of what is not folded": func() error {
			_, _, err := h.Get(ctx, store.Live, []byte("b"))
			return err
		},
		"list":    func() error { _, err := h.List(ctx, store.Steps, []byte("0123456789abcdef")); return err },
		"scan":    func() error { _, err := h.Scan(ctx, store.Query{Table: store.Apps}); return err },
		"load":    func() error { return h.Load(ctx, store.Apps, func(_, _ []byte) error { return nil }) },
		"acquire": func() error { _, err := b.store.Acquire(ctx, 0); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s on a closed store: %v, want ErrClosed", name, err)
		}
	}
	b.open()
	b.wantAll()
}

// An appender, a folder and readers at once. Each batch writes the same number to every row of a partition, one of which lives
// in another table, so a reader that sees half of a batch is caught.
func testConcurrent(t *testing.T, b *bench) {
	const batches = 300
	part := in("run", "")
	write := func(n int) {
		var batch []store.Record
		for i := range 5 {
			batch = append(batch, put(store.Steps, in("run", fmt.Sprint(i)), fmt.Sprint(n)))
		}
		b.append(append(batch, put(store.Live, fmt.Sprint("job", n), "1"), del(store.Live, fmt.Sprint("job", n-2)))...)
	}
	write(0)
	done := make(chan struct{})
	var others sync.WaitGroup
	repeat := func(fn func() error) {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := fn(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	repeat(func() error { return b.shard.Fold(context.WithoutCancel(t.Context())) })
	for range 2 {
		last := 0
		repeat(func() error {
			rows, err := b.shard.List(t.Context(), store.Steps, []byte(part))
			if err != nil {
				return err
			}
			if len(rows) != 5 {
				return fmt.Errorf("a list gave %d rows, want 5", len(rows))
			}
			for _, row := range rows {
				if string(row.Value) != string(rows[0].Value) {
					return fmt.Errorf("a list saw half of a batch: %q", printable(rows))
				}
			}
			n := 0
			if _, err := fmt.Sscan(string(rows[0].Value), &n); err != nil || n < last {
				return fmt.Errorf("a list went back from batch %d to %d: %v", last, n, err)
			}
			last = n
			return nil
		})
	}
	repeat(func() error {
		_, err := b.shard.Scan(t.Context(), store.Query{Table: store.Live})
		return err
	})
	for n := 1; n < batches && !t.Failed(); n++ {
		write(n)
		b.wantRow(store.Live, fmt.Sprint("job", n), []byte("1"))
		b.wantRow(store.Live, fmt.Sprint("job", n-2), nil)
	}
	close(done)
	others.Wait()
	b.wantAll()
}
