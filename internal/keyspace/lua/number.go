package lua

import (
	"math"
	"strconv"
	"strings"
)

// appendNumber writes a number as tostring, the operator .. and cjson do, like C's %.14g.
func appendNumber(b []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1e14 && (f != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(b, int64(f), 10)
	}
	switch {
	case f != f && math.Signbit(f):
		return append(b, "-nan"...)
	case f != f:
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	}
	return strconv.AppendFloat(b, f, 'g', 14, 64)
}

// small numbers are written so often that their texts are kept.
var smallNumbers = func() (s [256]value) {
	for i := range s {
		s[i] = str(strconv.Itoa(i))
	}
	return s
}()

func formatNumber(f float64) string {
	if f >= 0 && f < 256 && f == math.Trunc(f) && !math.Signbit(f) {
		return smallNumbers[int(f)].ref.(string)
	}
	var buf [32]byte
	return string(appendNumber(buf[:0], f))
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// parseNumber reads a number as C's strtod does, with blanks around it: decimal and hexadecimal with or without fraction and exponent, inf and nan.
func parseNumber(s string) (float64, bool) {
	s = cString(s)
	for len(s) > 0 && isSpace(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	if len(s) == 0 {
		return 0, false
	}
	if n, ok := parseDigits(s); ok {
		return n, true
	}
	if strings.IndexByte(s, '_') >= 0 {
		return 0, false
	}
	body, sign := s, ""
	if body[0] == '-' || body[0] == '+' {
		sign, body = body[:1], body[1:]
	}
	if len(body) > 1 && body[0] == '0' && (body[1] == 'x' || body[1] == 'X') {
		return parseHex(sign, body[2:])
	}
	if len(body) > 0 && (body[0] == 'i' || body[0] == 'I' || body[0] == 'n' || body[0] == 'N') {
		switch strings.ToLower(body) {
		case "inf", "infinity":
			if sign == "-" {
				return math.Inf(-1), true
			}
			return math.Inf(1), true
		case "nan":
			if sign == "-" {
				return math.Copysign(nan, -1), true
			}
			return nan, true
		}
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !isRange(err) {
		return 0, false
	}
	return f, true
}

// parseDigits is the quick way for what is most common, up to 15 decimal digits.
func parseDigits(s string) (float64, bool) {
	if len(s) > 15 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return float64(n), true
}

func parseHex(sign, digits string) (float64, bool) {
	if !strings.ContainsAny(digits, "pP") {
		digits += "p0"
	}
	f, err := strconv.ParseFloat(sign+"0x"+digits, 64)
	if err != nil && !isRange(err) {
		return 0, false
	}
	return f, true
}

// isRange says that a number is too big or small for a double: it is infinite or zero then, as in C.
func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

// toNumber converts numbers and strings that look like one.
func toNumber(v value) (float64, bool) {
	if v.isNumber() {
		return v.num, true
	}
	if s, ok := v.ref.(string); ok {
		return parseNumber(s)
	}
	return 0, false
}

// toText converts strings and numbers to text.
func toText(v value) (string, bool) {
	if s, ok := v.ref.(string); ok {
		return s, true
	}
	if v.isNumber() {
		return formatNumber(v.num), true
	}
	return "", false
}

// nan has the bits that C gives it.
var nan = math.Float64frombits(0x7ff8 << 48)

// parseBase reads an integer in a base from 2 to 36, for tonumber with two arguments.
func parseBase(s string, base int) (float64, bool) {
	s = strings.TrimFunc(s, func(r rune) bool { return r < 128 && isSpace(byte(r)) })
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if base == 16 && len(s) > 2 && (strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")) {
		s = s[2:]
	}
	if s == "" {
		return 0, false
	}
	n := uint64(0)
	for i := range len(s) {
		d := digit(s[i])
		if d >= base {
			return 0, false
		}
		if next := n*uint64(base) + uint64(d); n > (math.MaxUint64-uint64(d))/uint64(base) {
			n = math.MaxUint64 // as strtoul at its limit
		} else {
			n = next
		}
	}
	if negative {
		n = -n
	}
	return float64(n), true
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	}
	return 99
}
