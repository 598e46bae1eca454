package taskpool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/durable"
	"github.com/quartetjobs/quartet/internal/namedlock"
)

// Config of a Pool. Zero fields take the defaults that are named.
type Config struct {
	Source Source // required
	Dir    string // where bundles are unpacked; required
	Log    *slog.Logger
	Node   string // the program that runs tasks; default: the first node in PATH
	// Active is how many runs may execute at once, those that wait for something left out; default: four for each processor.
	Active int
	// Processes is how many processes there may be, those that wait and those that are kept warm included; default: one for each 256 MiB of memory, and at
	// least twice Active.
	Processes int
	// Reuse is how many runs one process executes; 1: each has a process of its own; default 50.
	Reuse int
	// BaseUID, when it is not 0, gives each project a user of its own: this one, and those behind it. It needs root.
	BaseUID int
	Cgroup  string        // control group to make groups in; default: one of the pool's own, where it is root
	Drain   time.Duration // how long runs have when the pool stops; default 10 s
	// Official lets the controller that comes with the bundle drive each run, in a process of its own.
	Official bool
	Server   string // URL at which processes reach the server; for Official
}

// idleTime is for how long a process is kept that has nothing to do.
const idleTime = 5 * time.Minute

// Pool keeps processes and executes runs in them.
type Pool struct {
	cfg    Config
	node   string
	groups string // where control groups are made; ""
	spawn  *spawner
	uids   uids

	complain func() // of what tasks should have and do not

	preparing namedlock.Set // deployments that are being made runnable

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when there may be room
	active  int           // runs that execute
	live    map[*process]bool
	idle    []*process // the least recently used first
	drives  map[string]*drive
	stopped bool
	all     sync.WaitGroup
}

// New makes a pool; it begins with Run, but can Build before.
func New(cfg Config) (*Pool, error) {
	cfg.Active = cmp.Or(cfg.Active, 4*runtime.NumCPU())
	cfg.Processes = max(cmp.Or(cfg.Processes, int(memory()>>28)), 2*cfg.Active)
	cfg.Reuse = cmp.Or(cfg.Reuse, 50)
	cfg.Drain = cmp.Or(cfg.Drain, 10*time.Second)
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	for _, d := range []string{dir, filepath.Join(dir, "home"), filepath.Join(dir, "held")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
		if err := os.Chmod(d, 0o711); err != nil { // users of projects pass through
			return nil, err
		}
	}
	p := &Pool{cfg: cfg, complain: func() {}, spawn: newSpawner(), changed: make(chan struct{}), live: map[*process]bool{}, drives: map[string]*drive{}}
	p.node = cfg.Node
	if p.node == "" {
		if p.node, err = exec.LookPath("node"); err != nil {
			cfg.Log.Debug("no node: deployed tasks cannot be executed")
		}
	}
	if p.node != "" {
		if p.node, err = filepath.EvalSymlinks(p.node); err != nil {
			return nil, err
		}
	}
	p.checkUsers()
	return p, nil
}

// Able says that there is something to execute tasks with.
func (p *Pool) Able() bool { return p.node != "" }

// checkUsers gives up on users of projects where they cannot reach what they must.
func (p *Pool) checkUsers() {
	if p.cfg.BaseUID == 0 || p.node == "" {
		return
	}
	p.uids.load(filepath.Join(p.cfg.Dir, "users.json"), p.cfg.BaseUID)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for dir := p.cfg.Dir; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			p.ownUser("other users cannot enter the directory " + dir)
			return
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	out := &tail{most: 4 << 10}
	cmd := exec.CommandContext(ctx, p.node, "--version")
	cmd.Dir, cmd.Env, cmd.Stdout = p.cfg.Dir, []string{"PATH=" + os.Getenv("PATH")}, out
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	p.confine(cmd, "")
	if err := p.spawn.run(cmd); err != nil || !strings.HasPrefix(out.String(), "v") {
		p.ownUser("another cannot start " + p.node)
	}
}

// ownUser gives up on users of projects. It is told of once there is something to run.
func (p *Pool) ownUser(why string) {
	p.cfg.BaseUID = 0
	p.complain = sync.OnceFunc(func() { p.cfg.Log.Warn("tasks are run by the server's own user: " + why) })
}

