package taskpool

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the channel to a process.
const (
	maxLine   = 64 << 20         // bytes of a message
	sendTime  = 10 * time.Second // that a process may take to read one
	killGrace = time.Second      // from SIGTERM to SIGKILL
)

// message is what a process sent: section 19.5.
type message struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

// process is a Node.js process with the code of a deployment. It executes one run at a time.
type process struct {
	key    processKey
	cmd    *exec.Cmd
	conn   net.Conn
	stderr *tail
	limits *limits

	events chan message  // closed when the channel is
	exited chan struct{} // closed after the end, which cmd.ProcessState describes
	oom    atomic.Bool   // it used more memory than it may
	runs   int           // that it has executed
	memory float64       // GB that it may use

	sending sync.Mutex
	acks    map[int]chan struct{} // by the number of the message; under sending
	sent    int

	idleSince time.Time
}

// processKey is what runs must have in common to be executed by the same process.
type processKey struct {
	deployment, machine string
}

// launch starts a process for a run.
func (p *Pool) launch(r Run, dir string, att *Attempt) (_ *process, err error) {
	p.complain()
	raw, err := os.ReadFile(filepath.Join(dir, indexManifest))
	if err != nil {
		return nil, err
	}
	var m indexed
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", indexManifest, r.Deployment, err)
	}
	home, err := p.home(r.Project)
	if err != nil {
		return nil, err
	}
	conn, remote, err := channel()
	if err != nil {
		return nil, err
	}
	defer func() { _ = remote.Close() }() // the process has its own copy
	q := &process{
		key: keyOf(r), conn: conn, memory: r.Machine.Memory, stderr: &tail{most: 16 << 10}, events: make(chan message, 16), exited: make(chan struct{}), acks: map[int]chan struct{}{},
	}
	cmd := exec.Command(p.node, "--trace-uncaught", "--no-warnings=ExperimentalWarning", m.Worker)
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = dir, q.stderr, []*os.File{remote}
	cmd.Env = environ(home, att.Env,
		"NODE_CHANNEL_FD=3", "NODE_CHANNEL_SERIALIZATION_MODE=json", "TRIGGERDOTDEV=1", "NODE_ENV=production", "TRIGGER_WARM_START=false", "HEARTBEAT_INTERVAL_MS=20000",
		"TRIGGER_PROJECT_REF="+r.Project, "TRIGGER_PROCESS_FORK_START_TIME="+strconv.FormatInt(time.Now().UnixMilli(), 10),
		"OTEL_IMPORT_HOOK_INCLUDES="+strings.Join(m.Hook.Include, ","), "NODE_OPTIONS="+m.options(r.Machine, att.Env["NODE_OPTIONS"]))
	cmd.WaitDelay = 5 * time.Second // whoever it started may hold its output
	p.confine(cmd, r.Project)
	if q.limits, err = p.limit(cmd, r.Machine); err != nil {
		_ = conn.Close() // nobody is at the other end
		return nil, err
	}
	q.cmd = cmd
	if err := p.spawn.start(cmd); err != nil {
		_ = conn.Close() // nobody is at the other end
		q.limits.release()
		return nil, fmt.Errorf("start node: %w", err)
	}
	go q.read()
	go func() {
		_ = cmd.Wait()   // ProcessState says how it ended
		_ = conn.Close() // wakes the reader
		q.limits.release()
		close(q.exited)
	}()
	return q, nil
}

// indexed is the manifest that indexing wrote.
type indexed struct {
	Worker string `json:"workerEntryPoint"`
	Loader string `json:"loaderEntryPoint"`
	Hook   struct {
		Include []string `json:"include"`
	} `json:"otelImportHook"`
	Conditions []string `json:"customConditions"`
}

