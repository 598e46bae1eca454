package lua

import "math"

// Forms of compiled code. An evalFn gives one value, a manyFn any number, valid until the next call; a condFn the truth of an
// expression. A doFn runs a statement.
type (
	evalFn func(*frame) value
	manyFn func(*frame) []value
	condFn func(*frame) bool
	doFn   func(*frame) signal
)

// signal is what a statement tells the ones around it.
type signal uint8

const (
	goOn signal = iota
	breakLoop
	returned
)

// proto is a compiled function.
type proto struct {
	chunk  string
	line   int
	params int
	slots  int
	vararg bool
	boxed  []int // parameters that live in cells
	body   doFn
}

// compiler turns the tree of one function into closures. Those of a function within it have a compiler of their own.
type compiler struct {
	e     *Engine
	chunk string
	fn    *funcNode
	ups   []*variable // what the function captures at run time
}

func compileChunk(e *Engine, chunk string, tree *funcNode) *function {
	c := &compiler{e: e, chunk: chunk, fn: tree}
	return &function{proto: c.proto()}
}

func (c *compiler) proto() *proto {
	p := &proto{chunk: c.chunk, line: c.fn.line, params: len(c.fn.params), slots: c.fn.slots, vararg: c.fn.vararg}
	for _, v := range c.fn.params {
		if v.boxed() {
			p.boxed = append(p.boxed, v.slot)
		}
	}
	p.body = c.block(c.fn.body)
	return p
}

// constant finds the value of an expression that is known before the script runs: constants, globals, members of libraries, variables that
// are never assigned to and always begin as one of these, and functions that capture nothing else.
func (c *compiler) constant(x expr) (value, bool) {
	switch x := x.(type) {
	case *constNode:
		return x.v, true
	case *parenNode:
		return c.constant(x.e)
	case *localNode:
		if x.v.konst != nil {
			return *x.v.konst, true
		}
	case *globalNode:
		if v := c.e.env.getString(x.name); !v.isNil() {
			return v, true
		}
	case *indexNode:
		obj, ok := c.constant(x.obj)
		if t, table := obj.ref.(*table); ok && table && t.readonly && t.meta == nil {
			if key, ok := c.constant(x.key); ok {
				if v := t.get(key); !v.isNil() {
					return v, true
				}
			}
		}
	case *funcNode:
		if c.captures(x, nil) {
			return nilValue, false
		}
		if x.konst == nil {
			x.konst = c.function(x, &function{})
		}
		return value{ref: x.konst}, true
	}
	return nilValue, false
}

// captures says that a function needs variables of others, apart from self and those that are constants.
func (c *compiler) captures(fn *funcNode, self *variable) bool {
	for _, v := range fn.ups {
		if v != self && v.konst == nil {
			return true
		}
	}
	return false
}

// function compiles a function into out.
func (c *compiler) function(fn *funcNode, out *function) *function {
	sub := &compiler{e: c.e, chunk: c.chunk, fn: fn}
	for _, v := range fn.ups {
		if v.konst == nil {
			sub.ups = append(sub.ups, v)
		}
	}
	out.proto = sub.proto()
	return out
}

func (c *compiler) upvalue(v *variable) int {
	for i, u := range c.ups {
		if u == v {
			return i
		}
	}
	panic("BUG: a variable that was not captured")
}

// source says which variable an expression names, for error texts.
func (c *compiler) source(x expr) string {
	switch x := x.(type) {
	case *localNode:
		if x.v.owner != c.fn {
			return "upvalue '" + x.v.name + "'"
		}
		return "local '" + x.v.name + "'"
	case *globalNode:
		return "global '" + x.name + "'"
	case *indexNode:
		if k, ok := x.key.(*constNode); ok {
			if s, ok := k.v.ref.(string); ok {
				return "field '" + s + "'"
			}
		}
	}
	return ""
}

