package journal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quartetjobs/quartet/internal/store"
)

// MaxBatch is the most bytes that a batch may have when it is encoded.
const MaxBatch = 512 << 20

// keepFree is how many segments that hold nothing are kept for the next burst.
const keepFree = 8

// keepBuffer is the largest encoding buffer that is kept for the next batch.
const keepBuffer = 4 << 20

// Journal is the journal of one shard. It is safe for concurrent use, but only one caller at a time may be on the way from Begin
// over Replay to Own.
type Journal struct {
	dir     string
	shard   uint32
	segment int64 // size of a new file
	disk    Disk
	bytes   atomic.Int64 // sizes of all files

	mu         sync.Mutex // guards the rest, and is held across the I/O of an append: appends take turns anyway
	owner      uint64     // the epoch whose appends are accepted; 0: none
	failure    error      // set while nothing may be written
	generation uint64     // newest of any segment
	number     int        // highest in the name of a file
	active     *segment   // where the next batch goes; nil before the first
	sealed     []*segment // those with batches that are not folded, oldest first
	free       []*segment // those without
	buf        []byte     // the append that is under way
}

// zeros fill up a block.
var zeros [blockSize]byte

var errNotBegun = errors.New("journal: not begun")

// Config says how a journal uses the disk.
type Config struct {
	// Segment is the size of a file in bytes, unless a batch needs more. 0: 8 MiB.
	Segment int64
	// Disk stands for the disk. Its zero value: [OS].
	Disk Disk
}

// New returns the journal of a shard in the directory dir, which Begin makes when it is missing. Nothing can be done with it before Begin.
func New(dir string, shard int, cfg Config) *Journal {
	if cfg.Disk.Create == nil {
		cfg.Disk = OS
	}
	return &Journal{
		dir: dir, shard: uint32(shard), segment: block(cmp.Or(cfg.Segment, 8<<20)), disk: cfg.Disk, failure: errNotBegun,
	}
}

// Begin takes the journal from its owner, whose appends fail with [store.ErrFenced] from then on, and opens the files anew.
// That is also the way back after an append whose outcome is unknown. epoch is the newest one that any segment names, 0 if
// there is none.
func (j *Journal) Begin() (epoch uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.failure, store.ErrClosed) {
		return 0, j.failure
	}
	// A file that could not be synced is never written to again through the descriptor that said so. What can be read of
	// it is folded, and with that durable, before any of its blocks is used again.
	_ = j.closeFiles() // a descriptor that complains is given up for a new one
	j.owner = 0
	if j.failure = j.openFiles(); j.failure != nil {
		return 0, j.failure
	}
	for _, s := range j.sealed {
		epoch = max(epoch, s.epoch)
	}
	return epoch, nil
}

// Own makes epoch the only owner. Everything that Replay told of must be in the tables: its segments are used again.
func (j *Journal) Own(epoch uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil {
		return j.failure
	}
	// The newest is used last: as long as its header is there, nothing is missing after the one before it.
	slices.Reverse(j.sealed)
	j.free, j.sealed = append(j.free, j.sealed...), nil
	j.owner = epoch
	return nil
}

// Append makes the batch seq durable, which must be the one after the last. After [store.ErrFull], [store.ErrFenced] and
// [store.ErrClosed] nothing of it was kept. After any other error its outcome is unknown, and Begin must be called.
func (j *Journal) Append(epoch, seq uint64, records []store.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.failure != nil:
		return j.failure
	case epoch != j.owner:
		return store.ErrFenced
	}
	// The headers stand in front of the batch, so that all of it is one write.
	var headers [headerSize + frameSize]byte
	j.buf = store.AppendBatch(append(j.buf[:0], headers[:]...), records)
	batch := j.buf[len(headers):]
	if len(batch) > MaxBatch {
		j.buf = nil
		return fmt.Errorf("a batch of %d bytes is over the limit of %d", len(batch), MaxBatch)
	}
	if err := j.makeRoom(int64(frameSize + len(batch))); err != nil {
		return err
	}
	putFrame(j.buf[headerSize:], j.active.salt, seq, kindBatch, batch)
	err := j.write()
	if err == nil {
		j.active.last = seq
	}
	if cap(j.buf) > keepBuffer {
		j.buf = nil
	}
	return err
}

