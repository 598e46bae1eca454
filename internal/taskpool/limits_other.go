//go:build !linux

package taskpool

import "os/exec"

// cgroup is Linux's.
type cgroup struct{}

func (*cgroup) remove()         {}
func (*cgroup) oomKilled() bool { return false }

func groupRoot(string) string { return "" }

// limit bounds nothing: outside of Linux the size of the heap is all that is bounded.
func (p *Pool) limit(*exec.Cmd, Machine) (*limits, error) { return &limits{}, nil }

func resident(int) int64 { return 0 }
func began(int) string   { return "" }
func memory() int64      { return 0 }
