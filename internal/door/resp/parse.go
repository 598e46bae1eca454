package resp

import (
	"bytes"
	"fmt"
	"unsafe"
)

// What a client may send before it has authenticated, as in Redis.
const (
	strangerArguments = 10
	strangerBulk      = 16384
)

const (
	maxLine   = 64 << 10 // of an inline command, and of a line with a length
	bigBulk   = 32 << 10 // from this size on an argument is collected outside the buffer
	argWeight = 48       // what an argument costs besides its bytes
)

// protocolError is what is said to a client before its connection is closed.
type protocolError string

func (e protocolError) Error() string { return "ERR Protocol error: " + string(e) }

// parser takes commands out of a stream of bytes that arrives in any pieces. It holds no more than has arrived.
type parser struct {
	limits   Limits
	stranger bool // the client has not authenticated yet

	buf  []byte
	r, w int // what is between them has not been parsed

	need int      // arguments of the current command that are still missing; 0: no command has begun
	args []string // those that are complete
	bulk int      // length of the argument that has begun, -1: none has
	big  []byte   // its bytes so far, if it is collected outside the buffer
	size int      // of the command so far
}

func newParser(limits Limits) *parser {
	return &parser{limits: limits, buf: make([]byte, 4<<10), bulk: -1}
}

// space is where the next bytes go; the caller says with filled how many came.
func (p *parser) space() []byte {
	if p.r == p.w {
		p.r, p.w = 0, 0
	}
	if p.w == len(p.buf) {
		if p.r > 0 {
			p.w = copy(p.buf, p.buf[p.r:p.w])
			p.r = 0
		} else {
			p.buf = append(p.buf, make([]byte, len(p.buf))...)
		}
	}
	return p.buf[p.w:]
}

func (p *parser) filled(n int) { p.w += n }

// buffered is how many bytes have arrived and are not part of a complete argument.
func (p *parser) buffered() int { return p.w - p.r + len(p.big) }

// next gives a command if one is complete. Its arguments have memory of their own.
func (p *parser) next() (args []string, ok bool, err error) {
	for p.need == 0 {
		if p.r == p.w {
			return nil, false, nil
		}
		if p.buf[p.r] != '*' {
			args, ok, err = p.inline()
			if err != nil || !ok || len(args) > 0 {
				return args, ok && err == nil, err
			}
			continue
		}
		line, ok, err := p.line("mbulk count")
		if err != nil || !ok {
			return nil, false, err
		}
		n, good := parseLength(line[1:])
		switch {
		case !good || n > p.limits.Arguments:
			return nil, false, protocolError("invalid multibulk length")
		case p.stranger && n > strangerArguments:
			return nil, false, protocolError("unauthenticated multibulk length")
		case n > 0:
			p.need, p.size = n, 0
			p.args = make([]string, 0, min(n, 64))
		}
	}
	for p.need > 0 {
		if ok, err := p.argument(); err != nil || !ok {
			return nil, false, err
		}
	}
	args, p.args = p.args, nil
	return args, true, nil
}

// line takes a line with a length, which must be short.
func (p *parser) line(what string) ([]byte, bool, error) {
	i := bytes.IndexByte(p.buf[p.r:p.w], '\n')
	if i < 0 {
		if p.w-p.r > maxLine {
			return nil, false, protocolError("too big " + what + " string")
		}
		return nil, false, nil
	}
	line := p.buf[p.r : p.r+i]
	p.r += i + 1
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line, true, nil
}

// argument takes one argument, or as much of it as is there.
func (p *parser) argument() (ok bool, err error) {
	if p.bulk < 0 {
		if p.r == p.w {
			return false, nil
		}
		line, ok, err := p.line("bulk count")
		if err != nil || !ok {
			return false, err
		}
		if len(line) == 0 || line[0] != '$' {
			c := byte(' ')
			if len(line) > 0 {
				c = line[0]
			}
			return false, protocolError(fmt.Sprintf("expected '$', got '%c'", c))
		}
		n, good := parseLength(line[1:])
		switch {
		case !good || n < 0 || n > p.limits.Bulk:
			return false, protocolError("invalid bulk length")
		case p.stranger && n > strangerBulk:
			return false, protocolError("unauthenticated bulk length")
		}
		if p.size += n + argWeight; p.size > p.limits.Query {
			return false, protocolError("too big command")
		}
		p.bulk = n
	}
	if p.bulk >= bigBulk {
		return p.bigArgument(), nil
	}
	if p.w-p.r < p.bulk+2 {
		return false, nil
	}
	p.add(string(p.buf[p.r : p.r+p.bulk]))
	p.r += p.bulk + 2
	p.bulk = -1
	return true, nil
}

