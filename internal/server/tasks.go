package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/door/trigger"
	"github.com/quartetjobs/quartet/internal/durable"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/taskpool"
)

// Tasks is how deployed Trigger.dev tasks are executed. Zero fields take the defaults of [taskpool.Config].
type Tasks struct {
	Off         bool // leave them to workers on other machines
	Node        string
	Active      int
	Processes   int
	Reuse       int
	Limit       int // runs of an environment that are executed at once, on all machines; 0: the default of [trigger.Config]
	BaseUID     int
	Cgroup      string
	Official    bool
	WorkerToken auth.Secret // of quartet worker; without one there are no others than the server's own
}

// openTrigger makes the door for Trigger.dev, and the pool that executes what is deployed.
func (s *Server) openTrigger(ids func(int64) engine.ID) error {
	keys := &s.cfg.Keys
	if len(keys.Trigger) == 0 && !keys.Dev {
		return nil
	}
	dir := s.cfg.Data
	if dir == ":memory:" {
		tmp, err := os.MkdirTemp("", "quartet-tasks-*")
		if err != nil {
			return err
		}
		s.scratch, dir = tmp, tmp
	}
	secret, err := encryptionKey(s.cfg.EncryptionKey, dir)
	if err != nil {
		return err
	}
	t := s.cfg.Tasks
	log := s.cfg.Log.With("component", "tasks")
	pool := taskpool.Config{
		Dir: filepath.Join(dir, "tasks"), Log: log, Node: t.Node, Active: t.Active, Processes: t.Processes, Reuse: t.Reuse, BaseUID: t.BaseUID, Cgroup: t.Cgroup,
		Drain: s.cfg.DrainTimeout, Official: t.Official, Server: s.local(),
	}
	cfg := trigger.Config{
		Host: s.host, Log: s.cfg.Log.With("component", "trigger"), NewID: ids, Env: keys.Environments[0].Name, Box: auth.NewBox(secret), Dev: keys.Dev,
		Keys: keys.Trigger, AccessTokens: keys.TriggerTokens, Bundles: filepath.Join(dir, "bundles"), Origin: s.local, WorkerToken: t.WorkerToken, Limit: t.Limit, Client: s.client,
	}
	s.trigger = trigger.New(cfg)
	pool.Source = s.trigger.Pool()
	if t.BaseUID != 0 {
		if err := letThrough(dir); err != nil {
			return err
		}
	}
	if s.tasks, err = taskpool.New(pool); err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	s.trigger.Build(s.tasks)
	return nil
}

// letThrough lets the users of projects walk through the data directory, and read nothing in it that is not theirs.
func letThrough(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil {
		return err
	}
	for _, f := range files { // an earlier version made them as the umask was
		if err := os.Chmod(f, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.Chmod(dir, 0o711)
}

// local is where processes of this machine reach the server.
func (s *Server) local() string {
	addr := s.ln.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", addr.Port)
	}
	return "http://" + addr.String()
}

// encryptionKey is the key that was configured, or the one that the server once made for itself.
func encryptionKey(configured auth.Secret, dir string) (auth.Secret, error) {
	if configured != "" {
		return configured, nil
	}
	name := filepath.Join(dir, "encryption.key")
	b, err := os.ReadFile(name)
	switch {
	case err == nil:
		return auth.Secret(strings.TrimSpace(string(b))), nil
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	}
	key := auth.NewSecret()
	return key, durable.WriteFile(name, strings.NewReader(key.Reveal()+"\n"))
}

// closeTasks removes what was only for this life of the server.
func (s *Server) closeTasks() {
	if s.scratch == "" {
		return
	}
	for range 10 {
		if os.RemoveAll(s.scratch) == nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // a process that is on its way out may still write
	}
}
