package trigger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 7: batches. The run of each item has an id that follows from the batch and the index, so an item that is sent again starts nothing.

const (
	maxBatch     = 1000
	maxOldBatch  = 500
	maxItem      = 3 << 20
	maxBatchSize = 256 << 20 // of all items together, which are read before any is started
)

// rowLife is for how long batches and tokens are kept, in ms.
const rowLife = 30 * engine.Day

// batch is a batch as it is stored.
type batch struct {
	ID        string          `json:"id"`
	Count     int             `json:"count"`
	Parent    string          `json:"parent,omitempty"`
	Wait      bool            `json:"wait,omitempty"`
	Key       string          `json:"key,omitempty"`
	Sealed    bool            `json:"sealed,omitempty"`
	Hits      map[int]string  `json:"hits,omitempty"` // runs that were there before, by index
	Errors    []batchError    `json:"errors,omitempty"`
	CreatedAt int64           `json:"createdAt"`
	UpdatedAt int64           `json:"updatedAt"`
	Options   json.RawMessage `json:"options,omitempty"`
	Trace     string          `json:"trace,omitempty"` // traceparent of whoever made it
}

type batchError struct {
	Index int    `json:"index"`
	Task  string `json:"taskIdentifier"`
	Error string `json:"error"`
}

type batchItem struct {
	Index int    `json:"index"`
	Task  string `json:"task"`
	triggerBody
}

func (d *Door) batchRoutes() {
	d.route("POST /api/v3/batches", public, (*environment).createBatch)
	d.route("POST /api/v3/batches/{batch}/items", public, (*environment).sendItems)
	d.route("POST /api/v2/tasks/batch", public, func(env *environment, r *http.Request) (any, error) { return env.wholeBatch(r, false) })
	d.route("POST /api/v1/tasks/batch", public, func(env *environment, r *http.Request) (any, error) { return env.wholeBatch(r, true) })
	d.route("GET /api/v1/batches/{batch}", public, (*environment).getBatch)
	d.route("GET /api/v2/batches/{batch}", public, (*environment).getBatch)
	d.route("GET /api/v1/batches/{batch}/results", public, (*environment).batchResults)
}

func (env *environment) batchKey(id string) []byte {
	return []byte("\x00trigger\x00" + env.Name + "\x00batch\x00" + id)
}

func (env *environment) batchRow(b *batch) engine.RowPut {
	b.UpdatedAt = env.cfg.Now().UnixMilli()
	return engine.RowPut{Table: store.Logs, Key: env.batchKey(b.ID), Value: mustJSON(b), Expires: b.UpdatedAt + rowLife}
}

func (env *environment) readBatch(ctx context.Context, id string) (*batch, error) {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Logs, env.batchKey(id))
	if err != nil || !ok {
		return nil, err
	}
	b := &batch{}
	return b, json.Unmarshal(raw, b)
}

// itemRun is the id of the run of an item.
func itemRun(batchID string, index int) (engine.ID, bool) {
	id, ok := parseID(batchPrefix, batchID)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(id[:], uint32(index)))
	copy(id[6:], sum[:10])
	return id, ok
}

