package resp

import (
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Errors that several commands share.
var (
	errSyntax  = reply.Fail("ERR syntax error")
	errInteger = reply.Fail("ERR value is not an integer or out of range")
	errNoAuth  = reply.Fail("NOAUTH Authentication required.")
	queued     = reply.Reply{Kind: reply.Status, Str: "QUEUED"}
)

// handler answers a command at once. It may be called from the machine too, for a command within a transaction or a script.
type handler func(c *conn, args []string) reply.Reply

// handlers are the door's own commands that do nothing but answer; flows are those that change how the connection goes on. Both by
// the names of the table of commands.
var (
	handlers map[string]handler
	flows    map[string]func(c *conn, args []string)
)

func init() { // they refer to themselves, by way of EXEC
	handlers = map[string]handler{
		"acl|cat": aclCat, "acl|genpass": aclGenPass, "acl|getuser": aclGetUser, "acl|list": aclList, "acl|users": aclUsers, "acl|whoami": aclWhoAmI,
		"bgrewriteaof": status("Background append only file rewriting started"), "bgsave": status("Background saving started"), "save": status("OK"),
		"lastsave": lastSave, "client|caching": clientCaching, "client|getname": clientGetName, "client|getredir": number(-1), "client|id": clientID,
		"client|info": clientInfo, "client|list": clientList, "client|no-evict": clientOnOff, "client|no-touch": clientOnOff, "client|pause": clientPause,
		"client|setinfo": clientSetInfo, "client|setname": clientSetName, "client|trackinginfo": clientTrackingInfo, "client|tracking": clientTracking,
		"client|unpause": status("OK"), "config|get": configGet, "config|resetstat": configResetStat, "config|rewrite": status("OK"), "config|set": configSet,
		"info": func(c *conn, args []string) reply.Reply { return c.door.info(args[1:]) }, "latency|doctor": text("Dave, I have observed the system, no worrying latency event was found.\n"),
		"latency|histogram": empty(reply.Map), "latency|history": empty(reply.Array), "latency|latest": empty(reply.Array), "latency|reset": number(0),
		"lolwut": text("Redis ver. " + version + "\n"), "memory|doctor": text("Sam, I detected a few issues in this Redis instance memory implants: none\n"), "memory|malloc-stats": text(""),
		"memory|purge": status("OK"), "memory|stats": memoryStats, "module|list": empty(reply.Array), "function|list": empty(reply.Array), "function|flush": status("OK"),
		"pubsub|channels": pubsubChannels, "pubsub|numpat": pubsubNumPat, "pubsub|numsub": pubsubNumSub, "pubsub|shardchannels": pubsubShardChannels,
		"pubsub|shardnumsub": pubsubShardNumSub, "role": role, "slowlog|get": empty(reply.Array), "slowlog|len": number(0), "slowlog|reset": status("OK"),
		"wait": number(0), "replicaof": replicaOf, "slaveof": replicaOf, "script|debug": status("OK"), "script|kill": scriptKill, "debug": debug,
		"readonly": noCluster, "readwrite": noCluster, "asking": noCluster,
	}
	flows = map[string]func(*conn, []string){
		"auth": authenticate, "hello": hello, "quit": quit, "reset": reset, "select": selectDB, "multi": multi, "exec": exec, "discard": discard, "watch": watch,
		"unwatch": unwatch, "subscribe": subscribe, "unsubscribe": unsubscribe, "psubscribe": psubscribe, "punsubscribe": punsubscribe,
		"ssubscribe": ssubscribe, "sunsubscribe": sunsubscribe, "monitor": monitor, "client|reply": clientReply, "client|unblock": clientUnblock,
		"client|kill": clientKill,
		"info":        infoNow, "shutdown": shutdown, "ping": ping,
	}
}

func status(s string) handler {
	return func(*conn, []string) reply.Reply { return reply.Reply{Kind: reply.Status, Str: s} }
}

func text(s string) handler {
	return func(*conn, []string) reply.Reply { return reply.Reply{Kind: reply.Verbatim, Str: s} }
}

func number(n int64) handler {
	return func(*conn, []string) reply.Reply { return reply.Num(n) }
}

func empty(k reply.Kind) handler {
	return func(*conn, []string) reply.Reply { return reply.Reply{Kind: k} }
}

// run does one command that the reader has taken off the stream.
func (c *conn) run(args []string) {
	now := c.door.cfg.Now()
	c.active.Store(now.UnixMilli())
	c.door.stats.commands.Add(1)
	s, bad := keyspace.Check(args)
	switch {
	case s == nil:
		c.refuse(bad)
		return
	case c.user == "" && s.Flags&keyspace.NoAuth == 0:
		c.refuse(errNoAuth)
		return
	}
	c.mu.Lock()
	c.command = s.Name
	listens := c.proto == 2 && c.subscriptions() > 0
	c.mu.Unlock()
	if listens && !allowedWhileSubscribed[s.Name] {
		c.refuse(reply.Fail("ERR Can't execute '" + s.Name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"))
		return
	}
	if c.door.monitors.Load() > 0 && s.Flags&(keyspace.Admin|keyspace.SkipMonitor) == 0 {
		c.door.feedMonitors(c, args, now)
	}
	if c.multi >= 0 && !runsInMulti[s.Name] {
		c.enqueue(s, args)
		return
	}
	if flow := flows[s.Name]; flow != nil {
		flow(c, args)
		return
	}
	if s.Flags&keyspace.Outside != 0 {
		c.respond(c.door.own(c, s, args))
		return
	}
	c.request++
	n := c.place()
	if s.Flags&keyspace.Blocking != 0 {
		c.hold(n, c.request)
	}
	c.post(n, &keyspace.Do{Client: c.id, Request: c.request, DB: c.db, Args: args, Micros: now.UnixMicro()}, nil)
}

// own answers a command of the door's.
func (d *Door) own(c *conn, s *keyspace.Spec, args []string) reply.Reply {
	if h := handlers[s.Name]; h != nil {
		return h(c, args)
	}
	name, sub, _ := strings.Cut(s.Name, "|")
	switch {
	case sub == "help":
		return reply.List(reply.Reply{Kind: reply.Status, Str: strings.ToUpper(name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are those that COMMAND INFO " + name + " lists."})
	case name == "cluster":
		return reply.Fail("ERR This instance has cluster support disabled")
	case name == "function" || name == "fcall" || name == "fcall_ro":
		return reply.Fail("ERR Functions are not supported here; use scripts")
	}
	return reply.Fail("ERR The command '" + strings.ReplaceAll(s.Name, "|", " ") + "' is not supported here")
}

// refuse answers a command that cannot run. A transaction that it would have been part of cannot either.
func (c *conn) refuse(r reply.Reply) {
	if c.multi >= 0 {
		c.broken = true
	}
	c.respond(r)
}

func wrongArity(name string) reply.Reply {
	return reply.Fail("ERR wrong number of arguments for '" + name + "' command")
}

// ping is the keyspace's, but for clients that listen to channels.
func ping(c *conn, args []string) {
	if len(args) > 2 {
		c.respond(wrongArity("ping"))
		return
	}
	message := ""
	if len(args) == 2 {
		message = args[1]
	}
	c.mu.Lock()
	listens := c.proto == 2 && c.subscriptions() > 0
	c.mu.Unlock()
	switch {
	case listens:
		c.respond(reply.List(reply.Of("pong"), reply.Of(message)))
	case len(args) == 2:
		c.respond(reply.Of(message))
	default:
		c.respond(reply.Reply{Kind: reply.Status, Str: "PONG"})
	}
}

func quit(c *conn, _ []string) { c.finish(reply.OK) }

// reset makes the connection as new, but for its name.
func reset(c *conn, _ []string) {
	c.dropMulti()
	c.door.unsubscribeAll(c)
	c.door.stopMonitor(c)
	_ = c.door.host.Post(&keyspace.Unwatch{Client: c.id}, nil) // a busy shard forgets it with the next EXEC or with the connection
	c.mu.Lock()
	c.proto, c.db, c.replies = 2, 0, repliesOn
	c.user = ""
	if c.door.open() {
		c.user = defaultUser
	}
	c.parser.stranger = c.user == ""
	c.mu.Unlock()
	c.respond(reply.Reply{Kind: reply.Status, Str: "RESET"})
}

func selectDB(c *conn, args []string) {
	n, err := strconv.Atoi(args[1])
	switch {
	case err != nil:
		c.respond(errInteger)
	case n < 0 || n >= keyspace.Databases:
		c.respond(reply.Fail("ERR DB index is out of range"))
	default:
		c.setDB(n)
		c.respond(reply.OK)
	}
}

func (c *conn) setDB(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = n
}

func shutdown(c *conn, _ []string) {
	c.respond(reply.Fail("ERR Errors trying to SHUTDOWN. Stop the server's process instead."))
}

func role(*conn, []string) reply.Reply {
	return reply.List(reply.Of("master"), reply.Num(0), reply.Reply{Kind: reply.Array})
}

func replicaOf(_ *conn, args []string) reply.Reply {
	if strings.EqualFold(args[1], "no") && strings.EqualFold(args[2], "one") {
		return reply.OK
	}
	return reply.Fail("ERR replication is not supported here")
}

func noCluster(*conn, []string) reply.Reply {
	return reply.Fail("ERR This instance has cluster support disabled")
}

func lastSave(c *conn, _ []string) reply.Reply { return reply.Num(c.door.cfg.Now().Unix()) }

func scriptKill(c *conn, _ []string) reply.Reply {
	if e := c.door.engine.Load(); e != nil {
		return e.Kill()
	}
	return reply.Fail("NOTBUSY No scripts in execution right now.")
}

// debug has the few subcommands that tests of clients use.
func debug(_ *conn, args []string) reply.Reply {
	switch strings.ToLower(args[1]) {
	case "jmap", "quicklist-packed-threshold", "set-active-expire", "change-repl-id", "flushall":
		return reply.OK
	}
	return reply.Fail("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.")
}
