package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/taskpool"
)

// Section 21.6: the runs of deployed environments are executed by pools of task processes, the server's own and those on other machines. What a
// pool holds of a run is a lease like any worker's.

// poolHold is how long a pool may be silent about a run, in ms. It beats three times as often.
const poolHold = engine.Minute

// leaseWait is how long a pool that asks for runs waits when there are none.
const leaseWait = 10 * time.Second

// externalPool begins the names of the engine's pools whose runs wait for the deployment with an external id.
const externalPool = "external:"

// bell wakes all who wait for something that may have happened.
type bell struct {
	mu sync.Mutex
	c  chan struct{}
}

func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

func (b *bell) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}

// Work says that there may be runs to take. It does not block.
func (d *Door) Work(*engine.Work) { d.work.wake() }

// notices are who hears of all runs that are not where their workers think they are.
type notices struct {
	mu sync.Mutex
	to map[chan string]bool
}

func (n *notices) subscribe() (heard chan string, leave func()) {
	c := make(chan string, 1024)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.to == nil {
		n.to = map[chan string]bool{}
	}
	n.to[c] = true
	return c, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.to, c)
	}
}

func (n *notices) tell(run string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.to { // each hears of it
		select {
		case c <- run:
		default: // it looks at its runs from time to time
		}
	}
}

// Pool is the door as a source of runs for a pool of this process.
func (d *Door) Pool() taskpool.Source { return source{d} }

// source implements [taskpool.Source].
type source struct{ d *Door }

