package lua

import (
	"strings"
	"unicode/utf8"
)

// jsonToken is a token by the name that error texts give it.
type jsonToken string

const (
	jsonObjBegin jsonToken = "T_OBJ_BEGIN"
	jsonObjEnd   jsonToken = "T_OBJ_END"
	jsonArrBegin jsonToken = "T_ARR_BEGIN"
	jsonArrEnd   jsonToken = "T_ARR_END"
	jsonString   jsonToken = "T_STRING"
	jsonNumber   jsonToken = "T_NUMBER"
	jsonBoolean  jsonToken = "T_BOOLEAN"
	jsonNull     jsonToken = "T_NULL"
	jsonColon    jsonToken = "T_COLON"
	jsonComma    jsonToken = "T_COMMA"
	jsonEnd      jsonToken = "T_END"
)

type jsonReader struct {
	f     *frame
	o     *jsonOptions
	src   string
	pos   int
	depth int

	token jsonToken // a name of none: what is wrong with the text
	at    int       // where it is
	val   value
}

func jsonDecode(f *frame) {
	if len(f.args) != 1 {
		f.argError(0, "expected 1 argument")
	}
	r := &jsonReader{f: f, o: &f.e.run.json, src: f.text(0)}
	if len(r.src) >= 2 && (r.src[0] == 0 || r.src[1] == 0) {
		f.fail("JSON parser does not support UTF-16 or UTF-32")
	}
	f.e.step(len(r.src) / 64)
	r.next()
	v := r.value()
	r.next()
	if r.token != jsonEnd {
		r.unexpected("the end")
	}
	f.ret(v)
}

func (r *jsonReader) unexpected(want string) {
	r.f.fail("Expected %s but found %s at character %d", want, r.token, r.at+1)
}

func (r *jsonReader) peek(ahead int) byte {
	if r.pos+ahead < len(r.src) {
		return r.src[r.pos+ahead]
	}
	return 0
}

func (r *jsonReader) next() {
	for c := r.peek(0); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = r.peek(0) {
		r.pos++
	}
	r.at = r.pos
	c := r.peek(0)
	single := jsonToken("")
	switch c {
	case 0:
		r.token = jsonEnd
		return
	case '{':
		single = jsonObjBegin
	case '}':
		single = jsonObjEnd
	case '[':
		single = jsonArrBegin
	case ']':
		single = jsonArrEnd
	case ':':
		single = jsonColon
	case ',':
		single = jsonComma
	case '"':
		r.text()
		return
	}
	rest := r.src[r.pos:]
	switch {
	case single != "":
		r.token = single
		r.pos++
	case c == '-' || isDigit(c):
		if !r.o.decodeInvalid && invalidNumber(rest) {
			r.token = "invalid number"
			return
		}
		r.number()
	case strings.HasPrefix(rest, "true"):
		r.token, r.val = jsonBoolean, trueValue
		r.pos += 4
	case strings.HasPrefix(rest, "false"):
		r.token, r.val = jsonBoolean, falseValue
		r.pos += 5
	case strings.HasPrefix(rest, "null"):
		r.token = jsonNull
		r.pos += 4
	case r.o.decodeInvalid && strings.IndexByte("+iInN", c) >= 0 && invalidNumber(rest):
		r.number()
	default:
		r.token = "invalid token"
	}
}

// invalidNumber says that a text begins with a number that JSON does not know: hexadecimal, with leading zeros or a plus, or none at all.
func invalidNumber(s string) bool {
	if s[0] == '+' {
		return true
	}
	s = strings.TrimPrefix(s, "-")
	switch {
	case s == "":
		return true
	case s[0] == '0':
		return len(s) > 1 && (s[1]|0x20 == 'x' || isDigit(s[1]))
	case isDigit(s[0]):
		return false
	}
	return len(s) >= 3 && (strings.EqualFold(s[:3], "inf") || strings.EqualFold(s[:3], "nan"))
}

func (r *jsonReader) number() {
	n := numberPrefix(r.src[r.pos:])
	v, ok := parseNumber(r.src[r.pos : r.pos+n])
	if n == 0 || !ok {
		r.token = "invalid number"
		return
	}
	r.token, r.val = jsonNumber, number(v)
	r.pos += n
}

// numberPrefix is how much of a text C's strtod would read.
func numberPrefix(s string) int {
	i := 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	for _, word := range [...]string{"infinity", "inf", "nan"} {
		if len(s)-i >= len(word) && strings.EqualFold(s[i:i+len(word)], word) {
			return i + len(word)
		}
	}
	isDig, expo := isDigit, byte('e')
	if i+2 < len(s) && s[i] == '0' && s[i+1]|0x20 == 'x' && (digit(s[i+2]) < 16 || s[i+2] == '.') {
		isDig, expo = func(c byte) bool { return digit(c) < 16 }, 'p'
		i += 2
	}
	digits := 0
	for i < len(s) && isDig(s[i]) {
		i++
		digits++
	}
	if i < len(s) && s[i] == '.' {
		i++
		for i < len(s) && isDig(s[i]) {
			i++
			digits++
		}
	}
	if digits == 0 {
		return 0
	}
	if i < len(s) && s[i]|0x20 == expo {
		j := i + 1
		if j < len(s) && (s[j] == '-' || s[j] == '+') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for j < len(s) && isDigit(s[j]) {
				j++
			}
			i = j
		}
	}
	return i
}

