// Package reply is what a command of the keyspace answers: one value that the RESP server writes in either version of
// the protocol and that a script sees as a Lua value. Every package of the Redis door shares it and it knows none of them.
package reply

import "strconv"

// Kind is the shape of a value. Kinds that RESP2 lacks say what it gets instead.
type Kind uint8

// The kinds.
const (
	Null      Kind = iota // RESP2: a null bulk string
	NullArray             // RESP2: a null array; RESP3: null
	Int                   // N
	Bulk                  // Str, binary
	Status                // Str, without CR or LF
	Error                 // Str, the code first: "ERR syntax error"
	Array                 // Elems
	Map                   // Elems, key and value in turn; RESP2: an array
	Set                   // Elems; RESP2: an array
	Double                // F; RESP2: its text as a bulk string
	Bool                  // N is 0 or 1; RESP2: an integer
	Verbatim              // Str is text; RESP2: a bulk string
	Push                  // Elems, out of band; RESP2: an array
	Nested                // Elems, key and value in turn; RESP3: a map; RESP2: an array of arrays of two
	Pairs                 // Elems, member and score in turn; RESP3: an array of arrays of two; RESP2: an array
)

// Reply is one value. The zero Reply is Null. Str and Elems must not be changed by whoever gets one.
type Reply struct {
	Kind  Kind
	N     int64
	F     float64
	Str   string
	Elems []Reply
}

// OK is what a command with nothing to say answers.
var OK = Reply{Kind: Status, Str: "OK"}

// Of makes a bulk string.
func Of(s string) Reply { return Reply{Kind: Bulk, Str: s} }

// Num makes an integer.
func Num(n int64) Reply { return Reply{Kind: Int, N: n} }

// Float makes a double.
func Float(f float64) Reply { return Reply{Kind: Double, F: f} }

// Fail makes an error; text begins with its code.
func Fail(text string) Reply { return Reply{Kind: Error, Str: text} }

// List makes an array.
func List(elems ...Reply) Reply { return Reply{Kind: Array, Elems: elems} }

// AppendFloat writes a double as Redis does: 17 significant digits, no exponent for integers below 1e17, and inf, -inf, nan.
func AppendFloat(b []byte, f float64) []byte {
	switch {
	case f != f:
		return append(b, "nan"...)
	case f > 1.7976931348623157e308:
		return append(b, "inf"...)
	case f < -1.7976931348623157e308:
		return append(b, "-inf"...)
	case f == float64(int64(f)) && f < 1e17 && f > -1e17:
		if f == 0 && 1/f < 0 {
			return append(b, "-0"...)
		}
		return strconv.AppendInt(b, int64(f), 10)
	}
	return strconv.AppendFloat(b, f, 'g', 17, 64)
}