// bigArgument collects an argument as it arrives: what is announced is not allocated before it comes.
func (p *parser) bigArgument() bool {
	part := p.buf[p.r:min(p.w, p.r+p.bulk-len(p.big))]
	if room := len(p.big) + len(part); room > cap(p.big) {
		bigger := make([]byte, len(p.big), min(p.bulk, max(2*cap(p.big), room, bigBulk)))
		copy(bigger, p.big)
		p.big = bigger
	}
	p.big = append(p.big, part...)
	p.r += len(part)
	if len(p.big) < p.bulk || p.w-p.r < 2 {
		return false
	}
	p.add(unsafe.String(&p.big[0], len(p.big))) // nobody else has it
	p.r += 2
	p.bulk, p.big = -1, nil
	return true
}

func (p *parser) add(arg string) {
	p.args = append(p.args, arg)
	p.need--
}

// inline takes a command that a person typed.
func (p *parser) inline() (args []string, ok bool, err error) {
	i := bytes.IndexByte(p.buf[p.r:p.w], '\n')
	if i < 0 {
		if p.w-p.r > maxLine {
			return nil, false, protocolError("too big inline request")
		}
		return nil, false, nil
	}
	line := bytes.TrimSuffix(p.buf[p.r:p.r+i], []byte("\r"))
	p.r += i + 1
	args, ok = splitWords(string(line))
	if !ok {
		return nil, false, protocolError("unbalanced quotes in request")
	}
	return args, true, nil
}

// parseLength reads a decimal number.
func parseLength(b []byte) (int, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// splitWords cuts a line at blanks; words may be quoted as in a shell, with \xHH and the usual escapes between double quotes.
func splitWords(line string) (words []string, ok bool) {
	for i := 0; ; {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return words, true
		}
		var word []byte
		for i < len(line) && !isBlank(line[i]) {
			var good bool
			switch line[i] {
			case '"':
				word, i, good = doubleQuoted(line, i+1, word)
			case '\'':
				word, i, good = singleQuoted(line, i+1, word)
			default:
				word, i, good = append(word, line[i]), i+1, true
			}
			if !good {
				return nil, false
			}
		}
		words = append(words, string(word))
	}
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' || c == 0 }

func doubleQuoted(line string, i int, word []byte) ([]byte, int, bool) {
	for i < len(line) {
		c := line[i]
		switch {
		case c == '"':
			return word, i + 1, i+1 == len(line) || isBlank(line[i+1])
		case c == '\\' && i+3 < len(line) && line[i+1] == 'x' && hexDigit(line[i+2]) >= 0 && hexDigit(line[i+3]) >= 0:
			word = append(word, byte(hexDigit(line[i+2])<<4|hexDigit(line[i+3])))
			i += 4
		case c == '\\' && i+1 < len(line):
			c = line[i+1]
			switch c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'b':
				c = '\b'
			case 'a':
				c = '\a'
			}
			word = append(word, c)
			i += 2
		default:
			word = append(word, c)
			i++
		}
	}
	return nil, i, false
}

func singleQuoted(line string, i int, word []byte) ([]byte, int, bool) {
	for i < len(line) {
		switch {
		case line[i] == '\'':
			return word, i + 1, i+1 == len(line) || isBlank(line[i+1])
		case line[i] == '\\' && i+1 < len(line) && line[i+1] == '\'':
			word = append(word, '\'')
			i += 2
		default:
			word = append(word, line[i])
			i++
		}
	}
	return nil, i, false
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
