package trigger

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// limitItem is a concurrency limit as a client reads it.
type limitItem struct {
	Name            string
	ID              string
	Key             string `json:"concurrencyKey"`
	PerKey, Total   boundItem
	Running, Queued int
	Paused          bool
}

type boundItem struct {
	Current, Base, Override *int
	ExpiresAt               *string
}

func (b boundItem) String() string {
	f := func(n *int) any {
		if n == nil {
			return "-"
		}
		return *n
	}
	return fmt.Sprint(f(b.Current), "/", f(b.Base), "/", f(b.Override))
}

// limited is a bench with tasks that have limits.
type limited struct {
	*bench
	worker string
}

func setupLimits(t *testing.T, tasks, limits string) *limited {
	t.Helper()
	l := &limited{bench: setup(t)}
	l.register(tasks, limits)
	return l
}

func (l *limited) register(tasks, limits string) {
	l.t.Helper()
	var v struct {
		ID string `json:"id"`
	}
	body := fmt.Sprintf(`{"localOnly":true,"engine":"V2","metadata":{"contentHash":"%d","tasks":[%s],"concurrencyLimits":[%s]}}`, l.now.Load(), tasks, limits)
	l.json("POST", "/api/v1/projects/proj_x/background-workers", body, 200, &v)
	l.worker = v.ID
}

// start triggers a task.
func (l *limited) start(task, options string) string {
	l.t.Helper()
	var v struct {
		ID string `json:"id"`
	}
	l.json("POST", "/api/v1/tasks/"+task+"/trigger", `{"payload":"1","options":{`+options+`}}`, 200, &v)
	return v.ID
}

// begun takes the runs that may begin, and says of which tasks they are, by their first letters.
func (l *limited) begun() string {
	l.t.Helper()
	var names strings.Builder
	for {
		var v struct {
			Messages []struct {
				Run struct {
					ID string `json:"friendlyId"`
				} `json:"run"`
			} `json:"dequeuedMessages"`
		}
		l.json("POST", "/engine/v1/dev/dequeue", `{"currentWorker":"`+l.worker+`","oldWorkers":[]}`, 200, &v)
		if len(v.Messages) == 0 {
			return names.String()
		}
		for _, m := range v.Messages {
			var run struct {
				Task string `json:"taskIdentifier"`
			}
			l.json("GET", "/api/v3/runs/"+m.Run.ID, "", 200, &run)
			names.WriteString(run.Task[:1])
		}
	}
}

func (l *limited) expect(when, want string) {
	l.t.Helper()
	if got := l.begun(); got != want {
		l.t.Errorf("%s: runs of %q begin, want %q", when, got, want)
	}
}

func (l *limited) limit(name, key string) limitItem {
	l.t.Helper()
	path := "/api/v1/concurrency-limits/" + strings.ReplaceAll(name, "/", "%2F")
	if key != "" {
		path += "?concurrencyKey=" + key
	}
	var v limitItem
	l.json("GET", path, "", 200, &v)
	return v
}

func (l *limited) change(name, what, body string) limitItem {
	l.t.Helper()
	var v limitItem
	l.json("POST", "/api/v1/concurrency-limits/"+strings.ReplaceAll(name, "/", "%2F")+"/"+what, body, 200, &v)
	return v
}

