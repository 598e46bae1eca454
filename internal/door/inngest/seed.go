package inngest

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/quartetjobs/quartet/internal/engine"
)

// idSeed makes the same event ids for the same request however often it is repeated: section 5.3.
type idSeed struct {
	ms      uint64
	entropy [10]byte
}

// parseSeed reads "<millis>,<base64 of 10 bytes>". A malformed seed is as none.
func parseSeed(s string) (seed idSeed, ok bool) {
	ms, b64, found := strings.Cut(s, ",")
	if !found {
		return seed, false
	}
	n, err := strconv.ParseUint(ms, 10, 64)
	if err != nil || n > ulid.MaxTime() {
		return seed, false
	}
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(raw) != len(seed.entropy) {
		return seed, false
	}
	seed.ms = n
	copy(seed.entropy[:], raw)
	return seed, true
}

// id is the id of the n-th event of the request, from 1.
func (s idSeed) id(n int) engine.ID {
	var id ulid.ULID
	_ = id.SetTime(s.ms) // checked by parseSeed
	e := s.entropy
	binary.BigEndian.PutUint32(e[6:], binary.BigEndian.Uint32(e[6:])+uint32(n))
	_ = id.SetEntropy(e[:]) // ten bytes by its type
	return id
}
