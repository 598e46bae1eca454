package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// A fold that fails, wherever it does, loses nothing and is made up for by the next.
func testFailedFold(t *testing.T, b *bench) {
	for _, at := range points[2:] {
		b.append(put(store.Live, "a", string(at)), put(store.Runs, "a", string(at)), del(store.Live, "b"))
		b.place.Hook(failOnce(at))
		if err := b.shard.Fold(t.Context()); !errors.Is(err, errInjected) {
			t.Errorf("a fold that fails at %q returned %v", at, err)
		}
		b.wantPointReads()
		b.append(put(store.Live, "b", string(at)), del(store.Runs, "a"))
		b.wantPointReads()
		b.wantAll()
		b.wantUnfolded(0)
	}
	b.reopen()
	b.wantAll()
}

// What is appended while a fold runs is neither folded nor truncated by it.
func testAppendDuringFold(t *testing.T, b *bench) {
	for _, at := range points[2:] {
		b.append(put(store.Live, "a", "before"), put(store.Live, "b", "before"))
		b.place.Hook(func(p Point) error {
			if p == at {
				b.place.Hook(nil)
				b.append(put(store.Live, "a", string(at)), del(store.Live, "b"))
				b.wantPointReads()
			}
			return nil
		})
		b.fold()
		b.wantPointReads()
		next := b.place.Crash(t)
		_ = b.store.Close()
		b.place = next
		b.open()
		b.wantAll()
	}
}

// A fold that broke off may have written a fresh row. Its delete must reach the tables, also after a crash.
func testFreshInPartialFold(t *testing.T, b *bench) {
	r := put(store.Live, "a", "value")
	r.Fresh = true
	b.append(r)
	b.place.Hook(failOnce(FoldWritten))
	if err := b.shard.Fold(t.Context()); !errors.Is(err, errInjected) {
		t.Fatalf("fold: %v", err)
	}
	b.append(del(store.Live, "a"))
	next := b.place.Crash(t)
	_ = b.store.Close()
	b.place = next
	b.open()
	b.wantAll()
}

func testFull(t *testing.T, b *bench) {
	b.append(put(store.Live, "a", "1"))
	b.fold()
	b.append(put(store.Live, "b", "1"))

	b.place.Full(t, true, false)
	big := strings.Repeat("x", 1<<20)
	for i := range 3 {
		err := b.shard.Append(t.Context(), []store.Record{put(store.Live, "a", "2"), put(store.Live, fmt.Sprint("c", i), big)})
		if !errors.Is(err, store.ErrFull) {
			t.Fatalf("append to a full journal: %v, want ErrFull", err)
		}
		b.wantRow(store.Live, fmt.Sprint("c", i), nil)
		b.wantRow(store.Live, "a", []byte("1"))
	}
	b.place.Full(t, false, false)
	b.append(put(store.Live, "c", big)) // the same handle works again

	b.place.Full(t, false, true)
	for range 3 {
		if err := b.shard.Fold(t.Context()); !errors.Is(err, store.ErrFull) {
			t.Fatalf("fold to full tables: %v, want ErrFull", err)
		}
		b.wantPointReads()
	}
	b.append(put(store.Live, "d", big)) // appends go on
	b.append(put(store.Live, "b", "2"))
	b.wantPointReads()
	b.place.Full(t, false, false)
	b.wantAll()

	// Also across a restart.
	b.append(put(store.Live, "e", big))
	b.place.Full(t, false, true)
	if err := b.shard.Fold(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Fatalf("fold to full tables: %v, want ErrFull", err)
	}
	b.reopen()
	b.wantAll()
}

// testCrashes crashes at every visit of every point in a short history.
func testCrashes(t *testing.T, first *bench) {
	for _, at := range points {
		t.Run(strings.ReplaceAll(string(at), " ", "-"), func(t *testing.T) {
			t.Parallel()
			for visit := 1; crashAt(t, first.fresh, at, visit); visit++ {
			}
		})
	}
}

