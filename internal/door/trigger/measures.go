package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/otlp"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 20.6: processes measure themselves every few seconds, and tasks may measure what they like. Of each measure a run keeps the last value and the
// largest, which answers whether it was short of memory or kept its event loop busy.

// measureNote names the row of a run's measures.
const measureNote = "measures"

// Limits of a run's measures.
const (
	maxMeasures    = 100
	maxMeasureName = 200 // bytes, of a name, a unit and what tells measures of a name apart
)

// measure is what a run keeps of one.
type measure struct {
	Name string  `json:"name"`
	Of   string  `json:"of,omitempty"` // tells those of a name apart
	Unit string  `json:"unit,omitempty"`
	Last float64 `json:"last"`
	Max  float64 `json:"max"`
	At   int64   `json:"at"` // ms, of the last
}

// measured keeps measurements, and says how many it did not keep and why.
func (d *Door) measured(ctx context.Context, list []otlp.Resource) (rejected int, reason string, err error) {
	byRun := map[string][]*otlp.Point{}
	for _, res := range list {
		for i := range res.Points {
			p := &res.Points[i]
			run, _ := p.Attrs["ctx.run.id"].(string)
			if res.Attrs["$trigger"] != true || run == "" {
				rejected, reason = rejected+1, "they are not of a run" // a process between two runs measures itself too
				continue
			}
			byRun[run] = append(byRun[run], p)
		}
	}
	for _, run := range slices.Sorted(maps.Keys(byRun)) {
		why, err := d.measure(ctx, run, byRun[run])
		if err != nil {
			return 0, "", err
		}
		if why != "" {
			rejected, reason = rejected+len(byRun[run]), why
		}
	}
	return rejected, reason, nil
}

// measure adds points to what a run keeps; why says that it does not.
func (d *Door) measure(ctx context.Context, run string, points []*otlp.Point) (why string, err error) {
	id, ok := parseID(runPrefix, run)
	if !ok {
		return "they name no run", nil
	}
	if b, err := d.told.of(ctx, d, id); err != nil || b == nil {
		return "there is no such run, or it ended long ago", err
	}
	defer d.locks.Lock("measures\x00" + run)()
	all, err := d.measures(ctx, id)
	if err != nil {
		return "", err
	}
	for _, p := range points {
		m := measure{Name: p.Name, Of: measureOf(p.Attrs), Unit: p.Unit, Last: p.Value, Max: p.Value, At: p.Time / 1e6}
		i, found := slices.BinarySearchFunc(all, m, func(a, b measure) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Of, b.Of)) })
		switch {
		case found && all[i].At <= m.At:
			m.Max = max(m.Max, all[i].Max)
			all[i] = m
		case found:
			all[i].Max = max(m.Max, all[i].Max)
		case len(m.Name) > maxMeasureName || len(m.Of) > maxMeasureName || len(m.Unit) > maxMeasureName:
			why = fmt.Sprintf("the name of a measure can have no more than %d bytes", maxMeasureName)
		case len(all) >= maxMeasures:
			why = fmt.Sprintf("a run can have no more than %d measures", maxMeasures)
		default:
			all = slices.Insert(all, i, m)
		}
	}
	return why, d.put(ctx, engine.RowPut{Table: store.Steps, Key: engine.NoteKey(id, measureNote), Value: mustJSON(all)})
}

// measures are those of a run, by name.
func (d *Door) measures(ctx context.Context, run engine.ID) (all []measure, err error) {
	raw, ok, err := d.cfg.Host.Get(ctx, store.Steps, engine.NoteKey(run, measureNote))
	if err != nil || !ok {
		return nil, err
	}
	return all, json.Unmarshal(raw, &all)
}

// measureOf is what tells measures of a name apart: their attributes, without those that the SDK gives all of them.
func measureOf(attrs map[string]any) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		if strings.HasPrefix(k, "ctx.") || strings.HasPrefix(k, "worker.") || strings.HasPrefix(k, "$") {
			continue
		}
		parts = append(parts, fmt.Sprint(attrs[k]))
	}
	return strings.Join(parts, " ")
}
