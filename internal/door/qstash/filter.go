package qstash

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// filter selects messages: sections 2.8, 6.4, 10.2 and 15.1. Values of one name are alternatives, names are all to hold.
type filter struct {
	ids        []string // message ids
	dlqIDs     []string
	topics     []string
	queues     []string
	urls       []string
	hosts      []string
	paths      []string
	labels     []string
	flowKeys   []string
	schedules  []string
	callers    []string
	states     []string
	statuses   []int
	from, to   int64 // ms; 0: open
	restricted bool  // something beyond ids, states and times
}

// Names of filters that an endpoint has. Others are refused: a typing error must not select everything.
var (
	messageFilters = []string{"messageids", "messageid", "topicname", "urlgroup", "queuename", "url", "host", "path", "label", "flowcontrolkey", "fromdate", "todate", "scheduleid", "callerip", "count", "cursor"}
	logFilters     = append(slices.Clone(messageFilters), "state", "order", "groupby", "trimbody", "source", "workflowurl", "workflowrunid")
	dlqFilters     = []string{"messageid", "messageids", "url", "topicname", "urlgroup", "scheduleid", "queuename", "fromdate", "todate", "responsestatus", "callerip", "label", "flowcontrolkey", "dlqids", "order", "count", "cursor", "source", "trimbody"}
)

// noFilters are parameters that select nothing.
var noFilters = []string{"count", "cursor", "order", "groupby", "trimbody", "source"}

// parseFilter reads query parameters.
func parseFilter(q url.Values, known []string) (*filter, error) {
	f := &filter{}
	for name, raw := range q {
		key := strings.ToLower(name)
		if key == "qstash_token" {
			continue
		}
		if !slices.Contains(known, key) {
			return nil, badRequest("unknown parameter %q", name)
		}
		var values []string
		for _, v := range raw {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					values = append(values, part)
				}
			}
		}
		if err := f.set(key, name, values); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *filter) set(key, name string, values []string) error {
	if len(values) == 0 {
		if slices.Contains(noFilters, key) {
			return nil
		}
		return badRequest("%s has no value", name) // it must not be as if it had not been there, which selects everything
	}
	lists := map[string]*[]string{
		"topicname": &f.topics, "urlgroup": &f.topics, "queuename": &f.queues, "url": &f.urls, "host": &f.hosts, "path": &f.paths, "label": &f.labels,
		"flowcontrolkey": &f.flowKeys, "scheduleid": &f.schedules, "callerip": &f.callers,
	}
	switch list := lists[key]; {
	case list != nil:
		*list = append(*list, values...)
		f.restricted = true
	case key == "messageid" || key == "messageids":
		f.ids = append(f.ids, values...)
	case key == "dlqids":
		f.dlqIDs = append(f.dlqIDs, values...)
	case key == "state":
		for _, v := range values {
			switch v = strings.ToUpper(v); v {
			case "IN_PROGRESS":
				f.states = append(f.states, stateActive, stateRetry, stateError)
			case "CANCELLED":
				f.states = append(f.states, stateCancelled)
			case stateCreated, stateActive, stateRetry, stateError, stateDelivered, stateFailed, stateCancelRequested, stateCancelled:
				f.states = append(f.states, v)
			default:
				return badRequest("%s: there is no state %q", name, v)
			}
		}
	case key == "responsestatus":
		for _, v := range values {
			n, err := strconv.Atoi(v)
			if err != nil {
				return badRequest("%s: %q is no status", name, v)
			}
			f.statuses = append(f.statuses, n)
		}
	case key == "fromdate" || key == "todate":
		n, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil {
			return badRequest("%s: %q is no time in milliseconds", name, values[0])
		}
		if key == "fromdate" {
			f.from = n
		} else {
			f.to = n
		}
	}
	return nil
}

// page is how much a list is to show.
type page struct{ count, trim int }

// pageOf reads the parameters count and trimBody.
func pageOf(q url.Values, def, most int) (p page, err error) {
	if p.count, err = countOf(q, def, most); err == nil {
		p.trim, err = trimOf(q)
	}
	return p, err
}

// countOf reads the parameter count.
func countOf(q url.Values, def, most int) (int, error) {
	v := q.Get("count")
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, badRequest("count: %q is no number of 1 or more", v)
	}
	return min(n, most), nil
}

// runs are the runs of the message ids that the filter names.
func (f *filter) runs() []engine.ID {
	var out []engine.ID
	for _, id := range f.ids {
		if run, ok := runOf(id); ok {
			out = append(out, run)
		}
	}
	return out
}

// needsMessage says that the filter cannot be decided without the message.
func (f *filter) needsMessage() bool { return f.restricted }

// matchesEntry decides by what a log entry has itself.
func (f *filter) matchesEntry(e *logEntry) bool {
	return (len(f.states) == 0 || slices.Contains(f.states, e.State)) &&
		(len(f.ids) == 0 || slices.Contains(f.ids, messageID(e.Run))) && f.within(e.Time)
}

func (f *filter) within(at int64) bool {
	return (f.from == 0 || at >= f.from) && (f.to == 0 || at <= f.to)
}

// matches decides by the message.
func (f *filter) matches(run engine.ID, m *message) bool {
	one := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	host, path := "", ""
	if u, err := url.Parse(m.URL); err == nil {
		host, path = u.Host, u.EscapedPath()
	}
	key := ""
	if m.Flow != nil {
		key = m.Flow.Key
	}
	return one(f.ids, messageID(run)) && one(f.topics, m.Topic) && one(f.queues, m.Queue) && one(f.urls, m.URL) && one(f.hosts, host) &&
		one(f.paths, path) && one(f.flowKeys, key) && one(f.schedules, m.ScheduleID) && one(f.callers, m.CallerIP) &&
		(len(f.labels) == 0 || slices.ContainsFunc(m.Labels, func(l string) bool { return slices.Contains(f.labels, l) }))
}
