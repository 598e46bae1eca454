package engine

import "encoding/binary"

// limiter is one bucket of a concurrency limit or throttle. Lanes whose next job it does not let go wait in it.
type limiter struct {
	key     string
	used    int    // concurrency: slots taken
	tat     int64  // throttle: theoretical arrival time of the next start, µs
	rate    *Rate  // throttle only
	queue   *queue // of a queue only
	fn      *function
	refs    int // lanes that claim it
	waiting []*waitGroup
	timer   timer
}

// waitGroup holds the lanes that wait under one limit number: functions that share a bucket may have different numbers.
type waitGroup struct {
	limit int
	lanes heap[*lane]
}

// claim is a limiter together with the number that the claiming function has for it.
type claim struct {
	*limiter
	limit  int
	perRun bool
}

func (c claim) free(now int64) bool {
	switch {
	case c.rate != nil:
		return gcraFree(c.tat, now, c.rate)
	case c.queue != nil:
		return c.queue.free(now)
	}
	return c.used < c.limit
}

// next is when time alone lets the next one through; false when it takes more than time.
func (l *limiter) next(now int64) (int64, bool) {
	switch {
	case l.rate != nil:
		at := gcraNext(l.tat, l.rate)
		return at, at > now
	case l.queue != nil:
		return l.queue.next(now)
	}
	return 0, false
}

// gcraFree says whether a rate lets one more through now.
func gcraFree(tat, now int64, r *Rate) bool { return gcraNext(tat, r) <= now }

// gcraNext is the first millisecond at which the rate lets one more through.
func gcraNext(tat int64, r *Rate) int64 {
	us := tat - int64(r.Burst)*emission(r)
	return (us + 999) / 1000 // never early
}

// gcraTake is the theoretical arrival time after one more went through now. The first whole millisecond after it counts as
// in time: otherwise a rate whose emission interval is no whole number of milliseconds would run slow by up to one each.
func gcraTake(tat, now int64, r *Rate) int64 {
	if at := now * 1000; tat == 0 || at-tat >= 1000 {
		tat = max(tat, at)
	}
	return tat + emission(r)
}

// emission is the time between two at the steady rate, in µs.
func emission(r *Rate) int64 { return r.Period * 1000 / int64(max(1, r.Limit)) }

func (l *limiter) park(ln *lane, limit int) {
	for _, g := range l.waiting {
		if g.limit == limit {
			g.lanes.push(ln)
			ln.group = g
			return
		}
	}
	g := &waitGroup{limit: limit}
	g.lanes.push(ln)
	ln.group = g
	l.waiting = append(l.waiting, g)
}

// best is the waiting lane whose job comes first among those that the limiter would let go now.
func (l *limiter) best(now int64) *lane {
	var best *lane
	for _, g := range l.waiting {
		if g.lanes.len() == 0 || !(claim{limiter: l, limit: g.limit}).free(now) {
			continue
		}
		if ln := g.lanes.top(); best == nil || ln.before(best) {
			best = ln
		}
	}
	return best
}

func (l *limiter) waiters() int {
	n := 0
	for _, g := range l.waiting {
		n += g.lanes.len()
	}
	return n
}

func encodeTAT(tat int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(tat)) }

func decodeTAT(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}
