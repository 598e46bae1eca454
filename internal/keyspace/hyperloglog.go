package keyspace

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// PFADD, PFCOUNT and PFMERGE. A HyperLogLog is a string: a header of 16 bytes that begins with HYLL, and 16384 registers of 6 bits, as in Redis,
// but never in its sparse form. Counts are the same.

const (
	hllRegisters = 1 << 14
	hllHeader    = 16
	hllSize      = hllHeader + (hllRegisters*6+7)/8
)

var errHLL = reply.Fail("WRONGTYPE Key is not a valid HyperLogLog string value.")

// hll is the registers of one.
type hll [hllRegisters]uint8

// hllOf opens a key; there is false if it does not exist.
func (c *call) hllOf(key string) (h *hll, there bool, bad reply.Reply, ok bool) {
	val, there, ok := c.text(key)
	if !ok {
		return nil, false, wrongType, false
	}
	h = new(hll)
	if !there {
		return h, false, null, true
	}
	if len(val) != hllSize || val[:4] != "HYLL" {
		return nil, false, errHLL, false
	}
	for i := range h {
		bit := i * 6
		at := hllHeader + bit/8
		word := uint16(val[at])
		if at+1 < len(val) {
			word |= uint16(val[at+1]) << 8
		}
		h[i] = uint8(word>>(bit%8)) & 63
	}
	return h, true, null, true
}

func (c *call) storeHLL(key string, h *hll) {
	b := make([]byte, hllSize+1)
	copy(b, "HYLL")
	for i, v := range h {
		bit := i * 6
		at := hllHeader + bit/8
		word := uint16(v) << (bit % 8)
		b[at] |= byte(word)
		b[at+1] |= byte(word >> 8)
	}
	c.setString(key, string(b[:hllSize]), true)
}

// add counts an element in; it reports whether a register changed.
func (h *hll) add(element string) bool {
	x := murmur64(element, 0xadc83b19)
	i := x & (hllRegisters - 1)
	run := uint8(bits.TrailingZeros64(x>>14|1<<50)) + 1
	if h[i] >= run {
		return false
	}
	h[i] = run
	return true
}

func (h *hll) merge(other *hll) {
	for i, v := range other {
		h[i] = max(h[i], v)
	}
}

// count estimates with Ertl's improved raw estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), which needs
// neither bias tables nor thresholds.
func (h *hll) count() int64 {
	const m, q = float64(hllRegisters), 50
	var histogram [64]int
	for _, v := range h {
		histogram[v]++
	}
	z := m * tau((m-float64(histogram[q+1]))/m)
	for k := q; k >= 1; k-- {
		z = 0.5 * (z + float64(histogram[k]))
	}
	z += m * sigma(float64(histogram[0])/m)
	return int64(math.Round(0.721347520444481703680 * m * m / z))
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += x * y
		y += y
		if before == z {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
		if before == z {
			return z / 3
		}
	}
}

// murmur64 is MurmurHash64A, which decides the registers.
func murmur64(s string, seed uint64) uint64 {
	const mul, shift = 0xc6a4a7935bd1e995, 47
	h := seed ^ uint64(len(s))*mul
	b := []byte(s)
	for ; len(b) >= 8; b = b[8:] {
		k := binary.LittleEndian.Uint64(b) * mul
		k = (k ^ k>>shift) * mul
		h = (h ^ k) * mul
	}
	if len(b) > 0 {
		for i := len(b) - 1; i >= 0; i-- {
			h ^= uint64(b[i]) << (8 * i)
		}
		h *= mul
	}
	h = (h ^ h>>shift) * mul
	return h ^ h>>shift
}

func pfadd(c *call) reply.Reply {
	h, there, bad, ok := c.hllOf(c.args[1])
	if !ok {
		return bad
	}
	changed := !there
	for _, e := range c.args[2:] {
		changed = h.add(e) || changed
	}
	if changed {
		c.storeHLL(c.args[1], h)
	}
	return flag(changed)
}

func (c *call) mergedHLL(keys []string) (all *hll, bad reply.Reply, ok bool) {
	all = new(hll)
	for _, key := range keys {
		h, _, bad, ok := c.hllOf(key)
		if !ok {
			return nil, bad, false
		}
		all.merge(h)
	}
	return all, null, true
}

func pfcount(c *call) reply.Reply {
	h, bad, ok := c.mergedHLL(c.args[1:])
	if !ok {
		return bad
	}
	return reply.Num(h.count())
}

func pfmerge(c *call) reply.Reply {
	h, bad, ok := c.mergedHLL(c.args[1:])
	if !ok {
		return bad
	}
	c.storeHLL(c.args[1], h)
	return reply.OK
}
