package trigger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMeasures: a run keeps the last value and the largest of what its process measures, within limits, and nothing of others.
func TestMeasures(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run := b.trigger()
	id, _ := parseID(runPrefix, run)
	send := func(wantRejected float64, body string) {
		t.Helper()
		var v struct {
			Partial struct {
				Rejected float64 `json:"rejectedDataPoints"`
				Why      string  `json:"errorMessage"`
			} `json:"partialSuccess"`
		}
		b.json("POST", "/otel/v1/metrics", body, 200, &v)
		if v.Partial.Rejected != wantRejected || (v.Partial.Why != "") != (wantRejected > 0) {
			t.Errorf("%.200s: %+v", body, v.Partial)
		}
	}
	export := func(points ...string) string {
		return `{"resourceMetrics":[{"resource":{"attributes":[{"key":"$trigger","value":{"boolValue":true}}]},"scopeMetrics":[{"metrics":[` + strings.Join(points, ",") + `]}]}]}`
	}
	point := func(run, name, state string, ms int64, v float64) string {
		return fmt.Sprintf(`{"name":"%s","unit":"By","gauge":{"dataPoints":[{"timeUnixNano":"%d","asDouble":%g,"attributes":[{"key":"ctx.run.id","value":{"stringValue":"%s"}},
			{"key":"worker.version","value":{"stringValue":"1"}},{"key":"state","value":{"stringValue":"%s"}}]}]}}`, name, ms*1e6, v, run, state)
	}
	send(0, export(point(run, "memory", "user", 1000, 5), point(run, "memory", "system", 1000, 1)))
	send(0, export(point(run, "memory", "user", 2000, 9)))
	send(0, export(point(run, "memory", "user", 3000, 7)))
	send(0, export(point(run, "memory", "user", 2500, 8))) // late
	send(1, export(point("run_"+strings.Repeat("0", 26), "memory", "", 1, 1)))
	send(1, export(point("", "memory", "", 1, 1)))
	send(1, strings.Replace(export(point(run, "memory", "", 1, 1)), "$trigger", "other", 1))
	send(1, export(point(run, strings.Repeat("x", maxMeasureName+1), "", 1, 1)))
	got, err := b.door.measures(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := []measure{{"memory", "system", "By", 1, 1, 1000}, {"memory", "user", "By", 7, 9, 3000}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var many []string
	for i := range maxMeasures {
		many = append(many, point(run, fmt.Sprint("m", i), "", 1, 1))
	}
	send(maxMeasures, export(many...)) // as a whole: it says why
	if got, _ = b.door.measures(t.Context(), id); len(got) != maxMeasures {
		t.Errorf("%d measures", len(got))
	}
	b.json("POST", "/otel/v1/metrics", "no JSON", 400, nil)
}
