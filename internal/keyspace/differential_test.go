package keyspace

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// redis is a real Redis that one test talks to.
type redis struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// startRedis runs a redis-server of its own on a socket in a folder of the test's.
func startRedis(t *testing.T) *redis {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server on the PATH to compare with; scripts/test installs it")
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ready to accept") && !strings.Contains(lines.Text(), "now ready to accept") {
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &redis{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (r *redis) do(args ...string) reply.Reply {
	r.t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	_ = r.conn.SetDeadline(time.Now().Add(20 * time.Second)) // a failure is better than waiting for ever
	if _, err := r.conn.Write(b.Bytes()); err != nil {
		r.t.Fatal(err)
	}
	return r.read()
}

func (r *redis) read() reply.Reply {
	r.t.Helper()
	line, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	rest := line[1 : len(line)-2]
	n, _ := strconv.ParseInt(rest, 10, 64)
	switch line[0] {
	case '+':
		return reply.Reply{Kind: reply.Status, Str: rest}
	case '-':
		return reply.Fail(rest)
	case ':':
		return reply.Num(n)
	case '$':
		if n < 0 {
			return null
		}
		buf := make([]byte, n+2)
		if _, err := io.ReadFull(r.r, buf); err != nil {
			r.t.Fatal(err)
		}
		return reply.Of(string(buf[:n]))
	}
	if n < 0 {
		return nullArray
	}
	elems := make([]reply.Reply, n)
	for i := range elems {
		elems[i] = r.read()
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// generator makes commands over few keys, mostly sensible ones.
type generator struct {
	*rand.Rand
	now int64
}

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) key() string {
	if g.IntN(12) == 0 {
		return g.pick("", "k\x00\r\n", "missing")
	}
	return g.pick("a", "b", "c", "d", "e", "f")
}

func (g *generator) member() string {
	if g.IntN(30) == 0 {
		return strings.Repeat(g.pick("x", "y"), g.IntN(200))
	}
	return g.pick("m", "n", "o", "p", "q", "1", "2", "30", "", "\xff\x00")
}

func (g *generator) value() string {
	return g.pick("v", "10", "-5", "3.5", "", "9223372036854775807", "hello world", "0", "007", "1e3", "\x00\x01")
}

func (g *generator) num() string {
	switch g.IntN(14) {
	case 0:
		return g.pick("x", "", "1.5", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "+1", "01", " 1")
	case 1, 2, 3:
		return strconv.Itoa(-g.IntN(6))
	}
	return strconv.Itoa(g.IntN(7))
}

func (g *generator) score() string {
	switch g.IntN(10) {
	case 0:
		return g.pick("nan", "inf", "-inf", "+inf", "x", "", "1e400", "0x10", "-0", "1e-7", "7354149632090112", "0.1", "1e17", "infinity", "+5", "1_0", " 3")
	}
	return g.pick("1", "2", "3", "2.5", "-1", "10", "0")
}

func (g *generator) bound() string {
	return g.pick("-inf", "+inf", "(1", "(2.5", "1", "2", "3", "0", "10", "(x", "nan", "", "(", "-1")
}

func (g *generator) lex() string {
	return g.pick("-", "+", "[m", "(m", "[o", "(q", "[", "(", "m", "[1")
}

func (g *generator) side() string { return g.pick("LEFT", "RIGHT", "left", "up") }

// maybe is some of the words, each with a chance of one in n.
func (g *generator) maybe(n int, words ...string) (out []string) {
	for _, w := range words {
		if g.IntN(n) == 0 {
			out = append(out, strings.Fields(w)...)
		}
	}
	return out
}

func (g *generator) several(least int, of ...func() string) (out []string) {
	for range least + g.IntN(3) {
		for _, f := range of {
			out = append(out, f())
		}
	}
	return out
}

func (g *generator) id() string {
	switch g.IntN(8) {
	case 0:
		return g.pick("x", "1-x", "-", "+", "0-0", "18446744073709551615-18446744073709551615", "$", ">", "1-", "")
	case 1, 2:
		return strconv.Itoa(g.IntN(12))
	}
	return fmt.Sprintf("%d-%d", g.IntN(12), g.IntN(3))
}

func (g *generator) groupName() string { return g.pick("g", "h") }

func (g *generator) consumerName() string { return g.pick("alice", "bob") }

func args(parts ...any) (out []string) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p)
		case []string:
			out = append(out, p...)
		}
	}
	return out
}

