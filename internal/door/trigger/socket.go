package trigger

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/quartetjobs/quartet/internal/engine"
)

// Section 16.3: Socket.IO over WebSocket, as much of it as the CLI speaks. It hears by this way that a run has a new snapshot.

// Namespaces: of the CLI, and of the controllers of deployed runs.
const (
	devNamespace      = "/dev-worker"
	workloadNamespace = "/workload"
)

// Intervals of the Engine.IO protocol.
const (
	pingInterval = 25 * time.Second
	pingTimeout  = 20 * time.Second
)

// maxSubscriptions bounds the runs that one socket follows.
const maxSubscriptions = 10_000

// sockets are the sockets that are open, by the runs that they follow.
type sockets struct {
	mu     sync.Mutex
	runs   map[string]map[*socket]bool
	closed chan struct{}
	once   sync.Once
}

type socket struct {
	out  chan string // what is to be sent; a socket that does not keep up misses notices, and its CLI polls
	runs map[string]bool

	namespace string
	run       string // the only one that a controller may follow
}

func (s *sockets) init() {
	s.runs, s.closed = map[string]map[*socket]bool{}, make(chan struct{})
}

func (s *sockets) close() { s.once.Do(func() { close(s.closed) }) }

func (s *sockets) subscribe(k *socket, runs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range runs {
		if len(k.runs) >= maxSubscriptions {
			return
		}
		if s.runs[r] == nil {
			s.runs[r] = map[*socket]bool{}
		}
		s.runs[r][k], k.runs[r] = true, true
	}
}

func (s *sockets) unsubscribe(k *socket, runs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range runs {
		s.forget(k, r)
	}
}

func (s *sockets) leave(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range k.runs {
		s.forget(k, r)
	}
}

func (s *sockets) forget(k *socket, run string) {
	delete(k.runs, run)
	if delete(s.runs[run], k); len(s.runs[run]) == 0 {
		delete(s.runs, run)
	}
}

// Notice tells the worker of a run that it has a new snapshot. It does not block.
func (d *Door) Notice(n *engine.Notice) {
	id := friendly(runPrefix, n.Run)
	d.notices.tell(id)
	d.sockets.mu.Lock()
	defer d.sockets.mu.Unlock()
	for k := range d.sockets.runs[id] { // each hears of it
		select {
		case k.out <- `42` + k.namespace + `,["run:notify",{"version":"1","run":{"friendlyId":"` + id + `"}}]`:
		default:
		}
	}
}

// serveSocket is GET /socket.io/.
func (d *Door) serveSocket(w http.ResponseWriter, r *http.Request) {
	k := &socket{out: make(chan string, 256), runs: map[string]bool{}, namespace: devNamespace}
	if token := r.Header.Get(workloadHeader); token != "" {
		k.namespace = workloadNamespace
		if _, k.run = d.driven(token); k.run == "" {
			d.writeError(w, r, errKey)
			return
		}
	} else if _, err := d.authenticate(r); err != nil {
		d.writeError(w, r, err)
		return
	}
	if r.URL.Query().Get("transport") != "websocket" {
		d.writeError(w, r, fail(http.StatusBadRequest, "the only transport is websocket"))
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // it has shown a key, which no foreign page can
	if err != nil {
		return // Accept has answered
	}
	c.SetReadLimit(1 << 20)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer d.sockets.leave(k)
	heard := make(chan struct{}, 1)
	go func() {
		defer cancel()
		d.readSocket(ctx, c, k, heard)
	}()
	k.out <- `0{"sid":"` + internalID(d.newID()) + `","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	d.writeSocket(ctx, c, k, heard)
	_ = c.CloseNow() // it may be closed already
}

// writeSocket sends what there is to send, and pings, until the socket ends or does not answer.
func (d *Door) writeSocket(ctx context.Context, c *websocket.Conn, k *socket, heard <-chan struct{}) {
	send := func(text string) bool {
		ctx, cancel := context.WithTimeout(ctx, pingTimeout)
		defer cancel()
		return c.Write(ctx, websocket.MessageText, []byte(text)) == nil
	}
	ping := time.NewTimer(pingInterval)
	defer ping.Stop()
	waiting := false
	for {
		select {
		case text := <-k.out:
			if !send(text) {
				return
			}
		case <-heard:
			waiting = false
			ping.Reset(pingInterval)
		case <-ping.C:
			if waiting || !send("2") {
				return
			}
			waiting = true
			ping.Reset(pingTimeout)
		case <-d.sockets.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (d *Door) readSocket(ctx context.Context, c *websocket.Conn, k *socket, heard chan<- struct{}) {
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		text := string(b)
		switch {
		case text == "1" || strings.HasPrefix(text, "41"):
			return
		case strings.HasPrefix(text, "40"+k.namespace):
			k.push(`40` + k.namespace + `,{"sid":"` + internalID(d.newID()) + `"}`)
		case strings.HasPrefix(text, "42"+k.namespace+","):
			d.socketEvent(k, text[len("42"+k.namespace+","):])
		}
	}
}

func (k *socket) push(text string) {
	select {
	case k.out <- text:
	default:
	}
}

// socketEvent is a message of the CLI; those that are not known mean nothing.
func (d *Door) socketEvent(k *socket, text string) {
	var parts []json.RawMessage
	if i := strings.IndexByte(text, '['); i < 0 || json.Unmarshal([]byte(text[i:]), &parts) != nil || len(parts) < 2 {
		return
	}
	var name string
	var in struct {
		Runs []string `json:"runFriendlyIds"`
	}
	if k.run != "" {
		if json.Unmarshal(parts[0], &name) == nil {
			d.workloadEvent(k, name, parts[1])
		}
		return
	}
	if json.Unmarshal(parts[0], &name) != nil || json.Unmarshal(parts[1], &in) != nil {
		return
	}
	switch name {
	case "run:subscribe":
		d.sockets.subscribe(k, in.Runs)
	case "run:unsubscribe":
		d.sockets.unsubscribe(k, in.Runs)
	}
}
