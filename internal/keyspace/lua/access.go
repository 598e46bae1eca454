package lua

// maxLoop bounds chains of __index and __newindex.
const maxLoop = 100

// metatable gives the metatable of any value.
func (e *Engine) metatable(v value) *table {
	switch r := v.ref.(type) {
	case *table:
		return r.meta
	case string:
		return e.strings
	}
	return nil
}

func (e *Engine) metamethod(v value, event string) value {
	if mt := e.metatable(v); mt != nil {
		return mt.getString(event)
	}
	return nilValue
}

// index reads a member of any value; what says what the value is.
func (f *frame) index(line int, obj, key value, what string) value {
	e := f.e
	for range maxLoop {
		var h value
		if t, ok := obj.ref.(*table); ok {
			if v := t.get(key); !v.isNil() || t.meta == nil {
				return v
			}
			if h = t.metamethod("__index"); h.isNil() {
				return nilValue
			}
		} else if h = e.metamethod(obj, "__index"); h.isNil() {
			f.failAt(line, "attempt to index "+describe(what, obj))
		}
		if fn, ok := h.ref.(*function); ok {
			f.line = line
			return e.callBack(value{ref: fn}, obj, key).first()
		}
		obj, what = h, ""
	}
	f.failAt(line, "loop in gettable")
	return nilValue
}

// setIndex stores a member of any value.
func (f *frame) setIndex(line int, obj, key, val value, what string) {
	e := f.e
	for range maxLoop {
		var h value
		if t, ok := obj.ref.(*table); ok {
			if t.readonly {
				f.failAt(line, readonlyText)
			}
			if t.meta == nil {
				f.checkKey(line, key)
				e.grew(t.set(key, val))
				return
			}
			h = t.metamethod("__newindex")
			if h.isNil() || !t.get(key).isNil() {
				f.checkKey(line, key)
				e.grew(t.set(key, val))
				return
			}
		} else if h = e.metamethod(obj, "__newindex"); h.isNil() {
			f.failAt(line, "attempt to index "+describe(what, obj))
		}
		if fn, ok := h.ref.(*function); ok {
			f.line = line
			e.callBack(value{ref: fn}, obj, key, val)
			return
		}
		obj, what = h, ""
	}
	f.failAt(line, "loop in settable")
}

const readonlyText = "Attempt to modify a readonly table"

// grew counts what a table grew by.
func (e *Engine) grew(n int) {
	if n > 0 {
		e.charge(n)
	}
}

// index compiles obj[key].
func (c *compiler) index(x *indexNode) evalFn {
	obj, line, what := c.eval(x.obj), x.line, c.source(x.obj)
	if k, ok := c.constant(x.key); ok {
		if s, ok := k.ref.(string); ok {
			return func(f *frame) value {
				o := obj(f)
				if t, ok := o.ref.(*table); ok {
					if i := t.findString(s); i >= 0 && !t.list[i].val.isNil() {
						return t.list[i].val
					}
					if t.meta == nil {
						return nilValue
					}
				}
				return f.index(line, o, k, what)
			}
		}
		if n := arrayIndex(k); n >= 0 {
			return func(f *frame) value {
				o := obj(f)
				if t, ok := o.ref.(*table); ok && n < len(t.arr) && !t.arr[n].isNil() {
					return t.arr[n]
				}
				return f.index(line, o, k, what)
			}
		}
	}
	key := c.eval(x.key)
	return func(f *frame) value {
		o := obj(f)
		k := key(f)
		if t, ok := o.ref.(*table); ok && t.meta == nil {
			return t.get(k)
		}
		return f.index(line, o, k, what)
	}
}
