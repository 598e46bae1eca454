package taskpool

// limits are what bounds a process beside its heap size.
type limits struct{ group *cgroup }

// release removes what was made for the process.
func (l *limits) release() {
	if l != nil && l.group != nil {
		l.group.remove()
	}
}

// exceeded says that the kernel ended the process because it used more memory than it may.
func (l *limits) exceeded() bool { return l != nil && l.group != nil && l.group.oomKilled() }
