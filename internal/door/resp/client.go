package resp

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// The subcommands of CLIENT.

var errName = reply.Fail("ERR Client names cannot contain spaces, newlines or special characters.")

func validName(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

func sortByID(list []*conn) {
	slices.SortFunc(list, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
}

func clientID(c *conn, _ []string) reply.Reply { return reply.Num(int64(c.id)) }

func clientGetName(c *conn, _ []string) reply.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.name == "" {
		return reply.Reply{}
	}
	return reply.Of(c.name)
}

func clientSetName(c *conn, args []string) reply.Reply {
	if !validName(args[2]) {
		return errName
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = args[2]
	return reply.OK
}

func clientSetInfo(c *conn, args []string) reply.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	option := strings.ToLower(args[2])
	if option != "lib-name" && option != "lib-ver" {
		return reply.Fail("ERR Unrecognized option '" + clean(args[2]) + "'")
	}
	if !validName(args[3]) {
		return reply.Fail("ERR " + option + " cannot contain spaces, newlines or special characters.")
	}
	if option == "lib-name" {
		c.library = args[3]
	} else {
		c.libVer = args[3]
	}
	return reply.OK
}

// line describes a connection as CLIENT LIST does.
func (c *conn) line(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	flags := ""
	if c.monitors {
		flags += "O"
	}
	if c.subscriptions() > 0 {
		flags += "P"
	}
	if c.multi >= 0 {
		flags += "x"
	}
	if c.blocked {
		flags += "b"
	}
	events := "r"
	if c.out.bytes > 0 {
		events = "rw"
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ssub=%d multi=%d qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=4096 rbp=0 obl=0 oll=%d omem=%d tot-mem=%d events=%s cmd=%s user=%s redir=-1 resp=%d",
		c.id, c.nc.RemoteAddr(), c.nc.LocalAddr(), c.id, c.name, int(now.Sub(c.since).Seconds()), int(now.Sub(time.UnixMilli(c.active.Load())).Seconds()), cmp.Or(flags, "N"),
		c.db, len(c.channels), len(c.patterns), len(c.sharded), c.multi, c.out.tail-c.out.head, c.out.bytes, c.out.bytes+8192, events, cmp.Or(c.command, "NULL"), c.user, c.proto)
}

func clientInfo(c *conn, _ []string) reply.Reply {
	return reply.Reply{Kind: reply.Verbatim, Str: c.line(c.door.cfg.Now()) + "\n"}
}

func clientList(c *conn, args []string) reply.Reply {
	keep := func(*conn) bool { return true }
	switch {
	case len(args) == 2:
	case len(args) == 4 && strings.EqualFold(args[2], "type"):
		f, ok := ofType(args[3])
		if !ok {
			return reply.Fail("ERR Unknown client type '" + clean(args[3]) + "'")
		}
		keep = f
	case len(args) > 3 && strings.EqualFold(args[2], "id"):
		ids := map[uint64]bool{}
		for _, a := range args[3:] {
			id, err := strconv.ParseUint(a, 10, 63)
			if err != nil || id == 0 {
				return reply.Fail("ERR Invalid client ID")
			}
			ids[id] = true
		}
		keep = func(c *conn) bool { return ids[c.id] }
	default:
		return errSyntax
	}
	var b strings.Builder
	now := c.door.cfg.Now()
	for _, other := range c.door.each() {
		if keep(other) {
			b.WriteString(other.line(now))
			b.WriteByte('\n')
		}
	}
	return reply.Reply{Kind: reply.Verbatim, Str: b.String()}
}

// ofType is the filter that TYPE names.
func ofType(name string) (func(*conn) bool, bool) {
	listens := func(c *conn) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.subscriptions() > 0
	}
	switch strings.ToLower(name) {
	case "normal":
		return func(c *conn) bool { return !listens(c) }, true
	case "pubsub":
		return listens, true
	case "master", "slave", "replica":
		return func(*conn) bool { return false }, true
	}
	return nil, false
}

func clientOnOff(_ *conn, args []string) reply.Reply {
	if !strings.EqualFold(args[2], "on") && !strings.EqualFold(args[2], "off") {
		return errSyntax
	}
	return reply.OK
}

func clientPause(_ *conn, args []string) reply.Reply {
	if _, err := strconv.ParseUint(args[2], 10, 63); err != nil {
		return reply.Fail("ERR timeout is not an integer or out of range")
	}
	return reply.OK
}

