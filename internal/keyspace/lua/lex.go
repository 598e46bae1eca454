package lua

import (
	"fmt"
	"strings"
)

// token is a kind of token: a character, a keyword or operator by its text, or one of these.
type token string

const (
	tokenEnd    token = "<eof>"
	tokenName   token = "<name>"
	tokenString token = "<string>"
	tokenNumber token = "<number>"
)

var keywords = map[string]bool{
	"and": true, "break": true, "do": true, "else": true, "elseif": true, "end": true, "false": true, "for": true, "function": true, "if": true,
	"in": true, "local": true, "nil": true, "not": true, "or": true, "repeat": true, "return": true, "then": true, "true": true, "until": true, "while": true,
}

// lexeme is a token with its value.
type lexeme struct {
	token token
	text  string // of a name or string
	raw   string // as it stands in the source, for error texts
	num   float64
	line  int
}

// syntaxError is a panic of lexer and parser; Compile returns it.
type syntaxError struct{ text string }

type lexer struct {
	chunk string
	src   string
	pos   int
	line  int
}

// fail raises an error near a piece of the source.
func (x *lexer) fail(line int, msg, near string) {
	text := fmt.Sprintf("%s:%d: %s", x.chunk, line, msg)
	if near != "" {
		text += " near '" + near + "'"
	}
	panic(syntaxError{text})
}

func (x *lexer) peek(ahead int) byte {
	if x.pos+ahead < len(x.src) {
		return x.src[x.pos+ahead]
	}
	return 0
}

func (x *lexer) next() lexeme {
	x.skip()
	start, line := x.pos, x.line
	if start >= len(x.src) {
		return lexeme{token: tokenEnd, raw: string(tokenEnd), line: line}
	}
	c := x.src[start]
	switch {
	case isNameByte(c) && !isDigit(c):
		for x.pos < len(x.src) && isNameByte(x.src[x.pos]) {
			x.pos++
		}
		word := x.src[start:x.pos]
		if keywords[word] {
			return lexeme{token: token(word), raw: word, line: line}
		}
		return lexeme{token: tokenName, text: word, raw: word, line: line}
	case isDigit(c) || c == '.' && isDigit(x.peek(1)):
		return x.number(start)
	case c == '"' || c == '\'':
		return x.quoted(c)
	case c == '[' && (x.peek(1) == '[' || x.peek(1) == '='):
		if level := x.bracket(); level >= 0 {
			text := x.long(level, "string")
			return lexeme{token: tokenString, text: text, raw: x.src[start:x.pos], line: x.line}
		}
		if x.peek(1) == '=' {
			x.fail(line, "invalid long string delimiter", "[=")
		}
	}
	for _, op := range [...]string{"...", "..", "==", "<=", ">=", "~="} {
		if strings.HasPrefix(x.src[start:], op) {
			x.pos += len(op)
			return lexeme{token: token(op), raw: op, line: line}
		}
	}
	x.pos++
	raw := x.src[start:x.pos]
	if c < ' ' || c == 127 {
		raw = fmt.Sprintf("char(%d)", c)
	}
	return lexeme{token: token(x.src[start:x.pos]), raw: raw, line: line}
}

// skip passes blanks and comments.
func (x *lexer) skip() {
	for x.pos < len(x.src) {
		c := x.src[x.pos]
		switch {
		case c == '\n' || c == '\r':
			x.newline()
		case isSpace(c):
			x.pos++
		case c == '-' && x.peek(1) == '-':
			x.pos += 2
			if x.peek(0) == '[' {
				if level := x.bracket(); level >= 0 {
					x.long(level, "comment")
					continue
				}
			}
			for x.pos < len(x.src) && x.src[x.pos] != '\n' && x.src[x.pos] != '\r' {
				x.pos++
			}
		default:
			return
		}
	}
}

// newline passes one end of a line: \n, \r, \r\n or \n\r.
func (x *lexer) newline() {
	c := x.src[x.pos]
	x.pos++
	if n := x.peek(0); (n == '\n' || n == '\r') && n != c {
		x.pos++
	}
	x.line++
}

// bracket gives the level of a long bracket that begins here, -1 if none does.
func (x *lexer) bracket() int {
	level := 0
	for x.peek(1+level) == '=' {
		level++
	}
	if x.peek(1+level) == '[' {
		return level
	}
	return -1
}

func (x *lexer) long(level int, what string) string {
	x.pos += level + 2
	if c := x.peek(0); x.pos < len(x.src) && (c == '\n' || c == '\r') {
		x.newline()
	}
	end := "]" + strings.Repeat("=", level) + "]"
	var b strings.Builder
	for x.pos < len(x.src) {
		switch c := x.src[x.pos]; {
		case c == ']' && strings.HasPrefix(x.src[x.pos:], end):
			x.pos += len(end)
			return b.String()
		case c == '\n' || c == '\r':
			x.newline()
			b.WriteByte('\n')
		default:
			b.WriteByte(c)
			x.pos++
		}
	}
	x.fail(x.line, "unfinished long "+what, string(tokenEnd))
	return ""
}

func (x *lexer) number(start int) lexeme {
	for isDigit(x.peek(0)) || x.peek(0) == '.' {
		x.pos++
	}
	if c := x.peek(0); c == 'e' || c == 'E' {
		x.pos++
		if c := x.peek(0); c == '+' || c == '-' {
			x.pos++
		}
	}
	for isNameByte(x.peek(0)) {
		x.pos++
	}
	raw := x.src[start:x.pos]
	n, ok := parseNumber(raw)
	if !ok {
		x.fail(x.line, "malformed number", raw)
	}
	return lexeme{token: tokenNumber, num: n, raw: raw, line: x.line}
}

var escapes = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11}

func (x *lexer) quoted(quote byte) lexeme {
	start := x.pos
	x.pos++
	var b strings.Builder
	for {
		if x.pos >= len(x.src) {
			x.fail(x.line, "unfinished string", string(tokenEnd))
		}
		c := x.src[x.pos]
		switch {
		case c == quote:
			x.pos++
			return lexeme{token: tokenString, text: b.String(), raw: x.src[start:x.pos], line: x.line}
		case c == '\n' || c == '\r':
			x.fail(x.line, "unfinished string", x.src[start:x.pos])
		case c != '\\':
			b.WriteByte(c)
			x.pos++
		default:
			x.pos++
			x.escape(&b, start)
		}
	}
}

// escape reads what follows a backslash.
func (x *lexer) escape(b *strings.Builder, start int) {
	if x.pos >= len(x.src) {
		return // the string has no end, which its loop finds
	}
	c := x.src[x.pos]
	switch {
	case c == '\n' || c == '\r':
		x.newline()
		b.WriteByte('\n')
	case isDigit(c):
		n := 0
		for i := 0; i < 3 && isDigit(x.peek(0)); i++ {
			n = n*10 + int(x.peek(0)-'0')
			x.pos++
		}
		if n > 255 {
			x.fail(x.line, "escape sequence too large", x.src[start:start+1]+b.String())
		}
		b.WriteByte(byte(n))
	default:
		if e, ok := escapes[c]; ok {
			c = e
		}
		b.WriteByte(c)
		x.pos++
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameByte(c byte) bool {
	return c == '_' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
