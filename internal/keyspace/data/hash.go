package data

import (
	"math/bits"
)

// hashOf mixes a key eight bytes at a time. It is the same in every life of the server, because the order of SCAN and its
// cursors come from it.
func hashOf(s string) uint32 {
	const k0, k1 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	h := uint64(len(s)) * k0
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		hi, lo := bits.Mul64(w^k1, h^k0)
		h = hi ^ lo
		s = s[8:]
	}
	w := uint64(0)
	for i := range len(s) {
		w |= uint64(s[i]) << (8 * i)
	}
	hi, lo := bits.Mul64(w^k0, h^k1)
	h = hi ^ lo
	h ^= h >> 29
	h *= k1
	return uint32(h >> 32)
}

// A scan goes through keys in the order of their reversed hashes. A bucket of a table of any size is one interval of that
// order, so a cursor, which is a point in it, means the same however the table grows or shrinks meanwhile, and a key that is
// there all the time is met exactly once.

// point is where a key is in the order of scans.
func point(hash uint32) uint64 { return uint64(bits.Reverse32(hash)) }

// scanEnd is the end of the order.
const scanEnd = 1 << 32
