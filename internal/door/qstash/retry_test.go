package qstash

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestDelayExpressions(t *testing.T) {
	t.Parallel()
	const day = 24 * 3600 * 1000
	f := func(src string, retried int, want int64) {
		t.Helper()
		e, err := compileDelay(src)
		if (err != nil) != (want < 0) {
			t.Errorf("%q: %v; want %d", src, err, want)
			return
		}
		if err == nil && e.millis(retried) != want {
			t.Errorf("%q is %d after %d retries, want %d", src, e.millis(retried), retried, want)
		}
	}
	f("1000", 7, 1000)
	f("1000 * (1 + retried)", 0, 1000)
	f("1000 * (1 + retried)", 2, 3000)
	f("pow(2, retried) * 1000", 3, 8000)
	f("max(1000, pow(2, retried) * 100)", 0, 1000)
	f("max(1000, pow(2, retried) * 100)", 5, 3200)
	f("min(5, 3, 4)", 0, 3)
	f("max(1,2,3,4)", 0, 4)
	f("sqrt(16)+abs(-3)+floor(1.9)+ceil(1.1)+round(2.5)", 0, 4+3+1+2+3)
	f("exp(0)", 0, 1)
	f("2+3*4", 0, 14)
	f("20-3-4", 0, 13)
	f("100/10/5", 0, 2)
	f("17 % 5 * 2", 0, 4)
	f("-2 + 5", 0, 3)
	f("3 - -2", 0, 5)
	f("--3", 0, 3)
	f("-(2-5)", 0, 3)
	f(".5 * 1.5 * 8", 0, 6)
	f("1.4", 0, 1)
	f("\t(retried)\n", 9, 9)
	f("((((1))))", 0, 1)
	f("-5", 0, 0)
	f("0/0", 0, 0)
	f("0 % 0", 0, 0)
	f("sqrt(-1)", 0, 0)
	f("1/0", 0, day)
	f("-1/0", 0, 0)
	f("exp(retried)", 1000, day)
	f("86400001", 0, day)
	f(strings.Repeat("9", 500), 0, day)
	f(strings.Repeat("(", maxExprDepth-1)+"1"+strings.Repeat(")", maxExprDepth-1), 0, 1)
	f(strings.Repeat("1+", maxExpr/2-1)+"1", 0, maxExpr/2)

	f("", 0, -1)
	f(" ", 0, -1)
	f("soon", 0, -1)
	f("1000 *", 0, -1)
	f("* 1000", 0, -1)
	f("(1", 0, -1)
	f("1)", 0, -1)
	f("1 2", 0, -1)
	f("1..2", 0, -1)
	f(".", 0, -1)
	f("1e3", 0, -1)
	f("+1", 0, -1)
	f("2 ** 3", 0, -1)
	f("2 ^ 3", 0, -1)
	f("Retried", 0, -1)
	f("retries", 0, -1)
	f("retried(1)", 0, -1)
	f("pow", 0, -1)
	f("pow()", 0, -1)
	f("pow(2)", 0, -1)
	f("pow(1,2,3)", 0, -1)
	f("min(1)", 0, -1)
	f("sqrt(1,2)", 0, -1)
	f("sqrt(1,)", 0, -1)
	f("sqrt 4", 0, -1)
	f("random()", 0, -1)
	f("1\x00", 0, -1)
	f("1; 2", 0, -1)
	f(strings.Repeat("(", maxExprDepth)+"1"+strings.Repeat(")", maxExprDepth), 0, -1)
	f(strings.Repeat("1+", maxExpr/2)+"1", 0, -1)
}

func TestDefaultBackoff(t *testing.T) {
	t.Parallel()
	f := func(n int, want time.Duration) {
		t.Helper()
		if got := defaultBackoff(n); got != want {
			t.Errorf("retry %d is after %s, want %s", n, got, want)
		}
	}
	f(1, 12182*time.Millisecond)
	f(2, 148413*time.Millisecond)
	f(3, 1808042*time.Millisecond)
	f(4, 22026466*time.Millisecond)
	f(5, 24*time.Hour)
	f(1000, 24*time.Hour)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	h := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	f := func(h http.Header, want time.Duration) {
		t.Helper()
		got, ok := retryAfter(h, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%v is %s, %v; want %s", h, got, ok, want)
		}
	}
	f(h("Retry-After", "30"), 30*time.Second)
	f(h("Retry-After", "0"), 0)
	f(h("Retry-After", " 1.5 "), 1500*time.Millisecond)
	f(h("Retry-After", "10s"), 10*time.Second)
	f(h("Retry-After", "6m5s"), 6*time.Minute+5*time.Second)
	f(h("Retry-After", "250ms"), 250*time.Millisecond)
	f(h("Retry-After", "86400"), 24*time.Hour)
	f(h("Retry-After", "Fri, 15 Jan 2027 08:01:00 GMT"), time.Minute)
	f(h("Retry-After", "Fri, 15 Jan 2027 07:00:00 GMT"), 0)
	f(h("x-ratelimit-reset", "7"), 7*time.Second)
	f(h("X-RateLimit-Reset-Requests", "1s"), time.Second)
	f(h("X-RateLimit-Reset-Tokens", "2s"), 2*time.Second)
	f(h("Retry-After", "3", "X-RateLimit-Reset", "7"), 3*time.Second)
	f(h("Retry-After", "soon", "X-RateLimit-Reset", "7"), 7*time.Second)
	f(h("Retry-After", "86401", "X-RateLimit-Reset-Tokens", "7"), 7*time.Second)

	f(h(), -1)
	f(h("Retry-After", ""), -1)
	f(h("Retry-After", "-1"), -1)
	f(h("Retry-After", "-1s"), -1)
	f(h("Retry-After", "1.2.3"), -1)
	f(h("Retry-After", "NaN"), -1)
	f(h("Retry-After", "24h1s"), -1)
	f(h("Retry-After", "Sun, 17 Jan 2027 08:01:00 GMT"), -1)
	f(h("X-RateLimit-Reset", "1799999999"), -1)
	f(h("X-RateLimit-Reset", strings.Repeat("9", 400)), -1)
}

func FuzzDelayExpressions(f *testing.F) {
	for _, s := range []string{
		"1000 * (1 + retried)", "max(1000, pow(2, retried) * 100)", "-sqrt(.5) % 3", "min(1,2,3)", "((((", "----1", "pow(pow(9,9),pow(9,9))", "1..2",
	} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, src string, retried int) {
		e, err := compileDelay(src)
		if err != nil {
			return
		}
		if ms := e.millis(retried); ms < 0 || ms > maxWait.Milliseconds() {
			t.Errorf("%q is %d after %d retries", src, ms, retried)
		}
		if again, err := compileDelay("(" + src + ")"); err == nil && again.millis(retried) != e.millis(retried) && !math.IsNaN(e.eval(float64(retried))) {
			t.Errorf("%q changes in parentheses", src)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"30", "6m5s", "Fri, 15 Jan 2027 08:01:00 GMT", "-1", "1e9", "9223372036854775807ns"} {
		f.Add(s)
	}
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := retryAfter(http.Header{"Retry-After": {s}}, now); d < 0 || d > maxWait || !ok && d != 0 {
			t.Errorf("%q is %s, %v", s, d, ok)
		}
	})
}
