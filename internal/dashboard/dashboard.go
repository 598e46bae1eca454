// Package dashboard is the face of a server: a JSON API over what is stored, a stream of what changes, and the web
// application that uses both, embedded from web/.
//
// The API is the dashboard's own and may change with it; docs/dashboard-api.md describes it for those who want to script
// against it anyway.
package dashboard

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// prefix is where the API lives. The doors own most other paths.
const prefix = "/api/dashboard"

// Config of a Dashboard.
type Config struct {
	Host         *shard.Host
	Keys         *auth.Keys
	Log          *slog.Logger
	Version      string
	Own          []string                                         // doors whose apps and functions are the server's own: nobody wrote them, so lists leave them out
	Tasks        bool                                             // Trigger.dev clients are let in
	Environments func() []string                                  // those beside the configured ones; optional
	AppError     func(env, app string) string                     // why an app does not answer, "" if it does
	Sync         func(ctx context.Context, env, url string) error // asks an app for its functions
	// Send takes one event or a list as JSON; Invoke starts one function with {"data": …}. Their errors may say with
	// Status() int that the input was wrong.
	Send   func(ctx context.Context, env string, body []byte) (ids []string, err error)
	Invoke func(ctx context.Context, env, slug string, body []byte) (event string, err error)
	Jobs   []JobSource // servers with BullMQ queues
	// Rerun starts a run of a Driven function again.
	Rerun func(ctx context.Context, run engine.ID) (engine.ID, error)
	// About says what a run's door knows about it and the engine does not: its tags, and its metadata and what it measured as JSON. Nothing by default.
	About func(ctx context.Context, run *engine.RunRow) (tags []string, metadata, measures []byte, err error)
	Now   func() time.Time // default time.Now
}

// Dashboard serves the API and the web application.
type Dashboard struct {
	cfg  Config
	live *live
}

// New makes a dashboard.
func New(cfg Config) *Dashboard {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.About == nil {
		cfg.About = func(context.Context, *engine.RunRow) ([]string, []byte, []byte, error) { return nil, nil, nil, nil }
	}
	return &Dashboard{cfg: cfg, live: newLive()}
}

// Changed takes note of records that became durable, for live views. It does not block.
func (d *Dashboard) Changed(records []store.Record) { d.live.note(records) }

// Run sends changes to live views until ctx ends.
func (d *Dashboard) Run(ctx context.Context) error { return d.live.run(ctx) }

// Routes adds the API and the web application to a mux; the application gets every path that nobody else has.
func (d *Dashboard) Routes(mux *http.ServeMux) {
	api := http.NewServeMux()
	h := func(pattern string, fn func(http.ResponseWriter, *http.Request, string) error) {
		method, path, _ := strings.Cut(pattern, " ")
		api.Handle(method+" "+prefix+path, d.handler(fn))
	}
	h("GET /events", d.listEvents)
	h("POST /events", d.sendEvents)
	h("GET /events/{id}", d.getEvent)
	h("GET /runs", d.listRuns)
	h("GET /runs/{id}", d.getRun)
	h("GET /runs/{id}/trace", d.getTrace)
	h("GET /runs/{id}/spans/{span}", d.getSpan)
	h("POST /runs/{id}/cancel", d.cancelRun)
	h("POST /runs/{id}/rerun", d.rerun)
	h("GET /functions", d.listFunctions)
	h("GET /functions/{slug}", d.getFunction)
	h("POST /functions/{slug}/pause", d.pause(true))
	h("POST /functions/{slug}/resume", d.pause(false))
	h("POST /functions/{slug}/invoke", d.invoke)
	h("GET /apps", d.listApps)
	h("POST /apps", d.syncApp)
	h("DELETE /apps/{name}", d.removeApp)
	h("GET /jobs", d.listJobs)
	h("GET /jobs/queues", d.listQueues)
	h("GET /jobs/queue", d.getQueue)
	h("GET /jobs/job", d.getJob)
	h("GET /jobs/failed", d.listFailed)
	h("GET /jobs/schedulers", d.listSchedulers)
	h("POST /jobs/{action}", d.changeJobs)
	h("GET /overview", d.overview)
	h("GET /live", d.serveLive)
	api.HandleFunc(prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "no such endpoint: "+r.Method+" "+r.URL.Path)
	})
	// Browsers send the cookie with any page's requests, so writes must come from our own.
	protect := http.NewCrossOriginProtection()
	mux.Handle(prefix+"/", protect.Handler(d.Guard(api)))
	mux.HandleFunc("GET "+prefix+"/session", d.session)
	mux.Handle("POST "+prefix+"/login", protect.Handler(http.HandlerFunc(d.login)))
	mux.Handle("POST "+prefix+"/logout", protect.Handler(http.HandlerFunc(d.logout)))
	mux.Handle("/", newAssets())
}

