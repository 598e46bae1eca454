package inngest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Limits of section 5.2 and 32, and the size of a whole request, which the protocol leaves open.
const (
	maxEventBytes   = 3 << 20
	maxEvents       = 5000
	maxRequestBytes = 64 << 20
)

const (
	minTS = 315532800000  // 1980-01-01
	maxTS = 4102444800000 // 2100-01-01
)

// inputError is a request's own fault.
type inputError struct {
	status int
	msg    string
}

func (e *inputError) Error() string { return e.msg }

// Status is the HTTP status to answer.
func (e *inputError) Status() int { return e.status }

func invalid(format string, args ...any) *inputError {
	return &inputError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// eventReply is what POST /e/{key} answers; JS looks at the body's status only.
type eventReply struct {
	IDs    []string `json:"ids"`
	Status int      `json:"status"`
	Error  string   `json:"error,omitempty"`
}

func writeEvents(w http.ResponseWriter, status int, ids []string, msg string) {
	if ids == nil {
		ids = []string{}
	}
	writeJSON(w, status, eventReply{ids, status, msg})
}

// events is POST /e/{key}: section 5.
func (d *Door) events(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	env, ok := d.cfg.Keys.EventEnvironment(r.PathValue("key"))
	if !ok {
		writeEvents(w, http.StatusUnauthorized, nil, "Event key not found")
		return
	}
	raw, err := readEvents(w, r)
	var in *inputError
	if errors.As(err, &in) {
		writeEvents(w, in.status, nil, in.msg)
		return
	}
	seed, seeded := parseSeed(r.Header.Get("X-Inngest-Event-Id-Seed"))
	events, bad := parseEvents(raw, d.cfg.Now().UnixMilli())
	if seeded {
		for i := range events {
			events[i].ID = seed.id(i + 1)
		}
	}
	// Events before a bad one are accepted, as the protocol has it; what is reported as accepted is stored.
	ids, err := d.send(r.Context(), env.Name, events)
	switch {
	case err != nil:
		status, msg := failure(err)
		w.Header().Set("Retry-After", "1")
		writeEvents(w, status, nil, msg)
	case bad != nil:
		writeEvents(w, bad.status, ids, bad.msg)
	default:
		writeEvents(w, http.StatusOK, ids, "")
	}
}

// parseEvents checks events up to the first bad one.
func parseEvents(raw []json.RawMessage, now int64) ([]engine.Event, *inputError) {
	events := make([]engine.Event, 0, min(len(raw), maxEvents))
	for i, one := range raw {
		if i == maxEvents {
			return events, &inputError{
				http.StatusRequestEntityTooLarge,
				fmt.Sprintf("too many events in one request: the maximum is %d, the request has %d", maxEvents, len(raw)),
			}
		}
		ev, err := parseEvent(one, now)
		if err != nil {
			return events, err
		}
		events = append(events, ev)
	}
	return events, nil
}

// Send stores one event or a list of them, given as JSON, and returns their ids. Unlike the endpoint it takes all or none.
func (d *Door) Send(ctx context.Context, env string, body []byte) ([]string, error) {
	raw, err := splitEvents(body)
	if err != nil {
		return nil, err
	}
	events, bad := parseEvents(raw, d.cfg.Now().UnixMilli())
	if bad != nil {
		return nil, bad
	}
	for i := range events {
		events[i].Source = "dashboard"
	}
	return d.send(ctx, env, events)
}

// send stores events and waits until they are durable.
func (d *Door) send(ctx context.Context, env string, events []engine.Event) ([]string, error) {
	if len(events) == 0 {
		return nil, nil
	}
	if err := d.loadKnown(ctx, env, events); err != nil {
		return nil, err
	}
	v, err := d.cfg.Host.Submit(ctx, &engine.SendEvents{Env: env, Events: events})
	if err != nil {
		return nil, err
	}
	d.metrics.events.Add(int64(len(events)))
	reply := v.(engine.SendReply)
	ids := make([]string, len(reply.IDs))
	for i, id := range reply.IDs {
		ids[i] = id.String()
	}
	return ids, nil
}

// loadKnown reads what the store knows about events with ids of their own: whether they are a repetition. The engine
// remembers the last minutes itself, so an id that was made just now need not be looked up.
func (d *Door) loadKnown(ctx context.Context, env string, events []engine.Event) error {
	fresh := d.cfg.Now().Add(-time.Minute)
	if since := d.cfg.Host.Since().Add(time.Minute); since.After(fresh) {
		fresh = since
	}
	for i := range events {
		ev := &events[i]
		var known []engine.UUID
		var stored bool
		if ev.Key != "" {
			row, ok, err := d.cfg.Host.Get(ctx, store.Idempotency, engine.IdempotencyKey(env, ev.Key))
			if err != nil {
				return err
			}
			if ok {
				known = engine.ParseIdempotency(row)
			}
		}
		if ev.ID != (engine.ID{}) && ev.ID.Time() < uint64(fresh.UnixMilli()) {
			_, ok, err := d.cfg.Host.Get(ctx, store.Events, engine.EventKey(env, ev.ID))
			if err != nil {
				return err
			}
			stored = ok
		}
		ev.SetKnown(known, stored)
	}
	return nil
}

// readEvents splits a request body into events without looking into them.
func readEvents(w http.ResponseWriter, r *http.Request) ([]json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, &inputError{http.StatusRequestEntityTooLarge, fmt.Sprintf("request is too large: the maximum is %d bytes", maxRequestBytes)}
		}
		return nil, invalid("read request: %v", err)
	}
	if one, ok := readForm(r, body); ok {
		return []json.RawMessage{one}, nil
	}
	return splitEvents(body)
}

