package resp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// bench is a door with its keyspace on a free port.
type bench struct {
	t    *testing.T
	door *Door
	addr string
	stop context.CancelFunc
}

func setup(t *testing.T, cfg Config) *bench {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	d := New(cfg)
	k := shard.NewKeyspace(shard.KeyspaceConfig{Store: memory.New(), Keyspace: d.Keyspace, Effect: d.Effect, Lost: d.Lost, Observe: d.Observe, Log: cfg.Log})
	d.Use(k)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = k.Run(ctx) })
	<-k.Ready()
	serveCtx, cancelServe := context.WithCancel(ctx)
	wg.Go(func() { _ = d.Serve(serveCtx, ln) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return &bench{t, d, ln.Addr().String(), cancelServe}
}

// client is a raw connection.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (b *bench) dial() *client {
	b.t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // only ends a broken test
	return &client{b.t, c, bufio.NewReader(c)}
}

func (c *client) send(lines ...string) {
	c.t.Helper()
	if _, err := c.Write([]byte(strings.Join(lines, "\r\n") + "\r\n")); err != nil {
		c.t.Fatal(err)
	}
}

// want reads exactly what is expected, with \n for the end of a line.
func (c *client) want(text string) {
	c.t.Helper()
	want := []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		b, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatalf("got %q and %v, want %q", got, err, want)
		}
		if got = append(got, b); !bytes.HasPrefix(want, got) {
			c.t.Fatalf("got %q…, want %q", got, want)
		}
	}
}

func (c *client) says(command, want string) {
	c.t.Helper()
	c.send(command)
	c.want(want)
}

// gone reads until the connection ends.
func (c *client) gone() string {
	c.t.Helper()
	var rest bytes.Buffer
	if _, err := rest.ReadFrom(c.r); err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Fatal(err)
	}
	return rest.String()
}

func TestShapesOfReplies(t *testing.T) {
	t.Parallel()
	m := []reply.Reply{reply.Of("a"), reply.Float(1.5)}
	for _, c := range []struct {
		r            reply.Reply
		want2, want3 string
	}{
		{reply.Reply{}, "$-1\n", "_\n"},
		{reply.Reply{Kind: reply.NullArray}, "*-1\n", "_\n"},
		{reply.Num(-5), ":-5\n", ":-5\n"},
		{reply.Of(""), "$0\n\n", "$0\n\n"},
		{reply.OK, "+OK\n", "+OK\n"},
		{reply.Fail("ERR x"), "-ERR x\n", "-ERR x\n"},
		{reply.Float(7354149632090112), "$16\n7354149632090112\n", ",7354149632090112\n"},
		{reply.Float(0.1), "$19\n0.10000000000000001\n", ",0.10000000000000001\n"},
		{reply.Float(math.Inf(-1)), "$4\n-inf\n", ",-inf\n"},
		{reply.Reply{Kind: reply.Bool, N: 1}, ":1\n", "#t\n"},
		{reply.Reply{Kind: reply.Verbatim, Str: "ab"}, "$2\nab\n", "=6\ntxt:ab\n"},
		{reply.Reply{Kind: reply.Map, Elems: m}, "*2\n$1\na\n$3\n1.5\n", "%1\n$1\na\n,1.5\n"},
		{reply.Reply{Kind: reply.Set, Elems: m[:1]}, "*1\n$1\na\n", "~1\n$1\na\n"},
		{reply.Reply{Kind: reply.Push, Elems: m[:1]}, "*1\n$1\na\n", ">1\n$1\na\n"},
		{reply.Reply{Kind: reply.Pairs, Elems: m}, "*2\n$1\na\n$3\n1.5\n", "*1\n*2\n$1\na\n,1.5\n"},
		{reply.Reply{Kind: reply.Nested, Elems: m}, "*1\n*2\n$1\na\n$3\n1.5\n", "%1\n$1\na\n,1.5\n"},
	} {
		for proto, want := range map[int]string{2: c.want2, 3: c.want3} {
			if got := strings.ReplaceAll(string(appendReply(nil, &c.r, proto)), "\r\n", "\n"); got != want {
				t.Errorf("%+v in version %d: %q, want %q", c.r, proto, got, want)
			}
		}
	}
}

func TestPipelinesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	c, other := b.dial(), b.dial()
	// A command that blocks, and others of every kind behind it.
	c.send("SET a 1", "BZPOPMIN z 0", "CLIENT GETNAME", "INCR a", "CLIENT SETNAME x", "PING", "NOPE", "GET a")
	c.want("+OK\n")
	b.blocked(other, 1)
	other.says("GET a", "$1\n1\n") // what is behind has not run
	other.says("ZADD z 2 m", ":1\n")
	c.want("*3\n$1\nz\n$1\nm\n$1\n2\n$-1\n:2\n+OK\n+PONG\n-ERR unknown command 'NOPE', with args beginning with: \n$1\n2\n")
	var all strings.Builder
	for i := range 3000 {
		all.WriteString("INCR n\r\n")
		if i%7 == 0 {
			all.WriteString("ECHO x\r\nCLIENT ID\r\n")
		}
	}
	c.send(strings.TrimSuffix(all.String(), "\r\n"))
	for i := range 3000 {
		c.want(fmt.Sprintf(":%d\n", i+1))
		if i%7 == 0 {
			c.want("$1\nx\n:1\n")
		}
	}
}

// blocked waits until so many clients are blocked.
func (b *bench) blocked(c *client, n int) {
	b.t.Helper()
	for {
		c.send("INFO clients")
		line, err := c.r.ReadString('\n')
		if err != nil {
			b.t.Fatal(err)
		}
		size := 0
		_, _ = fmt.Sscanf(line, "$%d", &size)
		text := make([]byte, size+2)
		for i := range text {
			if text[i], err = c.r.ReadByte(); err != nil {
				b.t.Fatal(err)
			}
		}
		if bytes.Contains(text, fmt.Appendf(nil, "\r\nblocked_clients:%d\r\n", n)) {
			return
		}
	}
}

func TestNothingIsPoppedForTheDead(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	dead, c, live := b.dial(), b.dial(), b.dial()
	dead.send("BZPOPMIN z 0")
	b.blocked(c, 1)
	dead.Close()
	b.blocked(c, 0)
	live.send("BZPOPMIN z 0")
	b.blocked(c, 1)
	c.says("ZADD z 0 m", ":1\n")
	live.want("*3\n$1\nz\n$1\nm\n$1\n0\n")
}

func TestUnblockAndKill(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	one, two, c := b.dial(), b.dial(), b.dial()
	one.says("CLIENT ID", ":1\n")
	two.says("CLIENT ID", ":2\n")
	one.send("BZPOPMIN z 0")
	two.send("BLPOP l 0")
	b.blocked(c, 2)
	c.says("CLIENT UNBLOCK 1", ":1\n")
	one.want("*-1\n")
	c.says("CLIENT UNBLOCK 2 ERROR", ":1\n")
	two.want("-UNBLOCKED client unblocked via CLIENT UNBLOCK\n")
	c.says("CLIENT UNBLOCK 2", ":0\n")
	c.says("CLIENT KILL ID 1", ":1\n")
	one.gone()
	c.says("CLIENT KILL ID 99", ":0\n")
	c.says("CLIENT KILL 1.2.3.4:5", "-ERR No such client\n")
	c.says("CLIENT KILL ID 3 SKIPME no", ":1\n")
	c.gone()
	d := b.dial()
	d.says("QUIT", "+OK\n")
	d.gone()
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	c, other := b.dial(), b.dial()
	c.send("MULTI", "SET a 1", "SELECT 3", "SET a 2", "CLIENT GETNAME", "BZPOPMIN z 0", "EXEC", "GET a")
	c.want("+OK\n+QUEUED\n+QUEUED\n+QUEUED\n+QUEUED\n+QUEUED\n*5\n+OK\n+OK\n+OK\n$-1\n*-1\n$1\n2\n")
	c.says("SELECT 0", "+OK\n")
	c.says("WATCH a", "+OK\n")
	other.says("SET a 9", "+OK\n")
	c.send("MULTI", "SET a 8", "EXEC", "GET a")
	c.want("+OK\n+QUEUED\n*-1\n$1\n9\n")
	c.send("MULTI", "MULTI", "WATCH a", "DISCARD", "DISCARD")
	c.want("+OK\n-ERR MULTI calls can not be nested\n-ERR WATCH inside MULTI is not allowed\n+OK\n-ERR DISCARD without MULTI\n")
	c.send("HELLO 3", "MULTI", "HGETALL h", "EXEC")
	c.send("")
	for range 2 {
		if _, err := c.r.ReadString('%'); err != nil {
			t.Fatal(err)
		}
	}
	c.want("0\n")
}

