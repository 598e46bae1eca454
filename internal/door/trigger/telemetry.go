package trigger

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/otlp"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// Section 20: the spans and logs of task processes. They come without a key, so only those of runs that exist, and only so much of each, is
// kept. A process waits for the answer before it says that its run is done.

const (
	maxTelemetry = 4 << 20          // bytes of a request, also when they were compressed
	telemetryAge = 60 * 60 * 1000   // ms that a run may still tell something after its end
	slowBody     = 15 * time.Second // for a body to come
	readers      = 8                // requests that are read at the same time
	slotWait     = 5 * time.Second  // for a request's turn to be read

	maxTold      = 20_000   // rows of a run; a span takes two as long as it is young
	maxToldBytes = 32 << 20 // of a run
)

func (d *Door) telemetryRoutes() {
	d.told.slots = make(chan struct{}, readers)
	d.mux.HandleFunc("POST /otel/v1/traces", func(w http.ResponseWriter, r *http.Request) {
		d.serveTelemetry(w, r, "rejectedSpans", otlp.Traces, d.tell)
	})
	d.mux.HandleFunc("POST /otel/v1/logs", func(w http.ResponseWriter, r *http.Request) {
		d.serveTelemetry(w, r, "rejectedLogRecords", otlp.Logs, d.tell)
	})
	d.mux.HandleFunc("POST /otel/v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		d.serveTelemetry(w, r, "rejectedDataPoints", otlp.Metrics, d.measured)
	})
}

// serveTelemetry answers an export. rejected names how many were not kept, in the answer; keep says how many, and why.
func (d *Door) serveTelemetry(
	w http.ResponseWriter, r *http.Request, rejected string, read func(string, []byte) ([]otlp.Resource, error),
	keep func(context.Context, []otlp.Resource) (int, string, error),
) {
	list, err := d.readTelemetry(w, r, read)
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	n, reason, err := keep(r.Context(), list)
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	writePartial(w, r, rejected, n, reason)
}

// readTelemetry reads a request. What is held of requests is bounded by how many are read at the same time.
func (d *Door) readTelemetry(w http.ResponseWriter, r *http.Request, read func(string, []byte) ([]otlp.Resource, error)) ([]otlp.Resource, error) {
	wait := time.NewTimer(slotWait)
	defer wait.Stop()
	select {
	case d.told.slots <- struct{}{}:
		defer func() { <-d.told.slots }()
	case <-wait.C:
		w.Header().Set("Retry-After", "1")
		return nil, fail(http.StatusServiceUnavailable, "The server has too much to do")
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(slowBody)) // a writer that cannot is one of a test
	var body io.Reader = http.MaxBytesReader(w, r.Body, maxTelemetry)
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "The body is not compressed as its header says")
		}
		body = http.MaxBytesReader(w, z, maxTelemetry)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	list, err := read(r.Header.Get("Content-Type"), b)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "Invalid request body: %v", err)
	}
	return list, nil
}

// writePartial says how many were not kept, and why, in the form in which the request came.
func writePartial(w http.ResponseWriter, r *http.Request, rejected string, n int, reason string) {
	if otlp.Protobuf(r.Header.Get("Content-Type")) {
		var b []byte
		if reason != "" {
			var part []byte
			part = protowire.AppendVarint(protowire.AppendTag(part, 1, protowire.VarintType), uint64(n))
			part = protowire.AppendString(protowire.AppendTag(part, 2, protowire.BytesType), reason)
			b = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), part)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(b) // the client is gone, and there is nobody to tell
		return
	}
	part := map[string]any{}
	if reason != "" {
		part[rejected], part["errorMessage"] = n, reason
	}
	writeJSON(w, http.StatusOK, map[string]any{"partialSuccess": part})
}

// tell keeps spans and logs, and says how many it did not keep and why.
func (d *Door) tell(ctx context.Context, list []otlp.Resource) (rejected int, reason string, err error) {
	var rows []engine.RowPut
	add := func(run any, s *trace.Span) error {
		row, why, err := d.tellOne(ctx, run, s)
		switch {
		case err != nil:
			return err
		case why != "":
			rejected, reason = rejected+1, why
		default:
			rows = append(rows, row)
		}
		return nil
	}
	for _, res := range list {
		if res.Attrs["$trigger"] != true {
			if n := len(res.Spans) + len(res.Logs); n > 0 {
				rejected, reason = rejected+n, "they are not of a task"
			}
			continue
		}
		for i := range res.Spans {
			if err := add(res.Spans[i].Attrs[attrRun], spanOf(&res.Spans[i])); err != nil {
				return 0, "", err
			}
		}
		for i := range res.Logs {
			if err := add(res.Logs[i].Attrs[attrRun], logOf(&res.Logs[i])); err != nil {
				return 0, "", err
			}
		}
	}
	if len(rows) > 0 {
		err = d.put(ctx, rows...)
	}
	return rejected, reason, err
}

// tellOne is the row of a span; why says that it is not kept.
func (d *Door) tellOne(ctx context.Context, run any, s *trace.Span) (row engine.RowPut, why string, err error) {
	name, _ := run.(string)
	id, ok := parseID(runPrefix, name)
	if !ok {
		return row, "they name no run", nil
	}
	b, err := d.told.of(ctx, d, id)
	if err != nil {
		return row, "", err
	}
	if b == nil {
		return row, "there is no such run, or it ended long ago", nil
	}
	if row, err = s.Row(id); err != nil {
		return row, "they have no usable ids", nil
	}
	if !b.take(len(row.Key)+len(row.Value), s.Level == "" && !s.Open()) {
		return row, fmt.Sprintf("a run can have no more than %d spans and logs, and %d bytes of them", maxTold, maxToldBytes), nil
	}
	return row, "", nil
}

