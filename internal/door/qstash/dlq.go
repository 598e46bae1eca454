package qstash

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// deadLetter is a message that used up its attempts: table Dead, keyed by environment, time and run.
type deadLetter struct {
	At     int64       `json:"at"`
	Run    engine.ID   `json:"run"`
	Status int         `json:"status"` // 0: no answer
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"` // the answer, or why there was none

	// Of a workflow run: section 31.
	Workflow   bool      `json:"workflow,omitempty"`
	Step       string    `json:"step,omitempty"` // whose delivery failed
	Retried    int       `json:"retried,omitempty"`
	MaxRetries int       `json:"maxRetries,omitempty"`
	Callback   engine.ID `json:"callback,omitzero"` // run of the message that tells of it
}

func (l *deadLetter) id() string { return strconv.FormatInt(l.At, 10) + "-" + l.Run.String() }

// deadKey is the key of a dead letter's row; ok is false for what is no id.
func (d *Door) deadKey(id string) (key []byte, ok bool) {
	ms, run, found := strings.Cut(id, "-")
	at, err := strconv.ParseUint(ms, 10, 48)
	u, err2 := ulid.ParseStrict(run)
	if !found || err != nil || err2 != nil {
		return nil, false
	}
	var stamp ulid.ULID
	_ = stamp.SetTime(at) // 48 bits by ParseUint
	return append(append(engine.EnvPrefix(d.cfg.Env), stamp[:6]...), u[:]...), true
}

// deadRow is the row of a dead letter.
func (d *Door) deadRow(l *deadLetter) engine.RowPut {
	key, _ := d.deadKey(l.id()) // made of its own parts
	row := engine.RowPut{Table: store.Dead, Key: key, Value: mustJSON(l)}
	row.Tags[0] = string(l.Run[:])
	if d.cfg.Keep > 0 {
		row.Expires = l.At + 4*d.cfg.Keep.Milliseconds() // what failed is kept longer than what did not
	}
	return row
}

// deadView is section 10.1.
type deadView struct {
	messageView
	DLQID      string      `json:"dlqId"`
	Status     int         `json:"responseStatus"`
	RespHeader http.Header `json:"responseHeader,omitempty"`
	RespBody   string      `json:"responseBody,omitempty"`
	RespBase64 string      `json:"responseBodyBase64,omitempty"`
}

func (l *deadLetter) view(m *message) deadView {
	v := deadView{messageView: m.view(l.Run), DLQID: l.id(), Status: l.Status, RespHeader: l.Header}
	if utf8.Valid(l.Body) {
		v.RespBody = string(l.Body)
	} else {
		v.RespBase64 = base64.StdEncoding.EncodeToString(l.Body)
	}
	return v
}

// serveDLQ is everything below /v2/dlq.
func (d *Door) serveDLQ(w http.ResponseWriter, r *http.Request, rest string) error {
	id, err := url.PathUnescape(strings.Trim(rest, "/"))
	if err != nil {
		return badRequest("%v", err)
	}
	verb, one, _ := strings.Cut(id, "/")
	switch {
	case id == "" && r.Method == http.MethodGet:
		return d.listDead(w, r)
	case id == "" && r.Method == http.MethodDelete:
		return d.deleteManyDead(w, r)
	case verb == "retry" && r.Method == http.MethodPost && one == "":
		return d.retryMany(w, r)
	case verb == "retry" && r.Method == http.MethodPost:
		return d.retryOne(w, r, one)
	case id != "" && r.Method == http.MethodGet:
		l, m, err := d.dead(r.Context(), id)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, l.view(m))
	case id != "" && r.Method == http.MethodDelete:
		if _, _, err := d.dead(r.Context(), id); err != nil {
			return err
		}
		if err := d.deleteDead(r.Context(), id); err != nil {
			return err
		}
		return done(w)
	}
	return wrongMethod(r)
}

// deadLetter reads a dead letter, or says that there is none.
func (d *Door) deadLetter(ctx context.Context, id string) (*deadLetter, error) {
	key, ok := d.deadKey(id)
	if !ok {
		return nil, notFound("DLQ message", id)
	}
	raw, ok, err := d.cfg.Host.Get(ctx, store.Dead, key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, notFound("DLQ message", id)
	}
	l := &deadLetter{}
	return l, json.Unmarshal(raw, l)
}