// eval compiles an expression for its first value.
func (c *compiler) eval(x expr) evalFn {
	if v, ok := c.constant(x); ok {
		return func(*frame) value { return v }
	}
	switch x := x.(type) {
	case *localNode:
		return c.local(x.v)
	case *globalNode:
		text := "Script attempted to access nonexistent global variable '" + x.name + "'"
		return func(f *frame) value {
			f.failAt(x.line, text)
			return nilValue
		}
	case *varargNode:
		return func(f *frame) value {
			if len(f.args) == 0 {
				return nilValue
			}
			return f.args[0]
		}
	case *parenNode:
		return c.eval(x.e)
	case *indexNode:
		return c.index(x)
	case *callNode, *methodNode:
		call := c.call(x)
		return func(f *frame) value { return call(f).first() }
	case *unaryNode:
		return c.unary(x)
	case *binaryNode:
		return c.binary(x)
	case *tableNode:
		return c.table(x)
	case *funcNode:
		return c.closure(x)
	}
	panic("BUG: an expression of no known kind")
}

func (c *compiler) evals(xs []expr) []evalFn {
	fns := make([]evalFn, len(xs))
	for i, x := range xs {
		fns[i] = c.eval(x)
	}
	return fns
}

// multi compiles an expression that may have several values, nil if it always has one.
func (c *compiler) multi(x expr) manyFn {
	switch x := x.(type) {
	case *varargNode:
		return func(f *frame) []value { return f.args }
	case *callNode, *methodNode:
		call := c.call(x)
		return func(f *frame) []value { return call(f).results() }
	}
	return nil
}

func (c *compiler) local(v *variable) evalFn {
	if v.owner != c.fn {
		i := c.upvalue(v)
		if v.boxed() {
			return func(f *frame) value { return f.fn.ups[i].ref.(*cell).v }
		}
		return func(f *frame) value { return f.fn.ups[i] }
	}
	i := v.slot
	if v.boxed() {
		return func(f *frame) value { return f.slots[i].ref.(*cell).v }
	}
	return func(f *frame) value { return f.slots[i] }
}

// store compiles the assignment to a variable that exists.
func (c *compiler) store(v *variable) func(*frame, value) {
	if v.owner != c.fn {
		i := c.upvalue(v)
		return func(f *frame, val value) { f.fn.ups[i].ref.(*cell).v = val }
	}
	i := v.slot
	if v.boxed() {
		return func(f *frame, val value) { f.slots[i].ref.(*cell).v = val }
	}
	return func(f *frame, val value) { f.slots[i] = val }
}

// declare compiles the beginning of a variable's life.
func (c *compiler) declare(v *variable) func(*frame, value) {
	i := v.slot
	if v.boxed() {
		return func(f *frame, val value) {
			f.e.charge(slotBytes)
			f.slots[i] = value{ref: &cell{val}}
		}
	}
	return func(f *frame, val value) { f.slots[i] = val }
}

// closure compiles a function expression that captures variables.
func (c *compiler) closure(x *funcNode) evalFn {
	p := c.function(x, &function{}).proto
	var take []func(*frame) value // a captured variable, in its cell if it has one
	for _, v := range x.ups {
		if v.konst != nil {
			continue
		}
		if v.owner != c.fn {
			i := c.upvalue(v)
			take = append(take, func(f *frame) value { return f.fn.ups[i] })
		} else {
			i := v.slot
			take = append(take, func(f *frame) value { return f.slots[i] })
		}
	}
	size := tableBytes + slotBytes*len(take)
	return func(f *frame) value {
		f.e.charge(size)
		fn := &function{proto: p, ups: make([]value, len(take))}
		for i, t := range take {
			fn.ups[i] = t(f)
		}
		return value{ref: fn}
	}
}

func (c *compiler) table(x *tableNode) evalFn {
	type item struct{ key, val evalFn }
	var items []item
	var last manyFn
	fields, elements := 0, 0
	for i, it := range x.items {
		if it.key != nil {
			fields++
			items = append(items, item{c.eval(it.key), c.eval(it.val)})
			continue
		}
		if i == len(x.items)-1 {
			if last = c.multi(it.val); last != nil {
				continue
			}
		}
		elements++
		items = append(items, item{nil, c.eval(it.val)})
	}
	size, line := tableBytes+entryBytes*fields+slotBytes*elements, x.line
	return func(f *frame) value {
		f.e.charge(size)
		t := &table{}
		if elements > 0 {
			t.arr = make([]value, 0, elements)
		}
		if fields > 0 {
			t.list = make([]entry, 0, fields)
		}
		for _, it := range items {
			if it.key == nil {
				t.arr = append(t.arr, it.val(f))
				continue
			}
			k := it.key(f)
			f.checkKey(line, k)
			if v := it.val(f); arrayIndex(k) < 0 || arrayIndex(k) >= len(t.arr) { // an element wins over a key that is its number
				t.setList(k, v)
			}
		}
		if last != nil {
			vals := last(f)
			f.e.charge(slotBytes * len(vals))
			t.arr = append(t.arr, vals...)
		}
		t.settle()
		return value{ref: t}
	}
}