// command makes one command.
func (g *generator) command() []string {
	var c []string
	switch g.IntN(7) {
	case 0:
		c = g.stringCommand()
	case 1:
		c = g.hashCommand()
	case 2:
		c = g.listCommand()
	case 3:
		c = g.setCommand()
	case 4:
		c = g.zsetCommand()
	case 5:
		c = g.streamCommand()
	default:
		c = g.keyCommand()
	}
	if strings.HasPrefix(c[0], "b") && strings.Contains(c[0], "pop") || strings.Contains(c[0], "rand") || c[0] == "spop" {
		return c // with another time-out it would wait for ever, and without a count its reply is chance
	}
	switch g.IntN(60) {
	case 0:
		c = append(c, g.value())
	case 1:
		c = c[:len(c)-1]
		if len(c) == 0 {
			c = []string{"nothing"}
		}
	case 2:
		c[0] = strings.ToUpper(c[0])
	}
	return c
}

func (g *generator) stringCommand() []string {
	k := g.key
	switch g.IntN(28) {
	case 24, 25:
		return args(g.pick("pfadd", "pfcount", "pfmerge"), g.pick("hll", "hll2"), g.several(0, func() string { return g.pick("hll", "hll2", g.member()) }))
	case 26:
		field := func() string {
			return g.pick("GET", "SET", "INCRBY", "INCRBY") + " " + g.pick("u8", "i5", "i64", "u63", "u64", "i3") + " " + g.pick("0", "5", "#1", "#3", "x") + " " + g.num()
		}
		return args("bitfield", k(), strings.Fields(g.pick("", "OVERFLOW SAT ", "OVERFLOW FAIL ")+field()+" "+g.pick("", field())))
	case 27:
		return args("lcs", k(), k(), g.maybe(3, "IDX", "LEN", "WITHMATCHLEN", "MINMATCHLEN 2"))
	case 0:
		return args("get", k())
	case 1, 2:
		return args("set", k(), g.value(), g.maybe(8, "NX", "XX", "GET", "KEEPTTL", "PX 100000", "EX 100", "EX x", "PX 0", "EX -1", "PXAT 1900000000000"))
	case 3:
		return args(g.pick("incr", "decr"), k())
	case 4:
		return args(g.pick("incrby", "decrby"), k(), g.num())
	case 5:
		return args("incrbyfloat", k(), g.score())
	case 6:
		return args("append", k(), g.value())
	case 7:
		return args("strlen", k())
	case 8:
		return args(g.pick("getrange", "substr"), k(), g.num(), g.num())
	case 9:
		return args("setrange", k(), g.num(), g.value())
	case 10:
		return args("getset", k(), g.value())
	case 11:
		return args("getdel", k())
	case 12:
		return args("getex", k(), g.maybe(6, "PERSIST", "PX 100000", "EX 100", "EX 0", "PXAT 1900000000000"))
	case 13:
		return args("mget", g.several(1, k))
	case 14:
		return args(g.pick("mset", "msetnx"), g.several(1, k, g.value))
	case 15:
		return args("setnx", k(), g.value())
	case 16:
		return args(g.pick("setex", "psetex"), k(), g.pick("100000", "0", "-1", "x", "9223372036854775807"), g.value())
	case 17:
		return args("setbit", k(), g.num(), g.pick("0", "1", "2"))
	case 18:
		return args("getbit", k(), g.num())
	case 19:
		return args("bitcount", k(), g.maybe(2, g.num()+" "+g.num()), g.maybe(4, "BIT", "BYTE"))
	case 20:
		return args("bitpos", k(), g.pick("0", "1", "2"), g.maybe(2, g.num()), g.maybe(3, g.num()), g.maybe(5, "BIT"))
	case 21:
		return args("bitop", g.pick("and", "or", "xor", "not", "nand"), k(), g.several(1, k))
	case 22:
		return args("get", k(), g.maybe(2, "extra"))
	}
	return args("set", k(), g.value())
}

