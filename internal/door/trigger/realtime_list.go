package trigger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// What many follow is looked at once. A list of runs is made when somebody follows it first, and kept a while after nobody does, since clients ask again and
// again. What becomes durable says which runs of which lists are to be looked at; the request that notices first looks, for all of them.

const (
	maxLists   = 10_000
	maxHeld    = 64 << 20         // bytes of the rows of all environments' lists that are held
	maxPending = 2 * maxShape     // runs of a list that are to be looked at; beyond that it is made anew
	listLinger = 30 * time.Second // after the last request
	listPace   = 100 * time.Millisecond
)

// followed is what somebody follows: one run, those of a batch, or those with some tags that are not older than an age.
type followed struct {
	run   engine.ID
	batch string
	tags  string // separated by commas
	age   time.Duration
}

// runList is the rows of what is followed.
type runList struct {
	what  followed
	tags  []string
	since int64         // ms
	epoch int64         // distinguishes it from a list of the same that was there before
	turn  chan struct{} // who has its one token may look at runs
	// What follows is guarded by the lock of the lists.
	users   int
	leaving *time.Timer
	stale   bool // it is to be made anew
	looking bool // somebody is about it
	pending map[engine.ID]bool
	members map[engine.ID]bool // registered by run
	view    listView
	bytes   int // of its rows
	looked  time.Time
}

// listView is a list at one moment. It is not changed any more.
type listView struct {
	rows    []*listedRun // the newest first
	version int64
	changed chan struct{} // closed when there may be a newer one
}

// listedRun is a row of a list.
type listedRun struct {
	id      engine.ID
	version int64 // of the list when it changed
	sum     [sha256.Size]byte
	json    json.RawMessage // nil when there is no room for it: it is made again for each answer
	task    string
	tags    []string
	batch   string
}

// value is the row as a client wants it; nil when there is no such run any more.
func (l *listedRun) value(ctx context.Context, env *environment, skip []string, old bool) (any, error) {
	text := l.json
	if text == nil {
		x, err := env.look(ctx, friendly(runPrefix, l.id))
		if errors.As(err, new(*inputError)) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		text = mustJSON(x.row())
	}
	if len(skip) == 0 && !old {
		return text, nil
	}
	var row map[string]*string
	if err := json.Unmarshal(text, &row); err != nil {
		return nil, err
	}
	for _, c := range skip {
		delete(row, c)
	}
	if s := row["status"]; old && s != nil {
		*s = oldStatus(*s)
	}
	return row, nil
}

// lists are all that somebody follows.
type lists struct {
	mu    sync.Mutex
	of    map[followed]*runList
	byRun map[engine.ID]map[*runList]bool
	byTag map[string]map[*runList]bool // by the first of its tags
	batch map[string]*runList          // by the key of the batch's row
	epoch int64
}

// join follows something until leave is called.
func (ls *lists) join(env *environment, what followed) (l *runList, leave func(), err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.of == nil {
		ls.of, ls.byRun, ls.byTag, ls.batch = map[followed]*runList{}, map[engine.ID]map[*runList]bool{}, map[string]map[*runList]bool{}, map[string]*runList{}
	}
	if l = ls.of[what]; l == nil {
		if len(ls.of) >= maxLists {
			return nil, nil, fail(http.StatusTooManyRequests, "Too many subscriptions")
		}
		now := env.cfg.Now()
		ls.epoch = max(ls.epoch+1, now.UnixMilli())
		l = &runList{
			what: what, epoch: ls.epoch, since: now.Add(-what.age).UnixMilli(), turn: make(chan struct{}, 1), stale: true,
			pending: map[engine.ID]bool{}, members: map[engine.ID]bool{}, view: listView{changed: make(chan struct{})},
		}
		ls.of[what] = l
		switch {
		case what.run != (engine.ID{}):
			ls.register(l, what.run)
		case what.batch != "":
			ls.batch[string(env.batchKey(what.batch))] = l
		default:
			l.tags = strings.Split(what.tags, ",")
			if ls.byTag[l.tags[0]] == nil {
				ls.byTag[l.tags[0]] = map[*runList]bool{}
			}
			ls.byTag[l.tags[0]][l] = true
		}
	}
	l.users++
	if l.leaving != nil {
		l.leaving.Stop()
		l.leaving = nil
	}
	return l, func() { ls.leave(env, l) }, nil
}

