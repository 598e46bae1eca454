package store

import "fmt"

// maxTable bounds the table numbers, so that a table can index an array.
const maxTable = 32

// specs is Tables by number; a zero Name marks a number that no table has.
var specs = func() (byNumber [maxTable]Spec) {
	for _, s := range Tables {
		byNumber[s.Table] = s
	}
	return byNumber
}()

// SpecOf returns the Spec of a table; ok is false when there is no such table.
func SpecOf(t Table) (spec Spec, ok bool) {
	if t >= maxTable {
		return Spec{}, false
	}
	return specs[t], specs[t].Name != ""
}

// String returns the table's SQL name.
func (t Table) String() string {
	if spec, ok := SpecOf(t); ok {
		return spec.Name
	}
	return "unknown table"
}

// Validate reports a record that no implementation can keep: one that got into a journal could never be folded.
func (r *Record) Validate() error {
	spec, ok := SpecOf(r.Table)
	if !ok {
		return fmt.Errorf("store: no table has number %d", r.Table)
	}
	if len(r.Key) < spec.Part {
		return fmt.Errorf("store: key %x is shorter than a partition of table %s", r.Key, spec.Name)
	}
	return nil
}

// KeyRange is the part of the key space that the query's Prefix, From and To leave: keys >= from and, unless to is nil, < to.
func (q *Query) KeyRange() (from, to []byte) {
	from, to = q.Prefix, prefixEnd(q.Prefix)
	if string(q.From) > string(from) {
		from = q.From
	}
	if q.To != nil && (to == nil || string(q.To) < string(to)) {
		to = q.To
	}
	return from, to
}

// RowLimit is the number of rows that the query may return.
func (q *Query) RowLimit() int {
	if q.Limit <= 0 {
		return DefaultLimit
	}
	return min(q.Limit, MaxLimit)
}

// prefixEnd returns the first key after all that start with prefix, nil when there is none.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
