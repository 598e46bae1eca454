package trigger

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// export is a request with one span.
func export(run, id, attrs string, end int64) []byte {
	return fmt.Appendf(nil, `{"resourceSpans":[{"resource":{"attributes":[{"key":"$trigger","value":{"boolValue":true}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",
		"spanId":"%s","name":"work","startTimeUnixNano":"1800000000000000000","endTimeUnixNano":"%d","attributes":[{"key":"$metadata.ctx.run.id","value":{"stringValue":"%s"}}%s]}]}]}]}`, id, end, run, attrs)
}

func partialOf(id string) string {
	return `,{"key":"$span.partial","value":{"boolValue":true}},{"key":"$span.span_id","value":{"stringValue":"` + id + `"}},{"key":"mine.a","value":{"intValue":1}}`
}

// TestTelemetry: what is told of a run is there when the answer is, a beginning until its end comes, and nothing else.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run := b.trigger("Traceparent", "00-5b8efff798038103d269b633813fc60c-00000000000000aa-01")
	const real, stub = "00000000000000b1", "00000000000000b2"
	type answer struct {
		Trace struct {
			ID   string `json:"traceId"`
			Root struct {
				ID       string `json:"id"`
				Children []struct {
					ID   string `json:"id"`
					Data struct {
						Message    string `json:"message"`
						Level      string `json:"level"`
						Partial    bool   `json:"isPartial"`
						Properties any    `json:"properties"`
					} `json:"data"`
				} `json:"children"`
			} `json:"rootSpan"`
		} `json:"trace"`
	}
	look := func() (list []string) {
		t.Helper()
		var a answer
		b.json("GET", "/api/v1/runs/"+run+"/trace", "", 200, &a)
		if a.Trace.ID != "5b8efff798038103d269b633813fc60c" {
			t.Errorf("trace %q", a.Trace.ID)
		}
		for _, c := range a.Trace.Root.Children {
			list = append(list, fmt.Sprint(c.ID, " ", c.Data.Message, " ", c.Data.Level, " ", c.Data.Partial, " ", c.Data.Properties))
		}
		return list
	}
	send := func(body []byte, headers ...string) (int, string) {
		t.Helper()
		status, out := b.do("POST", "/otel/v1/traces", body, headers...)
		return status, strings.TrimSpace(string(out))
	}
	status, out := send(export(run, stub, partialOf(real), 0))
	if status != 200 || out != `{"partialSuccess":{}}` {
		t.Errorf("a beginning: %d %s", status, out)
	}
	if diff := cmp.Diff([]string{real + " work TRACE true map[mine:map[a:1]]"}, look()); diff != "" {
		t.Errorf("after its beginning (-want +got):\n%s", diff)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(export(run, real, "", 1800000000000000009)) // a buffer takes everything
	_ = w.Close()
	if status, out := send(z.Bytes(), "Content-Encoding", "gzip"); status != 200 {
		t.Errorf("an end, compressed: %d %s", status, out)
	}
	_, _ = send(export(run, stub, partialOf(real), 0)) // the beginning comes once more, late
	if diff := cmp.Diff([]string{real + " work TRACE false <nil>"}, look()); diff != "" {
		t.Errorf("after its end (-want +got):\n%s", diff)
	}

	body, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "$trigger", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}}}},
		ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{
			TimeUnixNano: 1800000000000000010, SeverityText: "WARN", Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "hm"}},
			Attributes: []*commonpb.KeyValue{{Key: attrRun, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: run}}}},
		}, {Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "of no run"}}}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	status, answered := b.do("POST", "/otel/v1/logs", body, "Content-Type", "application/x-protobuf")
	if status != 200 || !strings.Contains(string(answered), "they name no run") {
		t.Errorf("logs in protocol buffers: %d %q", status, answered)
	}
	if got := look(); len(got) != 2 || !strings.HasSuffix(got[1], " hm WARN false <nil>") {
		t.Errorf("after a log: %q", got)
	}

	unknown := friendly(runPrefix, engine.ID{5})
	for _, c := range []struct {
		what, body string
		status     int
		says       string
	}{
		{"a span of an unknown run", string(export(unknown, real, "", 9)), 200, `"rejectedSpans":1`},
		{"a span without a usable id", string(export(run, "zz", "", 9)), 200, "no usable ids"},
		{"a span of no task", strings.Replace(string(export(run, real, "", 9)), "$trigger", "trigger", 1), 200, "not of a task"},
		{"no JSON", "{", 400, "Invalid request body"},
		{"too much", `{"a":"` + strings.Repeat("x", maxTelemetry) + `"}`, 413, "too large"},
	} {
		if status, out := send([]byte(c.body)); status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: %d %s", c.what, status, out)
		}
	}
	if status, out := send([]byte("{}"), "Content-Encoding", "gzip"); status != 400 {
		t.Errorf("a body that is not compressed: %d %s", status, out)
	}
	z.Reset()
	w.Reset(&z)
	_, _ = w.Write(bytes.Repeat([]byte(" "), 2*maxTelemetry))
	_ = w.Close()
	if status, out := send(z.Bytes(), "Content-Encoding", "gzip"); status != 413 {
		t.Errorf("a body that is large when it is decompressed: %d %s", status, out)
	}

	// Paging goes over the same spans, each once.
	var seen []string
	for after := ""; ; {
		var page struct {
			Data []struct {
				ID      string `json:"id"`
				Message string `json:"message"`
			} `json:"data"`
			Pagination struct {
				Next string `json:"next"`
			} `json:"pagination"`
		}
		b.json("GET", "/api/v1/runs/"+run+"/trace?page[size]=1"+after, "", 200, &page)
		for _, s := range page.Data {
			seen = append(seen, s.Message)
		}
		if page.Pagination.Next == "" {
			break
		}
		after = "&page[after]=" + page.Pagination.Next
	}
	if diff := cmp.Diff([]string{"told", "work", "hm"}, seen); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}

	// An hour after its end a run has nothing more to say.
	b.json("POST", "/api/v2/runs/"+run+"/cancel", "", 200, nil)
	b.now.Add(telemetryAge - 1)
	if _, out := send(export(run, "00000000000000b3", "", 9)); out != `{"partialSuccess":{}}` {
		t.Errorf("soon after its end: %s", out)
	}
	b.now.Add(budgetAge)
	if _, out := send(export(run, "00000000000000b4", "", 9)); !strings.Contains(out, "ended long ago") {
		t.Errorf("long after its end: %s", out)
	}
	if status, _ := b.do("GET", "/api/v1/runs/"+run+"/trace", nil, "Authorization", "Bearer nobody"); status != http.StatusUnauthorized {
		t.Errorf("a trace for anybody: %d", status)
	}
}