func TestConcurrencyLimits(t *testing.T) {
	t.Parallel()
	const tasks = `{"id":"alone","filePath":"a.ts","concurrency":{"inline":{"total":1}}},
		{"id":"keyed","filePath":"a.ts","concurrency":{"inline":{"perKey":1}}},
		{"id":"shares","filePath":"a.ts","concurrency":{"limits":["api"]}}, {"id":"too","filePath":"a.ts","queue":{"name":"q"},"concurrency":{"inline":{"total":5},"limits":["api"]}},
		{"id":"plain","filePath":"a.ts"}`

	t.Run("of one task", func(t *testing.T) {
		t.Parallel()
		l := setupLimits(t, tasks, "")
		for range 3 {
			l.start("alone", `"concurrencyKey":"`+t.Name()+`"`)
		}
		l.start("alone", "")
		l.expect("with a total of 1", "a")
		for range 2 {
			l.start("keyed", `"concurrencyKey":"x"`)
			l.start("keyed", `"concurrencyKey":"y"`)
			l.start("keyed", "")
		}
		l.expect("with one for each key", "kkk")
		v := l.limit("task/alone", "")
		if v.Running != 1 || v.Queued != 3 || v.Total.String() != "1/1/-" || v.PerKey.String() != "-/-/-" || !strings.HasPrefix(v.ID, "climit_") {
			t.Errorf("the limit is %+v", v)
		}
		if v := l.change("task/alone", "override", `{"total":3}`); v.Total.String() != "3/1/3" {
			t.Errorf("overridden it is %+v", v)
		}
		l.expect("after an override", "aa")
		if v := l.change("task/alone", "reset", `{}`); v.Total.String() != "1/1/-" {
			t.Errorf("after a reset it is %+v", v)
		}
		l.expect("after a reset", "")
	})

	t.Run("of several tasks", func(t *testing.T) {
		t.Parallel()
		l := setupLimits(t, tasks, `{"name":"api","total":3,"perKey":2}`)
		for range 2 {
			l.start("shares", `"concurrencyKey":"x"`)
			l.start("too", `"concurrencyKey":"x"`)
		}
		l.expect("two of one key", "st")
		l.start("plain", `"concurrencyKey":"x"`)
		l.start("plain", `"concurrencyKey":"x","concurrency":["api"]`)
		l.expect("one of those that hold no limit", "p")
		l.start("shares", `"concurrencyKey":"x","concurrency":[]`)
		l.start("shares", "")
		l.start("shares", "")
		l.expect("the total of 3, and one that was told to hold none", "ss")
		if v := l.limit("api", ""); v.Running != 3 || v.Queued != 4 || v.Total.String() != "3/3/-" || v.PerKey.String() != "2/2/-" {
			t.Errorf("the limit is %+v", v)
		}
		if v := l.limit("api", "x"); v.Name != "api" || v.Key != "x" || v.Running != 2 || v.PerKey.String() != "2/2/-" || v.PerKey.ExpiresAt != nil {
			t.Errorf("for the key it is %+v", v)
		}

		l.change("api", "pause", `{"action":"pause"}`)
		l.change("api", "override", `{"total":1000}`)
		l.expect("while it is paused", "")
		if v := l.limit("api", ""); !v.Paused || v.Total.String() != "25/3/1000" { // the environment lets no more
			t.Errorf("paused the limit is %+v", v)
		}
		l.change("api", "pause", `{"action":"resume"}`)
		l.expect("a key may have two, whatever the total", "s")
		if v := l.change("api", "override", `{"concurrencyKey":"x","perKey":3,"ttl":60}`); v.PerKey.String() != "3/2/3" || v.PerKey.ExpiresAt == nil {
			t.Errorf("for the key it is %+v", v)
		}
		l.expect("one more of the key", "s")
		// As after a restart.
		l.env().overrides.by = nil
		if err := l.env().loadOverrides(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.change("api", "override", `{"concurrencyKey":"x","perKey":4}`)
		l.expect("another one of the key", "t")
		l.now.Add(int64(8 * 24 * time.Hour / time.Millisecond))
		if v := l.limit("api", "x"); v.PerKey.String() != "2/2/-" {
			t.Errorf("a week later it is %+v", v)
		}
	})

	t.Run("that change with the version", func(t *testing.T) {
		t.Parallel()
		l := setupLimits(t, `{"id":"told","filePath":"a.ts"}`, "")
		for range 3 {
			l.start("alone", "") // nobody has it yet
		}
		l.now.Add(1)
		l.register(tasks, `{"name":"api","total":1}`)
		l.expect("of a task that was triggered before it was there", "a")
		l.start("shares", "")
		l.start("too", "")
		l.expect("at first", "s")
		l.now.Add(1)
		l.register(tasks, `{"name":"api","total":2}`)
		l.expect("with the next version", "t")
	})

	t.Run("gates and whole queues", func(t *testing.T) {
		t.Parallel()
		l := setupLimits(t, `{"id":"alone","filePath":"a.ts","gates":[{"queue":"g"}]}, {"id":"both","filePath":"a.ts","queue":{"name":"g","concurrencyLimit":1,"combinedConcurrencyLimit":2}}, {"id":"free","filePath":"a.ts"}`, "")
		l.start("alone", "")
		l.start("both", "")
		l.start("both", `"concurrencyKey":"x"`)
		l.start("both", `"concurrencyKey":"y"`)
		l.start("free", `"gates":[{"queue":"g","concurrencyKey":"z"}]`)
		l.start("free", "")
		l.expect("one without a key, one of all others, and who passes no gate", "abf")
	})

	t.Run("lists", func(t *testing.T) {
		t.Parallel()
		l := setupLimits(t, tasks, `{"name":"api","total":3}, {"name":"unused"}`)
		l.start("unknown", "")
		var limits struct{ Data []limitItem }
		l.json("GET", "/api/v1/concurrency-limits", "", 200, &limits)
		var names []string
		for _, v := range limits.Data {
			names = append(names, v.Name)
		}
		if got, want := fmt.Sprint(names), "[api task/alone task/keyed task/too unused]"; got != want {
			t.Errorf("limits %s, want %s", got, want)
		}
		var queues struct {
			Data []struct {
				Name, Version string
				Concurrency   *struct{}
			}
		}
		l.json("GET", "/api/v1/queues", "", 200, &queues)
		// Queues are there before their first run; what tasks with limits wait in is only a line.
		names = nil
		for _, q := range queues.Data {
			names = append(names, fmt.Sprint(q.Name, " ", q.Version, " ", q.Concurrency != nil))
		}
		if got, want := strings.Join(names, ", "), "q V1 true, alone V2 false, keyed V2 false, plain V1 true, shares V2 false, unknown V1 true"; got != want {
			t.Errorf("queues %s, want %s", got, want)
		}
		l.json("POST", "/api/v1/queues/alone/concurrency/override", `{"type":"task","concurrencyLimit":1}`, 400, nil)
		l.json("POST", "/api/v1/queues/plain/pause", `{"type":"task","action":"pause"}`, 200, nil)
		l.json("GET", "/api/v1/concurrency-limits/task%2Funknown", "", 404, nil)
		l.start("plain", "")
		l.expect("in a queue that was paused before its first run", "")
	})

	t.Run("bad input", func(t *testing.T) {
		t.Parallel()
		l := setupLimits(t, tasks, `{"name":"api","total":3}`)
		for body, want := range map[string]int{
			`{}`: 400, `{"perKey":-1}`: 400, `{"total":1.5}`: 400, `{"total":100001}`: 400, `{"concurrencyKey":"x"}`: 400, `{"concurrencyKey":"","perKey":1}`: 400,
			`{"concurrencyKey":"x","perKey":1,"total":1}`: 400, `{"perKey":1,"ttl":"1d"}`: 400, `{"concurrencyKey":"x","perKey":1,"ttl":"31d"}`: 400,
			`{"concurrencyKey":"x","perKey":1,"ttl":"soon"}`: 400, `{"concurrencyKey":"x","perKey":1,"ttl":0}`: 400, `{"concurrencyKey":7,"perKey":0,"ttl":"1d"}`: 200,
		} {
			l.json("POST", "/api/v1/concurrency-limits/api/override", body, want, nil)
		}
		l.json("GET", "/api/v1/concurrency-limits/none", "", 404, nil)
		l.json("POST", "/api/v1/concurrency-limits/none/override", `{"total":1}`, 404, nil)
		l.json("POST", "/api/v1/concurrency-limits/api/pause", `{"action":"stop"}`, 400, nil)
		for options, want := range map[string]int{
			`"concurrency":["api","x","y"]`: 400, `"concurrency":["not/a/name"]`: 400, `"concurrency":["unknown"]`: 422, `"gates":[{"queue":""}]`: 400,
			`"gates":[{"queue":"a"},{"queue":"b"},{"queue":"c"},{"queue":"d"}]`: 400,
		} {
			l.json("POST", "/api/v1/tasks/plain/trigger", `{"payload":"1","options":{`+options+`}}`, want, nil)
		}
		for _, metadata := range []string{
			`"tasks":[{"id":"a","concurrency":{"inline":{"total":0}}}]`, `"tasks":[{"id":"a","concurrency":{"limits":["a","b","c"]}}]`,
			`"tasks":[{"id":"a"}],"concurrencyLimits":[{"name":"a b"}]`, `"tasks":[{"id":"a","queue":{"concurrencyLimit":-1}}]`,
			`"tasks":[{"id":"a"}],"queues":[{"name":"q","concurrencyLimit":100001}]`,
		} {
			l.json("POST", "/api/v1/projects/proj_x/background-workers", `{"engine":"V2","metadata":{"contentHash":"bad",`+metadata+`}}`, 400, nil)
		}
	})
}
