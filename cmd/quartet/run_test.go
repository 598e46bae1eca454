package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// output can be read while a command writes to it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
	at func(string) // is told of everything written so far
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	if o.at != nil {
		o.at(o.b.String())
	}
	return len(p), nil
}

// String is everything written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// quartet runs a command that ends by itself.
func quartet(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestUsage(t *testing.T) {
	config := filepath.Join(t.TempDir(), "quartet.yaml")
	if err := os.WriteFile(config, []byte("listen: 127.0.0.1:0\nlisten-to: x\nretentoin: 3d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(code int, want string, args ...string) {
		t.Helper()
		got, _, errOut := quartet(t, args...)
		if got != code || !strings.Contains(errOut, want) {
			t.Errorf("quartet %v: exit %d with %q, want %d with %q", args, got, errOut, code, want)
		}
	}
	f(exitUsage, "unexpected argument", "nonsense")
	f(exitUsage, "unknown flag --lisen", "dev", "--lisen=x")
	f(exitUsage, "retention", "dev", "--retention=often")
	f(exitUsage, "unknown key \"listen-to\"", "dev", "--config="+config)
	f(exitUsage, "unknown key \"retentoin\"", "dev", "--config="+config)
	f(exitUsage, "no such file", "dev", "--config=/does/not/exist")
	f(exitFailed, "--store", "dev", "--store=postgres://x", "--data=:memory:", "--listen=127.0.0.1:0")
	f(exitFailed, "log-level", "dev", "--log-level=loud", "--data=:memory:", "--listen=127.0.0.1:0")
	f(exitFailed, "dashboard-key is required", "serve", "--data="+t.TempDir(), "--listen=127.0.0.1:0")
	f(exitFailed, "event-key is required", "serve", "--data="+t.TempDir(), "--listen=127.0.0.1:0")
	f(exitFailed, "signing-key must be", "serve", "--signing-key=hunter2", "--data="+t.TempDir(), "--listen=127.0.0.1:0")
	f(exitFailed, "redis-password is required", "serve", "--data="+t.TempDir(), "--listen=127.0.0.1:0", "--redis=127.0.0.1:0")
	f(exitFailed, "--redis-user must be", "serve", "--redis-password=x", "--redis-user=default:y", "--data="+t.TempDir(), "--listen=127.0.0.1:0")
	f(exitFailed, "go together", "dev", "--redis-tls-cert=x", "--data=:memory:", "--listen=127.0.0.1:0")
	f(exitFailed, "no such file", "dev", "--redis-tls-cert=/x", "--redis-tls-key=/x", "--data=:memory:", "--listen=127.0.0.1:0")
	f(exitUsage, "--redis-durability", "dev", "--redis-durability=never", "--data=:memory:", "--listen=127.0.0.1:0")
	f(exitFailed, "give both", "env", "--event-key=x")
}

func TestSecretsAreNotInHelp(t *testing.T) {
	t.Setenv("QUARTET_SIGNING_KEY", "00c0ffee")
	t.Setenv("QUARTET_DASHBOARD_KEY", "hunter2")
	code, out, _ := quartet(t, "serve", "--help")
	if code != exitDone || !strings.Contains(out, "--dashboard-key") {
		t.Errorf("help: exit %d, %s", code, out)
	}
	if strings.Contains(out, "00c0ffee") || strings.Contains(out, "hunter2") {
		t.Error("help shows a secret")
	}
}

func TestBusyPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	code, _, errOut := quartet(t, "dev", "--data=:memory:", "--listen="+ln.Addr().String())
	if code != exitFailed || !strings.Contains(errOut, "in use") || !strings.Contains(errOut, "--listen") || !strings.Contains(errOut, "QUARTET_LISTEN") {
		t.Errorf("a busy port: exit %d, %s", code, errOut)
	}
}

// TestBusyRedisPort: a Redis that runs already keeps nobody from developing, but a production server says what it lacks.
func TestBusyRedisPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	code, _, errOut := quartet(t, "serve", "--data="+t.TempDir(), "--listen=127.0.0.1:0", "--redis="+ln.Addr().String(), "--redis-password=x",
		"--signing-key=00ff", "--event-key=ev", "--dashboard-key=k")
	if code != exitFailed || !strings.Contains(errOut, "in use") || !strings.Contains(errOut, "--redis") || !strings.Contains(errOut, "QUARTET_REDIS") {
		t.Errorf("serve: exit %d, %s", code, errOut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &output{at: func(s string) {
		if strings.Contains(s, "Point your SDKs at it") {
			cancel()
		}
	}}
	var log output
	code = run(ctx, []string{"dev", "--data=:memory:", "--listen=127.0.0.1:0", "--no-discovery", "--redis=" + ln.Addr().String()}, out, &log)
	if code != exitDone || !strings.Contains(log.String(), "the Redis door stays closed") || strings.Contains(out.String(), "REDIS_URL") {
		t.Errorf("dev: exit %d, %s%s", code, out.String(), log.String())
	}
}

func TestEnv(t *testing.T) {
	_, out, _ := quartet(t, "env", "--listen=127.0.0.1:9999")
	if !strings.Contains(out, `export INNGEST_DEV="http://127.0.0.1:9999"`) {
		t.Errorf("for a shell: %s", out)
	}
	if !strings.Contains(out, `export REDIS_URL="redis://127.0.0.1:6379"`) {
		t.Errorf("for Redis clients: %s", out)
	}
	if _, out, _ := quartet(t, "env", "--redis=off"); strings.Contains(out, "REDIS_URL") {
		t.Errorf("with the Redis door closed: %s", out)
	}
	if _, out, _ := quartet(t, "env", "--redis=0.0.0.0:7000", "--redis-password=p@ss"); !strings.Contains(out, `REDIS_URL="redis://default:p%40ss@127.0.0.1:7000"`) {
		t.Errorf("with a password: %s", out)
	}
	_, out, _ = quartet(t, "env", "--listen=127.0.0.1:9999", "--format=dotenv", "--signing-key=00ff", "--event-key=ev")
	for _, want := range []string{"INNGEST_DEV=0\n", "INNGEST_BASE_URL=http://127.0.0.1:9999\n", "INNGEST_EVENT_KEY=ev\n", "INNGEST_SIGNING_KEY=00ff\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("for .env.local: %q lacks %q", out, want)
		}
	}
}

// TestDocumentedCommands: what Inngest's documentation tells to start, with dev and start, is understood.
func TestDocumentedCommands(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("INNGEST_EVENT_KEY", "from-a-variable")
	f := func(args ...string) {
		t.Helper()
		// All of it is right, up to the port, which is in use.
		code, _, errOut := quartet(t, append(args, "--host=127.0.0.1", "--port="+port, "--redis=off")...)
		if code != exitFailed || !strings.Contains(errOut, "127.0.0.1:"+port+" is in use") {
			t.Errorf("quartet %v: exit %d, %s", args, code, errOut)
		}
	}
	f("dev", "-u", "http://localhost:3000/api/inngest", "--no-discovery", "--no-poll", "--persist", "--retry-interval=1", "--poll-interval", "10", "-l", "warn", "--json", "--verbose")
	f("start", "--signing-key=00ff", "--dashboard-key=x", "--sdk-url=http://a/api/inngest", "--sdk-url=http://b/api/inngest", "--sqlite-dir="+t.TempDir(), "--poll-interval=60")
}

// TestPrecedence: flags win over variables, variables over the file.
func TestPrecedence(t *testing.T) {
	config := filepath.Join(t.TempDir(), "quartet.yaml")
	if err := os.WriteFile(config, []byte("log-level: from-file\nlog-format: text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		if _, _, errOut := quartet(t, append([]string{"dev", "--config=" + config, "--data=:memory:", "--listen=127.0.0.1:0"}, args...)...); !strings.Contains(errOut, want) {
			t.Errorf("%v: %s, want the level %s", args, errOut, want)
		}
	}
	f("from-file")
	t.Setenv("QUARTET_LOG_LEVEL", "from-variable")
	f("from-variable")
	f("from-flag", "--log-level=from-flag")
}

// TestDevServesAndStops starts a whole server, asks it, and ends it.
func TestDevServesAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := make(chan string, 1)
	out := &output{at: func(s string) {
		if _, rest, ok := strings.Cut(s, "INNGEST_BASE_URL="); ok && strings.Contains(rest, "\n") {
			select {
			case address <- rest[:strings.IndexByte(rest, '\n')]:
			default:
			}
		}
	}}
	code := make(chan int, 1)
	dir := t.TempDir()
	go func() {
		code <- run(ctx, []string{"dev", "--listen=127.0.0.1:0", "--redis=off", "--data=" + dir, "--no-discovery", "--log-level=error"}, out, io.Discard)
	}()
	url := <-address
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/health": 200, "/dev": 200, "/": 200, "/e/": 404, "/v1/nothing": 404} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if c, _, errOut := quartet(t, "dev", "--listen=127.0.0.1:0", "--data="+dir); c != exitFailed || !strings.Contains(errOut, "in use by another process") {
		t.Errorf("a second server on the same data: exit %d, %s", c, errOut)
	}
	cancel()
	if c := <-code; c != exitDone {
		t.Errorf("the server ended with %d", c)
	}
}
