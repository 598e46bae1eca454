package trigger

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/quartetjobs/quartet/internal/shard"
)

// Section 15.2: a task announces a stream, and sends its chunks over one long request or one by one.

func (d *Door) streamRoutes() {
	// One pattern for all methods: those of a stream with a target and of one into the run would be ambiguous.
	d.serve("/realtime/v1/streams/{run}/{target}/{stream}", public, func(env *environment, w http.ResponseWriter, r *http.Request) {
		input := r.PathValue("target") == "input"
		if !input && callerOf(r).claims != nil {
			env.writeError(w, r, errKey)
			return
		}
		switch {
		case input && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			env.serveStream(w, r, true)
		case input && r.Method == http.MethodPost:
			v, err := env.sendInput(r)
			env.respond(w, r, v, err)
		case !input && r.Method == http.MethodPut:
			v, err := env.createStream(r)
			env.respond(w, r, v, err)
		case !input && r.Method == http.MethodPost:
			env.serveChunks(w, r)
		case !input && r.Method == http.MethodHead:
			env.servePlace(w, r)
		default:
			env.writeError(w, r, fail(http.StatusMethodNotAllowed, "Method Not Allowed"))
		}
	})
	d.route("POST /realtime/v1/streams/{run}/{target}/{stream}/append", secret, (*environment).appendChunk)
	d.serve("GET /realtime/v1/streams/{run}/{stream}", public, func(env *environment, w http.ResponseWriter, r *http.Request) { env.serveStream(w, r, false) })
	d.route("POST /api/v1/runs/{run}/input-streams/wait", secret, (*environment).waitInput)
}

// createStream is PUT …/{target}/{stream}.
func (env *environment) createStream(r *http.Request) (any, error) {
	_, _, err := env.streamOf(r, false, true)
	return &accepted{http.StatusAccepted, nil, map[string]string{"version": "v1"}}, err
}

// appendChunk is POST …/{target}/{stream}/append: the body is one chunk. One that is sent again, because its answer was lost, is there once.
func (env *environment) appendChunk(r *http.Request) (any, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxChunk+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxChunk {
		return nil, tooLong()
	}
	s, _, err := env.streamOf(r, false, true)
	if err != nil {
		return nil, err
	}
	from := place{part: r.Header.Get("X-Part-Id")}
	if from.part == "" {
		from.part = r.Header.Get("X-Trigger-Request-Idempotency-Key")
	}
	if len(from.part) > maxStreamName {
		return nil, fail(http.StatusBadRequest, "X-Part-Id is too long")
	}
	return map[string]bool{"ok": true}, env.addChunks(r.Context(), s, from, [][]byte{text})
}

func tooLong() error {
	return fail(http.StatusRequestEntityTooLarge, "A chunk of a stream must have no more than %d bytes", maxChunk)
}

// place is where chunks come from, so that what is sent twice is there once: the next ones of a writer, or a part with a name. Those from nowhere are
// all new.
type place struct {
	writer string
	from   int64 // the number that the writer gives the first
	part   string
}

// addChunks adds chunks to a stream, without those that are there already.
func (env *environment) addChunks(ctx context.Context, s stream, from place, texts [][]byte) error {
	defer env.streams.locks.Lock(string(s.key()))()
	h, err := env.readHead(ctx, s)
	if err != nil {
		return err
	}
	if texts = h.fresh(from, texts); len(texts) == 0 {
		return nil
	}
	rows, err := env.chunkRows(ctx, s, h, texts)
	if err != nil {
		return err
	}
	return env.put(ctx, rows...)
}

// placeOf is who writes, and the number of the first chunk of the request.
func placeOf(r *http.Request) (from place, err error) {
	from.writer = r.Header.Get("X-Client-Id")
	if len(from.writer) > maxStreamName {
		return from, fail(http.StatusBadRequest, "X-Client-Id is too long")
	}
	if s := r.Header.Get("X-Resume-From-Chunk"); s != "" {
		if from.from, err = strconv.ParseInt(s, 10, 64); err != nil || from.from < 0 || from.from > 1<<53 {
			return from, fail(http.StatusBadRequest, "Invalid X-Resume-From-Chunk header value: %s", s)
		}
	}
	return from, nil
}

// servePlace is HEAD …/{target}/{stream}: the last chunk that a writer sent, -1 for none.
func (env *environment) servePlace(w http.ResponseWriter, r *http.Request) {
	from, err := placeOf(r)
	var s stream
	if err == nil {
		s, _, err = env.streamOf(r, false, false)
	}
	var h *streamHead
	if err == nil {
		h, err = env.readHead(r.Context(), s)
	}
	if err != nil {
		env.writeError(w, r, err)
		return
	}
	w.Header().Set("X-Last-Chunk-Index", strconv.FormatInt(h.written(from.writer)-1, 10))
	w.WriteHeader(http.StatusOK)
}

// serveChunks is POST …/{target}/{stream}: a chunk in each line, for as long as the task has some.
func (env *environment) serveChunks(w http.ResponseWriter, r *http.Request) {
	if err := env.readChunks(w, r); err != nil {
		env.writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

const (
	lineBuffer = 64 << 10 // bytes of lines that are written together, when there are some
	deadline   = time.Second
)

func (env *environment) readChunks(w http.ResponseWriter, r *http.Request) error {
	from, err := placeOf(r)
	if err != nil {
		return err
	}
	s, _, err := env.streamOf(r, false, true)
	if err != nil {
		return err
	}
	// Nobody is told that the stream ends while there may be more of it. The readers look once more when nobody writes.
	done := env.streams.writing(s)
	defer env.watchers.wake(s.watch())
	defer done()
	// A server that stops does not wait for tasks; they go on with the next one.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-env.sockets.closed:
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(deadline)) // what is on its way may come
		case <-stop:
		}
	}()
	lines := bufio.NewReaderSize(r.Body, lineBuffer)
	for {
		batch, err := readChunkLines(lines)
		if len(batch) > 0 {
			if err := env.addChunks(r.Context(), s, from, batch); err != nil {
				return err
			}
			from.from += int64(len(batch))
		}
		select {
		case <-env.sockets.closed:
			if !errors.Is(err, io.EOF) {
				return shard.ErrUnavailable
			}
		default:
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readChunkLines reads the next line and those that came with it. Lines without anything in them are none. The last one needs no end.
func readChunkLines(lines *bufio.Reader) (batch [][]byte, err error) {
	for {
		line, err := readText(lines)
		if len(line) > 0 {
			batch = append(batch, line)
		}
		if err != nil {
			return batch, err
		}
		ahead, _ := lines.Peek(lines.Buffered()) // that many are there
		if bytes.IndexByte(ahead, '\n') < 0 && len(batch) > 0 {
			return batch, nil
		}
	}
}

func readText(lines *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxChunk+2 {
			return nil, tooLong()
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fail(http.StatusBadRequest, "The request ended before its body") // what has come of the line is sent again
		}
		return bytes.TrimSpace(line), err
	}
}
