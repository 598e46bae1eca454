package qstash

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
)

// message is a request to be delivered, as it is stored: the payload of the event that starts its run. Section 6.1.
type message struct {
	URL      string `json:"url"`
	Topic    string `json:"topic,omitempty"`    // URL group that it came through
	Endpoint string `json:"endpoint,omitempty"` // name of the group's endpoint, if it has one
	config
	Body       []byte `json:"body,omitempty"`
	CreatedAt  int64  `json:"createdAt"` // ms
	CallerIP   string `json:"callerIP,omitempty"`
	ScheduleID string `json:"scheduleId,omitempty"`
	Callback   bool   `json:"isCallback,omitempty"` // it tells of another message: section 9
	NoDead     bool   `json:"noDead,omitempty"`     // it becomes no dead letter: what it tells of is one already
}

// config is what headers say about a message: section 4. A schedule has one too, for the messages that it makes.
type config struct {
	Method     string      `json:"method"`           // GET, POST, PUT, PATCH or DELETE
	Header     http.Header `json:"header,omitempty"` // forwarded headers and Content-Type, canonical names
	Delay      int64       `json:"delay,omitempty"`  // s
	NotBefore  int64       `json:"notBefore"`        // ms; 0: not given
	Retries    int         `json:"retries"`          // after the first attempt
	RetryDelay string      `json:"retryDelay,omitempty"`
	Timeout    int64       `json:"timeout,omitempty"` // s of one attempt; 0: the server's

	CallbackURL     string      `json:"callback,omitempty"`
	CallbackHeader  http.Header `json:"callbackHeader,omitempty"` // configuration of the callback, without the prefix Upstash-Callback-
	FailureURL      string      `json:"failureCallback,omitempty"`
	FailureHeader   http.Header `json:"failureCallbackHeader,omitempty"` // without the prefix Upstash-Failure-Callback-
	DeduplicationID string      `json:"deduplicationId,omitempty"`
	ContentBased    bool        `json:"contentBased,omitempty"` // deduplicate by content
	Queue           string      `json:"queue,omitempty"`
	Flow            *flow       `json:"flow,omitempty"`
	Labels          []string    `json:"labels,omitempty"`
	Redact          redact      `json:"redact"`
	Cron            string      `json:"cron,omitempty"` // trimmed, with its CRON_TZ= prefix
	Schedule        string      `json:"schedule,omitempty"`
	ForwardAll      bool        `json:"forwardAll,omitempty"` // Upstash-Header-Forward
}

// flow is a flow-control key and what a message says about it: section 3.5.
type flow struct {
	Key         string `json:"key"`
	Parallelism int    `json:"parallelism,omitempty"` // 0: not given
	Rate        int    `json:"rate,omitempty"`        // 0: not given
	Period      int64  `json:"period"`                // s
}

// redact says what reads of the API do not show: section 3.7.
type redact struct {
	Body       bool     `json:"body,omitempty"`
	AllHeaders bool     `json:"allHeaders,omitempty"`
	Headers    []string `json:"headers,omitempty"` // canonical names
}

// Ids are the run's, with a word before them.

func messageID(run engine.ID) string { return "msg_" + run.String() }

// runOf is the run of a message id.
func runOf(id string) (engine.ID, bool) {
	text, ok := strings.CutPrefix(id, "msg_")
	run, err := ulid.ParseStrict(text)
	return run, ok && err == nil
}

// dlqID names a dead letter: the time at which it became one, and the run.
func dlqID(at time.Time, run engine.ID) string {
	return strconv.FormatInt(at.UnixMilli(), 10) + "-" + run.String()
}
