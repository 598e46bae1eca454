package gosdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inngest/inngest/pkg/enums"
	"github.com/inngest/inngestgo"
	sdkerrors "github.com/inngest/inngestgo/errors"
	"github.com/inngest/inngestgo/group"
	"github.com/inngest/inngestgo/pkg/checkpoint"
	sdk "github.com/inngest/inngestgo/step"
)

func TestStepsRunOnceEach(t *testing.T) {
	var ran atomic.Int32
	s, a := setup(t, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "steps"}, "test/go", func(ctx context.Context, in in) (any, error) {
			one, err := sdk.Run(ctx, "one", func(context.Context) (int, error) { ran.Add(1); return int(in.Event.Data["n"].(float64)), nil })
			if err != nil {
				return nil, err
			}
			sdk.Sleep(ctx, "nap", time.Second)
			sdk.SleepUntil(ctx, "past", time.Now().Add(-time.Hour))
			return sdk.Run(ctx, "two", func(context.Context) (int, error) { ran.Add(1); return one * 2, nil })
		})
	})
	a.send("test/go", map[string]any{"n": 21})
	r, steps := s.result("app-steps")
	r.want(t, "completed", "42")
	if n := ran.Load(); n != 2 {
		t.Errorf("the two steps ran %d times", n)
	}
	if got := fmt.Sprint(steps); got != "[{one run done} {nap sleep done} {past sleep done} {two run done}]" {
		t.Errorf("steps are %s", got)
	}
}

func TestStepErrors(t *testing.T) {
	var tries, stubborn atomic.Int32
	s, a := setup(t, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "retried", Retries: inngestgo.Ptr(3)}, "test/go", func(ctx context.Context, in in) (any, error) {
			return sdk.Run(ctx, "flaky", func(context.Context) (int32, error) {
				if n := tries.Add(1); n < 3 {
					return 0, fmt.Errorf("attempt %d", n)
				}
				return tries.Load(), nil
			})
		})
		function(c, inngestgo.FunctionOpts{ID: "final", Retries: inngestgo.Ptr(5)}, "test/go", func(ctx context.Context, in in) (any, error) {
			_, err := sdk.Run(ctx, "no", func(context.Context) (int, error) {
				stubborn.Add(1)
				return 7, sdkerrors.NoRetryError(errors.New("never"))
			})
			if !sdkerrors.IsStepError(err) {
				return nil, fmt.Errorf("not a step error: %w", err)
			}
			return "caught: " + err.Error(), nil
		})
		function(c, inngestgo.FunctionOpts{ID: "failing", Retries: inngestgo.Ptr(1)}, "test/go", func(ctx context.Context, in in) (any, error) {
			return nil, fmt.Errorf("attempt %d", in.InputCtx.Attempt)
		})
		function(c, inngestgo.FunctionOpts{ID: "later", Retries: inngestgo.Ptr(1)}, "test/go", func(ctx context.Context, in in) (any, error) {
			if in.InputCtx.Attempt == 0 {
				return nil, sdkerrors.RetryAtError(errors.New("busy"), time.Now().Add(2*time.Second))
			}
			return "ok", nil
		})
	})
	began := time.Now()
	a.send("test/go", nil)
	r, _ := s.result("app-retried")
	r.want(t, "completed", "3")
	r, _ = s.result("app-final")
	r.want(t, "completed", `"caught: never"`)
	if n := stubborn.Load(); n != 1 {
		t.Errorf("a step that must not be retried ran %d times", n)
	}
	r, _ = s.result("app-failing")
	r.want(t, "failed", `{"message":"attempt 1"}`)
	r, _ = s.result("app-later")
	r.want(t, "completed", `"ok"`)
	if d := time.Since(began); d < time.Second {
		t.Errorf("RetryAt of two seconds came back after %s", d)
	}
}

