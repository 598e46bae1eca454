// Package history reads what happened: events, runs, their steps and attempts, as doors and the dashboard show them.
package history

import (
	"context"
	"slices"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Reader is where history is read from; a shard's host is one.
type Reader interface {
	Get(ctx context.Context, t store.Table, key []byte) ([]byte, bool, error)
	List(ctx context.Context, t store.Table, part []byte) ([]store.Row, error)
	Scan(ctx context.Context, q store.Query) ([]store.Row, error)
}

// Event reads one event; nil when there is none.
func Event(ctx context.Context, h Reader, env string, id engine.ID) (*engine.EventRow, error) {
	row, ok, err := h.Get(ctx, store.Events, engine.EventKey(env, id))
	if err != nil || !ok {
		return nil, err
	}
	return engine.ParseEventRow(row)
}

// Run reads one run; nil when there is none.
func Run(ctx context.Context, h Reader, id engine.ID) (*engine.RunRow, error) {
	row, ok, err := h.Get(ctx, store.Runs, engine.RunKey(id))
	if err != nil || !ok {
		return nil, err
	}
	return engine.ParseRunRow(row)
}

// Steps reads the steps of a run: those that are done in the order of their completion, then the others in the order in
// which they were found.
func Steps(ctx context.Context, h Reader, run engine.ID) ([]*engine.StepRow, error) {
	rows, err := h.List(ctx, store.Steps, engine.RunKey(run))
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row) bool { return engine.IsStepInput(r.Key) })
	steps, err := parse(rows, engine.ParseStepRow)
	slices.SortStableFunc(steps, func(a, b *engine.StepRow) int {
		switch {
		case a.Seq > 0 && b.Seq > 0:
			return a.Seq - b.Seq
		case a.Seq > 0:
			return -1
		case b.Seq > 0:
			return 1
		}
		return int(a.QueuedAt - b.QueuedAt)
	})
	return steps, err
}

// StepInput reads what a step was planned with; false when it is done, or had none.
func StepInput(ctx context.Context, h Reader, run engine.ID, step string) ([]byte, bool, error) {
	return h.Get(ctx, store.Steps, engine.StepInputKey(run, step))
}

// Attempts reads the failed attempts of a run, oldest first.
func Attempts(ctx context.Context, h Reader, run engine.ID) ([]*engine.AttemptRow, error) {
	rows, err := h.List(ctx, store.Attempts, engine.RunKey(run))
	if err != nil {
		return nil, err
	}
	return parse(rows, engine.ParseAttemptRow)
}

// maxRunsOfEvent bounds what RunsOfEvent returns: no event starts more functions than that.
const maxRunsOfEvent = 1000

// RunsOfEvent reads the runs that an event started, alone or as part of a batch, oldest first.
func RunsOfEvent(ctx context.Context, h Reader, id engine.ID) ([]*engine.RunRow, error) {
	q := store.Query{Table: store.Runs, Limit: maxRunsOfEvent}
	q.Tags[2] = engine.RunEventTag(id)
	rows, err := h.Scan(ctx, q)
	if err != nil {
		return nil, err
	}
	links, err := h.List(ctx, store.Links, id[:])
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		v, ok, err := h.Get(ctx, store.Runs, l.Key[len(id):])
		if err != nil {
			return nil, err
		}
		if ok {
			rows = append(rows, store.Row{Value: v})
		}
	}
	return parse(rows, engine.ParseRunRow)
}

func parse[T any](rows []store.Row, one func([]byte) (*T, error)) ([]*T, error) {
	out := make([]*T, 0, len(rows))
	for _, r := range rows {
		v, err := one(r.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
