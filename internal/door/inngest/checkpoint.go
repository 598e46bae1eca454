package inngest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
)

// maxCheckpointBytes bounds a checkpoint: several steps of the largest size.
const maxCheckpointBytes = maxStateBytes

// checkpoint is POST /v1/checkpoint/{run}/async: section 20.2. A 200 means that the steps are on disk.
func (d *Door) checkpoint(w http.ResponseWriter, r *http.Request, _ *auth.Environment) {
	run, err := ulid.ParseStrict(r.PathValue("run"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid run ID: "+r.PathValue("run"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCheckpointBytes))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("the checkpoint is larger than %d bytes", maxCheckpointBytes))
		return
	}
	var in struct {
		QueueItem  string          `json:"qi_id"`
		RequestID  string          `json:"request_id"`
		Generation json.RawMessage `json:"generation_id"`
		Steps      []wireOp        `json:"steps"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		writeError(w, http.StatusBadRequest, "", "invalid JSON: "+err.Error())
		return
	}
	c := &engine.Checkpoint{Run: run}
	if c.Job, err = jobOf(in.QueueItem, run); err != nil {
		writeError(w, http.StatusBadRequest, "", err.Error())
		return
	}
	if in.RequestID != "" { // the Go SDK sends neither this nor the generation
		if c.Request, err = ulid.ParseStrict(in.RequestID); err != nil {
			writeError(w, http.StatusBadRequest, "", "invalid request_id: "+in.RequestID)
			return
		}
	}
	if g, err := strconv.Atoi(strings.Trim(string(in.Generation), `"`)); err == nil {
		c.Generation = g
	}
	for i := range in.Steps {
		if len(in.Steps[i].Data) > maxValueBytes {
			writeError(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("step %s is larger than %d bytes", opName(&in.Steps[i]), maxValueBytes))
			return
		}
	}
	if c.Ops, err = d.checkpointOps(in.Steps); err != nil {
		writeError(w, http.StatusBadRequest, "", err.Error())
		return
	}
	v, err := d.cfg.Host.Submit(r.Context(), c)
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	switch v.(engine.CheckpointReply) {
	case engine.CheckpointUnknown:
		writeError(w, http.StatusBadRequest, "", "no unfinished run with the ID "+run.String())
	case engine.CheckpointStale:
		// The SDK stops this call without a word; the newer one goes on.
		writeError(w, http.StatusConflict, "stale_dispatch", "this call was given up and made again")
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// jobOf reads what jobID wrote.
func jobOf(item string, run engine.ID) (uint32, error) {
	id, job, ok := strings.Cut(item, "-")
	n, err := strconv.ParseUint(job, 10, 32)
	if !ok || err != nil || id != run.String() {
		return 0, fmt.Errorf("qi_id %q does not belong to the run", item)
	}
	return uint32(n), nil
}

// checkpointOps translates the ops that a running call may store.
func (d *Door) checkpointOps(list []wireOp) ([]engine.Op, error) {
	var ops []engine.Op
	a := &answer{door: d, state: &state{}, now: d.cfg.Now()}
	for i := range list {
		switch list[i].Op {
		case "StepRun", "Step", "StepPlanned", "DeferAdd", "DeferAbort":
		default:
			return nil, errors.New("a checkpoint cannot carry the op " + list[i].Op)
		}
		out, err := d.translate(a, &list[i])
		if err != nil {
			return nil, err
		}
		ops = append(ops, out...)
	}
	return ops, nil
}
