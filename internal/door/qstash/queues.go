package qstash

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/engine"
)

// queueView is section 11.1.
type queueView struct {
	Name        string `json:"name"`
	CreatedAt   int64  `json:"createdAt"`
	UpdatedAt   int64  `json:"updatedAt"`
	Parallelism int    `json:"parallelism"`
	Lag         int    `json:"lag"`
	Paused      bool   `json:"paused"`
}

func viewQueue(q *engine.QueueState) queueView {
	return queueView{
		Name: strings.TrimPrefix(q.Name, queuePrefix), CreatedAt: q.Created, UpdatedAt: q.Updated, Parallelism: q.Parallelism, Lag: q.Waiting, Paused: q.Paused,
	}
}

// readQueues lists the engine's queues of one kind.
func (d *Door) readQueues(ctx context.Context, prefix string) ([]engine.QueueState, error) {
	v, err := d.cfg.Host.Submit(ctx, &engine.ReadQueues{Env: d.cfg.Env, Prefix: prefix})
	if err != nil {
		return nil, err
	}
	return v.([]engine.QueueState), nil
}

// readQueue reads one queue; nil when there is none.
func (d *Door) readQueue(ctx context.Context, name string) (*engine.QueueState, error) {
	list, err := d.readQueues(ctx, name)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == name {
			return &list[i], nil
		}
	}
	return nil, nil
}

// setQueue changes a queue and says whether there is one.
func (d *Door) setQueue(ctx context.Context, c *engine.SetQueue) (bool, error) {
	c.Env, c.Title = d.cfg.Env, titleOf(c.Name)
	v, err := d.cfg.Host.Submit(ctx, c)
	if err != nil {
		return false, err
	}
	return v.(bool), nil
}

// titleOf is what people know a queue of the engine by.
func titleOf(name string) string {
	if key, ok := strings.CutPrefix(name, flowPrefix); ok {
		return "the flow-control key " + key
	}
	return "the queue " + strings.TrimPrefix(name, queuePrefix)
}

// messageFn is the id of the function that delivers.
func (d *Door) messageFn() engine.UUID {
	return engine.UUID(uuid.NewSHA1(idSpace, []byte(d.cfg.Env+"\x00message")))
}

// serveQueues is everything below /v2/queues.
func (d *Door) serveQueues(w http.ResponseWriter, r *http.Request, rest string) error {
	raw, verb, _ := strings.Cut(strings.Trim(rest, "/"), "/")
	name, err := url.PathUnescape(raw)
	if err != nil {
		return badRequest("%v", err)
	}
	ctx := r.Context()
	switch {
	case name == "" && r.Method == http.MethodPost:
		return d.upsertQueue(w, r)
	case name == "" && r.Method == http.MethodGet:
		list, err := d.readQueues(ctx, queuePrefix)
		if err != nil {
			return err
		}
		out := []queueView{}
		for i := range list {
			out = append(out, viewQueue(&list[i]))
		}
		return writeJSON(w, http.StatusOK, out)
	case name == "":
		return wrongMethod(r)
	case verb == "" && r.Method == http.MethodGet:
		q, err := d.readQueue(ctx, queuePrefix+name)
		if err != nil {
			return err
		}
		if q == nil {
			return notFound("queue", name)
		}
		return writeJSON(w, http.StatusOK, viewQueue(q))
	case verb == "" && r.Method == http.MethodDelete:
		return d.deleteQueue(w, r, name)
	case (verb == "pause" || verb == "resume") && r.Method == http.MethodPost:
		paused := verb == "pause"
		ok, err := d.setQueue(ctx, &engine.SetQueue{Name: queuePrefix + name, Paused: &paused})
		if err != nil {
			return err
		}
		if !ok {
			return notFound("queue", name)
		}
		return done(w)
	}
	return wrongMethod(r)
}

// upsertQueue is POST /v2/queues.
func (d *Door) upsertQueue(w http.ResponseWriter, r *http.Request) error {
	body, err := d.readBody(w, r, 1<<16)
	if err != nil {
		return err
	}
	var in struct {
		Name        string `json:"queueName"`
		Parallelism *int   `json:"parallelism"`
		Paused      *bool  `json:"paused"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return badRequest("the body is no queue: %v", err)
	}
	if err := parseName("queue", in.Name); err != nil {
		return badRequest("%v", err)
	}
	if in.Parallelism != nil && *in.Parallelism < 1 {
		return badRequest("parallelism must be at least 1")
	}
	c := &engine.SetQueue{Name: queuePrefix + in.Name, PerRun: true, Parallelism: in.Parallelism, Paused: in.Paused}
	ok, err := d.setQueue(r.Context(), c)
	if err != nil {
		return err
	}
	if !ok {
		one := 1
		if c.Create = true; c.Parallelism == nil {
			c.Parallelism = &one
		}
		if _, err := d.setQueue(r.Context(), c); err != nil {
			return err
		}
	}
	return done(w)
}

// deleteQueue is DELETE /v2/queues/{name}: what waits in it is dropped.
func (d *Door) deleteQueue(w http.ResponseWriter, r *http.Request, name string) error {
	ctx := r.Context()
	paused := true // so that none of them begins while they are cancelled
	ok, err := d.setQueue(ctx, &engine.SetQueue{Name: queuePrefix + name, Paused: &paused})
	if err != nil {
		return err
	}
	if !ok {
		return done(w)
	}
	runs, err := d.pending(ctx, &filter{queues: []string{name}, restricted: true}, 0)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if _, err := d.cancel(ctx, run); err != nil {
			return err
		}
	}
	if _, err := d.setQueue(ctx, &engine.SetQueue{Name: queuePrefix + name, Delete: true}); err != nil {
		return err
	}
	return done(w)
}
