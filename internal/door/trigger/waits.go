package trigger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 9: what a run waits for besides other runs. A wait for a time is the engine's; a token is a row, and a run that waits for it waits
// for a signal.

func (d *Door) waitRoutes() {
	d.route("POST /engine/v1/runs/{run}/wait/duration", secret, (*Door).waitDuration)
	d.route("POST /engine/v1/runs/{run}/waitpoints/tokens/{token}/wait", secret, (*Door).waitToken)
	d.route("POST /api/v1/waitpoints/tokens", secret, (*Door).createToken)
	d.route("GET /api/v1/waitpoints/tokens/{token}", public, (*Door).getToken)
	d.route("POST /api/v1/waitpoints/tokens/{token}/complete", public, (*Door).completeToken)
	d.route("POST /api/v1/waitpoints/tokens/{token}/callback/{hash}", open, (*Door).tokenCallback)
}

// maxWaiters bounds the runs that wait for one token.
const maxWaiters = 1000

// token is a waitpoint that somebody outside completes.
type token struct {
	ID          string      `json:"id"`
	CreatedAt   int64       `json:"createdAt"`
	TimeoutAt   int64       `json:"timeoutAt,omitempty"`
	CompletedAt int64       `json:"completedAt,omitempty"`
	Output      tokenOutput `json:"output"`
	Tags        []string    `json:"tags,omitempty"`
	Key         string      `json:"key,omitempty"`
	KeyExpires  int64       `json:"keyExpires,omitempty"`
	Waiters     []string    `json:"waiters,omitempty"` // runs
}

// tokenOutput is what a wait for a token gives; it is also the value of the step.
type tokenOutput struct {
	Output  *string `json:"output,omitempty"`
	Type    string  `json:"outputType,omitempty"`
	IsError bool    `json:"outputIsError,omitempty"`
}

