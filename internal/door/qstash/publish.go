package qstash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// dedupWindow is for how long a second message of the same id is not delivered, in ms: section 5.5.
const dedupWindow = 10 * engine.Minute

// Names of engine queues begin with the kind that they are to this door.
const (
	queuePrefix = "qstash:queue:"
	flowPrefix  = "qstash:flow:"
)

// published is the answer for one message: section 5.1.
type published struct {
	MessageID    string `json:"messageId"`
	URL          string `json:"url,omitempty"` // of group messages
	Deduplicated bool   `json:"deduplicated,omitempty"`

	WorkflowRunID     string `json:"workflowRunId,omitempty"` // of one that starts a workflow run: section 22.1
	WorkflowCreatedAt int64  `json:"workflowCreatedAt,omitempty"`
}

// servePublish is POST /v2/publish/{destination}.
func (d *Door) servePublish(w http.ResponseWriter, r *http.Request, _ string) error {
	return d.publishRequest(w, r, "/v2/publish/", "")
}

// serveEnqueue is POST /v2/enqueue/{queue}/{destination}.
func (d *Door) serveEnqueue(w http.ResponseWriter, r *http.Request, rest string) error {
	raw, _, _ := strings.Cut(rest, "/")
	queue, err := url.PathUnescape(raw)
	if err == nil {
		err = parseName("queue", queue)
	}
	if err != nil {
		return badRequest("%v", err)
	}
	return d.publishRequest(w, r, "/v2/enqueue/"+raw+"/", queue)
}

// readPublish reads where a request wants something sent, the parameters that are meant for us, and what.
func (d *Door) readPublish(w http.ResponseWriter, r *http.Request, prefix string) (dest string, query url.Values, body []byte, err error) {
	if err := allow(r, http.MethodPost); err != nil {
		return "", nil, nil, err
	}
	// The prefix may have been written in another case.
	dest, query, err = destination(r.RequestURI, r.RequestURI[:min(len(prefix), len(r.RequestURI))])
	if err == nil {
		body, err = d.readBody(w, r, d.cfg.MaxBody)
	}
	return dest, query, body, err
}

func (d *Door) publishRequest(w http.ResponseWriter, r *http.Request, prefix, queue string) error {
	dest, query, body, err := d.readPublish(w, r, prefix)
	if err != nil {
		return err
	}
	all, err := mergeHeaders(r.Header, query)
	if err != nil {
		return err
	}
	cfg, err := readConfig(all, ownPrefix, 0)
	if err != nil {
		return err
	}
	if queue != "" {
		cfg.Queue, cfg.Delay, cfg.NotBefore = queue, 0, 0
	}
	if cfg.Cron != "" {
		id, err := d.putSchedule(r.Context(), dest, cfg, body, callerIP(r))
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, map[string]string{"scheduleId": id})
	}
	p, err := d.prepareAny(r.Context(), all, &outgoing{dest: dest, config: *cfg, body: body, callerIP: callerIP(r), incoming: r.Header})
	if err != nil {
		return err
	}
	if err := d.startAll(r.Context(), p); err != nil {
		return err
	}
	res, err := p.result()
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !slices.ContainsFunc(res.list, func(p published) bool { return !p.Deduplicated }) && len(res.list) > 0 {
		status = http.StatusAccepted
	}
	return writeJSON(w, status, res.answer())
}

// outgoing is a message on its way in, before its destination is resolved.
type outgoing struct {
	dest     string
	config   config
	body     []byte
	callerIP string
	topic    string // URL group and endpoint that a message which is sent again came through
	endpoint string
	schedule string          // id of the schedule that makes it
	key      string          // makes it once only: what was asked for may be asked for again after a crash
	callback bool            // it tells of another message
	noDead   bool            // and of what is a dead letter already
	id       engine.ID       // of its run; zero: a new one
	incoming http.Header     // of the request, for Upstash-Header-Forward
	retried  []engine.RowPut // written together with it
}

// result is what became of one publish.
type result struct {
	list  []published
	group bool
}

// answer is one object for a URL and an array for a group.
func (r *result) answer() any {
	if r.group {
		return append([]published{}, r.list...)
	}
	return r.list[0]
}

