package expr

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	f := func(src, want string) {
		t.Helper()
		if got := evaluate(t, src, sample); got != want {
			t.Errorf("%s = %s, want %s", src, got, want)
		}
	}

	// Literals.
	f(`0x1F`, `31`)
	f(`12u`, `12`)
	f(`-9223372036854775808`, `-9223372036854775808`)
	f(`--1`, `1`)
	f(`1e3`, `1000`)
	f(`.5`, `0.5`)
	f(`1.5e-9`, `1.5e-09`)
	f(`'a"b'`, `"a"b"`)
	f(`"\x41\u00e9\U0001F600\101\n"`, "\"Aé\U0001F600A\n\"")
	f(`r"\n"`, `"\n"`)
	f("'''a\r\nb'''", "\"a\nb\"")
	f(`b"\xff\101" == b"\377A"`, `true`)
	f(`br"\x" == b"\\x"`, `true`)
	f(`[1, 2.5, "a", null,]`, `[1,2.5,"a",null]`)
	f(`{"b": 1, "a": {1: true},}`, `{"a":{"1":true},"b":1}`)
	f("1 // comment\n + 1", `2`)

	// Precedence and grouping.
	f(`1 + 2 * 3 - 4 / 2 % 2`, `7`)
	f(`(1 + 2) * 3`, `9`)
	f(`1 < 2 == true`, `true`)
	f(`true || false && false`, `true`)
	f(`!true || true`, `true`)
	f(`false ? 1 : true ? 2 : 3`, `2`)
	f(`1 - -1`, `2`)
	f(`10 - 3 - 2`, `5`)

	// Numbers.
	f(`9223372036854775807 + 1`, `error`)
	f(`-9223372036854775808 - 1`, `error`)
	f(`-9223372036854775808 / -1`, `error`)
	f(`-9223372036854775808 * -1`, `error`)
	f(`-(-9223372036854775808)`, `error`)
	f(`4611686018427387904 * 2`, `error`)
	f(`1 / 0`, `error`)
	f(`1 % 0`, `error`)
	f(`7 / 2`, `3`)
	f(`7 / 2.0`, `3.5`)
	f(`-7 % 3`, `-1`)
	f(`9007199254740993 == 9007199254740992.0`, `false`)
	f(`9007199254740993 > 9007199254740992.0`, `true`)
	f(`9223372036854775807 == 9223372036854775808.0`, `false`)
	f(`9223372036854775807 < 9223372036854775808.0`, `true`)
	f(`9223372036854775808.0 > 9223372036854775807`, `true`)
	f(`0.0/0.0 == 0.0/0.0`, `false`)
	f(`0.0/0.0 < 1`, `false`)
	f(`0.0/0.0 >= 1`, `false`)

	// Comparing.
	f(`"a" < "b" && b"a" < b"b" && false < true`, `true`)
	f(`[1, [2]] == [1.0, [2]]`, `true`)
	f(`{"a": 1} == {"a": 1.0} && {"a": 1} != {"b": 1} && {"a": 1} != {}`, `true`)
	f(`[] == {}`, `false`)
	f(`null == []`, `false`)
	f(`true == [true]`, `false`)
	f(`type(1) == int && type(1u) == uint && type("") == string && type(null) == null_type`, `true`)

	// Errors in && and ||.
	f(`1/0 > 0 || true`, `true`)
	f(`true || 1/0 > 0`, `true`)
	f(`1/0 > 0 && false`, `false`)
	f(`1/0 > 0 && true`, `error`)
	f(`1/0 > 0 || false`, `error`)

	// Selecting.
	f(`event["data"]["obj"].k`, `"v"`)
	f(`event.data.obj["k"]`, `"v"`)
	f(`event.data[event.data.s.replaceless]`, `unknown`)
	f(`{"a": [1, 2]}.a[1]`, `2`)
	f(`[1, 2][1.0]`, `2`)
	f(`[1, 2][-1]`, `error`)
	f(`[1, 2][true]`, `error`)
	f(`.event.data.n`, `1`)
	f(`event.data.for`, `unknown`)
	f(`has({"a": 1}.a)`, `true`)
	f(`has({"a": {"b": 1}}.a.c)`, `false`)

	// Functions.
	f(`size("äöü") + "äöü".size() + size({"a": 1}) + size(b"ä")`, `9`)
	f(`lowercase("ABC") + "abc".uppercase()`, `"abcABC"`)
	f(`"abc".matches("^a.c$") && matches("abc", "b")`, `true`)
	f(`"abc".matches(event.data.s)`, `true`)
	f(`"abc".matches("(" + event.data.s)`, `error`)
	f(`1.contains("a")`, `error`)
	f(`int("12") + int(3.9) + int(timestamp("1970-01-01T00:00:10Z"))`, `25`)
	f(`int("x")`, `error`)
	f(`int(1e30)`, `error`)
	f(`uint(-1)`, `error`)
	f(`double("1.5") + double(1)`, `2.5`)
	f(`bool("true")`, `true`)
	f(`string(1.0) + string(true) + string(b"x") + string(duration("90m"))`, `"1truex5400s"`)
	f(`string([])`, `error`)
	f(`b64decode("aGk=") + b64decode("aGk")`, `"hihi"`)
	f(`json_parse("{\"a\": [1, 2.0]}").a[1] + 1`, `3`)
	f(`json_parse("{")`, `error`)

	// Macros.
	f(`[1, 2, 3].all(x, x > 0)`, `true`)
	f(`[1, 2, 3].exists(x, x > 5)`, `false`)
	f(`[1, 2, 3].exists_one(x, x > 2)`, `true`)
	f(`[1, 2, 3].existsOne(x, x > 1)`, `false`)
	f(`[1, 2, 3].filter(x, x % 2 == 1)`, `[1,3]`)
	f(`[1, 2, 3].map(x, x * x)`, `[1,4,9]`)
	f(`[1, 2, 3].map(x, x > 1, x * x)`, `[4,9]`)
	f(`{"b": 1, "a": 2}.map(k, k)`, `["a","b"]`)
	f(`[[1, 2], [3]].map(x, x.map(y, x[0] + y))`, `[[2,3],[6]]`)
	f(`[1].all(x, [2].all(x, x == 2))`, `true`)
	f(`[1, "a"].exists(x, x > 0)`, `true`)
	f(`["a", 1].exists(x, x > 0)`, `true`)
	f(`["a", 1].all(x, x > 0)`, `error`)
	f(`["a", 1].filter(x, x > 0)`, `error`)
	f(`1.all(x, true)`, `error`)
	f(`[1].exists(event, event == 1)`, `true`)

	// Times. Now is 2026-01-01.
	f(`now()`, `2026-01-01T00:00:00Z`)
	f(`now_plus("1w1d1h") - now_minus("1m")`, `694860s`)
	f(`date("2026-01-02") < now_plus("1h")`, `false`)
	f(`date("2025-12-31 23:59:59") < now()`, `true`)
	f(`date(1767225600000) == now() && timestamp(1767225600) == now()`, `true`)
	f(`timestamp("2026-01-01T01:00:00+01:00") == now()`, `true`)
	f(`timestamp("yesterday")`, `error`)
	f(`now() + duration("24h") == date("2026-01-02") && duration("1h") + now() - duration("1h") == now()`, `true`)
	f(`duration("1h") - duration("90m")`, `-1800s`)
	f(`duration("1h") < duration("61m") && -duration("1h") < duration("0s")`, `true`)
	f(`duration("9999999w")`, `error`)
	f(`duration("")`, `error`)
	f(`timestamp("9999-12-31T23:59:59Z") + duration("1h")`, `error`)
	f(`now() == "2026-01-01T00:00:00Z"`, `false`)
	f(`now() < "2026-01-01T00:00:00Z"`, `error`)
	f(`[now().getFullYear(), now().getMonth(), now().getDate(), now().getDayOfMonth()]`, `[2026,0,1,0]`)
	f(`[now().getDayOfWeek(), now().getDayOfYear(), now().getHours(), now().getMinutes()]`, `[4,0,0,0]`)
	f(`[now().getSeconds(), now().getMilliseconds()]`, `[0,0]`)
	f(`now().getHours("+02:30") * 100 + now().getMinutes("02:30")`, `230`)
	f(`now().getHours("America/New_York")`, `19`)
	f(`now().getHours("Nowhere/City")`, `error`)
	f(`now().getHours("Local")`, `error`)
	f(`duration("90m").getHours() + duration("90m").getMinutes()`, `91`)
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	f := func(src, want string) {
		t.Helper()
		_, err := Compile(src)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile(%q): %v, want %q in it", src, err, want)
		}
	}

	f(``, `at position 1: unexpected the end, want a value`)
	f(`a b`, `at position 3: unexpected "b", want an operator or the end`)
	f(`a ==`, `unexpected the end`)
	f(`a === 1`, `at position 5: unexpected '='`)
	f(`a = 1`, `unexpected '='`)
	f(`a & b`, `unexpected '&'`)
	f(`{{ event.data.s }}`, `want ":"`)
	f(`(a`, `want ")"`)
	f(`[1, 2`, `want "]"`)
	f(`[,]`, `want a value`)
	f(`size(a,)`, `want a value`)
	f(`a.all(x, true,)`, `want a value`)
	f(`a ? b`, `want ":"`)
	f(`a.1`, `unexpected`)
	f(`a.in`, `want a name`)
	f(`a.`, `want a name`)
	f(`for == 1`, `reserved`)
	f(`"abc`, `without its closing "`)
	f("'a\nb'", `without its closing '`)
	f(`"\q"`, `unknown escape \q`)
	f(`"\u12"`, `needs 4 digits`)
	f(`"\ud800"`, `not a character`)
	f(`b"\u0041"`, `unknown escape`)
	f(`9223372036854775808`, `does not fit`)
	f(`1e999`, `out of range`)
	f(`nope(1)`, `unknown function nope()`)
	f(`a.nope()`, `unknown function nope()`)
	f(`contains(a, b)`, `is a method`)
	f(`a.int()`, `is not a method`)
	f(`size()`, `too many or too few`)
	f(`now(1)`, `too many or too few`)
	f(`has(a)`, `needs a field`)
	f(`has(a[0])`, `needs a field`)
	f(`a.all(1, true)`, `needs the name of a variable`)
	f(`a.all(x)`, `want ","`)
	f(`a.all(x, true, 1)`, `too many or too few`)
	f(`a.matches("(")`, `missing closing )`)
	f(`a.matches(1)`, `needs a pattern`)
	f(`Message{a: 1}`, `unexpected "{"`)
	f("a == \"\xff\"", `not valid UTF-8`)
	f(strings.Repeat("(", 300)+"1"+strings.Repeat(")", 300), `nested more than 250 deep`)
	f(strings.Repeat("!", 300)+"a", `nested more than 250 deep`)
	f(strings.Repeat("a", maxSource+1), `at most 16384`)
}

