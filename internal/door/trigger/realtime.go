package trigger

import (
	"context"
	"errors"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 14: who subscribes to runs asks for their rows again and again, and is answered when they have changed. The offset that a client
// brings says what it has seen, so nothing is remembered between its requests.

const (
	livePoll     = 20 * time.Second
	maxShape     = 1000 // runs of one subscription
	shapeAge     = 24 * time.Hour
	listInterval = 200 * time.Millisecond // between looks at a list that changes all the time
)

func (d *Door) realtimeRoutes() {
	d.mux.HandleFunc("GET /realtime/v1/runs/{run}", func(w http.ResponseWriter, r *http.Request) {
		d.serveShape(w, r, r.PathValue("run"), func(r *http.Request) ([]*execution, error) {
			x, err := d.look(r.Context(), r.PathValue("run"))
			if err != nil {
				var in *inputError
				if errors.As(err, &in) {
					return nil, nil // it may come
				}
				return nil, err
			}
			return []*execution{x}, permitRun(r, x.rec, "read")
		})
	})
	d.mux.HandleFunc("GET /realtime/v1/runs", func(w http.ResponseWriter, r *http.Request) {
		tags := strings.Split(r.URL.Query().Get("tags"), ",")
		d.serveShape(w, r, "", func(r *http.Request) ([]*execution, error) {
			scopes := []string{"read:runs", "read:tags"}
			for _, t := range tags {
				scopes = append(scopes, "read:tags:"+t)
			}
			if err := permit(r, scopes...); err != nil {
				return nil, err
			}
			return d.tagged(r, tags)
		})
	})
	d.mux.HandleFunc("GET /realtime/v1/batches/{batch}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("batch")
		d.serveShape(w, r, "", func(r *http.Request) ([]*execution, error) {
			if err := permit(r, "read:batch:"+id, "read:batch"); err != nil {
				return nil, err
			}
			b, err := d.readBatch(r.Context(), id)
			if err != nil || b == nil {
				return nil, err
			}
			var list []*execution
			for _, run := range b.runs() {
				if x, err := d.look(r.Context(), friendly(runPrefix, run)); err == nil {
					list = append(list, x)
				}
			}
			return list, nil
		})
	})
}

// tagged are the runs that have all of some tags.
func (d *Door) tagged(r *http.Request, tags []string) ([]*execution, error) {
	since := shapeAge
	if span, ok := parseDuration(r.URL.Query().Get("createdAt")); ok {
		since = min(span, shapeAge)
	}
	f := &runFilter{tags: tags[:min(1, len(tags))], from: d.cfg.Now().Add(-since).UnixMilli()}
	var from engine.ID
	_ = from.SetTime(uint64(max(0, f.from))) // it is a time
	found, _, err := d.findRuns(r, f, store.Query{Table: store.Runs, Desc: true, Limit: 200, From: from.Bytes()}, maxShape)
	return slices.DeleteFunc(found, func(x *execution) bool {
		return slices.ContainsFunc(tags, func(t string) bool { return t != "" && !slices.Contains(x.rec.note.Tags, t) })
	}), err
}

// serveShape answers one request of a subscription. run names the only run that it is about, "" for a list.
func (d *Door) serveShape(w http.ResponseWriter, r *http.Request, run string, rows func(*http.Request) ([]*execution, error)) {
	caller, err := d.authenticate(r)
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
	q := r.URL.Query()
	_, seen, _ := strings.Cut(q.Get("offset"), "_")
	live := q.Get("live") == "true"
	end := time.NewTimer(livePoll)
	defer end.Stop()
	for over := false; ; {
		changed, forget := d.watchers.watch(run)
		list, err := rows(r)
		if err != nil {
			forget()
			d.writeError(w, r, err)
			return
		}
		messages, sum := shapeOf(list, strings.Split(q.Get("skipColumns"), ","), live, oldAPI(r))
		if !live || sum != seen || over {
			forget()
			if live && sum == seen {
				messages = messages[len(messages)-1:]
			}
			d.writeShape(w, messages, sum, live)
			return
		}
		select {
		case <-changed:
		case <-end.C:
			over = true
		case <-d.sockets.closed:
			over = true
		case <-r.Context().Done():
			forget()
			return
		}
		forget()
		if run == "" && !over {
			select { // a list is looked at as a whole
			case <-time.After(listInterval):
			case <-r.Context().Done():
				return
			}
		}
	}
}

func (d *Door) writeShape(w http.ResponseWriter, messages []any, sum string, live bool) {
	h := w.Header()
	h.Set("Electric-Handle", "runs")
	h.Set("Electric-Offset", strconv.FormatInt(d.cfg.Now().UnixMilli(), 10)+"_"+sum)
	h.Set("Cache-Control", "no-store")
	if live {
		h.Set("Electric-Cursor", sum)
	} else {
		h.Set("Electric-Schema", shapeSchema)
	}
	writeJSON(w, http.StatusOK, messages)
}

// shapeTypes are the columns that are no text: section 14.5.
var shapeTypes = map[string]string{
	"createdAt": "timestamp", "updatedAt": "timestamp", "startedAt": "timestamp", "delayUntil": "timestamp", "queuedAt": "timestamp", "expiredAt": "timestamp",
	"completedAt": "timestamp", "number": "int4", "usageDurationMs": "int4", "costInCents": "float8", "baseCostInCents": "float8", "isTest": "bool", "error": "jsonb",
}

