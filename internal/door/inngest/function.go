package inngest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/cron"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/expr"
)

// Limits of section 7.
const (
	maxTriggers       = 10
	maxCancels        = 5
	maxConcurrency    = 2
	maxRetries        = 20
	defaultRetries    = 4
	maxBatchSize      = 100
	minDebounce       = engine.Second
	maxDebounce       = 7 * engine.Day
	maxRatePeriod     = engine.Day
	maxTriggerName    = 255
	failureHandlerEnd = "-failure"
)

// wireFunction is one element of a registration: section 7.1. Keys match whatever their case, which Go's "Singleton"
// needs.
type wireFunction struct {
	ID          string              `json:"id"`
	Name        string              `json:"name"`
	Triggers    []wireTrigger       `json:"triggers"`
	Steps       map[string]wireStep `json:"steps"`
	Concurrency json.RawMessage     `json:"concurrency"`
	Throttle    *wireRate           `json:"throttle"`
	RateLimit   *wireRate           `json:"rateLimit"`
	Debounce    *struct {
		Period  string  `json:"period"`
		Key     *string `json:"key"`
		Timeout *string `json:"timeout"`
	} `json:"debounce"`
	BatchEvents *struct {
		MaxSize int     `json:"maxSize"`
		Timeout string  `json:"timeout"`
		Key     *string `json:"key"`
		If      *string `json:"if"`
	} `json:"batchEvents"`
	Singleton *struct {
		Key  *string `json:"key"`
		Mode string  `json:"mode"`
	} `json:"singleton"`
	Idempotency *string `json:"idempotency"`
	Priority    *struct {
		Run *string `json:"run"`
	} `json:"priority"`
	Timeouts *struct {
		Start  *string `json:"start"`
		Finish *string `json:"finish"`
	} `json:"timeouts"`
	Cancel []struct {
		Event   string  `json:"event"`
		If      *string `json:"if"`
		Timeout *string `json:"timeout"`
	} `json:"cancel"`
}

type wireTrigger struct {
	Event      string  `json:"event"`
	Expression *string `json:"expression"`
	Cron       string  `json:"cron"`
	Jitter     *string `json:"jitter"`
}

