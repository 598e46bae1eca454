//go:build unix

package main

import "syscall"

// keepPrivate makes what the server writes its own: tasks of other users run on the same machine.
func keepPrivate() { syscall.Umask(0o077) }
