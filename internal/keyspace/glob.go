package keyspace

// match reports whether a string fits a pattern of KEYS, SCAN and PSUBSCRIBE: * ? [abc] [^a] [a-z] and \x. It never goes back further than the last
// star, so no pattern takes longer than its length times the string's.
func match(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if n, ok := matchOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one byte against what a pattern begins with, and returns how long that is.
func matchOne(p string, c byte) (n int, ok bool) {
	if p == "" {
		return 0, false
	}
	switch p[0] {
	case '?':
		return 1, true
	case '\\':
		if len(p) > 1 {
			return 2, p[1] == c
		}
	case '[':
		return matchClass(p, c)
	}
	return 1, p[0] == c
}

func matchClass(p string, c byte) (n int, ok bool) {
	i := 1
	not := i < len(p) && p[i] == '^'
	if not {
		i++
	}
	for {
		switch {
		case i >= len(p): // a class that is not closed ends with the pattern
			return len(p), ok != not
		case p[i] == '\\' && i+1 < len(p):
			i++
			ok = ok || p[i] == c
		case p[i] == ']':
			return i + 1, ok != not
		case i+2 < len(p) && p[i+1] == '-':
			lo, hi := min(p[i], p[i+2]), max(p[i], p[i+2])
			ok = ok || lo <= c && c <= hi
			i += 2
		default:
			ok = ok || p[i] == c
		}
		i++
	}
}

// Match reports whether a channel or key fits a pattern of KEYS, SCAN and PSUBSCRIBE.
func Match(pattern, s string) bool { return match(pattern, s) }
