package lua

// expr is an expression of a parsed script, stmt a statement.
type (
	expr any
	stmt any
)

// variable is a local variable: a parameter, a loop's, or one declared with local.
type variable struct {
	name     string
	owner    *funcNode
	slot     int
	captured bool   // by a function within its own
	assigned bool   // after its declaration
	konst    *value // what it always is, once the compiler knows
	numeric  bool   // the variable of a numeric for, never assigned
}

// boxed variables live in a cell, because a closure must see what is assigned later.
func (v *variable) boxed() bool { return v.captured && v.assigned }

// Expressions.
type (
	constNode struct{ v value }
	localNode struct {
		v    *variable
		line int
	}
	globalNode struct {
		name string
		line int
	}
	varargNode struct{}
	parenNode  struct{ e expr } // one value, whatever is within
	indexNode  struct {
		obj, key expr
		line     int
	}
	callNode struct {
		fn   expr
		args []expr
		line int
	}
	methodNode struct {
		obj  expr
		name string
		args []expr
		line int
	}
	binaryNode struct {
		op   token
		l, r expr
		line int
	}
	unaryNode struct {
		op   token
		e    expr
		line int
	}
	tableNode struct {
		items []itemNode
		line  int
	}
	itemNode struct{ key, val expr } // key nil: the next number
	funcNode struct {
		parent *funcNode
		params []*variable
		vararg bool
		body   []stmt
		line   int
		slots  int
		ups    []*variable // captured from outside, in order
		konst  *function   // what it always is, once the compiler knows
	}
)

// Statements.
type (
	localStmt struct {
		vars []*variable
		vals []expr
	}
	localFuncStmt struct {
		v  *variable
		fn *funcNode
	}
	assignStmt struct {
		targets []expr
		vals    []expr
		line    int
	}
	callStmt  struct{ call expr }
	doStmt    struct{ body []stmt }
	whileStmt struct {
		cond expr
		body []stmt
	}
	repeatStmt struct {
		body []stmt
		cond expr
	}
	ifStmt struct {
		conds  []expr
		bodies [][]stmt // one more than conds if there is an else
	}
	forStmt struct {
		v                 *variable
		start, stop, step expr // step may be nil
		body              []stmt
		line              int
	}
	forInStmt struct {
		vars []*variable
		vals []expr
		body []stmt
		line int
	}
	returnStmt struct{ vals []expr }
	breakStmt  struct{}
)
