package dashboard

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

type functionView struct {
	ID          string              `json:"id"`
	Slug        string              `json:"slug"`
	Name        string              `json:"name"`
	App         string              `json:"app"`
	Door        string              `json:"door"`
	Version     int                 `json:"version"`
	MaxAttempts int                 `json:"maxAttempts"`
	Triggers    []engine.Trigger    `json:"triggers"`
	Cancel      []engine.CancelRule `json:"cancel"`
	Flow        engine.Flow         `json:"flow"`
	Archived    bool                `json:"archived"`
	Paused      bool                `json:"paused"`
}

func viewFunction(f *engine.Function) functionView {
	return functionView{
		ID: engine.ID(f.ID).String(), Slug: f.Slug, Name: f.Name, App: f.App, Door: f.Door, Version: f.Version, MaxAttempts: f.MaxAttempts,
		Triggers: f.Triggers, Cancel: f.Cancel, Flow: f.Flow, Archived: f.Archived, Paused: f.Paused,
	}
}

// listFunctions is GET /functions?archived=1&after=&limit=; after is the slug of the last row of the previous page.
func (d *Dashboard) listFunctions(w http.ResponseWriter, r *http.Request, env string) error {
	limit, _, err := page(r)
	if err != nil {
		return err
	}
	q := store.Query{Table: store.Functions, Prefix: engine.EnvPrefix(env)}
	if after := r.URL.Query().Get("after"); after != "" {
		q.From = append(engine.FunctionKey(env, after), 0)
	}
	archived := r.URL.Query().Get("archived") == "1"
	out := []functionView{}
	last, more, err := d.fill(r.Context(), q, limit, func(row store.Row) (string, bool, error) {
		var f engine.Function
		if err := json.Unmarshal(row.Value, &f); err != nil {
			return "", false, err
		}
		shown := (archived || !f.Archived) && !slices.Contains(d.cfg.Own, f.Door)
		if shown {
			out = append(out, viewFunction(&f))
		}
		return f.Slug, shown, nil
	})
	if err != nil {
		return err
	}
	writePage(w, "functions", out, more, last)
	return nil
}

// getFunction is GET /functions/{slug}.
func (d *Dashboard) getFunction(w http.ResponseWriter, r *http.Request, env string) error {
	f, err := d.loadFunction(r.Context(), env, r.PathValue("slug"))
	if err != nil {
		return err
	}
	if f == nil {
		return notFound("function", r.PathValue("slug"))
	}
	writeJSON(w, http.StatusOK, viewFunction(f))
	return nil
}

func (d *Dashboard) loadFunction(ctx context.Context, env, slug string) (*engine.Function, error) {
	row, ok, err := d.cfg.Host.Get(ctx, store.Functions, engine.FunctionKey(env, slug))
	if err != nil || !ok {
		return nil, err
	}
	f := &engine.Function{}
	return f, json.Unmarshal(row, f)
}

// pause is POST /functions/{slug}/pause and /resume.
func (d *Dashboard) pause(paused bool) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, env string) error {
		ok, err := shard.Do[bool](r.Context(), d.cfg.Host, &engine.Pause{Env: env, Slug: r.PathValue("slug"), Paused: paused})
		if err != nil {
			return err
		}
		if !ok {
			return notFound("function", r.PathValue("slug"))
		}
		writeJSON(w, http.StatusOK, map[string]bool{"paused": paused})
		return nil
	}
}

// invoke is POST /functions/{slug}/invoke with {"data": {…}}.
func (d *Dashboard) invoke(w http.ResponseWriter, r *http.Request, env string) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		return &apiError{http.StatusRequestEntityTooLarge, "the request is larger than 4 MiB"}
	}
	f, err := d.loadFunction(r.Context(), env, r.PathValue("slug"))
	if err != nil {
		return err
	}
	if f == nil || f.Archived {
		return notFound("function", r.PathValue("slug"))
	}
	id, err := d.cfg.Invoke(r.Context(), env, f.Slug, body)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"event": id})
	return nil
}

type appView struct {
	Name  string          `json:"name"`
	Door  string          `json:"door"`
	URL   string          `json:"url"`
	Meta  json.RawMessage `json:"meta,omitempty"`
	Error string          `json:"error,omitempty"` // why it does not answer
}

// listApps is GET /apps?after=&limit=; after is the name of the last row of the previous page.
func (d *Dashboard) listApps(w http.ResponseWriter, r *http.Request, env string) error {
	limit, _, err := page(r)
	if err != nil {
		return err
	}
	q := store.Query{Table: store.Apps, Prefix: engine.EnvPrefix(env)}
	if after := r.URL.Query().Get("after"); after != "" {
		q.From = append(engine.AppKey(env, after), 0)
	}
	out := []appView{}
	last, more, err := d.fill(r.Context(), q, limit, func(row store.Row) (string, bool, error) {
		var a engine.App
		if err := json.Unmarshal(row.Value, &a); err != nil {
			return "", false, err
		}
		shown := !slices.Contains(d.cfg.Own, a.Door)
		if shown {
			out = append(out, appView{Name: a.Name, Door: a.Door, URL: a.URL, Meta: a.Meta, Error: d.cfg.AppError(env, a.Name)})
		}
		return a.Name, shown, nil
	})
	if err != nil {
		return err
	}
	writePage(w, "apps", out, more, last)
	return nil
}

// syncApp is POST /apps with {"url": …}: asks the app there for its functions.
func (d *Dashboard) syncApp(w http.ResponseWriter, r *http.Request, env string) error {
	var in struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil {
		return badRequest("invalid JSON: " + err.Error())
	}
	if err := d.cfg.Sync(r.Context(), env, in.URL); err != nil {
		return &apiError{http.StatusUnprocessableEntity, err.Error()}
	}
	writeJSON(w, http.StatusOK, map[string]bool{"synced": true})
	return nil
}

// removeApp is DELETE /apps/{name}.
func (d *Dashboard) removeApp(w http.ResponseWriter, r *http.Request, env string) error {
	ok, err := shard.Do[bool](r.Context(), d.cfg.Host, &engine.RemoveApp{Env: env, Name: r.PathValue("name")})
	if err != nil {
		return err
	}
	if !ok {
		return notFound("app", r.PathValue("name"))
	}
	writeJSON(w, http.StatusOK, map[string]bool{"removed": true})
	return nil
}
