package expr

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// This file is how nodes evaluate themselves.

func (n *constant) eval(e *env) (any, error) {
	return n.value, e.charge(1)
}

func (n *path) eval(e *env) (any, error) {
	if err := e.charge(1); err != nil {
		return nil, err
	}
	switch n.root {
	case rootEvent:
		return e.nullIfBound(lookup(e.event, n.keys)), nil
	case rootAsync:
		return lookup(e.async, n.keys), nil
	}
	return unknown{}, nil
}

// nullIfBound turns a missing field of the trigger event into null where the event was bound to the expression.
func (e *env) nullIfBound(v any) any {
	if e.bound && isUnknown(v) {
		return nil
	}
	return v
}

func (n *local) eval(e *env) (any, error) {
	return e.locals[n.slot], e.charge(1)
}

func (n *field) eval(e *env) (any, error) {
	v, err := e.evalStep(n.of)
	if err != nil {
		return nil, err
	}
	v = lookup(v, []string{n.key})
	if ofEvent(n.of) {
		v = e.nullIfBound(v)
	}
	return v, nil
}

func (n *has) eval(e *env) (any, error) {
	v, err := e.evalStep(n.of)
	if err != nil {
		return nil, err
	}
	return !isUnknown(lookup(v, []string{n.key})), nil
}

// evalStep evaluates an operand and pays for the node that asks.
func (e *env) evalStep(n node) (any, error) {
	if err := e.charge(1); err != nil {
		return nil, err
	}
	return n.eval(e)
}

func (n *index) eval(e *env) (any, error) {
	of, err := e.evalStep(n.of)
	if err != nil {
		return nil, err
	}
	key, err := n.key.eval(e)
	if err != nil {
		return nil, err
	}
	v, err := element(of, key)
	if ofEvent(n.of) {
		v = e.nullIfBound(v)
	}
	return v, err
}

// element is of[key]. Names are looked up as leniently as with a dot, positions must exist.
func element(of, key any) (any, error) {
	if absent(of) || absent(key) {
		return unknown{}, nil
	}
	switch of := of.(type) {
	case map[string]any:
		name, err := fieldName(key)
		if err != nil {
			return nil, err
		}
		return lookup(of, []string{name}), nil
	case []any:
		if _, ok := key.(string); ok {
			return unknown{}, nil
		}
		i, ok := asInt(key)
		if !ok {
			return nil, fmt.Errorf("a list has no position of type %s", typeOf(key))
		}
		if i < 0 || i >= int64(len(of)) {
			return nil, fmt.Errorf("position %d is outside a list of %d", i, len(of))
		}
		return of[i], nil
	}
	if _, ok := key.(string); ok {
		return unknown{}, nil
	}
	return nil, fmt.Errorf("cannot index %s", typeOf(of))
}

// fieldName is the name of a field for any type of key that CEL allows: maps are JSON objects here, so {1: "a"} is
// {"1": "a"}.
func fieldName(key any) (string, error) {
	switch key := key.(type) {
	case string, bool, int64:
		return text(key), nil
	case float64:
		if _, ok := integral(key); ok {
			return text(key), nil
		}
	}
	return "", fmt.Errorf("a field has no name of type %s", typeOf(key))
}

// eval returns the first term that is not truthy, or else the last. As CEL has it, a term that decides hides the errors
// of others.
func (n *and) eval(e *env) (any, error) { return e.evalTerms(n.terms, false) }

// eval returns the first term that is truthy, or else the last. As CEL has it, a term that decides hides the errors of
// others.
func (n *or) eval(e *env) (any, error) { return e.evalTerms(n.terms, true) }

func (e *env) evalTerms(terms []node, decisive bool) (any, error) {
	var last any
	var failed error
	for _, term := range terms {
		v, err := e.evalStep(term)
		switch {
		case errors.Is(err, errBudget):
			return nil, err
		case err != nil:
			if failed == nil {
				failed = err
			}
		case truthy(v) == decisive:
			return v, nil
		default:
			last = v
		}
	}
	if failed != nil {
		return nil, failed
	}
	return last, nil
}

// eval gives false for what is absent, not true: that is how the language's users know it.
func (n *not) eval(e *env) (any, error) {
	v, err := e.evalStep(n.operand)
	if err != nil {
		return nil, err
	}
	if absent(v) {
		return false, nil
	}
	b, ok := v.(bool)
	if !ok {
		return nil, fmt.Errorf("! needs a boolean, not %s", typeOf(v))
	}
	return !b, nil
}

