package expr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokIdent
	tokOp    // punctuation, and the word "in"
	tokValue // a literal, decoded into token.value
	tokInt   // digits, still undecoded: -9223372036854775808 only fits with its sign
)

type token struct {
	kind  tokenKind
	text  string
	value any
	pos   int // byte offset in the source
}

func (t token) String() string {
	if t.kind == tokEOF {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// lexer splits a source into the tokens of CEL.
type lexer struct {
	src string
	pos int
}

// operators, longest first where one starts another.
var operators = [...]string{
	"==", "!=", "<=", ">=", "&&", "||",
	"<", ">", "!", "?", ":", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}", ".", ",",
}

func (l *lexer) next() (token, error) {
	l.skipSpace()
	start := l.pos
	rest := l.src[start:]
	switch {
	case rest == "":
		return token{kind: tokEOF, pos: start}, nil
	case isDigit(rest[0]) || rest[0] == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.number()
	case stringStart(rest) >= 0:
		return l.quoted(stringStart(rest))
	case isLetter(rest[0]):
		return l.word(), nil
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.pos += len(op)
			return token{kind: tokOp, text: op, pos: start}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, syntaxError(start, "unexpected %q", r)
}

func (l *lexer) skipSpace() {
	for l.pos < len(l.src) {
		switch rest := l.src[l.pos:]; {
		case strings.IndexByte(" \t\r\n\f", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "//"):
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				l.pos += end
			} else {
				l.pos = len(l.src)
			}
		default:
			return
		}
	}
}

func (l *lexer) word() token {
	start := l.pos
	for l.pos < len(l.src) && (isLetter(l.src[l.pos]) || isDigit(l.src[l.pos])) {
		l.pos++
	}
	tok := token{kind: tokIdent, text: l.src[start:l.pos], pos: start}
	switch tok.text {
	case "in":
		tok.kind = tokOp
	case "true", "false":
		tok.kind, tok.value = tokValue, tok.text == "true"
	case "null":
		tok.kind = tokValue
	}
	return tok
}

func (l *lexer) number() (token, error) {
	start := l.pos
	if rest := l.src[start:]; len(rest) > 2 && rest[0] == '0' && rest[1] == 'x' && isHex(rest[2]) {
		l.pos += 2
		l.skip(isHex)
		return l.integer(start)
	}
	l.skip(isDigit)
	float := false
	if rest := l.src[l.pos:]; len(rest) > 1 && rest[0] == '.' && isDigit(rest[1]) {
		float = true
		l.pos++
		l.skip(isDigit)
	}
	if n := exponent(l.src[l.pos:]); n > 0 {
		float = true
		l.pos += n
		l.skip(isDigit)
	}
	if !float {
		return l.integer(start)
	}
	text := l.src[start:l.pos]
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return token{}, syntaxError(start, "number %s is out of range", text)
	}
	return token{kind: tokValue, text: text, value: f, pos: start}, nil
}

// integer ends an integer literal. A trailing u marks CEL's unsigned type; here there is one type of integer.
func (l *lexer) integer(start int) (token, error) {
	tok := token{kind: tokInt, text: l.src[start:l.pos], pos: start}
	if l.pos < len(l.src) && (l.src[l.pos] == 'u' || l.src[l.pos] == 'U') {
		l.pos++
		i, err := parseInt("", tok)
		tok.kind, tok.value = tokValue, i
		return tok, err
	}
	return tok, nil
}

// parseInt decodes the digits of a tokInt.
func parseInt(sign string, tok token) (int64, error) {
	digits, base := tok.text, 10
	if hex, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, base = hex, 16
	}
	i, err := strconv.ParseInt(sign+digits, base, 64)
	if err != nil {
		return 0, syntaxError(tok.pos, "integer %s%s does not fit in 64 bits", sign, tok.text)
	}
	return i, nil
}

// exponent returns the length of an exponent's letter and sign if digits follow.
func exponent(s string) int {
	if s == "" || s[0] != 'e' && s[0] != 'E' {
		return 0
	}
	n := 1
	if len(s) > 1 && (s[1] == '+' || s[1] == '-') {
		n = 2
	}
	if len(s) > n && isDigit(s[n]) {
		return n
	}
	return 0
}

