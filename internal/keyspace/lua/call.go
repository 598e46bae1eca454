package lua

// call compiles a call; the frame that it gives has the results.
func (c *compiler) call(x expr) func(*frame) *frame {
	if m, ok := x.(*methodNode); ok {
		return c.method(m)
	}
	n := x.(*callNode)
	line, what := n.line, c.source(n.fn)
	args := c.arguments(n.args, 0)
	if v, ok := c.constant(n.fn); ok {
		if fn, ok := v.ref.(*function); ok {
			return func(f *frame) *frame {
				e := f.e
				stack, top := e.stack, e.top
				vals := args(f)
				f.line = line
				r := e.call(fn, vals)
				e.stack, e.top = stack, top
				return r
			}
		}
	}
	callee := c.eval(n.fn)
	return func(f *frame) *frame {
		e := f.e
		fn := callee(f)
		stack, top := e.stack, e.top
		vals := args(f)
		f.line = line
		r := e.callValue(fn, vals, what)
		e.stack, e.top = stack, top
		return r
	}
}

// method compiles obj:name(…).
func (c *compiler) method(x *methodNode) func(*frame) *frame {
	obj, name, line := c.eval(x.obj), str(x.name), x.line
	args, what, method := c.arguments(x.args, 1), c.source(x.obj), "method '"+x.name+"'"
	return func(f *frame) *frame {
		e := f.e
		o := obj(f)
		fn := f.index(line, o, name, what)
		stack, top := e.stack, e.top
		vals := args(f)
		vals[0] = o
		f.line = line
		r := e.callValue(fn, vals, method)
		e.stack, e.top = stack, top
		return r
	}
}

// arguments compiles a list of arguments; they are put on the stack behind room for some more.
func (c *compiler) arguments(xs []expr, room int) manyFn {
	var last manyFn
	if n := len(xs); n > 0 {
		if last = c.multi(xs[n-1]); last != nil {
			xs = xs[:n-1]
		}
	}
	fixed := c.evals(xs)
	size := room + len(fixed)
	if last == nil {
		switch {
		case size == 0:
			return func(*frame) []value { return nil }
		case size == 1 && room == 0:
			one := fixed[0]
			return func(f *frame) []value {
				vals := f.e.alloc(1)
				vals[0] = one(f)
				return vals
			}
		}
		return func(f *frame) []value {
			vals := f.e.alloc(size)
			for i, fn := range fixed {
				vals[room+i] = fn(f)
			}
			return vals
		}
	}
	return func(f *frame) []value {
		vals := f.e.alloc(size)
		for i, fn := range fixed {
			vals[room+i] = fn(f)
		}
		more := last(f) // above vals on the stack, if it is there
		all := f.e.alloc(len(more))
		copy(all, more)
		if size == 0 {
			return all
		}
		return f.e.together(vals, all)
	}
}

// together gives two lists, allocated one after the other, as one.
func (e *Engine) together(a, b []value) []value {
	if n := len(a) + len(b); n <= e.top && len(e.stack) > 0 && &e.stack[e.top-n] == &a[0] {
		return e.stack[e.top-n : e.top : e.top]
	}
	vals := e.alloc(len(a) + len(b)) // the stack went on elsewhere in between
	copy(vals, a)
	copy(vals[len(a):], b)
	return vals
}
