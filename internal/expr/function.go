package expr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// function is one that expressions can call, as f(x), as x.f(), or both.
type function struct {
	name             string
	global, method   bool
	minArgs, maxArgs int // a method's receiver counts
	// ifAbsent is the result when an argument is missing or null. Without it the function gets to see those.
	ifAbsent any
	class    functionClass
	call     func(e *env, args []any) (any, error)
}

// functionClass is what [Program.PlainLogic] goes by.
type functionClass string

const (
	classPlain functionClass = ""
	classText  functionClass = "string"
	classTime  functionClass = "date"
)

// functions has every function by name. It is built once and only read.
var functions = functionsByName(
	function{name: "size", global: true, method: true, minArgs: 1, maxArgs: 1, ifAbsent: int64(0), call: size},
	function{name: "type", global: true, minArgs: 1, maxArgs: 1, call: func(_ *env, args []any) (any, error) {
		return typeOf(args[0]), nil
	}},
	function{name: "dyn", global: true, minArgs: 1, maxArgs: 1, call: func(_ *env, args []any) (any, error) {
		return args[0], nil
	}},

	conversion("int", toInt),
	conversion("uint", toUint),
	conversion("double", toDouble),
	conversion("bool", toBool),
	conversion("bytes", toBytes),
	function{name: "string", global: true, minArgs: 1, maxArgs: 1, call: toText},

	predicate("contains", strings.Contains),
	predicate("startsWith", strings.HasPrefix),
	predicate("endsWith", strings.HasSuffix),
	function{
		name: "matches", global: true, method: true, minArgs: 2, maxArgs: 2, ifAbsent: false, class: classText,
		call: matchDynamic,
	},
	ofText("lowercase", func(s string) (any, error) { return strings.ToLower(s), nil }),
	ofText("uppercase", func(s string) (any, error) { return strings.ToUpper(s), nil }),
	ofText("b64decode", decodeBase64),
	ofText("json_parse", func(s string) (any, error) { return ParseJSON([]byte(s)) }),

	timeFunction("timestamp", toTimestamp),
	timeFunction("date", toDate),
	timeFunction("duration", toDuration),
	function{name: "now", global: true, class: classTime, call: func(e *env, _ []any) (any, error) {
		return e.time(), nil
	}},
	fromNow("now_plus", 1),
	fromNow("now_minus", -1),

	timeAccessor("getFullYear", time.Time.Year),
	timeAccessor("getMonth", func(t time.Time) int { return int(t.Month()) - 1 }),
	timeAccessor("getDate", time.Time.Day),
	timeAccessor("getDayOfMonth", func(t time.Time) int { return t.Day() - 1 }),
	timeAccessor("getDayOfWeek", func(t time.Time) int { return int(t.Weekday()) }),
	timeAccessor("getDayOfYear", func(t time.Time) int { return t.YearDay() - 1 }),
	clockAccessor("getHours", time.Time.Hour, time.Hour),
	clockAccessor("getMinutes", time.Time.Minute, time.Minute),
	clockAccessor("getSeconds", time.Time.Second, time.Second),
	clockAccessor("getMilliseconds", func(t time.Time) int { return t.Nanosecond() / 1e6 }, time.Millisecond),
)

func functionsByName(all ...function) map[string]*function {
	byName := make(map[string]*function, len(all))
	for _, fn := range all {
		byName[fn.name] = &fn
	}
	return byName
}

func conversion(name string, convert func(v any) (any, error)) function {
	return function{
		name: name, global: true, minArgs: 1, maxArgs: 1, ifAbsent: unknown{},
		call: func(e *env, args []any) (any, error) {
			if err := e.chargeBytes(len(asString(args[0]))); err != nil {
				return nil, err
			}
			return convert(args[0])
		},
	}
}

func predicate(name string, test func(s, part string) bool) function {
	return function{
		name: name, method: true, minArgs: 2, maxArgs: 2, ifAbsent: false, class: classText,
		call: func(e *env, args []any) (any, error) {
			s, ok := args[0].(string)
			part, ok2 := args[1].(string)
			if !ok || !ok2 {
				return nil, fmt.Errorf("needs text, not %s and %s", typeOf(args[0]), typeOf(args[1]))
			}
			return test(s, part), e.chargeBytes(len(s))
		},
	}
}

