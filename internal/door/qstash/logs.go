package qstash

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// States of log entries: section 7.4.
const (
	stateCreated         = "CREATED"
	stateActive          = "ACTIVE"
	stateRetry           = "RETRY"
	stateError           = "ERROR"
	stateDelivered       = "DELIVERED"
	stateFailed          = "FAILED"
	stateCancelRequested = "CANCEL_REQUESTED"
	stateCancelled       = "CANCELED"
)

// logEntry is what happened to a message at one moment: table Logs, keyed by environment and the ULID of the moment. What the message
// is stands in its event, once.
type logEntry struct {
	Time         int64       `json:"-"` // of the key
	Run          engine.ID   `json:"run"`
	State        string      `json:"state"`
	Error        string      `json:"error,omitempty"`
	NextDelivery int64       `json:"next,omitempty"`
	Status       int         `json:"status,omitempty"`
	Header       http.Header `json:"header,omitempty"`
	Body         []byte      `json:"body,omitempty"`
}

// logRows are the rows of entries that are written together with what they tell.
func (d *Door) logRows(run engine.ID, entries ...logEntry) []engine.RowPut {
	rows := make([]engine.RowPut, 0, len(entries)+2)
	for _, e := range entries {
		rows = append(rows, d.logRow(run, e))
	}
	return rows
}

func (d *Door) logRow(run engine.ID, e logEntry) engine.RowPut {
	e.Time, e.Run = d.cfg.Now().UnixMilli(), run
	id := d.cfg.NewID(e.Time)
	row := engine.RowPut{Table: store.Logs, Key: append(engine.EnvPrefix(d.cfg.Env), id[:]...), Value: mustJSON(e)}
	row.Tags[0] = string(run[:])
	row.Tags[1] = e.State
	if d.cfg.Keep > 0 {
		row.Expires = e.Time + d.cfg.Keep.Milliseconds()
	}
	return row
}

// stampedLogRow is a row for a moment that is yet to come: the key says when it was.
func (d *Door) stampedLogRow(run engine.ID, e logEntry) engine.RowPut {
	row := d.logRow(run, e)
	row.Key, row.Stamp = engine.EnvPrefix(d.cfg.Env), true
	return row
}

// event is a log entry as the API shows it: section 15.2.
type event struct {
	Time          int64       `json:"time"`
	MessageID     string      `json:"messageId"`
	State         string      `json:"state"`
	Error         string      `json:"error,omitempty"`
	NextDelivery  int64       `json:"nextDeliveryTime,omitempty"`
	URL           string      `json:"url,omitempty"`
	Topic         string      `json:"topicName,omitempty"`
	Endpoint      string      `json:"endpointName,omitempty"`
	Queue         string      `json:"queueName,omitempty"`
	ScheduleID    string      `json:"scheduleId,omitempty"`
	Header        http.Header `json:"header,omitempty"`
	Body          string      `json:"body,omitempty"` // base64
	Status        int         `json:"responseStatus,omitempty"`
	RespBody      string      `json:"responseBody,omitempty"`
	RespHeader    http.Header `json:"responseHeader,omitempty"`
	RespHeaders   http.Header `json:"responseHeaders,omitempty"`
	Timeout       int64       `json:"timeout,omitempty"` // ms
	Method        string      `json:"method,omitempty"`
	Callback      string      `json:"callback,omitempty"`
	Failure       string      `json:"failureCallback,omitempty"`
	MaxRetries    *int        `json:"maxRetries,omitempty"`
	RetryDelay    string      `json:"retryDelayExpression,omitempty"`
	Label         string      `json:"label,omitempty"`
	Labels        []string    `json:"labels,omitempty"`
	FlowKey       string      `json:"flowControlKey,omitempty"`
	Parallelism   int         `json:"parallelism,omitempty"`
	Rate          int         `json:"rate,omitempty"`
	Period        int64       `json:"period,omitempty"`
	CallerIP      string      `json:"callerIP,omitempty"`
	CallbackHdr   http.Header `json:"callbackHeaders,omitempty"`
	FailureHeader http.Header `json:"failureCallbackHeaders,omitempty"`
}

func (e *logEntry) event(m *message) event {
	v := event{
		Time: e.Time, MessageID: messageID(e.Run), State: e.State, Error: e.Error, NextDelivery: e.NextDelivery, Status: e.Status, RespBody: string(e.Body),
		RespHeader: e.Header, RespHeaders: e.Header,
	}
	if m == nil {
		return v
	}
	v.URL, v.Topic, v.Endpoint, v.Queue, v.ScheduleID, v.Method, v.CallerIP = m.URL, m.Topic, m.Endpoint, m.Queue, m.ScheduleID, m.Method, m.CallerIP
	v.Header, v.Body = m.shownHeader(), m.shownBody64()
	v.Timeout, v.Callback, v.Failure, v.RetryDelay = m.Timeout*1000, m.CallbackURL, m.FailureURL, m.RetryDelay
	v.MaxRetries, v.Labels = &m.Retries, m.Labels
	v.CallbackHdr, v.FailureHeader = m.CallbackHeader, m.FailureHeader
	if len(m.Labels) > 0 {
		v.Label = m.Labels[0]
	}
	if f := m.Flow; f != nil {
		v.FlowKey, v.Parallelism, v.Rate, v.Period = f.Key, f.Parallelism, f.Rate, f.Period
	}
	return v
}

