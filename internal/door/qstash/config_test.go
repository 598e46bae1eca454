package qstash

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// headers makes a header of lines "Name: value".
func headers(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

// config with what is not said.
func defaults(change func(c *config)) *config {
	c := &config{Method: "POST", Retries: 3}
	change(c)
	return c
}

func TestConfig(t *testing.T) {
	t.Parallel()
	f := func(want func(c *config), lines ...string) {
		t.Helper()
		got, err := parseConfig(headers(lines...), nil)
		if err != nil {
			t.Errorf("%q: %v", lines, err)
			return
		}
		if diff := cmp.Diff(defaults(want), got); diff != "" {
			t.Errorf("%q: %s", lines, diff)
		}
	}
	f(func(*config) {})
	f(func(*config) {}, "Authorization: Bearer T", "User-Agent: x", "Upstash-Telemetry-Sdk: y", "Upstash-Workflow-Runid: z", "Upstash-Feature-Set: F", "Upstash-Caller-Ip: 1.2.3.4")
	f(func(*config) {}, "Upstash-Retries: ", "Upstash-Delay:  ", "Upstash-Label: ", "Upstash-Flow-Control-Key: ")
	f(func(c *config) { c.Method = "PATCH" }, "upstash-method: patch")
	f(func(c *config) { c.Delay = 100 }, "Upstash-Delay: 1m40s")
	f(func(c *config) { c.Delay = maxDelay }, "Upstash-Delay: 365d")
	f(func(c *config) { c.Delay, c.NotBefore = 5, 1700000001250 }, "Upstash-Delay: 5s", "Upstash-Not-Before: 1700000001.25")
	f(func(c *config) { c.NotBefore = 1 }, "Upstash-Not-Before: 0")
	f(func(c *config) { c.Retries = 0 }, "Upstash-Retries: 0")
	f(func(c *config) { c.Retries = 1000 }, "Upstash-Retries: 1000")
	f(func(c *config) { c.RetryDelay = "1000 * (1 + retried)" }, "Upstash-Retry-Delay: 1000 * (1 + retried)")
	f(func(c *config) { c.Timeout = 20 }, "Upstash-Timeout: 20")
	f(func(c *config) { c.DeduplicationID = "a b/ü" }, "Upstash-Deduplication-Id: a b/ü")
	f(func(c *config) { c.ContentBased = true }, "Upstash-Content-Based-Deduplication: True")
	f(func(*config) {}, "Upstash-Content-Based-Deduplication: FALSE")
	f(func(c *config) { c.Queue = "mail" }, "Upstash-Queue-Name: mail")
	f(func(c *config) { c.Flow = &flow{"k", 2, 1, 60} }, "Upstash-Flow-Control-Key: k", "Upstash-Flow-Control-Value: parallelism=2, rate=1, period=1m")
	f(func(c *config) { c.Flow = &flow{"k", 2, 1, 1} }, "Upstash-Flow-Control-Key: k", "Upstash-Flow-Control-Value: parallelism=2", "Upstash-Flow-Control-Value: rate=1")
	f(func(c *config) { c.Labels = []string{"b", "a", "c"} }, "Upstash-Label: b, a", "Upstash-Label: c")
	f(func(c *config) { c.Redact = redact{Body: true, Headers: []string{"Authorization"}} }, "Upstash-Redact-Fields: body,header[authorization]")
	f(func(c *config) { c.Cron, c.Schedule = "CRON_TZ=Europe/Paris 0 5 * * *", "-s" }, "Upstash-Cron:  CRON_TZ=Europe/Paris 0 5 * * * ", "Upstash-Schedule-Id: -s")
	f(func(c *config) { c.ForwardAll = true }, "Upstash-Header-Forward: true", "X-Else: 1")
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	f := func(want http.Header, lines ...string) {
		t.Helper()
		got, err := parseConfig(headers(lines...), nil)
		if err != nil {
			t.Errorf("%q: %v", lines, err)
			return
		}
		if diff := cmp.Diff(want, got.Header); diff != "" {
			t.Errorf("%q: %s", lines, diff)
		}
	}
	f(http.Header{"Bypass-Tunnel-Reminder": {"client-test"}, "Content-Type": {"application/json"}, "Test-Header": {"test-value"}},
		"upstash-forward-bypass-tunnel-reminder: client-test", "content-type: application/json", "Upstash-Forward-test-header: test-value", "X-Own: 1")
	f(http.Header{"X-A": {"1", " 2", ""}}, "Upstash-Forward-X-A: 1", "upstash-forward-x-a:  2", "Upstash-Forward-X-A: ")
	f(http.Header{"Content-Type": {"text/plain;charset=UTF-8"}}, "Content-Type: text/plain;charset=UTF-8", "Upstash-Forward-Content-Type: x/y")
	f(nil, "Upstash-Forward-Content-Type: x/y")
	f(http.Header{"X-A": {"hällo €", "hällo"}}, "Upstash-Forward-X-A: hällo €", "Upstash-Forward-X-A: h\xe4llo")
	f(http.Header{"Upstash-Forward-X": {"1"}}, "Upstash-Forward-Upstash-Forward-X: 1")
	f(http.Header{"Upstash-Workflow-Runid": {"wfr_1"}, "Upstash-Label": {"l"}, "User-Agent": {"mine"}, "Authorization": {"Bearer x"}},
		"Upstash-Forward-Upstash-Workflow-RunId: wfr_1", "Upstash-Forward-Upstash-Label: l", "Upstash-Forward-User-Agent: mine", "Upstash-Forward-Authorization: Bearer x")
	f(nil, "Upstash-Forward-Upstash-Message-Id: m", "Upstash-Forward-Upstash-Signature: s", "Upstash-Forward-upstash-retried: 3", "Upstash-Forward-Upstash-Region: EU",
		"Upstash-Forward-Upstash-Caller-IP: 1", "Upstash-Forward-Host: h", "Upstash-Forward-Content-Length: 1", "Upstash-Forward-Connection: close",
		"Upstash-Forward-Transfer-Encoding: chunked", "Upstash-Forward-Te: trailers", "Upstash-Forward-Upstash-Telemetry-Sdk: s")
}

func TestCallbackHeaders(t *testing.T) {
	t.Parallel()
	got, err := parseConfig(headers(
		"Upstash-Callback: https://app.example/cb", "Upstash-Callback-Retries: 1", "upstash-callback-forward-x-a: 1", "upstash-callback-forward-x-a: 2",
		"Upstash-Callback-Workflow-RunId: wfr_1", "Upstash-Callback-Telemetry-Sdk: x", "Upstash-Callback-Failure-Callback: https://app.example/fail",
		"Upstash-Callback-Failure-Callback-Method: PUT", "Upstash-Failure-Callback: my-group", "Upstash-Failure-Callback-Delay: 5s",
	), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults(func(c *config) {
		c.CallbackURL, c.FailureURL = "https://app.example/cb", "my-group"
		c.CallbackHeader = http.Header{
			"Retries": {"1"}, "Forward-X-A": {"1", "2"}, "Workflow-Runid": {"wfr_1"}, "Failure-Callback": {"https://app.example/fail"}, "Failure-Callback-Method": {"PUT"},
		}
		c.FailureHeader = http.Header{"Delay": {"5s"}}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	source := &config{Retries: 7}
	cb, err := callbackConfig(got.CallbackHeader, source)
	if err != nil {
		t.Fatal(err)
	}
	want = defaults(func(c *config) {
		c.Retries = 1
		c.Header = http.Header{"X-A": {"1", "2"}, "Content-Type": {"application/json"}}
		c.FailureURL, c.FailureHeader = "https://app.example/fail", http.Header{"Method": {"PUT"}}
	})
	if diff := cmp.Diff(want, cb); diff != "" {
		t.Error(diff)
	}
	cb, err = callbackConfig(got.FailureHeader, source)
	if err != nil || cb.Retries != 7 || cb.Delay != 5 {
		t.Errorf("the failure callback is %+v, %v", cb, err)
	}
	if cb, err = callbackConfig(nil, source); err != nil || cb.Retries != 7 || cb.Method != "POST" {
		t.Errorf("a callback without configuration is %+v, %v", cb, err)
	}
}

func TestConfigByQuery(t *testing.T) {
	t.Parallel()
	got, err := parseConfig(
		headers("Upstash-Retries: 1", "Content-Type: text/plain"),
		url.Values{
			"upstash-retries": {"9"}, "UPSTASH-Delay": {"100s"}, "upstash-forward-x": {"1", "2"}, "upstash-callback": {"https://app.example/cb"},
			"upstash-callback-retries": {"2"}, "qstash_token": {"T"}, "content-type": {"x/y"},
		})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults(func(c *config) {
		c.Retries, c.Delay, c.CallbackURL = 1, 100, "https://app.example/cb"
		c.Header = http.Header{"Content-Type": {"text/plain"}, "X": {"1", "2"}}
		c.CallbackHeader = http.Header{"Retries": {"2"}}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNamesInAnyCase: the headers of a batch item are an object, whose names nobody has made canonical.
func TestNamesInAnyCase(t *testing.T) {
	t.Parallel()
	got, err := parseConfig(http.Header{"upstash-forward-x": {"b"}, "UPSTASH-FORWARD-X": {"a"}, "content-type": {"text/plain"}, "x y": {"ours to ignore"}}, nil)
	want := http.Header{"X": {"a", "b"}, "Content-Type": {"text/plain"}}
	if err != nil || !cmp.Equal(got.Header, want) {
		t.Errorf("headers are %v, %v; want %v", got, err, want)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	f := func(status int, want string, lines ...string) {
		t.Helper()
		got, err := parseConfig(headers(lines...), nil)
		var in *inputError
		if !errors.As(err, &in) || in.status != status || !strings.HasPrefix(in.msg, want+": ") {
			t.Errorf("%q is %+v, %v; want a %d that names %s", lines, got, err, status, want)
		}
	}
	one := func(status int, line string) {
		t.Helper()
		name, _, _ := strings.Cut(line, ": ")
		f(status, name, line)
	}
	one(400, "Upstash-Method: BREW")
	one(400, "Upstash-Delay: soon")
	one(400, "Upstash-Delay: -1s")
	one(412, "Upstash-Delay: 365d1s")
	one(400, "Upstash-Not-Before: tomorrow")
	one(400, "Upstash-Retries: -1")
	one(400, "Upstash-Retries: many")
	one(400, "Upstash-Retries: 1.5")
	one(412, "Upstash-Retries: 1001")
	one(412, "Upstash-Retries: 1000000")
	one(412, "Upstash-Retries: 99999999999999999999")
	one(400, "Upstash-Retry-Delay: 1000 *")
	one(400, "Upstash-Timeout: -5s")
	one(400, "Upstash-Callback: not a url")
	one(400, "Upstash-Callback: ftp://files.example")
	one(400, "Upstash-Callback: https://")
	one(400, "Upstash-Failure-Callback: /relative")
	one(400, "Upstash-Content-Based-Deduplication: perhaps")
	one(400, "Upstash-Queue-Name: my queue")
	one(400, "Upstash-Label: a b")
	one(400, "Upstash-Redact-Fields: everything")
	one(400, "Upstash-Cron: 0 * * * * *")
	one(400, "Upstash-Schedule-Id: a/b")
	one(400, "Upstash-Header-Forward: 1")
	one(400, "Upstash-Forward-: x")
	one(400, "Upstash-Callback-Retries: many")
	one(412, "Upstash-Callback-Retries: 1001")
	one(400, "Upstash-Failure-Callback-Delay: soon")
	one(400, "Upstash-Callback-Failure-Callback-Method: BREW")
	one(400, "Upstash-Failure-Callback-Callback: nowhere:")
	one(400, "Upstash-Forward-X: a\nb")
	one(400, "Upstash-Deduplication-Id: \x00")
	one(400, "Content-Type: a\rb")
	f(400, "Upstash-Flow-Control-Key and -Value", "Upstash-Flow-Control-Key: k")
	f(400, "Upstash-Flow-Control-Key and -Value", "Upstash-Flow-Control-Value: rate=1")
	f(400, "Upstash-Callback-Flow-Control-Key and -Value", "Upstash-Callback-Flow-Control-Value: rate=1")
	f(400, "Upstash-Retries", "Upstash-Retries: 1", "Upstash-Retries: 2")
	f(400, "Upstash-Callback-Callback-Callback-Callback-Callback-", "Upstash-"+strings.Repeat("Callback-", maxNesting+1)+"Retries: 1")
	if _, err := parseConfig(headers("Upstash-"+strings.Repeat("Callback-", maxNesting)+"Retries: 1"), nil); err != nil {
		t.Error(err)
	}
	if got, err := parseConfig(http.Header{"upstash-forward-x y": {"1"}}, nil); err == nil {
		t.Errorf("a name with a blank is %v", got.Header)
	}
	if got, err := parseConfig(nil, url.Values{"upstash-forward-x\r\ny": {"1"}}); err == nil {
		t.Errorf("a name with a line break is %v", got.Header)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("Upstash-Retries", "3")
	f.Add("upstash-callback-failure-callback-forward-x", "1")
	f.Add("Upstash-Forward-Upstash-Signature", "x")
	f.Add("Upstash-Flow-Control-Value", "rate=1")
	f.Add("Upstash-Redact-Fields", "body,header[x]")
	f.Add(strings.Repeat("Upstash-Callback-", 9), "")
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, c := range []struct {
			h http.Header
			q url.Values
		}{{http.Header{name: {value}, "Upstash-Flow-Control-Key": {"k"}, "Upstash-Flow-Control-Value": {"rate=1"}}, nil}, {nil, url.Values{name: {value}}}} {
			got, err := parseConfig(c.h, c.q)
			var in *inputError
			if err != nil {
				if !errors.As(err, &in) || in.status != http.StatusBadRequest && in.status != http.StatusPreconditionFailed {
					t.Fatalf("%q: %q: the error is %v", name, value, err)
				}
				continue
			}
			if got.Retries < 0 || got.Retries > maxRetries || got.Delay < 0 || got.Delay > maxDelay || got.NotBefore < 0 {
				t.Errorf("%q: %q is %+v", name, value, got)
			}
			for n, v := range got.Header {
				if !isToken(n) || n != http.CanonicalHeaderKey(n) || slices.ContainsFunc(v, func(s string) bool { return hasControl(s) || !utf8.ValidString(s) }) {
					t.Errorf("%q: %q forwards %q: %q", name, value, n, v)
				}
				if slices.Contains(serverOwned, n) && n != "Content-Type" {
					t.Errorf("%q forwards %s", name, n)
				}
			}
			for _, h := range []http.Header{got.CallbackHeader, got.FailureHeader} {
				if _, err := callbackConfig(h, got); err != nil {
					t.Errorf("%q: %q was taken, but not for the callback: %v", name, value, err)
				}
			}
		}
	})
}
