package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// The keyspace's core and its batches.
type (
	keyCore  = shard.Core[keyspace.Command, keyspace.Result, keyspace.Effect]
	keyBatch = shard.Batch[keyspace.Result, keyspace.Effect]
)

// keyWorld is a keyspace with clients, on a disk that loses what was not synced. Beside it runs a model: a second keyspace that was never
// written anywhere, and that is given what has become durable, in order. Whatever happens, the two must be equal after a recovery, so
// nothing acknowledged is missing and no script or transaction is there in part.
type keyWorld struct {
	seed    uint64
	rng     *rand.Rand
	now     int64
	disk    *memory.Disk
	core    *keyCore
	model   *keyspace.Machine
	history []applied // what the model was given
	open    []applied // since the last seal
	queue   []sealed  // not yet committed
	log     []string
	errs    []string

	jobs    int             // ids that were made
	added   map[string]bool // whose adding was acknowledged
	taken   map[string]bool // that a blocked client was given
	waiting map[uint64]bool // clients that wait
}

// applied is something that the machine was made to do: a command, or a tick without one.
type applied struct {
	now int64
	cmd keyspace.Command
}

type sealed struct {
	batch *keyBatch
	done  []applied
}

// keyClients is how many clients there are; each waits for at most one command.
const keyClients = 6

func newKeyWorld(seed uint64) *keyWorld {
	w := &keyWorld{
		seed: seed, rng: rand.New(rand.NewPCG(seed, seed^0x51ed2701)), now: 1_800_000_000_000, disk: memory.NewDisk(),
		model: keyspace.New(keyspace.Config{Scripts: wordScripts{}}), added: map[string]bool{}, taken: map[string]bool{}, waiting: map[uint64]bool{},
	}
	w.boot()
	return w
}

func (w *keyWorld) fail(format string, args ...any) {
	w.errs = append(w.errs, fmt.Sprintf(format, args...))
}

func (w *keyWorld) err() error {
	if len(w.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s\n\nwhat happened last:\n%s", strings.Join(w.errs, "\n"), strings.Join(w.log[max(0, len(w.log)-60):], "\n"))
}

func (w *keyWorld) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%d ", w.now-1_800_000_000_000)+fmt.Sprintf(format, args...))
}

// wordScripts are scripts made of commands, one a line, that stop at the first error.
type wordScripts struct{}

func (wordScripts) Compile(_, _ string) error { return nil }
func (wordScripts) Forget()                   {}
func (wordScripts) Run(s *keyspace.Script) reply.Reply {
	r := reply.OK
	for line := range strings.Lines(s.Body) {
		if r = s.Call(append(strings.Fields(line), s.Args...)); r.Kind == reply.Error {
			break
		}
	}
	return r
}

func (w *keyWorld) boot() {
	for {
		st, err := memory.Open(w.disk)
		must(err)
		core, err := shard.Recover[keyspace.Command, keyspace.Result, keyspace.Effect](
			context.Background(), st, shard.KeyspaceShard, keyspace.New(keyspace.Config{Scripts: wordScripts{}}), w.now,
		)
		if err != nil {
			w.disk.SetHook(nil)
			continue
		}
		w.core, w.open, w.queue = core, nil, nil
		return
	}
}

// crash loses what is not durable and compares what comes back with the model. A batch whose commit failed may be there or not.
func (w *keyWorld) crash(why string, unknown []applied) {
	w.note("crash: %s", why)
	w.disk.SetHook(nil)
	w.disk.Crash()
	w.boot()
	clear(w.waiting)
	w.tick() // what has expired is gone from both before they are read
	got := w.dump(w.core.Machine)
	if unknown != nil { // a model of its own, because time has passed for the other when it is compared
		other := &keyWorld{now: w.now, model: keyspace.New(keyspace.Config{Scripts: wordScripts{}})}
		other.onModel(w.history)
		other.onModel(unknown)
		if other.restartModel() == got {
			w.model, w.history = other.model, other.history
		}
	}
	if want := w.restartModel(); got != want {
		w.fail("seed %d: after a crash (%s) the keyspace is\n%s\nwant\n%s", w.seed, why, got, want)
	}
	w.jobsAreWhole(unknown != nil)
}

