package lua

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// verb is one conversion of string.format.
type verb struct {
	flags     string
	width     int
	precision int // -1: none given
	conv      byte
}

func stringFormat(f *frame) {
	format := f.text(0)
	b := f.e.buf[:0]
	arg := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b = append(b, format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			b = append(b, '%')
			continue
		}
		var v verb
		v, i = f.parseVerb(format, i)
		arg++
		before := len(b)
		b = f.convert(b, v, arg)
		f.e.charge(len(b) - before)
	}
	f.e.keepBuf(b)
	f.ret(str(string(b)))
}

// parseVerb reads flags, width and precision of at most two digits, and the letter.
func (f *frame) parseVerb(format string, i int) (verb, int) {
	v := verb{precision: -1}
	start := i
	for i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0 {
		i++
	}
	if i-start > 5 {
		f.fail("invalid format (repeated flags)")
	}
	v.flags = format[start:i]
	number := func() int {
		n, digits := 0, 0
		for i < len(format) && isDigit(format[i]) && digits < 2 {
			n = n*10 + int(format[i]-'0')
			i++
			digits++
		}
		return n
	}
	v.width = number()
	if i < len(format) && format[i] == '.' {
		i++
		v.precision = number()
	}
	if i < len(format) && isDigit(format[i]) {
		f.fail("invalid format (width or precision too long)")
	}
	if i < len(format) {
		v.conv = format[i]
	}
	return v, i
}

// convert formats the argument at i.
func (f *frame) convert(b []byte, v verb, i int) []byte {
	if i >= len(f.args) {
		f.argError(i, "no value")
	}
	switch v.conv {
	case 'c':
		return append(b, cString(string(v.pad(nil, string([]byte{char(f.num(i))}), false)))...)
	case 'd', 'i':
		n := f.int(i)
		digits := strconv.FormatInt(int64(n), 10)
		return v.integer(b, strings.TrimPrefix(digits, "-"), v.sign(n < 0))
	case 'u':
		return v.integer(b, strconv.FormatUint(unsigned(f.num(i)), 10), "")
	case 'o':
		digits := strconv.FormatUint(unsigned(f.num(i)), 8)
		if v.has('#') && digits[0] != '0' {
			digits = "0" + digits
		}
		return v.integer(b, digits, "")
	case 'x', 'X':
		n := unsigned(f.num(i))
		digits, prefix := strconv.FormatUint(n, 16), ""
		if v.has('#') && n != 0 {
			prefix = "0x"
		}
		if v.conv == 'X' {
			digits, prefix = strings.ToUpper(digits), strings.ToUpper(prefix)
		}
		return v.integer(b, digits, prefix)
	case 'e', 'E', 'f', 'g', 'G':
		return v.float(b, f.num(i))
	case 'q':
		return appendQuoted(b, f.text(i))
	case 's':
		s := f.text(i)
		if len(s) < 100 || v.precision >= 0 {
			s = cString(s)
		}
		if v.precision >= 0 && v.precision < len(s) {
			s = s[:v.precision]
		}
		return v.pad(b, s, false)
	}
	name := ""
	if v.conv != 0 {
		name = string(rune(v.conv))
	}
	f.fail("invalid option '%%%s' to 'format'", name)
	return b
}

// char is what C makes of a number that should be a byte; one that is no 32-bit integer becomes zero.
func char(n float64) byte {
	if n < math.MinInt32 || n > math.MaxInt32 || n != n {
		return 0
	}
	return byte(int32(n))
}

// unsigned is C's conversion to 64 bits without a sign.
func unsigned(n float64) uint64 {
	switch {
	case n >= 18446744073709551616:
		return 0
	case n >= 9223372036854775808:
		return uint64(n)
	}
	return uint64(truncate(n))
}

// cString ends a text at its first NUL, as what goes through C's own sprintf does.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

func (v verb) has(flag byte) bool { return strings.IndexByte(v.flags, flag) >= 0 }

func (v verb) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case v.has('+'):
		return "+"
	case v.has(' '):
		return " "
	}
	return ""
}

// pad fills to the width with blanks, or with zeros between sign and digits.
func (v verb) pad(b []byte, s string, zeros bool) []byte {
	fill := v.width - len(s)
	switch {
	case fill <= 0:
		return append(b, s...)
	case v.has('-'):
		return append(append(b, s...), strings.Repeat(" ", fill)...)
	case zeros && v.has('0'):
		sign := 0
		for sign < len(s) && strings.IndexByte("+- ", s[sign]) >= 0 {
			sign++
		}
		if strings.HasPrefix(s[sign:], "0x") || strings.HasPrefix(s[sign:], "0X") {
			sign += 2
		}
		return append(append(append(b, s[:sign]...), strings.Repeat("0", fill)...), s[sign:]...)
	}
	return append(append(b, strings.Repeat(" ", fill)...), s...)
}

func (v verb) integer(b []byte, digits, prefix string) []byte {
	if v.precision >= 0 {
		if v.precision == 0 && digits == "0" {
			digits = ""
		}
		digits = strings.Repeat("0", max(0, v.precision-len(digits))) + digits
	}
	return v.pad(b, prefix+digits, v.precision < 0)
}

func (v verb) float(b []byte, n float64) []byte {
	text := formatNumber(n)
	if n != n || n > 1.7976931348623157e308 || n < -1.7976931348623157e308 {
		if v.conv == 'E' || v.conv == 'G' {
			text = strings.ToUpper(text)
		}
		if n > 0 {
			text = v.sign(false) + text
		}
		return v.pad(b, text, false)
	}
	var flags strings.Builder
	for _, c := range []byte("+ #") {
		if v.has(c) {
			flags.WriteString(string(rune(c)))
		}
	}
	precision := v.precision
	if precision < 0 {
		precision = 6
	}
	if v.conv == 'g' || v.conv == 'G' {
		precision = max(precision, 1)
	}
	return v.pad(b, fmt.Sprintf("%"+flags.String()+"."+strconv.Itoa(precision)+string(rune(v.conv)), n), true)
}

// appendQuoted writes %q.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b = append(b, '\\', c)
		case '\r':
			b = append(b, `\r`...)
		case 0:
			b = append(b, `\000`...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
