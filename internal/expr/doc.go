// Package expr evaluates the CEL expressions that functions carry: trigger filters, keys of flow control, conditions of
// waits and cancellations.
//
// The language is CEL, its semantics are looser. Events have no schema, so a field that is not there must not raise an
// error the way a CEL engine does it: it is unknown, which compares like null, orders below everything, and makes a
// whole expression false. Conditions take any value as a truth, as JavaScript does. The table in loose_test.go lists
// what that means case by case; SDK users depend on each row.
//
// [Compile] turns a source into a [Program], which is evaluated with [Program.Bool] where a yes or no is needed,
// [Program.Key] where a value names a bucket, and [Program.Int] for priorities. [Cache] saves compiling twice.
//
//	p, err := expr.Compile(`event.data.amount > 100 && event.data.country in ["AT", "DE"]`)
//	ok, err := p.Bool(expr.Vars{Event: event, Now: now})
//
// Waits need more: a condition such as `event.data.id == async.data.id` relates the event that started a run to one
// that arrives later, and a server may hold a million of them. [Program.Bind] fixes the first event, giving a [Bound]
// small enough to keep and to write down; an [Index] finds those that an arriving event fulfils without trying each.
//
// Evaluation is deterministic and does nothing but compute: the time is an argument, maps are visited in key order, and
// every evaluation has a budget of steps, so no expression can hold up its caller.
//
// Where to look: lex.go and parse.go read the source into the nodes of node.go, which evaluate themselves with the
// operators of operator.go and the functions of function.go; value.go has equality, order and text of values; bind.go
// and index.go are about waits.
package expr
