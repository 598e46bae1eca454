package qstash

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/quartetjobs/quartet/internal/engine"
)

// callbackBody is section 9.2.
type callbackBody struct {
	Status       int         `json:"status"`
	Header       http.Header `json:"header"`
	Body         []byte      `json:"body"`
	Retried      int         `json:"retried"`
	MaxRetries   int         `json:"maxRetries"`
	SourceID     string      `json:"sourceMessageId"`
	Topic        string      `json:"topicName,omitempty"`
	Endpoint     string      `json:"endpointName,omitempty"`
	URL          string      `json:"url"`
	Method       string      `json:"method"`
	SourceHeader http.Header `json:"sourceHeader"`
	SourceBody   []byte      `json:"sourceBody"`
	NotBefore    int64       `json:"notBefore"`
	CreatedAt    int64       `json:"createdAt"`
	ScheduleID   string      `json:"scheduleId,omitempty"`
	CallerIP     string      `json:"callerIP,omitempty"`
	DLQID        string      `json:"dlqId,omitempty"`
}

// callbacks are the steps in which the run of a message waits for its last callbacks: they hold its place in a queue. dlq is the
// dead letter that a failed message became.
func (a *attempt) callbacks(dlq string) []engine.Op {
	var ops []engine.Op
	add := func(step, dest string, config http.Header, dlq string) {
		if dest == "" {
			return
		}
		o, err := a.tell(dest, config, dlq)
		if err == nil {
			var list []*engine.Start
			if list, err = a.door.callbackStarts(o); err == nil {
				for i, c := range list {
					id := step
					if i > 0 {
						id += "-" + c.Target
					}
					ops = append(ops, engine.Op{
						Kind: engine.OpInvoke, Child: c, Step: engine.Step{ID: id, Name: id, Type: "callback", Opts: mustJSON(map[string]string{"url": dest})},
						OnTimeoutKind: engine.ValueError,
					})
				}
				return
			}
		}
		a.door.cfg.Log.Warn("a callback cannot be made", "message", a.id, "err", err)
	}
	if a.status != 0 || dlq != "" {
		add("callback", a.m.CallbackURL, a.m.CallbackHeader, "")
	}
	if dlq != "" {
		add("failure-callback", a.m.FailureURL, a.m.FailureHeader, dlq)
	}
	return ops
}

// tellAttempt sends the callback of an attempt that is followed by another; nothing waits for it.
func (d *Door) tellAttempt(a *attempt) {
	o, err := a.tell(a.m.CallbackURL, a.m.CallbackHeader, "")
	if err == nil {
		// Made once only, should the report of this attempt be lost and the attempt be made again.
		o.key = "callback:" + a.id + ":" + a.call.Request.String()
		_, err = d.publish(context.Background(), o)
	}
	if err != nil {
		d.cfg.Log.Warn("a callback cannot be made", "message", a.id, "err", err)
	}
}

// tell is the message that tells of an attempt: section 9.
func (a *attempt) tell(dest string, header http.Header, dlq string) (*outgoing, error) {
	m := a.m
	body, err := json.Marshal(callbackBody{
		Status: a.status, Header: orEmpty(a.header), Body: a.answer(), Retried: a.call.Attempt, MaxRetries: m.Retries, SourceID: a.id, Topic: m.Topic,
		Endpoint: m.Endpoint, URL: m.URL, Method: m.Method, SourceHeader: orEmpty(m.Header), SourceBody: m.Body, NotBefore: m.NotBefore,
		CreatedAt: m.CreatedAt, ScheduleID: m.ScheduleID, CallerIP: m.CallerIP, DLQID: dlq,
	})
	if err != nil {
		return nil, err
	}
	cfg, err := callbackConfig(header, &m.config)
	if err != nil {
		return nil, err
	}
	return &outgoing{dest: dest, config: *cfg, body: body, callerIP: m.CallerIP, callback: true}, nil
}

// answer is what the callback has as the body of the attempt: the answer, or why there was none.
func (a *attempt) answer() []byte {
	if a.status == 0 {
		return []byte(a.errMsg)
	}
	return a.body
}

// callbackStarts are the commands that start the messages of a callback.
func (d *Door) callbackStarts(o *outgoing) ([]*engine.Start, error) {
	p, err := d.prepareMessages(context.Background(), o)
	if err != nil {
		return nil, err
	}
	var starts []*engine.Start
	for _, c := range p.commands {
		starts = append(starts, c.(*engine.Start))
	}
	return starts, nil
}

func orEmpty(h http.Header) http.Header {
	if h == nil {
		return http.Header{}
	}
	return h
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}
