package cron

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxSpec is the length up to which an expression is looked at.
const maxSpec = 1 << 10

// Parse reads a cron expression. The grammar is the one of robfig/cron, which most schedulers share: values, names such
// as MON and JAN in any case, ranges, lists, steps, * and ?, plus 7 for Sunday. Errors say which field is wrong and what
// it may be.
func Parse(spec string, opt Options) (*Schedule, error) {
	if len(spec) > maxSpec {
		return nil, fmt.Errorf("cron: expression of %d bytes, at most %d are allowed", len(spec), maxSpec)
	}
	s := &Schedule{spec: spec}
	zone, rest, err := zoneOf(strings.TrimSpace(spec))
	if err == nil {
		s.zone = zone
		err = s.parse(strings.TrimSpace(rest), opt)
	}
	if err != nil {
		return nil, fmt.Errorf("cron %q: %w", spec, err)
	}
	return s, nil
}

// descriptors are short names for schedules.
var descriptors = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

func (s *Schedule) parse(spec string, opt Options) error {
	if strings.HasPrefix(spec, "@") {
		return s.parseDescriptor(spec, opt)
	}
	fields := strings.Fields(spec)
	switch {
	case opt.Seconds && (len(fields) < 5 || len(fields) > 6):
		return fmt.Errorf("has %d fields: allowed are 5, or 6 with seconds first", len(fields))
	case !opt.Seconds && len(fields) != 5:
		return fmt.Errorf("has %d fields: allowed are 5, minute hour day-of-month month day-of-week", len(fields))
	case len(fields) == 5:
		fields = append([]string{"0"}, fields...)
	}
	for i, to := range []*set{&s.second, &s.minute, &s.hour, &s.dom, &s.month, &s.dow} {
		parsed, err := fieldRules[i].parse(fields[i], opt.Last)
		if err != nil {
			return err
		}
		*to = parsed
	}
	if s.nextLocal(0) == never {
		return errors.New("never fires: none of its months has such a day")
	}
	return nil
}

func (s *Schedule) parseDescriptor(spec string, opt Options) error {
	if !opt.Descriptors {
		return fmt.Errorf("%s is not allowed here: allowed are 5 fields, minute hour day-of-month month day-of-week", spec)
	}
	if fields, ok := descriptors[spec]; ok {
		return s.parse(fields, opt)
	}
	text, ok := strings.CutPrefix(spec, "@every ")
	if !ok {
		return fmt.Errorf("%s is not known: allowed are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly "+
			"and @every with a duration", spec)
	}
	every, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || every <= 0 {
		return fmt.Errorf("@every %s: allowed are positive durations such as 90s or 1h30m", text)
	}
	s.every = max(every.Truncate(time.Second), time.Second)
	return nil
}

// fieldRule is what one of the fields may hold.
type fieldRule struct {
	name     string
	min, max int
	names    string // three letters for each value from min on
}

// fieldRules are in the order in which fields are written.
var fieldRules = [...]fieldRule{
	{name: "second", max: 59},
	{name: "minute", max: 59},
	{name: "hour", max: 23},
	{name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: "janfebmaraprmayjunjulaugsepoctnovdec"},
	{name: "day of week", max: 6, names: "sunmontuewedthufrisat"},
}

// parse reads a list of ranges. Commas without anything between them do no harm.
func (r *fieldRule) parse(field string, last bool) (set, error) {
	var all set
	for item := range strings.SplitSeq(field, ",") {
		if item == "" {
			continue
		}
		if day, ok := r.last(item); ok && last {
			all.last |= day
			continue
		}
		one, err := r.parseItem(item)
		if err != nil {
			return set{}, err
		}
		all.bits |= one.bits
		all.any = all.any || one.any
		all.wild = all.wild || one.wild
	}
	if all.bits == 0 && all.last == 0 {
		return set{}, r.wrong(field)
	}
	return all, nil
}

// last reads what is the last of its kind in a month, as set.last has it.
func (r *fieldRule) last(item string) (day uint8, ok bool) {
	text, ok := strings.CutSuffix(strings.ToUpper(item), "L")
	if !ok {
		return 0, false
	}
	switch {
	case r.max == 31 && text == "":
		return 1, true
	case r.max == 6 && text != "":
		v, ok := r.value(text)
		return 1 << r.normal(v), ok
	}
	return 0, false
}

// parseItem reads a value, a range or a wildcard, each perhaps with a step.
func (r *fieldRule) parseItem(item string) (set, error) {
	span, stepText, stepped := strings.Cut(item, "/")
	low, high, ranged := strings.Cut(span, "-")
	var s set
	var from, to int
	var ok bool
	switch {
	case span == "*" || span == "?":
		from, to, ok = r.min, r.max, true
		s.wild, s.any = true, true
	case ranged:
		if from, ok = r.value(low); ok {
			to, ok = r.value(high)
		}
	default:
		from, ok = r.value(span)
		to = from
		if stepped {
			to = max(r.max, from)
		}
	}
	if !ok {
		return set{}, r.wrong(item)
	}
	if from > to {
		return set{}, fmt.Errorf("%s %q starts after it ends", r.name, item)
	}
	step := 1
	if stepped {
		if step, ok = number(stepText); !ok || step == 0 {
			return set{}, fmt.Errorf("%s %q: a step is a number from 1 on", r.name, item)
		}
		s.any = s.any && step == 1
	}
	for v := from; v <= to; v += step {
		s.bits |= 1 << r.normal(v)
	}
	return s, nil
}

func (r *fieldRule) wrong(value string) error {
	names := ""
	if r.names != "" {
		names = fmt.Sprintf(", %s to %s", strings.ToUpper(r.names[:3]), strings.ToUpper(r.names[len(r.names)-3:]))
	}
	return fmt.Errorf("%s %q: allowed are %d to %d%s, *, ranges a-b, lists a,b and steps */n", r.name, value, r.min, r.max, names)
}

// value reads a number or a name.
func (r *fieldRule) value(text string) (int, bool) {
	if len(text) == 3 {
		if at := strings.Index(r.names, strings.ToLower(text)); at >= 0 && at%3 == 0 {
			return r.min + at/3, true
		}
	}
	v, ok := number(text)
	return v, ok && v >= r.min && v <= r.top()
}

// top is the largest value that may be written: Sunday is 0 and also 7.
func (r *fieldRule) top() int {
	if r.max == 6 {
		return 7
	}
	return r.max
}

func (r *fieldRule) normal(v int) int {
	if v > r.max {
		return r.min
	}
	return v
}

// number reads digits and nothing else.
func number(text string) (int, bool) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