// splitEvents splits JSON into events by its first byte.
func splitEvents(body []byte) ([]json.RawMessage, error) {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 {
		return nil, nil
	}
	switch trimmed[0] {
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, invalid("invalid JSON: %v", err)
		}
		return list, nil
	case '{':
		return []json.RawMessage{trimmed}, nil
	}
	if !json.Valid(trimmed) {
		return nil, invalid("invalid JSON: an event is an object or an array of objects")
	}
	return nil, invalid("event name is empty")
}

// readForm turns a form, which a webhook may send, into one object whose values are lists of strings.
func readForm(r *http.Request, body []byte) (json.RawMessage, bool) {
	if t := bytes.TrimSpace(body); len(t) == 0 || t[0] == '{' || t[0] == '[' {
		return nil, false // whatever its type says, it is JSON
	}
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || typ != "application/x-www-form-urlencoded" && typ != "multipart/form-data" {
		return nil, false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if typ == "multipart/form-data" {
		err = r.ParseMultipartForm(maxEventBytes)
	} else {
		err = r.ParseForm()
	}
	if err != nil {
		return nil, false
	}
	one, err := json.Marshal(r.PostForm)
	return one, err == nil
}

// wireEvent is an event as it is sent: section 5.1.
type wireEvent struct {
	Name json.RawMessage `json:"name"`
	Data json.RawMessage `json:"data"`
	User json.RawMessage `json:"user"`
	ID   json.RawMessage `json:"id"`
	TS   json.RawMessage `json:"ts"`
	V    json.RawMessage `json:"v"`
	Meta json.RawMessage `json:"meta"`
}

// parseEvent checks one event from outside.
func parseEvent(raw []byte, now int64) (engine.Event, *inputError) {
	if len(raw) > maxEventBytes {
		return engine.Event{}, &inputError{
			http.StatusRequestEntityTooLarge,
			fmt.Sprintf("event is too large: the maximum is %d bytes, the event has %d", maxEventBytes, len(raw)),
		}
	}
	var w wireEvent
	if err := json.Unmarshal(raw, &w); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return engine.Event{}, invalid("event name is empty")
		}
		return engine.Event{}, invalid("invalid JSON: %v", err)
	}
	ev := engine.Event{User: absent(w.User), Meta: absent(w.Meta), Source: "api"}
	for _, f := range []struct {
		name string
		raw  json.RawMessage
		to   *string
	}{{"name", w.Name, &ev.Name}, {"id", w.ID, &ev.Key}, {"v", w.V, &ev.V}} {
		if absent(f.raw) == nil {
			continue
		}
		if err := json.Unmarshal(f.raw, f.to); err != nil {
			return ev, invalid("event %s must be a string, not %s", f.name, jsonType(f.raw))
		}
	}
	switch {
	case ev.Name == "":
		return ev, invalid("event name is empty")
	case len(ev.Name) > 1024:
		return ev, invalid("event name is longer than 1024 bytes")
	case len(ev.Name) >= 8 && strings.EqualFold(ev.Name[:8], "inngest/"):
		return ev, invalid("event name is reserved for internal use: %s", ev.Name)
	case len(ev.Key) > 1024:
		return ev, invalid("event id is longer than 1024 bytes")
	}
	var err *inputError
	if ev.Data, err = eventData(w.Data); err != nil {
		return ev, err
	}
	if ev.User != nil && ev.User[0] != '{' {
		return ev, invalid("event user must be an object, not %s", jsonType(ev.User))
	}
	if ts := absent(w.TS); ts != nil {
		if json.Unmarshal(ts, &ev.TS) != nil {
			return ev, invalid("event ts must be an integer of milliseconds, not %s", jsonType(ts))
		}
		switch {
		case ev.TS == 0:
		case ev.TS < minTS:
			return ev, invalid("timestamp is before Jan 1, 1980")
		case ev.TS > maxTS:
			return ev, invalid("timestamp is after Jan 1, 2100")
		case ev.TS > now:
			ev.At = ev.TS // section 5.5
		}
	}
	return ev, nil
}

// eventData checks an event's data and removes what only the server may put there.
func eventData(raw json.RawMessage) ([]byte, *inputError) {
	raw = absent(raw)
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, invalid("event data must be an object, not %s", jsonType(raw))
	}
	if !bytes.Contains(raw, []byte(`"_inngest"`)) {
		return raw, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	if _, ok := m["_inngest"]; !ok {
		return raw, nil
	}
	delete(m, "_inngest")
	out, err := json.Marshal(m)
	if err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	return out, nil
}

// absent is nil for a value that is missing or null.
func absent(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return raw
}

func jsonType(raw []byte) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '[':
		return "an array"
	case '{':
		return "an object"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "the number " + string(raw[:min(len(raw), 40)])
}

// invoke is POST /invoke/{slug}: section 5.7.
func (d *Door) invoke(w http.ResponseWriter, r *http.Request) {
	env, ok := d.invokeEnvironment(r)
	if !ok {
		http.Error(w, "Authentication failed", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEventBytes))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("request is too large: the maximum is %d bytes", maxEventBytes))
		return
	}
	id, err := d.Invoke(r.Context(), env, r.PathValue("slug"), body)
	var in *inputError
	switch {
	case errors.As(err, &in):
		writeError(w, in.status, "", in.msg)
	case err != nil:
		d.writeFailure(w, r, err)
	default:
		writeJSON(w, http.StatusOK, map[string]any{"id": id, "status": 200})
	}
}

// Invoke starts one function with the data of a partial event, given as JSON, and returns the id of the event.
func (d *Door) Invoke(ctx context.Context, env, slug string, body []byte) (string, error) {
	var in wireEvent
	if err := json.Unmarshal(body, &in); err != nil {
		return "", invalid("invalid JSON: %v", err)
	}
	data, bad := eventData(in.Data)
	if bad != nil {
		return "", bad
	}
	ev := engine.Event{
		Name: eventInvoked, Data: withInvoked(data, map[string]any{"fn_id": slug}), User: absent(in.User),
		Meta: absent(in.Meta), Internal: true, Source: "invoke",
	}
	v, err := d.cfg.Host.Submit(ctx, &engine.Start{Env: env, Slug: slug, Events: []engine.Event{ev}})
	if err != nil {
		return "", err
	}
	return v.(engine.StartReply).Event.String(), nil
}

// invokeEnvironment: the protocol leaves this endpoint open; a production server does not, and takes either key.
func (d *Door) invokeEnvironment(r *http.Request) (string, bool) {
	h := r.Header.Get("Authorization")
	if env, ok := d.cfg.Keys.BearerEnvironment(h); ok {
		return env.Name, true
	}
	if key, ok := strings.CutPrefix(h, "Bearer "); ok {
		if env, ok := d.cfg.Keys.EventEnvironment(key); ok {
			return env.Name, true
		}
	}
	return "", false
}

// withInvoked adds the server's own part to the data of an invoked event.
func withInvoked(data []byte, own map[string]any) []byte {
	part, _ := json.Marshal(own) // plain values always marshal
	data = bytes.TrimSpace(data)
	rest := []byte("}")
	if len(data) > 1 && data[0] == '{' {
		if rest = bytes.TrimLeft(data[1:], " \t\r\n"); rest[0] != '}' {
			rest = append([]byte(","), rest...)
		}
	}
	out := append([]byte(`{"_inngest":`), part...)
	return append(out, rest...)
}
