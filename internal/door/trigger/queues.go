package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// Sections 11 and 22.2: a queue is two of the engine's. One stands for its name and is what is paused; the other has the slots, and every
// concurrency key has one of its own. All runs of an environment stand in a third, which is the environment's.

const (
	namePrefix = "trigger:queue:"
	slotPrefix = "trigger:slots:"
)

func (d *Door) queueRoutes() {
	d.route("GET /api/v1/queues", secret, (*environment).listQueues)
	d.route("GET /api/v1/queues/{queue...}", secret, (*environment).getQueue)
	d.route("POST /api/v1/queues/{queue...}", secret, (*environment).changeQueue)
}

func queueID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "queue_" + hex.EncodeToString(sum[:12])
}

// slots is the engine's queue with the slots for a key.
func slots(name, key string) string { return slotPrefix + name + "\x00" + key }

// parallelism is a limit, nil for none, as the engine has it.
func parallelism(limit *int) int {
	switch {
	case limit == nil:
		return 0
	case *limit == 0:
		return -1
	}
	return *limit
}

// joins are the engine's queues that a run stands in.
func (env *environment) joins(name, key string, limit *int) []engine.QueueJoin {
	title := "the queue " + strings.TrimPrefix(name, slugPrefix)
	keyed := title
	if key != "" {
		keyed = fmt.Sprintf("the concurrency key %q of %s", key, title)
	}
	return []engine.QueueJoin{
		env.limitJoin(),
		{Queue: namePrefix + name, Title: title},
		{Queue: slots(name, key), Title: keyed, Passing: key != "", Policy: &engine.Policy{Parallelism: parallelism(limit)}},
	}
}

// limitQueues gives queues that exist the limits of a new worker; a limit that somebody set by hand stays.
func (env *environment) limitQueues(ctx context.Context, w *worker) error {
	states, err := do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: slotPrefix})
	if err != nil {
		return err
	}
	for i := range states {
		name, _, _ := strings.Cut(strings.TrimPrefix(states[i].Name, slotPrefix), "\x00")
		n := parallelism(env.limitOf(w, name))
		if states[i].PinParallelism || states[i].Parallelism == n {
			continue
		}
		if _, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: states[i].Name, Parallelism: &n}); err != nil {
			return err
		}
	}
	return nil
}

// queueView is section 11.2.
func (env *environment) queueView(s *engine.QueueState) map[string]any {
	name := strings.TrimPrefix(s.Name, namePrefix)
	short, isTask := strings.CutPrefix(name, slugPrefix)
	typ := "custom"
	if isTask {
		typ = "task"
	}
	v := map[string]any{"id": queueID(name), "name": short, "type": typ, "running": s.Active, "queued": s.Waiting, "paused": s.Paused, "concurrencyLimit": nil}
	limits := map[string]any{"current": nil, "base": nil, "override": nil, "overriddenAt": nil, "overriddenBy": nil}
	if l := env.current().limitOf(name); l != nil {
		v["concurrencyLimit"], limits["current"], limits["base"] = *l, *l, *l
	}
	if o := env.overrides.of(name); o != nil {
		v["concurrencyLimit"], limits["current"], limits["override"], limits["overriddenAt"] = o.Limit, o.Limit, o.Limit, iso(o.At)
	}
	v["concurrency"] = limits
	return v
}

func (env *environment) queues(ctx context.Context) ([]engine.QueueState, error) {
	return do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: namePrefix})
}

// listQueues is GET /api/v1/queues.
func (env *environment) listQueues(r *http.Request) (any, error) {
	states, err := env.queues(r.Context())
	if err != nil {
		return nil, err
	}
	return pageOf(r, states, func(s *engine.QueueState) any { return env.queueView(s) })
}

// findQueue finds the queue that a path names.
func (env *environment) findQueue(r *http.Request, param, typ string) (*engine.QueueState, error) {
	name, err := url.PathUnescape(param) // slashes are encoded twice
	if err != nil {
		return nil, fail(http.StatusBadRequest, "Invalid Params")
	}
	if typ == "task" {
		name = slugPrefix + name
	}
	states, err := env.queues(r.Context())
	if err != nil {
		return nil, err
	}
	for i := range states {
		if n := strings.TrimPrefix(states[i].Name, namePrefix); typ != "task" && typ != "custom" && queueID(n) == name || typ != "" && typ != "id" && n == name {
			return &states[i], nil
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
	for suffix, change := range map[string]func(*engine.QueueState) error{
		"/pause": func(s *engine.QueueState) error {
			if in.Action != "pause" && in.Action != "resume" {
				return fail(http.StatusBadRequest, "the action is pause or resume")
			}
			s.Paused = in.Action == "pause"
			_, err := env.cfg.Host.Submit(r.Context(), &engine.SetQueue{Env: env.Name, Name: s.Name, Paused: &s.Paused})
			return err
		},
		"/concurrency/override": func(s *engine.QueueState) error {
			if in.Limit == nil || *in.Limit < 0 || *in.Limit > maxLimit || *in.Limit != math.Trunc(*in.Limit) {
				return fail(http.StatusBadRequest, "concurrencyLimit must be a whole number from 0 to %d", maxLimit)
			}
			return env.overrideQueue(r.Context(), s, int(*in.Limit))
		},
		"/concurrency/reset": func(s *engine.QueueState) error { return env.resetQueue(r.Context(), s) },
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
