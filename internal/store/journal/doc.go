// Package journal keeps the acknowledged batches of one shard in files of a fixed size until they are folded.
//
// Each file is a segment. It is made once, at its full size, and used over and over: an append overwrites the bytes behind
// the last one, so neither the file's size nor where it lies on the disk changes, and making it durable is one write and one
// fdatasync of data alone. A segment whose batches are all folded is used again without being touched before.
//
// What stands in a segment behind the newest batch is therefore left from an earlier use. Every use has a random salt, which
// each frame repeats, so that the two are never confused.
//
// # Format, version 1
//
// Numbers are little-endian, checksums CRC-32C. A segment begins with a header of 64 bytes:
//
//	 0  magic "QUARTETJ"
//	 8  version, 4 bytes
//	12  shard, 4 bytes
//	16  generation, 8 bytes: one higher for each use of any segment
//	24  salt, 8 bytes
//	32  epoch of the owner that appends, 8 bytes
//	40  size of the file, 8 bytes
//	48  zeros
//	60  checksum of the bytes before it
//
// Frames follow, each at a multiple of 8:
//
//	 0  salt of the segment
//	 8  sequence number of the batch, 8 bytes
//	16  length of the batch, 4 bytes
//	20  checksum of the batch, 4 bytes
//	24  kind, 4 bytes: 1 a batch, 2 says that the journal goes on in another segment
//	28  checksum of the bytes before it
//	32  the batch, as store.AppendBatch encodes it
//
// # Recovery
//
// An append begins when the one before it is durable, so a crash can tear only the newest frame. Recovery looks at all
// frames of all segments, past damaged ones too, in the order of generations. The sequence numbers after the newest folded
// batch must have no gap: a gap is a batch that was acknowledged and is damaged or lost, which is an error that names it,
// [store.ErrDamaged]. A damaged frame with nothing behind it is one that was never acknowledged.
package journal