func (l *lexer) skip(class func(byte) bool) {
	for l.pos < len(l.src) && class(l.src[l.pos]) {
		l.pos++
	}
}

// stringStart returns how many letters precede the quote if s starts a string literal, and -1 if it does not.
func stringStart(s string) int {
	for i := 0; i < len(s) && i < 3; i++ {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			return i
		case i == 0 && (c == 'b' || c == 'B'), i < 2 && (c == 'r' || c == 'R'):
			if i == 1 && s[0]|0x20 == 'r' {
				return -1
			}
		default:
			return -1
		}
	}
	return -1
}

// quoted reads a string or bytes literal whose prefix letters (b, r or br) are n long.
func (l *lexer) quoted(n int) (token, error) {
	start := l.pos
	prefix := strings.ToLower(l.src[start : start+n])
	raw, isBytes := strings.Contains(prefix, "r"), strings.Contains(prefix, "b")
	quote := l.src[start+n : start+n+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(l.src[start+n:], triple) {
		quote = triple
	}
	l.pos += n + len(quote)
	var buf []byte
	for {
		rest := l.src[l.pos:]
		switch {
		case rest == "" || len(quote) == 1 && (rest[0] == '\n' || rest[0] == '\r'):
			return token{}, syntaxError(start, "text without its closing %s", quote)
		case strings.HasPrefix(rest, quote):
			l.pos += len(quote)
			tok := token{kind: tokValue, text: l.src[start:l.pos], value: string(buf), pos: start}
			if isBytes {
				tok.value = buf
			}
			return tok, nil
		case rest[0] == '\\' && !raw:
			var err error
			if buf, err = l.escape(buf, isBytes); err != nil {
				return token{}, err
			}
		case rest[0] == '\r': // line ends inside text are \n, whatever the editor of the source wrote
			l.pos += len("\r")
			if !strings.HasPrefix(rest, "\r\n") {
				buf = append(buf, '\n')
			}
		default:
			buf = append(buf, rest[0])
			l.pos++
		}
	}
}

var simpleEscapes = map[byte]byte{
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
	'\\': '\\', '?': '?', '"': '"', '\'': '\'', '`': '`',
}

// escape decodes the escape sequence at the lexer's position onto buf. Numbers up to \xff and \377 are bytes in a bytes
// literal and code points in text.
func (l *lexer) escape(buf []byte, isBytes bool) ([]byte, error) {
	start := l.pos
	if start+1 >= len(l.src) {
		return nil, syntaxError(start, "text ends in a backslash")
	}
	c := l.src[start+1]
	if plain, ok := simpleEscapes[c]; ok {
		l.pos += 2
		return append(buf, plain), nil
	}
	digits, base := start+2, 16
	var n int
	switch {
	case c == 'x' || c == 'X':
		n = 2
	case c == 'u' && !isBytes:
		n = 4
	case c == 'U' && !isBytes:
		n = 8
	case '0' <= c && c <= '3':
		digits, base, n = start+1, 8, 3
	default:
		return nil, syntaxError(start, "unknown escape \\%c", c)
	}
	if digits+n > len(l.src) {
		return nil, syntaxError(start, "escape \\%c needs %d digits", c, n)
	}
	code, err := strconv.ParseUint(l.src[digits:digits+n], base, 32)
	if err != nil {
		return nil, syntaxError(start, "escape \\%c needs %d digits", c, n)
	}
	l.pos = digits + n
	if isBytes {
		return append(buf, byte(code)), nil
	}
	if !utf8.ValidRune(rune(code)) {
		return nil, syntaxError(start, "escape %s is not a character", l.src[start:l.pos])
	}
	return utf8.AppendRune(buf, rune(code)), nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func syntaxError(pos int, format string, args ...any) error {
	return fmt.Errorf("at position %d: %s", pos+1, fmt.Sprintf(format, args...))
}
