// Package calls runs the calls that the engine asks doors for: in the background, with their outcomes reported whatever the load, and
// with an orderly end.
package calls

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
)

// Submitter is what a Runner needs of a shard's host.
type Submitter interface {
	Submit(ctx context.Context, cmd engine.Command) (any, error)
}

// Runner runs calls. The zero value with a Host is ready.
type Runner struct {
	Host Submitter

	wg       sync.WaitGroup
	stopped  atomic.Bool
	inFlight atomic.Int64
}

// Go runs a call in the background and reports what it returns; nil means that there is nothing to report, because the server is
// stopping or the shard went away: the engine asks again. Go does not block.
func (r *Runner) Go(c *engine.Call, call func(context.Context, *engine.Call) *engine.Report) {
	if r.stopped.Load() {
		return
	}
	r.wg.Add(1)
	r.inFlight.Add(1)
	go func() {
		defer r.wg.Done()
		defer r.inFlight.Add(-1)
		if rep := call(context.Background(), c); rep != nil {
			r.report(rep)
		}
	}()
}

// Do runs something else in the background that belongs to the calls and is waited for like them. It does not block.
func (r *Runner) Do(fn func(context.Context)) {
	if r.stopped.Load() {
		return
	}
	r.wg.Go(func() { fn(context.Background()) })
}

// report hands the outcome to the engine. When there is too much to do it waits: what an app did must not be lost for
// that. When the shard is gone it gives up, since recovery makes the call again.
func (r *Runner) report(rep *engine.Report) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, err := r.Host.Submit(context.Background(), rep)
		if !errors.Is(err, shard.ErrOverloaded) {
			return
		}
		time.Sleep(wait)
	}
}

// InFlight is the number of calls that are out.
func (r *Runner) InFlight() int64 { return r.inFlight.Load() }

// Stop makes no more calls: what the engine asks for from now on is asked for again after a restart.
func (r *Runner) Stop() { r.stopped.Store(true) }

// Stopped says that Stop was called.
func (r *Runner) Stopped() bool { return r.stopped.Load() }

// Drain waits until the calls that are out have answered and their answers are stored.
func (r *Runner) Drain() { r.wg.Wait() }
