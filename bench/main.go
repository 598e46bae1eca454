// Command bench measures Quartet on the machine it runs on, each number beside a peer or a physical limit measured in the
// same run, and prints the ratios. Nothing here passes or fails: docs/performance.md says what was seen where.
//
//	go run ./bench                 everything, small sizes
//	go run ./bench -n 1000000 sleepers
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"
)

var (
	scale   = flag.Int("n", 0, "size of the chosen benchmark; 0: its own default")
	seconds = flag.Int("seconds", 5, "how long to measure rates")
	profile = flag.String("cpuprofile", "", "file for a CPU profile of this process: of the engine, for cycles")
	allocs  = flag.String("memprofile", "", "file for a profile of this process's allocations")
	binary  = flag.String("bin", "", "the quartet binary; default: built from this tree")
)

type benchmark struct {
	name, what string
	run        func() error
}

func main() {
	all := []benchmark{
		{"cycles", "start and complete a run: engine and journal, no HTTP", cycles},
		{"events", "events accepted over HTTP, batches of 100, 8 in flight, durable", events},
		{"runs", "function runs against a minimal HTTP app, beside calling the app directly", runs},
		{"latency", "from sending an event to the first call of its function", latency},
		{"sleepers", "many sleeping runs: memory, restart, and one event among as many waits", sleepers},
		{"messages", "QStash: deliveries beside calling the sink directly, latency, a flow-control rate", messages},
		{"delayed", "QStash: many messages for a day later: memory and restart", delayed},
		{"bullmq", "BullMQ: the official client, its commands on 64 connections, memory and restart, beside a Redis", bullmq},
		{"tasks", "Trigger.dev: triggers, deployed tasks beside their processes alone, latency", tasks},
		{"followers", "Trigger.dev: a change of a run, to many who follow it, and telling spans", followers},
		{"kill", "kill -9 under load: what was acknowledged and lost", kill},
	}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bench [flags] [benchmark…]")
		for _, b := range all {
			fmt.Fprintf(os.Stderr, "  %-10s %s\n", b.name, b.what)
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	if *allocs != "" {
		runtime.MemProfileRate = 16 << 10
		defer writeAllocs(*allocs)
	}
	fmt.Printf("%s, %d CPUs, %s\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	for _, b := range all {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), b.name) {
			continue
		}
		fmt.Printf("\n%s: %s\n", b.name, b.what)
		if err := b.run(); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", b.name, err)
			os.Exit(1)
		}
	}
}

func writeAllocs(path string) {
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// size is -n or a benchmark's own default.
func size(def int) int {
	if *scale > 0 {
		return *scale
	}
	return def
}

// row prints one result.
func row(what, format string, args ...any) {
	fmt.Printf("  %-52s %s\n", what, fmt.Sprintf(format, args...))
}

// quantile of sorted durations.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*q))]
}
