package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// sink is a destination that answers 200 and tells each what it got.
type sink struct {
	srv *http.Server
	url string
	n   atomic.Int64
	got func(r *http.Request)
}

func startSink(got func(*http.Request)) (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{url: "http://" + ln.Addr().String() + "/sink", got: got}
	s.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.got != nil {
			s.got(r)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		s.n.Add(1)
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = s.srv.Serve(ln) }() // ends with close
	return s, nil
}

func (s *sink) close() { _ = s.srv.Close() }

// publish sends n messages as one batch.
func (c *child) publish(dest string, n int, headers map[string]string) error {
	items := make([]any, n)
	for i := range items {
		items[i] = map[string]any{"destination": dest, "headers": headers, "body": `{"userId":"user_1","note":"a message of a usual size"}`}
	}
	body, err := json.Marshal(items)
	if err != nil {
		return err
	}
	_, err = post(c.url+"/v2/batch", body)
	return err
}

// messages compares deliveries with calling the same sink directly.
func messages() error {
	if err := deliveries(); err != nil {
		return err
	}
	if err := deliveryLatency(); err != nil {
		return err
	}
	return flowRate()
}

func deliveries() error {
	return withServer(func(c *child) error {
		s, err := startSink(nil)
		if err != nil {
			return err
		}
		defer s.close()
		const inFlight = 64
		direct := directRate(s.url, inFlight)
		s.n.Store(0)
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
					if sent.Load()-s.n.Load() > backlog {
						time.Sleep(time.Millisecond)
					} else if c.publish(s.url, 100, nil) == nil {
						sent.Add(100)
					}
				}
			})
		}
		time.Sleep(time.Second)
		n0, cpu0, t0 := s.n.Load(), c.cpu(), time.Now()
		time.Sleep(time.Duration(*seconds) * time.Second)
		n, wall, cpu := s.n.Load()-n0, time.Since(t0), c.cpu()-cpu0
		close(stop)
		wg.Wait()
		rate := float64(n) / wall.Seconds()
		row("deliveries, 64 in flight", "%.0f/s, %.0f µs of server CPU each", rate, float64(cpu.Microseconds())/float64(max(1, n)))
		row("  the same sink called directly, 64 in flight", "%.0f calls/s: Quartet makes %.0f %% of that", direct, 100*rate/direct)
		return nil
	}, "--max-calls=64")
}

func deliveryLatency() error {
	return withServer(func(c *child) error {
		var mu sync.Mutex
		var seen []time.Duration
		s, err := startSink(func(r *http.Request) {
			now := time.Now()
			var at int64
			if _, err := fmt.Sscan(r.Header.Get("At"), &at); err == nil {
				mu.Lock()
				seen = append(seen, now.Sub(time.Unix(0, at)))
				mu.Unlock()
			}
		})
		if err != nil {
			return err
		}
		defer s.close()
		for _, rate := range []int{20, 500} {
			mu.Lock()
			seen = nil
			mu.Unlock()
			n := rate * *seconds
			var wg sync.WaitGroup
			tick := time.NewTicker(time.Second / time.Duration(rate))
			for range n {
				<-tick.C
				wg.Go(func() {
					req, err := http.NewRequest(http.MethodPost, c.url+"/v2/publish/"+s.url, bytes.NewReader([]byte(`{}`)))
					if err != nil {
						return
					}
					req.Header.Set("Upstash-Forward-At", fmt.Sprint(time.Now().UnixNano()))
					if resp, err := client.Do(req); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
				})
			}
			tick.Stop()
			wg.Wait()
			time.Sleep(300 * time.Millisecond)
			mu.Lock()
			d := slices.Clone(seen)
			mu.Unlock()
			slices.Sort(d)
			row(fmt.Sprintf("publish to delivery, %d messages/s", rate), "p50 %s, p99 %s, worst %s (%d of %d delivered)", quantile(d, .5).Round(10*time.Microsecond),
				quantile(d, .99).Round(10*time.Microsecond), quantile(d, 1).Round(10*time.Microsecond), len(d), n)
		}
		return nil
	})
}

// flowRate holds a backlog to a rate of 100 a second.
func flowRate() error {
	n := size(20_000)
	return withServer(func(c *child) error {
		s, err := startSink(nil)
		if err != nil {
			return err
		}
		defer s.close()
		headers := map[string]string{"Upstash-Flow-Control-Key": "bench", "Upstash-Flow-Control-Value": "rate=100, period=1s"}
		for i := 0; i < n; i += 500 {
			if err := c.publish(s.url, 500, headers); err != nil {
				return err
			}
		}
		time.Sleep(2 * time.Second)
		n0, t0 := s.n.Load(), time.Now()
		time.Sleep(time.Duration(max(10, *seconds)) * time.Second)
		got := s.n.Load() - n0
		want := 100 * time.Since(t0).Seconds()
		row(fmt.Sprintf("%d messages under a rate of 100/s", n), "%.1f/s: %+.1f %%", float64(got)/time.Since(t0).Seconds(), 100*(float64(got)-want)/want)
		return nil
	})
}

// delayed fills a server with messages for a day later.
func delayed() error {
	n := size(100_000)
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := startChild(dir)
	if err != nil {
		return err
	}
	idle, t0 := c.rss(), time.Now()
	for i := 0; i < n; i += 500 {
		for c.publish("http://127.0.0.1:1/later", 500, map[string]string{"Upstash-Delay": "1d"}) != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	row(fmt.Sprintf("%d messages with a delay of a day", n), "taken in %s", time.Since(t0).Round(time.Millisecond))
	c.stop()
	t0 = time.Now()
	if c, err = startChild(dir); err != nil {
		return err
	}
	defer c.stop()
	row("restart to ready", "%s", time.Since(t0).Round(time.Millisecond))
	row("resident memory after restart", "%d MiB, %.0f bytes a message", c.rss()>>20, float64(c.rss()-idle)/float64(n))
	return nil
}
