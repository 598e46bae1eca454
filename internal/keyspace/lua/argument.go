package lua

import (
	"fmt"
	"math"
)

// arg gives an argument of a native function, counted from 0; nil if there are fewer.
func (f *frame) arg(i int) value {
	if i < len(f.args) {
		return f.args[i]
	}
	return nilValue
}

// argKind names the kind of an argument in an error text.
func (f *frame) argKind(i int) string {
	if i >= len(f.args) {
		return "no value"
	}
	return f.args[i].kind()
}

func (f *frame) argError(i int, format string, args ...any) {
	f.fail("bad argument #%d to '%s' (%s)", i+1, f.fn.name, fmt.Sprintf(format, args...))
}

func (f *frame) expected(i int, kind string) {
	f.argError(i, "%s expected, got %s", kind, f.argKind(i))
}

func (f *frame) text(i int) string {
	s, ok := toText(f.arg(i))
	if !ok {
		f.expected(i, "string")
	}
	return s
}

func (f *frame) num(i int) float64 {
	n, ok := toNumber(f.arg(i))
	if !ok {
		f.expected(i, "number")
	}
	return n
}

// int gives an argument as C's conversion of a double to a 64-bit integer does.
func (f *frame) int(i int) int { return truncate(f.num(i)) }

func (f *frame) intOr(i, otherwise int) int {
	if f.arg(i).isNil() {
		return otherwise
	}
	return f.int(i)
}

func truncate(n float64) int {
	if n >= -9223372036854775808 && n < 9223372036854775808 {
		return int(n)
	}
	return math.MinInt64
}

func (f *frame) table(i int) *table {
	t, ok := f.arg(i).ref.(*table)
	if !ok {
		f.expected(i, "table")
	}
	return t
}

// writable is table for a function that changes it.
func (f *frame) writable(i int) *table {
	t := f.table(i)
	if t.readonly {
		f.e.raise(str(readonlyText))
	}
	return t
}

func (f *frame) function(i int) value {
	v := f.arg(i)
	if _, ok := v.ref.(*function); !ok {
		f.expected(i, "function")
	}
	return v
}

// natives is a library under construction.
type natives map[string]func(*frame)

// library makes a table of native functions and constants that scripts cannot change.
func library(funcs natives, constants map[string]value) *table {
	t := &table{}
	for _, name := range sortedKeys(funcs) {
		t.setString(name, value{ref: &function{name: name, native: funcs[name]}})
	}
	for _, name := range sortedKeys(constants) {
		t.setString(name, constants[name])
	}
	t.readonly = true
	return t
}
