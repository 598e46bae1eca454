package expr

import (
	"testing"
)

// sample is the event of the table in section 17.3 of the protocol notes.
const sample = `{"name":"shop/order","data":{
	"n":1, "f":1.5, "s":"abc", "b":true, "nul":null, "arr":[1,"x"], "obj":{"k":"v"}, "zero":0, "empty":"", "num":"12"
}}`

func mustParseJSON(t testing.TB, raw string) any {
	t.Helper()
	v, err := ParseJSON([]byte(raw))
	if err != nil {
		t.Fatalf("ParseJSON(%s): %v", raw, err)
	}
	return v
}

func mustCompile(t testing.TB, src string) *Program {
	t.Helper()
	p, err := Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// evaluate gives the value of src in the text form of keys, with "unknown" and "error" for those.
func evaluate(t testing.TB, src, event string) string {
	t.Helper()
	v, err := mustCompile(t, src).eval(Vars{Event: mustParseJSON(t, event), Now: 1_767_225_600_000})
	switch {
	case err != nil:
		t.Logf("%s: %v", src, err)
		return "error"
	case isUnknown(v):
		return "unknown"
	}
	if s, ok := v.(string); ok {
		return `"` + s + `"`
	}
	return text(v)
}

// TestLooseness has every row of section 17.3, as measured on the original server.
func TestLooseness(t *testing.T) {
	t.Parallel()
	event := mustParseJSON(t, sample)

	// boolean: where a yes or no is needed.
	boolean := func(src string, want bool) {
		t.Helper()
		if got, err := mustCompile(t, src).Bool(Vars{Event: event}); err != nil || got != want {
			t.Errorf("%s = %v, %v, want %v", src, got, err, want)
		}
	}
	noMatch := func(src string) {
		t.Helper()
		if got, err := mustCompile(t, src).Bool(Vars{Event: event}); err == nil || got {
			t.Errorf("%s = %v, want an error", src, got)
		}
	}
	key := func(src, want string) {
		t.Helper()
		if got, err := mustCompile(t, src).Key(Vars{Event: event}); err != nil || got.Text != want {
			t.Errorf("%s = %q, %v, want %q", src, got.Text, err, want)
		}
	}
	refused := func(src string) {
		t.Helper()
		if _, err := Compile(src); err == nil {
			t.Errorf("%s compiles, want an error", src)
		}
	}

	boolean(`event.data.missing == null`, true)
	boolean(`event.data.nul == null`, true)
	boolean(`event.data.missing != null`, false)
	boolean(`event.data.missing == "a"`, false)
	boolean(`event.data.missing != "a"`, true)
	boolean(`event.data.missing < 1`, true)
	boolean(`event.data.missing <= 1`, true)
	boolean(`event.data.missing > 1`, false)
	boolean(`event.data.missing >= 1`, false)
	boolean(`1 > event.data.missing`, true)
	boolean(`1 < event.data.missing`, false)
	boolean(`event.data.nul < 1`, true)
	boolean(`event.data.nul > 1`, false)
	boolean(`event.data.missing == event.data.other`, false)
	boolean(`event.data.missing.deep.x == null`, true)
	boolean(`event.data.n == 1.0`, true)
	boolean(`1.0 == 1`, true)
	boolean(`event.data.n == "1"`, false)
	boolean(`event.data.b == 1`, false)
	noMatch(`event.data.s < 1`)
	noMatch(`event.data.s > 1`)
	boolean(`event.data.missing`, false)
	key(`event.data.missing`, "false")
	boolean(`!event.data.missing`, false)
	key(`event.data.zero`, "0")
	noMatch(`event.data.zero`)
	key(`event.data.s`, "abc")
	noMatch(`event.data.s`)
	boolean(`event.data.s && true`, true)
	boolean(`event.data.missing && true`, false)
	key(`event.data.s || false`, "abc")
	noMatch(`event.data.s || false`)
	key(`event.data.n ? "y" : "n"`, "y")
	key(`event.data.zero ? "y" : "n"`, "n")
	key(`event.data.missing ? "y" : "n"`, "n")
	key(`event.data.s + "-" + event.data.n`, "abc-1")
	key(`event.data.n + 1`, "2")
	boolean(`event.data.n + 1 == 2`, true)
	key(`event.data.n + 1.5`, "11.5")
	boolean(`event.data.n + 1.5 == "11.5"`, true)
	key(`event.data.missing + "x"`, "x")
	boolean(`size(event.data.missing) == 0`, true)
	key(`size(event.data.missing)`, "0")
	key(`size(event.data.arr)`, "2")
	key(`size(event.data.s)`, "3")
	key(`event.data.arr[0]`, "1")
	noMatch(`event.data.arr[9]`)
	boolean(`"x" in event.data.arr`, true)
	boolean(`1 in event.data.arr`, true)
	boolean(`"k" in event.data.obj`, true)
	boolean(`has(event.data.missing)`, false)
	boolean(`event.data.missing.startsWith("a")`, false)
	boolean(`event.data.arr.exists(x, x == "x")`, true)
	boolean(`event.data.obj == {"k":"v"}`, true)
	key(`int(event.data.num) + 1`, "13")
	boolean(`event.data.n % 2 == 1`, true)
	boolean(`foo.bar == 1`, false)
	boolean(`date("2026-01-02") < now_plus("1h")`, false) // now is 1970 here
	boolean(`date("1969-12-31") < now_plus("1h")`, true)
	refused(`event.data.n === 1`)
	refused(`{{ event.data.s }}`)
	boolean(`event.data.s == 'abc'`, true)
}

// TestOwnLooseness is how rows that nobody measured follow from those above.
func TestOwnLooseness(t *testing.T) {
	t.Parallel()
	f := func(src, want string) {
		t.Helper()
		if got := evaluate(t, src, sample); got != want {
			t.Errorf("%s = %s, want %s", src, got, want)
		}
	}

	f(`event.data.missing != event.data.other`, `true`)
	f(`event.data.missing < event.data.other`, `false`)
	f(`event.data.missing <= null`, `true`)
	f(`event.data.missing`, `unknown`)
	f(`!!event.data.missing`, `true`)
	f(`!event.data.nul`, `false`)
	f(`!event.data.s`, `error`)
	f(`true && event.data.s`, `"abc"`)
	f(`event.data.zero && true`, `0`)
	f(`false || event.data.missing`, `unknown`)
	f(`event.data.missing.startsWith("a") || event.data.b`, `true`)
	f(`"a".contains(event.data.missing)`, `false`)
	f(`event.data.nul.endsWith("a")`, `false`)
	f(`event.data.missing in event.data.arr`, `false`)
	f(`event.data.missing in [null]`, `true`)
	f(`1 in event.data.missing`, `false`)
	f(`event.data.missing * 2`, `unknown`)
	f(`-event.data.missing`, `unknown`)
	f(`event.data.nul - 1`, `error`)
	f(`event.data.missing + 1`, `1`)
	f(`event.data.missing + event.data.other`, `unknown`)
	f(`event.data.f + event.data.f`, `3`)
	f(`event.data.f * 2`, `3`)
	f(`event.data.b + "!"`, `"true!"`)
	f(`event.data.b + event.data.b`, `error`)
	f(`event.data.s.x.y`, `unknown`)
	f(`event.data.s[0]`, `error`)
	f(`event.data.arr["x"]`, `unknown`)
	f(`event.data.arr[event.data.missing]`, `unknown`)
	f(`event.data.missing[3]`, `unknown`)
	f(`event.data.missing.exists(x, true)`, `unknown`)
	f(`event.data.missing.all(x, true)`, `unknown`)
	f(`lowercase(event.data.missing)`, `unknown`)
	f(`int(event.data.missing)`, `unknown`)
	f(`string(event.data.nul)`, `"null"`)
	f(`has(event.data.nul)`, `true`)
	f(`has(event.data.missing.deep)`, `false`)
	f(`foo`, `unknown`)
}
