package trigger

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/trace"
)

// Section 8.9: what runs told, given back. A run has a span of its own, whose id its task process was told; what the process tells is below it,
// and the spans of the runs that it triggered are below what triggered them.

const (
	maxTree      = 20_000 // spans of one answer
	maxTreeRuns  = 500    // runs of one answer
	maxTracePage = 10_000
)

func (d *Door) traceRoutes() {
	d.route("GET /api/v1/runs/{run}/trace", public, (*environment).getTrace)
	d.route("GET /api/v1/runs/{run}/spans/{span}", public, (*environment).getSpan)
	d.route("GET /api/v1/runs/{run}/events", public, (*environment).getEvents)
}

// About is what a run has beside what the engine knows; nothing for runs of others.
func (d *Door) About(ctx context.Context, run *engine.RunRow) (tags []string, metadata, measures []byte, err error) {
	env := d.named(run.Env)
	if run.App != appName || env == nil {
		return nil, nil, nil, nil
	}
	rec, err := env.read(ctx, run.ID)
	if err != nil || rec == nil {
		return nil, nil, nil, err
	}
	all, err := d.measures(ctx, run.ID)
	if len(all) > 0 {
		measures = mustJSON(all)
	}
	return rec.note.Tags, rec.note.Metadata, measures, err
}

// spanOfRun is a span with the run that it is of.
type spanOfRun struct {
	*trace.Span
	rec *record
}

// traceIDs are the trace of a run and its own span in it.
func (o *options) traceIDs() (traceID, spanID string) {
	parts := strings.Split(o.Trace, "-")
	if len(parts) != 4 {
		return "", ""
	}
	return parts[1], parts[2]
}

// ownSpan is the span of a run itself.
func (env *environment) ownSpan(rec *record) *trace.Span {
	_, id := rec.opts.traceIDs()
	if id == "" { // the dashboard started it
		id = strings.ToLower(rec.ID.String())[10:]
	}
	s := &trace.Span{
		ID: id, Parent: rec.opts.Span, Name: rec.opts.Task, Start: rec.QueuedAt * 1e6, End: rec.Ended * 1e6, Entity: "run", EntityID: friendly(runPrefix, rec.ID), Icon: "task",
		Failed: rec.Status == engine.Failed, Cancelled: rec.Status == engine.Cancelled,
	}
	if e := rec.failure(); e != nil {
		s.Message, _ = serialized(e)["message"].(string)
	}
	if text, typ, ok := rec.output(); ok && rec.Status == engine.Completed && typ != typeStore {
		s.Output = text
	}
	return s
}

// spans are those of one run: its own, what it told, and the attempts that failed without telling anything.
func (env *environment) spans(ctx context.Context, rec *record) ([]*trace.Span, error) {
	told, err := trace.Read(ctx, env.cfg.Host, rec.RunRow)
	if err != nil {
		return nil, err
	}
	own := env.ownSpan(rec)
	failed, err := history.Attempts(ctx, env.cfg.Host, rec.ID)
	if err != nil {
		return nil, err
	}
	attempts := map[int]bool{} // those that told something
	for _, s := range told {
		attempts[s.Attempt] = true
		if s.Parent == "" {
			s.Parent = own.ID
		}
	}
	list := append([]*trace.Span{own}, told...)
	for _, a := range failed {
		n := a.Attempt + 1
		if attempts[n] || a.Call.Started == 0 {
			continue
		}
		s := &trace.Span{
			ID: own.ID[:8] + strconv.FormatInt(int64(n)+1<<32, 16)[1:], Parent: own.ID, Name: "Attempt " + strconv.Itoa(n), Attempt: n, Entity: "attempt", Icon: "attempt",
			Start: a.Call.Started * 1e6, End: max(a.Call.Ended, a.Call.Started) * 1e6, Failed: true,
		}
		var e struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(a.Error, &e) // an error of a run always has one
		s.Message = e.Message
		list = append(list, s)
	}
	return list, nil
}

// tree are the spans of a run and of the runs below it, by the runs' order of being triggered. Not all of a large one are there.
func (env *environment) tree(ctx context.Context, rec *record) (list []spanOfRun, cut bool, err error) {
	queue := []*record{rec}
	for i := 0; i < len(queue); i++ {
		spans, err := env.spans(ctx, queue[i])
		if err != nil {
			return nil, false, err
		}
		for _, s := range spans {
			if len(list) == maxTree {
				return list, true, nil
			}
			list = append(list, spanOfRun{s, queue[i]})
		}
		children, err := env.children(ctx, queue[i].ID)
		if err != nil {
			return nil, false, err
		}
		for _, id := range children {
			if len(queue) == maxTreeRuns {
				cut = true
				break
			}
			child, err := env.read(ctx, id)
			if err != nil {
				return nil, false, err
			}
			if child != nil {
				queue = append(queue, child)
			}
		}
	}
	return list, cut, nil
}

