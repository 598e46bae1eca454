package trigger

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// events is an open request for server-sent events.
type events struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
	stop  context.CancelFunc
}

func (b *bench) follow(path string, headers ...string) *events {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	b.t.Cleanup(stop)
	r, err := http.NewRequestWithContext(ctx, "GET", b.srv.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+DevKey)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.srv.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("follow %s: status %d: %s", path, resp.StatusCode, body)
	}
	return &events{b.t, resp, bufio.NewScanner(resp.Body), stop}
}

// next is the next event, its lines joined; "" at a clean end.
func (e *events) next() string {
	e.t.Helper()
	var lines []string
	for e.lines.Scan() {
		switch l := e.lines.Text(); {
		case l != "" && l[0] != ':':
			lines = append(lines, l)
		case len(lines) > 0:
			return strings.Join(lines, "|")
		}
	}
	if err := e.lines.Err(); err != nil {
		return "broken"
	}
	return ""
}

// data is the text of the next event of the older form.
func (e *events) data() string {
	e.t.Helper()
	_, after, _ := strings.Cut(e.next(), "|data: ")
	return after
}

// TestStream: what a writer sends is there once, whatever it sends again, and whoever follows gets all of it and an end when there is one.
func TestStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run := b.trigger()
	base := "/realtime/v1/streams/" + run
	b.json("PUT", base+"/self/tokens", "", 202, nil)
	early := b.follow(base + "/tokens")

	// A writer that is in the middle of it.
	body, feed := io.Pipe()
	wrote := make(chan error, 1)
	r, err := http.NewRequestWithContext(t.Context(), "POST", b.srv.URL+base+"/self/tokens", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+DevKey)
	r.Header.Set("X-Client-Id", "w1")
	r.Header.Set("X-Resume-From-Chunk", "0")
	go func() {
		resp, err := b.srv.Client().Do(r)
		if err == nil {
			err = resp.Body.Close()
			if resp.StatusCode != 200 {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		wrote <- err
	}()
	write := func(s string) {
		t.Helper()
		if _, err := io.WriteString(feed, s); err != nil {
			t.Fatal(err)
		}
	}
	write("\"a\"\n{\"b\":1}\n")
	if got := []string{early.data(), early.data()}; cmp.Diff([]string{`"a"`, `{"b":1}`}, got) != "" {
		t.Errorf("a reader got %q", got)
	}
	place := func(id string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "HEAD", b.srv.URL+base+"/self/tokens", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+DevKey)
		r.Header.Set("X-Client-Id", id)
		resp, err := b.srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.Header.Get("X-Last-Chunk-Index")
	}
	if a, other := place("w1"), place("w2"); a != "1" || other != "-1" {
		t.Errorf("places %s and %s, want 1 and -1", a, other)
	}

	// The same writer again, from a place that it is beyond; another one; and parts, one of them twice.
	for _, c := range []struct{ path, body, header, value string }{
		{"", "\"a\"\n{\"b\":1}\n\"c\"", "X-Client-Id", "w1"},
		{"", "\"d\"\n", "X-Client-Id", "w2"},
		{"/append", "two\nlines", "X-Part-Id", "p"},
		{"/append", "two\nlines", "X-Part-Id", "p"},
	} {
		if status, out := b.do("POST", base+"/self/tokens"+c.path, []byte(c.body), c.header, c.value); status != 200 {
			t.Errorf("write %q: %d %s", c.body, status, out)
		}
	}
	if got := []string{early.data(), early.data(), early.data()}; cmp.Diff([]string{`"c"`, `"d"`, "two|data: lines"}, got) != "" {
		t.Errorf("a reader got then %q", got)
	}

	newer := b.follow(base+"/tokens", "Last-Event-ID", "1", "X-Trigger-Realtime-Streams-Version", "v2")
	if v := newer.resp.Header.Get("X-Stream-Version"); v != "v2" {
		t.Errorf("the newer form calls itself %q", v)
	}
	var batch struct {
		Records []struct {
			Seq  int    `json:"seq_num"`
			Body string `json:"body"`
		} `json:"records"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(newer.next(), "event: batch|data: ")), &batch); err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, rec := range batch.Records {
		got = append(got, fmt.Sprint(rec.Seq, " ", rec.Body))
	}
	if diff := cmp.Diff([]string{`2 {"data":"c","id":"2"}`, `3 {"data":"d","id":"3"}`, `4 {"data":"two\nlines","id":"4"}`}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	latest := b.follow(base+"/tokens", "X-Trigger-Stream-Start", "latest", "Timeout-Seconds", "600")

	// The run ends while the writer goes on: nobody is told that it is over until the writer has ended too.
	b.json("POST", "/api/v2/runs/"+run+"/cancel", "", 200, nil)
	write("\"c\"\n\"e\"\n")
	if a, l := early.data(), latest.data(); a != `"e"` || l != `"e"` {
		t.Errorf("after the end of the run readers got %q and %q", a, l)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	for name, e := range map[string]*events{"the first": early, "the last": latest} {
		if got := e.next(); got != "" {
			t.Errorf("%s reader got %q, want the end", name, got)
		}
	}
	late := b.follow(base+"/tokens", "Last-Event-ID", "1800000000000-3")
	if got := []string{late.data(), late.data(), late.next()}; cmp.Diff([]string{"two|data: lines", `"e"`, ""}, got) != "" {
		t.Errorf("a late reader got %q", got)
	}

	for _, c := range []struct {
		method, path, header, value string
		status                      int
	}{
		{"PUT", "/self/tokens", "A", "b", 400},
		{"POST", "/self/tokens", "A", "b", 400},
		{"POST", "/self/tokens/append", "A", "b", 400},
		{"GET", "/tokens", "Timeout-Seconds", "0", 400},
		{"GET", "/tokens", "Timeout-Seconds", "601", 400},
		{"GET", "/" + strings.Repeat("x", maxStreamName+1), "A", "b", 400},
		{"GET", "/tokens", "Authorization", "Bearer nobody", 401},
		{"POST", "/self/tokens", "Authorization", "Bearer nobody", 401},
		{"POST", "/self/tokens", "X-Resume-From-Chunk", "-1", 400},
		{"DELETE", "/self/tokens", "A", "b", 405},
		{"PUT", "/input/tokens", "A", "b", 405},
	} {
		if status, out := b.do(c.method, base+c.path, nil, c.header, c.value); status != c.status {
			t.Errorf("%s %.40s with %s %s: status %d, want %d: %s", c.method, c.path, c.header, c.value, status, c.status, out)
		}
	}
	if status, _ := b.do("GET", "/realtime/v1/streams/"+friendly(runPrefix, engine.ID{9})+"/tokens", nil); status != 404 {
		t.Errorf("a stream of an unknown run: %d", status)
	}
}

// TestStreamBounds: of a long stream the newest chunks are kept, and its head says how much that is.
func TestStreamBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run := b.trigger()
	base := "/realtime/v1/streams/" + run
	id, _ := parseID(runPrefix, run)
	check := func(name string, chunks, bytes int64) {
		t.Helper()
		s := stream{run: id, name: name}
		h, err := b.env().readHead(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := b.host.List(t.Context(), store.Streams, engine.RunKey(id))
		if err != nil {
			t.Fatal(err)
		}
		kept, size := int64(0), int64(0)
		for _, r := range rows {
			if strings.HasPrefix(string(r.Key), string(s.key())) && len(r.Key) > streamKeyLen {
				kept, size = kept+1, size+int64(len(r.Value)-8)
			}
		}
		if kept != chunks || h.Next-h.First != chunks || size != h.Bytes || size > bytes {
			t.Errorf("of %s %d chunks of %d bytes are kept; its head says %d of %d", name, kept, size, h.Next-h.First, h.Bytes)
		}
	}
	if status, out := b.do("POST", base+"/self/many", []byte(strings.Repeat("1\n", maxChunks+500))); status != 200 {
		t.Fatalf("many chunks: %d %s", status, out)
	}
	check("many", maxChunks, maxStreamBytes)
	line := strings.Repeat("x", maxChunk)
	if status, out := b.do("POST", base+"/self/large", []byte(strings.Repeat(line+"\n", 18))); status != 200 {
		t.Fatalf("large chunks: %d %s", status, out)
	}
	check("large", maxStreamBytes/maxChunk, maxStreamBytes)
	for _, path := range []string{"/self/large", "/self/large/append"} {
		if status, _ := b.do("POST", base+path, []byte(line+"xxx")); status != 413 {
			t.Errorf("a chunk that is too long at %s: %d", path, status)
		}
	}
	for i := range maxStreams - 2 {
		b.json("PUT", fmt.Sprint(base, "/self/s", i), "", 202, nil)
	}
	b.json("PUT", base+"/self/one-too-many", "", 422, nil)
	b.json("PUT", base+"/self/many", "", 202, nil)
}

// TestInput: a record that is sent into a run completes the token of the wait for it, in one step, and only that one.
func TestInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run := b.trigger()
	base := "/realtime/v1/streams/" + run + "/input/approval"
	send := func(data string) {
		t.Helper()
		b.json("POST", base, `{"data":`+data+`}`, 200, nil)
	}
	type answer struct {
		ID     string `json:"waitpointId"`
		Cached bool   `json:"isCached"`
	}
	wait := func(last string) (a answer) {
		t.Helper()
		b.json("POST", "/api/v1/runs/"+run+"/input-streams/wait", `{"streamId":"approval"`+last+`}`, 200, &a)
		return a
	}
	output := func(a answer) string {
		t.Helper()
		var v struct {
			Status string `json:"status"`
			Output string `json:"output"`
		}
		b.json("GET", "/api/v1/waitpoints/tokens/"+a.ID, "", 200, &v)
		return v.Status + " " + v.Output
	}
	first := wait("")
	if got := output(first); got != "WAITING " {
		t.Errorf("before a record the wait gives %q", got)
	}
	send(`{"by":"eve"}`)
	send(`"2"`)
	if got := output(first); got != `COMPLETED {"by":"eve"}` {
		t.Errorf("after it, %q", got)
	}
	if got := output(wait(`,"lastSeqNum":0`)); got != `COMPLETED "2"` {
		t.Errorf("a wait for what is there gives %q", got)
	}
	keyed := wait(`,"lastSeqNum":1,"idempotencyKey":"k"`)
	if again := wait(`,"lastSeqNum":1,"idempotencyKey":"k"`); again.ID != keyed.ID || !again.Cached {
		t.Errorf("the same wait again is %+v, want %+v", again, keyed)
	}
	timed := wait(`,"lastSeqNum":1,"timeout":"1s"`)
	b.now.Add(2000)
	send(`3`)
	if got := output(timed); !strings.HasPrefix(got, "TIMED_OUT") {
		t.Errorf("a wait whose time is up gives %q", got)
	}
	if got := output(wait(`,"lastSeqNum":1`)); got != `COMPLETED 3` {
		t.Errorf("the record that came too late for it is lost: %q", got)
	}
	tail := b.follow(base, "Last-Event-ID", "0")
	if got := tail.next(); !strings.Contains(got, `\"data\":\"\\\"2\\\"\"`) || !strings.Contains(got, `\"data\":\"3\"`) {
		t.Errorf("a task that reads gets %s", got)
	}
	tail.stop()

	token := b.env().mint(&claims{Scopes: []string{"read:runs:" + run}}, 1e12)
	if status, _ := b.do("POST", base, []byte(`{"data":1}`), "Authorization", "Bearer "+token); status != 403 {
		t.Errorf("whoever may read may send: %d", status)
	}
	token = b.env().mint(&claims{Scopes: []string{"write:inputStreams:" + run}}, 1e12)
	if status, _ := b.do("POST", base, []byte(`{"data":1}`), "Authorization", "Bearer "+token); status != 200 {
		t.Errorf("whoever may send cannot: %d", status)
	}
	b.json("POST", "/api/v2/runs/"+run+"/cancel", "", 200, nil)
	if status, out := b.do("POST", base, []byte(`{"data":1}`)); status != 400 || !strings.Contains(string(out), `"ok":false`) {
		t.Errorf("sending into a run that has ended: %d %s", status, out)
	}
}

// FuzzChunks: lines are chunks, and however they are cut by the network, nothing is lost or made up.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a\n\nb"), 1)
	f.Add([]byte("\r\n x \n"), 3)
	f.Fuzz(func(t *testing.T, body []byte, size int) {
		lines := bufio.NewReaderSize(io.MultiReader(pieces(body, max(1, size%97))...), 16)
		var got []string
		for {
			batch, err := readChunkLines(lines)
			for _, c := range batch {
				got = append(got, string(c))
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		for l := range strings.SplitSeq(string(body), "\n") {
			if l = string(trim([]byte(l))); l != "" {
				want = append(want, l)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("chunks of %q (-want +got):\n%s", body, diff)
		}
	})
}

func trim(b []byte) []byte { return []byte(strings.TrimSpace(string(b))) }

func pieces(b []byte, size int) (list []io.Reader) {
	for ; len(b) > size; b = b[size:] {
		list = append(list, strings.NewReader(string(b[:size])))
	}
	return append(list, strings.NewReader(string(b)))
}
