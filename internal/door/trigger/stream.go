package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/namedlock"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 15: what a run streams to whoever follows it, and what is sent into a run. A stream is a head and numbered chunks, rows of the Streams
// table in the run's partition, which go with the run's history. Chunks and the head that counts them are written in one command, so after a
// crash the head says what was kept, and a writer goes on from there.

const (
	maxStreams     = 100      // of a run, in each direction
	maxChunk       = 1 << 20  // bytes
	maxChunks      = 10_000   // of a stream: the oldest ones go
	maxStreamBytes = 16 << 20 // of a stream: the oldest ones go
	maxWriters     = 32       // of a stream, whose places are remembered; as many of the parts that have a name
	maxStreamName  = 256
)

// stream names one. Those that are sent into a run have names of their own.
type stream struct {
	run   engine.ID
	name  string
	input bool
}

func (s stream) key() []byte {
	kind := "out\x00"
	if s.input {
		kind = "in\x00"
	}
	sum := sha256.Sum256([]byte(kind + s.name))
	return slices.Concat(s.run[:], sum[:16])
}

// watch is the name under which its readers wait.
func (s stream) watch() string { return streamWatch(s.key()) }

const streamKeyLen = 32

// streamWatch is the watched name of a row of Streams.
func streamWatch(key []byte) string { return "stream/" + hex.EncodeToString(key[:streamKeyLen]) }

func chunkKey(key []byte, seq int64) []byte {
	return binary.BigEndian.AppendUint64(slices.Concat(key, []byte{1}), uint64(seq))
}

// streamHead is what a stream's first row says.
type streamHead struct {
	Name    string         `json:"name"`
	First   int64          `json:"first"` // the oldest chunk that is kept
	Next    int64          `json:"next"`  // the number that the next chunk gets
	Bytes   int64          `json:"bytes"` // of the chunks that are kept
	Writers []streamWriter `json:"writers,omitempty"`
	Parts   []string       `json:"parts,omitempty"` // the latest that have a name
	// Waiter is the token that the next record after After completes.
	Waiter string `json:"waiter,omitempty"`
	After  int64  `json:"after,omitempty"`
}

// streamWriter is how far a writer got: it sends again what was not answered.
type streamWriter struct {
	ID   string `json:"id"`
	Next int64  `json:"next"`
}

// written is the number of the next chunk of a writer.
func (h *streamHead) written(id string) int64 {
	for _, w := range h.Writers {
		if w.ID == id {
			return w.Next
		}
	}
	return 0
}

// fresh are those of some chunks that are new, which is noted.
func (h *streamHead) fresh(from place, texts [][]byte) [][]byte {
	switch {
	case from.part != "":
		if slices.Contains(h.Parts, from.part) {
			return nil
		}
		if h.Parts = append(h.Parts, from.part); len(h.Parts) > maxWriters {
			h.Parts = slices.Delete(h.Parts, 0, 1)
		}
	case from.writer != "":
		known := min(max(0, h.written(from.writer)-from.from), int64(len(texts)))
		if texts = texts[known:]; len(texts) == 0 {
			return nil
		}
		h.Writers = slices.DeleteFunc(h.Writers, func(w streamWriter) bool { return w.ID == from.writer })
		if h.Writers = append(h.Writers, streamWriter{from.writer, from.from + known + int64(len(texts))}); len(h.Writers) > maxWriters {
			h.Writers = slices.Delete(h.Writers, 0, 1)
		}
	}
	return texts
}

// readHead reads a stream's head; that of one which is not there yet is empty.
func (env *environment) readHead(ctx context.Context, s stream) (*streamHead, error) {
	h := &streamHead{Name: s.name}
	raw, ok, err := env.cfg.Host.Get(ctx, store.Streams, s.key())
	if err == nil && ok {
		if err = json.Unmarshal(raw, h); err != nil {
			err = fmt.Errorf("decode stream %s of run %s: %w", s.name, s.run, err)
		}
	}
	return h, err
}

func headRow(s stream, h *streamHead) engine.RowPut {
	return engine.RowPut{Table: store.Streams, Key: s.key(), Value: mustJSON(h)}
}

// chunk is one piece of a stream.
type chunk struct {
	seq  int64
	at   int64 // ms
	text []byte
}

