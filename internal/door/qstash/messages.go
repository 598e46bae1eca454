package qstash

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
)

// grace is for how long a message can be read after it was delivered: who publishes to a quick endpoint may look at once.
const grace = time.Minute

// messageView is section 6.1.
type messageView struct {
	MessageID      string      `json:"messageId"`
	URL            string      `json:"url"`
	Topic          string      `json:"topicName,omitempty"`
	Endpoint       string      `json:"endpointName,omitempty"`
	Method         string      `json:"method"`
	Header         http.Header `json:"header,omitempty"`
	Body           string      `json:"body,omitempty"`
	BodyBase64     string      `json:"bodyBase64,omitempty"`
	MaxRetries     int         `json:"maxRetries"`
	NotBefore      int64       `json:"notBefore"`
	CreatedAt      int64       `json:"createdAt"`
	Callback       string      `json:"callback,omitempty"`
	Failure        string      `json:"failureCallback,omitempty"`
	CallbackHeader http.Header `json:"callbackHeader,omitempty"`
	FailureHeader  http.Header `json:"failureCallbackHeader,omitempty"`
	Queue          string      `json:"queueName,omitempty"`
	ScheduleID     string      `json:"scheduleId,omitempty"`
	CallerIP       string      `json:"callerIP,omitempty"`
	Label          string      `json:"label,omitempty"`
	Labels         []string    `json:"labels,omitempty"`
	FlowKey        string      `json:"flowControlKey,omitempty"`
	Parallelism    int         `json:"parallelism,omitempty"`
	Rate           int         `json:"rate,omitempty"`
	Period         int64       `json:"period,omitempty"`
	RetryDelay     string      `json:"retryDelayExpression,omitempty"`
	Timeout        int64       `json:"timeout,omitempty"`
}

func (m *message) view(run engine.ID) messageView {
	v := messageView{
		MessageID: messageID(run), URL: m.URL, Topic: m.Topic, Endpoint: m.Endpoint, Method: m.Method, Header: m.shownHeader(), MaxRetries: m.Retries,
		NotBefore: m.NotBefore, CreatedAt: m.CreatedAt, Callback: m.CallbackURL, Failure: m.FailureURL, CallbackHeader: m.CallbackHeader,
		FailureHeader: m.FailureHeader, Queue: m.Queue, ScheduleID: m.ScheduleID, CallerIP: m.CallerIP, Labels: m.Labels, RetryDelay: m.RetryDelay,
		Timeout: m.Timeout,
	}
	v.Body, v.BodyBase64 = m.shownBody()
	if len(m.Labels) > 0 {
		v.Label = m.Labels[0]
	}
	if f := m.Flow; f != nil {
		v.FlowKey, v.Parallelism, v.Rate, v.Period = f.Key, f.Parallelism, f.Rate, f.Period
	}
	return v
}

// What reads show of payloads that are to be kept from them: section 3.7.

func redacted(value []byte) string {
	sum := sha256.Sum256(value)
	return "REDACTED:" + hex.EncodeToString(sum[:])
}

func (c *config) shownHeader() http.Header {
	if len(c.Header) == 0 || !c.Redact.AllHeaders && len(c.Redact.Headers) == 0 {
		return c.Header
	}
	out := http.Header{}
	for k, values := range c.Header {
		out[k] = slices.Clone(values)
		if c.Redact.AllHeaders || slices.Contains(c.Redact.Headers, k) {
			for i, v := range values {
				out[k][i] = redacted([]byte(v))
			}
		}
	}
	return out
}

// shownBody is a body as text or, when it is none, as base64.
func (m *message) shownBody() (text, b64 string) { return shownBody(&m.config, m.Body) }

func shownBody(c *config, body []byte) (text, b64 string) {
	switch {
	case len(body) == 0:
		return "", ""
	case c.Redact.Body:
		return redacted(body), ""
	case utf8.Valid(body):
		return string(body), ""
	}
	return "", base64.StdEncoding.EncodeToString(body)
}

func (m *message) shownBody64() string {
	if m.Redact.Body && len(m.Body) > 0 {
		return base64.StdEncoding.EncodeToString([]byte(redacted(m.Body)))
	}
	return base64.StdEncoding.EncodeToString(m.Body)
}

// serveMessages is everything below /v2/messages.
func (d *Door) serveMessages(w http.ResponseWriter, r *http.Request, rest string) error {
	id, err := url.PathUnescape(strings.Trim(rest, "/"))
	if err != nil {
		return badRequest("%v", err)
	}
	switch {
	case id == "" && r.Method == http.MethodDelete:
		return d.cancelMany(w, r)
	case id != "" && r.Method == http.MethodGet:
		return d.getMessage(w, r, id)
	case id != "" && r.Method == http.MethodDelete:
		return d.cancelOne(w, r, id)
	}
	return wrongMethod(r)
}

