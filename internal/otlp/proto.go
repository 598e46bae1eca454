package otlp

import (
	"encoding/hex"
	"fmt"
	"math"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The requests of the exporters have the same fields as TracesData and LogsData, whose packages do without gRPC.

// decodeProto decodes a request of something that has not too many parts, counted by its shape.
func decodeProto(body []byte, what string, s shape, m proto.Message) error {
	if countParts(body, s, 0) > maxParts {
		return errParts
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

func protoTraces(body []byte) ([]Resource, error) {
	var in tracepb.TracesData
	if err := decodeProto(body, "traces", tracesShape, &in); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range in.GetResourceSpans() {
		res := Resource{Attrs: protoAttrs(r.GetResource().GetAttributes(), 0)}
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				res.Spans = append(res.Spans, protoSpan(s))
			}
		}
		out = append(out, res)
	}
	return out, nil
}

func protoSpan(s *tracepb.Span) Span {
	out := Span{
		Trace: protoID(s.GetTraceId()), ID: protoID(s.GetSpanId()), Parent: protoID(s.GetParentSpanId()), Name: s.GetName(),
		Start: nanos(s.GetStartTimeUnixNano()), End: nanos(s.GetEndTimeUnixNano()), Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		Message: s.GetStatus().GetMessage(), Attrs: protoAttrs(s.GetAttributes(), 0),
	}
	for _, e := range s.GetEvents() {
		out.Events = append(out.Events, Event{Name: e.GetName(), Time: nanos(e.GetTimeUnixNano()), Attrs: protoAttrs(e.GetAttributes(), 0)})
	}
	return out
}

func protoLogs(body []byte) ([]Resource, error) {
	var in logspb.LogsData
	if err := decodeProto(body, "logs", logsShape, &in); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range in.GetResourceLogs() {
		res := Resource{Attrs: protoAttrs(r.GetResource().GetAttributes(), 0)}
		for _, scope := range r.GetScopeLogs() {
			for _, l := range scope.GetLogRecords() {
				res.Logs = append(res.Logs, protoLog(l))
			}
		}
		out = append(out, res)
	}
	return out, nil
}

func protoLog(l *logspb.LogRecord) Log {
	out := Log{
		Time: nanos(l.GetTimeUnixNano()), Trace: protoID(l.GetTraceId()), Span: protoID(l.GetSpanId()), Level: l.GetSeverityText(),
		Body: text(protoValue(l.GetBody(), 0)), Attrs: protoAttrs(l.GetAttributes(), 0),
	}
	if out.Time == 0 {
		out.Time = nanos(l.GetObservedTimeUnixNano())
	}
	if out.Level == "" {
		out.Level = level(int(l.GetSeverityNumber()))
	}
	return out
}

// protoID is an id as JSON has it; what is none is "".
func protoID(b []byte) string {
	if n := len(b); n != 8 && n != 16 {
		return ""
	}
	for _, c := range b {
		if c != 0 {
			return hex.EncodeToString(b)
		}
	}
	return ""
}

func nanos(n uint64) int64 {
	if n > math.MaxInt64 {
		return 0
	}
	return int64(n)
}

func protoAttrs(list []*commonpb.KeyValue, depth int) map[string]any {
	m := make(map[string]any, len(list))
	for _, kv := range list {
		m[kv.GetKey()] = protoValue(kv.GetValue(), depth)
	}
	return m
}

func protoValue(v *commonpb.AnyValue, depth int) any {
	if depth > maxDepth {
		return nil
	}
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return finite(v.DoubleValue)
	case *commonpb.AnyValue_BytesValue:
		return string(v.BytesValue)
	case *commonpb.AnyValue_ArrayValue:
		list := make([]any, 0, len(v.ArrayValue.GetValues()))
		for _, e := range v.ArrayValue.GetValues() {
			list = append(list, protoValue(e, depth+1))
		}
		return list
	case *commonpb.AnyValue_KvlistValue:
		return protoAttrs(v.KvlistValue.GetValues(), depth+1)
	}
	return nil
}

// shape says which fields of a message are messages of which shape.
type shape map[protowire.Number]shape

var pairShape, valueShape = func() (pair, value shape) {
	pair, value = shape{}, shape{}
	pair[2], value[5], value[6] = value, shape{1: value}, shape{1: pair}
	return pair, value
}()

var (
	resourceShape = shape{1: pairShape, 3: {}}
	spanShape     = shape{9: pairShape, 11: {3: pairShape}, 13: {4: pairShape}, 15: {}}
	tracesShape   = shape{1: {1: resourceShape, 2: {1: {3: pairShape}, 2: spanShape}}}
	logsShape     = shape{1: {1: resourceShape, 2: {1: {3: pairShape}, 2: {5: valueShape, 6: pairShape}}}}
)

// countParts counts the messages within one, without making them. It goes no deeper than any sensible request is.
func countParts(b []byte, s shape, depth int) (n int) {
	if depth > 4*maxDepth {
		return maxParts + 1
	}
	for len(b) > 0 && n <= maxParts {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return n // whoever decodes it says so
		}
		b = b[size:]
		if below, known := s[num]; known && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			n += 1 + countParts(v, below, depth+1)
		}
		if size = protowire.ConsumeFieldValue(num, typ, b); size < 0 {
			return n
		}
		b = b[size:]
	}
	return n
}
