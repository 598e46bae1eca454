package qstash

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// runFilter selects workflow runs: sections 28.2, 30.1 and 31.1. Values of one name are alternatives, names are all to hold.
type runFilter struct {
	filter        // what runs have in common with messages: ids, dead letters, labels, callers, flow-control keys, times, statuses
	runIDs        []string
	runURLs       []string
	prefixes      bool // URLs are beginnings, not whole
	createdAt     int64
	runs          []runRef
	runStates     []string
	failureStates []string
}

// runRef is a run told from others with the same id.
type runRef struct {
	id        string
	createdAt int64
}

// Names of filters that an endpoint has, beside those of section 2.8.
var (
	runFilters       = []string{"workflowrunid", "workflowrunids", "workflowurl", "workflowcreatedat", "label", "fromdate", "todate", "callerip", "flowcontrolkey", "count", "cursor"}
	cancelRunFilters = append(slices.Clone(runFilters), "workflowurlexactmatch", "host", "path")
	runLogFilters    = append(slices.Clone(runFilters), "host", "path", "workflowruns", "state", "messageid", "trimbody", "groupby", "order")
	runDLQFilters    = append(slices.Clone(runFilters), "dlqids", "failurefunctionstate", "responsestatus", "messageid", "source", "order", "trimbody")
)

// States of runs and of their failure callbacks: sections 29 and 30.2.
var (
	runStates     = []string{"RUN_STARTED", "RUN_SUCCESS", "RUN_FAILED", "RUN_CANCELED"}
	failureStates = []string{"CALLBACK_INPROGRESS", "CALLBACK_SUCCESS", "CALLBACK_FAIL", "CALLBACK_CANCELED"}
)

func parseRunFilter(q url.Values, known []string) (*runFilter, error) {
	f := &runFilter{prefixes: slices.Contains(known, "workflowurlexactmatch")}
	rest := url.Values{}
	for name, values := range q {
		key := strings.ToLower(name)
		if !slices.Contains(known, key) && key != "qstash_token" {
			return nil, badRequest("unknown parameter %q", name)
		}
		var list []string
		for _, v := range values {
			list = append(list, splitList(v)...)
		}
		list = slices.DeleteFunc(list, func(v string) bool { return v == "" })
		mine := true
		var err error
		switch key {
		case "workflowrunid", "workflowrunids":
			f.runIDs = append(f.runIDs, list...)
		case "workflowurl":
			f.runURLs = append(f.runURLs, values...) // a URL may have commas
		case "workflowurlexactmatch":
			f.prefixes, err = parseTruth(strings.Join(list, ","))
			f.prefixes = !f.prefixes
		case "workflowcreatedat":
			f.createdAt, err = strconv.ParseInt(strings.Join(list, ","), 10, 64)
		case "workflowruns":
			f.runs, err = parseRunRefs(list)
		case "state":
			f.runStates, err = oneOf(list, runStates)
		case "failurefunctionstate":
			f.failureStates, err = oneOf(list, failureStates)
		default:
			mine = false
			rest[name] = values
		}
		switch {
		case err != nil:
			return nil, badRequest("%s: %v", name, err)
		case mine && len(list) == 0:
			return nil, badRequest("%s has no value", name)
		}
	}
	common, err := parseFilter(rest, known)
	if err != nil {
		return nil, err
	}
	f.filter = *common
	return f, nil
}

func parseRunRefs(list []string) ([]runRef, error) {
	var out []runRef
	for _, v := range list {
		i := strings.LastIndexByte(v, '@')
		if i < 0 {
			return nil, badRequest("%q is not <id>@<createdAt>", v)
		}
		at, err := strconv.ParseInt(v[i+1:], 10, 64)
		if err != nil {
			return nil, badRequest("%q is not <id>@<createdAt>", v)
		}
		out = append(out, runRef{v[:i], at})
	}
	return out, nil
}

// oneOf reads words of a list, in any case.
func oneOf(list, known []string) ([]string, error) {
	var out []string
	for _, v := range list {
		if v = strings.ToUpper(v); !slices.Contains(known, v) {
			return nil, badRequest("there is no state %q", v)
		}
		out = append(out, v)
	}
	return out, nil
}

// matches decides by what a run was started with.
func (f *runFilter) matches(w *workflow) bool {
	if len(f.runIDs) > 0 && !slices.Contains(f.runIDs, w.RunID) || f.createdAt != 0 && f.createdAt != w.CreatedAt {
		return false
	}
	if len(f.runs) > 0 && !slices.Contains(f.runs, runRef{w.RunID, w.CreatedAt}) {
		return false
	}
	if len(f.runURLs) > 0 && !slices.ContainsFunc(f.runURLs, func(u string) bool { return w.URL == u || f.prefixes && strings.HasPrefix(w.URL, u) }) {
		return false
	}
	common := f.filter
	common.ids = nil // of messages: see has
	return f.within(w.CreatedAt) && common.matches(engine.ID{}, &w.message)
}

// has says whether a run has one of the messages that the filter names.
func (f *runFilter) has(run engine.ID) bool {
	return len(f.ids) == 0 || slices.ContainsFunc(f.ids, func(id string) bool {
		of, _, ok := stepOfMessage(id)
		return ok && of == run
	})
}
