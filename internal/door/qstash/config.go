package qstash

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	defaultRetries = 3
	maxRetries     = 1000
	maxDelay       = 365 * 24 * 3600 // s
)

// maxNesting is how many callbacks of callbacks can be configured: each is a prefix to header names.
const maxNesting = 4

const (
	ownPrefix      = "Upstash-"
	forwardPrefix  = "Upstash-Forward-"
	callbackPrefix = "Upstash-Callback-"
	failurePrefix  = "Upstash-Failure-Callback-"
)

// inputError is a request that cannot be taken, with the status that says so: section 2.6.
type inputError struct {
	status int
	msg    string
}

func (e *inputError) Error() string { return e.msg }

// Status is the HTTP status that says so.
func (e *inputError) Status() int { return e.status }

// overLimit says that a value is well formed but more than the server allows, which is answered 412: section 19.
type overLimit string

func (e overLimit) Error() string { return string(e) }

// parseConfig reads what the headers of a publish, a batch item or a schedule say: section 4. Parameters whose names begin
// with upstash- mean the same as headers, which win: section 4.6. An empty value is as good as none. Errors are of the type
// *inputError and name the header.
func parseConfig(h http.Header, query url.Values) (*config, error) {
	all, err := mergeHeaders(h, query)
	if err != nil {
		return nil, err
	}
	return readConfig(all, ownPrefix, 0)
}

// callbackConfig reads what the headers of a callback say, which are without their prefix. What they do not say about
// retries is as for the message that it tells of, and its content is JSON: section 9.3.
func callbackConfig(h http.Header, source *config) (*config, error) {
	c, err := readConfig(prefixed(h), ownPrefix, 1)
	if err != nil {
		return nil, err
	}
	if h.Get("Retries") == "" {
		c.Retries = source.Retries
	}
	if c.Header == nil {
		c.Header = http.Header{}
	}
	c.Header.Set("Content-Type", "application/json")
	return c, nil
}

// prefixed turns the headers of a callback into what would configure a message in the same way.
func prefixed(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		out[ownPrefix+name] = values
	}
	return out
}

