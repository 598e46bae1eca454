package expr

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bound is a condition on later events, such as that of a wait, with the event that started the run already filled in.
// It is small, immutable, and safe for concurrent use. The zero value matches nothing.
//
// The conjunction at the top of the expression is taken apart. The first term of the form `async.path == value` whose
// value is a constant or comes from the trigger event becomes the key: a later event can only match if it has that value
// at that path, which costs no evaluation to find out and is what [Index] looks up. The other terms, the rest, are
// evaluated when the key fits, and all that is kept of the trigger event is the fields they mention.
type Bound struct {
	plan  *plan
	key   string // of the value at plan.path, see appendKey; empty if the plan has no path
	event string // JSON of what the rest needs of the trigger event; empty if it needs nothing
}

// plan is how the conjunction of an expression is taken apart. It is shared by all the conditions with that expression:
// there may be a million of them.
type plan struct {
	source string
	term   int      // which term is the key; -1 for none
	path   []string // fields of async that the key is at
	group  string   // path in one piece, equal for equal paths
	rest   bool     // there are other terms

	// Only where an event can be bound, that is not in plans made by ParseBound.
	program *Program
	value   node   // what the path has to be equal to
	needs   fields // of the trigger event, by the rest
}

// noKey is the term of a plan without a key.
const noKey = -1

// planTerms returns a plan for each term of p that could be the key, and last the one without a key.
func planTerms(p *Program) []*plan {
	var plans []*plan
	for i, term := range p.terms {
		if path, value := equality(term); path != nil {
			pl := newPlan(p.source, i, path.keys, len(p.terms) > 1)
			pl.value = value
			plans = append(plans, pl)
		}
	}
	plans = append(plans, newPlan(p.source, noKey, nil, true))
	for _, pl := range plans {
		pl.program = p
		for i, term := range p.terms {
			if i != pl.term {
				pl.needs.addFrom(term)
			}
		}
	}
	return plans
}

func newPlan(source string, term int, path []string, rest bool) *plan {
	pl := &plan{source: source, term: term, path: path, rest: rest}
	var group []byte
	for _, key := range path {
		group = appendText(group, key)
	}
	pl.group = string(group)
	return pl
}

// equality takes `async.path == value` apart, whichever way round it is written. The path is nil for any other term.
func equality(term node) (async *path, value node) {
	n, ok := term.(*binaryOp)
	if !ok || n.op != "==" {
		return nil, nil
	}
	for _, sides := range [...][2]node{{n.left, n.right}, {n.right, n.left}} {
		async, ok := sides[0].(*path)
		if !ok || async.root != rootAsync {
			continue
		}
		switch value := sides[1].(type) {
		case *constant:
			return async, value
		case *path:
			if value.root == rootEvent {
				return async, value
			}
		}
	}
	return nil, nil
}

// Bind fixes the event that started a run into p, to be matched with later events. Fields that event does not have are
// null from here on: in contrast to a plain evaluation, `event.data.id == async.data.id` holds if both are missing, as
// users of cancellations by a field have come to know. now() is the time of matching, so binding has no use for _ today;
// callers pass it so that the durable form can come to depend on it.
func (p *Program) Bind(event any, _ int64) Bound {
	e := env{event: event, bound: true}
	for _, pl := range p.plans {
		var key []byte
		if pl.term != noKey {
			value, err := pl.value.eval(&e)
			var ok bool
			if key, ok = appendKey(nil, value); err != nil || !ok {
				continue // lists and maps are compared by evaluating
			}
		}
		return Bound{plan: pl, key: string(key), event: pl.needs.take(event)}
	}
	panic("BUG: expr: a program without a plan for conditions that have no key")
}

// Match reports whether the later event async fulfils the condition. An error is to be taken for no match.
func (b Bound) Match(async any, now int64) (bool, error) {
	if b.plan == nil || !b.fits(async) {
		return false, nil
	}
	if !b.plan.rest {
		return true, nil
	}
	event, err := b.decodeEvent()
	if err != nil {
		return false, err
	}
	return b.matchRest(event, async, now)
}

// fits reports whether async has what the key asks for.
func (b Bound) fits(async any) bool {
	if b.plan.term == noKey {
		return true
	}
	var buf [64]byte
	key, ok := appendKey(buf[:0], lookup(async, b.plan.path))
	return ok && string(key) == b.key
}

func (b Bound) decodeEvent() (any, error) {
	if b.event == "" {
		return nil, nil
	}
	return ParseJSON([]byte(b.event))
}

// matchRest evaluates all terms but the key. It comes to what the whole expression would: true if every term is truthy
// and the value of the last one, which is the value of the expression, is a boolean.
func (b Bound) matchRest(event, async any, now int64) (bool, error) {
	p, err := b.plan.compiled()
	if err != nil {
		return false, err
	}
	if b.plan.term >= len(p.terms) {
		return false, fmt.Errorf("expression %s has no term %d", abbreviate(b.plan.source), b.plan.term)
	}
	e := env{event: event, async: async, now: now, bound: true}
	var failed error
	for i, term := range p.terms {
		if i == b.plan.term {
			continue
		}
		v, err := p.evalIn(&e, term)
		if err == nil && i == len(p.terms)-1 {
			v, err = wrap(asBool(v))
		}
		switch {
		case errors.Is(err, errBudget):
			return false, err
		case err != nil:
			if failed == nil {
				failed = err
			}
		case !truthy(v):
			return false, nil
		}
	}
	return failed == nil, failed
}

