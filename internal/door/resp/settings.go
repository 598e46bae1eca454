package resp

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// CONFIG. Clients and tools read some settings and set a few; none of them changes what the server does.

func defaultSettings(cfg Config) map[string]string {
	fsync := "always"
	if cfg.Everysec {
		fsync = "everysec"
	}
	return map[string]string{
		"appendfsync": fsync, "appendonly": "yes", "client-output-buffer-limit": "normal " + strconv.Itoa(cfg.Limits.Output) + " 0 0 slave 0 0 0 pubsub " + strconv.Itoa(cfg.Limits.Subscribed) + " 0 0",
		"client-query-buffer-limit": strconv.Itoa(cfg.Limits.Query), "databases": strconv.Itoa(keyspace.Databases), "lua-time-limit": "5000", "maxclients": strconv.Itoa(cfg.Limits.Clients),
		"maxmemory": "0", "maxmemory-policy": "noeviction", "notify-keyspace-events": "", "proto-max-bulk-len": strconv.Itoa(cfg.Limits.Bulk), "save": "",
		"slowlog-log-slower-than": "10000", "slowlog-max-len": "128", "timeout": strconv.Itoa(int(cfg.Limits.Idle.Seconds())), "tcp-keepalive": "300", "latency-monitor-threshold": "0",
		"hash-max-listpack-entries": "512", "list-max-listpack-size": "-2", "set-max-intset-entries": "512", "zset-max-listpack-entries": "128", "stream-node-max-entries": "100",
	}
}

// fixed are the settings that say what the server does and that CONFIG SET cannot change.
var fixed = map[string]bool{
	"appendfsync": true, "appendonly": true, "client-query-buffer-limit": true, "databases": true, "maxclients": true, "maxmemory": true, "proto-max-bulk-len": true, "timeout": true,
}

func (d *Door) setting(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settings[name]
}

func configGet(c *conn, args []string) reply.Reply {
	d := c.door
	d.mu.Lock()
	defer d.mu.Unlock()
	r := reply.Reply{Kind: reply.Map}
	for _, name := range slices.Sorted(maps.Keys(d.settings)) {
		if slices.ContainsFunc(args[2:], func(p string) bool { return keyspace.Match(strings.ToLower(p), name) }) {
			r.Elems = append(r.Elems, reply.Of(name), reply.Of(d.settings[name]))
		}
	}
	return r
}

func configSet(c *conn, args []string) reply.Reply {
	if len(args)%2 != 0 {
		return wrongArity("config|set")
	}
	d := c.door
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 2; i < len(args); i += 2 {
		name := strings.ToLower(args[i])
		old, known := d.settings[name]
		switch {
		case !known:
			return reply.Fail("ERR Unknown option or number of arguments for CONFIG SET - '" + clean(args[i]) + "'")
		case fixed[name] && args[i+1] != old:
			return reply.Fail("ERR CONFIG SET failed (possibly related to argument '" + name + "') - can't set immutable config")
		case name == "maxmemory-policy" && !slices.Contains(policies, args[i+1]):
			return reply.Fail("ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: " + strings.Join(policies, ", "))
		case len(args[i+1]) > 1024:
			return reply.Fail("ERR CONFIG SET failed (possibly related to argument '" + name + "') - the value is too long")
		}
	}
	for i := 2; i < len(args); i += 2 {
		d.settings[strings.ToLower(args[i])] = args[i+1]
	}
	return reply.OK
}

var policies = []string{"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"}

func configResetStat(c *conn, _ []string) reply.Reply {
	c.door.stats.reset()
	return reply.OK
}
