package shard

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

const env = "test"

// bench is a host on a disk that the test controls.
type bench struct {
	t       *testing.T
	host    *Host
	disk    *memory.Disk
	effects chan engine.Effect
	stopped chan error
	stop    context.CancelFunc
}

func setup(t *testing.T, cfg Config) *bench {
	t.Helper()
	b := &bench{t: t, disk: memory.NewDisk(), effects: make(chan engine.Effect, 10_000), stopped: make(chan error, 1)}
	st, err := memory.Open(b.disk)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store, cfg.Log = st, slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Engine.NewID = newIDs()
	cfg.Effect = func(e engine.Effect) { b.effects <- e }
	b.host = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.stopped <- b.host.Run(ctx) }()
	t.Cleanup(cancel)
	<-b.host.Ready()
	return b
}

func newIDs() func(int64) engine.ID {
	var mu sync.Mutex
	var n uint64
	return func(ms int64) (id engine.ID) {
		mu.Lock()
		defer mu.Unlock()
		n++
		_ = id.SetTime(uint64(ms))
		for i := range 8 {
			id[15-i] = byte(n >> (8 * i))
		}
		return id
	}
}

func (b *bench) register() {
	b.t.Helper()
	b.submit(&engine.Register{App: engine.App{Env: env, Name: "app"}, Functions: []engine.Function{
		{ID: engine.UUID{1}, Env: env, App: "app", Slug: "fn", MaxAttempts: 1, Silent: true, Triggers: []engine.Trigger{{Event: "go"}}},
	}})
}

func (b *bench) submit(c engine.Command) any {
	b.t.Helper()
	v, err := b.host.Submit(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func send() *engine.SendEvents {
	return &engine.SendEvents{Env: env, Events: []engine.Event{{Name: "go", Data: []byte(`{}`)}}}
}

func (b *bench) call() *engine.Call { return (<-b.effects).(*engine.Call) }

// TestNothingLeavesBeforeItIsDurable holds the disk still and looks at what comes out.
func TestNothingLeavesBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.register()
	syncing, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendReturn && once.CompareAndSwap(false, true) {
			close(syncing)
			<-release
		}
		return nil
	})
	replied := make(chan error, 1)
	if err := b.host.Post(send(), func(_ any, err error) { replied <- err }); err != nil {
		t.Fatal(err)
	}
	<-syncing
	select {
	case <-replied:
		t.Error("the sender was answered before the event was durable")
	case e := <-b.effects:
		t.Errorf("%T was released before it was durable", e)
	default:
	}
	close(release)
	if err := <-replied; err != nil {
		t.Error(err)
	}
	b.call()
}

// TestOneCommitForAllThatWait: what arrives while the disk is busy shares the next append.
func TestOneCommitForAllThatWait(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.register()
	syncing, release := make(chan struct{}), make(chan struct{})
	var appends atomic.Int64
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendSync && appends.Add(1) == 1 {
			close(syncing)
			<-release
		}
		return nil
	})
	const n = 500
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		if err := b.host.Post(send(), func(any, error) { wg.Done() }); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-syncing
		}
	}
	close(release)
	wg.Wait()
	if got := appends.Load(); got > 5 {
		t.Errorf("%d commands that waited for one disk took %d appends", n, got)
	}
}

// TestOverload: a full inbox is an answer, not a queue without end, and is over when the disk is back.
func TestOverload(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Inbox: 10, Batch: 5})
	b.register()
	release := make(chan struct{})
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendSync {
			<-release
		}
		return nil
	})
	accepted, refused := 0, 0
	var wg sync.WaitGroup
	for range 1000 {
		wg.Add(1)
		switch err := b.host.Post(send(), func(_ any, err error) {
			if err != nil {
				t.Errorf("a command that was taken failed: %v", err)
			}
			wg.Done()
		}); {
		case err == nil:
			accepted++
		case errors.Is(err, ErrOverloaded):
			refused++
			wg.Done()
		default:
			t.Fatal(err)
		}
	}
	if refused < 900 || accepted < 10 {
		t.Errorf("of 1000 commands for a disk that hangs %d were taken and %d refused", accepted, refused)
	}
	if n := b.host.Stats().Overloads; n != int64(refused) {
		t.Errorf("%d refusals were counted as %d", refused, n)
	}
	close(release)
	wg.Wait()
	b.submit(send())
}