// dead reads a dead letter and its message, or says that there is none.
func (d *Door) dead(ctx context.Context, id string) (*deadLetter, *message, error) {
	l, err := d.deadLetter(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	m, err := d.load(ctx, l.Run)
	if err == nil && m == nil {
		err = notFound("DLQ message", id)
	}
	return l, m, err
}

// scanDead gives every message's dead letter that a filter selects to fn until fn returns false.
func (d *Door) scanDead(ctx context.Context, f *filter, cursor string, oldest bool, fn func(*deadLetter, *message) bool) error {
	if len(f.dlqIDs) > 0 {
		for _, id := range f.dlqIDs {
			l, m, err := d.dead(ctx, id)
			var in *inputError
			if errors.As(err, &in) && in.status == http.StatusNotFound {
				continue
			}
			if err != nil {
				return err
			}
			if !fn(l, m) {
				return nil
			}
		}
		return nil
	}
	return d.scanDeadRows(ctx, cursor, oldest, func(l *deadLetter) (bool, error) {
		if !f.within(l.At) || len(f.statuses) > 0 && !slices.Contains(f.statuses, l.Status) {
			return true, nil
		}
		m, err := d.load(ctx, l.Run)
		return err == nil && (m == nil || !f.matches(l.Run, m) || fn(l, m)), err
	})
}

// scanDeadRows gives every dead letter to fn until that returns false.
func (d *Door) scanDeadRows(ctx context.Context, cursor string, oldest bool, fn func(*deadLetter) (bool, error)) error {
	q := store.Query{Table: store.Dead, Prefix: engine.EnvPrefix(d.cfg.Env), Desc: !oldest, Limit: 200}
	if cursor != "" {
		key, ok := d.deadKey(cursor)
		if !ok {
			return badRequest("invalid cursor %q", cursor)
		}
		if oldest {
			q.From = append(key, 0)
		} else {
			q.To = key
		}
	}
	for seen := 0; seen < maxScanned; {
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return err
		}
		for _, row := range rows {
			seen++
			l := &deadLetter{}
			if err := json.Unmarshal(row.Value, l); err != nil {
				return err
			}
			if oldest {
				q.From = append(slices.Clone(row.Key), 0)
			} else {
				q.To = row.Key
			}
			if more, err := fn(l); err != nil || !more {
				return err
			}
		}
		if len(rows) < q.Limit {
			return nil
		}
	}
	return nil
}

// listDead is GET /v2/dlq.
func (d *Door) listDead(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if q.Get("source") == "workflow" {
		return d.listRunDead(w, r)
	}
	f, err := parseFilter(q, dlqFilters)
	if err != nil {
		return err
	}
	show, err := pageOf(q, 100, 100)
	if err != nil {
		return err
	}
	list := []deadView{}
	more := false
	err = d.scanDead(r.Context(), f, q.Get("cursor"), q.Get("order") == "earliestFirst", func(l *deadLetter, m *message) bool {
		if more = len(list) == show.count; more {
			return false
		}
		l.Body = cut(l.Body, show.trim)
		list = append(list, l.view(m.cut(show.trim)))
		return true
	})
	if err != nil {
		return err
	}
	if more {
		return writeJSON(w, http.StatusOK, map[string]any{"messages": list, "cursor": list[len(list)-1].DLQID})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"messages": list})
}

// selectDead reads the dead letters that a bulk operation is about, and whether there are more.
func (d *Door) selectDead(w http.ResponseWriter, r *http.Request) (ids []string, runs []*message, cursor string, err error) {
	q, err := d.bulkQuery(w, r)
	if err != nil {
		return nil, nil, "", err
	}
	f, err := parseFilter(q, dlqFilters)
	if err != nil {
		return nil, nil, "", err
	}
	count, err := countOf(q, 100, 100)
	if err != nil {
		return nil, nil, "", err
	}
	if len(f.dlqIDs) > 0 {
		count = len(f.dlqIDs)
	}
	more := false
	err = d.scanDead(r.Context(), f, q.Get("cursor"), false, func(l *deadLetter, m *message) bool {
		if more = len(ids) == count; more {
			return false
		}
		ids, runs = append(ids, l.id()), append(runs, m)
		return true
	})
	if more && len(ids) > 0 {
		cursor = ids[len(ids)-1]
	}
	return ids, runs, cursor, err
}

