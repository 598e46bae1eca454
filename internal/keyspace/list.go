package keyspace

import (
	"math"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Lists: LPUSH and its relatives, and those that block.

// push adds an item to a list.
func (c *call) push(it *item, l *list, val string, left bool) {
	var pos int64
	if left {
		pos = l.PushLeft(val)
	} else {
		pos = l.PushRight(val)
	}
	c.m.putListItem(it.gen, pos, val, l.Fresh(pos))
	c.m.grow(it, len(val))
}

// pop takes an item from a list that has one. The caller removes the key if it was the last.
func (c *call) pop(it *item, l *list, left bool) string {
	var val string
	var pos int64
	if left {
		val, pos = l.PopLeft()
	} else {
		val, pos = l.PopRight()
	}
	c.m.deletePart(it.gen, posID(pos))
	c.m.grow(it, -len(val))
	return val
}

// shrunk notes that elements were taken from a key, which is gone without any.
func (c *call) shrunk(key string, left int) {
	c.touch(key)
	if left == 0 {
		c.remove(key)
	}
}

func lpush(c *call) reply.Reply  { return c.pushAll(true, false) }
func rpush(c *call) reply.Reply  { return c.pushAll(false, false) }
func lpushx(c *call) reply.Reply { return c.pushAll(true, true) }
func rpushx(c *call) reply.Reply { return c.pushAll(false, true) }

func (c *call) pushAll(left, onlyOld bool) reply.Reply {
	key := c.args[1]
	it, l, ok := open[*list](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil && onlyOld:
		return zero
	case it == nil:
		l = new(list)
		it = c.create(key, l)
	}
	for _, val := range c.args[2:] {
		c.push(it, l, val, left)
	}
	c.touch(key)
	c.ready(key)
	return reply.Num(int64(l.Len()))
}

func lpop(c *call) reply.Reply { return c.popCommand(true) }
func rpop(c *call) reply.Reply { return c.popCommand(false) }

func (c *call) popCommand(left bool) reply.Reply {
	if len(c.args) > 3 {
		return wrongArity([]string{"rpop", "lpop"}[flag(left).N])
	}
	n := int64(-1)
	if len(c.args) == 3 {
		var ok bool
		if n, ok = parseInt(c.args[2]); !ok || n < 0 {
			return reply.Fail("ERR value is out of range, must be positive")
		}
	}
	it, l, ok := open[*list](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil && n >= 0:
		return nullArray
	case it == nil:
		return null
	case n == 0:
		return empty
	case n < 0:
		val := c.pop(it, l, left)
		c.shrunk(c.args[1], l.Len())
		return reply.Of(val)
	}
	return c.popSome(c.args[1], it, l, left, n)
}

// popSome takes up to n items and answers with them.
func (c *call) popSome(key string, it *item, l *list, left bool, n int64) reply.Reply {
	n = min(n, int64(l.Len()))
	elems := make([]reply.Reply, 0, n)
	for range n {
		elems = append(elems, reply.Of(c.pop(it, l, left)))
	}
	c.shrunk(key, l.Len())
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func llen(c *call) reply.Reply {
	it, l, ok := open[*list](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	return reply.Num(int64(l.Len()))
}

func lrange(c *call) reply.Reply {
	start, stop, ok := parseSpan(c.args[2], c.args[3])
	if !ok {
		return errInteger
	}
	it, l, ok := open[*list](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return empty
	}
	from, to := span(start, stop, l.Len())
	elems := make([]reply.Reply, 0, to-from)
	l.Range(from, to, func(val string) bool {
		elems = append(elems, reply.Of(val))
		return true
	})
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func lindex(c *call) reply.Reply {
	it, l, ok := open[*list](c, c.args[1])
	if !ok {
		return wrongType
	}
	if it == nil {
		return null
	}
	i, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	if i < 0 {
		i += int64(l.Len())
	}
	if i < 0 || i >= int64(l.Len()) {
		return null
	}
	return reply.Of(l.At(int(i)))
}

func lset(c *call) reply.Reply {
	it, l, ok := open[*list](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return errNoKey
	}
	i, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	if i < 0 {
		i += int64(l.Len())
	}
	if i < 0 || i >= int64(l.Len()) {
		return errIndex
	}
	pos, grown := l.SetAt(int(i), c.args[3])
	c.m.putListItem(it.gen, pos, c.args[3], false)
	c.m.grow(it, grown)
	c.touch(c.args[1])
	return reply.OK
}

func lrem(c *call) reply.Reply {
	n, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	it, l, ok := open[*list](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	limit := int(min(max(n, -n), math.MaxInt32))
	if n == math.MinInt64 {
		limit = math.MaxInt32
	}
	removed := l.Remove(c.args[3], limit, n < 0, func(pos int64) { c.m.deletePart(it.gen, posID(pos)) })
	if removed > 0 {
		c.m.grow(it, -removed*len(c.args[3]))
		c.shrunk(c.args[1], l.Len())
	}
	return reply.Num(int64(removed))
}

func ltrim(c *call) reply.Reply {
	start, stop, ok := parseSpan(c.args[2], c.args[3])
	if !ok {
		return errInteger
	}
	key := c.args[1]
	it, l, ok := open[*list](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return reply.OK
	}
	from, to := span(start, stop, l.Len())
	if from >= to {
		c.remove(key)
		return reply.OK
	}
	right := l.Len() - to
	for range from {
		c.pop(it, l, true)
	}
	for range right {
		c.pop(it, l, false)
	}
	c.shrunk(key, l.Len())
	return reply.OK
}

func lpos(c *call) reply.Reply {
	rank, count, limit := int64(1), int64(-1), int64(0)
	for i := 3; i < len(c.args); i += 2 {
		if i+1 == len(c.args) {
			return errSyntax
		}
		n, ok := parseInt(c.args[i+1])
		switch a := c.args[i]; {
		case isWord(a, "RANK"):
			if !ok || n < -math.MaxInt64 {
				return errInteger
			}
			if n == 0 {
				return reply.Fail("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list")
			}
			rank = n
		case isWord(a, "COUNT"):
			if !ok || n < 0 {
				return reply.Fail("ERR COUNT can't be negative")
			}
			count = n
		case isWord(a, "MAXLEN"):
			if !ok || n < 0 {
				return reply.Fail("ERR MAXLEN can't be negative")
			}
			limit = n
		default:
			return errSyntax
		}
	}
	it, l, ok := open[*list](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil && count >= 0:
		return empty
	case it == nil:
		return null
	}
	skip := max(rank, -rank) - 1
	var found []reply.Reply
	l.Find(c.args[2], rank < 0, int(min(limit, math.MaxInt32)), func(i int) bool {
		if skip > 0 {
			skip--
			return true
		}
		found = append(found, reply.Num(int64(i)))
		return count == 0 || int64(len(found)) < count
	})
	if count >= 0 {
		return reply.Reply{Kind: reply.Array, Elems: found}
	}
	if len(found) == 0 {
		return null
	}
	return found[0]
}

func linsert(c *call) reply.Reply {
	after := isWord(c.args[2], "AFTER")
	if !after && !isWord(c.args[2], "BEFORE") {
		return errSyntax
	}
	key, val := c.args[1], c.args[4]
	it, l, ok := open[*list](c, key)
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return zero
	}
	at := -1
	l.Find(c.args[3], false, 0, func(i int) bool {
		at = i
		return false
	})
	if at < 0 {
		return reply.Num(-1)
	}
	if after {
		at++
	}
	type row struct {
		pos int64
		val string
	}
	var moved []row // written behind the deletes: one's new position may be another's old one
	pos := l.InsertAt(at, val, func(from, to int64, val string) {
		c.m.deletePart(it.gen, posID(from))
		moved = append(moved, row{to, val})
	})
	for _, r := range moved {
		l.Fresh(r.pos)
		c.m.putListItem(it.gen, r.pos, r.val, false)
	}
	c.m.putListItem(it.gen, pos, val, l.Fresh(pos) && len(moved) == 0)
	c.m.grow(it, len(val))
	c.touch(key)
	c.ready(key)
	return reply.Num(int64(l.Len()))
}

// move takes an item from one list to another, which may be the same. ok is false if there is nothing to take.
func (c *call) move(from, to string, fromLeft, toLeft bool) (r reply.Reply, ok bool) {
	c.find(to) // if it has expired it goes now: the item of the other key would not be valid afterwards
	it, l, ok := open[*list](c, from)
	switch {
	case !ok:
		return wrongType, true
	case it == nil:
		return null, false
	}
	if _, _, ok := open[*list](c, to); !ok {
		return wrongType, true
	}
	val := c.pop(it, l, fromLeft)
	if from != to {
		c.shrunk(from, l.Len())
		if it, l, _ = open[*list](c, to); it == nil {
			l = new(list)
			it = c.create(to, l)
		}
	}
	c.push(it, l, val, toLeft)
	c.touch(to)
	c.ready(to)
	return reply.Of(val), true
}

func rpoplpush(c *call) reply.Reply {
	r, _ := c.move(c.args[1], c.args[2], false, true)
	return r
}

// parseSide reads LEFT or RIGHT.
func parseSide(s string) (left, ok bool) {
	left = isWord(s, "LEFT")
	return left, left || isWord(s, "RIGHT")
}

func lmove(c *call) reply.Reply {
	fromLeft, ok1 := parseSide(c.args[3])
	toLeft, ok2 := parseSide(c.args[4])
	if !ok1 || !ok2 {
		return errSyntax
	}
	r, _ := c.move(c.args[1], c.args[2], fromLeft, toLeft)
	return r
}

func brpoplpush(c *call) reply.Reply {
	return c.blockingMove(false, true, c.args[3])
}

func blmove(c *call) reply.Reply {
	fromLeft, ok1 := parseSide(c.args[3])
	toLeft, ok2 := parseSide(c.args[4])
	if !ok1 || !ok2 {
		return errSyntax
	}
	return c.blockingMove(fromLeft, toLeft, c.args[5])
}

func (c *call) blockingMove(fromLeft, toLeft bool, timeout string) reply.Reply {
	deadline, bad, ok := c.parseTimeout(timeout)
	if !ok {
		return bad
	}
	from, to := c.args[1], c.args[2]
	if r, ok := c.move(from, to, fromLeft, toLeft); ok {
		return r
	}
	return c.block(&waiter{
		keys: []string{from}, deadline: deadline, missing: null, pops: true,
		serve: func(c *call, key string) (reply.Reply, bool) {
			if it, _, ok := open[*list](c, key); !ok || it == nil {
				return null, false
			}
			return c.move(from, to, fromLeft, toLeft)
		},
	})
}

func blpop(c *call) reply.Reply { return c.blockingPop(true) }
func brpop(c *call) reply.Reply { return c.blockingPop(false) }

func (c *call) blockingPop(left bool) reply.Reply {
	last := len(c.args) - 1
	deadline, bad, ok := c.parseTimeout(c.args[last])
	if !ok {
		return bad
	}
	serve := func(c *call, key string) (reply.Reply, bool) {
		it, l, ok := open[*list](c, key)
		if !ok || it == nil {
			return null, false
		}
		val := c.pop(it, l, left)
		c.shrunk(key, l.Len())
		return reply.List(reply.Of(key), reply.Of(val)), true
	}
	return c.serveOrBlock(&waiter{keys: c.args[1:last], deadline: deadline, missing: nullArray, pops: true, serve: serve}, isType[*list])
}

// isType reports whether a key is missing or holds a T.
func isType[T any](c *call, key string) bool {
	_, _, ok := open[T](c, key)
	return ok
}

// serveOrBlock answers from the first key that has something, and waits if none has. A key of another type is an error now, and is
// overlooked while waiting.
func (c *call) serveOrBlock(w *waiter, typed func(*call, string) bool) reply.Reply {
	for _, key := range w.keys {
		if !typed(c, key) {
			return wrongType
		}
		if r, ok := w.serve(c, key); ok {
			return r
		}
	}
	return c.block(w)
}

// manyKeys reads "numkeys key …" from an index on.
func (c *call) manyKeys(at int, badCount reply.Reply) (keys []string, next int, bad reply.Reply, ok bool) {
	n, ok := parseInt(c.args[at])
	if !ok || n <= 0 {
		return nil, 0, badCount, false
	}
	if n > int64(len(c.args)-at-1) {
		return nil, 0, errSyntax, false
	}
	next = at + 1 + int(n)
	return c.args[at+1 : next], next, null, true
}

var errNumKeys = reply.Fail("ERR numkeys should be greater than 0")

// popOptions reads what follows the keys of LMPOP and ZMPOP: a word and COUNT n.
func (c *call) popOptions(at int, first, second string) (isFirst bool, count int64, bad reply.Reply, ok bool) {
	if at >= len(c.args) {
		return false, 0, errSyntax, false
	}
	isFirst = isWord(c.args[at], first)
	if !isFirst && !isWord(c.args[at], second) {
		return false, 0, errSyntax, false
	}
	count = -1
	for i := at + 1; i < len(c.args); i += 2 {
		if !isWord(c.args[i], "COUNT") || count >= 0 || i+1 == len(c.args) {
			return false, 0, errSyntax, false
		}
		if count, ok = parseInt(c.args[i+1]); !ok || count <= 0 {
			return false, 0, reply.Fail("ERR count should be greater than 0"), false
		}
	}
	return isFirst, max(count, 1), null, true
}

func lmpop(c *call) reply.Reply  { return popFirst(c, 1, false, "LEFT", "RIGHT", (*call).popSome) }
func blmpop(c *call) reply.Reply { return popFirst(c, 2, true, "LEFT", "RIGHT", (*call).popSome) }

// popFirst is LMPOP and ZMPOP: it pops from the first of several keys that has something, at one of two ends. at is where the number of keys
// stands; if the command blocks, its time-out stands before that.
func popFirst[T any](
	c *call, at int, blocks bool, first, second string, pop func(c *call, key string, it *item, v T, isFirst bool, count int64) reply.Reply,
) reply.Reply {
	var deadline int64
	if blocks {
		var bad reply.Reply
		var ok bool
		if deadline, bad, ok = c.parseTimeout(c.args[at-1]); !ok {
			return bad
		}
	}
	keys, next, bad, ok := c.manyKeys(at, errNumKeys)
	if !ok {
		return bad
	}
	isFirst, count, bad, ok := c.popOptions(next, first, second)
	if !ok {
		return bad
	}
	serve := func(c *call, key string) (reply.Reply, bool) {
		it, v, ok := open[T](c, key)
		if !ok || it == nil {
			return null, false
		}
		return reply.List(reply.Of(key), pop(c, key, it, v, isFirst, count)), true
	}
	w := &waiter{keys: keys, deadline: deadline, missing: nullArray, pops: true, serve: serve}
	if blocks {
		return c.serveOrBlock(w, isType[T])
	}
	for _, key := range keys {
		if !isType[T](c, key) {
			return wrongType
		}
		if r, ok := serve(c, key); ok {
			return r
		}
	}
	return nullArray
}
