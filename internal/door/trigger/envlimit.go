package trigger

import (
	"context"
	"net/http"

	"github.com/quartetjobs/quartet/internal/engine"
)

// Section 22.2: how many runs of an environment are executed at once is a limit of a queue of the engine in which all of them stand. A limit that somebody
// set is pinned there; otherwise it is what the server was started with.

const (
	envQueue     = "trigger:environment"
	envTitle     = "the environment"
	defaultLimit = 100
	devLimit     = 25  // the most for development, which has one machine, and often a small one
	devRuns      = 250 // that one CLI may have: those that wait stay with it, and must not keep out what they wait for
)

// ownLimit is the limit where nobody set another.
func (env *environment) ownLimit() int {
	if env.deployed() {
		return env.cfg.Limit
	}
	return min(env.cfg.Limit, devLimit)
}

// limitJoin is how a run joins the queue of its environment.
func (env *environment) limitJoin() engine.QueueJoin {
	return engine.QueueJoin{Queue: envQueue, Title: envTitle, Initial: engine.Policy{Parallelism: env.ownLimit()}}
}

// limit is the queue of the environment.
func (env *environment) limit(ctx context.Context) (*engine.QueueState, error) {
	states, err := do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: envQueue})
	if err != nil || len(states) == 0 {
		return nil, err
	}
	return &states[0], nil
}

// loadLimit makes sure that there is a limit, and that it is the server's where nobody has set one.
func (env *environment) loadLimit(ctx context.Context) error {
	s, err := env.limit(ctx)
	if s != nil {
		env.paused.Store(s.Paused)
	}
	if err != nil || s != nil && (s.PinParallelism || s.Parallelism == env.ownLimit()) {
		return err
	}
	return env.setLimit(ctx, &engine.SetQueue{Parallelism: new(env.ownLimit())})
}

func (env *environment) setLimit(ctx context.Context, c *engine.SetQueue) error {
	c.Env, c.Name, c.Title, c.Create = env.Name, envQueue, envTitle, true
	_, err := env.cfg.Host.Submit(ctx, c)
	return err
}

// getLimit says how many runs are executed at once, and how many wait.
func (env *environment) getLimit(r *http.Request) (any, error) {
	s, err := env.limit(r.Context())
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fail(http.StatusNotFound, "Environment not found")
	}
	return map[string]any{
		"limit": max(0, s.Parallelism), "byHand": s.PinParallelism, "default": env.ownLimit(), "running": s.Active, "queued": s.Waiting, "paused": s.Paused,
	}, nil
}

// changeLimit sets the limit or takes the server's again, and pauses the environment.
func (env *environment) changeLimit(r *http.Request) (any, error) {
	var in struct {
		Limit  *int  `json:"limit"`
		Reset  bool  `json:"reset"`
		Paused *bool `json:"paused"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	c := &engine.SetQueue{Paused: in.Paused}
	switch {
	case in.Limit != nil && (*in.Limit < 0 || *in.Limit > maxLimit):
		return nil, fail(http.StatusBadRequest, "the limit must be a whole number from 0 to %d", maxLimit)
	case in.Limit != nil:
		c.Parallelism, c.PinParallelism = new(parallelism(in.Limit)), new(true)
	case in.Reset:
		c.Parallelism, c.PinParallelism = new(env.ownLimit()), new(false)
	case in.Paused == nil:
		return nil, fail(http.StatusBadRequest, "nothing to change: give a limit, reset or paused")
	}
	if err := env.setLimit(r.Context(), c); err != nil {
		return nil, err
	}
	if in.Paused != nil {
		env.paused.Store(*in.Paused)
	}
	return env.getLimit(r)
}
