package retention

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

const env = "test"

// bench is a host whose clock only the test moves.
type bench struct {
	t     *testing.T
	host  *shard.Host
	now   atomic.Int64
	sent  int
	calls chan *engine.Call
}

func (b *bench) time() time.Time { return time.UnixMilli(b.now.Load()) }

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, calls: make(chan *engine.Call, 1000)}
	b.now.Store(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	n := byte(0)
	b.host = shard.New(shard.Config{
		Store: memory.New(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: b.time,
		Engine: engine.Config{NewID: func(ms int64) (id engine.ID) {
			n++
			_ = id.SetTime(uint64(ms))
			id[15] = n
			return id
		}},
		Effect: func(e engine.Effect) {
			if c, ok := e.(*engine.Call); ok {
				b.calls <- c
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- b.host.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	<-b.host.Ready()
	b.submit(&engine.Register{App: engine.App{Env: env, Name: "app"}, Functions: []engine.Function{
		{ID: engine.UUID{1}, Env: env, App: "app", Slug: "fn", MaxAttempts: 1, Silent: true, Triggers: []engine.Trigger{{Event: "go"}}},
	}})
	return b
}

func (b *bench) submit(c engine.Command) any {
	b.t.Helper()
	v, err := b.host.Submit(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// run starts a run with an event of its own and lets it report op.
func (b *bench) run(op engine.Op) {
	b.t.Helper()
	b.sent++
	b.submit(&engine.SendEvents{Env: env, Events: []engine.Event{{Name: "go", Key: fmt.Sprint(b.sent), Data: []byte(`{}`)}}})
	c := <-b.calls
	for _, t := range []store.Table{store.Spans, store.Streams} {
		b.submit(&engine.Put{Rows: []engine.RowPut{{Table: t, Key: append(engine.RunKey(c.Run), 1), Value: []byte{1}}}})
	}
	step := engine.Op{Kind: engine.OpStepDone, Step: engine.Step{ID: "one", Name: "one"}, Value: []byte(`1`)}
	b.submit(&engine.Report{Run: c.Run, Request: c.Request, Ops: []engine.Op{step, op}})
}

func (b *bench) rows(t store.Table) int {
	b.t.Helper()
	rows, err := b.host.Scan(b.t.Context(), store.Query{Table: t, Limit: store.MaxLimit})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(rows)
}

func (b *bench) want(when string, want map[store.Table]int) {
	b.t.Helper()
	for table, n := range want {
		if got := b.rows(table); got != n {
			b.t.Errorf("%s table %d has %d rows, want %d", when, table, got, n)
		}
	}
}

// TestSweep: what ended long ago goes with all that belongs to it, failed runs later, and unfinished runs never, nor their events.
func TestSweep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := New(Config{Host: b.host, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Keep: 10 * 24 * time.Hour, Batch: 2, Now: b.time})
	for range 5 {
		b.run(engine.Op{Kind: engine.OpRunDone, Value: []byte(`"ok"`)})
	}
	b.run(engine.Op{Kind: engine.OpRunFailed, Final: true, Value: []byte(`{}`)})
	b.run(engine.Op{Kind: engine.OpSleep, Step: engine.Step{ID: "nap", Name: "nap"}, Until: b.now.Load() + 366*engine.Day})
	sweep := func() {
		t.Helper()
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := map[store.Table]int{store.Runs: 7, store.Events: 7, store.Steps: 8, store.Attempts: 1, store.Live: 1, store.Idempotency: 7, store.Spans: 7, store.Streams: 7}
	b.want("at first", all)

	b.now.Add(12 * int64(time.Hour/time.Millisecond))
	sweep()
	b.want("after half a day", all)

	b.now.Add(11 * engine.Day)
	b.run(engine.Op{Kind: engine.OpRunDone, Value: []byte(`"young"`)})
	sweep()
	b.want("after eleven days", map[store.Table]int{store.Runs: 3, store.Events: 3, store.Steps: 4, store.Attempts: 1, store.Live: 1, store.Idempotency: 1, store.Spans: 3, store.Streams: 3})

	b.now.Add(40 * engine.Day)
	sweep()
	b.want("after fifty days", map[store.Table]int{store.Runs: 1, store.Events: 1, store.Steps: 2, store.Attempts: 0, store.Live: 1, store.Idempotency: 0, store.Spans: 1, store.Streams: 1})
}

// TestKeepEverything: without an age only what has an expiry of its own goes.
func TestKeepEverything(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := New(Config{Host: b.host, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: b.time})
	b.run(engine.Op{Kind: engine.OpRunDone, Value: []byte(`1`)})
	b.now.Add(1000 * engine.Day)
	if _, err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want("after years", map[store.Table]int{store.Runs: 1, store.Events: 1, store.Steps: 1, store.Idempotency: 0})
}
