package expr

import (
	"errors"
	"fmt"
)

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	source string
	root   node
	slots  int

	// For conditions that are bound to an event, see bind.go.
	terms []node
	plans []*plan
}

// Vars are the values that an evaluation sees. Events are in the form that [ParseJSON] returns, and are not changed.
type Vars struct {
	Event any   // the event; of a wait or a cancellation, the one that started the run
	Async any   // the event that arrives later, where there is one
	Now   int64 // what now() returns, in milliseconds since the epoch
}

// Compile parses src. The error says what is wrong and where; it means that the user has to change the expression.
// Variables that do not exist are not an error, they are as unknown as a missing field.
func Compile(src string) (*Program, error) {
	root, slots, err := parse(src)
	if err != nil {
		return nil, fmt.Errorf("expression %s: %w", abbreviate(src), err)
	}
	p := &Program{source: src, root: root, slots: slots, terms: appendTerms(nil, root)}
	p.plans = planTerms(p)
	return p, nil
}

// abbreviate quotes src for an error message.
func abbreviate(src string) string {
	const limit = 100
	if len(src) > limit {
		return fmt.Sprintf("%q…", src[:limit])
	}
	return fmt.Sprintf("%q", src)
}

// Source returns the text that the program was compiled from.
func (p *Program) Source() string { return p.source }

// Bool evaluates p where a yes or no is needed: trigger filters, conditions of batches. Unknown is false. A result that
// is not a boolean is an error, which the caller is to take for no match.
func (p *Program) Bool(v Vars) (bool, error) {
	result, err := p.eval(v)
	if err != nil {
		return false, err
	}
	return asBool(result)
}

func asBool(v any) (bool, error) {
	switch v := v.(type) {
	case unknown:
		return false, nil
	case bool:
		return v, nil
	}
	return false, fmt.Errorf("the expression gives %s where a boolean is needed", typeOf(v))
}

// Key is the result of an expression that names a bucket of flow control.
type Key struct {
	Text  string // names the bucket
	Null  bool   // the result is null: for a debounce the same as having no key
	False bool   // the result is false or unknown: rate limits and singletons do not apply to the event
}

// Key evaluates p as a key. Text stands for itself, numbers and booleans for how they print, lists and maps for their
// JSON with sorted keys. Unknown is the key "false".
func (p *Program) Key(v Vars) (Key, error) {
	result, err := p.eval(v)
	if err != nil {
		return Key{}, err
	}
	switch result {
	case nil:
		return Key{Text: "null", Null: true}, nil
	case unknown{}, false:
		return Key{Text: "false", False: true}, nil
	}
	return Key{Text: text(result)}, nil
}

// Int evaluates p as an integer, with ok false if it does not give one.
func (p *Program) Int(v Vars) (n int64, ok bool) {
	result, err := p.eval(v)
	if err != nil {
		return 0, false
	}
	return asInt(result)
}

func (p *Program) eval(v Vars) (any, error) {
	e := env{event: v.Event, async: v.Async, now: v.Now}
	return p.evalIn(&e, p.root)
}

func (p *Program) evalIn(e *env, n node) (any, error) {
	if p.slots > 0 && e.locals == nil {
		e.locals = make([]any, p.slots)
	}
	return n.eval(e)
}

// PlainLogic reports whether p keeps to what conditions of cancellations may use: comparisons, logic, arithmetic, has(),
// size() and conversions between plain types, but no macros over lists and no functions of text or time. The error
// names what is not allowed.
func (p *Program) PlainLogic() error {
	var found error
	walk(p.root, func(n node) bool {
		if found != nil {
			return false
		}
		switch n := n.(type) {
		case *comprehension:
			found = notPlain(n.macro, "a macro over lists")
		case *matches:
			found = notPlain("matches", "a string function")
		case *call:
			if n.fn.class != classPlain {
				found = notPlain(n.fn.name, fmt.Sprintf("a %s function", n.fn.class))
			}
		}
		return found == nil
	})
	if found != nil {
		return fmt.Errorf("expression %s: %w", abbreviate(p.source), found)
	}
	return nil
}

// errNotPlain is wrapped by every error of PlainLogic.
var errNotPlain = errors.New("only comparisons and logic are allowed here")

func notPlain(name, kind string) error {
	return fmt.Errorf("%s() is %s: %w", name, kind, errNotPlain)
}