// crashAt runs a history until the n-th visit of a point, crashes, and checks what is left. It returns false when the history
// is over before that.
func crashAt(t *testing.T, fresh func(*testing.T) Place, at Point, visit int) (crashed bool) {
	b := newBench(t, fresh)
	defer func() { _ = b.store.Close() }()
	var next Place
	b.place.Hook(func(p Point) error {
		if p == at && next == nil {
			if visit--; visit == 0 {
				next = b.place.Crash(t)
			}
		}
		if next != nil {
			return errInjected
		}
		return nil
	})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 12 {
		if i%4 == 3 {
			if err := b.shard.Fold(t.Context()); err != nil && next == nil {
				t.Fatalf("fold: %v", err)
			}
		}
		if next == nil {
			batch := randomBatch(r, b.model)
			err := b.shard.Append(t.Context(), batch)
			if err != nil && next == nil {
				t.Fatalf("append: %v", err)
			}
			// Nobody was told of the batch that the crash came after, but it is durable.
			if err == nil || at == AppendDone {
				b.model.apply(batch)
			}
		}
		if next != nil {
			_ = b.store.Close()
			b.place = next
			b.open()
			b.wantAll()
			b.append(put(store.Live, "after the crash", "value"))
			b.reopen()
			b.wantAll()
			return true
		}
	}
	return false
}

// SeedEnv names the environment variable with the seed to replay.
const SeedEnv = "STORETEST_SEED"

// testRandom runs random histories of everything that can happen.
func testRandom(t *testing.T, first *bench) {
	seeds, steps := uint64(5), 100
	if testing.Short() {
		seeds, steps = 2, 60
	}
	from := rand.Uint64N(1 << 32)
	if text := os.Getenv(SeedEnv); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", SeedEnv, err)
		}
		from, seeds = seed, 1
	}
	for seed := from; seed < from+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("replay with %s=%d go test -run '%s'", SeedEnv, seed, t.Name())
				}
			}()
			b := newBench(t, first.fresh)
			r := rand.New(rand.NewPCG(seed, 0))
			for range steps {
				randomStep(b, r)
			}
			b.wantAll()
		})
	}
}

func randomStep(b *bench, r *rand.Rand) {
	switch n := r.IntN(100); {
	case n < 60:
		b.append(randomBatch(r, b.model)...)
	case n < 72:
		b.fold()
	case n < 78:
		b.wantPointReads()
	case n < 82:
		b.wantQuery(randomQuery(r))
	case n < 88: // a fold that fails
		b.place.Hook(failOnce(points[2+r.IntN(4)]))
		_ = b.shard.Fold(b.t.Context()) // fails if there is anything to fold
		b.place.Hook(nil)
		b.wantPointReads()
	case n < 92: // an append whose outcome is not told
		at := points[r.IntN(2)]
		batch := randomBatch(r, b.model)
		b.place.Hook(failOnce(at))
		if err := b.shard.Append(b.t.Context(), batch); err == nil {
			b.t.Fatalf("append worked that fails at %q", at)
		}
		if at == AppendDone {
			b.model.apply(batch)
		}
		b.acquire()
	case n < 95:
		b.acquire()
	case n < 97:
		b.reopen()
		b.wantAll()
	default:
		next := b.place.Crash(b.t)
		_ = b.store.Close()
		b.place = next
		b.open()
		b.wantAll()
	}
}

func randomQuery(r *rand.Rand) store.Query {
	spec := store.Tables[r.IntN(len(store.Tables))]
	q := store.Query{Table: spec.Table, Desc: r.IntN(2) == 0, Limit: r.IntN(20)}
	for i := range spec.Tags {
		q.Tags[i] = append(tags, "")[r.IntN(len(tags)+1)]
	}
	if r.IntN(2) == 0 {
		q.From = fmt.Appendf(nil, "key-%02d", r.IntN(15))
	}
	if r.IntN(2) == 0 {
		q.To = fmt.Appendf(nil, "key-%02d", r.IntN(15))
	}
	return q
}
