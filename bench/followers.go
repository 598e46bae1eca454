package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const triggerKey = "tr_dev_quartet"

// ask makes a request to the Trigger.dev door and returns its answer's offset and body.
func (c *child) ask(method, path, body string) (offset string, out []byte, err error) {
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Authorization", "Bearer "+triggerKey)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Trigger-Api-Version", "2025-07-16")
	resp, err := client.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	if out, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, out)
	}
	return resp.Header.Get("Electric-Offset"), out, err
}

// followers measures how long a change of a run takes to reach all who follow it, by its id and by a tag, and how long a task's process waits when it
// tells its spans.
func followers() error {
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := startChild(dir)
	if err != nil {
		return err
	}
	defer c.stop()
	for range 300 { // runs that nobody follows
		if _, _, err := c.ask("POST", "/api/v1/tasks/other/trigger", `{"options":{"ttl":0}}`); err != nil {
			return err
		}
	}
	_, out, err := c.ask("POST", "/api/v1/tasks/followed/trigger", `{"options":{"ttl":0,"tags":["followed"]}}`)
	if err != nil {
		return err
	}
	var run struct{ ID string }
	if err := json.Unmarshal(out, &run); err != nil {
		return err
	}
	n := size(1000)
	for _, f := range []struct{ what, path string }{{"it", "/realtime/v1/runs/" + run.ID + "?"}, {"a tag of it", "/realtime/v1/runs?tags=followed&"}} {
		took, err := c.follow(n, f.path, run.ID)
		if err != nil {
			return err
		}
		row(fmt.Sprintf("a change of a run, to %d who follow %s", n, f.what), "p50 %.0f ms, p99 %.0f ms", ms(quantile(took, 0.5)), ms(quantile(took, 0.99)))
	}
	return c.tell(run.ID)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// follow lets n clients wait for a change of a run, three times, and returns how long it took to reach each, sorted.
func (c *child) follow(n int, path, run string) ([]time.Duration, error) {
	offset, _, err := c.ask("GET", path+"offset=-1", "")
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for round := range 3 {
		ends, offsets, errs := make([]time.Time, n), make([]string, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				offsets[i], _, errs[i] = c.ask("GET", path+"live=true&handle=runs&offset="+offset, "")
				ends[i] = time.Now()
			})
		}
		time.Sleep(2 * time.Second) // until all of them wait
		start := time.Now()
		if _, _, err := c.ask("PUT", "/api/v1/runs/"+run+"/metadata", fmt.Sprintf(`{"metadata":{"at":%d,"round":%d}}`, start.UnixNano(), round)); err != nil {
			return nil, err
		}
		wg.Wait()
		for i := range n {
			if errs[i] != nil {
				return nil, errs[i]
			}
			took = append(took, ends[i].Sub(start))
		}
		offset = offsets[0]
	}
	slices.Sort(took)
	return took, nil
}

// tell exports spans of a run as a task's process does, 64 at a time, one export after the other.
func (c *child) tell(run string) error {
	var took []time.Duration
	before := c.cpu()
	const exports, spans = 100, 64
	for i := range exports {
		list := make([]any, spans)
		for j := range list {
			attributes := []any{map[string]any{"key": "$metadata.ctx.run.id", "value": map[string]any{"stringValue": run}}}
			for k := range 30 {
				attributes = append(attributes, map[string]any{"key": fmt.Sprint("attribute", k), "value": map[string]any{"stringValue": "a value"}})
			}
			list[j] = map[string]any{
				"traceId": "5b8efff798038103d269b633813fc60c", "spanId": fmt.Sprintf("%016x", 1+i*spans+j), "name": "work",
				"startTimeUnixNano": fmt.Sprint(time.Now().UnixNano()), "endTimeUnixNano": fmt.Sprint(time.Now().UnixNano()), "attributes": attributes,
			}
		}
		resource := map[string]any{"attributes": []any{map[string]any{"key": "$trigger", "value": map[string]any{"boolValue": true}}}}
		body, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{"resource": resource, "scopeSpans": []any{map[string]any{"spans": list}}}}})
		if err != nil {
			return err
		}
		start := time.Now()
		if _, err := post(c.url+"/otel/v1/traces", body); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	cpu := c.cpu() - before
	slices.Sort(took)
	row(fmt.Sprintf("%d spans with 30 attributes told at once", spans), "p50 %.1f ms, p99 %.1f ms, %.0f µs of CPU a span", ms(quantile(took, 0.5)), ms(quantile(took, 0.99)), float64(cpu.Microseconds())/exports/spans)
	return nil
}
