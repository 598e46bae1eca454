package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a server that speaks the Redis protocol, in a process of its own.
type redisServer struct {
	name string
	port int
	pid  int
	stop func()
}

// bullmq compares Quartet with a Redis on the same machine, in turn, at each of the two durabilities.
func bullmq() error {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("redis-server is not installed; make bench-bullmq installs it")
	}
	for _, mode := range []string{"always", "everysec"} {
		fmt.Printf("\n  durability %s\n", mode)
		ours, err := newMeasured(func(dir string) (*redisServer, error) { return startQuartetRedis(dir, mode) })
		if err != nil {
			return err
		}
		defer ours.close()
		theirs, err := newMeasured(func(dir string) (*redisServer, error) { return startRedis(bin, dir, mode) })
		if err != nil {
			return err
		}
		defer theirs.close()
		// What a disk and a shared machine can do changes from minute to minute, so they take turns.
		for i := range rounds {
			turn := []*measured{ours, theirs}
			if i%2 == 1 {
				slices.Reverse(turn)
			}
			for _, m := range turn {
				if err := errors.Join(m.client(m.server), m.replay(m.server)); err != nil {
					return err
				}
			}
		}
		for _, m := range []*measured{ours, theirs} {
			if err := m.restart(); err != nil {
				return err
			}
		}
		for _, k := range ours.order {
			a, b := ours.values[k], theirs.values[k]
			ratios := make([]float64, len(a))
			for i := range a {
				if ratios[i] = a[i] / b[i]; strings.Contains(k, "ms") || strings.Contains(k, "µs") || strings.Contains(k, "bytes") || strings.Contains(k, "restart") {
					ratios[i] = b[i] / a[i]
				}
			}
			slices.Sort(ratios)
			row(k, "%10.1f  Redis %10.1f  %.2f×  (%.2f to %.2f)", median(a), median(b), median(ratios), ratios[0], ratios[len(ratios)-1])
		}
	}
	return nil
}

// rounds is how often each server is measured.
const rounds = 5

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

type measured struct {
	start  func(dir string) (*redisServer, error)
	dir    string
	server *redisServer
	empty  int64
	order  []string
	values map[string][]float64
}

func newMeasured(start func(dir string) (*redisServer, error)) (*measured, error) {
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return nil, err
	}
	s, err := start(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &measured{start: start, dir: dir, server: s, empty: rssOf(s.pid), values: map[string][]float64{}}, nil
}

func (m *measured) close() {
	m.server.stop()
	os.RemoveAll(m.dir)
}

func (m *measured) set(name string, v float64) {
	if m.values[name] == nil {
		m.order = append(m.order, name)
	}
	m.values[name] = append(m.values[name], v)
}

// restart measures a server that begins with many waiting jobs.
func (m *measured) restart() error {
	n, err := fill(m.server)
	if err != nil {
		return err
	}
	m.server.stop()
	t0 := time.Now()
	if m.server, err = m.start(m.dir); err != nil {
		return err
	}
	m.set("restart with the waiting jobs, s", time.Since(t0).Seconds())
	m.set(fmt.Sprintf("memory of %d waiting jobs after that, bytes each", n), float64(rssOf(m.server.pid)-m.empty)/float64(n))
	return nil
}

// client measures with the official client, whose own cost is in what it sees.
func (m *measured) client(s *redisServer) error {
	out, err := exec.Command("node", "bench/bullmq/client.mjs", strconv.Itoa(s.port), strconv.Itoa(max(1, *seconds/2))).Output()
	if err != nil {
		return fmt.Errorf("the client against %s: %w", s.name, err)
	}
	var v map[string]float64
	if err := json.Unmarshal(out, &v); err != nil {
		return err
	}
	keys := []string{
		"add, one at a time", "add, 50 in flight", "addBulk of 1,000", "processed, concurrency 1", "processed, concurrency 50", "processed, concurrency 200",
		"add to active, p50 ms", "add to active, p99 ms",
	}
	for _, k := range keys {
		name := k
		if !strings.Contains(k, "ms") {
			name += ", /s"
		}
		m.set(name, v[k])
	}
	return nil
}

// stream is what BullMQ's client sends for a job: its scripts, and the arguments that do not change.
type stream struct{ Add, Fetch, Finish, AddArgs, AddOpts, FetchOpts, FinishOpts string }

