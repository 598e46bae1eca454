package lua

// cond compiles an expression for its truth.
func (c *compiler) cond(x expr) condFn {
	if v, ok := c.constant(x); ok {
		yes := v.truthy()
		return func(*frame) bool { return yes }
	}
	switch x := x.(type) {
	case *parenNode:
		return c.cond(x.e)
	case *unaryNode:
		if x.op == "not" {
			e := c.cond(x.e)
			return func(f *frame) bool { return !e(f) }
		}
	case *binaryNode:
		switch x.op {
		case "and":
			l, r := c.cond(x.l), c.cond(x.r)
			return func(f *frame) bool { return l(f) && r(f) }
		case "or":
			l, r := c.cond(x.l), c.cond(x.r)
			return func(f *frame) bool { return l(f) || r(f) }
		case "==", "~=", "<", ">", "<=", ">=":
			return c.compare(x)
		}
	}
	e := c.eval(x)
	return func(f *frame) bool { return e(f).truthy() }
}

func (c *compiler) compare(x *binaryNode) condFn {
	l, r, line := c.eval(x.l), c.eval(x.r), x.line
	switch x.op {
	case "==":
		return func(f *frame) bool {
			f.line = line
			return f.e.equal(l(f), r(f))
		}
	case "~=":
		return func(f *frame) bool {
			f.line = line
			return !f.e.equal(l(f), r(f))
		}
	case ">": // a > b is b < a, but a is looked at first
		return func(f *frame) bool {
			a, b := l(f), r(f)
			if a.isNumber() && b.isNumber() {
				return b.num < a.num
			}
			f.line = line
			return f.e.less(b, a)
		}
	case ">=":
		return func(f *frame) bool {
			a, b := l(f), r(f)
			if a.isNumber() && b.isNumber() {
				return b.num <= a.num
			}
			f.line = line
			return f.e.lessEqual(b, a)
		}
	case "<":
		return func(f *frame) bool {
			a, b := l(f), r(f)
			if a.isNumber() && b.isNumber() {
				return a.num < b.num
			}
			f.line = line
			return f.e.less(a, b)
		}
	}
	return func(f *frame) bool {
		a, b := l(f), r(f)
		if a.isNumber() && b.isNumber() {
			return a.num <= b.num
		}
		f.line = line
		return f.e.lessEqual(a, b)
	}
}

// equal is the operator ==.
func (e *Engine) equal(a, b value) bool {
	if rawEqual(a, b) {
		return true
	}
	x, ok := a.ref.(*table)
	if !ok || x.meta == nil {
		return false
	}
	y, ok := b.ref.(*table)
	if !ok || y.meta == nil {
		return false
	}
	h := x.metamethod("__eq")
	if h.isNil() || !rawEqual(h, y.metamethod("__eq")) {
		return false
	}
	return e.callBack(h, a, b).first().truthy()
}

// less is the operator <. Texts are compared by their bytes.
func (e *Engine) less(a, b value) bool {
	if a.isNumber() && b.isNumber() {
		return a.num < b.num
	}
	x, ok := a.ref.(string)
	y, also := b.ref.(string)
	if ok && also {
		return x < y
	}
	if yes, ok := e.order(a, b, "__lt"); ok {
		return yes
	}
	e.incomparable(a, b)
	return false
}

func (e *Engine) lessEqual(a, b value) bool {
	if a.isNumber() && b.isNumber() {
		return a.num <= b.num
	}
	x, ok := a.ref.(string)
	y, also := b.ref.(string)
	if ok && also {
		return x <= y
	}
	if yes, ok := e.order(a, b, "__le"); ok {
		return yes
	}
	if yes, ok := e.order(b, a, "__lt"); ok {
		return !yes
	}
	e.incomparable(a, b)
	return false
}

// order asks a metamethod that both must share.
func (e *Engine) order(a, b value, event string) (yes, ok bool) {
	h := e.metamethod(a, event)
	if h.isNil() || !rawEqual(h, e.metamethod(b, event)) {
		return false, false
	}
	return e.callBack(h, a, b).first().truthy(), true
}

func (e *Engine) incomparable(a, b value) {
	if a.kind() == b.kind() {
		e.fail("attempt to compare two " + a.kind() + " values")
	}
	e.fail("attempt to compare " + a.kind() + " with " + b.kind())
}