// createBatch is POST /api/v3/batches.
func (env *environment) createBatch(r *http.Request) (any, error) {
	ctx := r.Context()
	var in struct {
		Count  *int     `json:"runCount"`
		Tasks  []string `json:"taskIdentifiers"`
		Parent string   `json:"parentRunId"`
		Wait   bool     `json:"resumeParentOnCompletion"`
		Key    string   `json:"idempotencyKey"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Count == nil || *in.Count <= 0:
		return nil, fail(http.StatusBadRequest, "runCount must be a positive integer")
	case *in.Count > maxBatch:
		return nil, fail(http.StatusBadRequest, "Batch runCount of %d exceeds maximum allowed of %d.", *in.Count, maxBatch)
	case len(in.Key) > maxKey:
		return nil, fail(http.StatusBadRequest, "idempotencyKey must be %d characters or less", maxKey)
	}
	scopes := []string{"batchTrigger:tasks", "write:tasks"}
	if len(in.Tasks) == 1 {
		scopes = append(scopes, "batchTrigger:tasks:"+in.Tasks[0])
	}
	if err := permit(r, scopes...); err != nil {
		return nil, err
	}
	request := r.Header.Get("X-Trigger-Request-Idempotency-Key")
	repeated := true
	v, err := env.requests.once("batch\x00"+env.Name+"\x00"+request, request != "", env.cfg.Now(), func() (any, error) {
		repeated = false
		b := &batch{Count: *in.Count, Parent: in.Parent, Wait: in.Wait, Key: in.Key, Trace: traceHeader(r)}
		cached, err := env.openBatch(ctx, b)
		repeated = cached
		return b, err
	})
	if err != nil {
		return nil, err
	}
	b := v.(*batch)
	out := map[string]any{"id": b.ID, "runCount": b.Count, "isCached": repeated}
	if b.Key != "" {
		out["idempotencyKey"] = b.Key
	}
	return &accepted{http.StatusAccepted, env.tokenHeaders(r, "read:batch:"+b.ID, "write:batch:"+b.ID), out}, nil
}

// openBatch makes a batch, and its parent wait for it; true when its key names one, which b is then.
func (env *environment) openBatch(ctx context.Context, b *batch) (cached bool, err error) {
	keyRow := []byte("\x00trigger\x00" + env.Name + "\x00batchkey\x00" + b.Key)
	if b.Key != "" {
		unlock := env.locks.Lock(string(keyRow))
		defer unlock()
		if id, ok, err := env.cfg.Host.Get(ctx, store.Logs, keyRow); err != nil {
			return false, err
		} else if ok {
			old, err := env.readBatch(ctx, string(id))
			if err != nil {
				return false, err
			}
			if old != nil {
				*b = *old
				return true, nil
			}
		}
	}
	b.ID, b.CreatedAt = friendly(batchPrefix, env.newID()), env.cfg.Now().UnixMilli()
	rows := []engine.RowPut{env.batchRow(b)}
	if b.Key != "" {
		rows = append(rows, engine.RowPut{Table: store.Logs, Key: keyRow, Value: []byte(b.ID), Expires: b.CreatedAt + rowLife})
	}
	if !b.Wait {
		return false, env.put(ctx, rows...)
	}
	parent, err := env.mustRead(ctx, b.Parent)
	if err != nil {
		return false, err
	}
	step := engine.Step{ID: friendly(waitPrefix, env.newID()), Name: "batchTriggerAndWait", Type: "batch", Opts: mustJSON(point{Type: "BATCH", Batch: b.ID})}
	ok, err := do[bool](ctx, env, &engine.Block{Run: parent.ID, Rows: rows, Ops: []engine.Op{{Kind: engine.OpWaitSignal, Step: step, Signal: b.ID}}})
	if err == nil && !ok {
		err = env.deadParent(ctx, &order{opts: options{Task: "a batch", Parent: b.Parent}})
	}
	return false, err
}

// sendItems is POST /api/v3/batches/{batch}/items.
func (env *environment) sendItems(r *http.Request) (any, error) {
	id := r.PathValue("batch")
	if err := permit(r, "write:batch:"+id, "batchTrigger:tasks", "write:tasks"); err != nil {
		return nil, err
	}
	unlock := env.locks.Lock(id)
	defer unlock()
	b, err := env.readBatch(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fail(http.StatusNotFound, "Batch %s not found", id)
	}
	items, err := readItems(r.Body, b.Count)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"id": id, "itemsAccepted": len(items), "itemsDeduplicated": 0, "sealed": true, "runCount": b.Count}
	switch {
	case b.Sealed:
		out["itemsAccepted"], out["itemsDeduplicated"] = 0, len(items)
		return out, nil
	case len(items) < b.Count:
		out["sealed"], out["enqueuedCount"], out["expectedCount"] = false, len(items), b.Count
		return out, nil
	}
	if err := env.fillBatch(r, b, items); err != nil {
		return nil, err
	}
	return out, nil
}

// readItems reads lines of JSON, each an item.
func readItems(body io.Reader, count int) ([]*batchItem, error) {
	in := bufio.NewReaderSize(body, 64<<10)
	seen := map[int]bool{}
	var items []*batchItem
	size := 0
	for n := 0; ; n++ {
		line, err := readLine(in)
		if len(bytes.TrimSpace(line)) > 0 {
			it := &batchItem{Index: -1}
			if size += len(line); size > maxBatchSize {
				return nil, fail(http.StatusRequestEntityTooLarge, "Request body too large")
			}
			if e := json.Unmarshal(line, it); e != nil || it.Task == "" || it.Index < 0 || it.Index >= count {
				return nil, fail(http.StatusBadRequest, "Item %d of the batch is invalid", n)
			}
			if !seen[it.Index] {
				seen[it.Index] = true
				items = append(items, it)
			}
		}
		if errors.Is(err, io.EOF) {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// readLine reads a line of at most maxItem bytes.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxItem+64<<10 {
			return nil, fail(http.StatusRequestEntityTooLarge, "an item of the batch is larger than %d bytes", maxItem)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// fillBatch starts the runs of a batch, in their order, and seals it.
func (env *environment) fillBatch(r *http.Request, b *batch, items []*batchItem) error {
	ctx := r.Context()
	var placing []*placing
	for _, it := range items {
		p, err := env.placeItem(r, b, it)
		if err != nil {
			return err
		}
		if p != nil {
			placing = append(placing, p)
		}
	}
	for _, p := range placing {
		reply, err := p.wait(ctx)
		if err == nil {
			var s started
			if s, err = env.placed(ctx, p.o, reply); err == nil {
				b.hit(p.it, p.o.id, s.ID)
				continue
			}
		}
		if err := env.refuseItem(ctx, b, p.it, err); err != nil {
			return err
		}
	}
	b.Sealed = true
	row := env.batchRow(b)
	if !b.Wait {
		return env.put(ctx, row)
	}
	_, err := env.cfg.Host.Submit(ctx, &engine.Signal{Env: env.Name, Name: b.ID, Value: []byte("null"), Rows: []engine.RowPut{row}})
	return err
}

// placing is an item whose command is under way, so that many share a commit.
type placing struct {
	it   *batchItem
	o    *order
	done chan struct{}
	v    any
	err  error
}

func (p *placing) wait(ctx context.Context) (any, error) {
	select {
	case <-p.done:
		return p.v, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// hit notes that an item's key named a run that was there before.
func (b *batch) hit(it *batchItem, own, run engine.ID) {
	if run == own {
		return
	}
	if b.Hits == nil {
		b.Hits = map[int]string{}
	}
	b.Hits[it.Index] = friendly(runPrefix, run)
}

// placeItem begins to start the run of an item; it returns nil when that is done already. What is wrong with the item is noted in the batch; an error is
// about the server.
func (env *environment) placeItem(r *http.Request, b *batch, it *batchItem) (*placing, error) {
	ctx := r.Context()
	id, ok := itemRun(b.ID, it.Index)
	if !ok {
		return nil, fail(http.StatusNotFound, "Batch %s not found", b.ID)
	}
	if rec, err := env.read(ctx, id); err != nil || rec != nil {
		return nil, err
	}
	it.Options.Parent, it.Options.Wait = b.Parent, b.Wait
	o, err := env.order(r, it.Task, &it.triggerBody)
	if err != nil {
		return nil, env.refuseItem(ctx, b, it, err)
	}
	o.id, o.opts.Batch, o.opts.BatchIndex = id, b.ID, it.Index
	if b.Trace != "" { // the items come apart from it
		o.opts.Trace, o.opts.Span = traceOf(b.Trace)
	}
	if o.opts.Key != "" || o.debounce != nil { // its lock is held until it is placed
		s, err := env.place(ctx, o)
		if err != nil {
			return nil, env.refuseItem(ctx, b, it, err)
		}
		b.hit(it, id, s.ID)
		return nil, nil
	}
	p, err := env.plan(ctx, o)
	if err != nil {
		return nil, env.refuseItem(ctx, b, it, err)
	}
	way := &placing{it: it, o: o, done: make(chan struct{})}
	return way, env.cfg.Host.Post(env.command(o, p.start), func(v any, err error) {
		way.v, way.err = v, err
		close(way.done)
	})
}

// refuseItem notes what is wrong with an item. Another error than that is returned.
func (env *environment) refuseItem(ctx context.Context, b *batch, it *batchItem, err error) error {
	var in *inputError
	if !errors.As(err, &in) {
		return err
	}
	b.Errors = append(b.Errors, batchError{it.Index, it.Task, in.msg})
	if !b.Wait {
		return nil
	}
	parent, ok := parseID(runPrefix, b.Parent)
	id, known := itemRun(b.ID, it.Index)
	if !ok || !known {
		return err
	}
	step := engine.Step{
		ID: friendly(waitPrefix, env.newID()), Name: "batchTriggerAndWait: " + it.Task + " " + strconv.Itoa(it.Index), Type: "task",
		Opts: mustJSON(point{Type: "RUN", Run: friendly(runPrefix, id), Batch: b.ID, Index: &it.Index}),
	}
	_, err = env.cfg.Host.Submit(ctx, &engine.Block{Run: parent, Ops: []engine.Op{{Kind: engine.OpStepDone, Step: step, Value: mustJSON(in.msg)}}})
	return err
}

// wholeBatch is POST /api/v1/tasks/batch and /api/v2/tasks/batch.
func (env *environment) wholeBatch(r *http.Request, listed bool) (any, error) {
	var in struct {
		Items  []*batchItem `json:"items"`
		Parent string       `json:"parentRunId"`
		Wait   bool         `json:"resumeParentOnCompletion"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Items) == 0 || len(in.Items) > maxOldBatch {
		return nil, fail(http.StatusBadRequest, "a batch has 1 to %d items", maxOldBatch)
	}
	if err := permit(r, "batchTrigger:tasks", "write:tasks"); err != nil {
		return nil, err
	}
	for i, it := range in.Items {
		if it == nil || it.Task == "" {
			return nil, fail(http.StatusBadRequest, "Item %d of the batch is invalid", i)
		}
		it.Index = i
	}
	b := &batch{Count: len(in.Items), Parent: in.Parent, Wait: in.Wait, Key: r.Header.Get("Idempotency-Key"), Trace: traceHeader(r)}
	cached, err := env.openBatch(r.Context(), b)
	if err != nil {
		return nil, err
	}
	if !cached {
		if err := env.fillBatch(r, b, in.Items); err != nil {
			return nil, err
		}
	}
	out := map[string]any{"id": b.ID, "runCount": b.Count}
	if listed {
		runs := []any{}
		for i, it := range in.Items {
			id, hit := b.Hits[i]
			if !hit {
				run, _ := itemRun(b.ID, i) // the batch has an id
				id = friendly(runPrefix, run)
			}
			runs = append(runs, map[string]any{"id": id, "taskIdentifier": it.Task, "isCached": hit || cached})
		}
		out["runs"], out["isCached"] = runs, cached
	}
	return &accepted{http.StatusAccepted, env.tokenHeaders(r, "read:batch:"+b.ID), out}, nil
}

