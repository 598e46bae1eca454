package trigger

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	f := func(text string, want time.Duration, ok bool) {
		t.Helper()
		if got, good := parseDuration(text); got != want || good != ok {
			t.Errorf("%q: %v, %v; want %v, %v", text, got, good, want, ok)
		}
	}
	f("5s", 5*time.Second, true)
	f("2h30m", 150*time.Minute, true)
	f("1hr", time.Hour, true)
	f("1w2d", 9*24*time.Hour, true)
	f("0s", 0, true)
	f("", 0, false)
	f("1y", 0, false)
	f("h", 0, false)
	f("-1s", 0, false)
	f("999999999w", 0, false)
	f("9999999999s", 0, false)
}

func TestWhen(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	f := func(text string, want int64) {
		t.Helper()
		if got, ok := parseWhen(text, now); !ok || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, ok, want)
		}
	}
	f("10s", now.UnixMilli()+10_000)
	f("2026-03-01T10:00:00.000Z", 1772359200000)
	f("2026-03-01T12:00:00+02:00", 1772359200000)
	if _, ok := parseWhen("tomorrow", now); ok {
		t.Error("tomorrow is no date")
	}
}