// getMessage is GET /v2/messages/{id}.
func (d *Door) getMessage(w http.ResponseWriter, r *http.Request, id string) error {
	run, ok := runOf(id)
	if !ok {
		return notFound("message", id)
	}
	row, err := history.Run(r.Context(), d.cfg.Host, run)
	if err != nil {
		return err
	}
	m, err := d.load(r.Context(), run)
	if err != nil {
		return err
	}
	if row == nil || m == nil || row.Status.Ended() && d.cfg.Now().Sub(time.UnixMilli(row.Ended)) > grace {
		return notFound("message", id)
	}
	return writeJSON(w, http.StatusOK, m.view(run))
}

// cancel ends a message that is not delivered yet; false when there is none.
func (d *Door) cancel(ctx context.Context, run engine.ID) (bool, error) {
	steps, err := history.Steps(ctx, d.cfg.Host, run)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(steps, func(s *engine.StepRow) bool { return s.ID == deliveryStep && s.Seq > 0 }) {
		return false, nil // it was, and only its callbacks are under way
	}
	v, err := d.cfg.Host.Submit(ctx, &engine.Cancel{
		Run: run, Reason: "cancelled by its sender", Gently: true, Rows: d.logRows(run, logEntry{State: stateCancelRequested}),
		Later: []engine.RowPut{d.stampedLogRow(run, logEntry{State: stateCancelled})},
	})
	if err != nil {
		return false, err
	}
	return v.(bool), nil
}

// cancelOne is DELETE /v2/messages/{id}.
func (d *Door) cancelOne(w http.ResponseWriter, r *http.Request, id string) error {
	run, ok := runOf(id)
	if ok {
		m, err := d.load(r.Context(), run)
		if err != nil {
			return err
		}
		if ok = m != nil; ok {
			if ok, err = d.cancel(r.Context(), run); err != nil {
				return err
			}
		}
	}
	if !ok {
		return notFound("message", id)
	}
	return writeJSON(w, http.StatusOK, map[string]int{"cancelled": 1})
}

// cancelMany is DELETE /v2/messages: by ids, by filters in the query or in the body, or everything.
func (d *Door) cancelMany(w http.ResponseWriter, r *http.Request) error {
	q, err := d.bulkQuery(w, r)
	if err != nil {
		return err
	}
	f, err := parseFilter(q, messageFilters)
	if err != nil {
		return err
	}
	count, err := countOf(q, 100, 500)
	if err != nil {
		return err
	}
	if len(f.ids) > 0 {
		count = len(f.ids)
	}
	runs, err := d.pending(r.Context(), f, count)
	if err != nil {
		return err
	}
	n := 0
	for _, run := range runs {
		if n == count {
			break
		}
		ok, err := d.cancel(r.Context(), run)
		if err != nil {
			return err
		}
		if ok {
			n++
		}
	}
	return writeJSON(w, http.StatusOK, map[string]int{"cancelled": n})
}

// pending lists messages that are not delivered yet and that a filter selects, at most limit of them if that is not 0.
func (d *Door) pending(ctx context.Context, f *filter, limit int) ([]engine.ID, error) {
	if len(f.ids) > 0 {
		var out []engine.ID
		for _, run := range f.runs() {
			m, err := d.load(ctx, run)
			if err != nil {
				return nil, err
			}
			if m != nil {
				out = append(out, run)
			}
		}
		return out, nil
	}
	v, err := d.cfg.Host.Submit(ctx, &engine.LiveRuns{Fn: d.messageFn()})
	if err != nil {
		return nil, err
	}
	var out []engine.ID
	for _, run := range v.([]engine.ID) {
		if limit > 0 && len(out) == limit {
			break
		}
		m, err := d.load(ctx, run)
		if err != nil {
			return nil, err
		}
		if m != nil && f.matches(run, m) && f.within(m.CreatedAt) {
			out = append(out, run)
		}
	}
	return out, nil
}

// bulkQuery is what a bulk operation selects: the query's parameters and those of a JSON body, which older clients send.
func (d *Door) bulkQuery(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	q := r.URL.Query()
	body, err := d.readBody(w, r, 1<<20)
	if err != nil {
		return nil, err
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return q, nil
	}
	var in map[string]json.RawMessage
	if err := json.Unmarshal(body, &in); err != nil || in == nil {
		return nil, badRequest("the body is no JSON object: %v", err)
	}
	for k, raw := range in {
		var list []string
		var one string
		var number json.Number
		switch {
		case json.Unmarshal(raw, &list) == nil:
			if len(list) == 0 {
				return nil, badRequest("%s is empty", k)
			}
		case json.Unmarshal(raw, &one) == nil:
			list = []string{one}
		case json.Unmarshal(raw, &number) == nil && slices.Contains([]string{"fromdate", "todate", "count"}, strings.ToLower(k)):
			list = []string{number.String()}
		default:
			return nil, badRequest("%s: %s is neither text nor a list of texts", k, raw)
		}
		for _, v := range list {
			q.Add(k, v)
		}
	}
	return q, nil
}
