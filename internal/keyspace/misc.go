package keyspace

import (
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// PING, ECHO, SELECT, TIME and PUBLISH.

func ping(c *call) reply.Reply {
	switch len(c.args) {
	case 1:
		return reply.Reply{Kind: reply.Status, Str: "PONG"}
	case 2:
		return reply.Of(c.args[1])
	}
	return wrongArity("ping")
}

func echo(c *call) reply.Reply { return reply.Of(c.args[1]) }

func selectCommand(c *call) reply.Reply {
	n, ok := parseInt(c.args[1])
	switch {
	case !ok:
		return errInteger
	case n < 0 || n >= Databases:
		return reply.Fail("ERR DB index is out of range")
	}
	c.db = int(n)
	return reply.OK
}

// timeCommand gives the machine's time. The microseconds are those at which the command was read, if that was in the same
// millisecond.
func timeCommand(c *call) reply.Reply {
	us := min(max(c.micros, c.m.now*1000), c.m.now*1000+999)
	return reply.List(reply.Of(formatInt(us/1e6)), reply.Of(formatInt(us%1e6)))
}

func publish(c *call) reply.Reply  { return c.publish(false) }
func spublish(c *call) reply.Reply { return c.publish(true) }

func (c *call) publish(shard bool) reply.Reply {
	c.m.out.Effects = append(c.m.out.Effects, &Message{Channel: c.args[1], Payload: c.args[2], Shard: shard})
	if c.m.cfg.Server == nil {
		return zero
	}
	return reply.Num(int64(c.m.cfg.Server.Receivers(c.args[1], shard)))
}