// TestFailedCommit: who waited hears that the outcome is unknown; everything acknowledged before is there again, and calls that
// were out are asked for again.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	for _, step := range []memory.Step{memory.AppendWrite, memory.AppendSync, memory.AppendReturn} {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t, Config{})
			b.register()
			b.submit(send())
			first := b.call()
			b.disk.SetHook(memory.FailNth(step, 1, errors.New("disk trouble")))
			if _, err := b.host.Submit(t.Context(), send()); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("a command whose commit failed gave %v", err)
			}
			again := b.call()
			if again.Run != first.Run || again.Request == first.Request {
				t.Errorf("after recovery run %s request %s is called, before it was %s %s", again.Run, again.Request, first.Run, first.Request)
			}
			// An answer to the call of the former life is refused, one to the new call is taken.
			report := func(c *engine.Call) bool {
				return b.submit(&engine.Report{Run: c.Run, Request: c.Request, Ops: []engine.Op{{Kind: engine.OpRunDone, Value: []byte(`1`)}}}).(bool)
			}
			if report(first) {
				t.Error("an answer to a call that was made again was taken")
			}
			if !report(again) {
				t.Error("the answer to the new call was refused")
			}
			if n := b.host.Stats().Restarts; n != 1 {
				t.Errorf("%d restarts were counted", n)
			}
		})
	}
}

// TestFullDisk: a batch that finds no room is refused whole and the shard goes on when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.register()
	var full atomic.Bool
	full.Store(true)
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendWrite && full.Load() {
			return store.ErrFull
		}
		return nil
	})
	if _, err := b.host.Submit(t.Context(), send()); !errors.Is(err, store.ErrFull) || !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a full disk gave %v", err)
	}
	full.Store(false)
	for {
		_, err := b.host.Submit(t.Context(), send())
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
	b.call()
	select {
	case e := <-b.effects:
		t.Errorf("the event that was refused had an effect: %+v", e)
	default:
	}
}

// TestFenced: an owner that lost its shard stops for good.
func TestFenced(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.register()
	if _, err := b.host.cfg.Store.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.host.Submit(t.Context(), send()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a command to a fenced shard gave %v", err)
	}
	if err := <-b.stopped; !errors.Is(err, store.ErrFenced) {
		t.Errorf("the host of a fenced shard ended with %v", err)
	}
}

// TestStop: what was applied when the host stops is on disk when Run returns.
func TestStop(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.register()
	const n = 200
	acknowledged := make(chan engine.ID, n)
	for range n {
		if err := b.host.Post(send(), func(v any, err error) {
			if err == nil {
				acknowledged <- v.(engine.SendReply).IDs[0]
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	first := <-acknowledged
	b.stop()
	if err := <-b.stopped; err != nil {
		t.Fatal(err)
	}
	if err := b.host.Post(send(), nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a stopped host took a command: %v", err)
	}
	close(acknowledged)
	sh, err := b.host.cfg.Store.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ids := []engine.ID{first}
	for id := range acknowledged {
		ids = append(ids, id)
	}
	for _, id := range ids {
		if _, ok, err := sh.Get(t.Context(), store.Events, engine.EventKey(env, id)); err != nil || !ok {
			t.Errorf("event %s was acknowledged and is not stored: %v", id, err)
		}
	}
}

// TestTimers: the loop wakes by itself for what is due.
func TestTimers(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.register()
	b.submit(send())
	c := b.call()
	due := time.Now().Add(100 * time.Millisecond)
	b.submit(&engine.Report{Run: c.Run, Request: c.Request, Ops: []engine.Op{
		{Kind: engine.OpSleep, Step: engine.Step{ID: "s", Name: "s"}, Until: due.UnixMilli()},
	}})
	next := b.call()
	if next.Run != c.Run || time.Now().Before(due.Truncate(time.Millisecond)) {
		t.Errorf("run %s was called at %s, before it was due at %s", next.Run, time.Now(), due)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(10_000)
	for i := range 1000 {
		c.add([]byte{byte(i >> 8), byte(i)}, make([]byte, 100))
	}
	if n := len(c.young) + len(c.old); n > 60 {
		t.Errorf("a cache of 10,000 bytes holds %d rows of 200", n)
	}
	if _, ok := c.get([]byte{3, 231}); !ok {
		t.Error("the newest row is not in the cache")
	}
	c.note([]store.Record{{Table: store.Events, Key: []byte{3, 231}}})
	if _, ok := c.get([]byte{3, 231}); ok {
		t.Error("a deleted row is still in the cache")
	}
}
