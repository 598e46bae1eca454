// Package otlp reads what OpenTelemetry exporters send over HTTP, spans, logs and measurements, as JSON or as protocol buffers. It gives the
// parts that are shown to people; links, dropped counts, scopes and the buckets of histograms are left out.
package otlp

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Resource is what one process sent, with the attributes that all of it has.
type Resource struct {
	Attrs  map[string]any
	Spans  []Span
	Logs   []Log
	Points []Point
}

// Span is a piece of work. Ids are lower-case hexadecimal digits, Parent is "" for the first of a trace; times are nanoseconds since the epoch.
type Span struct {
	Trace, ID, Parent string
	Name              string
	Start, End        int64
	Failed            bool
	Message           string // of the status
	Attrs             map[string]any
	Events            []Event
}

// Event is something that happened within a span.
type Event struct {
	Name  string
	Time  int64 // ns
	Attrs map[string]any
}

// Log is a line of a log; Span is the one in which it was written, "" when there was none.
type Log struct {
	Time        int64 // ns
	Trace, Span string
	Level       string // as it was sent; by its number when it has no name
	Body        string
	Attrs       map[string]any
}

// Protobuf says whether a content type is that of protocol buffers. Everything else is taken for JSON.
func Protobuf(contentType string) bool {
	return strings.HasPrefix(contentType, "application/x-protobuf") || strings.HasPrefix(contentType, "application/protobuf")
}

// Traces reads an ExportTraceServiceRequest. An attribute's value is nil, a bool, a float64, an int64, a string, a []any or a map[string]any.
func Traces(contentType string, body []byte) ([]Resource, error) {
	if Protobuf(contentType) {
		return protoTraces(body)
	}
	return jsonTraces(body)
}

// Logs reads an ExportLogsServiceRequest.
func Logs(contentType string, body []byte) ([]Resource, error) {
	if Protobuf(contentType) {
		return protoLogs(body)
	}
	return jsonLogs(body)
}

// maxParts bounds the messages of a request, attributes and their values included: the smallest of them takes a hundred times its size in memory.
const maxParts = 200_000

var errParts = fmt.Errorf("the request has more than %d parts", maxParts)

// maxDepth bounds how deep values may be nested; what is deeper is left out.
const maxDepth = 32

// level names the ranges of severity numbers.
func level(n int) string {
	switch {
	case n <= 0:
		return ""
	case n <= 4:
		return "trace"
	case n <= 8:
		return "debug"
	case n <= 12:
		return "info"
	case n <= 16:
		return "warn"
	case n <= 20:
		return "error"
	}
	return "fatal"
}

// text is a value as a line of a log.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, _ := json.Marshal(v) // a value that was read always marshals
	return string(b)
}
