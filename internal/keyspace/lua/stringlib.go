package lua

import (
	"strings"
)

var stringFuncs = natives{
	"byte": stringByte, "char": stringChar, "find": stringFind, "format": stringFormat, "gfind": stringGmatch, "gmatch": stringGmatch, "gsub": stringGsub,
	"len":     func(f *frame) { f.ret(number(float64(len(f.text(0))))) },
	"lower":   func(f *frame) { f.ret(mapBytes(f, 'A', 'Z')) },
	"upper":   func(f *frame) { f.ret(mapBytes(f, 'a', 'z')) },
	"match":   stringMatch,
	"rep":     stringRep,
	"reverse": stringReverse,
	"sub":     stringSub,
	"dump": func(f *frame) {
		f.function(0)
		f.fail("unable to dump given function")
	},
}

// place turns a position that may count from the end into one from the start, 0 if it is before it.
func place(i, length int) int {
	if i < 0 {
		i += length + 1
	}
	return max(i, 0)
}

func stringSub(f *frame) {
	s := f.text(0)
	from, to := place(f.int(1), len(s)), place(f.intOr(2, -1), len(s))
	from, to = max(from, 1), min(to, len(s))
	if from > to {
		f.ret(emptyValue)
		return
	}
	f.e.charge(to - from + 16)
	f.ret(str(strings.Clone(s[from-1 : to])))
}

func stringByte(f *frame) {
	s := f.text(0)
	from := place(f.intOr(1, 1), len(s))
	to := place(f.intOr(2, from), len(s))
	from, to = max(from, 1), min(to, len(s))
	if from > to {
		f.n, f.many = 0, nil
		return
	}
	if to-from+1 >= maxUnpack {
		f.fail("string slice too long")
	}
	vals := make([]value, 0, to-from+1)
	for i := from; i <= to; i++ {
		vals = append(vals, number(float64(s[i-1])))
	}
	f.retMany(vals...)
}

func stringChar(f *frame) {
	b := make([]byte, len(f.args))
	for i := range b {
		c := f.int(i)
		if c < 0 || c > 255 {
			f.argError(i, "invalid value")
		}
		b[i] = byte(c)
	}
	f.e.charge(len(b))
	f.ret(str(string(b)))
}

// mapBytes changes the case of the letters in a range.
func mapBytes(f *frame, from, to byte) value {
	s := f.text(0)
	f.e.charge(len(s))
	f.e.step(len(s) / 64)
	b := []byte(s)
	for i, c := range b {
		if c >= from && c <= to {
			b[i] = c ^ 0x20
		}
	}
	return str(string(b))
}

func stringReverse(f *frame) {
	s := f.text(0)
	f.e.charge(len(s))
	b := make([]byte, len(s))
	for i := range b {
		b[i] = s[len(s)-1-i]
	}
	f.ret(str(string(b)))
}

func stringRep(f *frame) {
	s, n := f.text(0), f.int(1)
	if n <= 0 || s == "" {
		f.ret(emptyValue)
		return
	}
	if n > f.e.memory/len(s) {
		f.e.charge(f.e.memory + 1)
	}
	f.e.charge(len(s) * n)
	f.e.step(len(s) * n / 256)
	f.ret(str(strings.Repeat(s, n)))
}

const specials = "^$*+?.([%-"

func stringFind(f *frame) { findOrMatch(f, true) }

func stringMatch(f *frame) { findOrMatch(f, false) }

func findOrMatch(f *frame, find bool) {
	s, pat := f.text(0), f.text(1)
	start := f.intOr(2, 1)
	if start < 0 {
		start = max(start+len(s), 0)
	} else {
		start = min(max(start-1, 0), len(s))
	}
	if find && (f.arg(3).truthy() || !strings.ContainsAny(cString(pat), specials)) {
		f.e.step(len(s) / 256)
		if i := strings.Index(s[start:], pat); i >= 0 {
			f.retMany(number(float64(start+i+1)), number(float64(start+i+len(pat))))
			return
		}
		f.ret(nilValue)
		return
	}
	p := 0
	if pat != "" && pat[0] == '^' {
		p = 1
	}
	m := &matcher{f: f, src: s, pat: cString(pat)}
	for at := start; at <= len(s); at++ {
		m.level = 0
		if end := m.match(at, p); end >= 0 {
			if find {
				f.retMany(m.appendCaptures([]value{number(float64(at + 1)), number(float64(end))}, at, end, false)...)
			} else {
				f.retMany(m.appendCaptures(nil, at, end, true)...)
			}
			return
		}
		if p == 1 {
			break
		}
	}
	f.ret(nilValue)
}

func stringGmatch(f *frame) {
	s, pat := f.text(0), f.text(1)
	at := 0
	f.e.charge(tableBytes)
	f.ret(value{ref: &function{name: "gmatch", native: func(f *frame) {
		m := &matcher{f: f, src: s, pat: cString(pat)}
		for ; at <= len(s); at++ {
			m.level = 0
			if end := m.match(at, 0); end >= 0 {
				start := at
				if at = end; end == start {
					at++
				}
				f.retMany(m.appendCaptures(nil, start, end, true)...)
				return
			}
		}
		f.ret(nilValue)
	}}})
}

func stringGsub(f *frame) {
	s, pat := f.text(0), f.text(1)
	repl := f.arg(2)
	switch repl.kind() {
	case "string", "number", "table", "function":
	default:
		f.argError(2, "string/function/table expected")
	}
	limit := f.intOr(3, len(s)+1)
	p := 0
	if pat != "" && pat[0] == '^' {
		p = 1
	}
	m := &matcher{f: f, src: s, pat: cString(pat)}
	var b []byte
	at, n := 0, 0
	for n < limit {
		m.level = 0
		end := m.match(at, p)
		if end >= 0 {
			n++
			before := len(b)
			b = m.replace(b, at, end, repl)
			f.e.charge(len(b) - before)
		}
		switch {
		case end > at:
			at = end
		case at < len(s):
			b = append(b, s[at])
			at++
		default:
			at++
		}
		if at > len(s) || p == 1 {
			break
		}
	}
	if at < len(s) {
		b = append(b, s[at:]...)
	}
	f.e.charge(len(s))
	f.retMany(str(string(b)), number(float64(n)))
}

// replace adds what a match is replaced by.
func (m *matcher) replace(b []byte, start, end int, repl value) []byte {
	var v value
	switch r := repl.ref.(type) {
	case *table:
		v = m.f.index(m.f.line, repl, m.capture(0, start, end), "")
	case *function:
		v = m.f.e.callBack(value{ref: r}, m.appendCaptures(nil, start, end, true)...).first()
	default:
		return m.expand(b, start, end, repl)
	}
	if !v.truthy() {
		return append(b, m.src[start:end]...)
	}
	s, ok := toText(v)
	if !ok {
		m.f.fail("invalid replacement value (a %s)", v.kind())
	}
	return append(b, s...)
}

// expand adds a replacement text with its %1 and so on.
func (m *matcher) expand(b []byte, start, end int, repl value) []byte {
	text, _ := toText(repl)
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b = append(b, text[i])
			continue
		}
		i++
		switch {
		case i >= len(text):
			b = append(b, 0) // as Lua, which reads the end of its text
		case !isDigit(text[i]):
			b = append(b, text[i])
		case text[i] == '0':
			b = append(b, m.src[start:end]...)
		default:
			s, _ := toText(m.capture(int(text[i]-'1'), start, end))
			b = append(b, s...)
		}
	}
	return b
}
