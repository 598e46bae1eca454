package keyspace

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// runner applies commands and forgets what they produce, as a host does between batches.
type runner struct {
	m   *Machine
	now int64
	out Out
}

func newRunner() *runner { return &runner{m: New(Config{}), now: 1_800_000_000_000} }

func (r *runner) do(args ...string) Result {
	res := r.m.Apply(r.now, &Do{Client: 1, Args: args}, &r.out)
	if len(r.out.Records) > 4096 {
		r.out.Records = r.out.Records[:0]
	}
	return res
}

// jobFields are the fields of a job that is waiting.
func jobFields(id string) []string {
	return []string{
		"hmset", "bull:q:" + id, "name", "welcome", "data", `{"to":"ann@example.com","n":1}`, "opts", `{"attempts":5,"backoff":{"type":"exponential","delay":200}}`,
		"timestamp", "1800000000000", "delay", "0", "priority", "0",
	}
}

// BenchmarkJob is about what a job's life does to the keyspace: added, taken, finished, removed.
func BenchmarkJob(b *testing.B) {
	b.ReportAllocs()
	r := newRunner()
	n := 0
	for b.Loop() {
		id := fmt.Sprint(n)
		key := "bull:q:" + id
		n++
		r.do("incr", "bull:q:id")
		r.do(jobFields(id)...)
		r.do("lpush", "bull:q:wait", id)
		r.do("zadd", "bull:q:marker", "0", "0")
		r.do("xadd", "bull:q:events", "MAXLEN", "~", "10000", "*", "event", "waiting", "jobId", id)
		r.do("zpopmin", "bull:q:marker")
		r.do("rpoplpush", "bull:q:wait", "bull:q:active")
		r.do("set", key+":lock", "token", "PX", "30000")
		r.do("hset", key, "processedOn", "1800000000000")
		r.do("hincrby", key, "ats", "1")
		r.do("hgetall", key)
		r.do("del", key+":lock")
		r.do("lrem", "bull:q:active", "-1", id)
		r.do("zadd", "bull:q:completed", "1800000000000", id)
		r.do("hmset", key, "returnvalue", "null", "finishedOn", "1800000000000")
		r.do("xadd", "bull:q:events", "MAXLEN", "~", "10000", "*", "event", "completed", "jobId", id, "returnvalue", "null")
		r.do("zrem", "bull:q:completed", id)
		r.do("del", key)
		r.now++
	}
}

func BenchmarkCommands(b *testing.B) {
	for _, line := range []string{
		"get s", "set s value", "hset h f1 value", "hmget h f1 f2 f3 f4", "hgetall h", "zadd z 5 m500", "zrange z 0 0", "zrangebyscore z 0 100 LIMIT 0 10", "zrank z m500",
		"rpoplpush l l", "lrange l 0 9", "xadd x MAXLEN ~ 1000 * event waiting jobId 1", "exists missing", "sismember big m500",
	} {
		b.Run(strings.ReplaceAll(line, " ", "_"), func(b *testing.B) {
			r := newRunner()
			r.do("set", "s", "value")
			for i := range 12 {
				r.do("hset", "h", fmt.Sprint("f", i), "some value of a job")
			}
			for i := range 100_000 {
				r.do("zadd", "z", fmt.Sprint(i%1000), fmt.Sprint("m", i))
				r.do("rpush", "l", fmt.Sprint(i))
				r.do("sadd", "big", fmt.Sprint("m", i))
			}
			args := strings.Fields(line)
			b.ReportAllocs()
			for b.Loop() {
				r.do(args...)
			}
		})
	}
}

// BenchmarkMemory reports what a waiting job costs in memory, and what it takes to read a million of them back.
func BenchmarkMemory(b *testing.B) {
	const jobs = 200_000
	rows := func() (rows []store.Record) {
		r := newRunner()
		for i := range jobs {
			id := fmt.Sprint(i)
			r.m.Apply(r.now, &Do{Args: jobFields(id)}, &r.out)
			r.m.Apply(r.now, &Do{Args: []string{"lpush", "bull:q:wait", id}}, &r.out)
		}
		return r.out.Records
	}()
	// As a table would give them: headers first, and of each key its parts in order.
	sortRows(rows)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := New(Config{})
		if err := m.Recover(1_800_000_000_000, func(_ store.Table, fn func(key, value []byte) error) error {
			for i := range rows {
				if err := fn(rows[i].Key, rows[i].Value); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/jobs, "B/job")
		runtime.KeepAlive(m)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/jobs, "ns/job")
}

func sortRows(rows []store.Record) {
	slices.SortFunc(rows, func(a, b store.Record) int { return bytes.Compare(a.Key, b.Key) })
}
