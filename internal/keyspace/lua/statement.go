package lua

// block compiles statements that follow each other.
func (c *compiler) block(list []stmt) doFn {
	var fns []doFn
	for _, s := range list {
		if fn := c.statement(s); fn != nil {
			fns = append(fns, fn)
		}
	}
	switch len(fns) {
	case 0:
		return func(*frame) signal { return goOn }
	case 1:
		return fns[0]
	case 2:
		a, b := fns[0], fns[1]
		return func(f *frame) signal {
			if s := a(f); s != goOn {
				return s
			}
			return b(f)
		}
	}
	return func(f *frame) signal {
		for _, fn := range fns {
			if s := fn(f); s != goOn {
				return s
			}
		}
		return goOn
	}
}

// statement compiles one statement, nil if it has nothing to do at run time.
func (c *compiler) statement(s stmt) doFn {
	switch s := s.(type) {
	case *localStmt:
		return c.localStatement(s)
	case *localFuncStmt:
		return c.localFunction(s)
	case *assignStmt:
		return c.assign(s)
	case *callStmt:
		call := c.call(s.call)
		return func(f *frame) signal {
			call(f)
			return goOn
		}
	case *doStmt:
		return c.block(s.body)
	case *whileStmt:
		return c.while(s)
	case *repeatStmt:
		return c.repeat(s)
	case *ifStmt:
		return c.ifStatement(s)
	case *forStmt:
		return c.forStatement(s)
	case *forInStmt:
		return c.forIn(s)
	case *returnStmt:
		return c.returnStatement(s)
	case *breakStmt:
		return func(*frame) signal { return breakLoop }
	}
	panic("BUG: a statement of no known kind")
}

func (c *compiler) localFunction(s *localFuncStmt) doFn {
	if !s.v.assigned && !c.captures(s.fn, s.v) {
		fn := &function{}
		s.v.konst = &value{ref: fn}
		c.function(s.fn, fn)
		return nil
	}
	if s.v.captured {
		s.v.assigned = true // it may call itself, so it must find itself in a cell
	}
	set, declare := c.store(s.v), c.declare(s.v)
	closure := c.closure(s.fn)
	return func(f *frame) signal {
		declare(f, nilValue)
		set(f, closure(f))
		return goOn
	}
}

func (c *compiler) localStatement(s *localStmt) doFn {
	if len(s.vals) == len(s.vars) {
		return c.localEach(s)
	}
	declare := make([]func(*frame, value), len(s.vars))
	vals := c.arguments(s.vals, 0)
	for i, v := range s.vars {
		declare[i] = c.declare(v)
	}
	if len(s.vals) == 0 {
		return func(f *frame) signal {
			for _, d := range declare {
				d(f, nilValue)
			}
			return goOn
		}
	}
	return func(f *frame) signal {
		e := f.e
		stack, top := e.stack, e.top
		got := vals(f)
		for i, d := range declare {
			if i < len(got) {
				d(f, got[i])
			} else {
				d(f, nilValue)
			}
		}
		e.stack, e.top = stack, top
		return goOn
	}
}

// localEach compiles a declaration in which each variable has its own value. The new variables are in places that none of the values can
// see, so they can be stored one by one.
func (c *compiler) localEach(s *localStmt) doFn {
	var fns []func(*frame)
	for i, v := range s.vars {
		if k, ok := c.constant(s.vals[i]); ok && !v.assigned {
			v.konst = &k
			continue
		}
		e := c.eval(s.vals[i])
		if slot := v.slot; !v.boxed() {
			fns = append(fns, func(f *frame) { f.slots[slot] = e(f) })
			continue
		}
		declare := c.declare(v)
		fns = append(fns, func(f *frame) { declare(f, e(f)) })
	}
	switch len(fns) {
	case 0:
		return nil
	case 1:
		fn := fns[0]
		return func(f *frame) signal {
			fn(f)
			return goOn
		}
	}
	return func(f *frame) signal {
		for _, fn := range fns {
			fn(f)
		}
		return goOn
	}
}