func (ls *lists) leave(env *environment, l *runList) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.users--; l.users == 0 {
		l.leaving = time.AfterFunc(listLinger, func() { ls.forget(env, l) })
	}
}

// forget drops a list that nobody follows.
func (ls *lists) forget(env *environment, l *runList) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.users > 0 || ls.of[l.what] != l {
		return
	}
	delete(ls.of, l.what)
	env.held.Add(-int64(l.bytes))
	delete(ls.batch, string(env.batchKey(l.what.batch)))
	if len(l.tags) > 0 {
		if delete(ls.byTag[l.tags[0]], l); len(ls.byTag[l.tags[0]]) == 0 {
			delete(ls.byTag, l.tags[0])
		}
	}
	for id := range l.members { // each on its own
		ls.unregister(l, id)
	}
}

// register lets a list hear of a run. The lock is held.
func (ls *lists) register(l *runList, id engine.ID) {
	l.members[id] = true
	if ls.byRun[id] == nil {
		ls.byRun[id] = map[*runList]bool{}
	}
	ls.byRun[id][l] = true
}

func (ls *lists) unregister(l *runList, id engine.ID) {
	delete(l.members, id)
	if delete(ls.byRun[id], l); len(ls.byRun[id]) == 0 {
		delete(ls.byRun, id)
	}
}

// note takes over what became durable. It reads nothing.
func (ls *lists) note(env *environment, records []store.Record) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.of) == 0 {
		return
	}
	touched := map[*runList]bool{}
	for i := range records {
		r := &records[i]
		switch r.Table {
		case store.Runs, store.Live, store.Steps:
			if len(r.Key) < 16 {
				continue
			}
			id := engine.ID(r.Key[:16])
			for l := range ls.byRun[id] { // each hears of it
				l.pending[id], touched[l] = true, true
			}
			if r.Table == store.Steps && len(ls.byTag) > 0 && bytes.Equal(r.Key, engine.NoteKey(id, runNote)) {
				for _, t := range noteTags(r.Value) {
					for l := range ls.byTag[t] { // each hears of it
						l.pending[id], touched[l] = true, true
					}
				}
			}
		case store.Logs:
			if l := ls.batch[string(r.Key)]; l != nil {
				l.stale, touched[l] = true, true
			}
		}
	}
	for l := range touched { // each is woken
		if len(l.pending) > maxPending {
			l.stale, l.pending = true, map[engine.ID]bool{}
		}
		l.view.tell()
	}
}

// tell wakes those who have this view.
func (v *listView) tell() {
	select {
	case <-v.changed:
	default:
		close(v.changed)
	}
}

// noteTags are the tags of a run's note, which are the first that it says.
func noteTags(note []byte) []string {
	rest, ok := bytes.CutPrefix(note, []byte(`{"tags":`))
	if !ok {
		return nil
	}
	var tags []string
	if json.NewDecoder(bytes.NewReader(rest)).Decode(&tags) != nil {
		return nil
	}
	return tags
}

// current is the list as it is now.
func (l *runList) current(ctx context.Context, env *environment) (listView, error) {
	ls := &env.lists
	view, fresh := ls.peek(l)
	if fresh {
		return view, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return listView{}, ctx.Err()
	}
	if view, fresh = ls.peek(l); fresh {
		return view, nil // somebody else has looked
	}
	if l.what.run == (engine.ID{}) { // a list that changes all the time is not looked at all the time
		select {
		case <-time.After(max(0, listPace-time.Since(ls.looked(l)))):
		case <-ctx.Done():
			return listView{}, ctx.Err()
		}
	}
	return l.refresh(ctx, env)
}

func (ls *lists) looked(l *runList) time.Time {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.looked
}

// again has the runs of a list looked at again, unless that was done just now: what they wait for may be over although nothing was written.
func (ls *lists) again(l *runList) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if time.Since(l.looked) > livePoll/2 {
		maps.Copy(l.pending, l.members)
	}
}

// peek is the view of a list, and whether it is the newest.
func (ls *lists) peek(l *runList) (listView, bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.view, !l.looking && !l.stale && len(l.pending) == 0
}

