package lua

import (
	"fmt"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// maxReplyDepth bounds how deeply nested a script's result may be.
const maxReplyDepth = 1000

// fromReply turns what a command answers into what the script sees.
func (e *Engine) fromReply(r reply.Reply) value {
	switch r.Kind {
	case reply.Bulk, reply.Verbatim:
		e.charge(16)
		return str(r.Str)
	case reply.Int:
		return number(float64(r.N))
	case reply.Array:
		return e.fromElems(r.Elems)
	case reply.Status:
		t := &table{list: make([]entry, 0, 1)}
		t.setString("ok", str(r.Str))
		return value{ref: t}
	case reply.Error:
		return errorTable(r.Str)
	case reply.Null, reply.NullArray:
		if e.run.resp3 {
			return nilValue
		}
		return falseValue
	}
	if e.run.resp3 {
		return e.fromRESP3(r)
	}
	switch r.Kind {
	case reply.Double:
		var buf [32]byte
		return str(string(reply.AppendFloat(buf[:0], r.F)))
	case reply.Bool:
		return number(float64(r.N))
	case reply.Nested:
		return e.fromPairs(r.Elems)
	}
	return e.fromElems(r.Elems)
}

// fromPairs makes an array of arrays of two.
func (e *Engine) fromPairs(elems []reply.Reply) value {
	t := &table{}
	for i := 0; i+1 < len(elems); i += 2 {
		e.charge(slotBytes)
		t.append(e.fromElems(elems[i : i+2]))
	}
	return value{ref: t}
}

func (e *Engine) fromElems(elems []reply.Reply) value {
	e.charge(tableBytes + slotBytes*len(elems))
	t := &table{arr: make([]value, len(elems))}
	for i := range elems {
		t.arr[i] = e.fromReply(elems[i])
	}
	t.trim()
	return value{ref: t}
}

// fromRESP3 gives the kinds that a script sees after redis.setresp(3) only.
func (e *Engine) fromRESP3(r reply.Reply) value {
	t := &table{}
	switch r.Kind {
	case reply.Double:
		t.setString("double", number(r.F))
	case reply.Bool:
		return boolean(r.N != 0)
	case reply.Map, reply.Nested:
		m := &table{}
		for i := 0; i+1 < len(r.Elems); i += 2 {
			e.charge(entryBytes)
			m.set(e.fromReply(r.Elems[i]), e.fromReply(r.Elems[i+1]))
		}
		t.setString("map", value{ref: m})
	case reply.Set:
		m := &table{}
		for _, r := range r.Elems {
			e.charge(entryBytes)
			m.set(e.fromReply(r), trueValue)
		}
		t.setString("set", value{ref: m})
	case reply.Pairs:
		return e.fromPairs(r.Elems)
	default:
		return e.fromElems(r.Elems)
	}
	return value{ref: t}
}

// toReply turns the result of a script into its reply.
func (e *Engine) toReply(v value, depth int) reply.Reply {
	switch r := v.ref.(type) {
	case string:
		return reply.Of(r)
	case *tag:
		switch r {
		case numberTag:
			return reply.Num(int64(truncate(v.num)))
		case trueTag:
			if e.run.resp3 {
				return reply.Reply{Kind: reply.Bool, N: 1}
			}
			return reply.Num(1)
		case falseTag:
			if e.run.resp3 {
				return reply.Reply{Kind: reply.Bool}
			}
		}
	case *table:
		return e.tableReply(r, depth)
	}
	return reply.Reply{}
}

func (e *Engine) tableReply(t *table, depth int) reply.Reply {
	if depth > maxReplyDepth {
		return reply.Fail("ERR reached lua stack limit")
	}
	if t.live > 0 {
		if r, ok := e.markedReply(t, depth); ok {
			return r
		}
	}
	n := 0
	for !t.getInt(n + 1).isNil() {
		n++
	}
	e.step(n)
	e.charge(64 * n)
	elems := make([]reply.Reply, n)
	for i := range elems {
		elems[i] = e.toReply(t.getInt(i+1), depth+1)
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// markedReply makes the kinds that a field of the table names.
func (e *Engine) markedReply(t *table, depth int) (reply.Reply, bool) {
	if s, ok := t.getString("err").ref.(string); ok {
		return reply.Fail(oneLine(s)), true
	}
	if s, ok := t.getString("ok").ref.(string); ok {
		return reply.Reply{Kind: reply.Status, Str: oneLine(s)}, true
	}
	if v := t.getString("double"); v.isNumber() {
		return reply.Float(v.num), true
	}
	if m, ok := t.getString("map").ref.(*table); ok {
		r := reply.Reply{Kind: reply.Map}
		e.each(m, func(k, v value) {
			r.Elems = append(r.Elems, e.toReply(k, depth+1), e.toReply(v, depth+1))
		})
		return r, true
	}
	if m, ok := t.getString("set").ref.(*table); ok {
		r := reply.Reply{Kind: reply.Set}
		e.each(m, func(k, _ value) { r.Elems = append(r.Elems, e.toReply(k, depth+1)) })
		return r, true
	}
	if s, ok := t.getString("big_number").ref.(string); ok {
		return reply.Of(oneLine(s)), true
	}
	if m, ok := t.getString("verbatim_string").ref.(*table); ok {
		if s, ok := m.getString("string").ref.(string); ok {
			return reply.Reply{Kind: reply.Verbatim, Str: s}, true
		}
	}
	return reply.Reply{}, false
}

func (e *Engine) each(t *table, fn func(k, v value)) {
	for at := 0; ; {
		k, v, after := t.next(at)
		if k.isNil() {
			return
		}
		e.step(1)
		e.charge(128)
		fn(k, v)
		at = after
	}
}

// failure is the reply of a script that ended with an error.
func (e *Engine) failure(err *luaError) reply.Reply {
	text := "ERR unknown error"
	if t, ok := err.v.ref.(*table); ok {
		if s, ok := toText(t.getString("err")); ok {
			text = s
		}
	} else {
		text = "ERR " + e.plain(err.v)
	}
	return reply.Fail(oneLine(fmt.Sprintf("%s script: %s, on @%s:%d.", text, e.run.script.SHA, chunkName, err.line)))
}

// plain is tostring for what needs no metamethod.
func (e *Engine) plain(v value) string {
	if s, ok := toText(v); ok {
		return s
	}
	switch v.kind() {
	case "nil", "boolean":
		return e.display(v)
	}
	return v.kind()
}

// oneLine keeps a reply on its line.
func oneLine(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
	}
	return s
}
