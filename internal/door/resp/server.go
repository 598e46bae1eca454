package resp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/lua"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/shard"
)

// Door serves the Redis protocol. Make it with New, give it to the keyspace's shard (Effect, Lost, Observe and Keyspace), and then
// call Serve.
type Door struct {
	cfg    Config
	host   Host
	start  time.Time
	runID  string
	port   int
	stats  stats
	lastID atomic.Uint64
	engine atomic.Pointer[lua.Engine]
	counts atomic.Pointer[keyspace.Stats]

	mu       sync.Mutex
	conns    map[uint64]*conn
	stopping bool
	settings map[string]string
	wg       sync.WaitGroup

	pub      pubsub
	monitors atomic.Int32
}

// New makes a door.
func New(cfg Config) *Door {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Door{cfg: cfg, start: cfg.Now(), runID: runID(), conns: map[uint64]*conn{}, settings: defaultSettings(cfg)}
	d.pub.init()
	d.stats.init()
	return d
}

// Use tells the door which shard it serves. It must be called before Serve.
func (d *Door) Use(h Host) { d.host = h }

// Keyspace is the configuration of each machine that the shard makes.
func (d *Door) Keyspace() keyspace.Config {
	e := lua.New(lua.Limits{})
	e.Log = d.scriptLog
	d.engine.Store(e)
	return keyspace.Config{Scripts: &timedScripts{Engine: e, stats: &d.stats}, Server: d, Random: random}
}

// Serve accepts connections until ctx ends, and then closes them all: clients come back to a server that is ready for them. When it returns
// nothing of the door is running.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		d.port = a.Port
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	d.wg.Go(func() { d.sweep(ctx) })
	defer d.wg.Wait()
	defer d.closeAll()
	for wait := time.Millisecond; ; {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			d.cfg.Log.Warn("accept", "err", err) // out of file descriptors, most likely
			select {
			case <-time.After(wait):
				wait = min(2*wait, time.Second)
			case <-ctx.Done():
			}
			continue
		}
		wait = time.Millisecond
		d.accept(nc)
	}
}

func (d *Door) accept(nc net.Conn) { d.admit(d.newConn(nc)) }

// admit serves a new connection, or closes it at once when there are too many or the door closes.
func (d *Door) admit(c *conn) bool {
	d.stats.connections.Add(1)
	d.mu.Lock()
	full, stopping := len(d.conns) >= d.cfg.Limits.Clients, d.stopping
	if !full && !stopping {
		d.conns[c.id] = c
		d.wg.Go(c.serve)
	}
	d.mu.Unlock()
	if full {
		d.stats.rejected.Add(1)
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.nc.Write([]byte("-ERR max number of clients reached\r\n")) // the connection is closed whether it hears or not
	}
	if full || stopping {
		_ = c.nc.Close()
	}
	return !full && !stopping
}

// forget takes a connection that is closed out of everything.
func (d *Door) forget(c *conn) {
	d.mu.Lock()
	delete(d.conns, c.id)
	d.mu.Unlock()
	d.unsubscribeAll(c)
	d.stopMonitor(c)
	for d.host.Post(&keyspace.Forget{Client: c.id}, nil) == shard.ErrOverloaded {
		time.Sleep(time.Millisecond) // the shard is busy; if it is gone, so is what it knew of the client
	}
}

func (d *Door) conn(id uint64) *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conns[id]
}

// each lists the connections in the order in which they came.
func (d *Door) each() []*conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*conn, 0, len(d.conns))
	for _, c := range d.conns {
		list = append(list, c)
	}
	sortByID(list)
	return list
}

// drainTime is how long a door that stops waits for commands that are under way.
const drainTime = 2 * time.Second

// closeAll closes the connections, each once the commands that it has sent are answered. Those that block are not waited for.
func (d *Door) closeAll() {
	d.mu.Lock()
	d.stopping = true
	d.mu.Unlock()
	for _, c := range d.each() {
		c.stopReading()
	}
	for wait := time.Millisecond; wait < drainTime/2; wait *= 2 {
		busy := false
		for _, c := range d.each() {
			if c.answered() {
				c.close()
			} else {
				busy = true
			}
		}
		if !busy {
			return
		}
		time.Sleep(wait)
	}
	for _, c := range d.each() {
		c.close()
	}
}

// stopReading takes no more commands of a connection.
func (c *conn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if !c.closed {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
}

// answered says that everything was sent, apart from the reply of a command that blocks.
func (c *conn) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || c.out.bytes == 0 && (c.out.head == c.out.tail || c.waits && c.waitsFor == c.out.head)
}

// sweep closes connections that have been idle for too long or do not authenticate.
func (d *Door) sweep(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := d.cfg.Now()
		for _, c := range d.each() {
			if c.expired(now) {
				c.close()
			}
		}
	}
}

func (c *conn) expired(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.door.cfg.Limits
	if c.user == "" && now.Sub(c.since) > l.HelloBefore {
		return true
	}
	busy := c.waits || c.subscriptions() > 0 || c.monitors
	return l.Idle > 0 && !busy && now.Sub(time.UnixMilli(c.active.Load())) > l.Idle
}

// Effect gives clients what the keyspace promised them. It does not block.
func (d *Door) Effect(e keyspace.Effect) {
	switch e := e.(type) {
	case *keyspace.Answer:
		if c := d.conn(e.Client); c != nil {
			c.release(e.Request, e.Reply)
		}
	case *keyspace.Message:
		d.deliver(e)
	}
}

// Lost closes all connections: what they wait for and watch is not known any more.
func (d *Door) Lost() {
	for _, c := range d.each() {
		c.close()
	}
}

// Answer implements [keyspace.Server]: it runs a command of the door's within a transaction or script.
func (d *Door) Answer(client uint64, _ int, args []string) reply.Reply {
	s, bad := keyspace.Check(args)
	if s == nil {
		return bad
	}
	h := handlers[s.Name]
	c := d.conn(client)
	if h == nil || c == nil {
		return reply.Fail("ERR command '" + s.Name + "' is not allowed here")
	}
	return h(c, args)
}

// Clients is how many connections there are.
func (d *Door) Clients() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// Commands is how many commands were received.
func (d *Door) Commands() int64 { return d.stats.commands.Load() }
