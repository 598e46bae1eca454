package keyspace

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quartetjobs/quartet/internal/keyspace/data"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/store"
)

// bench is a machine with a clock and the rows that its records make.
type bench struct {
	t    testing.TB
	m    *Machine
	now  int64
	rows map[string][]byte
	out  Out
	all  []Effect // everything that was released
}

func setup(t testing.TB) *bench {
	return &bench{t: t, m: New(Config{}), now: 1_800_000_000_000, rows: map[string][]byte{}}
}

// settle takes over the records and effects of what was applied.
func (b *bench) settle() {
	for i := range b.out.Records {
		r := &b.out.Records[i]
		_, there := b.rows[string(r.Key)]
		if r.Table != store.Keys || r.Fresh && there {
			b.t.Fatalf("record %+v: there already: %v", r, there)
		}
		if r.Value == nil {
			delete(b.rows, string(r.Key))
		} else {
			b.rows[string(r.Key)] = bytes.Clone(r.Value)
		}
	}
	b.all = append(b.all, b.out.Effects...)
	b.out = Out{}
}

func (b *bench) apply(c Command) Result {
	r := b.m.Apply(b.now, c, &b.out)
	b.settle()
	return r
}

// do runs a command in database 0 for client 1.
func (b *bench) do(args ...string) reply.Reply {
	return b.apply(&Do{Client: 1, Args: args}).Reply
}

// line runs a command given as words.
func (b *bench) line(s string) string { return text(b.do(strings.Fields(s)...)) }

func (b *bench) tick() {
	for b.m.Tick(b.now, 1000, &b.out) {
		b.settle()
	}
	b.settle()
}

