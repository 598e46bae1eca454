package trigger

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
)

// Section 14: who subscribes to runs asks for their rows again and again, and is answered when they have changed. The offset that a client
// brings says what it has seen. All who follow the same share one list of rows: see realtime_list.go.

const (
	livePoll = 20 * time.Second
	maxShape = 1000 // runs of one subscription
	shapeAge = 24 * time.Hour
)

func (d *Door) realtimeRoutes() {
	d.serve("GET /realtime/v1/runs/{run}", public, func(env *environment, w http.ResponseWriter, r *http.Request) {
		id, _ := parseID(runPrefix, r.PathValue("run")) // what is no id is nobody's
		env.serveShape(w, r, followed{run: id}, func(r *http.Request, rows []*listedRun) error {
			if len(rows) == 0 {
				return nil // it may come
			}
			return permitAction(r, "read", rows[0].id, rows[0].task, rows[0].batch, rows[0].tags)
		})
	})
	d.serve("GET /realtime/v1/runs", public, func(env *environment, w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		tags := strings.Split(q.Get("tags"), ",")
		age := shapeAge
		if span, ok := parseDuration(q.Get("createdAt")); ok {
			age = min(span, shapeAge)
		}
		env.serveShape(w, r, followed{tags: q.Get("tags"), age: age}, func(r *http.Request, _ []*listedRun) error {
			scopes := []string{"read:runs", "read:tags"}
			for _, t := range tags {
				scopes = append(scopes, "read:tags:"+t)
			}
			return permit(r, scopes...)
		})
	})
	d.serve("GET /realtime/v1/batches/{batch}", public, func(env *environment, w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("batch")
		env.serveShape(w, r, followed{batch: id}, func(r *http.Request, _ []*listedRun) error {
			return permit(r, "read:batch:"+id, "read:batch")
		})
	})
}

// serveShape answers one request of a subscription.
func (env *environment) serveShape(w http.ResponseWriter, r *http.Request, what followed, allowed func(*http.Request, []*listedRun) error) {
	if what.run == (engine.ID{}) { // that of one run depends on the run
		if err := allowed(r, nil); err != nil {
			env.writeError(w, r, err)
			return
		}
	}
	l, leave, err := env.lists.join(env, what)
	if err != nil {
		env.writeError(w, r, err)
		return
	}
	defer leave()
	q := r.URL.Query()
	seen := int64(-1) // of another list, or of this one before the server was started
	if epoch, version, ok := strings.Cut(q.Get("offset"), "_"); ok && epoch == strconv.FormatInt(l.epoch, 10) {
		if n, err := strconv.ParseInt(version, 10, 64); err == nil {
			seen = n
		}
	}
	live := q.Get("live") == "true"
	end := time.NewTimer(livePoll)
	defer end.Stop()
	for over := false; ; {
		view, err := l.current(r.Context(), env)
		if err == nil {
			err = allowed(r, view.rows)
		}
		if err != nil {
			env.writeError(w, r, err)
			return
		}
		if !live || view.version > seen || over {
			env.writeShape(w, r, l, view, seen, live)
			return
		}
		select {
		case <-view.changed:
		case <-end.C:
			over = true
			env.lists.again(l)
		case <-env.sockets.closed:
			over = true
		case <-r.Context().Done():
			return
		}
	}
}

// writeShape answers with the rows of a list; a client that follows it gets those that changed since it asked last.
func (env *environment) writeShape(w http.ResponseWriter, r *http.Request, l *runList, view listView, seen int64, live bool) {
	op := "update"
	if !live {
		op, seen = "insert", -1
	}
	skip := slices.DeleteFunc(strings.Split(r.URL.Query().Get("skipColumns"), ","), func(c string) bool { return c == "" || slices.Contains(keptColumns, c) })
	messages := []any{}
	for _, row := range view.rows {
		if row.version <= seen {
			continue
		}
		value, err := row.value(r.Context(), env, skip, oldAPI(r))
		if err != nil {
			env.writeError(w, r, err)
			return
		}
		if value != nil {
			messages = append(messages, map[string]any{"key": `"public"."TaskRun"/"` + internalID(row.id) + `"`, "value": value, "headers": map[string]string{"operation": op}})
		}
	}
	h := w.Header()
	h.Set("Electric-Handle", "runs")
	h.Set("Electric-Offset", strconv.FormatInt(l.epoch, 10)+"_"+strconv.FormatInt(view.version, 10))
	h.Set("Cache-Control", "no-store")
	if live {
		h.Set("Electric-Cursor", strconv.FormatInt(view.version, 10))
	} else {
		h.Set("Electric-Schema", shapeSchema)
	}
	writeJSON(w, http.StatusOK, append(messages, map[string]any{"headers": map[string]string{"control": "up-to-date"}}))
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

// row is a run as subscribers have it: text, or null.
func (x *execution) row() map[string]*string {
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
