package qstash

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/cron"
)

// maxSeconds is the longest duration that is read, some 292 years: what a time.Duration can hold.
const maxSeconds = int64(math.MaxInt64 / time.Second)

// maxName is the longest name in bytes: of a queue, a schedule, a URL group, a label or a flow-control key.
const maxName = 1 << 10

// maxPeriod is the longest period of a flow-control key, a week, in seconds: section 3.5.
const maxPeriod = 7 * 24 * 3600

var secondsOf = map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}

// parseSeconds reads the durations of section 3.1: numbers with units such as 1d10h30m, in any order but each unit only
// once, or a bare number of seconds.
func parseSeconds(s string) (int64, error) {
	rest := strings.TrimSpace(s)
	if isDigits(rest) {
		rest += "s"
	}
	total, seen := int64(0), ""
	for first := true; first || rest != ""; first = false {
		n := digits(rest)
		if n == 0 || n == len(rest) || secondsOf[rest[n]] == 0 || strings.IndexByte(seen, rest[n]) >= 0 {
			return 0, fmt.Errorf("duration %q must be numbers with the units d, h, m or s, like 1d10h30m, or a number of seconds", s)
		}
		v, err := strconv.ParseInt(rest[:n], 10, 64)
		unit := secondsOf[rest[n]]
		if err != nil || v > (maxSeconds-total)/unit {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total += v * unit
		seen += rest[n : n+1]
		rest = rest[n+1:]
	}
	return total, nil
}

// digits counts the decimal digits that s starts with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func isDigits(s string) bool { return s != "" && digits(s) == len(s) }

// parseNotBefore reads the Unix seconds of section 3.2, in milliseconds. Old clients send a fraction.
func parseNotBefore(s string) (int64, error) {
	text := strings.TrimSpace(s)
	whole, fraction, dot := strings.Cut(text, ".")
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !isDigits(whole) || dot && !isDigits(fraction) {
		return 0, fmt.Errorf("time %q must be a number of seconds since 1970", s)
	}
	if v > float64(maxSeconds) {
		return 0, fmt.Errorf("time %q is too far away; it is meant in seconds, not milliseconds", s)
	}
	return int64(math.Round(v * 1000)), nil
}

// parseName checks the name of a queue, schedule, URL group or label: section 3.8. The kind is for the error.
func parseName(kind, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s name is empty", kind)
	case len(s) > maxName:
		return fmt.Errorf("%s name of %d bytes; at most %d are allowed", kind, len(s), maxName)
	}
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte("-_.", c) < 0 {
			return fmt.Errorf("%s name %q may have letters, digits, -, _ and . only", kind, s)
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// parseLabels reads the comma list of section 3.6.
func parseLabels(s string) ([]string, error) {
	labels := splitList(s)
	for _, l := range labels {
		if err := parseName("label", l); err != nil {
			return nil, err
		}
	}
	return labels, nil
}

// splitList cuts a comma list into its items, without the blanks around them.
func splitList(s string) []string {
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// parseRedact reads the comma list of section 3.7.
func parseRedact(s string) (redact, error) {
	r := redact{}
	for _, item := range splitList(s) {
		field, name, one := strings.Cut(item, "[")
		field = strings.ToLower(field)
		name, closed := strings.CutSuffix(name, "]")
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		switch header := field == "header" || field == "headers"; {
		case field == "body" && !one:
			r.Body = true
		case header && !one:
			r.AllHeaders = true
		case header && closed && isToken(name):
			if !slices.Contains(r.Headers, name) {
				r.Headers = append(r.Headers, name)
			}
		default:
			return redact{}, fmt.Errorf("%q must be body, header or header[Name]", item)
		}
	}
	return r, nil
}

// isToken says whether s can be the name of a header.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// parseFlow reads a flow-control key and its value, which are given together or not at all: section 3.5.
func parseFlow(key, value string) (*flow, error) {
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case key == "" && value == "":
		return nil, nil
	case key == "":
		return nil, errors.New("flow control needs a key beside its value")
	case value == "":
		return nil, errors.New("flow control needs a value beside its key, like parallelism=2, rate=10, period=1m")
	case len(key) > maxName:
		return nil, fmt.Errorf("flow-control key of %d bytes; at most %d are allowed", len(key), maxName)
	}
	f := &flow{Key: key}
	for _, item := range splitList(value) {
		if err := f.set(item); err != nil {
			return nil, err
		}
	}
	if f.Parallelism == 0 && f.Rate == 0 {
		return nil, fmt.Errorf("flow-control value %q must say parallelism or rate", value)
	}
	if f.Period == 0 {
		f.Period = 1
	}
	return f, nil
}

// set takes one item of a flow-control value.
func (f *flow) set(item string) error {
	name, text, _ := strings.Cut(item, "=")
	name, text = strings.TrimSpace(name), strings.TrimSpace(text)
	to := &f.Parallelism
	switch name {
	case "parallelism":
	case "rate":
		to = &f.Rate
	case "period":
		period, err := parseSeconds(text)
		if err != nil || period < 1 || period > maxPeriod || f.Period != 0 {
			return fmt.Errorf("flow-control period %q must be one duration from 1s to 7d", text)
		}
		f.Period = period
		return nil
	default:
		return fmt.Errorf("flow control knows parallelism, rate and period, not %q", name)
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 || *to != 0 {
		return fmt.Errorf("flow-control %s %q must be one whole number from 1 on", name, text)
	}
	*to = int(n)
	return nil
}

// cronOptions are those of every schedule. The words for whole hours, days and so on are short for five fields.
var cronOptions = cron.Options{Descriptors: true}

// parseCron checks an expression and returns it as it is kept, without blanks around it: section 3.4. The pace of @every
// depends on when the last tick was, and can be below a minute, so it is not taken.
func parseCron(s string) (string, error) {
	s = strings.TrimSpace(s)
	if strings.Contains(s, "@every") {
		return "", fmt.Errorf("cron %q: @every is not allowed here; use five fields, like */10 * * * *", s)
	}
	if _, err := cron.Parse(s, cronOptions); err != nil {
		return "", err
	}
	return s, nil
}
