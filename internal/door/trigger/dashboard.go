package trigger

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// What the dashboard asks that the SDK does not. Those who get here have been let in by somebody else, who says which environment they look at; all
// endpoints of the API answer them too.

// inside is where these endpoints are. No path from outside leads there.
const inside = "/inside/"

type trustedKey struct{}

// Trusted serves the API, below prefix instead of at the root, to whom somebody else has let in. The parameter env names the environment by the engine's name.
func (d *Door) Trusted(prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), trustedKey{}, true))
		r.Header.Del("Origin")
		r.URL.Path, r.URL.RawPath = strings.TrimPrefix(r.URL.Path, prefix), strings.TrimPrefix(r.URL.RawPath, prefix)
		r.Header.Set("X-Trigger-Api-Version", "2025-07-16")
		d.ServeHTTP(w, r)
	})
}

// trusted is the caller that a dashboard speaks for; nil when the request is not a dashboard's.
func (d *Door) trusted(r *http.Request) (*caller, error) {
	if r.Context().Value(trustedKey{}) == nil {
		return nil, nil
	}
	name := r.URL.Query().Get("env")
	if name == "" {
		name = d.cfg.Env
	}
	if env := d.named(name); env != nil {
		return &caller{env: env}, nil
	}
	if name != d.cfg.Env {
		return nil, fail(http.StatusNotFound, "Environment not found")
	}
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	env, err := d.make(r.Context(), "", d.mainSlug(), "")
	return &caller{env: env}, err
}

func (d *Door) dashboardRoutes() {
	d.route("GET "+inside+"environment", secret, func(env *environment, r *http.Request) (any, error) { return env.describe(r), nil })
	d.route("GET "+inside+"environments", secret, func(env *environment, _ *http.Request) (any, error) {
		list := []any{}
		for _, e := range env.all() {
			list = append(list, map[string]any{"name": e.Name, "project": e.ref(), "slug": e.Slug, "branch": e.Branch, "type": e.typ()})
		}
		return map[string]any{"environments": list}, nil
	})
	d.route("POST "+inside+"environments", secret, func(env *environment, r *http.Request) (any, error) {
		var in struct{ Project, Slug, Branch string }
		if err := decode(r, &in); err != nil {
			return nil, err
		}
		e, err := env.use(r.Context(), in.Project, in.Slug, in.Branch)
		if err != nil {
			return nil, err
		}
		return e.describe(r), nil
	})
	d.route("POST "+inside+"key", secret, (*environment).rotate)
	d.route("GET "+inside+"limit", secret, (*environment).getLimit)
	d.route("POST "+inside+"limit", secret, (*environment).changeLimit)
	d.route("GET "+inside+"tasks", secret, (*environment).listTasks)
	d.route("GET "+inside+"batches", secret, (*environment).listBatches)
	d.route("GET "+inside+"tokens", secret, func(env *environment, _ *http.Request) (any, error) { return env.listAccess(""), nil })
	d.route("POST "+inside+"tokens", secret, func(env *environment, r *http.Request) (any, error) {
		return named(r, "token", func(name string) (string, error) { return env.newAccessToken(r.Context(), name) })
	})
	d.route("GET "+inside+"keys", secret, func(env *environment, _ *http.Request) (any, error) { return env.listAccess(env.keyholder()), nil })
	d.route("POST "+inside+"keys", secret, func(env *environment, r *http.Request) (any, error) {
		return named(r, "key", func(name string) (string, error) {
			return env.addToken(r.Context(), additionalKey(env.Slug), accessToken{Env: env.keyholder(), Name: name})
		})
	})
	d.route("DELETE "+inside+"tokens/{hash}", secret, func(env *environment, r *http.Request) (any, error) {
		return succeeded, env.dropToken(r.Context(), r.PathValue("hash"))
	})
	d.route("POST "+inside+"login/{code}", secret, func(env *environment, r *http.Request) (any, error) {
		return succeeded, env.approve(r.Context(), r.PathValue("code"))
	})
}

// describe is an environment with what its clients need to reach it.
func (env *environment) describe(r *http.Request) any {
	v := map[string]any{
		"name": env.Name, "project": env.ref(), "slug": env.Slug, "branch": env.Branch, "type": env.typ(), "id": env.id, "apiUrl": origin(r), "deployed": env.deployed(),
		"connected": env.connected(), "key": env.secretKey(), "rotates": env.SealedKey != nil,
	}
	if w := env.current(); w != nil {
		v["version"], v["tasks"], v["worker"] = w.Version, len(w.Tasks), w.ID
	}
	return v
}