// restartModel forgets the model's connections, which do not survive, and does what is due. It returns its dump.
func (w *keyWorld) restartModel() string {
	for c := range uint64(keyClients) {
		w.onModel([]applied{{w.now, &keyspace.Forget{Client: c + 1}}})
	}
	w.onModel([]applied{{now: w.now}})
	return w.dump(w.model)
}

func (w *keyWorld) onModel(done []applied) {
	for _, a := range done {
		var out keyspace.Out
		w.history = append(w.history, a)
		if a.cmd == nil {
			for w.model.Tick(a.now, 1000, &out) {
			}
		} else {
			w.model.Apply(a.now, a.cmd, &out)
		}
	}
}

// apply gives a command to the machine; got hears of it when it is durable.
func (w *keyWorld) apply(cmd keyspace.Command, got func(keyspace.Result)) {
	w.open = append(w.open, applied{w.now, cmd})
	w.core.Apply(w.now, cmd, func(r keyspace.Result, err error) {
		if err == nil && got != nil {
			got(r)
		}
	})
}

func (w *keyWorld) tick() {
	w.open = append(w.open, applied{now: w.now})
	for w.core.Tick(w.now, 50) {
	}
}

func (w *keyWorld) seal() {
	if w.core.Size() > 0 && len(w.queue) < 2 {
		w.queue = append(w.queue, sealed{w.core.Seal(), w.open})
		w.open = nil
	}
}

func (w *keyWorld) commit() {
	if len(w.queue) == 0 {
		return
	}
	s := w.queue[0]
	w.queue = w.queue[1:]
	if err := w.core.Commit(context.Background(), s.batch); err != nil {
		s.batch.Fail(shard.ErrUnavailable)
		w.crash("commit: "+err.Error(), s.done)
		return
	}
	w.onModel(s.done)
	s.batch.Release(func(e keyspace.Effect) {
		a, ok := e.(*keyspace.Answer)
		if !ok {
			return
		}
		delete(w.waiting, a.Client)
		w.takeAll(a.Reply)
	})
}

// takeAll notes the jobs that a client got: the elements of a reply, and of the arrays in it.
func (w *keyWorld) takeAll(r reply.Reply) {
	for _, e := range r.Elems {
		w.takeAll(e)
		if !strings.HasPrefix(e.Str, "job") {
			continue
		}
		if w.taken[e.Str] {
			w.fail("%s was given away twice", e.Str)
		}
		w.taken[e.Str] = true
	}
}

func (w *keyWorld) flush() {
	for w.core.Size() > 0 || len(w.queue) > 0 {
		w.seal()
		w.commit()
	}
}

func (w *keyWorld) step() {
	switch n := w.rng.IntN(100); {
	case n < 40:
		w.command()
	case n < 48:
		w.job()
	case n < 54:
		w.wait()
	case n < 68:
		w.seal()
	case n < 82:
		w.commit()
	case n < 86:
		if err := w.core.Store.Fold(context.Background()); err != nil {
			w.note("fold failed: %v", err)
			if errors.Is(err, store.ErrFenced) || w.rng.IntN(2) == 0 {
				w.crash("fold", nil)
			}
		}
	case n < 96:
		w.now += int64(w.rng.IntN(300))
		w.tick()
	case n < 98:
		if w.rng.IntN(3) == 0 {
			w.crash("power", nil)
		}
	default:
		steps := []memory.Step{memory.AppendWrite, memory.AppendSync, memory.AppendReturn, memory.FoldWrite, memory.FoldTable, memory.FoldTruncate}
		w.disk.SetHook(memory.FailNth(steps[w.rng.IntN(len(steps))], 1+w.rng.IntN(3), errors.New("disk trouble")))
	}
}

func (w *keyWorld) pick(of ...string) string { return of[w.rng.IntN(len(of))] }

func (w *keyWorld) key() string { return w.pick("a", "b", "c", "d", "e", "f", "g", "h") }

