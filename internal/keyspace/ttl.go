package keyspace

import (
	"math"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Times to live: EXPIRE, TTL and their relatives.

func expire(c *call) reply.Reply    { return c.expireCommand(true, false) }
func pexpire(c *call) reply.Reply   { return c.expireCommand(false, false) }
func expireat(c *call) reply.Reply  { return c.expireCommand(true, true) }
func pexpireat(c *call) reply.Reply { return c.expireCommand(false, true) }

func (c *call) expireCommand(seconds, absolute bool) reply.Reply {
	var nx, xx, gt, lt bool
	for _, a := range c.args[3:] {
		switch {
		case isWord(a, "NX"):
			nx = true
		case isWord(a, "XX"):
			xx = true
		case isWord(a, "GT"):
			gt = true
		case isWord(a, "LT"):
			lt = true
		default:
			return reply.Fail("ERR Unsupported option " + oneLine(a))
		}
	}
	switch {
	case nx && (xx || gt || lt):
		return reply.Fail("ERR NX and XX, GT or LT options at the same time are not compatible")
	case gt && lt:
		return reply.Fail("ERR GT and LT options at the same time are not compatible")
	}
	at, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	name := Lookup(c.args[0]).Name
	invalid := reply.Fail("ERR invalid expire time in '" + name + "' command")
	if seconds {
		if at > math.MaxInt64/1000 || at < math.MinInt64/1000 {
			return invalid
		}
		at *= 1000
	}
	if !absolute {
		if at > math.MaxInt64-c.m.now {
			return invalid
		}
		at += c.m.now
	}
	key := c.args[1]
	it := c.find(key)
	if it == nil {
		return zero
	}
	old := it.expires
	switch {
	case nx && old != 0, xx && old == 0, gt && (old == 0 || at <= old), lt && old != 0 && at >= old:
		return zero
	}
	if at <= c.m.now {
		c.remove(key)
		return one
	}
	c.m.setExpiry(c.db, key, it, at)
	c.touch(key)
	return one
}

func persist(c *call) reply.Reply {
	it := c.find(c.args[1])
	if it == nil || it.expires == 0 {
		return zero
	}
	c.m.setExpiry(c.db, c.args[1], it, 0)
	c.touch(c.args[1])
	return one
}

func ttl(c *call) reply.Reply {
	r := pttl(c)
	if r.N >= 0 {
		r.N = (r.N + 500) / 1000
	}
	return r
}

func pttl(c *call) reply.Reply {
	r := pexpiretime(c)
	if r.N >= 0 {
		r.N = max(0, r.N-c.m.now)
	}
	return r
}

func expiretime(c *call) reply.Reply {
	r := pexpiretime(c)
	if r.N >= 0 {
		r.N = (r.N + 500) / 1000
	}
	return r
}

func pexpiretime(c *call) reply.Reply {
	it := c.find(c.args[1])
	switch {
	case it == nil:
		return reply.Num(-2)
	case it.expires == 0:
		return reply.Num(-1)
	}
	return reply.Num(it.expires)
}
