package shard

import (
	"context"
	"fmt"

	"github.com/quartetjobs/quartet/internal/store"
)

// Machine is what a shard hosts: a state machine that takes commands of type C, answers with an R and has effects of type E.
type Machine[C, R, E any] interface {
	// Apply runs a command at now, in ms since the epoch.
	Apply(now int64, cmd C, out *store.Out[E]) R
	// Tick does what is due, at most limit pieces of it; more is true if that was not all.
	Tick(now int64, limit int, out *store.Out[E]) (more bool)
	// Next is when the next Tick has something to do; ok is false when nothing is due by itself.
	Next() (at int64, ok bool)
	// Recover reads the state of an empty machine.
	Recover(now int64, load func(t store.Table, fn func(key, value []byte) error) error) error
}

// Core is a machine together with the shard of the store that its state is in.
type Core[C, R, E any] struct {
	Machine Machine[C, R, E]
	Store   store.Shard
	open    *Batch[R, E]
	weighed int // records of the open batch that are in bytes
	bytes   int
}

// Batch is what a number of commands produced, on its way to the journal.
type Batch[R, E any] struct {
	out     store.Out[E]
	replies []reply[R]
}

type reply[R any] struct {
	value R
	to    func(R, error)
}

// Recover acquires a shard and reads the state of an empty machine from it.
func Recover[C, R, E any](ctx context.Context, st store.Store, id int, m Machine[C, R, E], now int64) (*Core[C, R, E], error) {
	sh, err := st.Acquire(ctx, id)
	if err != nil {
		return nil, err // it says which shard
	}
	err = m.Recover(now, func(t store.Table, fn func(key, value []byte) error) error {
		return sh.Load(ctx, t, fn)
	})
	if err != nil {
		return nil, fmt.Errorf("shard %d: %w", id, err)
	}
	return &Core[C, R, E]{Machine: m, Store: sh, open: &Batch[R, E]{}}, nil
}

// Apply gives a command to the machine. to is called when the command is durable, or is known not to be.
func (c *Core[C, R, E]) Apply(now int64, cmd C, to func(R, error)) {
	v := c.Machine.Apply(now, cmd, &c.open.out)
	if to != nil {
		c.open.replies = append(c.open.replies, reply[R]{v, to})
	}
}

// Tick does what is due, at most limit timers of it; more is true if that was not all.
func (c *Core[C, R, E]) Tick(now int64, limit int) (more bool) {
	return c.Machine.Tick(now, limit, &c.open.out)
}

// Size is the number of records and replies in the open batch.
func (c *Core[C, R, E]) Size() int {
	return len(c.open.out.Records) + len(c.open.replies) + len(c.open.out.Effects)
}

// Bytes is about the size of the open batch in the journal.
func (c *Core[C, R, E]) Bytes() int {
	for _, r := range c.open.out.Records[c.weighed:] {
		c.bytes += len(r.Key) + len(r.Value)
	}
	c.weighed = len(c.open.out.Records)
	return c.bytes
}

// Seal closes the open batch and begins a new one.
func (c *Core[C, R, E]) Seal() *Batch[R, E] {
	b := c.open
	// The next batch is probably as large as this one: growing into it would copy everything several times.
	c.open = &Batch[R, E]{
		out: store.Out[E]{
			Records: make([]store.Record, 0, len(b.out.Records)), Effects: make([]E, 0, len(b.out.Effects)),
		},
		replies: make([]reply[R], 0, len(b.replies)),
	}
	c.weighed, c.bytes = 0, 0
	return b
}

// ReleaseOpen lets the effects and replies of the open batch out before its records are durable.
func (c *Core[C, R, E]) ReleaseOpen(effect func(E)) {
	b := c.open
	b.Release(effect)
	clear(b.out.Effects)
	clear(b.replies)
	b.out.Effects, b.replies = b.out.Effects[:0], b.replies[:0]
}

// Commit makes a batch durable. Batches must be committed in the order in which they were sealed.
func (c *Core[C, R, E]) Commit(ctx context.Context, b *Batch[R, E]) error {
	if len(b.out.Records) == 0 {
		return nil
	}
	return c.Store.Append(ctx, b.out.Records)
}

// Release lets the effects and replies of a committed batch out. Effects go first: who is told that a run was cancelled must
// not see a call of it begin afterwards that an earlier command of the same batch asked for.
func (b *Batch[R, E]) Release(effect func(E)) {
	for _, e := range b.out.Effects {
		effect(e)
	}
	for _, r := range b.replies {
		r.to(r.value, nil)
	}
}

// Fail tells everyone who waits for a batch that it was not committed.
func (b *Batch[R, E]) Fail(err error) {
	var none R
	for _, r := range b.replies {
		r.to(none, err)
	}
}

// Records is what the batch makes durable.
func (b *Batch[R, E]) Records() []store.Record { return b.out.Records }
