//go:build !unix

package taskpool

import (
	"errors"
	"net"
	"os"
	"os/exec"
)

var errSystem = errors.New("task processes need Linux, macOS or another Unix")

func channel() (net.Conn, *os.File, error) { return nil, nil, errSystem }
func killGroup(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
func terminateGroup(pid int) error                         { return killGroup(pid) }
func exitOf(state *os.ProcessState) (code int, sig string) { return state.ExitCode(), "null" }
func (p *Pool) confine(*exec.Cmd, string)                  {}
func (p *Pool) own(string, string) error                   { return nil }
func (p *Pool) disown(string) error                        { return nil }
