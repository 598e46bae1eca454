package shard

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// keyBench is a keyspace on a disk that the test controls.
type keyBench struct {
	t       *testing.T
	host    *Keyspace
	disk    *memory.Disk
	effects chan keyspace.Effect
	lost    chan struct{}
	stop    context.CancelFunc
	stopped chan error
}

func setupKeys(t *testing.T, cfg KeyspaceConfig) *keyBench {
	t.Helper()
	b := &keyBench{
		t: t, disk: memory.NewDisk(), effects: make(chan keyspace.Effect, 1000), lost: make(chan struct{}, 10), stopped: make(chan error, 1),
	}
	b.start(cfg)
	return b
}

func (b *keyBench) start(cfg KeyspaceConfig) {
	b.t.Helper()
	st, err := memory.Open(b.disk)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg.Store, cfg.Log = st, slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.Effect = func(e keyspace.Effect) { b.effects <- e }
	cfg.Lost = func() { b.lost <- struct{}{} }
	b.host = NewKeyspace(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.stopped <- b.host.Run(ctx) }()
	b.t.Cleanup(cancel)
	<-b.host.Ready()
}

func command(line string) *keyspace.Do {
	return &keyspace.Do{Client: 1, Request: 1, Args: strings.Fields(line)}
}

func (b *keyBench) do(line string) keyspace.Result {
	b.t.Helper()
	r, err := b.host.Submit(b.t.Context(), command(line))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// TestKeyspaceReadsWaitForWrites: a read does not show what may still be lost.
func TestKeyspaceReadsWaitForWrites(t *testing.T) {
	t.Parallel()
	b := setupKeys(t, KeyspaceConfig{})
	syncing, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendSync && once.CompareAndSwap(false, true) {
			close(syncing)
			<-release
		}
		return nil
	})
	order := make(chan string, 2)
	post := func(line string) {
		if err := b.host.Post(command(line), func(r keyspace.Result, err error) { order <- line }); err != nil {
			t.Fatal(err)
		}
	}
	post("set k v")
	<-syncing
	post("get k")
	b.host.mustApply(t, 2)
	select {
	case line := <-order:
		t.Errorf("%s was answered before the write was durable", line)
	default:
	}
	close(release)
	if first, second := <-order, <-order; first != "set k v" || second != "get k" {
		t.Errorf("answers came as %s, %s", first, second)
	}
}

// mustApply waits until the loop has applied some commands.
func (h *Runner[C, R, E]) mustApply(t *testing.T, n int64) {
	t.Helper()
	for h.stats.commands.Load() < n {
		select {
		case <-t.Context().Done():
			t.Fatal("the loop does not apply")
		default:
		}
	}
}

// TestEverysec: answers do not wait for the disk, which gets everything in the end.
func TestEverysec(t *testing.T) {
	t.Parallel()
	b := setupKeys(t, KeyspaceConfig{Everysec: true})
	release := make(chan struct{})
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendSync {
			<-release
		}
		return nil
	})
	for range 100 {
		b.do("incr k")
	}
	if r := b.do("get k"); r.Reply.Str != "100" {
		t.Errorf("k is %q", r.Reply.Str)
	}
	b.disk.SetHook(nil)
	close(release)
	b.stop()
	if err := <-b.stopped; err != nil {
		t.Fatal(err)
	}
	b.disk.Crash() // the process is gone, and what was not synced
	b.start(KeyspaceConfig{})
	if r := b.do("get k"); r.Reply.Str != "100" {
		t.Errorf("after a restart k is %q", r.Reply.Str)
	}
}

// TestKeyspaceLost: when a commit fails the keyspace is what it was before, and who waited is told by Lost.
func TestKeyspaceLost(t *testing.T) {
	t.Parallel()
	b := setupKeys(t, KeyspaceConfig{})
	b.do("set k before")
	if r := b.do("blpop l 0"); !r.Blocked {
		t.Fatal("blpop did not wait")
	}
	b.disk.SetHook(memory.FailNth(memory.AppendWrite, 1, errors.New("disk trouble")))
	if _, err := b.host.Submit(t.Context(), command("set k after")); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("a command whose commit failed gave %v", err)
	}
	<-b.lost
	for b.host.core.Load() == nil {
		if t.Context().Err() != nil {
			t.Fatal("it does not recover")
		}
	}
	if r := b.do("get k"); r.Reply.Str != "before" {
		t.Errorf("k is %q", r.Reply.Str)
	}
	b.do("rpush l x")
	if r := b.do("llen l"); r.Reply.N != 1 {
		t.Error("something was given to a client of the former life")
	}
}

// TestBlockedAnswerIsDurable: what a client that waited is given is gone from the disk too.
func TestBlockedAnswerIsDurable(t *testing.T) {
	t.Parallel()
	b := setupKeys(t, KeyspaceConfig{})
	b.do("bzpopmin q 0")
	b.do("zadd q 1 a 2 b")
	a := (<-b.effects).(*keyspace.Answer)
	if a.Client != 1 || a.Request != 1 || len(a.Reply.Elems) != 3 || a.Reply.Elems[1].Str != "a" {
		t.Errorf("the answer is %+v", a)
	}
	b.stop()
	<-b.stopped
	b.disk.Crash()
	b.start(KeyspaceConfig{})
	if r := b.do("zrange q 0 -1"); len(r.Reply.Elems) != 1 || r.Reply.Elems[0].Str != "b" {
		t.Errorf("after a crash q is %+v", r.Reply)
	}
}

// TestBatchIsBoundedInBytes: values of a megabyte do not make a batch that the journal cannot take.
func TestBatchIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	b := setupKeys(t, KeyspaceConfig{})
	value := strings.Repeat("x", 1<<20)
	syncing, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendSync && once.CompareAndSwap(false, true) {
			close(syncing)
			<-release
		}
		return nil
	})
	done := make(chan error, 100)
	for i := range 100 {
		cmd := &keyspace.Do{Args: []string{"set", "k" + string(rune('a'+i)), value}}
		if err := b.host.Post(cmd, func(_ keyspace.Result, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-syncing
		}
	}
	close(release)
	for range 100 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if n := b.host.Stats().Batches; n < 3 {
		t.Errorf("100 MB were written in %d batches", n)
	}
}
