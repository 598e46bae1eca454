package inngest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/expr"
	"github.com/quartetjobs/quartet/internal/store"
	"golang.org/x/sync/errgroup"
)

func exprVars(event any, now time.Time) expr.Vars {
	return expr.Vars{Event: event, Now: now.UnixMilli()}
}

// metrics are the door's counters.
type metrics struct {
	events, calls atomic.Int64
}

// Counters are what the door did since the start.
type Counters struct{ Events, Calls, InFlight int64 }

// Counters reads them.
func (d *Door) Counters() Counters {
	return Counters{d.metrics.events.Load(), d.metrics.calls.Load(), d.calls.InFlight()}
}

// appStates remembers what the last sync of each app brought, and which URLs are still to be synced.
type appStates struct {
	mu    sync.Mutex
	found map[string]bool     // URLs that discovery found
	known map[string]appState // "env\x00app"
	wants map[string]string   // URL -> last error, given at start and not yet synced
}

type appState struct {
	url string
	err string // code of section 6.4, "" when it answers
}

func newAppStates() *appStates {
	return &appStates{found: map[string]bool{}, known: map[string]appState{}, wants: map[string]string{}}
}

func (s *appStates) discovered(url string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found[normalURL(url)]
}

func (s *appStates) registered(env, app, url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[env+"\x00"+app] = appState{url: url}
	delete(s.wants, url)
}

func (s *appStates) forget(env, app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, env+"\x00"+app)
}

func (s *appStates) setError(env, app, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.known[env+"\x00"+app]
	st.err = code
	s.known[env+"\x00"+app] = st
}

// AppError is why an app did not answer when it was last asked, "" if it did or was not asked.
func (d *Door) AppError(env, app string) string {
	d.apps.mu.Lock()
	defer d.apps.mu.Unlock()
	return d.apps.known[env+"\x00"+app].err
}

func (s *appStates) pendingURLs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	urls := make([]string, 0, len(s.wants))
	for u := range s.wants {
		urls = append(urls, u)
	}
	slices.Sort(urls)
	return urls
}

// Run does the door's background work until ctx ends: lifecycle events, syncs of given URLs, polling and discovery.
func (d *Door) Run(ctx context.Context) error {
	for _, u := range d.cfg.URLs {
		d.apps.wants[normalURL(u)] = ""
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { d.runLifecycle(ctx); return nil })
	g.Go(func() error { d.runSync(ctx); return nil })
	return g.Wait()
}

// runSync asks apps for their functions.
func (d *Door) runSync(ctx context.Context) {
	every := d.cfg.PollInterval
	if every <= 0 {
		if len(d.cfg.URLs) == 0 && !d.cfg.Discover {
			return
		}
		every = 5 * time.Second
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		d.syncOnce(ctx)
		wait := every
		if len(d.apps.pendingURLs()) > 0 {
			wait = min(wait, time.Second) // an app that is just starting
		}
		t.Reset(wait)
	}
}

func (d *Door) syncOnce(ctx context.Context) {
	env := d.cfg.Keys.Environments[0].Name
	for _, u := range d.apps.pendingURLs() {
		if err := d.Sync(ctx, env, u); err != nil && ctx.Err() == nil {
			d.cfg.Log.Debug("app does not answer yet", "url", u, "err", err)
		}
	}
	apps, err := d.loadApps(ctx, env)
	if err != nil {
		return // starting or stopping
	}
	if len(apps) == 0 && d.cfg.Discover {
		d.discover(ctx, env)
		return
	}
	if d.cfg.PollInterval <= 0 {
		return
	}
	for _, a := range apps {
		if a.Door != Name || !strings.HasPrefix(a.URL, "http") {
			continue
		}
		err := d.Sync(ctx, env, a.URL)
		if ctx.Err() != nil {
			return
		}
		code := ""
		var se *syncError
		if errors.As(err, &se) {
			code = se.code
		}
		d.apps.setError(env, a.Name, code)
	}
}

// loadApps reads the apps that registered with this door.
func (d *Door) loadApps(ctx context.Context, env string) ([]*engine.App, error) {
	var apps []*engine.App
	q := store.Query{Table: store.Apps, Prefix: engine.EnvPrefix(env), Limit: 1000}
	for {
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			a := &engine.App{}
			if err := json.Unmarshal(r.Value, a); err != nil {
				return nil, fmt.Errorf("app %q: %w", r.Key, err)
			}
			if a.Door == Name {
				apps = append(apps, a)
			}
		}
		if len(rows) < q.Limit {
			return apps, nil
		}
		q.From = append(rows[len(rows)-1].Key, 0)
	}
}

// syncError says in the protocol's words why an app could not be synced: section 6.4.
type syncError struct{ code, msg string }

func (e *syncError) Error() string { return e.code + ": " + e.msg }

// syncTimeout bounds the wait for an app that is asked for its functions; a development server may have to compile first.
const syncTimeout = 30 * time.Second

