package trigger

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
)

// Section 18.10: the controller that comes with a bundle drives its run by these endpoints. Instead of a key it has a token, which is for one run.

const workloadHeader = "X-Trigger-Workload-Deployment-Id"

func (d *Door) workloadRoutes() {
	const snapshot = "/api/v1/workload-actions/runs/{run}/snapshots/{snapshot}"
	d.workload("POST "+snapshot+"/attempts/start", (*environment).startAttempt)
	d.workload("POST "+snapshot+"/attempts/complete", (*environment).completeAttempt)
	d.workload("POST "+snapshot+"/heartbeat", (*environment).heartbeat)
	d.workload("GET "+snapshot+"/{what}", func(env *environment, r *http.Request) (any, error) { // since/{snapshot} is one of them
		switch what := r.PathValue("what"); {
		case r.PathValue("snapshot") == "since":
			r.SetPathValue("snapshot", what)
			return env.snapshotsSince(r)
		case what == "suspend":
			return map[string]any{"ok": false, "error": "this server keeps the process of a run that waits"}, nil
		case what == "continue":
			x, err := env.look(r.Context(), r.PathValue("run"))
			if err != nil {
				return nil, err
			}
			return map[string]any{"snapshot": x.snapshot(), "run": x.run()}, nil
		}
		return nil, fail(http.StatusNotFound, "Not Found")
	})
	d.workload("POST /api/v1/workload-actions/runs/{run}/logs/debug", func(*environment, *http.Request) (any, error) {
		return &accepted{http.StatusNoContent, nil, nil}, nil
	})
}

// workloadToken lets its bearer drive a run.
func (env *environment) workloadToken(deployment, run string) string {
	return strings.Join([]string{deployment, run, hex.EncodeToString(sign(env.secretKey(), "workload\x00"+deployment+"\x00"+run))}, ".")
}

// driven finds the environment and the run that a token is for; "" when it is for none.
func (d *Door) driven(token string) (*environment, string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, ""
	}
	env := d.find(func(env *environment) bool {
		return env.deployments.named(parts[0]) != nil && secretEqual(env.workloadToken(parts[0], parts[1]), token)
	})
	if env == nil {
		return nil, ""
	}
	return env, parts[1]
}

func (d *Door) workload(pattern string, h handler) {
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		env, run := d.driven(r.Header.Get(workloadHeader))
		if env == nil || run != r.PathValue("run") {
			d.writeError(w, r, errKey)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody(r.URL.Path))
		v, err := h(env, r)
		d.respond(w, r, v, err)
	})
}

// snapshotsSince is GET …/snapshots/since/{snapshot}: the newest one counts, those in between are gone.
func (env *environment) snapshotsSince(r *http.Request) (any, error) {
	x, points, err := env.latest(r.Context(), r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	list := []any{}
	if x.snapshotID() != snapshotOf(r) {
		list = append(list, executionData(x, points))
	}
	return map[string]any{"snapshots": list}, nil
}

// workloadEvent is what a controller says of the run that it drives: section 18.10.
func (d *Door) workloadEvent(k *socket, name string, raw json.RawMessage) {
	var in struct {
		Run struct {
			ID string `json:"friendlyId"`
		} `json:"run"`
	}
	if json.Unmarshal(raw, &in) != nil || in.Run.ID != k.run {
		return
	}
	switch name {
	case "run:start":
		d.sockets.subscribe(k, []string{in.Run.ID})
	case "run:stop":
		d.sockets.unsubscribe(k, []string{in.Run.ID})
	}
}
