package lua

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// both runs commands on our keyspace and on a real Redis and holds their replies to be equal.
type both struct {
	*queue
	t *testing.T
	c *redisConn
	r *rand.Rand

	active []string // jobs that were fetched
	jobs   int
}

func (c *redisConn) do(t *testing.T, args ...string) reply.Reply {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
	r, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *both) do(args ...string) reply.Reply {
	b.t.Helper()
	b.now++
	got := flat(b.m.Apply(b.now, &keyspace.Do{Client: 1, Args: args, Micros: b.now * 1000}, &b.out).Reply)
	b.out.Records, b.out.Effects = b.out.Records[:0], b.out.Effects[:0]
	want := b.c.do(b.t, args...)
	if show(got) != show(want) {
		b.t.Fatalf("%.80q\n got %.500s\nwant %.500s", args, show(got), show(want))
	}
	return got
}

func (b *both) run(name string, keys []string, args ...string) reply.Reply {
	b.t.Helper()
	words := []string{"EVALSHA", b.sha[name], strconv.Itoa(len(keys))}
	for _, k := range keys {
		words = append(words, "bull:q:"+k)
	}
	return b.do(append(words, args...)...)
}

// job packs the arguments of an add.
func (b *both) job(id string) string {
	return "\x9a\xa7bull:q:" + packedText(id) + "\xa1n" + packedFloat(float64(b.now)) + "\xc0\xc0\xc0\xc0\xc0\xc0"
}

func packedText(s string) string { return string([]byte{0xa0 | byte(len(s))}) + s }

// a job of those that were ever added, or of those that are active.
func (b *both) any() string { return strconv.Itoa(1 + b.r.IntN(max(b.jobs, 1))) }

func (b *both) takeActive() string {
	if len(b.active) == 0 {
		return b.any()
	}
	i := b.r.IntN(len(b.active))
	id := b.active[i]
	b.active = slices.Delete(b.active, i, i+1)
	return id
}

// fetched notes the job that a fetch gave.
func (b *both) fetched(r reply.Reply) {
	if len(r.Elems) > 1 && r.Elems[1].Kind == reply.Bulk {
		b.active = append(b.active, r.Elems[1].Str)
	}
}

// step does one thing that a producer, a worker or a dashboard may do.
func (b *both) step() {
	now := strconv.FormatInt(b.now, 10)
	id := ""
	if b.r.IntN(6) == 0 {
		id = fmt.Sprintf("c%d", b.r.IntN(5))
	}
	switch b.r.IntN(22) {
	case 0, 1, 2:
		b.run("addStandardJob", []string{"wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker"}, b.job(id), `{"a":1}`, "\xde\x00\x01\xa4lifo"+[]string{"\xc2", "\xc3"}[b.r.IntN(2)])
		b.jobs++
	case 3:
		b.run("addDelayedJob", []string{"marker", "meta", "id", "delayed", "completed", "events"}, b.job(id), `{}`, "\xde\x00\x01\xa5delay"+string([]byte{byte(1 + b.r.IntN(100))}))
		b.jobs++
	case 4:
		b.run("addPrioritizedJob", []string{"marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc"}, b.job(id), `{}`, "\xde\x00\x01\xa8priority"+string([]byte{byte(1 + b.r.IntN(5))}))
		b.jobs++
	case 5, 6, 7:
		b.fetched(b.run("moveToActive", append(fetchKeys[:10:10], "marker"), "bull:q:", now, fetchOptions))
	case 8, 9, 10:
		b.finish(now)
	case 11:
		b.run("retryJob", []string{"active", "wait", "paused", b.any(), "meta", "events", "delayed", "prioritized", "pc", "marker", "stalled"}, "bull:q:", now, []string{"LPUSH", "RPUSH"}[b.r.IntN(2)], b.takeActive(), "t", "")
	case 12:
		id := b.takeActive()
		r := b.run("moveToDelayed", []string{"marker", "active", "prioritized", "delayed", id, "events", "meta", "stalled", "wait", "limiter", "pc"}, "bull:q:", now, id, "t", strconv.Itoa(b.r.IntN(50)), strconv.Itoa(b.r.IntN(2)), "", strconv.Itoa(b.r.IntN(2)), fetchOptions)
		b.fetched(r)
	case 13:
		keys := []string{"wait", "paused", "meta", "prioritized", "events", "delayed", "marker"}
		if verb := b.r.IntN(2); verb == 0 {
			b.run("pause", keys, "paused", "1")
		} else {
			keys[0], keys[1] = keys[1], keys[0]
			b.run("pause", keys, "resumed", "1")
		}
	case 14:
		b.run("promote", []string{"delayed", "wait", "paused", "meta", "prioritized", "active", "pc", "events", "marker"}, "bull:q:", b.any())
	case 15:
		b.run("changePriority", []string{"wait", "paused", "meta", "prioritized", "active", "pc", "marker"}, strconv.Itoa(b.r.IntN(4)), "bull:q:", b.any(), strconv.Itoa(b.r.IntN(2)))
	case 16:
		b.run("removeJob", []string{b.any(), "repeat"}, b.any(), "1", "bull:q:")
	case 17:
		b.run("getCounts", []string{""}, "wait", "active", "delayed", "completed", "failed", "prioritized", "waiting-children")
		b.run("getState", []string{"completed", "failed", "delayed", "active", "wait", "paused", "waiting-children", "prioritized"}, b.any())
	case 18:
		b.run("getRanges", []string{""}, "0", "-1", strconv.Itoa(b.r.IntN(2)), "wait", "active", "delayed", "completed", "failed", "prioritized")
	case 19:
		b.run("moveJobsToWait", []string{"", "events", "failed", "wait", "paused", "meta", "active", "marker"}, "100", now, "failed")
	case 20:
		set := []string{"wait", "completed", "failed", "delayed"}[b.r.IntN(4)]
		b.run("cleanJobsInSet", []string{set, "events", "repeat"}, "bull:q:", strconv.FormatInt(b.now-int64(b.r.IntN(200)), 10), "3", set)
	case 21:
		b.run("drain", []string{"wait", "paused", "delayed", "prioritized", "repeat"}, "bull:q:", "0")
	}
}

