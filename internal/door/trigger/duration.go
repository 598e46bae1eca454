package trigger

import (
	"regexp"
	"strconv"
	"time"
)

var durationForm = regexp.MustCompile(`^(\d{1,9}(w|d|hr|h|m|s))+$`)

var durationPart = regexp.MustCompile(`(\d+)(w|d|hr|h|m|s)`)

// parseDuration reads a span such as 2h30m: section 6.1.
func parseDuration(s string) (time.Duration, bool) {
	if len(s) > 100 || !durationForm.MatchString(s) {
		return 0, false
	}
	units := map[string]time.Duration{"w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "hr": time.Hour, "h": time.Hour, "m": time.Minute, "s": time.Second}
	var sum time.Duration
	for _, p := range durationPart.FindAllStringSubmatch(s, -1) {
		n, err := strconv.ParseInt(p[1], 10, 64)
		if err != nil || time.Duration(n) > (1<<62)/units[p[2]] {
			return 0, false
		}
		sum += time.Duration(n) * units[p[2]]
	}
	return sum, sum >= 0
}

// parseLife reads how long something holds: a number of seconds, or a span.
func parseLife(s string) (time.Duration, bool) {
	if _, err := strconv.ParseUint(s, 10, 32); err == nil {
		s += "s"
	}
	return parseDuration(s)
}

// parseWhen reads a duration from now or a date, as ms.
func parseWhen(s string, now time.Time) (int64, bool) {
	if d, ok := parseDuration(s); ok {
		return now.Add(d).UnixMilli(), true
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999", "2006-01-02"} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}
