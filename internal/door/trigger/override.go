package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 11.1: a bound that somebody set by hand is a row, and holds instead of the one that is declared. The engine's queues follow it; they are made to
// again when the server starts, in case it was killed in between.

const (
	maxLimit     = 100_000 // the most that a bound can be
	maxOverrides = 10_000  // in an environment
)

// override is a bound that was set by hand.
type override struct {
	Limit int   `json:"limit"`
	At    int64 `json:"at"`              // ms
	Until int64 `json:"until,omitempty"` // ms; 0: until it is reset
}

// rule names what an override is of.
type rule string

// What a rule is about. That of a queue is its name, which has no byte 0.
const (
	rulePerKey = "perKey"
	ruleTotal  = "total"
	ruleKey    = "key" // one concurrency key
)

// rule is the name of an override of a line.
func (l line) rule(about, key string) rule {
	switch {
	case !l.limit:
		return rule(l.name)
	case about == ruleKey:
		return rule("\x00" + about + "\x00" + l.name + "\x00" + key)
	}
	return rule("\x00" + about + "\x00" + l.name)
}

// line is what a rule is about.
func (r rule) line() line {
	rest, limit := strings.CutPrefix(string(r), "\x00")
	if !limit {
		return line{name: rest}
	}
	_, rest, _ = strings.Cut(rest, "\x00")
	name, _, _ := strings.Cut(rest, "\x00")
	return line{true, name}
}

// overrides are those of an environment.
type overrides struct {
	changing sync.Mutex // one at a time, rows and queues together

	mu sync.Mutex
	by map[rule]override
}

// override is what was set by hand and still holds; nil: nothing.
func (env *environment) override(r rule) *override {
	o := &env.overrides
	o.mu.Lock()
	defer o.mu.Unlock()
	if v, ok := o.by[r]; ok && (v.Until == 0 || v.Until > env.cfg.Now().UnixMilli()) {
		return &v
	}
	return nil
}

func (o *overrides) set(r rule, v *override) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[rule]override{}
	}
	if v == nil {
		delete(o.by, r)
	} else {
		o.by[r] = *v
	}
}

func (o *overrides) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.by)
}

func (env *environment) overrideKey(r rule) []byte { return env.metaKey("override", string(r)) }

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
			r := rule(strings.TrimPrefix(string(row.Key), string(prefix)))
			v := &override{}
			if err := json.Unmarshal(row.Value, v); err != nil {
				return fmt.Errorf("decode the limit of %s: %w", r.line().title(), err)
			}
			env.overrides.set(r, v)
			env.lapse(r, v)
		}
		if len(rows) < q.Limit {
			break
		}
		q.From = append(rows[len(rows)-1].Key, 0)
	}
	return env.adjust(ctx, env.current(), engineQueuesAll) // also without any: the crash may have come when the last one was reset
}

// change writes what is set by hand, nil for nothing, and makes the engine follow. The caller holds changing.
func (env *environment) change(ctx context.Context, r rule, v *override) error {
	row := engine.RowPut{Table: store.Meta, Key: env.overrideKey(r)}
	if v != nil {
		row.Value = mustJSON(v)
	}
	if err := env.put(ctx, row); err != nil {
		return err
	}
	env.overrides.set(r, v)
	env.lapse(r, v)
	l := r.line()
	return errors.Join(env.adjust(ctx, env.current(), l.whole()), env.adjust(ctx, env.current(), l.keyed("")))
}

// lapse forgets an override when its time is over.
func (env *environment) lapse(r rule, v *override) {
	if v == nil || v.Until == 0 {
		return
	}
	time.AfterFunc(time.UnixMilli(v.Until).Sub(env.cfg.Now()), func() {
		env.calls.Do(func(ctx context.Context) {
			env.overrides.changing.Lock()
			defer env.overrides.changing.Unlock()
			env.overrides.mu.Lock()
			same := env.overrides.by[r] == *v // another one has a time of its own
			env.overrides.mu.Unlock()
			if !same {
				return
			}
			if err := env.change(ctx, r, nil); err != nil {
				env.cfg.Log.Error("forget a limit that was set for a time", "of", r.line().title(), "err", err)
			}
		})
	})
}

// setBounds sets bounds by hand.
func (env *environment) setBounds(ctx context.Context, set map[rule]override) error {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	if env.overrides.count()+len(set) > maxOverrides {
		return invalid("there are %d limits that were set by hand already: reset some", maxOverrides)
	}
	for r, v := range set { // each by itself
		v.At = env.cfg.Now().UnixMilli()
		if err := env.change(ctx, r, &v); err != nil {
			return err
		}
	}
	return nil
}

// resetBounds lets the declared bounds hold again, and says whether others did.
func (env *environment) resetBounds(ctx context.Context, rules ...rule) (done bool, err error) {
	env.overrides.changing.Lock()
	defer env.overrides.changing.Unlock()
	for _, r := range rules {
		if env.override(r) == nil {
			continue
		}
		if err := env.change(ctx, r, nil); err != nil {
			return done, err
		}
		done = true
	}
	return done, nil
}