// settle puts a table in order whose array part was filled by hand.
func (t *table) settle() {
	if n := len(t.arr); n > 0 && t.arr[n-1].isNil() {
		t.cut()
	}
	if t.numbers == 0 {
		return
	}
	for i := range t.list { // keys that an element came to have too
		if n := arrayIndex(t.list[i].key); n >= 0 && n < len(t.arr) && !t.list[i].val.isNil() {
			t.list[i].val = nilValue
			t.live--
		}
	}
	if i := t.find(number(float64(len(t.arr) + 1))); i >= 0 && !t.list[i].val.isNil() {
		t.push(t.list[i].key, t.list[i].val)
	}
}

// cut ends an array part whose last element is nil where the reference implementation finds the length of such a table, which is between any element
// and a nil behind it. What is further on is kept by its key.
func (t *table) cut() {
	low, high := 0, len(t.arr) // low is 0 or that of an element, high that of a nil
	for high-low > 1 {
		if mid := (low + high) / 2; t.arr[mid-1].isNil() {
			high = mid
		} else {
			low = mid
		}
	}
	rest := t.arr[low:]
	t.arr = t.arr[:low:low]
	for i, v := range rest {
		if !v.isNil() {
			t.setList(number(float64(low+i+1)), v)
		}
	}
}

func (f *frame) checkKey(line int, k value) {
	if k.isNil() {
		f.failAt(line, "table index is nil")
	}
	if isNaN(k) {
		f.failAt(line, "table index is NaN")
	}
}

func (c *compiler) unary(x *unaryNode) evalFn {
	e, line, what := c.eval(x.e), x.line, c.source(x.e)
	switch x.op {
	case "not":
		cond := c.cond(x.e)
		return func(f *frame) value { return boolean(!cond(f)) }
	case "#":
		return func(f *frame) value {
			v := e(f)
			switch r := v.ref.(type) {
			case *table:
				return number(float64(len(r.arr)))
			case string:
				return number(float64(len(r)))
			}
			f.failAt(line, "attempt to get length of "+describe(what, v))
			return nilValue
		}
	}
	return func(f *frame) value {
		v := e(f)
		if v.isNumber() {
			return number(-v.num)
		}
		return f.arith(line, "-", v, v, "__unm", what, what)
	}
}

// arithmetic operators with their metamethods.
var events = map[token]string{"+": "__add", "-": "__sub", "*": "__mul", "/": "__div", "%": "__mod", "^": "__pow"}

func compute(op token, a, b float64) float64 {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "%":
		return modulo(a, b)
	}
	return math.Pow(a, b)
}

func modulo(a, b float64) float64 { return a - math.Floor(a/b)*b }

// arith is an operator on operands that are not both numbers. A minus before one has it twice.
func (f *frame) arith(line int, op token, a, b value, event, whatA, whatB string) value {
	x, okA := toNumber(a)
	y, okB := toNumber(b)
	if okA && okB {
		if event == "__unm" {
			return number(-x)
		}
		return number(compute(op, x, y))
	}
	f.line = line
	h := f.e.metamethod(a, event)
	if h.isNil() {
		h = f.e.metamethod(b, event)
	}
	if !h.isNil() {
		return f.e.callBack(h, a, b).first()
	}
	if okA || a.kind() == "number" {
		a, whatA = b, whatB
	}
	f.failAt(line, "attempt to perform arithmetic on "+describe(whatA, a))
	return nilValue
}

