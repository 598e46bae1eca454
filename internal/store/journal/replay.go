package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/quartetjobs/quartet/internal/store"
)

// Replay calls fn with every batch after the given one, in order: its number, its records and how many bytes it takes. It is
// to be called between Begin and Own. A batch that was acknowledged and is not there is [store.ErrDamaged], and one of a later
// format [store.ErrNewer]; those before it have been told by then.
func (j *Journal) Replay(after uint64, fn func(seq uint64, records []store.Record, bytes int) error) error {
	j.mu.Lock()
	segments := slices.Clone(j.sealed)
	j.mu.Unlock()
	r := replay{dir: j.dir, next: after + 1, fn: fn}
	for _, s := range segments {
		data, err := j.read(s)
		if err != nil {
			return err
		}
		if err := r.segment(s.path(), data, s.salt); err != nil {
			return err
		}
	}
	if r.ended {
		return damaged(j.dir, "the file that follows %s is missing", segments[len(segments)-1].path())
	}
	return nil
}

// read returns what is in a segment. The records of its batches will point into it.
func (j *Journal) read(s *segment) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return nil, j.failure
	}
	data := make([]byte, s.size)
	n, err := s.f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return data[:n], nil
}

// replay goes through segments in the order of their generations.
type replay struct {
	dir   string
	next  uint64 // the batch to come
	ended bool   // the last segment says that there is another
	fn    func(seq uint64, records []store.Record, bytes int) error
}

func (r *replay) segment(path string, data []byte, salt uint64) error {
	r.ended = false
	for f := range frames(data, salt) {
		switch {
		case f.kind == kindEnd:
			r.ended = salt != 0
		case f.seq < r.next:
			// Folded. Or, whole or torn, one that was never acknowledged and that another of its number has followed.
		case salt == 0 && f.whole:
			return damaged(r.dir, "the beginning of %s, which has batch %d, cannot be read", path, f.seq)
		case salt == 0:
			// Left from an append that a crash cut off.
		case f.seq > r.next:
			return damaged(r.dir, "batch %d cannot be read, and batch %d in %s follows it", r.next, f.seq, path)
		case f.whole:
			if err := r.batch(path, f); err != nil {
				return err
			}
			r.next++
		default:
			// Torn. If it was acknowledged there is another after it, which will be noticed.
		}
	}
	return nil
}

func (r *replay) batch(path string, f frame) error {
	records, err := store.DecodeBatch(nil, f.batch)
	if err != nil {
		return fmt.Errorf("batch %d in %s: %w", f.seq, path, err)
	}
	return r.fn(f.seq, records, len(f.batch))
}

// damaged says what is wrong with the journal in dir and what can be done about it.
func damaged(dir, format string, args ...any) error {
	return fmt.Errorf("%w: %s; restore a backup, or move %s away to go on without what it holds", store.ErrDamaged, fmt.Sprintf(format, args...), dir)
}
