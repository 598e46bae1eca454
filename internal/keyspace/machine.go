package keyspace

import (
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/store"
)

// Out collects what commands produce.
type Out = store.Out[Effect]

// Loader reads all rows of a table in key order; store.Shard.Load is one.
type Loader func(table store.Table, fn func(key, value []byte) error) error

// Machine is the keyspace. It is not safe for concurrent use: one loop owns it.
type Machine struct {
	cfg Config
	now int64
	out *Out
}

// New makes an empty keyspace.
func New(cfg Config) *Machine { return &Machine{cfg: cfg} }

// Apply runs a command at now, in ms since the epoch.
func (m *Machine) Apply(now int64, cmd Command, out *Out) Result {
	return Result{Reply: reply.OK}
}

// Tick does what is due: time-outs of commands that block, keys that expire, and deleted keys whose parts are still to be forgotten. It
// does at most limit of them; more is true if that was not all.
func (m *Machine) Tick(now int64, limit int, out *Out) (more bool) { return false }

// Next is when the next Tick has something to do, in ms; ok is false when nothing is due by itself.
func (m *Machine) Next() (at int64, ok bool) { return 0, false }

// Recover reads the keyspace back into an empty machine.
func (m *Machine) Recover(now int64, load Loader) error { return nil }

// call is one command while it runs.
type call struct {
	m    *Machine
	args []string
}
