package expr

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"
)

const (
	maxSource = 16 << 10 // bytes of an expression
	maxDepth  = 250      // nesting of parentheses, brackets, arguments and prefixes
)

// parser reads CEL by recursive descent, one method a level of the grammar. It resolves names and expands macros as it
// goes, so that what it returns can be evaluated. The first error sticks and makes everything after it look like the
// end of the source, which lets the methods do without error results.
type parser struct {
	lex   lexer
	tok   token // the next one
	err   error
	depth int
	scope []string // variables of the enclosing macros
	slots int      // the most variables at a time
}

// parse returns the expression and how many macro variables its evaluation needs.
func parse(src string) (node, int, error) {
	if len(src) > maxSource {
		return nil, 0, fmt.Errorf("%d bytes long, at most %d are allowed", len(src), maxSource)
	}
	if !utf8.ValidString(src) {
		return nil, 0, errors.New("not valid UTF-8")
	}
	p := parser{lex: lexer{src: src}}
	p.advance()
	n := p.expr()
	if p.tok.kind != tokEOF {
		p.fail(p.tok.pos, "unexpected %v, want an operator or the end", p.tok)
	}
	return n, p.slots, p.err
}

// fail records the error and returns a node that will never be evaluated.
func (p *parser) fail(pos int, format string, args ...any) node {
	if p.err == nil {
		p.err = syntaxError(pos, format, args...)
	}
	p.tok = token{pos: pos}
	return &constant{}
}

func (p *parser) advance() token {
	tok := p.tok
	if p.err != nil {
		return tok
	}
	next, err := p.lex.next()
	if err != nil {
		p.err = err
	}
	p.tok = next
	return tok
}

