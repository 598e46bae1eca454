// Package retention deletes what is old: ended runs with all that belongs to them, events that no unfinished run needs, and
// keys that have expired. It works in small batches, so that nothing else has to wait for it.
package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// Config of a Sweeper. Zero fields take the defaults that are named.
type Config struct {
	Host   *shard.Host
	Log    *slog.Logger
	Now    func() time.Time // default time.Now
	Keep   time.Duration    // age at which ended runs and events are deleted; 0: never
	Every  time.Duration    // time between sweeps; default 1 minute
	Batch  int              // rows looked at in one go; default 500
	Failed time.Duration    // age for runs that failed, when longer than Keep; default 4 × Keep
}

// Sweeper deletes what is old.
type Sweeper struct {
	cfg  Config
	runs []byte // where the last batch of runs ended: unfinished and failed ones stay behind it until the next round
	evs  []byte
}

// New makes a sweeper; it does nothing until Run.
func New(cfg Config) *Sweeper {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Every = cmp.Or(cfg.Every, time.Minute)
	cfg.Batch = cmp.Or(cfg.Batch, 500)
	cfg.Failed = cmp.Or(cfg.Failed, 4*cfg.Keep)
	return &Sweeper{cfg: cfg}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	t := time.NewTicker(s.cfg.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, shard.ErrUnavailable) {
			s.cfg.Log.Warn("old history cannot be deleted", "err", err)
		}
	}
}

// Sweep makes one round over everything and says how many rows it deleted.
func (s *Sweeper) Sweep(ctx context.Context) (int, error) {
	total := 0
	now := s.cfg.Now()
	steps := []func(context.Context, time.Time) (int, bool, error){s.expired(store.Idempotency), s.expired(store.Flow), s.expired(store.Logs), s.expired(store.Dead)}
	if s.cfg.Keep > 0 {
		steps = append(steps, s.oldRuns, s.oldEvents)
	}
	for _, step := range steps {
		for more := true; more; {
			n, again, err := step(ctx, now)
			total += n
			if err != nil {
				return total, err
			}
			more = again && ctx.Err() == nil
		}
	}
	s.runs, s.evs = nil, nil
	return total, nil
}

// expired deletes rows that carry an expiry.
func (s *Sweeper) expired(t store.Table) func(context.Context, time.Time) (int, bool, error) {
	return func(ctx context.Context, now time.Time) (int, bool, error) {
		rows, err := s.cfg.Host.Scan(ctx, store.Query{Table: t, ExpiredBefore: now.UnixMilli(), Limit: s.cfg.Batch})
		if err != nil {
			return 0, false, fmt.Errorf("find expired rows: %w", err)
		}
		keys := make([]engine.RowKey, 0, len(rows))
		for _, r := range rows {
			keys = append(keys, engine.RowKey{Table: t, Key: r.Key})
		}
		n, err := s.forget(ctx, keys)
		// A full batch of which nothing could go would be found again at once.
		return n, len(rows) == s.cfg.Batch && n > 0, err
	}
}

// cut is the smallest ULID of an instant.
func cut(t time.Time) (id engine.ID) {
	_ = id.SetTime(uint64(max(0, t.UnixMilli()))) // not after the year 10889
	return id
}

func (s *Sweeper) oldRuns(ctx context.Context, now time.Time) (int, bool, error) {
	rows, err := s.cfg.Host.Scan(ctx, store.Query{Table: store.Runs, From: s.runs, To: engine.RunKey(cut(now.Add(-s.cfg.Keep))), Limit: s.cfg.Batch})
	if err != nil || len(rows) == 0 {
		return 0, false, err
	}
	s.runs = append(rows[len(rows)-1].Key, 0)
	var keys []engine.RowKey
	n := 0
	for _, r := range rows {
		if len(keys) >= atOnce { // a run may have thousands of rows
			k, err := s.forget(ctx, keys)
			if n += k; err != nil {
				return n, false, err
			}
			keys = keys[:0]
		}
		run, err := engine.ParseRunRow(r.Value)
		if err != nil {
			return n, false, err
		}
		if !run.Status.Ended() || run.Ended > now.Add(-s.cfg.Keep).UnixMilli() ||
			run.Status == engine.Failed && run.Ended > now.Add(-s.cfg.Failed).UnixMilli() {
			continue
		}
		for _, t := range []store.Table{store.Steps, store.Attempts, store.Spans, store.Streams} {
			part, err := s.cfg.Host.List(ctx, t, r.Key)
			if err != nil {
				return n, false, err
			}
			for _, p := range part {
				keys = append(keys, engine.RowKey{Table: t, Key: p.Key})
			}
		}
		keys = append(keys, engine.RowKey{Table: store.Runs, Key: r.Key})
		for _, ev := range run.Events[min(1, len(run.Events)):] {
			keys = append(keys, engine.RowKey{Table: store.Links, Key: append(ev.Bytes(), run.ID[:]...)})
		}
	}
	k, err := s.forget(ctx, keys)
	return n + k, len(rows) == s.cfg.Batch, err
}

// oldEvents deletes events whose runs are all gone or ended: a run that sleeps for a year still needs its own.
func (s *Sweeper) oldEvents(ctx context.Context, now time.Time) (int, bool, error) {
	limit := cut(now.Add(-s.cfg.Keep))
	rows, err := s.cfg.Host.Scan(ctx, store.Query{Table: store.Events, From: s.evs, Limit: s.cfg.Batch})
	if err != nil || len(rows) == 0 {
		return 0, false, err
	}
	s.evs = append(rows[len(rows)-1].Key, 0)
	var keys []engine.RowKey
	young := 0
	for _, r := range rows {
		id := ulid.ULID(r.Key[len(r.Key)-16:])
		if id.Compare(limit) >= 0 {
			young++
			continue
		}
		used, err := s.used(ctx, id)
		if err != nil {
			return 0, false, err
		}
		if !used {
			keys = append(keys, engine.RowKey{Table: store.Events, Key: r.Key})
		}
	}
	n, err := s.forget(ctx, keys)
	return n, len(rows) == s.cfg.Batch && young < len(rows), err
}

// used says whether any run of an event is still in the store: its page shows the event.
func (s *Sweeper) used(ctx context.Context, id engine.ID) (bool, error) {
	q := store.Query{Table: store.Runs, Limit: 1}
	q.Tags[2] = engine.RunEventTag(id)
	rows, err := s.cfg.Host.Scan(ctx, q)
	if err != nil || len(rows) > 0 {
		return true, err
	}
	links, err := s.cfg.Host.List(ctx, store.Links, id[:])
	return len(links) > 0, err
}

// atOnce bounds the rows of one command: others wait while it is applied.
const atOnce = 2000

func (s *Sweeper) forget(ctx context.Context, keys []engine.RowKey) (int, error) {
	total := 0
	for part := range slices.Chunk(keys, atOnce) {
		n, err := shard.Do[int](ctx, s.cfg.Host, &engine.Forget{Rows: part})
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}
