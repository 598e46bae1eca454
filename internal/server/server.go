// Package server puts a Quartet server together: store, shard, doors and dashboard behind one listener.
package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/dashboard"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/door/inngest"
	"github.com/quartetjobs/quartet/internal/door/qstash"
	"github.com/quartetjobs/quartet/internal/door/resp"
	"github.com/quartetjobs/quartet/internal/door/trigger"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/retention"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
	"github.com/quartetjobs/quartet/internal/store/sqlite"
	"github.com/quartetjobs/quartet/internal/taskpool"
	"github.com/quartetjobs/quartet/internal/telemetry"
	"golang.org/x/sync/errgroup"
)

// Config of a Server. The flags of quartet dev and quartet serve fill it; their help says what each field does.
type Config struct {
	Listen string
	Data   string // directory, or ":memory:"
	Redis  Redis
	Keys   auth.Keys
	Tasks  Tasks
	// EncryptionKey keeps secret in the store what users want kept secret; without one the server makes one, and keeps it beside the data.
	EncryptionKey auth.Secret
	Retention     time.Duration // 0: keep everything
	URLs          []string
	Discover      bool
	PollInterval  time.Duration
	Retry         time.Duration
	DenyPrivate   bool
	MaxCalls      int
	PerTarget     int
	DrainTimeout  time.Duration // default 10 s
	Version       string
	Log           *slog.Logger
}

// Server is a running or startable server.
type Server struct {
	cfg     Config
	ln      net.Listener
	ready   chan struct{}
	redisLn net.Listener // nil: Redis is off
	redis   *resp.Door
	keys    *shard.Keyspace
	store   store.Store
	host    *shard.Host
	client  *dispatch.Client
	inngest *inngest.Door
	qstash  *qstash.Door
	trigger *trigger.Door // nil: no key opens it
	tasks   *taskpool.Pool
	scratch string // directory to remove at the end
	dash    *dashboard.Dashboard
	sweeper *retention.Sweeper
	http    *http.Server
}

// New opens the listener and the store and builds everything on them; nothing is served until Run. What it opened is
// closed by Run, or by New itself when it fails.
func New(ctx context.Context, cfg Config) (_ *Server, err error) {
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 10*time.Second)
	if err := errors.Join(cfg.Keys.Validate(), cfg.Redis.validate(cfg.Keys.Dev)); err != nil {
		return nil, err
	}
	s := &Server{ready: make(chan struct{}), cfg: cfg}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.ln, err = listen(cfg.Listen); err != nil {
		return nil, err
	}
	if err := s.listenRedis(); err != nil {
		return nil, err
	}
	if s.store, err = openStore(ctx, cfg.Data); err != nil {
		return nil, err
	}
	s.client = dispatch.New(dispatch.Config{DenyPrivate: cfg.DenyPrivate, MaxIdle: max(256, cfg.PerTarget)})
	ids := newIDs()
	s.host = shard.New(shard.Config{
		Store:  s.store,
		Engine: engine.Config{NewID: ids, MaxCalls: cfg.MaxCalls, PerTarget: cfg.PerTarget},
		Effect: s.effect,
		Changed: func(r []store.Record) {
			s.dash.Changed(r)
			if s.trigger != nil {
				s.trigger.Changed(r)
			}
		},
		Log: cfg.Log.With("component", "shard"),
	})
	s.inngest = inngest.New(inngest.Config{
		Host: s.host, Keys: &s.cfg.Keys, Client: s.client, Log: cfg.Log.With("component", "inngest"), URLs: cfg.URLs,
		Discover: cfg.Discover, PollInterval: cfg.PollInterval, Retry: cfg.Retry, Version: cfg.Version, Port: os.Getenv("PORT"),
	})
	s.qstash = qstash.New(qstash.Config{
		Host: s.host, Client: s.client, Log: cfg.Log.With("component", "qstash"), NewID: ids, Env: cfg.Keys.Environments[0].Name, Dev: cfg.Keys.Dev,
		Keep: cfg.Retention, MaxCalls: cfg.MaxCalls,
	})
	if err := s.openTrigger(ids); err != nil {
		return nil, err
	}
	if s.redisLn != nil {
		s.openRedis()
	}
	jobs, err := s.jobSources()
	if err != nil {
		return nil, err
	}
	s.dash = dashboard.New(dashboard.Config{
		Host: s.host, Keys: &s.cfg.Keys, Log: cfg.Log.With("component", "dashboard"), Version: cfg.Version, Own: []string{qstash.Name}, AppError: s.inngest.AppError,
		Environments: s.environments, Tasks: s.trigger != nil, Sync: s.inngest.Sync, Send: s.inngest.Send, Invoke: s.inngest.Invoke, Rerun: s.qstash.Rerun, Jobs: jobs, About: s.about,
	})
	s.sweeper = retention.New(retention.Config{Host: s.host, Log: cfg.Log.With("component", "retention"), Keep: cfg.Retention})
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// environments are the names of those that doors have made beside the configured ones.
func (s *Server) environments() []string {
	if s.trigger == nil {
		return nil
	}
	return s.trigger.Environments()
}