// write makes what is in buf durable, behind what the active segment has.
func (j *Journal) write() error {
	s, begins, from := j.active, j.active.next == 0, headerSize
	if begins {
		s.header.put(j.buf)
		from = 0
	}
	length := int64(len(j.buf) - from)
	// The rest of the last block goes along, as zeros, so that the kernel need not read it from the disk to keep it.
	end := s.next + length
	j.buf = append(j.buf, zeros[:min(block(end), s.size)-end]...)

	n, err := j.disk.Write(s.f, j.buf[from:], s.next)
	if isFull(err) && int64(n) < length {
		// The frame is not whole, and the next append begins where it did.
		return fmt.Errorf("%w: write %s: %w", store.ErrFull, s.path(), err)
	}
	if err == nil {
		err = j.disk.Sync(s.f)
	}
	if err != nil {
		j.failure = fmt.Errorf("write %s: %w", s.path(), err)
		return j.failure
	}
	if begins && len(j.sealed) > 0 {
		j.sealed[len(j.sealed)-1].end(j.disk)
	}
	s.next = int64(align(int(end)))
	return nil
}

// makeRoom sees to it that the active segment has room for a frame.
func (j *Journal) makeRoom(size int64) error {
	if s := j.active; s != nil {
		if s.fits(size) {
			return nil
		}
		if s.next == 0 { // nothing could be written to it
			j.free = append(j.free, s)
		} else {
			j.sealed = append(j.sealed, s)
		}
		j.active = nil
	}
	s, err := j.take(size)
	if err != nil {
		return err
	}
	j.generation++
	s.header = header{shard: j.shard, generation: j.generation, salt: newSalt(), epoch: j.owner, size: s.size}
	s.next, s.last = 0, 0
	j.active = s
	return nil
}

// take returns a segment that holds nothing and has room for a frame.
func (j *Journal) take(size int64) (*segment, error) {
	// The one that was freed last is the likeliest to be in the kernel's memory.
	for i := len(j.free) - 1; i >= 0; i-- {
		s := j.free[i]
		large := s.size > j.segment && headerSize+size <= j.segment // made for one batch, and to be removed
		if headerSize+size <= s.size && !large {
			j.free = slices.Delete(j.free, i, i+1)
			return s, nil
		}
	}
	j.number++
	length := max(j.segment, block(headerSize+size))
	path := filepath.Join(j.dir, fileName(j.number))
	f, err := j.disk.Create(path, length)
	if isFull(err) {
		return nil, fmt.Errorf("%w: make %s: %w", store.ErrFull, path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	j.bytes.Add(length)
	return &segment{f: f, header: header{size: length}}, nil
}

// Truncate says that the batches up to through are folded. It writes nothing: segments of which no batch is left are used again.
// Of those that are more than a burst needs, it removes one.
func (j *Journal) Truncate(through uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failure != nil || j.owner == 0 {
		return nil // the next Begin reads what is folded from the tables
	}
	n := 0
	for n < len(j.sealed) && j.sealed[n].last <= through {
		n++
	}
	j.free = append(j.free, j.sealed[:n]...)
	j.sealed = slices.Delete(j.sealed, 0, n)
	return j.removeOne()
}

// removeOne removes a free segment that is too much, if the newest generation is another: recovery looks for that one. The
// directory is not synced. A file that comes back after a crash is one more that holds nothing.
func (j *Journal) removeOne() error {
	if j.active == nil || j.active.next == 0 {
		return nil
	}
	i := slices.IndexFunc(j.free, func(s *segment) bool { return s.size != j.segment })
	if i < 0 {
		if i = 0; len(j.free) <= keepFree {
			return nil
		}
	}
	s := j.free[i]
	j.free = slices.Delete(j.free, i, i+1)
	j.bytes.Add(-s.size)
	_ = s.f.Close() // nothing of it is needed
	return os.Remove(s.path())
}

// Bytes is the size of all files.
func (j *Journal) Bytes() int64 { return j.bytes.Load() }

// Close closes the files. Everything fails with [store.ErrClosed] afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failure = store.ErrClosed
	return j.closeFiles()
}