// waitDuration is POST /engine/v1/runs/{run}/wait/duration.
func (d *Door) waitDuration(r *http.Request) (any, error) {
	var in struct {
		Date   string `json:"date"`
		Key    string `json:"idempotencyKey"`
		KeyTTL string `json:"idempotencyKeyTTL"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	now := d.cfg.Now()
	until, ok := parseWhen(in.Date, now)
	if !ok {
		return nil, fail(http.StatusBadRequest, "Invalid date %s", in.Date)
	}
	rec, err := d.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	id := friendly(waitPrefix, d.newID())
	if in.Key != "" {
		t, cached, err := d.keyedToken(r.Context(), &token{ID: id, TimeoutAt: until, Key: "wait\x00" + in.Key}, in.KeyTTL)
		if err != nil {
			return nil, err
		}
		if cached {
			until = t.TimeoutAt
		}
	}
	op := engine.Op{
		Kind: engine.OpSleep, Until: max(until, 1),
		Step: engine.Step{ID: id, Name: "wait until " + iso(until), Type: "wait", Opts: mustJSON(point{Type: "DATETIME", Until: until})},
	}
	if until <= now.UnixMilli() {
		op.Kind, op.Value = engine.OpStepDone, []byte("null")
	}
	if err := d.block(r.Context(), rec, op); err != nil {
		return nil, err
	}
	return map[string]any{"waitUntil": iso(until), "waitpoint": map[string]string{"id": id}}, nil
}

// block makes a run wait.
func (d *Door) block(ctx context.Context, rec *record, op engine.Op, rows ...engine.RowPut) error {
	ok, err := do[bool](ctx, d, &engine.Block{Run: rec.ID, Ops: []engine.Op{op}, Rows: rows})
	if err == nil && !ok {
		err = invalid("The run is not executing, so it cannot wait")
	}
	return err
}

func (d *Door) tokenKey(id string) []byte {
	return []byte("\x00trigger\x00" + d.cfg.Env + "\x00token\x00" + id)
}

func (d *Door) tokenRow(t *token) engine.RowPut {
	expires := max(t.CreatedAt, t.TimeoutAt, t.CompletedAt) + rowLife
	if t.TimeoutAt == 0 && t.CompletedAt == 0 {
		expires = 0 // somebody may complete it some time
	}
	return engine.RowPut{Table: store.Logs, Key: d.tokenKey(t.ID), Value: mustJSON(t), Expires: expires}
}

func (d *Door) readToken(ctx context.Context, id string) (*token, error) {
	raw, ok, err := d.cfg.Host.Get(ctx, store.Logs, d.tokenKey(id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fail(http.StatusNotFound, "Waitpoint not found")
	}
	t := &token{}
	return t, json.Unmarshal(raw, t)
}

// keyedToken stores a token, unless its key names one that is there.
func (d *Door) keyedToken(ctx context.Context, t *token, ttl string) (_ *token, cached bool, err error) {
	now := d.cfg.Now().UnixMilli()
	t.CreatedAt = now
	if t.Key == "" {
		_, err := d.cfg.Host.Submit(ctx, &engine.Put{Rows: []engine.RowPut{d.tokenRow(t)}})
		return t, false, err
	}
	key := []byte("\x00trigger\x00" + d.cfg.Env + "\x00tokenkey\x00" + t.Key)
	unlock := d.locks.lock(string(key))
	defer unlock()
	if id, ok, err := d.cfg.Host.Get(ctx, store.Logs, key); err != nil {
		return nil, false, err
	} else if ok {
		if old, err := d.readToken(ctx, string(id)); err == nil && old.KeyExpires > now {
			return old, true, nil
		}
	}
	t.KeyExpires = now + keyLife
	if span, ok := parseDuration(ttl); ok {
		t.KeyExpires = now + span.Milliseconds()
	}
	_, err = d.cfg.Host.Submit(ctx, &engine.Put{Rows: []engine.RowPut{
		d.tokenRow(t), {Table: store.Logs, Key: key, Value: []byte(t.ID), Expires: t.KeyExpires},
	}})
	return t, false, err
}

// createToken is POST /api/v1/waitpoints/tokens.
func (d *Door) createToken(r *http.Request) (any, error) {
	var in struct {
		Key     string          `json:"idempotencyKey"`
		KeyTTL  string          `json:"idempotencyKeyTTL"`
		Timeout json.RawMessage `json:"timeout"`
		Tags    json.RawMessage `json:"tags"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	t, err := d.newToken(in.Key, in.Timeout, in.Tags)
	if err != nil {
		return nil, err
	}
	t, cached, err := d.keyedToken(r.Context(), t, in.KeyTTL)
	if err != nil {
		return nil, err
	}
	return &accepted{http.StatusOK, d.tokenHeaders(r, "write:waitpoints:"+t.ID), map[string]any{"id": t.ID, "isCached": cached, "url": d.callbackURL(r, t.ID)}}, nil
}

// newToken is a token that is not stored yet.
func (d *Door) newToken(key string, timeout, tags json.RawMessage) (*token, error) {
	if len(key) > maxKey {
		return nil, fail(http.StatusBadRequest, "idempotencyKey must be %d characters or less", maxKey)
	}
	t := &token{ID: friendly(waitPrefix, d.newID()), Key: key}
	var err error
	if t.Tags, err = readTags(tags); err != nil {
		return nil, err
	}
	if s := scalar(timeout); s != "" {
		at, ok := parseWhen(s, d.cfg.Now())
		if !ok {
			return nil, invalid("Invalid timeout %s", s)
		}
		t.TimeoutAt = at
	}
	return t, nil
}

func (d *Door) callbackURL(r *http.Request, id string) string {
	return origin(r) + "/api/v1/waitpoints/tokens/" + id + "/callback/" + d.callbackHash(id)
}

func (d *Door) callbackHash(id string) string {
	return hex.EncodeToString(sign(d.secretKey(), strings.TrimPrefix(id, waitPrefix)))
}

// over says that nobody can complete a token any more.
func (t *token) over(now int64) bool {
	return t.CompletedAt > 0 || t.TimeoutAt > 0 && t.TimeoutAt <= now
}

// result is what a wait for a token that is over gives.
func (t *token) result() tokenOutput {
	if t.CompletedAt > 0 {
		return t.Output
	}
	text := string(mustJSON(map[string]string{"code": "TRIGGER_WAITPOINT_TIMEOUT", "message": fmt.Sprintf("Waitpoint timed out at %s", iso(t.TimeoutAt))}))
	return tokenOutput{Output: &text, Type: typeJSON, IsError: true}
}

// signalName is what a run waits for that waits for a token.
func signalName(token, run string) string { return token + "/" + run }

// waitToken is POST /engine/v1/runs/{run}/waitpoints/tokens/{token}/wait.
func (d *Door) waitToken(r *http.Request) (any, error) {
	ctx := r.Context()
	rec, err := d.mustRead(ctx, r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	id := r.PathValue("token")
	unlock := d.locks.lock(id)
	defer unlock()
	t, err := d.readToken(ctx, id)
	if err != nil {
		return nil, err
	}
	op := engine.Op{Step: engine.Step{ID: friendly(waitPrefix, d.newID()), Name: "wait for token " + id, Type: "token", Opts: mustJSON(point{Type: "MANUAL", Token: id})}}
	if t.over(d.cfg.Now().UnixMilli()) {
		op.Kind, op.Value = engine.OpStepDone, mustJSON(t.result())
		return map[string]bool{"success": true}, d.block(ctx, rec, op)
	}
	run := friendly(runPrefix, rec.ID)
	if !slices.Contains(t.Waiters, run) {
		if len(t.Waiters) >= maxWaiters {
			return nil, invalid("more than %d runs wait for the token", maxWaiters)
		}
		t.Waiters = append(t.Waiters, run)
	}
	op.Kind, op.Signal, op.SignalReplaces, op.Until = engine.OpWaitSignal, signalName(id, run), true, t.TimeoutAt
	op.OnTimeout, op.OnTimeoutKind = mustJSON((&token{TimeoutAt: t.TimeoutAt}).result()), engine.ValueError
	return map[string]bool{"success": true}, d.block(ctx, rec, op, d.tokenRow(t))
}

// finishToken completes a token, once. The rows are written with that, or without when it was completed before.
func (d *Door) finishToken(ctx context.Context, id string, out tokenOutput, rows ...engine.RowPut) (any, error) {
	unlock := d.locks.lock(id)
	defer unlock()
	t, err := d.readToken(ctx, id)
	if err != nil {
		return nil, err
	}
	now := d.cfg.Now().UnixMilli()
	if t.over(now) {
		if len(rows) > 0 {
			_, err = d.cfg.Host.Submit(ctx, &engine.Put{Rows: rows})
		}
		return map[string]bool{"success": true}, err
	}
	t.CompletedAt, t.Output = now, out
	c := &engine.Signal{Env: d.cfg.Env, Value: mustJSON(out)}
	for _, run := range t.Waiters {
		c.Also = append(c.Also, signalName(id, run))
	}
	t.Waiters = nil
	c.Rows = append(rows, d.tokenRow(t))
	_, err = d.cfg.Host.Submit(ctx, c)
	return map[string]bool{"success": true}, err
}

// completeToken is POST /api/v1/waitpoints/tokens/{token}/complete.
func (d *Door) completeToken(r *http.Request) (any, error) {
	id := r.PathValue("token")
	if err := permit(r, "write:waitpoints:"+id, "write:waitpoints"); err != nil {
		return nil, err
	}
	var in struct {
		Data json.RawMessage `json:"data"`
		Type string          `json:"dataType"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	out := tokenOutput{}
	if len(in.Data) > 0 {
		text := string(in.Data)
		out = tokenOutput{Output: &text, Type: typeJSON}
	}
	return d.finishToken(r.Context(), id, out)
}

// tokenCallback is POST /api/v1/waitpoints/tokens/{token}/callback/{hash}.
func (d *Door) tokenCallback(r *http.Request) (any, error) {
	id := r.PathValue("token")
	if r.ContentLength < 0 {
		return nil, fail(http.StatusLengthRequired, "Content-Length is required")
	}
	if !secretEqual(d.callbackHash(id), r.PathValue("hash")) {
		return nil, fail(http.StatusUnauthorized, "Invalid URL, hash doesn't match")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		body = []byte(`{}`)
	}
	text := string(body)
	return d.finishToken(r.Context(), id, tokenOutput{Output: &text, Type: typeJSON})
}

// getToken is GET /api/v1/waitpoints/tokens/{token}.
func (d *Door) getToken(r *http.Request) (any, error) {
	id := r.PathValue("token")
	if err := permit(r, "read:waitpoints:"+id, "read:waitpoints"); err != nil {
		return nil, err
	}
	t, err := d.readToken(r.Context(), id)
	if err != nil {
		return nil, err
	}
	tags := t.Tags
	if tags == nil {
		tags = []string{}
	}
	v := map[string]any{"id": t.ID, "url": d.callbackURL(r, t.ID), "status": "WAITING", "tags": tags, "createdAt": iso(t.CreatedAt)}
	if t.TimeoutAt > 0 {
		v["timeoutAt"] = iso(t.TimeoutAt)
	}
	if t.Key != "" {
		v["idempotencyKey"], v["idempotencyKeyExpiresAt"] = t.Key, iso(t.KeyExpires)
	}
	if t.over(d.cfg.Now().UnixMilli()) {
		out := t.result()
		v["status"], v["completedAt"] = "COMPLETED", iso(max(t.CompletedAt, 0))
		if out.IsError {
			v["status"], v["completedAt"] = "TIMED_OUT", iso(t.TimeoutAt)
			v["outputIsError"] = true
		}
		if out.Output != nil {
			v["output"], v["outputType"] = *out.Output, out.Type
		}
	}
	return v, nil
}