// runs are the ids of a batch's runs, by index; zero where there is none.
func (b *batch) runs() []engine.ID {
	failed := map[int]bool{}
	for _, e := range b.Errors {
		failed[e.Index] = true
	}
	ids := make([]engine.ID, b.Count)
	for i := range ids {
		if hit := b.Hits[i]; hit != "" {
			ids[i], _ = parseID(runPrefix, hit) // it was stored as one
		} else if !failed[i] {
			ids[i], _ = itemRun(b.ID, i)
		}
	}
	return ids
}

// batchOf is the batch that a path names.
func (env *environment) batchOf(r *http.Request) (*batch, error) {
	id := r.PathValue("batch")
	if err := permit(r, "read:batch:"+id, "read:batch"); err != nil {
		return nil, err
	}
	b, err := env.readBatch(r.Context(), id)
	if err == nil && b == nil {
		err = fail(http.StatusNotFound, "Batch not found")
	}
	return b, err
}

// batchResults is GET /api/v1/batches/{batch}/results: what became of its runs, once all have ended.
func (env *environment) batchResults(r *http.Request) (any, error) {
	b, err := env.batchOf(r)
	if err != nil {
		return nil, err
	}
	if !b.Sealed {
		return nil, fail(http.StatusNotFound, "The batch is not finished")
	}
	items := []any{}
	for _, run := range b.runs() {
		if run == (engine.ID{}) {
			continue
		}
		rec, err := env.read(r.Context(), run)
		switch {
		case err != nil:
			return nil, err
		case rec == nil: // it is so old that it is forgotten
		case !rec.Status.Ended():
			return nil, fail(http.StatusNotFound, "The batch is not finished")
		default:
			items = append(items, rec.result())
		}
	}
	return map[string]any{"id": b.ID, "items": items}, nil
}

