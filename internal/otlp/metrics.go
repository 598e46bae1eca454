package otlp

import (
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// Point is one measurement. Of a histogram it is the mean.
type Point struct {
	Name, Unit string
	Time       int64 // ns
	Value      float64
	Attrs      map[string]any
}

// Metrics reads an ExportMetricsServiceRequest. Points without a number are left out.
func Metrics(contentType string, body []byte) ([]Resource, error) {
	if Protobuf(contentType) {
		return protoMetrics(body)
	}
	return jsonMetrics(body)
}

type jsonPoint struct {
	Time   number      `json:"timeUnixNano"`
	Double *double     `json:"asDouble"`
	Int    *number     `json:"asInt"`
	Count  number      `json:"count"`
	Sum    *double     `json:"sum"`
	Attrs  []*keyValue `json:"attributes"`
}

// value is the point's number; ok is false when it has none.
func (p *jsonPoint) value() (v float64, ok bool) {
	switch {
	case p.Double != nil:
		v, ok = p.Double.v.(float64)
	case p.Int != nil:
		v, ok = float64(*p.Int), true
	case p.Sum != nil && p.Count > 0:
		v, ok = p.Sum.v.(float64)
		v /= float64(p.Count)
	}
	return v, ok
}

type jsonPoints struct {
	Points []*jsonPoint `json:"dataPoints"`
}

func jsonMetrics(body []byte) ([]Resource, error) {
	var in struct {
		Resources []struct {
			Resource jsonResource `json:"resource"`
			Scopes   []struct {
				Metrics []struct {
					Name      string     `json:"name"`
					Unit      string     `json:"unit"`
					Gauge     jsonPoints `json:"gauge"`
					Sum       jsonPoints `json:"sum"`
					Histogram jsonPoints `json:"histogram"`
					Scaled    jsonPoints `json:"exponentialHistogram"`
					Summary   jsonPoints `json:"summary"`
				} `json:"metrics"`
			} `json:"scopeMetrics"`
		} `json:"resourceMetrics"`
	}
	if err := decodeJSON(body, "metrics", &in); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range in.Resources {
		res := Resource{Attrs: attrs(r.Resource.Attrs, 0)}
		for _, s := range r.Scopes {
			for _, m := range s.Metrics {
				for _, kind := range []jsonPoints{m.Gauge, m.Sum, m.Histogram, m.Scaled, m.Summary} {
					for _, p := range kind.Points {
						if p == nil {
							continue
						}
						if v, ok := p.value(); ok {
							res.Points = append(res.Points, Point{m.Name, m.Unit, int64(p.Time), v, attrs(p.Attrs, 0)})
						}
					}
				}
			}
		}
		out = append(out, res)
	}
	return out, nil
}

func protoMetrics(body []byte) ([]Resource, error) {
	var in metricspb.MetricsData
	if err := decodeProto(body, "metrics", metricsShape, &in); err != nil {
		return nil, err
	}
	var out []Resource
	for _, r := range in.GetResourceMetrics() {
		res := Resource{Attrs: protoAttrs(r.GetResource().GetAttributes(), 0)}
		for _, scope := range r.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				res.Points = append(res.Points, protoPoints(m)...)
			}
		}
		out = append(out, res)
	}
	return out, nil
}

func protoPoints(m *metricspb.Metric) (out []Point) {
	add := func(time uint64, v any, list []*commonpb.KeyValue) {
		if f, ok := v.(float64); ok {
			out = append(out, Point{m.GetName(), m.GetUnit(), nanos(time), f, protoAttrs(list, 0)})
		}
	}
	mean := func(sum float64, count uint64) any {
		if count == 0 {
			return nil
		}
		return finite(sum / float64(count))
	}
	for _, p := range append(m.GetGauge().GetDataPoints(), m.GetSum().GetDataPoints()...) {
		var v any
		switch n := p.GetValue().(type) {
		case *metricspb.NumberDataPoint_AsDouble:
			v = finite(n.AsDouble)
		case *metricspb.NumberDataPoint_AsInt:
			v = float64(n.AsInt)
		}
		add(p.GetTimeUnixNano(), v, p.GetAttributes())
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		add(p.GetTimeUnixNano(), mean(p.GetSum(), p.GetCount()), p.GetAttributes())
	}
	for _, p := range m.GetExponentialHistogram().GetDataPoints() {
		add(p.GetTimeUnixNano(), mean(p.GetSum(), p.GetCount()), p.GetAttributes())
	}
	for _, p := range m.GetSummary().GetDataPoints() {
		add(p.GetTimeUnixNano(), mean(p.GetSum(), p.GetCount()), p.GetAttributes())
	}
	return out
}

// Numbers, histograms, exponential ones and summaries have their attributes in fields 7, 9, 1 and 7; only those and what is repeated without bounds are counted.
var metricsShape = func() shape {
	numbers := shape{1: {7: pairShape}}
	buckets := shape{}
	return shape{1: {1: resourceShape, 2: {1: {3: pairShape}, 2: {
		5: numbers, 7: numbers, 9: {1: {9: pairShape, 8: {}}}, 10: {1: {1: pairShape, 11: {}, 8: buckets, 9: buckets}}, 11: {1: {7: pairShape, 6: {}}},
	}}}}
}()
