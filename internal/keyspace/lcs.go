package keyspace

import (
	"slices"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// LCS: the longest common subsequence of two strings.

// maxLCS bounds the table of the algorithm, which has the product of the two lengths.
const maxLCS = 64 << 20

func lcs(c *call) reply.Reply {
	a, _, ok1 := c.text(c.args[1])
	b, _, ok2 := c.text(c.args[2])
	if !ok1 || !ok2 {
		return reply.Fail("ERR The specified keys must contain string values")
	}
	var onlyLen, index, lengths bool
	least := int64(0)
	for i := 3; i < len(c.args); i++ {
		switch w := c.args[i]; {
		case isWord(w, "IDX"):
			index = true
		case isWord(w, "LEN"):
			onlyLen = true
		case isWord(w, "WITHMATCHLEN"):
			lengths = true
		case isWord(w, "MINMATCHLEN") && i+1 < len(c.args):
			i++
			var ok bool
			if least, ok = parseInt(c.args[i]); !ok {
				return errInteger
			}
		default:
			return errSyntax
		}
	}
	if onlyLen && index {
		return reply.Fail("ERR If you want both the length and indexes, please just use IDX.")
	}
	if (len(a)+1)*(len(b)+1) > maxLCS {
		return reply.Fail("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
	}
	length, matches, common := commonParts(a, b)
	if onlyLen {
		return reply.Num(int64(length))
	}
	if !index {
		return reply.Of(common)
	}
	var elems []reply.Reply
	for _, m := range matches {
		if int64(m.n) < least {
			continue
		}
		pair := []reply.Reply{
			reply.List(reply.Num(int64(m.a)), reply.Num(int64(m.a+m.n-1))), reply.List(reply.Num(int64(m.b)), reply.Num(int64(m.b+m.n-1))),
		}
		if lengths {
			pair = append(pair, reply.Num(int64(m.n)))
		}
		elems = append(elems, reply.List(pair...))
	}
	return reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
		reply.Of("matches"), {Kind: reply.Array, Elems: elems}, reply.Of("len"), reply.Num(int64(length)),
	}}
}

// commonPart is a piece that two strings share, and where it begins in each.
type commonPart struct{ a, b, n int }

// commonParts returns the length of the longest common subsequence, its pieces from the last to the first, and itself.
func commonParts(a, b string) (length int, parts []commonPart, common string) {
	width := len(b) + 1
	table := make([]uint32, (len(a)+1)*width)
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			if a[i-1] == b[j-1] {
				table[i*width+j] = table[(i-1)*width+j-1] + 1
			} else {
				table[i*width+j] = max(table[(i-1)*width+j], table[i*width+j-1])
			}
		}
	}
	var back []byte
	i, j := len(a), len(b)
	for i > 0 && j > 0 {
		switch {
		case a[i-1] == b[j-1]:
			back = append(back, a[i-1])
			i--
			j--
			if last := len(parts) - 1; last >= 0 && parts[last].a == i+1 && parts[last].b == j+1 {
				parts[last] = commonPart{i, j, parts[last].n + 1}
			} else {
				parts = append(parts, commonPart{i, j, 1})
			}
		case table[(i-1)*width+j] > table[i*width+j-1]:
			i--
		default:
			j--
		}
	}
	slices.Reverse(back)
	return len(back), parts, string(back)
}
