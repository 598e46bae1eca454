package taskpool

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits of what an archive may unpack to.
const (
	maxFiles    = 200_000
	maxUnpacked = 2 << 30 // bytes
)

// buildRoot is where bundles believe to be: section 21.2.
const buildRoot = "/app"

// BuildError is what is wrong with a bundle, in words for who deployed it.
type BuildError struct {
	Message string
	Output  string // the end of what the step that failed printed
}

func (e *BuildError) Error() string { return e.Message }

func badBundle(format string, args ...any) error {
	return &BuildError{Message: fmt.Sprintf(format, args...)}
}

// unpack extracts the files of a gzipped tar archive for which want is true.
func unpack(archive io.Reader, dir string, want func(name string) bool) error {
	zip, err := gzip.NewReader(archive)
	if err != nil {
		return badBundle("the bundle is no gzip file: %v", err)
	}
	root, err := os.OpenRoot(dir) // nothing gets out of it, whatever names and links say
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // it was only walked through
	files, left := 0, int64(maxUnpacked)
	for tr := tar.NewReader(zip); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badBundle("the bundle is no tar archive: %v", err)
		}
		if files++; files > maxFiles {
			return badBundle("the bundle has more than %d files", maxFiles)
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		if name == "." || h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeDir {
			continue
		}
		if !fs.ValidPath(name) {
			return badBundle("the bundle has a file outside of its directory: %q", h.Name)
		}
		if h.Typeflag != tar.TypeReg {
			return badBundle("%q in the bundle is neither file nor directory", h.Name)
		}
		if left -= h.Size; left < 0 {
			return badBundle("the bundle unpacks to more than %d MiB", maxUnpacked>>20)
		}
		if !want(name) {
			continue
		}
		if err := extract(root, name, tr, h.FileInfo().Mode()); err != nil {
			return err
		}
	}
}

func extract(root *os.Root, name string, r io.Reader, mode fs.FileMode) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return badBundle("%q in the bundle cannot be made: %v", name, err)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644|mode&0o111)
	if err != nil {
		return badBundle("%q in the bundle cannot be made: %v", name, err)
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// relocate replaces one root by another in the paths of a manifest.
func relocate(manifest []byte, from, to string) []byte {
	quoted := func(s string) []byte { return []byte(`"` + strings.ReplaceAll(s, `\`, `\\`)) }
	manifest = bytes.ReplaceAll(manifest, append(quoted(from), '/'), append(quoted(to), '/'))
	manifest = bytes.ReplaceAll(manifest, append(quoted(from), '"'), append(quoted(to), '"'))
	url := func(s string) []byte { return []byte(`"file://` + filepath.ToSlash(s) + "/") }
	return bytes.ReplaceAll(manifest, url(from), url(to))
}