// publish stores one message for each URL that the destination stands for. When it returns they are on disk.
func (d *Door) publish(ctx context.Context, o *outgoing) (*result, error) {
	p, err := d.prepareMessages(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := d.startAll(ctx, p); err != nil {
		return nil, err
	}
	return p.result()
}

// prepared is what one publish asks of the engine.
type prepared struct {
	commands []engine.Command
	replies  []any
	errs     []error
	read     func(replies []any) (*result, error) // what clients hear of the replies
}

// prepareAny prepares messages, or what a publish asks of a workflow run. all are its headers.
func (d *Door) prepareAny(ctx context.Context, all http.Header, o *outgoing) (*prepared, error) {
	run, err := parseRunHeaders(all)
	if err != nil {
		return nil, err
	}
	if run != nil {
		return d.submit(ctx, &submission{run: run, dest: o.dest, config: &o.config, body: o.body, callerIP: o.callerIP})
	}
	return d.prepareMessages(ctx, o)
}

// prepareMessages resolves a destination.
func (d *Door) prepareMessages(ctx context.Context, o *outgoing) (*prepared, error) {
	var messages []*message
	group := false
	if far := d.cfg.Now().Add(maxDelay * time.Second).UnixMilli(); o.config.NotBefore > far {
		return nil, &inputError{http.StatusPreconditionFailed, fmt.Sprintf("Upstash-Not-Before: more than %d days from now", maxDelay/(24*3600))}
	}
	switch {
	case isURL(o.dest):
		messages = []*message{d.message(o, o.dest, o.topic, o.endpoint)}
	case strings.HasPrefix(o.dest, "api/"):
		return nil, &inputError{http.StatusNotImplemented, "this server has no provider for the destination " + o.dest}
	default:
		g, err := d.group(ctx, o.dest)
		if err != nil {
			return nil, err
		}
		if g == nil {
			return nil, &inputError{http.StatusNotFound, "topic " + o.dest + " not found"}
		}
		if err := o.withGroupHeaders(g); err != nil {
			return nil, err
		}
		group = true
		for _, e := range g.Endpoints {
			messages = append(messages, d.message(o, e.URL, g.Name, e.Name))
		}
	}
	p := &prepared{read: func(replies []any) (*result, error) { return readMessages(messages, group, replies) }}
	for _, m := range messages {
		c, err := d.startCommand(ctx, o, m)
		if err != nil {
			return nil, err
		}
		p.commands = append(p.commands, c)
	}
	return p, nil
}

// startAll does what publishes ask for, in order, with as few waits for the disk as there can be. An error means that nothing is known
// of any of them; errors of single ones are in their publishes.
func (d *Door) startAll(ctx context.Context, list ...*prepared) error {
	var wg sync.WaitGroup
	for _, p := range list {
		p.replies, p.errs = make([]any, len(p.commands)), make([]error, len(p.commands))
		for i, c := range p.commands {
			wg.Add(1)
			err := d.cfg.Host.Post(c, func(v any, err error) {
				defer wg.Done()
				p.replies[i], p.errs[i] = v, err
			})
			if err != nil {
				p.errs[i] = err
				wg.Done()
			}
		}
	}
	waited := make(chan struct{})
	go func() {
		wg.Wait()
		close(waited)
	}()
	select {
	case <-waited:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// result is what clients hear of a publish.
func (p *prepared) result() (*result, error) {
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return p.read(p.replies)
}

var errStarting = &inputError{http.StatusServiceUnavailable, "the server is starting; try again in a moment"}

func readMessages(messages []*message, group bool, replies []any) (*result, error) {
	r := &result{group: group}
	for i, v := range replies {
		rep := v.(engine.StartReply)
		out := published{MessageID: messageID(rep.Run)}
		switch rep.Outcome {
		case engine.Duplicate:
			out.Deduplicated = true
		case engine.NotFound:
			return nil, errStarting
		}
		if group {
			out.URL = messages[i].URL
		}
		r.list = append(r.list, out)
	}
	return r, nil
}

func (d *Door) message(o *outgoing, url, group, endpoint string) *message {
	now := d.cfg.Now().UnixMilli()
	m := &message{
		URL: url, Topic: group, Endpoint: endpoint, config: o.config, Body: o.body, CreatedAt: now, CallerIP: o.callerIP, ScheduleID: o.schedule,
		Callback: o.callback, NoDead: o.noDead,
	}
	if m.ForwardAll {
		m.Header = forwardAll(o.incoming, m.Header)
	}
	switch {
	case m.NotBefore > 0:
		m.NotBefore = max(m.NotBefore, now)
	default:
		m.NotBefore = now + m.Delay*1000
	}
	return m
}

// forwardAll adds the request's own headers below the ones that were forwarded by name: section 4.5.
func forwardAll(in, named http.Header) http.Header {
	out := http.Header{}
	for k, v := range in {
		switch {
		case strings.HasPrefix(k, "Upstash-"), k == "Authorization", k == "Host", k == "Content-Length", k == "Connection", k == "Transfer-Encoding",
			k == "Accept-Encoding", k == "Keep-Alive", k == "Te", k == "Trailer", k == "Upgrade", k == "Proxy-Authorization":
		default:
			out[k] = v
		}
	}
	maps.Copy(out, named)
	return out
}

// startCommand is how the engine is told of a message.
func (d *Door) startCommand(ctx context.Context, o *outgoing, m *message) (*engine.Start, error) {
	id := o.id
	if id == (engine.ID{}) {
		id = d.cfg.NewID(d.cfg.Now().UnixMilli())
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	c := &engine.Start{
		Env: d.cfg.Env, Slug: slug, Run: id, MaxAttempts: m.Retries + 1, Target: hostOf(m.URL), KeyWindow: dedupWindow, Key: o.key,
		Events: []engine.Event{{ID: id, Name: "qstash/message", Data: data, TS: m.CreatedAt, At: m.NotBefore, Internal: true, Source: "qstash"}},
	}
	if c.Key != "" {
		c.Key += "\x00" + groupEndpoint(m)
	}
	if key := dedupKey(m); key != "" {
		c.Key = key
	}
	if m.Queue != "" {
		c.Queues = append(c.Queues, engine.QueueJoin{Queue: queuePrefix + m.Queue, Title: titleOf(queuePrefix + m.Queue), PerRun: true, Initial: engine.Policy{Parallelism: 1}})
	}
	if f := m.Flow; f != nil {
		c.Queues = append(c.Queues, flowJoin(f))
	}
	created := logEntry{State: stateCreated}
	if m.NotBefore > m.CreatedAt {
		created.NextDelivery = m.NotBefore
	}
	c.Rows = append(d.logRows(id, created), o.retried...)
	return c, d.setKnown(ctx, c)
}

// setKnown tells a command what the store has under its key.
func (d *Door) setKnown(ctx context.Context, c *engine.Start) error {
	if c.Key == "" {
		return nil
	}
	row, ok, err := d.cfg.Host.Get(ctx, store.Idempotency, engine.IdempotencyKey(d.cfg.Env, engine.StartKey(c.Slug, c.Key)))
	if err == nil && ok {
		c.SetKnown(engine.ParseIdempotency(row))
	}
	return err
}

// dedupKey is the key of section 5.5, "" for messages that are not deduplicated. An endpoint of a group has a key of its own.
func dedupKey(m *message) string {
	switch {
	case m.DeduplicationID != "":
		return "id:" + m.DeduplicationID + "\x00" + groupEndpoint(m)
	case m.ContentBased:
		h := sha256.New()
		for _, part := range []string{m.URL, m.Header.Get("Content-Type")} {
			_, _ = io.WriteString(h, part+"\x00") // a hash does not fail
		}
		var names []string
		for k := range m.Header { // sorted below
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			_, _ = io.WriteString(h, k+"\x00"+strings.Join(m.Header[k], "\x00")+"\x01")
		}
		h.Write(m.Body)
		return "content:" + hex.EncodeToString(h.Sum(nil))
	}
	return ""
}

func groupEndpoint(m *message) string {
	if m.Topic == "" {
		return ""
	}
	return m.URL
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Scheme + "://" + u.Host
}

func readAll(r io.Reader, size, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if size > 0 && size <= limit {
		b.Grow(int(size) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}
