package lua

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// open makes the globals. What Redis takes away (print, dofile, io, os, require …) is not there.
func (e *Engine) open() {
	e.next = &function{name: "next", native: baseNext}
	e.keys, e.argv = &table{}, &table{}
	base := natives{
		"assert": baseAssert, "collectgarbage": baseCollect, "error": baseError, "gcinfo": baseCollect, "getmetatable": baseGetMetatable, "ipairs": baseIpairs,
		"load": baseLoad, "loadstring": baseLoadString, "pairs": basePairs, "pcall": basePcall, "rawequal": baseRawEqual, "rawget": baseRawGet, "rawset": baseRawSet,
		"select": baseSelect, "setmetatable": baseSetMetatable, "tonumber": baseToNumber, "tostring": baseToString, "type": baseType, "unpack": baseUnpack,
		"xpcall": baseXpcall,
	}
	texts := library(stringFuncs, nil)
	e.strings = &table{readonly: true}
	e.strings.setString("__index", value{ref: texts})
	e.env = library(base, map[string]value{
		"KEYS": {ref: e.keys}, "ARGV": {ref: e.argv}, "_VERSION": str("Lua 5.1"), "next": {ref: e.next},
		"string": {ref: texts}, "table": {ref: library(tableFuncs, nil)}, "math": {ref: library(mathFuncs, mathConstants)},
		"coroutine": {ref: library(coroutineFuncs, nil)}, "bit": {ref: library(bitFuncs, nil)}, "struct": {ref: library(structFuncs, nil)},
		"cjson": {ref: newJSON()}, "cmsgpack": {ref: library(msgpackFuncs, msgpackConstants)}, "redis": {ref: library(redisFuncs, redisConstants)},
	})
	e.env.setString("_G", value{ref: e.env})
}

func baseAssert(f *frame) {
	if len(f.args) == 0 {
		f.argError(0, "value expected")
	}
	if !f.args[0].truthy() {
		if len(f.args) < 2 {
			f.fail("assertion failed!")
		}
		msg, ok := toText(f.args[1])
		if !ok {
			f.argError(1, "string expected, got %s", f.argKind(1))
		}
		f.fail("%s", msg)
	}
	f.retMany(f.args...)
}

// baseCollect is collectgarbage and gcinfo: memory is not a script's affair here.
func baseCollect(f *frame) { f.ret(number(0)) }

func baseError(f *frame) {
	v := f.arg(0)
	if s, ok := v.ref.(string); ok {
		if level := f.intOr(1, 1); level > 0 {
			v = str(f.e.where(f.depth-level) + s)
		}
	}
	f.e.raise(v)
}

func baseGetMetatable(f *frame) {
	if len(f.args) == 0 {
		f.argError(0, "value expected")
	}
	mt := f.e.metatable(f.args[0])
	if mt == nil {
		f.ret(nilValue)
		return
	}
	if v := mt.getString("__metatable"); !v.isNil() {
		f.ret(v)
		return
	}
	f.ret(value{ref: mt})
}

func baseSetMetatable(f *frame) {
	t := f.table(0)
	mt, ok := f.arg(1).ref.(*table)
	if !ok && (len(f.args) < 2 || !f.args[1].isNil()) {
		f.argError(1, "nil or table expected")
	}
	if t.readonly {
		f.e.raise(str(readonlyText))
	}
	if !t.metamethod("__metatable").isNil() {
		f.fail("cannot change a protected metatable")
	}
	t.meta = mt
	f.ret(f.args[0])
}

func baseIpairs(f *frame) {
	f.table(0)
	f.retMany(value{ref: ipairsStep}, f.args[0], number(0))
}

var ipairsStep = &function{name: "ipairs_aux", native: func(f *frame) {
	i := f.int(1) + 1
	if v := f.table(0).getInt(i); !v.isNil() {
		f.retMany(number(float64(i)), v)
	}
}}

func basePairs(f *frame) {
	f.table(0)
	f.retMany(value{ref: f.e.next}, f.args[0], nilValue)
}

func baseNext(f *frame) {
	t := f.table(0)
	at := t.position(f.arg(1))
	if at < 0 {
		f.e.raise(str("invalid key to 'next'"))
	}
	k, v, _ := t.next(at)
	if k.isNil() {
		f.ret(nilValue)
		return
	}
	f.retMany(k, v)
}

func baseLoadString(f *frame) { loadText(f, f.text(0), 1) }

func baseLoad(f *frame) {
	fn := f.function(0)
	var b strings.Builder
	for {
		piece := f.e.callBack(fn).first()
		if piece.isNil() {
			break
		}
		s, ok := toText(piece)
		if !ok {
			f.fail("reader function must return a string")
		}
		if s == "" {
			break
		}
		f.e.charge(len(s))
		f.e.step(1)
		b.WriteString(s)
	}
	name := "=(load)"
	if !f.arg(1).isNil() {
		name = f.text(1)
	}
	f.args = []value{f.arg(0), str(name)}
	loadText(f, b.String(), 1)
}

