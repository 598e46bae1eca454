package server

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A small heap may grow by more than it holds before it is collected: a quarter of the garbage collector's work is saved for memory that nobody misses. A
// large one may not, since there it would be gigabytes.
const (
	gcHeadroom = 192 << 20 // bytes that a heap may grow by, however small it is
	gcMost     = 400       // percent
)

// tuneMemory sets the garbage collector's pace by the size of the heap until ctx ends. GOGC in the environment is left alone.
func tuneMemory(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for set := 100; ; {
		metrics.Read(sample)
		if want := gcPercent(sample[0].Value.Uint64()); want != set {
			set = want
			debug.SetGCPercent(set)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// gcPercent is how many percent of what it holds a heap may grow by.
func gcPercent(live uint64) int {
	if live == 0 {
		return 100
	}
	percent := min(gcMost, max(100, int(gcHeadroom*100/live)))
	return percent / 50 * 50 // changing it is not free
}
