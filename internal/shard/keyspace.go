package shard

import (
	"log/slog"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/store"
)

// KeyspaceShard is the shard of a store that the keyspace has; the engine has shard 0.
const KeyspaceShard = 1

// Everysec is how long changes may wait for the disk when replies do not.
const Everysec = time.Second

// keyspaceFold is the time between folds. Nobody reads the keyspace's tables but a restart, so they may be further behind than the engine's: what
// is written again and again meanwhile, and what comes and goes, costs them one row or none.
const (
	keyspaceFold  = 2 * time.Second
	keyspaceLater = 30 * time.Second
	keyspaceBytes = 32 << 20 // which a start after a crash folds in a second or two
)

// Keyspace runs the shard of the keyspace. Commands are answered in the order in which they were posted, each when it and all before it
// are durable, unless Everysec was chosen. A reply may come after the [keyspace.Answer] of a command that blocks.
//
// ErrOverloaded means that nothing was done: -BUSY is an answer after which clients try again. ErrUnavailable for a command that was
// posted means that its outcome is unknown: closing the connection makes clients do what they do when a server goes away.
type Keyspace = Runner[keyspace.Command, keyspace.Result, keyspace.Effect]

// KeyspaceConfig of a Keyspace. Zero fields take the defaults that are named.
type KeyspaceConfig struct {
	Store    store.Store            // required
	Keyspace func() keyspace.Config // of each machine that is made; it must give each new Scripts. Optional
	Effect   func(keyspace.Effect)  // as in RunnerConfig; required
	// Lost is called when the memory of a machine is dropped. Commands that block are never answered then, and nothing is watched any
	// more: their connections should be closed.
	Lost func()
	// Observe is told of each command that was run, its result, which it must not change, and how long it took. The loop calls it, so it
	// must be quick. Optional.
	Observe  func(keyspace.Command, *keyspace.Result, time.Duration)
	Everysec bool             // answer at once, and write within a second
	Log      *slog.Logger     // required
	Now      func() time.Time // default time.Now
	Inbox    int              // commands that may wait; default 8192
}

// NewKeyspace makes a host for the keyspace; it does nothing until Run.
func NewKeyspace(cfg KeyspaceConfig) *Keyspace {
	type machine = Machine[keyspace.Command, keyspace.Result, keyspace.Effect]
	r := RunnerConfig[keyspace.Command, keyspace.Result, keyspace.Effect]{
		Shard: KeyspaceShard, Store: cfg.Store, Effect: cfg.Effect, Lost: cfg.Lost, Log: cfg.Log, Now: cfg.Now, Inbox: cfg.Inbox,
		FoldEvery: keyspaceFold, FoldLater: keyspaceLater, LaterBytes: keyspaceBytes,
		Make: func() machine {
			var k keyspace.Config
			if cfg.Keyspace != nil {
				k = cfg.Keyspace()
			}
			if cfg.Observe == nil {
				return keyspace.New(k)
			}
			return &observed{keyspace.New(k), cfg.Observe}
		},
	}
	if cfg.Everysec {
		r.Lazy = Everysec
	}
	return NewRunner(r)
}

// observed is a machine whose commands are timed.
type observed struct {
	*keyspace.Machine
	observe func(keyspace.Command, *keyspace.Result, time.Duration)
}

func (o *observed) Apply(now int64, cmd keyspace.Command, out *store.Out[keyspace.Effect]) keyspace.Result {
	began := time.Now()
	r := o.Machine.Apply(now, cmd, out)
	o.observe(cmd, &r, time.Since(began))
	return r
}
