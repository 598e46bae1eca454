// Package durable writes files that outlast a crash.
package durable

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// unfinished begins the names of files that are being written.
const unfinished = ".upload-"

// WriteFile stores what r gives as a file, which is on disk when it returns; a file that is there already is replaced as a whole. What a crash in
// between leaves is for [Sweep].
func WriteFile(name string, r io.Reader) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), unfinished+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // the error that brought us here is the one to report
			_ = os.Remove(f.Name()) // it is swept
		}
	}()
	if _, err = io.Copy(f, r); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes the names in a directory durable. Windows has no such call.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return Sync(path)
}

// Sync makes what somebody else wrote into a file durable.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return f.Sync()
}

// Sweep removes what was not written to its end in a directory, if it is older than age. A directory that is not there has nothing to sweep.
func Sweep(dir string, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), unfinished) && time.Since(info.ModTime()) >= age {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}
