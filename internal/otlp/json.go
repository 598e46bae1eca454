package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The JSON form: ids are hexadecimal, 64-bit numbers are text or numbers, and enumerations are numbers.

// decodeJSON decodes a request of something that has not too many parts.
func decodeJSON(body []byte, what string, v any) error {
	if bytes.Count(body, []byte("{")) > maxParts {
		return errParts
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

func jsonTraces(body []byte) ([]Resource, error) {
	var in struct {
		Resources []struct {
			Resource jsonResource `json:"resource"`
			Scopes   []struct {
				Spans []*jsonSpan `json:"spans"`
			} `json:"scopeSpans"`
		} `json:"resourceSpans"`
	}
	if err := decodeJSON(body, "traces", &in); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range in.Resources {
		res := Resource{Attrs: attrs(r.Resource.Attrs, 0)}
		for _, s := range r.Scopes {
			for _, one := range s.Spans {
				if one != nil {
					res.Spans = append(res.Spans, one.span())
				}
			}
		}
		out = append(out, res)
	}
	return out, nil
}

func jsonLogs(body []byte) ([]Resource, error) {
	var in struct {
		Resources []struct {
			Resource jsonResource `json:"resource"`
			Scopes   []struct {
				Logs []*jsonLog `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	if err := decodeJSON(body, "logs", &in); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range in.Resources {
		res := Resource{Attrs: attrs(r.Resource.Attrs, 0)}
		for _, s := range r.Scopes {
			for _, one := range s.Logs {
				if one != nil {
					res.Logs = append(res.Logs, one.log())
				}
			}
		}
		out = append(out, res)
	}
	return out, nil
}

type jsonResource struct {
	Attrs []*keyValue `json:"attributes"`
}

type jsonSpan struct {
	Trace  hexID       `json:"traceId"`
	ID     hexID       `json:"spanId"`
	Parent hexID       `json:"parentSpanId"`
	Name   string      `json:"name"`
	Start  number      `json:"startTimeUnixNano"`
	End    number      `json:"endTimeUnixNano"`
	Attrs  []*keyValue `json:"attributes"`
	Events []struct {
		Time  number      `json:"timeUnixNano"`
		Name  string      `json:"name"`
		Attrs []*keyValue `json:"attributes"`
	} `json:"events"`
	Status struct {
		Code    number `json:"code"`
		Message string `json:"message"`
	} `json:"status"`
}

// statusError is the code of a status that says error.
const statusError = 2

func (s *jsonSpan) span() Span {
	out := Span{
		Trace: string(s.Trace), ID: string(s.ID), Parent: string(s.Parent), Name: s.Name, Start: int64(s.Start), End: int64(s.End),
		Failed: s.Status.Code == statusError, Message: s.Status.Message, Attrs: attrs(s.Attrs, 0),
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, Event{Name: e.Name, Time: int64(e.Time), Attrs: attrs(e.Attrs, 0)})
	}
	return out
}

type jsonLog struct {
	Time     number      `json:"timeUnixNano"`
	Observed number      `json:"observedTimeUnixNano"`
	Severity number      `json:"severityNumber"`
	Level    string      `json:"severityText"`
	Body     anyValue    `json:"body"`
	Attrs    []*keyValue `json:"attributes"`
	Trace    hexID       `json:"traceId"`
	Span     hexID       `json:"spanId"`
}

func (l *jsonLog) log() Log {
	out := Log{Time: int64(l.Time), Trace: string(l.Trace), Span: string(l.Span), Level: l.Level, Body: text(l.Body.value(0)), Attrs: attrs(l.Attrs, 0)}
	if out.Time == 0 {
		out.Time = int64(l.Observed)
	}
	if out.Level == "" {
		out.Level = level(int(l.Severity))
	}
	return out
}

// hexID is the id of a trace or span. What is none is "", as an id that is absent.
type hexID string

func (id *hexID) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return nil
	}
	if n := len(s); n != 16 && n != 32 {
		return nil
	}
	if _, err := hex.DecodeString(s); err != nil || strings.Trim(s, "0") == "" {
		return nil
	}
	*id = hexID(strings.ToLower(s))
	return nil
}

// number is an integer that is written as a number or as text. What is none, or does not fit, is 0.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = number(v)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<63 {
		*n = number(f) // some exporters write large ones as 1.7e18
	}
	return nil
}

// double is a floating-point number; those that JSON cannot write come as text and stay that.
type double struct{ v any }

func (d *double) UnmarshalJSON(b []byte) error {
	if f, err := strconv.ParseFloat(string(b), 64); err == nil {
		d.v = finite(f)
		return nil
	}
	d.v = strings.Trim(string(b), `"`)
	return nil
}

// finite is a number as JSON can write it.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return f
}

type keyValue struct {
	Key   string   `json:"key"`
	Value anyValue `json:"value"`
}

// anyValue is a value of any type, of which one field is there.
type anyValue struct {
	String *string `json:"stringValue"`
	Bool   *bool   `json:"boolValue"`
	Int    *number `json:"intValue"`
	Double *double `json:"doubleValue"`
	Bytes  *string `json:"bytesValue"`
	Array  *struct {
		Values []*anyValue `json:"values"`
	} `json:"arrayValue"`
	Map *struct {
		Values []*keyValue `json:"values"`
	} `json:"kvlistValue"`
}

func (v *anyValue) value(depth int) any {
	switch {
	case v == nil || depth > maxDepth:
	case v.String != nil:
		return *v.String
	case v.Bool != nil:
		return *v.Bool
	case v.Int != nil:
		return int64(*v.Int)
	case v.Double != nil:
		return v.Double.v
	case v.Bytes != nil:
		if b, err := base64.StdEncoding.DecodeString(*v.Bytes); err == nil {
			return string(b)
		}
	case v.Array != nil:
		list := make([]any, 0, len(v.Array.Values))
		for _, e := range v.Array.Values {
			list = append(list, e.value(depth+1))
		}
		return list
	case v.Map != nil:
		return attrs(v.Map.Values, depth+1)
	}
	return nil
}

func attrs(list []*keyValue, depth int) map[string]any {
	m := make(map[string]any, len(list))
	for _, kv := range list {
		if kv != nil {
			m[kv.Key] = kv.Value.value(depth)
		}
	}
	return m
}
