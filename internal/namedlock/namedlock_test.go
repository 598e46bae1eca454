package namedlock

import (
	"fmt"
	"sync"
	"testing"
)

// TestSet: equal names wait for each other, and others do not, however many one holds.
func TestSet(t *testing.T) {
	t.Parallel()
	var s Set
	var held []func()
	for i := range 1000 {
		held = append(held, s.Lock(fmt.Sprint(i)))
	}
	for _, unlock := range held {
		unlock()
	}
	n := 0
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			defer s.Lock("same")()
			n++
		})
	}
	wg.Wait()
	if n != 100 || len(s.of) != 0 {
		t.Errorf("%d of 100 had their turn, and %d names are left", n, len(s.of))
	}
}
