package inngest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	f := func(in string, want int64) {
		t.Helper()
		got, err := parseDuration(in)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %d, %v; want %d", in, got, err, want)
		}
	}
	f("1s", 1000)
	f("90s", 90_000)
	f("1d12h", 36*3_600_000)
	f("2h30m", 150*60_000)
	f("1w", 7*24*3_600_000)
	f("1500ms", 1500)
	f("1.5h", 90*60_000)
	f("10us", 0)
	f(" 5m ", 300_000)
	f("0s", 0)
	f("", -1)
	f("5", -1)
	f("h", -1)
	f("5 fortnights", -1)
	f("-5s", -1)
	f("1s-2s", -1)
	f("999999999999999999999999w", -1)
	f("1..5s", -1)
}

func TestUntil(t *testing.T) {
	t.Parallel()
	const now = int64(1_800_000_000_000) // 2027-01-15T08:00:00Z
	f := func(in string, want int64) {
		t.Helper()
		got, err := parseUntil(in, now)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %d, %v; want %d", in, got, err, want)
		}
	}
	f("", now)
	f("10s", now+10_000)
	f("-10s", now)
	f("2027-01-15T08:00:10Z", now+10_000)
	f("2027-01-15T09:00:10.500+01:00", now+10_500)
	f("2020-01-01", now)
	f("2027-01-16", now+16*3_600_000)
	f("tomorrow at noon", -1)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	f := func(in string, want time.Duration) {
		t.Helper()
		if got := parseRetryAfter(in, now); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
	f("", 0)
	f("30", 30*time.Second)
	f("0", time.Second)
	f("9999999", 24*time.Hour)
	f("99999999", 0)
	f("soon", 0)
	f("-5", 0)
	f("NaN", 0)
	f("2027-01-15T08:01:00Z", time.Minute)
	f("2027-01-15T07:00:00Z", time.Second)
	f("Fri, 15 Jan 2027 08:01:00 GMT", time.Minute)
	f("Friday, 15-Jan-27 08:01:00 UTC", time.Minute)
	f("Fri Jan 15 08:01:00 2027", time.Minute)
}

// TestSeed holds the ids of repeated requests to what SDKs count on: section 5.3.
func TestSeed(t *testing.T) {
	t.Parallel()
	seed, ok := parseSeed("1767225600000,AQIDBAUGBwgJCg==")
	if !ok {
		t.Fatal("a good seed was refused")
	}
	for i, want := range []string{"01KDVDNA00041061050R3GG28B", "01KDVDNA00041061050R3GG28C", "01KDVDNA00041061050R3GG28D"} {
		if got := seed.id(i + 1).String(); got != want {
			t.Errorf("event %d has the id %s, want %s", i+1, got, want)
		}
	}
	for _, bad := range []string{"", "x", "1767225600000", ",AQIDBAUGBwgJCg==", "-1,AQIDBAUGBwgJCg==", "1767225600000,AQID", "1767225600000,!", "99999999999999999,AQIDBAUGBwgJCg=="} {
		if _, ok := parseSeed(bad); ok {
			t.Errorf("the seed %q was taken", bad)
		}
	}
}

// TestSignature: the MAC covers the canonical form, is keyed by the text without its prefix, and ends with the time.
func TestSignature(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	one, err := signature("signkey-test-12345678", []byte(`{"b":1.0,"a":"x"}`), at)
	if err != nil {
		t.Fatal(err)
	}
	two, err := signature("12345678", []byte("{ \"a\": \"x\",\n \"b\": 1 }"), at)
	if err != nil {
		t.Fatal(err)
	}
	if one != two || !strings.HasPrefix(one, "t=1700000000&s=") || len(one) != len("t=1700000000&s=")+64 {
		t.Errorf("equal bodies are signed %s and %s", one, two)
	}
	if other, _ := signature("12345679", []byte(`{"a":"x","b":1}`), at); other == one {
		t.Error("another key gives the same signature")
	}
	if empty, err := signature("12345678", nil, at); err != nil || empty == one {
		t.Errorf("an empty body is signed %s, %v", empty, err)
	}
	if _, err := signature(auth.Secret("12345678"), []byte(`{`), at); err == nil {
		t.Error("what is no JSON was signed")
	}
}

