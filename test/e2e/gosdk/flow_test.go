package gosdk

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/inngest/inngest/pkg/enums"
	"github.com/inngest/inngestgo"
	sdk "github.com/inngest/inngestgo/step"
)

// gauge counts how many of something are in progress at once.
type gauge struct {
	mu        sync.Mutex
	now, most map[string]int
}

func newGauge() *gauge { return &gauge{now: map[string]int{}, most: map[string]int{}} }

func (g *gauge) enter(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now[key]++
	g.most[key] = max(g.most[key], g.now[key])
}

func (g *gauge) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now[key]--
}

// hold takes a while without sleeping through the scheduler's fairness: long enough for others to come in if they may.
func (g *gauge) hold(ctx context.Context, keys ...string) {
	for _, k := range keys {
		g.enter(k)
		defer g.leave(k)
	}
	t := time.NewTimer(60 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func numbers(n int, key func(int) string) (list []map[string]any) {
	for i := range n {
		list = append(list, map[string]any{"i": i, "k": key(i)})
	}
	return list
}

func TestConcurrencyForms(t *testing.T) {
	g := newGauge()
	s, a := setup(t, func(c inngestgo.Client) {
		work := func(id string) func(context.Context, in) (any, error) {
			return func(ctx context.Context, in in) (any, error) {
				return sdk.Run(ctx, "work", func(ctx context.Context) (bool, error) {
					g.hold(ctx, id, id+in.Event.Data["k"].(string))
					return true, nil
				})
			}
		}
		function(c, inngestgo.FunctionOpts{ID: "step", Concurrency: &inngestgo.ConfigConcurrency{
			Step: []inngestgo.ConfigStepConcurrency{{Limit: 2}, {Limit: 1, Key: inngestgo.Ptr("event.data.k")}},
		}}, "test/go", work("step"))
		function(c, inngestgo.FunctionOpts{ID: "run", Concurrency: &inngestgo.ConfigConcurrency{
			Fn: []inngestgo.ConfigFnConcurrency{{Limit: 1}},
		}}, "test/go", func(ctx context.Context, in in) (any, error) {
			if _, err := sdk.Run(ctx, "enter", func(context.Context) (bool, error) { g.enter("run"); return true, nil }); err != nil {
				return nil, err
			}
			sdk.Sleep(ctx, "nap", time.Second)
			return sdk.Run(ctx, "leave", func(context.Context) (bool, error) { g.leave("run"); return true, nil })
		})
	})
	a.send("test/go", numbers(3, func(i int) string { return []string{"x", "y", "x"}[i] })...)
	s.ended("app-step", 3)
	s.ended("app-run", 3)
	for key, want := range map[string]int{"stepx": 1, "stepy": 1, "run": 1} {
		if g.most[key] != want {
			t.Errorf("%s: %d at once, want %d", key, g.most[key], want)
		}
	}
	if g.most["step"] > 2 {
		t.Errorf("step: %d at once under a limit of 2", g.most["step"])
	}
}

func TestSingletonModes(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		for id, mode := range map[string]enums.SingletonMode{"skip": enums.SingletonModeSkip, "cancel": enums.SingletonModeCancel} {
			function(c, inngestgo.FunctionOpts{ID: id, Singleton: &inngestgo.ConfigSingleton{Key: inngestgo.Ptr("event.data.k"), Mode: mode}}, "test/go",
				func(ctx context.Context, in in) (any, error) { sdk.Sleep(ctx, "nap", time.Second); return nil, nil })
		}
	})
	a.send("test/go", map[string]any{"k": "x"}, map[string]any{"k": "x"}, map[string]any{"k": "y"})
	count := func(slug, status string) (n int) {
		for _, r := range s.ended(slug, 3) {
			if r.Status == status {
				n++
			}
		}
		return n
	}
	if n := count("app-skip", "skipped"); n != 1 {
		t.Errorf("%d runs were skipped, want 1", n)
	}
	if n := count("app-cancel", "cancelled"); n != 1 {
		t.Errorf("%d runs were cancelled, want 1", n)
	}
}

func TestBatchDebounceRateLimitThrottleCancel(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		count := func(_ context.Context, in in) (any, error) { return len(in.Events), nil }
		function(c, inngestgo.FunctionOpts{ID: "batch", BatchEvents: &inngestgo.ConfigBatchEvents{MaxSize: 3, Timeout: time.Minute}}, "test/go", count)
		function(c, inngestgo.FunctionOpts{ID: "debounce", Debounce: &inngestgo.ConfigDebounce{Period: time.Second}}, "test/go",
			func(_ context.Context, in in) (any, error) { return in.Event.Data["i"], nil })
		function(c, inngestgo.FunctionOpts{ID: "limited", RateLimit: &inngestgo.ConfigRateLimit{Limit: 1, Period: time.Hour}}, "test/go", count)
		function(c, inngestgo.FunctionOpts{ID: "throttled", Throttle: &inngestgo.ConfigThrottle{Limit: 1, Period: time.Second, Burst: 1}}, "test/go", count)
		function(c, inngestgo.FunctionOpts{ID: "once", Idempotency: inngestgo.Ptr("event.data.k")}, "test/go", count)
		function(c, inngestgo.FunctionOpts{ID: "sleeper", Cancel: []inngestgo.ConfigCancel{{Event: "test/stop", If: inngestgo.Ptr("event.data.k == async.data.k")}}}, "test/go",
			func(ctx context.Context, in in) (any, error) {
				if in.Event.Data["k"] == "stays" {
					return "stayed", nil
				}
				sdk.Sleep(ctx, "nap", time.Hour)
				return nil, nil
			})
	})
	began := time.Now()
	a.send("test/go", numbers(3, func(i int) string { return []string{"goes", "goes", "stays"}[i] })...)
	r, _ := s.result("app-batch")
	r.want(t, "completed", "3")
	r, _ = s.result("app-debounce")
	r.want(t, "completed", "2")
	if n := len(s.ended("app-limited", 1)); n != 1 {
		t.Errorf("a rate limit of one let %d through", n)
	}
	if n := len(s.ended("app-once", 2)); n != 2 {
		t.Errorf("two different keys started %d runs", n)
	}
	s.ended("app-throttled", 3)
	if d := time.Since(began); d < 900*time.Millisecond {
		t.Errorf("the third of a throttle with a burst of one came after %s", d)
	}
	s.until("the sleepers", func() bool {
		var list struct{ Runs []run }
		s.get("/runs?function=app-sleeper&status=running", &list)
		return len(list.Runs) == 2
	})
	a.send("test/stop", map[string]any{"k": "goes"})
	statuses := map[string]int{}
	for _, r := range s.ended("app-sleeper", 3) {
		statuses[r.Status]++
	}
	if statuses["cancelled"] != 2 || statuses["completed"] != 1 {
		t.Errorf("after the cancelling event runs are %v", statuses)
	}
}
