package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/quartetjobs/quartet/internal/store"
)

// register replaces an app's functions: new and changed ones take effect at once, missing ones are archived. An equal
// registration changes nothing, not even a clock.
func (m *Machine) register(c *Register) RegisterReply {
	e := m.env(c.App.Env)
	compiled := make([]*function, len(c.Functions))
	for i := range c.Functions {
		f, err := compile(&c.Functions[i])
		if err != nil {
			return RegisterReply{Err: fmt.Errorf("function %s: %w", c.Functions[i].Slug, err)}
		}
		compiled[i] = f
	}
	old := e.apps[c.App.Name]
	modified := old == nil || old.Checksum != c.App.Checksum || old.URL != c.App.URL
	listed := map[UUID]bool{}
	for _, f := range compiled {
		listed[f.def.ID] = true
		if m.replace(e, f) {
			modified = true
		}
	}
	for _, f := range m.appFunctions(e, c.App.Name) {
		if !listed[f.def.ID] && !f.def.Archived {
			m.archive(e, f)
			modified = true
		}
	}
	if modified || string(old.Meta) != string(c.App.Meta) {
		app := c.App
		e.apps[app.Name] = &app
		m.putApp(&app)
	}
	return RegisterReply{Modified: modified}
}

// replace puts a compiled function in the place of what was registered under its id; false if that was equal.
func (m *Machine) replace(e *env, f *function) bool {
	def := f.def
	def.Version = 1
	old := m.fns[def.ID]
	if old == nil {
		m.install(e, f)
		m.startClocks(f, m.now)
		m.putFunction(def)
		return true
	}
	def.Version, def.Paused = old.def.Version, old.def.Paused
	if equalDefs(old.def, def) {
		return false
	}
	def.Version++
	m.uninstall(e, old)
	// The function keeps its identity in memory, since runs point to it; only what it says changes.
	ready := m.takeJobs(old)
	lanes := old.lanes
	def, from := f.def, old.def
	*old = function{def: def, triggers: f.triggers, cancel: f.cancel, keys: f.keys, runs: old.runs, ready: old.ready, inRing: old.inRing}
	for i := range old.triggers {
		if c := old.triggers[i].cron; c != nil {
			c.fn = old
		}
	}
	for _, ln := range lanes {
		if ln != nil {
			m.unclaim(ln)
		}
	}
	m.rekey(old, from)
	m.install(e, old)
	m.startClocks(old, m.now)
	for _, j := range ready {
		m.line(j)
	}
	m.putFunction(def)
	return true
}

// equalDefs compares registrations as they are stored.
func equalDefs(a, b *Function) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// install makes a function start from its triggers.
func (m *Machine) install(e *env, f *function) {
	m.fns[f.def.ID] = f
	e.slugs[f.def.Slug] = f
	if f.def.Archived {
		return
	}
	for i, t := range f.def.Triggers {
		if t.Event != "" {
			refs := append(e.triggers[t.Event], triggerRef{f, i})
			slices.SortFunc(refs, compareTriggers)
			e.triggers[t.Event] = refs
		}
	}
}

func (m *Machine) uninstall(e *env, f *function) {
	m.stopClocks(f)
	for _, t := range f.def.Triggers {
		if t.Event == "" {
			continue
		}
		refs := slices.DeleteFunc(slices.Clone(e.triggers[t.Event]), func(r triggerRef) bool { return r.fn == f })
		if len(refs) == 0 {
			delete(e.triggers, t.Event)
		} else {
			e.triggers[t.Event] = refs
		}
	}
}

// takeJobs takes every ready job of a function out of its lane, in order.
func (m *Machine) takeJobs(f *function) []*job {
	var jobs []*job
	for _, r := range f.runs { // sorted below
		for _, j := range r.jobs {
			if j.lane != nil {
				jobs = append(jobs, j)
			}
		}
	}
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	for _, j := range jobs {
		m.leaveLane(j)
	}
	return jobs
}

