package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/taskpool"
)

// The app whose tasks are deployed, with its CLI.
const taskApp = "test/e2e/trigger-app"

// tasks measures deployed Trigger.dev tasks.
func tasks() error {
	if _, err := os.Stat(filepath.Join(taskApp, "node_modules/trigger.dev")); err != nil {
		fmt.Println("  (installing the CLI)")
		cmd := exec.Command("npm", "ci", "--no-fund", "--no-audit", "--loglevel=error")
		cmd.Dir = taskApp
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	}
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // tasks have users of their own where the server is root
		return err
	}
	c, err := startChild(dir)
	if err != nil {
		return err
	}
	defer func() { c.stop() }()
	if err := deploy(c); err != nil {
		return err
	}
	for _, step := range []func(*child) error{triggers, taskRate, taskLatency} {
		if err := step(c); err != nil {
			return err
		}
	}
	c.stop()
	if c, err = startChild(dir, "--task-reuse=1"); err != nil {
		return err
	}
	return coldLatency(c)
}

// deploy brings the tasks of the app to the production environment.
func deploy(c *child) error {
	cmd := exec.Command("node", "node_modules/trigger.dev/dist/esm/index.js", "deploy", "--skip-update-check", "--skip-telemetry")
	cmd.Dir = taskApp
	cmd.Env = append(os.Environ(), "CI=1", "TRIGGER_API_URL="+c.url, "TRIGGER_ACCESS_TOKEN=tr_pat_quartet")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("deploy: %w\n%s", err, out)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var p struct{ Status string }
		if err := c.task(http.MethodGet, "/api/v1/deployments/latest", nil, &p); err == nil && p.Status == "DEPLOYED" {
			return nil
		} else if time.Now().After(end) || p.Status == "FAILED" {
			return fmt.Errorf("the deployment is %s: %w", p.Status, err)
		}
	}
}

// task asks the server as the SDK does.
func (c *child) task(method, path string, body []byte, out any) error {
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer tr_prod_quartet")
	req.Header.Set("X-Trigger-Api-Version", "2025-07-16")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %.200s (%w)", method, path, resp.StatusCode, b, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

func (c *child) trigger(task, options string) (string, error) {
	var out struct{ ID string }
	err := c.task(http.MethodPost, "/api/v1/tasks/"+task+"/trigger", []byte(`{"payload":"{}","options":{"payloadType":"application/json"`+options+`}}`), &out)
	return out.ID, err
}

// fill triggers n runs in batches of 1,000.
func (c *child) fill(task, options string, n int) error {
	for left := n; left > 0; left -= 1000 {
		count := min(1000, left)
		var b struct{ ID string }
		if err := c.task(http.MethodPost, "/api/v3/batches", fmt.Appendf(nil, `{"runCount":%d}`, count), &b); err != nil {
			return err
		}
		var items bytes.Buffer
		for i := range count {
			fmt.Fprintf(&items, `{"index":%d,"task":%q,"payload":"{}","options":{"payloadType":"application/json"%s}}`+"\n", i, task, options)
		}
		if err := c.task(http.MethodPost, "/api/v3/batches/"+b.ID+"/items", items.Bytes(), nil); err != nil {
			return err
		}
	}
	return nil
}

// triggers measures how fast runs are taken that are for later, and what they take.
func triggers(c *child) error {
	const inFlight = 32
	var n atomic.Int64
	var failed atomic.Pointer[error]
	end := time.Now().Add(time.Duration(*seconds) * time.Second)
	cpu0, t0 := c.cpu(), time.Now()
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, err := c.trigger("noop", `,"delay":"1d"`); err != nil {
					failed.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	wall, cpu := time.Since(t0), c.cpu()-cpu0
	row("triggers one by one, 32 in flight, durable", "%.0f/s, %.0f µs of CPU each", float64(n.Load())/wall.Seconds(), float64(cpu.Microseconds())/float64(max(1, n.Load())))
	total := *scale
	if total == 0 {
		total = 100_000
	}
	cpu0, t0 = c.cpu(), time.Now()
	if err := c.fill("noop", `,"delay":"1d"`, total); err != nil {
		return err
	}
	wall, cpu = time.Since(t0), c.cpu()-cpu0
	row("triggers in batches of 1,000, one after the other", "%.0f/s, %.0f µs of CPU each", float64(total)/wall.Seconds(), float64(cpu.Microseconds())/float64(total))
	c.stop()
	all := int64(total) + n.Load()
	again, err := startChild(c.dir)
	if err != nil {
		return err
	}
	*c = *again
	time.Sleep(time.Second) // what the start left behind is given back
	row(fmt.Sprintf("memory of the server with %d delayed runs", all), "%.0f MiB after a restart, %.0f bytes a run", float64(c.rss())/(1<<20), float64(c.rss())/float64(all))
	return nil
}

// taskRate compares runs of a task that does nothing with the same processes without a server.
func taskRate(c *child) error {
	const total = 400
	if err := c.fill("noop", "", 50); err != nil { // warm
		return err
	}
	if err := c.idle("noop"); err != nil {
		return err
	}
	cpu0, t0 := c.cpu(), time.Now()
	if err := c.fill("noop", "", total); err != nil {
		return err
	}
	if err := c.idle("noop"); err != nil {
		return err
	}
	rate, cpu := total/time.Since(t0).Seconds(), c.cpu()-cpu0
	bare, err := barePipe(c, total)
	if err != nil {
		return err
	}
	row("runs of a task that does nothing, warm", "%.0f/s, %.1f ms of server CPU each", rate, float64(cpu.Milliseconds())/total)
	row("  the same processes fed over their pipes, no server", "%.0f/s: Quartet makes %.0f %% of that", bare, 100*rate/bare)
	return nil
}

// idle waits until a task's queue is empty.
func (c *child) idle(task string) error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var q struct{ Running, Queued int }
		if err := c.task(http.MethodGet, "/api/v1/queues/"+task+"?type=task", nil, &q); err != nil {
			return err
		}
		if q.Running == 0 && q.Queued == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d runs are executing and %d waiting", q.Running, q.Queued)
		}
	}
}