type wireStep struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Runtime struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"runtime"`
	Retries *struct {
		Attempts *int `json:"attempts"`
	} `json:"retries"`
}

type wireRate struct {
	Limit  int     `json:"limit"`
	Period string  `json:"period"`
	Burst  int     `json:"burst"`
	Key    *string `json:"key"`
}

type wireLimit struct {
	Limit int     `json:"limit"`
	Key   *string `json:"key"`
	Scope string  `json:"scope"`
}

// target is what the door needs to call a function; it is the Config of the engine's function.
type target struct {
	URL  string          `json:"url"`  // of the function's step
	SDK  string          `json:"sdk"`  // "js:v4.24.0"
	Wire json.RawMessage `json:"wire"` // the registration as it came, for those who ask

	fn *engine.Function // it was decoded from
}

// syntaxError is a registration that cannot be understood, as against one that is understood and refused.
type syntaxError struct{ msg string }

func (e *syntaxError) Error() string { return e.msg }

var idSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("quartet:inngest"))

// functionID is stable over registrations and restarts.
func functionID(env, slug string) engine.UUID {
	return engine.UUID(uuid.NewSHA1(idSpace, []byte("function\x00"+env+"\x00"+slug)))
}

func appID(env, name string) engine.UUID {
	return engine.UUID(uuid.NewSHA1(idSpace, []byte("app\x00"+env+"\x00"+name)))
}

// function translates and validates one function: sections 7.2 and 7.3. The error lists every problem of it.
func function(env, app, sdk string, raw json.RawMessage) (*engine.Function, error) {
	var w wireFunction
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, &syntaxError{err.Error()}
	}
	b := builder{w: &w}
	f := &engine.Function{
		ID: functionID(env, w.ID), Env: env, App: app, Slug: w.ID, Name: w.Name, Door: Name,
	}
	b.check(w.ID != "", "id is required")
	if w.Name == "" {
		f.Name = w.ID
	}
	stepURL := b.step(f)
	b.triggers(f)
	b.concurrency(f)
	b.rates(f)
	b.debounceAndBatch(f)
	b.singleton(f)
	b.cancels(f)
	if w.Priority != nil {
		f.Flow.Priority = b.expression("priority.run", w.Priority.Run)
	}
	if w.Timeouts != nil {
		f.Flow.StartTimeout, f.Flow.FinishTimeout = lenient(w.Timeouts.Start), lenient(w.Timeouts.Finish)
	}
	if b.syntax != nil {
		return nil, fmt.Errorf("function %s: %w", w.ID, b.syntax)
	}
	if len(b.problems) > 0 {
		return nil, fmt.Errorf("function %s: %w", w.ID, errors.Join(b.problems...))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, &syntaxError{err.Error()}
	}
	cfg, err := json.Marshal(target{URL: stepURL, SDK: sdk, Wire: compact.Bytes()})
	if err != nil {
		return nil, err
	}
	f.Config = cfg
	return f, nil
}

// builder collects the problems of one function.
type builder struct {
	w        *wireFunction
	problems []error
	syntax   error
}

func (b *builder) check(ok bool, format string, args ...any) {
	if !ok {
		b.problems = append(b.problems, fmt.Errorf(format, args...))
	}
}

// expression checks a CEL expression; null and empty are none.
func (b *builder) expression(field string, src *string) string {
	if src == nil || *src == "" {
		return ""
	}
	_, err := expr.Compile(*src)
	b.check(err == nil, "%s: invalid expression %q: %v", field, *src, err)
	return *src
}

// duration reads a span that must parse; one that does not is an error of the whole request.
func (b *builder) duration(field, s string) int64 {
	d, err := parseDuration(s)
	if err != nil && b.syntax == nil {
		b.syntax = &syntaxError{field + ": " + err.Error()}
	}
	return d
}

// lenient reads a span that counts as absent when it does not parse.
func lenient(s *string) int64 {
	if s == nil {
		return 0
	}
	d, err := parseDuration(*s)
	if err != nil {
		return 0
	}
	return d
}

func (b *builder) step(f *engine.Function) string {
	b.check(len(b.w.Steps) == 1, "steps: exactly one step is required, got %d", len(b.w.Steps))
	for _, s := range b.w.Steps {
		u, err := url.Parse(s.Runtime.URL)
		b.check(err == nil && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "ws" || u.Scheme == "wss"),
			"steps.runtime.url: %q is not a http, https, ws or wss URL", s.Runtime.URL)
		if err == nil {
			f.Target = u.Scheme + "://" + u.Host
		}
		retries := defaultRetries
		if s.Retries != nil && s.Retries.Attempts != nil {
			retries = *s.Retries.Attempts
		}
		b.check(retries >= 0 && retries <= maxRetries, "retries: %d is not between 0 and %d", retries, maxRetries)
		f.MaxAttempts = retries + 1
		return s.Runtime.URL
	}
	return ""
}

func (b *builder) triggers(f *engine.Function) {
	b.check(len(b.w.Triggers) <= maxTriggers, "triggers: %d are more than %d", len(b.w.Triggers), maxTriggers)
	for i, t := range b.w.Triggers {
		b.check((t.Event == "") != (t.Cron == ""), "triggers: each needs either an event or a cron")
		b.check(len(t.Event) <= maxTriggerName, "triggers: event name is longer than %d", maxTriggerName)
		out := engine.Trigger{Event: t.Event, If: b.expression("triggers.expression", t.Expression), Cron: t.Cron}
		if t.Cron != "" {
			out.CronEvent = eventTimer
			_, err := cron.Parse(t.Cron, cron.Options{})
			b.check(err == nil, "triggers.cron: %v", err)
			if t.Jitter != nil && *t.Jitter != "" {
				out.CronJitter = b.duration("triggers.jitter", *t.Jitter)
				b.check(out.CronJitter > 0, "triggers.jitter must be positive")
			}
		}
		for _, o := range f.Triggers[:i] {
			b.check(o != out, "triggers: %s%s is listed twice", t.Event, t.Cron)
		}
		f.Triggers = append(f.Triggers, out)
	}
}

// concurrency reads the four forms of section 18.7.
func (b *builder) concurrency(f *engine.Function) {
	raw := absent(bytes.TrimSpace(b.w.Concurrency))
	if raw == nil {
		return
	}
	var calls, runs []wireLimit
	var err error
	switch raw[0] {
	case '[':
		err = json.Unmarshal(raw, &calls)
	case '{':
		var forms struct {
			wireLimit
			Fn   []wireLimit `json:"fn"`
			Step []wireLimit `json:"step"`
		}
		err = json.Unmarshal(raw, &forms)
		runs, calls = forms.Fn, forms.Step
		if forms.Limit != 0 || forms.wireLimit.Key != nil || forms.Fn == nil && forms.Step == nil {
			calls = append(calls, forms.wireLimit)
		}
	default:
		calls = make([]wireLimit, 1)
		err = json.Unmarshal(raw, &calls[0].Limit)
	}
	if err != nil {
		b.syntax = &syntaxError{"concurrency: " + err.Error()}
		return
	}
	b.check(len(calls) <= maxConcurrency, "concurrency: %d limits are more than %d", len(calls), maxConcurrency)
	b.check(len(runs) <= 1, "concurrency.fn: at most one limit")
	for _, l := range runs {
		b.check(l.Limit > 0, "concurrency.fn: limit must be at least 1")
		f.Flow.Concurrency = append(f.Flow.Concurrency, b.limit(l, true))
	}
	for _, l := range calls {
		f.Flow.Concurrency = append(f.Flow.Concurrency, b.limit(l, false))
	}
}

func (b *builder) limit(l wireLimit, perRun bool) engine.Concurrency {
	out := engine.Concurrency{Limit: l.Limit, Key: b.expression("concurrency.key", l.Key), PerRun: perRun}
	b.check(l.Limit >= 0, "concurrency: limit %d is negative", l.Limit)
	switch scope := strings.ToLower(l.Scope); scope { // Go writes them with a capital
	case "", "fn":
		out.Scope = engine.ScopeFunction
	case "env", "account":
		out.Scope = engine.Scope(scope)
		b.check(out.Key != "", "concurrency: scope %s needs a key", l.Scope)
	default:
		b.check(false, "concurrency: scope %q is not fn, env or account", l.Scope)
	}
	return out
}

func (b *builder) rates(f *engine.Function) {
	if t := b.w.Throttle; t != nil {
		// A limit of 0 counts as 1 here, while for the rate limit it is refused: that is how the protocol has it.
		f.Flow.Throttle = &engine.Rate{
			Limit: max(1, t.Limit), Period: b.duration("throttle.period", t.Period), Burst: max(0, t.Burst),
			Key: b.expression("throttle.key", t.Key),
		}
		b.check(f.Flow.Throttle.Period > 0 || b.syntax != nil, "throttle.period must be positive")
	}
	if r := b.w.RateLimit; r != nil {
		f.Flow.RateLimit = &engine.Rate{
			Limit: r.Limit, Period: b.duration("rateLimit.period", r.Period), Burst: r.Limit / 10,
			Key: b.expression("rateLimit.key", r.Key),
		}
		b.check(r.Limit >= 1, "rateLimit.limit must be at least 1")
		b.check(f.Flow.RateLimit.Period > 0 && f.Flow.RateLimit.Period <= maxRatePeriod || b.syntax != nil, "rateLimit.period must be at most 24h")
	}
	if key := b.expression("idempotency", b.w.Idempotency); key != "" && f.Flow.RateLimit == nil {
		f.Flow.RateLimit = &engine.Rate{Limit: 1, Period: engine.Day, Key: key}
	}
}

func (b *builder) debounceAndBatch(f *engine.Function) {
	if d := b.w.Debounce; d != nil {
		f.Flow.Debounce = &engine.Debounce{
			Period: b.duration("debounce.period", d.Period), Timeout: lenient(d.Timeout),
			Key: b.expression("debounce.key", d.Key),
		}
		b.check(b.syntax != nil || f.Flow.Debounce.Period >= minDebounce && f.Flow.Debounce.Period <= maxDebounce,
			"debounce.period %q is not between 1s and 7d", d.Period)
	}
	t := b.w.BatchEvents
	if t == nil {
		return
	}
	f.Flow.Batch = &engine.Batch{
		Size: t.MaxSize, Timeout: b.duration("batchEvents.timeout", t.Timeout),
		Key: b.expression("batchEvents.key", t.Key), If: b.expression("batchEvents.if", t.If),
	}
	b.check(t.MaxSize >= 2 && t.MaxSize <= maxBatchSize, "batchEvents.maxSize %d is not between 2 and %d", t.MaxSize, maxBatchSize)
	b.check(f.Flow.Batch.Timeout >= engine.Second || b.syntax != nil, "batchEvents.timeout must be at least 1s")
	b.check(!strings.ContainsAny(t.Timeout, "dw"), "batchEvents.timeout must be in hours, minutes and seconds")
	b.check(len(b.w.Cancel) == 0, "batchEvents cannot be combined with cancel")
	b.check(b.w.Debounce == nil, "batchEvents cannot be combined with debounce")
	b.check(b.w.Singleton == nil, "batchEvents cannot be combined with singleton")
	b.check(b.w.Priority == nil || b.w.Priority.Run == nil, "batchEvents cannot be combined with priority.run")
}

func (b *builder) singleton(f *engine.Function) {
	s := b.w.Singleton
	if s == nil {
		return
	}
	f.Flow.Singleton = &engine.Singleton{Key: b.expression("singleton.key", s.Key), Cancel: s.Mode == "cancel"}
	if s.Mode != "skip" && s.Mode != "cancel" && b.syntax == nil {
		b.syntax = &syntaxError{fmt.Sprintf("singleton.mode: %q is not skip or cancel", s.Mode)}
	}
}

func (b *builder) cancels(f *engine.Function) {
	b.check(len(b.w.Cancel) <= maxCancels, "cancel: %d are more than %d", len(b.w.Cancel), maxCancels)
	for _, c := range b.w.Cancel {
		b.check(c.Event != "", "cancel: event is required")
		rule := engine.CancelRule{Event: c.Event, If: b.expression("cancel.if", c.If)}
		if rule.If != "" {
			if p, err := expr.Compile(rule.If); err == nil {
				err = p.PlainLogic()
				b.check(err == nil, "cancel.if: %v", err)
			}
		}
		if c.Timeout != nil && *c.Timeout != "" {
			rule.Timeout = b.duration("cancel.timeout", *c.Timeout)
		}
		f.Cancel = append(f.Cancel, rule)
	}
}
