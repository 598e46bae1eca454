package trigger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
)

// Section 11.5: concurrency limits, which tasks have for themselves or share by their names. Lines.go says how runs hold them.

// For how long a bound for one concurrency key holds.
const (
	keyOverride    = 7 * 24 * time.Hour // unless it says so itself
	maxKeyOverride = 30 * 24 * time.Hour
)

func (d *Door) concurrencyRoutes() {
	const limits = "/api/v1/concurrency-limits"
	d.route("GET "+limits, secret, (*environment).listLimits)
	d.route("GET "+limits+"/{name}", secret, (*environment).getLimitOf)
	d.route("POST "+limits+"/{name}/override", secret, (*environment).overrideLimit)
	d.route("POST "+limits+"/{name}/reset", secret, (*environment).resetLimit)
	d.route("POST "+limits+"/{name}/pause", secret, (*environment).pauseLimit)
}

// bound is a bound as clients see it. What holds now cannot be more than the whole environment may do.
func (env *environment) bound(declared *int, o *override, most int) map[string]any {
	v := map[string]any{"current": nil, "base": declared, "override": nil, "overriddenAt": nil}
	now := declared
	if o != nil {
		now, v["override"], v["overriddenAt"] = &o.Limit, o.Limit, iso(o.At)
	}
	if now != nil {
		v["current"] = min(*now, most)
	}
	return v
}

// mostAtOnce is the limit of the environment.
func (env *environment) mostAtOnce(r *http.Request) (int, error) {
	s, err := env.limit(r.Context())
	if err != nil || s == nil || s.Parallelism == 0 {
		return maxLimit, err
	}
	return max(0, s.Parallelism), nil
}

// limitView is a limit as clients see it.
func (env *environment) limitView(s *lineState, most int) map[string]any {
	sum := sha256.Sum256([]byte(s.name))
	b, _ := env.current().declared(s.line)
	return map[string]any{
		"id": "climit_" + hex.EncodeToString(sum[:12]), "name": s.name, "running": s.running, "queued": s.queued, "paused": s.paused,
		"perKey": env.bound(b.PerKey, env.override(s.rule(rulePerKey, "")), most), "total": env.bound(b.Total, env.override(s.rule(ruleTotal, "")), most),
	}
}

// listLimits is GET /api/v1/concurrency-limits.
func (env *environment) listLimits(r *http.Request) (any, error) {
	list, err := env.lines(r.Context(), true)
	if err != nil {
		return nil, err
	}
	most, err := env.mostAtOnce(r)
	if err != nil {
		return nil, err
	}
	return pageOf(r, list, func(s *lineState) any { return env.limitView(s, most) })
}

// findLimit finds the limit that a path names.
func (env *environment) findLimit(r *http.Request) (*lineState, error) {
	list, err := env.lines(r.Context(), true)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].name == r.PathValue("name") {
			return &list[i], nil
		}
	}
	return nil, fail(http.StatusNotFound, "Concurrency limit not found")
}

// showLimit is a limit after whatever was done to it, or what it is for a key.
func (env *environment) showLimit(r *http.Request, s *lineState, key *string) (any, error) {
	most, err := env.mostAtOnce(r)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return env.limitView(s, most), nil
	}
	states, err := do[[]engine.QueueState](r.Context(), env, &engine.ReadQueues{Env: env.Name, Prefix: s.keyed(*key)})
	if err != nil {
		return nil, err
	}
	running := 0
	if len(states) > 0 && states[0].Name == s.keyed(*key) {
		running = states[0].Active
	}
	o := env.override(s.rule(ruleKey, *key))
	b := env.bound(env.bounds(env.current(), s.line).PerKey, o, most)
	delete(b, "overriddenAt")
	if b["expiresAt"] = nil; o != nil {
		b["expiresAt"] = iso(o.Until)
	}
	return map[string]any{"name": s.name, "concurrencyKey": *key, "perKey": b, "running": running, "paused": s.paused}, nil
}

