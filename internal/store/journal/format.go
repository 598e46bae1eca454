package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/quartetjobs/quartet/internal/store"
)

const (
	magic   = "QUARTETJ"
	version = 1

	headerSize = 64
	frameSize  = 32   // of a frame's own header
	alignment  = 8    // of frames
	blockSize  = 4096 // what kernels keep and devices write at once
)

// Kinds of frames.
const (
	kindBatch = 1
	kindEnd   = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// header begins a segment.
type header struct {
	shard      uint32
	generation uint64
	salt       uint64
	epoch      uint64
	size       int64
}

// put writes the header to the first headerSize bytes of dst.
func (h *header) put(dst []byte) {
	dst = dst[:headerSize]
	clear(dst)
	copy(dst, magic)
	binary.LittleEndian.PutUint32(dst[8:], version)
	binary.LittleEndian.PutUint32(dst[12:], h.shard)
	binary.LittleEndian.PutUint64(dst[16:], h.generation)
	binary.LittleEndian.PutUint64(dst[24:], h.salt)
	binary.LittleEndian.PutUint64(dst[32:], h.epoch)
	binary.LittleEndian.PutUint64(dst[40:], uint64(h.size))
	binary.LittleEndian.PutUint32(dst[60:], checksum(dst[:60]))
}

// parseHeader reads the beginning of a segment. ok is false when it is none: a file that was made and never used, or a
// header that is damaged.
func parseHeader(data []byte) (h header, ok bool, err error) {
	if len(data) < headerSize || string(data[:8]) != magic {
		return header{}, false, nil
	}
	// Before the checksum, which a newer version may have somewhere else.
	if v := binary.LittleEndian.Uint32(data[8:]); v > version {
		return header{}, false, fmt.Errorf("%w: journal format %d, this version reads up to %d", store.ErrNewer, v, version)
	}
	if binary.LittleEndian.Uint32(data[60:]) != checksum(data[:60]) {
		return header{}, false, nil
	}
	return header{
		shard:      binary.LittleEndian.Uint32(data[12:]),
		generation: binary.LittleEndian.Uint64(data[16:]),
		salt:       binary.LittleEndian.Uint64(data[24:]),
		epoch:      binary.LittleEndian.Uint64(data[32:]),
		size:       int64(binary.LittleEndian.Uint64(data[40:])),
	}, true, nil
}

// frame is one frame of a segment.
type frame struct {
	seq   uint64
	kind  uint32
	batch []byte // aliases the segment
	whole bool   // the batch is what its checksum says
}

// putFrame writes a frame's own header to the first frameSize bytes of dst.
func putFrame(dst []byte, salt, seq uint64, kind uint32, batch []byte) {
	dst = dst[:frameSize]
	binary.LittleEndian.PutUint64(dst[0:], salt)
	binary.LittleEndian.PutUint64(dst[8:], seq)
	binary.LittleEndian.PutUint32(dst[16:], uint32(len(batch)))
	binary.LittleEndian.PutUint32(dst[20:], checksum(batch))
	binary.LittleEndian.PutUint32(dst[24:], kind)
	binary.LittleEndian.PutUint32(dst[28:], checksum(dst[:28]))
}

// frames goes through the frames of a segment, in the order in which they stand. Where there is none it looks on, so frames
// behind a damaged one are found. It keeps to those with the salt; 0 stands for any, for a segment whose header is damaged.
func frames(data []byte, salt uint64) iter.Seq[frame] {
	return func(yield func(frame) bool) {
		for at := headerSize; at+frameSize <= len(data); {
			found := binary.LittleEndian.Uint64(data[at:])
			if found == 0 || salt != 0 && found != salt {
				at += alignment
				continue
			}
			f, ok := parseFrame(data[at:])
			if !ok {
				at += alignment
				continue
			}
			if !yield(f) {
				return
			}
			at += align(frameSize + len(f.batch))
		}
	}
}

// parseFrame reads the frame at the beginning of data. ok is false when there is none.
func parseFrame(data []byte) (f frame, ok bool) {
	if binary.LittleEndian.Uint32(data[28:]) != checksum(data[:28]) {
		return frame{}, false
	}
	f.seq = binary.LittleEndian.Uint64(data[8:])
	f.kind = binary.LittleEndian.Uint32(data[24:])
	length := binary.LittleEndian.Uint32(data[16:])
	rest := data[frameSize:]
	f.batch = rest[:min(int64(length), int64(len(rest)))]
	f.whole = len(f.batch) == int(length) && binary.LittleEndian.Uint32(data[20:]) == checksum(f.batch)
	return f, true
}

// align is the next multiple of the alignment.
func align(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// block is the next multiple of the block size.
func block(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }
