package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Place { return &place{disk: NewDisk()} })
}

// place lets the suite at a disk.
type place struct {
	disk            *Disk
	hook            func(storetest.Point) error
	journal, tables bool // full
}

func (p *place) Open(context.Context) (store.Store, error) {
	s, err := Open(p.disk)
	if err != nil {
		return nil, err
	}
	p.journal, p.tables, p.hook = false, false, nil
	p.disk.SetHook(p.at)
	return s, nil
}

func (p *place) Hook(fn func(storetest.Point) error) { p.hook = fn }

func (p *place) Crash(*testing.T) storetest.Place {
	p.disk.Crash()
	return &place{disk: p.disk}
}

func (p *place) Full(_ *testing.T, journal, tables bool) { p.journal, p.tables = journal, tables }

func (p *place) at(_ int, step Step) error {
	switch {
	case step == AppendWrite && p.journal, step == FoldTable && p.tables:
		return store.ErrFull
	case p.hook == nil:
		return nil
	}
	point, ok := map[Step]storetest.Point{
		AppendWrite: storetest.AppendStart, AppendReturn: storetest.AppendDone, FoldWrite: storetest.FoldStart,
		FoldTable: storetest.FoldWritten, FoldTruncate: storetest.FoldCommitted, FoldReturn: storetest.FoldTruncated,
	}[step]
	if !ok {
		return nil
	}
	return p.hook(point)
}

// What a disk was not asked to sync it loses when it crashes, and keeps when only the writer gives up.
func TestUnsyncedAppend(t *testing.T) {
	for _, crash := range []bool{true, false} {
		ctx := t.Context()
		disk := NewDisk()
		s, err := Open(disk)
		if err != nil {
			t.Fatal(err)
		}
		h, err := s.Acquire(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		disk.SetHook(FailNth(AppendSync, 2, store.ErrFull))
		for i, want := range []bool{true, false, false} {
			err := h.Append(ctx, []store.Record{{Table: store.Live, Key: fmt.Append(nil, i), Value: []byte("value")}})
			if (err == nil) != want || errors.Is(err, store.ErrFull) {
				t.Errorf("append %d: %v", i, err)
			}
		}
		if crash {
			disk.Crash()
			if err := h.Fold(ctx); !errors.Is(err, store.ErrClosed) {
				t.Errorf("fold after the crash: %v", err)
			}
			if s, err = Open(disk); err != nil {
				t.Fatal(err)
			}
		}
		if h, err = s.Acquire(ctx, 0); err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, !crash, false} {
			if _, ok, err := h.Get(ctx, store.Live, fmt.Append(nil, i)); ok != want || err != nil {
				t.Errorf("crash=%v: batch %d is there: %v, %v; want %v", crash, i, ok, err, want)
			}
		}
	}
}

func TestOrdered(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var o ordered[int]
	model := make(map[string]int)
	for i := range 20_000 {
		key := fmt.Sprintf("%04d", r.IntN(5000))
		if r.IntN(3) == 0 {
			o.delete(key)
			delete(model, key)
		} else {
			o.set(key, i)
			model[key] = i
		}
	}
	keys := slices.Sorted(maps.Keys(model))
	for range 200 {
		from, to := fmt.Sprintf("%04d", r.IntN(5000)), fmt.Sprintf("%04d", r.IntN(5000))
		if r.IntN(4) == 0 {
			from = ""
		}
		if r.IntN(4) == 0 {
			to = ""
		}
		var want []string
		for _, k := range keys {
			if k >= from && (to == "" || k < to) {
				want = append(want, k)
			}
		}
		var up, down []string
		for k, v := range o.ascend(from, to) {
			if up = append(up, k); v != model[k] {
				t.Fatalf("%q = %d, want %d", k, v, model[k])
			}
		}
		for k := range o.descend(from, to) {
			down = append(down, k)
		}
		slices.Reverse(down)
		if !slices.Equal(up, want) || !slices.Equal(down, want) {
			t.Fatalf("range %q to %q: %d up, %d down, want %d", from, to, len(up), len(down), len(want))
		}
	}
	for k := range model {
		o.delete(k)
	}
	if len(o.blocks) != 0 {
		t.Errorf("%d blocks are left of nothing", len(o.blocks))
	}
}
