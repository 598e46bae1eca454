package trigger

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMetadataOperations(t *testing.T) {
	t.Parallel()
	f := func(before, ops, want string) {
		t.Helper()
		var list []metadataOp
		if err := json.Unmarshal([]byte(ops), &list); err != nil {
			t.Fatal(err)
		}
		got, err := applyMetadata(json.RawMessage(before), list)
		if want == "" {
			if err == nil {
				t.Errorf("%s gave %s, want an error", ops, got)
			}
			return
		}
		if err != nil || string(got) != want {
			t.Errorf("%s on %s: %s, %v; want %s", ops, before, got, err, want)
		}
	}
	f(``, `[{"type":"set","key":"a","value":{"b":1}}]`, `{"a":{"b":1}}`)
	f(`{"a":1}`, `[{"type":"set","key":"$.a.b","value":2}]`, `{"a":{"b":2}}`)
	f(`{"list":[1]}`, `[{"type":"set","key":"$.list[2]","value":3}]`, `{"list":[1,null,3]}`)
	f(`{"a":1}`, `[{"type":"append","key":"a","value":2}]`, `{"a":[1,2]}`)
	f(`{"a":[{"x":1},2]}`, `[{"type":"remove","key":"a","value":{"x":1}}]`, `{"a":[2]}`)
	f(`{"a":"x"}`, `[{"type":"increment","key":"a","value":1}]`, `{"a":1}`)
	f(`{"a":1}`, `[{"type":"update","value":{"b":2}},{"type":"delete","key":"none"}]`, `{"b":2}`)
	f(`{"$.a":1,"a":2}`, `[{"type":"delete","key":"$.a"}]`, `{"a":2}`)
	f(`{}`, `[{"type":"set","key":"$.a[99999999]","value":1}]`, ``)
	f(`{}`, `[{"type":"set","key":"$.`+strings.Repeat("a.", 100)+`a","value":1}]`, ``)
	f(`{}`, `[{"type":"set","key":"__proto__","value":1}]`, ``)
	f(`{}`, `[{"type":"increment","key":"a","value":"1"}]`, ``)
	f(`{}`, `[{"type":"nonsense","key":"a"}]`, ``)
	f(`{}`, `[{"type":"set","key":"a","value":"`+strings.Repeat("x", maxMetadata)+`"}]`, ``)
}

func FuzzMetadata(f *testing.F) {
	f.Add("$.a.b[3]", `{"a":[1]}`)
	f.Add("$.[", `{}`)
	f.Fuzz(func(t *testing.T, key, before string) {
		ops := []metadataOp{{Type: "append", Key: key, Value: []byte("1")}, {Type: "remove", Key: key, Value: []byte("1")}, {Type: "increment", Key: key, Value: []byte("1")}}
		for _, op := range ops {
			got, err := applyMetadata(json.RawMessage(before), []metadataOp{op})
			if err == nil && !json.Valid(got) {
				t.Errorf("%s on %q gave %s", op.Type, before, got)
			}
		}
	})
}
