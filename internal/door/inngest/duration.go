package inngest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var units = map[string]float64{
	"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
}

// parseDuration reads the notation of section 7.2, "1d12h" or "90s", in milliseconds.
func parseDuration(s string) (int64, error) {
	rest := strings.TrimSpace(s)
	if rest == "" {
		return 0, fmt.Errorf("duration is empty")
	}
	total := 0.0
	for rest != "" {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		u := n
		for u < len(rest) && (rest[u] < '0' || rest[u] > '9') {
			u++
		}
		v, err := strconv.ParseFloat(rest[:n], 64)
		unit, ok := units[strings.TrimSpace(rest[n:u])]
		if err != nil || !ok {
			return 0, fmt.Errorf("duration %q must be numbers with the units w, d, h, m, s or ms, like 1d12h", s)
		}
		total += v * unit
		rest = rest[u:]
	}
	if total > math.MaxInt64/2 {
		return 0, fmt.Errorf("duration %q is too long", s)
	}
	return int64(total), nil
}

// parseUntil reads a duration or a date, as sleeps and time-outs allow: the instant it means, in milliseconds. Empty
// means now.
func parseUntil(s string, now int64) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return now, nil
	}
	if len(s) >= 10 {
		if t, ok := parseDate(s); ok {
			return max(now, t.UnixMilli()), nil
		}
	}
	ms, err := parseDuration(strings.TrimPrefix(s, "-"))
	if err != nil {
		return 0, fmt.Errorf("%q is neither a duration like 1d12h nor a date", s)
	}
	if s[0] == '-' {
		return now, nil
	}
	return now + ms, nil
}

var dateLayouts = []string{
	time.RFC3339Nano, time.RFC1123, time.RFC1123Z, time.RFC850, time.RFC822, time.RFC822Z, time.ANSIC, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05",
	"2006-01-02T15:04", "2006-01-02",
}

func parseDate(s string) (time.Time, bool) {
	for _, l := range dateLayouts {
		if t, err := time.Parse(l, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// parseRetryAfter reads the header of section 10.1: seconds or a date, clamped to a second and a day. Zero: there is
// none that can be used.
func parseRetryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		if len(s) > 7 || n < 0 || math.IsNaN(n) {
			return 0
		}
		d = time.Duration(n * float64(time.Second))
	} else if t, ok := parseDate(s); ok {
		d = t.Sub(now)
	} else {
		return 0
	}
	return min(max(d, time.Second), 24*time.Hour)
}

// backoff is the table of section 14.3 by the attempt that failed, from 0.
var backoff = []time.Duration{
	15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute,
	40 * time.Minute, time.Hour, 2 * time.Hour,
}