func (g *generator) hashCommand() []string {
	k, f := g.key, g.member
	switch g.IntN(16) {
	case 0, 1, 2:
		return args(g.pick("hset", "hmset"), k(), g.several(1, f, g.value))
	case 3:
		return args("hsetnx", k(), f(), g.value())
	case 4:
		return args("hget", k(), f())
	case 5:
		return args("hmget", k(), g.several(1, f))
	case 6:
		return args(g.pick("hgetall", "hkeys", "hvals", "hlen"), k())
	case 7:
		return args("hdel", k(), g.several(1, f))
	case 8:
		return args(g.pick("hexists", "hstrlen"), k(), f())
	case 9, 10:
		return args("hincrby", k(), f(), g.num())
	case 11:
		return args("hincrbyfloat", k(), f(), g.score())
	case 12:
		return args("hrandfield", k(), g.pick("0", "x", "100", "1.5"), g.maybe(4, "WITHVALUES", "WITHNOTHING"))
	case 13:
		return args("hscan", k(), "0", g.maybe(3, "COUNT 1000", "MATCH [mno]*", "COUNT 0", "COUNT x", "NOVALUES"))
	case 14:
		return args("hscan", k(), g.pick("x", "18446744073709551616", "0"), "COUNT", "1000")
	}
	return args("hgetall", k())
}

func (g *generator) listCommand() []string {
	k, v := g.key, g.member
	switch g.IntN(20) {
	case 0, 1, 2:
		return args(g.pick("lpush", "rpush"), k(), g.several(1, v))
	case 3:
		return args(g.pick("lpushx", "rpushx"), k(), g.several(1, v))
	case 4, 5:
		return args(g.pick("lpop", "rpop"), k(), g.maybe(2, g.num()))
	case 6:
		return args("llen", k())
	case 7:
		return args("lrange", k(), g.num(), g.num())
	case 8:
		return args("lindex", k(), g.num())
	case 9:
		return args("lset", k(), g.num(), v())
	case 10:
		return args("lrem", k(), g.num(), v())
	case 11:
		return args("ltrim", k(), g.num(), g.num())
	case 12:
		return args("lpos", k(), v(), g.maybe(4, "RANK "+g.pick("1", "-1", "2", "0", "x"), "COUNT "+g.pick("0", "1", "2", "-1"), "MAXLEN "+g.pick("0", "1", "3", "-1")))
	case 13:
		return args("linsert", k(), g.pick("before", "AFTER", "at"), v(), v())
	case 14:
		return args("rpoplpush", k(), k())
	case 15:
		return args("lmove", k(), k(), g.side(), g.side())
	case 16:
		return args("lmpop", g.pick("1", "2", "0", "x", "5"), k(), k(), g.side(), g.maybe(3, "COUNT "+g.num()))
	case 17:
		return args(g.pick("blpop", "brpop"), g.several(1, g.present), g.pick("0.01", "x", "-1"))
	case 18:
		return args("lrange", k(), "0", "-1")
	}
	return args("rpush", k(), g.several(1, v))
}

// present is a key that blocking commands wait for: they would wait on both sides if it had nothing.
func (g *generator) present() string { return "always" }

func (g *generator) setCommand() []string {
	k, v := g.key, g.member
	switch g.IntN(14) {
	case 0, 1, 2:
		return args("sadd", k(), g.several(1, v))
	case 3:
		return args("srem", k(), g.several(1, v))
	case 4:
		return args("smove", k(), k(), v())
	case 5:
		return args(g.pick("scard", "smembers"), k())
	case 6:
		return args("sismember", k(), v())
	case 7:
		return args("smismember", k(), g.several(1, v))
	case 8:
		return args("spop", k(), g.pick("0", "100", "-1", "x"))
	case 9:
		return args("srandmember", k(), g.pick("0", "100", "x"))
	case 10:
		return args(g.pick("sinter", "sunion", "sdiff"), g.several(1, k))
	case 11:
		return args(g.pick("sinterstore", "sunionstore", "sdiffstore"), k(), g.several(1, k))
	case 12:
		return args("sintercard", g.pick("1", "2", "0", "9", "x"), g.several(1, k), g.maybe(3, "LIMIT "+g.num()))
	}
	return args("sscan", k(), "0", "COUNT", "1000", g.maybe(3, "MATCH ?"))
}

