package expr

import "testing"

func FuzzCompileEval(f *testing.F) {
	for _, src := range []string{
		`event.data.n > 0 && async.s in ["a", 'b'] || !has(event.data.x)`,
		`event.data.arr.map(x, x > 1, [x].exists_one(y, y == x)).all(z, z) ? -1.5e3 : 0x1F`,
		`event.data.s.matches("^a+" + event.data.num) && date("2026-01-02").getHours("+01:00") < 3`,
		`{"a": b"\xff", 1: r'\n'}[event.data.s] == json_parse(b64decode("e30="))`,
		`duration("1w2d") + now_plus("1h") - now()`,
		"'''\r\n''' + \"\"\"x\"\"\" // end",
		`event.data.id == async.data.id && async.n >= event.n`,
	} {
		f.Add(src, sample)
	}
	f.Fuzz(func(t *testing.T, src, raw string) {
		event, err := ParseJSON([]byte(raw))
		if err != nil {
			return
		}
		p, err := Compile(src)
		if err != nil {
			return
		}
		e := env{event: event, async: event, now: 1}
		v, err := p.evalIn(&e, p.root)
		if e.steps > maxSteps && err != errBudget {
			t.Errorf("%s took %d steps and gave %v, %v", src, e.steps, v, err)
		}
		vars := Vars{Event: event, Async: event, Now: 1}
		key, err := p.Key(vars)
		if again, againErr := p.Key(vars); again != key || (err == nil) != (againErr == nil) {
			t.Errorf("%s gave %v, %v and then %v, %v", src, key, err, again, againErr)
		}
		_ = p.PlainLogic()

		// What matches bound must match as a whole; a rest may fit into a budget that the whole does not.
		e = env{event: event, async: event, now: 1, bound: true}
		v, err = p.evalIn(&e, p.root)
		bound := p.Bind(event, 1)
		for _, b := range []Bound{bound, reencode(t, bound)} {
			match, _ := b.Match(event, 1)
			if err != errBudget && match != (err == nil && v == true) {
				t.Errorf("%v matches %v, evaluates to %v, %v", b, match, v, err)
			}
		}
	})
}

func FuzzParseBound(f *testing.F) {
	p, _ := Compile(`event.a == async.b.c && event.d < async.e`)
	f.Add(p.Bind(map[string]any{"a": "x", "d": int64(1)}, 0).Append(nil))
	f.Add(p.Bind(map[string]any{"a": []any{}}, 0).Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBound(raw)
		if err != nil {
			return
		}
		_, _ = b.Match(map[string]any{"b": map[string]any{"c": "x"}}, 0)
		reencode(t, b)
	})
}
