package qstash

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// maxBatch bounds the body of a batch: section 5.4.
const maxBatch = 100 << 20

// batchItem is one publish of a batch.
type batchItem struct {
	Destination string                     `json:"destination"`
	Headers     map[string]json.RawMessage `json:"headers"`
	Body        json.RawMessage            `json:"body"`
	Queue       string                     `json:"queue"`
}

// serveBatch is POST /v2/batch. Items are independent: a wrong one has an error in its place and the others are published.
func (d *Door) serveBatch(w http.ResponseWriter, r *http.Request, rest string) error {
	if err := allow(r, http.MethodPost); err != nil {
		return err
	}
	switch rest = strings.Trim(rest, "/"); {
	case strings.EqualFold(rest, "trigger"):
		return d.serveBatchTrigger(w, r)
	case rest != "":
		return notFound("endpoint", r.URL.Path)
	}
	items, err := d.readBatch(w, r)
	if err != nil {
		return err
	}
	answers := make([]any, len(items))
	var list []*prepared
	var at []int
	for i, raw := range items {
		p, err := d.batchItem(r, raw)
		var in *inputError
		var over *overError
		switch {
		case errors.As(err, &over):
			return err
		case errors.As(err, &in):
			answers[i] = map[string]any{"error": in.msg, "status": in.status}
		case err != nil:
			return err
		default:
			list, at = append(list, p), append(at, i)
		}
	}
	if err := d.startAll(r.Context(), list...); err != nil {
		return err
	}
	for k, p := range list {
		res, err := p.result()
		if err != nil {
			return err
		}
		answers[at[k]] = res.answer()
	}
	return writeJSON(w, http.StatusOK, answers)
}

// readBatch reads the array that a batch is.
func (d *Door) readBatch(w http.ResponseWriter, r *http.Request) (items []json.RawMessage, err error) {
	body, err := d.readBody(w, r, maxBatch)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, badRequest("the body is no JSON array: %v", err)
	}
	return items, nil
}

// batchItem prepares one item.
func (d *Door) batchItem(r *http.Request, raw json.RawMessage) (*prepared, error) {
	var it batchItem
	if err := json.Unmarshal(raw, &it); err != nil {
		return nil, badRequest("an item is no object with destination, headers, body and queue: %v", err)
	}
	h, err := itemHeader(it.Headers)
	if err != nil {
		return nil, err
	}
	dest, query, err := destination("/"+it.Destination, "/")
	if err != nil {
		return nil, err
	}
	all, err := mergeHeaders(h, query)
	if err != nil {
		return nil, err
	}
	cfg, err := readConfig(all, ownPrefix, 0)
	if err != nil {
		return nil, err
	}
	if it.Queue != "" {
		if err := parseName("queue", it.Queue); err != nil {
			return nil, badRequest("%v", err)
		}
		cfg.Queue, cfg.Delay, cfg.NotBefore = it.Queue, 0, 0
	}
	body, err := itemBody(it.Body)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > d.cfg.MaxBody {
		return nil, &inputError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", d.cfg.MaxBody)}
	}
	return d.prepareAny(r.Context(), all, &outgoing{dest: dest, config: *cfg, body: body, callerIP: callerIP(r), incoming: h})
}

// itemHeader reads values that are texts or lists of texts: section 4.4.
func itemHeader(in map[string]json.RawMessage) (http.Header, error) {
	h := http.Header{}
	for k, raw := range in {
		var one string
		var many []string
		switch {
		case json.Unmarshal(raw, &one) == nil:
			h.Add(k, one)
		case json.Unmarshal(raw, &many) == nil:
			for _, v := range many {
				h.Add(k, v)
			}
		default:
			return nil, badRequest("header %s: %s is neither a text nor a list of texts", k, raw)
		}
	}
	return h, nil
}

// itemBody is a text's bytes, nothing for null, and the JSON of anything else as it was sent: section 5.4.
func itemBody(raw json.RawMessage) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, badRequest("body: %v", err)
		}
		return []byte(s), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, badRequest("body: %v", err)
	}
	return b.Bytes(), nil
}
