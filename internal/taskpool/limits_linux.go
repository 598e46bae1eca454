package taskpool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Where the kernel has control groups of version 2 and the pool may make some, they bound memory, processors and the number of processes. Elsewhere
// the memory of a process is looked at twice a second, and its processors are not bounded.

// maxPids is how many processes and threads a task may have.
const maxPids = 512

// cgroup is the control group of one process.
type cgroup struct {
	dir    string
	fd     *os.File // the process is started in it
	killed atomic.Bool
}

var groups atomic.Int64

// controllers are what a group of the pool must be able to bound.
var controllers = []string{"cpu", "memory", "pids"}

// groupRoot is the directory in which the pool makes groups; "" when it cannot.
func groupRoot(configured string) string {
	root := configured
	if root == "" {
		root = "/sys/fs/cgroup/quartet"
		if os.Getuid() != 0 || os.Mkdir(root, 0o755) != nil && !isDir(root) {
			return ""
		}
	}
	have, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return ""
	}
	for _, c := range controllers {
		if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+c+" ") {
			return ""
		}
	}
	if os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0o644) != nil {
		return ""
	}
	return root
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func newCgroup(root string, m Machine) (*cgroup, error) {
	g := &cgroup{dir: filepath.Join(root, fmt.Sprintf("task-%d-%d", os.Getpid(), groups.Add(1)))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	for file, text := range map[string]string{
		"memory.max": strconv.FormatInt(int64(m.Memory*(1<<30)), 10), "memory.swap.max": "0", "cpu.max": strconv.Itoa(int(m.CPU*100_000)) + " 100000",
		"pids.max": strconv.Itoa(maxPids), "memory.oom.group": "1",
	} {
		if err := os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o644); err != nil && file != "memory.swap.max" { // without swap there is no such file
			g.remove()
			return nil, err
		}
	}
	fd, err := os.Open(g.dir)
	if err != nil {
		g.remove()
		return nil, err
	}
	g.fd = fd
	return g, nil
}

func (g *cgroup) oomKilled() bool {
	if g.killed.Load() {
		return true
	}
	b, err := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	return err == nil && strings.Contains(string(b), "oom_kill ") && !strings.Contains(string(b), "oom_kill 0\n")
}

// remove ends what is left in the group, and then the group.
func (g *cgroup) remove() {
	g.killed.Store(g.oomKilled())
	if g.fd != nil {
		_ = g.fd.Close() // it was only pointed at
	}
	_ = os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0o644) // older kernels have none
	for range 20 {
		if err := os.Remove(g.dir); err == nil || os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond) // its processes are on their way out
	}
}

// limit makes the limits of a process that is about to be started.
func (p *Pool) limit(cmd *exec.Cmd, m Machine) (*limits, error) {
	if p.groups == "" || m.Memory <= 0 || m.CPU <= 0 {
		return &limits{}, nil
	}
	g, err := newCgroup(p.groups, m)
	if err != nil {
		return nil, fmt.Errorf("limit a task process: %w", err)
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(g.fd.Fd())
	return &limits{group: g}, nil
}

// resident is how much memory a process has, in bytes; 0 when that cannot be told.
func resident(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	var size, rss int64
	if _, err := fmt.Sscan(string(b), &size, &rss); err != nil {
		return 0
	}
	return rss * int64(os.Getpagesize())
}

// began is when a process started, in the kernel's words: a pid with another beginning is another process.
func began(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	if f := strings.Fields(rest); len(f) > 19 {
		return f[19]
	}
	return ""
}

// memory is how much the machine has, in bytes; 0 when that cannot be told.
func memory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kib int64
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err != nil {
		return 0
	}
	return kib << 10
}
