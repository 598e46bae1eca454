package keyspace

import (
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// client runs a command for one of several clients; the number of the request is the client's.
func (b *bench) client(id uint64, line string) (r reply.Reply, blocked bool) {
	res := b.apply(&Do{Client: id, Request: id, Args: strings.Fields(line)})
	return res.Reply, res.Blocked
}

// wait runs a command that must block.
func (b *bench) wait(id uint64, line string) {
	b.t.Helper()
	if r, blocked := b.client(id, line); !blocked {
		b.t.Fatalf("%s did not wait but answered %s", line, text(r))
	}
}

// answered checks which clients were answered since the last call, and with what.
func (b *bench) answered(want ...string) {
	b.t.Helper()
	var got []string
	for _, e := range b.all {
		if a, ok := e.(*Answer); ok {
			got = append(got, formatInt(int64(a.Client))+" "+text(a.Reply))
		}
	}
	b.all = nil
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.t.Errorf("answers:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBlockedAreServedInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wait(1, "bzpopmin q 0")
	b.wait(2, "bzpopmin other q 0")
	b.wait(3, "bzpopmax q 5")
	b.line("set q string")
	b.answered()
	b.line("del q")
	b.line("zadd q 1 a 2 b 3 c 4 d")
	b.answered(`1 ["q" "a" "1"]`, `2 ["q" "b" "2"]`, `3 ["q" "d" "4"]`)
	if got := b.line("zrange q 0 -1"); got != `["c"]` {
		t.Errorf("left: %s", got)
	}
	b.now += 10_000
	b.tick()
	b.answered()
}

func TestBlockedTimeOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wait(1, "blpop l 0.197")
	b.wait(2, "blmove l m left right 0.1")
	b.wait(3, "xread block 300 streams s $")
	if at, ok := b.m.Next(); !ok || at != b.now+100 {
		t.Errorf("next is %d, %v", at-b.now, ok)
	}
	b.now += 99
	b.tick()
	b.answered()
	b.now++
	b.tick()
	b.answered("2 nil")
	b.now += 97
	b.tick()
	b.answered("1 nil*")
	b.now += 103
	b.tick()
	b.answered("3 nil*")
	b.line("rpush l x")
	b.answered() // nobody waits any more
}

func TestBlockedForget(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id := range uint64(100) {
		b.wait(id+1, "brpop l 0")
	}
	for id := range uint64(100) {
		if id != 41 && id != 97 {
			b.apply(&Forget{Client: id + 1})
		}
	}
	b.line("rpush l x y z")
	b.answered(`42 ["l" "z"]`, `98 ["l" "y"]`)
	if got := b.line("llen l"); got != "1" {
		t.Errorf("a dead client took something: %s are left", got)
	}
	if n := len(b.m.waits.queues) + len(b.m.waits.clients) + len(b.m.waits.due); n != 0 {
		t.Errorf("%d traces of those who waited are left", n)
	}
}

func TestUnblock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wait(1, "blpop l 0")
	b.wait(2, "blpop l 0")
	for _, u := range []*Unblock{{Client: 1}, {Client: 2, Error: true}} {
		if r := b.apply(u).Reply; r.N != 1 {
			t.Errorf("unblock %d: %d", u.Client, r.N)
		}
	}
	b.answered("1 nil*", "2 -UNBLOCKED client unblocked via CLIENT UNBLOCK")
	if r := b.apply(&Unblock{Client: 1}).Reply; r.N != 0 {
		t.Errorf("unblocked twice: %d", r.N)
	}
}

// TestBlockedMoves: serving one client makes something ready for another.
func TestBlockedMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wait(1, "blmove a b left left 0")
	b.wait(2, "brpoplpush b c 0")
	b.wait(3, "blpop c 0")
	b.line("rpush a x")
	b.answered(`1 "x"`, `2 "x"`, `3 ["c" "x"]`)
	if got := b.line("exists a b c"); got != "0" {
		t.Errorf("%s keys are left", got)
	}
	b.line("set d string")
	b.wait(1, "brpoplpush a d 0")
	b.line("rpush a x")
	b.answered("1 -WRONGTYPE Operation against a key holding the wrong kind of value")
	if got := b.line("llen a"); got != "1" {
		t.Errorf("llen a: %s", got)
	}
}

// TestServedAfterTheWhole: what a transaction adds and removes again wakes nobody, and who is woken sees its end.
func TestServedAfterTheWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wait(1, "bzpopmin q 0")
	run := func(lines ...string) string {
		e := &Exec{Client: 2}
		for _, l := range lines {
			e.Queued = append(e.Queued, strings.Fields(l))
		}
		return text(b.apply(e).Reply)
	}
	if got := run("zadd q 1 a", "zrem q a", "bzpopmin q 0"); got != "[1 1 nil*]" {
		t.Errorf("exec: %s", got)
	}
	b.answered()
	run("zadd q 2 b", "zadd q 1 a")
	b.answered(`1 ["q" "a" "1"]`)
	if got := b.line("zrange q 0 -1"); got != `["b"]` {
		t.Errorf("left: %s", got)
	}
}