func TestLongChains(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"1" + strings.Repeat("+1", 8000),
		"true" + strings.Repeat("&&true", 2000),
		"event" + strings.Repeat(".a", 8000),
		"[1]" + strings.Repeat("[0]", 5000),
	} {
		_, _ = mustCompile(t, src).eval(Vars{})
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	f := func(src string, want bool) {
		t.Helper()
		_, err := mustCompile(t, src).eval(Vars{Event: mustParseJSON(t, `{"l":[0,1,2,3,4,5,6,7,8,9], "big":"`+
			strings.Repeat("a", 1<<20)+`"}`)})
		if got := err == nil; got != want {
			t.Errorf("%s: %v, want success %v", src, err, want)
		}
	}

	f(`event.l.all(a, event.l.all(b, event.l.all(c, true)))`, true)
	f(`event.l.all(a, event.l.all(b, event.l.all(c, event.l.all(d, event.l.all(e, true)))))`, false)
	f(`true || event.l.all(a, event.l.all(b, event.l.all(c, event.l.all(d, event.l.all(e, true)))))`, true)
	f(`event.l.all(a, event.l.all(b, event.l.all(c, event.l.all(d, event.l.all(e, true))))) || true`, false)
	f(`event.big.matches("b")`, true)
	f(`event.l.exists(x, event.big.matches("b"))`, false)
	f(`event.l.exists(x, event.big.contains("b"))`, false)
	f(`size(event.big + event.big + event.big + event.big)`, false)
}

