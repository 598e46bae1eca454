package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/namedlock"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 8.10: many runs are cancelled or replayed in the background. The runs are chosen when it is asked for, so a replay cannot choose what it starts.
// Progress is a row, written after each batch; what is repeated after a crash changes nothing, since the id of a replayed run follows from the action
// and the run that it repeats.

const (
	bulkPrefix  = "bulk_"
	maxBulk     = 10_000    // runs of one action
	maxLooked   = 1_000_000 // runs, of anybody, that a filter looks through
	maxBulks    = 10        // that are under way
	bulkBatch   = 100       // runs between two writes of the progress
	maxBulkName = 255
	bulkPage    = 25
)

const (
	bulkPending   = "PENDING"
	bulkCompleted = "COMPLETED"
	bulkAborted   = "ABORTED"
)

// bulk is an action as it is stored. The runs that it is about have a row of their own, which does not change.
type bulk struct {
	ID        string `json:"id"`
	Name      string `json:"name,omitempty"`
	Action    string `json:"action"` // cancel or replay
	Status    string `json:"status"`
	Total     int    `json:"total"`
	Done      int    `json:"done"`
	Success   int    `json:"success"`
	Failure   int    `json:"failure"`
	CreatedAt int64  `json:"createdAt"`
	EndedAt   int64  `json:"endedAt,omitempty"`
}

func (d *Door) bulkRoutes() {
	d.bulks.kick = make(chan struct{}, 1)
	d.route("POST /api/v1/bulk-actions", secret, (*environment).createBulk)
	d.route("GET /api/v1/bulk-actions", secret, (*environment).listBulks)
	d.route("GET /api/v1/bulk-actions/{bulk}", secret, func(env *environment, r *http.Request) (any, error) {
		b, err := env.readBulk(r.Context(), r.PathValue("bulk"))
		return b.view(), err
	})
	d.route("POST /api/v1/bulk-actions/{bulk}/abort", secret, (*environment).abortBulk)
}

// bulks are the actions that are under way.
type bulks struct {
	locks namedlock.Set
	kick  chan struct{} // there is something to do
}

func (env *environment) bulkKey(id string) []byte {
	return []byte("\x00trigger\x00" + env.Name + "\x00bulk\x00" + id)
}

func (env *environment) bulkRunsKey(id string) []byte {
	return []byte("\x00trigger\x00" + env.Name + "\x00bulkruns\x00" + id)
}

func (env *environment) bulkRow(b *bulk) engine.RowPut {
	return engine.RowPut{Table: store.Logs, Key: env.bulkKey(b.ID), Value: mustJSON(b), Expires: b.CreatedAt + rowLife}
}

func (env *environment) readBulk(ctx context.Context, id string) (*bulk, error) {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Logs, env.bulkKey(id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fail(http.StatusNotFound, "Bulk action not found")
	}
	b := &bulk{}
	return b, json.Unmarshal(raw, b)
}

func (b *bulk) view() any {
	if b == nil {
		return nil
	}
	v := map[string]any{
		"id": b.ID, "type": map[string]string{"cancel": "CANCEL", "replay": "REPLAY"}[b.Action], "status": b.Status, "createdAt": iso(b.CreatedAt),
		"counts": map[string]int{"total": b.Total, "success": b.Success, "failure": b.Failure},
	}
	if b.Name != "" {
		v["name"] = b.Name
	}
	if b.EndedAt > 0 {
		v["completedAt"] = iso(b.EndedAt)
	}
	return v
}

// bulkBody is the body of a new action.
type bulkBody struct {
	Action string                     `json:"action"`
	Name   string                     `json:"name"`
	Runs   []string                   `json:"runIds"`
	Filter map[string]json.RawMessage `json:"filter"`
}

// createBulk is POST /api/v1/bulk-actions.
func (env *environment) createBulk(r *http.Request) (any, error) {
	var in bulkBody
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Action != "cancel" && in.Action != "replay" {
		return nil, fail(http.StatusBadRequest, "the action is cancel or replay")
	}
	if len(in.Name) > maxBulkName {
		return nil, fail(http.StatusBadRequest, "Name must be less than %d characters", maxBulkName)
	}
	if (in.Filter == nil) == (in.Runs == nil) {
		return nil, fail(http.StatusBadRequest, "Exactly one of filter or runIds must be provided")
	}
	ctx := r.Context()
	request := r.Header.Get("X-Trigger-Request-Idempotency-Key")
	id, err := env.requests.once("bulk\x00"+request, request != "", env.cfg.Now(), func() (any, error) {
		open, err := env.openBulks(ctx)
		if err != nil {
			return nil, err
		}
		if len(open) >= maxBulks {
			return nil, fail(http.StatusTooManyRequests, "There are %d bulk actions under way already", len(open))
		}
		ids, err := env.bulkRuns(r, &in)
		if err != nil {
			return nil, err
		}
		b := &bulk{ID: friendly(bulkPrefix, env.newID()), Name: in.Name, Action: in.Action, Status: bulkPending, Total: len(ids), CreatedAt: env.cfg.Now().UnixMilli()}
		runs := make([]byte, 0, 16*len(ids))
		for _, id := range ids {
			runs = append(runs, id[:]...)
		}
		return b.ID, env.put(ctx, engine.RowPut{Table: store.Logs, Key: env.bulkRunsKey(b.ID), Value: runs, Expires: b.CreatedAt + rowLife}, env.bulkRow(b))
	})
	if err != nil {
		return nil, err
	}
	select {
	case env.bulks.kick <- struct{}{}:
	default:
	}
	return &accepted{http.StatusAccepted, nil, map[string]any{"id": id}}, nil
}

