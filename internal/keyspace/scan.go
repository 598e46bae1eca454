package keyspace

import (
	"math"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// SCAN, SSCAN, HSCAN and ZSCAN. Package data says what a cursor is.

var errCursor = reply.Fail("ERR invalid cursor")

type scan struct {
	cursor  uint64
	count   int
	pattern string
	all     bool   // no pattern
	kind    string // of keys; "": any
	found   []reply.Reply
}

// parseCursor reads a cursor. A negative one is as far behind the end as strtoul makes it.
func parseCursor(s string) (cursor uint64, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	cursor, err := strconv.ParseUint(digits, 10, 64)
	if negative {
		cursor = -cursor
	}
	return cursor, err == nil
}

// scanOptions reads the cursor at an index and the options behind it.
func (c *call) scanOptions(at int, keys bool) (s *scan, bad reply.Reply, ok bool) {
	s = &scan{count: 10, all: true}
	if s.cursor, ok = parseCursor(c.args[at]); !ok {
		return nil, errCursor, false
	}
	for i := at + 1; i < len(c.args); i += 2 {
		a := c.args[i]
		switch {
		case i+1 == len(c.args):
			return nil, errSyntax, false
		case isWord(a, "COUNT"):
			n, ok := parseInt(c.args[i+1])
			if !ok {
				return nil, errInteger, false
			}
			if n < 1 {
				return nil, errSyntax, false
			}
			s.count = int(min(n, math.MaxInt32))
		case isWord(a, "MATCH"):
			s.pattern = c.args[i+1]
			s.all = s.pattern == "*"
		case isWord(a, "TYPE") && keys:
			s.kind = c.args[i+1]
		default:
			return nil, errSyntax, false
		}
	}
	return s, null, true
}

func (s *scan) matches(name string) bool { return s.all || match(s.pattern, name) }

func (s *scan) add(parts ...string) {
	for _, p := range parts {
		s.found = append(s.found, reply.Of(p))
	}
}

func (s *scan) reply(next uint64) reply.Reply {
	if s == nil {
		return reply.List(reply.Of("0"), empty)
	}
	return reply.List(reply.Of(strconv.FormatUint(next, 10)), reply.Reply{Kind: reply.Array, Elems: s.found})
}

// scanKey opens the key that is to be scanned and then reads the options: of a missing key they do not matter.
func scanKey[T any](c *call) (v T, s *scan, done reply.Reply, ok bool) {
	if _, ok = parseCursor(c.args[2]); !ok {
		return v, nil, errCursor, false
	}
	it, v, ok := open[T](c, c.args[1])
	switch {
	case !ok:
		return v, nil, wrongType, false
	case it == nil:
		return v, nil, s.reply(0), false
	}
	s, done, ok = c.scanOptions(2, false)
	return v, s, done, ok
}

func scanCommand(c *call) reply.Reply {
	s, bad, ok := c.scanOptions(1, true)
	if !ok {
		return bad
	}
	t := &c.m.dbs[c.db].keys
	var expired []string
	next := t.Scan(s.cursor, s.count, func(i uint32) {
		it, key := t.At(i), t.Key(i)
		switch {
		case it.expires != 0 && c.m.now > it.expires:
			expired = append(expired, key)
		case s.matches(key) && (s.kind == "" || isWord(s.kind, kindOf(it.val))):
			s.add(key)
		}
	})
	for _, key := range expired {
		c.remove(key)
	}
	return s.reply(next)
}