func (n *negate) eval(e *env) (any, error) {
	v, err := e.evalStep(n.operand)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case unknown:
		return v, nil
	case int64:
		if v == math.MinInt64 {
			return nil, errOverflow
		}
		return -v, nil
	case float64:
		return -v, nil
	case time.Duration:
		if v == math.MinInt64 {
			return nil, errOverflow
		}
		return -v, nil
	}
	return nil, fmt.Errorf("- needs a number, not %s", typeOf(v))
}

func (n *conditional) eval(e *env) (any, error) {
	test, err := e.evalStep(n.test)
	if err != nil {
		return nil, err
	}
	if truthy(test) {
		return n.yes.eval(e)
	}
	return n.no.eval(e)
}

func (n *array) eval(e *env) (any, error) {
	if err := e.charge(1); err != nil {
		return nil, err
	}
	elems := make([]any, len(n.elems))
	for i, elem := range n.elems {
		v, err := elem.eval(e)
		if err != nil {
			return nil, err
		}
		elems[i] = v
	}
	return elems, nil
}

func (n *object) eval(e *env) (any, error) {
	if err := e.charge(1); err != nil {
		return nil, err
	}
	m := make(map[string]any, len(n.keys))
	for i := range n.keys {
		key, err := n.keys[i].eval(e)
		if err != nil {
			return nil, err
		}
		name, err := fieldName(key)
		if err != nil {
			return nil, err
		}
		if m[name], err = n.values[i].eval(e); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (n *binaryOp) eval(e *env) (any, error) {
	a, err := e.evalStep(n.left)
	if err != nil {
		return nil, err
	}
	b, err := n.right.eval(e)
	if err != nil {
		return nil, err
	}
	switch n.op {
	case "==":
		return wrap(e.equal(a, b))
	case "!=":
		same, err := e.equal(a, b)
		return !same, err
	case "in":
		return wrap(e.in(a, b))
	case "+":
		return e.add(a, b)
	case "-", "*", "/", "%":
		return arithmetic(n.op, a, b)
	}
	order, ordered, err := compare(a, b)
	if err != nil || !ordered {
		return false, err
	}
	if err := e.chargeBytes(len(asString(a))); err != nil {
		return nil, err
	}
	switch n.op {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	default:
		return order >= 0, nil
	}
}

func wrap[T any](v T, err error) (any, error) { return v, err }

func asString(v any) string {
	s, _ := v.(string)
	return s
}

func (e *env) in(v, container any) (bool, error) {
	switch c := container.(type) {
	case nil, unknown:
		return false, nil
	case []any:
		for _, elem := range c {
			if same, err := e.equal(v, elem); err != nil || same {
				return same, err
			}
		}
		return false, nil
	case map[string]any:
		name, err := fieldName(v)
		if err != nil {
			return false, nil // no map has such a key
		}
		_, found := c[name]
		return found, nil
	}
	return false, fmt.Errorf("in needs a list or a map, not %s", typeOf(container))
}

var errOverflow = errors.New("number out of range")

// add is +. An absent operand counts as nothing. Values of different simple types, even an integer and a fraction, are
// joined as text.
func (e *env) add(a, b any) (any, error) {
	switch {
	case absent(a):
		return b, nil
	case absent(b):
		return a, nil
	}
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return checked(a+b, (a+b > a) == (b > 0))
		}
	case float64:
		if b, ok := b.(float64); ok {
			return a + b, nil
		}
	case []any:
		if b, ok := b.([]any); ok {
			joined := append(append(make([]any, 0, len(a)+len(b)), a...), b...)
			return joined, e.charge(len(joined))
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			joined := append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
			return joined, e.chargeBytes(len(joined))
		}
	case time.Time:
		if b, ok := b.(time.Duration); ok {
			return checkedTime(a.Add(b))
		}
	case time.Duration:
		switch b := b.(type) {
		case time.Duration:
			return checked(a+b, (a+b > a) == (b > 0))
		case time.Time:
			return checkedTime(b.Add(a))
		}
	}
	if !simple(a) || !simple(b) || typeOf(a) == "bool" && typeOf(b) == "bool" {
		return nil, fmt.Errorf("cannot add %s and %s", typeOf(a), typeOf(b))
	}
	joined := text(a) + text(b)
	return joined, e.chargeBytes(len(joined))
}

func simple(v any) bool {
	switch v.(type) {
	case bool, int64, float64, string:
		return true
	}
	return false
}

func checked[T int64 | time.Duration](v T, ok bool) (any, error) {
	if !ok {
		return nil, errOverflow
	}
	return v, nil
}

// checkedTime keeps to the years that have a text form.
func checkedTime(t time.Time) (any, error) {
	if t.Year() < 1 || t.Year() > 9999 {
		return nil, errOverflow
	}
	return t, nil
}

