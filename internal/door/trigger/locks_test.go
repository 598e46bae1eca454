package trigger

import (
	"fmt"
	"sync"
	"testing"
)

// TestLocks: equal names wait for each other, and others do not, however many one holds.
func TestLocks(t *testing.T) {
	t.Parallel()
	var l locks
	var held []func()
	for i := range 1000 {
		held = append(held, l.lock(fmt.Sprint(i)))
	}
	for _, unlock := range held {
		unlock()
	}
	n := 0
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			defer l.lock("same")()
			n++
		})
	}
	wg.Wait()
	if n != 100 || len(l.of) != 0 {
		t.Errorf("%d of 100 had their turn, and %d names are left", n, len(l.of))
	}
}