// options are NODE_OPTIONS: section 19.6.
func (m *indexed) options(machine Machine, own string) string {
	var flags []string
	for f := range strings.FieldsSeq(own) {
		if !strings.HasPrefix(f, "--max-old-space-size") {
			flags = append(flags, f)
		}
	}
	if machine.Memory > 0 {
		flags = append(flags, "--max-old-space-size="+strconv.Itoa(int(machine.Memory*1024*0.8)))
	}
	if m.Loader != "" {
		flags = append(flags, "--import=file://"+m.Loader)
	}
	for _, c := range m.Conditions {
		flags = append(flags, "--conditions="+c)
	}
	return strings.Join(flags, " ")
}

// read takes what the process says until the channel ends.
func (q *process) read() {
	defer close(q.events)
	r := bufio.NewReaderSize(q.conn, 64<<10)
	for {
		line, err := readLine(r)
		if err != nil {
			if errors.Is(err, errLine) {
				q.kill()
			}
			return
		}
		var m struct {
			Type    string  `json:"type"`
			Message message `json:"message"`
			ID      *int    `json:"id"`
			Cmd     string  `json:"cmd"`
		}
		if json.Unmarshal(line, &m) != nil || m.Cmd != "" {
			continue // what Node.js says to itself, or what is no message
		}
		switch m.Type {
		case "ACK":
			if m.ID != nil {
				q.acked(*m.ID)
			}
		case "EVENT":
			if m.ID != nil {
				_ = q.write(map[string]any{"type": "ACK", "id": *m.ID}) // a broken channel shows at the next read
			}
			select {
			case q.events <- m.Message:
			case <-q.exited:
				return
			}
		}
	}
}

var errLine = errors.New("a message is too long")

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, errLine
		}
	}
}

// send sends a message of section 19.4. A process that does not read is killed.
func (q *process) send(typ string, payload any) error {
	return q.write(map[string]any{"type": "EVENT", "message": map[string]any{"type": typ, "payload": payload, "version": "v1"}})
}

func (q *process) write(v any) error {
	q.sending.Lock()
	defer q.sending.Unlock()
	return q.writeLocked(v)
}

func (q *process) writeLocked(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = q.conn.SetWriteDeadline(time.Now().Add(sendTime)) // a closed channel shows when it is written to
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		q.kill()
		return fmt.Errorf("write to the task process: %w", err)
	}
	return nil
}

// ask sends a message and waits until the process has dealt with it. It is false when that takes too long, or the process ends.
func (q *process) ask(typ string, payload any, wait time.Duration) bool {
	done := make(chan struct{})
	q.sending.Lock()
	q.sent++
	id := q.sent
	q.acks[id] = done
	err := q.writeLocked(map[string]any{"type": "EVENT", "id": id, "message": map[string]any{"type": typ, "payload": payload, "version": "v1"}})
	q.sending.Unlock()
	if err != nil {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-q.exited:
	case <-t.C:
	}
	return false
}

func (q *process) acked(id int) {
	q.sending.Lock()
	defer q.sending.Unlock()
	if c := q.acks[id]; c != nil {
		close(c)
		delete(q.acks, id)
	}
}

func (q *process) alive() bool {
	select {
	case <-q.exited:
		return false
	default:
		return true
	}
}

// kill ends the process and all that it started.
func (q *process) kill() { _ = killGroup(q.cmd.Process.Pid) } // it may have ended

// terminate lets the process end, for a moment.
func (q *process) terminate() {
	_ = terminateGroup(q.cmd.Process.Pid) // it may have ended
	select {
	case <-q.exited:
	case <-time.After(killGrace):
	}
	q.kill() // also what it left behind
	<-q.exited
}

// spawner starts processes on a thread of its own, which lives as long as the program: they are to end with the program, and where the kernel sees to
// that, it looks at the thread that started them.
type spawner struct{ work chan func() }

func newSpawner() *spawner {
	s := &spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	failed := make(chan error, 1)
	s.work <- func() { failed <- cmd.Start() }
	return <-failed
}

func (s *spawner) run(cmd *exec.Cmd) error {
	if err := s.start(cmd); err != nil {
		return err
	}
	err := cmd.Wait()
	_ = killGroup(cmd.Process.Pid) // what it left behind
	return err
}