func (c *compiler) assign(s *assignStmt) doFn {
	if len(s.targets) == 1 && len(s.vals) == 1 {
		return c.assignOne(s.targets[0], s.vals[0], s.line)
	}
	// Everything is evaluated before anything is stored: two places for each target that is a member, then the values.
	var places []evalFn
	var stores []func(f *frame, at []value, v value)
	for _, t := range s.targets {
		switch t := t.(type) {
		case *localNode:
			set := c.store(t.v)
			stores = append(stores, func(f *frame, _ []value, v value) { set(f, v) })
		case *globalNode:
			stores = append(stores, func(f *frame, _ []value, _ value) { f.failAt(t.line, readonlyText) })
		case *indexNode:
			i, what := len(places), c.source(t.obj)
			places = append(places, c.eval(t.obj), c.eval(t.key))
			stores = append(stores, func(f *frame, at []value, v value) { f.setIndex(t.line, at[i], at[i+1], v, what) })
		}
	}
	vals := c.arguments(s.vals, 0)
	return func(f *frame) signal {
		e := f.e
		stack, top := e.stack, e.top
		at := e.alloc(len(places))
		for i, p := range places {
			at[i] = p(f)
		}
		got := vals(f)
		for i := len(stores) - 1; i >= 0; i-- {
			v := nilValue
			if i < len(got) {
				v = got[i]
			}
			stores[i](f, at, v)
		}
		e.stack, e.top = stack, top
		return goOn
	}
}

func (c *compiler) assignOne(target, val expr, line int) doFn {
	switch t := target.(type) {
	case *localNode:
		v, set := c.eval(val), c.store(t.v)
		return func(f *frame) signal {
			set(f, v(f))
			return goOn
		}
	case *globalNode:
		v := c.eval(val)
		return func(f *frame) signal {
			v(f)
			f.failAt(line, readonlyText)
			return goOn
		}
	}
	t := target.(*indexNode)
	obj, key, v, what := c.eval(t.obj), c.eval(t.key), c.eval(val), c.source(t.obj)
	return func(f *frame) signal {
		o := obj(f)
		k := key(f)
		f.setIndex(line, o, k, v(f), what)
		return goOn
	}
}

func (c *compiler) ifStatement(s *ifStmt) doFn {
	conds := make([]condFn, len(s.conds))
	bodies := make([]doFn, len(s.bodies))
	for i := range s.bodies {
		if i < len(s.conds) {
			conds[i] = c.cond(s.conds[i])
		}
		bodies[i] = c.block(s.bodies[i])
	}
	if len(conds) == 1 {
		cond, then := conds[0], bodies[0]
		if len(bodies) == 1 {
			return func(f *frame) signal {
				if cond(f) {
					return then(f)
				}
				return goOn
			}
		}
		otherwise := bodies[1]
		return func(f *frame) signal {
			if cond(f) {
				return then(f)
			}
			return otherwise(f)
		}
	}
	return func(f *frame) signal {
		for i, cond := range conds {
			if cond(f) {
				return bodies[i](f)
			}
		}
		if len(bodies) > len(conds) {
			return bodies[len(conds)](f)
		}
		return goOn
	}
}

// turn counts a turn of a loop.
func (f *frame) turn() {
	if f.e.fuel--; f.e.fuel < 0 {
		f.e.refuel()
	}
}

func (c *compiler) while(s *whileStmt) doFn {
	cond, body := c.cond(s.cond), c.block(s.body)
	return func(f *frame) signal {
		for cond(f) {
			f.turn()
			if sig := body(f); sig == returned {
				return returned
			} else if sig == breakLoop {
				break
			}
		}
		return goOn
	}
}

func (c *compiler) repeat(s *repeatStmt) doFn {
	body, cond := c.block(s.body), c.cond(s.cond)
	return func(f *frame) signal {
		for {
			f.turn()
			if sig := body(f); sig == returned {
				return returned
			} else if sig == breakLoop {
				return goOn
			}
			if cond(f) {
				return goOn
			}
		}
	}
}

func (c *compiler) forStatement(s *forStmt) doFn {
	start, stop, line := c.eval(s.start), c.eval(s.stop), s.line
	step := func(*frame) value { return number(1) }
	if s.step != nil {
		step = c.eval(s.step)
	}
	declare, body := c.declare(s.v), c.block(s.body)
	return func(f *frame) signal {
		i := f.forNumber(line, start(f), "initial value")
		last := f.forNumber(line, stop(f), "limit")
		by := f.forNumber(line, step(f), "step")
		for ; by > 0 && i <= last || by <= 0 && i >= last; i += by {
			f.turn()
			declare(f, number(i))
			if sig := body(f); sig == returned {
				return returned
			} else if sig == breakLoop {
				break
			}
		}
		return goOn
	}
}