func (c *compiler) binary(x *binaryNode) evalFn {
	switch x.op {
	case "and":
		l, r := c.eval(x.l), c.eval(x.r)
		return func(f *frame) value {
			if v := l(f); !v.truthy() {
				return v
			}
			return r(f)
		}
	case "or":
		l, r := c.eval(x.l), c.eval(x.r)
		return func(f *frame) value {
			if v := l(f); v.truthy() {
				return v
			}
			return r(f)
		}
	case "..":
		return c.concat(x)
	case "==", "~=", "<", ">", "<=", ">=":
		cond := c.compare(x)
		return func(f *frame) value { return boolean(cond(f)) }
	}
	l, r, op, line := c.eval(x.l), c.eval(x.r), x.op, x.line
	event, whatL, whatR := events[op], c.source(x.l), c.source(x.r)
	switch op {
	case "+":
		return func(f *frame) value {
			a, b := l(f), r(f)
			if a.isNumber() && b.isNumber() {
				return number(a.num + b.num)
			}
			return f.arith(line, op, a, b, event, whatL, whatR)
		}
	case "-":
		return func(f *frame) value {
			a, b := l(f), r(f)
			if a.isNumber() && b.isNumber() {
				return number(a.num - b.num)
			}
			return f.arith(line, op, a, b, event, whatL, whatR)
		}
	case "*":
		return func(f *frame) value {
			a, b := l(f), r(f)
			if a.isNumber() && b.isNumber() {
				return number(a.num * b.num)
			}
			return f.arith(line, op, a, b, event, whatL, whatR)
		}
	}
	return func(f *frame) value {
		a, b := l(f), r(f)
		if a.isNumber() && b.isNumber() {
			return number(compute(op, a.num, b.num))
		}
		return f.arith(line, op, a, b, event, whatL, whatR)
	}
}

// concat compiles a whole chain of the operator at once.
func (c *compiler) concat(x *binaryNode) evalFn {
	var parts []evalFn
	var whats []string
	for {
		parts, whats = append(parts, c.eval(x.l)), append(whats, c.source(x.l))
		next, ok := x.r.(*binaryNode)
		if !ok || next.op != ".." {
			break
		}
		x = next
	}
	parts, whats = append(parts, c.eval(x.r)), append(whats, c.source(x.r))
	line := x.line
	return func(f *frame) value {
		e := f.e
		stack, top := e.stack, e.top
		vals := e.alloc(len(parts))
		for i, p := range parts {
			vals[i] = p(f)
		}
		v := f.join(line, vals, whats)
		e.stack, e.top = stack, top
		return v
	}
}

// join puts values together from the right.
func (f *frame) join(line int, vals []value, whats []string) value {
	size := 0
	for i := range vals {
		switch r := vals[i].ref.(type) {
		case string:
			size += len(r)
		case *tag:
			if r != numberTag {
				return f.joinSlowly(line, vals, whats)
			}
			size += 8
		default:
			return f.joinSlowly(line, vals, whats)
		}
	}
	f.e.charge(size + 16)
	b := f.e.buf[:0]
	for i := range vals {
		if s, ok := vals[i].ref.(string); ok {
			b = append(b, s...)
		} else {
			b = appendNumber(b, vals[i].num)
		}
	}
	f.e.keepBuf(b)
	return str(string(b))
}

// joinSlowly asks metamethods.
func (f *frame) joinSlowly(line int, vals []value, whats []string) value {
	f.line = line
	right := vals[len(vals)-1]
	for i := len(vals) - 2; i >= 0; i-- {
		left := vals[i]
		l, okL := toText(left)
		r, okR := toText(right)
		if okL && okR {
			f.e.charge(len(l) + len(r))
			right = str(l + r)
			continue
		}
		h := f.e.metamethod(left, "__concat")
		if h.isNil() {
			h = f.e.metamethod(right, "__concat")
		}
		if !h.isNil() {
			right = f.e.callBack(h, left, right).first()
			continue
		}
		bad, what := left, whats[i]
		if okL {
			bad, what = right, whats[i+1]
		}
		f.failAt(line, "attempt to concatenate "+describe(what, bad))
	}
	return right
}

// keepBuf keeps a buffer for the next text unless it has become big.
func (e *Engine) keepBuf(b []byte) {
	if cap(b) <= 64<<10 {
		e.buf = b
	}
}
