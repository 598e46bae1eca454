package sqlite

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// Where an operation is a batch, read ns/record. Appends and folds include their fsync.

func openBench(b *testing.B) *Shard {
	b.Helper()
	s, err := Open(context.Background(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	h, err := s.Acquire(context.Background(), 0)
	if err != nil {
		b.Fatal(err)
	}
	return h.(*Shard)
}

// benchKey returns keys that ascend with n like ULIDs do.
func benchKey(n int) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(n)), uint64(n)*0x9e3779b97f4a7c15)
}

// partKey is the key of a row in the partition n/4.
func partKey(n int) []byte { return append(benchKey(n/4), byte(n%4)) }

func perRecord(b *testing.B, records int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			h := openBench(b)
			ctx := context.Background()
			value := make([]byte, 200)
			batch := make([]store.Record, size)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					batch[i] = store.Record{Table: store.Live, Key: benchKey(n % 50_000), Value: value}
					n++
				}
				if err := h.Append(ctx, batch); err != nil {
					b.Fatal(err)
				}
				if n/size%500 == 0 {
					b.StopTimer()
					if err := h.Fold(ctx); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
			perRecord(b, size)
		})
	}
}

func BenchmarkFold(b *testing.B) {
	const rows = 5000
	value := make([]byte, 300)
	n := 0
	kinds := []struct {
		name string
		fill func(batch []store.Record)
	}{
		{"runs", func(batch []store.Record) {
			for i := range batch {
				batch[i] = store.Record{
					Table: store.Runs, Key: benchKey(n), Value: value, Fresh: true,
					Tags: [3]string{fmt.Sprintf("function-%d", n%20), "completed", fmt.Sprintf("app-%d", n%3)},
				}
				n++
			}
		}},
		{"steps", func(batch []store.Record) {
			for i := range batch {
				batch[i] = store.Record{Table: store.Steps, Key: partKey(n), Value: value, Fresh: true}
				n++
			}
		}},
		{"live put and delete", func(batch []store.Record) {
			for i := range batch[:len(batch)/2] {
				batch[i] = store.Record{Table: store.Live, Key: benchKey(n), Value: value, Fresh: true}
				batch[len(batch)/2+i] = store.Record{Table: store.Live, Key: benchKey(n)}
				n++
			}
		}},
		{"live update", func(batch []store.Record) {
			for i := range batch {
				batch[i] = store.Record{Table: store.Live, Key: benchKey(n % 20_000), Value: value}
				n++
			}
		}},
	}
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			h := openBench(b)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for range rows / 500 {
					batch := make([]store.Record, 500)
					kind.fill(batch)
					if err := h.Append(ctx, batch); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				if err := h.Fold(ctx); err != nil {
					b.Fatal(err)
				}
			}
			perRecord(b, rows)
		})
	}
}

// fillBench puts rows in a table and folds them.
func fillBench(b *testing.B, h *Shard, table store.Table, rows int, key func(int) []byte) {
	b.Helper()
	ctx := context.Background()
	value := make([]byte, 300)
	for n := 0; n < rows; {
		batch := make([]store.Record, 0, 2000)
		for ; n < rows && len(batch) < cap(batch); n++ {
			batch = append(batch, store.Record{Table: table, Key: key(n), Value: value, Fresh: true})
		}
		if err := h.Append(ctx, batch); err != nil {
			b.Fatal(err)
		}
		if n%20_000 == 0 || n == rows {
			if err := h.Fold(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkGet(b *testing.B) {
	h := openBench(b)
	ctx := context.Background()
	fillBench(b, h, store.Live, 100_000, benchKey)
	if err := h.Append(ctx, []store.Record{{Table: store.Live, Key: benchKey(1), Value: make([]byte, 300)}}); err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name string
		key  func(n int) []byte
	}{
		{"overlay", func(int) []byte { return benchKey(1) }},
		{"table", func(n int) []byte { return benchKey(2 + n*7919%90_000) }},
		{"miss", func(n int) []byte { return benchKey(1_000_000 + n) }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				if _, _, err := h.Get(ctx, store.Live, kind.key(n)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	h := openBench(b)
	ctx := context.Background()
	fillBench(b, h, store.Steps, 100_000, partKey)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		rows, err := h.List(ctx, store.Steps, benchKey(n*7919%25_000))
		if err != nil || len(rows) != 4 {
			b.Fatal(len(rows), err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	h := openBench(b)
	ctx := context.Background()
	fillBench(b, h, store.Events, 100_000, benchKey)
	b.ReportAllocs()
	for b.Loop() {
		rows, err := h.Scan(ctx, store.Query{Table: store.Events, Desc: true, Limit: 50})
		if err != nil || len(rows) != 50 {
			b.Fatal(len(rows), err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	const rows = 1_000_000
	h := openBench(b)
	ctx := context.Background()
	fillBench(b, h, store.Live, rows, benchKey)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := h.Load(ctx, store.Live, func(_, _ []byte) error { n++; return nil })
		if err != nil || n != rows {
			b.Fatal(n, err)
		}
	}
	perRecord(b, rows)
}
