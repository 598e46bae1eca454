package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// batchVersion opens every encoded batch. A change to the encoding takes a new number, and decoding keeps reading
// the old ones: a journal that an older version left behind is folded by the newer one.
const batchVersion = 1

// Bits of a record's flag byte.
const (
	flagDelete  = 1 << iota // no value follows
	flagTag1                // a tag follows; the bits of the second and third tag are the next two
	flagTag2                //
	flagTag3                //
	flagExpires             // an expiry follows
	flagsKnown  = flagDelete | flagTag1 | flagTag2 | flagTag3 | flagExpires
)

// minRecordSize is the least that a record takes: table, flags, the length of an empty key and that of an empty value,
// or for a delete no value. It bounds how many records a batch of a given size can claim to hold.
const minRecordSize = 3

var errBadBatch = errors.New("store: malformed batch")

// AppendBatch appends the encoding of records to dst and returns the extended slice.
//
//	version byte, count uvarint, then for each record:
//	table byte, flags byte, key, value unless deleted, the tags that are set, expires uvarint unless zero
//
// where keys, values and tags are a uvarint length and that many bytes. Fresh is not encoded: it speaks about the fold that
// is to come, and a batch that is read back may have been folded in part before the crash.
func AppendBatch(dst []byte, records []Record) []byte {
	dst = slices.Grow(dst, batchSize(records))
	dst = append(dst, batchVersion)
	dst = binary.AppendUvarint(dst, uint64(len(records)))
	for i := range records {
		dst = appendRecord(dst, &records[i])
	}
	return dst
}

func appendRecord(dst []byte, r *Record) []byte {
	var flags byte
	if r.Value == nil {
		flags |= flagDelete
	}
	for i := range r.Tags {
		if r.Tags[i] != "" {
			flags |= flagTag1 << i
		}
	}
	if r.Expires != 0 {
		flags |= flagExpires
	}
	dst = append(dst, byte(r.Table), flags)
	dst = binary.AppendUvarint(dst, uint64(len(r.Key)))
	dst = append(dst, r.Key...)
	if r.Value != nil {
		dst = binary.AppendUvarint(dst, uint64(len(r.Value)))
		dst = append(dst, r.Value...)
	}
	for i := range r.Tags {
		if tag := r.Tags[i]; tag != "" {
			dst = binary.AppendUvarint(dst, uint64(len(tag)))
			dst = append(dst, tag...)
		}
	}
	if r.Expires != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.Expires))
	}
	return dst
}

// batchSize is an upper bound of the encoded size for records whose parts are shorter than 2 MiB, and close to it for
// all others.
func batchSize(records []Record) int {
	n := 1 + binary.MaxVarintLen32
	for i := range records {
		r := &records[i]
		n += 8 + len(r.Key) + len(r.Value)
		for j := range r.Tags {
			if r.Tags[j] != "" {
				n += 3 + len(r.Tags[j])
			}
		}
		if r.Expires != 0 {
			n += binary.MaxVarintLen64
		}
	}
	return n
}

// DecodeBatch appends the records of an encoded batch to dst. Keys and values alias data. Malformed input is an error,
// never a panic, and allocates no more than a small multiple of its own length.
func DecodeBatch(dst []Record, data []byte) ([]Record, error) {
	if len(data) == 0 {
		return dst, fmt.Errorf("%w: empty", errBadBatch)
	}
	if data[0] != batchVersion {
		return dst, fmt.Errorf("%w: batch format %d, this version reads up to %d", ErrNewer, data[0], batchVersion)
	}
	d := decoder{data: data[1:]}
	count := d.uvarint()
	if count > uint64(len(d.data)/minRecordSize) {
		return dst, fmt.Errorf("%w: %d records in %d bytes", errBadBatch, count, len(data))
	}
	dst = slices.Grow(dst, int(count))
	for i := range count {
		r := d.record()
		if d.bad {
			return dst, fmt.Errorf("%w: record %d of %d", errBadBatch, i+1, count)
		}
		if err := r.Validate(); err != nil {
			return dst, fmt.Errorf("%w: record %d of %d: %w", errBadBatch, i+1, count, err)
		}
		dst = append(dst, r)
	}
	if d.bad || len(d.data) != 0 {
		return dst, fmt.Errorf("%w: %d bytes after the last record", errBadBatch, len(d.data))
	}
	return dst, nil
}

// decoder consumes data from the front. After the first malformed part bad is set and everything reads as zero.
type decoder struct {
	data []byte
	bad  bool
}

func (d *decoder) record() (r Record) {
	r.Table = Table(d.byte())
	flags := d.byte()
	if flags&^flagsKnown != 0 {
		d.bad = true
	}
	r.Key = d.bytes()
	if flags&flagDelete == 0 {
		r.Value = d.bytes()
	}
	for i := range r.Tags {
		if flags&(flagTag1<<i) != 0 {
			r.Tags[i] = string(d.bytes())
		}
	}
	if flags&flagExpires != 0 {
		r.Expires = int64(d.uvarint())
	}
	return r
}

func (d *decoder) byte() byte {
	if len(d.data) == 0 {
		d.bad = true
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.bad, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

// bytes returns a non-nil slice with its capacity clipped, so that appending to a key cannot run into the value.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.bad, d.data = true, nil
	}
	if d.bad {
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}
