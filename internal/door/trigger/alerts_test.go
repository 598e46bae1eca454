package trigger

import (
	"errors"
	"testing"
)

// TestChannelOutlivesACrash: a channel that is stored is told of failures after a start, although the crash came before the tasks were registered for that.
func TestChannelOutlivesACrash(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.trigger()
	silent := func() bool {
		t.Helper()
		return b.function("told").Silent
	}
	if !silent() {
		t.Error("failures are told of although nobody wants to know")
	}
	b.json("POST", inside+"alerts", `{"name":"n","url":"http://127.0.0.1:1/","types":["alert.run.failed"]}`, 200, nil)
	if silent() {
		t.Error("failures are not told of")
	}
	env := b.env()
	env.channels.list = nil // as before the channel was made
	if err := env.registerTasks(t.Context(), env.current(), env.taskNames()); err != nil {
		t.Fatal(err)
	}
	if !silent() {
		t.Fatal("the crash was not made")
	}
	if err := errors.Join(env.loadChannels(t.Context()), env.settle(t.Context())); err != nil {
		t.Fatal(err)
	}
	if silent() || len(env.channels.all()) != 1 {
		t.Errorf("after a start: silent %v, %d channels", silent(), len(env.channels.all()))
	}
}
