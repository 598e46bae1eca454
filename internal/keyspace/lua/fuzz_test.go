package lua

import (
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// fuzzed runs a script on a small budget; what it must not do is panic or go on for ever.
func fuzzed(e *Engine, body string, args ...string) reply.Reply {
	return e.Run(script(body, nil, args, echo))
}

func FuzzScript(f *testing.F) {
	for _, s := range []string{
		`return 1`, `local t = {} for i = 1, 10 do t[i] = i end return t`, `return redis.call("x", KEYS[1])`, `local function f(...) return ... end return f(1, nil)`,
		`return pcall(error, {err = "x"})`, `return string.format("%5.2f", 1/3)`, `for k, v in pairs({1, a = 2}) do return k end`, `return cjson.encode({1, {a = 2}})`,
		`return coroutine.wrap(function() coroutine.yield(1) end)()`, `return ("x"):gsub("(.)", "%1%1")`, `local x <close> = 1`, `return [==[a]==] .. 'b'`,
	} {
		f.Add(s)
	}
	e := New(Limits{Steps: 20_000, Memory: 1 << 20})
	f.Fuzz(func(_ *testing.T, body string) {
		fuzzed(e, body)
		e.Forget()
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,null,true,"\u00e9\ud83d\ude00"]}`, `[NaN,-inf,0x1p3]`, `"\x"`, `[[[[`, `{"":{}}`, "\"\x00\""} {
		f.Add(s)
	}
	e := New(Limits{Steps: 100_000, Memory: 8 << 20})
	f.Fuzz(func(t *testing.T, text string) {
		// What was decoded encodes to something that decodes to the same.
		r := fuzzed(e, `local v = cjson.decode(ARGV[1]) local ok, s = pcall(cjson.encode, v) if not ok then return 1 end return cjson.encode(cjson.decode(s)) == s and 1 or s`, text)
		if r.Kind != reply.Error && r.N != 1 {
			t.Errorf("%q became %s", text, r.Str)
		}
	})
}

func FuzzMessagePack(f *testing.F) {
	for _, s := range []string{"\x9a\xa7bull:q:\xa0\xa1n\xcb\x42\x7a\x20\x8f\x62\xbd\xb0\x00\xc0", "\xde\x00\x01\xa8attempts\x00", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff\xc0", "\xdb\xff\xff\xff\xff", "\xc4\x01a"} {
		f.Add(s)
	}
	e := New(Limits{Steps: 100_000, Memory: 8 << 20})
	f.Fuzz(func(t *testing.T, data string) {
		r := fuzzed(e, `local p = cmsgpack.pack({cmsgpack.unpack(ARGV[1])}) return cmsgpack.pack(cmsgpack.unpack(p)) == p and 1 or p`, data)
		if r.Kind != reply.Error && r.N != 1 {
			t.Errorf("%q became %q", data, r.Str)
		}
	})
}

func FuzzStruct(f *testing.F) {
	f.Add("<ih!4bI3c0", "\x01\x02\x03\x04\x05\x06\x07\x08")
	f.Add("s>dfx", "abc\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	f.Add("i32c99999999999", "")
	e := New(Limits{Steps: 100_000, Memory: 8 << 20})
	f.Fuzz(func(_ *testing.T, format, data string) {
		fuzzed(e, `return {pcall(struct.unpack, ARGV[1], ARGV[2]), pcall(struct.size, ARGV[1]), pcall(struct.pack, ARGV[1], 1, 2, ARGV[2], 4)}`, format, data)
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("hello world", "(%w+) (%w+)", "%2 %1")
	f.Add("[[x]]", "%b[]", "")
	f.Add("aaa", "a-()%f[^a]", "%1")
	e := New(Limits{Steps: 50_000, Memory: 8 << 20})
	f.Fuzz(func(_ *testing.T, text, pattern, replacement string) {
		fuzzed(e, `return {pcall(string.find, ARGV[1], ARGV[2]), pcall(string.gsub, ARGV[1], ARGV[2], ARGV[3]), pcall(string.format, ARGV[3], 1, "x", 2)}`, text, pattern, replacement)
	})
}