// text reads a string; r.pos is at its opening quote.
func (r *jsonReader) text() {
	r.pos++
	start := r.pos
	end := start
	for end < len(r.src) && r.src[end] != '"' && r.src[end] != '\\' && r.src[end] != 0 {
		end++
	}
	if end < len(r.src) && r.src[end] == '"' { // nothing to decode
		r.f.e.charge(end - start + 16)
		r.token, r.val, r.pos = jsonString, str(strings.Clone(r.src[start:end])), end+1
		return
	}
	b := append(r.f.e.buf[:0], r.src[start:end]...)
	r.pos = end
	for {
		c := r.peek(0)
		switch c {
		case 0:
			r.token, r.at = "unexpected end of string", r.pos
			return
		case '"':
			r.pos++
			r.f.e.charge(len(b) + 16)
			r.token, r.val = jsonString, str(string(b))
			r.f.e.keepBuf(b)
			return
		case '\\':
			var ok bool
			if b, ok = r.escape(b); !ok {
				return
			}
		default:
			b = append(b, c)
			r.pos++
		}
	}
}

func (r *jsonReader) escape(b []byte) ([]byte, bool) {
	c := r.peek(1)
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		code, n := r.unicode()
		if n == 0 {
			r.token, r.at = "invalid unicode escape code", r.pos
			return b, false
		}
		r.pos += n
		return utf8.AppendRune(b, code), true
	default:
		r.token, r.at = "invalid escape code", r.pos
		return b, false
	}
	r.pos += 2
	return append(b, c), true
}

// unicode reads \uXXXX, or two of them that are one character; n is how long it is, 0 if it is none.
func (r *jsonReader) unicode() (code rune, n int) {
	code, ok := r.hex4(2)
	if !ok || code&0xfc00 == 0xdc00 {
		return 0, 0
	}
	if code&0xfc00 != 0xd800 {
		return code, 6
	}
	low, ok := r.hex4(8)
	if r.peek(6) != '\\' || r.peek(7) != 'u' || !ok || low&0xfc00 != 0xdc00 {
		return 0, 0
	}
	return (code&0x3ff)<<10 + low&0x3ff + 0x10000, 12
}

func (r *jsonReader) hex4(ahead int) (rune, bool) {
	code := 0
	for i := range 4 {
		d := digit(r.peek(ahead + i))
		if d > 15 {
			return 0, false
		}
		code = code<<4 | d
	}
	return rune(code), true
}

// value reads the value that begins with the current token.
func (r *jsonReader) value() value {
	r.f.e.step(1)
	switch r.token {
	case jsonString, jsonNumber, jsonBoolean:
		return r.val
	case jsonNull:
		return nullValue
	case jsonObjBegin:
		return r.object()
	case jsonArrBegin:
		return r.array()
	}
	r.unexpected("value")
	return nilValue
}

func (r *jsonReader) descend() {
	if r.depth++; r.depth > r.o.decodeDepth {
		r.f.fail("Found too many nested data structures (%d) at character %d", r.depth, r.pos)
	}
	r.f.e.charge(tableBytes)
}

func (r *jsonReader) object() value {
	r.descend()
	t := &table{}
	r.next()
	for r.token != jsonObjEnd {
		if r.token != jsonString {
			r.unexpected("object key string")
		}
		key := r.val
		r.next()
		if r.token != jsonColon {
			r.unexpected("colon")
		}
		r.next()
		r.f.e.charge(t.set(key, r.value()))
		r.next()
		if r.token == jsonObjEnd {
			break
		}
		if r.token != jsonComma {
			r.unexpected("comma or object end")
		}
		if r.next(); r.token == jsonObjEnd { // not after a comma
			r.unexpected("object key string")
		}
	}
	r.depth--
	return value{ref: t}
}

func (r *jsonReader) array() value {
	r.descend()
	t := &table{}
	r.next()
	for r.token != jsonArrEnd {
		r.f.e.charge(slotBytes)
		t.append(r.value())
		r.next()
		if r.token == jsonArrEnd {
			break
		}
		if r.token != jsonComma {
			r.unexpected("comma or array end")
		}
		if r.next(); r.token == jsonArrEnd {
			r.unexpected("value")
		}
	}
	r.depth--
	return value{ref: t}
}