func (f *frame) forNumber(line int, v value, what string) float64 {
	n, ok := toNumber(v)
	if !ok {
		f.failAt(line, "'for' "+what+" must be a number")
	}
	return n
}

func (c *compiler) forIn(s *forInStmt) doFn {
	vals, line := c.arguments(s.vals, 0), s.line
	declare := make([]func(*frame, value), len(s.vars))
	for i, v := range s.vars {
		declare[i] = c.declare(v)
	}
	body := c.block(s.body)
	return func(f *frame) signal {
		e := f.e
		stack, top := e.stack, e.top
		var iterate, state, control value
		for i, v := range vals(f) {
			switch i {
			case 0:
				iterate = v
			case 1:
				state = v
			case 2:
				control = v
			}
		}
		e.stack, e.top = stack, top
		if t, ok := state.ref.(*table); ok && control.isNil() && iterate.ref == any(e.next) {
			return f.forPairs(t, declare, body)
		}
		for {
			f.turn()
			args := e.alloc(2)
			args[0], args[1] = state, control
			f.line = line
			got := e.callValue(iterate, args, "").results()
			control = nilValue
			if len(got) > 0 {
				control = got[0]
			}
			if control.isNil() {
				e.stack, e.top = stack, top
				return goOn
			}
			for i, d := range declare {
				if i < len(got) {
					d(f, got[i])
				} else {
					d(f, nilValue)
				}
			}
			e.stack, e.top = stack, top
			if sig := body(f); sig == returned {
				return returned
			} else if sig == breakLoop {
				return goOn
			}
		}
	}
}

// forPairs goes through a table without calling next. It finds its place by the key when the table has changed its shape.
func (f *frame) forPairs(t *table, declare []func(*frame, value), body doFn) signal {
	at, length := 0, len(t.arr)
	for {
		k, v, after := t.next(at)
		if k.isNil() {
			return goOn
		}
		f.turn()
		for i, d := range declare {
			switch i {
			case 0:
				d(f, k)
			case 1:
				d(f, v)
			default:
				d(f, nilValue)
			}
		}
		if sig := body(f); sig == returned {
			return returned
		} else if sig == breakLoop {
			return goOn
		}
		if at = after; len(t.arr) != length {
			length = len(t.arr)
			if at = t.position(k); at < 0 {
				f.e.fail("invalid key to 'next'")
			}
		}
	}
}

func (c *compiler) returnStatement(s *returnStmt) doFn {
	switch len(s.vals) {
	case 0:
		return func(f *frame) signal {
			f.n, f.many = 0, nil
			return returned
		}
	case 1:
		if call, ok := s.vals[0].(*callNode); ok {
			return c.tailCall(call)
		}
		if c.multi(s.vals[0]) == nil {
			e := c.eval(s.vals[0])
			return func(f *frame) signal {
				f.ret(e(f))
				return returned
			}
		}
	}
	vals := c.arguments(s.vals, 0)
	return func(f *frame) signal {
		e := f.e
		stack, top := e.stack, e.top
		f.retMany(vals(f)...) // they stay on the stack, unclaimed, until the caller has taken them
		e.stack, e.top = stack, top
		return returned
	}
}

// tailCall compiles "return fn(…)", which takes no depth if fn is a Lua function.
func (c *compiler) tailCall(x *callNode) doFn {
	callee, args, line, what := c.eval(x.fn), c.arguments(x.args, 0), x.line, c.source(x.fn)
	return func(f *frame) signal {
		e := f.e
		fn := callee(f)
		stack, top := e.stack, e.top
		vals := args(f)
		f.line = line
		if lua, ok := fn.ref.(*function); ok && lua.native == nil {
			f.tail, f.tailArgs = lua, vals
		} else {
			r := e.callValue(fn, vals, what)
			f.n, f.one, f.many = r.n, r.first(), r.many
		}
		e.stack, e.top = stack, top
		return returned
	}
}
