package server

import "testing"

func TestSmallHeapsMayGrow(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{0: 100, 1 << 20: 400, 48 << 20: 400, 64 << 20: 300, 150 << 20: 100, 192 << 20: 100, 4 << 30: 100} {
		if got := gcPercent(live); got != want {
			t.Errorf("a heap of %d MiB may grow by %d %%, want %d", live>>20, got, want)
		}
	}
}
