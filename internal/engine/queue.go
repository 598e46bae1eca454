package engine

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/store"
)

// Queue is a named lane with a policy that may change while work stands in it. Runs join queues when they are started, whatever
// their function; a function's own Flow holds as well.
type Queue struct {
	Env   string
	Name  string // doors begin it with a word of their own, so that theirs do not meet
	Title string `json:",omitempty"` // what people know it by, with its article; "": "the queue" and its name
	// Passing queues are forgotten when no run is in them any more.
	Passing bool `json:",omitempty"`
	// PerRun holds a slot from the run's first call to its end, so that runs go one after the other, retries and waits included;
	// otherwise a slot is held by each call. It never changes.
	PerRun      bool
	Parallelism int   // slots; 0: no limit, less: none
	Rate        int   // calls that may begin within a window; 0: no limit
	Period      int64 // ms; a window begins with its first call
	Paused      bool  // no call begins, those that are out go on
	// Pinned values are not changed by QueueJoin.Policy.
	PinParallelism, PinRate bool
	Created, Updated        int64
}

// Policy is what a run may bring along for a queue that it joins.
type Policy struct {
	Parallelism, Rate int
	Period            int64
}

// QueueJoin puts a run into a queue, which is made if there is none.
type QueueJoin struct {
	Queue   string
	Title   string  // of a queue that is made
	Passing bool    // of a queue that is made
	PerRun  bool    // of a queue that is made
	Initial Policy  // of a queue that is made
	Policy  *Policy // replaces what is not pinned, also for those who wait already; nil: leaves a queue as it is
}

// SetQueue changes a queue. Fields that are nil keep their value. Reply: bool, false when there is no such queue.
type SetQueue struct {
	Env, Name               string
	Create                  bool   // make it if there is none
	Title                   string // of a queue that is made
	PerRun                  bool   // of a queue that is made
	Parallelism, Rate       *int
	Period                  *int64
	Paused                  *bool
	PinParallelism, PinRate *bool
	ResetWindow             bool // forget the calls of the current window
	Delete                  bool // runs that are in it go on without
}

// ReadQueues lists the queues whose names begin with Prefix, by name. It changes nothing. Reply: []QueueState.
type ReadQueues struct{ Env, Prefix string }

// QueueState is a queue as it is now.
type QueueState struct {
	Queue
	Waiting     int   // calls that are due and may not begin
	Active      int   // slots that are held
	WindowStart int64 // ms; 0: no window is open
	WindowCount int   // calls that began within it
}

func (*SetQueue) command()   {}
func (*ReadQueues) command() {}

// queue is a Queue with what is going on in it. Its limiter has the slots.
type queue struct {
	def          Queue
	limiter      *limiter
	start, count int64 // of the current window
	runs         int   // that are in it
}

// free says whether one more call may begin now.
func (q *queue) free(now int64) bool { return q.room(now) > 0 }

// room is how many calls may begin now.
func (q *queue) room(now int64) int {
	if q.def.Paused {
		return 0
	}
	n := int(^uint(0) >> 1)
	if q.def.Parallelism != 0 {
		n = max(0, q.def.Parallelism) - q.limiter.used
	}
	if q.def.Rate > 0 {
		n = min(n, q.def.Rate-q.counted(now))
	}
	return max(0, n)
}

// counted is how many calls began within the window that is open now.
func (q *queue) counted(now int64) int {
	if now >= q.start+q.def.Period {
		return 0
	}
	return int(q.count)
}

// next is when a full window ends.
func (q *queue) next(now int64) (int64, bool) {
	if q.def.Rate > 0 && q.counted(now) >= q.def.Rate {
		return q.start + q.def.Period, true
	}
	return 0, false
}

func queueKey(env, name string) string { return env + "\x00" + name }

// join makes sure of a queue and gives it the policy that a run brings.
func (m *Machine) join(env string, j *QueueJoin) {
	q := m.queues[queueKey(env, j.Queue)]
	made := q == nil
	if made {
		q = m.makeQueue(Queue{
			Env: env, Name: j.Queue, Title: j.Title, Passing: j.Passing, PerRun: j.PerRun, Parallelism: j.Initial.Parallelism, Rate: j.Initial.Rate, Period: j.Initial.Period, Created: m.now,
		})
	}
	before := q.def
	if p := j.Policy; p != nil {
		if !q.def.PinParallelism {
			q.def.Parallelism = p.Parallelism
		}
		if !q.def.PinRate {
			q.def.Rate, q.def.Period = p.Rate, p.Period
		}
	}
	if made || q.def != before {
		m.queueChanged(q)
	}
}

func (m *Machine) joinAll(env string, joins []QueueJoin) []string {
	var names []string
	for i := range joins {
		m.join(env, &joins[i])
		names = append(names, joins[i].Queue)
	}
	return names
}

func (m *Machine) makeQueue(def Queue) *queue {
	q := &queue{def: def, limiter: m.limiter("q\x00" + queueKey(def.Env, def.Name))}
	q.limiter.queue = q
	q.limiter.refs++ // it stays as long as the queue does
	m.queues[queueKey(def.Env, def.Name)] = q
	return q
}

// queueChanged makes a queue's new policy durable and lets those go whom it no longer holds back.
func (m *Machine) queueChanged(q *queue) {
	q.def.Updated = m.now
	b, err := json.Marshal(q.def)
	if err != nil {
		panic("BUG: engine: queue does not marshal: " + err.Error())
	}
	m.put(store.Record{Table: store.Queues, Key: QueueKey(q.def.Env, q.def.Name), Value: b})
	m.timers.stop(&q.limiter.timer)
	m.wakeAll(q.limiter)
}

