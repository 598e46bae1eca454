package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is one file, open for as long as the journal has it.
type segment struct {
	f      *os.File
	header        // of its newest use; size is the file's
	next   int64  // where the next frame goes; 0: the header is not written yet
	last   uint64 // newest batch in it
}

func (s *segment) path() string { return s.f.Name() }

// fits reports whether there is room for a frame of that size.
func (s *segment) fits(size int64) bool { return max(s.next, headerSize)+size <= s.size }

// end notes behind the last frame that the journal goes on in another segment, so that it is missed if somebody removes it. Nothing waits for the note
// to be on the disk, and nothing but that depends on it, so it does not matter if it cannot be written.
func (s *segment) end(d Disk) {
	if !s.fits(frameSize) {
		return
	}
	var note [frameSize]byte
	putFrame(note[:], s.salt, s.last, kindEnd, nil)
	_, _ = d.Write(s.f, note[:], s.next)
}

// newSalt is never 0, which stands for any.
func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return max(binary.LittleEndian.Uint64(b[:]), 1)
}

const extension = ".log"

func fileName(number int) string { return fmt.Sprintf("%08d%s", number, extension) }

// fileNumber is the number in a name; ok is false for a file that is not the journal's.
func fileNumber(name string) (number int, ok bool) {
	digits, ok := strings.CutSuffix(name, extension)
	if !ok {
		return 0, false
	}
	number, err := strconv.Atoi(digits)
	return number, err == nil && number > 0
}

// openFiles opens every segment of the directory. All count as sealed, in the order of their generations, those that have
// none first.
func (j *Journal) openFiles() error {
	if err := makeDir(j.dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, ok := fileNumber(e.Name())
		if !ok {
			continue
		}
		s, err := j.openFile(filepath.Join(j.dir, e.Name()))
		if err != nil {
			return err
		}
		j.sealed = append(j.sealed, s)
		j.number = max(j.number, number)
		j.generation = max(j.generation, s.generation)
		j.bytes.Add(s.size)
	}
	slices.SortFunc(j.sealed, func(a, b *segment) int { return cmp.Compare(a.generation, b.generation) })
	return nil
}

func (j *Journal) openFile(path string) (_ *segment, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the error that brought us here is the one to report
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var beginning [headerSize]byte
	n, err := f.ReadAt(beginning[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	h, ok, err := parseHeader(beginning[:n])
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case ok && h.shard != j.shard:
		return nil, damaged(j.dir, "%s belongs to shard %d", path, h.shard)
	case ok && h.size > info.Size():
		return nil, damaged(j.dir, "%s has %d bytes, and was made with %d", path, info.Size(), h.size)
	}
	h.size = info.Size()
	return &segment{f: f, header: h}, nil
}

// closeFiles forgets all segments.
func (j *Journal) closeFiles() error {
	if j.active != nil {
		j.sealed = append(j.sealed, j.active)
	}
	var errs []error
	for _, s := range append(j.sealed, j.free...) {
		errs = append(errs, s.f.Close())
	}
	j.active, j.sealed, j.free, j.buf = nil, nil, nil, nil
	j.generation, j.number = 0, 0
	j.bytes.Store(0)
	return errors.Join(errs...)
}
