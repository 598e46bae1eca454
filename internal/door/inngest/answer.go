package inngest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
)

// maxExcerpt is how much of a failed call's answer is kept for the run page.
const maxExcerpt = 4 << 10

// answer turns what an app answered into a report: section 10.
type answer struct {
	door   *Door
	call   *engine.Call
	state  *state
	report *engine.Report
	now    time.Time

	noRetry bool
	after   time.Duration // from retry-after
}

// read fills the report.
func (a *answer) read(resp *dispatch.Response, err error) {
	if resp != nil {
		a.report.Call.Status = resp.Status
		a.report.Call.Headers = shownHeaders(resp.Header)
	}
	switch {
	case errors.Is(err, dispatch.ErrTooLarge):
		a.fail("output_too_large", fmt.Sprintf("the app's answer is larger than %d bytes", 8<<20), resp.Body)
	case err != nil:
		a.fail("unreachable", "the app could not be reached: "+err.Error(), nil)
	default:
		a.status(resp.Status, resp.Header, resp.Body)
	}
}

// shownHeaders keeps the headers that explain a failure.
func shownHeaders(h http.Header) []byte {
	shown := map[string]string{}
	for k, v := range h {
		l := strings.ToLower(k)
		if l == "content-type" || l == "retry-after" || l == "server" || l == "via" || l == "location" || strings.HasPrefix(l, "x-inngest-") && l != "x-inngest-signature" {
			shown[l] = strings.Join(v, ", ")
		}
	}
	b, _ := json.Marshal(shown) // strings always marshal
	return b
}

// status decides by the table of section 10.1.
func (a *answer) status(status int, h http.Header, body []byte) {
	if status == http.StatusCreated {
		a.stream(h, body)
		return
	}
	if v, err := strconv.Atoi(h.Get("X-Inngest-Req-Version")); err == nil && v >= 0 && v <= 2 {
		a.report.State, a.report.Join = stateOf(v), join(v)
	}
	a.noRetry = a.noRetry || h.Get("X-Inngest-No-Retry") == "true"
	if d := parseRetryAfter(h.Get("Retry-After"), a.now); d > 0 {
		a.after = d
	}
	fromSDK := h.Get("X-Inngest-Sdk") != "" || h.Get("X-Inngest-Sdk-Handled") != ""
	switch {
	case status == http.StatusPartialContent:
		a.ops(body)
	case status >= 200 && status < 300 && !fromSDK:
		a.fail("Error", "the answer did not come from an Inngest SDK: it has no x-inngest-sdk header. Is something in front of the app answering for it?", body)
	case status >= 200 && status < 300:
		a.done(jsonValue(body))
	case !fromSDK:
		a.fatal(status, body)
	default:
		a.failed(status, body)
	}
}