// Lease implements [taskpool.Source].
func (s source) Lease(ctx context.Context, most int) ([]taskpool.Run, error) {
	d := s.d
	select {
	case <-d.prepared:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	end := time.NewTimer(leaseWait)
	defer end.Stop()
	for {
		more := d.work.wait()
		runs, err := d.leaseOut(ctx, most)
		if err != nil || len(runs) > 0 {
			return runs, err
		}
		select {
		case <-more:
		case <-end.C:
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// leaseOut takes runs from all deployed environments, each time beginning with another.
func (d *Door) leaseOut(ctx context.Context, most int) ([]taskpool.Run, error) {
	list := d.all()
	turn := int(d.turn.Add(1))
	var runs []taskpool.Run
	for i := range list {
		env := list[(i+turn)%len(list)]
		if !env.deployed() || len(runs) >= most {
			continue
		}
		got, err := env.leaseDeployed(ctx, most-len(runs))
		if err != nil {
			return runs, err
		}
		runs = append(runs, got...)
	}
	return runs, nil
}

func (env *environment) leaseDeployed(ctx context.Context, most int) ([]taskpool.Run, error) {
	var runs []taskpool.Run
	take := func(pools []string, bind string) error {
		if len(pools) == 0 || len(runs) >= most {
			return nil
		}
		leased, err := do[[]engine.Leased](ctx, env, &engine.Lease{Env: env.Name, Pools: pools, Bind: bind, Max: most - len(runs), Hold: startHold, Lapse: returned()})
		if err != nil {
			return err
		}
		for i := range leased {
			if r := env.poolRun(ctx, &leased[i]); r != nil {
				runs = append(runs, *r)
			}
		}
		return nil
	}
	var bound []string
	env.workers.mu.RLock()
	for _, w := range env.workers.list {
		if p := env.deployments.named(w.Deployment); p != nil && p.Status == deployDone {
			bound = append(bound, w.ID)
			if p.External != "" {
				bound = append(bound, externalPool+p.External)
			}
		}
	}
	env.workers.mu.RUnlock()
	// First those that have begun, on the version that they began with.
	if err := take(bound, ""); err != nil {
		return runs, err
	}
	if w := env.current(); w != nil {
		return runs, take([]string{poolCurrent}, w.ID)
	}
	return runs, nil
}

// poolRun is a leased run as pools have it; nil when it cannot be read, and is given back when its lease runs out.
func (env *environment) poolRun(ctx context.Context, l *engine.Leased) *taskpool.Run {
	rec, err := env.read(ctx, l.Run)
	w := env.pooled(l.Pool)
	if err != nil || rec == nil || w == nil {
		env.cfg.Log.Error("read a leased run", "run", l.Run, "err", err)
		return nil
	}
	m := machineFor(&rec.opts, &rec.note, w.task(rec.opts.Task))
	return &taskpool.Run{
		Env: env.Name, ID: friendly(runPrefix, rec.ID), Snapshot: friendly(snapshotPrefix, l.Token), Task: rec.opts.Task, Project: env.ref(),
		Deployment: w.Deployment, Version: w.Version, Worker: w.ID, Hash: w.ContentHash, Machine: m,
		Token: env.workloadToken(w.Deployment, friendly(runPrefix, rec.ID)),
	}
}

// pooled is the worker that runs of an engine's pool are for.
func (env *environment) pooled(pool string) *worker {
	if ext, ok := strings.CutPrefix(pool, externalPool); ok {
		p := env.deployments.find(func(p *deployment) bool { return p.External == ext && p.Status == deployDone })
		if p == nil {
			return nil
		}
		return env.workers.named(p.Worker)
	}
	return env.workers.named(pool)
}

// held finds the environment of a run that a pool has, once environments are known.
func (s source) held(ctx context.Context, r taskpool.Run) (*environment, engine.ID, error) {
	select {
	case <-s.d.prepared:
	case <-ctx.Done():
		return nil, engine.ID{}, context.Cause(ctx)
	}
	env := s.d.named(r.Env)
	token, ok := parseID(snapshotPrefix, r.Snapshot)
	if env == nil || !ok {
		return nil, token, taskpool.ErrLost
	}
	return env, token, nil
}

// lost turns what the protocol refuses into what a pool understands.
func lost(err error) error {
	var in *inputError
	if errors.As(err, &in) && in.status < http.StatusInternalServerError && in.status != http.StatusTooManyRequests {
		return taskpool.ErrLost
	}
	return err
}

// Start implements [taskpool.Source].
func (s source) Start(ctx context.Context, r taskpool.Run) (*taskpool.Attempt, error) {
	return s.start(ctx, r, s.d.cfg.Origin())
}

func (s source) start(ctx context.Context, r taskpool.Run, origin string) (*taskpool.Attempt, error) {
	env, token, err := s.held(ctx, r)
	if err != nil {
		return nil, err
	}
	b, err := env.begin(ctx, r.ID, token, origin, true)
	if err != nil {
		return nil, lost(err)
	}
	execution := mustJSON(b.view)
	return &taskpool.Attempt{
		Snapshot: friendly(snapshotPrefix, b.x.state.Token), Number: b.x.state.Attempt + 1, Execution: execution,
		Trace: mustJSON(map[string]string{"traceparent": b.x.rec.opts.Trace}), Env: b.vars,
	}, nil
}

// giveBack returns runs that nobody took, by leases that run out at once.
func (s source) giveBack(ctx context.Context, runs []taskpool.Run) {
	for _, r := range runs {
		if env, token, err := s.held(ctx, r); err == nil {
			if id, ok := parseID(runPrefix, r.ID); ok {
				_, _ = do[engine.LeaseState](ctx, env, &engine.Hold{Run: id, Token: token, Hold: 1}) // else it takes a minute
			}
		}
	}
}

// Complete implements [taskpool.Source].
func (s source) Complete(ctx context.Context, r taskpool.Run, result json.RawMessage) (*taskpool.Outcome, error) {
	env, token, err := s.held(ctx, r)
	if err != nil {
		return nil, err
	}
	var c completion
	if err := json.Unmarshal(result, &c); err != nil || !c.OK && c.Error == nil {
		c = completion{Error: &taskError{Type: "INTERNAL_ERROR", Code: "TASK_OUTPUT_ERROR", Message: "the result of the task cannot be read"}}
	}
	x, status, err := env.finish(ctx, r.ID, token, &c, false)
	if err != nil {
		return nil, lost(err)
	}
	return &taskpool.Outcome{Status: status, Snapshot: friendly(snapshotPrefix, x.state.Token)}, nil
}

// Heartbeat implements [taskpool.Source].
func (s source) Heartbeat(ctx context.Context, r taskpool.Run) error {
	env, token, err := s.held(ctx, r)
	if err != nil {
		return err
	}
	return env.beat(ctx, r.ID, token)
}

// Latest implements [taskpool.Source].
func (s source) Latest(ctx context.Context, r taskpool.Run) (*taskpool.State, error) {
	env, _, err := s.held(ctx, r)
	if err != nil {
		return nil, err
	}
	x, points, err := env.latest(ctx, r.ID)
	if err != nil {
		return nil, lost(err)
	}
	st := &taskpool.State{Snapshot: friendly(snapshotPrefix, x.snapshotID()), Status: x.executionStatus(), Attempt: x.attempt()}
	for _, p := range points {
		st.Completed = append(st.Completed, mustJSON(p))
	}
	return st, nil
}

// Notices implements [taskpool.Source].
func (s source) Notices(ctx context.Context, fn func(string)) error {
	c, leave := s.d.notices.subscribe()
	defer leave()
	for {
		select {
		case run := <-c:
			fn(run)
		case <-ctx.Done():
			return nil
		}
	}
}

// Bundle implements [taskpool.Source].
func (s source) Bundle(_ context.Context, name, id string) (io.ReadCloser, []byte, error) {
	env := s.d.named(name)
	if env == nil {
		return nil, nil, taskpool.ErrLost
	}
	p := env.deployments.named(id)
	if p == nil {
		return nil, nil, taskpool.ErrLost
	}
	index, err := env.pool.Index(id)
	if errors.Is(err, os.ErrNotExist) { // its directory was lost, but not what it was made of
		return nil, nil, errors.New("the deployment's directory is not there any more: deploy it again")
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(env.archive(p.Artifact))
	return f, index, err
}
