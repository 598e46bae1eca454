package lua

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// realRedis starts the server that scripts are compared with; the test is skipped where it is not installed.
func realRedis(t *testing.T) *redisConn {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(bin, "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", t.TempDir(), "--bind", "127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			break
		}
	}
	go io.Copy(io.Discard, out)
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &redisConn{c, bufio.NewReader(c)}
}

type redisConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *redisConn) eval(t *testing.T, body string) reply.Reply {
	t.Helper()
	if _, err := fmt.Fprintf(c, "*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len(body), body); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	r, err := c.read()
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return r
}

func (c *redisConn) read() (reply.Reply, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return reply.Reply{}, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	n, _ := strconv.ParseInt(line[1:], 10, 64)
	switch line[0] {
	case '+':
		return reply.Reply{Kind: reply.Status, Str: line[1:]}, nil
	case '-':
		return reply.Fail(line[1:]), nil
	case ':':
		return reply.Num(n), nil
	case '$':
		if n < 0 {
			return reply.Reply{}, nil
		}
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.r, b)
		return reply.Of(string(b[:n])), err
	}
	r := reply.Reply{Kind: reply.Array}
	for range n {
		e, err := c.read()
		if err != nil {
			return r, err
		}
		r.Elems = append(r.Elems, e)
	}
	return r, nil
}

// flat turns the kinds that RESP2 lacks into those that it has instead.
func flat(r reply.Reply) reply.Reply {
	switch r.Kind {
	case reply.Double:
		return reply.Of(string(reply.AppendFloat(nil, r.F)))
	case reply.Map, reply.Set, reply.Pairs:
		r.Kind = reply.Array
	}
	for i := range r.Elems {
		r.Elems[i] = flat(r.Elems[i])
	}
	return r
}