// stream unwraps an answer that was kept open: section 10.4.
func (a *answer) stream(h http.Header, body []byte) {
	var inner struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
		Error   string            `json:"error"`
		NoRetry bool              `json:"noRetry"`
		RetryAt *string           `json:"retryAt"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(body), &inner); err != nil || inner.Status == 0 {
		a.fail("Error", "the app's stream ended without an answer", body)
		return
	}
	a.noRetry = inner.NoRetry
	if inner.RetryAt != nil {
		a.after = parseRetryAfter(*inner.RetryAt, a.now)
	}
	ih := h.Clone()
	for k, v := range inner.Headers {
		ih.Set(k, v)
	}
	if inner.Error != "" && inner.Status < 400 {
		a.fail("Error", inner.Error, body)
		return
	}
	content := []byte(inner.Body)
	var text string
	if json.Unmarshal(content, &text) == nil && json.Valid([]byte(text)) {
		content = []byte(text) // JS puts JSON into a string
	}
	if inner.Status == http.StatusCreated {
		a.fail("Error", "the app's stream contains another stream", body)
		return
	}
	a.status(inner.Status, ih, content)
}

// done reports that the function returned.
func (a *answer) done(value []byte) {
	a.report.Ops = append(a.report.Ops, engine.Op{Kind: engine.OpRunDone, Value: value})
}

// jsonValue is a body as JSON: text that is none becomes a string.
func jsonValue(body []byte) []byte {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return []byte("null")
	}
	if json.Valid(body) {
		return body
	}
	q, _ := json.Marshal(string(body))
	return q
}

// fail reports a failure of the function that is not the function's own words.
func (a *answer) fail(name, msg string, body []byte) {
	a.excerpt(body)
	a.report.Ops = append(a.report.Ops, failOp(name, msg, a.noRetry, a.retryAt()))
}

func (a *answer) excerpt(body []byte) { a.report.Call.Body = excerpt(body) }

// excerpt is the beginning of an answer as the run page shows it.
func excerpt(body []byte) []byte {
	if len(body) > maxExcerpt {
		body = body[:maxExcerpt]
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	return bytes.Clone(body)
}

// fatal reports an error page that no SDK made: section 10.2.
func (a *answer) fatal(status int, body []byte) {
	a.excerpt(body)
	value, _ := json.Marshal(map[string]any{ // strings and numbers always marshal
		"name": fmt.Sprintf("%d %s", status, http.StatusText(status)), "message": "Server returned a fatal error", "data": string(a.report.Call.Body),
	})
	a.report.Ops = append(a.report.Ops, engine.Op{Kind: engine.OpRunFailed, Value: value, Final: a.noRetry, RetryAt: a.retryAt()})
}

// failed reports the error that an SDK sent.
func (a *answer) failed(status int, body []byte) {
	a.excerpt(body)
	a.report.Ops = append(a.report.Ops, engine.Op{
		Kind: engine.OpRunFailed, Value: errorBody(status, body, 0), Final: a.noRetry, RetryAt: a.retryAt(),
	})
}

// errorBody reads the shapes of section 10.2 into {name?, message, stack?, cause?}. An error without a name, as Go sends it, stays
// as it is; named fills it in for those who need one.
func errorBody(status int, body []byte, depth int) []byte {
	body = bytes.TrimSpace(body)
	var text string
	if depth < 2 && json.Unmarshal(body, &text) == nil {
		if json.Valid([]byte(text)) {
			return errorBody(status, []byte(text), depth+1)
		}
		body = []byte(text)
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) == nil && m != nil {
		if m["message"] == nil && m["error"] != nil {
			m["message"] = m["error"]
		}
		if json.Unmarshal(m["message"], &text) == nil {
			if raw, ok := m["name"]; ok && json.Unmarshal(raw, &text) != nil {
				delete(m, "name")
			}
			delete(m, "__serialized")
			if out, err := json.Marshal(m); err == nil {
				return out
			}
		}
	}
	msg := string(body)
	if msg == "" {
		msg = fmt.Sprintf("the app answered %d %s with no body", status, http.StatusText(status))
	}
	return errorJSON("Error", msg)
}

// named gives an error that has no name the one that errors have in JavaScript, whose SDK requires one.
func named(value []byte) []byte {
	var m map[string]json.RawMessage
	if json.Unmarshal(value, &m) != nil || m == nil || m["name"] != nil {
		return value
	}
	m["name"] = json.RawMessage(`"Error"`)
	b, _ := json.Marshal(m) // made of values that were valid JSON before
	return b
}

func errorJSON(name, msg string) []byte {
	b, _ := json.Marshal(struct { // strings always marshal
		Name    string `json:"name"`
		Message string `json:"message"`
	}{name, msg})
	return b
}

func failOp(name, msg string, final bool, retryAt int64) engine.Op {
	return engine.Op{Kind: engine.OpRunFailed, Value: errorJSON(name, msg), Final: final, RetryAt: retryAt}
}

// retryAt is when the call that just failed is to be repeated: what the app asked for, or the table of section 14.3.
func (a *answer) retryAt() int64 { return a.door.retryAt(a.now, a.call.Attempt, a.after) }

// retryAt is when attempt is to be followed by the next one; after, when not 0, is what the other side asked for.
func (d *Door) retryAt(now time.Time, attempt int, after time.Duration) int64 {
	wait := cmp.Or(after, d.cfg.Retry)
	if wait == 0 {
		wait = backoff[min(attempt, len(backoff)-1)] + rand.N(30*time.Second)
	}
	return now.Add(wait).UnixMilli()
}
