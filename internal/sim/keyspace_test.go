package sim

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestSimulationOfKeyspace(t *testing.T) {
	if *one != 0 {
		if err := simulateKeys(*one); err != nil {
			t.Fatal(err)
		}
		return
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for seed := uint64(1); seed <= uint64(*seeds); seed++ {
		g.Go(func() error {
			if err := simulateKeys(seed); err != nil {
				return fmt.Errorf("seed %d: %w\n\nreplay with: make sim SEED=%d", seed, err, seed)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func simulateKeys(seed uint64) error {
	w := newKeyWorld(seed)
	for range steps {
		w.step()
		if err := w.err(); err != nil {
			return err
		}
	}
	w.disk.SetHook(nil)
	w.flush()
	w.crash("the end", nil)
	return w.err()
}
