package lua

import "fmt"

const (
	maxLocals   = 200
	maxUpvalues = 60
	maxNesting  = 200   // of the source, so that parsing has a bound
	maxChain    = 5_000 // operators, members and calls in a row
)

// parser reads Lua 5.1 by recursive descent and resolves names to variables on the way.
type parser struct {
	lex    lexer
	tok    lexeme
	ahead  *lexeme
	last   int // line of the token before tok
	fn     *funcNode
	scope  *scope
	locals int // active in fn
	loops  int // around the current statement, in fn
	depth  int
}

type scope struct {
	outer *scope
	fn    *funcNode
	vars  []*variable
	slots int // of fn that are taken before this scope
}

// parse reads a chunk. Its function takes any arguments.
func parse(chunk, src string) (fn *funcNode, err error) {
	p := &parser{lex: lexer{chunk: chunk, src: src, line: 1}, last: 1}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%s", e.text)
		}
	}()
	p.next()
	fn = &funcNode{vararg: true}
	p.fn = fn
	p.open()
	fn.body = p.block()
	p.expect(tokenEnd)
	return fn, nil
}

func (p *parser) next() {
	p.last = p.tok.line
	if p.ahead != nil {
		p.tok, p.ahead = *p.ahead, nil
		return
	}
	p.tok = p.lex.next()
}

func (p *parser) peek() token {
	if p.ahead == nil {
		t := p.lex.next()
		p.ahead = &t
	}
	return p.ahead.token
}

func (p *parser) fail(msg string) { p.lex.fail(p.tok.line, msg, p.tok.raw) }

