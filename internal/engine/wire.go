package engine

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Rows are encoded as protocol-buffer messages without a schema file: numbered fields, zero values left out, unknown
// fields skipped. A field number is never given a new meaning, so that any version can read what an older one wrote.

type encoder []byte

func (e *encoder) uint(n protowire.Number, v uint64) {
	if v != 0 {
		*e = protowire.AppendVarint(protowire.AppendTag(*e, n, protowire.VarintType), v)
	}
}

func (e *encoder) int(n protowire.Number, v int64) { e.uint(n, uint64(v)) }

func (e *encoder) bool(n protowire.Number, v bool) {
	if v {
		e.uint(n, 1)
	}
}

func (e *encoder) bytes(n protowire.Number, v []byte) {
	if len(v) > 0 {
		*e = protowire.AppendBytes(protowire.AppendTag(*e, n, protowire.BytesType), v)
	}
}

func (e *encoder) str(n protowire.Number, v string) {
	if v != "" {
		*e = protowire.AppendString(protowire.AppendTag(*e, n, protowire.BytesType), v)
	}
}

// elem appends an element of a repeated field, which unlike bytes is kept when it is empty.
func (e *encoder) elem(n protowire.Number, v []byte) {
	*e = protowire.AppendBytes(protowire.AppendTag(*e, n, protowire.BytesType), v)
}

func (e *encoder) id(n protowire.Number, v ID) {
	if v != (ID{}) {
		*e = protowire.AppendBytes(protowire.AppendTag(*e, n, protowire.BytesType), v[:])
	}
}

var errRow = errors.New("engine: damaged row")

// fields calls fn with every field of an encoded row: u for numbers, b for bytes.
func fields(row []byte, fn func(n protowire.Number, u uint64, b []byte)) error {
	for len(row) > 0 {
		n, typ, l := protowire.ConsumeTag(row)
		if l < 0 {
			return fmt.Errorf("%w: %w", errRow, protowire.ParseError(l))
		}
		row = row[l:]
		switch typ {
		case protowire.VarintType:
			u, l := protowire.ConsumeVarint(row)
			if l < 0 {
				return fmt.Errorf("%w: field %d: %w", errRow, n, protowire.ParseError(l))
			}
			fn(n, u, nil)
			row = row[l:]
		case protowire.BytesType:
			b, l := protowire.ConsumeBytes(row)
			if l < 0 {
				return fmt.Errorf("%w: field %d: %w", errRow, n, protowire.ParseError(l))
			}
			fn(n, 0, b)
			row = row[l:]
		default:
			l := protowire.ConsumeFieldValue(n, typ, row)
			if l < 0 {
				return fmt.Errorf("%w: field %d: %w", errRow, n, protowire.ParseError(l))
			}
			row = row[l:]
		}
	}
	return nil
}

func toID(b []byte) (id ID) {
	copy(id[:], b)
	return id
}

func toUUID(b []byte) (id UUID) {
	copy(id[:], b)
	return id
}
