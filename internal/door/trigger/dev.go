package trigger

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
)

// What a CLI asks for in development before it has runs: section 16.

func (d *Door) devRoutes() {
	d.route("POST /api/v1/projects/{ref}/background-workers", secret, (*environment).registerWorker)
	d.route("POST /api/v1/auth/jwt/claims", secret, func(env *environment, _ *http.Request) (any, error) {
		return map[string]any{"sub": env.id, "pub": true}, nil
	})
	d.route("POST /api/v1/auth/public-tokens", secret, (*environment).publicToken)
	d.route("GET /engine/v1/dev/config", secret, func(env *environment, r *http.Request) (any, error) {
		return map[string]any{
			"environmentId": env.id, "dequeueIntervalWithRun": 250, "dequeueIntervalWithoutRun": 500, "maxConcurrentRuns": devRuns, "engineUrl": origin(r),
		}, nil
	})
	d.serve("GET /engine/v1/dev/presence", secret, (*environment).servePresence)
	d.mux.HandleFunc("GET /socket.io/", d.serveSocket)
	d.route("POST /engine/v1/dev/disconnect", secret, (*environment).disconnect)
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

// presence is who is connected.
type presence struct {
	mu   sync.Mutex
	open int
	last time.Time // when the last one went
}

// absence is for how long a CLI that is not connected is only on its way: it connects again and again. After abandoned without any, nobody is left who could
// tell of the runs that were under way.
const (
	absence   = 5 * time.Second
	abandoned = 30 * time.Second
)

// connected says that a CLI is there.
func (env *environment) connected() bool {
	env.presence.mu.Lock()
	defer env.presence.mu.Unlock()
	return env.presence.open > 0 || env.cfg.Now().Sub(env.presence.last) < absence
}

func (env *environment) enter() (leave func()) {
	p := &env.presence
	p.mu.Lock()
	p.open++
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.open--
		p.last = env.cfg.Now()
		if p.open == 0 {
			time.AfterFunc(abandoned, env.giveUpOn)
		}
		p.mu.Unlock()
	}
}

// giveUpOn ends the leases of an environment in which no CLI is left: one that is stopped in good order says nothing about its runs.
func (env *environment) giveUpOn() {
	p := &env.presence
	p.mu.Lock()
	back := p.open > 0 || env.cfg.Now().Sub(p.last) < abandoned
	p.mu.Unlock()
	if back {
		return
	}
	env.calls.Do(func(ctx context.Context) {
		for name := range env.taskNames() { // each by itself
			ids, err := do[[]engine.ID](ctx, env, &engine.LiveRuns{Fn: env.functionID(name), Limit: maxGivenUp})
			if err != nil {
				return // their leases run out by themselves
			}
			for _, id := range ids {
				s, err := do[engine.LeaseState](ctx, env, &engine.ReadLease{Run: id})
				if err == nil && s.Held && s.Begun {
					_, _ = do[engine.LeaseState](ctx, env, &engine.Hold{Run: id, Token: s.Token, Hold: 1}) // else it takes minutes
				}
			}
		}
	})
}

// maxGivenUp bounds how many runs of a task are looked at.
const maxGivenUp = 10_000

// servePresence is the stream by which a CLI is known to be there: section 16.2.
func (env *environment) servePresence(w http.ResponseWriter, r *http.Request) {
	defer env.enter()()
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	event := func(name string) bool {
		_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, iso(env.cfg.Now().UnixMilli()))
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
		case <-env.sockets.closed:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// disconnect cancels the runs of a CLI that was killed: section 16.5.
func (env *environment) disconnect(r *http.Request) (any, error) {
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
		done, err := env.cancel(r.Context(), run, "Dev session ended")
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
	runPrefix        = "run_"
	snapshotPrefix   = "snapshot_"
	waitPrefix       = "waitpoint_"
	deploymentPrefix = "deployment_"
	batchPrefix      = "batch_"
	workerPrefix     = "worker_"
	schedulePrefix   = "sched_"
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
