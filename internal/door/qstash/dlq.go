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

// deadRow is the row of the dead letter that an attempt ends as.
func (d *Door) deadRow(a *attempt) engine.RowPut {
	l := deadLetter{At: a.at.UnixMilli(), Run: a.call.Run, Status: a.status, Header: a.header, Body: a.answer()}
	key, _ := d.deadKey(l.id()) // made of its own parts
	row := engine.RowPut{Table: store.Dead, Key: key, Value: mustJSON(l)}
	row.Tags[0] = string(a.call.Run[:])
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
		key, _ := d.deadKey(id)
		if _, err := d.cfg.Host.Submit(r.Context(), &engine.Put{Rows: []engine.RowPut{{Table: store.Dead, Key: key}}}); err != nil {
			return err
		}
		return done(w)
	}
	return wrongMethod(r)
}

// dead reads a dead letter and its message, or says that there is none.
func (d *Door) dead(ctx context.Context, id string) (*deadLetter, *message, error) {
	key, ok := d.deadKey(id)
	if !ok {
		return nil, nil, notFound("DLQ message", id)
	}
	raw, ok, err := d.cfg.Host.Get(ctx, store.Dead, key)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, notFound("DLQ message", id)
	}
	l := &deadLetter{}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, nil, err
	}
	m, err := d.load(ctx, l.Run)
	if err == nil && m == nil {
		err = notFound("DLQ message", id)
	}
	return l, m, err
}

// scanDead gives every dead letter that a filter selects to fn until fn returns false; next is where the next page begins, "" at the end.
func (d *Door) scanDead(ctx context.Context, f *filter, cursor string, oldest bool, fn func(*deadLetter, *message) bool) (next string, err error) {
	if len(f.dlqIDs) > 0 {
		for _, id := range f.dlqIDs {
			l, m, err := d.dead(ctx, id)
			var in *inputError
			if errors.As(err, &in) && in.status == http.StatusNotFound {
				continue
			}
			if err != nil {
				return "", err
			}
			if !fn(l, m) {
				return "", nil
			}
		}
		return "", nil
	}
	q := store.Query{Table: store.Dead, Prefix: engine.EnvPrefix(d.cfg.Env), Desc: !oldest, Limit: 200}
	if cursor != "" {
		key, ok := d.deadKey(cursor)
		if !ok {
			return "", badRequest("invalid cursor %q", cursor)
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
			return "", err
		}
		for _, row := range rows {
			seen++
			l := &deadLetter{}
			if err := json.Unmarshal(row.Value, l); err != nil {
				return "", err
			}
			if oldest {
				q.From = append(slices.Clone(row.Key), 0)
			} else {
				q.To = row.Key
			}
			if !f.within(l.At) || len(f.statuses) > 0 && !slices.Contains(f.statuses, l.Status) {
				continue
			}
			m, err := d.load(ctx, l.Run)
			if err != nil {
				return "", err
			}
			if m != nil && f.matches(l.Run, m) && !fn(l, m) {
				return l.id(), nil
			}
		}
		if len(rows) < q.Limit {
			return "", nil
		}
	}
	return "", nil
}

// listDead is GET /v2/dlq.
func (d *Door) listDead(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := parseFilter(q, dlqFilters)
	if err != nil {
		return err
	}
	count, err := countOf(q, 100, 100)
	if err != nil {
		return err
	}
	trim, err := trimOf(q)
	if err != nil {
		return err
	}
	list := []deadView{}
	if q.Get("source") != "workflow" { // there are no workflow runs yet
		more := false
		next, err := d.scanDead(r.Context(), f, q.Get("cursor"), q.Get("order") == "earliestFirst", func(l *deadLetter, m *message) bool {
			if more = len(list) == count; more {
				return false
			}
			l.Body = cut(l.Body, trim)
			list = append(list, l.view(m.cut(trim)))
			return true
		})
		if err != nil {
			return err
		}
		if more && next != "" && len(list) > 0 {
			return writeJSON(w, http.StatusOK, map[string]any{"messages": list, "cursor": list[len(list)-1].DLQID})
		}
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
	_, err = d.scanDead(r.Context(), f, q.Get("cursor"), false, func(l *deadLetter, m *message) bool {
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

// deleteManyDead is DELETE /v2/dlq.
func (d *Door) deleteManyDead(w http.ResponseWriter, r *http.Request) error {
	ids, _, cursor, err := d.selectDead(w, r)
	if err != nil {
		return err
	}
	put := &engine.Put{}
	for _, id := range ids {
		key, _ := d.deadKey(id)
		put.Rows = append(put.Rows, engine.RowPut{Table: store.Dead, Key: key})
	}
	if _, err := d.cfg.Host.Submit(r.Context(), put); err != nil {
		return err
	}
	out := map[string]any{"deleted": len(ids)}
	if cursor != "" {
		out["cursor"] = cursor
	}
	return writeJSON(w, http.StatusOK, out)
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
	out := map[string]any{"responses": list}
	if cursor != "" {
		out["cursor"] = cursor
	}
	return writeJSON(w, http.StatusCreated, out)
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
