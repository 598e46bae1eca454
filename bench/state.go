package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// sleepers fills a server with sleeping and waiting runs and looks at what that costs.
func sleepers() error {
	n := size(100_000)
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := startChild(dir, "--max-calls=256")
	if err != nil {
		return err
	}
	functions := map[string]string{"sleep": "bench/sleep", "wait": "bench/wait", "few": "bench/few"}
	var calls atomic.Int64
	a, err := startApp(c, functions, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusPartialContent)
		switch r.URL.Query().Get("fnId") {
		case "bench-sleep":
			fmt.Fprintf(w, `[{"id":%q,"op":"Sleep","name":"30d","displayName":"wait a month"}]`, stepID(0))
		case "bench-wait":
			fmt.Fprintf(w, `[{"id":%q,"op":"WaitForEvent","name":"bench/answer","opts":{"timeout":"30d","if":"event.data.userId == async.data.userId"}}]`, stepID(0))
		default:
			fmt.Fprintf(w, `[{"id":%q,"op":"WaitForEvent","name":"bench/few-answer","opts":{"timeout":"30d","if":"event.data.userId == async.data.userId"}}]`, stepID(0))
		}
		calls.Add(1)
	})
	if err != nil {
		c.stop()
		return err
	}
	defer a.close()
	fill := func(event string, n int) error {
		before := calls.Load()
		for i := 0; i < n; {
			var list []any
			for ; len(list) < 500 && i < n; i++ {
				list = append(list, map[string]any{"name": event, "data": map[string]any{"userId": fmt.Sprintf("user_%d", i)}})
			}
			body, err := json.Marshal(list)
			if err != nil {
				return err
			}
			for c.send(body) != nil {
				time.Sleep(10 * time.Millisecond)
			}
			for int64(i)-(calls.Load()-before) > 5000 {
				time.Sleep(time.Millisecond)
			}
		}
		for calls.Load()-before < int64(n) {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	idle := c.rss()
	began := time.Now()
	if err := fill("bench/sleep", n); err != nil {
		return err
	}
	row(fmt.Sprintf("%d runs put to sleep", n), "in %s", time.Since(began).Round(time.Millisecond))
	c.stop()
	began = time.Now()
	if c, err = startChild(dir, "--max-calls=256"); err != nil {
		return err
	}
	row("restart to ready", "%s", time.Since(began).Round(time.Millisecond))
	row("resident memory after restart", "%d MiB, %.0f bytes a run", c.rss()>>20, float64(c.rss()-idle)/float64(n))

	cost := func(event string, k int) time.Duration {
		const m = 300
		var total time.Duration
		for range m {
			body := fmt.Appendf(nil, `{"name":%q,"data":{"userId":"user_%d"}}`, event, rand.IntN(k))
			t := time.Now()
			if c.send(body) == nil {
				total += time.Since(t)
			}
		}
		return total / m
	}
	if err := a.register(c, functions); err != nil {
		return err
	}
	few := min(1000, n)
	if err := fill("bench/few", few); err != nil {
		return err
	}
	small := cost("bench/few-answer", few)
	if err := fill("bench/wait", n); err != nil {
		return err
	}
	large := cost("bench/answer", n)
	row(fmt.Sprintf("one event that matches one of %d waits", few), "%s", small.Round(time.Microsecond))
	row(fmt.Sprintf("one event that matches one of %d waits", n), "%s: %.2f times that", large.Round(time.Microsecond), float64(large)/float64(small))
	row("resident memory with both", "%d MiB", c.rss()>>20)
	c.stop()
	return nil
}

// kill ends a server under load ten times and accounts for everything that was acknowledged.
func kill() error {
	rounds := size(10)
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := startChild(dir, "--retry=200ms")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	ran := map[string]int{}      // run + step: how often its work was done
	seen := map[string]bool{}    // run + step: was given back to the app as stored
	again := 0                   // steps done although they had been given back
	finished := map[string]int{} // event number: runs that came to the end
	a, err := startApp(c, map[string]string{"fn": "bench/kill"}, func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Event struct {
				Data struct{ N int } `json:"data"`
			} `json:"event"`
			Steps map[string]json.RawMessage `json:"steps"`
			Ctx   struct {
				RunID string `json:"run_id"`
			} `json:"ctx"`
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &in)
		mu.Lock()
		for id := range in.Steps {
			seen[in.Ctx.RunID+id] = true
		}
		k := len(in.Steps)
		id := stepID(k)
		if k < 3 {
			if seen[in.Ctx.RunID+id] {
				again++
			}
			ran[in.Ctx.RunID+id]++
		} else {
			finished[fmt.Sprint(in.Event.Data.N)]++
		}
		mu.Unlock()
		if k < 3 {
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprintf(w, `[{"id":%q,"op":"StepRun","name":"step","data":1}]`, id)
			return
		}
		_, _ = io.WriteString(w, `null`)
	})
	if err != nil {
		c.stop()
		return err
	}
	defer a.close()
	acknowledged := map[string]bool{}
	n := 0
	for range rounds {
		stop := time.Now().Add(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for time.Now().Before(stop.Add(200 * time.Millisecond)) {
					mu.Lock()
					n++
					me := n
					mu.Unlock()
					if c.send(fmt.Appendf(nil, `{"name":"bench/kill","data":{"n":%d}}`, me)) == nil {
						mu.Lock()
						acknowledged[fmt.Sprint(me)] = true
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(time.Until(stop))
		c.kill()
		wg.Wait()
		if c, err = startChild(dir, "--retry=200ms"); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(time.Minute)
	missing := len(acknowledged)
	for missing > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		mu.Lock()
		missing = 0
		for k := range acknowledged {
			if finished[k] == 0 {
				missing++
			}
		}
		mu.Unlock()
	}
	c.stop()
	mu.Lock()
	defer mu.Unlock()
	row(fmt.Sprintf("%d kills, %d events acknowledged", rounds, len(acknowledged)), "%d without a finished run, %d steps run again after acknowledgement", missing, again)
	return nil
}