func (p *parser) accept(op string) bool {
	if p.tok.kind != tokOp || p.tok.text != op {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(op string) {
	if !p.accept(op) {
		p.fail(p.tok.pos, "unexpected %v, want %q", p.tok, op)
	}
}

// acceptAny accepts one of ops and returns it, or "".
func (p *parser) acceptAny(ops ...string) string {
	if p.tok.kind != tokOp || !slices.Contains(ops, p.tok.text) {
		return ""
	}
	return p.advance().text
}

// enter goes one level deeper, if it may.
func (p *parser) enter() bool {
	if p.depth == maxDepth {
		p.fail(p.tok.pos, "nested more than %d deep", maxDepth)
		return false
	}
	p.depth++
	return true
}

func (p *parser) leave() { p.depth-- }

func (p *parser) expr() node {
	if !p.enter() {
		return nil
	}
	defer p.leave()
	test := p.or()
	if !p.accept("?") {
		return test
	}
	yes := p.or()
	p.expect(":")
	return &conditional{test: test, yes: yes, no: p.expr()}
}

func (p *parser) or() node {
	terms := []node{p.and()}
	for p.accept("||") {
		terms = append(terms, p.and())
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return &or{terms: terms}
}

// and puts a chain into one node even if it was written with parentheses, which are without meaning here.
func (p *parser) and() node {
	first := p.relation()
	if p.tok.kind != tokOp || p.tok.text != "&&" {
		return first
	}
	terms := appendTerms(nil, first)
	for p.accept("&&") {
		terms = appendTerms(terms, p.relation())
	}
	return &and{terms: terms}
}

func appendTerms(terms []node, n node) []node {
	if chain, ok := n.(*and); ok {
		return append(terms, chain.terms...)
	}
	return append(terms, n)
}

func (p *parser) relation() node {
	left := p.sum()
	for {
		op := p.acceptAny("==", "!=", "<", "<=", ">", ">=", "in")
		if op == "" {
			return left
		}
		left = &binaryOp{op: op, left: left, right: p.sum()}
	}
}

func (p *parser) sum() node {
	left := p.product()
	for {
		op := p.acceptAny("+", "-")
		if op == "" {
			return left
		}
		left = &binaryOp{op: op, left: left, right: p.product()}
	}
}

func (p *parser) product() node {
	left := p.unary()
	for {
		op := p.acceptAny("*", "/", "%")
		if op == "" {
			return left
		}
		left = &binaryOp{op: op, left: left, right: p.unary()}
	}
}

// unary reads prefixes. Unlike CEL it lets ! and - follow each other; the result is an error when evaluated.
func (p *parser) unary() node {
	op := p.acceptAny("!", "-")
	if op == "" {
		return p.member()
	}
	if !p.enter() {
		return nil
	}
	defer p.leave()
	if op == "!" {
		return &not{operand: p.unary()}
	}
	return p.negative()
}

// negative reads what follows a minus sign. A number takes the sign into itself, so that the smallest integer can be
// written and a negative number is a constant.
func (p *parser) negative() node {
	tok := p.tok
	if tok.kind == tokInt {
		p.advance()
		return p.selectors(p.integer("-", tok))
	}
	if f, ok := tok.value.(float64); ok {
		p.advance()
		return p.selectors(&constant{value: -f})
	}
	return &negate{operand: p.unary()}
}

func (p *parser) integer(sign string, tok token) node {
	i, err := parseInt(sign, tok)
	if err != nil && p.err == nil {
		p.err = err
	}
	return &constant{value: i}
}

func (p *parser) member() node {
	return p.selectors(p.primary())
}

// selectors reads the fields, positions and methods that follow n.
func (p *parser) selectors(n node) node {
	for {
		switch {
		case p.accept("."):
			n = p.dot(n)
		case p.accept("["):
			key := p.expr()
			p.expect("]")
			n = subscript(n, key)
		default:
			return n
		}
	}
}

func subscript(of, key node) node {
	if c, ok := key.(*constant); ok {
		if name, ok := c.value.(string); ok {
			return selectField(of, name)
		}
	}
	return &index{of: of, key: key}
}

// selectField extends a path in place: nothing else refers to it yet.
func selectField(of node, name string) node {
	if of, ok := of.(*path); ok {
		of.keys = append(of.keys, name)
		return of
	}
	return &field{of: of, key: name}
}

func (p *parser) dot(of node) node {
	name := p.tok
	if name.kind != tokIdent {
		return p.fail(name.pos, "unexpected %v, want a name after the dot", name)
	}
	p.advance()
	switch {
	case p.tok.kind != tokOp || p.tok.text != "(":
		return selectField(of, name.text)
	case isMacro(name.text):
		return p.macro(name, of)
	}
	return p.call(name, of)
}

func (p *parser) primary() node {
	tok := p.tok
	switch tok.kind {
	case tokValue:
		p.advance()
		return &constant{value: tok.value}
	case tokInt:
		p.advance()
		return p.integer("", tok)
	case tokIdent:
		p.advance()
		return p.name(tok)
	case tokOp:
		switch {
		case p.accept("."): // CEL's mark of a global name
			if tok = p.tok; tok.kind != tokIdent {
				return p.fail(tok.pos, "unexpected %v, want a name after the dot", tok)
			}
			p.advance()
			return p.name(tok)
		case p.accept("("):
			n := p.expr()
			p.expect(")")
			return n
		case p.accept("["):
			return &array{elems: p.elements()}
		case p.accept("{"):
			return p.object()
		}
	}
	return p.fail(tok.pos, "unexpected %v, want a value", tok)
}

// elements reads the rest of a list, which may end in a comma.
func (p *parser) elements() []node {
	var elems []node
	for !p.accept("]") {
		elems = append(elems, p.expr())
		if !p.accept(",") {
			p.expect("]")
			break
		}
	}
	return elems
}

// arguments reads the rest of a call, after the parenthesis.
func (p *parser) arguments() []node {
	if p.accept(")") {
		return nil
	}
	args := []node{p.expr()}
	for p.accept(",") {
		args = append(args, p.expr())
	}
	p.expect(")")
	return args
}

func (p *parser) object() node {
	n := &object{}
	for !p.accept("}") {
		n.keys = append(n.keys, p.expr())
		p.expect(":")
		n.values = append(n.values, p.expr())
		if !p.accept(",") {
			p.expect("}")
			break
		}
	}
	return n
}

// reserved words name no variable, though a field may be called so.
var reserved = []string{
	"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "namespace",
	"package", "return", "var", "void", "while",
}

// typeNames are the identifiers that type(x) can be compared with.
var typeNames = []string{
	"bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "type",
}

// name resolves an identifier: a function, a macro's variable, one of ours, or else something unknown.
func (p *parser) name(tok token) node {
	if slices.Contains(reserved, tok.text) {
		return p.fail(tok.pos, "%q is a reserved word", tok.text)
	}
	if p.tok.kind == tokOp && p.tok.text == "(" {
		if tok.text == "has" {
			return p.has(tok)
		}
		return p.call(tok, nil)
	}
	for slot := len(p.scope) - 1; slot >= 0; slot-- {
		if p.scope[slot] == tok.text {
			return &local{slot: slot}
		}
	}
	switch {
	case tok.text == "event":
		return &path{root: rootEvent}
	case tok.text == "async":
		return &path{root: rootAsync}
	case tok.text == "uint":
		return &constant{value: typeName("int")}
	case slices.Contains(typeNames, tok.text):
		return &constant{value: typeName(tok.text)}
	}
	return &path{root: rootNone}
}

func (p *parser) has(name token) node {
	p.expect("(")
	of := p.expr()
	p.expect(")")
	switch of := of.(type) {
	case *path:
		if last := len(of.keys) - 1; last >= 0 {
			return &has{of: &path{root: of.root, keys: of.keys[:last]}, key: of.keys[last]}
		}
	case *field:
		return &has{of: of.of, key: of.key}
	}
	return p.fail(name.pos, "has() needs a field, as in has(event.data.id)")
}

func isMacro(name string) bool {
	switch name {
	case "all", "exists", "exists_one", "existsOne", "filter", "map":
		return true
	}
	return false
}

// macro reads the arguments of a macro called on over: a variable and what is computed with it.
func (p *parser) macro(name token, over node) node {
	p.expect("(")
	variable := p.tok
	if variable.kind != tokIdent || slices.Contains(reserved, variable.text) {
		return p.fail(variable.pos, "unexpected %v, %s() needs the name of a variable first", variable, name.text)
	}
	p.advance()
	p.expect(",")
	n := &comprehension{macro: name.text, over: over, slot: len(p.scope)}
	p.scope = append(p.scope, variable.text)
	p.slots = max(p.slots, len(p.scope))
	args := p.arguments()
	p.scope = p.scope[:n.slot]
	switch {
	case len(args) == 1 && name.text == "map":
		n.result = args[0]
	case len(args) == 2 && name.text == "map":
		n.filter, n.result = args[0], args[1]
	case len(args) == 1:
		n.filter = args[0]
	default:
		return p.fail(name.pos, "%s() has too many or too few arguments", name.text)
	}
	return n
}

// call reads the arguments of a function, or of a method if receiver is not nil.
func (p *parser) call(name token, receiver node) node {
	p.expect("(")
	args := p.arguments()
	fn := functions[name.text]
	if receiver != nil {
		args = append([]node{receiver}, args...)
	}
	switch {
	case fn == nil:
		return p.fail(name.pos, "unknown function %s()", name.text)
	case receiver != nil && !fn.method:
		return p.fail(name.pos, "%s() is not a method, write %s(x)", name.text, name.text)
	case receiver == nil && !fn.global:
		return p.fail(name.pos, "%s() is a method, write x.%s(…)", name.text, name.text)
	case len(args) < fn.minArgs || len(args) > fn.maxArgs:
		return p.fail(name.pos, "%s() has too many or too few arguments", name.text)
	}
	if fn == functions["matches"] {
		return p.matches(name, args)
	}
	return &call{fn: fn, args: args}
}

// matches compiles a pattern that is known now, so that a wrong one is an error of the expression.
func (p *parser) matches(name token, args []node) node {
	c, ok := args[1].(*constant)
	if !ok {
		return &call{fn: functions["matches"], args: args}
	}
	pattern, ok := c.value.(string)
	if !ok {
		return p.fail(name.pos, "matches() needs a pattern, not %s", typeOf(c.value))
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return p.fail(name.pos, "matches(): %v", err)
	}
	return &matches{operand: args[0], pattern: re}
}