// Bounds of one list: rows that are looked at for one answer, however few of them match.
const maxScanned = 50_000

// serveLogs is GET /v2/events and GET /v2/logs.
func (d *Door) serveLogs(w http.ResponseWriter, r *http.Request, rest string) error {
	if err := allow(r, http.MethodGet); err != nil {
		return err
	}
	if strings.Trim(rest, "/") != "" {
		return notFound("endpoint", r.URL.Path)
	}
	q := r.URL.Query()
	f, err := parseFilter(q, logFilters)
	if err != nil {
		return err
	}
	show, err := pageOf(q, 100, 1000)
	if err != nil {
		return err
	}
	from, err := cursorOf(q.Get("cursor"))
	if err != nil {
		return err
	}
	events := []event{}
	next, err := d.scanLogs(r.Context(), f, from, q.Get("order") == "earliestFirst", func(e *logEntry, m *message) bool {
		e.Body = cut(e.Body, show.trim)
		events = append(events, e.event(m.cut(show.trim)))
		return len(events) < show.count
	})
	if err != nil {
		return err
	}
	out := map[string]any{"events": events, "logs": events}
	if next != nil {
		out["cursor"] = next.String()
	}
	return writeJSON(w, http.StatusOK, out)
}

// trimOf reads the parameter trimBody, how many bytes of each body a list is to show; 0: all.
func trimOf(q url.Values) (int, error) {
	if q.Get("trimBody") == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(q.Get("trimBody"))
	if err != nil {
		return 0, badRequest("trimBody: %q is no number", q.Get("trimBody"))
	}
	return max(n, 0), nil
}

// cut is the beginning of a body. What was text stays text: a character is not cut through.
func cut(b []byte, n int) []byte {
	if n <= 0 || len(b) <= n {
		return b
	}
	short := b[:n]
	for i := 1; i < utf8.UTFMax && i <= n; i++ {
		if c := short[n-i:]; utf8.RuneStart(c[0]) {
			if !utf8.FullRune(c) {
				short = short[:n-i]
			}
			break
		}
	}
	return short
}

// cut is the message with the beginning of its body. A body that is not shown is left whole, since what is shown instead is made of it.
func (m *message) cut(n int) *message {
	if m == nil || m.Redact.Body || n <= 0 || len(m.Body) <= n {
		return m
	}
	short := *m
	short.Body = cut(m.Body, n)
	return &short
}

// cursorOf reads a cursor: the row after which a list goes on. Empty is the beginning.
func cursorOf(s string) (*engine.ID, error) {
	if s == "" {
		return nil, nil
	}
	id, err := ulid.ParseStrict(s)
	if err != nil {
		return nil, badRequest("invalid cursor %q", s)
	}
	return &id, nil
}

// scanLogs gives every entry that a filter selects to fn, newest first unless asked otherwise, until fn returns false. The returned id
// is where the next page begins, nil at the end.
func (d *Door) scanLogs(ctx context.Context, f *filter, from *engine.ID, oldest bool, fn func(*logEntry, *message) bool) (*engine.ID, error) {
	prefix := engine.EnvPrefix(d.cfg.Env)
	q := store.Query{Table: store.Logs, Prefix: prefix, Desc: !oldest, Limit: 500}
	if runs := f.runs(); len(runs) == 1 {
		q.Tags[0] = string(runs[0][:])
	} else if len(f.states) == 1 {
		q.Tags[1] = f.states[0]
	}
	messages := map[engine.ID]*message{}
	for seen := 0; seen < maxScanned; {
		if from != nil {
			if oldest {
				q.From = append(append(engine.EnvPrefix(d.cfg.Env), from[:]...), 0)
			} else {
				q.To = append(engine.EnvPrefix(d.cfg.Env), from[:]...)
			}
		}
		rows, err := d.cfg.Host.Scan(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			seen++
			id := engine.ID(row.Key[len(prefix):])
			from = &id
			e := &logEntry{}
			if err := json.Unmarshal(row.Value, e); err != nil {
				return nil, err
			}
			e.Time = int64(id.Time())
			if !f.matchesEntry(e) {
				continue
			}
			m, ok := messages[e.Run]
			if !ok {
				if m, err = d.load(ctx, e.Run); err != nil {
					return nil, err
				}
				messages[e.Run] = m
			}
			if m == nil && f.needsMessage() || m != nil && !f.matches(e.Run, m) {
				continue
			}
			if !fn(e, m) {
				return from, nil
			}
		}
		if len(rows) < q.Limit {
			return nil, nil
		}
	}
	return from, nil
}