// replay sends the commands of the client over 64 connections, so that the client's cost is out of the way.
func (m *measured) replay(s *redisServer) error {
	out, err := exec.Command("node", "bench/bullmq/client.mjs", "scripts").Output()
	if err != nil {
		return fmt.Errorf("the scripts of the client: %w", err)
	}
	var st stream
	if err := json.Unmarshal(out, &st); err != nil {
		return err
	}
	for _, p := range []*string{&st.AddArgs, &st.AddOpts, &st.FetchOpts, &st.FinishOpts} {
		b, err := base64.StdEncoding.DecodeString(*p)
		if err != nil {
			return err
		}
		*p = string(b)
	}
	const connections = 64
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.port), Protocol: 2, PoolSize: connections})
	defer c.Close()
	add, fetch, finish := redis.NewScript(st.Add), redis.NewScript(st.Fetch), redis.NewScript(st.Finish)
	ctx := context.Background()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			if err := jobs(ctx, c, &st, add, fetch, finish, &done, stop); err != nil {
				failed.Store(&err)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	n0, cpu0, t0 := done.Load(), cpuOf(s.pid), time.Now()
	time.Sleep(time.Duration(*seconds) * time.Second)
	n, wall, cpu := done.Load()-n0, time.Since(t0), cpuOf(s.pid)-cpu0
	close(stop)
	wg.Wait()
	if e := failed.Load(); e != nil {
		return fmt.Errorf("replay against %s: %w", s.name, *e)
	}
	m.set("added and finished on 64 connections, jobs/s", float64(n)/wall.Seconds())
	m.set("server CPU for each, µs", float64(cpu.Microseconds())/float64(max(1, n)))
	if err := m.alone(s, func() error { return addJob(ctx, c, &st, add) }); err != nil {
		return fmt.Errorf("adds alone against %s: %w", s.name, err)
	}
	return c.FlushDB(ctx).Err()
}

// alone calls add again and again, each when the one before has been answered: what a command costs that shares nothing with others.
func (m *measured) alone(s *redisServer, add func() error) error {
	n, cpu0, t0 := 0, cpuOf(s.pid), time.Now()
	for time.Since(t0) < time.Duration(*seconds)*time.Second/2 {
		if err := add(); err != nil {
			return err
		}
		n++
	}
	wall, cpu := time.Since(t0), cpuOf(s.pid)-cpu0
	m.set("adds alone of a Go client, /s", float64(n)/wall.Seconds())
	m.set("server CPU for each of these, µs", float64(cpu.Microseconds())/float64(n))
	return nil
}

func addJob(ctx context.Context, c *redis.Client, st *stream, add *redis.Script) error {
	return add.Run(ctx, c, keys("wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker"), st.AddArgs,
		`{"userId":"user_1","note":"a job of a usual size"}`, st.AddOpts).Err()
}

// keys are those of the queue that AddArgs names.
func keys(names ...string) []string {
	for i := range names {
		names[i] = "bull:bench:" + names[i]
	}
	return names
}

// jobs adds a job and finishes another, as a producer and a worker would together.
func jobs(ctx context.Context, c *redis.Client, st *stream, add, fetch, finish *redis.Script, done *atomic.Int64, stop chan struct{}) error {
	now := func() int64 { return time.Now().UnixMilli() }
	current := ""
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := addJob(ctx, c, st, add); err != nil {
			return err
		}
		var v any
		var err error
		if current == "" {
			v, err = fetch.Run(ctx, c, keys("wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused", "meta", "pc", "marker"), "bull:bench:", now(), st.FetchOpts).Result()
		} else {
			names := keys("wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused", "meta", "pc", "completed", current, "metrics:completed", "marker")
			v, err = finish.Run(ctx, c, names, current, now(), "returnvalue", `{"sent":true}`, "completed", 1, "bull:bench:", st.FinishOpts, "").Result()
			done.Add(1)
		}
		if err != nil {
			return err
		}
		current = ""
		if l, ok := v.([]any); ok && len(l) > 1 {
			current, _ = l[1].(string) // a number says that there is none
		}
	}
}

// fill lets jobs wait, and says how many.
func fill(s *redisServer) (n int, err error) {
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.port), Protocol: 2})
	defer c.Close()
	ctx := context.Background()
	n = size(100_000)
	for i := 0; i < n; i += 1000 {
		p := c.Pipeline()
		for k := range 1000 {
			id := strconv.Itoa(i + k)
			p.Do(ctx, "HMSET", "bull:full:"+id, "name", "mail", "data", `{"userId":"user_1","note":"a job of a usual size"}`, "opts", `{"attempts":1}`, "timestamp", 1800000000000, "delay", 0, "priority", 0)
			p.Do(ctx, "LPUSH", "bull:full:wait", id)
		}
		if _, err := p.Exec(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func startQuartetRedis(dir, mode string) (*redisServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c, err := startChild(dir, fmt.Sprintf("--redis=127.0.0.1:%d", port), "--redis-durability="+mode)
	if err != nil {
		return nil, err
	}
	s := &redisServer{name: "Quartet", port: port, pid: c.cmd.Process.Pid, stop: sync.OnceFunc(c.stop)}
	return s, s.answers()
}

func startRedis(bin, dir, mode string) (*redisServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", mode, "--logfile", filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &redisServer{name: "Redis", port: port, pid: cmd.Process.Pid, stop: sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})}
	return s, s.answers()
}

// answers waits until the server has all its data.
func (s *redisServer) answers() error {
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.port), Protocol: 2, MaxRetries: -1})
	defer c.Close()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		err := c.Exists(context.Background(), "bull:full:wait").Err()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w", s.name, err)
		}
	}
}
