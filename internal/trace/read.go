package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/store"
)

// Read reads the spans of a run in the order of their beginnings. What is still open although nobody is left who could end it ends with what it
// belongs to: with the run, or when the next attempt began.
func Read(ctx context.Context, h history.Reader, run *engine.RunRow) ([]*Span, error) {
	rows, err := h.List(ctx, store.Spans, engine.RunKey(run.ID))
	if err != nil {
		return nil, err
	}
	spans := make([]*Span, 0, len(rows))
	for i, r := range rows {
		if i+1 < len(rows) && r.Key[len(r.Key)-1] == begun && string(r.Key[:len(r.Key)-1]) == string(rows[i+1].Key[:len(r.Key)-1]) {
			continue // its end is there too
		}
		s := &Span{}
		if err := json.Unmarshal(r.Value, s); err != nil {
			return nil, fmt.Errorf("decode span %x of run %s: %w", r.Key, run.ID, err)
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, order)
	closeOpen(spans, run)
	return spans, nil
}

// closeOpen ends what nobody ends any more.
func closeOpen(spans []*Span, run *engine.RunRow) {
	began := map[int]int64{} // of attempts
	last := 0
	for _, s := range spans {
		if at, ok := began[s.Attempt]; !ok || s.Start < at {
			began[s.Attempt] = s.Start
		}
		last = max(last, s.Attempt)
	}
	over := run.Status.Ended()
	for _, s := range spans {
		if !s.Open() {
			continue
		}
		next := int64(0)
		for n := s.Attempt + 1; s.Attempt > 0 && n <= last && next == 0; n++ {
			next = began[n]
		}
		switch {
		case next > 0:
			s.End, s.Failed = max(s.Start, next), true
			if s.Message == "" {
				s.Message = "the attempt ended before this did"
			}
		case over:
			s.End = max(s.Start, run.Ended*1e6)
			if s.Cancelled = run.Status == engine.Cancelled; !s.Cancelled {
				s.Failed = run.Status == engine.Failed
			}
		}
	}
}

// maxAttempts bounds the numbers of attempts that spans may claim, which closeOpen counts through.
const maxAttempts = 10_000

// Attempt is a claimed number of an attempt as spans have it: 0 when it is none.
func Attempt(n float64) int {
	if n < 1 || n > maxAttempts {
		return 0
	}
	return int(n)
}
