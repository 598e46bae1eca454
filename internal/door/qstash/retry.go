package qstash

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxWait is the longest wait before another attempt, whatever asks for it: section 7.3.
const maxWait = 24 * time.Hour

const (
	maxExpr      = 1 << 10 // bytes of a retry-delay expression
	maxExprDepth = 64      // nesting of its parentheses, calls and signs
)

// delayExpr is an expression that gives the wait before the next attempt: section 3.3.
type delayExpr struct {
	eval number
}

// number computes a value from the number of retries already made.
type number func(retried float64) float64

// compileDelay reads the arithmetic of section 3.3.
func compileDelay(src string) (*delayExpr, error) {
	if len(src) > maxExpr {
		return nil, fmt.Errorf("expression of %d bytes; at most %d are allowed", len(src), maxExpr)
	}
	p := exprParser{src: src}
	eval, err := p.sum()
	if p.peek(); err == nil && p.pos < len(src) {
		err = p.unexpected()
	}
	if err != nil {
		return nil, err
	}
	return &delayExpr{eval}, nil
}

// millis is the wait after so many retries. What is no wait at all, below zero or not a number, is none.
func (e *delayExpr) millis(retried int) int64 {
	v := e.eval(float64(retried))
	if !(v > 0) {
		return 0
	}
	return int64(math.Round(min(v, float64(maxWait.Milliseconds()))))
}

// exprParser goes down one level of precedence with each method.
type exprParser struct {
	src   string
	pos   int
	depth int
}

// peek goes to the next byte that is no blank; 0 is the end, or a byte that means nothing either.
func (p *exprParser) peek() byte {
	for p.pos < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.pos]) >= 0 {
		p.pos++
	}
	if p.pos == len(p.src) {
		return 0
	}
	return p.src[p.pos]
}

