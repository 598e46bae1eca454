package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quartetjobs/quartet/internal/store"
)

// small makes a journal begin a new file every few appends.
var small = Config{Segment: blockSize}

// records are those of the batch seq, of about size bytes.
func records(seq uint64, size int) []store.Record {
	return []store.Record{{Table: store.Live, Key: fmt.Appendf(nil, "batch-%d", seq), Value: fmt.Appendf(nil, "%0*d", size, seq)}}
}

// recovered opens a journal of shard 3 and returns it with the numbers of what it replays.
func recovered(t testing.TB, dir string, cfg Config, after uint64) (j *Journal, seqs []uint64, err error) {
	t.Helper()
	j = New(dir, 3, cfg)
	t.Cleanup(func() { _ = j.Close() })
	if _, err := j.Begin(); err != nil {
		return j, nil, err
	}
	err = j.Replay(after, func(seq uint64, got []store.Record, _ int) error {
		if want := records(seq, len(got[0].Value)); !bytes.Equal(store.AppendBatch(nil, got), store.AppendBatch(nil, want)) {
			t.Errorf("batch %d has the records %v, want %v", seq, got, want)
		}
		seqs = append(seqs, seq)
		return nil
	})
	return j, seqs, err
}

// owned returns a new journal in dir that epoch 1 owns.
func owned(t testing.TB, dir string, cfg Config) *Journal {
	t.Helper()
	j, _, err := recovered(t, dir, cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Own(1); err != nil {
		t.Fatal(err)
	}
	return j
}

func appendAll(t testing.TB, j *Journal, from, to uint64, size int) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		if err := j.Append(1, seq, records(seq, size)); err != nil {
			t.Fatalf("append batch %d: %v", seq, err)
		}
	}
}

func upTo(from, to uint64) (seqs []uint64) {
	for seq := from; seq <= to; seq++ {
		seqs = append(seqs, seq)
	}
	return seqs
}

// read returns the files of a journal by name.
func read(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// write makes a directory with these files.
func write(t testing.TB, files map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReplaysWhatIsNotFolded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := owned(t, dir, small)
	appendAll(t, j, 1, 40, 600)
	if len(j.sealed) < 3 {
		t.Fatalf("40 batches are in %d segments", len(j.sealed)+1)
	}
	for _, folded := range []uint64{0, 1, 17, 39, 40} {
		if _, seqs, err := recovered(t, dir, small, folded); err != nil || !slices.Equal(seqs, upTo(folded+1, 40)) {
			t.Errorf("replay after %d: %v, %v", folded, seqs, err)
		}
	}
	if err := j.Truncate(30); err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, 41, 50, 600)
	again, seqs, err := recovered(t, dir, small, 30)
	if err != nil || !slices.Equal(seqs, upTo(31, 50)) {
		t.Errorf("replay after 30 and some more: %v, %v", seqs, err)
	}

	// The next owner goes on, and its segments name its epoch.
	if err := again.Own(7); err != nil {
		t.Fatal(err)
	}
	if err := again.Append(7, 51, records(51, 10)); err != nil {
		t.Fatal(err)
	}
	if epoch, err := again.Begin(); err != nil || epoch != 7 {
		t.Errorf("the newest epoch is %d, %v; want 7", epoch, err)
	}
}

// Once the files are made, appending changes neither their number nor their sizes.
func TestSegmentsAreUsedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	created, written := 0, 0
	disk := OS
	disk.Create = func(path string, size int64) (*os.File, error) {
		created++
		return OS.Create(path, size)
	}
	disk.Write = func(f *os.File, data []byte, at int64) (int, error) {
		written++
		if end := at + int64(len(data)); end > blockSize || end%blockSize != 0 && len(data) != frameSize {
			t.Errorf("a write from %d to %d of %d", at, end, blockSize)
		}
		return f.WriteAt(data, at)
	}
	j := owned(t, dir, Config{Segment: blockSize, Disk: disk})
	for seq := uint64(1); seq <= 200; seq += 10 {
		appendAll(t, j, seq, seq+9, 600)
		if err := j.Truncate(seq + 7); err != nil {
			t.Fatal(err)
		}
	}
	if created > 4 || int64(created)*blockSize != j.Bytes() {
		t.Errorf("200 batches took %d files, and the journal has %d bytes", created, j.Bytes())
	}
	if ends := written - 200; ends < 30 || ends > 40 {
		t.Errorf("%d writes besides those of 200 batches in segments of five", ends)
	}
	if _, seqs, err := recovered(t, dir, small, 198); err != nil || !slices.Equal(seqs, upTo(199, 200)) {
		t.Errorf("replay: %v, %v", seqs, err)
	}
}

