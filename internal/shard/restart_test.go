package shard

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/store/sqlite"
)

// BenchmarkKeyspaceRestart reports how long waiting jobs take to be added and to be there again after a restart. Set the number with
// -benchtime=1000000x.
func BenchmarkKeyspaceRestart(b *testing.B) {
	dir := b.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	run := func(use func(*Keyspace)) time.Duration {
		began := time.Now()
		st, err := sqlite.Open(b.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		k := NewKeyspace(KeyspaceConfig{Store: st, Effect: func(keyspace.Effect) {}, Log: log})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		<-k.Ready()
		ready := time.Since(began)
		use(k)
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		return ready
	}
	b.ResetTimer()
	run(func(k *Keyspace) {
		slots := make(chan struct{}, 4000)
		for i := range b.N {
			key := fmt.Sprint("bull:q:", i)
			for _, args := range [][]string{
				{"hmset", key, "name", "welcome", "data", `{"to":"ann@example.com","n":1}`, "opts", `{"attempts":5}`, "timestamp", "1800000000000", "delay", "0", "priority", "0"},
				{"lpush", "bull:q:wait", fmt.Sprint(i)},
			} {
				slots <- struct{}{}
				for k.Post(&keyspace.Do{Args: args}, func(_ keyspace.Result, err error) { <-slots }) != nil {
					runtime.Gosched()
				}
			}
		}
		for range cap(slots) {
			slots <- struct{}{}
		}
	})
	b.StopTimer()
	ready := run(func(k *Keyspace) {
		r, err := k.Submit(b.Context(), &keyspace.Do{Args: []string{"llen", "bull:q:wait"}})
		if err != nil || r.Reply.N != int64(b.N) {
			b.Fatalf("%d jobs are left: %v", r.Reply.N, err)
		}
	})
	b.ReportMetric(ready.Seconds(), "s/restart")
}
