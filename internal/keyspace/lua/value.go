package lua

// value is one Lua value. The zero value is nil. ref is nil, numberTag, trueTag, falseTag, a string, *table, *function, *coroutine
// or nullTag.
type value struct {
	ref any
	num float64
}

// tag marks kinds of values that are not pointers by themselves. It has a size, so that each has an address of its own.
type tag struct{ name string }

var (
	numberTag = &tag{"number"}
	trueTag   = &tag{"true"}
	falseTag  = &tag{"false"}
	nullTag   = &tag{"null"} // cjson.null, a light userdata
)

var (
	nilValue   = value{}
	trueValue  = value{ref: trueTag}
	falseValue = value{ref: falseTag}
	nullValue  = value{ref: nullTag}
	emptyValue = str("")
)

func number(f float64) value { return value{ref: numberTag, num: f} }

func str(s string) value { return value{ref: s} }

func boolean(b bool) value {
	if b {
		return trueValue
	}
	return falseValue
}

func (v value) isNil() bool { return v.ref == nil }

func (v value) isNumber() bool {
	t, ok := v.ref.(*tag)
	return ok && t == numberTag
}

// truthy is false for nil and false only.
func (v value) truthy() bool {
	if v.ref == nil {
		return false
	}
	t, ok := v.ref.(*tag)
	return !ok || t != falseTag
}

// kind is what type() gives.
func (v value) kind() string {
	switch r := v.ref.(type) {
	case nil:
		return "nil"
	case string:
		return "string"
	case *table:
		return "table"
	case *function:
		return "function"
	case *coroutine:
		return "thread"
	case *tag:
		switch r {
		case numberTag:
			return "number"
		case nullTag:
			return "userdata"
		}
		return "boolean"
	}
	return "userdata"
}

// rawEqual is equality without metamethods.
func rawEqual(a, b value) bool {
	switch r := a.ref.(type) {
	case string:
		s, ok := b.ref.(string)
		return ok && r == s
	case *tag:
		t, ok := b.ref.(*tag)
		return ok && r == t && (r != numberTag || a.num == b.num)
	}
	return a.ref == b.ref
}

// function is a native function, or a Lua function with what it captured.
type function struct {
	name   string // of a native function, as error texts give it
	native func(*frame)
	proto  *proto
	ups    []value // a captured variable that changes is in a *cell
}

// cell holds a captured variable that is assigned to after its declaration.
type cell struct{ v value }
