package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// partition is one run's rows, and nothing else.
type partition struct {
	history.Reader
	rows []store.Row
}

func (p partition) List(context.Context, store.Table, []byte) ([]store.Row, error) {
	return p.rows, nil
}

func read(t *testing.T, run *engine.RunRow, spans ...*Span) []*Span {
	t.Helper()
	rows := map[string][]byte{}
	for _, s := range spans {
		r, err := s.Row(run.ID)
		if err != nil {
			t.Fatal(err)
		}
		rows[string(r.Key)] = r.Value
	}
	var p partition
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		p.rows = append(p.rows, store.Row{Key: []byte(k), Value: rows[k]})
	}
	got, err := Read(t.Context(), p, run)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func id(n int) string { return fmt.Sprintf("%016x", n) }

// TestEndReplacesBeginning: in whichever order they come, and a log that is sent twice is there once.
func TestEndReplacesBeginning(t *testing.T) {
	t.Parallel()
	run := &engine.RunRow{ID: engine.ID{1}, Status: engine.Running}
	open, end := &Span{ID: id(1), Name: "a", Start: 10}, &Span{ID: id(1), Name: "a", Start: 10, End: 20}
	line := func() *Span { return &Span{Parent: id(1), Name: "hello", Level: "info", Start: 15, End: 15} }
	for _, order := range [][]*Span{{open, line(), end, line()}, {end, line(), open}} {
		got := read(t, run, order...)
		if len(got) != 2 || got[0].End != 20 || got[1].Name != "hello" {
			t.Errorf("got %s", mustJSON(t, got))
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOpenSpansEnd: with the run, or with their attempt.
func TestOpenSpansEnd(t *testing.T) {
	t.Parallel()
	spans := func() []*Span {
		return []*Span{
			{ID: id(1), Name: "Attempt 1", Start: 1e6, Attempt: 1}, {ID: id(2), Name: "Attempt 2", Start: 5e6, Attempt: 2}, {ID: id(3), Name: "done", Start: 6e6, End: 7e6, Attempt: 2},
		}
	}
	type end struct {
		End               int64
		Failed, Cancelled bool
	}
	for status, want := range map[engine.Status][]end{
		engine.Running:   {{5e6, true, false}, {0, false, false}, {7e6, false, false}},
		engine.Completed: {{5e6, true, false}, {9e6, false, false}, {7e6, false, false}},
		engine.Failed:    {{5e6, true, false}, {9e6, true, false}, {7e6, false, false}},
		engine.Cancelled: {{5e6, true, false}, {9e6, false, true}, {7e6, false, false}},
	} {
		run := &engine.RunRow{ID: engine.ID{1}, Status: status}
		if status.Ended() {
			run.Ended = 9
		}
		var got []end
		for _, s := range read(t, run, spans()...) {
			got = append(got, end{s.End, s.Failed, s.Cancelled})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("of a run that is %v (-want +got):\n%s", status, diff)
		}
	}
}

// TestLongSpansAreShortened: whatever is in one, its row has a bounded size and says most of it.
func TestLongSpansAreShortened(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", MaxSpan)
	many := map[string]any{"first": "kept"}
	for i := range 5000 {
		many[fmt.Sprint("key", i)] = "0123456789"
	}
	for name, s := range map[string]*Span{
		"name": {Name: long}, "output": {Output: long}, "attributes": {Attrs: json.RawMessage(`{"a":"` + long + `","b":[{"c":1}]}`)},
		"many attributes": {Attrs: json.RawMessage(mustJSON(t, many))}, "events": {Events: []Event{{Name: long, Attrs: json.RawMessage(mustJSON(t, many))}}},
		"name of controls": {Name: strings.Repeat("\x01", MaxSpan), Message: strings.Repeat("\x01", MaxSpan), Output: strings.Repeat("\x01", MaxSpan)},
		"everything":       {Name: long, Message: long, Icon: long, Entity: long, EntityID: long, Output: long, Attrs: json.RawMessage(mustJSON(t, many)), Events: slices.Repeat([]Event{{Name: long}}, 20)},
	} {
		s.ID, s.Start = id(7), 1
		r, err := s.Row(engine.ID{1})
		if err != nil || len(r.Value) > MaxSpan || !json.Valid(r.Value) {
			t.Errorf("long %s: a row of %d bytes, %v", name, len(r.Value), err)
		}
		if name == "attributes" && !strings.Contains(string(r.Value), `"b":[{"c":1}]`) {
			t.Errorf("a long attribute took others with it: %.200s", r.Value)
		}
	}
	if _, err := (&Span{ID: "xyz"}).Row(engine.ID{1}); err == nil {
		t.Error("a span whose id is none has a row")
	}
}