func (p *parser) accept(t token) bool {
	if p.tok.token == t {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(t token) {
	if !p.accept(t) {
		p.fail("'" + string(t) + "' expected")
	}
}

// match expects what closes an earlier token.
func (p *parser) match(what, who token, line int) {
	if p.accept(what) {
		return
	}
	if line == p.tok.line {
		p.fail("'" + string(what) + "' expected")
	}
	p.fail(fmt.Sprintf("'%s' expected (to close '%s' at line %d)", what, who, line))
}

func (p *parser) name() string {
	if p.tok.token != tokenName {
		p.fail("'<name>' expected")
	}
	s := p.tok.text
	p.next()
	return s
}

func (p *parser) enter() {
	p.depth++
	if p.depth > maxNesting {
		p.lex.fail(p.tok.line, "chunk has too many syntax levels", "")
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) open() {
	s := &scope{outer: p.scope, fn: p.fn}
	if p.scope != nil && p.scope.fn == p.fn {
		s.slots = p.scope.slots + len(p.scope.vars)
	}
	p.scope = s
}

func (p *parser) close() {
	p.locals -= len(p.scope.vars)
	p.scope = p.scope.outer
}

// declare makes a variable visible from here on.
func (p *parser) declare(v *variable) *variable {
	if p.locals++; p.locals > maxLocals {
		p.limit(maxLocals, "local variables")
	}
	v.owner, v.slot = p.fn, p.scope.slots+len(p.scope.vars)
	p.scope.vars = append(p.scope.vars, v)
	p.fn.slots = max(p.fn.slots, v.slot+1)
	return v
}

func (p *parser) limit(n int, what string) {
	where := "main function"
	if p.fn.line > 0 {
		where = fmt.Sprintf("function at line %d", p.fn.line)
	}
	p.lex.fail(p.tok.line, fmt.Sprintf("%s has more than %d %s", where, n, what), "")
}

// resolve finds the variable that a name means, nil for a global, and notes which functions capture it.
func (p *parser) resolve(name string) *variable {
	for s := p.scope; s != nil; s = s.outer {
		for i := len(s.vars) - 1; i >= 0; i-- {
			if s.vars[i].name == name {
				p.capture(s.vars[i])
				return s.vars[i]
			}
		}
	}
	return nil
}

func (p *parser) capture(v *variable) {
	for fn := p.fn; fn != v.owner; fn = fn.parent {
		v.captured = true
		if fn.upvalue(v) < 0 {
			fn.ups = append(fn.ups, v)
			if len(fn.ups) > maxUpvalues {
				p.limit(maxUpvalues, "upvalues")
			}
		}
	}
}

func (fn *funcNode) upvalue(v *variable) int {
	for i, u := range fn.ups {
		if u == v {
			return i
		}
	}
	return -1
}

func (p *parser) variable(name string, line int) expr {
	if v := p.resolve(name); v != nil {
		return &localNode{v, line}
	}
	return &globalNode{name, line}
}

// blockEnds says that no statement of the current block can begin here.
func (p *parser) blockEnds() bool {
	switch p.tok.token {
	case tokenEnd, "end", "else", "elseif", "until":
		return true
	}
	return false
}

// block reads statements in the current scope.
func (p *parser) block() []stmt {
	p.enter()
	defer p.leave()
	var list []stmt
	for !p.blockEnds() {
		s, last := p.statement()
		list = append(list, s)
		p.accept(";")
		if last {
			break
		}
	}
	return list
}

func (p *parser) scoped() []stmt {
	p.open()
	defer p.close()
	return p.block()
}

func (p *parser) loop() []stmt {
	p.loops++
	defer func() { p.loops-- }()
	return p.scoped()
}

// statement reads one statement; last says that it must end its block.
func (p *parser) statement() (s stmt, last bool) {
	line := p.tok.line
	switch p.tok.token {
	case "if":
		return p.ifStatement(line), false
	case "while":
		p.next()
		cond := p.expression()
		p.expect("do")
		body := p.loop()
		p.match("end", "while", line)
		return &whileStmt{cond, body}, false
	case "do":
		p.next()
		body := p.scoped()
		p.match("end", "do", line)
		return &doStmt{body}, false
	case "for":
		return p.forStatement(line), false
	case "repeat":
		return p.repeatStatement(line), false
	case "function":
		return p.functionStatement(line), false
	case "local":
		p.next()
		if p.accept("function") {
			v := p.declare(&variable{name: p.name()})
			return &localFuncStmt{v, p.function(line, false)}, false
		}
		return p.localStatement(), false
	case "return":
		p.next()
		var vals []expr
		if !p.blockEnds() && p.tok.token != ";" {
			vals = p.expressions()
		}
		return &returnStmt{vals}, true
	case "break":
		p.next()
		if p.loops == 0 {
			p.fail("no loop to break")
		}
		return &breakStmt{}, true
	}
	return p.expressionStatement(line), false
}

func (p *parser) ifStatement(line int) stmt {
	s := &ifStmt{}
	for {
		p.next()
		s.conds = append(s.conds, p.expression())
		p.expect("then")
		s.bodies = append(s.bodies, p.scoped())
		if p.tok.token != "elseif" {
			break
		}
	}
	if p.accept("else") {
		s.bodies = append(s.bodies, p.scoped())
	}
	p.match("end", "if", line)
	return s
}

func (p *parser) forStatement(line int) stmt {
	p.next()
	first := p.name()
	switch p.tok.token {
	case "=":
		p.next()
		s := &forStmt{start: p.expression(), line: line}
		p.expect(",")
		s.stop = p.expression()
		if p.accept(",") {
			s.step = p.expression()
		}
		p.expect("do")
		p.open()
		defer p.close()
		s.v = p.declare(&variable{name: first, numeric: true})
		s.body = p.loop()
		p.match("end", "for", line)
		return s
	case ",", "in":
		names := []string{first}
		for p.accept(",") {
			names = append(names, p.name())
		}
		p.expect("in")
		s := &forInStmt{vals: p.expressions(), line: line}
		p.expect("do")
		p.open()
		defer p.close()
		for _, n := range names {
			s.vars = append(s.vars, p.declare(&variable{name: n}))
		}
		s.body = p.loop()
		p.match("end", "for", line)
		return s
	}
	p.fail("'=' or 'in' expected")
	return nil
}

func (p *parser) repeatStatement(line int) stmt {
	p.next()
	p.loops++
	p.open() // the condition sees the locals of the body
	defer p.close()
	s := &repeatStmt{body: p.block()}
	p.loops--
	p.match("until", "repeat", line)
	s.cond = p.expression()
	return s
}

func (p *parser) functionStatement(line int) stmt {
	p.next()
	target := p.variable(p.name(), line)
	method := false
	for p.tok.token == "." || p.tok.token == ":" {
		method = p.tok.token == ":"
		p.next()
		target = &indexNode{target, &constNode{str(p.name())}, line}
		if method {
			break
		}
	}
	p.markAssigned(target)
	return &assignStmt{[]expr{target}, []expr{p.function(line, method)}, line}
}

func (p *parser) localStatement() stmt {
	var names []string
	for {
		names = append(names, p.name())
		if !p.accept(",") {
			break
		}
	}
	s := &localStmt{}
	if p.accept("=") {
		s.vals = p.expressions()
	}
	for _, n := range names {
		s.vars = append(s.vars, p.declare(&variable{name: n}))
	}
	return s
}

func (p *parser) markAssigned(target expr) {
	if l, ok := target.(*localNode); ok {
		l.v.assigned, l.v.numeric = true, false
	}
}

func (p *parser) expressionStatement(line int) stmt {
	e := p.suffixed()
	switch e.(type) {
	case *callNode, *methodNode:
		if p.tok.token != "=" && p.tok.token != "," {
			return &callStmt{e}
		}
		p.fail("unexpected symbol")
	}
	targets := []expr{e}
	for p.accept(",") {
		targets = append(targets, p.suffixed())
	}
	for _, t := range targets {
		switch t.(type) {
		case *localNode, *globalNode, *indexNode:
			p.markAssigned(t)
		default:
			p.fail("unexpected symbol")
		}
	}
	p.expect("=")
	return &assignStmt{targets, p.expressions(), line}
}

func (p *parser) expressions() []expr {
	list := []expr{p.expression()}
	for p.accept(",") {
		list = append(list, p.expression())
	}
	return list
}

// function reads parameters and body; the keyword has been read.
func (p *parser) function(line int, method bool) *funcNode {
	fn := &funcNode{parent: p.fn, line: line}
	locals, loops := p.locals, p.loops
	p.fn, p.locals, p.loops = fn, 0, 0
	p.open()
	if method {
		fn.params = append(fn.params, p.declare(&variable{name: "self"}))
	}
	p.expect("(")
	for p.tok.token != ")" {
		switch p.tok.token {
		case tokenName:
			fn.params = append(fn.params, p.declare(&variable{name: p.name()}))
		case "...":
			p.next()
			fn.vararg = true
		default:
			p.fail("<name> or '...' expected")
		}
		if fn.vararg || !p.accept(",") {
			break
		}
		if p.tok.token == ")" {
			p.fail("<name> or '...' expected")
		}
	}
	p.expect(")")
	fn.body = p.block()
	p.match("end", "function", line)
	p.close()
	p.fn, p.locals, p.loops = fn.parent, locals, loops
	return fn
}
