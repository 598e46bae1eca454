package expr

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// reencode takes b through its durable form.
func reencode(t interface{ Fatalf(string, ...any) }, b Bound) Bound {
	raw := b.Append(nil)
	again, err := ParseBound(raw)
	if err != nil {
		t.Fatalf("ParseBound(%q): %v", raw, err)
	}
	if got := again.Append(nil); string(got) != string(raw) {
		t.Fatalf("durable form %q becomes %q", raw, got)
	}
	return again
}

func TestBind(t *testing.T) {
	t.Parallel()
	f := func(src, event, async string, want bool) {
		t.Helper()
		b := mustCompile(t, src).Bind(mustParseJSON(t, event), 0)
		for _, b := range []Bound{b, reencode(t, b)} {
			got, err := b.Match(mustParseJSON(t, async), 0)
			if got != want {
				t.Errorf("%s with event %s and async %s = %v, %v, want %v", src, event, async, got, err, want)
			}
		}
	}

	const same = `event.data.id == async.data.id`
	f(same, `{"data":{"id":"a"}}`, `{"data":{"id":"a"}}`, true)
	f(same, `{"data":{"id":"a"}}`, `{"data":{"id":"b"}}`, false)
	f(same, `{"data":{"id":1}}`, `{"data":{"id":1.0}}`, true)
	f(same, `{"data":{"id":1}}`, `{"data":{"id":"1"}}`, false)
	f(same, `{"data":{"id":true}}`, `{"data":{"id":1}}`, false)
	f(same, `{"data":{"id":1.5}}`, `{"data":{"id":1.5}}`, true)
	f(same, `{"data":{"id":[1]}}`, `{"data":{"id":[1.0]}}`, true)
	f(same, `{"data":{"id":{"a":1}}}`, `{"data":{"id":null}}`, false)

	// A field that both events lack is equal here, as users of cancellations have observed.
	f(same, `{"data":{}}`, `{"data":{}}`, true)
	f(same, `{}`, `null`, true)
	f(same, `{"data":{"id":null}}`, `{"data":{}}`, true)
	f(same, `{"data":{}}`, `{"data":{"id":null}}`, true)
	f(same, `{"data":{}}`, `{"data":{"id":0}}`, false)
	f(`event.data["id"] == async.data.id || false`, `{"data":{}}`, `{"data":{}}`, true)
	f(`event.data[async.k] == async.data.id || false`, `{"data":{}}`, `{"data":{}, "k": "x"}`, true)
	f(`async.data.id == async.data.other`, `{}`, `{}`, false)
	f(`has(event.data.id)`, `{"data":{}}`, `{}`, false)

	// Terms beside the key.
	f(same+` && async.data.n > event.data.n`, `{"data":{"id":1,"n":5}}`, `{"data":{"id":1,"n":6}}`, true)
	f(same+` && async.data.n > event.data.n`, `{"data":{"id":1,"n":5}}`, `{"data":{"id":1,"n":5}}`, false)
	f(`async.data.n > event.data.n && `+same, `{"data":{"id":1,"n":5}}`, `{"data":{"id":1,"n":6}}`, true)
	f(same+` && async.data.s`, `{"data":{"id":1}}`, `{"data":{"id":1,"s":"x"}}`, false) // "x" is not a boolean
	f(`async.data.s && `+same, `{"data":{"id":1}}`, `{"data":{"id":1,"s":"x"}}`, true)
	f(same+` && async.data.s < 1`, `{"data":{"id":1}}`, `{"data":{"id":1,"s":"x"}}`, false)
	f(`"b" == async.data.kind && (`+same+` && event.ts < async.ts)`,
		`{"data":{"id":1},"ts":1}`, `{"data":{"id":1,"kind":"b"},"ts":2}`, true)
	f(same+` && has(event.data.x.y) && !has(event.data.x.z)`, `{"data":{"id":1,"x":{"y":null}}}`, `{"data":{"id":1}}`, true)
	f(same+` && event.data.l.exists(x, x == async.data.x)`, `{"data":{"id":1,"l":[1,2]}}`, `{"data":{"id":1,"x":2}}`, true)
	f(same+` && event[async.f] == 2`, `{"data":{"id":1},"f":2}`, `{"data":{"id":1},"f":"f"}`, true)

	// Without a key.
	f(`async.data.n > 1`, `{}`, `{"data":{"n":2}}`, true)
	f(`async.data.a == 1 || async.data.b == 1`, `{}`, `{"data":{"b":1}}`, true)
	f(`true`, `{}`, `{}`, true)
	f(`async.data.missing`, `{}`, `{}`, false)
	f(`event == async`, `{"a":1}`, `{"a":1}`, true)
}

