package qstash

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/engine"
)

// flowView is section 14.2.
type flowView struct {
	Key              string `json:"flowControlKey"`
	WaitListSize     int    `json:"waitListSize"`
	ParallelismMax   int    `json:"parallelismMax"`
	ParallelismCount int    `json:"parallelismCount"`
	RateMax          int    `json:"rateMax"`
	RateCount        int    `json:"rateCount"`
	RatePeriod       int64  `json:"ratePeriod"`      // s
	RatePeriodStart  int64  `json:"ratePeriodStart"` // Unix seconds
	Paused           bool   `json:"isPaused"`
	PinParallelism   bool   `json:"isPinnedParallelism"`
	PinRate          bool   `json:"isPinnedRate"`
}

func viewFlow(q *engine.QueueState) flowView {
	return flowView{
		Key: strings.TrimPrefix(q.Name, flowPrefix), WaitListSize: q.Waiting, ParallelismMax: q.Parallelism, ParallelismCount: q.Active, RateMax: q.Rate,
		RateCount: q.WindowCount, RatePeriod: q.Period / 1000, RatePeriodStart: q.WindowStart / 1000, Paused: q.Paused, PinParallelism: q.PinParallelism,
		PinRate: q.PinRate,
	}
}

// flowVerbs are what can be done to a key: section 14.3.
var flowVerbs = map[string]func(q url.Values) (*engine.SetQueue, error){
	"pause":     func(url.Values) (*engine.SetQueue, error) { return &engine.SetQueue{Paused: new(true)}, nil },
	"resume":    func(url.Values) (*engine.SetQueue, error) { return &engine.SetQueue{Paused: new(false)}, nil },
	"pin":       pin,
	"unpin":     unpin,
	"resetrate": func(url.Values) (*engine.SetQueue, error) { return &engine.SetQueue{ResetWindow: true}, nil },
	"reset":     func(url.Values) (*engine.SetQueue, error) { return &engine.SetQueue{ResetWindow: true}, nil },
}

func pin(q url.Values) (*engine.SetQueue, error) {
	c := &engine.SetQueue{Create: true}
	read := func(name string) (*int, error) {
		if q.Get(name) == "" {
			return nil, nil
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 1 {
			return nil, badRequest("%s: %q is no number of 1 or more", name, q.Get(name))
		}
		return &n, nil
	}
	var period *int
	var err error
	if c.Parallelism, err = read("parallelism"); err != nil {
		return nil, err
	}
	if c.Rate, err = read("rate"); err != nil {
		return nil, err
	}
	if period, err = read("period"); err != nil {
		return nil, err
	}
	if c.Parallelism == nil && c.Rate == nil && period == nil {
		return nil, badRequest("give at least one of parallelism, rate and period")
	}
	if c.Parallelism != nil {
		c.PinParallelism = new(true)
	}
	if c.Rate != nil || period != nil {
		c.PinRate, c.ResetWindow = new(true), true
		if period != nil {
			c.Period = new(int64(*period) * 1000)
		}
	}
	return c, nil
}

func unpin(q url.Values) (*engine.SetQueue, error) {
	c := &engine.SetQueue{}
	if q.Get("parallelism") == "true" {
		c.PinParallelism = new(false)
	}
	if q.Get("rate") == "true" {
		c.PinRate = new(false)
	}
	if c.PinParallelism == nil && c.PinRate == nil {
		return nil, badRequest("give parallelism=true, rate=true or both")
	}
	return c, nil
}

// serveFlow is everything below /v2/flowControl. Keys are put into paths as they are, slashes included, so a verb is one only at the end
// of a POST.
func (d *Door) serveFlow(w http.ResponseWriter, r *http.Request, rest string) error {
	key, err := url.PathUnescape(strings.TrimPrefix(rest, "/"))
	if err != nil {
		return badRequest("%v", err)
	}
	ctx := r.Context()
	switch {
	case key == "" && r.Method == http.MethodGet:
		list, err := d.readQueues(ctx, flowPrefix)
		if err != nil {
			return err
		}
		out := []flowView{}
		for i := range list {
			if v := viewFlow(&list[i]); strings.Contains(v.Key, r.URL.Query().Get("search")) {
				out = append(out, v)
			}
		}
		return writeJSON(w, http.StatusOK, out)
	case r.Method == http.MethodGet:
		q, err := d.readQueue(ctx, flowPrefix+key)
		if err != nil {
			return err
		}
		if q == nil {
			return notFound("flow control key", key)
		}
		return writeJSON(w, http.StatusOK, viewFlow(q))
	case r.Method == http.MethodPost:
		i := strings.LastIndexByte(key, '/')
		verb := flowVerbs[strings.ToLower(key[i+1:])]
		if i <= 0 || verb == nil {
			return notFound("endpoint", r.URL.Path)
		}
		c, err := verb(r.URL.Query())
		if err != nil {
			return err
		}
		c.Name = flowPrefix + key[:i]
		ok, err := d.setQueue(ctx, c)
		if err != nil {
			return err
		}
		if !ok {
			return notFound("flow control key", key[:i])
		}
		return done(w)
	}
	return wrongMethod(r)
}

// serveGlobal is GET /v2/globalParallelism.
func (d *Door) serveGlobal(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := allow(r, http.MethodGet); err != nil {
		return err
	}
	v, err := d.cfg.Host.Submit(r.Context(), &engine.Overview{})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]int{"parallelismMax": d.cfg.MaxCalls, "parallelismCount": v.(engine.Counts).Calls, "waitListSize": 0})
}