func ofText(name string, f func(s string) (any, error)) function {
	return function{
		name: name, global: true, method: true, minArgs: 1, maxArgs: 1, ifAbsent: unknown{}, class: classText,
		call: func(e *env, args []any) (any, error) {
			s, ok := args[0].(string)
			if !ok {
				return nil, fmt.Errorf("needs text, not %s", typeOf(args[0]))
			}
			if err := e.charge(len(s) / 16); err != nil {
				return nil, err
			}
			return f(s)
		},
	}
}

func timeFunction(name string, convert func(v any) (any, error)) function {
	fn := conversion(name, convert)
	fn.class = classTime
	return fn
}

func size(e *env, args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), e.chargeBytes(len(v))
	case []byte:
		return int64(len(v)), nil
	case []any:
		return int64(len(v)), nil
	case map[string]any:
		return int64(len(v)), nil
	}
	return nil, fmt.Errorf("%s has none", typeOf(args[0]))
}

func toInt(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case float64:
		i, ok := integral(math.Trunc(v))
		return checked(i, ok)
	case string:
		i, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not an integer", v)
		}
		return i, nil
	case time.Time:
		return v.Unix(), nil
	}
	return nil, notConvertible(v)
}

func toUint(v any) (any, error) {
	i, err := toInt(v)
	if i, ok := i.(int64); ok && i < 0 {
		return nil, errOverflow
	}
	return i, err
}

func toDouble(v any) (any, error) {
	switch v := v.(type) {
	case int64, float64:
		return toFloat(v), nil
	case string:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", v)
		}
		return f, nil
	}
	return nil, notConvertible(v)
}

func toBool(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		b, err := strconv.ParseBool(v)
		if err != nil {
			return nil, fmt.Errorf("%q is not a boolean", v)
		}
		return b, nil
	}
	return nil, notConvertible(v)
}

func toBytes(v any) (any, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, notConvertible(v)
}

func toText(e *env, args []any) (any, error) {
	switch v := args[0].(type) {
	case unknown:
		return v, nil
	case []any, map[string]any:
		return nil, notConvertible(v)
	case []byte:
		if !utf8.Valid(v) {
			return nil, errors.New("the bytes are not text")
		}
	}
	s := text(args[0])
	return s, e.chargeBytes(len(s))
}

func notConvertible(v any) error {
	return fmt.Errorf("cannot convert %s", typeOf(v))
}

func (e *env) match(re *regexp.Regexp, s string) (any, error) {
	if err := e.charge(len(s) / 16); err != nil {
		return nil, err
	}
	return re.MatchString(s), nil
}

// maxDynamicPattern bounds patterns that come from events, which have to be compiled at every evaluation.
const maxDynamicPattern = 1 << 10

func matchDynamic(e *env, args []any) (any, error) {
	s, ok := args[0].(string)
	pattern, ok2 := args[1].(string)
	if !ok || !ok2 {
		return nil, fmt.Errorf("needs text, not %s and %s", typeOf(args[0]), typeOf(args[1]))
	}
	if len(pattern) > maxDynamicPattern {
		return nil, fmt.Errorf("pattern of %d bytes, at most %d are allowed", len(pattern), maxDynamicPattern)
	}
	if err := e.charge(1000 + 10*len(pattern)); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return e.match(re, s)
}

// decodeBase64 takes the standard and the URL alphabet, with or without padding.
func decodeBase64(s string) (any, error) {
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	raw, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil {
		return nil, err
	}
	return string(raw), nil
}

func (e *env) time() time.Time { return time.UnixMilli(e.now).UTC() }

func fromNow(name string, sign time.Duration) function {
	return function{
		name: name, global: true, minArgs: 1, maxArgs: 1, ifAbsent: unknown{}, class: classTime,
		call: func(e *env, args []any) (any, error) {
			d, err := toDuration(args[0])
			if err != nil {
				return nil, err
			}
			return checkedTime(e.time().Add(sign * d.(time.Duration)))
		},
	}
}

// toTimestamp is CEL's conversion, in which a number counts seconds.
func toTimestamp(v any) (any, error) {
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case int64:
		return fromUnix(v, 1)
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return nil, fmt.Errorf("%q is not a time as in 2006-01-02T15:04:05Z", v)
		}
		return checkedTime(t.UTC())
	}
	return nil, notConvertible(v)
}

