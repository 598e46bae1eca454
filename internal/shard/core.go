package shard

import (
	"context"
	"fmt"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Core is a machine together with the shard of the store that its state is in.
type Core struct {
	Machine *engine.Machine
	Store   store.Shard
	open    *Batch
}

// Batch is what a number of commands produced, on its way to the journal.
type Batch struct {
	out     engine.Out
	replies []reply
}

type reply struct {
	value any
	to    func(any, error)
}

// Recover acquires a shard and reads the state of an empty machine from it. The returned facts are effects that may
// have been lost and must be released again.
func Recover(ctx context.Context, st store.Store, id int, m *engine.Machine, now int64) (*Core, []*engine.Settle, error) {
	sh, err := st.Acquire(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("acquire shard %d: %w", id, err)
	}
	err = m.Recover(now, func(t store.Table, fn func(key, value []byte) error) error {
		return sh.Load(ctx, t, fn)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("shard %d: %w", id, err)
	}
	return &Core{Machine: m, Store: sh, open: &Batch{}}, m.Facts(), nil
}

// Apply gives a command to the machine. to is called when the command is durable, or is known not to be.
func (c *Core) Apply(now int64, cmd engine.Command, to func(any, error)) {
	v := c.Machine.Apply(now, cmd, &c.open.out)
	if to != nil {
		c.open.replies = append(c.open.replies, reply{v, to})
	}
}

// Tick does what is due, at most limit timers of it; more is true if that was not all.
func (c *Core) Tick(now int64, limit int) (more bool) {
	return c.Machine.Tick(now, limit, &c.open.out)
}

// Size is the number of records and replies in the open batch.
func (c *Core) Size() int {
	return len(c.open.out.Records) + len(c.open.replies) + len(c.open.out.Effects)
}

// Seal closes the open batch and begins a new one.
func (c *Core) Seal() *Batch {
	b := c.open
	// The next batch is probably as large as this one: growing into it would copy everything several times.
	c.open = &Batch{
		out: engine.Out{
			Records: make([]store.Record, 0, len(b.out.Records)), Effects: make([]engine.Effect, 0, len(b.out.Effects)),
		},
		replies: make([]reply, 0, len(b.replies)),
	}
	return b
}

// Commit makes a batch durable. Batches must be committed in the order in which they were sealed.
func (c *Core) Commit(ctx context.Context, b *Batch) error {
	if len(b.out.Records) == 0 {
		return nil
	}
	return c.Store.Append(ctx, b.out.Records)
}

// Release lets the effects and replies of a committed batch out. Effects go first: who is told that a run was cancelled must
// not see a call of it begin afterwards that an earlier command of the same batch asked for.
func (b *Batch) Release(effect func(engine.Effect)) {
	for _, e := range b.out.Effects {
		effect(e)
	}
	for _, r := range b.replies {
		r.to(r.value, nil)
	}
}

// Fail tells everyone who waits for a batch that it was not committed.
func (b *Batch) Fail(err error) {
	for _, r := range b.replies {
		r.to(nil, err)
	}
}

// Records is what the batch makes durable.
func (b *Batch) Records() []store.Record { return b.out.Records }