// compiled returns the program, from the cache if the plan was read from its durable form.
func (pl *plan) compiled() (*Program, error) {
	if pl.program != nil {
		return pl.program, nil
	}
	return recovered.programs.Get(pl.source)
}

// recovered shares what conditions read by ParseBound have in common. It holds nothing that could not be made again.
var recovered = struct {
	programs *Cache
	plans    lru[planID, *plan]
}{
	programs: NewCache(1024),
	plans:    lru[planID, *plan]{size: 1024},
}

type planID struct {
	source string
	term   int
}

// boundVersion is the first byte of the durable form of a Bound. After it come the source, the key's term counted from
// 1 (0 for none) and, if there is one, the number of fields in its path, the fields, and the key; then 1 if there is a
// rest, else 0; and the event. Numbers are varints, texts are preceded by their length.
const boundVersion = 1

// Append adds the durable form of b to dst, see [ParseBound].
func (b Bound) Append(dst []byte) []byte {
	pl := b.plan
	if pl == nil {
		return dst // ParseBound reads nothing as the zero value
	}
	dst = appendText(append(dst, boundVersion), pl.source)
	dst = binary.AppendUvarint(dst, uint64(pl.term+1))
	if pl.term != noKey {
		dst = binary.AppendUvarint(dst, uint64(len(pl.path)))
		for _, key := range pl.path {
			dst = appendText(dst, key)
		}
		dst = appendText(dst, b.key)
	}
	dst = append(dst, byte(boolInt(pl.rest)))
	return appendText(dst, b.event)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// ParseBound reads what [Bound.Append] wrote. It compiles nothing: that is left to the first later event with a fitting
// key, and most conditions never meet one.
func ParseBound(raw []byte) (Bound, error) {
	if len(raw) == 0 {
		return Bound{}, nil
	}
	if raw[0] != boundVersion {
		return Bound{}, fmt.Errorf("parse bound expression: version %d is unknown", raw[0])
	}
	r := boundReader{rest: raw[1:]}
	pl := plan{source: string(r.text()), term: int(r.number(maxSource)) - 1}
	var key []byte
	if pl.term != noKey {
		for range r.number(maxSource) {
			if r.bad {
				break
			}
			pl.path = append(pl.path, string(r.text()))
		}
		key = r.text()
	}
	pl.rest = r.number(1) == 1
	event := r.text()
	switch {
	case r.bad || len(r.rest) > 0,
		pl.term == noKey && !pl.rest,
		pl.term != noKey && !validKey(string(key)),
		len(event) > 0 && !json.Valid(event):
		return Bound{}, errors.New("parse bound expression: malformed")
	}
	return Bound{plan: pl.shared(), key: string(key), event: string(event)}, nil
}

// shared returns a plan equal to pl that others use too.
func (pl *plan) shared() *plan {
	fresh := func() *plan { return newPlan(pl.source, pl.term, pl.path, pl.rest) }
	known := recovered.plans.get(planID{pl.source, pl.term}, fresh)
	if known.rest != pl.rest || !slices.Equal(known.path, pl.path) {
		return fresh()
	}
	return known
}

// boundReader takes the durable form apart. After anything malformed it is bad and reads zeros.
type boundReader struct {
	rest []byte
	bad  bool
}

func (r *boundReader) number(limit uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > limit {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *boundReader) text() []byte {
	n := r.number(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// fields are the parts of an event that an expression mentions, as a tree: either all of a value, or some of its fields.
type fields struct {
	all   bool
	some  bool // not empty
	named map[string]*fields
}

// addFrom adds every field of the trigger event that n mentions.
func (f *fields) addFrom(n node) {
	walk(n, func(n node) bool {
		switch n := n.(type) {
		case *path:
			if n.root == rootEvent {
				f.add(n.keys)
			}
		case *has:
			if of, ok := n.of.(*path); ok && of.root == rootEvent {
				f.add(append(slices.Clip(of.keys), n.key))
				return false
			}
		}
		return true
	})
}

func (f *fields) add(keys []string) {
	f.some = true
	for _, key := range keys {
		if f.named == nil {
			f.named = make(map[string]*fields)
		}
		if f.named[key] == nil {
			f.named[key] = &fields{}
		}
		f = f.named[key]
	}
	f.all = true
}

// take returns the JSON of those parts of event, or nothing if there are none.
func (f *fields) take(event any) string {
	if !f.some {
		return ""
	}
	v, ok := f.prune(event)
	if !ok {
		v = nil
	}
	return string(appendJSON(nil, v))
}

// prune returns v with only the wanted fields, and false if it has none of them.
func (f *fields) prune(v any) (any, bool) {
	if f.all {
		return v, true
	}
	m, _ := v.(map[string]any)
	kept := make(map[string]any)
	for key, want := range f.named {
		if field, ok := m[key]; ok {
			if field, ok = want.prune(field); ok {
				kept[key] = field
			}
		}
	}
	return kept, len(kept) > 0
}

// String describes b for logs and tests.
func (b Bound) String() string {
	if b.plan == nil {
		return "nothing"
	}
	var s strings.Builder
	s.WriteString(b.plan.source)
	if b.event != "" {
		fmt.Fprintf(&s, " with event %s", b.event)
	}
	return s.String()
}
