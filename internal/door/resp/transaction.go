package resp

import (
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// MULTI, EXEC, DISCARD, WATCH and UNWATCH.

// runsInMulti are the commands that are not queued.
var runsInMulti = map[string]bool{"exec": true, "discard": true, "multi": true, "watch": true, "quit": true, "reset": true}

func multi(c *conn, _ []string) {
	if c.multi >= 0 {
		c.respond(reply.Fail("ERR MULTI calls can not be nested"))
		return
	}
	c.setMulti(0)
	c.respond(reply.OK)
}

func (c *conn) setMulti(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.multi = n
}

// enqueue keeps a command for EXEC.
func (c *conn) enqueue(s *keyspace.Spec, args []string) {
	if s.Flags&keyspace.NoMulti != 0 {
		c.refuse(reply.Fail("ERR Command not allowed inside a transaction"))
		return
	}
	for _, a := range args {
		c.weight += len(a) + argWeight
	}
	if c.weight > c.door.cfg.Limits.Query {
		c.queued = nil
		c.refuse(reply.Fail("ERR the transaction is too big"))
		return
	}
	if !c.broken {
		c.queued = append(c.queued, args)
	}
	c.setMulti(c.multi + 1)
	c.respond(queued)
}

func (c *conn) dropMulti() {
	c.queued, c.weight, c.broken = nil, 0, false
	c.setMulti(-1)
}

func exec(c *conn, _ []string) {
	if c.multi < 0 {
		c.respond(reply.Fail("ERR EXEC without MULTI"))
		return
	}
	commands, broken := c.queued, c.broken
	c.dropMulti()
	n := c.place()
	if broken {
		abort := reply.Fail("EXECABORT Transaction discarded because of previous errors.")
		c.post(n, &keyspace.Unwatch{Client: c.id}, func(keyspace.Result) reply.Reply { return abort })
		return
	}
	cmd := &keyspace.Exec{Client: c.id, DB: c.db, Queued: commands, Micros: c.door.cfg.Now().UnixMicro()}
	if !moves(commands) {
		c.post(n, cmd, nil)
		return
	}
	c.hold(n, 0) // the commands behind it run in the database that it leaves
	c.post(n, cmd, func(r keyspace.Result) reply.Reply {
		c.setDB(r.DB)
		return r.Reply
	})
}

func moves(commands [][]string) bool {
	for _, args := range commands {
		if strings.EqualFold(args[0], "select") {
			return true
		}
	}
	return false
}

func discard(c *conn, _ []string) {
	if c.multi < 0 {
		c.respond(reply.Fail("ERR DISCARD without MULTI"))
		return
	}
	c.dropMulti()
	unwatch(c, nil)
}

func watch(c *conn, args []string) {
	if c.multi >= 0 {
		c.respond(reply.Fail("ERR WATCH inside MULTI is not allowed"))
		return
	}
	c.post(c.place(), &keyspace.Watch{Client: c.id, DB: c.db, Keys: args[1:]}, nil)
}

func unwatch(c *conn, _ []string) {
	c.post(c.place(), &keyspace.Unwatch{Client: c.id}, nil)
}
