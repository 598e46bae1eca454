//go:build !linux

package journal

import (
	"os"
	"syscall"
)

// diskFull is what Windows calls it; elsewhere the number is no error that a write can have.
const diskFull = syscall.Errno(112)

func allocate(f *os.File, size int64) error { return fill(f, size) }

func datasync(f *os.File) error { return f.Sync() }
