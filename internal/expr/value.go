package expr

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// unknown is the value of a field that is not there. It never leaves the package.
type unknown struct{}

// typeName is the value of type(x), and of the identifiers int, string and so on.
type typeName string

// ParseJSON decodes one JSON value into what expressions work on: nil, bool, int64, float64, string, []any and
// map[string]any. A number without a fraction that fits is an int64 however it is written, because JSON has only one
// kind of number and clients disagree on how to write 2: some send 2.0.
func ParseJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse JSON: more data after the value")
	}
	return fixNumbers(v)
}

// fixNumbers replaces every json.Number in v, in place where it can.
func fixNumbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return parseNumber(string(v))
	case []any:
		for i, e := range v {
			if v[i], err = fixNumbers(e); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k, e := range v {
			if v[k], err = fixNumbers(e); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func parseNumber(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("parse JSON: number %s is out of range", s)
	}
	if i, ok := integral(f); ok {
		return i, nil
	}
	return f, nil
}

// integral returns f as an integer if it is exactly one. Equality, keys and the index all go through it, so that they
// agree on which numbers are the same.
func integral(f float64) (int64, bool) {
	if f != math.Trunc(f) || f < -1<<63 || f >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// asInt returns v as an integer if it is a number without a fraction.
func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		return integral(v)
	}
	return 0, false
}

// absent reports whether v is a missing field or null, which most operators treat alike.
func absent(v any) bool {
	return v == nil || isUnknown(v)
}

func isUnknown(v any) bool {
	_, ok := v.(unknown)
	return ok
}

// truthy is how conditions see a value that need not be a boolean.
func truthy(v any) bool {
	switch v := v.(type) {
	case nil, unknown:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0 && !math.IsNaN(v)
	case string:
		return v != ""
	}
	return true
}

// typeOf names the CEL type of v, for type() and for error messages.
func typeOf(v any) typeName {
	switch v.(type) {
	case nil:
		return "null_type"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "double"
	case string:
		return "string"
	case []byte:
		return "bytes"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	case time.Time:
		return "timestamp"
	case time.Duration:
		return "duration"
	case typeName:
		return "type"
	}
	return "unknown"
}

// lookup follows field names from v. What is not there, or not a map, is unknown.
func lookup(v any, keys []string) any {
	for _, key := range keys {
		m, _ := v.(map[string]any)
		field, ok := m[key]
		if !ok {
			return unknown{}
		}
		v = field
	}
	return v
}

// sortedKeys is the order in which the package visits every map that can be seen from outside.
func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// equal is the == of expressions. A missing field equals null and nothing else, not even another missing field. Numbers
// are equal if their values are, whatever their types.
func (e *env) equal(a, b any) (bool, error) {
	if err := e.charge(1); err != nil {
		return false, err
	}
	if isUnknown(a) || isUnknown(b) {
		return a == nil || b == nil, nil
	}
	switch a := a.(type) {
	case int64, float64:
		return equalNumbers(a, b), nil
	case string:
		b, ok := b.(string)
		return ok && a == b, e.chargeBytes(len(a))
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b), e.chargeBytes(len(a))
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b), nil
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		return e.equalLists(a, b)
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		return e.equalMaps(a, b)
	}
	// What is left on the left can be compared by Go, but what is on the right might not be comparable at all.
	switch b.(type) {
	case []byte, []any, map[string]any:
		return false, nil
	}
	return a == b, nil
}

func equalNumbers(a, b any) bool {
	i, aInt := asInt(a)
	j, bInt := asInt(b)
	if aInt || bInt {
		return aInt && bInt && i == j
	}
	f, _ := a.(float64)
	g, ok := b.(float64)
	return ok && f == g
}

