package resp

import (
	"net"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// place is one command's place in the queue of replies.
type place struct {
	r      reply.Reply
	proto  int8
	done   bool
	silent bool // CLIENT REPLY OFF or SKIP
	last   bool // the connection is closed once it is sent
	batch  uint32
}

// output is the queue of a connection's replies; the connection's mutex guards it.
type output struct {
	ring       []place // a power of two
	head, tail uint64  // places from head to tail-1 wait
	done       uint64  // those before it are answered
	bytes      int     // of replies that are done and not sent
	batch      uint32  // of commands that arrived together
	ready      chan struct{}
}

func (o *output) at(n uint64) *place { return &o.ring[n&uint64(len(o.ring)-1)] }

// reserve takes the next place.
func (o *output) reserve(p place) uint64 {
	if o.tail-o.head == uint64(len(o.ring)) {
		bigger := make([]place, max(16, 2*len(o.ring)))
		for n := o.head; n < o.tail; n++ {
			bigger[n&uint64(len(bigger)-1)] = *o.at(n)
		}
		o.ring = bigger
	}
	p.batch = o.batch
	*o.at(o.tail) = p
	o.tail++
	return o.tail - 1
}

// place takes the next place for a command that is about to run.
func (c *conn) place() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out.tail-c.out.head >= uint64(c.door.cfg.Limits.InFlight) && !c.closed {
		c.room.Wait()
	}
	silent := c.replies != repliesOn
	if c.replies == repliesSkip {
		c.replies = repliesOn
	}
	return c.out.reserve(place{proto: int8(c.proto), silent: silent})
}

// answer gives the reply of a place.
func (c *conn) answer(n uint64, r reply.Reply) {
	size := weight(&r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < c.out.head || c.closed { // it was answered before, or nobody listens
		return
	}
	p := c.out.at(n)
	if p.done {
		return
	}
	p.r, p.done = r, true
	if p.silent {
		p.r, size = reply.Reply{}, 0
	}
	c.out.bytes += size
	if c.waits && n == c.waitsFor {
		c.waits = false
		if c.wake { // the reader has more to do
			c.wake = false
			_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		}
	}
	if c.tooMuch() {
		c.cut("it does not read its replies")
		return
	}
	c.signal()
}

// respond is answer for a reply that is known at once.
func (c *conn) respond(r reply.Reply) { c.answer(c.place(), r) }

// finish is respond for the last reply of a connection.
func (c *conn) finish(r reply.Reply) {
	n := c.place()
	c.mu.Lock()
	c.out.at(n).last = true
	c.leaving = true
	c.mu.Unlock()
	c.answer(n, r)
}

// push sends something that answers no command.
func (c *conn) push(r reply.Reply) {
	size := weight(&r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.out.bytes += size
	c.out.reserve(place{r: r, proto: int8(c.proto), done: true, silent: c.replies == repliesOff})
	if c.tooMuch() {
		c.cut("it does not read its messages")
		return
	}
	c.signal()
}

func (c *conn) tooMuch() bool {
	limit := c.door.cfg.Limits.Output
	if c.subscriptions() > 0 || c.monitors {
		limit = c.door.cfg.Limits.Subscribed
	}
	return c.out.bytes > limit
}

// signal wakes the writer for what is answered, unless more replies of the same batch are about to come, which can share its write.
func (c *conn) signal() {
	o := &c.out
	o.done = max(o.done, o.head)
	for o.done < o.tail && o.at(o.done).done {
		o.done++
	}
	if o.done == o.head {
		return
	}
	more := o.done < o.tail && o.at(o.done).batch == o.at(o.done-1).batch && o.bytes < 64<<10 && !(c.waits && c.waitsFor == o.done)
	if !more {
		c.flush()
	}
}

// flush wakes the writer for what is done.
func (c *conn) flush() {
	select {
	case c.out.ready <- struct{}{}:
	default:
	}
}

// write is the writer: it sends replies in the order of their places until the connection is closed.
func (c *conn) write() {
	var buf []byte
	var batch []place
	for {
		select {
		case <-c.out.ready:
		case <-c.gone:
			return
		}
		for {
			c.mu.Lock()
			batch = batch[:0]
			held := 0
			for c.out.head < c.out.tail && c.out.at(c.out.head).done && len(batch) < 1024 {
				p := c.out.at(c.out.head)
				batch = append(batch, *p)
				*p = place{}
				c.out.head++
			}
			c.room.Broadcast()
			c.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			last := false
			for i := range batch {
				p := &batch[i]
				if !p.silent {
					held += weight(&p.r)
					buf = appendReply(buf, &p.r, int(p.proto))
				}
				last = last || p.last
				p.r = reply.Reply{}
				if len(buf) >= 64<<10 || i == len(batch)-1 && len(buf) > 0 {
					if !c.send(buf) {
						return
					}
					buf = buf[:0]
					if cap(buf) > 1<<20 {
						buf = nil
					}
				}
			}
			c.mu.Lock()
			c.out.bytes -= held
			c.mu.Unlock()
			if last {
				c.close()
				return
			}
		}
	}
}

func (c *conn) send(b []byte) bool {
	n, err := c.nc.Write(b)
	c.door.stats.out.Add(int64(n))
	if err != nil {
		c.close()
		return false
	}
	return true
}

// isTimeout says that a read ended because its deadline was moved.
func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