// Attributes that the SDK gives spans and logs: section 20.3.
const (
	attrRun     = "$metadata.ctx.run.id"
	attrAttempt = "$metadata.ctx.attempt.number"
)

func spanOf(in *otlp.Span) *trace.Span {
	s := &trace.Span{
		ID: in.ID, Parent: in.Parent, Name: in.Name, Start: in.Start, End: max(in.End, in.Start, 1), Failed: in.Failed, Message: in.Message,
		Attempt: attemptOf(in.Attrs), Attrs: ownAttrs(in.Attrs), Icon: textAttr(in.Attrs, "$style.icon"),
		Entity: textAttr(in.Attrs, "$entity.type"), EntityID: textAttr(in.Attrs, "$entity.id"),
	}
	if in.Attrs["$span.partial"] == true { // it tells of a span that begins
		s.ID, s.End = textAttr(in.Attrs, "$span.span_id"), 0
	}
	if out, ok := unflatten(in.Attrs, "$output"); ok {
		if s.Output, ok = out.(string); !ok {
			s.Output = string(mustJSON(out))
		}
	}
	for _, e := range in.Events {
		s.Events = append(s.Events, trace.Event{Name: e.Name, Time: e.Time, Attrs: ownAttrs(e.Attrs)})
	}
	return s
}

func logOf(in *otlp.Log) *trace.Span {
	s := &trace.Span{
		Parent: in.Span, Name: in.Body, Level: strings.ToLower(in.Level), Start: in.Time, End: max(in.Time, 1), Attempt: attemptOf(in.Attrs), Attrs: ownAttrs(in.Attrs),
		Icon: textAttr(in.Attrs, "$style.icon"),
	}
	if s.Level == "" {
		s.Level = "log"
	}
	s.Failed = s.Level == "error" || s.Level == "fatal"
	return s
}

func attemptOf(attrs map[string]any) int {
	switch n := attrs[attrAttempt].(type) {
	case int64:
		return trace.Attempt(float64(n))
	case float64:
		return trace.Attempt(n)
	}
	return 0
}

func textAttr(attrs map[string]any, name string) string {
	s, _ := attrs[name].(string)
	return s
}

// ownAttrs are the attributes that a task gave, without those that the SDK did.
func ownAttrs(attrs map[string]any) json.RawMessage {
	own := map[string]any{}
	for k, v := range attrs { // a map again
		if !strings.HasPrefix(k, "$") && !strings.HasPrefix(k, "ctx.") {
			own[k] = v
		}
	}
	v, ok := unflatten(own, "")
	if !ok {
		return nil
	}
	return mustJSON(v)
}

// told is how much was told of the runs that tell something.
type told struct {
	slots chan struct{} // of requests that are read

	mu   sync.Mutex
	runs [2]map[engine.ID]*budget // the younger ones, and older ones that were not heard of since
}

// maxBudgets bounds the runs of one generation.
const maxBudgets = 2000

// budget is what one run told.
type budget struct {
	mu      sync.Mutex
	seeded  bool  // rows and bytes say what is stored
	checked int64 // ms, when the run was last looked at
	rows    int
	bytes   int
}

// budgetAge is how long it is taken for granted that a run goes on, ms.
const budgetAge = 60_000

// of is the budget of a run; nil when there is no such run, or when it ended long ago.
func (t *told) of(ctx context.Context, d *Door, run engine.ID) (*budget, error) {
	now := d.cfg.Now().UnixMilli()
	b := t.known(run)
	b.mu.Lock()
	seeded, fresh := b.seeded, b.seeded && now-b.checked < budgetAge
	b.mu.Unlock()
	if fresh {
		return b, nil
	}
	row, err := history.Run(ctx, d.cfg.Host, run)
	if err != nil {
		return nil, err
	}
	if row == nil || row.App != appName || row.Status.Ended() && now-row.Ended > telemetryAge {
		t.forget(run)
		return nil, nil
	}
	rows, bytes := 0, 0
	if !seeded {
		list, err := d.cfg.Host.List(ctx, store.Spans, engine.RunKey(run))
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			rows, bytes = rows+1, bytes+len(r.Key)+len(r.Value)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.seeded { // several may have looked
		b.seeded, b.rows, b.bytes = true, rows, bytes
	}
	b.checked = now
	return b, nil
}

func (t *told) known(run engine.ID) *budget {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.runs[0][run]
	if b != nil {
		return b
	}
	if b = t.runs[1][run]; b == nil {
		b = &budget{}
	}
	if t.runs[0] == nil || len(t.runs[0]) >= maxBudgets {
		t.runs[0], t.runs[1] = map[engine.ID]*budget{}, t.runs[0]
	}
	t.runs[0][run] = b
	return b
}

func (t *told) forget(run engine.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.runs[0], run)
	delete(t.runs[1], run)
}

// take takes a row's place; false when there is none. The last fifth is for ends of spans, so that what began can end.
func (b *budget) take(size int, end bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows, bytes := maxTold, maxToldBytes
	if !end {
		rows, bytes = rows/5*4, bytes/5*4
	}
	if b.rows >= rows || b.bytes+size > bytes {
		return false
	}
	b.rows++
	b.bytes += size
	return true
}
