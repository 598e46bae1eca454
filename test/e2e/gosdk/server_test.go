// Package gosdk drives the real binary, named by QUARTET_BIN, with the official Go SDK.
//
// It is a module of its own, so that what the SDK depends on stays out of Quartet's.
package gosdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/inngest/inngestgo"
)

const (
	signingKey   = "signkey-test-12345678abcdef0012345678abcdef00"
	eventKey     = "event-key-of-the-tests"
	dashboardKey = "dashboard-key-of-the-tests"
)

// server is a running quartet.
type server struct {
	t    *testing.T
	url  string
	mode string
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the binary on a free port and a temporary directory until the test ends. mode is dev or serve.
func start(t *testing.T, mode string, args ...string) *server {
	t.Helper()
	bin := os.Getenv("QUARTET_BIN")
	if bin == "" {
		t.Fatal("QUARTET_BIN names no binary; run this with scripts/test gosdk")
	}
	addr := freeAddress(t)
	all := []string{mode, "--listen=" + addr, "--redis=off", "--data=" + filepath.Join(t.TempDir(), "data"), "--log-level=warn", "--retry=200ms", "--poll=0s"}
	if mode == "dev" {
		all = append(all, "--no-discovery")
	} else {
		all = append(all, "--signing-key="+signingKey, "--event-key="+eventKey, "--dashboard-key="+dashboardKey)
	}
	s := &server{t: t, url: "http://" + addr, mode: mode, log: &lockedBuffer{}}
	cmd := exec.Command(bin, append(all, args...)...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-exited
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log)
		}
	})
	s.until("the server to be ready", func() bool {
		resp, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// until waits for a condition. The limit is only there to end a broken test.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			s.t.Fatalf("gave up waiting for %s", what)
		}
		<-tick.C
	}
}

// get reads the dashboard's API.
func (s *server) get(path string, into any) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+"/api/dashboard"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+dashboardKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s %v", path, resp.StatusCode, body, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

type run struct {
	ID      string          `json:"id"`
	Status  string          `json:"status"`
	Output  json.RawMessage `json:"output"`
	EndedAt int64           `json:"endedAt"`
}

type step struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	State string `json:"state"`
}

// ended waits until a function has n runs that are all over, newest first.
func (s *server) ended(slug string, n int) (runs []run) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d ended runs of %s", n, slug), func() bool {
		var list struct{ Runs []run }
		s.get("/runs?limit=200&function="+slug, &list)
		runs = list.Runs
		for _, r := range runs {
			if r.EndedAt == 0 {
				return false
			}
		}
		return len(runs) >= n
	})
	return runs
}

// result waits for the one run of a function and reads it with its steps.
func (s *server) result(slug string) (run, []step) {
	s.t.Helper()
	id := s.ended(slug, 1)[0].ID
	var d struct {
		Run   run
		Steps []step
	}
	s.get("/runs/"+id, &d)
	return d.Run, d.Steps
}

// app is a program with the SDK in it.
type app struct {
	inngestgo.Client
	s     *server
	url   string
	calls *calls
}

// calls notes the requests that an app got.
type calls struct {
	mu   sync.Mutex
	list []http.Header
}

func (c *calls) all() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.list...)
}

// serve starts an app whose functions define creates. It is not registered.
func (s *server) serve(opts inngestgo.ClientOpts, define func(inngestgo.Client)) *app {
	s.t.Helper()
	dev := s.mode == "dev"
	opts.AppID = "app"
	opts.Dev = &dev
	opts.APIBaseURL, opts.EventAPIBaseURL = &s.url, &s.url
	opts.RegisterURL = inngestgo.Ptr(s.url + "/fn/register")
	opts.EventKey = inngestgo.Ptr(eventKey)
	opts.Logger = slog.New(slog.DiscardHandler)
	if !dev && opts.SigningKey == nil {
		opts.SigningKey = inngestgo.Ptr(signingKey)
	}
	c, err := inngestgo.NewClient(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	define(c)
	noted := &calls{}
	handler := c.Serve()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			noted.mu.Lock()
			noted.list = append(noted.list, r.Header.Clone())
			noted.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	}))
	s.t.Cleanup(srv.Close)
	return &app{c, s, srv.URL + "/api/inngest", noted}
}

// register asks the app to send its functions.
func (a *app) register() (int, string) {
	a.s.t.Helper()
	req, err := http.NewRequest(http.MethodPut, a.url, nil)
	if err != nil {
		a.s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// setup is a development server with a registered app.
func setup(t *testing.T, define func(inngestgo.Client)) (*server, *app) {
	t.Helper()
	t.Parallel()
	s := start(t, "dev")
	a := s.serve(inngestgo.ClientOpts{}, define)
	if status, body := a.register(); status != http.StatusOK {
		t.Fatalf("register: %d %s", status, body)
	}
	return s, a
}

// send sends events with one name.
func (a *app) send(name string, data ...map[string]any) []string {
	a.s.t.Helper()
	var events []any
	for _, d := range data {
		events = append(events, inngestgo.Event{Name: name, Data: d})
	}
	ids, err := a.SendMany(context.Background(), events)
	if err != nil {
		a.s.t.Fatal(err)
	}
	return ids
}

// in is what functions get; its type is spelled out only here.
type in = inngestgo.Input[map[string]any]

// function creates one; the id of the app goes before its own.
func function(c inngestgo.Client, opts inngestgo.FunctionOpts, event string, f func(context.Context, in) (any, error)) inngestgo.ServableFunction {
	fn, err := inngestgo.CreateFunction(c, opts, inngestgo.EventTrigger(event, nil), f)
	if err != nil {
		panic(err)
	}
	return fn
}

func (r run) want(t *testing.T, status, output string) {
	t.Helper()
	if r.Status != status || strings.TrimSpace(string(r.Output)) != output {
		t.Errorf("run is %s with %s, want %s with %s", r.Status, r.Output, status, output)
	}
}

// sync has the server ask an app for its functions, as the dashboard's button does.
func (s *server) sync(url string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+"/api/dashboard/apps", strings.NewReader(`{"url":"`+url+`"}`))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+dashboardKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("sync %s: %d %s %v", url, resp.StatusCode, body, err)
	}
}
