// Package qstash is the door for the official QStash clients: it takes messages over HTTP, delivers them signed and with their own
// retries, and keeps what could not be delivered.
//
// A message is a run of one engine function whose work is to deliver a request; the request is the payload of the event that
// starts the run. Queues, flow-control keys, delays, retries, deduplication and cancellation are the engine's.
//
// Where to look: config.go, syntax.go, destination.go, retry.go and signature.go read and write the protocol's notations; publish.go
// and batch.go take messages, deliver.go delivers them, callback.go tells of that; messages.go, logs.go and dlq.go answer what became
// of them; queues.go, flow.go, groups.go, schedules.go and keys.go manage the rest. Workflows begin in workflow.go.
package qstash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// Name is what functions of this door carry as their door.
const Name = "qstash"

// slug is the function that delivers messages.
const slug = "qstash-message"

var idSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("quartet:qstash"))

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
	Host     Host
	Client   *dispatch.Client
	Log      *slog.Logger
	Now      func() time.Time         // default time.Now
	NewID    func(ms int64) engine.ID // of messages, ever increasing
	Env      string                   // environment that it serves
	Dev      bool                     // any token is accepted, and the keys are those of the client's development mode
	Keep     time.Duration            // for which logs and dead letters are kept; 0: for ever
	MaxBody  int64                    // bytes of a message; default 10 MiB
	Timeout  time.Duration            // of one attempt; default 15 minutes
	MaxCalls int                      // of the whole server, for display
}

// Door serves the protocol. Make it with New; Call may be called from then on.
type Door struct {
	cfg       Config
	calls     calls.Runner
	identity  atomic.Pointer[identity]
	delivered atomic.Int64
	prepared  chan struct{} // closed when messages can be taken
	changes   sync.Mutex    // of rows of Meta, which are read and written back; held across both
}

// New makes a door.
func New(cfg Config) *Door {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 10 << 20
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 15 * time.Minute
	}
	return &Door{cfg: cfg, calls: calls.Runner{Host: cfg.Host}, prepared: make(chan struct{})}
}

// Calls runs the door's calls; stop and drain it before the host.
func (d *Door) Calls() *calls.Runner { return &d.calls }

// Delivered counts attempts since the start.
func (d *Door) Delivered() int64 { return d.delivered.Load() }

// Call does what the engine asks for: the delivery of a message or the tick of a schedule. It does not block.
func (d *Door) Call(c *engine.Call) {
	if strings.HasPrefix(c.Fn.Slug, scheduleSlug) {
		d.calls.Go(c, d.tick)
		return
	}
	if c.Fn.Slug == workflowSlug {
		d.calls.Go(c, d.deliverStep)
		return
	}
	d.calls.Go(c, d.deliver)
}

