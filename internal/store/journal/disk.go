package journal

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/quartetjobs/quartet/internal/durable"
)

// Disk is what the journal does to files besides reading them. Tests put one that fails in the place of [OS].
type Disk struct {
	// Create makes a file of that many bytes, which are zeros, durable with its name. If it fails there is none.
	Create func(path string, size int64) (*os.File, error)
	// Write is [os.File.WriteAt].
	Write func(f *os.File, data []byte, at int64) (n int, err error)
	// Sync makes what was written to a file durable. The file has not changed its size since it was made.
	Sync func(f *os.File) error
}

// OS is the disk of the operating system.
var OS = Disk{Create: create, Write: (*os.File).WriteAt, Sync: datasync}

func create(path string, size int64) (_ *os.File, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the error that brought us here is the one to report
			_ = os.Remove(path)
		}
	}()
	if err := allocate(f, size); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return f, durable.SyncDir(filepath.Dir(path))
}

// fill allocates the blocks of a file by writing them.
func fill(f *os.File, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory, and what is missing above it, durable, for this user only.
func makeDir(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return durable.SyncDir(parent)
}

// isFull reports whether a write found no room on the file system, or in the user's quota.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, diskFull)
}