// rekey carries the values of concurrency keys over to a changed list of limits, by their expressions: the payloads to
// evaluate new ones are not at hand, and a run without a value shares the bucket of all such runs.
func (m *Machine) rekey(f *function, from *Function) {
	same := slices.EqualFunc(from.Flow.Concurrency, f.def.Flow.Concurrency, func(a, b Concurrency) bool { return a.Key == b.Key })
	if same {
		return
	}
	for _, r := range f.runs { // each is changed by itself, so the order does not show
		values := make([]string, len(f.def.Flow.Concurrency))
		for i, c := range f.def.Flow.Concurrency {
			for k, o := range from.Flow.Concurrency {
				if o.Key == c.Key && k < len(r.spec.concurrency) {
					values[i] = r.spec.concurrency[k]
				}
			}
		}
		r.spec.concurrency = values
	}
}

func (m *Machine) archive(e *env, f *function) {
	m.uninstall(e, f)
	def := *f.def
	def.Archived = true
	f.def = &def
	m.putFunction(&def)
}

// appFunctions lists an app's functions by slug.
func (m *Machine) appFunctions(e *env, app string) []*function {
	var fns []*function
	for _, f := range e.slugs { // sorted below
		if f.def.App == app {
			fns = append(fns, f)
		}
	}
	slices.SortFunc(fns, func(a, b *function) int { return cmp.Compare(a.def.Slug, b.def.Slug) })
	return fns
}

func (m *Machine) setAppMeta(c *SetAppMeta) bool {
	old := m.env(c.Env).apps[c.Name]
	if old == nil {
		return false
	}
	if string(old.Meta) != string(c.Meta) {
		app := *old
		app.Meta = c.Meta
		m.env(c.Env).apps[c.Name] = &app
		m.putApp(&app)
	}
	return true
}

func (m *Machine) removeApp(c *RemoveApp) bool {
	e := m.env(c.Env)
	if e.apps[c.Name] == nil {
		return false
	}
	for _, f := range m.appFunctions(e, c.Name) {
		if !f.def.Archived {
			m.archive(e, f)
		}
	}
	delete(e.apps, c.Name)
	m.delete(store.Apps, AppKey(c.Env, c.Name))
	return true
}

func (m *Machine) pause(c *Pause) bool {
	f := m.env(c.Env).slugs[c.Slug]
	if f == nil {
		return false
	}
	def := *f.def
	def.Paused = c.Paused
	f.def = &def
	m.putFunction(&def)
	return true
}

func (m *Machine) putFunction(def *Function) {
	b, err := json.Marshal(def)
	if err != nil {
		panic("BUG: engine: function does not marshal: " + err.Error())
	}
	m.put(store.Record{Table: store.Functions, Key: FunctionKey(def.Env, def.Slug), Value: b})
}

func (m *Machine) putApp(a *App) {
	b, err := json.Marshal(a)
	if err != nil {
		panic("BUG: engine: app does not marshal: " + err.Error())
	}
	m.put(store.Record{Table: store.Apps, Key: AppKey(a.Env, a.Name), Value: b})
}

// forget deletes history that is no longer wanted.
func (m *Machine) forget(c *Forget) int {
	n := 0
	for _, k := range c.Rows {
		if m.needed(k) {
			continue
		}
		m.delete(k.Table, k.Key)
		n++
	}
	return n
}

// needed says that a row is part of live state.
func (m *Machine) needed(k RowKey) bool {
	switch k.Table {
	case store.Runs, store.Steps, store.Attempts, store.Live, store.Spans, store.Streams:
		return len(k.Key) >= 16 && m.runs[toID(k.Key[:16])] != nil
	case store.Flow:
		key := string(k.Key)
		if tat, ok := m.rates[key]; ok {
			if tat > m.now*1000 {
				return true
			}
			delete(m.rates, key)
		}
		if l := m.limits[key]; l != nil {
			m.dropLimiter(l)
			return m.limits[key] != nil && l.tat > m.now*1000
		}
	case store.Events:
		if len(k.Key) < 16 {
			return false
		}
		id := toID(k.Key[len(k.Key)-16:])
		for _, p := range m.pending { // any or none: the order does not show
			if slices.Contains(p.spec.events, id) {
				return true
			}
		}
	case store.Functions, store.Apps, store.Outbox, store.Pending:
		return true
	}
	return false
}
