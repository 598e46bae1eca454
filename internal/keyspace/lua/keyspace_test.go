package lua

import (
	"encoding/binary"
	"math"
	"strconv"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// queue drives BullMQ's own scripts over a keyspace, as one worker does.
type queue struct {
	tb      testing.TB
	m       *keyspace.Machine
	now     int64
	sha     map[string]string
	out     keyspace.Out
	scripts map[string]string
}

func newQueue(tb testing.TB) *queue {
	scripts := bullScripts(tb, "bullmq")
	if scripts["addStandardJob"] == "" {
		tb.Skip("the package bullmq is not installed")
	}
	q := &queue{tb: tb, m: keyspace.New(keyspace.Config{Scripts: New(Limits{})}), now: 1_795_446_680_539, sha: map[string]string{}, scripts: scripts}
	for name, body := range scripts {
		q.sha[name] = q.do("SCRIPT", "LOAD", body).Str
	}
	return q
}

func (q *queue) do(args ...string) reply.Reply {
	q.now++
	r := q.m.Apply(q.now, &keyspace.Do{Client: 1, Args: args, Micros: q.now * 1000}, &q.out).Reply
	q.out.Records, q.out.Effects = q.out.Records[:0], q.out.Effects[:0]
	if r.Kind == reply.Error {
		q.tb.Fatalf("%.60q: %s", args, r.Str)
	}
	return r
}

func (q *queue) run(name string, keys []string, args ...string) reply.Reply {
	words := []string{"EVALSHA", q.sha[name], strconv.Itoa(len(keys))}
	for _, k := range keys {
		words = append(words, "bull:q:"+k)
	}
	return q.do(append(words, args...)...)
}

func packedFloat(f float64) string {
	return string(binary.BigEndian.AppendUint64([]byte{0xcb}, math.Float64bits(f)))
}

// add adds a job and returns its id.
func (q *queue) add() string {
	args := "\x9a\xa7bull:q:\xa0\xa1n" + packedFloat(float64(q.now)) + "\xc0\xc0\xc0\xc0\xc0\xc0"
	opts := "\xde\x00\x02\xa8attempts\x03\xa7backoff\xde\x00\x02\xa4type\xabexponential\xa5delay\xcd\x03\xe8"
	return q.run("addStandardJob", []string{"wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker"}, args, `{"to":"ann"}`, opts).Str
}

const fetchOptions = "\xde\x00\x03\xa5token\xa1t\xaclockDuration\xcdu0\xa4name\xa1w"

var fetchKeys = []string{"wait", "active", "prioritized", "events", "stalled", "limiter", "delayed", "paused", "meta", "pc"}

func (q *queue) fetch() reply.Reply {
	return q.run("moveToActive", append(fetchKeys[:10:10], "marker"), "bull:q:", strconv.FormatInt(q.now, 10), fetchOptions)
}

// finish completes a job and fetches the next one.
func (q *queue) finish(id string) reply.Reply {
	opts := "\xde\x00\x09\xa5token\xa1t\xa4name\xa1w\xa8keepJobs\xde\x00\x01\xa5count\x00\xaclockDuration\xcdu0\xa8attempts\x03\xaemaxMetricsSize\xa0\xa4fpof\xc2\xa4cpof\xc2\xa4idof\xc2"
	return q.run("moveToFinished", append(fetchKeys[:10:10], "completed", id, "metrics:completed", "marker"),
		id, strconv.FormatInt(q.now, 10), "returnvalue", `{"ok":true}`, "completed", "1", "bull:q:", opts, "")
}

// TestQueue: what is added is fetched in order, and each finish gives the next.
func TestQueue(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for i := range 5 {
		if id := q.add(); id != strconv.Itoa(i+1) {
			t.Fatalf("the job got the id %q", id)
		}
	}
	r := q.fetch()
	for i := range 5 {
		if len(r.Elems) < 2 || r.Elems[1].Str != strconv.Itoa(i+1) {
			t.Fatalf("job %d: %+v", i+1, r)
		}
		r = q.finish(strconv.Itoa(i + 1))
	}
	if n := q.do("EXISTS", "bull:q:1", "bull:q:wait", "bull:q:active", "bull:q:1:lock").N; n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// BenchmarkAdd and BenchmarkFinish are what a job costs the server: the script and the keyspace, without protocol and disk.
func BenchmarkAdd(b *testing.B) {
	q := newQueue(b)
	b.ReportAllocs()
	for b.Loop() {
		q.add()
	}
}

func BenchmarkFinish(b *testing.B) {
	q := newQueue(b)
	for range b.N + 2 {
		q.add()
	}
	r := q.fetch()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r = q.finish(r.Elems[1].Str)
	}
}
