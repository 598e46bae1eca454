package trigger

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 6: runs are triggered one by one here, and in numbers by batch.go.

// Limits of section 6.1.
const (
	maxTags   = 10
	maxTag    = 128
	maxKey    = 2048
	maxLimits = 2 // named ones that a run holds
	maxGates  = 3
)

var limitName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,122}$`)

// keyLife is for how long an idempotency key holds, unless it says so itself: section 6.4.
const keyLife = 30 * engine.Day

// devTTL is how long a run waits for a worker in development: section 22.7.
const devTTL = "10m"

func (d *Door) triggerRoutes() {
	d.route("POST /api/v1/tasks/{task}/trigger", public, (*environment).trigger)
	d.route("POST /api/v1/idempotencyKeys/{key}/reset", secret, (*environment).resetKey)
	d.batchRoutes()
}

// triggerBody is the body of a trigger and, but for the parent, of an item of a batch.
type triggerBody struct {
	Payload json.RawMessage `json:"payload"`
	Options triggerOptions  `json:"options"`
}

type triggerOptions struct {
	Queue *struct {
		Name  string `json:"name"`
		Limit *int   `json:"concurrencyLimit"`
	} `json:"queue"`
	Concurrency    *[]string       `json:"concurrency"` // names of limits, instead of the task's
	Gates          []gate          `json:"gates"`
	ConcurrencyKey json.RawMessage `json:"concurrencyKey"`
	Key            string          `json:"idempotencyKey"`
	KeyTTL         string          `json:"idempotencyKeyTTL"`
	KeyOptions     *struct {
		Key   string `json:"key"`
		Scope string `json:"scope"`
	} `json:"idempotencyKeyOptions"`
	Delay        json.RawMessage `json:"delay"`
	TTL          json.RawMessage `json:"ttl"`
	Tags         json.RawMessage `json:"tags"`
	MaxAttempts  int             `json:"maxAttempts"`
	MaxDuration  float64         `json:"maxDuration"`
	Machine      string          `json:"machine"`
	Priority     float64         `json:"priority"`
	Metadata     json.RawMessage `json:"metadata"`
	MetadataType string          `json:"metadataType"`
	PayloadType  string          `json:"payloadType"`
	Test         bool            `json:"test"`
	Parent       string          `json:"parentRunId"`
	Wait         bool            `json:"resumeParentOnCompletion"`
	Lock         string          `json:"lockToVersion"`
	External     string          `json:"externalDeploymentId"`
	Debounce     json.RawMessage `json:"debounce"`
}

// order is a run that is to be started.
type order struct {
	opts    options
	id      engine.ID
	payload json.RawMessage // plain
	holds   []hold
	parent  engine.ID
	replay  engine.ID       // that it repeats
	rows    []engine.RowPut // written with the run
	// debounce says that it joins a run that is delayed; nil: it does not.
	debounce *debounce
}

// started is what became of an order.
type started struct {
	ID     engine.ID
	Cached bool
}

// trigger is POST /api/v1/tasks/{task}/trigger.
func (env *environment) trigger(r *http.Request) (any, error) {
	name := r.PathValue("task")
	if err := permit(r, "trigger:tasks:"+name, "write:tasks:"+name); err != nil {
		return nil, err
	}
	var in triggerBody
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Options.Key == "" {
		in.Options.Key, in.Options.KeyTTL = r.Header.Get("Idempotency-Key"), r.Header.Get("Idempotency-Key-Ttl")
	}
	var use []engine.RowPut
	if c := callerOf(r).claims; c != nil && c.Once {
		row := env.tokenUse(r.Header.Get("Authorization"), c.Exp)
		_, used, err := env.cfg.Host.Get(r.Context(), row.Table, row.Key)
		if err != nil {
			return nil, err
		}
		if used || !env.requests.first(string(row.Key), env.cfg.Now()) { // it may be on its way to the store
			return nil, invalid("Cannot trigger %s with a one-time use token as it has already been used.", name)
		}
		use = []engine.RowPut{row}
	}
	request := r.Header.Get("X-Trigger-Request-Idempotency-Key")
	s, err := env.requests.once("trigger\x00"+env.Name+"\x00"+request, request != "", env.cfg.Now(), func() (any, error) {
		o, err := env.order(r, name, &in)
		if err != nil {
			return nil, err
		}
		o.rows = use
		return env.place(r.Context(), o)
	})
	if err != nil {
		return nil, err
	}
	id := friendly(runPrefix, s.(started).ID)
	return &accepted{http.StatusOK, env.tokenHeaders(r, "read:runs:"+id, "write:inputStreams:"+id), map[string]any{"id": id, "isCached": s.(started).Cached}}, nil
}

// tokenUse is the row that says that a token for one use was used. It stays as long as the token is good for anything.
func (env *environment) tokenUse(token string, expires int64) engine.RowPut {
	sum := sha256.Sum256([]byte(token))
	return engine.RowPut{Table: store.Logs, Key: []byte("\x00trigger\x00" + env.Name + "\x00once\x00" + string(sum[:])), Value: []byte{1}, Expires: expires * 1000}
}

var queueStrip = regexp.MustCompile(`[^a-zA-Z0-9_\-/]`)

// order reads what a run is triggered with.
func (env *environment) order(r *http.Request, name string, in *triggerBody) (*order, error) {
	now := env.cfg.Now()
	opt := &in.Options
	o := &order{id: env.newID(), opts: options{
		Task: name, Key: opt.Key, MaxAttempts: min(max(0, opt.MaxAttempts), maxAttempts), MaxDuration: opt.MaxDuration, Machine: opt.Machine, Priority: opt.Priority, Test: opt.Test,
		Parent: opt.Parent, Wait: opt.Wait, Streams: r.Header.Get("X-Trigger-Realtime-Streams-Version"),
	}}
	o.opts.Trace, o.opts.Span = traceOf(traceHeader(r))
	if name == "" || len(name) > 512 {
		return nil, fail(http.StatusBadRequest, "the task has no usable id")
	}
	if len(opt.Key) > maxKey {
		return nil, fail(http.StatusBadRequest, "idempotencyKey must be %d characters or less", maxKey)
	}
	if opt.KeyOptions != nil {
		o.opts.UserKey, o.opts.KeyScope = opt.KeyOptions.Key, opt.KeyOptions.Scope
	} else {
		o.opts.UserKey = opt.Key
	}
	o.opts.KeyTTL = keyLife
	if t, ok := parseDuration(opt.KeyTTL); ok {
		o.opts.KeyTTL = t.Milliseconds()
	}
	if err := o.readPayload(in); err != nil {
		return nil, err
	}
	var err error
	if o.debounce, err = readDebounce(opt.Debounce); err != nil {
		return nil, err
	}
	if o.opts.Tags, err = readTags(opt.Tags); err != nil {
		return nil, err
	}
	if o.opts.Metadata, err = readSeed(opt); err != nil {
		return nil, err
	}
	if s := scalar(opt.Delay); s != "" {
		at, ok := parseWhen(s, now)
		if !ok {
			return nil, invalid("Invalid delay %s", s)
		}
		if at > now.UnixMilli() {
			o.opts.Delay = at
		}
	}
	o.opts.ConcurrencyKey = scalar(opt.ConcurrencyKey)
	if len(o.opts.ConcurrencyKey) > maxTag {
		return nil, invalid("concurrencyKey must be %d characters or less", maxTag)
	}
	if err := env.version(o, opt); err != nil {
		return nil, err
	}
	return o, nil
}

// version settles what depends on the version that will execute the run: its queue, its limit, its patience.
func (env *environment) version(o *order, opt *triggerOptions) error {
	w := env.current()
	if opt.Lock != "" {
		if w = env.workers.version(opt.Lock); w == nil {
			return invalid("Task locked to version '%s', but no worker found with that version.", opt.Lock)
		}
		if w.task(o.opts.Task) == nil {
			return invalid("Task '%s' not found on locked version '%s'.", o.opts.Task, opt.Lock)
		}
		o.opts.Lock = w.ID
		if t := w.task(o.opts.Task); o.opts.MaxAttempts == 0 && t.Retry != nil {
			o.opts.MaxAttempts = min(max(1, t.Retry.MaxAttempts), maxAttempts)
		}
	}
	if opt.External != "" && opt.Lock == "" && env.deployed() {
		if len(opt.External) > maxExternal {
			return invalid("externalDeploymentId must be %d characters or less", maxExternal)
		}
		o.opts.Lock = externalPool + opt.External // until there is such a deployment it waits
		if of := env.pooled(o.opts.Lock); of != nil {
			w, o.opts.Lock = of, of.ID
		}
	}
	if err := env.stand(w, o, opt); err != nil {
		return err
	}
	ttl := scalar(opt.TTL)
	if t := w.task(o.opts.Task); ttl == "" && t != nil {
		ttl = scalar(t.TTL)
	}
	if ttl == "" && !env.deployed() {
		ttl = devTTL
	}
	if ttl == "" {
		ttl = "0"
	}
	t, ok := parseLife(ttl)
	if !ok {
		return invalid("Invalid ttl %s", ttl)
	}
	if t > 0 {
		if n, err := strconv.Atoi(ttl); err == nil {
			ttl = strconv.Itoa(n) + "s"
		}
		o.opts.TTL, o.opts.TTLMillis = ttl, t.Milliseconds()
	}
	return nil
}

// stand settles which lines the run stands in.
func (env *environment) stand(w *worker, o *order, opt *triggerOptions) error {
	o.opts.Queue = slugPrefix + o.opts.Task
	if t := w.task(o.opts.Task); t != nil {
		o.opts.Queue = t.queue()
	}
	if opt.Queue != nil {
		o.opts.Queue = cmp.Or(queueStrip.ReplaceAllString(opt.Queue.Name, ""), o.opts.Queue)
	}
	if len(o.opts.Queue) > 256 {
		return invalid("the name of the queue is longer than 256 characters")
	}
	o.opts.Limits, o.opts.Gates = opt.Concurrency, opt.Gates
	if opt.Concurrency != nil {
		if len(*opt.Concurrency) > maxLimits {
			return fail(http.StatusBadRequest, "concurrency: at most %d limits can be named", maxLimits)
		}
		for _, name := range *opt.Concurrency {
			if !limitName.MatchString(name) {
				return fail(http.StatusBadRequest, "concurrency: %q is not the name of a limit: up to 122 letters, digits, _ and -", name)
			}
			if _, ok := w.declared(line{true, name}); w != nil && !ok {
				return invalid("The concurrency limit %s is not declared: export it from a task's file with concurrencyLimit({ name: %q, … })", name, name)
			}
		}
	}
	if err := checkGates("gates", opt.Gates); err != nil {
		return err
	}
	o.holds = w.holds(o.opts.Task, o.opts.ConcurrencyKey, o.opts.Queue, opt.Concurrency, opt.Gates)
	return nil
}

func (o *order) readPayload(in *triggerBody) error {
	typ := in.Options.PayloadType
	var text *string
	switch {
	case len(in.Payload) == 0:
	case typ == "":
		s := string(in.Payload)
		text, typ = &s, typeJSON
	case json.Unmarshal(in.Payload, &text) != nil:
		s := string(in.Payload)
		text = &s
	}
	if typ == typeStore && (text == nil || *text == "") {
		return fail(http.StatusBadRequest, "payload: a payload of the type %s must be the path of a stored packet", typeStore)
	}
	p := readPacket(text, typ)
	o.payload, o.opts.Packet = p.Data, p
	return nil
}

func readTags(raw json.RawMessage) ([]string, error) {
	var list []string
	var one string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case json.Unmarshal(raw, &list) == nil:
	case json.Unmarshal(raw, &one) == nil:
		list = []string{one}
	default:
		return nil, fail(http.StatusBadRequest, "tags must be text or a list of texts")
	}
	var tags []string
	for _, t := range list {
		if len(t) > maxTag {
			return nil, fail(http.StatusBadRequest, "Tags must be less than %d characters", maxTag)
		}
		if strings.TrimSpace(t) != "" && !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	if len(tags) > maxTags {
		return nil, invalid("Runs can only have %d tags, you're trying to set %d.", maxTags, len(tags))
	}
	return tags, nil
}

// readSeed is the metadata of the beginning, as plain JSON.
func readSeed(opt *triggerOptions) (string, error) {
	raw := opt.Metadata
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		p := readPacket(&text, opt.MetadataType)
		raw = p.Data
	}
	if len(raw) > maxMetadata {
		return "", tooLarge()
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return "", fail(http.StatusBadRequest, "metadata must be an object")
	}
	return string(raw), nil
}

// scalar is a text or number as text; "" for anything else.
func scalar(raw json.RawMessage) string {
	var s string
	var n json.Number
	switch {
	case len(raw) == 0:
	case json.Unmarshal(raw, &s) == nil:
		return s
	case json.Unmarshal(raw, &n) == nil:
		return n.String()
	}
	return ""
}

// traceOf is the trace that a run belongs to, the caller's or a new one, with the span of its own that the run has in it, and the caller's span.
func traceOf(header string) (trace, caller string) {
	var b [24]byte
	_, _ = rand.Read(b[:]) // it does not fail
	id, span := hex.EncodeToString(b[:16]), hex.EncodeToString(b[16:])
	if m := traceparent.FindStringSubmatch(header); m != nil {
		id, caller = m[1], m[2]
	}
	return "00-" + id + "-" + span + "-01", caller
}

// traceHeader is the trace of a request; "" when it has none that can be used.
func traceHeader(r *http.Request) string {
	if h := r.Header.Get("Traceparent"); traceparent.MatchString(h) {
		return h
	}
	return ""
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)

// place starts the run of an order, or finds the one that its key names.
func (env *environment) place(ctx context.Context, o *order) (started, error) {
	if o.opts.Key != "" {
		unlock := env.locks.Lock(slugPrefix + o.opts.Task + "\x00" + o.opts.Key)
		defer unlock()
	}
	p, err := env.plan(ctx, o)
	switch {
	case err != nil || p.start == nil:
		return p.old, err
	case o.debounce != nil:
		return env.debounced(ctx, o, p.start)
	}
	return env.startRun(ctx, o, p.start)
}

// plan is how an order is placed.
type plan struct {
	start *engine.Start // nil: there is nothing to start
	old   started       // because of this run
}

// plan says how an order is placed. The caller holds the lock of its key, if it has one.
func (env *environment) plan(ctx context.Context, o *order) (plan, error) {
	if err := env.know(ctx, o.opts.Task); err != nil {
		return plan{}, err
	}
	if o.opts.Parent != "" {
		if err := env.descend(ctx, o); err != nil {
			return plan{}, err
		}
	}
	c := env.start(o)
	if c.Key != "" {
		old, err := env.keyed(ctx, c)
		if err != nil {
			return plan{}, err
		}
		if old != nil {
			if o.opts.Wait {
				err = env.join(ctx, o, old)
			}
			return plan{old: started{old.ID, true}}, err
		}
	}
	return plan{start: c}, nil
}

// startRun starts the run of an order, for which its parent may wait.
func (env *environment) startRun(ctx context.Context, o *order, c *engine.Start) (started, error) {
	reply, err := env.cfg.Host.Submit(ctx, env.command(o, c))
	if err != nil {
		return started{}, err
	}
	return env.placed(ctx, o, reply)
}

// command is what starts the run of an order.
func (env *environment) command(o *order, c *engine.Start) engine.Command {
	if o.opts.Wait {
		return &engine.Block{Run: o.parent, Ops: []engine.Op{{Kind: engine.OpInvoke, Step: env.runPoint(o, o.id), Child: c}}}
	}
	return c
}

// placed is what became of an order, by the reply to its command.
func (env *environment) placed(ctx context.Context, o *order, reply any) (started, error) {
	switch rep := reply.(type) {
	case bool: // of Block
		if !rep {
			return started{}, env.deadParent(ctx, o)
		}
		return started{ID: o.id}, nil
	case engine.StartReply:
		switch rep.Outcome {
		case engine.Duplicate:
			return started{rep.Run, true}, nil
		case engine.Started:
			return started{ID: rep.Run}, nil
		}
	}
	return started{}, invalid("Task %s cannot be triggered now", o.opts.Task)
}

// descend finds the parent of an order.
func (env *environment) descend(ctx context.Context, o *order) error {
	rec, err := env.mustRead(ctx, o.opts.Parent)
	if err != nil {
		return err
	}
	if rec.Status.Ended() {
		return env.deadParent(ctx, o)
	}
	o.parent, o.opts.Depth, o.opts.Root = rec.ID, rec.opts.Depth+1, rec.opts.Root
	if o.opts.Root == "" {
		o.opts.Root = o.opts.Parent
	}
	return nil
}

func (env *environment) deadParent(ctx context.Context, o *order) error {
	status := "FINISHED"
	if x, err := env.look(ctx, o.opts.Parent); err == nil {
		status = x.status
	}
	return invalid("Cannot trigger %s as the parent run has a status of %s", o.opts.Task, status)
}

// runPoint is the step of a parent that waits for a run.
func (env *environment) runPoint(o *order, run engine.ID) engine.Step {
	p := point{Type: "RUN", Run: friendly(runPrefix, run)}
	name := "triggerAndWait: " + o.opts.Task
	if o.opts.Batch != "" {
		p.Batch, p.Index = o.opts.Batch, &o.opts.BatchIndex
		name = "batchTriggerAndWait: " + o.opts.Task + " " + strconv.Itoa(o.opts.BatchIndex)
	}
	return engine.Step{ID: friendly(waitPrefix, env.newID()), Name: name, Type: "task", Opts: mustJSON(p)}
}

// join makes the parent of an order wait for a run that exists.
func (env *environment) join(ctx context.Context, o *order, rec *record) error {
	op := engine.Op{Kind: engine.OpInvoke, Step: env.runPoint(o, rec.ID), Joined: rec.ID}
	if rec.Status.Ended() {
		op = engine.Op{Kind: engine.OpStepDone, Step: op.Step, Value: rec.Output}
	}
	ok, err := do[bool](ctx, env, &engine.Block{Run: o.parent, Short: op.Kind == engine.OpStepDone, Ops: []engine.Op{op}})
	if err == nil && !ok {
		err = env.deadParent(ctx, o)
	}
	return err
}

// start is how the engine is told of a run.
func (env *environment) start(o *order) *engine.Start {
	opts := &o.opts
	if p := opts.Packet; p.Raw != "" {
		opts.Packet.Data = nil
	}
	n := note{Tags: opts.Tags}
	if opts.Metadata != "" {
		n.Metadata = json.RawMessage(opts.Metadata)
	}
	c := &engine.Start{
		Env: env.Name, Slug: slugPrefix + opts.Task, Run: o.id, MaxAttempts: opts.MaxAttempts, Key: opts.Key, KeyWindow: opts.KeyTTL, Pool: opts.Lock, StartTimeout: opts.TTLMillis,
		Priority: int64(opts.Priority * 1000), Queues: env.joins(o.holds), Original: o.replay,
		Events: []engine.Event{{Name: "trigger/" + opts.Task, Data: o.payload, Meta: mustJSON(opts), At: opts.Delay, Internal: true, Source: "trigger.dev"}},
		Rows:   append([]engine.RowPut{env.noteRow(o.id, &n)}, o.rows...),
	}
	if o.parent != (engine.ID{}) {
		c.Rows = append(c.Rows, engine.RowPut{Table: store.Steps, Key: engine.NoteKey(o.parent, childNote+o.id.String()), Value: o.id.Bytes()})
	}
	return c
}

// keyed is the run that has the key of a command; nil when there is none, or when it ended so that the key is free again: section 6.4.
func (env *environment) keyed(ctx context.Context, c *engine.Start) (*record, error) {
	row, ok, err := env.cfg.Host.Get(ctx, store.Idempotency, engine.IdempotencyKey(env.Name, engine.StartKey(c.Slug, c.Key)))
	if err != nil || !ok {
		return nil, err
	}
	known := engine.ParseIdempotency(row)
	if len(known) < 2 {
		return nil, nil
	}
	c.SetKnown(known)
	rec, err := env.read(ctx, engine.ID(known[1]))
	if err != nil {
		return nil, err
	}
	if rec == nil || env.cfg.Now().UnixMilli() >= rec.QueuedAt+max(1, rec.opts.KeyTTL) {
		c.Freed = engine.ID(known[1])
		return nil, nil
	}
	switch env.status(rec, engine.LeaseState{}) {
	case statusFailed, statusCrashed, statusSystem, statusTimedOut, statusExpired:
		c.Freed = rec.ID
		return nil, nil
	}
	return rec, nil
}

// resetKey is POST /api/v1/idempotencyKeys/{key}/reset.
func (env *environment) resetKey(r *http.Request) (any, error) {
	var in struct {
		Task string `json:"taskIdentifier"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	key := r.PathValue("key")
	_, ok, err := env.cfg.Host.Get(r.Context(), store.Idempotency, engine.IdempotencyKey(env.Name, engine.StartKey(slugPrefix+in.Task, key)))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fail(http.StatusNotFound, "No runs found with idempotency key: %s for task: %s", key, in.Task)
	}
	if _, err := env.cfg.Host.Submit(r.Context(), &engine.FreeKey{Env: env.Name, Slug: slugPrefix + in.Task, Key: key}); err != nil {
		return nil, err
	}
	return map[string]string{"id": key}, nil
}

