package lua

import "strings"

// Limits of patterns, as in Lua.
const (
	maxCaptures     = 32
	maxPatternDepth = 20_000 // of the matcher's recursion, which is one level for each optional item
)

// Kinds of captures that have no length yet, or none at all.
const (
	captureOpen     = -1
	capturePosition = -2
)

// matcher matches one pattern against one text.
type matcher struct {
	f        *frame
	src, pat string
	level    int
	depth    int
	captures [maxCaptures]struct{ start, length int }
}

func (m *matcher) fail(text string) { m.f.fail("%s", text) }

// match tries the pattern from p at position s and gives where the match ends, -1 if there is none.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxPatternDepth {
		m.fail("pattern too complex")
	}
	end := m.run(s, p)
	m.depth--
	return end
}

func (m *matcher) run(s, p int) int {
	for p < len(m.pat) {
		m.f.e.step(1)
		switch c := m.pat[p]; {
		case c == '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capturePosition)
			}
			return m.open(s, p+1, captureOpen)
		case c == ')':
			return m.close(s, p+1)
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'b':
			if s = m.balance(s, p+2); s < 0 {
				return -1
			}
			p += 4
			continue
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'f':
			end := m.frontier(s, p+2)
			if end < 0 {
				return -1
			}
			p = end
			continue
		case c == '%' && p+1 < len(m.pat) && isDigit(m.pat[p+1]):
			if s = m.back(s, m.pat[p+1]); s < 0 {
				return -1
			}
			p += 2
			continue
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		}
		end := m.classEnd(p)
		next := byte(0)
		if end < len(m.pat) {
			next = m.pat[end]
		}
		switch next {
		case '?':
			if s < len(m.src) && m.single(m.src[s], p, end) {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
		case '*':
			return m.most(s, p, end, 0)
		case '+':
			return m.most(s, p, end, 1)
		case '-':
			return m.least(s, p, end)
		default:
			if s >= len(m.src) || !m.single(m.src[s], p, end) {
				return -1
			}
			s++
			p = end
		}
	}
	return s
}

func (m *matcher) open(s, p, kind int) int {
	if m.level >= maxCaptures {
		m.fail("too many captures")
	}
	m.captures[m.level].start, m.captures[m.level].length = s, kind
	m.level++
	r := m.match(s, p)
	if r < 0 {
		m.level--
	}
	return r
}

func (m *matcher) close(s, p int) int {
	for l := m.level - 1; l >= 0; l-- {
		if m.captures[l].length == captureOpen {
			m.captures[l].length = s - m.captures[l].start
			r := m.match(s, p)
			if r < 0 {
				m.captures[l].length = captureOpen
			}
			return r
		}
	}
	m.fail("invalid pattern capture")
	return -1
}

// most takes as many as there are, then fewer.
func (m *matcher) most(s, p, end, atLeast int) int {
	n := 0
	for s+n < len(m.src) && m.single(m.src[s+n], p, end) {
		n++
	}
	m.f.e.step(n / 8)
	for ; n >= atLeast; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

// least takes as few as will do.
func (m *matcher) least(s, p, end int) int {
	for {
		if r := m.match(s, end+1); r >= 0 {
			return r
		}
		if s >= len(m.src) || !m.single(m.src[s], p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.fail("unbalanced pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, shut, depth := m.pat[p], m.pat[p+1], 1
	for i := s + 1; i < len(m.src); i++ {
		switch m.src[i] {
		case shut:
			if depth--; depth == 0 {
				return i + 1
			}
		case open:
			depth++
		}
	}
	return -1
}

func (m *matcher) frontier(s, p int) int {
	if p >= len(m.pat) || m.pat[p] != '[' {
		m.fail("missing '[' after '%f' in pattern")
	}
	end := m.classEnd(p)
	before, after := byte(0), byte(0)
	if s > 0 {
		before = m.src[s-1]
	}
	if s < len(m.src) {
		after = m.src[s]
	}
	if m.set(before, p, end-1) || !m.set(after, p, end-1) {
		return -1
	}
	return end
}

func (m *matcher) back(s int, digit byte) int {
	l := int(digit) - '1'
	if l < 0 || l >= m.level || m.captures[l].length == captureOpen {
		m.fail("invalid capture index")
	}
	c := m.captures[l]
	if c.length < 0 { // a position has no text; Lua compares a length that no text has
		return -1
	}
	if strings.HasPrefix(m.src[s:], m.src[c.start:c.start+c.length]) {
		return s + c.length
	}
	return -1
}

// classEnd finds the end of the single-character class at p.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			m.fail("malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; first || p >= len(m.pat) || m.pat[p] != ']'; first = false {
			if p >= len(m.pat) {
				m.fail("malformed pattern (missing ']')")
			}
			c := m.pat[p]
			p++
			if c == '%' && p < len(m.pat) {
				p++
			}
		}
		return p + 1
	}
	return p
}

func (m *matcher) single(c byte, p, end int) bool {
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.set(c, p, end-1)
	}
	return m.pat[p] == c
}

// set matches a class in brackets; p is at the opening one and last at the closing one.
func (m *matcher) set(c byte, p, last int) bool {
	yes := true
	if m.pat[p+1] == '^' {
		yes = false
		p++
	}
	for p++; p < last; p++ {
		switch {
		case m.pat[p] == '%':
			p++
			if inClass(c, m.pat[p]) {
				return yes
			}
		case p+2 < last && m.pat[p+1] == '-':
			p += 2
			if m.pat[p-2] <= c && c <= m.pat[p] {
				return yes
			}
		case m.pat[p] == c:
			return yes
		}
	}
	return !yes
}

func inClass(c, class byte) bool {
	var in bool
	switch class | 0x20 {
	case 'a':
		in = isLetter(c)
	case 'd':
		in = isDigit(c)
	case 'l':
		in = c >= 'a' && c <= 'z'
	case 'u':
		in = c >= 'A' && c <= 'Z'
	case 's':
		in = isSpace(c)
	case 'c':
		in = c < ' ' || c == 127
	case 'p':
		in = c > ' ' && c < 127 && !isLetter(c) && !isDigit(c)
	case 'w':
		in = isLetter(c) || isDigit(c)
	case 'x':
		in = digit(c) < 16
	case 'z':
		in = c == 0
	default:
		return c == class
	}
	if !isLetter(class) {
		return c == class
	}
	if class < 'a' {
		return !in
	}
	return in
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// capture gives a capture, or the whole match if the pattern has none.
func (m *matcher) capture(i, start, end int) value {
	if i >= m.level {
		if i != 0 {
			m.fail("invalid capture index")
		}
		return m.text(start, end)
	}
	c := m.captures[i]
	switch c.length {
	case capturePosition:
		return number(float64(c.start + 1))
	case captureOpen:
		m.fail("unfinished capture")
	}
	return m.text(c.start, c.start+c.length)
}

func (m *matcher) text(start, end int) value {
	m.f.e.charge(end - start + 16)
	return str(strings.Clone(m.src[start:end])) // what a script stores must not hold on to what it was cut from
}

// appendCaptures adds all captures, or the whole match if whole is true and there are none.
func (m *matcher) appendCaptures(vals []value, start, end int, whole bool) []value {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		vals = append(vals, m.capture(i, start, end))
	}
	return vals
}
