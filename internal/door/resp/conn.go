package resp

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/shard"
)

// replyMode is what CLIENT REPLY chose.
type replyMode uint8

const (
	repliesOn replyMode = iota
	repliesOff
	repliesSkip // the next one
)

// conn is one client.
type conn struct {
	door    *Door
	id      uint64
	nc      net.Conn
	since   time.Time
	gone    chan struct{} // closed with the connection
	parser  *parser       // the reader's
	queued  [][]string    // the reader's: commands since MULTI
	weight  int           // bytes of them
	broken  bool          // one of them was refused
	request uint64        // the reader's

	active atomic.Int64 // when the last command came, unix ms

	mu       sync.Mutex
	room     sync.Cond // on mu: places were freed
	out      output
	closed   bool
	leaving  bool   // its last reply is on its way
	waits    bool   // the command at waitsFor blocks, or may
	waitsFor uint64 // its place
	waitsAs  uint64 // how an Answer names it
	wake     bool   // the reader wants to know when it does not any more

	proto    int
	replies  replyMode
	user     string // "" before it has authenticated
	name     string
	library  string
	libVer   string
	db       int
	multi    int    // commands queued since MULTI, -1: there was none
	command  string // the last one
	blocked  bool   // known to wait
	monitors bool
	channels map[string]bool
	patterns map[string]bool
	sharded  map[string]bool
}

func (d *Door) newConn(nc net.Conn) *conn {
	c := &conn{
		door: d, id: d.lastID.Add(1), nc: nc, since: d.cfg.Now(), gone: make(chan struct{}), parser: newParser(d.cfg.Limits), proto: 2, multi: -1,
	}
	c.room.L = &c.mu
	c.out.ready = make(chan struct{}, 1)
	if d.open() {
		c.user = defaultUser
	}
	c.parser.stranger = c.user == ""
	c.active.Store(c.since.UnixMilli())
	return c
}

// serve runs the connection until it ends. The writer runs beside it.
func (c *conn) serve() {
	var wg sync.WaitGroup
	wg.Go(c.write)
	err := c.read()
	var bad protocolError
	if errors.As(err, &bad) {
		c.finish(reply.Fail(bad.Error()))
		c.flush()
		select {
		case <-c.gone:
		case <-time.After(time.Second): // time enough to tell a client that listens
		}
	}
	c.close()
	c.door.forget(c)
	wg.Wait()
}

// close ends the connection; whoever is in the middle of something with it finds out.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked()
}

func (c *conn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	close(c.gone)
	_ = c.nc.Close() // what it says changes nothing
	c.room.Broadcast()
}

// cut closes a connection that asks too much; the mutex is held.
func (c *conn) cut(why string) {
	c.door.cfg.Log.Warn("a Redis client is disconnected", "client", c.id, "addr", c.nc.RemoteAddr().String(), "why", why)
	c.closeLocked()
}

// read is the reader.
func (c *conn) read() error {
	for {
		for !c.isLeaving() && !c.held() {
			args, ok, err := c.parser.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			c.run(args)
		}
		if c.isLeaving() {
			<-c.gone // the last reply is on its way; what the client still says does not matter
			return nil
		}
		c.nextBatch()
		if c.parser.buffered() > c.door.cfg.Limits.Backlog && c.isHeld() {
			return protocolError("too many commands behind one that blocks")
		}
		n, err := c.nc.Read(c.parser.space())
		c.parser.filled(n)
		c.door.stats.in.Add(int64(n))
		if isTimeout(err) {
			_ = c.nc.SetReadDeadline(time.Time{})
			err = nil
		}
		if err != nil {
			return err
		}
	}
}

// held says whether a command that blocks keeps the next ones waiting. If it does, the reader is woken when it no longer does.
func (c *conn) held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = c.waits
	return c.waits
}

func (c *conn) isHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits
}

func (c *conn) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving || c.closed
}

// nextBatch closes a batch of commands: its replies need not wait for those of later ones.
func (c *conn) nextBatch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.batch++
	if c.out.head < c.out.tail && c.out.at(c.out.head).done {
		c.flush()
	}
}

// post gives a command to the keyspace; its reply goes to a place.
func (c *conn) post(n uint64, cmd keyspace.Command, done func(keyspace.Result) reply.Reply) {
	to := func(r keyspace.Result, err error) {
		switch {
		case err != nil: // nobody knows what became of it: the client must ask again
			c.close()
		case r.Blocked:
			c.mu.Lock()
			c.blocked = c.waits
			c.signal()
			c.mu.Unlock()
		case done != nil:
			c.answer(n, done(r))
		default:
			c.answer(n, r.Reply)
		}
	}
	wait := 200 * time.Microsecond
	for {
		err := c.door.host.Post(cmd, to)
		switch {
		case err == nil:
			return
		case !errors.Is(err, shard.ErrOverloaded):
			c.answer(n, loading)
			return
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, 10*time.Millisecond)
		case <-c.gone:
			return
		}
	}
}

var loading = reply.Fail("LOADING Redis is loading the dataset in memory")

// hold makes the commands behind a place wait until it is answered. request is how an Answer names it.
func (c *conn) hold(n, request uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits, c.waitsFor, c.waitsAs = true, n, request
}

// release takes the Answer of a command that blocked.
func (c *conn) release(request uint64, r reply.Reply) {
	c.mu.Lock()
	n, ok := c.waitsFor, c.waits && c.waitsAs == request
	c.blocked = false
	c.mu.Unlock()
	if ok {
		c.answer(n, r)
	}
}

func (c *conn) subscriptions() int { return len(c.channels) + len(c.patterns) + len(c.sharded) }
