// Package trigger is the door for the official Trigger.dev SDK and CLI: tasks are registered by a worker, which asks for runs of them,
// executes them and reports.
//
// A task is an engine function that is pulled, a run of it an engine run, and what a worker holds of a run is an engine lease: the id of a
// snapshot is the lease's token. Queues, delays, retries, waits and idempotency keys are the engine's.
//
// Where to look: identity.go says who asks, packet.go reads and writes payloads; dev.go and worker.go are what the CLI does before there are
// runs, socket.go how it hears of changes; execution.go is the life of an attempt, waits.go what a run waits for; trigger.go, debounce.go and batch.go start
// runs, runs.go tells of them, bulk.go changes many, schedules.go starts them by the clock, alerts.go and alertsend.go tell others of failures, and
// called.go has what these two have in common;
// realtime.go lets clients follow them; telemetry.go keeps what tasks tell of themselves, and trace.go gives it
// back; stream.go and its neighbours are what they stream to others, and what others send them.
package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/durable"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/namedlock"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/taskpool"
)

// Name is what functions of this door carry as their door.
const Name = "trigger"

var idSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("quartet:trigger"))

// Host is what the door needs of a shard.
type Host interface {
	Submit(ctx context.Context, cmd engine.Command) (any, error)
	Post(cmd engine.Command, to func(any, error)) error
	Get(ctx context.Context, t store.Table, key []byte) ([]byte, bool, error)
	List(ctx context.Context, t store.Table, part []byte) ([]store.Row, error)
	Scan(ctx context.Context, q store.Query) ([]store.Row, error)
	Ready() <-chan struct{}
}

// Config of a Door.
type Config struct {
	Host  Host
	Log   *slog.Logger
	Now   func() time.Time         // default time.Now
	NewID func(ms int64) engine.ID // of runs and everything else, ever increasing
	Env   string                   // the server's own environment, which is the first project's development, or what the first key is for
	Box   *auth.Box                // for what must be secret at rest
	Dev   bool                     // any key is accepted
	Limit int                      // runs that are executed at once in each environment for which nobody set another limit; default 100

	Bundles string           // directory in which the archives of deployments are kept
	Origin  func() string    // where processes of this machine reach the server
	Client  *dispatch.Client // sends alerts

	Keys         []auth.Secret // secret keys of the first project's environments; what follows tr_ says which each is for
	WorkerToken  auth.Secret   // of pools on other machines; without one there are none
	AccessTokens []auth.Secret // of the CLI, beside those that are made by logging in
}

// Door is the Trigger.dev door.
type Door struct {
	cfg      Config
	mux      *http.ServeMux
	prepared chan struct{}
	calls    calls.Runner
	envs     environments
	tokens   tokens
	sockets  sockets
	requests requests
	locks    namedlock.Set
	bounces  namedlock.Set // of debounce keys
	packets  packets
	builds   builds
	pool     *taskpool.Pool // makes deployments runnable
	work     bell
	notices  notices
	turn     atomic.Uint64 // the environment that is the first to be asked for runs
	watchers watchers
	held     atomic.Int64 // bytes of the rows of lists that are followed
	told     told
	streams  streams
	bulks    bulks
}

// New makes a door; it answers once Run has prepared it.
func New(cfg Config) *Door {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	d := &Door{cfg: cfg, prepared: make(chan struct{}), mux: http.NewServeMux(), builds: builds{ctx: context.Background(), turn: make(chan struct{}, 1)}}
	d.calls.Host = cfg.Host
	d.sockets.init()
	d.routes()
	return d
}

// Build lets a pool make deployments runnable. It is called before Run.
func (d *Door) Build(p *taskpool.Pool) { d.pool = p }

// Prepared is closed when the door answers.
func (d *Door) Prepared() <-chan struct{} { return d.prepared }

// Calls are the ticks of schedules that are under way.
func (d *Door) Calls() *calls.Runner { return &d.calls }

