package inngest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
)

// request is a step that the server does itself instead of calling the app: sections 11.5 and 11.6 (step.ai.infer, step.fetch). It is
// planned like any other step, with this as its input, and so has the same attempts, limits and place on the run's page.
type request struct {
	AI      bool            `json:"ai"`
	URL     string          `json:"url"`
	Method  string          `json:"method"`
	Headers http.Header     `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

// planRequest reads the op. What the dashboard shows of it has no credentials: neither headers nor the key.
func planRequest(out *engine.Op, op *wireOp) error {
	var in struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
		AuthKey string            `json:"auth_key"`
		Format  string            `json:"format"`
	}
	if err := json.Unmarshal(op.Opts, &in); err != nil {
		return fmt.Errorf("step %s: read the options of %s: %w", out.Step.Name, op.Op, err)
	}
	if err := dispatch.CheckURL(in.URL); err != nil {
		return fmt.Errorf("step %s: %w", out.Step.Name, err)
	}
	r := request{AI: op.Op == "AIGateway", URL: in.URL, Method: strings.ToUpper(in.Method), Headers: http.Header{}, Body: in.Body}
	for k, v := range in.Headers {
		r.Headers.Set(k, v)
	}
	r.Headers.Del("Accept-Encoding") // the client asks for, and undoes, compression by itself
	shown := map[string]any{"url": withoutQuery(in.URL)}
	if r.AI {
		r.Method = http.MethodPost
		shown["format"] = in.Format
		r.Headers.Set("Content-Type", "application/json")
		if err := r.authorize(in.Format, in.AuthKey); err != nil {
			return err
		}
		if absent(r.Body) == nil {
			r.Body = op.Data // where Go has it too
		}
	} else {
		if r.Method == "" {
			r.Method = http.MethodGet
		}
		shown["method"] = r.Method
	}
	out.Kind, out.Step.Opts = engine.OpPlan, show(shown)
	out.Input = show(r)
	return nil
}

// authorize puts the key where the provider wants it: section 11.5.
func (r *request) authorize(format, key string) error {
	if key == "" {
		return nil
	}
	switch format {
	case "anthropic":
		r.Headers.Set("X-Api-Key", key)
	case "gemini":
		u, err := url.Parse(r.URL)
		if err != nil {
			return err
		}
		q := u.Query()
		q.Set("key", key)
		u.RawQuery = q.Encode()
		r.URL = u.String()
	case "bedrock":
		r.Headers.Set("Authorization", key)
	default:
		r.Headers.Set("Authorization", "Bearer "+key)
	}
	return nil
}

func withoutQuery(raw string) string {
	before, _, _ := strings.Cut(raw, "?")
	return before
}

// bytes is the body as it goes over the wire: text for step.fetch, JSON for step.ai.infer.
func (r *request) bytes() []byte {
	if absent(r.Body) == nil {
		return nil
	}
	var text string
	if !r.AI && json.Unmarshal(r.Body, &text) == nil {
		return []byte(text)
	}
	return r.Body
}

// request makes the request of a step and reports what came of it. A nil report means that the server is stopping or the
// shard went away; the request is then made again.
func (d *Door) request(ctx context.Context, c *engine.Call, rep *engine.Report) *engine.Report {
	var r request
	raw, ok, err := history.StepInput(ctx, d.cfg.Host, c.Run, c.StepID)
	if errors.Is(err, shard.ErrUnavailable) || errors.Is(err, store.ErrClosed) {
		return nil
	}
	if err == nil && !ok {
		err = errors.New("it is not in the store")
	}
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	steps, stepsErr := history.Steps(ctx, d.cfg.Host, c.Run)
	step := engine.Step{ID: c.StepID}
	for _, s := range steps {
		if s.ID == c.StepID {
			step = s.Step
		}
	}
	if err = errors.Join(err, stepsErr); err != nil {
		rep.Ops = []engine.Op{{Kind: engine.OpStepFailed, Step: step, Final: true, Value: errorJSON("Error", "load the request: "+err.Error())}}
		return rep
	}
	resp, err := d.cfg.Client.Do(ctx, &dispatch.Request{Method: r.Method, URL: r.URL, Header: r.Headers, Body: r.bytes()})
	now := d.cfg.Now()
	rep.Call.Ended = now.UnixMilli()
	d.metrics.calls.Add(1)
	if errors.Is(err, dispatch.ErrStopped) {
		return nil
	}
	if resp != nil {
		rep.Call.Status, rep.Call.Headers = resp.Status, shownHeaders(resp.Header)
	}
	op := engine.Op{Kind: engine.OpStepFailed, Step: step, RetryAt: d.retryAt(now, c.Attempt, 0)}
	name := "GatewayError"
	if r.AI {
		name = "AIGatewayError"
	}
	switch {
	case errors.Is(err, dispatch.ErrTooLarge) || err == nil && len(resp.Body) > maxValueBytes:
		op.Final, op.Value = true, errorJSON("output_too_large", fmt.Sprintf("the answer is larger than %d bytes", maxValueBytes))
	case err != nil:
		op.Value = errorJSON(name, err.Error())
	case r.AI && resp.Status > 299:
		rep.Call.Body = excerpt(resp.Body)
		op.RetryAt = d.retryAt(now, c.Attempt, parseRetryAfter(resp.Header.Get("Retry-After"), now))
		op.Value = errorJSON(name, fmt.Sprintf("the provider answered %d %s: %s", resp.Status, http.StatusText(resp.Status), rep.Call.Body))
	case r.AI:
		op.Kind, op.Value = engine.OpStepDone, jsonValue(resp.Body)
	default:
		op.Kind, op.Value = engine.OpStepDone, fetched(resp)
	}
	rep.Ops = []engine.Op{op}
	return rep
}

// fetched is what step.fetch makes a Response from.
func fetched(resp *dispatch.Response) []byte {
	headers := map[string]string{}
	for k, v := range resp.Header {
		headers[k] = strings.Join(v, ", ")
	}
	body := resp.Body
	if !utf8.Valid(body) {
		body = []byte(strings.ToValidUTF8(string(body), "\uFFFD"))
	}
	return show(map[string]any{"url": resp.URL, "status_code": resp.Status, "headers": headers, "body": string(body)})
}
