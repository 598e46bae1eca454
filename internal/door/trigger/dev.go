package trigger

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
)

// What the CLI asks before it has runs: sections 3 and 16. There is one organisation and, for each project that somebody names, the same
// environment.

func (d *Door) devRoutes() {
	d.route("GET /api/v1/whoami", secret, (*Door).whoami)
	d.route("GET /api/v2/whoami", secret, (*Door).whoami)
	d.route("GET /api/v1/projects", secret, func(d *Door, _ *http.Request) (any, error) { return []any{}, nil })
	d.route("GET /api/v1/projects/{ref}", secret, (*Door).project)
	d.route("GET /api/v1/projects/{ref}/{env}", secret, (*Door).projectEnv)
	d.route("GET /api/v1/projects/{ref}/dev-status", secret, func(d *Door, _ *http.Request) (any, error) {
		return map[string]bool{"isConnected": d.connected()}, nil
	})
	d.route("GET /api/v1/projects/{ref}/envvars", secret, func(d *Door, r *http.Request) (any, error) {
		return map[string]any{"variables": d.variables(r)}, nil
	})
	d.route("POST /api/v1/projects/{ref}/background-workers", secret, (*Door).registerWorker)
	d.route("GET /api/v1/platform-notifications", open, func(d *Door, _ *http.Request) (any, error) { return map[string]any{"notification": nil}, nil })
	d.route("POST /api/v1/auth/jwt/claims", secret, func(d *Door, _ *http.Request) (any, error) {
		return map[string]any{"sub": environmentID, "pub": true}, nil
	})
	d.route("GET /engine/v1/dev/config", secret, func(d *Door, r *http.Request) (any, error) {
		return map[string]any{
			"environmentId": environmentID, "dequeueIntervalWithRun": 250, "dequeueIntervalWithoutRun": 500, "maxConcurrentRuns": 25, "engineUrl": origin(r),
		}, nil
	})
	d.mux.HandleFunc("GET /engine/v1/dev/presence", d.servePresence)
	d.mux.HandleFunc("GET /socket.io/", d.serveSocket)
	d.route("POST /engine/v1/dev/disconnect", secret, (*Door).disconnect)
	d.mux.HandleFunc("POST /engine/v1/dev/runs/{run}/logs/debug", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
}

// origin is where the client reached the server.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (d *Door) whoami(r *http.Request) (any, error) {
	v := map[string]any{"userId": "user_1", "email": "developer@quartet.local", "dashboardUrl": origin(r)}
	if ref := r.URL.Query().Get("projectRef"); ref != "" {
		v["project"] = map[string]string{"name": ref, "url": origin(r), "orgTitle": "Quartet"}
	}
	return v, nil
}

func (d *Door) project(r *http.Request) (any, error) {
	ref := r.PathValue("ref")
	created := time.UnixMilli(0).UTC()
	return map[string]any{
		"id": projectID(ref), "externalRef": ref, "name": ref, "slug": ref, "createdAt": created,
		"organization": map[string]any{"id": organizationID, "title": "Quartet", "slug": "quartet", "createdAt": created},
	}, nil
}

const organizationID = "org_1"

func projectID(ref string) string { return strings.TrimPrefix(ref, "proj_") }

func (d *Door) projectEnv(r *http.Request) (any, error) {
	if env := r.PathValue("env"); env != "dev" {
		return nil, fail(http.StatusNotFound, "Environment not found")
	}
	ref := r.PathValue("ref")
	key := d.secretKey()
	if c := callerOf(r); strings.HasPrefix(c.key, "tr_dev_") {
		key = c.key
	}
	return map[string]any{"apiKey": key, "name": ref, "apiUrl": origin(r), "projectId": projectID(ref)}, nil
}

// variables are those that every task process gets: section 18.8.
func (d *Door) variables(r *http.Request) map[string]string {
	o := origin(r)
	return map[string]string{
		"TRIGGER_API_URL": o, "TRIGGER_STREAM_URL": o, "TRIGGER_REALTIME_STREAM_VERSION": "v1",
		"TRIGGER_OTEL_EXPORTER_OTLP_ENDPOINT": o + "/otel", "OTEL_EXPORTER_OTLP_ENDPOINT": o + "/otel",
	}
}

// presence is who is connected.
type presence struct {
	mu   sync.Mutex
	open int
	last time.Time // when the last one went
}

// absence is for how long a CLI that is not connected is only on its way: it connects again and again.
const absence = 5 * time.Second

// connected says that a CLI is there.
func (d *Door) connected() bool {
	d.presence.mu.Lock()
	defer d.presence.mu.Unlock()
	return d.presence.open > 0 || d.cfg.Now().Sub(d.presence.last) < absence
}

func (d *Door) enter() (leave func()) {
	p := &d.presence
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.open--
		p.last = d.cfg.Now()
		p.mu.Unlock()
	}
}

// servePresence is the stream by which a CLI is known to be there: section 16.2.
func (d *Door) servePresence(w http.ResponseWriter, r *http.Request) {
	if _, err := d.authenticate(r); err != nil {
		d.writeError(w, r, err)
		return
	}
	defer d.enter()()
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	event := func(name string) bool {
		_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, iso(d.cfg.Now().UnixMilli()))
		return err == nil && rc.Flush() == nil
	}
	if !event("start") {
		return
	}
	tick := time.NewTicker(4 * time.Second)
	defer tick.Stop()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	for {
		select {
		case <-tick.C:
			if !event("time") {
				return
			}
		case <-end.C:
			return
		case <-d.sockets.closed:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// disconnect cancels the runs of a CLI that was killed: section 16.5.
func (d *Door) disconnect(r *http.Request) (any, error) {
	var in struct {
		Runs []string `json:"runFriendlyIds"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Runs) > 500 {
		return nil, fail(http.StatusBadRequest, "at most 500 runs can be cancelled at once")
	}
	n := 0
	for _, id := range in.Runs {
		run, ok := parseID(runPrefix, id)
		if !ok {
			continue
		}
		done, err := d.cancel(r.Context(), run, "Dev session ended")
		if err != nil {
			return nil, err
		}
		if done {
			n++
		}
	}
	return map[string]int{"cancelled": n}, nil
}

// Friendly ids: section 2.1. The ULID behind the prefix sorts by the time of its making.
const (
	runPrefix      = "run_"
	snapshotPrefix = "snapshot_"
	waitPrefix     = "waitpoint_"
	batchPrefix    = "batch_"
	workerPrefix   = "worker_"
	schedulePrefix = "sched_"
)

func friendly(prefix string, id engine.ID) string { return prefix + strings.ToLower(id.String()) }

func internalID(id engine.ID) string { return strings.ToLower(id.String()) }

func parseID(prefix, s string) (engine.ID, bool) {
	var id engine.ID
	s = strings.TrimPrefix(s, prefix)
	err := id.UnmarshalText([]byte(s))
	return id, err == nil && len(s) == 26
}

// iso is a time as clients read it.
func iso(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00") }