// replay is a source of runs that repeats one run from memory.
type replay struct {
	run  taskpool.Run
	att  taskpool.Attempt
	left atomic.Int64
	done chan struct{}
	todo sync.WaitGroup
	next atomic.Int64
}

func (s *replay) Lease(ctx context.Context, most int) ([]taskpool.Run, error) {
	var runs []taskpool.Run
	for range most {
		if s.left.Add(-1) < 0 {
			break
		}
		r := s.run
		r.ID = fmt.Sprintf("run_%026d", s.next.Add(1))
		runs = append(runs, r)
	}
	if runs == nil {
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	}
	return runs, nil
}

func (s *replay) Start(_ context.Context, r taskpool.Run) (*taskpool.Attempt, error) {
	a := s.att
	a.Execution = json.RawMessage(strings.ReplaceAll(string(a.Execution), s.run.ID, r.ID))
	return &a, nil
}

func (s *replay) Complete(context.Context, taskpool.Run, json.RawMessage) (*taskpool.Outcome, error) {
	s.todo.Done()
	return &taskpool.Outcome{Status: taskpool.Finished}, nil
}

func (s *replay) Heartbeat(context.Context, taskpool.Run) error { return nil }

func (s *replay) Latest(_ context.Context, r taskpool.Run) (*taskpool.State, error) {
	return &taskpool.State{Snapshot: r.Snapshot, Status: "EXECUTING", Attempt: 1}, nil
}

