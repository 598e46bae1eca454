package dashboard

import (
	"encoding/json"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

func TestAPageThatWasSlowIsToldThatAnythingMayHaveChanged(t *testing.T) {
	t.Parallel()
	l := newLive()
	slow, quick := l.subscribe(), l.subscribe()
	next := func(c chan []byte) (out change) {
		t.Helper()
		select {
		case msg := <-c:
			if err := json.Unmarshal(msg, &out); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatal("there is no message")
		}
		return out
	}
	const n = 10
	for i := range n {
		id := engine.ID(ulid.ULID{15: byte(i + 1)})
		l.note([]store.Record{{Table: store.Runs, Key: id[:]}})
		l.flush()
		if got := next(quick); len(got.Runs) != 1 || got.Runs[0] != id.String() || got.More {
			t.Errorf("message %d: %+v, want run %s", i, got, id)
		}
	}
	for range cap(slow) {
		if got := next(slow); got.More {
			t.Errorf("a message that fits says %+v", got)
		}
	}
	l.flush() // nothing new, but what was lost has to be made good
	if got := next(slow); !got.More || len(got.Kinds) != 8 {
		t.Errorf("after lost messages: %+v, want everything", got)
	}
	l.flush()
	if len(slow) != 0 || len(quick) != 0 {
		t.Errorf("there are %d and %d messages left", len(slow), len(quick))
	}
}