func TestWaitForEventAndSignal(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "waiter"}, "test/go", func(ctx context.Context, in in) (any, error) {
			ev, err := sdk.WaitForEvent[inngestgo.GenericEvent[map[string]any]](ctx, "answer", sdk.WaitForEventOpts{
				Event: "test/answer", Timeout: time.Hour, If: inngestgo.Ptr("event.data.id == async.data.id"),
			})
			if err != nil {
				return nil, err
			}
			_, err = sdk.WaitForEvent[any](ctx, "nothing", sdk.WaitForEventOpts{Event: "test/never", Timeout: time.Second})
			if !errors.Is(err, sdk.ErrEventNotReceived) {
				return nil, fmt.Errorf("a wait that timed out gave %w", err)
			}
			sig, err := sdk.WaitForSignal[string](ctx, "signal", sdk.WaitForSignalOpts{Signal: "go-on", Timeout: time.Hour})
			return []any{ev.Data["text"], sig.Signal, sig.Data}, err
		})
	})
	a.send("test/go", map[string]any{"id": 7})
	waiting := func(name string) func() bool {
		return func() bool {
			var list struct{ Runs []run }
			s.get("/runs?function=app-waiter", &list)
			if len(list.Runs) == 0 {
				return false
			}
			var d struct{ Steps []step }
			s.get("/runs/"+list.Runs[0].ID, &d)
			for _, st := range d.Steps {
				if st.Name == name && st.State == "waiting" {
					return true
				}
			}
			return false
		}
	}
	s.until("the wait for the event", waiting("answer"))
	a.send("test/answer", map[string]any{"id": 8, "text": "not mine"}, map[string]any{"id": 7, "text": "mine"})
	s.until("the wait for the signal", waiting("signal"))
	resp, err := http.Post(s.url+"/v1/signals", "application/json", strings.NewReader(`{"signal":"go-on","data":"now"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	r, _ := s.result("app-waiter")
	r.want(t, "completed", `["mine","go-on","now"]`)
}

func TestInvokeAndSend(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		child := function(c, inngestgo.FunctionOpts{ID: "child"}, "test/never", func(ctx context.Context, in in) (any, error) {
			return map[string]any{"doubled": in.Event.Data["n"].(float64) * 2}, nil
		})
		bad := function(c, inngestgo.FunctionOpts{ID: "bad", Retries: inngestgo.Ptr(0)}, "test/never", func(context.Context, in) (any, error) {
			return nil, errors.New("no way")
		})
		function(c, inngestgo.FunctionOpts{ID: "caller"}, "test/go", func(ctx context.Context, in in) (any, error) {
			out, err := sdk.Invoke[map[string]int](ctx, "ok", sdk.InvokeOpts{FunctionId: child.FullyQualifiedID(), Data: map[string]any{"n": 21}})
			if err != nil {
				return nil, err
			}
			_, err = sdk.Invoke[any](ctx, "bad", sdk.InvokeOpts{FunctionId: bad.FullyQualifiedID()})
			if err == nil {
				return nil, errors.New("a failed child gave no error")
			}
			ids, sendErr := sdk.SendMany(ctx, "fan", []inngestgo.GenericEvent[map[string]any]{{Name: "test/leaf"}, {Name: "test/leaf"}})
			return []any{out["doubled"], err.Error(), len(ids)}, sendErr
		})
		function(c, inngestgo.FunctionOpts{ID: "leaf"}, "test/leaf", func(context.Context, in) (any, error) { return nil, nil })
	})
	a.send("test/go", nil)
	r, _ := s.result("app-caller")
	r.want(t, "completed", `[42,"no way",2]`)
	s.ended("app-leaf", 2)
}

func TestParallelSteps(t *testing.T) {
	for _, mode := range []enums.ParallelMode{enums.ParallelModeWait, enums.ParallelModeRace} {
		t.Run(mode.String(), func(t *testing.T) {
			var ran atomic.Int32
			s, a := setup(t, func(c inngestgo.Client) {
				function(c, inngestgo.FunctionOpts{ID: "parallel"}, "test/go", func(ctx context.Context, in in) (any, error) {
					one := func(id string, n int) func(context.Context) (any, error) {
						return func(ctx context.Context) (any, error) {
							return sdk.Run(ctx, id, func(context.Context) (int, error) { ran.Add(1); return n, nil })
						}
					}
					results := group.ParallelWithOpts(ctx, group.ParallelOpts{ParallelMode: mode}, one("a", 1), one("b", 2),
						func(ctx context.Context) (any, error) { sdk.Sleep(ctx, "nap", time.Second); return 3, nil }, one("c", 4))
					if err := results.AnyError(); err != nil {
						return nil, err
					}
					var sum int
					for _, r := range results {
						sum += r.Value.(int)
					}
					return sdk.Run(ctx, "last", func(context.Context) (int, error) { ran.Add(1); return sum, nil })
				})
			})
			a.send("test/go", nil)
			r, _ := s.result("app-parallel")
			r.want(t, "completed", "10")
			if n := ran.Load(); n != 4 {
				t.Errorf("four steps ran %d times", n)
			}
		})
	}
}

// TestCheckpoints: steps are stored while the call runs, so a function of many steps is one call.
func TestCheckpoints(t *testing.T) {
	for name, cfg := range map[string]*checkpoint.Config{"safe": checkpoint.ConfigSafe, "performant": checkpoint.ConfigPerformant, "blended": checkpoint.ConfigBlended} {
		t.Run(name, func(t *testing.T) {
			var ran atomic.Int32
			s, a := setup(t, func(c inngestgo.Client) {
				function(c, inngestgo.FunctionOpts{ID: "many", Checkpoint: cfg}, "test/go", func(ctx context.Context, in in) (any, error) {
					sum := 0
					for i := range 10 {
						n, err := sdk.Run(ctx, fmt.Sprint("step-", i), func(context.Context) (int, error) { ran.Add(1); return i, nil })
						if err != nil {
							return nil, err
						}
						sum += n
					}
					return sum, nil
				})
			})
			a.send("test/go", nil)
			r, steps := s.result("app-many")
			r.want(t, "completed", "45")
			if n := ran.Load(); n != 10 || len(steps) != 10 {
				t.Errorf("ten steps ran %d times, %d are stored", n, len(steps))
			}
			if n := len(a.calls.all()); n > 2 {
				t.Errorf("the function was called %d times", n)
			}
		})
	}
}

// TestLargeState: Go cannot fetch state back, so it is sent whatever its size.
func TestLargeState(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "large"}, "test/go", func(ctx context.Context, in in) (any, error) {
			total := 0
			for i := range 3 {
				text, err := sdk.Run(ctx, fmt.Sprint("step-", i), func(context.Context) (string, error) { return strings.Repeat("x", 2<<20), nil })
				if err != nil {
					return nil, err
				}
				total += len(text)
			}
			return total, nil
		})
	})
	a.send("test/go", nil)
	r, _ := s.result("app-large")
	r.want(t, "completed", fmt.Sprint(3*2<<20))
}

func TestFetch(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "fetch"}, "test/go", func(ctx context.Context, in in) (any, error) {
			r, err := sdk.Fetch[string](ctx, "ask", sdk.FetchOpts{URL: in.Event.Data["url"].(string), Method: "GET"})
			return []any{r.StatusCode, r.Body}, err
		})
	})
	a.send("test/go", map[string]any{"url": s.url + "/healthz"})
	r, _ := s.result("app-fetch")
	if !strings.HasPrefix(string(r.Output), "[200,") {
		t.Errorf("fetch gave %s", r.Output)
	}
}