// duration of a span so far, in ns.
func (env *environment) duration(s *trace.Span) int64 {
	if s.Open() {
		return max(0, env.cfg.Now().UnixNano()-s.Start)
	}
	return max(0, s.End-s.Start)
}

func isoNano(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000Z") }

// levelOf is how the API calls the level of a log, or that it is none.
func levelOf(s *trace.Span) string {
	if s.Level == "" {
		return "TRACE"
	}
	return strings.ToUpper(s.Level)
}

// readable reads the run of a path for whoever may.
func (env *environment) readable(r *http.Request) (*record, error) {
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return rec, permitRun(r, rec, "read")
}

// getTrace is GET /api/v1/runs/{run}/trace: a tree, or with page[size] or page[after] the same spans in the order of their beginnings.
func (env *environment) getTrace(r *http.Request) (any, error) {
	rec, err := env.readable(r)
	if err != nil {
		return nil, err
	}
	list, cut, err := env.tree(r.Context(), rec)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if q.Has("page[size]") || q.Has("page[after]") {
		return env.tracePage(r, list, cut)
	}
	traceID, _ := rec.opts.traceIDs()
	return map[string]any{"trace": map[string]any{"traceId": traceID, "rootSpan": env.treeView(list)}}, nil
}

// spanNode is a span in a tree.
type spanNode struct {
	ID       string         `json:"id"`
	Parent   string         `json:"parentId,omitempty"`
	Run      string         `json:"runId"`
	Data     map[string]any `json:"data"`
	Children []*spanNode    `json:"children"`
}

// treeView is the tree below the first of the spans. What names a parent that is not there, or itself through others, is below the run's own.
func (env *environment) treeView(list []spanOfRun) *spanNode {
	nodes := map[string]*spanNode{}
	parent := map[string]string{}
	roots := map[*record]string{} // the runs' own spans
	all := make([]*spanNode, 0, len(list))
	for _, s := range list {
		if roots[s.rec] == "" {
			roots[s.rec] = s.ID
		}
		n := &spanNode{ID: s.ID, Parent: s.Parent, Run: friendly(runPrefix, s.rec.ID), Data: env.spanData(s), Children: []*spanNode{}}
		if nodes[s.ID] != nil {
			continue // two runs that claim the same
		}
		nodes[s.ID] = n
		all = append(all, n)
		parent[s.ID] = s.Parent
	}
	root := all[0]
	root.Parent = ""
	parent[root.ID] = ""
	for _, s := range list {
		n := nodes[s.ID]
		if n == root || n.Run != friendly(runPrefix, s.rec.ID) {
			continue
		}
		up := parent[n.ID]
		if nodes[up] == nil || below(parent, up, n.ID) {
			if up = roots[s.rec]; up == n.ID || nodes[up] == nil || below(parent, up, n.ID) {
				up = root.ID
			}
			parent[n.ID], n.Parent = up, up
		}
	}
	for _, n := range all[1:] {
		up := nodes[n.Parent]
		up.Children = append(up.Children, n)
	}
	return root
}

// maxNested bounds how deep spans are nested in an answer.
const maxNested = 500

// below says that one span is under another, or so deep that it might be.
func below(parent map[string]string, id, top string) bool {
	for range maxNested {
		if id == top {
			return true
		}
		if id = parent[id]; id == "" {
			return false
		}
	}
	return true
}

func (env *environment) spanData(s spanOfRun) map[string]any {
	v := map[string]any{
		"message": s.Name, "taskSlug": s.rec.opts.Task, "startTime": isoNano(s.Start), "duration": env.duration(s.Span), "isError": s.Failed, "isPartial": s.Open(),
		"isCancelled": s.Cancelled, "level": levelOf(s.Span), "queueName": s.rec.opts.Queue, "events": env.spanEvents(s.Span),
	}
	if w := env.workers.named(s.rec.note.Worker); w != nil {
		v["workerVersion"] = w.Version
		if t := w.task(s.rec.opts.Task); t != nil {
			v["taskPath"] = t.FilePath
		}
	}
	if m := s.rec.opts.Machine; m != "" {
		v["machinePreset"] = m
	}
	if len(s.Attrs) > 0 {
		v["properties"] = s.Attrs
	}
	if s.Output != "" {
		v["output"] = s.Output
		if json.Valid([]byte(s.Output)) {
			v["output"] = json.RawMessage(s.Output)
		}
	}
	return v
}

// spanEvents are what happened within a span. Why one failed is among them, even when its process did not tell.
func (env *environment) spanEvents(s *trace.Span) []any {
	list := []any{}
	for _, e := range s.Events {
		v := map[string]any{"name": e.Name, "time": isoNano(e.Time), "properties": map[string]any{}}
		if len(e.Attrs) > 0 {
			v["properties"] = e.Attrs
		}
		list = append(list, v)
	}
	if len(list) == 0 && s.Failed && s.Message != "" && s.Level == "" {
		list = append(list, map[string]any{"name": "exception", "time": isoNano(s.End), "properties": map[string]any{"exception": map[string]string{"message": s.Message}}})
	}
	return list
}

// tracePage is a page of spans.
func (env *environment) tracePage(r *http.Request, list []spanOfRun, cut bool) (any, error) {
	q := r.URL.Query()
	size := maxTracePage
	if s := q.Get("page[size]"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxTracePage {
			return nil, fail(http.StatusBadRequest, "page[size] must be from 1 to %d", maxTracePage)
		}
		size = n
	}
	at := func(s spanOfRun) string { return strconv.FormatInt(s.Start+1<<62, 36) + "-" + s.ID }
	slices.SortStableFunc(list, func(a, b spanOfRun) int { return strings.Compare(at(a), at(b)) })
	if after := q.Get("page[after]"); after != "" {
		i := slices.IndexFunc(list, func(s spanOfRun) bool { return at(s) > after })
		if i < 0 {
			i = len(list)
		}
		list = list[i:]
	}
	pages := map[string]any{}
	if len(list) > size {
		list = list[:size]
		pages["next"] = at(list[size-1])
	}
	if cut {
		pages["truncated"] = true
	}
	data, failures := []any{}, []any{}
	for _, s := range list {
		run := friendly(runPrefix, s.rec.ID)
		v := map[string]any{
			"id": s.ID, "runId": run, "message": s.Name, "startTime": isoNano(s.Start), "duration": env.duration(s.Span), "isError": s.Failed, "isPartial": s.Open(),
			"isCancelled": s.Cancelled, "level": levelOf(s.Span),
		}
		if s.Parent != "" {
			v["parentId"] = s.Parent
		}
		if s.Attempt > 0 {
			v["attemptNumber"] = s.Attempt
			if s.Failed && s.Entity == "attempt" {
				failures = append(failures, map[string]any{"spanId": s.ID, "attemptNumber": s.Attempt, "runId": run})
			}
		}
		data = append(data, v)
	}
	return map[string]any{"data": data, "attemptFailures": failures, "pagination": pages}, nil
}

// getSpan is GET /api/v1/runs/{run}/spans/{span}.
func (env *environment) getSpan(r *http.Request) (any, error) {
	rec, err := env.readable(r)
	if err != nil {
		return nil, err
	}
	list, err := env.spans(r.Context(), rec)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(s *trace.Span) bool { return s.ID == r.PathValue("span") })
	if i < 0 {
		return nil, fail(http.StatusNotFound, "Span not found")
	}
	s := list[i]
	v := map[string]any{
		"spanId": s.ID, "parentId": nil, "runId": friendly(runPrefix, rec.ID), "message": s.Name, "isError": s.Failed, "isPartial": s.Open(), "isCancelled": s.Cancelled,
		"level": levelOf(s), "startTime": isoNano(s.Start), "durationMs": float64(env.duration(s)) / 1e6, "events": env.spanEvents(s),
	}
	if s.Parent != "" {
		v["parentId"] = s.Parent
	}
	if len(s.Attrs) > 0 {
		v["properties"] = s.Attrs
	}
	if s.Entity != "" {
		v["entityType"] = s.Entity
	}
	children, err := env.children(r.Context(), rec.ID)
	if err != nil {
		return nil, err
	}
	triggered := []any{}
	for _, id := range children[:min(len(children), maxTreeRuns)] {
		child, err := env.read(r.Context(), id)
		if err != nil {
			return nil, err
		}
		if child != nil && child.opts.Span == s.ID {
			x, err := env.look(r.Context(), friendly(runPrefix, id))
			if err != nil {
				return nil, err
			}
			triggered = append(triggered, map[string]any{"runId": friendly(runPrefix, id), "taskIdentifier": child.opts.Task, "status": publicName(x.status, oldAPI(r)), "createdAt": iso(child.QueuedAt)})
		}
	}
	if len(triggered) > 0 {
		v["triggeredRuns"] = triggered
	}
	return v, nil
}

// getEvents is GET /api/v1/runs/{run}/events: the spans and logs of the run alone.
func (env *environment) getEvents(r *http.Request) (any, error) {
	rec, err := env.readable(r)
	if err != nil {
		return nil, err
	}
	list, err := env.spans(r.Context(), rec)
	if err != nil {
		return nil, err
	}
	events := []any{}
	for _, s := range list {
		v := env.spanData(spanOfRun{s, rec})
		v["spanId"], v["runId"], v["startTime"], v["kind"] = s.ID, friendly(runPrefix, rec.ID), strconv.FormatInt(s.Start, 10), "INTERNAL"
		v["style"] = map[string]string{"icon": s.Icon}
		if s.Level != "" {
			v["kind"] = "LOG"
		}
		if s.Parent != "" {
			v["parentId"] = s.Parent
		}
		if s.Attempt > 0 {
			v["attemptNumber"] = s.Attempt
		}
		events = append(events, v)
	}
	return map[string]any{"events": events}, nil
}