// arithmetic is - * / %. A fraction makes the result a fraction; what is computed from a missing field is unknown.
func arithmetic(op string, a, b any) (any, error) {
	if isUnknown(a) || isUnknown(b) {
		return unknown{}, nil
	}
	switch a := a.(type) {
	case int64:
		switch b := b.(type) {
		case int64:
			return integers(op, a, b)
		case float64:
			return fractions(op, float64(a), b)
		}
	case float64:
		switch b := b.(type) {
		case int64:
			return fractions(op, a, float64(b))
		case float64:
			return fractions(op, a, b)
		}
	case time.Time:
		switch b := b.(type) {
		case time.Time:
			if op == "-" {
				return a.Sub(b), nil
			}
		case time.Duration:
			if op == "-" && b != math.MinInt64 {
				return checkedTime(a.Add(-b))
			}
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok && op == "-" {
			return checked(a-b, (a-b < a) == (b > 0))
		}
	}
	return nil, fmt.Errorf("cannot compute %s %s %s", typeOf(a), op, typeOf(b))
}

func integers(op string, a, b int64) (any, error) {
	switch op {
	case "-":
		return checked(a-b, (a-b < a) == (b > 0))
	case "*":
		if a == 0 || b == 0 {
			return int64(0), nil
		}
		overflows := a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64
		return checked(a*b, !overflows && a*b/b == a)
	}
	if b == 0 {
		return nil, errors.New("division by zero")
	}
	if op == "%" {
		return a % b, nil
	}
	return checked(a/b, a != math.MinInt64 || b != -1)
}

func fractions(op string, a, b float64) (any, error) {
	switch op {
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/":
		return a / b, nil
	}
	return nil, errors.New("% needs integers, not double")
}

func (n *matches) eval(e *env) (any, error) {
	v, err := e.evalStep(n.operand)
	if err != nil {
		return nil, err
	}
	if absent(v) {
		return false, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("matches needs text, not %s", typeOf(v))
	}
	return e.match(n.pattern, s)
}

func (n *call) eval(e *env) (any, error) {
	if err := e.charge(1); err != nil {
		return nil, err
	}
	args := make([]any, len(n.args))
	missing := false
	for i, arg := range n.args {
		v, err := arg.eval(e)
		if err != nil {
			return nil, err
		}
		args[i] = v
		missing = missing || absent(v)
	}
	if missing && n.fn.ifAbsent != nil {
		return n.fn.ifAbsent, nil
	}
	v, err := n.fn.call(e, args)
	if err != nil && !errors.Is(err, errBudget) {
		return nil, fmt.Errorf("%s(): %w", n.fn.name, err)
	}
	return v, err
}

// eval visits the elements of a list or the keys of a map in order. Over something absent it is unknown, also for all():
// a condition on items that are not there does not hold.
func (n *comprehension) eval(e *env) (any, error) {
	over, err := e.evalStep(n.over)
	if err != nil {
		return nil, err
	}
	var elems []any
	switch over := over.(type) {
	case nil, unknown:
		return unknown{}, nil
	case []any:
		elems = over
	case map[string]any:
		if err := e.charge(len(over)); err != nil {
			return nil, err
		}
		for _, k := range sortedKeys(over) {
			elems = append(elems, k)
		}
	default:
		return nil, fmt.Errorf("%s() needs a list or a map, not %s", n.macro, typeOf(over))
	}
	switch n.macro {
	case "all":
		return n.quantify(e, elems, false)
	case "exists":
		return n.quantify(e, elems, true)
	case "map", "filter":
		return n.collect(e, elems)
	default:
		one, err := n.collect(e, elems)
		return len(one) == 1, err
	}
}

// quantify returns decisive as soon as the condition has that truth for an element. Errors are hidden as in && and ||.
func (n *comprehension) quantify(e *env, elems []any, decisive bool) (any, error) {
	var failed error
	for _, elem := range elems {
		e.locals[n.slot] = elem
		v, err := e.evalStep(n.filter)
		switch {
		case errors.Is(err, errBudget):
			return nil, err
		case err != nil:
			if failed == nil {
				failed = err
			}
		case truthy(v) == decisive:
			return decisive, nil
		}
	}
	return !decisive, failed
}

// collect returns what is made of the elements that pass the condition.
func (n *comprehension) collect(e *env, elems []any) ([]any, error) {
	out := []any{}
	for _, elem := range elems {
		e.locals[n.slot] = elem
		if n.filter != nil {
			pass, err := e.evalStep(n.filter)
			if err != nil {
				return nil, err
			}
			if !truthy(pass) {
				continue
			}
		}
		if n.result != nil {
			var err error
			if elem, err = e.evalStep(n.result); err != nil {
				return nil, err
			}
		}
		out = append(out, elem)
	}
	return out, nil
}
