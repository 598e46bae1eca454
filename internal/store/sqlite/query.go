package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/quartetjobs/quartet/internal/store"
)

// errEnough ends a query early.
var errEnough = errors.New("enough rows")

// scanSQL builds the statement of a query. There are few different texts, as the values are arguments, so each stays
// prepared on the connections that ran it.
//
// The index is named, not left to the planner: without statistics it has to guess, and a query that would need more than
// the index fails in a test instead of being slow on somebody's data. Rows come from the index of the first tag that is
// asked for, in the order of keys; other tags are compared on the way. A range of keys alone reads the table's own tree.
func scanSQL(spec store.Spec, q *store.Query) (query string, args []driver.Value, err error) {
	var b strings.Builder
	b.WriteString("SELECT key, value FROM " + spec.Name)
	index, conditions := "", []string(nil)
	where := func(condition string, arg driver.Value) {
		conditions = append(conditions, condition)
		args = append(args, arg)
	}
	if q.ExpiredBefore != 0 {
		index = "expires"
		conditions = append(conditions, "expires > 0")
		where("expires < ?", q.ExpiredBefore)
	}
	for i, tag := range q.Tags {
		if tag == "" {
			continue
		}
		if i >= spec.Tags {
			return "", nil, fmt.Errorf("table %s has no tag %d", spec.Name, i+1)
		}
		if index == "" {
			index = tagColumn(i)
		}
		where(tagColumn(i)+" = ?", tag)
	}
	from, to := q.KeyRange()
	if from != nil {
		where("key >= ?", blob(from))
	}
	if to != nil {
		where("key < ?", blob(to))
	}
	if index != "" {
		b.WriteString(" INDEXED BY " + spec.Name + "_" + index)
	}
	if len(conditions) > 0 {
		b.WriteString(" WHERE " + strings.Join(conditions, " AND "))
	}
	if q.ExpiredBefore == 0 {
		b.WriteString(" ORDER BY key")
		if q.Desc {
			b.WriteString(" DESC")
		}
	}
	b.WriteString(" LIMIT ?")
	args = append(args, int64(q.RowLimit()))
	return b.String(), args, nil
}

// The other statements read the table's own tree.

func getSQL(spec store.Spec) string { return "SELECT value FROM " + spec.Name + " WHERE key = ?" }

func loadSQL(spec store.Spec) string { return "SELECT key, value FROM " + spec.Name + " ORDER BY key" }

// listSQL selects the keys of one partition. to is nil when it is the last that there can be.
func listSQL(spec store.Spec, from, to []byte) (query string, args []driver.Value) {
	if to == nil {
		return "SELECT key, value FROM " + spec.Name + " WHERE key >= ? ORDER BY key", []driver.Value{from}
	}
	return "SELECT key, value FROM " + spec.Name + " WHERE key >= ? AND key < ? ORDER BY key", []driver.Value{from, to}
}