func (g *generator) geoCommand() []string {
	k := func() string { return g.pick("geo", "geo", "a") }
	lon := func() string { return g.pick("13.361389", "15.087269", "-0.5", "179.9", "181", "x") }
	lat := func() string { return g.pick("38.115556", "37.502669", "51.5", "-85", "86") }
	circle := g.pick("100", "500", "20000", "-1", "x") + " " + g.pick("km", "mi", "ft", "m", "yd")
	with := g.maybe(4, "WITHDIST", "WITHCOORD", "WITHHASH", "ASC", "DESC", "COUNT "+g.pick("1", "2", "0"))
	switch g.IntN(8) {
	case 0, 1, 2:
		return args("geoadd", k(), g.maybe(6, "NX", "XX", "CH"), g.several(1, lon, lat, g.member))
	case 3:
		return args(g.pick("geopos", "geohash"), k(), g.several(1, g.member))
	case 4:
		return args("geodist", k(), g.member(), g.member(), g.maybe(2, g.pick("km", "ft", "yd")))
	case 5:
		return args("georadius", k(), lon(), lat(), strings.Fields(circle), with)
	case 6:
		return args("georadiusbymember", k(), g.member(), strings.Fields(circle), with)
	}
	return args("geosearch", k(), "FROMLONLAT", lon(), lat(), g.maybe(2, "BYRADIUS "+circle), g.maybe(2, "BYBOX 300 "+circle), with)
}

// lexKey is a key whose members all have one score: for others a range of bytes means nothing.
func (g *generator) lexKey() string { return "lex" }

func (g *generator) zsetCommand() []string {
	k, m := g.key, g.member
	switch g.IntN(24) {
	case 0, 1:
		return args("zadd", "lex", "0", m())
	case 2:
		return g.geoCommand()
	}
	limit := "LIMIT " + g.num() + " " + g.num()
	switch g.IntN(26) {
	case 0, 1, 2, 3:
		return args("zadd", k(), g.maybe(7, "NX", "XX", "GT", "LT", "CH", "INCR"), g.several(1, g.score, m))
	case 4:
		return args("zincrby", k(), g.score(), m())
	case 5:
		return args("zrem", k(), g.several(1, m))
	case 6:
		return args("zcard", k())
	case 7:
		return args("zscore", k(), m())
	case 8:
		return args("zmscore", k(), g.several(1, m))
	case 9:
		return args(g.pick("zrank", "zrevrank"), k(), m())
	case 10:
		return args(g.pick("zpopmin", "zpopmax"), k(), g.maybe(2, g.num()))
	case 11:
		return args(g.pick("zrange", "zrevrange"), k(), g.num(), g.num(), g.maybe(3, "WITHSCORES", "REV"))
	case 12:
		return args("zrange", k(), g.bound(), g.bound(), "BYSCORE", g.maybe(3, "WITHSCORES", "REV", limit))
	case 13:
		return args("zrange", g.lexKey(), g.lex(), g.lex(), "BYLEX", g.maybe(3, "REV", limit), g.maybe(9, "WITHSCORES"))
	case 14:
		return args(g.pick("zrangebyscore", "zrevrangebyscore"), k(), g.bound(), g.bound(), g.maybe(3, "WITHSCORES", limit))
	case 15:
		return args(g.pick("zrangebylex", "zrevrangebylex"), g.lexKey(), g.lex(), g.lex(), g.maybe(3, limit))
	case 16:
		return args("zcount", k(), g.bound(), g.bound())
	case 17:
		return args("zlexcount", g.lexKey(), g.lex(), g.lex())
	case 18:
		return args("zremrangebyrank", k(), g.num(), g.num())
	case 19:
		return args("zremrangebyscore", k(), g.bound(), g.bound())
	case 20:
		return args("zremrangebylex", g.lexKey(), g.lex(), g.lex())
	case 21:
		n := 1 + g.IntN(2)
		return args(g.pick("zunion", "zinter"), strconv.Itoa(n), g.several(n, k)[:n], g.maybe(3, "WEIGHTS 2 3.5", "WEIGHTS 2", "AGGREGATE "+g.pick("sum", "min", "max", "avg"), "WITHSCORES"))
	case 22:
		return args(g.pick("zunionstore", "zinterstore"), k(), g.pick("1", "2", "0", "x", "9"), g.several(2, k)[:2], g.maybe(3, "WEIGHTS 2 3.5", "AGGREGATE max"))
	case 23:
		return args(g.pick("zdiff"), g.pick("1", "2"), g.several(2, k)[:2], g.maybe(2, "WITHSCORES"))
	case 24:
		return args(g.pick("zmpop"), g.pick("1", "2", "0"), g.several(2, k)[:2], g.pick("MIN", "MAX", "X"), g.maybe(3, "COUNT "+g.num()))
	}
	switch g.IntN(4) {
	case 0:
		return args("zrangestore", k(), k(), g.num(), g.num(), g.maybe(3, "REV"))
	case 1:
		return args("zscan", k(), "0", "COUNT", "1000")
	case 2:
		return args("zintercard", g.pick("1", "2", "0"), g.several(2, k)[:2], g.maybe(3, "LIMIT "+g.num()))
	}
	return args("zrandmember", k(), g.pick("0", "x", "100"), g.maybe(3, "WITHSCORES"))
}