func TestBindKeepsOnlyWhatIsNeeded(t *testing.T) {
	t.Parallel()
	const event = `{"name":"n","data":{"id":"a","x":{"y":1,"z":2},"big":"long"}}`
	f := func(src, wantKey, wantEvent string) {
		t.Helper()
		b := mustCompile(t, src).Bind(mustParseJSON(t, event), 0)
		if b.key != wantKey || b.event != wantEvent {
			t.Errorf("%s keeps key %q and event %s, want %q and %s", src, b.key, b.event, wantKey, wantEvent)
		}
	}

	f(`event.data.id == async.data.id`, "sa", "")
	f(`async.data.id == event.data.id`, "sa", "")
	f(`"c" == async["data"]["id"]`, "sc", "")
	f(`async.data.id == event.data.id && async.data.y == event.data.x.y`, "sa", `{"data":{"x":{"y":1}}}`)
	f(`async.data.id == event.data.x && async.data.y == event.data.id`, "sa", `{"data":{"x":{"y":1,"z":2}}}`)
	f(`async.data.l[0] == 1`, "", "")
	f(`async.data.n != event.data.none`, "", "null")
	f(`async.data.n != event.data.x && event.data.x.y == 1`, "", `{"data":{"x":{"y":1,"z":2}}}`)
}

