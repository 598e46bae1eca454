// Package trace keeps what runs tell of themselves while they execute: spans, and logs within them. Each is a row in the run's partition of the
// Spans table. A span is told twice: as it begins, and as it ends. The two have rows of their own, so neither needs to know whether the other has
// come, nor in which order they do; whoever reads takes the end if it is there.
package trace

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Span is a piece of a run's work, or a line of its log, which is a span without length that has a Level.
type Span struct {
	ID      string `json:"id"`               // 16 hexadecimal digits
	Parent  string `json:"parent,omitempty"` // the span that it is in
	Name    string `json:"name"`
	Level   string `json:"level,omitempty"`   // of a log: trace, debug, log, info, warn, error, fatal
	Start   int64  `json:"start"`             // ns since the epoch
	End     int64  `json:"end,omitempty"`     // ns; 0: it has not ended
	Attempt int    `json:"attempt,omitempty"` // of the run, from 1; 0: not known
	Failed  bool   `json:"failed,omitempty"`
	// Cancelled says that the run was cancelled before the span ended.
	Cancelled bool   `json:"cancelled,omitempty"`
	Message   string `json:"message,omitempty"` // why it failed
	Icon      string `json:"icon,omitempty"`
	// Entity and EntityID are what the span is about, for instance an attempt or a waitpoint and its id.
	Entity   string          `json:"entity,omitempty"`
	EntityID string          `json:"entityId,omitempty"`
	Output   string          `json:"output,omitempty"`
	Attrs    json.RawMessage `json:"attrs,omitempty"` // an object
	Events   []Event         `json:"events,omitempty"`
}

// Event is something that happened within a span.
type Event struct {
	Name  string          `json:"name"`
	Time  int64           `json:"time"`            // ns since the epoch
	Attrs json.RawMessage `json:"attrs,omitempty"` // an object
}

// Open says that the span has not ended.
func (s *Span) Open() bool { return s.End == 0 }

// MaxSpan bounds the row of one span, in bytes. What is longer is shortened.
const MaxSpan = 64 << 10

// maxText bounds each text of a span that is too long as a whole.
const maxText = 1 << 10

// Row is the span as a row of a run. A log gets its id here, from what it says, so that one that is sent twice is there once.
func (s *Span) Row(run engine.ID) (engine.RowPut, error) {
	if s.Level != "" && s.ID == "" {
		s.ID = logID(s)
	}
	id, err := hex.DecodeString(s.ID)
	if err != nil || len(id) != 8 {
		return engine.RowPut{}, fmt.Errorf("span %q of run %s: an id has 16 hexadecimal digits", s.ID, run)
	}
	s.Name, s.Message = shorten(s.Name, maxText), shorten(s.Message, 4*maxText)
	b, err := json.Marshal(s)
	for _, less := range []func(){s.shorten, func() { s.Attrs, s.Events = nil, nil }, func() { s.Output, s.Message = "", "" }} {
		if err != nil || len(b) <= MaxSpan {
			break
		}
		less()
		b, err = json.Marshal(s)
	}
	if err != nil {
		return engine.RowPut{}, fmt.Errorf("encode span %s of run %s: %w", s.ID, run, err)
	}
	half := byte(ended)
	if s.Open() {
		half = begun
	}
	return engine.RowPut{Table: store.Spans, Key: slices.Concat(run[:], id, []byte{half}), Value: b}, nil
}

// The last byte of a row's key: the end of a span comes after its beginning.
const (
	begun = 0
	ended = 1
)

func logID(s *Span) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s\x00%s\x00%s\x00%s", s.Start, s.Parent, s.Level, s.Name, s.Attrs) // a hash does not fail
	return hex.EncodeToString(h.Sum(nil))
}

// shorten makes the row fit: long texts lose their ends, and then attributes and events go.
func (s *Span) shorten() {
	s.Output = shorten(s.Output, 8*maxText)
	if s.Attrs = shortenJSON(s.Attrs); len(s.Attrs) > MaxSpan/2 {
		s.Attrs = json.RawMessage(`{"…":"too many attributes to be kept"}`)
	}
	size := 0
	for i := range s.Events {
		e := &s.Events[i]
		e.Name, e.Attrs = shorten(e.Name, maxText), shortenJSON(e.Attrs)
		if size += len(e.Name) + len(e.Attrs) + maxText/16; size > MaxSpan/4 {
			s.Events = s.Events[:i]
			break
		}
	}
	for _, text := range []*string{&s.Entity, &s.EntityID, &s.Icon, &s.Level} {
		*text = shorten(*text, maxText)
	}
}

func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for !utf8.ValidString(s) && len(s) > limit-utf8.UTFMax {
		s = s[:len(s)-1] // not within a character
	}
	return strings.ToValidUTF8(s, "") + "…"
}

func shortenJSON(raw json.RawMessage) json.RawMessage {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return nil
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return shorten(v, maxText)
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v { // each on its own
				v[k] = walk(v[k])
			}
		}
		return v
	}
	b, _ := json.Marshal(walk(v)) // it was read
	return b
}

// order is by beginning; what begins at the same time, the longer first.
func order(a, b *Span) int {
	end := func(s *Span) int64 {
		if s.Open() {
			return 1<<63 - 1
		}
		return s.End
	}
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(end(b), end(a)), cmp.Compare(a.ID, b.ID))
}