// A batch that is larger than a segment has a file of its own, which is removed. So are those that only a burst needed.
func TestBursts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := owned(t, dir, small)
	appendAll(t, j, 1, 3, 10_000)
	appendAll(t, j, 4, 80, 3000)
	if _, seqs, err := recovered(t, dir, small, 0); err != nil || !slices.Equal(seqs, upTo(1, 80)) {
		t.Errorf("replay: %v, %v", seqs, err)
	}
	for seq := uint64(81); seq <= 180; seq++ {
		appendAll(t, j, seq, seq, 100)
		if err := j.Truncate(seq); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(read(t, dir)); got > keepFree+2 {
		t.Errorf("%d files are left of the burst", got)
	}
	if _, seqs, err := recovered(t, dir, small, 180); err != nil || len(seqs) != 0 {
		t.Errorf("replay: %v, %v", seqs, err)
	}
}

func TestFencing(t *testing.T) {
	t.Parallel()
	j := owned(t, t.TempDir(), small)
	appendAll(t, j, 1, 1, 10)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"begin", func() error { _, err := j.Begin(); return err }},
		{"replay", func() error { return j.Replay(1, nil) }},
		{"own", func() error { return j.Own(2) }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := j.Append(1, 2, records(2, 10)); !errors.Is(err, store.ErrFenced) {
			t.Errorf("append by the older owner after %s: %v", step.name, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(2, 2, records(2, 10)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := j.Begin(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("begin after close: %v", err)
	}
}

// A full disk, met when a file is made or while a frame is written, keeps nothing and is no reason to stop.
func TestFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	full, most := false, 0
	disk := OS
	disk.Create = func(path string, size int64) (*os.File, error) {
		if full {
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
		}
		return OS.Create(path, size)
	}
	disk.Write = func(f *os.File, data []byte, at int64) (int, error) {
		if !full {
			return f.WriteAt(data, at)
		}
		n, _ := f.WriteAt(data[:min(most, len(data))], at)
		return n, &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.EDQUOT}
	}
	j := owned(t, dir, Config{Segment: blockSize, Disk: disk})
	seq := uint64(0)
	for i := range 60 {
		// A quarter of the appends is larger than a segment, and there are first ones of a segment among the others.
		size := 700
		if i%4 == 1 {
			size = 5000
		}
		full, most = true, i*23%(size+headerSize)
		if err := j.Append(1, seq+1, records(seq+1, size)); !errors.Is(err, store.ErrFull) {
			t.Fatalf("append %d with a full disk: %v", i, err)
		}
		if _, seqs, err := recovered(t, dir, small, 0); err != nil || !slices.Equal(seqs, upTo(1, seq)) {
			t.Fatalf("replay after it: %v, %v", seqs, err)
		}
		full = false
		if i%3 > 0 { // also twice in a row
			seq++
			appendAll(t, j, seq, seq, 500+i)
		}
	}
}

// Nothing is written after a sync that failed. The batch's outcome is what the next owner finds.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := false
	disk := OS
	disk.Sync = func(f *os.File) error {
		if broken {
			return &fs.PathError{Op: "sync", Path: f.Name(), Err: syscall.ENOSPC} // some file systems only notice here
		}
		return OS.Sync(f)
	}
	j := owned(t, dir, Config{Segment: blockSize, Disk: disk})
	appendAll(t, j, 1, 3, 100)
	broken = true
	err := j.Append(1, 4, records(4, 100))
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), dir) {
		t.Errorf("append with a sync that fails: %v", err)
	}
	broken = false
	before := read(t, dir)
	if again := j.Append(1, 4, records(4, 100)); !errors.Is(again, err) {
		t.Errorf("append after a sync that failed: %v, want the same error", again)
	}
	if err := j.Truncate(4); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, read(t, dir)); diff != "" {
		t.Error("something was written after a sync that failed")
	}
	if _, err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	err = j.Replay(0, func(seq uint64, _ []store.Record, _ int) error { last = seq; return nil })
	if err != nil || last != 4 {
		t.Errorf("replay up to %d, %v; the system kept all four", last, err)
	}
	if err := j.Own(2); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(2, 5, records(5, 100)); err != nil {
		t.Errorf("append by the next owner: %v", err)
	}
}

func TestNewerIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	appendAll(t, owned(t, dir, small), 1, 2, 100)
	files := read(t, dir)
	data := files[fileName(1)]

	data[8] = version + 1 // the checksum may be anywhere then
	if _, _, err := recovered(t, write(t, files), small, 0); !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), fileName(1)) {
		t.Errorf("a segment of a newer version: %v", err)
	}
	data[8] = version
	h, _, _ := parseHeader(data)
	batch := []byte{99, 0}
	putFrame(data[headerSize:], h.salt, 1, kindBatch, batch)
	copy(data[headerSize+frameSize:], batch)
	if _, _, err := recovered(t, write(t, files), small, 0); !errors.Is(err, store.ErrNewer) {
		t.Errorf("a batch of a newer version: %v", err)
	}
	if _, _, err := recovered(t, write(t, files), small, 2); err != nil {
		t.Errorf("a batch of a newer version that is folded: %v", err)
	}
}

func TestOtherShard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	appendAll(t, owned(t, dir, small), 1, 1, 100)
	if _, err := New(dir, 4, small).Begin(); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the files of another shard: %v", err)
	}
}