// about is what the door of a run knows about it.
func (s *Server) about(ctx context.Context, run *engine.RunRow) (tags []string, metadata, measures []byte, err error) {
	if s.trigger == nil {
		return nil, nil, nil, nil
	}
	return s.trigger.About(ctx, run)
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Ready is closed when the server has recovered its state and serves.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// effect gives what the engine wants done to the door that does it.
func (s *Server) effect(e engine.Effect) {
	switch e := e.(type) {
	case *engine.Call:
		switch {
		case e.Fn.Door == qstash.Name:
			s.qstash.Call(e)
		case e.Fn.Door != trigger.Name:
			s.inngest.Call(e)
		case s.trigger != nil: // without its door a schedule stands still
			s.trigger.Call(e)
		}
	case *engine.Notice:
		if s.trigger != nil {
			s.trigger.Notice(e)
		}
	case *engine.Work:
		if s.trigger != nil {
			s.trigger.Work(e)
		}
	case *engine.Settle:
		switch {
		case e.Door == qstash.Name:
			s.qstash.Settle(e)
		case e.Door != trigger.Name:
			s.inngest.Settle(e)
		case s.trigger != nil: // without its door a failure is told of later
			s.trigger.Settle(e)
		}
	default:
		panic(fmt.Sprintf("BUG: server: unknown effect %T", e))
	}
}

// handler gives requests to the doors. Paths of QStash have URLs in them, which a mux would clean.
func (s *Server) handler() http.Handler {
	mux := s.routes()
	const inside = "/api/dashboard/qstash"
	trusted := s.dash.Trust(s.qstash.Trusted(inside))
	const triggerInside = "/api/dashboard/trigger"
	var trustedTasks http.Handler
	if s.trigger != nil {
		trustedTasks = s.dash.Trust(s.trigger.Trusted(triggerInside))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case qstash.Serves(r):
			s.qstash.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, inside+"/v2/"):
			trusted.ServeHTTP(w, r)
		case s.trigger != nil && strings.HasPrefix(r.URL.Path, triggerInside+"/"):
			trustedTasks.ServeHTTP(w, r)
		case s.trigger != nil && trigger.Serves(r):
			s.trigger.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	s.inngest.Routes(mux)
	s.inngest.Preflight(mux)
	s.dash.Routes(mux)

	metrics := telemetry.NewMetrics()
	st := func(read func(shard.Stats) float64) func() float64 {
		return func() float64 { return read(s.host.Stats()) }
	}
	metrics.Counter("quartet_shard_commands_total", "Commands applied.", st(func(s shard.Stats) float64 { return float64(s.Commands) }))
	metrics.Counter("quartet_shard_commits_total", "Batches made durable.", st(func(s shard.Stats) float64 { return float64(s.Batches) }))
	metrics.Counter("quartet_shard_records_total", "Records made durable.", st(func(s shard.Stats) float64 { return float64(s.Records) }))
	metrics.Counter("quartet_shard_overloads_total", "Commands refused because the inbox was full.", st(func(s shard.Stats) float64 { return float64(s.Overloads) }))
	metrics.Counter("quartet_shard_restarts_total", "Recoveries after a failed commit.", st(func(s shard.Stats) float64 { return float64(s.Restarts) }))
	metrics.Counter("quartet_shard_commit_seconds_total", "Time spent waiting for the disk.", st(func(s shard.Stats) float64 { return s.CommitTime.Seconds() }))
	metrics.Counter("quartet_shard_fold_seconds_total", "Time spent folding the journal.", st(func(s shard.Stats) float64 { return s.FoldTime.Seconds() }))
	metrics.Gauge("quartet_shard_inbox_commands", "Commands waiting.", st(func(s shard.Stats) float64 { return float64(s.Inbox) }))
	metrics.Counter("quartet_inngest_events_total", "Events received.", func() float64 { return float64(s.inngest.Counters().Events) })
	metrics.Counter("quartet_inngest_calls_total", "Calls made.", func() float64 { return float64(s.inngest.Counters().Calls) })
	metrics.Gauge("quartet_inngest_calls_in_flight", "Calls that are out.", func() float64 { return float64(s.inngest.Counters().InFlight) })
	metrics.Counter("quartet_qstash_attempts_total", "Attempts to deliver messages.", func() float64 { return float64(s.qstash.Delivered()) })
	metrics.Gauge("quartet_qstash_attempts_in_flight", "Attempts that are out.", func() float64 { return float64(s.qstash.Calls().InFlight()) })
	metrics.Gauge("quartet_engine_runs", "Unfinished runs.", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := shard.Do[engine.Counts](ctx, s.host, &engine.Overview{})
		if err != nil {
			return -1
		}
		return float64(c.Runs)
	})
	mux.Handle("GET /metrics", s.dash.Guard(metrics.Handler()))

	for name, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile, "/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace,
	} {
		mux.Handle("GET "+name, s.dash.Guard(h))
	}

	health := &telemetry.Health{}
	health.Add("shard", s.host.Healthy)
	health.Add("dispatch", s.dispatching)
	health.Add("qstash", s.qstash.Healthy)
	if s.redis != nil {
		health.Add("redis", s.keys.Healthy)
		s.redisMetrics(metrics)
	}
	mux.HandleFunc("GET /healthz", health.Live)
	mux.HandleFunc("GET /readyz", health.Ready)
	return mux
}