// TestAgainstRedis runs the same scripts on both and compares replies, error texts with their positions included.
func TestAgainstRedis(t *testing.T) {
	t.Parallel()
	c := realRedis(t)
	e := New(Limits{})
	same := func(body string) {
		t.Helper()
		want, got := c.eval(t, body), flat(e.Run(script(body, nil, nil, echo)))
		if w, g := show(want), show(got); w != g || want.Kind == reply.Error && want.Str != got.Str {
			t.Errorf("%s\n got %.300s %.300s\nwant %.300s %.300s", body, g, got.Str, w, want.Str)
		}
	}
	for body := range strings.SplitSeq(strings.TrimSpace(scripts), "\n") {
		same(body)
	}
	same("return 1 +\n+")
	same("f\n(1)")
	same("return 'a\nb'")
	same("--[[x\n]]\nlocal x\nreturn x.y")
	same("if true then\n\nx()\nend")
	same("while true do\n")
	same("return {\n1,\n2")
	seed := rand.Uint64()
	g := &generator{rand.New(rand.NewPCG(seed, 0))}
	for range 3000 {
		same(g.script())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// generator makes expressions that have a value on both sides or the same error.
type generator struct{ r *rand.Rand }

func (g *generator) pick(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *generator) number() string {
	return g.pick("0", "1", "2", "3.7", "-5", "0.1", "1e15", "1795446687522", "2^53", "-0.5", "100", "1/3", "1e-7", "255", "4096", `"10"`, `"0x10"`, `" 7 "`, `"1e3"`)
}

func (g *generator) text() string {
	return g.pick(`""`, `"a"`, `"bull:q:12"`, `"Hello, World 42"`, `"a\0b"`, `"%d+"`, `"\255\1"`, `"10"`, `"  x  "`, `"[[]]"`, `"a,b,,c"`, `("ab"):rep(3)`)
}

func (g *generator) pattern() string {
	return g.pick(`"."`, `"%a+"`, `"(%w+)"`, `"%d"`, `"^%s*(.-)%s*$"`, `"[^,]*"`, `"[%w_]+"`, `"(a)(.)"`, `"%b[]"`, `"()"`, `"a*"`, `"-"`, `".-,"`, `"[a-c]+"`, `"%f[%w]%w+"`, `"(.)%1"`, `"x?"`, `"[]]"`, `"%"`, `"["`, `"(a"`, `"%2"`)
}

func (g *generator) any(depth int) string {
	if depth <= 0 {
		return g.pick(g.number(), g.text(), "nil", "true", "false", "{}", "{1,2,3}", `{a=1}`)
	}
	d := depth - 1
	switch g.r.IntN(22) {
	case 0:
		return fmt.Sprintf("(%s %s %s)", g.any(d), g.pick("+", "-", "*", "/", "%", "^"), g.any(d))
	case 1:
		return fmt.Sprintf("(%s .. %s)", g.any(d), g.any(d))
	case 2:
		return fmt.Sprintf("(%s %s %s)", g.any(d), g.pick("<", "<=", ">", ">=", "==", "~="), g.any(d))
	case 3:
		return fmt.Sprintf("(%s %s %s)", g.any(d), g.pick("and", "or"), g.any(d))
	case 4:
		return g.pick("not ", "-", "#") + g.any(d)
	case 5:
		return fmt.Sprintf("tostring(%s)", g.scalar(d))
	case 6:
		return fmt.Sprintf("tonumber(%s)", g.any(d))
	case 7:
		return fmt.Sprintf("string.sub(%s, %s, %s)", g.text(), g.pick("0", "1", "-2", "3", "-100", "100"), g.pick("0", "1", "-1", "4", "100"))
	case 8:
		return fmt.Sprintf("{string.find(%s, %s)}", g.text(), g.pattern())
	case 9:
		return fmt.Sprintf("{string.match(%s, %s)}", g.text(), g.pattern())
	case 10:
		return fmt.Sprintf("{string.gsub(%s, %s, %s)}", g.text(), g.pattern(), g.pick(`"<%0>"`, `"%1"`, `""`, `string.upper`, `{a="b"}`, `"%%"`))
	case 11:
		return fmt.Sprintf("string.format(%s, %s)", g.pick(`"%d"`, `"%5.2f"`, `"%s"`, `"%-8s|"`, `"%08.3f"`, `"%x"`, `"%q"`, `"%g"`, `"%+d"`, `"%.3s"`, `"%e"`, `"%5c"`, `"%i%%"`, `"%#x"`, `"%.10g"`, `"% d"`, `"%y"`), g.any(d))
	case 12:
		return fmt.Sprintf("cjson.encode(%s)", g.any(d))
	case 13:
		return fmt.Sprintf("cjson.decode(%s)", g.pick(`'{"a":[1,2.5,null,true]}'`, `'[]'`, `'[1,2'`, `'{"a" 1}'`, `'"\\u00e9\\ud83d\\ude00"'`, `'"\\x"'`, `'nul'`, `'1e5'`, `'-'`, `'[1e400]'`, `'0x1F'`, `'"abc'`, `'{"a":{"b":{"c":[[[]]]}}}'`, `'[NaN]'`, `'"\\ud800"'`, `' 1 '`, `'1 x'`, `'{,}'`, `'[,]'`))
	case 14:
		return fmt.Sprintf("cmsgpack.pack(%s)", g.any(d))
	case 15:
		return fmt.Sprintf("{cmsgpack.unpack(cmsgpack.pack(%s, %s))}", g.any(d), g.any(d))
	case 16:
		return fmt.Sprintf("bit.%s(%s, %s)", g.pick("band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror"), g.number(), g.number())
	case 17:
		return fmt.Sprintf("math.%s(%s)", g.pick("floor", "ceil", "abs", "sqrt", "max", "min"), g.any(d))
	case 18:
		return fmt.Sprintf("table.concat({%s, %s}, %s)", g.any(d), g.any(d), g.text())
	case 19:
		return fmt.Sprintf("struct.pack(%s, %s, %s)", g.pick(`"<ih"`, `">I2B"`, `"bc0"`, `"!4bi"`, `"dd"`, `"fs"`, `"lT"`, `"i3x"`, `"z"`), g.number(), g.any(d))
	case 20:
		return fmt.Sprintf("{struct.unpack(%s, %s)}", g.pick(`"<ih"`, `">I2"`, `"b"`, `"c2"`, `"bc0"`, `"s"`, `"i8"`), g.pick(`"\1\2\3\4\5\6\7\8\9"`, `"\2ab"`, `"abc\0"`, `""`))
	}
	return fmt.Sprintf("select(%s, %s, %s)", g.pick("1", "2", `"#"`, "-1", "0", "5"), g.any(d), g.any(d))
}

// scalar is any without tables, whose addresses tostring would show.
func (g *generator) scalar(depth int) string {
	return g.pick(g.number(), g.text(), "nil", "true", fmt.Sprintf("(%s %s %s)", g.number(), g.pick("+", "-", "*", "/"), g.number()))
}

func (g *generator) script() string {
	switch g.r.IntN(4) {
	case 0:
		return fmt.Sprintf("local a, b = %s, %s local c = %s return {a, b, c}", g.any(2), g.any(1), g.any(2))
	case 1:
		return fmt.Sprintf("local t = {} for i = 1, 3 do t[i] = %s end return t", g.any(2))
	case 2:
		return fmt.Sprintf("local ok, e = pcall(function() return %s end) return {tostring(ok), e}", g.any(2))
	}
	return "return " + g.any(3)
}

// scripts are compared one by one, a line each.
const scripts = `
return {#{({} and nil), select(1, {1, 2, 3}, nil)}, #{nil, 1, nil}, #{nil, nil, 3, nil}, #{1, nil, 3, nil}, #{1, 2, nil, nil}, #{nil, nil}, #{1, nil, nil, 4, 5, nil, 7, nil}, #{nil, 2}}
local t = {1, nil, 3, nil, 5, nil} t[#t + 1] = "x" return {#t, t[1], t[2] or "-", t[3] or "-", t[4] or "-", t[5] or "-", table.concat(t, ",")}
local t, n = {nil, "b", nil, [2] = "lost", k = "v"}, 0 for k, v in pairs(t) do n = n + 1 end return {n, #t, t[2]}
return {tostring(1795446687522), tostring(99999999999999), tostring(1e14), tostring(1e15), tostring(2^53), tostring(1/3), tostring(1/0), tostring(-1/0), tostring(0/0), tostring(-(0/0))}
return {tonumber("1e3"), tonumber("0x10"), tonumber(" 12 "), tonumber(""), 1}
return {tonumber("10", 2), tonumber("zz", 36), tonumber("7", 2), tonumber("0xff", 16), tonumber("-ff", 16), tonumber(" 11 ", 2)}
return {tonumber("7\0x"), tonumber(" 7 \0"), tonumber("\0007"), tonumber("ff\0", 16), "1e1\0z" + 1, math.max("3\0", 2), 1}
return {string.format("%s|", "a\0b"), string.format("%5s|", "a\0b"), string.format("%s|", ("a\0b"):rep(50)), string.format("%q", "a\0b"), string.format("%d", "12\0x")}
return {("a\0b"):find("\0"), ("a\0b"):find("b"), ("a\0b"):find("a\0c"), ("a\0b"):find("\0b", 1, true), ("a%\0b"):find("%%\0b"), 1}
return {("a\0b"):gsub("%z", "-"), ("x\0y"):gsub(".", "%0%0"), ("a\0b"):gsub("b\0", "c"), ("ab"):gsub("b", "x\0y"), ("a\0b"):match("[^a]+"), 1}
return ("a\0b"):match("[\0]")
return ("a\0b"):match("%\0")
return {("b%\0b"):find("%\0b"), ("a.b\0c"):find("b\0c"), ("a.b\0c"):find("\0."), 1}
return {"a\0b" < "a\0c", "a\0" < "a", "a" < "a\0", ("a\0b"):upper(), ("a\0b"):reverse(), #"a\0b", ("%s"):rep(2, "x")}
return loadstring("return 'a\0b'")()
return tonumber()
return tonumber("1", 99)
error()
error({err="x y"})
error("a", 0)
error("a", 2)
error(setmetatable({}, {__tostring = function() return "x" end}).x)
local x return x.y
return a.b
local t = {} return t.x.y
local t = {} t.f()
local t = {} t:f()
local t = {} local function f() return t.x.y end return f()
return 1 .. nil
local x = {} return "a" .. x
local x return x + 1
return #nil
local x return #x
local x return -x
local t = {} return -t.y
return 1 < "2"
return {} < {}
return {} < 1
return nil > 1
local a a()
return ("x")()
local function f() return g() end return f()
return string.rep("x", -1)
return string.rep()
return string.format("%d", "x")
return string.format("%s", nil)
return string.format("%s")
return string.format("%d")
return string.format("%y", 1)
return string.format("%", 1)
return string.format("%123d", 1)
return string.format("%q", "a\nb\0c\"\\\r")
return string.format("%5.1f|%-5d|%x|%c|%e|%g|%i|%o|%u|%X|%E|%G", 3.14159, 42, 255, 65, 12345.678, 0.0001, 3, 8, 7, 255, 1.5, 1e20)
return string.format("%d %d", 2^53, -2^31)
return string.format("%5s|%-5s|%.2s", "a", "b", "cde")
return unpack({}, 1, 8001)
return select("#", unpack({}, 1, 7000))
return table.concat({1, {}, 3})
return {select("#", 1, 2, 3), select(-1, 1, 2, 3)}
return select(0)
return {pcall(error, "x")}
local ok, e = pcall(function() error("x") end) return e
local ok, e = pcall(error) return {tostring(ok), tostring(e)}
local ok, e = pcall(error, {err = "boom"}) return e
return {xpcall(function() error("q") end, function(e) return e .. "!" end)}
return {pcall(redis.call)}
return redis.call()
return redis.call({})
return redis.call("get", nil)
return redis.error_reply("x y")
return redis.error_reply("-x y")
return redis.error_reply("x")
return redis.error_reply()
return redis.status_reply("x y")
return redis.sha1hex("")
return redis.sha1hex()
return redis.log(1)
return redis.log(9, "x")
return redis.setresp(4)
return redis.replicate_commands()
return redis.REDIS_VERSION_NUM
return redis.foo
x = 1
string.x = 1
rawset(string, "x", 1)
setmetatable(_G, {})
return KEYS[1]
return print
goto x
local goto = 1 return goto
return 08
return {"010" + 0, "0x10" + 0, "0x1p4" + 0}
return "1_0" + 0
return coroutine.wrap(function() return 5 end)()
return {coroutine.resume(coroutine.create(function(a) local b = coroutine.yield(a) error("x" .. b) end), 1)}
return tostring(coroutine.running())
return _VERSION
for i = 1, "x" do end
for i = "a", 2 do end
for i = 1, 2, {} do end
local n = 0 for i = "1", "3" do n = n + i end return n
local n = 0 for i = 1, 0.5, -0.25 do n = n + i end return tostring(n)
for x in nil do end
for x in pairs(nil) do end
return ipairs()
return setmetatable(1, {})
return getmetatable("").__index == string
local t = {} t[nil] = 1
local t = {} t[0/0] = 1
local t = {[nil] = 1}
return rawget({}, 1)
return next({})
return next({}, "zz")
return table.insert({}, 1, 2, 3)
return table.insert({}, 1)
return table.insert(nil, 1)
local t = {1, 2} table.insert(t, 1, 0) return t
local t = {1, 2, 3} return {table.remove(t, 1), table.remove(t), t, #t}
table.sort({3, 1, "x"})
local t = {3, 1, 2} table.sort(t) return t
local t = {5, 2, 9} table.sort(t, function(a, b) return a > b end) return t
return {table.maxn({1, 2, [10] = 3}), table.getn({1, 2})}
return math.random(0)
return {math.max(1, "2"), math.min(3, 2), math.floor(-3.5), math.ceil(3.2), math.abs(-1), math.fmod(-5, 3)}
return {tostring(math.pi), tostring(math.huge), tostring(math.sqrt(2)), tostring(math.pow(2, 0.5))}
return math.floor("x")
return math.max()
return ("x"):bad()
return {string.byte("abc", 1, -1)}
return string.char(72, 105)
return string.char(256)
return {string.find("abc", "b", 1, true), string.find("abc", "b", -1), string.find("", ""), string.find("abc", "", 10)}
return {string.gsub("hello world", "(%w+)", "<%1>")}
return {string.gsub("abc", "%w", "%0%0", 2)}
return string.gsub("abc", "%w", {a = "1", b = true})
return string.gsub("abc", "%w", "%9")
return {string.gsub("abc", "%w", function(c) if c == "b" then return nil end return c:upper() end)}
return {string.gsub("abc", "^a", "x"), string.gsub("abc", "", "-")}
return string.find("a", "[a")
return string.find("a", "%")
return string.gsub("x", "x", nil)
return {string.match("key = value", "^(%w+)%s*=%s*(%w+)$")}
return {string.match("2024-01-02", "(%d+)-(%d+)-(%d+)")}
local r = {} for k, v in string.gmatch("a=1, b=2", "(%w+)=(%w+)") do r[#r + 1] = k .. v end return r
return {("x"):len(), ("x"):upper(), ("aBc"):lower(), ("abc"):reverse()}
return cjson.encode({1, 2, [4] = 1})
return cjson.encode({[1] = 1, [100] = 2})
return cjson.encode({a = {}})
return cjson.encode({})
return cjson.encode({[1.5] = 1})
return cjson.encode({[{}] = 1})
return cjson.encode("a/b\"\\\b\f\n\r\t\0\127\200")
return cjson.encode(0/0)
return cjson.encode({1e14, 0.1, 1795446687522, -0, 1e300})
return cjson.encode(cjson.null)
return cjson.encode(function() end)
return cjson.encode()
return cjson.encode(1, 2)
return cjson.decode("")
return cjson.decode("[1")
return cjson.decode("[1,]")
return cjson.decode("{1:2}")
return cjson.decode("[1 2]")
return cjson.decode("1 2")
return cjson.decode("nul")
return cjson.decode("+1")
return tostring(cjson.decode("Infinity"))
return tostring(cjson.decode("0x10"))
return tostring(cjson.decode("null") == cjson.null)
return tostring(cjson.null)
return cjson.decode(("["):rep(1001))
local t = {} for i = 1, 1001 do t = {t} end return cjson.encode(t)
return {cjson.encode_sparse_array(), cjson.encode_max_depth(), cjson.decode_max_depth()}
return cmsgpack.pack(1795446687522, 1.5, 0.1, {}, {1, 2}, "x", true, nil, -1, -33, 200, 70000, -70000, 2^40)
return cmsgpack.pack({1, 2, a = 3})
return cmsgpack.pack()
return {cmsgpack.unpack("")}
return {cmsgpack.unpack("\1\2\3")}
return cmsgpack.unpack("\196\1a")
return cmsgpack.unpack("\146\1")
return {cmsgpack.unpack("\207\255\255\255\255\255\255\255\255")}
return {cmsgpack.unpack_one("\1\2\3"), cmsgpack.unpack_limit("\1\2\3", 2), cmsgpack.unpack_one("\1", 0)}
return cmsgpack.unpack_one("\1", 5)
local t = cmsgpack.unpack("\154\1\192\192\192\5\192\192\192\9\10") return {t[1], t[5], t[9], t[10]}
return struct.pack("i")
return {struct.unpack("<ihb", struct.pack("<ihb", -5, 300, -1))}
return struct.pack(">I4", 258)
return {struct.unpack("bc0", "\3abc")}
return {struct.size("!8bd"), struct.size("ihb"), struct.size("c10")}
return struct.unpack("i8", "abc")
return struct.pack("q", 1)
return struct.pack("c5", "abc")
return {bit.band(4095, 0xfff), bit.bnot(0), bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-256, 4), bit.rol(1, 33), bit.bswap(1), bit.tobit(2^32 + 1), bit.tohex(255), bit.tohex(255, -4)}
return bit.band()
return bit.band("x")
return {3.99, -3.99, 0/0, 1/0, -1/0, true, false}
return {1, 2, nil, 4}
return {ok = "a\r\nb"}
return {err = "a\r\nb"}
return {double = 3.7}
return {map = {a = 1}}
return {set = {a = true}}
return {1, {2, {3}}, "x"}
return loadstring("return 1 +")
return {loadstring("x =")}
return loadstring("return ...")(7)
return load("return 1")()
return assert(false, "msg")
return assert(nil)
return assert(1, 2)
local a, b, c = (function() return 1, 2, 3 end)() return {a, b, c}
local t = {(function() return 1, 2, 3 end)(), (function() return 1, 2, 3 end)()} return #t
return ((function() return 1, 2 end)())
local t = {} t.a = {} t.a.b = 5 return t["a"]["b"]
local t = setmetatable({}, {__index = function(t, k) return k end, __newindex = function(t, k, v) rawset(t, k, v * 2) end}) t.y = 4 return {t.x, t.y}
local t = setmetatable({}, {__metatable = "locked"}) return getmetatable(t)
local t = setmetatable({}, {__metatable = "locked"}) setmetatable(t, {})
local s = 0 for i = 10, 1, -2 do s = s + i if s > 20 then break end end return s
local i = 0 repeat local j = i i = i + 1 until j >= 3 return i
local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end return f(3000)
return 2^3^2 .. "" .. -2^2 .. (not nil == true and "y" or "n")
return 1 == 1.0 and "1" ~= 1
return "\65\066\10x\z"
return [==[a]]b]==]
local a <const> = 1
return 5 // 2
return 1 & 2
x = = 1
return "abc
return 0xg
return 1..2
local function f( return end
if x then
return }
@
return [[abc
x
local 1
return "\400"
local x; x() = 1
repeat until
break
while true do if true then break end end return 1
function f() return ... end
return function() return ... end
a.b:c=1
return 1;;
local t = {1,2
for a.b in x do end
return return
do return 1 end return 2
return 3 return 4
else
end
local function f(a, a) return a end return f(1, 2)
local t = {f = function(self, x) return self.k + x end, k = 2} return t:f(3)
return #"abc" + #{1, 2, 3}
return {next({5})}
return type(next)
return type(nil) .. type(1) .. type("") .. type({}) .. type(print == nil)
`
