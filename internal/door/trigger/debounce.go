package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 22.8: a trigger with a debounce key starts a run that is delayed, and those that come meanwhile put it off. A row says which run has the
// key; it is written with what makes it true, and believed only while the run is delayed.

// debounce is what a run is debounced with.
type debounce struct {
	key      string
	delay    int64 // ms
	maxDelay int64 // ms since the first trigger; 0: without end
	trailing bool  // the last trigger's data count, not the first one's
}

// maxDebounceKey bounds a key, in bytes.
const maxDebounceKey = 512

func readDebounce(raw json.RawMessage) (*debounce, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var in struct {
		Key      string `json:"key"`
		Delay    string `json:"delay"`
		Mode     string `json:"mode"`
		MaxDelay string `json:"maxDelay"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, invalid("Invalid debounce: %v", err)
	}
	if in.Key == "" || len(in.Key) > maxDebounceKey {
		return nil, invalid("Invalid debounce: the key must have 1 to %d characters", maxDebounceKey)
	}
	delay, ok := parseDuration(in.Delay)
	if !ok || delay < time.Second {
		return nil, invalid("Invalid debounce delay: %s. It must be a duration of at least 1s", in.Delay)
	}
	d := &debounce{key: in.Key, delay: delay.Milliseconds(), trailing: in.Mode == "trailing"}
	if in.Mode != "" && in.Mode != "trailing" && in.Mode != "leading" {
		return nil, invalid("Invalid debounce mode: %s", in.Mode)
	}
	if in.MaxDelay != "" {
		most, ok := parseDuration(in.MaxDelay)
		if !ok {
			return nil, invalid("Invalid debounce maxDelay: %s", in.MaxDelay)
		}
		if most <= delay {
			return nil, invalid("Invalid debounce maxDelay: %s. It must be longer than the delay, which is %s", in.MaxDelay, in.Delay)
		}
		d.maxDelay = most.Milliseconds()
	}
	return d, nil
}

func (env *environment) debounceKey(o *order) []byte {
	return []byte("\x00trigger\x00" + env.Name + "\x00debounce\x00" + o.opts.Task + "\x00" + o.debounce.key)
}

// debounced puts off the run that has the order's key, or starts one that has it from now on.
func (env *environment) debounced(ctx context.Context, o *order, c *engine.Start) (started, error) {
	key := env.debounceKey(o)
	defer env.bounces.Lock(string(key))()
	raw, ok, err := env.cfg.Host.Get(ctx, store.Logs, key)
	if err != nil {
		return started{}, err
	}
	at := env.cfg.Now().UnixMilli() + o.debounce.delay
	if id := (engine.ID{}); ok && len(raw) == len(id) {
		copy(id[:], raw)
		joined, err := env.putOff(ctx, o, id, at)
		if err != nil || joined {
			return started{ID: id}, err
		}
	}
	if o.opts.Delay == 0 { // one that the trigger gives counts for the beginning
		o.opts.Delay = at
		c.Events[0].At, c.Events[0].Meta = at, mustJSON(&o.opts)
	}
	c.Rows = append(c.Rows, engine.RowPut{Table: store.Logs, Key: key, Value: c.Run.Bytes(), Expires: o.opts.Delay + rowLife})
	return env.startRun(ctx, o, c)
}

// putOff moves the beginning of a run, and says whether it could be moved: it must still be delayed, and not for so long that it has to begin.
func (env *environment) putOff(ctx context.Context, o *order, id engine.ID, at int64) (bool, error) {
	x, err := env.look(ctx, friendly(runPrefix, id))
	if errors.As(err, new(*inputError)) {
		return false, nil // it is no longer stored
	}
	if err != nil {
		return false, err
	}
	rec := x.rec
	if x.status != statusDelayed || o.debounce.maxDelay > 0 && at > rec.QueuedAt+o.debounce.maxDelay {
		return false, nil
	}
	unlock := env.locks.Lock(rec.ID.String())
	defer unlock()
	if err := env.readNote(ctx, rec); err != nil {
		return false, err
	}
	p := &engine.Postpone{Run: id, At: max(at, x.state.Due)}
	if o.debounce.trailing {
		p.MaxAttempts = o.opts.MaxAttempts
		p.Rows = env.newestRows(o, rec)
	}
	moved, err := do[bool](ctx, env, p)
	if err == nil && moved && o.opts.Wait {
		err = env.join(ctx, o, rec)
	}
	return moved, err
}

// newest is what replaces the data of the first trigger.
type newest struct {
	Payload     json.RawMessage `json:"payload,omitempty"`
	Packet      packet          `json:"packet"`
	MaxDuration float64         `json:"maxDuration,omitempty"`
	Machine     string          `json:"machine,omitempty"`
}

// newestNote names its row.
const newestNote = "newest"

// newestRows replace a run's data by those of an order.
func (env *environment) newestRows(o *order, rec *record) []engine.RowPut {
	rec.note.Tags, rec.note.Metadata, rec.note.Newest = o.opts.Tags, nil, true
	if o.opts.Metadata != "" {
		rec.note.Metadata = json.RawMessage(o.opts.Metadata)
	}
	n := newest{Payload: o.payload, Packet: o.opts.Packet, MaxDuration: o.opts.MaxDuration, Machine: o.opts.Machine}
	return []engine.RowPut{env.noteRow(rec.ID, &rec.note), {Table: store.Steps, Key: engine.NoteKey(rec.ID, newestNote), Value: mustJSON(n)}}
}

// readNewest puts the data of the last trigger in the place of the first one's.
func (env *environment) readNewest(ctx context.Context, rec *record) error {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Steps, engine.NoteKey(rec.ID, newestNote))
	if err != nil || !ok {
		return err
	}
	var n newest
	if err := json.Unmarshal(raw, &n); err != nil {
		return fmt.Errorf("decode newest data of run %s: %w", rec.ID, err)
	}
	rec.opts.Packet, rec.opts.MaxDuration, rec.opts.Machine = n.Packet, n.MaxDuration, n.Machine
	rec.payload = n.Packet
	if len(n.Payload) > 0 {
		rec.payload.Data = n.Payload
	}
	return nil
}
