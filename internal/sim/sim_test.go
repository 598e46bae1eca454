package sim

import (
	"flag"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"
)

var (
	seeds = flag.Int("seeds", 60, "how many seeds to run")
	one   = flag.Uint64("seed", 0, "run only this seed")
)

// steps is the length of one simulated history.
const steps = 1500

func TestSimulation(t *testing.T) {
	if *one != 0 {
		if err := simulate(*one); err != nil {
			t.Fatal(err)
		}
		return
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for seed := uint64(1); seed <= uint64(*seeds); seed++ {
		g.Go(func() error {
			if err := simulate(seed); err != nil {
				return fmt.Errorf("seed %d: %w\n\nreplay with: make sim SEED=%d", seed, err, seed)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// simulate runs one history to its end.
func simulate(seed uint64) (err error) {
	w := newWorld(seed)
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
	if err := w.settleDown(); err != nil {
		return err
	}
	w.check.atRest()
	return w.check.err()
}

// TestSameSeedSameHistory holds the machine and its host to determinism: without it no seed could be replayed.
func TestSameSeedSameHistory(t *testing.T) {
	var logs [2]string
	for i := range logs {
		w := newWorld(7)
		for range steps {
			w.step()
		}
		logs[i] = fmt.Sprint(w.log, w.now, w.ids, len(w.calls))
	}
	if logs[0] != logs[1] {
		t.Errorf("two runs of one seed differ:\n%s\n%s", logs[0], logs[1])
	}
}