// recovered is a machine that was read from the rows.
func (b *bench) recovered() *Machine {
	b.t.Helper()
	m := New(Config{})
	if err := m.Recover(b.now, b.load); err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (b *bench) load(_ store.Table, fn func(key, value []byte) error) error {
	keys := make([]string, 0, len(b.rows))
	for k := range b.rows {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := fn([]byte(k), b.rows[k]); err != nil {
			return err
		}
	}
	return nil
}

// text is a reply on one line.
func text(r reply.Reply) string {
	switch r.Kind {
	case reply.Null:
		return "nil"
	case reply.NullArray:
		return "nil*"
	case reply.Int, reply.Bool:
		return fmt.Sprint(r.N)
	case reply.Bulk, reply.Verbatim:
		return fmt.Sprintf("%q", r.Str)
	case reply.Status:
		return "+" + r.Str
	case reply.Error:
		return "-" + r.Str
	case reply.Double:
		return fmt.Sprintf("%q", reply.AppendFloat(nil, r.F))
	}
	parts := make([]string, 0, len(r.Elems))
	for i := 0; i < len(r.Elems); i++ {
		if r.Kind == reply.Nested {
			parts = append(parts, "["+text(r.Elems[i])+" "+text(r.Elems[i+1])+"]")
			i++
			continue
		}
		parts = append(parts, text(r.Elems[i]))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// dump is everything in a machine, in an order that does not depend on its history.
func dump(m *Machine) []string {
	var out []string
	for db := range m.dbs {
		t := &m.dbs[db].keys
		for i := range t.Slots() {
			if !t.Live(i) {
				continue
			}
			it := t.At(i)
			line := fmt.Sprintf("%d %q %s expires %d size %d:", db, t.Key(i), kindOf(it.val), it.expires, it.size)
			out = append(out, line+dumpValue(it.val))
		}
	}
	for sha, body := range m.scripts {
		out = append(out, sha+" "+body)
	}
	slices.Sort(out)
	return out
}

func dumpValue(val any) string {
	var b strings.Builder
	switch v := val.(type) {
	case str:
		fmt.Fprintf(&b, " %q", string(v))
	case *hash:
		v.Each(func(f, val string, seq uint64) bool { fmt.Fprintf(&b, " %d %q=%q", seq, f, val); return true })
	case *set:
		v.Each(func(f, _ string, seq uint64) bool { fmt.Fprintf(&b, " %d %q", seq, f); return true })
	case *list:
		v.Each(func(val []byte, pos int64) bool { fmt.Fprintf(&b, " %d %q", pos, val); return true })
	case *zset:
		for _, e := range v.all() {
			fmt.Fprintf(&b, " %q=%v", e.member, e.score)
		}
	case *stream:
		fmt.Fprintf(&b, " %s %s %d", v.last, v.maxDeleted, v.added)
		b.WriteString(text(xrangeAll(v)))
		for _, g := range v.groups {
			fmt.Fprintf(&b, " group %q %s %d", g.name, g.last, g.read)
			for _, c := range g.consumers {
				fmt.Fprintf(&b, " consumer %q %d", c.name, c.pending)
			}
			for _, p := range g.pending {
				fmt.Fprintf(&b, " %s %q %d %d", p.id, p.consumer.name, p.at, p.count)
			}
		}
	}
	return b.String()
}

func TestCommands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := func(line, want string) {
		t.Helper()
		if got := b.line(line); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	f("set a 1", "+OK")
	f("get a", `"1"`)
	f("incr a", "2")
	f("hset h x 1 y 2", "2")
	f("hgetall h", `["x" "1" "y" "2"]`)
	f("lpush l a b c", "3")
	f("lrange l 0 -1", `["c" "b" "a"]`)
	f("rpoplpush l m", `"a"`)
	f("zadd z 1 one 2 two", "2")
	f("zrange z 0 -1 withscores", `["one" "1" "two" "2"]`)
	f("zpopmin z", `["one" "1"]`)
	f("xadd s * k v", `"1800000000000-0"`)
	f("xadd s * k v", `"1800000000000-1"`)
	f("xread streams s 0", `[["s" [["1800000000000-0" ["k" "v"]] ["1800000000000-1" ["k" "v"]]]]]`)
	f("hset a x 1", "-WRONGTYPE Operation against a key holding the wrong kind of value")
	f("foo bar", "-ERR unknown command 'foo', with args beginning with: 'bar' ")
	f("get", "-ERR wrong number of arguments for 'get' command")
	f("xgroup nope", "-ERR unknown subcommand 'nope'. Try XGROUP HELP.")
	f("zrange z 0 -1", `["two"]`)
	if diff := cmp.Diff(dump(b.m), dump(b.recovered())); diff != "" {
		t.Errorf("(-live +recovered):\n%s", diff)
	}
}

func xrangeAll(s *stream) reply.Reply {
	var elems []reply.Reply
	s.Range(data.ID{}, data.MaxID, func(e data.Entry) bool {
		elems = append(elems, entryReply(e))
		return true
	})
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// TestTooMuchAtOnce: a batch that the journal cannot take would stop the keyspace, so no command may make one.
func TestTooMuchAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := func(got reply.Reply, want string) {
		t.Helper()
		if s := text(got); s != want {
			t.Errorf("%.100s, want %s", s, want)
		}
	}
	f(b.do("setrange", "k", "300000000", "x"), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	f(b.do("setrange", "k", "9223372036854775807", "x"), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)")
	f(b.do("setbit", "k", "4294967295", "1"), "-ERR bit offset is not an integer or out of range")
	big := strings.Repeat("x", 100<<20)
	f(b.do("mset", "a", big, "b", big), "-ERR more data than can be written at once")
	f(b.do("set", "a", big), "+OK")
	r := b.apply(&Exec{Client: 1, Queued: [][]string{{"copy", "a", "b"}, {"copy", "a", "c"}, {"copy", "a", "d"}, {"copy", "a", "e"}, {"del", "a"}}}).Reply
	f(r, "[1 1 -ERR more data than can be written at once -ERR more data than can be written at once -ERR more data than can be written at once]")
	f(b.do("del", "a", "b", "c"), "3")
	if b.m.used != 0 {
		t.Errorf("%d bytes are in use by nothing", b.m.used)
	}
}

// TestHashRows: what is in the header and what has rows of its own is one hash again after a restart, in its order.
func TestHashRows(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{"hset h a 1 b 2 c 3"},
		{"hset h a 1 b BIG c 3", "hset h d 4"},
		{"hset h a 1 b 2 c 3", "hset h b 20", "hdel h c", "hset h c 30"},
		{"hset h a 1 b 2 c 3", "hdel h c", "pexpire h 1000", "hset h c 30 a 10", "hdel h b"},
		{"hset h a 1 b 2", "hset h a 10", "rename h i", "hset i a 100 x 1", "hdel i a", "persist i"},
		{"hset h a 1 b 2 c 3", "hset h c BIG", "hset h c 4", "hdel h a b"},
		{"hset h a 1 b 2", "hset h a 10", "hdel h a b", "hset h b 5"},
	} {
		b := setup(t)
		for _, l := range lines {
			b.line(strings.ReplaceAll(l, "BIG", strings.Repeat("x", 5000)))
			if diff := cmp.Diff(dump(b.m), dump(b.recovered())); diff != "" {
				t.Errorf("%q after %q (-live +recovered):\n%s", lines, l, diff)
			}
			b.m = b.recovered() // which goes on
		}
		b.line("del h i")
		if len(b.rows) != 0 {
			t.Errorf("%q leaves %d rows", lines, len(b.rows))
		}
	}
	// One transaction that makes and changes a hash is one row.
	b := setup(t)
	b.apply(&Exec{Queued: [][]string{{"hset", "h", "a", "1", "b", "2"}, {"hset", "h", "a", "10"}, {"hdel", "h", "b"}, {"hset", "h", "c", "3"}, {"pexpire", "h", "1000"}}})
	if len(b.rows) != 2 { // c comes behind the number of b, which is gone
		t.Errorf("a new hash took %d rows", len(b.rows))
	}
	if diff := cmp.Diff(dump(b.m), dump(b.recovered())); diff != "" {
		t.Errorf("(-live +recovered):\n%s", diff)
	}
}
