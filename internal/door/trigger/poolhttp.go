package trigger

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/taskpool"
)

// What pools on other machines ask: taskpool.Client is the other side.

func (d *Door) poolRoutes() {
	s := source{d}
	d.poolCall("/lease", func(r *http.Request) (any, error) {
		var in struct {
			Most int `json:"most"`
		}
		if err := decode(r, &in); err != nil {
			return nil, err
		}
		runs, err := s.Lease(r.Context(), min(in.Most, maxLeased))
		if r.Context().Err() != nil {
			s.giveBack(context.WithoutCancel(r.Context()), runs)
		}
		if runs == nil {
			runs = []taskpool.Run{}
		}
		return runs, err
	})
	d.poolCall("/start", aboutRun(func(r *http.Request, run taskpool.Run) (any, error) { return s.start(r.Context(), run, origin(r)) }))
	d.poolCall("/heartbeat", aboutRun(func(r *http.Request, run taskpool.Run) (any, error) { return struct{}{}, s.Heartbeat(r.Context(), run) }))
	d.poolCall("/latest", aboutRun(func(r *http.Request, run taskpool.Run) (any, error) { return s.Latest(r.Context(), run) }))
	d.poolCall("/complete", func(r *http.Request) (any, error) {
		var in taskpool.Completed
		if err := decode(r, &in); err != nil {
			return nil, err
		}
		return s.Complete(r.Context(), in.Run, in.Result)
	})
	d.mux.HandleFunc("GET "+taskpool.Path+"/notices", d.forPools(d.serveNotices))
	d.mux.HandleFunc("GET "+taskpool.Path+"/bundle", d.forPools(func(w http.ResponseWriter, r *http.Request) {
		archive, _, err := s.Bundle(r.Context(), r.URL.Query().Get("env"), r.URL.Query().Get("deployment"))
		if err != nil {
			d.respond(w, r, nil, gone(err))
			return
		}
		defer func() { _ = archive.Close() }() // it was only read
		w.Header().Set("Content-Type", "application/gzip")
		_, _ = io.Copy(w, archive) // the worker is gone, and there is nobody to tell
	}))
	d.mux.HandleFunc("GET "+taskpool.Path+"/index", d.forPools(func(w http.ResponseWriter, r *http.Request) {
		archive, index, err := s.Bundle(r.Context(), r.URL.Query().Get("env"), r.URL.Query().Get("deployment"))
		if err != nil {
			d.respond(w, r, nil, gone(err))
			return
		}
		_ = archive.Close() // it is asked for by itself
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(index) // the worker is gone, and there is nobody to tell
	}))
}

// maxLeased bounds the runs that a pool takes at once.
const maxLeased = 1000

// forPools lets those in that have the token of workers.
func (d *Door) forPools(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if d.cfg.WorkerToken == "" || !d.cfg.WorkerToken.Equal(token) {
			d.writeError(w, r, fail(http.StatusUnauthorized, "Invalid or missing worker token"))
			return
		}
		h(w, r)
	}
}

func (d *Door) poolCall(path string, h func(*http.Request) (any, error)) {
	d.mux.HandleFunc("POST "+taskpool.Path+path, d.forPools(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody("/complete"))
		v, err := h(r)
		d.respond(w, r, v, gone(err))
	}))
}

func aboutRun(h func(*http.Request, taskpool.Run) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var run taskpool.Run
		if err := decode(r, &run); err != nil {
			return nil, err
		}
		return h(r, run)
	}
}

// gone is how a pool hears that a run is not its own any more.
func gone(err error) error {
	if errors.Is(err, taskpool.ErrLost) {
		return fail(http.StatusConflict, "The run has moved on")
	}
	return err
}

// serveNotices is a line for each run that is not where its worker thinks it is, and an empty one now and then.
func (d *Door) serveNotices(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/plain")
	c, leave := d.notices.subscribe()
	defer leave()
	beat := time.NewTicker(10 * time.Second)
	defer beat.Stop()
	line := ""
	for {
		if _, err := io.WriteString(w, line+"\n"); err != nil || rc.Flush() != nil {
			return
		}
		select {
		case line = <-c:
		case <-beat.C:
			line = ""
		case <-d.sockets.closed:
			return
		case <-r.Context().Done():
			return
		}
	}
}
