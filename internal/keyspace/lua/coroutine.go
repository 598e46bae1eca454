package lua

import "iter"

// coroutine is a Lua thread. It runs on a coroutine of Go's runtime (iter.Pull): one of the two sides runs at any time, so nothing is
// concurrent. Unlike Lua's own it may yield from within pcall, metamethods and the like.
type coroutine struct {
	fn      value
	resume  func() ([]value, bool)
	stop    func()
	yield   func([]value) bool
	input   []value // what resume passes in
	done    bool
	running bool
	failed  *luaError

	depth  int // of the frames when it began
	parked []*frame
}

// maxCoroutines bounds how many a run may make.
const maxCoroutines = 10_000

var coroutineFuncs = natives{
	"create": func(f *frame) { f.ret(value{ref: f.newCoroutine()}) },
	"resume": func(f *frame) {
		co := f.coroutine(0)
		vals, text, err := f.e.resume(co, f.args[1:])
		switch {
		case text != "":
			f.retMany(falseValue, str(text))
		case err != nil:
			f.retMany(falseValue, err.v)
		default:
			f.retMany(append([]value{trueValue}, vals...)...)
		}
	},
	"running": func(f *frame) {
		if co := f.e.current; co != nil {
			f.ret(value{ref: co})
			return
		}
		f.ret(nilValue)
	},
	"status": func(f *frame) { f.ret(str(f.coroutine(0).status(f.e))) },
	"wrap": func(f *frame) {
		co := f.newCoroutine()
		f.ret(value{ref: &function{name: "wrap", native: func(f *frame) {
			vals, text, err := f.e.resume(co, f.args)
			if text != "" {
				f.fail("%s", text)
			}
			if err != nil {
				f.e.raise(err.v)
			}
			f.retMany(vals...)
		}}})
	},
	"yield": func(f *frame) {
		co := f.e.current
		if co == nil {
			f.e.raise(str("attempt to yield across metamethod/C-call boundary"))
		}
		f.retMany(f.e.suspend(co, f.args)...)
	},
}

func (f *frame) coroutine(i int) *coroutine {
	co, ok := f.arg(i).ref.(*coroutine)
	if !ok {
		f.argError(i, "coroutine expected")
	}
	return co
}

func (f *frame) newCoroutine() *coroutine {
	fn := f.function(0)
	f.e.charge(16 << 10)
	if len(f.e.run.routines) >= maxCoroutines {
		f.fail("too many coroutines")
	}
	co := &coroutine{fn: fn}
	f.e.run.routines = append(f.e.run.routines, co)
	return co
}

func (co *coroutine) status(e *Engine) string {
	switch {
	case co == e.current:
		return "running"
	case co.running:
		return "normal"
	case co.done:
		return "dead"
	}
	return "suspended"
}

// resume runs a coroutine until it yields or ends. text says why it cannot be resumed.
func (e *Engine) resume(co *coroutine, args []value) (vals []value, text string, err *luaError) {
	switch {
	case co.running:
		return nil, "cannot resume non-suspended coroutine", nil
	case co.done:
		return nil, "cannot resume dead coroutine", nil
	}
	if e.natives++; e.natives > maxNative {
		e.natives--
		e.fail("C stack overflow")
	}
	// A coroutine has a call stack of its own: frames from its beginning on, and a piece of memory for their values.
	outer, depth, stack, top, natives := e.current, e.depth, e.stack, e.top, e.natives
	frames := e.frames
	e.current, co.running = co, true
	co.input = append([]value(nil), args...)
	if co.resume == nil {
		co.start(e)
	}
	e.frames, e.depth = co.frames(), co.depth
	got, ok := co.resume()
	co.parked, co.depth = e.frames, e.depth
	e.frames, e.current, e.depth, e.stack, e.top, e.natives = frames, outer, depth, stack, top, natives-1
	co.running = false
	if !ok {
		co.done = true
	}
	if co.failed != nil {
		err, co.failed = co.failed, nil
		co.done = true
		return nil, "", err
	}
	return got, "", nil
}

func (co *coroutine) frames() []*frame {
	if co.parked == nil {
		co.parked = []*frame{nil}
	}
	return co.parked
}

// start makes the runtime's coroutine. Its last value, which comes with done set, is what the function returned.
func (co *coroutine) start(e *Engine) {
	seq := func(yield func([]value) bool) {
		co.yield = yield
		e.stack, e.top = make([]value, 256), 0
		defer func() {
			if r := recover(); r != nil && r != any(closeCoroutine) {
				panic(r)
			}
		}()
		f, err := e.try(co.fn, co.input)
		if err != nil {
			co.failed = err
			return
		}
		co.done = true
		yield(append([]value(nil), f.results()...))
	}
	co.resume, co.stop = iter.Pull(iter.Seq[[]value](seq))
}

// closeCoroutine unwinds a coroutine that will not be resumed.
var closeCoroutine = &tag{"close"}

// suspend gives values to whoever resumed and waits for the next resume.
func (e *Engine) suspend(co *coroutine, vals []value) []value {
	stack, top, natives := e.stack, e.top, e.natives
	if !co.yield(append([]value(nil), vals...)) {
		panic(closeCoroutine)
	}
	e.stack, e.top, e.natives = stack, top, natives
	return co.input
}

// close ends a coroutine that was left suspended.
func (co *coroutine) close() {
	if co.stop != nil {
		co.stop()
	}
}
