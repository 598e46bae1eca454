package expr

import (
	"errors"
	"regexp"
)

// maxSteps is the budget of one evaluation: a node visited costs a step, as do 64 bytes of text looked through. An
// expression of ordinary length over an ordinary event needs fewer than a hundred.
const maxSteps = 100_000

// errBudget ends an evaluation. Unlike other errors && and || do not swallow it.
var errBudget = errors.New("expression is too costly to evaluate")

// env is what one evaluation works with.
type env struct {
	event, async any
	now          int64 // milliseconds since the epoch
	bound        bool  // missing fields of event are null, see Program.Bind
	steps        int   // used so far
	locals       []any // variables of macros, by depth
}

func (e *env) charge(steps int) error {
	e.steps += steps
	if e.steps > maxSteps {
		return errBudget
	}
	return nil
}

// chargeBytes pays for looking through n bytes.
func (e *env) chargeBytes(n int) error {
	return e.charge(n / 64)
}

// node is a part of an expression. Nodes are immutable once parsed.
type node interface {
	eval(e *env) (any, error)
	// children are the operands in evaluation order.
	children() []node
}

type (
	constant struct{ value any }

	// path is a variable with the fields selected from it: event.data.id. It is by far the most frequent node.
	path struct {
		root root
		keys []string
	}

	// local is the variable of an enclosing macro.
	local struct{ slot int }

	// field selects a field of something that is not a path.
	field struct {
		of  node
		key string
	}

	// has tests for a field.
	has struct {
		of  node
		key string
	}

	index struct{ of, key node }

	// and, or have at least two terms. A chain of the same operator is one node.
	and struct{ terms []node }
	or  struct{ terms []node }

	not    struct{ operand node }
	negate struct{ operand node }

	conditional struct{ test, yes, no node }

	binaryOp struct {
		op          string
		left, right node
	}

	array  struct{ elems []node }
	object struct{ keys, values []node }

	call struct {
		fn   *function
		args []node // of a method the receiver comes first
	}

	// matches is a call of matches() whose pattern is known.
	matches struct {
		operand node
		pattern *regexp.Regexp
	}

	// comprehension is one of the macros over lists.
	comprehension struct {
		macro  string
		over   node
		slot   int  // of the variable
		filter node // condition, or nil
		result node // of map, or nil
	}
)

// root is the variable that a path starts at.
type root uint8

const (
	rootNone  root = iota // a name that does not exist; its value is unknown
	rootEvent             // event
	rootAsync             // async
)

func (n *constant) children() []node    { return nil }
func (n *path) children() []node        { return nil }
func (n *local) children() []node       { return nil }
func (n *field) children() []node       { return []node{n.of} }
func (n *has) children() []node         { return []node{n.of} }
func (n *index) children() []node       { return []node{n.of, n.key} }
func (n *and) children() []node         { return n.terms }
func (n *or) children() []node          { return n.terms }
func (n *not) children() []node         { return []node{n.operand} }
func (n *negate) children() []node      { return []node{n.operand} }
func (n *conditional) children() []node { return []node{n.test, n.yes, n.no} }
func (n *binaryOp) children() []node    { return []node{n.left, n.right} }
func (n *array) children() []node       { return n.elems }
func (n *call) children() []node        { return n.args }
func (n *matches) children() []node     { return []node{n.operand} }

func (n *object) children() []node {
	return append(append([]node(nil), n.keys...), n.values...)
}

func (n *comprehension) children() []node {
	all := []node{n.over}
	if n.filter != nil {
		all = append(all, n.filter)
	}
	if n.result != nil {
		all = append(all, n.result)
	}
	return all
}

// walk calls visit for n and everything below it that visit wants to descend to.
func walk(n node, visit func(node) (descend bool)) {
	if !visit(n) {
		return
	}
	for _, child := range n.children() {
		walk(child, visit)
	}
}

// ofEvent reports whether n is the trigger event or something selected from it.
func ofEvent(n node) bool {
	switch n := n.(type) {
	case *path:
		return n.root == rootEvent
	case *field:
		return ofEvent(n.of)
	case *index:
		return ofEvent(n.of)
	}
	return false
}
