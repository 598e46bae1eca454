package trigger

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// subscriber follows a path as a client does.
type subscriber struct {
	b      *bench
	path   string
	offset string
}

// next makes the next request and returns the metadata of the rows that it gets.
func (s *subscriber) next() []string {
	path := s.path + "offset=-1"
	if s.offset != "" {
		path = s.path + "live=true&handle=runs&offset=" + s.offset
	}
	r, err := http.NewRequestWithContext(s.b.t.Context(), "GET", s.b.srv.URL+path, nil)
	if err != nil {
		return []string{err.Error()}
	}
	r.Header.Set("Authorization", "Bearer "+DevKey)
	resp, err := s.b.srv.Client().Do(r)
	if err != nil {
		return []string{err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return []string{err.Error()}
	}
	s.offset = resp.Header.Get("Electric-Offset")
	var messages []struct {
		Value map[string]*string `json:"value"`
	}
	if err := json.Unmarshal(body, &messages); err != nil || len(messages) == 0 {
		return []string{string(body)}
	}
	got := []string{}
	for _, m := range messages[:len(messages)-1] {
		text := "null"
		if v := m.Value["metadata"]; v != nil {
			text = *v
		}
		got = append(got, text)
	}
	return got
}

func (b *bench) tagged(tags string, metadata int) string {
	b.t.Helper()
	var v struct {
		ID string `json:"id"`
	}
	b.json("POST", "/api/v1/tasks/told/trigger", fmt.Sprintf(`{"options":{"ttl":0,"tags":%s,"metadata":{"n":%d}}}`, tags, metadata), 200, &v)
	return v.ID
}

// TestFollowing: who follows a list gets what it has, then each run that changes or joins it, and nothing of others.
func TestFollowing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := b.tagged(`["a","b"]`, 1)
	b.tagged(`["a"]`, 2)
	set := func(run string, n int) {
		t.Helper()
		b.json("PUT", "/api/v1/runs/"+run+"/metadata", fmt.Sprintf(`{"metadata":{"n":%d}}`, n), 200, nil)
	}
	check := func(what string, s *subscriber, want ...string) {
		t.Helper()
		if diff := cmp.Diff(append([]string{}, want...), s.next()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	run, both, tag := &subscriber{b: b, path: "/realtime/v1/runs/" + one + "?"}, &subscriber{b: b, path: "/realtime/v1/runs?tags=a,b&"}, &subscriber{b: b, path: "/realtime/v1/runs?tags=a&"}
	check("a run", run, `{"n":1}`)
	check("runs with two tags", both, `{"n":1}`)
	check("runs with a tag", tag, `{"n":2}`, `{"n":1}`)

	set(one, 3)
	check("a run that changed", run, `{"n":3}`)
	check("runs with two tags, of which one changed", both, `{"n":3}`)
	check("runs with a tag, of which one changed", tag, `{"n":3}`)
	late := &subscriber{b: b, path: tag.path}
	check("another who follows the same", late, `{"n":2}`, `{"n":3}`)

	// One that is triggered with the tags, and one that gets them.
	b.tagged(`["c"]`, 9)
	b.tagged(`["b","a"]`, 4)
	check("runs with two tags, of which one is new", both, `{"n":4}`)
	other := b.tagged(`["b"]`, 5)
	b.json("POST", "/api/v1/runs/"+other+"/tags", `{"tags":["a"]}`, 200, nil)
	check("runs with two tags, of which one got them", both, `{"n":5}`)
	check("runs with a tag after both", tag, `{"n":5}`, `{"n":4}`)

	// Offsets of a server that was there before, or of no server.
	both.offset = "1700000000000_99"
	check("an offset from elsewhere", both, `{"n":5}`, `{"n":4}`, `{"n":3}`)

	var batch struct {
		ID string `json:"id"`
	}
	b.json("POST", "/api/v3/batches", `{"runCount":2}`, 202, &batch)
	s := &subscriber{b: b, path: "/realtime/v1/batches/" + batch.ID + "?"}
	check("a batch without runs", s)
	b.json("POST", "/api/v3/batches/"+batch.ID+"/items", `{"index":0,"task":"told","options":{"ttl":0,"metadata":{"n":6}}}`+"\n"+`{"index":1,"task":"told","options":{"ttl":0,"metadata":{"n":7}}}`+"\n", 200, nil)
	seen := map[string]bool{}
	for len(seen) < 2 && !t.Failed() {
		for _, m := range s.next() {
			seen[m] = true
		}
	}
	if !seen[`{"n":6}`] || !seen[`{"n":7}`] {
		t.Errorf("of a batch %v", seen)
	}
	unknown := &subscriber{b: b, path: "/realtime/v1/runs/run_01mb78qn000000000000099999?"}
	check("a run that is not there", unknown)
}

// TestManyFollow: whoever follows the same run hears of a change, and the lists are gone when nobody has followed for a while.
func TestManyFollow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.tagged(`["many"]`, 0)
	var wg sync.WaitGroup
	const n = 50
	got := make([][]string, n)
	ready := make(chan bool, n)
	for i := range n {
		wg.Go(func() {
			s := &subscriber{b: b, path: "/realtime/v1/runs?tags=many&"}
			s.next()
			ready <- true
			got[i] = s.next()
		})
	}
	for range n {
		<-ready
	}
	b.json("PUT", "/api/v1/runs/"+id+"/metadata", `{"metadata":{"n":1}}`, 200, nil)
	wg.Wait()
	for i := range n {
		if diff := cmp.Diff([]string{`{"n":1}`}, got[i]); diff != "" {
			t.Errorf("subscriber %d (-want +got):\n%s", i, diff)
		}
	}
	ls := &b.env().lists
	ls.mu.Lock()
	list := ls.of[followed{tags: "many", age: shapeAge}]
	users := 0
	if list != nil {
		users = list.users
	}
	ls.mu.Unlock()
	if list == nil || users != 0 {
		t.Fatalf("the list has %d users after all went", users)
	}
	ls.forget(b.env(), list)
	if len(ls.of)+len(ls.byRun)+len(ls.byTag)+len(ls.batch) != 0 || b.door.held.Load() != 0 {
		t.Errorf("something of the list is left: %d %d %d %d %d", len(ls.of), len(ls.byRun), len(ls.byTag), len(ls.batch), b.door.held.Load())
	}
}
