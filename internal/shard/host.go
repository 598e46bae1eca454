package shard

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Config of a Host. Zero fields take the defaults that are named.
type Config struct {
	Shard  int           // which shard of the store
	Store  store.Store   // required
	Engine engine.Config // of each machine that is made
	// Effect is called for every effect once it is durable, in order, by one goroutine. It must not block. Required.
	Effect func(engine.Effect)
	// Changed is called with the records of each batch once they are durable, for live views. It must not block and must not
	// change them. Optional.
	Changed func([]store.Record)
	Log     *slog.Logger     // required
	Now     func() time.Time // default time.Now
	Inbox   int              // as in RunnerConfig, like the next two
	Batch   int
	// FoldEvery is the time between folds; default 200 ms.
	FoldEvery time.Duration
	// Cache is how many bytes of events and steps are kept in memory for the calls of their runs; default 64 MiB.
	Cache int
	// MaxUnfolded is the number of bytes in the journal at which new commands wait for a fold; default 256 MiB.
	MaxUnfolded int64
}

// Host runs the shard of the engine, with caches of what its calls need. The replies of commands are said at each.
type Host struct {
	*Runner[engine.Command, any, engine.Effect]
	cache *cache
	parts *parts
}

// New makes a host; it does nothing until Run.
func New(cfg Config) *Host {
	size := cmp.Or(cfg.Cache, 64<<20)
	h := &Host{cache: newCache(size / 2), parts: newParts(size / 2)}
	type machine = Machine[engine.Command, any, engine.Effect]
	h.Runner = NewRunner(RunnerConfig[engine.Command, any, engine.Effect]{
		Shard: cfg.Shard, Store: cfg.Store, Effect: cfg.Effect, Changed: cfg.Changed, Log: cfg.Log, Now: cfg.Now,
		Inbox: cfg.Inbox, Batch: cfg.Batch, FoldEvery: cfg.FoldEvery, MaxUnfolded: cfg.MaxUnfolded,
		Make: func() machine { return engine.New(cfg.Engine) },
		Began: func(m machine) (lost []engine.Effect) {
			h.parts.reset()
			for _, f := range m.(*engine.Machine).Facts() {
				lost = append(lost, f)
			}
			return lost
		},
		Committed: func(records []store.Record) {
			h.cache.note(records)
			h.parts.note(records)
		},
	})
	return h
}

// Do submits a command whose reply is a T.
func Do[T any](ctx context.Context, h *Host, cmd engine.Command) (T, error) {
	v, err := h.Submit(ctx, cmd)
	if err != nil {
		var zero T
		return zero, err
	}
	return v.(T), nil
}

// Get reads one row as of the last commit. The value must not be changed.
func (h *Host) Get(ctx context.Context, t store.Table, key []byte) ([]byte, bool, error) {
	sh, err := h.Store()
	if err != nil {
		return nil, false, err
	}
	if !cached(t) {
		return sh.Get(ctx, t, key)
	}
	if v, ok := h.cache.get(key); ok {
		return v, true, nil
	}
	v, ok, err := sh.Get(ctx, t, key)
	if ok && err == nil {
		h.cache.add(key, v)
	}
	return v, ok, err
}

// List reads one partition as of the last commit. The values must not be changed.
func (h *Host) List(ctx context.Context, t store.Table, part []byte) ([]store.Row, error) {
	sh, err := h.Store()
	if err != nil {
		return nil, err
	}
	if t == store.Steps {
		if rows, ok := h.parts.list(part); ok {
			return rows, nil
		}
	}
	return sh.List(ctx, t, part)
}

// Scan runs a query as of the last commit.
func (h *Host) Scan(ctx context.Context, q store.Query) ([]store.Row, error) {
	sh, err := h.Store()
	if err != nil {
		return nil, err
	}
	return sh.Scan(ctx, q)
}
