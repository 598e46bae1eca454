package inngest

import (
	"net/http"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/history"
)

// fetchBatch is GET /v0/runs/{run}/batch: the events of a run whose state was too large to send. Section 19.
func (d *Door) fetchBatch(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	if s := d.fetchState(w, r); s != nil {
		writeRaw(w, appendEvents(nil, s))
	}
}

// fetchActions is GET /v0/runs/{run}/actions: the memoized steps, in order of completion.
func (d *Door) fetchActions(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	if s := d.fetchState(w, r); s != nil {
		writeRaw(w, appendSteps(nil, s))
	}
}

func writeRaw(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client is gone, and there is nobody to tell
}

// fetchState loads an unfinished run, or answers the request with why not.
func (d *Door) fetchState(w http.ResponseWriter, r *http.Request) *state {
	id, err := ulid.ParseStrict(r.PathValue("run"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "The run ID specified is invalid: "+r.PathValue("run"))
		return nil
	}
	run, err := history.Run(r.Context(), d.cfg.Host, id)
	if err != nil {
		d.writeFailure(w, r, err)
		return nil
	}
	if run == nil || run.Status.Ended() {
		writeError(w, http.StatusGone, "", "runtime state is no longer available for runID: "+id.String())
		return nil
	}
	s, err := d.loadState(r.Context(), run.Env, id, run.Events, true)
	if err != nil {
		d.writeFailure(w, r, err)
		return nil
	}
	return s
}