// dispatching fails when work has been due for a while and the loop has not got to it.
func (s *Server) dispatching() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := shard.Do[engine.Counts](ctx, s.host, &engine.Overview{})
	if err != nil {
		return fmt.Errorf("the engine does not answer: %w", err)
	}
	if late := time.Since(time.UnixMilli(c.NextDue)); c.NextDue > 0 && late > 10*time.Second {
		return fmt.Errorf("work has been due for %s", late.Round(time.Second))
	}
	return nil
}

// Run serves until ctx ends or a part fails, then drains: it stops accepting, waits for calls that are out, makes their
// answers durable and closes the store. When it returns nothing of the server is running.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	// The shard outlives the listener: requests and calls that are under way still need it.
	shardCtx, stopShard := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShard()
	g, ctx := errgroup.WithContext(ctx)
	var shardDone sync.WaitGroup
	failed := make(chan error, 2)
	runShard := func(run func(context.Context) error) {
		shardDone.Go(func() {
			if err := run(shardCtx); err != nil {
				failed <- err
			}
		})
	}
	runShard(s.host.Run)
	if s.redis != nil {
		runShard(s.keys.Run)
		g.Go(func() error { return s.redis.Serve(ctx, s.redisLn) })
	}
	g.Go(func() error {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error {
		if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", s.ln.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		parts := []<-chan struct{}{s.qstash.Prepared()}
		if s.trigger != nil {
			parts = append(parts, s.trigger.Prepared())
		}
		if s.redis != nil {
			parts = append(parts, s.keys.Ready())
		}
		for _, part := range parts {
			select {
			case <-part:
			case <-ctx.Done():
				return nil
			}
		}
		close(s.ready)
		return nil
	})
	g.Go(func() error { return s.inngest.Run(ctx) })
	g.Go(func() error { return s.qstash.Run(ctx) })
	if s.trigger != nil {
		g.Go(func() error { return s.trigger.Run(ctx) })
		if !s.cfg.Tasks.Off {
			g.Go(func() error { return s.tasks.Run(ctx) })
		}
	}
	g.Go(func() error { return s.dash.Run(ctx) })
	g.Go(func() error { return s.sweeper.Run(ctx) })
	g.Go(func() error { return tuneMemory(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		s.drain(context.WithoutCancel(ctx))
		return nil
	})
	err := g.Wait()
	stopShard()
	shardDone.Wait()
	return err
}

// drain lets calls that are out finish, while apps can still store steps through the listener, and then ends that.
func (s *Server) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	s.inngest.Calls().Stop()
	s.qstash.Calls().Stop()
	if s.trigger != nil {
		s.trigger.Calls().Stop()
		defer s.trigger.Calls().Drain()
	}
	s.client.Drain(ctx)
	s.inngest.Calls().Drain()
	s.qstash.Calls().Drain()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // whoever still talks to us has had the time
	}
}

