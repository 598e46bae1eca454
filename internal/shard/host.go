package shard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Errors of Submit and of the reads.
var (
	// ErrOverloaded: the inbox is full. Nothing was done; the caller should try again in a moment.
	ErrOverloaded = errors.New("shard: too many commands are waiting")
	// ErrUnavailable: the shard is recovering or stopping, or a commit failed. For a command that was submitted it
	// means that the outcome is unknown.
	ErrUnavailable = errors.New("shard: not available")
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
	Inbox   int              // commands that may wait; default 8192
	Batch   int              // records in one commit after which the loop waits for the committer; default 8192
	// FoldEvery is the time between folds; default 200 ms.
	FoldEvery time.Duration
	// Cache is how many bytes of events and steps are kept in memory for the calls of their runs; default 64 MiB.
	Cache int
	// MaxUnfolded is the number of bytes in the journal at which new commands wait for a fold; default 256 MiB.
	MaxUnfolded int64
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Inbox = cmp.Or(c.Inbox, 8192)
	c.Batch = cmp.Or(c.Batch, 8192)
	c.FoldEvery = cmp.Or(c.FoldEvery, 200*time.Millisecond)
	c.Cache = cmp.Or(c.Cache, 64<<20)
	c.MaxUnfolded = cmp.Or(c.MaxUnfolded, 256<<20)
	return c
}

// tickLimit is how many timers one turn of the loop fires, so that a million sleepers that wake at once do not keep
// commands waiting.
const tickLimit = 1000

// Host runs one shard. Make it with New, then call Run; everything else may be called from any goroutine at any time.
type Host struct {
	cfg   Config
	inbox chan submission
	core  atomic.Pointer[Core] // nil while recovering
	since atomic.Int64         // when the machine was recovered, ms
	ready chan struct{}        // closed after the first recovery
	once  sync.Once
	cache *cache
	parts *parts
	stats stats
}

type submission struct {
	cmd engine.Command
	to  func(any, error)
}

type stats struct {
	commands, batches, records, overloads, restarts atomic.Int64
	commitNanos, foldNanos                          atomic.Int64
	commitStarted                                   atomic.Int64 // unix nanoseconds, 0: none is under way
	foldFailing                                     atomic.Bool
}

// Stats are counters since the start.
type Stats struct {
	Commands, Batches, Records, Overloads, Restarts int64
	Inbox                                           int           // commands waiting now
	CommitTime, FoldTime                            time.Duration // spent in total
}

// New makes a host; it does nothing until Run.
func New(cfg Config) *Host {
	cfg = cfg.withDefaults()
	return &Host{cfg: cfg, inbox: make(chan submission, cfg.Inbox), ready: make(chan struct{}), cache: newCache(cfg.Cache / 2), parts: newParts(cfg.Cache / 2)}
}

// Ready is closed when the shard has recovered for the first time.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Since is when the machine that serves now was recovered from the store.
func (h *Host) Since() time.Time { return time.UnixMilli(h.since.Load()) }