// loadText compiles text; the name of the chunk is the argument at i, or the text itself.
func loadText(f *frame, text string, i int) {
	name := text
	if !f.arg(i).isNil() {
		name = f.text(i)
	}
	f.e.step(len(text))
	f.e.charge(64 * len(text))
	fn, err := f.e.load(displayName(name), text)
	if err != nil {
		f.retMany(nilValue, str(err.Error()))
		return
	}
	f.ret(value{ref: fn})
}

// displayName shows the name of a chunk in error texts.
func displayName(name string) string {
	if name != "" && (name[0] == '=' || name[0] == '@') {
		return name[1:]
	}
	line, _, more := strings.Cut(name, "\n")
	if const60 := 45; len(line) > const60 {
		line, more = line[:const60], true
	}
	if more {
		line += "..."
	}
	return `[string "` + line + `"]`
}

func basePcall(f *frame) {
	if len(f.args) == 0 {
		f.argError(0, "value expected")
	}
	r, err := f.e.try(f.args[0], f.args[1:])
	if err != nil {
		f.retMany(falseValue, caught(err.v))
		return
	}
	f.retMany(append([]value{trueValue}, r.results()...)...)
}

// caught turns the error of a command into its text, as Redis does for scripts that were written before errors were tables.
func caught(v value) value {
	if t, ok := v.ref.(*table); ok {
		if text := t.getString("err"); text.kind() == "string" || text.isNumber() {
			return text
		}
	}
	return v
}

func baseXpcall(f *frame) {
	if len(f.args) < 2 {
		f.argError(1, "value expected")
	}
	handler := f.args[1]
	r, err := f.e.try(f.args[0], nil)
	if err != nil {
		f.retMany(append([]value{falseValue}, f.e.callBack(handler, err.v).results()...)...)
		return
	}
	f.retMany(append([]value{trueValue}, r.results()...)...)
}

func baseRawEqual(f *frame) {
	if len(f.args) < 2 {
		f.argError(len(f.args), "value expected")
	}
	f.ret(boolean(rawEqual(f.args[0], f.args[1])))
}

func baseRawGet(f *frame) {
	t := f.table(0)
	if len(f.args) < 2 {
		f.argError(1, "value expected")
	}
	f.ret(t.get(f.args[1]))
}

func baseRawSet(f *frame) {
	f.table(0)
	if len(f.args) < 3 {
		f.argError(len(f.args), "value expected")
	}
	t, k := f.writable(0), f.args[1]
	if k.isNil() {
		f.e.raise(str("table index is nil"))
	}
	if isNaN(k) {
		f.e.raise(str("table index is NaN"))
	}
	f.e.grew(t.set(k, f.args[2]))
	f.ret(f.args[0])
}

func baseSelect(f *frame) {
	if s, ok := f.arg(0).ref.(string); ok && s == "#" {
		f.ret(number(float64(len(f.args) - 1)))
		return
	}
	n, count := f.int(0), len(f.args)
	if n < 0 {
		n += count
	} else if n > count {
		n = count
	}
	if n < 1 {
		f.argError(0, "index out of range")
	}
	f.retMany(f.args[n:]...)
}

func baseToNumber(f *frame) {
	base := f.intOr(1, 10)
	if base == 10 {
		if len(f.args) == 0 {
			f.argError(0, "value expected")
		}
		f.retNumber(toNumber(f.args[0]))
		return
	}
	s := f.text(0)
	if base < 2 || base > 36 {
		f.argError(1, "base out of range")
	}
	f.retNumber(parseBase(cString(s), base))
}

func (f *frame) retNumber(n float64, ok bool) {
	if !ok {
		f.ret(nilValue)
		return
	}
	f.ret(number(n))
}

func baseToString(f *frame) {
	if len(f.args) == 0 {
		f.argError(0, "value expected")
	}
	f.ret(str(f.e.display(f.args[0])))
}

// display is tostring.
func (e *Engine) display(v value) string {
	if h := e.metamethod(v, "__tostring"); !h.isNil() {
		s, ok := e.callBack(h, v).first().ref.(string)
		if !ok {
			e.fail("'tostring' must return a string to 'print'")
		}
		return s
	}
	switch r := v.ref.(type) {
	case nil:
		return "nil"
	case string:
		return r
	case *tag:
		switch r {
		case numberTag:
			return formatNumber(v.num)
		case nullTag:
			return "userdata: (nil)"
		}
		return strconv.FormatBool(r == trueTag)
	case *function:
		if r.native != nil {
			return fmt.Sprintf("function: builtin: %s", r.name)
		}
	}
	return fmt.Sprintf("%s: %p", v.kind(), v.ref)
}

func baseType(f *frame) {
	if len(f.args) == 0 {
		f.argError(0, "value expected")
	}
	f.ret(str(f.args[0].kind()))
}

// maxUnpack is how many values unpack gives at most.
const maxUnpack = 8000

func baseUnpack(f *frame) {
	t := f.table(0)
	from := f.intOr(1, 1)
	to := f.intOr(2, len(t.arr))
	if from > to {
		f.n, f.many = 0, nil
		return
	}
	if n := to - from + 1; n <= 0 || n >= maxUnpack {
		f.fail("too many results to unpack")
	}
	vals := f.e.alloc(to - from + 1)
	for i := range vals {
		vals[i] = t.getInt(from + i)
	}
	f.e.top -= len(vals) // unclaimed: the caller takes them at once
	f.retMany(vals...)
}