// Run prepares what the door needs and returns when that is done; it is tried again until ctx ends.
func (d *Door) Run(ctx context.Context) error {
	select {
	case <-d.cfg.Host.Ready():
	case <-ctx.Done():
		return nil
	}
	for {
		err := d.prepare(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, shard.ErrUnavailable) && ctx.Err() == nil {
			d.cfg.Log.Error("the QStash door cannot start", "err", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
	close(d.prepared)
	<-ctx.Done()
	return nil
}

// Prepared is closed when the door can take messages.
func (d *Door) Prepared() <-chan struct{} { return d.prepared }

// Healthy reports that the door cannot take messages yet.
func (d *Door) Healthy() error {
	select {
	case <-d.prepared:
		return nil
	default:
		return errors.New("the QStash door is not prepared yet")
	}
}

// prepare registers the function that delivers and makes sure of keys.
func (d *Door) prepare(ctx context.Context) error {
	if _, err := d.keys(ctx); err != nil {
		return err
	}
	v, err := d.cfg.Host.Submit(ctx, &engine.Register{
		App: engine.App{ID: engine.UUID(uuid.NewSHA1(idSpace, []byte("app"))), Env: d.cfg.Env, Name: "qstash", Door: Name, Checksum: "2"},
		Functions: []engine.Function{{
			ID: d.messageFn(), Env: d.cfg.Env, App: "qstash", Slug: slug, Name: "QStash message", Door: Name,
			Config: json.RawMessage(`{}`), MaxAttempts: 1, Silent: true,
		}, {
			ID: d.workflowFn(), Env: d.cfg.Env, App: "qstash", Slug: workflowSlug, Name: "QStash workflow", Door: Name, Config: json.RawMessage(`{}`),
			MaxAttempts: 1, Driven: true,
		}},
	})
	if err != nil {
		return err
	}
	return v.(engine.RegisterReply).Err
}

// Serves says whether a request is one of this door's. Their paths must not be cleaned, as a mux would do: they have URLs in them.
func Serves(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/v2/") && !strings.HasPrefix(r.RequestURI, "//")
}

// ServeHTTP answers a request for which Serves is true.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" && !d.cfg.Dev {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
		h.Add("Vary", "Origin")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	var err error
	if !isHook(r) {
		err = d.authenticate(r)
	}
	if err == nil {
		err = d.serve(w, r)
	}
	if err != nil {
		d.writeError(w, r, err)
	}
}

// Trusted serves the same API to whom somebody else has let in, below prefix instead of at the root: the dashboard.
func (d *Door) Trusted(prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = strings.TrimPrefix(r.RequestURI, prefix)
		if err := d.serve(w, r); err != nil {
			d.writeError(w, r, err)
		}
	})
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request) error {
	// Who asks while the server starts waits a moment: clients do not try again after an answer, whatever it is.
	select {
	case <-d.prepared:
	case <-r.Context().Done():
		return context.Cause(r.Context())
	case <-time.After(5 * time.Second):
		return shard.ErrUnavailable
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/")
	handle, ok := endpoints[strings.ToLower(first)]
	if !ok {
		return &inputError{http.StatusNotFound, "no such endpoint: " + r.Method + " " + path}
	}
	return handle(d, w, r, rest)
}

// endpoints are the first segments of paths below /v2/: section 1. What follows them is still as it was sent.
var endpoints = map[string]func(d *Door, w http.ResponseWriter, r *http.Request, rest string) error{
	"publish":           (*Door).servePublish,
	"enqueue":           (*Door).serveEnqueue,
	"batch":             (*Door).serveBatch,
	"messages":          (*Door).serveMessages,
	"queues":            (*Door).serveQueues,
	"schedules":         (*Door).serveSchedules,
	"topics":            (*Door).serveGroups,
	"flowcontrol":       (*Door).serveFlow,
	"globalparallelism": (*Door).serveGlobal,
	"events":            (*Door).serveLogs,
	"logs":              (*Door).serveLogs,
	"dlq":               (*Door).serveDLQ,
	"keys":              (*Door).serveKeys,
	"rotate":            (*Door).serveRotate,
	"trigger":           (*Door).serveTrigger,
	"workflows":         (*Door).serveWorkflows,
	"wait":              (*Door).serveWait,
	"notify":            (*Door).serveNotify,
	"waiters":           (*Door).serveWaiters,
	"readiness": func(_ *Door, w http.ResponseWriter, _ *http.Request, _ string) error {
		return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	},
}

// writeError answers an error in the protocol's shape: section 2.6.
func (d *Door) writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, msg := http.StatusInternalServerError, "internal error"
	var in *inputError
	switch {
	case errors.As(err, &in):
		status, msg = in.status, in.msg
	case errors.Is(err, shard.ErrOverloaded):
		status, msg = http.StatusTooManyRequests, "the server has too much to do; try again in a moment"
	case errors.Is(err, store.ErrFull):
		status, msg = http.StatusServiceUnavailable, "the server's disk is full; nothing was stored"
	case errors.Is(err, shard.ErrUnavailable):
		status, msg = http.StatusServiceUnavailable, "the server is starting, stopping or recovering; try again in a moment"
	case r.Context().Err() == nil:
		d.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	_ = writeJSON(w, status, map[string]string{"error": msg}) // the client is gone, and there is nobody to tell
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone, and there is nobody to tell
	return nil
}

// done answers a call whose answer clients do not read.
func done(w http.ResponseWriter) error { return writeJSON(w, http.StatusOK, struct{}{}) }

func notFound(what, id string) error {
	return &inputError{http.StatusNotFound, what + " " + id + " not found"}
}

func badRequest(format string, args ...any) error {
	return &inputError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func wrongMethod(r *http.Request) error {
	return &inputError{http.StatusMethodNotAllowed, r.Method + " is not possible for " + r.URL.Path}
}

// allow refuses methods that an endpoint does not have.
func allow(r *http.Request, methods ...string) error {
	if !slices.Contains(methods, r.Method) {
		return wrongMethod(r)
	}
	return nil
}

// readBody reads a request's body whole.
func (d *Door) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	b, err := readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength, limit)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, &inputError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit)}
	}
	if err != nil {
		return nil, badRequest("read the body: %v", err)
	}
	return b, nil
}

// callerIP is who sent a request.
func callerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
