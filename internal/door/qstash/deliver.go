package qstash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
)

// The step of a message's run that is memoized while its last callbacks are under way.
const deliveryStep = "deliver"

// maxStored is how much of an answer is kept for logs, dead letters and callbacks.
const maxStored = 1 << 20

// attempt is one try to deliver a message.
type attempt struct {
	door *Door
	call *engine.Call
	m    *message
	id   string
	rep  *engine.Report

	active engine.RowPut // the log entry of its beginning

	status int
	header http.Header
	body   []byte
	errMsg string // why there was no answer, or what the answer said
	at     time.Time
}

// deliver makes one attempt. A nil report means that the server is stopping or the shard went away: it is made again.
func (d *Door) deliver(ctx context.Context, c *engine.Call) *engine.Report {
	a := &attempt{door: d, call: c, id: messageID(c.Run), rep: &engine.Report{Run: c.Run, Request: c.Request}}
	a.rep.Call.Started = d.cfg.Now().UnixMilli()
	m, err := d.load(ctx, c.Run)
	if err == nil && m == nil {
		err = errors.New("the message is not in the store")
	}
	if err == nil && c.Steps {
		return a.finish(ctx)
	}
	if calls.Gone(err) {
		return nil
	}
	if err != nil {
		a.rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Final: true, Value: errorValue("load the message: " + err.Error())}}
		return a.rep
	}
	a.m = m
	if err := a.make(ctx); calls.Gone(err) {
		return nil
	}
	if a.delivered() {
		a.succeeded()
	} else {
		a.failed()
	}
	return a.rep
}

// make makes the request of a message.
func (a *attempt) make(ctx context.Context) error {
	d := a.door
	a.active = d.logRow(a.call.Run, logEntry{State: stateActive})
	// Who looks at a delivery that takes its time sees that it is under way.
	note := time.AfterFunc(300*time.Millisecond, func() {
		_ = d.cfg.Host.Post(&engine.Put{Rows: []engine.RowPut{a.active}}, nil) // it is written with the outcome as well
	})
	defer note.Stop()
	return a.send(ctx)
}

// send makes the request.
func (a *attempt) send(ctx context.Context) error {
	d := a.door
	keys, err := d.keys(ctx)
	if err != nil {
		return err
	}
	now := d.cfg.Now()
	header := http.Header{}
	maps.Copy(header, a.m.Header)
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", "Upstash-QStash")
	}
	set := func(name, value string) {
		if value != "" {
			header[name] = []string{value}
		}
	}
	set("Upstash-Message-Id", a.id)
	set("Upstash-Retried", strconv.Itoa(a.call.Attempt))
	set("Upstash-Caller-Ip", a.m.CallerIP)
	set("Upstash-Topic-Name", a.m.Topic)
	set("Upstash-Queue-Name", a.m.Queue)
	set("Upstash-Schedule-Id", a.m.ScheduleID)
	signed, err := sign(keys.Current, a.m.URL, a.m.Body, now, "jwt_"+uuid.NewString())
	if err != nil {
		return err
	}
	set("Upstash-Signature", signed)
	timeout := d.cfg.Timeout
	if a.m.Timeout > 0 {
		timeout = min(timeout, time.Duration(a.m.Timeout)*time.Second)
	}
	resp, err := d.cfg.Client.Do(ctx, &dispatch.Request{
		Method: a.m.Method, URL: a.m.URL, Header: header, Body: a.m.Body, Timeout: timeout, KeepRedirects: true,
	})
	a.at = d.cfg.Now()
	a.rep.Call.Ended = a.at.UnixMilli()
	d.delivered.Add(1)
	if resp != nil {
		a.status, a.header = resp.Status, resp.Header
		a.body = resp.Body[:min(len(resp.Body), maxStored)]
		a.rep.Call.Status = resp.Status
		a.rep.Call.Headers, _ = json.Marshal(flat(resp.Header)) // strings always marshal
	}
	if err != nil && !errors.Is(err, dispatch.ErrTooLarge) {
		a.status, a.errMsg = 0, err.Error()
		return err
	}
	if !a.delivered() {
		a.errMsg = fmt.Sprintf("%d - %s", a.status, excerpt(a.body))
		a.rep.Call.Body = []byte(excerpt(a.body))
	}
	return nil
}

func (a *attempt) delivered() bool { return a.errMsg == "" && a.status >= 200 && a.status < 300 }