func (m *Machine) setQueue(c *SetQueue) bool {
	q := m.queues[queueKey(c.Env, c.Name)]
	if q == nil {
		if !c.Create {
			return false
		}
		q = m.makeQueue(Queue{Env: c.Env, Name: c.Name, Title: c.Title, PerRun: c.PerRun, Created: m.now})
	}
	if c.Delete {
		m.deleteQueue(q)
		return true
	}
	set(&q.def.Parallelism, c.Parallelism)
	set(&q.def.Rate, c.Rate)
	set(&q.def.Period, c.Period)
	set(&q.def.Paused, c.Paused)
	set(&q.def.PinParallelism, c.PinParallelism)
	set(&q.def.PinRate, c.PinRate)
	if c.ResetWindow {
		q.start, q.count = 0, 0
		m.delete(store.Flow, windowKey(q))
	}
	m.queueChanged(q)
	return true
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// inQueues counts a run in the queues that it has joined, n being 1 when it comes and -1 when it has ended.
func (m *Machine) inQueues(r *run, n int) {
	for _, name := range r.spec.routed().queues {
		q := m.queues[queueKey(r.env(), name)]
		if q == nil {
			continue
		}
		if q.runs += n; q.runs <= 0 && n < 0 && q.passes() {
			m.deleteQueue(q)
		}
	}
}

// passes says that a queue may be forgotten: nothing in it is remembered for those who come.
func (q *queue) passes() bool {
	d := &q.def
	return d.Passing && d.Rate == 0 && !d.Paused && !d.PinParallelism && !d.PinRate
}

// deleteQueue lets everything in a queue go on without it. A run that held a slot still frees the limiter, which then is nobody's.
func (m *Machine) deleteQueue(q *queue) {
	delete(m.queues, queueKey(q.def.Env, q.def.Name))
	m.delete(store.Queues, QueueKey(q.def.Env, q.def.Name))
	m.delete(store.Flow, windowKey(q))
	m.timers.stop(&q.limiter.timer)
	q.def = Queue{} // no limit for the lanes that still claim it
	m.wakeAll(q.limiter)
	q.limiter.refs--
	m.dropLimiter(q.limiter)
}

// entering says that a run has yet to get its places in queues that give them to runs. It waits for those first and alone, and then
// holds them while it waits for its other limits: who is first in a line stays first, whatever holds him up.
func (m *Machine) entering(r *run) bool {
	if r.entered || r.started != 0 {
		return false
	}
	return slices.ContainsFunc(r.spec.routed().queues, func(name string) bool {
		q := m.queues[queueKey(r.env(), name)]
		return q != nil && q.def.PerRun
	})
}

func (m *Machine) entryClaims(r *run) []claim {
	var cs []claim
	for _, name := range r.spec.routed().queues {
		if q := m.queues[queueKey(r.env(), name)]; q != nil && q.def.PerRun {
			q.limiter.refs++
			cs = append(cs, claim{limiter: q.limiter, perRun: true})
		}
	}
	return cs
}

// enter gives a run its places and lets its job wait for what else it needs.
func (m *Machine) enter(ln *lane, j *job) {
	j.lane = nil
	for _, c := range ln.claims {
		c.limiter.used++
		j.run.held = append(j.run.held, c.limiter)
		if c.queue != nil {
			m.takeWindow(c.queue)
		}
	}
	j.run.entered = true
	m.ready(j)
}

// takeWindow counts a call that begins.
func (m *Machine) takeWindow(q *queue) {
	if q.def.Rate <= 0 {
		return
	}
	if q.counted(m.now) == 0 {
		q.start, q.count = m.now, 0
	}
	q.count++
	v := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(q.start)), uint64(q.count))
	m.put(store.Record{Table: store.Flow, Key: windowKey(q), Value: v, Expires: q.start + q.def.Period})
}

func windowKey(q *queue) []byte { return []byte("w\x00" + queueKey(q.def.Env, q.def.Name)) }

func (m *Machine) recoverQueue(_, value []byte) error {
	var def Queue
	if err := json.Unmarshal(value, &def); err != nil {
		return err
	}
	m.makeQueue(def)
	return nil
}

func (m *Machine) recoverWindow(key, value []byte) error {
	if len(value) != 16 {
		return errRow
	}
	if q := m.queues[string(key[2:])]; q != nil {
		q.start, q.count = int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))
	}
	return nil
}

// readQueues lists queues with what is going on in them.
func (m *Machine) readQueues(c *ReadQueues) []QueueState {
	var list []QueueState
	at := map[*limiter]int{}
	for _, q := range m.queues { // sorted below
		if q.def.Env == c.Env && strings.HasPrefix(q.def.Name, c.Prefix) {
			list = append(list, QueueState{Queue: q.def, Active: q.limiter.used})
			s := &list[len(list)-1]
			if s.WindowCount = q.counted(m.now); s.WindowCount > 0 {
				s.WindowStart = q.start
			}
		}
	}
	slices.SortFunc(list, func(a, b QueueState) int { return cmp.Compare(a.Name, b.Name) })
	for i := range list {
		at[m.queues[queueKey(c.Env, list[i].Name)].limiter] = i
	}
	for _, ln := range m.lanes { // summed up, so the order does not show
		for _, cl := range ln.claims {
			if i, ok := at[cl.limiter]; ok {
				list[i].Waiting += ln.jobs.len()
			}
		}
	}
	return list
}