// getBatch is GET /api/v2/batches/{batch}.
func (env *environment) getBatch(r *http.Request) (any, error) {
	b, err := env.batchOf(r)
	if err != nil {
		return nil, err
	}
	runs, status, last := []string{}, "PENDING", b.UpdatedAt
	if b.Sealed {
		status = "COMPLETED"
		for _, run := range b.runs() {
			if run == (engine.ID{}) {
				continue
			}
			runs = append(runs, friendly(runPrefix, run))
			rec, err := env.read(r.Context(), run)
			if err != nil {
				return nil, err
			}
			if rec != nil && !rec.Status.Ended() {
				status = "PROCESSING"
			} else if rec != nil {
				last = max(last, rec.Ended)
			}
		}
		if len(b.Errors) > 0 && status == "COMPLETED" {
			status = "PARTIAL_FAILED"
			if len(runs) == 0 {
				status = "ABORTED"
			}
		}
	}
	out := map[string]any{"id": b.ID, "status": status, "createdAt": iso(b.CreatedAt), "updatedAt": iso(last), "runCount": b.Count, "runs": runs}
	if b.Key != "" {
		out["idempotencyKey"] = b.Key
	}
	errs := b.Errors
	if errs == nil {
		errs = []batchError{}
	}
	processing := map[string]any{"errors": errs}
	if b.Sealed {
		processing["completedAt"] = iso(b.UpdatedAt)
	}
	out["processing"] = processing
	return out, nil
}