func TestBlockedStreams(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.line("xgroup create s g $ mkstream")
	b.wait(1, "xread block 0 streams s $")
	b.wait(2, "xread block 0 count 1 streams s other 0 0")
	b.wait(3, "xreadgroup group g alice block 0 streams s >")
	b.wait(4, "xreadgroup group g bob block 0 streams s >")
	b.line("xadd s 5-1 f v")
	b.answered(`1 [["s" [["5-1" ["f" "v"]]]]]`, `2 [["s" [["5-1" ["f" "v"]]]]]`, `3 [["s" [["5-1" ["f" "v"]]]]]`)
	b.line("del s")
	b.answered("4 -UNBLOCKED the stream key no longer exists")
	b.line("xgroup create s g $ mkstream")
	b.wait(4, "xreadgroup group g bob block 0 streams s >")
	b.line("xgroup destroy s g")
	b.answered("4 -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := func(spoils bool, watch string, lines ...string) {
		t.Helper()
		b.line("flushall")
		b.line("set k 1")
		b.line("set dies 1 px 100")
		b.apply(&Watch{Client: 7, Keys: strings.Fields(watch)})
		for _, l := range lines {
			if l == "wait" {
				b.now += 101
				continue
			}
			b.line(l)
		}
		r := b.apply(&Exec{Client: 7, Queued: [][]string{{"ping"}}}).Reply
		if spoiled := r.Kind == reply.NullArray; spoiled != spoils {
			t.Errorf("watch %s, then %q: spoiled %v", watch, lines, spoiled)
		}
		if len(b.m.watches.keys)+len(b.m.watches.clients) != 0 {
			t.Errorf("something is watched after EXEC")
		}
	}
	f(false, "k", "get k", "set other 1")
	f(true, "k", "incr k")
	f(true, "k missing", "set missing 1", "del missing")
	f(true, "dies", "wait")
	f(true, "k", "flushdb")
	f(false, "missing", "flushdb")
	f(true, "k", "rename k l")
	f(true, "k", "swapdb 0 1", "swapdb 0 1")
	f(true, "k", "pexpire k 1000")
	f(false, "k", "persist k", "hget k f")
	b.apply(&Watch{Client: 7, Keys: []string{"k"}})
	b.line("incr k")
	b.apply(&Unwatch{Client: 7})
	if r := b.apply(&Exec{Client: 7}).Reply; r.Kind != reply.Array {
		t.Errorf("after UNWATCH: %s", text(r))
	}
}

// fakeScripts run a body that is commands, one a line.
type fakeScripts struct{ compiled []string }

func (f *fakeScripts) Compile(sha, body string) error {
	f.compiled = append(f.compiled, sha)
	return nil
}

func (f *fakeScripts) Run(s *Script) reply.Reply {
	var elems []reply.Reply
	for line := range strings.Lines(s.Body) {
		line = strings.NewReplacer("KEYS1", strings.Join(s.Keys, ""), "ARGV1", strings.Join(s.Args, "")).Replace(strings.TrimSpace(line))
		if strings.HasPrefix(line, "#") {
			continue
		}
		elems = append(elems, s.Call(strings.Fields(line)))
	}
	return reply.List(elems...)
}

func (f *fakeScripts) Forget() { f.compiled = nil }

func TestScripts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	scripts := &fakeScripts{}
	b.m = New(Config{Scripts: scripts})
	f := func(want string, args ...string) {
		t.Helper()
		if got := text(b.do(args...)); got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
	body := "set KEYS1 ARGV1\nget KEYS1"
	sha := scriptHash(body)
	f("-"+errNoScript.Str, "evalsha", sha, "0")
	f(`[+OK "v"]`, "eval", body, "1", "k", "v")
	f(`[+OK "w"]`, "evalsha", strings.ToUpper(sha), "1", "k", "w")
	f(`[1 0]`, "script", "exists", sha, "x")
	f(`[-ERR Write commands are not allowed from read-only scripts. "w"]`, "eval_ro", body, "1", "k", "v")
	f(`[-ERR Write commands are not allowed from read-only scripts. "w"]`, "eval", "#!lua flags=no-writes\n"+body, "1", "k", "v")
	f("[-ERR Unknown Redis command called from script -ERR Wrong number of args calling Redis command from script -ERR This Redis command is not allowed from script]",
		"eval", "nosuch\nget\neval x 0", "0")
	f("-ERR Number of keys can't be greater than number of args", "eval", body, "3", "k")
	f("-ERR Number of keys can't be negative", "eval", body, "-1")
	f("-ERR value is not an integer or out of range", "eval", body, "x")
	f(`[-ERR This Redis command is not allowed from script -ERR XREAD command is not allowed with BLOCK option from scripts]`, "eval", "bzpopmin q 0\nXREAD BLOCK 0 STREAMS s 0", "0")
	if len(scripts.compiled) != 4 {
		t.Errorf("%d scripts were compiled", len(scripts.compiled))
	}
	if m := b.recovered(); m.scripts[sha] != body {
		t.Errorf("after a restart the script is %q", m.scripts[sha])
	}
	// Time stands still in a script: what lives at its start lives to its end.
	b.line("set lock 1 px 5")
	b.now += 5
	f("[0 1]", "eval", "pttl lock\nexists lock", "0")
	b.now++
	f("[-2]", "eval", "pttl lock", "0")
	// The database that a script selects is the script's.
	f(`[+OK +OK]`, "eval", "select 3\nset there 1", "0")
	f("nil", "get", "there")
	f("+OK", "script", "flush")
	f("-"+errNoScript.Str, "evalsha", sha, "0")
	if m := b.recovered(); len(m.scripts) != 0 {
		t.Errorf("%d scripts are left after a flush", len(m.scripts))
	}
}