// Submit gives a command to the machine and waits until it is durable. The reply's type is said at each command. A
// cancelled ctx stops the waiting, not the command.
func (h *Host) Submit(ctx context.Context, cmd engine.Command) (any, error) {
	type result struct {
		v   any
		err error
	}
	done := make(chan result, 1)
	if err := h.Post(cmd, func(v any, err error) { done <- result{v, err} }); err != nil {
		return nil, err
	}
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Post is Submit without waiting: to, which may be nil and must not block, gets the outcome.
func (h *Host) Post(cmd engine.Command, to func(any, error)) error {
	if h.core.Load() == nil {
		return ErrUnavailable
	}
	select {
	case h.inbox <- submission{cmd, to}:
		return nil
	default:
		h.stats.overloads.Add(1)
		return ErrOverloaded
	}
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
	c := h.core.Load()
	if c == nil {
		return nil, false, ErrUnavailable
	}
	if !cached(t) {
		return c.Store.Get(ctx, t, key)
	}
	if v, ok := h.cache.get(key); ok {
		return v, true, nil
	}
	v, ok, err := c.Store.Get(ctx, t, key)
	if ok && err == nil {
		h.cache.add(key, v)
	}
	return v, ok, err
}

// List reads one partition as of the last commit. The values must not be changed.
func (h *Host) List(ctx context.Context, t store.Table, part []byte) ([]store.Row, error) {
	c := h.core.Load()
	if c == nil {
		return nil, ErrUnavailable
	}
	if t == store.Steps {
		if rows, ok := h.parts.list(part); ok {
			return rows, nil
		}
	}
	return c.Store.List(ctx, t, part)
}

// Scan runs a query as of the last commit.
func (h *Host) Scan(ctx context.Context, q store.Query) ([]store.Row, error) {
	c := h.core.Load()
	if c == nil {
		return nil, ErrUnavailable
	}
	return c.Store.Scan(ctx, q)
}

// Run serves until ctx ends, recovering from the store after every failed commit. It returns an error only when the
// store cannot be used at all: it is fenced or locked by someone else, or was written by a newer version. When it returns
// nothing it started is running, and everything that was applied has been committed and folded if that was possible.
func (h *Host) Run(ctx context.Context) error {
	log := h.cfg.Log.With("shard", h.cfg.Shard)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := h.cfg.Now()
		err := h.serve(ctx)
		h.core.Store(nil)
		h.drain()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrLocked) || errors.Is(err, store.ErrClosed) {
			return err
		}
		if h.cfg.Now().Sub(began) > time.Minute {
			wait = 100 * time.Millisecond
		}
		h.stats.restarts.Add(1)
		log.Error("shard stopped and recovers from the store", "err", err, "wait", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// drain answers commands that came too late.
func (h *Host) drain() {
	for {
		select {
		case s := <-h.inbox:
			if s.to != nil {
				s.to(nil, ErrUnavailable)
			}
		default:
			return
		}
	}
}

// serve is one life of the machine.
func (h *Host) serve(ctx context.Context) (err error) {
	began := h.cfg.Now()
	core, facts, err := Recover(ctx, h.cfg.Store, h.cfg.Shard, engine.New(h.cfg.Engine), began.UnixMilli())
	if err != nil {
		return err
	}
	// Reading the state back leaves about as much garbage as state: a server with a million runs would begin with twice the memory that
	// it needs.
	debug.FreeOSMemory()
	h.cfg.Log.Info("shard recovered", "shard", h.cfg.Shard, "epoch", core.Store.Epoch(), "dur", h.cfg.Now().Sub(began))

	c := newCommitter(h, core)
	folder := newFolder(h, core.Store)
	var wg sync.WaitGroup
	wg.Go(c.run)
	wg.Go(folder.run)
	defer func() {
		close(c.batches)
		wg.Wait()
	}()
	defer close(folder.stop)

	h.parts.reset()
	for _, f := range facts {
		h.cfg.Effect(f)
	}
	h.since.Store(h.cfg.Now().UnixMilli())
	h.core.Store(core)
	h.once.Do(func() { close(h.ready) })
	return h.loop(ctx, core, c, folder)
}

// loop applies commands and timers, and hands a batch to the committer whenever that is idle.
func (h *Host) loop(ctx context.Context, core *Core, c *committer, folder *folder) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	busy := false // the committer has a batch
	for {
		if !busy && core.Size() > 0 {
			c.batches <- core.Seal()
			busy = true
		}
		inbox := h.inbox
		if core.Size() > h.cfg.Batch || folder.full.Load() {
			inbox = nil // let the disk catch up
		}
		select {
		case s := <-inbox:
			h.applyMany(core, s)
		case <-timer.C:
		case err := <-c.done:
			busy = false
			if err != nil {
				core.Seal().Fail(ErrUnavailable)
				return fmt.Errorf("commit: %w", err)
			}
		case <-ctx.Done():
			return h.finish(core, c, busy)
		}
		h.tick(core, timer)
	}
}

// applyMany applies a command and all that wait behind it, up to the size of a batch.
func (h *Host) applyMany(core *Core, s submission) {
	now := h.cfg.Now().UnixMilli()
	n := int64(0)
	for {
		core.Apply(now, s.cmd, s.to)
		n++
		if core.Size() > h.cfg.Batch {
			break
		}
		select {
		case s = <-h.inbox:
			continue
		default:
		}
		break
	}
	h.stats.commands.Add(n)
}

// tick fires what is due and sets the timer for what is not.
func (h *Host) tick(core *Core, timer *time.Timer) {
	if core.Size() > h.cfg.Batch {
		timer.Reset(time.Millisecond)
		return
	}
	now := h.cfg.Now()
	if core.Tick(now.UnixMilli(), tickLimit) {
		timer.Reset(0)
		return
	}
	wait := time.Minute // also bounds how long a step of the wall clock goes unnoticed
	if at, ok := core.Machine.Next(); ok {
		wait = min(wait, max(0, time.UnixMilli(at).Sub(now)))
	}
	timer.Reset(wait)
}

// finish commits what was applied before the host stopped.
func (h *Host) finish(core *Core, c *committer, busy bool) error {
	h.core.Store(nil)
	if busy {
		if err := <-c.done; err != nil {
			core.Seal().Fail(ErrUnavailable)
			return err
		}
	}
	if core.Size() > 0 {
		c.batches <- core.Seal()
		return <-c.done
	}
	return nil
}

// committer appends one batch at a time and releases it.
type committer struct {
	h       *Host
	core    *Core
	batches chan *Batch
	done    chan error
}

func newCommitter(h *Host, core *Core) *committer {
	return &committer{h: h, core: core, batches: make(chan *Batch, 1), done: make(chan error, 1)}
}

func (c *committer) run() {
	for b := range c.batches {
		st := &c.h.stats
		began := time.Now()
		st.commitStarted.Store(began.UnixNano())
		// A commit that was begun is finished even when the host stops.
		err := c.core.Commit(context.Background(), b)
		st.commitStarted.Store(0)
		st.commitNanos.Add(int64(time.Since(began)))
		if err != nil {
			b.Fail(fmt.Errorf("%w: %w", ErrUnavailable, err))
			c.done <- err
			continue
		}
		st.batches.Add(1)
		st.records.Add(int64(len(b.Records())))
		c.h.cache.note(b.Records())
		c.h.parts.note(b.Records())
		c.done <- nil // the next batch may be on its way to the disk while this one is released
		b.Release(c.h.cfg.Effect)
		if c.h.cfg.Changed != nil && len(b.Records()) > 0 {
			c.h.cfg.Changed(b.Records())
		}
	}
}

// folder folds the journal from time to time.
type folder struct {
	h    *Host
	sh   store.Shard
	stop chan struct{}
	full atomic.Bool // too much is unfolded
}

func newFolder(h *Host, sh store.Shard) *folder {
	return &folder{h: h, sh: sh, stop: make(chan struct{})}
}

func (f *folder) run() {
	t := time.NewTicker(f.h.cfg.FoldEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f.fold()
		case <-f.stop:
			f.fold()
			return
		}
	}
}