// Run prepares the door and keeps it going until ctx ends.
func (d *Door) Run(ctx context.Context) error {
	defer d.sockets.close()
	select {
	case <-d.cfg.Host.Ready():
	case <-ctx.Done():
		return nil
	}
	for {
		err := errors.Join(d.loadTokens(ctx), d.load(ctx))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		d.cfg.Log.Error("read environments", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
	if err := durable.Sweep(d.cfg.Bundles, urlLife); err != nil { // what is younger may be under way
		d.cfg.Log.Warn("remove bundles that were not uploaded to their end", "err", err)
	}
	if err := d.sweepBundles(); err != nil {
		d.cfg.Log.Warn("remove bundles that were never deployed", "err", err)
	}
	d.builds.ctx = ctx
	d.builds.resume(d.all()) // before there are new ones, which are not to be built twice
	for _, env := range d.all() {
		env.tellLate()
	}
	close(d.prepared)
	d.runBulks(ctx)
	<-ctx.Done()
	d.builds.all.Wait()
	return nil
}

// prefixes are the beginnings of this door's paths.
var prefixes = []string{"/api/v1/", "/api/v2/", "/api/v3/", "/engine/v1/", "/otel/v1/", "/realtime/v1/", "/socket.io/", "/packets/"}

// Serves says whether a request is one of this door's.
func Serves(r *http.Request) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(r.URL.Path, p) {
			return true
		}
	}
	return false
}

// handler answers a request that was let in. It returns what is to be sent as JSON, or an error.
type handler func(env *environment, r *http.Request) (any, error)

// access says who may use an endpoint of an environment.
type access int

const (
	secret access = iota // who has its key
	public               // and public tokens with the scope that the handler asks for
)

// route adds an endpoint of the environment that the caller's key or token is of.
func (d *Door) route(pattern string, who access, h handler) {
	d.serve(pattern, who, func(env *environment, w http.ResponseWriter, r *http.Request) {
		v, err := h(env, r)
		d.respond(w, r, v, err)
	})
}

// serve is route for what answers by itself.
func (d *Door) serve(pattern string, who access, h func(*environment, http.ResponseWriter, *http.Request)) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r, err := d.admit(w, r)
		c := callerOf(r)
		if err == nil && (c.env == nil || c.claims != nil && who != public) {
			err = errKey
		}
		if err != nil {
			d.writeError(w, r, err)
			return
		}
		h(c.env, w, r)
	})
}

// personal adds an endpoint for who has an access token, or the key of an environment.
func (d *Door) personal(pattern string, h func(*Door, *http.Request) (any, error)) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r, err := d.admit(w, r)
		if err == nil && callerOf(r).claims != nil {
			err = fail(http.StatusUnauthorized, "Invalid or Missing Access Token")
		}
		var v any
		if err == nil {
			v, err = h(d, r)
		}
		d.respond(w, r, v, err)
	})
}

// anyone adds an endpoint that asks for no key.
func (d *Door) anyone(pattern string, h func(*Door, *http.Request) (any, error)) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody(r.URL.Path))
		v, err := h(d, r)
		d.respond(w, r, v, err)
	})
}

// admit finds out who sends a request; the request that it returns says so.
func (d *Door) admit(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	c, err := d.authenticate(r)
	if err != nil {
		return r, err
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody(r.URL.Path))
	return r, nil
}

// respond sends what a handler returned.
func (d *Door) respond(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	status := http.StatusOK
	if a, ok := v.(*accepted); ok {
		status, v = a.status, a.body
		maps.Copy(w.Header(), a.header)
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, v)
}

// accepted is an answer with more than a body.
type accepted struct {
	status int
	header http.Header
	body   any
}

// maxBody is section 4.7.
func maxBody(path string) int64 {
	switch {
	case strings.HasSuffix(path, "/items"):
		return 1 << 30 // a stream, which is limited line by line
	case strings.Contains(path, "/background-workers"):
		return 64 << 20
	case strings.HasPrefix(path, "/realtime/v1/streams/") && !strings.HasSuffix(path, "/append"):
		return 1 << 40 // for as long as a task has some; its lines are limited
	case strings.HasPrefix(path, "/otel/"):
		return maxTelemetry
	case strings.HasSuffix(path, "/complete"):
		return 16 << 20
	}
	return 3 << 20
}

// ServeHTTP answers a request for which Serves is true.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" {
		cors(w.Header(), r)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	// Who asks while the server starts waits a moment.
	select {
	case <-d.prepared:
	case <-r.Context().Done():
		return
	case <-time.After(5 * time.Second):
		d.writeError(w, r, shard.ErrUnavailable)
		return
	}
	d.mux.ServeHTTP(w, r)
}