// take consumes the next byte if it is c.
func (p *exprParser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

func (p *exprParser) unexpected() error {
	if p.peek(); p.pos == len(p.src) {
		return fmt.Errorf("expression %q ends too early", p.src)
	}
	return fmt.Errorf("expression %q is not understood from %q on", p.src, p.src[p.pos:])
}

func (p *exprParser) sum() (number, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxExprDepth {
		return nil, fmt.Errorf("expression is nested deeper than %d", maxExprDepth)
	}
	return p.binary("+-", func() (number, error) { return p.binary("*/%", p.unary) })
}

// binary reads operands with any of the operators between them, which bind from the left.
func (p *exprParser) binary(operators string, operand func() (number, error)) (number, error) {
	left, err := operand()
	for err == nil {
		op := p.peek()
		if op == 0 || strings.IndexByte(operators, op) < 0 {
			break
		}
		p.pos++
		var right number
		if right, err = operand(); err == nil {
			left = apply(op, left, right)
		}
	}
	return left, err
}

func apply(op byte, a, b number) number {
	switch op {
	case '+':
		return func(r float64) float64 { return a(r) + b(r) }
	case '-':
		return func(r float64) float64 { return a(r) - b(r) }
	case '*':
		return func(r float64) float64 { return a(r) * b(r) }
	case '/':
		return func(r float64) float64 { return a(r) / b(r) }
	default:
		return func(r float64) float64 { return math.Mod(a(r), b(r)) }
	}
}

func (p *exprParser) unary() (number, error) {
	negative := false
	for p.take('-') {
		negative = !negative
	}
	v, err := p.primary()
	if err != nil || !negative {
		return v, err
	}
	return func(r float64) float64 { return -v(r) }, nil
}

func (p *exprParser) primary() (number, error) {
	switch c := p.peek(); {
	case c == '(':
		p.pos++
		v, err := p.sum()
		if err == nil && !p.take(')') {
			err = p.unexpected()
		}
		return v, err
	case c >= '0' && c <= '9' || c == '.':
		return p.literal()
	case isAlphanumeric(c):
		return p.named()
	}
	return nil, p.unexpected()
}

func (p *exprParser) literal() (number, error) {
	n := digits(p.src[p.pos:])
	if p.pos+n < len(p.src) && p.src[p.pos+n] == '.' {
		n++
		n += digits(p.src[p.pos+n:])
	}
	// Out of range is an infinity, which is as good as any number above the longest wait.
	v, err := strconv.ParseFloat(p.src[p.pos:p.pos+n], 64)
	if err != nil && !math.IsInf(v, 0) {
		return nil, p.unexpected()
	}
	p.pos += n
	return func(float64) float64 { return v }, nil
}

// named reads the variable or a call.
func (p *exprParser) named() (number, error) {
	start := p.pos
	for p.pos < len(p.src) && isAlphanumeric(p.src[p.pos]) {
		p.pos++
	}
	name := p.src[start:p.pos]
	if name == "retried" {
		return func(r float64) float64 { return r }, nil
	}
	f1, one := unaryFuncs[name]
	f2, two := binaryFuncs[name]
	if !one && !two {
		return nil, fmt.Errorf("expression %q: %s is not known; known are retried and the functions pow, sqrt, abs, exp, floor, ceil, round, min and max", p.src, name)
	}
	args, err := p.args()
	switch {
	case err != nil:
		return nil, err
	case one && len(args) == 1:
		a := args[0]
		return func(r float64) float64 { return f1(a(r)) }, nil
	case two && len(args) == 2, two && len(args) > 2 && name != "pow":
		return fold(f2, args), nil
	}
	return nil, fmt.Errorf("expression %q: %s with %d arguments", p.src, name, len(args))
}

var (
	unaryFuncs = map[string]func(float64) float64{
		"sqrt": math.Sqrt, "abs": math.Abs, "exp": math.Exp, "floor": math.Floor, "ceil": math.Ceil, "round": math.Round,
	}
	// binaryFuncs take two arguments; min and max more.
	binaryFuncs = map[string]func(a, b float64) float64{"pow": math.Pow, "min": math.Min, "max": math.Max}
)

func fold(f func(a, b float64) float64, args []number) number {
	return func(r float64) float64 {
		v := args[0](r)
		for _, a := range args[1:] {
			v = f(v, a(r))
		}
		return v
	}
}

// args reads what a function is called with, including the parentheses.
func (p *exprParser) args() ([]number, error) {
	if !p.take('(') {
		return nil, p.unexpected()
	}
	var args []number
	for {
		v, err := p.sum()
		if err != nil {
			return nil, err
		}
		args = append(args, v)
		if p.take(')') {
			return args, nil
		}
		if !p.take(',') {
			return nil, p.unexpected()
		}
	}
}

// defaultBackoff is the wait before retry n, counted from 1, if nothing else says how long: section 7.3.
func defaultBackoff(n int) time.Duration {
	seconds := min(math.Exp(2.5*float64(n)), maxWait.Seconds())
	return time.Duration(math.Round(seconds*1000)) * time.Millisecond
}

// retryHeaders are the headers of a response that say when to come again, the first one first: section 7.3.
var retryHeaders = []string{"Retry-After", "X-RateLimit-Reset", "X-RateLimit-Reset-Requests", "X-RateLimit-Reset-Tokens"}

// retryAfter is the wait that a response asks for, if it asks for one of at most a day: section 7.3. The point in time
// that some servers give as seconds since 1970 is more than that, so it does not count.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	for _, name := range retryHeaders {
		if d, ok := parseRetryAfter(strings.TrimSpace(h.Get(name)), now); ok && d >= 0 && d <= maxWait {
			return d, true
		}
	}
	return 0, false
}

// parseRetryAfter reads seconds, a date or a duration in Go's notation. A date that has passed means now.
func parseRetryAfter(s string, now time.Time) (time.Duration, bool) {
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0), true
	}
	if n := digits(s); n > 0 && strings.Trim(s[n:], ".0123456789") == "" {
		s += "s"
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}