func (s *replay) Notices(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

func (s *replay) Bundle(context.Context, string, string) (io.ReadCloser, []byte, error) {
	return nil, nil, fmt.Errorf("the bundle is not there")
}

// barePipe is the rate at which processes of the pool execute the task when nothing is asked of a server, and what they tell is thrown away.
func barePipe(c *child, total int) (float64, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"partialSuccess":{},"metadata":{}}`)
	})}
	go func() { _ = srv.Serve(ln) }() // ends with Close
	defer srv.Close()
	var p struct {
		ID, Version, ContentHash string
		Worker                   struct{ ID string }
	}
	if err := c.task(http.MethodGet, "/api/v1/deployments/latest", nil, &p); err != nil {
		return 0, err
	}
	const id = "run_00000000000000000000000000"
	url := "http://" + ln.Addr().String()
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	machine := map[string]any{"name": "small-1x", "cpu": 0.5, "memory": 0.5, "centsPerMs": 0}
	execution, err := json.Marshal(map[string]any{
		"attempt": map[string]any{"number": 1, "startedAt": at}, "task": map[string]any{"id": "noop", "filePath": "src/trigger/tasks.ts"},
		"run": map[string]any{
			"id": id, "payload": "{}", "payloadType": "application/json", "tags": []string{}, "isTest": false, "isReplay": false, "createdAt": at, "startedAt": at, "maxAttempts": 1,
			"version": p.Version, "traceContext": map[string]any{"traceparent": "00-8333532a8a20ceb7d749fd5e2d4b5376-148b4c8dc5bc6984-01"}, "durationMs": 0, "costInCents": 0,
			"baseCostInCents": 0, "priority": 0,
		},
		"queue": map[string]any{"id": "queue_1", "name": "task/noop"}, "environment": map[string]any{"id": "env_1", "slug": "prod", "type": "PRODUCTION"},
		"organization": map[string]any{"id": "org_1", "slug": "quartet", "name": "Quartet"}, "project": map[string]any{"id": "p", "ref": "p", "slug": "p", "name": "p"}, "machine": machine,
	})
	if err != nil {
		return 0, err
	}
	s := &replay{done: make(chan struct{}), run: taskpool.Run{
		Env: "prod", ID: id, Snapshot: "snapshot_1", Task: "noop", Project: "p", Deployment: p.ID, Version: p.Version, Worker: p.Worker.ID, Hash: p.ContentHash,
		Machine: taskpool.Machine{Name: "small-1x", CPU: 0.5, Memory: 0.5},
	}, att: taskpool.Attempt{
		Snapshot: "snapshot_1", Number: 1, Execution: execution, Trace: json.RawMessage(`{"traceparent":"00-8333532a8a20ceb7d749fd5e2d4b5376-148b4c8dc5bc6984-01"}`),
		Env: map[string]string{"TRIGGER_API_URL": url, "TRIGGER_SECRET_KEY": "tr_prod_x", "TRIGGER_OTEL_EXPORTER_OTLP_ENDPOINT": url + "/otel", "OTEL_EXPORTER_OTLP_ENDPOINT": url + "/otel"},
	}}
	// The directory of the server's own pool has the bundle, ready to run; held runs of the two do not meet, because theirs have other names.
	pool, err := taskpool.New(taskpool.Config{Source: s, Dir: filepath.Join(c.dir, "tasks"), Log: slog.New(slog.DiscardHandler), Drain: time.Second})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	feed := func(n int) {
		s.todo.Add(n)
		s.left.Store(int64(n))
		close(s.done)
		s.done = make(chan struct{})
		s.todo.Wait()
	}
	s.todo.Add(50)
	s.left.Store(50)
	running.Go(func() { _ = pool.Run(ctx) })
	s.todo.Wait() // warm
	t0 := time.Now()
	feed(total)
	return float64(total) / time.Since(t0).Seconds(), nil
}

// taskLatency is the time from a trigger to the first line of the task, with warm processes.
func taskLatency(c *child) error {
	return c.taskStarts("from a trigger to the task's first line, warm, 5/s", 100, 200*time.Millisecond)
}

// coldLatency is the same with a new process for each run.
func coldLatency(c *child) error {
	return c.taskStarts("from a trigger to the task's first line, cold", 10, 3*time.Second)
}

func (c *child) taskStarts(what string, n int, every time.Duration) error {
	type sent struct {
		id string
		at time.Time
	}
	var all []sent
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range n {
		<-tick.C
		at := time.Now()
		id, err := c.trigger("noop", "")
		if err != nil {
			return err
		}
		all = append(all, sent{id, at})
	}
	if err := c.idle("noop"); err != nil {
		return err
	}
	var took []time.Duration
	for _, s := range all {
		var r struct{ Output json.Number }
		if err := c.task(http.MethodGet, "/api/v3/runs/"+s.id, nil, &r); err != nil {
			return err
		}
		ms, err := r.Output.Int64()
		if err != nil {
			return fmt.Errorf("run %s has no output: %w", s.id, err)
		}
		took = append(took, max(0, time.UnixMilli(ms).Sub(s.at)))
	}
	slices.Sort(took)
	row(what, "p50 %s, p99 %s", quantile(took, 0.5).Round(time.Millisecond), quantile(took, 0.99).Round(time.Millisecond))
	return nil
}
