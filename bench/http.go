package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// withServer runs fn with a server on a fresh directory.
func withServer(fn func(*child) error, args ...string) error {
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := startChild(dir, args...)
	if err != nil {
		return err
	}
	defer c.stop()
	return fn(c)
}

// events measures how fast events are taken when no function listens.
func events() error {
	return withServer(func(c *child) error {
		batch := eventBatch("bench/nothing", 100)
		var n, failed atomic.Int64
		stop := time.Now().Add(time.Duration(*seconds) * time.Second)
		cpu0, t0 := c.cpu(), time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					if err := c.send(batch); err != nil {
						failed.Add(1)
						continue
					}
					n.Add(100)
				}
			})
		}
		wg.Wait()
		wall, cpu := time.Since(t0), c.cpu()-cpu0
		row("events accepted", "%.0f/s, %.1f µs of server CPU each, %d requests refused", float64(n.Load())/wall.Seconds(),
			float64(cpu.Microseconds())/float64(max(1, n.Load())), failed.Load())
		return nil
	})
}

func eventBatch(name string, n int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":%q,"data":{"userId":"user_%d","plan":"pro","amount":%d,"note":"an event of a usual size"}}`, name, i, i*7)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func stepID(i int) string {
	sum := sha1.Sum([]byte("step-" + strconv.Itoa(i)))
	return hex.EncodeToString(sum[:])
}

// stepHandler runs n steps, one a call, the way an SDK without checkpoints does, and counts calls and finished runs.
func stepHandler(n int, calls, done *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Steps map[string]json.RawMessage `json:"steps"`
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &in)
		calls.Add(1)
		if len(in.Steps) < n {
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprintf(w, `[{"id":%q,"op":"StepRun","name":"step-%d","data":{"ok":true}}]`, stepID(len(in.Steps)), len(in.Steps))
			return
		}
		_, _ = io.WriteString(w, `{"done":true}`)
		done.Add(1)
	}
}

// senders keep the backlog of the rate benchmarks: each waits for the disk with every batch, so one alone would be the limit.
const senders = 8

// backlog is how much they keep waiting: enough that the server is never idle, and little enough that a run of several steps, whose
// calls each wait behind it, comes to its end while one measures.
const backlog = 300

// runs compares runs of one and five steps with calling the app as often directly.
func runs() error {
	for _, steps := range []int{1, 5} {
		err := withServer(func(c *child) error {
			var calls, done atomic.Int64
			a, err := startApp(c, map[string]string{"fn": "bench/run"}, stepHandler(steps, &calls, &done))
			if err != nil {
				return err
			}
			defer a.close()
			const inFlight = 64
			direct := directRate(a.url, inFlight)
			// Keep a backlog so that the server is never idle.
			batch := eventBatch("bench/run", 100)
			var sent atomic.Int64
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range senders {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if sent.Load()-done.Load() > backlog {
							time.Sleep(time.Millisecond)
							continue
						}
						if c.send(batch) == nil {
							sent.Add(100)
						}
					}
				})
			}
			time.Sleep(time.Second)
			d0, c0, cpu0, t0 := done.Load(), calls.Load(), c.cpu(), time.Now()
			time.Sleep(time.Duration(*seconds) * time.Second)
			wall := time.Since(t0)
			d, k, cpu := done.Load()-d0, calls.Load()-c0, c.cpu()-cpu0
			close(stop)
			wg.Wait()
			rate := float64(k) / wall.Seconds()
			row(fmt.Sprintf("%d step(s)", steps), "%.0f runs/s, %.0f calls/s, %.0f µs of server CPU a run", float64(d)/wall.Seconds(), rate,
				float64(cpu.Microseconds())/float64(max(1, d)))
			row("  the same app called directly, 64 in flight", "%.0f calls/s: Quartet makes %.0f %% of that", direct, 100*rate/direct)
			return nil
		}, "--max-calls=64")
		if err != nil {
			return err
		}
	}
	return nil
}

// directRate is how fast this process's HTTP client can call the app with nothing between.
func directRate(url string, inFlight int) float64 {
	body := []byte(`{"event":{"name":"bench/run","data":{"userId":"user_1","plan":"pro","amount":7,"note":"an event of a usual size"}},"steps":{},"ctx":{"run_id":"x"}}`)
	var n atomic.Int64
	stop := time.Now().Add(time.Duration(*seconds) * time.Second)
	t0 := time.Now()
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for time.Now().Before(stop) {
				if _, err := post(url, body); err == nil {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(t0).Seconds()
}

// latency measures from sending to the first call.
func latency() error {
	return withServer(func(c *child) error {
		var mu sync.Mutex
		var seen []time.Duration
		a, err := startApp(c, map[string]string{"fn": "bench/latency"}, func(w http.ResponseWriter, r *http.Request) {
			now := time.Now()
			var in struct {
				Event struct {
					Data struct{ At int64 } `json:"data"`
				} `json:"event"`
			}
			body, _ := io.ReadAll(r.Body)
			_ = json.Unmarshal(body, &in)
			mu.Lock()
			seen = append(seen, now.Sub(time.Unix(0, in.Event.Data.At)))
			mu.Unlock()
			_, _ = io.WriteString(w, `null`)
		})
		if err != nil {
			return err
		}
		defer a.close()
		for _, rate := range []int{5, 500} {
			mu.Lock()
			seen = nil
			mu.Unlock()
			n := rate * *seconds
			var wg sync.WaitGroup
			tick := time.NewTicker(time.Second / time.Duration(rate))
			for range n {
				<-tick.C
				wg.Go(func() {
					_ = c.send(fmt.Appendf(nil, `{"name":"bench/latency","data":{"at":%d}}`, time.Now().UnixNano()))
				})
			}
			tick.Stop()
			wg.Wait()
			time.Sleep(300 * time.Millisecond)
			mu.Lock()
			s := slices.Clone(seen)
			mu.Unlock()
			slices.Sort(s)
			row(fmt.Sprintf("%d events/s", rate), "p50 %s, p99 %s, worst %s (%d of %d started)", quantile(s, .5).Round(10*time.Microsecond),
				quantile(s, .99).Round(10*time.Microsecond), quantile(s, 1).Round(10*time.Microsecond), len(s), n)
		}
		return nil
	})
}
