package lua

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// echo is a keyspace in which every command answers its arguments, but for a few that have other kinds of replies.
func echo(args []string) reply.Reply {
	switch strings.ToLower(args[0]) {
	case "null":
		return reply.Reply{}
	case "int":
		return reply.Num(7)
	case "status":
		return reply.OK
	case "double":
		return reply.Float(1.5)
	case "fail":
		return reply.Fail("WRONGTYPE Operation against a key holding the wrong kind of value")
	case "map":
		return reply.Reply{Kind: reply.Map, Elems: []reply.Reply{reply.Of("a"), reply.Num(1)}}
	case "holes":
		return reply.List(reply.Of("a"), reply.Reply{}, reply.Of("c"))
	}
	elems := make([]reply.Reply, len(args))
	for i, a := range args {
		elems[i] = reply.Of(strings.Clone(a))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func script(body string, keys, args []string, call func([]string) reply.Reply) *keyspace.Script {
	sum := sha1.Sum([]byte(body))
	return &keyspace.Script{SHA: hex.EncodeToString(sum[:]), Body: body, Keys: keys, Args: args, Call: call}
}

// show writes a reply as one line.
func show(r reply.Reply) string {
	var b strings.Builder
	var write func(r reply.Reply)
	write = func(r reply.Reply) {
		switch r.Kind {
		case reply.Null, reply.NullArray:
			b.WriteString("null")
		case reply.Int, reply.Bool:
			b.WriteString(":" + formatNumber(float64(r.N)))
		case reply.Status:
			b.WriteString("+" + r.Str)
		case reply.Error:
			text, _, _ := strings.Cut(r.Str, " script: ")
			b.WriteString("-" + text)
		case reply.Double:
			b.Write(reply.AppendFloat([]byte{','}, r.F))
		case reply.Array, reply.Map, reply.Set, reply.Pairs:
			b.WriteString(map[reply.Kind]string{reply.Map: "%", reply.Set: "~"}[r.Kind] + "[")
			for i, e := range r.Elems {
				if i > 0 {
					b.WriteString(" ")
				}
				write(e)
			}
			b.WriteString("]")
		default:
			b.WriteString(r.Str)
		}
	}
	write(r)
	return b.String()
}

func TestScripts(t *testing.T) {
	t.Parallel()
	e := New(Limits{})
	f := func(body, want string) {
		t.Helper()
		if got := show(e.Run(script(body, []string{"k1", "k2"}, []string{"a1", ""}, echo))); got != want {
			t.Errorf("%s\n got %s\nwant %s", body, got, want)
		}
	}
	// numbers and texts
	f(`return tostring(1795446687522)`, "1795446687522")
	f(`return {tostring(99999999999999), tostring(1e14), tostring(1e15)}`, "[99999999999999 1e+14 1e+15]")
	f(`return {tostring(2^53), 1795446687522*4096 .. ""}`, "[9.007199254741e+15 7.3541496320901e+15]")
	f(`return 1795446687522.5 .. ""`, "1795446687522.5")
	f(`return {tostring(1/3), tostring(0.1), tostring(5/2), tostring(1/0), tostring(-1/0), tostring(-0)}`, "[0.33333333333333 0.1 2.5 inf -inf -0]")
	f(`return {tonumber("1e3"), tonumber("0x10"), tonumber(" 12 "), tostring(tonumber("inf")), tostring(tonumber("1.7976931348623157e+308"))}`, "[:1000 :16 :12 inf 1.7976931348623e+308]")
	f(`return tostring(tonumber(("9"):rep(309)))`, "inf")
	f(`return tostring(tonumber("1"..("0"):rep(308)))`, "1e+308")
	f(`return {tonumber("") == nil, tonumber("12abc") == nil, tonumber(false) == nil, tonumber(nil) == nil}`, "[:1 :1 :1 :1]")
	f(`return {"10"+5, "0x10"+0, "010"+0}`, "[:15 :16 :10]")
	f(`return {"a" < "b", "10" < "9", "1795446687522" <= "1795446687523"}`, "[:1 :1 :1]")
	f(`return {-5 % 3, 5 % -3, tostring(5.5 % 2)}`, "[:1 :-1 1.5]")
	f(`return {math.floor("3.7"), math.max(1, "2")}`, "[:3 :2]")
	f(`return string.sub("abcdef", 0, 3)`, "abc")
	f(`return string.match("bull:q:abc", ".*:(.*)")`, "abc")
	f(`return {string.format("%06d", "123"), string.format("%d", 3.7)}`, "[000123 3]")
	f(`local t = {} for i = 1, 7999 do t[i] = i end return select("#", unpack(t))`, ":7999")
	f(`local t = {} for i = 1, 8001 do t[i] = i end return select("#", unpack(t))`, "-ERR user_script:1: too many results to unpack")
	// commands
	f(`return redis.call("x", 3.7, 0.1, 1795446687522*4096, 2^63, 1e17)`, "[x 3.7000000000000002 0.10000000000000001 7354149632090112 9.2233720368547758e+18 1e+17]")
	f(`return {type(redis.call("null")), redis.call("int"), redis.call("status")["ok"], redis.call("double"), #redis.call("map")}`, "[boolean :7 OK 1.5 :2]")
	f(`local h = redis.call("holes") return {#h, h[2] == false, h}`, "[:3 :1 [a null c]]")
	f(`redis.call("fail")`, "-WRONGTYPE Operation against a key holding the wrong kind of value")
	f(`return redis.pcall("fail")`, "-WRONGTYPE Operation against a key holding the wrong kind of value")
	f(`return redis.pcall("fail")["err"]`, "WRONGTYPE Operation against a key holding the wrong kind of value")
	f(`local ok, e = pcall(redis.call, "fail") return {type(e), e}`, "[string WRONGTYPE Operation against a key holding the wrong kind of value]")
	f(`return {KEYS[1], KEYS[2], ARGV[1], ARGV[2], #ARGV}`, "[k1 k2 a1  :2]")
	f(`redis.setresp(3) return {redis.call("double"), redis.call("map"), true}`, "[,1.5 %[a :1] :1]")
	f(`redis.setresp(3) return {type(redis.call("null")), redis.call("double")["double"] == 1.5}`, "[nil :1]")
	// results
	f(`return {3.99, -3.99, 0/0, 1/0}`, "[:3 :-3 :-9.2233720368548e+18 :-9.2233720368548e+18]")
	f(`return {true, false, nil, 4}`, "[:1 null]")
	f(`return {nil, nil}`, "[]")
	f(`return {ok="x"}`, "+x")
	f(`return {err="a\r\nb"}`, "-a  b")
	f(`return {double=3.7}`, ",3.7000000000000002")
	f(`return {a=1}`, "[]")
	f(``, "null")
	// the language
	f(`local x=1; local function f() x=x+1 end; pcall(error,"a"); f(); return x`, ":2")
	f(`local f = function() return 1 end local f = function() return f() + 1 end return f()`, ":2")
	f(`local fs={} for i=1,3 do pcall(function() local z=i*10 fs[i]=function() z=z+1 return z end error("x") end) end return {fs[1](), fs[2](), fs[3](), fs[1]()}`, "[:11 :21 :31 :12]")
	f(`local function f(...) return select("#", ...), ... end return {f(nil, 2, nil)}`, "[:3]")
	f(`local function g(...) local a, b = ... return {a, b, (select(2, ...))} end return g(1, 2, 3)`, "[:1 :2 :2]")
	f(`local t = {f = 1, 2, 3, [10] = 4} local n = 0 for k, v in pairs(t) do n = n + v end return n`, ":10")
	f(`local i, t = 1, {} i, t[i] = i + 1, 20 return {i, t[1]}`, "[:2 :20]")
	f(`local a, b = 1, 2 a, b = b, a return {a, b}`, "[:2 :1]")
	f(`local n = 0 repeat local m = n n = n + 1 until m == 3 return n`, ":4")
	f(`local n = 0 for i = 10, 1, -3 do n = n + i end return n`, ":22")
	f(`local n = 0 while true do n = n + 1 if n > 5 then break end end return n`, ":6")
	f(`local function fact(n) if n < 2 then return 1 end return n * fact(n - 1) end return fact(10)`, ":3628800")
	f(`local even, odd function even(n) return true end return even(1)`, ":1")
	f(`local even, odd even = function(n) if n == 0 then return true end return odd(n - 1) end odd = function(n) if n == 0 then return false end return even(n - 1) end return even(100001) == false`, ":1")
	f(`local function loop(n) if n == 0 then return "done" end return loop(n - 1) end return loop(200000)`, "done")
	f(`local t = setmetatable({}, {__index = function(t, k) return k .. "!" end, __call = function(self, a) return a * 2 end}) return {t.x, t(21)}`, "[x! :42]")
	f(`local mt = {__add = function(a, b) return 5 end, __eq = function() return true end, __lt = function() return true end, __concat = function() return "c" end} local a, b = setmetatable({}, mt), setmetatable({}, mt) return {a + 1, a == b, a < b, a .. "x"}`, "[:5 :1 :1 c]")
	f(`local c = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) return {c(1), c(10)}`, "[:2 :20]")
	f(`local c = coroutine.create(function() error("x") end) local ok, e = coroutine.resume(c) return {tostring(ok), e, coroutine.status(c)}`, "[false user_script:1: x dead]")
	f(`local c = coroutine.create(function() coroutine.yield() end) coroutine.resume(c) return "left"`, "left")
	f(`local s = "" for w in string.gmatch("one two", "%a+") do s = s .. w .. "," end return s`, "one,two,")
	f(`return {string.gsub("hello world", "(%w+)", "<%1>")}`, "[<hello> <world> :2]")
	f(`return string.gsub("abc", "", "-")`, "-a-b-c-")
	f(`return {string.find("a.b", ".", 1, true), string.find("abc", "b()")}`, "[:2 :2 :2 :3]")
	f(`return table.concat({1, 2.5, "x"}, ",", 2, 3)`, "2.5,x")
	f(`local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t`, "[:3 :2 :1]")
	f(`local t = {1, 2, 3} table.insert(t, 1, 0) table.insert(t, 4) return {table.remove(t, 2), table.remove(t), #t, unpack(t)}`, "[:1 :4 :3 :0 :2 :3]")
	f(`local t = {} for i = 1, 20 do t["k"..i] = i end for k in pairs(t) do t[k] = nil end return next(t) == nil`, ":1")
	f(`local t = {1, 2, 3, a = 1, b = 2} local n = 0 for k in pairs(t) do t[k] = nil n = n + 1 end return n`, ":5")
	f(`local t = {} t[3] = 3 t[2] = 2 t[1] = 1 return #t`, ":3")
	f(`return loadstring("return 1 + ...")(2)`, ":3")
	f("#!lua flags=no-writes\nreturn nope", "-ERR user_script:2: Script attempted to access nonexistent global variable 'nope'")
	// nothing leaks
	f(`KEYS.x = 1 setmetatable(ARGV, {__index = function() return 1 end}) return 1`, ":1")
	f(`return {tostring(KEYS.x), tostring(ARGV[99])}`, "[nil nil]")
	f(`getmetatable("").__index = nil`, "-ERR user_script:1: Attempt to modify a readonly table")
	f(`table.insert(string, 1)`, "-ERR Attempt to modify a readonly table")
	f(`return {math.random(100), math.random(100)}`, "[:18 :75]")
	f(`return {math.random(100), math.random(100)}`, "[:18 :75]")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	e := New(Limits{Steps: 1_000_000, Memory: 32 << 20})
	f := func(body, want string) {
		t.Helper()
		if got := show(e.Run(script(body, nil, nil, echo))); !strings.Contains(got, want) {
			t.Errorf("%s\n got %.200s\nwant %s", body, got, want)
		}
	}
	f(`while true do end`, "takes too many steps")
	f(`while true do pcall(function() while true do end end) end`, "takes too many steps")
	f(`local function f() pcall(f) return f() end f()`, "")
	f(`local function f() return f() + 1 end return f()`, "stack overflow")
	f(`local function f() return pcall(f) end return f()`, "")
	f(`local s = "x" while true do s = s .. s end`, "not enough memory")
	f(`return string.rep("x", 1e15)`, "not enough memory")
	f(`local t = {} local i = 0 while true do i = i + 1 t[i] = {} end`, "not enough memory")
	f(`local t = {} for i = 1, 1e9 do t["k" .. i] = i end`, "not enough memory")
	f(`local t = {} t[6e7] = 1 return #t`, ":0")
	f(`return string.find(("a"):rep(30000), ("a?"):rep(3000) .. ("a"):rep(3000) .. "b")`, "")
	f(`return string.find(("a"):rep(100000), ".-.-.-.-b")`, "takes too many steps")
	f(`local t = {} t[1] = t return t`, "reached lua stack limit")
	f(`local t = {} for i = 1, 100 do t = setmetatable({}, {__index = t}) end return t.x`, "loop in gettable")
	f(`local t = setmetatable({}, {}) getmetatable(t).__index = function(a, k) return a[k] end return t.x`, "stack overflow")
	f(`return cjson.decode(("["):rep(1001))`, "too many nested data structures (1001) at character 1001")
	f(`return (`+strings.Repeat("(", 300)+`1`, "chunk has too many syntax levels")
	f(`return 1`+strings.Repeat("+1", 200_000), "chunk has too many syntax levels")
	f(`local x = ""`+strings.Repeat(" .. 1", 300), "chunk has too many syntax levels")
	f(`for i = 1, 1e9 do coroutine.create(function() end) end`, "")
	f(`return 5`, ":5")
}

func TestKill(t *testing.T) {
	t.Parallel()
	e := New(Limits{})
	if r := e.Kill(); r.Str != "NOTBUSY No scripts in execution right now." {
		t.Errorf("without a script: %s", r.Str)
	}
	kill := func(command string) func([]string) reply.Reply {
		return func([]string) reply.Reply {
			if r := e.Kill(); command == "" && r.Kind == reply.Error || command != "" && !strings.HasPrefix(r.Str, "UNKILLABLE") {
				t.Errorf("kill: %+v", r)
			}
			return reply.OK
		}
	}
	if got := show(e.Run(script(`redis.call("echo", "x") while true do end`, nil, nil, kill("")))); got != "-ERR user_script:1: Script killed by user with SCRIPT KILL." {
		t.Errorf("killed: %s", got)
	}
	if e.Running() {
		t.Error("it still runs")
	}
}
