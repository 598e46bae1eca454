package resp

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

func monitor(c *conn, _ []string) {
	c.mu.Lock()
	if !c.monitors {
		c.monitors = true
		c.door.monitors.Add(1)
	}
	c.mu.Unlock()
	c.respond(reply.OK)
}

func (d *Door) stopMonitor(c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.monitors {
		c.monitors = false
		d.monitors.Add(-1)
	}
}

// feedMonitors shows a command to those who watch.
func (d *Door) feedMonitors(from *conn, args []string, now time.Time) {
	var b strings.Builder
	us := now.UnixMicro()
	fmt.Fprintf(&b, "%d.%06d [%d %s]", us/1e6, us%1e6, from.db, from.nc.RemoteAddr())
	for _, a := range args {
		b.WriteByte(' ')
		quote(&b, a)
	}
	line := reply.Reply{Kind: reply.Status, Str: b.String()}
	for _, c := range d.each() {
		c.mu.Lock()
		watches := c.monitors
		c.mu.Unlock()
		if watches {
			c.push(line)
		}
	}
}

// quote writes an argument as redis-cli does.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\a':
			b.WriteString(`\a`)
		case c == '\b':
			b.WriteString(`\b`)
		case c < ' ' || c > '~':
			fmt.Fprintf(b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// scriptLog is where redis.log goes. Scripts are users' code: what they report is no error of ours.
func (d *Door) scriptLog(level int, text string) {
	l := slog.LevelDebug
	if level >= 2 {
		l = slog.LevelInfo
	}
	d.cfg.Log.Log(context.Background(), l, "a script says", "text", text[:min(len(text), 1024)])
}
