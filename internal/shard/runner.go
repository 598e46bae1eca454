package shard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

// RunnerConfig of a Runner. Zero fields take the defaults that are named.
type RunnerConfig[C, R, E any] struct {
	Shard int                        // which shard of the store
	Store store.Store                // required
	Make  func() Machine[C, R, E]    // an empty machine, for each life; required
	Began func(Machine[C, R, E]) []E // effects that a crash may have swallowed, to be released again; optional
	// Effect is called for every effect once it is durable, in order, by one goroutine. It must not block. Required.
	Effect func(E)
	// Committed is called with the records of each batch once they are durable and before anything of it is released. It must not block and
	// must not change them. Optional.
	Committed func([]store.Record)
	// Changed is Committed after everything of the batch was released. Optional.
	Changed func([]store.Record)
	// Lost is called when the memory of a machine is dropped, with whatever it promised to do later. Optional.
	Lost func()
	// Lazy, when it is not 0, is how long records may wait for the disk while replies and effects do not: what was acknowledged within that time
	// may be lost. 0: nothing leaves before it is durable.
	Lazy       time.Duration
	Log        *slog.Logger     // required
	Now        func() time.Time // default time.Now
	Inbox      int              // commands that may wait; default 8192
	Batch      int              // records in one commit after which the loop waits for the committer; default 8192
	BatchBytes int              // bytes of them; default 32 MiB
	// FoldEvery is the time between folds; default 200 ms.
	FoldEvery time.Duration
	// FoldLater is for how long folds may be put off while there is much to do, up to LaterBytes that are not folded; default 0.
	FoldLater  time.Duration
	LaterBytes int64
	// MaxUnfolded is the number of bytes in the journal at which new commands wait for a fold; default 256 MiB.
	MaxUnfolded int64
}

func (c RunnerConfig[C, R, E]) withDefaults() RunnerConfig[C, R, E] {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Inbox = cmp.Or(c.Inbox, 8192)
	c.Batch = cmp.Or(c.Batch, 8192)
	c.BatchBytes = cmp.Or(c.BatchBytes, 32<<20)
	c.FoldEvery = cmp.Or(c.FoldEvery, 200*time.Millisecond)
	c.MaxUnfolded = cmp.Or(c.MaxUnfolded, 256<<20)
	return c
}

// tickLimit is how many timers one turn of the loop fires, so that a million sleepers that wake at once do not keep
// commands waiting.
const tickLimit = 1000

// Runner runs one shard. Make it with NewRunner, then call Run; everything else may be called from any goroutine at any time.
type Runner[C, R, E any] struct {
	cfg   RunnerConfig[C, R, E]
	inbox chan submission[C, R]
	core  atomic.Pointer[Core[C, R, E]] // nil while recovering
	since atomic.Int64                  // when the machine was recovered, ms
	ready chan struct{}                 // closed after the first recovery
	once  sync.Once
	stats stats

	// The loop's:
	committed time.Time // when the last commit began
	single    int       // how many batches in a row had one command
}

