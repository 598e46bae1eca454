// Package inngest is the door for the official Inngest SDKs: it takes events and registrations over HTTP, calls
// functions back, and translates between their protocol and the engine's commands and ops.
//
// Where to look: events.go takes events, register.go and function.go take registrations, sync.go finds and asks apps,
// call.go makes calls and answer.go reads what they answered, checkpoint.go stores steps of running calls, lifecycle.go
// tells functions about the end of others, rest_v1.go and fetch.go serve what SDKs and tools read.
package inngest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// Name is what functions and facts of this door carry as their door.
const Name = "inngest"

// Host is what the door needs of a shard.
type Host interface {
	Submit(ctx context.Context, cmd engine.Command) (any, error)
	Post(cmd engine.Command, to func(any, error)) error
	Get(ctx context.Context, t store.Table, key []byte) ([]byte, bool, error)
	List(ctx context.Context, t store.Table, part []byte) ([]store.Row, error)
	Scan(ctx context.Context, q store.Query) ([]store.Row, error)
	Since() time.Time // of the last recovery: what memory knows of the recent past begins there
}

// Config of a Door.
type Config struct {
	Host   Host
	Keys   *auth.Keys
	Client *dispatch.Client
	Log    *slog.Logger
	Now    func() time.Time // default time.Now

	URLs         []string      // apps to sync at start
	Discover     bool          // look for apps on this machine
	PollInterval time.Duration // time between syncs of known apps; 0: never
	Retry        time.Duration // flat time between attempts; 0: the protocol's table
	Version      string        // of the server, for display
	Port         string        // value of $PORT, one more place to look for apps
}

// Door serves the protocol. Make it with New; Handle may be called from then on.
type Door struct {
	cfg       Config
	functions sync.Map // engine.UUID -> *target
	apps      *appStates
	lifecycle lifecycle
	calls     calls.Runner
	metrics   metrics
}

// New makes a door.
func New(cfg Config) *Door {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Door{cfg: cfg, apps: newAppStates(), calls: calls.Runner{Host: cfg.Host}}
	d.lifecycle.wake = make(chan struct{}, 1)
	return d
}

// kind is what the protocol calls the server's mode.
func (d *Door) kind() string {
	if d.cfg.Keys.Dev {
		return "dev"
	}
	return "cloud"
}

// Routes adds the door's endpoints to a mux. Section 2.2 of the protocol notes lists them.
func (d *Door) Routes(mux *http.ServeMux) {
	open := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, d.wrap(h)) }
	keyed := func(pattern string, h envHandler) { mux.Handle(pattern, d.wrap(d.authenticated(h))) }

	open("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": 200, "message": "OK"})
	})
	mux.Handle("/e/{key}", d.wrap(d.events))
	open("POST /invoke/{slug}", d.invoke)
	keyed("GET /dev", d.devInfo)
	keyed("POST /fn/register", d.register)
	keyed("PUT /fn/register", d.register)
	keyed("DELETE /fn/remove", d.remove)

	keyed("GET /v0/runs/{run}/batch", d.fetchBatch)
	keyed("GET /v0/runs/{run}/actions", d.fetchActions)
	keyed("DELETE /v0/runs/{run}", d.cancelV0)

	keyed("POST /v1/checkpoint/{run}/async", d.checkpoint)
	keyed("POST /v1/http/runs/{run}/async", d.checkpoint)
	keyed("GET /v1/events", d.listEvents)
	keyed("GET /v1/events/{event}", d.getEvent)
	keyed("GET /v1/events/{event}/runs", d.eventRuns)
	keyed("GET /v1/runs/{run}", d.getRun)
	keyed("DELETE /v1/runs/{run}", d.cancelV1)
	keyed("GET /v1/runs/{run}/jobs", d.runJobs)
	keyed("POST /v1/signals", d.signal)
	keyed("GET /v1/apps/{app}/functions", d.appFunctions)
	keyed("POST /v1/cancellations", d.bulkCancel)
	keyed("GET /v1/cancellations", d.listCancellations)
	keyed("DELETE /v1/cancellations/{id}", d.deleteCancellation)
	open("POST /v0/telemetry", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	keyed("POST /v1/traces/userland", func(w http.ResponseWriter, _ *http.Request, _ *auth.Environment) { w.WriteHeader(http.StatusOK) })
	open("POST /dev/traces", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, p := range []string{"/e/", "/v0/", "/v1/", "/fn/"} {
		mux.Handle(p, d.wrap(func(w http.ResponseWriter, r *http.Request) {
			writeError(w, http.StatusNotFound, "", "no such endpoint: "+r.Method+" "+r.URL.Path)
		}))
	}
}

type envHandler func(http.ResponseWriter, *http.Request, *auth.Environment)

// wrap adds what every answer of this door carries: the server's kind and, for browsers, permission to read it.
func (d *Door) wrap(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("X-Inngest-Server-Kind", d.kind())
		if origin := r.Header.Get("Origin"); origin != "" {
			hd.Set("Access-Control-Allow-Origin", origin)
			hd.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
			hd.Set("Access-Control-Allow-Headers", "*")
			if ask := r.Header.Get("Access-Control-Request-Headers"); ask != "" {
				hd.Set("Access-Control-Allow-Headers", ask)
			}
			hd.Set("Access-Control-Max-Age", "3600")
			hd.Add("Vary", "Origin")
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h(w, r)
	})
}

// Preflight answers CORS preflights for the door's paths, which method patterns would refuse.
func (d *Door) Preflight(mux *http.ServeMux) {
	none := d.wrap(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, p := range []string{"/v0/", "/v1/", "/fn/", "/invoke/"} {
		mux.Handle("OPTIONS "+p, none)
	}
}

// authenticated lets a request through that carries the signing key of an environment.
func (d *Door) authenticated(h envHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		env, ok := d.cfg.Keys.BearerEnvironment(r.Header.Get("Authorization"))
		if !ok {
			// SDKs repeat the request with their fallback key on 401, so this must not be any other status.
			http.Error(w, "Authentication failed", http.StatusUnauthorized)
			return
		}
		h(w, r, env)
	}
}

// apiError is the error shape of section 2.3.
type apiError struct {
	Code   string `json:"code,omitempty"`
	Error  string `json:"error"`
	Data   any    `json:"data"`
	Status int    `json:"status"`
}

func writeError(w http.ResponseWriter, status int, code, msg string) {
	writeJSON(w, status, apiError{Code: code, Error: msg, Status: status})
}

// writeFailure answers an error of ours: overload and recovery are worth a retry, everything else is a bug or a disk.
func (d *Door) writeFailure(w http.ResponseWriter, r *http.Request, err error) {
	status, msg := failure(err)
	if status == http.StatusInternalServerError && r.Context().Err() == nil {
		d.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeError(w, status, "", msg)
}

// failure is the status and text for an error of the shard.
func failure(err error) (int, string) {
	switch {
	case errors.Is(err, shard.ErrOverloaded):
		return http.StatusTooManyRequests, "the server has too much to do; try again in a moment"
	case errors.Is(err, store.ErrFull):
		return http.StatusServiceUnavailable, "the server's disk is full; nothing was stored"
	case errors.Is(err, shard.ErrUnavailable):
		return http.StatusServiceUnavailable, "the server is starting, stopping or recovering; try again in a moment"
	}
	return http.StatusInternalServerError, "internal error"
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, and there is nobody to tell
}

// Calls runs the door's calls; stop and drain it before the host.
func (d *Door) Calls() *calls.Runner { return &d.calls }
