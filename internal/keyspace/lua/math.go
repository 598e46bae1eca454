package lua

import (
	"math"
	"math/bits"
)

var mathConstants = map[string]value{"pi": number(math.Pi), "huge": number(math.Inf(1))}

var mathFuncs = natives{
	"abs": unaryMath(math.Abs), "acos": unaryMath(math.Acos), "asin": unaryMath(math.Asin), "atan": unaryMath(math.Atan), "ceil": unaryMath(math.Ceil),
	"cos": unaryMath(math.Cos), "cosh": unaryMath(math.Cosh), "exp": unaryMath(math.Exp), "floor": unaryMath(math.Floor), "log": unaryMath(math.Log),
	"log10": unaryMath(math.Log10), "sin": unaryMath(math.Sin), "sinh": unaryMath(math.Sinh), "sqrt": unaryMath(math.Sqrt), "tan": unaryMath(math.Tan),
	"tanh":  unaryMath(math.Tanh),
	"deg":   unaryMath(func(x float64) float64 { return x / (math.Pi / 180) }),
	"rad":   unaryMath(func(x float64) float64 { return x * (math.Pi / 180) }),
	"atan2": binaryMath(math.Atan2), "fmod": binaryMath(math.Mod), "mod": binaryMath(math.Mod), "pow": binaryMath(math.Pow),
	"ldexp": func(f *frame) { f.ret(number(math.Ldexp(f.num(0), f.int(1)))) },
	"frexp": func(f *frame) {
		m, exp := math.Frexp(f.num(0))
		f.retMany(number(m), number(float64(exp)))
	},
	"modf": func(f *frame) {
		x := f.num(0)
		if math.IsInf(x, 0) {
			f.retMany(number(x), number(0))
			return
		}
		whole, part := math.Modf(x)
		f.retMany(number(whole), number(part))
	},
	"max": mathMax, "min": mathMin, "random": mathRandom, "randomseed": mathSeed,
}

func unaryMath(fn func(float64) float64) func(*frame) {
	return func(f *frame) { f.ret(number(fn(f.num(0)))) }
}

func binaryMath(fn func(a, b float64) float64) func(*frame) {
	return func(f *frame) { f.ret(number(fn(f.num(0), f.num(1)))) }
}

func mathMax(f *frame) {
	n := f.num(0)
	for i := 1; i < len(f.args); i++ {
		if x := f.num(i); x > n {
			n = x
		}
	}
	f.ret(number(n))
}

func mathMin(f *frame) {
	n := f.num(0)
	for i := 1; i < len(f.args); i++ {
		if x := f.num(i); x < n {
			n = x
		}
	}
	f.ret(number(n))
}

// seed48 and random are the linear congruence of C's srand48 and lrand48, which Redis gives scripts; each run begins with seed 0.
func seed48(seed uint32) uint64 { return uint64(seed)<<16 | 0x330e }

func (r *run) rand31() float64 {
	r.random = (r.random*0x5deece66d + 0xb) & (1<<48 - 1)
	return float64(r.random >> 17)
}

const maxRandom = math.MaxInt32

func mathRandom(f *frame) {
	x := math.Mod(f.e.run.rand31(), maxRandom) / maxRandom
	low, high := 1.0, 0.0
	switch len(f.args) {
	case 0:
		f.ret(number(x))
		return
	case 1:
		high = float64(int32(f.int(0)))
		if low > high {
			f.argError(0, "interval is empty")
		}
	case 2:
		low, high = float64(int32(f.int(0))), float64(int32(f.int(1)))
		if low > high {
			f.argError(1, "interval is empty")
		}
	default:
		f.fail("wrong number of arguments")
	}
	f.ret(number(math.Floor(x*(high-low+1)) + low))
}

func mathSeed(f *frame) { f.e.run.random = seed48(uint32(f.int(0))) }

// bitFuncs work on 32-bit integers and give signed ones.
var bitFuncs = natives{
	"tobit":  func(f *frame) { f.retBits(f.bits(0)) },
	"bnot":   func(f *frame) { f.retBits(^f.bits(0)) },
	"band":   foldBits(func(a, b uint32) uint32 { return a & b }),
	"bor":    foldBits(func(a, b uint32) uint32 { return a | b }),
	"bxor":   foldBits(func(a, b uint32) uint32 { return a ^ b }),
	"lshift": shiftBits(func(a, n uint32) uint32 { return a << n }), "rshift": shiftBits(func(a, n uint32) uint32 { return a >> n }),
	"arshift": shiftBits(func(a, n uint32) uint32 { return uint32(int32(a) >> n) }),
	"rol":     shiftBits(func(a, n uint32) uint32 { return bits.RotateLeft32(a, int(n)) }),
	"ror":     shiftBits(func(a, n uint32) uint32 { return bits.RotateLeft32(a, -int(n)) }),
	"bswap":   func(f *frame) { f.retBits(bits.ReverseBytes32(f.bits(0))) },
	"tohex":   bitToHex,
}

// bits gives an argument as the bit library does: rounded to the nearest integer, modulo 2^32.
func (f *frame) bits(i int) uint32 {
	n := f.num(i)
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return 0
	}
	return uint32(int64(math.RoundToEven(math.Mod(n, 1<<32))))
}

func (f *frame) retBits(b uint32) { f.ret(number(float64(int32(b)))) }

func foldBits(fn func(a, b uint32) uint32) func(*frame) {
	return func(f *frame) {
		b := f.bits(0)
		for i := 1; i < len(f.args); i++ {
			b = fn(b, f.bits(i))
		}
		f.retBits(b)
	}
}

func shiftBits(fn func(a, n uint32) uint32) func(*frame) {
	return func(f *frame) { f.retBits(fn(f.bits(0), f.bits(1)&31)) }
}

func bitToHex(f *frame) {
	b, n, digits := f.bits(0), 8, "0123456789abcdef"
	if len(f.args) > 1 {
		n = int(int32(f.bits(1)))
	}
	if n < 0 {
		n, digits = -n, "0123456789ABCDEF"
	}
	n = min(n, 8)
	out := make([]byte, max(n, 0))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[b&15]
		b >>= 4
	}
	f.ret(str(string(out)))
}