// dateLayouts are the forms that date() understands; without a zone they mean UTC.
var dateLayouts = [...]string{
	time.RFC3339Nano,
	"2006-01-02",
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04",
	"2006-01-02 15:04",
	"2006/01/02",
	time.RFC1123,
	time.RFC1123Z,
}

// toDate is more lenient than toTimestamp, and a number counts milliseconds as it does in JavaScript.
func toDate(v any) (any, error) {
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case int64:
		return fromUnix(v, 1000)
	case string:
		for _, layout := range dateLayouts {
			if t, err := time.Parse(layout, v); err == nil {
				return checkedTime(t.UTC())
			}
		}
		return nil, fmt.Errorf("%q is not a date as in 2006-01-02", v)
	}
	return nil, notConvertible(v)
}

// fromUnix converts a count since the epoch of which there are perSecond in a second.
func fromUnix(n, perSecond int64) (any, error) {
	const limit = 1 << 40 // seconds; beyond any year with four digits, and safe to compute with
	if sec := n / perSecond; sec < -limit || sec > limit {
		return nil, errOverflow
	}
	return checkedTime(time.Unix(n/perSecond, n%perSecond*(1e9/perSecond)).UTC())
}

func toDuration(v any) (any, error) {
	switch v := v.(type) {
	case time.Duration:
		return v, nil
	case string:
		return parseDuration(v)
	}
	return nil, notConvertible(v)
}

// parseDuration reads Go's notation, with days and weeks in front: 1w2d3h.
func parseDuration(s string) (any, error) {
	rest, negative := strings.CutPrefix(s, "-")
	var total time.Duration
	for _, unit := range [...]struct {
		suffix byte
		length time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) || rest[digits] != unit.suffix {
			continue
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil || n > int64((math.MaxInt64-total)/unit.length) {
			return nil, errOverflow
		}
		total += time.Duration(n) * unit.length
		rest = rest[digits+1:]
	}
	if rest != "" || total == 0 {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
			return nil, fmt.Errorf("%q is not a duration as in 1h30m", s)
		}
		if d > math.MaxInt64-total {
			return nil, errOverflow
		}
		total += d
	}
	if negative {
		total = -total
	}
	return total, nil
}

// timeAccessor is a method that takes one part out of a timestamp, in UTC or the zone of its argument.
func timeAccessor(name string, part func(time.Time) int) function {
	return function{
		name: name, method: true, minArgs: 1, maxArgs: 2, ifAbsent: unknown{}, class: classTime,
		call: func(e *env, args []any) (any, error) {
			t, ok := args[0].(time.Time)
			if !ok {
				return nil, fmt.Errorf("needs a timestamp, not %s", typeOf(args[0]))
			}
			if len(args) == 2 {
				zone, err := e.location(args[1])
				if err != nil {
					return nil, err
				}
				t = t.In(zone)
			}
			return int64(part(t)), nil
		},
	}
}

// clockAccessor is a timeAccessor that also works on durations, of which it gives the length in whole units.
func clockAccessor(name string, part func(time.Time) int, unit time.Duration) function {
	fn := timeAccessor(name, part)
	ofTime := fn.call
	fn.call = func(e *env, args []any) (any, error) {
		if d, ok := args[0].(time.Duration); ok && len(args) == 1 {
			return int64(d / unit), nil
		}
		return ofTime(e, args)
	}
	return fn
}

// location finds a zone by its name or its offset from UTC, as in "+02:00".
func (e *env) location(v any) (*time.Location, error) {
	name, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("needs the name of a time zone, not %s", typeOf(v))
	}
	if offset, err := time.Parse("-07:00", name); err == nil {
		return offset.Location(), nil
	}
	if offset, err := time.Parse("-07:00", "+"+name); err == nil { // CEL's plus sign is optional
		return offset.Location(), nil
	}
	if name == "Local" {
		return nil, errors.New(`time zone "Local" differs between machines`)
	}
	// Reading a zone from disk is the costliest thing there is here.
	if err := e.charge(1000); err != nil {
		return nil, err
	}
	return time.LoadLocation(name)
}