// rotate gives an environment another secret key; the old one opens nothing from then on.
func (env *environment) rotate(r *http.Request) (any, error) {
	if env.SealedKey == nil {
		return nil, fail(http.StatusBadRequest, "The key of this environment is configured: start the server with another trigger-key")
	}
	env.envs.making.Lock()
	defer env.envs.making.Unlock()
	row := env.environmentRow
	row.SealedKey = env.cfg.Box.Seal(newKey(env.Slug), env.Name)
	put := engine.RowPut{Table: store.Meta, Key: environmentKey(env.Name), Value: mustJSON(row)}
	if err := env.put(r.Context(), put); err != nil {
		return nil, err
	}
	key, err := env.keyOf(&row)
	if err != nil {
		return nil, err
	}
	for _, e := range env.all() { // branches have their parent's key
		if e == env || e.Branch != "" && e.Project == env.Project && e.Slug == env.Slug {
			e.key.Store(&key)
		}
	}
	return env.describe(r), nil
}

// listTasks are the tasks that the environment knows, with what the current version says of them.
func (env *environment) listTasks(*http.Request) (any, error) {
	w := env.current()
	list := []any{}
	names := env.taskNames()
	ids := make([]string, 0, len(names))
	for n := range names { // sorted below
		ids = append(ids, n)
	}
	slices.Sort(ids)
	for _, id := range ids {
		t := w.task(id)
		if t == nil {
			list = append(list, map[string]any{"id": id, "missing": true})
			continue
		}
		own, _ := w.declared(line{name: t.queue()})
		var limits []string
		if c := t.Concurrency; c != nil {
			if limits = c.Limits; c.Inline != nil {
				own = *c.Inline
			}
		}
		v := map[string]any{
			"id": id, "file": t.FilePath, "export": t.Export, "source": t.source(), "description": t.Description, "queue": t.queue(), "limit": own.PerKey, "total": own.Total, "limits": limits,
			"machine": machineFor(&options{}, &note{}, t).Name, "maxAttempts": 1, "maxDuration": t.MaxDuration, "ttl": scalar(t.TTL), "schema": t.Schema,
		}
		if t.Retry != nil {
			v["maxAttempts"] = max(1, t.Retry.MaxAttempts)
		}
		if t.Schedule != nil {
			v["cron"], v["timezone"] = t.Schedule.Cron, t.Schedule.Timezone
		}
		list = append(list, v)
	}
	out := map[string]any{"tasks": list}
	if w != nil {
		out["version"], out["sdk"], out["cli"], out["createdAt"] = w.Version, w.SDK, w.CLI, iso(w.CreatedAt)
	}
	return out, nil
}

// scanLogs reads rows of a kind in Logs, newest first, from behind the one with the id after.
func (env *environment) scanLogs(ctx context.Context, key func(id string) []byte, after string, limit int) ([]store.Row, error) {
	q := store.Query{Table: store.Logs, Prefix: key(""), Desc: true, Limit: limit}
	if after != "" {
		q.To = key(after)
	}
	return env.cfg.Host.Scan(ctx, q)
}

// listBatches are the batches, newest first.
func (env *environment) listBatches(r *http.Request) (any, error) {
	const size = 50
	rows, err := env.scanLogs(r.Context(), env.batchKey, r.URL.Query().Get("after"), size)
	if err != nil {
		return nil, err
	}
	list, next := []any{}, ""
	for _, row := range rows {
		b := &batch{}
		if err := json.Unmarshal(row.Value, b); err != nil {
			return nil, err
		}
		list = append(list, map[string]any{"id": b.ID, "count": b.Count, "parent": b.Parent, "sealed": b.Sealed, "errors": b.Errors, "createdAt": iso(b.CreatedAt)})
		next = b.ID
	}
	if len(rows) < size {
		next = ""
	}
	return map[string]any{"batches": list, "next": next}, nil
}

// listAccess are the access tokens, or the additional keys of an environment.
func (d *Door) listAccess(env string) any {
	d.tokens.mu.RLock()
	defer d.tokens.mu.RUnlock()
	list := []any{}
	for _, t := range d.tokens.list {
		if t.Env != env {
			continue
		}
		v := map[string]any{"hash": t.Hash, "name": t.Name, "hint": t.Hint, "configured": t.CreatedAt == 0}
		if t.CreatedAt > 0 {
			v["createdAt"] = iso(t.CreatedAt)
		}
		list = append(list, v)
	}
	return map[string]any{"tokens": list, "any": d.tokens.any}
}

// named makes a token or key that has a name. It is in the answer, and never again.
func named(r *http.Request, what string, makeIt func(name string) (string, error)) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Name == "" || len(in.Name) > 100 {
		return nil, fail(http.StatusBadRequest, "a %s needs a name of at most 100 characters", what)
	}
	token, err := makeIt(in.Name)
	return map[string]string{"token": token}, err
}