// mergeHeaders puts configuration in headers and in the query together, under canonical names. Names are taken in order
// because a JSON object of a batch can have one in two spellings.
func mergeHeaders(h http.Header, query url.Values) (http.Header, error) {
	out := http.Header{}
	add := func(name string, values []string) error {
		if !hasPrefixFold(name, ownPrefix) && !strings.EqualFold(name, "Content-Type") {
			return nil
		}
		if !isToken(name) {
			return &inputError{http.StatusBadRequest, fmt.Sprintf("%q cannot be the name of a header", name)}
		}
		if i := slices.IndexFunc(values, hasControl); i >= 0 {
			return &inputError{http.StatusBadRequest, fmt.Sprintf("%s: %q has control characters", name, values[i])}
		}
		name = http.CanonicalHeaderKey(name)
		for _, v := range values {
			out[name] = append(out[name], fromLatin1(v))
		}
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if err := add(name, h[name]); err != nil {
			return nil, err
		}
	}
	sent := maps.Clone(out)
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if _, ok := sent[http.CanonicalHeaderKey(name)]; ok || !hasPrefixFold(name, ownPrefix) {
			continue
		}
		if err := add(name, query[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fromLatin1 is a value in UTF-8. One that is not must be in the encoding that headers had before, with a byte a character:
// what is stored and shown is JSON, which has no room for other bytes.
func fromLatin1(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, 0, len(s))
	for _, b := range []byte(s) {
		runes = append(runes, rune(b))
	}
	return string(runes)
}

// hasControl says whether a value cannot be sent in a header.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// reader reads headers one after another until one is wrong.
type reader struct {
	h      http.Header
	prefix string // as the header's name began in the request, for errors
	err    error
}

// text is a header's value without the blanks around it.
func (r *reader) text(name string) string { return strings.TrimSpace(r.h.Get(ownPrefix + name)) }

// list is a header's value if it is a comma list, which may be spread over several lines.
func (r *reader) list(name string) string {
	var given []string
	for _, v := range r.h[ownPrefix+name] {
		if v = strings.TrimSpace(v); v != "" {
			given = append(given, v)
		}
	}
	return strings.Join(given, ",")
}

// fail remembers the first error, and puts the header's name before it.
func (r *reader) fail(name string, err error) {
	if err == nil || r.err != nil {
		return
	}
	status := http.StatusBadRequest
	if _, ok := errors.AsType[overLimit](err); ok {
		status = http.StatusPreconditionFailed
	}
	r.err = &inputError{status, r.prefix + name + ": " + err.Error()}
}

// read hands a header that is there to a parser. One that is no list but was sent twice becomes one too, and is refused:
// nobody could tell which of the two was meant.
func read[T any](r *reader, name string, to *T, parse func(string) (T, error)) {
	text := r.list(name)
	if text == "" {
		return
	}
	v, err := parse(text)
	if err != nil {
		r.fail(name, err)
		return
	}
	*to = v
}

// readConfig reads headers whose names are canonical and begin with Upstash-, for which errors put the prefix.
func readConfig(h http.Header, prefix string, depth int) (*config, error) {
	r := &reader{h: h, prefix: prefix}
	c := &config{Method: http.MethodPost, Retries: defaultRetries, DeduplicationID: h.Get("Upstash-Deduplication-Id")}
	read(r, "Method", &c.Method, parseMethod)
	read(r, "Delay", &c.Delay, parseDelay)
	read(r, "Not-Before", &c.NotBefore, parseGivenTime)
	read(r, "Retries", &c.Retries, parseRetries)
	read(r, "Retry-Delay", &c.RetryDelay, parseRetryDelay)
	read(r, "Timeout", &c.Timeout, parseSeconds)
	read(r, "Callback", &c.CallbackURL, parseCallback)
	read(r, "Failure-Callback", &c.FailureURL, parseCallback)
	read(r, "Content-Based-Deduplication", &c.ContentBased, parseTruth)
	read(r, "Queue-Name", &c.Queue, named("queue"))
	read(r, "Label", &c.Labels, parseLabels)
	read(r, "Redact-Fields", &c.Redact, parseRedact)
	read(r, "Cron", &c.Cron, parseCron)
	read(r, "Schedule-Id", &c.Schedule, named("schedule"))
	read(r, "Header-Forward", &c.ForwardAll, parseTruth)
	var err error
	c.Flow, err = parseFlow(r.text("Flow-Control-Key"), r.list("Flow-Control-Value"))
	r.fail("Flow-Control-Key and -Value", err)
	c.Header = r.forwarded()
	c.CallbackHeader = r.callback(callbackPrefix, depth)
	c.FailureHeader = r.callback(failurePrefix, depth)
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

// serverOwned are headers that the delivery itself decides; nobody can forward them: section 4.2.
var serverOwned = []string{
	"Accept-Encoding", "Upstash-Message-Id", "Upstash-Signature", "Upstash-Retried", "Upstash-Region", "Upstash-Caller-Ip", "Content-Type", "Content-Length", "Host",
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// forwarded are the headers of the delivery: those with the prefix, which is taken off once, and the content type.
func (r *reader) forwarded() http.Header {
	out := http.Header{}
	for _, full := range slices.Sorted(maps.Keys(r.h)) {
		rest, ok := strings.CutPrefix(full, forwardPrefix)
		name := http.CanonicalHeaderKey(rest)
		switch {
		case !ok, slices.Contains(serverOwned, name), strings.HasPrefix(name, "Upstash-Telemetry-"):
		case name == "":
			r.fail("Forward-", errors.New("the name of the header to forward is missing"))
		default:
			out[name] = slices.Clone(r.h[full])
		}
	}
	if v := r.h.Get("Content-Type"); v != "" {
		out["Content-Type"] = []string{v}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// callback are the headers that configure a callback, without their prefix: section 4.3. They are read once here, so that
// what is wrong is refused now and not when there is something to tell.
func (r *reader) callback(prefix string, depth int) http.Header {
	out := http.Header{}
	for _, full := range slices.Sorted(maps.Keys(r.h)) {
		name, ok := strings.CutPrefix(full, prefix)
		if ok && name != "" && !strings.HasPrefix(name, "Telemetry-") {
			out[name] = slices.Clone(r.h[full])
		}
	}
	if len(out) == 0 {
		return nil
	}
	full := r.prefix + strings.TrimPrefix(prefix, ownPrefix)
	if depth >= maxNesting {
		r.fail(strings.TrimPrefix(prefix, ownPrefix), fmt.Errorf("callbacks of callbacks are nested deeper than %d", maxNesting))
		return nil
	}
	if _, err := readConfig(prefixed(out), full, depth+1); err != nil && r.err == nil {
		r.err = err
	}
	return out
}

func parseMethod(s string) (string, error) {
	method := strings.ToUpper(s)
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, method) {
		return "", fmt.Errorf("%q must be GET, POST, PUT, PATCH or DELETE", s)
	}
	return method, nil
}

// parseRetries reads a count. A number too large for its type is one more than allowed, not malformed.
func parseRetries(s string) (int, error) {
	if !isDigits(s) {
		return 0, fmt.Errorf("%q must be a whole number from 0 on", s)
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > maxRetries {
		return 0, overLimit(fmt.Sprintf("%s is too many; at most %d are allowed", s, maxRetries))
	}
	return n, nil
}

func parseDelay(s string) (int64, error) {
	v, err := parseSeconds(s)
	if err == nil && v > maxDelay {
		err = overLimit(s + " is too long; at most 365d are allowed")
	}
	return v, err
}

// parseGivenTime is parseNotBefore for a config, where 0 says that no time was given.
func parseGivenTime(s string) (int64, error) {
	ms, err := parseNotBefore(s)
	return max(ms, 1), err
}

// parseRetryDelay checks an expression, which is kept as it was written.
func parseRetryDelay(s string) (string, error) {
	_, err := compileDelay(s)
	return s, err
}

// parseCallback checks the URL of a callback, or the name of the group that it goes to: section 9.3.
func parseCallback(s string) (string, error) {
	if isURL(s) {
		return s, checkURL(s)
	}
	if parseName("URL group", s) != nil {
		return "", fmt.Errorf("%q must be a URL that begins with http:// or https://, or the name of a URL group", s)
	}
	return s, nil
}

func parseTruth(s string) (bool, error) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, nil
	case strings.EqualFold(s, "false"):
		return false, nil
	}
	return false, fmt.Errorf("%q must be true or false", s)
}

// named is parseName in the shape of the other parsers.
func named(kind string) func(string) (string, error) {
	return func(s string) (string, error) { return s, parseName(kind, s) }
}
