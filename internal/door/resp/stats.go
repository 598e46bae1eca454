package resp

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/lua"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// stats are counters since the start or the last CONFIG RESETSTAT.
type stats struct {
	connections, rejected, commands, in, out atomic.Int64
	calls                                    map[*keyspace.Spec]*callStats

	mu      sync.Mutex
	scripts map[string]*callStats // by SHA-1

	peak     uint64    // the most memory that was seen in use
	rateAt   time.Time // of the last reading of ops per second
	rateLast int64
	rate     int64
}

// callStats is what calls of one command or script cost.
type callStats struct{ calls, nanos, failed atomic.Int64 }

func (s *callStats) add(d time.Duration, r *reply.Reply) {
	s.calls.Add(1)
	s.nanos.Add(int64(d))
	if r.Kind == reply.Error {
		s.failed.Add(1)
	}
}

// maxScriptStats bounds how many scripts are told apart.
const maxScriptStats = 10_000

func (s *stats) init() {
	s.calls = map[*keyspace.Spec]*callStats{}
	s.scripts = map[string]*callStats{}
	for _, spec := range keyspace.Specs {
		s.calls[spec] = &callStats{}
		for _, sub := range spec.Subs {
			s.calls[sub] = &callStats{}
		}
	}
}

func (s *stats) reset() {
	s.connections.Store(0)
	s.rejected.Store(0)
	for _, c := range s.calls {
		c.calls.Store(0)
		c.nanos.Store(0)
		c.failed.Store(0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.scripts)
}

// Observe counts a command that the machine has run. The shard's loop calls it.
func (d *Door) Observe(cmd keyspace.Command, r *keyspace.Result, took time.Duration) {
	var name string
	switch cmd := cmd.(type) {
	case *keyspace.Do:
		if s, _ := keyspace.Check(cmd.Args); s != nil {
			d.stats.calls[s].add(took, &r.Reply)
		}
		return
	case *keyspace.Exec:
		name = "exec"
	case *keyspace.Watch:
		name = "watch"
	case *keyspace.Unwatch:
		name = "unwatch"
	default:
		return
	}
	if c := d.stats.calls[keyspace.Lookup(name)]; c != nil {
		c.add(took, &r.Reply)
	}
}

func (s *stats) script(sha string) *callStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.scripts[sha]
	if c == nil && len(s.scripts) < maxScriptStats {
		c = &callStats{}
		s.scripts[sha] = c
	}
	return c
}

// commandCost is a line of INFO commandstats.
type commandCost struct {
	name                string
	calls, usec, failed int64
}

// costs lists the commands and then the scripts that were called.
func (s *stats) costs() []commandCost {
	var list []commandCost
	add := func(name string, c *callStats) {
		if n := c.calls.Load(); n > 0 {
			list = append(list, commandCost{name, n, c.nanos.Load() / 1000, c.failed.Load()})
		}
	}
	for spec, c := range s.calls {
		add(spec.Name, c)
	}
	commands := len(list)
	s.mu.Lock()
	for sha, c := range s.scripts {
		add("script|"+sha, c)
	}
	s.mu.Unlock()
	byName := func(a, b commandCost) int { return cmp.Compare(a.name, b.name) }
	slices.SortFunc(list[:commands], byName)
	slices.SortFunc(list[commands:], byName)
	return list
}

// opsPerSecond is the rate since it was last asked for, at most once in 100 ms.
func (s *stats) opsPerSecond(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.commands.Load()
	if d := now.Sub(s.rateAt); d > 100*time.Millisecond {
		s.rate = int64(float64(n-s.rateLast) / d.Seconds())
		s.rateAt, s.rateLast = now, n
	}
	return s.rate
}

func (s *stats) notePeak(used uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, used)
	return s.peak
}

// timedScripts measures the scripts of an engine.
type timedScripts struct {
	*lua.Engine
	stats *stats
}

// Run implements [keyspace.Scripts].
func (t *timedScripts) Run(s *keyspace.Script) reply.Reply {
	began := time.Now()
	r := t.Engine.Run(s)
	if c := t.stats.script(s.SHA); c != nil {
		c.add(time.Since(began), &r)
	}
	return r
}
