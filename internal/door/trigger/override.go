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
// again when the server starts, in case it was killed in between.

// maxLimit bounds the limit of a queue.
const maxLimit = 100_000

// override is a limit that was set by hand.
type override struct {
	Limit int   `json:"limit"`
	At    int64 `json:"at"` // ms
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
			if err := env.follow(ctx, queue); err != nil {
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
func (env *environment) follow(ctx context.Context, queue string) error {
	n := parallelism(env.limitOf(env.workers.newest(), queue))
	states, err := do[[]engine.QueueState](ctx, env, &engine.ReadQueues{Env: env.Name, Prefix: slots(queue, "")})
	if err != nil {
		return err
	}
	for i := range states {
		if states[i].Parallelism == n {
			continue
		}
		if _, err := env.cfg.Host.Submit(ctx, &engine.SetQueue{Env: env.Name, Name: states[i].Name, Parallelism: &n}); err != nil {
			return err
		}
	}
	return nil
}

// change writes what is set for a queue, nil for nothing, and makes the engine follow.
func (env *environment) change(ctx context.Context, queue string, v *override) error {
	row := engine.RowPut{Table: store.Meta, Key: env.overrideKey(queue)}
	if v != nil {
		row.Value = mustJSON(v)
	}
	if err := env.put(ctx, row); err != nil {
		return err
	}
	env.overrides.set(queue, v)
	return env.follow(ctx, queue)
}

// overrideQueue sets the limit of a queue by hand.
func (env *environment) overrideQueue(ctx context.Context, s *engine.QueueState, limit int) error {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	return env.change(ctx, strings.TrimPrefix(s.Name, namePrefix), &override{Limit: limit, At: env.cfg.Now().UnixMilli()})
}

// resetQueue gives a queue its declared limit again.
func (env *environment) resetQueue(ctx context.Context, s *engine.QueueState) error {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	queue := strings.TrimPrefix(s.Name, namePrefix)
	if env.overrides.of(queue) == nil {
		return fail(http.StatusBadRequest, "Queue is not overridden")
	}
	return env.change(ctx, queue, nil)
}
