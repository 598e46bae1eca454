package qstash

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// group is a URL group: a row of Meta. Section 13.
type group struct {
	Name      string      `json:"name"`
	CreatedAt int64       `json:"createdAt"`
	UpdatedAt int64       `json:"updatedAt"`
	Endpoints []endpoint  `json:"endpoints"`
	Headers   http.Header `json:"headers,omitempty"` // defaults of its messages
}

type endpoint struct {
	Name string `json:"name,omitempty"`
	URL  string `json:"url"`
}

// groupView is a group without what clients compare whole and do not expect.
type groupView struct {
	Name      string     `json:"name"`
	CreatedAt int64      `json:"createdAt"`
	UpdatedAt int64      `json:"updatedAt"`
	Endpoints []endpoint `json:"endpoints"`
}

func (g *group) view() groupView {
	return groupView{g.Name, g.CreatedAt, g.UpdatedAt, append([]endpoint{}, g.Endpoints...)}
}

func (d *Door) metaKey(kind, name string) []byte {
	return append(engine.EnvPrefix(d.cfg.Env), "qstash\x00"+kind+"\x00"+name...)
}

// group reads a group; nil when there is none.
func (d *Door) group(ctx context.Context, name string) (*group, error) {
	raw, ok, err := d.cfg.Host.Get(ctx, store.Meta, d.metaKey("group", name))
	if err != nil || !ok {
		return nil, err
	}
	g := &group{}
	return g, json.Unmarshal(raw, g)
}

func (d *Door) putGroup(ctx context.Context, g *group) error {
	row := engine.RowPut{Table: store.Meta, Key: d.metaKey("group", g.Name)}
	if len(g.Endpoints) > 0 || len(g.Headers) > 0 {
		g.UpdatedAt = d.cfg.Now().UnixMilli()
		row.Value = mustJSON(g)
	}
	_, err := d.cfg.Host.Submit(ctx, &engine.Put{Rows: []engine.RowPut{row}})
	return err
}

// withGroupHeaders adds the defaults of a group below what the message itself says: section 13.3.
func (o *outgoing) withGroupHeaders(g *group) error {
	if len(g.Headers) == 0 {
		return nil
	}
	merged := http.Header{}
	for k, v := range g.Headers {
		merged[http.CanonicalHeaderKey(k)] = v
	}
	maps.Copy(merged, o.incoming)
	queue := o.config.Queue
	cfg, err := parseConfig(merged, nil)
	if err != nil {
		return err
	}
	o.config = *cfg
	if queue != "" {
		o.config.Queue = queue
	}
	return nil
}

// serveGroups is everything below /v2/topics.
func (d *Door) serveGroups(w http.ResponseWriter, r *http.Request, rest string) error {
	raw, sub, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	name, err := url.PathUnescape(raw)
	if err != nil {
		return badRequest("%v", err)
	}
	if name == "" {
		if err := allow(r, http.MethodGet); err != nil {
			return err
		}
		return d.listGroups(w, r)
	}
	if err := parseName("URL group", name); err != nil {
		return badRequest("%v", err)
	}
	if r.Method == http.MethodGet && sub == "" {
		g, err := d.group(r.Context(), name)
		if err != nil {
			return err
		}
		if g == nil {
			return notFound("topic", name)
		}
		return writeJSON(w, http.StatusOK, g.view())
	}
	body, err := d.readBody(w, r, 1<<20)
	if err != nil {
		return err
	}
	d.changes.Lock()
	defer d.changes.Unlock()
	switch {
	case sub == "endpoints" && r.Method == http.MethodPost:
		return d.addEndpoints(w, r, name, body)
	case sub == "endpoints" && r.Method == http.MethodDelete:
		return d.removeEndpoints(w, r, name, body)
	case sub == "" && r.Method == http.MethodPatch:
		return d.setGroupHeaders(w, r, name, body)
	case sub == "" && r.Method == http.MethodDelete:
		if err := d.putGroup(r.Context(), &group{Name: name}); err != nil {
			return err
		}
		return done(w)
	}
	return wrongMethod(r)
}

