package sim

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestLeases(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), uint64(*seeds)
	if *one != 0 {
		first, last = *one, *one
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for seed := first; seed <= last; seed++ {
		g.Go(func() error {
			if err := simulateLeases(seed); err != nil {
				return fmt.Errorf("leases, seed %d: %w", seed, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// simulateLeases runs one history of workers to its end.
func simulateLeases(seed uint64) (err error) {
	w := newWorkers(seed)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%w", r, w.check.err())
		}
	}()
	for range steps {
		w.step()
		if err := w.check.err(); err != nil {
			return err
		}
	}
	if err := w.rest(); err != nil {
		return err
	}
	return w.check.err()
}