func TestSubscribers(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	two, three, c := b.dial(), b.dial(), b.dial()
	two.says("SUBSCRIBE a b", "*3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n")
	two.says("GET x", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\n")
	two.says("PING", "*2\n$4\npong\n$0\n\n")
	three.send("HELLO 3", "PSUBSCRIBE *")
	if _, err := three.r.ReadString('>'); err != nil {
		t.Fatal(err)
	}
	three.want("3\n$10\npsubscribe\n$1\n*\n:1\n")
	c.says("PUBLISH a hi", ":2\n")
	two.want("*3\n$7\nmessage\n$1\na\n$2\nhi\n")
	three.want(">4\n$8\npmessage\n$1\n*\n$1\na\n$2\nhi\n")
	three.says("GET x", "_\n")
	c.says("EVAL \"return redis.call('PUBLISH', 'b', 'yo')\" 0", ":2\n")
	two.want("*3\n$7\nmessage\n$1\nb\n$2\nyo\n")
	c.says("PUBSUB NUMSUB a x", "*4\n$1\na\n:1\n$1\nx\n:0\n")
	two.says("UNSUBSCRIBE", "*3\n$11\nunsubscribe\n$1\na\n:1\n*3\n$11\nunsubscribe\n$1\nb\n:0\n")
	two.says("GET x", "$-1\n")
	two.says("UNSUBSCRIBE", "*3\n$11\nunsubscribe\n$-1\n:0\n")
}

func TestMonitorShowsCommands(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	m, c := b.dial(), b.dial()
	m.says("MONITOR", "+OK\n")
	c.says("SET \"a\\x00\" b", "+OK\n")
	line, err := m.r.ReadString('\n')
	if err != nil || !strings.HasSuffix(line, ` "SET" "a\x00" "b"`+"\r\n") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Password: "secret", Users: map[string]auth.Secret{"app": "other"}})
	c := b.dial()
	c.says("PING", "-NOAUTH Authentication required.\n")
	c.says("NOPE", "-ERR unknown command 'NOPE', with args beginning with: \n")
	c.says("HELLO 3", "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\n")
	c.says("AUTH app secret", "-WRONGPASS invalid username-password pair or user is disabled.\n")
	c.says("AUTH nobody other", "-WRONGPASS invalid username-password pair or user is disabled.\n")
	c.says("AUTH app other", "+OK\n")
	c.says("ACL WHOAMI", "$3\napp\n")
	c.says("RESET", "+RESET\n")
	c.says("PING", "-NOAUTH Authentication required.\n")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Limits: Limits{Clients: 2, Output: 1 << 20, Query: 1 << 20, Backlog: 1 << 10}})
	c, slow := b.dial(), b.dial()
	c.says("PING", "+PONG\n")
	slow.says("PING", "+PONG\n")
	if got := b.dial().gone(); got != "-ERR max number of clients reached\r\n" {
		t.Errorf("one client too many: %q", got)
	}
	c.says("SET v "+strings.Repeat("x", 60_000), "+OK\n")
	slow.send(strings.TrimSuffix(strings.Repeat("GET v\r\n", 2000), "\r\n"))
	slow.gone() // some replies, and then the end
	c.send("MULTI")
	c.want("+OK\n")
	for range 17 {
		c.send("SET v " + strings.Repeat("x", 60_000))
		c.want("+QUEUED\n")
	}
	c.send("SET v "+strings.Repeat("x", 60_000), "EXEC")
	c.want("-ERR the transaction is too big\n-EXECABORT Transaction discarded because of previous errors.\n")
	c.send("BZPOPMIN z 0", strings.TrimSuffix(strings.Repeat("GET v\r\n", 1000), "\r\n"))
	if got := c.gone(); !strings.Contains(got, "too many commands behind one that blocks") && got != "" {
		t.Errorf("a long queue behind a command that blocks: %.100q", got)
	}
}

func TestClientReply(t *testing.T) {
	t.Parallel()
	c := setup(t, Config{}).dial()
	c.send("CLIENT REPLY SKIP", "SET a 1", "GET a", "CLIENT REPLY OFF", "GET a", "GET a", "CLIENT REPLY ON", "PING")
	c.want("$1\n1\n+OK\n+PONG\n")
}

func TestStopAnswersWhatWasAsked(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	c, blocked := b.dial(), b.dial()
	blocked.send("BZPOPMIN z 0")
	b.blocked(c, 1)
	c.send("EVAL \"for i = 1, 3000000 do end return 'done'\" 0", "INCR n")
	b.running()
	b.stop()
	c.want("$4\ndone\n")
	if rest := c.gone(); rest != "" && rest != ":1\r\n" {
		t.Errorf("%q", rest)
	}
	if rest := blocked.gone(); rest != "" {
		t.Errorf("the one that blocks got %q", rest)
	}
}

// running waits until a script runs.
func (b *bench) running() {
	for !b.door.engine.Load().Running() {
		runtime.Gosched()
	}
}
