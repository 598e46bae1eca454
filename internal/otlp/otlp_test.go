package otlp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	traceID = "5b8efff798038103d269b633813fc60c"
	spanID  = "eee19b7ec3c1b174"
)

func str(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

func bytesOf(id string) []byte {
	b, _ := hex.DecodeString(id)
	return b
}

// TestTraces: both forms of a request say the same.
func TestTraces(t *testing.T) {
	t.Parallel()
	want := []Resource{{
		Attrs: map[string]any{"$trigger": true},
		Spans: []Span{{
			Trace: traceID, ID: spanID, Name: "run()", Start: 1_700_000_000_000_000_001, End: 1_700_000_000_000_000_009, Failed: true, Message: "boom",
			Attrs:  map[string]any{"n": int64(-7), "f": 0.5, "nan": "NaN", "b": false, "list": []any{"a", nil}, "map": map[string]any{"k": "v"}},
			Events: []Event{{Name: "exception", Time: 1_700_000_000_000_000_005, Attrs: map[string]any{"exception.message": "boom"}}},
		}},
	}}
	got, err := Traces("application/json", []byte(`{"resourceSpans":[{"resource":{"attributes":[{"key":"$trigger","value":{"boolValue":true}}]},"scopeSpans":[{"scope":{},"spans":[{
		"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"0000000000000000","name":"run()","kind":1,
		"startTimeUnixNano":"1700000000000000001","endTimeUnixNano":1700000000000000009,"status":{"code":2,"message":"boom"},
		"attributes":[{"key":"n","value":{"intValue":"-7"}},{"key":"f","value":{"doubleValue":0.5}},{"key":"nan","value":{"doubleValue":"NaN"}},{"key":"b","value":{"boolValue":false}},
			{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}}],
		"events":[{"timeUnixNano":"1700000000000000005","name":"exception","attributes":[{"key":"exception.message","value":{"stringValue":"boom"}}]}]}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	b, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "$trigger", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}}}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{
			TraceId: bytesOf(traceID), SpanId: bytesOf(spanID), ParentSpanId: make([]byte, 8), Name: "run()", StartTimeUnixNano: 1_700_000_000_000_000_001, EndTimeUnixNano: 1_700_000_000_000_000_009,
			Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "boom"},
			Attributes: []*commonpb.KeyValue{
				{Key: "n", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: -7}}},
				{Key: "f", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 0.5}}},
				{Key: "nan", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.NaN()}}},
				{Key: "b", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{}}},
				{Key: "list", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{str("a"), {}}}}}},
				{Key: "map", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: []*commonpb.KeyValue{{Key: "k", Value: str("v")}}}}}},
			},
			Events: []*tracepb.Span_Event{{TimeUnixNano: 1_700_000_000_000_000_005, Name: "exception", Attributes: []*commonpb.KeyValue{{Key: "exception.message", Value: str("boom")}}}},
		}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Traces("application/x-protobuf", b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("protocol buffers (-want +got):\n%s", diff)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	want := []Resource{{Attrs: map[string]any{}, Logs: []Log{
		{Time: 5, Trace: traceID, Span: spanID, Level: "log", Body: "hello", Attrs: map[string]any{}},
		{Time: 6, Level: "error", Body: `{"a":1}`, Attrs: map[string]any{}},
	}}}
	got, err := Logs("", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[
		{"timeUnixNano":"5","severityText":"log","severityNumber":10,"body":{"stringValue":"hello"},"traceId":"`+traceID+`","spanId":"`+spanID+`"},
		{"observedTimeUnixNano":6,"severityNumber":17,"body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":1}}]}},"spanId":"short"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	b, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{
		{TimeUnixNano: 5, SeverityText: "log", Body: str("hello"), TraceId: bytesOf(traceID), SpanId: bytesOf(spanID)},
		{ObservedTimeUnixNano: 6, SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_ERROR, SpanId: []byte("short"), Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{
			KvlistValue: &commonpb.KeyValueList{Values: []*commonpb.KeyValue{{Key: "a", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: 1}}}}},
		}}},
	}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Logs("application/x-protobuf", b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("protocol buffers (-want +got):\n%s", diff)
	}
}

// TestParts: a small body that would be large in memory is refused before it is there.
func TestParts(t *testing.T) {
	t.Parallel()
	spans := strings.Repeat("{},", maxParts) + "{}"
	if _, err := Traces("", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[`+spans+`]}]}]}`)); !errors.Is(err, errParts) {
		t.Errorf("JSON with many spans: %v", err)
	}
	body := bytes.Repeat([]byte{2<<3 | 2, 0}, maxParts) // empty spans
	for _, field := range []protowire.Number{2, 1} {
		body = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
	}
	if _, err := Traces("application/x-protobuf", body); !errors.Is(err, errParts) {
		t.Errorf("protocol buffers with many spans: %v", err)
	}
	deep := []byte{}
	for range 1000 { // lists in lists, of which each is a value's field 5
		for _, field := range []protowire.Number{1, 5} {
			deep = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), deep)
		}
	}
	if n := countParts(deep, valueShape, 0); n <= maxParts {
		t.Errorf("a value that is nested a thousand times counts as %d", n)
	}
}

