package lua

import (
	"fmt"
	"strconv"
)

// maxDepth bounds how deeply Lua functions call each other, maxNative how often native code in between calls back. Each Lua
// call takes some of the goroutine's own stack, which must stay far from its limit.
const (
	maxDepth  = 6_000
	maxNative = 200
)

// frame is one call of a function while it runs, and its results afterwards, until the next call at the same depth.
type frame struct {
	e     *Engine
	fn    *function
	depth int
	line  int     // of a Lua function: where it is
	slots []value // its variables
	args  []value // of a native function: the arguments; of a Lua function: what ... stands for

	n    int     // number of results
	one  value   // the first
	many []value // all of them if there are more; valid until the next call

	tail     *function // to be called with tailArgs instead of returning
	tailArgs []value
}

func (f *frame) ret(v value) { f.n, f.one, f.many = 1, v, nil }

func (f *frame) retMany(vals ...value) {
	f.n, f.one, f.many = len(vals), nilValue, vals
	if len(vals) > 0 {
		f.one = vals[0]
	}
}

func (f *frame) first() value {
	if f.n == 0 {
		return nilValue
	}
	return f.one
}

// results gives all of them; the slice is valid until the next call.
func (f *frame) results() []value {
	switch f.n {
	case 0:
		return nil
	case 1:
		f.e.single[0] = f.one
		return f.e.single[:]
	}
	return f.many
}

// alloc takes n values off the stack; they hold what was there before.
func (e *Engine) alloc(n int) []value {
	if e.top+n > len(e.stack) {
		e.growStack(n)
	}
	s := e.stack[e.top : e.top+n : e.top+n]
	e.top += n
	e.high = max(e.high, e.top)
	return s
}

// growStack goes on in a bigger piece of memory. Those who hold parts of the old one keep them; release gives it back.
func (e *Engine) growStack(n int) {
	size := max(2*len(e.stack), n+1024)
	if len(e.spare) >= size {
		e.stack, e.top = e.spare, 0
		return
	}
	e.charge(size * slotBytes)
	e.stack, e.top = make([]value, size), 0
	e.spare = e.stack
}

// call runs a function. args may be on the stack.
func (e *Engine) call(fn *function, args []value) *frame {
	d := e.depth + 1
	if d > maxDepth {
		e.fail("stack overflow")
	}
	if d >= len(e.frames) {
		e.frames = append(e.frames, &frame{e: e, depth: d})
	}
	f := e.frames[d]
	f.n, f.many, f.fn = 0, nil, fn
	e.depth = d
	if fn.native != nil {
		f.args = args
		fn.native(f)
		e.depth = d - 1
		return f
	}
	stack, top := e.stack, e.top
	for {
		if e.fuel--; e.fuel < 0 {
			e.refuel()
		}
		p := fn.proto
		f.slots = e.alloc(p.slots)
		n := copy(f.slots[:p.params], args)
		clear(f.slots[n:])
		f.args = nil
		if p.vararg && len(args) > p.params {
			f.args = args[p.params:]
		}
		for _, i := range p.boxed {
			f.slots[i] = value{ref: &cell{f.slots[i]}}
		}
		f.line = p.line
		p.body(f)
		e.stack, e.top = stack, top
		if f.tail == nil {
			break
		}
		fn, args = f.tail, append(e.tailArgs[:0], f.tailArgs...)
		f.fn, f.tail, e.tailArgs = fn, nil, args
		region := e.alloc(len(args)) // ours again as soon as the call is over
		copy(region, args)
		args = region
	}
	e.depth = d - 1
	return f
}

// callValue calls whatever can be called; what says what the value is, for the error if it cannot.
func (e *Engine) callValue(fn value, args []value, what string) *frame {
	if fn, ok := fn.ref.(*function); ok {
		return e.call(fn, args)
	}
	h, ok := e.metamethod(fn, "__call").ref.(*function)
	if !ok {
		e.fail("attempt to call " + describe(what, fn))
	}
	stack, top := e.stack, e.top
	with := e.alloc(len(args) + 1)
	copy(with[1:], args)
	with[0] = fn
	f := e.call(h, with)
	e.stack, e.top = stack, top
	return f
}

// callBack is callValue for native code: it nests less deeply.
func (e *Engine) callBack(fn value, args ...value) *frame {
	if e.natives++; e.natives > maxNative {
		e.natives--
		e.fail("C stack overflow")
	}
	f := e.callValue(fn, args, "")
	e.natives--
	return f
}

// describe names a value in an error text: its variable if that is known, and its kind.
func describe(what string, v value) string {
	if what == "" {
		return "a " + v.kind() + " value"
	}
	return what + " (a " + v.kind() + " value)"
}

// luaError is the panic by which an error goes through Go code.
type luaError struct {
	v    value
	line int // of the Lua function that was running
}

// where is the position at the beginning of an error text: the line of the function at a depth if it is a Lua function.
func (e *Engine) where(depth int) string {
	if depth < 1 || depth > e.depth {
		return ""
	}
	f := e.frames[depth]
	if f.fn.native != nil {
		return ""
	}
	return f.fn.proto.chunk + ":" + strconv.Itoa(f.line) + ": "
}

// raise throws any value.
func (e *Engine) raise(v value) {
	line := -1
	for d := e.depth; d > 0; d-- {
		if f := e.frames[d]; f.fn.native == nil {
			line = f.line
			break
		}
	}
	panic(&luaError{v, line})
}

// fail throws a text with the position of the Lua function that runs.
func (e *Engine) fail(text string) { e.raise(str(e.where(e.depth) + text)) }

// failAt is fail for an operation at a line.
func (f *frame) failAt(line int, text string) {
	f.line = line
	f.e.fail(text)
}

// fail throws a text with the position of the caller of a native function.
func (f *frame) fail(format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	f.e.raise(str(f.e.where(f.depth-1) + format))
}

// try calls a function and catches its error.
func (e *Engine) try(fn value, args []value) (f *frame, err *luaError) {
	depth, stack, top, natives := e.depth, e.stack, e.top, e.natives
	defer func() {
		if err == nil {
			return
		}
		e.depth, e.stack, e.top, e.natives = depth, stack, top, natives
	}()
	defer catch(&err)
	return e.callBack(fn, args...), nil
}

func catch(err **luaError) {
	switch r := recover().(type) {
	case nil:
	case *luaError:
		*err = r
	default:
		panic(r)
	}
}