func (b *both) finish(now string) {
	id := b.takeActive()
	property, value, target := "returnvalue", `{"ok":true}`, "completed"
	if b.r.IntN(3) == 0 {
		property, value, target = "failedReason", "boom", "failed"
	}
	keep := []string{"\x00", "\x02", "\xff"}[b.r.IntN(3)]
	opts := "\xde\x00\x0a\xa5token\xa1t\xa4name\xa1w\xa8keepJobs\xde\x00\x01\xa5count" + keep + "\xaclockDuration\xcdu0\xa8attempts\x03\xaemaxMetricsSize\xa25\x30\xa4fpof\xc2\xa4cpof\xc2\xa4idof\xc2\xa4rdof\xc2"
	r := b.run("moveToFinished", append(fetchKeys[:10:10], target, id, "metrics:"+target, "marker"), id, now, property, value, target, strconv.Itoa(b.r.IntN(2)), "bull:q:", opts, "")
	b.fetched(r)
}

// same compares everything that is stored, but for the ids of stream entries, which are times.
func (b *both) same() {
	b.t.Helper()
	keys := func(r reply.Reply) []string {
		var list []string
		for _, e := range r.Elems {
			list = append(list, e.Str)
		}
		slices.Sort(list)
		return list
	}
	ours := keys(b.m.Apply(b.now, &keyspace.Do{Args: []string{"KEYS", "*"}}, &b.out).Reply)
	if theirs := keys(b.c.do(b.t, "KEYS", "*")); !slices.Equal(ours, theirs) {
		b.t.Fatalf("keys\n got %q\nwant %q", ours, theirs)
	}
	for _, k := range ours {
		switch b.do("TYPE", k).Str {
		case "string":
			b.do("GET", k)
		case "list":
			b.do("LRANGE", k, "0", "-1")
		case "hash":
			b.do("HGETALL", k)
		case "zset":
			b.do("ZRANGE", k, "0", "-1", "WITHSCORES")
		case "set":
			b.do("EVAL", "local m = redis.call('SMEMBERS', KEYS[1]) table.sort(m) return m", "1", k)
		case "stream":
			b.do("EVAL", "local r = {} for i, e in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 50)) do r[i] = e[2] end return r", "1", k)
		}
	}
}

// TestBullMQAgainstRedis: what BullMQ's scripts answer and store is the same on both, whatever is done in whatever order.
func TestBullMQAgainstRedis(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	c := realRedis(t)
	for _, body := range q.scripts {
		c.do(t, "SCRIPT", "LOAD", body)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	b := &both{queue: q, t: t, c: c, r: rand.New(rand.NewPCG(seed, 0))}
	for range 20 {
		b.active, b.jobs = nil, 0
		b.do("FLUSHALL")
		for range 150 {
			b.step()
		}
		b.same()
	}
}
