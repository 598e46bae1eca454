package engine

// timerKind says what a timer's owner does when it is due.
type timerKind uint8

const (
	timerJob      timerKind = iota // a retry or delayed call becomes ready
	timerWait                      // a sleep ends, a wait or invoke gives up
	timerStart                     // a run was not called in time
	timerFinish                    // a run did not end in time
	timerDebounce                  // quiet at last, or the series lasted too long
	timerBatch                     // a batch is due before it is full
	timerCron                      // a tick, jitter included
	timerThrottle                  // a throttle lets the next run start
	timerCancel                    // a cancel rule stops listening
	timerLease                     // a worker has not been heard of for too long
)

// timer is embedded in what waits for a time. Every due time of the machine is in one heap.
type timer struct {
	at    int64
	seq   uint64 // equal times fire in the order they were set
	owner any
	index int32 // place in the heap plus one; 0: not set
	kind  timerKind
}

func (t *timer) set() bool { return t.index > 0 }

// timers is the one heap of due times. It is written out rather than built on heap[T] because a million of them are
// the engine's largest structure: a zero timer must be valid and unset.
type timers struct {
	items []*timer
	seq   uint64
}

func (h *timers) start(t *timer, at int64, kind timerKind, owner any) {
	h.stop(t)
	h.seq++
	t.at, t.seq, t.kind, t.owner = at, h.seq, kind, owner
	h.items = append(h.items, t)
	t.index = int32(len(h.items))
	h.up(len(h.items) - 1)
}

func (h *timers) stop(t *timer) {
	if t.index == 0 {
		return
	}
	i, last := int(t.index)-1, len(h.items)-1
	moved := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	if i != last {
		h.items[i] = moved
		moved.index = int32(i + 1)
		if !h.down(i) {
			h.up(i)
		}
	}
	t.index, t.owner = 0, nil
}

// next is the earliest due time.
func (h *timers) next() (at int64, ok bool) {
	if len(h.items) == 0 {
		return 0, false
	}
	return h.items[0].at, true
}

func (h *timers) less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (h *timers) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].index, h.items[j].index = int32(i+1), int32(j+1)
}

func (h *timers) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !h.less(i, p) {
			return
		}
		h.swap(i, p)
		i = p
	}
}

func (h *timers) down(i int) bool {
	start := i
	for {
		c := 2*i + 1
		if c >= len(h.items) {
			break
		}
		if c+1 < len(h.items) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			break
		}
		h.swap(i, c)
		i = c
	}
	return i > start
}
