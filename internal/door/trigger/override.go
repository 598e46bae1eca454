package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 11.1: a limit that somebody set by hand is a row, and holds instead of the one that is declared. The engine's queues follow it; they are made to
// again when the server starts, in case it was killed in between. A queue whose limit is 0 stands still like one that is paused.

// maxLimit bounds the limit of a queue.
const maxLimit = 100_000

// override is a limit that was set by hand.
type override struct {
	Limit  int   `json:"limit"`
	At     int64 `json:"at"`               // ms
	Paused bool  `json:"paused,omitempty"` // as somebody set it, whatever the limit is
}

// overrides are those of all queues, by name.
type overrides struct {
	changing sync.Mutex // one at a time, rows and queues together

	mu sync.Mutex
	by map[string]override
}

// of is the override of a queue; nil: none.
func (o *overrides) of(queue string) *override {
	o.mu.Lock()
	defer o.mu.Unlock()
	if v, ok := o.by[queue]; ok {
		return &v
	}
	return nil
}

func (o *overrides) set(queue string, v *override) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[string]override{}
	}
	if v == nil {
		delete(o.by, queue)
	} else {
		o.by[queue] = *v
	}
}

// limitOf is the limit that holds for a queue of a worker; nil: none.
func (env *environment) limitOf(w *worker, queue string) *int {
	if o := env.overrides.of(queue); o != nil {
		return &o.Limit
	}
	return w.limitOf(queue)
}

func (env *environment) overrideKey(queue string) []byte { return env.metaKey("override", queue) }

// loadOverrides reads what was set before the server started, and makes the queues follow.
func (env *environment) loadOverrides(ctx context.Context) error {
	prefix := env.overrideKey("")
	q := store.Query{Table: store.Meta, Prefix: prefix, Limit: 1000}
	for {
		rows, err := env.cfg.Host.Scan(ctx, q)
		if err != nil {
			return err
		}
		for _, row := range rows {
			queue := strings.TrimPrefix(string(row.Key), string(prefix))
			v := &override{}
			if err := json.Unmarshal(row.Value, v); err != nil {
				return fmt.Errorf("decode limit of queue %s: %w", queue, err)
			}
			env.overrides.set(queue, v)
			if err := env.follow(ctx, queue, v.Paused); err != nil {
				return err
			}
		}
		if len(rows) < q.Limit {
			return nil
		}
		q.From = append(rows[len(rows)-1].Key, 0)
	}
}

// follow makes the engine's queues what is set for a queue.
func (env *environment) follow(ctx context.Context, queue string, paused bool) error {
	limit := env.limitOf(env.workers.newest(), queue)
	n := 0
	if limit != nil {
		n, paused = max(1, *limit), paused || *limit == 0
	}
	if _, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: namePrefix + queue, Paused: &paused}); err != nil {
		return err
	}
	states, err := do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: slots(queue, "")})
	if err != nil {
		return err
	}
	for i := range states {
		if _, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: states[i].Name, Parallelism: &n}); err != nil {
			return err
		}
	}
	return nil
}

// change writes what is set for a queue, nil for nothing, and makes the engine follow.
func (env *environment) change(ctx context.Context, s *engine.QueueState, queue string, v *override, paused bool) error {
	row := engine.RowPut{Table: store.Meta, Key: env.overrideKey(queue)}
	if v != nil {
		row.Value = mustJSON(v)
	}
	if _, err := env.cfg.Host.Submit(ctx, &engine.Put{Rows: []engine.RowPut{row}}); err != nil {
		return err
	}
	env.overrides.set(queue, v)
	s.Paused = paused
	return env.follow(ctx, queue, paused)
}

// overrideQueue sets the limit of a queue by hand. Runs that were triggered before, when it had none, are not held to it.
func (env *environment) overrideQueue(ctx context.Context, s *engine.QueueState, limit int) error {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	queue := strings.TrimPrefix(s.Name, namePrefix)
	v := &override{Limit: limit, At: env.cfg.Now().UnixMilli(), Paused: s.Paused}
	if old := env.overrides.of(queue); old != nil {
		v.Paused = old.Paused
	}
	return env.change(ctx, s, queue, v, v.Paused)
}

// resetQueue gives a queue its declared limit again.
func (env *environment) resetQueue(ctx context.Context, s *engine.QueueState) error {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	queue := strings.TrimPrefix(s.Name, namePrefix)
	old := env.overrides.of(queue)
	if old == nil {
		return fail(http.StatusBadRequest, "Queue is not overridden")
	}
	return env.change(ctx, s, queue, nil, old.Paused)
}

// pauseQueue pauses a queue or lets it go on.
func (env *environment) pauseQueue(ctx context.Context, s *engine.QueueState, paused bool) error {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	queue := strings.TrimPrefix(s.Name, namePrefix)
	if v := env.overrides.of(queue); v != nil {
		v.Paused = paused
		return env.change(ctx, s, queue, v, paused)
	}
	s.Paused = paused
	_, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: s.Name, Paused: &paused})
	return err
}