func (g *generator) streamCommand() []string {
	k, id := g.streamKey, g.id
	field := func() string { return g.pick("f", "g") }
	switch g.IntN(24) {
	case 0, 1, 2, 3, 4:
		return args("xadd", k(), g.maybe(6, "MAXLEN "+g.num(), "MAXLEN = "+g.num(), "MAXLEN ~ "+g.num(), "MINID "+g.id(), "NOMKSTREAM", "LIMIT 5"), g.pick(id(), id(), fmt.Sprint(g.IntN(30), "-*")), g.several(1, field, g.value))
	case 5:
		return args("xtrim", k(), g.maybe(2, "MAXLEN "+g.num(), "MINID "+g.id()), g.maybe(9, "LIMIT 3"))
	case 6:
		return args("xlen", k())
	case 7, 8:
		return args(g.pick("xrange", "xrevrange"), k(), g.pick("-", "+", "("+id(), id()), g.pick("-", "+", "("+id(), id()), g.maybe(3, "COUNT "+g.num()))
	case 9:
		return args("xdel", k(), g.several(1, id))
	case 10:
		return args("xread", g.maybe(3, "COUNT "+g.num()), "streams", k(), k(), id(), id())
	case 11:
		return args("xsetid", k(), id(), g.maybe(4, "ENTRIESADDED "+g.num(), "MAXDELETEDID "+g.id()))
	case 12, 13:
		return args("xgroup", "create", k(), g.groupName(), g.pick("0", "$", id()), g.maybe(3, "MKSTREAM"), g.maybe(6, "ENTRIESREAD "+g.num()))
	case 14:
		return args("xgroup", g.pick("setid"), k(), g.groupName(), id())
	case 15:
		return args("xgroup", g.pick("createconsumer", "delconsumer"), k(), g.groupName(), g.consumerName())
	case 16:
		return args("xgroup", "destroy", k(), g.groupName())
	case 17, 18:
		return args("xreadgroup", "GROUP", g.groupName(), g.consumerName(), g.maybe(2, "COUNT 2"), g.maybe(6, "NOACK"), "streams", k(), g.pick(">", ">", ">", id()))
	case 19:
		return args("xack", k(), g.groupName(), g.several(1, id))
	case 20:
		return args("xpending", k(), g.groupName())
	case 21:
		return args("xinfo", g.pick("stream", "groups"), k())
	case 22:
		return args("xclaim", k(), g.groupName(), g.consumerName(), "0", g.several(1, id), g.maybe(4, "FORCE", "JUSTID", "RETRYCOUNT 4", "LASTID "+g.id()))
	}
	return args("xautoclaim", k(), g.groupName(), g.consumerName(), "0", g.pick("-", id()), g.maybe(3, "COUNT "+g.num(), "JUSTID"))
}