func (d *Door) listGroups(w http.ResponseWriter, r *http.Request) error {
	rows, err := d.cfg.Host.Scan(r.Context(), store.Query{Table: store.Meta, Prefix: d.metaKey("group", ""), Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	out := []groupView{}
	for _, row := range rows {
		g := &group{}
		if err := json.Unmarshal(row.Value, g); err != nil {
			return err
		}
		out = append(out, g.view())
	}
	slices.SortFunc(out, func(a, b groupView) int { return cmp.Compare(a.Name, b.Name) })
	return writeJSON(w, http.StatusOK, out)
}

func readEndpoints(body []byte) ([]endpoint, error) {
	var in struct {
		Endpoints []endpoint `json:"endpoints"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("the body is no list of endpoints: %v", err)
	}
	return in.Endpoints, nil
}

// addEndpoints is POST /v2/topics/{group}/endpoints.
func (d *Door) addEndpoints(w http.ResponseWriter, r *http.Request, name string, body []byte) error {
	list, err := readEndpoints(body)
	if err != nil {
		return err
	}
	g, err := d.group(r.Context(), name)
	if err != nil {
		return err
	}
	if g == nil {
		g = &group{Name: name, CreatedAt: d.cfg.Now().UnixMilli()}
	}
	for _, e := range list {
		if !isURL(e.URL) {
			return badRequest("endpoint %q: the URL must begin with http:// or https://", e.URL)
		}
		if e.Name != "" {
			if err := parseName("endpoint", e.Name); err != nil {
				return badRequest("%v", err)
			}
		}
		i := slices.IndexFunc(g.Endpoints, func(o endpoint) bool { return e.Name != "" && o.Name == e.Name })
		if i < 0 {
			i = slices.IndexFunc(g.Endpoints, func(o endpoint) bool { return o.URL == e.URL })
		}
		switch {
		case i < 0:
			g.Endpoints = append(g.Endpoints, e)
		default:
			g.Endpoints[i].URL = e.URL
			g.Endpoints[i].Name = cmp.Or(e.Name, g.Endpoints[i].Name)
		}
	}
	if err := d.putGroup(r.Context(), g); err != nil {
		return err
	}
	return done(w)
}

// removeEndpoints is DELETE /v2/topics/{group}/endpoints. A group without endpoints is none.
func (d *Door) removeEndpoints(w http.ResponseWriter, r *http.Request, name string, body []byte) error {
	list, err := readEndpoints(body)
	if err != nil {
		return err
	}
	g, err := d.group(r.Context(), name)
	if err != nil {
		return err
	}
	if g == nil {
		return done(w)
	}
	g.Endpoints = slices.DeleteFunc(g.Endpoints, func(o endpoint) bool {
		return slices.ContainsFunc(list, func(e endpoint) bool { return e.Name != "" && e.Name == o.Name || e.Name == "" && e.URL == o.URL })
	})
	if len(g.Endpoints) == 0 {
		g.Headers = nil
	}
	if err := d.putGroup(r.Context(), g); err != nil {
		return err
	}
	return done(w)
}

// setGroupHeaders is PATCH /v2/topics/{group}.
func (d *Door) setGroupHeaders(w http.ResponseWriter, r *http.Request, name string, body []byte) error {
	var in struct {
		Headers map[string]json.RawMessage `json:"headers"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return badRequest("the body is no group: %v", err)
	}
	h, err := itemHeader(in.Headers)
	if err != nil {
		return err
	}
	if _, err := parseConfig(h, nil); err != nil {
		return err
	}
	g, err := d.group(r.Context(), name)
	if err != nil {
		return err
	}
	if g == nil {
		return notFound("topic", name)
	}
	g.Headers = h
	if err := d.putGroup(r.Context(), g); err != nil {
		return err
	}
	return done(w)
}
