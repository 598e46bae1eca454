package shard

import (
	"io"
	"log/slog"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// TestFoldOfWhatCameAndWent: no record waits for the fold, but the journal does.
func TestFoldOfWhatCameAndWent(t *testing.T) {
	t.Parallel()
	disk := memory.NewDisk()
	st, err := memory.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	sh, err := st.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []store.Record{
		{Table: store.Live, Key: []byte("k"), Value: []byte("v"), Fresh: true},
		{Table: store.Live, Key: []byte("k")},
	} {
		if err := sh.Append(t.Context(), []store.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := sh.Unfolded(); n != 0 {
		t.Fatalf("%d records wait", n)
	}
	truncated := 0
	disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.FoldTruncate {
			truncated++
		}
		return nil
	})
	f := folder{most: 1 << 20, log: slog.New(slog.NewTextHandler(io.Discard, nil)), stats: new(stats), sh: sh}
	for range 2 {
		f.fold()
	}
	if truncated != 1 {
		t.Errorf("two folds truncated the journal %d times, want once", truncated)
	}
}
