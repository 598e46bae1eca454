package keyspace

import (
	"fmt"
	"testing"
)

// fill makes a key of each kind with n elements, and a small one.
func (b *bench) fill(n int) {
	for i := range n {
		e := fmt.Sprint(i)
		b.do("hset", "hash", e, "v")
		b.do("rpush", "list", e)
		b.do("sadd", "set", e)
		b.do("zadd", "zset", e, e)
		b.do("xadd", "stream", "*", "f", e)
	}
	b.line("xgroup create stream g 0")
	b.line("xreadgroup group g c streams stream >")
	b.line("set small v")
}

// TestLargeKeysGoAtOnce: deleting a large key costs one row; its elements go in slices later, also if there was a restart between.
func TestLargeKeysGoAtOnce(t *testing.T) {
	t.Parallel()
	for _, crash := range []bool{false, true} {
		for _, how := range []string{"del hash list set zset stream", "flushdb", "flushall", "expire"} {
			b := setup(t)
			b.fill(3000)
			full := len(b.rows)
			if how == "expire" {
				for _, k := range []string{"hash", "list", "set", "zset", "stream"} {
					b.do("pexpire", k, "10")
				}
				b.now += 11
				b.do("exists", "hash", "list", "set", "zset", "stream")
			} else {
				b.line(how)
			}
			if gone := full - len(b.rows); gone > 10 {
				t.Errorf("%s took %d rows at once", how, gone)
			}
			if got := b.line("exists hash list set zset stream"); got != "0" {
				t.Errorf("after %s there are %s keys", how, got)
			}
			b.line("hset hash new 1") // under the old name, while the old rows are there
			if crash {
				b.m = b.recovered()
			}
			if at, ok := b.m.Next(); !ok || at > b.now {
				t.Errorf("after %s nothing is due", how)
			}
			slices := 0
			for b.m.Tick(b.now, 500, &b.out) {
				if n := len(b.out.Records); n > 1200 {
					t.Errorf("one tick deleted %d rows", n)
				}
				b.settle()
				slices++
			}
			b.settle()
			if slices < 10 {
				t.Errorf("%s: all went in %d slices", how, slices)
			}
			if got := b.line("hgetall hash"); got != `["new" "1"]` {
				t.Errorf("the new hash is %s", got)
			}
			b.line("del hash small")
			b.tick()
			left := len(b.rows)
			if how == "flushdb" || how == "flushall" {
				left-- // the space of the database
			}
			if left != 0 || b.m.used != 0 {
				t.Errorf("%s, crash %v: %d rows and %d bytes are left", how, crash, left, b.m.used)
			}
		}
	}
}

// TestExpiry: keys that nobody touches are removed when they are due, and a time to live that was changed counts.
func TestExpiry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 100 {
		b.do("set", fmt.Sprint("k", i), "v", "px", fmt.Sprint(100+i))
	}
	b.line("pexpire k50 100000")
	b.line("persist k51")
	b.line("pexpire k52 20")
	b.line("rename k53 renamed")
	if at, _ := b.m.Next(); at != b.now+21 {
		t.Errorf("next is in %d ms", at-b.now)
	}
	b.now += 21
	b.tick()
	if n := b.line("dbsize"); n != "99" {
		t.Errorf("%s keys are left after 21 ms", n)
	}
	b.now += 400
	b.m = b.recovered()
	b.tick()
	if n := b.line("dbsize"); n != "2" {
		t.Errorf("%s keys are left", n)
	}
	if len(b.rows) != 2 {
		t.Errorf("%d rows are left", len(b.rows))
	}
	// Locks that are made for long and deleted soon leave nothing behind.
	for i := range 100_000 {
		key := fmt.Sprint("lock", i)
		b.do("set", key, "token", "px", "30000")
		b.do("del", key)
	}
	if n := len(b.m.expiries.heap); n > 10_000 {
		t.Errorf("%d places for keys that are gone", n)
	}
}