// requests are the answers of the last minutes by the ids that clients give to their calls: a call whose answer was lost is made again with
// the same one. Section 6.6.
type requests struct {
	mu      sync.Mutex
	answers [2]map[string]*answer
	rotated time.Time
}

type answer struct {
	done chan struct{}
	v    any
	err  error
}

var errUnanswered = errors.New("the request was not answered")

const (
	requestLife = 10 * time.Minute
	maxRequests = 20_000
)

// once does something unless it was done under that name.
func (q *requests) once(name string, named bool, now time.Time, f func() (any, error)) (any, error) {
	if !named {
		return f()
	}
	a, mine := q.claim(name, now)
	if !mine {
		<-a.done
		if a.err == nil {
			return a.v, nil
		}
		return f()
	}
	defer close(a.done)
	a.err = errUnanswered // for whoever waits, should f not return
	a.v, a.err = f()
	return a.v, a.err
}

// first says whether a name is new.
func (q *requests) first(name string, now time.Time) bool {
	a, mine := q.claim(name, now)
	if mine {
		close(a.done)
	}
	return mine
}

func (q *requests) claim(name string, now time.Time) (a *answer, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.answers[0] == nil || now.Sub(q.rotated) > requestLife || len(q.answers[0]) >= maxRequests {
		q.answers[0], q.answers[1], q.rotated = map[string]*answer{}, q.answers[0], now
	}
	for _, m := range q.answers {
		if a := m[name]; a != nil {
			return a, false
		}
	}
	a = &answer{done: make(chan struct{})}
	q.answers[0][name] = a
	return a, true
}