// readChunk reads one; false when it is not kept any more.
func (env *environment) readChunk(ctx context.Context, s stream, seq int64) (chunk, bool, error) {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Streams, chunkKey(s.key(), seq))
	if err != nil || !ok || len(raw) < 8 {
		return chunk{}, false, err
	}
	return chunk{seq, int64(binary.BigEndian.Uint64(raw)), raw[8:]}, true, nil
}

// chunkRows are the rows of new chunks and of the head that counts them, which is changed. The stream is locked.
func (env *environment) chunkRows(ctx context.Context, s stream, h *streamHead, texts [][]byte) ([]engine.RowPut, error) {
	key, now := s.key(), uint64(env.cfg.Now().UnixMilli())
	var rows []engine.RowPut
	for _, t := range texts {
		rows = append(rows, engine.RowPut{Table: store.Streams, Key: chunkKey(key, h.Next), Value: append(binary.BigEndian.AppendUint64(nil, now), t...)})
		h.Next++
		h.Bytes += int64(len(t))
	}
	for stored := h.Next - int64(len(texts)); h.First < stored && (h.Next-h.First > maxChunks || h.Bytes > maxStreamBytes); h.First++ {
		c, ok, err := env.readChunk(ctx, s, h.First)
		if err != nil {
			return nil, err
		}
		if ok {
			h.Bytes -= int64(len(c.text))
			rows = append(rows, engine.RowPut{Table: store.Streams, Key: chunkKey(key, h.First)})
		}
	}
	return append(rows, headRow(s, h)), nil
}

// streamOf is the stream that a path names. open says that something is to be written: the run must not have ended, and knows the stream then.
func (env *environment) streamOf(r *http.Request, input, open bool) (stream, *record, error) {
	ctx := r.Context()
	s := stream{name: r.PathValue("stream"), input: input}
	if s.name == "" || len(s.name) > maxStreamName {
		return s, nil, fail(http.StatusBadRequest, "the name of a stream has 1 to %d bytes", maxStreamName)
	}
	rec, err := env.mustRead(ctx, r.PathValue("run"))
	if err != nil {
		return s, nil, err
	}
	other := ""
	switch r.PathValue("target") {
	case "parent":
		other = rec.opts.Parent
	case "root":
		other = rec.opts.Root
	}
	if other != "" {
		if rec, err = env.mustRead(ctx, other); err != nil {
			return s, nil, err
		}
	}
	s.run = rec.ID
	if !open {
		return s, rec, nil
	}
	if rec.Status.Ended() {
		return s, rec, fail(http.StatusBadRequest, "Cannot write to a stream of a completed run")
	}
	return s, rec, env.knowStream(ctx, rec, s)
}

// knowStream notes in a run that it has a stream, which those who follow it see.
func (env *environment) knowStream(ctx context.Context, rec *record, s stream) error {
	of := func(n *note) *[]string {
		if s.input {
			return &n.Inputs
		}
		return &n.Streams
	}
	if slices.Contains(*of(&rec.note), s.name) {
		return nil
	}
	_, err := env.edit(ctx, friendly(runPrefix, rec.ID), func(rec *record) error {
		names := of(&rec.note)
		if slices.Contains(*names, s.name) {
			return nil
		}
		if len(*names) >= maxStreams {
			return invalid("A run can have no more than %d streams", maxStreams)
		}
		*names = append(*names, s.name)
		return nil
	})
	return err
}

// streams is the version of streams that a run's task may use. Tasks write them in the older form to any server that says so; only to those of the
// newer one can something be sent.
func (o *options) streams() string {
	if o.Streams == "v1" {
		return "v1"
	}
	return "v2"
}

// streams are the streams that are written to.
type streams struct {
	locks namedlock.Set // held while a stream changes

	mu      sync.Mutex
	writers map[string]int // connections that write, by the stream's key
}

// writing notes that somebody writes to a stream, until done is called.
func (ss *streams) writing(s stream) (done func()) {
	key := string(s.key())
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.writers == nil {
		ss.writers = map[string]int{}
	}
	ss.writers[key]++
	return func() {
		ss.mu.Lock()
		defer ss.mu.Unlock()
		if ss.writers[key]--; ss.writers[key] == 0 {
			delete(ss.writers, key)
		}
	}
}

// written says whether somebody writes to a stream right now.
func (ss *streams) written(s stream) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.writers[string(s.key())] > 0
}