func TestParseBoundErrors(t *testing.T) {
	t.Parallel()
	valid := mustCompile(t, `event.a == async.b && event.c < async.d`).Bind(mustParseJSON(t, `{"a":"x","c":1}`), 0).Append(nil)
	for n := 1; n < len(valid); n++ {
		if b, err := ParseBound(valid[:n]); err == nil {
			t.Errorf("the first %d bytes of %q give %v, want an error", n, valid, b)
		}
	}
	for _, raw := range []string{"\x02", string(valid) + "x", "\x01\x01a\x00\x00\x00", "\x01\x01a\x01\x00\x01x\x00\x00"} {
		if b, err := ParseBound([]byte(raw)); err == nil {
			t.Errorf("ParseBound(%q) = %v, want an error", raw, b)
		}
	}
	// The source only shows to be wrong when it is needed.
	b, err := ParseBound([]byte("\x01\x02((\x00\x01\x00"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := b.Match(nil, 0); ok || err == nil {
		t.Errorf("Match of a wrong source = %v, %v, want an error", ok, err)
	}
	if zero, err := ParseBound(Bound{}.Append(nil)); err != nil {
		t.Error(err)
	} else if ok, _ := zero.Match(nil, 0); ok {
		t.Error("the zero value matches")
	}
}

// find returns what x finds for event and checks that it is asked for at most once.
func find[T any](t testing.TB, x *Index[T], event any) []T {
	t.Helper()
	var got []T
	asked := 0
	x.Find(func() any { asked++; return event }, 0, func(item T) bool {
		got = append(got, item)
		return true
	})
	if asked > 1 {
		t.Errorf("the event was asked for %d times", asked)
	}
	return got
}

func TestIndex(t *testing.T) {
	t.Parallel()
	var x Index[string]
	add := func(src, event, item string) *Entry[string] {
		if src == "" {
			return x.Add(nil, item)
		}
		b := mustCompile(t, src).Bind(mustParseJSON(t, event), 0)
		return x.Add(&b, item)
	}
	check := func(event string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, find(t, &x, mustParseJSON(t, event))); diff != "" {
			t.Errorf("found for %s (-want +got):\n%s", event, diff)
		}
	}

	check(`{}`)
	a := add(`event.id == async.id`, `{"id":"1"}`, "a")
	b := add(``, ``, "b")
	c := add(`async.id == event.id && async.n > 1`, `{"id":"1"}`, "c")
	d := add(`async.n > 2`, `{}`, "d")
	e := add(`async.other == null`, `{}`, "e")
	f := add(`event.id == async.id`, `{"id":"1"}`, "f")
	check(`{"id":"1","n":3}`, "a", "b", "c", "d", "e", "f")
	check(`{"id":"1","n":2,"other":1}`, "a", "b", "c", "f")
	check(`{"id":1}`, "b", "e")
	check(`{"id":[],"other":[]}`, "b")

	x.Remove(a)
	x.Remove(a)
	check(`{"id":"1","n":3}`, "b", "c", "d", "e", "f")
	x.Remove(f)
	x.Remove(e)
	check(`{"id":"1","n":3}`, "b", "c", "d")
	x.Remove(c)
	x.Remove(d)
	if got := x.Len(); got != 1 {
		t.Errorf("Len() = %d, want 1", got)
	}
	x.Find(func() any { t.Error("the event was asked for without need"); return nil }, 0, func(string) bool { return true })
	x.Remove(b)
	check(`{"id":"1"}`)
	if x.Len() != 0 || len(x.byPath) != 0 || len(x.paths) != 0 {
		t.Errorf("an empty index still holds %d entries and %d paths", x.Len(), len(x.paths))
	}
}

func TestIndexChangesWhileFinding(t *testing.T) {
	t.Parallel()
	var x Index[int]
	b := mustCompile(t, `event.id == async.id`).Bind(mustParseJSON(t, `{"id":1}`), 0)
	var entries []*Entry[int]
	for i := range 6 {
		entries = append(entries, x.Add(&b, i))
	}
	event := mustParseJSON(t, `{"id":1}`)
	var got []int
	x.Find(func() any { return event }, 0, func(i int) bool {
		got = append(got, i)
		x.Remove(entries[i])
		if i == 1 {
			x.Remove(entries[2])
			x.Add(&b, 100)
			x.Find(func() any { return event }, 0, func(int) bool { return false })
		}
		return i < 4
	})
	if want := []int{0, 1, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got, want := find(t, &x, event), []int{5, 100}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

// genValue draws small JSON values out of few, so that equal ones meet.
func genValue() *rapid.Generator[any] {
	return rapid.SampledFrom([]any{
		nil, true, false, int64(0), int64(1), 1.0, 1.5, "", "x", "1",
		[]any{int64(1)},
		map[string]any{"a": "x"},
		map[string]any{"a": int64(1), "b": 1.0},
	})
}

func genEvent() *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		event := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), genValue(), 0, 3).Draw(t, "event")
		return map[string]any(event)
	})
}

func genOperand() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		"event.a", "event.b", `event["c"].a`, "async.a", "async.b", `async.c["a"]`, "async.c", "event.c", "event", "async",
		"null", "true", "false", "0", "1", "1.0", "-1", "1.5", `""`, `"x"`, `"1"`, "[1]", `{"a": "x"}`, "foo.a",
	})
}

func genTerm(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kinds := 4
		if depth > 0 {
			kinds = 9
		}
		a, b := genOperand().Draw(t, "a"), genOperand().Draw(t, "b")
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return a
		case 1:
			op := rapid.SampledFrom([]string{"!=", "<", "<=", ">", ">=", "in", "+", "-"}).Draw(t, "op")
			return a + " " + op + " " + b
		case 2, 3, 4:
			return a + " == " + b
		case 5:
			return "!(" + genTerm(depth-1).Draw(t, "sub") + ")"
		case 6:
			return "(" + genTerm(depth-1).Draw(t, "left") + " || " + genTerm(depth-1).Draw(t, "right") + ")"
		case 7:
			return "(" + genTerm(depth-1).Draw(t, "left") + " && " + genTerm(depth-1).Draw(t, "right") + ")"
		case 8:
			return "has(" + rapid.SampledFrom([]string{"event.a", "async.b", "event.c.a"}).Draw(t, "field") + ")"
		default:
			return a + ".exists(x, x == " + b + ")"
		}
	})
}