// Sync asks the app at a URL for its functions: sections 6.3 and 6.6. The app either answers with them or registers by
// itself, which must be possible while this call is open.
func (d *Door) Sync(ctx context.Context, env, appURL string) error {
	if err := dispatch.CheckURL(appURL); err != nil {
		return &syncError{"unsupported_protocol", err.Error()}
	}
	body, err := json.Marshal(map[string]string{"url": appURL})
	if err != nil {
		return err
	}
	h := http.Header{"Content-Type": {"application/json"}, "X-Inngest-Server-Kind": {d.kind()}, "User-Agent": {"Inngest"}}
	if e, ok := d.cfg.Keys.Named(env); ok && len(e.SigningKeys) > 0 {
		sig, err := signature(e.SigningKeys[0], body, d.cfg.Now())
		if err != nil {
			return err
		}
		h["X-Inngest-Signature"] = []string{sig}
		if !d.cfg.Keys.Dev {
			h["X-Inngest-Sync-Kind"] = []string{"in_band"}
		}
	}
	resp, err := d.cfg.Client.Do(ctx, &dispatch.Request{Method: http.MethodPut, URL: appURL, Header: h, Body: body, Timeout: syncTimeout})
	if err != nil {
		return &syncError{"unreachable", err.Error()}
	}
	switch s := resp.Status; {
	case s == http.StatusUnauthorized:
		return &syncError{"unauthorized", "the app refused the request: do its signing key and the server's agree?"}
	case s == http.StatusForbidden:
		return &syncError{"forbidden", "the app refused the request"}
	case s == http.StatusNotFound:
		return &syncError{"url_not_found", "there is nothing at " + appURL}
	case s >= 500:
		return &syncError{"internal_server_error", fmt.Sprintf("the app answered %d: %.200s", s, resp.Body)}
	case s >= 300:
		return &syncError{"invalid_function", fmt.Sprintf("the app answered %d: %.200s", s, resp.Body)}
	case resp.Header.Get("X-Inngest-Sdk") == "":
		return &syncError{"url_not_found", "what answers at " + appURL + " is not an Inngest SDK"}
	case resp.Header.Get("X-Inngest-Sync-Kind") != "in_band":
		return nil // it has registered by itself
	}
	return d.applyInBand(ctx, env, appURL, resp.Body)
}

// applyInBand registers from the answer of an in-band sync: section 6.3.
func (d *Door) applyInBand(ctx context.Context, env, appURL string, body []byte) error {
	var in struct {
		registration
		AppID       string `json:"app_id"`
		SDKLanguage string `json:"sdk_language"`
		SDKVersion  string `json:"sdk_version"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return &syncError{"invalid_function", "the app's answer is not JSON: " + err.Error()}
	}
	reg := in.registration
	reg.AppName, reg.SDK = in.AppID, in.SDKLanguage+":v"+strings.TrimPrefix(in.SDKVersion, "v")
	if reg.URL == "" {
		reg.URL = appURL
	}
	_, err := d.apply(ctx, env, &reg)
	var refused *refusal
	if errors.As(err, &refused) {
		return &syncError{"invalid_function", refused.msg}
	}
	return err
}

// Places where an app may listen in development: section 6.6.
var (
	discoverPorts = []int{
		80, 443, 3000, 3001, 3002, 3003, 3004, 3005, 3006, 3007, 3008, 3009, 3010, 4321, 5000, 5173, 8000, 8080, 8081,
		8888, 8910, 8911, 8912, 8913, 8914, 8915, 8787,
	}
	discoverPaths = []string{"/api/inngest", "/x/inngest", "/.netlify/functions/inngest", "/.redwood/functions/inngest"}
)

// discover looks for apps on this machine and syncs those it finds.
func (d *Door) discover(ctx context.Context, env string) {
	ports := slices.Clone(discoverPorts)
	if p, err := strconv.Atoi(d.cfg.Port); err == nil && !slices.Contains(ports, p) {
		ports = append(ports, p)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, p := range ports {
		g.Go(func() error {
			for _, path := range discoverPaths {
				if d.probe(ctx, env, &url.URL{Scheme: "http", Host: "localhost:" + strconv.Itoa(p), Path: path}) {
					break
				}
			}
			return nil
		})
	}
	_ = g.Wait() // no goroutine of it fails
}

// probe asks one place whether an app is there. True means that there is no need to ask for other paths of its port: an app
// was found, or nothing listens.
func (d *Door) probe(ctx context.Context, env string, u *url.URL) bool {
	resp, err := d.cfg.Client.Do(ctx, &dispatch.Request{Method: http.MethodGet, URL: u.String(), Timeout: 5 * time.Second})
	if err != nil {
		return true
	}
	if resp.Header.Get("X-Inngest-Sdk") == "" {
		return false
	}
	d.apps.mu.Lock()
	d.apps.found[normalURL(u.String())] = true
	d.apps.mu.Unlock()
	if err := d.Sync(ctx, env, u.String()); err != nil && ctx.Err() == nil {
		d.cfg.Log.Warn("found an app that could not be synced", "url", u.String(), "err", err)
	}
	return true
}

// devInfo is GET /dev: section 6.6. SDKs ask it whether a development server is there, so it must be fast.
func (d *Door) devInfo(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	if !d.cfg.Keys.Dev {
		writeError(w, http.StatusNotFound, "", "this is not a development server")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"version": d.cfg.Version, "authed": false, "isSingleNodeService": false, "isMissingSigningKey": false, "isMissingEventKeys": false,
		"startOpts": map[string]any{
			"autodiscover": d.cfg.Discover, "poll": d.cfg.PollInterval > 0, "urls": d.cfg.URLs, "environment": env.Name,
		},
		"functions": []any{}, "handlers": []any{}, "features": map[string]any{},
	})
}