// Run takes runs and executes them until ctx ends; then runs that are under way have a while to end.
func (p *Pool) Run(ctx context.Context) error {
	if p.node == "" {
		<-ctx.Done()
		return nil
	}
	p.groups = groupRoot(p.cfg.Cgroup)
	if p.cfg.Cgroup != "" && p.groups == "" {
		return errors.New("no control groups with cpu, memory and pids can be made in " + p.cfg.Cgroup)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := durable.Sweep(p.cfg.Dir, 0); err != nil {
		p.cfg.Log.Warn("remove bundles that were not fetched to their end", "err", err)
	}
	p.sweep(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { p.watch(work) })
	parts.Go(func() { p.listen(work) })
	for ctx.Err() == nil {
		p.takeSome(ctx, work)
	}
	p.drain()
	stop()
	parts.Wait()
	return nil
}

// takeSome takes as many runs as there is room for.
func (p *Pool) takeSome(ctx, work context.Context) {
	room, changed := p.room()
	if room <= 0 {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		return
	}
	runs, err := p.cfg.Source.Lease(ctx, room)
	if err != nil {
		if ctx.Err() == nil {
			p.cfg.Log.Warn("take runs", "err", err)
			pause(ctx, time.Second)
		}
		return
	}
	for _, r := range runs {
		p.begin(work, r)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// room is how many runs may be begun; changed is closed when that may be more.
func (p *Pool) room() (n int, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(p.cfg.Active-p.active, p.cfg.Processes-len(p.drives)), p.changed
}

// stir tells whoever waits for room. The caller holds mu.
func (p *Pool) stir() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// begin executes a run in the background.
func (p *Pool) begin(ctx context.Context, r Run) {
	d := &drive{pool: p, run: r, noticed: make(chan struct{}, 1), quit: make(chan struct{})}
	p.mu.Lock()
	p.drives[r.ID] = d
	p.active++
	p.mu.Unlock()
	p.all.Go(func() {
		if p.cfg.Official {
			d.official(ctx)
		} else {
			p.hold(r, 0, 0)
			d.execute(ctx)
			p.release(r)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.drives[r.ID] == d {
			delete(p.drives, r.ID)
		}
		if !d.waiting {
			p.active--
		}
		p.stir()
	})
}

// wait says that a run waits, or goes on.
func (p *Pool) wait(d *drive, waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.waiting == waiting {
		return
	}
	d.waiting = waiting
	if waiting {
		p.active--
		p.stir()
	} else {
		p.active++
	}
}

func keyOf(r Run) processKey { return processKey{r.Deployment, r.Machine.Name} }

// claim is a process that is kept for runs like this one, or nil. One that is too many makes room.
func (p *Pool) claim(r Run) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range slices.Backward(p.idle) {
		if q.key == keyOf(r) {
			p.idle = slices.Delete(p.idle, i, i+1)
			if q.alive() {
				return q
			}
			delete(p.live, q)
			break
		}
	}
	if len(p.live) >= p.cfg.Processes && len(p.idle) > 0 {
		q := p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		delete(p.live, q)
		go q.terminate()
	}
	return nil
}

func (p *Pool) mayKeep(q *process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keeps(q)
}

func (p *Pool) keeps(q *process) bool {
	return !p.stopped && q.runs < p.cfg.Reuse && q.alive() && len(p.idle) < p.cfg.Active
}

// keep keeps a process for the next run.
func (p *Pool) keep(q *process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.keeps(q) {
		return false
	}
	q.idleSince = time.Now()
	p.idle = append(p.idle, q)
	return true
}

// drop ends a process.
func (p *Pool) drop(q *process) {
	q.terminate()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, q)
	p.stir()
}

// watch looks at the memory of processes, and ends those that have been idle for long.
func (p *Pool) watch(ctx context.Context) {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		var old []*process
		p.idle = slices.DeleteFunc(p.idle, func(q *process) bool {
			if over := !q.alive() || time.Since(q.idleSince) > idleTime; over {
				old = append(old, q)
				return true
			}
			return false
		})
		var live []*process
		for q := range p.live { // each by itself
			live = append(live, q)
		}
		p.mu.Unlock()
		for _, q := range old {
			p.drop(q)
		}
		for _, q := range live {
			if most := int64(q.memory * (1 << 30)); p.groups == "" && most > 0 && q.alive() && resident(q.cmd.Process.Pid) > most {
				q.oom.Store(true)
				q.kill()
			}
		}
	}
}

// listen tells runs that they are not where they think they are.
func (p *Pool) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.cfg.Source.Notices(ctx, func(run string) {
			p.mu.Lock()
			d := p.drives[run]
			p.mu.Unlock()
			if d != nil {
				d.notice()
			}
		})
		if err != nil && ctx.Err() == nil {
			p.cfg.Log.Debug("listen for changes of runs", "err", err)
			pause(ctx, time.Second)
		}
	}
}

