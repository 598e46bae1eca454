package taskpool

import (
	"encoding/json"
	"fmt"
	"strings"
)

// taskError is why an attempt failed, as workers tell of it: section 18.7.
type taskError struct {
	Type    string `json:"type"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Stack   string `json:"stackTrace,omitempty"`
}

func internalError(code, message string) *taskError {
	return &taskError{Type: "INTERNAL_ERROR", Code: code, Message: message}
}

// failed is the completion of an attempt that did not end by itself.
func failed(run string, e *taskError) json.RawMessage {
	b, err := json.Marshal(map[string]any{"ok": false, "id": run, "error": e, "usage": map[string]any{"durationMs": 0}})
	if err != nil {
		panic("BUG: taskpool: a completion does not marshal: " + err.Error())
	}
	return b
}

// died says what the end of a process means for the attempt that it had: section 19.6.
func (q *process) died() *taskError {
	<-q.exited
	text := q.stderr.String()
	state := q.cmd.ProcessState
	code, signal := -1, "null"
	if state != nil {
		code, signal = exitOf(state)
	}
	e := internalError("TASK_PROCESS_EXITED_WITH_NON_ZERO_CODE", fmt.Sprintf("Process exited with code %d after signal %s.", code, signal))
	e.Stack = text
	switch {
	case q.oom.Load() || q.limits.exceeded() || code == 137 || strings.Contains(text, "OOMErrorHandler") || strings.Contains(text, "JavaScript heap out of memory"):
		e.Code = "TASK_PROCESS_OOM_KILLED"
	case signal == "SIGTERM":
		e.Code = "TASK_PROCESS_SIGTERM"
	case signal == "SIGSEGV":
		e.Code = "TASK_PROCESS_SIGSEGV"
	}
	return e
}