// handler runs an API function in the environment that the request names and answers its error.
func (d *Dashboard) handler(fn func(http.ResponseWriter, *http.Request, string) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		env := r.URL.Query().Get("env")
		if env == "" {
			env = d.cfg.Keys.Environments[0].Name
		}
		if !slices.Contains(d.environments(), env) {
			writeError(w, http.StatusNotFound, "no such environment: "+env)
			return
		}
		err := fn(w, r, env)
		var wrong interface {
			error
			Status() int
		}
		switch {
		case err == nil:
		case errors.As(err, &wrong):
			writeError(w, wrong.Status(), wrong.Error())
		case errors.Is(err, shard.ErrOverloaded), errors.Is(err, shard.ErrUnavailable):
			w.Header().Set("Retry-After", "1")
			writeError(w, http.StatusServiceUnavailable, "the server is busy or recovering; try again in a moment")
		default:
			if r.Context().Err() == nil {
				d.cfg.Log.Error("dashboard request failed", "path", r.URL.Path, "err", err)
			}
			writeError(w, http.StatusInternalServerError, "internal error")
		}
	})
}

// apiError is an error of the request's own.
type apiError struct {
	status int
	msg    string
}

func (e *apiError) Error() string { return e.msg }
func (e *apiError) Status() int   { return e.status }

func notFound(what, id string) error {
	return &apiError{http.StatusNotFound, what + " " + id + " does not exist"}
}
func badRequest(msg string) error { return &apiError{http.StatusBadRequest, msg} }

func writeError(w http.ResponseWriter, status int, msg string) {
	writeJSON(w, status, map[string]string{"error": msg})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, and there is nobody to tell
}

// A session is a cookie that says when it ends, signed with the dashboard's key: nothing to store, and a new key ends
// every session.

const (
	sessionCookie = "quartet_session"
	sessionLife   = 30 * 24 * time.Hour
)

func (d *Dashboard) sign(expires string) string {
	mac := hmac.New(sha256.New, []byte(d.cfg.Keys.Dashboard.Reveal()))
	mac.Write([]byte("session\x00" + expires))
	return hex.EncodeToString(mac.Sum(nil))
}

func (d *Dashboard) allowed(r *http.Request) bool {
	if d.cfg.Keys.Dev {
		return true
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return d.cfg.Keys.Dashboard.Equal(token)
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	expires, mac, _ := strings.Cut(c.Value, ".")
	n, err := strconv.ParseInt(expires, 10, 64)
	return err == nil && hmac.Equal([]byte(mac), []byte(d.sign(expires))) && d.cfg.Now().Unix() < n
}

// Guard lets requests through that carry a session or the dashboard's key as a bearer token. In development it lets
// everything through.
func (d *Dashboard) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.allowed(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, http.StatusUnauthorized, "log in, or send the dashboard key as a bearer token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Trust protects a handler that another part brings to the dashboard's API like the dashboard's own.
func (d *Dashboard) Trust(next http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(d.Guard(next))
}

// environments are the names of all environments, the server's own first.
func (d *Dashboard) environments() []string {
	names := []string{}
	for _, e := range d.cfg.Keys.Environments {
		names = append(names, e.Name)
	}
	if d.cfg.Environments != nil {
		names = append(names, d.cfg.Environments()...)
	}
	return names
}

// session is GET /session: what the page needs to know before anything else.
func (d *Dashboard) session(w http.ResponseWriter, r *http.Request) {
	out := map[string]any{"dev": d.cfg.Keys.Dev, "authenticated": d.allowed(r)}
	if d.allowed(r) {
		out["environments"], out["version"], out["tasks"] = d.environments(), d.cfg.Version, d.cfg.Tasks
	}
	writeJSON(w, http.StatusOK, out)
}

// login is POST /login with {"key": …}.
func (d *Dashboard) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Key string `json:"key"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&in); err != nil {
		writeError(w, http.StatusBadRequest, "invalid JSON")
		return
	}
	if !d.cfg.Keys.Dev && !d.cfg.Keys.Dashboard.Equal(in.Key) {
		writeError(w, http.StatusUnauthorized, "this is not the dashboard key")
		return
	}
	expires := strconv.FormatInt(d.cfg.Now().Add(sessionLife).Unix(), 10)
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: expires + "." + d.sign(expires), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", MaxAge: int(sessionLife.Seconds()),
	})
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
}

func (d *Dashboard) logout(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
}

// overview is GET /overview.
func (d *Dashboard) overview(w http.ResponseWriter, r *http.Request, _ string) error {
	c, err := shard.Do[engine.Counts](r.Context(), d.cfg.Host, &engine.Overview{})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"unfinishedRuns": c.Runs, "callsInFlight": c.Calls, "openBatches": c.Pending})
	return nil
}