// deleteDead deletes dead letters, which are there or were a moment ago.
func (d *Door) deleteDead(ctx context.Context, ids ...string) error {
	put := &engine.Put{}
	for _, id := range ids {
		key, _ := d.deadKey(id)
		put.Rows = append(put.Rows, engine.RowPut{Table: store.Dead, Key: key})
	}
	_, err := d.cfg.Host.Submit(ctx, put)
	return err
}

// deleteManyDead is DELETE /v2/dlq.
func (d *Door) deleteManyDead(w http.ResponseWriter, r *http.Request) error {
	ids, _, cursor, err := d.selectDead(w, r)
	if err != nil {
		return err
	}
	if err := d.deleteDead(r.Context(), ids...); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, withCursor(map[string]any{"deleted": len(ids)}, cursor))
}

// retry makes a new message of a dead letter, which is gone from then on. Headers of the request change the message's configuration.
func (d *Door) retry(ctx context.Context, r *http.Request, id string, m *message) (published, error) {
	key, _ := d.deadKey(id)
	o := &outgoing{
		dest: m.URL, config: m.config, body: m.Body, callerIP: m.CallerIP, schedule: m.ScheduleID, topic: m.Topic, endpoint: m.Endpoint,
		key:     "retry:" + id, // of two who retry it at once, one does
		retried: []engine.RowPut{{Table: store.Dead, Key: key}},
	}
	o.config.Delay, o.config.NotBefore, o.config.DeduplicationID, o.config.ContentBased = 0, 0, "", false
	if err := o.config.override(r.Header); err != nil {
		return published{}, err
	}
	p, err := d.prepareMessages(ctx, o)
	if err != nil {
		return published{}, err
	}
	if err := d.startAll(ctx, p); err != nil {
		return published{}, err
	}
	res, err := p.result()
	if err != nil {
		return published{}, err
	}
	return published{MessageID: res.list[0].MessageID}, nil
}

// retryOne is POST /v2/dlq/retry/{id}.
func (d *Door) retryOne(w http.ResponseWriter, r *http.Request, id string) error {
	_, m, err := d.dead(r.Context(), id)
	if err != nil {
		return err
	}
	p, err := d.retry(r.Context(), r, id, m)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, p)
}

// retryMany is POST /v2/dlq/retry.
func (d *Door) retryMany(w http.ResponseWriter, r *http.Request) error {
	ids, messages, cursor, err := d.selectDead(w, r)
	if err != nil {
		return err
	}
	list := []published{}
	for i, id := range ids {
		p, err := d.retry(r.Context(), r, id, messages[i])
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	return writeJSON(w, http.StatusCreated, withCursor(map[string]any{"responses": list}, cursor))
}

// override takes over what a request says and leaves the rest: section 10.5.
func (c *config) override(h http.Header) error {
	given, err := parseConfig(h, nil)
	if err != nil {
		return err
	}
	has := func(name string) bool { return h.Get(name) != "" }
	if has("Upstash-Retries") {
		c.Retries = given.Retries
	}
	if has("Upstash-Delay") || has("Upstash-Not-Before") {
		c.Delay, c.NotBefore = given.Delay, given.NotBefore
	}
	if has("Upstash-Retry-Delay") {
		c.RetryDelay = given.RetryDelay
	}
	if has("Upstash-Flow-Control-Key") {
		c.Flow = given.Flow
	}
	if has("Upstash-Label") {
		c.Labels = given.Labels
	}
	if has("Upstash-Timeout") {
		c.Timeout = given.Timeout
	}
	if has("Upstash-Callback") {
		c.CallbackURL, c.CallbackHeader = given.CallbackURL, given.CallbackHeader
	}
	if has("Upstash-Failure-Callback") {
		c.FailureURL, c.FailureHeader = given.FailureURL, given.FailureHeader
	}
	return nil
}
