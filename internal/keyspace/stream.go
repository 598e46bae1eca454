package keyspace

import (
	"math"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Streams: XADD, XRANGE, XTRIM and their relatives. Reading is in xread.go, consumer groups are in group.go.

// stream is a stream with what outlives its entries.
type stream struct {
	data.Stream
	last       data.ID // the greatest id ever
	maxDeleted data.ID // the greatest id that XDEL removed
	added      uint64  // entries that were ever added
	groups     []*group
}

func newStream() *stream { return new(stream) }

// appendState encodes what a stream's header has besides a key's.
func (s *stream) appendState(b []byte) []byte {
	for _, n := range [...]uint64{s.last.MS, s.last.Seq, s.maxDeleted.MS, s.maxDeleted.Seq, s.added} {
		b = appendUvarint(b, n)
	}
	return b
}

func (s *stream) readState(r *reader) {
	for _, n := range [...]*uint64{&s.last.MS, &s.last.Seq, &s.maxDeleted.MS, &s.maxDeleted.Seq, &s.added} {
		*n = r.uvarint()
	}
}

var (
	errStreamID = reply.Fail("ERR Invalid stream ID specified as stream command argument")
	errSmallID  = reply.Fail("ERR The ID specified in XADD is equal or smaller than the target stream top item")
)

// parseID reads an id; one without a sequence number gets seq.
func parseID(s string, seq uint64) (id data.ID, ok bool) {
	ms, rest, two := strings.Cut(s, "-")
	if id.MS, ok = parseUint(ms); !ok {
		return id, false
	}
	if !two {
		return data.ID{MS: id.MS, Seq: seq}, true
	}
	id.Seq, ok = parseUint(rest)
	return id, ok
}

// parseUint reads a number as strtoull does, but for a minus.
func parseUint(s string) (uint64, bool) {
	s = strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+")
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// parseRange reads the two ends of a range of ids.
func parseRange(from, to string) (start, end data.ID, bad reply.Reply, ok bool) {
	bound := func(s string, seq uint64) (id data.ID, exclusive, ok bool) {
		switch {
		case s == "-":
			return data.ID{}, false, true
		case s == "+":
			return data.MaxID, false, true
		case len(s) > 1 && s[0] == '(':
			id, ok = parseID(s[1:], seq)
			return id, true, ok
		}
		id, ok = parseID(s, seq)
		return id, false, ok
	}
	start, out, ok := bound(from, 0)
	if !ok {
		return start, end, errStreamID, false
	}
	if out {
		if start, ok = start.Next(); !ok {
			return start, end, reply.Fail("ERR invalid start ID for the interval"), false
		}
	}
	end, out, ok = bound(to, math.MaxUint64)
	if !ok {
		return start, end, errStreamID, false
	}
	if out {
		if end, ok = end.Prev(); !ok {
			return start, end, reply.Fail("ERR invalid end ID for the interval"), false
		}
	}
	return start, end, null, true
}

// trimming is what XADD and XTRIM are told about trimming.
type trimming struct {
	strategy byte // 0 none, 'l' MAXLEN, 'i' MINID
	approx   bool
	keep     int64
	min      data.ID
	limit    int64
	limited  bool
}

// trimOption reads one option at an index. next is where the following one is; it is at if there was none.
func (t *trimming) option(args []string, at int) (next int, bad reply.Reply, ok bool) {
	a := args[at]
	left := len(args) - at - 1
	switch {
	case isWord(a, "MAXLEN") && left > 0, isWord(a, "MINID") && left > 0:
		strategy := byte('l')
		if isWord(a, "MINID") {
			strategy = 'i'
		}
		if t.strategy != 0 {
			return at, reply.Fail("ERR syntax error, MAXLEN and MINID options at the same time are not compatible"), false
		}
		t.strategy, t.approx = strategy, false
		at++
		if left > 1 && (args[at] == "~" || args[at] == "=") {
			t.approx = args[at] == "~"
			at++
		}
		if strategy == 'i' {
			if t.min, ok = parseID(args[at], 0); !ok {
				return at, errStreamID, false
			}
			return at + 1, null, true
		}
		if t.keep, ok = parseInt(args[at]); !ok {
			return at, errInteger, false
		}
		if t.keep < 0 {
			return at, reply.Fail("ERR The MAXLEN argument must be >= 0."), false
		}
		return at + 1, null, true
	case isWord(a, "LIMIT") && left > 0:
		if t.limit, ok = parseInt(args[at+1]); !ok {
			return at, errInteger, false
		}
		if t.limit < 0 {
			return at, reply.Fail("ERR The LIMIT argument must be >= 0."), false
		}
		t.limited = true
		return at + 2, null, true
	}
	return at, null, true
}

// check looks at all options together.
func (t *trimming) check(mustTrim bool) (bad reply.Reply, ok bool) {
	switch {
	case t.limited && t.strategy == 0:
		return reply.Fail("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"), false
	case mustTrim && t.strategy == 0:
		return reply.Fail("ERR syntax error, XTRIM must be called with a trim strategy"), false
	case t.limited && !t.approx:
		return reply.Fail("ERR syntax error, LIMIT cannot be used without the special ~ option"), false
	}
	return null, true
}

// trim applies it and returns how many entries are gone.
func (c *call) trim(it *item, s *stream, t *trimming) int {
	how := data.Trim{Keep: int(min(t.keep, math.MaxInt32)), Whole: t.approx}
	switch {
	case t.strategy == 0:
		return 0
	case t.strategy == 'i':
		how.MinID = &t.min
	}
	if t.approx {
		how.AtMost = 100 * 100
		if t.limited {
			how.AtMost = int(min(t.limit, math.MaxInt32))
		}
	}
	return s.Cut(how, func(id data.ID, bytes int) {
		c.m.deleteEntry(it.gen, id)
		c.m.grow(it, -bytes)
	})
}

func xadd(c *call) reply.Reply {
	var t trimming
	noMake := false
	at := 2
	for at < len(c.args) {
		if isWord(c.args[at], "NOMKSTREAM") {
			noMake = true
			at++
			continue
		}
		next, bad, ok := t.option(c.args, at)
		if !ok {
			return bad
		}
		if next == at {
			break
		}
		at = next
	}
	var id data.ID
	auto, autoSeq := false, false
	if at < len(c.args) {
		var ok bool
		if auto, autoSeq, id, ok = parseNewID(c.args[at]); !ok {
			return errStreamID
		}
	}
	if bad, ok := t.check(false); !ok {
		return bad
	}
	fields := c.args[min(at+1, len(c.args)):]
	if len(fields) == 0 || len(fields)%2 != 0 {
		return wrongArity("xadd")
	}
	if !auto && !autoSeq && id == (data.ID{}) {
		return reply.Fail("ERR The ID specified in XADD must be greater than 0-0")
	}
	key := c.args[1]
	it, s, ok := open[*stream](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil && noMake:
		return null
	case it == nil:
		s = newStream()
	}
	if s.last == data.MaxID {
		return reply.Fail("ERR The stream has exhausted the last possible ID, unable to add more items")
	}
	if id, ok = s.newID(id, auto, autoSeq, c.m.now); !ok {
		return errSmallID
	}
	if it == nil {
		it = c.create(key, s)
	}
	c.addEntry(key, it, s, id, fields)
	c.trim(it, s, &t)
	c.ready(key)
	return reply.Of(id.String())
}

// parseNewID reads the id of XADD: *, ms-* or ms-seq.
func parseNewID(s string) (auto, autoSeq bool, id data.ID, ok bool) {
	if s == "*" {
		return true, false, id, true
	}
	if ms, found := strings.CutSuffix(s, "-*"); found {
		id.MS, ok = parseUint(ms)
		return false, true, id, ok
	}
	id, ok = parseID(s, 0)
	return false, false, id, ok
}

// hasAfter reports whether there is an entry behind an id.
func (s *stream) hasAfter(id data.ID) bool {
	if !id.Less(s.last) {
		return false
	}
	last, ok := s.Last()
	return ok && id.Less(last)
}

// newID completes an id; ok is false if it is not greater than all before it.
func (s *stream) newID(id data.ID, auto, autoSeq bool, now int64) (data.ID, bool) {
	switch {
	case auto && uint64(now) > s.last.MS:
		return data.ID{MS: uint64(now)}, true
	case auto:
		return s.last.Next()
	case autoSeq && id.MS == s.last.MS:
		if s.last.Seq == math.MaxUint64 {
			return id, false
		}
		id.Seq = s.last.Seq + 1
	}
	return id, s.last.Less(id)
}

func (c *call) addEntry(key string, it *item, s *stream, id data.ID, fields []string) {
	s.Add(id, fields)
	s.last = id
	s.added++
	c.m.putEntry(it.gen, id, fields)
	bytes := 0
	for _, f := range fields {
		bytes += len(f)
	}
	c.m.grow(it, bytes)
	c.m.header(c.db, key, it)
	c.touch(key)
}

func xtrim(c *call) reply.Reply {
	var t trimming
	for at := 2; at < len(c.args); {
		next, bad, ok := t.option(c.args, at)
		if !ok {
			return bad
		}
		if next == at {
			return errSyntax
		}
		at = next
	}
	if bad, ok := t.check(true); !ok {
		return bad
	}
	it, s, ok := open[*stream](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	n := c.trim(it, s, &t)
	if n > 0 {
		c.touch(c.args[1])
	}
	return reply.Num(int64(n))
}

func xlen(c *call) reply.Reply {
	it, s, ok := open[*stream](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	return reply.Num(int64(s.Len()))
}

func xrange(c *call) reply.Reply    { return c.xrange(c.args[2], c.args[3], false) }
func xrevrange(c *call) reply.Reply { return c.xrange(c.args[3], c.args[2], true) }

func (c *call) xrange(from, to string, back bool) reply.Reply {
	start, end, bad, ok := parseRange(from, to)
	if !ok {
		return bad
	}
	count := int64(-1)
	for i := 4; i < len(c.args); i += 2 {
		if !isWord(c.args[i], "COUNT") || i+1 == len(c.args) {
			return errSyntax
		}
		if count, ok = parseInt(c.args[i+1]); !ok {
			return errInteger
		}
		count = max(count, 0)
	}
	it, s, ok := open[*stream](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return empty
	case count == 0:
		return nullArray
	}
	var elems []reply.Reply
	take := func(e data.Entry) bool {
		elems = append(elems, entryReply(e))
		count--
		return count != 0
	}
	if back {
		s.RangeBack(start, end, take)
	} else {
		s.Range(start, end, take)
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func entryReply(e data.Entry) reply.Reply {
	return reply.List(reply.Of(e.ID.String()), flat(e.Fields))
}

func xdel(c *call) reply.Reply {
	var ids []data.ID
	it, s, ok := open[*stream](c, c.args[1])
	if !ok {
		return wrongType
	}
	if it == nil {
		return zero
	}
	for _, a := range c.args[2:] {
		id, ok := parseID(a, 0)
		if !ok {
			return errStreamID
		}
		ids = append(ids, id)
	}
	n := int64(0)
	for _, id := range ids {
		bytes, ok := s.Delete(id)
		if !ok {
			continue
		}
		n++
		c.m.deleteEntry(it.gen, id)
		c.m.grow(it, -bytes)
		if s.maxDeleted.Less(id) {
			s.maxDeleted = id
			c.m.header(c.db, c.args[1], it)
		}
	}
	if n > 0 {
		c.touch(c.args[1])
	}
	return reply.Num(n)
}

func xsetid(c *call) reply.Reply {
	id, ok := parseID(c.args[2], 0)
	if !ok {
		return errStreamID
	}
	added, deleted := int64(-1), data.ID{}
	hasDeleted := false
	for i := 3; i < len(c.args); i += 2 {
		switch {
		case isWord(c.args[i], "ENTRIESADDED") && i+1 < len(c.args):
			if added, ok = parseInt(c.args[i+1]); !ok {
				return errInteger
			}
			if added < 0 {
				return reply.Fail("ERR entries_added must be positive")
			}
		case isWord(c.args[i], "MAXDELETEDID") && i+1 < len(c.args):
			if deleted, ok = parseID(c.args[i+1], 0); !ok {
				return errStreamID
			}
			if id.Less(deleted) {
				return reply.Fail("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
			}
			hasDeleted = true
		default:
			return errSyntax
		}
	}
	it, s, ok := open[*stream](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return errNoKey
	}
	if last, ok := s.Last(); ok {
		if id.Less(last) {
			return reply.Fail("ERR The ID specified in XSETID is smaller than the target stream top item")
		}
		if added >= 0 && int64(s.Len()) > added {
			return reply.Fail("ERR The entries_added specified in XSETID is smaller than the target stream length")
		}
	}
	s.last = id
	if added >= 0 {
		s.added = uint64(added)
	}
	if hasDeleted && deleted != (data.ID{}) {
		s.maxDeleted = deleted
	}
	c.m.header(c.db, c.args[1], it)
	c.touch(c.args[1])
	return reply.OK
}