func TestKey(t *testing.T) {
	t.Parallel()
	f := func(src string, want Key) {
		t.Helper()
		got, err := mustCompile(t, src).Key(Vars{Event: mustParseJSON(t, sample)})
		if err != nil {
			t.Errorf("%s: %v", src, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", src, diff)
		}
	}

	f(`event.data.s`, Key{Text: "abc"})
	f(`event.data.empty`, Key{Text: ""})
	f(`event.data.n`, Key{Text: "1"})
	f(`event.data.f`, Key{Text: "1.5"})
	f(`2.0`, Key{Text: "2"})
	f(`1e21`, Key{Text: "1e+21"})
	f(`true`, Key{Text: "true"})
	f(`false`, Key{Text: "false", False: true})
	f(`event.data.missing`, Key{Text: "false", False: true})
	f(`event.data.nul`, Key{Text: "null", Null: true})
	f(`"null"`, Key{Text: "null"})
	f(`[event.data.obj, event.data.arr, event.data.missing, "<\"\n"]`, Key{Text: `[{"k":"v"},[1,"x"],null,"<\"\u000a"]`})
	f(`now()`, Key{Text: "1970-01-01T00:00:00Z"})

	if key, err := mustCompile(t, `event.data.arr[9]`).Key(Vars{Event: mustParseJSON(t, sample)}); err == nil {
		t.Errorf("a position that does not exist gives key %v, want an error", key)
	}
}

func TestInt(t *testing.T) {
	t.Parallel()
	f := func(src string, want int64, wantOK bool) {
		t.Helper()
		got, ok := mustCompile(t, src).Int(Vars{Event: mustParseJSON(t, sample)})
		if got != want || ok != wantOK {
			t.Errorf("%s = %d, %v, want %d, %v", src, got, ok, want, wantOK)
		}
	}

	f(`event.data.n ? 120 : -60`, 120, true)
	f(`event.data.zero ? 120 : -60`, -60, true)
	f(`2.0`, 2, true)
	f(`event.data.f`, 0, false)
	f(`event.data.s`, 0, false)
	f(`event.data.b`, 0, false)
	f(`event.data.missing`, 0, false)
	f(`event.data.arr[9]`, 0, false)
}

func TestPlainLogic(t *testing.T) {
	t.Parallel()
	f := func(src, want string) {
		t.Helper()
		err := mustCompile(t, src).PlainLogic()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("PlainLogic of %s: %v, want %q", src, err, want)
		}
	}

	f(`event.data.id == async.data.id && !(async.data.n > 1 || async.data.s in ["a"])`, "")
	f(`has(async.data.id) && size(async.data.list) > 0 && int(async.data.n) == 1`, "")
	f(`async.data.list.exists(x, x == 1)`, "exists() is a macro over lists")
	f(`async.data.s.startsWith("a")`, "startsWith() is a string function")
	f(`async.data.s.matches("a")`, "matches() is a string function")
	f(`[{"a": async.data.s.lowercase()}] == []`, "lowercase() is a string function")
	f(`date(async.data.at) < now()`, "date() is a date function")
	f(`true ? 1 : now()`, "now() is a date function")
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	f := func(raw string, want any) {
		t.Helper()
		if diff := cmp.Diff(want, mustParseJSON(t, raw)); diff != "" {
			t.Errorf("ParseJSON(%s) (-want +got):\n%s", raw, diff)
		}
	}
	refused := func(raw string) {
		t.Helper()
		if v, err := ParseJSON([]byte(raw)); err == nil {
			t.Errorf("ParseJSON(%s) = %v, want an error", raw, v)
		}
	}

	f(`null`, nil)
	f(` [1, 2.0, 1e2, 1.5, -0, 9223372036854775807, 9223372036854775808] `, []any{
		int64(1), int64(2), int64(100), 1.5, int64(0), int64(math.MaxInt64), 9223372036854775808.0,
	})
	f(`{"a": {"b": [true, "x", null]}}`, map[string]any{"a": map[string]any{"b": []any{true, "x", nil}}})
	refused(``)
	refused(`{`)
	refused(`1 2`)
	refused(`1e999`)
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := NewCache(2)
	get := func(src string) *Program {
		p, _ := c.Get(src)
		return p
	}

	first := get("1")
	if get("1") != first {
		t.Error("a second Get compiled again")
	}
	get("2")
	get("1")
	get("3") // pushes out 2, which was used least recently
	if get("1") != first {
		t.Error("the cache forgot a source that was in use")
	}
	_, err := c.Get("1 +")
	if _, again := c.Get("1 +"); err == nil || again != err {
		t.Errorf("Get of a wrong source: %v, then %v, want the same error", err, again)
	}
	for i := range 100 {
		get(fmt.Sprint(i))
	}
	if got := len(c.programs.byKey); got != 2 || c.programs.order.Len() != 2 {
		t.Errorf("the cache holds %d sources, want 2", got)
	}
}

