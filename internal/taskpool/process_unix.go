//go:build unix

package taskpool

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// channel makes a channel of Node.js for a child: our end, and the one that it gets.
func channel() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "task channel"), os.NewFile(uintptr(fds[1]), "task channel")
	defer func() { _ = ours.Close() }() // the connection has a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close() // the error that brought us here is the one to report
		return nil, nil, err
	}
	return conn, theirs, nil
}

func killGroup(pid int) error      { return syscall.Kill(-pid, syscall.SIGKILL) }
func terminateGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGTERM) }

// exitOf is how a process ended, as Node.js tells of it.
func exitOf(state *os.ProcessState) (code int, signal string) {
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return -1, unix.SignalName(w.Signal())
	}
	return state.ExitCode(), "null"
}

// confine gives a command a process group of its own, and the project's user where there is one.
func (p *Pool) confine(cmd *exec.Cmd, project string) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	diesWithUs(attr)
	if uid, ok := p.user(project); ok {
		attr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	cmd.SysProcAttr = attr
}

// own gives a directory to the project's user.
func (p *Pool) own(dir, project string) error {
	uid, ok := p.user(project)
	if !ok {
		return nil
	}
	return chown(dir, int(uid))
}

// disown takes it back, and lets everybody read it.
func (p *Pool) disown(dir string) error {
	if p.cfg.BaseUID == 0 {
		return nil
	}
	if err := chown(dir, os.Getuid()); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if e.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(name, mode)
	})
}

func chown(dir string, id int) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, id, id)
	})
}
