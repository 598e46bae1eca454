package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
	"github.com/quartetjobs/quartet/internal/store/sqlite"
)

// cycles measures the engine and the journal with nothing around them.
func cycles() error {
	if err := cycle("in memory", func(string) (store.Store, error) { return memory.New(), nil }); err != nil {
		return err
	}
	if err := cycle("durable (SQLite, fsync on)", func(dir string) (store.Store, error) {
		return sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	per, err := fsyncs(filepath.Join(dir, "f"))
	if err != nil {
		return err
	}
	row("physical limit: fsync of 4 KiB on this disk", "%s each, %.0f/s", per.Round(time.Microsecond), 1/per.Seconds())
	return nil
}

func fsyncs(path string) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 4096)
	const n = 200
	began := time.Now()
	for range n {
		if _, err := f.Write(buf); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / n, nil
}

func cycle(name string, open func(dir string) (store.Store, error)) error {
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	st, err := open(dir)
	if err != nil {
		return err
	}
	defer st.Close()

	const window = 4000 // runs in progress
	var h *shard.Host
	var done atomic.Int64
	entropy := ulid.Monotonic(rand.Reader, 0)
	start := func() {
		_ = h.Post(&engine.Start{Env: "bench", Slug: "fn", Events: []engine.Event{{Name: "go", Data: []byte(`{"n":1}`), Internal: true}}, Existing: false}, nil)
	}
	h = shard.New(shard.Config{
		Store: st, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Engine: engine.Config{MaxCalls: window, PerTarget: window, NewID: func(ms int64) engine.ID { return ulid.MustNew(uint64(ms), entropy) }},
		Effect: func(e engine.Effect) {
			c, ok := e.(*engine.Call)
			if !ok {
				return
			}
			_ = h.Post(&engine.Report{Run: c.Run, Request: c.Request, Ops: []engine.Op{{Kind: engine.OpRunDone, Value: []byte(`{"ok":true}`)}}}, func(any, error) {
				done.Add(1)
				start()
			})
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- h.Run(ctx) }()
	<-h.Ready()
	if _, err := h.Submit(ctx, &engine.Register{
		App:       engine.App{Env: "bench", Name: "app"},
		Functions: []engine.Function{{ID: engine.UUID{1}, Env: "bench", App: "app", Slug: "fn", MaxAttempts: 1, Silent: true}},
	}); err != nil {
		return err
	}
	for range window {
		start()
	}
	time.Sleep(500 * time.Millisecond) // warm up
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	n0, cpu0, t0 := done.Load(), cpuTime(), time.Now()
	time.Sleep(time.Duration(*seconds) * time.Second)
	n, cpu, wall := done.Load()-n0, cpuTime()-cpu0, time.Since(t0)
	runtime.ReadMemStats(&m1)
	stats := h.Stats()
	cancel()
	if err := <-finished; err != nil {
		return err
	}
	row(name, "%.0f cycles/s, %.1f µs of CPU each", float64(n)/wall.Seconds(), float64(cpu.Microseconds())/float64(max(1, n)))
	row("", "%.0f allocations of %.0f bytes each, %.0f records per commit", float64(m1.Mallocs-m0.Mallocs)/float64(max(1, n)),
		float64(m1.TotalAlloc-m0.TotalAlloc)/float64(max(1, n)), float64(stats.Records)/float64(max(1, stats.Batches)))
	if n == 0 {
		return fmt.Errorf("no cycle was completed")
	}
	return nil
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
