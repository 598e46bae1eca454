package dashboard

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/quartetjobs/quartet/internal/trace"
)

// maxSpans bounds the spans that the page of a run gets at once.
const maxSpans = 5000

// spanView is a span or a line of a log; times are in ms, with fractions.
type spanView struct {
	ID        string  `json:"id"`
	Parent    string  `json:"parent,omitempty"`
	Name      string  `json:"name"`
	Level     string  `json:"level,omitempty"` // of a line of a log
	Start     float64 `json:"start"`
	End       float64 `json:"end,omitempty"` // absent: it has not ended
	Attempt   int     `json:"attempt,omitempty"`
	Failed    bool    `json:"failed,omitempty"`
	Cancelled bool    `json:"cancelled,omitempty"`
	Message   string  `json:"message,omitempty"`
}

// spanDetail is a span with all that it says.
type spanDetail struct {
	spanView
	Entity   string          `json:"entity,omitempty"`
	EntityID string          `json:"entityId,omitempty"`
	Attrs    json.RawMessage `json:"attributes,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	Events   []spanEvent     `json:"events"`
}

type spanEvent struct {
	Name  string          `json:"name"`
	Time  float64         `json:"time"`
	Attrs json.RawMessage `json:"attributes,omitempty"`
}

func viewSpan(s *trace.Span) spanView {
	return spanView{
		ID: s.ID, Parent: s.Parent, Name: s.Name, Level: s.Level, Start: float64(s.Start) / 1e6, End: float64(s.End) / 1e6, Attempt: s.Attempt,
		Failed: s.Failed, Cancelled: s.Cancelled, Message: s.Message,
	}
}

// getTrace is GET /runs/{id}/trace: what the run told while it executed, in the order of beginnings.
func (d *Dashboard) getTrace(w http.ResponseWriter, r *http.Request, env string) error {
	spans, err := d.loadSpans(r, env)
	if err != nil {
		return err
	}
	shown := spans[:min(len(spans), maxSpans)]
	views := make([]spanView, 0, len(shown))
	for _, s := range shown {
		views = append(views, viewSpan(s))
	}
	writeJSON(w, http.StatusOK, map[string]any{"spans": views, "more": len(spans) - len(shown), "now": d.cfg.Now().UnixMilli()})
	return nil
}

// getSpan is GET /runs/{id}/spans/{span}.
func (d *Dashboard) getSpan(w http.ResponseWriter, r *http.Request, env string) error {
	spans, err := d.loadSpans(r, env)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(spans, func(s *trace.Span) bool { return s.ID == r.PathValue("span") })
	if i < 0 {
		return notFound("span", r.PathValue("span"))
	}
	s := spans[i]
	v := spanDetail{spanView: viewSpan(s), Entity: s.Entity, EntityID: s.EntityID, Attrs: s.Attrs, Output: rawJSON([]byte(s.Output)), Events: []spanEvent{}}
	for _, e := range s.Events {
		v.Events = append(v.Events, spanEvent{e.Name, float64(e.Time) / 1e6, e.Attrs})
	}
	writeJSON(w, http.StatusOK, v)
	return nil
}

func (d *Dashboard) loadSpans(r *http.Request, env string) ([]*trace.Span, error) {
	run, err := d.loadRun(r, env)
	if err != nil {
		return nil, err
	}
	return trace.Read(r.Context(), d.cfg.Host, run)
}
