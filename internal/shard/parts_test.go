package shard

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// TestPartsAreWhatTheStoreHas appends random rows and compares every partition that is kept with the store's.
func TestPartsAreWhatTheStoreHas(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	sh, err := memory.New().Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	p := newParts(6000)
	name := func(i int) string { return fmt.Sprintf("partition-%06d", i) }
	begun, kept := map[string]bool{}, 0
	for n := range 3000 {
		part := name(rng.IntN(40))
		rec := store.Record{Table: store.Steps, Key: []byte(part + fmt.Sprint("step-", rng.IntN(4))), Value: fmt.Append(nil, n), First: !begun[part]}
		begun[part] = true
		if !rec.First && rng.IntN(4) == 0 {
			rec.Value = nil
		}
		batch := []store.Record{rec}
		if rng.IntN(50) == 0 {
			batch = append(batch, store.Record{Table: store.Live, Key: []byte(part)})
		}
		if err := sh.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		p.note(batch)
		if p.size < 0 || p.size > p.limit {
			t.Fatalf("%d bytes are kept under a limit of %d", p.size, p.limit)
		}
		got, ok := p.list([]byte(part))
		if !ok {
			continue
		}
		kept++
		want, err := sh.List(t.Context(), store.Steps, []byte(part))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
			t.Fatalf("after %d appends %s differs from the store's (-store +kept):\n%s", n, part, diff)
		}
	}
	if kept < 100 {
		t.Errorf("only %d partitions were compared", kept)
	}
}
