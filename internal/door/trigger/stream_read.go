package trigger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Section 15.3: whoever follows a stream gets its chunks as server-sent events. A clean end of them says that there will be no more.

const (
	streamPing  = 10 * time.Second
	streamWrite = 30 * time.Second // for a client to take what it is sent
	maxRecords  = 100              // in one event of the newer form
)

// serveStream is GET /realtime/v1/streams/{run}/{stream}, and with input GET …/{run}/input/{stream}.
func (env *environment) serveStream(w http.ResponseWriter, r *http.Request, input bool) {
	s, rec, err := env.streamOf(r, input, false)
	if err == nil {
		err = permitRun(r, rec, "read")
	}
	var silence time.Duration
	if t := r.Header.Get("Timeout-Seconds"); t != "" && err == nil {
		n, bad := strconv.Atoi(t)
		if bad != nil || n < 1 || n > 600 {
			err = fail(http.StatusBadRequest, "Invalid timeout: it must be from 1 to 600 seconds")
		}
		silence = time.Duration(n) * time.Second
	}
	if err != nil {
		env.writeError(w, r, err)
		return
	}
	v := &streamView{env: env, w: w, rc: http.NewResponseController(w), s: s, newer: input || r.Header.Get("X-Trigger-Realtime-Streams-Version") == "v2", silence: silence}
	if v.next, err = env.firstChunk(r, s); err != nil {
		env.writeError(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Stream-Version", "v1")
	if v.newer {
		h.Set("X-Stream-Version", "v2")
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	if v.flush() != nil || !v.follow(r) {
		// The client comes again with what it has seen.
		panic(http.ErrAbortHandler)
	}
}

// firstChunk is the number of the first chunk that a client has not seen. It may name the last one as it was told, or by its number alone.
func (env *environment) firstChunk(r *http.Request, s stream) (int64, error) {
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		if r.Header.Get("X-Trigger-Stream-Start") != "latest" {
			return 0, nil
		}
		h, err := env.readHead(r.Context(), s)
		return h.Next, err
	}
	n, err := strconv.ParseInt(last[strings.LastIndex(last, "-")+1:], 10, 64)
	if err != nil || n < 0 {
		return 0, nil // one that is none has seen nothing
	}
	return n + 1, nil
}

// streamView is one client that follows a stream.
type streamView struct {
	env     *environment
	w       http.ResponseWriter
	rc      *http.ResponseController
	s       stream
	newer   bool // the form with records
	next    int64
	silence time.Duration // after which the client wants an end, if nobody writes; 0: none
}

func (v *streamView) flush() error { return v.rc.Flush() }

// follow sends chunks until there can be no more, and says whether that is so.
func (v *streamView) follow(r *http.Request) (over bool) {
	d, ctx := v.env, r.Context()
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	if v.silence > 0 {
		quiet.Reset(v.silence)
	}
	defer quiet.Stop()
	ping := time.NewTicker(streamPing)
	defer ping.Stop()
	for {
		chunks, forget := d.watchers.watch(v.s.watch())
		run, forgetRun := d.watchers.watch(friendly(runPrefix, v.s.run))
		more := func() (bool, error) {
			// In this order: whoever writes, writes to a run that goes on, and what it wrote is there when it has stopped.
			rec, err := d.read(ctx, v.s.run)
			if err != nil || rec == nil {
				return false, err
			}
			ended := rec.Status.Ended() && !d.streams.written(v.s)
			sent, err := v.send(ctx)
			if sent && v.silence > 0 {
				quiet.Reset(v.silence)
			}
			return !ended, err
		}
		goesOn, err := more()
		if err != nil || !goesOn {
			forget()
			forgetRun()
			return err == nil
		}
		var gone bool
		select {
		case <-chunks:
		case <-run:
		case <-quiet.C:
			if !d.streams.written(v.s) {
				gone, over = true, true
			} else {
				quiet.Reset(v.silence)
			}
		case <-ping.C:
			gone = v.write([]byte(": ping\n\n")) != nil || v.flush() != nil
		case <-d.sockets.closed:
			gone = true
		case <-ctx.Done():
			gone = true
		}
		forget()
		forgetRun()
		if gone {
			return over
		}
	}
}

// send sends what there is, and says whether there was something.
func (v *streamView) send(ctx context.Context) (sent bool, err error) {
	h, err := v.env.readHead(ctx, v.s)
	if err != nil {
		return false, err
	}
	v.next = max(v.next, h.First)
	for v.next < h.Next {
		var batch []chunk
		size := 0
		for ; v.next < h.Next && len(batch) < maxRecords && size < maxChunk; v.next++ {
			c, ok, err := v.env.readChunk(ctx, v.s, v.next)
			if err != nil {
				return sent, err
			}
			if ok {
				batch, size = append(batch, c), size+len(c.text)
			}
		}
		if len(batch) == 0 {
			continue
		}
		if err := v.write(v.events(batch)); err != nil {
			return sent, err
		}
		sent = true
	}
	if sent {
		err = v.flush()
	}
	return sent, err
}

func (v *streamView) write(b []byte) error {
	_ = v.rc.SetWriteDeadline(time.Now().Add(streamWrite)) // not every writer has deadlines
	_, err := v.w.Write(b)
	return err
}

// events are chunks in the client's form.
func (v *streamView) events(batch []chunk) []byte {
	if v.newer {
		records := make([]streamRecord, 0, len(batch))
		for _, c := range batch {
			records = append(records, c.record(v.s.input))
		}
		return fmt.Appendf(nil, "event: batch\ndata: %s\n\n", mustJSON(map[string]any{"records": records}))
	}
	var b []byte
	for _, c := range batch {
		b = fmt.Appendf(b, "id: %d-%d\n", c.at, c.seq)
		for line := range bytes.SplitSeq(bytes.ReplaceAll(bytes.ReplaceAll(c.text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n")), []byte("\n")) {
			b = fmt.Appendf(b, "data: %s\n", line)
		}
		b = append(b, '\n')
	}
	return b
}

// streamRecord is a chunk in the newer form.
type streamRecord struct {
	Seq     int64    `json:"seq_num"`
	At      int64    `json:"timestamp"`
	Body    string   `json:"body"`
	Headers []string `json:"headers"`
}

// record puts a chunk into an envelope. What is sent into a run is read there as text that is JSON.
func (c *chunk) record(input bool) streamRecord {
	data := json.RawMessage(c.text)
	if input || !json.Valid(c.text) {
		data = mustJSON(string(c.text))
	}
	return streamRecord{c.seq, c.at, string(mustJSON(map[string]any{"data": data, "id": strconv.FormatInt(c.seq, 10)})), []string{}}
}
