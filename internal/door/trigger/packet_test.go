package trigger

import "testing"

func TestPacketsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	f := func(typ, text, plain string) {
		t.Helper()
		p := readPacket(&text, typ)
		if string(p.Data) != plain {
			t.Errorf("%s %q is stored as %s, want %s", typ, text, p.Data, plain)
		}
		if got, ok := p.text(); !ok || got != text {
			t.Errorf("%s %q comes back as %q, %v", typ, text, got, ok)
		}
	}
	f(typeSuper, `{"json":{"a":1}}`, `{"a":1}`)
	f(typeSuper, `{"json":{"d":"2026-01-01"},"meta":{"values":{"d":["Date"]}}}`, `{"d":"2026-01-01"}`)
	f(typeSuper, `{ "json": [1, 2] }`, `[1, 2]`) // not as it would be written, but what is shown is the same
	f(typeSuper, `{"json":{"a":1},"more":true}`, `{"a":1}`)
	f(typeSuper, `nonsense`, `"nonsense"`)
	f(typeJSON, `{"a":1e3}`, `{"a":1e3}`)
	f(typeJSON, `nonsense`, `"nonsense"`)
	f(typeText, "text \x00 <&>", `"text \u0000 \u003c\u0026\u003e"`)
	f(typeText, "", `""`)
	f(typeStore, "trigger/packet_1/payload.json", `"trigger/packet_1/payload.json"`)

	if p := readPacket(nil, ""); p.Data != nil || p.Type != typeJSON {
		t.Errorf("no packet is %+v", p)
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(`{"json":{"a":1},"meta":{}}`, typeSuper)
	f.Add(`{"json":null}`, typeSuper)
	f.Add("\xff", typeText)
	f.Fuzz(func(t *testing.T, text, typ string) {
		p := readPacket(&text, typ)
		if got, ok := p.text(); text != "" && (!ok || got != text) {
			t.Errorf("%s %q comes back as %q, %v", typ, text, got, ok)
		}
	})
}
