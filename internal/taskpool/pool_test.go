package taskpool

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// movingSource is a server where a run is in one state after the other, each time that it is looked at.
type movingSource struct {
	Source
	states []State
	told   []string // snapshots of attempts that were told of as failed
}

func (s *movingSource) Latest(context.Context, Run) (*State, error) {
	if len(s.states) == 0 {
		return nil, ErrLost
	}
	st := s.states[0]
	s.states = s.states[1:]
	return &st, nil
}

// Complete takes the outcome of what the run is at when it is looked at the next time.
func (s *movingSource) Complete(_ context.Context, r Run, result json.RawMessage) (*Outcome, error) {
	if !strings.Contains(string(result), "TASK_RUN_STALLED_EXECUTING") {
		return nil, fmt.Errorf("it fails with %s", result)
	}
	if len(s.states) > 0 && s.states[0].Snapshot != r.Snapshot {
		return nil, ErrLost
	}
	s.told = append(s.told, r.Snapshot)
	return &Outcome{}, nil
}

// TestDisclaim: a run that lost its process is told of although it moves meanwhile, unless somebody else has it.
func TestDisclaim(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attempt int
		states  []State
		told    string
	}{
		"executing":               {1, []State{{Snapshot: "a", Status: "EXECUTING", Attempt: 1}}, "[a]"},
		"waits":                   {2, []State{{Snapshot: "a", Status: "EXECUTING_WITH_WAITPOINTS", Attempt: 2}}, "[a]"},
		"waits for its slots":     {1, []State{{Snapshot: "a", Status: "QUEUED_EXECUTING", Attempt: 1}}, "[a]"},
		"is cancelled":            {1, []State{{Snapshot: "a", Status: "PENDING_CANCEL", Attempt: 1}}, "[a]"},
		"goes on meanwhile":       {1, []State{{Snapshot: "a", Status: "EXECUTING_WITH_WAITPOINTS", Attempt: 1}, {Snapshot: "b", Status: "EXECUTING", Attempt: 1}}, "[b]"},
		"goes on and is taken":    {1, []State{{Snapshot: "a", Status: "EXECUTING_WITH_WAITPOINTS", Attempt: 1}, {Snapshot: "b", Status: "EXECUTING", Attempt: 2}}, "[]"},
		"is somebody else's":      {1, []State{{Snapshot: "a", Status: "EXECUTING", Attempt: 2}}, "[]"},
		"had begun unnoticed":     {0, []State{{Snapshot: "a", Status: "EXECUTING", Attempt: 3}}, "[a]"},
		"had not begun":           {0, []State{{Snapshot: "a", Status: "PENDING_EXECUTING"}}, "[]"},
		"has ended":               {1, []State{{Snapshot: "a", Status: "FINISHED", Attempt: 1}}, "[]"},
		"is not known any longer": {1, nil, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &movingSource{states: c.states}
				(&Pool{cfg: Config{Source: s}}).disclaim(t.Context(), Run{ID: "run_a"}, c.attempt)
				if got := fmt.Sprint(s.told); got != c.told {
					t.Errorf("told of %s, want %s", got, c.told)
				}
			})
		})
	}
}