// succeeded reports a delivery, or waits for its callback first.
func (a *attempt) succeeded() {
	entry := logEntry{State: stateDelivered}
	a.describe(&entry)
	a.log(entry)
	value := outcome{Status: a.status}.json()
	if a.m.CallbackURL == "" {
		a.rep.Ops = []engine.Op{{Kind: engine.OpRunDone, Value: value}}
		return
	}
	a.rep.Ops = append([]engine.Op{{Kind: engine.OpStepDone, Step: engine.Step{ID: deliveryStep, Name: deliveryStep}, Value: value}}, a.callbacks("")...)
}

// failed reports a failed attempt: another one follows, or the message becomes a dead letter.
func (a *attempt) failed() {
	d := a.door
	entry := logEntry{State: stateError, Error: a.errMsg}
	a.describe(&entry)
	value := errorValue(a.errMsg)
	final := a.call.Attempt+1 >= a.call.MaxAttempts || a.nonRetryable()
	if !final {
		at := a.at.Add(a.wait())
		a.log(entry, logEntry{State: stateRetry, Error: a.errMsg, NextDelivery: at.UnixMilli()})
		a.rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Value: value, RetryAt: at.UnixMilli()}}
		if a.m.CallbackURL != "" && a.status != 0 {
			d.tellAttempt(a)
		}
		return
	}
	a.log(entry, logEntry{State: stateFailed, Error: a.errMsg})
	if !a.m.NoDead {
		a.rep.Rows = append(a.rep.Rows, d.deadRow(&deadLetter{At: a.at.UnixMilli(), Run: a.call.Run, Status: a.status, Header: a.header, Body: a.answer()}))
	}
	id := dlqID(a.at, a.call.Run)
	told := a.callbacks(id)
	if len(told) == 0 {
		a.rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Final: true, Value: value}}
		return
	}
	a.rep.Ops = append([]engine.Op{{Kind: engine.OpStepFailed, Final: true, Step: engine.Step{ID: deliveryStep, Name: deliveryStep}, Value: value}}, told...)
}

// finish ends the run of a message whose last callbacks are through.
func (a *attempt) finish(ctx context.Context) *engine.Report {
	steps, err := history.Steps(ctx, a.door.cfg.Host, a.call.Run)
	if calls.Gone(err) {
		return nil
	}
	for _, s := range steps {
		switch {
		case s.ID != deliveryStep:
		case s.Kind == engine.ValueError:
			a.rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Final: true, Value: s.Value}}
			return a.rep
		default:
			a.rep.Ops = []engine.Op{{Kind: engine.OpRunDone, Value: s.Value}}
			return a.rep
		}
	}
	a.rep.Ops = []engine.Op{{Kind: engine.OpRunFailed, Final: true, Value: errorValue("the outcome of the delivery is not in the store")}}
	return a.rep
}

// wait is how long the next attempt is away: section 7.3.
func (a *attempt) wait() time.Duration {
	if d, ok := retryAfter(a.header, a.at); ok {
		return d
	}
	if a.m.RetryDelay != "" {
		if x, err := compileDelay(a.m.RetryDelay); err == nil { // it was checked when it was published
			return time.Duration(x.millis(a.call.Attempt)) * time.Millisecond
		}
	}
	return defaultBackoff(a.call.Attempt + 1)
}

// log adds entries to the report, the one of the attempt's beginning first.
func (a *attempt) log(entries ...logEntry) {
	a.rep.Rows = append(a.rep.Rows, a.active)
	a.rep.Rows = append(a.rep.Rows, a.door.logRows(a.call.Run, entries...)...)
}

// describe adds the answer to a log entry.
func (a *attempt) describe(e *logEntry) {
	e.Status, e.Header, e.Body = a.status, a.header, []byte(excerpt(a.body))
}

// outcome is the result of a message's run.
type outcome struct {
	Status int `json:"status"`
}

func (o outcome) json() []byte {
	b, _ := json.Marshal(o) // numbers always marshal
	return b
}

func errorValue(msg string) []byte {
	b, _ := json.Marshal(map[string]string{"name": "DeliveryError", "message": msg}) // strings always marshal
	return b
}

// excerpt is the beginning of a body as text.
func excerpt(b []byte) string {
	const most = 4 << 10
	if len(b) > most {
		b = b[:most]
	}
	if !utf8.Valid(b) {
		return string([]rune(string(b)))
	}
	return string(b)
}

func flat(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for k := range h {
		out[k] = h.Get(k)
	}
	return out
}

// load reads a message; nil when there is none.
func (d *Door) load(ctx context.Context, run engine.ID) (*message, error) {
	ev, err := history.Event(ctx, d.cfg.Host, d.cfg.Env, run)
	if err != nil || ev == nil || ev.Name != "qstash/message" {
		return nil, err
	}
	m := &message{}
	if err := json.Unmarshal(ev.Data, m); err != nil {
		return nil, fmt.Errorf("decode message %s: %w", run, err)
	}
	return m, nil
}