func (f *folder) fold() {
	n, bytes := f.sh.Unfolded()
	f.full.Store(bytes > f.h.cfg.MaxUnfolded)
	if n == 0 {
		return
	}
	began := time.Now()
	err := f.sh.Fold(context.Background())
	f.h.stats.foldNanos.Add(int64(time.Since(began)))
	failing := err != nil
	if f.h.stats.foldFailing.Swap(failing) != failing && failing {
		f.h.cfg.Log.Error("journal cannot be folded; it grows until it can", "shard", f.h.cfg.Shard, "err", err)
	}
	_, bytes = f.sh.Unfolded()
	f.full.Store(bytes > f.h.cfg.MaxUnfolded)
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	s := &h.stats
	return Stats{
		Commands: s.commands.Load(), Batches: s.batches.Load(), Records: s.records.Load(), Overloads: s.overloads.Load(),
		Restarts: s.restarts.Load(), Inbox: len(h.inbox),
		CommitTime: time.Duration(s.commitNanos.Load()), FoldTime: time.Duration(s.foldNanos.Load()),
	}
}

// Healthy reports why the shard does not do its work, nil when it does.
func (h *Host) Healthy() error {
	if h.core.Load() == nil {
		return ErrUnavailable
	}
	if at := h.stats.commitStarted.Load(); at != 0 && time.Since(time.Unix(0, at)) > 10*time.Second {
		return fmt.Errorf("shard: a commit has been waiting for the disk for %s", time.Since(time.Unix(0, at)).Round(time.Second))
	}
	if h.stats.foldFailing.Load() {
		return errors.New("shard: the journal cannot be folded into the tables")
	}
	if len(h.inbox) == cap(h.inbox) {
		return ErrOverloaded
	}
	return nil
}