func clientCaching(*conn, []string) reply.Reply {
	return reply.Fail("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
}

func clientTracking(_ *conn, args []string) reply.Reply {
	if strings.EqualFold(args[2], "off") {
		return reply.OK
	}
	return reply.Fail("ERR client tracking is not supported here")
}

func clientTrackingInfo(*conn, []string) reply.Reply {
	return reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
		reply.Of("flags"), {Kind: reply.Set, Elems: []reply.Reply{reply.Of("off")}}, reply.Of("redirect"), reply.Num(-1), reply.Of("prefixes"), {Kind: reply.Array},
	}}
}

func clientReply(c *conn, args []string) {
	c.mu.Lock()
	switch strings.ToLower(args[2]) {
	case "on":
		c.replies = repliesOn
		c.mu.Unlock()
		c.respond(reply.OK)
		return
	case "off":
		c.replies = repliesOff
		c.mu.Unlock()
		return
	case "skip":
		if c.replies == repliesOn {
			c.replies = repliesSkip
		}
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.respond(errSyntax)
}

func clientUnblock(c *conn, args []string) {
	id, err := strconv.ParseUint(args[2], 10, 63)
	fail := len(args) == 4 && strings.EqualFold(args[3], "error")
	switch {
	case err != nil:
		c.respond(errInteger)
	case len(args) > 4 || len(args) == 4 && !fail && !strings.EqualFold(args[3], "timeout"):
		c.respond(reply.Fail("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"))
	default:
		c.post(c.place(), &keyspace.Unblock{Client: id, Error: fail}, nil)
	}
}

// clientKill closes connections: those that all filters match, or the one at an address. One's own is closed behind the reply.
func clientKill(c *conn, args []string) {
	if len(args) == 3 {
		n, self := c.killWhere(func(o *conn) bool { return o.nc.RemoteAddr().String() == args[2] }, false)
		r := reply.OK
		if n == 0 {
			r = reply.Fail("ERR No such client")
		}
		c.respondOrFinish(r, self)
		return
	}
	filters, skipMe, bad, ok := killFilters(c, args[2:])
	if !ok {
		c.respond(bad)
		return
	}
	n, self := c.killWhere(func(o *conn) bool {
		return !slices.ContainsFunc(filters, func(f func(*conn) bool) bool { return !f(o) })
	}, skipMe)
	c.respondOrFinish(reply.Num(int64(n)), self)
}

func (c *conn) respondOrFinish(r reply.Reply, last bool) {
	if last {
		c.finish(r)
	} else {
		c.respond(r)
	}
}

func killFilters(c *conn, args []string) (filters []func(*conn) bool, skipMe bool, bad reply.Reply, ok bool) {
	skipMe = true
	if len(args)%2 != 0 {
		return nil, false, errSyntax, false
	}
	for i := 0; i < len(args); i += 2 {
		val := args[i+1]
		switch strings.ToLower(args[i]) {
		case "id":
			id, err := strconv.ParseUint(val, 10, 63)
			if err != nil || id == 0 {
				return nil, false, reply.Fail("ERR client-id should be greater than 0"), false
			}
			filters = append(filters, func(o *conn) bool { return o.id == id })
		case "addr":
			filters = append(filters, func(o *conn) bool { return o.nc.RemoteAddr().String() == val })
		case "laddr":
			filters = append(filters, func(o *conn) bool { return o.nc.LocalAddr().String() == val })
		case "type":
			f, ok := ofType(val)
			if !ok {
				return nil, false, reply.Fail("ERR Unknown client type '" + clean(val) + "'"), false
			}
			filters = append(filters, f)
		case "user":
			if !slices.Contains(c.door.users(), val) {
				return nil, false, reply.Fail("ERR No such user '" + clean(val) + "'"), false
			}
			filters = append(filters, func(o *conn) bool {
				o.mu.Lock()
				defer o.mu.Unlock()
				return o.user == val
			})
		case "skipme":
			if !strings.EqualFold(val, "yes") && !strings.EqualFold(val, "no") {
				return nil, false, errSyntax, false
			}
			skipMe = strings.EqualFold(val, "yes")
		default:
			return nil, false, errSyntax, false
		}
	}
	return filters, skipMe, reply.Reply{}, true
}

// killWhere closes the connections of others and counts them; self says that one's own is among them.
func (c *conn) killWhere(match func(*conn) bool, skipMe bool) (n int, self bool) {
	for _, o := range c.door.each() {
		if o == c && skipMe || !match(o) {
			continue
		}
		n++
		if o == c {
			self = true
		} else {
			o.close()
		}
	}
	return n, self
}
