package trigger

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// Section 8.8: a run's metadata, and the operations on it.

// maxMetadata bounds a run's metadata, in bytes.
const maxMetadata = 262_144

// metadataOp is one operation.
type metadataOp struct {
	Type  string          `json:"type"`
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// flushed are the operations that a worker collected.
type flushed struct {
	Operations []metadataOp `json:"operations"`
	Parent     []metadataOp `json:"parentOperations"`
	Root       []metadataOp `json:"rootOperations"`
}

// flush applies what came with a completion to the run's note and returns what is for other runs. What is wrong with it must not keep
// the attempt from its end, so it is left out.
func (env *environment) flush(rec *record, data, typ string) map[string][]metadataOp {
	p := readPacket(&data, typ)
	var f flushed
	if json.Unmarshal(p.Data, &f) != nil {
		return nil
	}
	if m, err := applyMetadata(rec.note.Metadata, f.Operations); err == nil {
		rec.note.Metadata = m
	}
	return rec.relatives(&f)
}

// relatives are the operations for a run's parent and root, which it is itself if there are none.
func (rec *record) relatives(f *flushed) map[string][]metadataOp {
	others := map[string][]metadataOp{}
	add := func(to string, ops []metadataOp) {
		if to == "" {
			to = friendly(runPrefix, rec.ID)
		}
		if len(ops) > 0 {
			others[to] = append(others[to], ops...)
		}
	}
	add(rec.opts.Parent, f.Parent)
	add(rec.opts.Root, f.Root)
	return others
}

// operate applies operations to another run.
func (env *environment) operate(ctx context.Context, run string, ops []metadataOp) error {
	_, err := env.edit(ctx, run, func(rec *record) error {
		m, err := applyMetadata(rec.note.Metadata, ops)
		if err == nil {
			rec.note.Metadata = m
		}
		return err
	})
	return err
}

// edit changes a run's note under its lock.
func (env *environment) edit(ctx context.Context, run string, change func(*record) error) (*record, error) {
	rec, err := env.mustRead(ctx, run)
	if err != nil {
		return nil, err
	}
	unlock := env.locks.Lock(rec.ID.String())
	defer unlock()
	if err := env.readNote(ctx, rec); err != nil {
		return nil, err
	}
	if err := change(rec); err != nil {
		return nil, err
	}
	return rec, env.put(ctx, env.noteRow(rec.ID, &rec.note))
}

func (env *environment) putMetadata(r *http.Request) (any, error) {
	var in struct {
		Metadata json.RawMessage `json:"metadata"`
		flushed
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	rec, err := env.edit(r.Context(), r.PathValue("run"), func(rec *record) error {
		if rec.Status.Ended() && env.cfg.Now().UnixMilli()-rec.Ended > engine.Hour {
			return invalid("Cannot update metadata for a completed run")
		}
		m := rec.note.Metadata
		if len(in.Metadata) > 0 && string(in.Metadata) != "null" {
			m = in.Metadata
		}
		m, err := applyMetadata(m, in.Operations)
		rec.note.Metadata = m
		return err
	})
	if err != nil {
		return nil, err
	}
	for to, ops := range rec.relatives(&in.flushed) { // each is another run
		if err := env.operate(r.Context(), to, ops); err != nil {
			return nil, err
		}
	}
	return map[string]any{"metadata": orEmpty(rec.note.Metadata)}, nil
}

func (env *environment) getMetadata(r *http.Request) (any, error) {
	rec, err := env.mustRead(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"metadata": orEmpty(rec.note.Metadata), "metadataType": typeJSON}, nil
}

func orEmpty(m json.RawMessage) json.RawMessage {
	if len(m) == 0 {
		return json.RawMessage(`{}`)
	}
	return m
}

// applyMetadata applies operations in order. An error is of the request, and nothing was done.
func applyMetadata(raw json.RawMessage, ops []metadataOp) (json.RawMessage, error) {
	if len(ops) == 0 {
		if len(raw) > maxMetadata {
			return nil, tooLarge()
		}
		return raw, nil
	}
	m := map[string]any{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fail(http.StatusBadRequest, "the metadata is no object")
		}
	}
	for i := range ops {
		var err error
		if m, err = applyOp(m, &ops[i]); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	out := bytes.TrimSpace(b.Bytes())
	if len(out) > maxMetadata {
		return nil, tooLarge()
	}
	return out, nil
}

func tooLarge() error {
	return fail(http.StatusRequestEntityTooLarge, "Metadata exceeds the limit of %d bytes", maxMetadata)
}

func applyOp(m map[string]any, op *metadataOp) (map[string]any, error) {
	var v any
	if len(op.Value) > 0 {
		if err := json.Unmarshal(op.Value, &v); err != nil {
			return nil, fail(http.StatusBadRequest, "Invalid JSON")
		}
	}
	if op.Type == "update" {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, fail(http.StatusBadRequest, "the metadata is no object")
		}
		return o, nil
	}
	path, err := metadataPath(op.Key)
	if err != nil {
		return nil, err
	}
	switch op.Type {
	case "set":
		return m, change(m, path, func(any, bool) (any, bool) { return v, true })
	case "delete":
		delete(m, op.Key)
		return m, nil
	case "append":
		return m, change(m, path, func(old any, ok bool) (any, bool) {
			list, isList := old.([]any)
			switch {
			case !ok || old == nil:
				return []any{v}, true
			case isList:
				return append(list, v), true
			}
			return []any{old, v}, true
		})
	case "remove":
		return m, change(m, path, func(old any, ok bool) (any, bool) {
			list, isList := old.([]any)
			if !ok || !isList {
				return old, ok
			}
			kept := []any{}
			for _, e := range list {
				if !reflect.DeepEqual(e, v) {
					kept = append(kept, e)
				}
			}
			return kept, true
		})
	case "increment":
		by, ok := v.(float64)
		if !ok {
			return nil, fail(http.StatusBadRequest, "increment needs a number")
		}
		return m, change(m, path, func(old any, _ bool) (any, bool) {
			n, _ := old.(float64) // anything else counts as 0
			return n + by, true
		})
	}
	return nil, fail(http.StatusBadRequest, "there is no operation %q", op.Type)
}

// metadataPath is where a key leads: one beginning with "$." is a path.
func metadataPath(key string) ([]any, error) {
	bad := fail(http.StatusBadRequest, "Invalid metadata key: %q", key)
	rest, isPath := strings.CutPrefix(key, "$.")
	if !isPath {
		if key == "__proto__" || key == "" {
			return nil, bad
		}
		return []any{key}, nil
	}
	var path []any
	for part := range strings.SplitSeq(rest, ".") {
		name, index, _ := strings.Cut(part, "[")
		if name == "" || name == "__proto__" || name == "constructor" || name == "prototype" {
			return nil, bad
		}
		path = append(path, name)
		for index != "" {
			n, more, ok := strings.Cut(index, "]")
			i, err := strconv.Atoi(n)
			if !ok || err != nil || i < 0 || i > 10_000 {
				return nil, bad
			}
			path = append(path, i)
			index = strings.TrimPrefix(more, "[")
		}
	}
	if len(path) > 64 {
		return nil, bad
	}
	return path, nil
}

// change replaces what is at a path, making what leads there.
func change(m map[string]any, path []any, f func(old any, ok bool) (any, bool)) error {
	v, err := changed(m, path, true, f)
	if err != nil {
		return err
	}
	_ = v.(map[string]any) // a path begins with a name, so it is m itself
	return nil
}

func changed(at any, path []any, ok bool, f func(any, bool) (any, bool)) (any, error) {
	if len(path) == 0 {
		v, _ := f(at, ok)
		return v, nil
	}
	switch k := path[0].(type) {
	case string:
		m, isMap := at.(map[string]any)
		if !isMap {
			m = map[string]any{}
		}
		old, has := m[k]
		v, err := changed(old, path[1:], has, f)
		if err != nil {
			return nil, err
		}
		m[k] = v
		return m, nil
	case int:
		list, _ := at.([]any)
		for len(list) <= k {
			list = append(list, nil)
		}
		v, err := changed(list[k], path[1:], true, f)
		if err != nil {
			return nil, err
		}
		list[k] = v
		return list, nil
	}
	return at, nil
}