func (e *env) equalLists(a, b []any) (bool, error) {
	for i := range a {
		if ok, err := e.equal(a[i], b[i]); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// equalMaps looks at every field even after one differs: the map's order is random, and stopping early would let it
// show in how much of the budget is left.
func (e *env) equalMaps(a, b map[string]any) (bool, error) {
	same := true
	for k, v := range a {
		w, found := b[k]
		if !found {
			same = false
			w = unknown{}
		}
		ok, err := e.equal(v, w)
		if err != nil {
			return false, err
		}
		same = same && ok
	}
	return same, nil
}

// compare orders a and b. Missing fields and null come before everything. It returns ordered false for NaN, which is
// neither below nor above, and an error for types that have no order between them.
func compare(a, b any) (order int, ordered bool, err error) {
	switch {
	case absent(a) && absent(b):
		return 0, true, nil
	case absent(a):
		return -1, true, nil
	case absent(b):
		return 1, true, nil
	}
	switch a := a.(type) {
	case int64, float64:
		switch b.(type) {
		case int64, float64:
			order, ordered = compareNumbers(a, b)
			return order, ordered, nil
		}
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true, nil
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			return bytes.Compare(a, b), true, nil
		}
	case bool:
		if b, ok := b.(bool); ok {
			return boolInt(a) - boolInt(b), true, nil
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b), true, nil
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok {
			return compareOrdered(a, b), true, nil
		}
	}
	return 0, false, fmt.Errorf("cannot order %s and %s", typeOf(a), typeOf(b))
}

func compareNumbers(a, b any) (order int, ordered bool) {
	i, aInt := asInt(a)
	j, bInt := asInt(b)
	if aInt && bInt {
		return compareOrdered(i, j), true
	}
	// At least one has a fraction or is beyond int64, so rounding the other cannot swap them. It can make them equal in
	// one place: the largest integers round up to 2^63, which is beyond them.
	f, g := toFloat(a), toFloat(b)
	order = compareOrdered(f, g)
	if order == 0 && aInt != bInt {
		order = boolInt(bInt) - boolInt(aInt)
	}
	return order, f == f && g == g
}

func compareOrdered[T int64 | float64 | time.Duration](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// toFloat converts a number; anything else is NaN.
func toFloat(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return math.NaN()
}

// text prints v as it appears in keys and in text that is put together with +.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case typeName:
		return string(v)
	case []byte:
		return string(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case time.Duration:
		return strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s"
	}
	return string(appendJSON(nil, v))
}

// appendJSON writes v without spaces and with sorted keys, so that equal values have equal text.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		return appendFloat(dst, v)
	case string:
		return appendString(dst, v)
	case []byte:
		return appendString(dst, base64.StdEncoding.EncodeToString(v))
	case time.Time, time.Duration, typeName:
		return appendString(dst, text(v))
	case []any:
		dst = append(dst, '[')
		for i, elem := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, elem)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, k), ':')
			dst = appendJSON(dst, v[k])
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// appendFloat prints like JavaScript: no exponent for everyday sizes, and no ".0".
func appendFloat(dst []byte, f float64) []byte {
	if i, ok := integral(f); ok {
		return strconv.AppendInt(dst, i, 10)
	}
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s { // ranging turns invalid UTF-8 into U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// appendKey writes the form of v under which an [Index] finds it: two values have the same form exactly if equal says
// they are equal, with a missing field standing for null. Lists, maps and values that no JSON has are not indexable.
func appendKey(dst []byte, v any) (key []byte, ok bool) {
	switch v := v.(type) {
	case nil, unknown:
		return append(dst, 'n'), true
	case bool:
		return append(dst, 'b', byte(boolInt(v))), true
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, 'i'), uint64(v)), true
	case float64:
		if i, ok := integral(v); ok {
			return appendKey(dst, i)
		}
		if math.IsNaN(v) {
			return dst, false
		}
		return binary.BigEndian.AppendUint64(append(dst, 'd'), math.Float64bits(v)), true
	case string:
		return append(append(dst, 's'), v...), true
	}
	return dst, false
}

// validKey reports whether key could have come from appendKey.
func validKey(key string) bool {
	if key == "" {
		return false
	}
	switch key[0] {
	case 'n':
		return len(key) == 1
	case 'b':
		return len(key) == 2
	case 'i', 'd':
		return len(key) == 9
	}
	return key[0] == 's'
}