// TestDeterministic evaluates what visits maps many times over: Go would visit them in another order each time.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	event := map[string]any{}
	for i := range 20 {
		event[fmt.Sprint("k", i)] = int64(i)
	}
	p := mustCompile(t, `event.map(k, k + event[k]) + [event == {"k1": 1}] + event.filter(k, event[k] > 10)`)
	q := mustCompile(t, `event.k1 > async.x`)
	first := env{event: event}
	want, _ := p.evalIn(&first, p.root)
	wantBound := q.Bind(event, 0).Append(nil)
	for range 50 {
		again := env{event: event}
		got, _ := p.evalIn(&again, p.root)
		if text(got) != text(want) || again.steps != first.steps {
			t.Fatalf("got %s in %d steps, then %s in %d", text(want), first.steps, text(got), again.steps)
		}
		if diff := cmp.Diff(wantBound, q.Bind(event, 0).Append(nil)); diff != "" {
			t.Fatalf("the durable form changes:\n%s", diff)
		}
	}
}

func BenchmarkPath(b *testing.B) {
	p := mustCompile(b, `event.data.obj.k`)
	v := Vars{Event: mustParseJSON(b, sample)}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.Key(v)
	}
}

func BenchmarkCondition(b *testing.B) {
	p := mustCompile(b, `event.data.n > 0 && event.data.s in ["abd", "abc"] && !(event.data.zero == 1)`)
	v := Vars{Event: mustParseJSON(b, sample)}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.Bool(v)
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Compile(`event.data.n > 0 && event.data.s in ["abd", "abc"] && !(event.data.zero == 1)`)
	}
}
