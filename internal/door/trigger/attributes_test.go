package trigger

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnflatten(t *testing.T) {
	t.Parallel()
	f := func(name, in, want string) {
		t.Helper()
		var attrs, wanted any
		if json.Unmarshal([]byte(in), &attrs) != nil || json.Unmarshal([]byte(want), &wanted) != nil {
			t.Fatal("the test has bad JSON", in, want)
		}
		got, ok := unflatten(attrs.(map[string]any), name)
		if ok != (wanted != "nothing") {
			t.Fatalf("unflatten %s of %s: found %v", name, in, ok)
		}
		if diff := cmp.Diff(wanted, got); ok && diff != "" {
			t.Errorf("unflatten %s of %s (-want +got):\n%s", name, in, diff)
		}
	}
	f("", `{"a":1,"b.c":"x","b.d.[0]":true,"b.d.[1].e":"$@null((","f.[10]":10,"f.[2]":"$@circular(("}`,
		`{"a":1,"b":{"c":"x","d":[true,{"e":null}]},"f":[null,null,"[Circular]",null,null,null,null,null,null,null,10]}`)
	f("", `{"m.[0].[1]":1,"m.[0].[0]":0}`, `{"m":[[0,1]]}`)
	f("", `{"a":1,"a.b":2,"c.[0]":1,"c.d":2}`, `{"a":1,"a.b":2,"c":[1],"c.d":2}`)
	f("", `{"a.[99999999]":1,"b.[-1]":2,"c.[9000]":3,"d.[9000]":4}`, `{"a":{"[99999999]":1},"b":{"[-1]":2},"c":`+nulls(9000, "3")+`,"d.[9000]":4}`)
	f("$output", `{"$output":"text","$other":1}`, `"text"`)
	f("$output", `{"$output.a":1,"$output.b.[0]":2,"a":3,"$outputs":4}`, `{"a":1,"b":[2]}`)
	f("$output", `{"a":3}`, `"nothing"`)
	f("", `{}`, `"nothing"`)
}

// nulls is a list of n times nothing and a last value.
func nulls(n int, last string) string {
	b := []byte("[")
	for range n {
		b = append(b, "null,"...)
	}
	return string(b) + last + "]"
}
