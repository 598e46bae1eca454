package keyspace

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Errors that many commands share.
var (
	errSyntax   = reply.Fail("ERR syntax error")
	errInteger  = reply.Fail("ERR value is not an integer or out of range")
	errFloat    = reply.Fail("ERR value is not a valid float")
	errNoKey    = reply.Fail("ERR no such key")
	errOverflow = reply.Fail("ERR increment or decrement would overflow")
	errIndex    = reply.Fail("ERR index out of range")
	errTooLong  = reply.Fail("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
)

// What one command, script or transaction may write, and the length that a string may grow to. Both together, and what other commands
// have in the same batch, must fit into one append of the journal, which takes 512 MiB: nothing else would keep them atomic.
const (
	maxWrite  = 192 << 20
	maxString = 192 << 20
)

var errTooMuch = reply.Fail("ERR more data than can be written at once")

// Replies that many commands share.
var (
	zero      = reply.Num(0)
	one       = reply.Num(1)
	null      = reply.Reply{}
	nullArray = reply.Reply{Kind: reply.NullArray}
	empty     = reply.Reply{Kind: reply.Array}
)

func flag(b bool) reply.Reply {
	if b {
		return one
	}
	return zero
}

func appendUvarint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// isWord reports whether an argument is an option, which is written in upper case here.
func isWord(arg, word string) bool { return len(arg) == len(word) && strings.EqualFold(arg, word) }

// parseInt reads an integer as Redis does: no plus, no leading zeros, no blanks.
func parseInt(s string) (int64, bool) {
	digits := s
	if len(s) > 0 && s[0] == '-' {
		digits = s[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// parseFloat reads a number as strtod does, all of the string. Over says that its size is beyond what a double holds.
func parseFloat(s string) (f float64, ok, over bool) {
	if len(s) == 0 || strings.IndexByte(s, '_') >= 0 {
		return 0, false, false
	}
	t := strings.TrimLeft(s, "+-")
	if len(s)-len(t) > 1 {
		return 0, false, false
	}
	if len(t) > 2 && t[0] == '0' && (t[1] == 'x' || t[1] == 'X') && !strings.ContainsAny(t, "pP") {
		s += "p0"
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		over = math.IsInf(f, 0)
		return f, over, over
	}
	if f == 0 && strings.ContainsAny(mantissa(t), "123456789") {
		return 0, true, true
	}
	return f, true, false
}

func mantissa(s string) string {
	if i := strings.IndexAny(s, "eEpP"); i >= 0 {
		return s[:i]
	}
	return s
}

// parseScore reads a number that is not NaN.
func parseScore(s string) (float64, bool) {
	f, ok, over := parseFloat(s)
	return f, ok && !over && f == f
}

// parseBound reads the minimum or maximum of a range of scores.
func parseBound(s string) (f float64, exclusive, ok bool) {
	if len(s) > 0 && s[0] == '(' {
		s, exclusive = s[1:], true
	}
	if s == "" {
		return 0, exclusive, true // strtod of nothing is 0
	}
	f, ok, _ = parseFloat(s)
	return f, exclusive, ok && f == f
}

// parseTimeout reads the seconds for which a command may block, and gives the time in ms at which it gives up, 0: never.
func (c *call) parseTimeout(s string) (deadline int64, bad reply.Reply, ok bool) {
	f, ok := parseScore(s)
	if !ok {
		return 0, reply.Fail("ERR timeout is not a float or out of range"), false
	}
	if f < 0 {
		return 0, reply.Fail("ERR timeout is negative"), false
	}
	ms := math.Ceil(f * 1000)
	if ms > math.MaxInt64/2 {
		return 0, reply.Fail("ERR timeout is out of range"), false
	}
	if ms == 0 {
		return 0, null, true
	}
	return c.m.now + int64(ms), null, true
}

// span turns a range of indexes that may be negative into one from a first to behind a last; it is empty if from >= to.
func span(start, stop int64, n int) (from, to int) {
	size := int64(n)
	if start < 0 {
		start = max(0, start+size)
	}
	if stop < 0 {
		stop += size
	}
	stop = min(stop, size-1)
	if start > stop || start >= size {
		return 0, 0
	}
	return int(start), int(stop) + 1
}

// parseSpan reads two indexes.
func parseSpan(a, b string) (start, stop int64, ok bool) {
	start, ok1 := parseInt(a)
	stop, ok2 := parseInt(b)
	return start, stop, ok1 && ok2
}

// formatInt is what an integer looks like as a string.
func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// formatFloat is what a double looks like as a string.
func formatFloat(f float64) string {
	var b [32]byte
	return string(reply.AppendFloat(b[:0], f))
}

// flat makes an array of bulk strings.
func flat(strs []string) reply.Reply {
	elems := make([]reply.Reply, len(strs))
	for i, s := range strs {
		elems[i] = reply.Of(s)
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}