// readKey reads a concurrency key, which may be a number; nil: there is none.
func readKey(raw json.RawMessage) (*string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	key := scalar(raw)
	if key == "" || len(key) > maxTag {
		return nil, fail(http.StatusBadRequest, "concurrencyKey must have 1 to %d characters", maxTag)
	}
	return &key, nil
}

// getLimitOf is GET /api/v1/concurrency-limits/{name}.
func (env *environment) getLimitOf(r *http.Request) (any, error) {
	s, err := env.findLimit(r)
	if err != nil {
		return nil, err
	}
	var key *string
	if q := r.URL.Query(); q.Has("concurrencyKey") {
		if key, err = readKey(quote(q.Get("concurrencyKey"))); err != nil {
			return nil, err
		}
	}
	return env.showLimit(r, s, key)
}

// overrideLimit is POST …/override.
func (env *environment) overrideLimit(r *http.Request) (any, error) {
	var in struct {
		PerKey *float64        `json:"perKey"`
		Total  *float64        `json:"total"`
		Key    json.RawMessage `json:"concurrencyKey"`
		TTL    json.RawMessage `json:"ttl"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	key, err := readKey(in.Key)
	if err != nil {
		return nil, err
	}
	for name, n := range map[string]*float64{"perKey": in.PerKey, "total": in.Total} {
		if n != nil && !isBound(n) {
			return nil, fail(http.StatusBadRequest, "%s must be a whole number from 0 to %d", name, maxLimit)
		}
	}
	ttl := scalar(in.TTL)
	switch {
	case key != nil && in.PerKey == nil:
		return nil, fail(http.StatusBadRequest, "A per-key override needs `perKey`")
	case key != nil && in.Total != nil:
		return nil, fail(http.StatusBadRequest, "`total` is not per key; omit it when overriding one concurrencyKey")
	case key == nil && len(in.TTL) > 0:
		return nil, fail(http.StatusBadRequest, "`ttl` only applies to a per-key override; pass `concurrencyKey` with it")
	case key == nil && in.PerKey == nil && in.Total == nil:
		return nil, fail(http.StatusBadRequest, "Provide at least one of `perKey` or `total`")
	}
	life := keyOverride
	if len(in.TTL) > 0 {
		t, ok := parseLife(ttl)
		if !ok || t <= 0 || t > maxKeyOverride {
			return nil, fail(http.StatusBadRequest, "ttl must be a number of seconds or a duration like 7d, of at most 30 days")
		}
		life = t
	}
	s, err := env.findLimit(r)
	if err != nil {
		return nil, err
	}
	set := map[rule]override{}
	switch {
	case key != nil:
		set[s.rule(ruleKey, *key)] = override{Limit: int(*in.PerKey), Until: env.cfg.Now().Add(life).UnixMilli()}
	default:
		if in.PerKey != nil {
			set[s.rule(rulePerKey, "")] = override{Limit: int(*in.PerKey)}
		}
		if in.Total != nil {
			set[s.rule(ruleTotal, "")] = override{Limit: int(*in.Total)}
		}
	}
	if err := env.setBounds(r.Context(), set); err != nil {
		return nil, err
	}
	return env.showLimit(r, s, key)
}

// resetLimit is POST …/reset.
func (env *environment) resetLimit(r *http.Request) (any, error) {
	var in struct {
		Key json.RawMessage `json:"concurrencyKey"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	key, err := readKey(in.Key)
	if err != nil {
		return nil, err
	}
	s, err := env.findLimit(r)
	if err != nil {
		return nil, err
	}
	rules := []rule{s.rule(rulePerKey, ""), s.rule(ruleTotal, "")}
	if key != nil {
		rules = []rule{s.rule(ruleKey, *key)}
	}
	if _, err := env.resetBounds(r.Context(), rules...); err != nil {
		return nil, err
	}
	return env.showLimit(r, s, key)
}

// pauseLimit is POST …/pause.
func (env *environment) pauseLimit(r *http.Request) (any, error) {
	var in struct {
		Action string `json:"action"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, err := env.findLimit(r)
	if err != nil {
		return nil, err
	}
	if err := env.pauseLine(r.Context(), s, in.Action); err != nil {
		return nil, err
	}
	return env.showLimit(r, s, nil)
}
