package trigger

import (
	"encoding/json"
	"errors"
	"net/http"
)

// Section 15.4: what is sent into a run while it executes. A run that waits for the next record waits for a token, which the record completes.

// sendInput is POST /realtime/v1/streams/{run}/input/{stream}.
func (env *environment) sendInput(r *http.Request) (any, error) {
	var in struct {
		Data json.RawMessage `json:"data"`
	}
	if err := permit(r, "write:inputStreams:"+r.PathValue("run"), "write:inputStreams"); err != nil {
		return nil, err
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Data) == 0 {
		in.Data = []byte("null")
	}
	if len(in.Data) > maxChunk {
		return nil, tooLong()
	}
	s, rec, err := env.streamOf(r, true, true)
	if err != nil {
		if rec != nil && rec.Status.Ended() {
			err = &inputError{status: http.StatusBadRequest, body: map[string]any{"ok": false, "error": "Cannot send to input stream on a completed run"}}
		}
		return nil, err
	}
	ctx := r.Context()
	defer env.streams.locks.Lock(string(s.key()))()
	h, err := env.readHead(ctx, s)
	if err != nil {
		return nil, err
	}
	waiter := ""
	if h.Waiter != "" && h.Next > h.After {
		waiter, h.Waiter, h.After = h.Waiter, "", 0
		if _, err := env.readToken(ctx, waiter); errors.As(err, new(*inputError)) {
			waiter = "" // it is no longer stored
		}
	}
	rows, err := env.chunkRows(ctx, s, h, [][]byte{in.Data})
	if err != nil {
		return nil, err
	}
	if waiter == "" {
		return map[string]bool{"ok": true}, env.put(ctx, rows...)
	}
	text := string(in.Data)
	_, err = env.finishToken(ctx, waiter, tokenOutput{Output: &text, Type: typeJSON}, rows...)
	return map[string]bool{"ok": true}, err
}

// waitInput is POST /api/v1/runs/{run}/input-streams/wait: a token that the next record completes. Whoever waits last is who waits.
func (env *environment) waitInput(r *http.Request) (any, error) {
	var in struct {
		Stream  string          `json:"streamId"`
		Timeout json.RawMessage `json:"timeout"`
		Key     string          `json:"idempotencyKey"`
		KeyTTL  string          `json:"idempotencyKeyTTL"`
		Tags    json.RawMessage `json:"tags"`
		Last    *int64          `json:"lastSeqNum"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	t, err := env.newToken(in.Key, in.Timeout, in.Tags)
	if err != nil {
		return nil, err
	}
	r.SetPathValue("stream", in.Stream)
	s, _, err := env.streamOf(r, true, true)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	defer env.streams.locks.Lock(string(s.key()))()
	h, err := env.readHead(ctx, s)
	if err != nil {
		return nil, err
	}
	after := int64(-1)
	if in.Last != nil {
		after = *in.Last
	}
	for seq := max(after+1, h.First); seq < h.Next && t.CompletedAt == 0; seq++ {
		c, ok, err := env.readChunk(ctx, s, seq)
		if err != nil {
			return nil, err
		}
		if ok {
			text := string(c.text)
			t.CompletedAt, t.Output = env.cfg.Now().UnixMilli(), tokenOutput{Output: &text, Type: typeJSON}
		}
	}
	t, cached, err := env.keyedToken(ctx, t, in.KeyTTL)
	if err != nil {
		return nil, err
	}
	if !t.over(env.cfg.Now().UnixMilli()) {
		h.Waiter, h.After = t.ID, after
		if err := env.put(ctx, headRow(s, h)); err != nil {
			return nil, err
		}
	}
	return map[string]any{"waitpointId": t.ID, "isCached": cached}, nil
}