// TestIndexAgrees checks that the index, the bound condition and its durable form all say what evaluating the whole
// expression says.
func TestIndexAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type wait struct {
			program *Program
			event   any
			bound   Bound
			entry   *Entry[int]
		}
		var x Index[int]
		var waits []*wait
		for i := range rapid.IntRange(1, 12).Draw(t, "waits") {
			src := strings.Join(rapid.SliceOfN(genTerm(2), 1, 4).Draw(t, "terms"), " && ")
			p, err := Compile(src)
			if err != nil {
				t.Fatal(err)
			}
			w := &wait{program: p, event: genEvent().Draw(t, "event")}
			w.bound = p.Bind(w.event, 0)
			if rapid.Bool().Draw(t, "reencode") {
				w.bound = reencode(t, w.bound)
			}
			w.entry = x.Add(&w.bound, i)
			waits = append(waits, w)
		}
		for range rapid.IntRange(1, 6).Draw(t, "events") {
			async := genEvent().Draw(t, "async")
			var want []int
			for i, w := range waits {
				e := env{event: w.event, async: async, bound: true}
				v, err := w.program.evalIn(&e, w.program.root)
				whole := err == nil && v == true
				if match, _ := w.bound.Match(async, 0); match != whole {
					t.Fatalf("%v matches %v: %v, but evaluates to %v, %v", w.bound, text(async), match, v, err)
				}
				if whole && w.entry != nil {
					want = append(want, i)
				}
			}
			var got []int
			x.Find(func() any { return async }, 0, func(i int) bool { got = append(got, i); return true })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("found for %s (-want +got):\n%s", text(async), diff)
			}
			gone := waits[rapid.IntRange(0, len(waits)-1).Draw(t, "gone")]
			if gone.entry != nil {
				x.Remove(gone.entry)
				gone.entry = nil
			}
		}
	})
}

// TestKeysAgreeWithEquality checks the claim of appendKey for each pair of values.
func TestKeysAgreeWithEquality(t *testing.T) {
	t.Parallel()
	values := []any{
		nil, true, false, int64(0), int64(1), int64(-1), 1.0, 1.5, -1.0, int64(1<<63 - 1), float64(1 << 63), -float64(1 << 63),
		int64(-1 << 63), int64(1<<53 + 1), float64(1 << 53), "", "x", "1", "n", "b\x01", 5e-324, 1e300,
	}
	for _, a := range values {
		for _, b := range values {
			var e env
			same, _ := e.equal(a, b)
			keyA, _ := appendKey(nil, a)
			keyB, _ := appendKey(nil, b)
			if (string(keyA) == string(keyB)) != same || !validKey(string(keyA)) {
				t.Errorf("%v == %v is %v, but the keys are %q and %q", a, b, same, keyA, keyB)
			}
		}
	}
}

func fillIndex(tb testing.TB, n int) *Index[*int] {
	p := mustCompile(tb, `event.data.id == async.data.id`)
	var x Index[*int]
	item := new(int)
	for i := range n {
		b := p.Bind(waitEvent(i), 0)
		x.Add(&b, item)
	}
	return &x
}

// waitEvent has an id as long as a UUID.
func waitEvent(i int) any {
	return map[string]any{"data": map[string]any{"id": fmt.Sprintf("%036d", i)}}
}

func TestIndexMemory(t *testing.T) {
	const n = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := fillIndex(t, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perEntry := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d bytes an entry", perEntry)
	if perEntry > 250 {
		t.Errorf("%d bytes an entry, want at most 250", perEntry)
	}
	runtime.KeepAlive(x)
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		x := fillIndex(b, n)
		b.Run(fmt.Sprintf("find/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			event := waitEvent(n / 2)
			for b.Loop() {
				x.Find(func() any { return event }, 0, func(*int) bool { return true })
			}
		})
		b.Run(fmt.Sprintf("add-remove/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			bound := mustCompile(b, `event.data.id == async.data.id`).Bind(waitEvent(n+1), 0)
			for b.Loop() {
				x.Remove(x.Add(&bound, nil))
			}
		})
	}
}

func BenchmarkBind(b *testing.B) {
	p := mustCompile(b, `event.data.id == async.data.id`)
	event := waitEvent(1)
	b.ReportAllocs()
	for b.Loop() {
		p.Bind(event, 0)
	}
}

func BenchmarkParseBound(b *testing.B) {
	raw := mustCompile(b, `event.data.id == async.data.id`).Bind(waitEvent(1), 0).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseBound(raw)
	}
}
