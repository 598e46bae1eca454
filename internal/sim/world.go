package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

const env = "sim"

// The engine's core and its batches.
type (
	core  = shard.Core[engine.Command, any, engine.Effect]
	batch = shard.Batch[any, engine.Effect]
)

// world is one simulated server with its apps and its senders.
type world struct {
	wakes int // times that workers heard of work
	seed  uint64
	rng   *rand.Rand
	now   int64
	disk  *memory.Disk
	core  *core
	ids   uint64
	queue []*batch // sealed and not yet committed
	calls []*call  // released and not yet answered
	facts []*engine.Settle
	progs []*program
	check *checker
	log   []string
	calm  bool // no more trouble: let everything come to its end

	lineMax map[string]int // how many messages a line lets through at once
}

// call is a call as the app sees it.
type call struct {
	*engine.Call
	life int // of the server that made it
	due  int64
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)), now: 1_800_000_000_000, disk: memory.NewDisk()}
	w.check = newChecker(w)
	w.progs = makePrograms(w.rng)
	w.boot()
	w.register()
	w.makeQueues()
	return w
}

func (w *world) note(format string, args ...any) {
	if len(w.log) > 400 {
		w.log = w.log[200:]
	}
	w.log = append(w.log, fmt.Sprintf("%d ", w.now-1_800_000_000_000)+fmt.Sprintf(format, args...))
}

// newID is a ULID source that depends on the seed only.
func (w *world) newID(ms int64) engine.ID {
	w.ids++
	var id ulid.ULID
	_ = id.SetTime(uint64(ms))
	for i := range 8 {
		id[15-i] = byte(w.ids >> (8 * i))
	}
	return id
}

// boot recovers the server from its disk.
func (w *world) boot() {
	for {
		st, err := memory.Open(w.disk)
		must(err)
		m := engine.New(engine.Config{NewID: w.newID, MaxCalls: 40, PerTarget: 25})
		core, err := shard.Recover[engine.Command, any, engine.Effect](context.Background(), st, 0, m, w.now)
		if err != nil {
			w.disk.SetHook(nil)
			continue
		}
		w.core, w.queue, w.facts = core, nil, m.Facts()
		w.check.life++
		return
	}
}

// crash loses what is not durable.
func (w *world) crash(why string) {
	w.note("crash: %s", why)
	w.disk.SetHook(nil)
	if len(w.core.Seal().Records()) > 0 || len(w.queue) > 0 {
		w.note("lost a batch")
	}
	w.disk.Crash()
	w.wakes++ // whoever waits for work asks again then
	w.check.crashed()
	w.boot()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// apply gives a command to the machine; got hears of it when it is durable.
func (w *world) apply(cmd engine.Command, got func(any)) {
	w.core.Apply(w.now, cmd, func(v any, err error) {
		if err == nil && got != nil {
			got(v)
		}
	})
}

// commit makes the oldest sealed batch durable and releases it, or crashes trying.
func (w *world) commit() {
	if len(w.queue) == 0 {
		return
	}
	b := w.queue[0]
	w.queue = w.queue[1:]
	if err := w.core.Commit(context.Background(), b); err != nil {
		b.Fail(shard.ErrUnavailable)
		w.crash("commit: " + err.Error())
		return
	}
	b.Release(func(e engine.Effect) {
		switch e := e.(type) {
		case *engine.Call:
			c := &call{Call: e, life: w.check.life, due: w.now + int64(w.rng.IntN(400))}
			w.check.called(c)
			w.calls = append(w.calls, c)
		case *engine.Settle:
			w.facts = append(w.facts, e)
		case *engine.Work:
			w.wakes++
		}
	})
}

func (w *world) seal() {
	if w.core.Size() > 0 && len(w.queue) < 2 {
		w.queue = append(w.queue, w.core.Seal())
	}
}

// flush commits everything that was applied.
func (w *world) flush() {
	for w.core.Size() > 0 || len(w.queue) > 0 {
		w.seal()
		w.commit()
	}
}

func (w *world) fold() {
	if err := w.core.Store.Fold(context.Background()); err != nil {
		w.note("fold failed: %v", err)
		if errors.Is(err, store.ErrFenced) || w.rng.IntN(2) == 0 {
			w.crash("fold")
		}
	}
}

// breakDisk makes one of the next disk operations fail.
func (w *world) breakDisk() {
	steps := []memory.Step{memory.AppendWrite, memory.AppendSync, memory.AppendReturn, memory.FoldWrite, memory.FoldTable, memory.FoldTruncate}
	w.disk.SetHook(memory.FailNth(steps[w.rng.IntN(len(steps))], 1+w.rng.IntN(3), errors.New("disk trouble")))
}

// tick lets due timers fire.
func (w *world) tick() {
	for w.core.Tick(w.now, 50) {
	}
}

// advance moves the clock, seldom beyond what is due next.
func (w *world) advance(d int64) {
	w.now += d
	w.tick()
}

// step does one random thing.
func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 16:
		w.sendEvents()
	case n < 20:
		w.publish()
	case n < 24:
		w.drive()
	case n < 52:
		w.answer()
	case n < 60:
		w.settle()
	case n < 74:
		w.seal()
	case n < 88:
		w.commit()
	case n < 91:
		w.fold()
	case n < 96:
		w.advance(int64(w.rng.IntN(1500)))
	case n < 97:
		w.cancelSome()
	case n < 98:
		if w.rng.IntN(4) == 0 {
			w.crash("power")
		}
	case n < 99:
		if w.rng.IntN(3) == 0 {
			w.breakDisk()
		}
	default:
		if w.rng.IntN(4) == 0 {
			w.reconfigure()
		} else {
			w.manage()
		}
	}
}

// settleDown ends all trouble and lets everything finish that can.
func (w *world) settleDown() error {
	w.calm = true
	w.disk.SetHook(nil)
	w.flush()
	w.resumeAll()
	for range 100_000 {
		w.settle()
		for len(w.calls) > 0 {
			w.calls[0].due = 0
			w.answer()
		}
		w.flush()
		if len(w.calls) > 0 || len(w.facts) > 0 {
			continue
		}
		at, ok := w.core.Machine.Next()
		if !ok {
			if !w.endDriven() {
				return nil
			}
			continue
		}
		w.now = max(w.now, at)
		w.tick()
		w.flush()
	}
	return fmt.Errorf("it does not come to rest: %d calls are out", len(w.calls))
}

// settle is the door that turns ended runs into events.
func (w *world) settle() {
	if len(w.facts) == 0 {
		return
	}
	n := min(len(w.facts), 1+w.rng.IntN(4))
	batch := slices.Clone(w.facts[:n])
	w.facts = w.facts[n:]
	c := &engine.SendEvents{Env: env}
	for _, f := range batch {
		c.Events = append(c.Events, engine.Event{Name: "run/ended", Key: f.Run.String(), Data: []byte(`{"run":"` + f.Run.String() + `"}`), Internal: true, Fact: f.Run})
		c.Settles = append(c.Settles, f.Run)
	}
	w.apply(c, func(any) { w.check.settled(batch) })
	if !w.calm && w.rng.IntN(10) == 0 { // the door did not hear and repeats itself
		again := &engine.SendEvents{Env: env, Events: slices.Clone(c.Events), Settles: c.Settles}
		for i := range again.Events {
			again.Events[i].ID = engine.ID{}
		}
		w.apply(again, nil)
	}
}
