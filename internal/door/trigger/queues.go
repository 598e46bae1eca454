package trigger

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/http"
	"net/url"
	"strings"
)

// Section 11: what is asked about queues, and changed by hand.

func (d *Door) queueRoutes() {
	d.route("GET /api/v1/queues", secret, (*environment).listQueues)
	d.route("GET /api/v1/queues/{queue...}", secret, (*environment).getQueue)
	d.route("POST /api/v1/queues/{queue...}", secret, (*environment).changeQueue)
}

func queueID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "queue_" + hex.EncodeToString(sum[:12])
}

// modern says that a queue is only the line in which runs wait: their concurrency is their tasks' business.
func (env *environment) modern(l line) bool {
	id, own := strings.CutPrefix(l.name, slugPrefix)
	t := env.current().task(id)
	return own && t != nil && t.Concurrency != nil && (t.Queue == nil || t.Queue.Limit == nil)
}

// queueView is section 11.2.
func (env *environment) queueView(s *lineState) map[string]any {
	short, isTask := strings.CutPrefix(s.name, slugPrefix)
	typ := "custom"
	if isTask {
		typ = "task"
	}
	v := map[string]any{"id": queueID(s.name), "name": short, "type": typ, "running": s.running, "queued": s.queued, "paused": s.paused, "concurrencyLimit": nil}
	if env.modern(s.line) {
		v["version"] = "V2"
		return v
	}
	limits := map[string]any{"current": nil, "base": nil, "override": nil, "overriddenAt": nil, "overriddenBy": nil}
	declared, _ := env.current().declared(s.line)
	if l := declared.PerKey; l != nil {
		v["concurrencyLimit"], limits["current"], limits["base"] = *l, *l, *l
	}
	if o := env.override(s.rule(rulePerKey, "")); o != nil {
		v["concurrencyLimit"], limits["current"], limits["override"], limits["overriddenAt"] = o.Limit, o.Limit, o.Limit, iso(o.At)
	}
	v["version"], v["concurrency"] = "V1", limits
	return v
}

// listQueues is GET /api/v1/queues.
func (env *environment) listQueues(r *http.Request) (any, error) {
	list, err := env.lines(r.Context(), false)
	if err != nil {
		return nil, err
	}
	return pageOf(r, list, func(s *lineState) any { return env.queueView(s) })
}

// findQueue finds the queue that a path names.
func (env *environment) findQueue(r *http.Request, param, typ string) (*lineState, error) {
	name, err := url.PathUnescape(param) // slashes are encoded twice
	if err != nil {
		return nil, fail(http.StatusBadRequest, "Invalid Params")
	}
	if typ == "task" {
		name = slugPrefix + name
	}
	list, err := env.lines(r.Context(), false)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if n := list[i].name; typ != "task" && typ != "custom" && queueID(n) == name || typ != "" && typ != "id" && n == name {
			return &list[i], nil
		}
	}
	return nil, fail(http.StatusNotFound, "Queue not found")
}

// getQueue is GET /api/v1/queues/{queue}.
func (env *environment) getQueue(r *http.Request) (any, error) {
	s, err := env.findQueue(r, r.PathValue("queue"), r.URL.Query().Get("type"))
	if err != nil {
		return nil, err
	}
	return env.queueView(s), nil
}

// changeQueue is POST /api/v1/queues/{queue}/pause, …/concurrency/override and …/concurrency/reset.
func (env *environment) changeQueue(r *http.Request) (any, error) {
	var in struct {
		Type   string   `json:"type"`
		Action string   `json:"action"`
		Limit  *float64 `json:"concurrencyLimit"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	path := r.PathValue("queue")
	bounded := func(s *lineState, change func(rule) error) error {
		if env.modern(s.line) {
			return fail(http.StatusBadRequest, "The queue %s has no limit of its own: override the concurrency limit %s", s.name, s.name)
		}
		return change(s.rule(rulePerKey, ""))
	}
	for suffix, change := range map[string]func(*lineState) error{
		"/pause": func(s *lineState) error { return env.pauseLine(r.Context(), s, in.Action) },
		"/concurrency/override": func(s *lineState) error {
			if !isBound(in.Limit) {
				return fail(http.StatusBadRequest, "concurrencyLimit must be a whole number from 0 to %d", maxLimit)
			}
			return bounded(s, func(of rule) error { return env.setBounds(r.Context(), map[rule]override{of: {Limit: int(*in.Limit)}}) })
		},
		"/concurrency/reset": func(s *lineState) error {
			return bounded(s, func(of rule) error {
				done, err := env.resetBounds(r.Context(), of)
				if err == nil && !done {
					err = fail(http.StatusBadRequest, "Queue is not overridden")
				}
				return err
			})
		},
	} {
		param, ok := strings.CutSuffix(path, suffix)
		if !ok {
			continue
		}
		s, err := env.findQueue(r, param, in.Type)
		if err != nil {
			return nil, err
		}
		if err := change(s); err != nil {
			return nil, err
		}
		return env.queueView(s), nil
	}
	return nil, fail(http.StatusNotFound, "Not Found")
}

// isBound says that a number can be a bound.
func isBound(n *float64) bool { return n != nil && *n >= 0 && *n <= maxLimit && *n == math.Trunc(*n) }
