package resp

import (
	"strconv"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// appendReply writes a reply in a version of the protocol, 2 or 3.
func appendReply(b []byte, r *reply.Reply, proto int) []byte {
	switch r.Kind {
	case reply.Null:
		if proto == 3 {
			return append(b, "_\r\n"...)
		}
		return append(b, "$-1\r\n"...)
	case reply.NullArray:
		if proto == 3 {
			return append(b, "_\r\n"...)
		}
		return append(b, "*-1\r\n"...)
	case reply.Int:
		return appendLength(b, ':', r.N)
	case reply.Bulk:
		return appendBulk(b, r.Str)
	case reply.Status:
		return append(append(append(b, '+'), r.Str...), "\r\n"...)
	case reply.Error:
		return append(append(append(b, '-'), r.Str...), "\r\n"...)
	case reply.Double:
		return appendDouble(b, r.F, proto)
	case reply.Bool:
		if proto == 3 {
			return append(append(append(b, '#'), "ft"[r.N&1]), "\r\n"...)
		}
		return appendLength(b, ':', r.N)
	case reply.Verbatim:
		if proto == 3 {
			b = appendLength(b, '=', int64(len(r.Str)+4))
			return append(append(append(b, "txt:"...), r.Str...), "\r\n"...)
		}
		return appendBulk(b, r.Str)
	case reply.Pairs:
		if proto == 3 {
			return appendPairs(b, r, proto)
		}
	case reply.Nested:
		if proto == 2 {
			return appendPairs(b, r, proto)
		}
	}
	return appendElems(b, r, proto)
}

// appendElems writes the kinds that have elements.
func appendElems(b []byte, r *reply.Reply, proto int) []byte {
	n := int64(len(r.Elems))
	switch {
	case proto == 3 && (r.Kind == reply.Map || r.Kind == reply.Nested):
		b = appendLength(b, '%', n/2)
	case proto == 3 && r.Kind == reply.Set:
		b = appendLength(b, '~', n)
	case proto == 3 && r.Kind == reply.Push:
		b = appendLength(b, '>', n)
	default:
		b = appendLength(b, '*', n)
	}
	for i := range r.Elems {
		b = appendReply(b, &r.Elems[i], proto)
	}
	return b
}

// appendPairs writes elements as arrays of two.
func appendPairs(b []byte, r *reply.Reply, proto int) []byte {
	b = appendLength(b, '*', int64(len(r.Elems)/2))
	for i := 0; i+1 < len(r.Elems); i += 2 {
		b = append(b, "*2\r\n"...)
		b = appendReply(b, &r.Elems[i], proto)
		b = appendReply(b, &r.Elems[i+1], proto)
	}
	return b
}

func appendLength(b []byte, kind byte, n int64) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

func appendBulk(b []byte, s string) []byte {
	b = appendLength(b, '$', int64(len(s)))
	return append(append(b, s...), "\r\n"...)
}

func appendDouble(b []byte, f float64, proto int) []byte {
	if proto == 3 {
		return append(reply.AppendFloat(append(b, ','), f), "\r\n"...)
	}
	var buf [32]byte
	text := reply.AppendFloat(buf[:0], f)
	b = appendLength(b, '$', int64(len(text)))
	return append(append(b, text...), "\r\n"...)
}

// weight is about how many bytes a reply holds while it waits to be sent.
func weight(r *reply.Reply) int {
	n := 64 + len(r.Str)
	for i := range r.Elems {
		n += weight(&r.Elems[i])
	}
	return n
}