// cors lets browsers in, whose tokens say what they may do: section 4.6.
func cors(h http.Header, r *http.Request) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	h.Set("Access-Control-Expose-Headers", "x-trigger-jwt, x-trigger-jwt-claims, electric-handle, electric-offset, electric-schema, electric-cursor, x-stream-version")
	h.Set("Access-Control-Max-Age", "600")
}

func (d *Door) routes() {
	d.loginRoutes()
	d.projectRoutes()
	d.variableRoutes()
	d.deploymentRoutes()
	d.poolRoutes()
	d.workloadRoutes()
	d.dashboardRoutes()
	d.devRoutes()
	d.executionRoutes()
	d.triggerRoutes()
	d.runRoutes()
	d.waitRoutes()
	d.scheduleRoutes()
	d.packetRoutes()
	d.queueRoutes()
	d.concurrencyRoutes()
	d.alertRoutes()
	d.realtimeRoutes()
	d.telemetryRoutes()
	d.traceRoutes()
	d.streamRoutes()
	d.bulkRoutes()
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.writeError(w, r, d.unknown(r))
	})
}

// unknown is what is wrong with a request that no endpoint takes.
func (d *Door) unknown(r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := d.mux.Handler(&other); pattern != "/" {
			return fail(http.StatusMethodNotAllowed, "Method Not Allowed")
		}
	}
	return fail(http.StatusNotFound, "Not Found")
}

// inputError is what is wrong with a request: section 32.
type inputError struct {
	status int
	msg    string
	body   map[string]any // instead of {"error": msg}
}

func (e *inputError) Error() string { return e.msg }

func fail(status int, format string, args ...any) error {
	return &inputError{status: status, msg: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return fail(http.StatusUnprocessableEntity, format, args...)
}

// writeError answers an error in the protocol's shape: section 4.3.
func (d *Door) writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, msg := http.StatusInternalServerError, "Internal Server Error"
	var in *inputError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &in):
		status, msg = in.status, in.msg
		if in.body != nil {
			writeJSON(w, status, in.body)
			return
		}
	case errors.As(err, &large):
		status, msg = http.StatusRequestEntityTooLarge, "Request body too large"
	case errors.Is(err, shard.ErrOverloaded):
		status, msg = http.StatusTooManyRequests, "The server has too much to do"
	case errors.Is(err, store.ErrFull):
		status, msg = http.StatusServiceUnavailable, "The server's disk is full"
	case errors.Is(err, shard.ErrUnavailable):
		status, msg = http.StatusServiceUnavailable, "The server is starting, stopping or recovering"
	case r.Context().Err() == nil:
		d.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, map[string]string{"error": msg})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone, and there is nobody to tell
}

// decode reads a request's body. The content type does not matter: the CLI sends JSON as text. An empty body leaves v as it is.
func decode(r *http.Request, v any) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil
	}
	if !json.Valid(b) {
		return fail(http.StatusBadRequest, "Invalid JSON")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fail(http.StatusBadRequest, "Invalid request body: %v", err)
	}
	return nil
}

// do submits a command whose reply is a T.
func do[T any](ctx context.Context, d interface {
	submit(context.Context, engine.Command) (any, error)
}, cmd engine.Command,
) (T, error) {
	v, err := d.submit(ctx, cmd)
	if err != nil {
		var zero T
		return zero, err
	}
	return v.(T), nil
}

func (d *Door) submit(ctx context.Context, cmd engine.Command) (any, error) {
	return d.cfg.Host.Submit(ctx, cmd)
}

// readRows reads the rows of a kind that an environment has in Meta.
func readRows[T any](ctx context.Context, env *environment, kind string) ([]*T, error) {
	rows, err := env.cfg.Host.Scan(ctx, store.Query{Table: store.Meta, Prefix: env.metaKey(kind, ""), Limit: store.MaxLimit})
	if err != nil {
		return nil, err
	}
	var list []*T
	for _, row := range rows {
		v := new(T)
		if err := json.Unmarshal(row.Value, v); err != nil {
			return nil, fmt.Errorf("decode a row of the kind %s: %w", kind, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// put writes rows, all or none.
func (d *Door) put(ctx context.Context, rows ...engine.RowPut) error {
	_, err := d.cfg.Host.Submit(ctx, &engine.Put{Rows: rows})
	return err
}

func (d *Door) newID() engine.ID { return d.cfg.NewID(d.cfg.Now().UnixMilli()) }