// FuzzJSON: whatever comes is refused or gives values that can be stored.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x","startTimeUnixNano":1e300,"attributes":[{"key":"a","value":{"doubleValue":"Infinity"}}]}]}]}]}`))
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":"9","body":{"bytesValue":"/w=="}}]}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func(string, []byte) ([]Resource, error){Traces, Logs, Metrics} {
			list, err := read("application/json", b)
			if err != nil {
				continue
			}
			if _, err := json.Marshal(list); err != nil {
				t.Errorf("%q was read and cannot be stored: %v", b, err)
			}
			for _, r := range list {
				for _, s := range r.Spans {
					if n := len(s.ID); n != 0 && n != 16 && n != 32 {
						t.Errorf("%q gives the id %q", b, s.ID)
					}
				}
			}
		}
	})
}

// TestMetrics: both forms of a request say the same.
func TestMetrics(t *testing.T) {
	t.Parallel()
	at := int64(1_700_000_000_000_000_001)
	run := map[string]any{"ctx.run.id": "run_1"}
	want := []Resource{{
		Attrs: map[string]any{"$trigger": true},
		Points: []Point{
			{"memory", "By", at, 5.5, run}, {"jobs", "", at, -3, run}, {"latency", "s", at, 2, run}, {"scaled", "s", at, 4, run}, {"summed", "", at, 1.5, run},
		},
	}}
	const point = `"timeUnixNano":"1700000000000000001","attributes":[{"key":"ctx.run.id","value":{"stringValue":"run_1"}}]`
	got, err := Metrics("application/json", []byte(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"$trigger","value":{"boolValue":true}}]},"scopeMetrics":[{"scope":{},"metrics":[
		{"name":"memory","unit":"By","gauge":{"dataPoints":[{"asDouble":5.5,`+point+`},{"asDouble":"NaN",`+point+`},{`+point+`},null]}},
		{"name":"jobs","sum":{"dataPoints":[{"asInt":"-3",`+point+`}]}},
		{"name":"latency","unit":"s","histogram":{"dataPoints":[{"count":"3","sum":6,"bucketCounts":["3"],`+point+`},{"count":"0","sum":0,`+point+`}]}},
		{"name":"scaled","unit":"s","exponentialHistogram":{"dataPoints":[{"count":1,"sum":4,`+point+`}]}},
		{"name":"summed","summary":{"dataPoints":[{"count":"2","sum":3,`+point+`}]}}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	attrs := []*commonpb.KeyValue{{Key: "ctx.run.id", Value: str("run_1")}}
	when := uint64(at)
	number := func(v float64) *metricspb.NumberDataPoint {
		return &metricspb.NumberDataPoint{TimeUnixNano: when, Attributes: attrs, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}}
	}
	sum, four := 6.0, 4.0
	b, err := proto.Marshal(&metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "$trigger", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}}}},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{
			{Name: "memory", Unit: "By", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{number(5.5), number(math.NaN()), {TimeUnixNano: when, Attributes: attrs}}}}},
			{Name: "jobs", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: []*metricspb.NumberDataPoint{{TimeUnixNano: when, Attributes: attrs, Value: &metricspb.NumberDataPoint_AsInt{AsInt: -3}}}}}},
			{Name: "latency", Unit: "s", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{DataPoints: []*metricspb.HistogramDataPoint{{TimeUnixNano: when, Attributes: attrs, Count: 3, Sum: &sum}, {TimeUnixNano: when, Attributes: attrs}}}}},
			{Name: "scaled", Unit: "s", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: when, Attributes: attrs, Count: 1, Sum: &four}}}}},
			{Name: "summed", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{{TimeUnixNano: when, Attributes: attrs, Count: 2, Sum: 3}}}}},
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Metrics("application/x-protobuf", b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("protocol buffers (-want +got):\n%s", diff)
	}
}