// refresh looks at what changed. The caller has the turn.
func (l *runList) refresh(ctx context.Context, env *environment) (listView, error) {
	ls := &env.lists
	ls.mu.Lock()
	ids, stale := l.pending, l.stale
	l.pending, l.stale, l.looking = map[engine.ID]bool{}, false, true
	old := l.view
	ls.mu.Unlock()
	failed := func(err error) (listView, error) { // somebody else shall look again
		ls.mu.Lock()
		defer ls.mu.Unlock()
		l.stale, l.looking = true, false
		return listView{}, err
	}
	if stale {
		found, err := l.find(ctx, env)
		if err != nil {
			return failed(err)
		}
		for _, id := range found {
			ids[id] = true
		}
	}
	ls.mu.Lock()
	for id := range ids { // what happens from now on is heard of, so looking comes after it
		ls.register(l, id)
	}
	ls.mu.Unlock()
	rows := make(map[engine.ID]*listedRun, len(old.rows)+len(ids))
	for _, row := range old.rows {
		rows[row.id] = row
	}
	version := old.version + 1
	changed := false
	for id := range ids { // the order does not show: they are sorted below
		x, err := env.look(ctx, friendly(runPrefix, id))
		if errors.As(err, new(*inputError)) {
			x = nil // it is gone, or yet to come
		} else if err != nil {
			return failed(err)
		}
		if x == nil || !l.takes(x.rec) {
			continue
		}
		row := &listedRun{id: id, version: version, json: mustJSON(x.row()), task: x.rec.opts.Task, tags: x.rec.note.Tags, batch: x.rec.opts.Batch}
		row.sum = sha256.Sum256(row.json)
		if was := rows[id]; was == nil || was.sum != row.sum {
			rows[id], changed = row, true
		}
	}
	next := listView{version: old.version, changed: make(chan struct{})}
	if changed {
		next.version = version
	}
	for _, row := range rows {
		next.rows = append(next.rows, row)
	}
	slices.SortFunc(next.rows, func(a, b *listedRun) int { return b.id.Compare(a.id) })
	next.rows = next.rows[:min(len(next.rows), maxShape)]
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.forgetOthers(ls, next.rows)
	held := &env.held
	held.Add(-int64(l.bytes))
	l.bytes = 0
	for _, row := range next.rows {
		if row.version == version && held.Load()+int64(l.bytes+len(row.json)) > maxHeld { // nobody has it yet
			row.json = nil
		}
		l.bytes += len(row.json)
	}
	held.Add(int64(l.bytes))
	l.view.tell()
	l.view, l.looked, l.looking = next, time.Now(), false
	if l.stale || len(l.pending) > 0 { // there was more meanwhile
		l.view.tell()
	}
	return l.view, nil
}

// forgetOthers unregisters runs that are no rows and need not become any: those of a list by tags. The lock is held.
func (l *runList) forgetOthers(ls *lists, rows []*listedRun) {
	if len(l.tags) == 0 || len(l.members) == len(rows) {
		return
	}
	keep := make(map[engine.ID]bool, len(rows))
	for _, row := range rows {
		keep[row.id] = true
	}
	for id := range l.members { // each on its own
		if !keep[id] {
			ls.unregister(l, id)
		}
	}
}

// takes says whether a run is one of the list's.
func (l *runList) takes(rec *record) bool {
	for _, t := range l.tags {
		if t != "" && !slices.Contains(rec.note.Tags, t) {
			return false
		}
	}
	return len(l.tags) == 0 || rec.QueuedAt >= l.since
}

// find are the runs that a list has, or may get.
func (l *runList) find(ctx context.Context, env *environment) ([]engine.ID, error) {
	switch {
	case l.what.run != (engine.ID{}):
		return []engine.ID{l.what.run}, nil
	case l.what.batch != "":
		b, err := env.readBatch(ctx, l.what.batch)
		if err != nil || b == nil {
			return nil, err
		}
		return b.runs(), nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return nil, err
	}
	f := &runFilter{tags: l.tags[:1], from: l.since}
	found, err := env.findRuns(r, []*environment{env}, f, store.Query{Table: store.Runs, Desc: true, Limit: 200}, maxShape, maxScanned)
	if err != nil {
		return nil, err
	}
	var ids []engine.ID
	for _, x := range found.runs {
		ids = append(ids, x.rec.ID)
	}
	return ids, nil
}
