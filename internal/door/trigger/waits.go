package trigger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 9: what a run waits for besides other runs. A wait for a time is the engine's; a token is a row, and a run that waits for it waits
// for a signal.

func (d *Door) waitRoutes() {
	d.route("POST /engine/v1/runs/{run}/wait/duration", secret, (*environment).waitDuration)
	d.route("POST /engine/v1/runs/{run}/waitpoints/tokens/{token}/wait", secret, (*environment).waitToken)
	d.route("POST /api/v1/waitpoints/tokens", secret, (*environment).createToken)
	d.route("GET /api/v1/waitpoints/tokens", secret, (*environment).listTokens)
	d.route("GET /api/v1/waitpoints/tokens/{token}", public, (*environment).getToken)
	d.route("POST /api/v1/waitpoints/tokens/{token}/complete", public, (*environment).completeToken)
	d.anyone("POST /api/v1/waitpoints/tokens/{token}/callback/{hash}", (*Door).tokenCallback)
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
func (env *environment) waitDuration(r *http.Request) (any, error) {
	var in struct {
		Date   string `json:"date"`
		Key    string `json:"idempotencyKey"`
		KeyTTL string `json:"idempotencyKeyTTL"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	now := env.cfg.Now()
	until, ok := parseWhen(in.Date, now)
	if !ok {
		return nil, fail(http.StatusBadRequest, "Invalid date %s", in.Date)
	}
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	id := friendly(waitPrefix, env.newID())
	if in.Key != "" {
		t, cached, err := env.keyedToken(r.Context(), &token{ID: id, TimeoutAt: until, Key: "wait\x00" + in.Key}, in.KeyTTL)
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
	if err := env.block(r.Context(), rec, until-now.UnixMilli() < longWait, op); err != nil {
		return nil, err
	}
	return map[string]any{"waitUntil": iso(until), "waitpoint": map[string]string{"id": id}}, nil
}

// longWait is from when on waiting for a time gives up the slots, in ms: section 22.3.
const longWait = engine.Minute

// block makes a run wait; a short wait keeps its slots.
func (env *environment) block(ctx context.Context, rec *record, short bool, op engine.Op, rows ...engine.RowPut) error {
	ok, err := do[bool](ctx, env, &engine.Block{Run: rec.ID, Short: short || op.Kind == engine.OpStepDone, Ops: []engine.Op{op}, Rows: rows})
	if err == nil && !ok {
		err = invalid("The run is not executing, so it cannot wait")
	}
	return err
}

func (env *environment) tokenKey(id string) []byte {
	return []byte("\x00trigger\x00" + env.Name + "\x00token\x00" + id)
}

func (env *environment) tokenRow(t *token) engine.RowPut {
	expires := max(t.CreatedAt, t.TimeoutAt, t.CompletedAt) + rowLife
	if t.TimeoutAt == 0 && t.CompletedAt == 0 {
		expires = 0 // somebody may complete it some time
	}
	return engine.RowPut{Table: store.Logs, Key: env.tokenKey(t.ID), Value: mustJSON(t), Expires: expires}
}

func (env *environment) readToken(ctx context.Context, id string) (*token, error) {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Logs, env.tokenKey(id))
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
func (env *environment) keyedToken(ctx context.Context, t *token, ttl string) (_ *token, cached bool, err error) {
	now := env.cfg.Now().UnixMilli()
	t.CreatedAt = now
	if t.Key == "" {
		return t, false, env.put(ctx, env.tokenRow(t))
	}
	key := []byte("\x00trigger\x00" + env.Name + "\x00tokenkey\x00" + t.Key)
	unlock := env.locks.Lock(string(key))
	defer unlock()
	if id, ok, err := env.cfg.Host.Get(ctx, store.Logs, key); err != nil {
		return nil, false, err
	} else if ok {
		if old, err := env.readToken(ctx, string(id)); err == nil && old.KeyExpires > now {
			return old, true, nil
		}
	}
	t.KeyExpires = now + keyLife
	if span, ok := parseDuration(ttl); ok {
		t.KeyExpires = now + span.Milliseconds()
	}
	err = env.put(ctx,
		env.tokenRow(t), engine.RowPut{Table: store.Logs, Key: key, Value: []byte(t.ID), Expires: t.KeyExpires},
	)
	return t, false, err
}

// createToken is POST /api/v1/waitpoints/tokens.
func (env *environment) createToken(r *http.Request) (any, error) {
	var in struct {
		Key     string          `json:"idempotencyKey"`
		KeyTTL  string          `json:"idempotencyKeyTTL"`
		Timeout json.RawMessage `json:"timeout"`
		Tags    json.RawMessage `json:"tags"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	t, err := env.newToken(in.Key, in.Timeout, in.Tags)
	if err != nil {
		return nil, err
	}
	t, cached, err := env.keyedToken(r.Context(), t, in.KeyTTL)
	if err != nil {
		return nil, err
	}
	return &accepted{http.StatusOK, env.tokenHeaders(r, "write:waitpoints:"+t.ID), map[string]any{"id": t.ID, "isCached": cached, "url": env.callbackURL(r, t.ID)}}, nil
}

// newToken is a token that is not stored yet.
func (env *environment) newToken(key string, timeout, tags json.RawMessage) (*token, error) {
	if len(key) > maxKey {
		return nil, fail(http.StatusBadRequest, "idempotencyKey must be %d characters or less", maxKey)
	}
	t := &token{ID: friendly(waitPrefix, env.newID()), Key: key}
	var err error
	if t.Tags, err = readTags(tags); err != nil {
		return nil, err
	}
	if s := scalar(timeout); s != "" {
		at, ok := parseWhen(s, env.cfg.Now())
		if !ok {
			return nil, invalid("Invalid timeout %s", s)
		}
		t.TimeoutAt = at
	}
	return t, nil
}

func (env *environment) callbackURL(r *http.Request, id string) string {
	return origin(r) + "/api/v1/waitpoints/tokens/" + id + "/callback/" + env.callbackHash(id)
}

func (env *environment) callbackHash(id string) string {
	return hex.EncodeToString(sign(env.secretKey(), strings.TrimPrefix(id, waitPrefix)))
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
func (env *environment) waitToken(r *http.Request) (any, error) {
	ctx := r.Context()
	rec, err := env.mustRead(ctx, r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	id := r.PathValue("token")
	unlock := env.locks.Lock(id)
	defer unlock()
	t, err := env.readToken(ctx, id)
	if err != nil {
		return nil, err
	}
	op := engine.Op{Step: engine.Step{ID: friendly(waitPrefix, env.newID()), Name: "wait for token " + id, Type: "token", Opts: mustJSON(point{Type: "MANUAL", Token: id})}}
	if t.over(env.cfg.Now().UnixMilli()) {
		op.Kind, op.Value = engine.OpStepDone, mustJSON(t.result())
		return map[string]bool{"success": true}, env.block(ctx, rec, false, op)
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
	return map[string]bool{"success": true}, env.block(ctx, rec, false, op, env.tokenRow(t))
}

// finishToken completes a token, once. The rows are written with that, or without when it was completed before.
func (env *environment) finishToken(ctx context.Context, id string, out tokenOutput, rows ...engine.RowPut) (any, error) {
	unlock := env.locks.Lock(id)
	defer unlock()
	t, err := env.readToken(ctx, id)
	if err != nil {
		return nil, err
	}
	now := env.cfg.Now().UnixMilli()
	if t.over(now) {
		if len(rows) > 0 {
			err = env.put(ctx, rows...)
		}
		return map[string]bool{"success": true}, err
	}
	t.CompletedAt, t.Output = now, out
	c := &engine.Signal{Env: env.Name, Value: mustJSON(out)}
	for _, run := range t.Waiters {
		c.Also = append(c.Also, signalName(id, run))
	}
	t.Waiters = nil
	c.Rows = append(rows, env.tokenRow(t))
	_, err = env.cfg.Host.Submit(ctx, c)
	return map[string]bool{"success": true}, err
}

// completeToken is POST /api/v1/waitpoints/tokens/{token}/complete.
func (env *environment) completeToken(r *http.Request) (any, error) {
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
	return env.finishToken(r.Context(), id, out)
}

// tokenCallback is POST /api/v1/waitpoints/tokens/{token}/callback/{hash}.
func (d *Door) tokenCallback(r *http.Request) (any, error) {
	id := r.PathValue("token")
	if r.ContentLength < 0 {
		return nil, fail(http.StatusLengthRequired, "Content-Length is required")
	}
	env := d.find(func(env *environment) bool { return secretEqual(env.callbackHash(id), r.PathValue("hash")) })
	if env == nil {
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
	return env.finishToken(r.Context(), id, tokenOutput{Output: &text, Type: typeJSON})
}

// getToken is GET /api/v1/waitpoints/tokens/{token}.
func (env *environment) getToken(r *http.Request) (any, error) {
	id := r.PathValue("token")
	if err := permit(r, "read:waitpoints:"+id, "read:waitpoints"); err != nil {
		return nil, err
	}
	t, err := env.readToken(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return env.tokenView(r, t), nil
}

// tokenView is section 9.2.
func (env *environment) tokenView(r *http.Request, t *token) map[string]any {
	tags := t.Tags
	if tags == nil {
		tags = []string{}
	}
	v := map[string]any{"id": t.ID, "url": env.callbackURL(r, t.ID), "status": "WAITING", "tags": tags, "createdAt": iso(t.CreatedAt)}
	if t.TimeoutAt > 0 {
		v["timeoutAt"] = iso(t.TimeoutAt)
	}
	if t.Key != "" {
		v["idempotencyKey"], v["idempotencyKeyExpiresAt"] = t.Key, iso(t.KeyExpires)
	}
	if t.over(env.cfg.Now().UnixMilli()) {
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
	return v
}

// listTokens is GET /api/v1/waitpoints/tokens, newest first.
func (env *environment) listTokens(r *http.Request) (any, error) {
	q := r.URL.Query()
	size := 25
	if n, err := strconv.Atoi(q.Get("page[size]")); err == nil {
		size = min(max(n, 1), 100)
	}
	list := func(name string) []string {
		return slices.DeleteFunc(strings.Split(q.Get(name), ","), func(s string) bool { return s == "" })
	}
	status, tags, key := list("filter[status]"), list("filter[tags]"), q.Get("filter[idempotencyKey]")
	from, to, err := env.createdWithin(r)
	if err != nil {
		return nil, err
	}
	data, pages, after := []any{}, map[string]string{}, q.Get("page[after]")
	for scanned := 0; scanned < maxScanned; {
		rows, err := env.scanLogs(r.Context(), env.tokenKey, after, 200)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			scanned++
			t := &token{}
			if err := json.Unmarshal(row.Value, t); err != nil {
				return nil, err
			}
			after = t.ID
			v := env.tokenView(r, t)
			if strings.HasPrefix(t.Key, "wait\x00") || len(status) > 0 && !slices.Contains(status, v["status"].(string)) || t.CreatedAt < from || to > 0 && t.CreatedAt > to ||
				len(tags) > 0 && !slices.ContainsFunc(tags, func(s string) bool { return slices.Contains(t.Tags, s) }) || key != "" && key != t.Key {
				continue
			}
			if len(data) == size {
				pages["next"] = data[size-1].(map[string]any)["id"].(string)
				return map[string]any{"data": data, "pagination": pages}, nil
			}
			data = append(data, v)
		}
		if len(rows) < 200 {
			break
		}
	}
	return map[string]any{"data": data, "pagination": pages}, nil
}