// TestBudget: a run has so many rows, of which the last are for ends.
func TestBudget(t *testing.T) {
	t.Parallel()
	b := &budget{}
	n := 0
	for b.take(1, false) {
		n++
	}
	for b.take(1, true) {
		n++
	}
	if n != maxTold || b.take(1, true) {
		t.Errorf("a run could tell %d, want %d", n, maxTold)
	}
	b = &budget{}
	for b.take(trace.MaxSpan, false) {
		n++
	}
	if b.bytes > maxToldBytes || !b.take(100, true) || b.bytes > maxToldBytes {
		t.Errorf("a run could tell %d bytes", b.bytes)
	}
}

// TestTree: whatever spans claim of each other, they are a tree.
func TestTree(t *testing.T) {
	t.Parallel()
	d := &environment{Door: &Door{}}
	rec := &record{RunRow: &engine.RunRow{ID: engine.ID{1}}}
	id := func(n int) string { return fmt.Sprintf("%016x", n) }
	list := []spanOfRun{{&trace.Span{ID: id(1), Parent: id(9), End: 1}, rec}}
	for n, parent := range map[int]int{2: 1, 3: 2, 4: 5, 5: 4, 6: 6, 7: 99, 8: 3, 9: 1} {
		list = append(list, spanOfRun{&trace.Span{ID: id(n), Parent: id(parent), End: 1}, rec})
	}
	for n := 100; n < 100+2*maxNested; n++ { // a long chain
		list = append(list, spanOfRun{&trace.Span{ID: id(n), Parent: id(n - 1), End: 1}, rec})
	}
	count, deepest := 0, 0
	var walk func(n *spanNode, depth int)
	walk = func(n *spanNode, depth int) {
		count, deepest = count+1, max(deepest, depth)
		for _, c := range n.Children {
			if c.Parent != n.ID {
				t.Errorf("%s is below %s and says it is below %s", c.ID, n.ID, c.Parent)
			}
			walk(c, depth+1)
		}
	}
	root := d.treeView(list)
	walk(root, 0)
	if root.ID != id(1) || count != len(list) || deepest > maxNested+1 {
		t.Errorf("the tree below %s has %d spans of %d, %d deep", root.ID, count, len(list), deepest)
	}
}