// streamKey is mostly a key that only streams are made with, so that they live long enough.
func (g *generator) streamKey() string {
	if g.IntN(5) == 0 {
		return g.key()
	}
	return g.pick("s", "t")
}

func (g *generator) keyCommand() []string {
	k := g.key
	switch g.IntN(20) {
	case 0, 1, 2:
		return args(g.pick("del", "unlink"), g.several(1, k))
	case 3:
		return args(g.pick("exists", "touch"), g.several(1, k))
	case 4:
		return args("type", k())
	case 5, 6:
		return args(g.pick("rename", "renamenx"), k(), k())
	case 7:
		return args("copy", k(), k(), g.maybe(2, "REPLACE"))
	case 8:
		return args("expire", k(), g.pick("100000", "0", "-5", "x", "9223372036854775807"), g.maybe(5, "NX", "XX", "GT", "LT", "ZZ"))
	case 9:
		return args(g.pick("expireat", "pexpireat"), k(), g.pick("1900000000", "1900000000000", "0", "1", "x"), g.maybe(5, "NX", "XX", "GT", "LT"))
	case 10:
		return args("persist", k())
	case 11:
		return args(g.pick("expiretime", "pexpiretime"), k())
	case 12:
		return args("dbsize")
	case 13:
		return args("keys", g.pick("*", "[a-c]", "?", "\\a", "[^a]", "*s*", "[", "k*"))
	case 14:
		return args("scan", "0", "COUNT", "1000", g.maybe(3, "MATCH [abc]", "TYPE "+g.pick("hash", "list", "string", "nope")))
	case 15:
		return args("sort", k(), g.maybe(4, "ALPHA", "DESC", "LIMIT "+g.num()+" "+g.num(), "GET #", "GET w_*", "STORE "+g.pick("a", "b")))
	case 16:
		return args("object", "encoding", k())
	case 17:
		return args(g.pick("nosuch", "echo", "ping", "command"), g.pick("x", "count"))
	case 18:
		return args(g.pick("xinfo", "object", "xgroup"), g.pick("nope", "help x"), k())
	}
	return args("del", k())
}

// unordered are commands whose elements come in an order that is nobody's promise.
var unordered = []string{"smembers", "sinter", "sunion", "sdiff", "keys", "scan", "sscan", "srandmember", "spop", "hkeys", "hvals", "hgetall", "hrandfield", "hscan", "zscan", "zrandmember", "georadius", "georadiusbymember", "geosearch"}

// skipped are replies in which the two may differ.
func skipped(cmd []string) bool {
	switch strings.ToLower(cmd[0]) {
	case "pexpiretime", "expiretime": // the clocks are not read at the same time
		return true
	case "object": // list encodings, and strings that were appended to
		return true
	case "command":
		return true
	}
	return false
}

// comparable is a reply as text, without what may differ: the sign of zero depends on how Redis keeps a sorted set.
func comparable(cmd []string, r reply.Reply) string {
	return strings.ReplaceAll(ordered(cmd, r), `"-0"`, `"0"`)
}

func ordered(cmd []string, r reply.Reply) string {
	if r.Kind == reply.Error || !slices.Contains(unordered, strings.ToLower(cmd[0])) {
		return text(r)
	}
	return sortedText(r)
}

func sortedText(r reply.Reply) string {
	if len(r.Elems) == 0 {
		return text(r)
	}
	parts := make([]string, len(r.Elems))
	for i := range r.Elems {
		parts[i] = sortedText(r.Elems[i])
	}
	slices.Sort(parts)
	return "[" + strings.Join(parts, " ") + "]"
}