// words makes a random command as words.
func (w *keyWorld) words() string {
	k, n := w.key(), strconv.Itoa(w.rng.IntN(20))
	member := "m" + n
	switch w.rng.IntN(30) {
	case 0, 1:
		return "set " + k + " v" + n + w.pick("", " px 200", " px 5000", " keepttl")
	case 2:
		return "incr " + k
	case 3, 4:
		return "hset " + k + " " + member + " v" + n + " f" + n + " " + strings.Repeat("x", w.rng.IntN(300))
	case 5:
		return "hdel " + k + " " + member
	case 6:
		return "hincrby " + k + " count 1"
	case 7, 8:
		return w.pick("lpush ", "rpush ") + k + " " + member + " y z"
	case 9:
		return w.pick("lpop ", "rpop ") + k
	case 10:
		return "lrem " + k + " 1 " + member
	case 11:
		return "linsert " + k + " before y " + member
	case 12:
		return "ltrim " + k + " 0 20"
	case 13:
		return "rpoplpush " + k + " " + w.key()
	case 14:
		return "lset " + k + " 1 " + member
	case 15, 16:
		return "zadd " + k + " " + n + " " + member
	case 17:
		return "zremrangebyrank " + k + " 0 0"
	case 18:
		return "zpopmin " + k
	case 19:
		return "sadd " + k + " " + member + " other"
	case 20:
		return "srem " + k + " " + member
	case 21, 22:
		return "xadd " + k + w.pick("", " maxlen 5", " maxlen ~ 5") + " * f " + member
	case 23:
		return w.pick("xgroup create "+k+" g 0 mkstream", "xreadgroup group g c count 2 streams "+k+" >", "xtrim "+k+" maxlen 3")
	case 24:
		return w.pick("pexpire "+k+" 300", "persist "+k, "pexpire "+k+" 10000")
	case 25:
		return w.pick("rename ", "copy ", "renamenx ") + k + " " + w.key()
	case 26:
		return "del " + k
	case 27:
		return w.pick("get ", "hgetall ", "type ", "pttl ") + k
	case 28:
		big := strings.Builder{}
		for i := range 200 {
			fmt.Fprintf(&big, " %d", i)
		}
		return w.pick("sadd ", "rpush ") + k + big.String()
	}
	if w.rng.IntN(10) == 0 {
		return w.pick("flushdb", "swapdb 0 1", "script flush")
	}
	return "del " + k
}

// command sends one random command, transaction or script.
func (w *keyWorld) command() {
	db := 0
	if w.rng.IntN(5) == 0 {
		db = 1
	}
	switch w.rng.IntN(5) {
	case 0:
		e := &keyspace.Exec{Client: 9, DB: db}
		for range 1 + w.rng.IntN(4) {
			e.Queued = append(e.Queued, strings.Fields(w.words()))
		}
		w.note("%d exec %q", db, e.Queued)
		w.apply(e, nil)
	case 1:
		var body []string
		for range 1 + w.rng.IntN(4) {
			body = append(body, w.words())
		}
		w.note("%d eval %q", db, body)
		w.apply(&keyspace.Do{DB: db, Args: []string{"eval", strings.Join(body, "\n"), "0"}}, nil)
	default:
		words := w.words()
		w.note("%d %s", db, words)
		w.apply(&keyspace.Do{DB: db, Args: strings.Fields(words)}, nil)
	}
}

// Jobs are ids in database 2 that are only ever moved, by scripts, transactions and single commands. An id whose adding was acknowledged is
// in exactly one place, or was given to a client that waited for it.

var places = []string{"wait", "active", "done", "gifts", "more"}

func (w *keyWorld) job() {
	id := "job" + strconv.Itoa(w.jobs)
	do := func(args ...string) { w.apply(&keyspace.Do{DB: 2, Args: args}, nil) }
	switch w.rng.IntN(5) {
	case 0, 1:
		w.jobs++
		w.note("add %s", id)
		w.apply(&keyspace.Do{DB: 2, Args: []string{"lpush", w.pick("wait", "gifts"), id}}, func(keyspace.Result) { w.added[id] = true })
	case 2:
		do("rpoplpush", "wait", "active")
	case 3:
		do("eval", "rpoplpush wait half\nrpoplpush half done", "0")
		w.apply(&keyspace.Exec{DB: 2, Queued: [][]string{{"rpoplpush", "active", "half"}, {"rpoplpush", "half", w.pick("wait", "gifts")}}}, nil)
	default:
		do("lmove", w.pick(places...), w.pick(places...), "left", "right")
	}
}