// bulkRuns are the runs that an action is about: the newest that fit its filter, or those that it names.
func (env *environment) bulkRuns(r *http.Request, in *bulkBody) (ids []engine.ID, err error) {
	if in.Runs != nil {
		if len(in.Runs) == 0 || len(in.Runs) > maxBulk {
			return nil, fail(http.StatusBadRequest, "runIds must name 1 to %d runs", maxBulk)
		}
		for _, name := range in.Runs {
			id, _ := parseID(runPrefix, name) // one that is none is no run, which counts as a failure
			ids = append(ids, id)
		}
		return ids, nil
	}
	f, err := env.bulkFilter(in.Filter)
	if err != nil {
		return nil, err
	}
	found, err := env.findRuns(r, []*environment{env}, f, store.Query{Table: store.Runs, Desc: true, Limit: 200}, maxBulk, maxLooked)
	switch {
	case err != nil:
		return nil, err
	case found.more && len(found.runs) == maxBulk:
		return nil, invalid("The filter fits more than %d runs", maxBulk)
	case found.more:
		return nil, invalid("There are more than %d runs to look through: say from when on", maxLooked)
	}
	for _, x := range found.runs {
		ids = append(ids, x.rec.ID)
	}
	return ids, nil
}

// bulkFilter reads a filter. What it does not understand it refuses, because ignoring it would choose more runs than were meant.
func (env *environment) bulkFilter(in map[string]json.RawMessage) (*runFilter, error) {
	f := &runFilter{}
	some := false
	for name, raw := range in {
		list, ok := texts(raw)
		if !ok {
			return nil, fail(http.StatusBadRequest, "filter.%s: Invalid input", name)
		}
		if len(list) == 0 {
			continue
		}
		some = true
		var err error
		switch name {
		case "status":
			f.status, err = list, checkStatuses(list)
		case "taskIdentifier":
			f.tasks = list
		case "version":
			f.versions = list
		case "tag":
			f.tags = list
		case "schedule":
			f.schedule = list[0]
		case "batch":
			f.batch = list[0]
		case "machine":
			f.machines = list
		case "queue":
			f.queues = list
		case "isTest":
			test := list[0] == "true"
			f.test = &test
		case "from", "to":
			at := &f.from
			if name == "to" {
				at = &f.to
			}
			*at, err = env.parseInstant(list[0])
		case "period":
			span, ok := parseDuration(list[0])
			if !ok {
				return nil, fail(http.StatusBadRequest, "Invalid period %s", list[0])
			}
			f.from = max(f.from, env.cfg.Now().Add(-span).UnixMilli())
		default:
			return nil, fail(http.StatusBadRequest, "This server cannot filter by %s", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if !some {
		return nil, fail(http.StatusBadRequest, "At least one filter must be provided")
	}
	return f, nil
}

// texts are the values of a filter: one or several, texts, numbers or truths; queues are objects with a name.
func texts(raw json.RawMessage) (list []string, ok bool) {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		all = []json.RawMessage{raw}
	}
	for _, one := range all {
		var truth bool
		var queue struct {
			Type string `json:"type"`
			Name string `json:"name"`
		}
		s := scalar(one)
		switch {
		case string(one) == "null":
		case s != "":
		case json.Unmarshal(one, &truth) == nil:
			s = strconv.FormatBool(truth)
		case json.Unmarshal(one, &queue) == nil && queue.Name != "":
			if s = queue.Name; queue.Type == "task" {
				s = slugPrefix + s
			}
		case string(one) != `""`:
			return nil, false
		}
		if s != "" {
			list = append(list, s)
		}
	}
	return list, true
}

// listBulks is GET /api/v1/bulk-actions, the newest first.
func (env *environment) listBulks(r *http.Request) (any, error) {
	q := r.URL.Query()
	size := bulkPage
	if s := q.Get("page[size]"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 100 {
			return nil, fail(http.StatusBadRequest, "page[size] must be from 1 to 100")
		}
		size = n
	}
	query := store.Query{Table: store.Logs, Prefix: env.bulkKey(""), Desc: true, Limit: size + 1}
	back := q.Get("page[before]")
	switch after := q.Get("page[after]"); {
	case after != "":
		query.To = env.bulkKey(after)
	case back != "":
		query.Desc, query.From = false, append(env.bulkKey(back), 0)
	}
	rows, err := env.cfg.Host.Scan(r.Context(), query)
	if err != nil {
		return nil, err
	}
	more := len(rows) > size
	rows = rows[:min(len(rows), size)]
	if back != "" {
		slices.Reverse(rows)
	}
	data, ids := []any{}, []string{}
	for _, row := range rows {
		b := &bulk{}
		if err := json.Unmarshal(row.Value, b); err != nil {
			return nil, err
		}
		data, ids = append(data, b.view()), append(ids, b.ID)
	}
	pages := map[string]string{}
	if len(ids) > 0 {
		if more || back != "" {
			pages["next"] = ids[len(ids)-1]
		}
		if back == "" && q.Get("page[after]") != "" || back != "" && more {
			pages["previous"] = ids[0]
		}
	}
	return map[string]any{"data": data, "pagination": pages}, nil
}

// abortBulk is POST /api/v1/bulk-actions/{bulk}/abort.
func (env *environment) abortBulk(r *http.Request) (any, error) {
	b, err := env.changeBulk(r.Context(), r.PathValue("bulk"), func(b *bulk) {
		if b.Status == bulkPending {
			b.Status, b.EndedAt = bulkAborted, env.cfg.Now().UnixMilli()
		}
	})
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": b.ID}, nil
}

func (env *environment) changeBulk(ctx context.Context, id string, change func(*bulk)) (*bulk, error) {
	defer env.bulks.locks.Lock(id)()
	b, err := env.readBulk(ctx, id)
	if err != nil {
		return nil, err
	}
	change(b)
	return b, env.put(ctx, env.bulkRow(b))
}

// openBulks are the actions that are under way, the oldest first.
func (env *environment) openBulks(ctx context.Context) (ids []string, err error) {
	q := store.Query{Table: store.Logs, Prefix: env.bulkKey(""), Limit: 1000}
	for {
		rows, err := env.cfg.Host.Scan(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			b := &bulk{}
			if err := json.Unmarshal(row.Value, b); err != nil {
				return nil, err
			}
			if b.Status == bulkPending {
				ids = append(ids, b.ID)
			}
		}
		if len(rows) < q.Limit {
			return ids, nil
		}
		q.From = append(rows[len(rows)-1].Key, 0)
	}
}

// runBulks carries actions out, those of before a restart first, until ctx ends.
func (d *Door) runBulks(ctx context.Context) {
	for {
		var err error
		for _, env := range d.all() {
			ids, failed := env.openBulks(ctx)
			for _, id := range ids {
				if failed == nil {
					failed = env.runBulk(ctx, id)
				}
			}
			err = errors.Join(err, failed)
		}
		var again <-chan time.Time
		if err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("a bulk action stands still and is tried again", "err", err)
			again = time.After(time.Second)
		}
		select {
		case <-d.bulks.kick:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// runBulk carries one out.
func (env *environment) runBulk(ctx context.Context, id string) error {
	raw, _, err := env.cfg.Host.Get(ctx, store.Logs, env.bulkRunsKey(id))
	if err != nil {
		return err
	}
	b, err := env.readBulk(ctx, id)
	for err == nil && b.Status == bulkPending {
		success, failure := 0, 0
		todo := raw[16*b.Done : min(len(raw), 16*(b.Done+bulkBatch))]
		for run := range slices.Chunk(todo, 16) {
			ok, err := env.bulkOne(ctx, b, engine.ID(run))
			if err != nil {
				return err
			}
			if ok {
				success++
			} else {
				failure++
			}
		}
		b, err = env.changeBulk(ctx, id, func(b *bulk) {
			b.Done, b.Success, b.Failure = b.Done+len(todo)/16, b.Success+success, b.Failure+failure
			if b.Status == bulkPending && b.Done >= b.Total {
				b.Status, b.EndedAt = bulkCompleted, env.cfg.Now().UnixMilli()
			}
		})
	}
	return err
}

// bulkOne does what an action does to one run; false when that cannot be done.
func (env *environment) bulkOne(ctx context.Context, b *bulk, id engine.ID) (bool, error) {
	if b.Action == "cancel" {
		return env.cancel(ctx, id, "Cancelled by a bulk action")
	}
	rec, err := env.read(ctx, id)
	if err != nil || rec == nil {
		return false, err
	}
	sum := sha256.Sum256([]byte(b.ID + id.String()))
	var again engine.ID
	_ = again.SetTime(uint64(b.CreatedAt)) // it is a time
	copy(again[6:], sum[:10])
	if known, err := env.read(ctx, again); err != nil || known != nil {
		return known != nil, err
	}
	_, err = env.replay(&http.Request{Header: http.Header{}}, rec, nil, func(o *order) { o.id = again })
	var in *inputError
	if errors.As(err, &in) {
		return false, nil
	}
	if err != nil {
		err = fmt.Errorf("replay run %s: %w", id, err)
	}
	return err == nil, err
}