// TestAgainstRedis runs random commands on a real Redis and on the machine and compares every reply, and now and then all keys.
func TestAgainstRedis(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	if v := text(r.do("info", "server")); !strings.Contains(v, "redis_version:7.0.") {
		t.Skip("the redis-server on the PATH is not a 7.0, whose replies these are compared with")
	}
	for seed := range uint64(6) {
		r.do("flushall")
		b := setup(t)
		b.now = time.Now().UnixMilli()
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 4)), now: b.now}
		var log []string
		for step := range 3000 {
			cmd := g.command()
			b.now = time.Now().UnixMilli()
			want, got := r.do(cmd...), b.apply(&Do{Args: cmd}).Reply // client 0 does not wait: it gets what time-outs give
			log = append(log, fmt.Sprintf("%q", cmd))
			if !skipped(cmd) && comparable(cmd, got) != comparable(cmd, want) {
				t.Errorf("seed %d step %d:\n%s\n got %s\nwant %s", seed, step, strings.Join(log[max(0, len(log)-12):], "\n"), comparable(cmd, got), comparable(cmd, want))
				break
			}
			if step%100 == 99 && !sameKeys(t, r, b) {
				t.Fatalf("seed %d step %d:\n%s", seed, step, strings.Join(log[max(0, len(log)-100):], "\n"))
			}
		}
	}
}

// sameKeys compares all keys with their values, and the machine with what recovery makes of its rows.
func sameKeys(t *testing.T, r *redis, b *bench) bool {
	t.Helper()
	keys := r.do("keys", "*")
	if want, got := sortedText(keys), sortedText(b.do("keys", "*")); want != got {
		t.Errorf("keys:\n got %s\nwant %s", got, want)
		return false
	}
	for _, k := range keys.Elems {
		var cmd []string
		switch r.do("type", k.Str).Str {
		case "string":
			if strings.HasPrefix(k.Str, "hll") {
				cmd = args("pfcount", k.Str)
				break
			}
			cmd = args("get", k.Str)
		case "hash":
			cmd = args("hgetall", k.Str)
		case "list":
			cmd = args("lrange", k.Str, "0", "-1")
		case "set":
			cmd = args("smembers", k.Str)
		case "zset":
			cmd = args("zrange", k.Str, "0", "-1", "withscores")
		case "stream":
			cmd = args("xrange", k.Str, "-", "+")
		}
		for _, cmd := range [][]string{cmd, {"pexpiretime", k.Str}} {
			if want, got := comparable(cmd, r.do(cmd...)), comparable(cmd, b.do(cmd...)); want != got && cmd[0] != "pexpiretime" {
				t.Errorf("%q:\n got %s\nwant %s", cmd, got, want)
				return false
			}
		}
	}
	live, read := dump(b.m), dump(b.recovered())
	if !slices.Equal(live, read) {
		t.Errorf("recovery made something else of the rows:\nlive %s\nread %s", strings.Join(live, "\n"), strings.Join(read, "\n"))
		return false
	}
	return true
}

// TestTableAgainstRedis compares what COMMAND INFO says of every command.
func TestTableAgainstRedis(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	b := setup(t)
	for _, s := range Specs {
		want := r.do("command", "info", s.Name).Elems[0]
		got := b.do("command", "info", s.Name).Elems[0]
		if len(want.Elems) == 0 {
			t.Errorf("Redis has no %s", s.Name)
			continue
		}
		for i, what := range []string{"name", "arity", "flags", "first key", "last key", "step"} {
			if what == "flags" {
				continue // those that only Redis has a use for are left out
			}
			if text(got.Elems[i]) != text(want.Elems[i]) {
				t.Errorf("%s of %s is %s, want %s", what, s.Name, text(got.Elems[i]), text(want.Elems[i]))
			}
		}
		for _, f := range s.FlagNames() {
			if !strings.Contains(text(want.Elems[2]), "+"+f) {
				t.Errorf("%s has the flag %s, Redis has %s", s.Name, f, text(want.Elems[2]))
			}
		}
	}
	for _, line := range []string{
		"mset a 1 b 2", "eval x 2 a b c", "zunionstore d 2 a b", "xread count 1 streams a b 0 0", "sort a by w_* store d", "get a", "bzpopmin a b 0", "blmpop 0 2 a b left",
		"georadius a 1 2 3 km store d", "ping", "get", "nosuch x",
	} {
		cmd := append([]string{"command", "getkeys"}, strings.Fields(line)...)
		if want, got := text(r.do(cmd...)), text(b.do(cmd...)); got != want {
			t.Errorf("keys of %q: %s, want %s", line, got, want)
		}
	}
}
