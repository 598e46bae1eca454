package calls

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// Gone says that an error is about the server, which stops or whose store is away, and not about what was asked of it.
func Gone(err error) bool {
	return errors.Is(err, shard.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, dispatch.ErrStopped)
}

// Insist does in the background what follows from something that is stored, again and again until it succeeds. A server that stops gives up: the engine
// tells of what was not settled after the next start. It does not block.
func (r *Runner) Insist(log *slog.Logger, what string, do func(context.Context) error) {
	r.Do(func(ctx context.Context) {
		for wait := 20 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := do(ctx)
			if err == nil || Gone(err) && r.Stopped() {
				return
			}
			if !Gone(err) && !errors.Is(err, shard.ErrOverloaded) {
				log.Error(what+" cannot be done and is tried again", "err", err)
			}
			time.Sleep(wait)
		}
	})
}
