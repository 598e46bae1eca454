package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// The journals here have batches of one size, five to a segment.
const batchSize = 700

// journalled returns a journal with the batches up to last, of which ten are folded and their segments used again.
func journalled(t testing.TB, last uint64) (dir string, j *Journal) {
	t.Helper()
	dir = t.TempDir()
	j = owned(t, dir, small)
	appendAll(t, j, 1, 11, batchSize)
	if err := j.Truncate(10); err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, 12, last, batchSize)
	return dir, j
}

// overwrite changes what is in a file and not its size. Truncating it would be many times slower.
func overwrite(t testing.TB, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestTorn leaves any part of the newest append on the disk: its beginning, its end, or all but a sector, over what was there before.
func TestTorn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last    uint64
		restart bool
	}{
		"behind another":                {18, false},
		"first of a segment used again": {16, false},
		"first after a restart":         {18, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last, folded := c.last, uint64(10)
			dir, j := journalled(t, last-1)
			if c.restart {
				folded = last - 1
				if _, err := j.Begin(); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(j.Replay(folded, nil), j.Own(1)); err != nil {
					t.Fatal(err)
				}
			}
			old := read(t, dir)
			appendAll(t, j, last, last, batchSize)
			name := filepath.Base(j.active.path())
			was, is := old[name], read(t, dir)[name]
			dir = write(t, old) // without the note that this segment follows, which comes after the append
			if len(was) != len(is) {
				t.Fatalf("the append made a file of %d bytes one of %d", len(was), len(is))
			}
			from := 0
			for was[from] == is[from] {
				from++
			}
			check := func(what string, end uint64, parts ...[]byte) {
				t.Helper()
				overwrite(t, filepath.Join(dir, name), slices.Concat(parts...))
				_, seqs, err := recovered(t, dir, small, folded)
				if err != nil || !slices.Equal(seqs, upTo(folded+1, end)) {
					t.Fatalf("%s: replayed %v, %v; want up to %d", what, seqs, err, end)
				}
			}
			check("all of it", last, is)
			check("nothing of it", last-1, was)
			_, value, _ := bytes.Cut(is, records(last, batchSize)[0].Key)
			whole := len(is) - len(value) + 2 + batchSize // after the key, the value's length, and the value
			for cut := from + 1; cut < whole; cut++ {
				check(fmt.Sprint("up to ", cut), last-1, is[:cut], was[cut:])
			}
			check(fmt.Sprint("up to ", whole), last, is[:whole], was[whole:])
			const sector = 512
			for at := from / sector * sector; at < whole; at += sector {
				end := min(at+sector, len(is))
				check(fmt.Sprint("all but a sector at ", at), last-1, is[:at], was[at:end], is[end:])
				if at > from {
					check(fmt.Sprint("from ", at), last-1, was[:at], is[at:])
				}
			}
		})
	}
}

// damage is a journal of the batches up to 23 and a copy to spoil.
type damage struct {
	dir   string
	files map[string][]byte
	names []string
}

func newDamage(t testing.TB) damage {
	t.Helper()
	dir, _ := journalled(t, 23)
	files := read(t, dir)
	return damage{write(t, files), files, slices.Sorted(maps.Keys(files))}
}

// check changes part of a file and replays. Either every batch is there, or the error says that one is not. Only what the change hit itself may
// be missing without a word, and only at the end, where it looks the same as what was cut off.
func (d damage) check(t *testing.T, name string, from, to int, change func([]byte)) {
	t.Helper()
	data := d.files[name]
	changed := slices.Clone(data)
	change(changed[from:to])
	path := filepath.Join(d.dir, name)
	overwrite(t, path, changed)
	j, seqs, err := recovered(t, d.dir, small, 10)
	if closeErr := j.Close(); closeErr != nil {
		t.Error(closeErr)
	}
	overwrite(t, path, data)
	if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNewer) {
		return
	}
	if err != nil || !slices.Equal(seqs, upTo(11, 10+uint64(len(seqs)))) {
		t.Fatalf("%s changed from %d to %d: replayed %v, %v", name, from, to, seqs, err)
	}
	for seq := 11 + uint64(len(seqs)); seq <= 23; seq++ {
		key := bytes.Index(data, fmt.Appendf(nil, "batch-%d", seq))
		if key < 0 || from >= key+batchSize+16 || to <= key-frameSize-8 {
			t.Fatalf("%s changed from %d to %d: batch %d is missing without a word", name, from, to, seq)
		}
	}
}

// A byte, a sector or a block that is wrong is never taken for the end of the journal.
func TestDamaged(t *testing.T) {
	t.Parallel()
	d := newDamage(t)
	for _, name := range d.names {
		for at := range d.files[name] {
			if at < headerSize+frameSize || at%29 == 0 {
				d.check(t, name, at, at+1, func(b []byte) { b[0] ^= 0x10 })
			}
		}
		for _, lost := range []int{512, blockSize} {
			for at := 0; at < len(d.files[name]); at += lost {
				d.check(t, name, at, at+lost, func(b []byte) { clear(b) })
			}
		}
	}
	if len(d.names) < 3 {
		t.Errorf("the journal has %d files", len(d.names))
	}
}

func TestLostSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	appendAll(t, owned(t, dir, small), 1, 23, batchSize)
	files := read(t, dir)
	for name, data := range files {
		less := maps.Clone(files)
		delete(less, name)
		if _, _, err := recovered(t, write(t, less), small, 0); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("without %s: %v", name, err)
		}
		less[name] = data[:len(data)/2]
		if _, _, err := recovered(t, write(t, less), small, 0); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("with half of %s: %v", name, err)
		}
	}
	if len(files) != 5 {
		t.Errorf("the journal has %d files", len(files))
	}
}

// FuzzReplay changes a journal at will.
func FuzzReplay(f *testing.F) {
	f.Add(uint8(0), uint16(0), []byte("anything"))
	f.Add(uint8(1), uint16(headerSize), make([]byte, frameSize))
	f.Add(uint8(2), uint16(16), []byte{0xff})
	d := newDamage(f)
	f.Fuzz(func(t *testing.T, file uint8, at uint16, data []byte) {
		name := d.names[int(file)%len(d.names)]
		from := int(at) % len(d.files[name])
		d.check(t, name, from, min(from+len(data), len(d.files[name])), func(b []byte) { copy(b, data) })
	})
}

// FuzzFrames: whatever is in a file, reading it ends, stays inside, and panics nowhere.
func FuzzFrames(f *testing.F) {
	for _, data := range newDamage(f).files {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, ok, err := parseHeader(data); ok && err != nil {
			t.Errorf("a header that is right and wrong: %v", err)
		}
		total := 0
		for fr := range frames(data, 0) {
			total += frameSize + len(fr.batch)
			_, _ = store.DecodeBatch(nil, fr.batch)
		}
		if total > len(data) {
			t.Errorf("%d bytes of frames in %d", total, len(data))
		}
	})
}