// wait makes a client wait for something.
func (w *keyWorld) wait() {
	c := uint64(1 + w.rng.IntN(keyClients))
	if w.waiting[c] {
		if w.rng.IntN(3) == 0 {
			w.note("client %d leaves", c)
			w.apply(&keyspace.Forget{Client: c}, nil)
			delete(w.waiting, c)
		}
		return
	}
	w.waiting[c] = true
	cmd := w.pick("blpop gifts 0", "blpop gifts other 0.3", "bzpopmin a 0.2", "xread block 100 streams a b $ $", "brpoplpush gifts more 0.1", "blmpop 0.2 2 gifts other left")
	w.note("client %d: %s", c, cmd)
	w.apply(&keyspace.Do{Client: c, Request: uint64(w.now), DB: w.rng.IntN(3), Args: strings.Fields(cmd)}, func(r keyspace.Result) {
		if !r.Blocked {
			delete(w.waiting, c)
			w.takeAll(r.Reply)
		}
	})
}

// jobsAreWhole looks for every id. After a commit whose outcome nobody heard of a client may have been given one without knowing.
func (w *keyWorld) jobsAreWhole(unknown bool) {
	found := map[string]int{}
	for _, where := range append([]string{"half"}, places...) {
		for _, r := range w.model.Apply(w.now, &keyspace.Do{DB: 2, Args: []string{"lrange", where, "0", "-1"}}, &keyspace.Out{}).Reply.Elems {
			found[r.Str]++
			if where == "half" {
				w.fail("half of a script or transaction is there: %s", r.Str)
			}
		}
	}
	for i := range w.jobs {
		id := "job" + strconv.Itoa(i)
		switch n := found[id]; {
		case n > 1:
			w.fail("%s is in %d places", id, n)
		case n == 1 && w.taken[id]:
			w.fail("%s was given to a client and is still there", id)
		case n == 0 && w.added[id] && !w.taken[id]:
			if !unknown {
				w.fail("%s was acknowledged and is gone", id)
			}
			w.taken[id] = true // by a client that did not live to hear of it
		}
	}
}

// dump is everything in a keyspace as text.
func (w *keyWorld) dump(m interface {
	Apply(int64, keyspace.Command, *keyspace.Out) keyspace.Result
},
) string {
	var out strings.Builder
	for db := range 3 {
		do := func(args ...string) reply.Reply {
			return m.Apply(w.now, &keyspace.Do{DB: db, Args: args}, &keyspace.Out{}).Reply
		}
		keys := do("keys", "*").Elems
		slices.SortFunc(keys, func(a, b reply.Reply) int { return strings.Compare(a.Str, b.Str) })
		for _, k := range keys {
			fmt.Fprintf(&out, "%d %s %d:", db, k.Str, do("pexpiretime", k.Str).N)
			switch do("type", k.Str).Str {
			case "string":
				show(&out, do("get", k.Str))
			case "hash":
				show(&out, do("hgetall", k.Str))
			case "list":
				show(&out, do("lrange", k.Str, "0", "-1"))
			case "set":
				show(&out, do("smembers", k.Str))
			case "zset":
				show(&out, do("zrange", k.Str, "0", "-1", "withscores"))
			case "stream":
				show(&out, do("xinfo", "stream", k.Str))
				show(&out, do("xrange", k.Str, "-", "+"))
				show(&out, do("xinfo", "groups", k.Str))
				show(&out, do("xpending", k.Str, "g", "-", "+", "1000"))
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func show(out *strings.Builder, r reply.Reply) {
	switch {
	case r.Elems != nil:
		out.WriteString(" [")
		for _, e := range r.Elems {
			show(out, e)
		}
		out.WriteString("]")
	case r.Kind == reply.Double:
		fmt.Fprintf(out, " %v", r.F)
	case r.Kind == reply.Int:
		fmt.Fprintf(out, " %d", r.N)
	default:
		fmt.Fprintf(out, " %s", r.Str)
	}
}