func TestErrorBodies(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got := string(errorBody(http.StatusInternalServerError, []byte(in), 0)); got != want {
			t.Errorf("%s is read as %s, want %s", in, got, want)
		}
	}
	f(`{"name":"TypeError","message":"x","stack":"at y","__serialized":true}`, `{"message":"x","name":"TypeError","stack":"at y"}`)
	f(`{"message":"oh no"}`, `{"message":"oh no"}`)
	f(`{"error":"oh no"}`, `{"error":"oh no","message":"oh no"}`)
	f(`{"name":7,"message":"x"}`, `{"message":"x"}`)
	f(`"{\"message\":\"inner\"}"`, `{"message":"inner"}`)
	f(`"just text"`, `{"name":"Error","message":"just text"}`)
	f(`just text`, `{"name":"Error","message":"just text"}`)
	f(`[1]`, `{"name":"Error","message":"[1]"}`)
	f(``, `{"name":"Error","message":"the app answered 500 Internal Server Error with no body"}`)
	if got := string(named([]byte(`{"message":"x"}`))); got != `{"message":"x","name":"Error"}` {
		t.Errorf("named gives %s", got)
	}
}

func TestCallURL(t *testing.T) {
	t.Parallel()
	f := func(raw, step, want string) {
		t.Helper()
		if got := callURL(raw, step); got != want {
			t.Errorf("%s for %q is %s, want %s", raw, step, got, want)
		}
	}
	f("http://a/api?fnId=x&stepId=step", "abc", "http://a/api?fnId=x&stepId=abc")
	f("http://a/api?fnId=x&step=step&bypass=t%2F1", "", "http://a/api?bypass=t%2F1&fnId=x&step=step&stepId=step")
}

func FuzzDurations(f *testing.F) {
	for _, s := range []string{"1d12h", "90s", "2027-01-15T08:00:10Z", "-1s", "1e9s", "NaN", ""} {
		f.Add(s)
	}
	const now = int64(1_800_000_000_000)
	f.Fuzz(func(t *testing.T, s string) {
		if ms, err := parseDuration(s); err == nil && ms < 0 {
			t.Errorf("duration %q is negative: %d", s, ms)
		}
		if at, err := parseUntil(s, now); err == nil && at < now {
			t.Errorf("%q is before now: %d", s, at)
		}
		if d := parseRetryAfter(s, time.UnixMilli(now)); d != 0 && (d < time.Second || d > 24*time.Hour) {
			t.Errorf("retry-after %q is %s", s, d)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(206, `[{"id":"a","op":"StepRun","data":1}]`)
	f.Add(206, `[{"id":"a","op":"WaitForEvent","opts":{"event":"x","if":"event.data.a == async.data.a","timeout":"1h"}}]`)
	f.Add(206, `[{"id":"a","op":"InvokeFunction","opts":{"function_id":"x","payload":{"data":{}}}}]`)
	f.Add(206, `[{"id":"a","op":"AIGateway","opts":{"url":"http://x","format":"gemini","auth_key":"k","body":{}}}]`)
	f.Add(201, `   {"status":206,"headers":{},"body":"[]"}`)
	f.Add(500, `{"name":"E","message":"m"}`)
	d := &Door{}
	f.Fuzz(func(t *testing.T, status int, body string) {
		rep := &engine.Report{}
		a := answer{door: d, call: &engine.Call{Fn: &engine.Function{}}, state: &state{}, report: rep, now: time.UnixMilli(1_800_000_000_000)}
		a.status(status, http.Header{"X-Inngest-Sdk": {"js:v4"}}, []byte(body))
		for _, op := range rep.Ops {
			if op.Kind == 0 {
				t.Errorf("an op without a kind from %d %q", status, body)
			}
		}
	})
}
