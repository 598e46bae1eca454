package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const diskFull = unix.ENOSPC

// allocate reserves the blocks of a file, so that writing to them cannot find the disk full.
func allocate(f *os.File, size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return fill(f, size) // NFS before 4.2, for one
	}
	return os.NewSyscallError("fallocate", err)
}

// datasync is fsync without what writing does to the times of a file.
func datasync(f *os.File) error {
	return os.NewSyscallError("fdatasync", retry(func() error { return unix.Fdatasync(int(f.Fd())) }))
}

// retry calls fn until no signal interrupts it.
func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
