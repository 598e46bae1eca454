package keyspace

import (
	"math"
	"strconv"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// SCAN, SSCAN, HSCAN and ZSCAN. Package data says what a cursor is.

type scan struct {
	cursor  uint64
	count   int
	pattern string
	all     bool   // no pattern
	kind    string // of keys; "": any
	found   []reply.Reply
}

// scanOptions reads the cursor at an index and the options behind it.
func (c *call) scanOptions(at int, keys bool) (s *scan, bad reply.Reply, ok bool) {
	s = &scan{count: 10, all: true}
	var err error
	if s.cursor, err = strconv.ParseUint(c.args[at], 10, 64); err != nil || c.args[at][0] == '+' {
		return nil, reply.Fail("ERR invalid cursor"), false
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
	return reply.List(reply.Of(strconv.FormatUint(next, 10)), reply.Reply{Kind: reply.Array, Elems: s.found})
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
