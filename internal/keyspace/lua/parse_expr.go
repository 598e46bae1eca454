package lua

// priorities of the binary operators, left and right; .. and ^ are right associative.
var priorities = map[token][2]int{
	"or": {1, 1}, "and": {2, 2}, "<": {3, 3}, ">": {3, 3}, "<=": {3, 3}, ">=": {3, 3}, "~=": {3, 3}, "==": {3, 3},
	"..": {5, 4}, "+": {6, 6}, "-": {6, 6}, "*": {7, 7}, "/": {7, 7}, "%": {7, 7}, "^": {10, 9},
}

const unaryPriority = 8

func (p *parser) expression() expr { return p.binary(0) }

// binary reads an expression of operators that bind more strongly than limit.
func (p *parser) binary(limit int) expr {
	p.enter()
	defer p.leave()
	var left expr
	switch op := p.tok.token; op {
	case "not", "-", "#":
		line := p.tok.line
		p.next()
		left = fold(&unaryNode{op, p.binary(unaryPriority), line})
	default:
		left = p.simple()
	}
	for n := 0; ; n++ {
		op := p.tok.token
		prio, ok := priorities[op]
		if !ok || prio[0] <= limit {
			return left
		}
		p.bound(n)
		line := p.tok.line
		p.next()
		left = &binaryNode{op, left, p.binary(prio[1]), line}
	}
}

// bound limits chains that are no deeper in the source but are in the tree.
func (p *parser) bound(n int) {
	if n > maxChain {
		p.lex.fail(p.tok.line, "chunk has too many syntax levels", "")
	}
}

// fold makes a constant of a minus before a number.
func fold(u *unaryNode) expr {
	if c, ok := u.e.(*constNode); ok && u.op == "-" && c.v.isNumber() {
		return &constNode{number(-c.v.num)}
	}
	return u
}

func (p *parser) simple() expr {
	t := p.tok
	switch t.token {
	case tokenNumber:
		p.next()
		return &constNode{number(t.num)}
	case tokenString:
		p.next()
		return &constNode{str(t.text)}
	case "nil":
		p.next()
		return &constNode{nilValue}
	case "true":
		p.next()
		return &constNode{trueValue}
	case "false":
		p.next()
		return &constNode{falseValue}
	case "...":
		if !p.fn.vararg {
			p.fail("cannot use '...' outside a vararg function")
		}
		p.next()
		return &varargNode{}
	case "{":
		return p.table()
	case "function":
		p.next()
		return p.function(t.line, false)
	}
	return p.suffixed()
}

// suffixed reads a name or an expression in parentheses with the indexes and calls that follow it.
func (p *parser) suffixed() expr {
	line := p.tok.line
	var e expr
	switch p.tok.token {
	case tokenName:
		e = p.variable(p.name(), line)
	case "(":
		p.next()
		e = p.expression()
		p.match(")", "(", line)
		switch e.(type) {
		case *callNode, *methodNode, *varargNode, *localNode, *globalNode, *indexNode: // neither several values nor something to assign to
			e = &parenNode{e}
		}
	default:
		p.fail("unexpected symbol")
	}
	for n := 0; ; n++ {
		p.bound(n)
		switch p.tok.token {
		case ".":
			line := p.tok.line
			p.next()
			e = &indexNode{e, &constNode{str(p.name())}, line}
		case "[":
			line := p.tok.line
			p.next()
			key := p.expression()
			p.expect("]")
			e = &indexNode{e, key, line}
		case ":":
			p.next()
			name := p.name()
			args, line := p.arguments()
			e = &methodNode{e, name, args, line}
		case "(", tokenString, "{":
			args, line := p.arguments()
			e = &callNode{e, args, line}
		default:
			return e
		}
	}
}

func (p *parser) arguments() ([]expr, int) {
	line := p.tok.line
	switch p.tok.token {
	case tokenString:
		s := p.tok.text
		p.next()
		return []expr{&constNode{str(s)}}, line
	case "{":
		return []expr{p.table()}, line
	case "(":
		if line != p.last {
			p.fail("ambiguous syntax (function call x new statement)")
		}
		p.next()
		if p.accept(")") {
			return nil, line
		}
		args := p.expressions()
		p.match(")", "(", line)
		return args, line
	}
	p.fail("function arguments expected")
	return nil, 0
}

func (p *parser) table() expr {
	t := &tableNode{line: p.tok.line}
	p.enter()
	defer p.leave()
	p.expect("{")
	for p.tok.token != "}" {
		var it itemNode
		switch {
		case p.tok.token == tokenName && p.peek() == "=":
			it.key = &constNode{str(p.name())}
			p.next()
			it.val = p.expression()
		case p.tok.token == "[":
			p.next()
			it.key = p.expression()
			p.expect("]")
			p.expect("=")
			it.val = p.expression()
		default:
			it.val = p.expression()
		}
		t.items = append(t.items, it)
		if !p.accept(",") && !p.accept(";") {
			break
		}
	}
	p.match("}", "{", t.line)
	return t
}