var shapeSchema = func() string {
	schema := map[string]any{}
	for _, c := range []string{"id", "friendlyId", "taskIdentifier", "status", "ttl", "idempotencyKey", "payload", "payloadType", "metadata", "metadataType", "output", "outputType"} {
		schema[c] = map[string]string{"type": "text"}
	}
	for c, t := range shapeTypes {
		schema[c] = map[string]string{"type": t}
	}
	for _, c := range []string{"runTags", "realtimeStreams"} {
		schema[c] = map[string]any{"type": "text", "dims": 1}
	}
	return string(mustJSON(schema))
}()

// keptColumns cannot be left out.
var keptColumns = []string{"id", "taskIdentifier", "friendlyId", "status", "createdAt"}

// shapeOf are the rows of runs as messages, and a number that changes with them.
func shapeOf(list []*execution, skip []string, live, old bool) (messages []any, sum string) {
	h := fnv.New32a()
	for _, x := range list {
		row := x.row(old)
		for _, c := range skip {
			if !slices.Contains(keptColumns, c) {
				delete(row, c)
			}
		}
		op := "insert"
		if live {
			op = "update"
		}
		h.Write(mustJSON(row)) // a hash does not fail
		messages = append(messages, map[string]any{"key": `"public"."TaskRun"/"` + *row["id"] + `"`, "value": row, "headers": map[string]string{"operation": op}})
	}
	return append(messages, map[string]any{"headers": map[string]string{"control": "up-to-date"}}), strconv.FormatUint(uint64(h.Sum32()), 10)
}

// row is a run as subscribers have it: text, or null.
func (x *execution) row(old bool) map[string]*string {
	rec := x.rec
	row := map[string]*string{}
	set := func(name, value string) { row[name] = &value }
	maybe := func(name, value string) {
		if row[name] = nil; value != "" {
			row[name] = &value
		}
	}
	at := func(name string, ms int64) {
		if row[name] = nil; ms > 0 {
			set(name, strings.TrimSuffix(iso(ms), "Z")) // the client puts it back
		}
	}
	set("id", internalID(rec.ID))
	set("friendlyId", friendly(runPrefix, rec.ID))
	set("taskIdentifier", rec.opts.Task)
	set("status", x.status)
	if old {
		set("status", oldStatus(x.status))
	}
	at("createdAt", rec.QueuedAt)
	at("updatedAt", max(rec.note.UpdatedAt, rec.Started, rec.Ended, rec.QueuedAt))
	at("startedAt", rec.Started)
	at("delayUntil", rec.StartAt)
	at("queuedAt", max(rec.QueuedAt, rec.StartAt))
	at("completedAt", rec.Ended)
	row["expiredAt"], row["error"] = nil, nil
	if x.status == statusExpired {
		at("expiredAt", rec.Ended)
	}
	if e := rec.failure(); e != nil {
		set("error", string(mustJSON(e)))
	}
	maybe("ttl", rec.opts.TTL)
	maybe("idempotencyKey", rec.opts.UserKey)
	payload, _ := rec.payload.text() // none is null
	maybe("payload", payload)
	set("payloadType", rec.payload.Type)
	maybe("metadata", string(rec.note.Metadata))
	set("metadataType", typeJSON)
	row["output"] = nil
	set("outputType", typeJSON)
	if rec.Status == engine.Completed {
		if text, typ, ok := rec.output(); ok {
			set("output", text)
			set("outputType", typ)
		}
	}
	set("number", "1")
	set("usageDurationMs", strconv.FormatInt(int64(rec.note.DurationMs), 10))
	set("costInCents", "0")
	set("baseCostInCents", "0")
	set("isTest", strconv.FormatBool(rec.opts.Test)[:1])
	row["runTags"] = nil
	if len(rec.note.Tags) > 0 {
		set("runTags", pgArray(rec.note.Tags))
	}
	set("realtimeStreams", pgArray(rec.note.Streams))
	return row
}

// pgArray is a list as PostgreSQL writes it.
func pgArray(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}

// watchers are the requests that wait for a run to change, by its id, or for more of a stream; those for lists stand under "".
type watchers struct {
	mu sync.Mutex
	of map[string]map[chan struct{}]bool
}

// watch begins to watch; the channel gets something when there was a change.
func (ws *watchers) watch(run string) (changed <-chan struct{}, forget func()) {
	c := make(chan struct{}, 1)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of == nil {
		ws.of = map[string]map[chan struct{}]bool{}
	}
	if ws.of[run] == nil {
		ws.of[run] = map[chan struct{}]bool{}
	}
	ws.of[run][c] = true
	return c, func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if delete(ws.of[run], c); len(ws.of[run]) == 0 {
			delete(ws.of, run)
		}
	}
}

// Changed tells subscribers of records that became durable. It does not block.
func (d *Door) Changed(records []store.Record) {
	ws := &d.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.of) == 0 {
		return
	}
	any := false
	for i := range records {
		switch r := &records[i]; r.Table {
		case store.Runs, store.Live, store.Steps:
			if len(r.Key) >= 16 {
				any = true
				ws.tell(friendly(runPrefix, engine.ID(r.Key[:16])))
			}
		case store.Streams:
			if len(r.Key) >= streamKeyLen {
				ws.tell(streamWatch(r.Key))
			}
		}
	}
	if any {
		ws.tell("")
	}
}

// tell wakes those who watch a name. The lock is held.
func (ws *watchers) tell(name string) {
	for c := range ws.of[name] { // each hears of it
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// wake tells those who watch a name to look again.
func (ws *watchers) wake(name string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.tell(name)
}
