package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// liveInterval is how often views are told what changed: often enough to feel immediate, seldom enough that a thousand
// runs a second cost a view ten messages.
const liveInterval = 100 * time.Millisecond

// maxLiveRuns bounds the run ids in one message; a view that shows others fetches again when it sees "more".
const maxLiveRuns = 200

// live tells open pages what has changed. It carries no content: pages fetch what they show, so a slow page costs
// nothing but its own delay.
type live struct {
	mu    sync.Mutex
	subs  map[chan []byte]*view
	kinds map[string]bool
	runs  map[engine.ID]struct{}
	spans map[engine.ID]struct{} // runs that told something
}

// view is what live knows about one page.
type view struct {
	missed bool // a message did not fit, so the page must be told that anything may have changed
}

// anything is the message after one that was lost.
var anything = func() []byte {
	b, err := json.Marshal(change{Kinds: []string{"apps", "dead", "events", "functions", "logs", "queues", "runs", "spans"}, Runs: []string{}, Spans: []string{}, More: true})
	if err != nil {
		panic("BUG: dashboard: " + err.Error())
	}
	return b
}()

func newLive() *live {
	return &live{subs: map[chan []byte]*view{}, kinds: map[string]bool{}, runs: map[engine.ID]struct{}{}, spans: map[engine.ID]struct{}{}}
}

// change is one message to a page.
type change struct {
	Kinds []string `json:"kinds"` // "events", "runs", "functions", "apps", "logs", "dead", "queues", "spans"
	Runs  []string `json:"runs"`
	Spans []string `json:"spans"` // runs that told something while they execute
	More  bool     `json:"more"`  // more runs changed than are listed
}

func (l *live) note(records []store.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.subs) == 0 {
		return
	}
	for i := range records {
		r := &records[i]
		switch r.Table {
		case store.Events:
			l.kinds["events"] = true
		case store.Functions:
			l.kinds["functions"] = true
		case store.Apps:
			l.kinds["apps"] = true
		case store.Logs:
			l.kinds["logs"] = true
		case store.Dead:
			l.kinds["dead"] = true
		case store.Queues:
			l.kinds["queues"] = true
		case store.Runs, store.Steps, store.Attempts, store.Live:
			l.kinds["runs"] = true
			if len(l.runs) <= maxLiveRuns {
				l.runs[engine.ID(r.Key[:16])] = struct{}{}
			}
		case store.Spans:
			l.kinds["spans"] = true
			if len(l.spans) <= maxLiveRuns {
				l.spans[engine.ID(r.Key[:16])] = struct{}{}
			}
		}
	}
}

func (l *live) run(ctx context.Context) error {
	t := time.NewTicker(liveInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			for c := range l.subs {
				close(c)
				delete(l.subs, c)
			}
			l.mu.Unlock()
			return nil
		case <-t.C:
			l.flush()
		}
	}
}

func (l *live) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, v := range l.subs {
		if v.missed {
			v.missed = !offer(s, anything)
		}
	}
	if len(l.kinds) == 0 {
		return
	}
	c := change{Runs: names(l.runs), Spans: names(l.spans), More: max(len(l.runs), len(l.spans)) > maxLiveRuns}
	for k := range l.kinds {
		c.Kinds = append(c.Kinds, k)
	}
	slices.Sort(c.Kinds)
	clear(l.kinds)
	clear(l.runs)
	clear(l.spans)
	msg, err := json.Marshal(c)
	if err != nil {
		return
	}
	for s, v := range l.subs {
		if !v.missed {
			v.missed = !offer(s, msg)
		}
	}
}

// names are the first of some ids, as text.
func names(ids map[engine.ID]struct{}) []string {
	list := []string{}
	for id := range ids {
		if len(list) < maxLiveRuns {
			list = append(list, id.String())
		}
	}
	return list
}

// offer does not wait for a page that does not read.
func offer(c chan []byte, msg []byte) bool {
	select {
	case c <- msg:
		return true
	default:
		return false
	}
}

// subscribe returns a channel of messages; it is closed when the server stops.
func (l *live) subscribe() chan []byte {
	c := make(chan []byte, 4)
	l.mu.Lock()
	l.subs[c] = &view{}
	l.mu.Unlock()
	return c
}

func (l *live) unsubscribe(c chan []byte) {
	l.mu.Lock()
	delete(l.subs, c)
	l.mu.Unlock()
}

// serveLive is GET /live: server-sent events named "change".
func (d *Dashboard) serveLive(w http.ResponseWriter, r *http.Request, _ string) error {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	c := d.live.subscribe()
	defer d.live.unsubscribe(c)
	if _, err := fmt.Fprint(w, "retry: 1000\n: connected\n\n"); err != nil || rc.Flush() != nil {
		return nil
	}
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	for {
		var err error
		_ = rc.SetWriteDeadline(time.Now().Add(20 * time.Second)) // not every writer has deadlines
		select {
		case msg, ok := <-c:
			if !ok {
				return nil
			}
			_, err = fmt.Fprintf(w, "event: change\ndata: %s\n\n", msg)
		case <-beat.C:
			// An event and not a comment, which scripts cannot see: a page takes silence for a lost connection.
			_, err = fmt.Fprint(w, "event: beat\ndata:\n\n")
		case <-r.Context().Done():
			return nil
		}
		if err != nil || rc.Flush() != nil {
			return nil
		}
	}
}
