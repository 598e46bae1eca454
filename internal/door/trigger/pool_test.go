package trigger

import (
	"errors"
	"reflect"
	"testing"

	"github.com/quartetjobs/quartet/internal/taskpool"
)

// TestStartIsHeardOnceMore: a pool to which the answer about a start was lost gets it again, and nobody else's.
func TestStartIsHeardOnceMore(t *testing.T) {
	t.Parallel()
	l := setupLimits(t, `{"id":"told","filePath":"a.ts"}`, "")
	run := l.start("told", "")
	var v struct {
		Messages []struct {
			Snapshot struct {
				ID string `json:"friendlyId"`
			} `json:"snapshot"`
		} `json:"dequeuedMessages"`
	}
	l.json("POST", "/engine/v1/dev/dequeue", `{"currentWorker":"`+l.worker+`","oldWorkers":[]}`, 200, &v)
	if len(v.Messages) != 1 {
		t.Fatalf("%d runs begin", len(v.Messages))
	}
	s, r := source{l.door}, taskpool.Run{Env: "dev", ID: run, Snapshot: v.Messages[0].Snapshot.ID}
	first, err := s.start(t.Context(), r, "http://server")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.start(t.Context(), r, "http://server")
	if err != nil || again.Snapshot != first.Snapshot || again.Number != first.Number || !reflect.DeepEqual(again.Trace, first.Trace) {
		t.Errorf("once more %+v, at first %+v: %v", again, first, err)
	}
	// A process that is not the server's own has no such excuse: section 18.2.
	l.json("POST", "/engine/v1/dev/runs/"+run+"/snapshots/"+r.Snapshot+"/attempts/start", `{}`, 409, nil)
	other := r
	other.Snapshot = first.Snapshot
	if _, err := s.start(t.Context(), other, "http://server"); !errors.Is(err, taskpool.ErrLost) {
		t.Errorf("begun from where it is already: %v", err)
	}
}