// drain lets runs end that are under way, and ends the processes. What does not end in time is told of as a failed attempt.
func (p *Pool) drain() {
	p.mu.Lock()
	p.stopped = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, q := range idle {
		p.drop(q)
	}
	done := make(chan struct{})
	go func() {
		p.all.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(p.cfg.Drain):
	}
	p.mu.Lock()
	for _, d := range p.drives { // each by itself
		close(d.quit)
	}
	p.mu.Unlock()
	<-done
}

// held is what is remembered on disk of a run that the pool has, so that after a crash its end is told at once, and its process ended.
type held struct {
	Run     Run    `json:"run"`
	Attempt int    `json:"attempt,omitempty"` // 0: none has begun yet
	Pid     int    `json:"pid,omitempty"`
	Began   string `json:"began,omitempty"`
}

func (p *Pool) heldFile(run string) string {
	return filepath.Join(p.cfg.Dir, "held", filepath.Base(run)+".json")
}

func (p *Pool) hold(r Run, attempt, pid int) {
	h := held{Run: r, Attempt: attempt, Pid: pid}
	if pid != 0 {
		h.Began = began(pid)
	}
	b, err := json.Marshal(h)
	if err == nil {
		err = os.WriteFile(p.heldFile(r.ID), b, 0o600)
	}
	if err != nil { // without it the server finds out in its own time
		p.cfg.Log.Warn("remember a run", "run", r.ID, "err", err)
	}
}

func (p *Pool) release(r Run) { _ = os.Remove(p.heldFile(r.ID)) } // what is left is looked at after a restart

// sweep deals with what an earlier life left: processes are ended, and attempts told of as failed.
func (p *Pool) sweep(ctx context.Context) {
	names, err := filepath.Glob(filepath.Join(p.cfg.Dir, "held", "*.json"))
	if err != nil {
		return
	}
	for _, name := range names {
		var h held
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, &h)
		}
		if err == nil && h.Pid != 0 && began(h.Pid) == h.Began && h.Began != "" {
			_ = killGroup(h.Pid) // it may end by itself
		}
		if err == nil && h.Run.ID != "" {
			p.all.Go(func() {
				p.disclaim(ctx, h.Run, h.Attempt)
				_ = os.Remove(name) // it is looked at again after the next restart
			})
			continue
		}
		_ = os.Remove(name) // it is of no use
	}
}

// disclaim tells that an attempt of a run has lost its process with an earlier life of the pool. The run may move meanwhile: one that waits goes on as soon as it
// need not wait any longer, although nobody is there to go on with it.
func (p *Pool) disclaim(ctx context.Context, r Run, attempt int) {
	e := internalError("TASK_RUN_STALLED_EXECUTING", "The server or its worker stopped while the task was executing")
	for ctx.Err() == nil {
		s, err := p.cfg.Source.Latest(ctx, r)
		switch {
		case errors.Is(err, ErrLost):
			return
		case err == nil && !s.begun():
			return // one that is PENDING_EXECUTING loses its lease in time, which costs it no attempt
		case err == nil && attempt != 0 && s.Attempt != attempt:
			return // somebody else's
		case err == nil:
			r.Snapshot, attempt = s.Snapshot, s.Attempt
			if _, err = p.cfg.Source.Complete(ctx, r, failed(r.ID, e)); err == nil {
				return
			}
		}
		pause(ctx, disclaimAgain)
	}
}

// disclaimAgain is the time between tries to tell of a lost process.
const disclaimAgain = 200 * time.Millisecond