func (s *Server) close() {
	s.closeTasks()
	if s.ln != nil {
		_ = s.ln.Close() // it may be closed already
	}
	if s.redisLn != nil {
		_ = s.redisLn.Close() // like the other
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.cfg.Log.Error("close store", "err", err)
		}
	}
}

func listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another process: choose another address with --listen or QUARTET_LISTEN", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", addr, err)
	}
	return ln, nil
}

func openStore(ctx context.Context, data string) (store.Store, error) {
	if data == ":memory:" {
		return memory.New(), nil
	}
	st, err := sqlite.Open(ctx, sqlite.Options{Dir: data})
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", data, err)
	}
	return st, nil
}

// newIDs makes ULIDs that only ever grow. The machine asks from one goroutine; a machine that is made after a failed
// commit goes on where the last one stopped.
func newIDs() func(int64) engine.ID {
	entropy := ulid.Monotonic(rand.Reader, 0)
	var mu sync.Mutex
	var last uint64
	return func(ms int64) engine.ID {
		mu.Lock()
		defer mu.Unlock()
		last = max(last, uint64(ms))
		id, err := ulid.New(last, entropy)
		if err != nil { // the entropy of one millisecond ran out
			last++
			id = ulid.MustNew(last, entropy)
		}
		return id
	}
}

// Environment are the variables that point the SDKs at a server: name and value, in a fixed order. redis is the URL of the Redis door, empty if it
// is off.
func Environment(addr string, keys *auth.Keys, redis string) [][2]string {
	vars := httpEnvironment(addr, keys)
	if redis != "" {
		vars = append(vars, [2]string{"REDIS_URL", redis})
	}
	return vars
}

func httpEnvironment(addr string, keys *auth.Keys) [][2]string {
	base := "http://" + strings.Replace(addr, "0.0.0.0", "127.0.0.1", 1)
	if keys.Dev {
		k := qstash.DevKeys
		return [][2]string{
			{"INNGEST_DEV", base},
			{"INNGEST_BASE_URL", base},
			{"QSTASH_URL", base},
			{"QSTASH_TOKEN", k.Token},
			{"QSTASH_CURRENT_SIGNING_KEY", k.Current},
			{"QSTASH_NEXT_SIGNING_KEY", k.Next},
			{"TRIGGER_API_URL", base},
			{"TRIGGER_SECRET_KEY", trigger.DevKey},
			{"TRIGGER_ACCESS_TOKEN", trigger.DevToken},
		}
	}
	e := keys.Environments[0]
	vars := [][2]string{
		{"INNGEST_DEV", "0"},
		{"INNGEST_BASE_URL", base},
		{"INNGEST_EVENT_KEY", e.EventKeys[0].Reveal()},
		{"INNGEST_SIGNING_KEY", e.SigningKeys[0].Reveal()},
	}
	if len(keys.Trigger) > 0 {
		vars = append(vars, [2]string{"TRIGGER_API_URL", base}, [2]string{"TRIGGER_SECRET_KEY", keys.Trigger[0].Reveal()})
	}
	if len(keys.TriggerTokens) > 0 {
		vars = append(vars, [2]string{"TRIGGER_ACCESS_TOKEN", keys.TriggerTokens[0].Reveal()})
	}
	return vars
}