type submission[C, R any] struct {
	cmd C
	to  func(R, error)
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

// NewRunner makes a runner; it does nothing until Run.
func NewRunner[C, R, E any](cfg RunnerConfig[C, R, E]) *Runner[C, R, E] {
	cfg = cfg.withDefaults()
	return &Runner[C, R, E]{cfg: cfg, inbox: make(chan submission[C, R], cfg.Inbox), ready: make(chan struct{})}
}

// Ready is closed when the shard has recovered for the first time.
func (h *Runner[C, R, E]) Ready() <-chan struct{} { return h.ready }

// Since is when the machine that serves now was recovered from the store.
func (h *Runner[C, R, E]) Since() time.Time { return time.UnixMilli(h.since.Load()) }

// Submit gives a command to the machine and waits until it is durable. The reply's type is said at each command. A
// cancelled ctx stops the waiting, not the command.
func (h *Runner[C, R, E]) Submit(ctx context.Context, cmd C) (v R, err error) {
	type result struct {
		v   R
		err error
	}
	done := make(chan result, 1)
	if err := h.Post(cmd, func(v R, err error) { done <- result{v, err} }); err != nil {
		return v, err
	}
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}

// Post is Submit without waiting: to, which may be nil and must not block, gets the outcome.
func (h *Runner[C, R, E]) Post(cmd C, to func(R, error)) error {
	if h.core.Load() == nil {
		return ErrUnavailable
	}
	select {
	case h.inbox <- submission[C, R]{cmd, to}:
		return nil
	default:
		h.stats.overloads.Add(1)
		return ErrOverloaded
	}
}

// Store is the shard's part of the store, for reads as of the last commit.
func (h *Runner[C, R, E]) Store() (store.Shard, error) {
	c := h.core.Load()
	if c == nil {
		return nil, ErrUnavailable
	}
	return c.Store, nil
}

// Run serves until ctx ends, recovering from the store after every failed commit. It returns an error only when the
// store cannot be used at all: it is fenced or locked by someone else, was written by a newer version, or is damaged. When it returns
// nothing it started is running, and everything that was applied has been committed and folded if that was possible.
func (h *Runner[C, R, E]) Run(ctx context.Context) error {
	log := h.cfg.Log.With("shard", h.cfg.Shard)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := h.cfg.Now()
		err := h.serve(ctx)
		h.core.Store(nil)
		h.drain()
		if h.cfg.Lost != nil {
			h.cfg.Lost()
		}
		if ctx.Err() != nil {
			return nil
		}
		if isFinal(err) {
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

// isFinal reports an error that trying again does not help.
func isFinal(err error) bool {
	return slices.ContainsFunc([]error{store.ErrFenced, store.ErrNewer, store.ErrLocked, store.ErrDamaged, store.ErrClosed},
		func(final error) bool { return errors.Is(err, final) })
}

// drain answers commands that came too late.
func (h *Runner[C, R, E]) drain() {
	for {
		select {
		case s := <-h.inbox:
			if s.to != nil {
				var none R
				s.to(none, ErrUnavailable)
			}
		default:
			return
		}
	}
}

// serve is one life of the machine.
func (h *Runner[C, R, E]) serve(ctx context.Context) (err error) {
	began := h.cfg.Now()
	core, err := Recover(ctx, h.cfg.Store, h.cfg.Shard, h.cfg.Make(), began.UnixMilli())
	if err != nil {
		return err
	}
	// Reading the state back leaves about as much garbage as state: a server with a million runs would begin with twice the memory that
	// it needs.
	debug.FreeOSMemory()
	h.cfg.Log.Info("shard recovered", "shard", h.cfg.Shard, "epoch", core.Store.Epoch(), "dur", h.cfg.Now().Sub(began))

	c := newCommitter(h, core)
	folder := &folder{
		shard: h.cfg.Shard, every: h.cfg.FoldEvery, later: h.cfg.FoldLater, laterBytes: h.cfg.LaterBytes, most: h.cfg.MaxUnfolded, log: h.cfg.Log, stats: &h.stats, sh: core.Store, stop: make(chan struct{}),
	}
	var wg sync.WaitGroup
	wg.Go(c.run)
	wg.Go(folder.run)
	defer func() {
		close(c.batches)
		wg.Wait()
	}()
	defer close(folder.stop)

	if h.cfg.Began != nil {
		for _, e := range h.cfg.Began(core.Machine) {
			h.cfg.Effect(e)
		}
	}
	h.since.Store(h.cfg.Now().UnixMilli())
	h.core.Store(core)
	h.once.Do(func() { close(h.ready) })
	return h.loop(ctx, core, c, folder)
}

// fewSingles is after how many batches of one command the loop commits such a batch itself, instead of waking the committer and being
// woken by it: a client that sends one command at a time has nothing else to be applied meanwhile. Others that come are applied together
// when the disk has answered, and the batch after that is not a single one.
const fewSingles = 3

// loop applies commands and timers, and hands a batch to the committer whenever that is idle.
func (h *Runner[C, R, E]) loop(ctx context.Context, core *Core[C, R, E], c *committer[C, R, E], folder *folder) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	busy := false // the committer has a batch
	for {
		if h.cfg.Lazy > 0 {
			core.ReleaseOpen(h.cfg.Effect)
		}
		if !busy && core.Size() > 0 && h.mayWait(core) <= 0 {
			b := core.Seal()
			h.committed = h.cfg.Now()
			if h.isSingle(b) && c.handed.Load() == 0 {
				if err := c.commit(b); err != nil {
					return fmt.Errorf("commit: %w", err)
				}
				c.release(b)
			} else {
				c.hand(b)
				busy = true
			}
		}
		inbox := h.inbox
		if h.full(core) || folder.full.Load() {
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
		h.tick(core, timer, busy)
	}
}

// isSingle reports whether a batch has one command, as those before it, and nothing waits behind it.
func (h *Runner[C, R, E]) isSingle(b *Batch[R, E]) bool {
	if len(b.replies) != 1 {
		h.single = 0
		return false
	}
	h.single++
	return h.single > fewSingles && len(h.inbox) == 0
}

// full reports whether the open batch is as large as one may be.
func (h *Runner[C, R, E]) full(core *Core[C, R, E]) bool {
	return core.Size() > h.cfg.Batch || core.Bytes() > h.cfg.BatchBytes
}

// mayWait is for how long the records of the open batch may still wait for the disk.
func (h *Runner[C, R, E]) mayWait(core *Core[C, R, E]) time.Duration {
	if h.cfg.Lazy == 0 || h.full(core) {
		return 0
	}
	return h.committed.Add(h.cfg.Lazy).Sub(h.cfg.Now())
}

// applyMany applies a command and all that wait behind it, up to the size of a batch.
func (h *Runner[C, R, E]) applyMany(core *Core[C, R, E], s submission[C, R]) {
	var now int64
	n := int64(0)
	for {
		if n%16 == 0 { // a command may be a script that takes its time
			now = h.cfg.Now().UnixMilli()
		}
		core.Apply(now, s.cmd, s.to)
		n++
		if h.full(core) {
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
func (h *Runner[C, R, E]) tick(core *Core[C, R, E], timer *time.Timer, busy bool) {
	if h.full(core) {
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
	if h.cfg.Lazy > 0 && core.Size() > 0 && !busy {
		wait = min(wait, max(0, h.mayWait(core)))
	}
	timer.Reset(wait)
}

// finish commits what was applied before the host stopped.
func (h *Runner[C, R, E]) finish(core *Core[C, R, E], c *committer[C, R, E], busy bool) error {
	h.core.Store(nil)
	if busy {
		if err := <-c.done; err != nil {
			core.Seal().Fail(ErrUnavailable)
			return err
		}
	}
	if core.Size() > 0 {
		c.hand(core.Seal())
		return <-c.done
	}
	return nil
}

// committer appends one batch at a time and releases it.
type committer[C, R, E any] struct {
	h       *Runner[C, R, E]
	core    *Core[C, R, E]
	batches chan *Batch[R, E]
	done    chan error   // one for each batch, before it is released
	handed  atomic.Int32 // batches that were handed over and are not released
}

func newCommitter[C, R, E any](h *Runner[C, R, E], core *Core[C, R, E]) *committer[C, R, E] {
	return &committer[C, R, E]{h: h, core: core, batches: make(chan *Batch[R, E], 1), done: make(chan error, 1)}
}

// hand gives a batch to the goroutine of run. The one before must be done.
func (c *committer[C, R, E]) hand(b *Batch[R, E]) {
	c.handed.Add(1)
	c.batches <- b
}

func (c *committer[C, R, E]) run() {
	for b := range c.batches {
		if err := c.commit(b); err != nil {
			c.done <- err
			continue
		}
		// The next batch may be on its way to the disk while this one is released.
		c.done <- nil
		c.release(b)
		c.handed.Add(-1)
	}
}

// commit makes a batch durable, or tells everyone who waits for it that it is not known to be.
func (c *committer[C, R, E]) commit(b *Batch[R, E]) error {
	st := &c.h.stats
	began := time.Now()
	st.commitStarted.Store(began.UnixNano())
	// A commit that was begun is finished even when the host stops.
	err := c.core.Commit(context.Background(), b)
	st.commitStarted.Store(0)
	st.commitNanos.Add(int64(time.Since(began)))
	if err != nil {
		b.Fail(fmt.Errorf("%w: %w", ErrUnavailable, err))
		return err
	}
	st.batches.Add(1)
	st.records.Add(int64(len(b.Records())))
	if c.h.cfg.Committed != nil {
		c.h.cfg.Committed(b.Records())
	}
	return nil
}

// release lets out what a committed batch has.
func (c *committer[C, R, E]) release(b *Batch[R, E]) {
	b.Release(c.h.cfg.Effect)
	if c.h.cfg.Changed != nil && len(b.Records()) > 0 {
		c.h.cfg.Changed(b.Records())
	}
}

// busyRecords is how many records between two looks are much to do. A fold takes time from whoever made them, and the later it is, the less there is to
// fold: what is written again and again, and what comes and goes, becomes one row or none.
const busyRecords = 1000

// folder folds the journal from time to time.
type folder struct {
	shard      int
	every      time.Duration
	later      time.Duration // for how long it may be put off
	laterBytes int64
	most       int64 // bytes that may be unfolded
	log        *slog.Logger
	stats      *stats
	sh         store.Shard
	stop       chan struct{}
	full       atomic.Bool // too much is unfolded
}

func (f *folder) run() {
	t := time.NewTicker(f.every)
	defer t.Stop()
	last, seen := time.Now(), int64(0)
	for {
		select {
		case <-t.C:
			records := f.stats.records.Load()
			busy := records-seen > busyRecords
			seen = records
			if _, bytes := f.sh.Unfolded(); busy && time.Since(last) < f.later && bytes < f.laterBytes {
				continue
			}
			last = time.Now()
			f.fold()
		case <-f.stop:
			f.fold()
			return
		}
	}
}

func (f *folder) fold() {
	_, bytes := f.sh.Unfolded()
	f.full.Store(bytes > f.most)
	// Also when no record waits: the batches of those that came and went do, in the journal.
	began := time.Now()
	err := f.sh.Fold(context.Background())
	f.stats.foldNanos.Add(int64(time.Since(began)))
	failing := err != nil
	if f.stats.foldFailing.Swap(failing) != failing && failing {
		f.log.Error("journal cannot be folded; it grows until it can", "shard", f.shard, "err", err)
	}
	_, bytes = f.sh.Unfolded()
	f.full.Store(bytes > f.most)
}

// Stats returns the counters.
func (h *Runner[C, R, E]) Stats() Stats {
	s := &h.stats
	return Stats{
		Commands: s.commands.Load(), Batches: s.batches.Load(), Records: s.records.Load(), Overloads: s.overloads.Load(),
		Restarts: s.restarts.Load(), Inbox: len(h.inbox),
		CommitTime: time.Duration(s.commitNanos.Load()), FoldTime: time.Duration(s.foldNanos.Load()),
	}
}

// Healthy reports why the shard does not do its work, nil when it does.
func (h *Runner[C, R, E]) Healthy() error {
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
