package sqlite

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"

	"github.com/quartetjobs/quartet/internal/store"
)

// Every statement that reads a table is a search, by the table's key or by an index, and none of those in key order sorts.
func TestQueryPlans(t *testing.T) {
	s, _ := setup(t)
	for _, spec := range store.Tables {
		checkPlan(t, s, getSQL(spec), []driver.Value{[]byte("key")}, "USING PRIMARY KEY")
		checkPlan(t, s, loadSQL(spec), nil, "SCAN "+spec.Name)
		listSQL, args := listSQL(spec, []byte("part"), []byte("paru"))
		checkPlan(t, s, listSQL, args, "USING PRIMARY KEY")
		for shape := range 1 << 7 {
			bit := func(i int) bool { return shape>>i&1 == 1 }
			q := store.Query{Table: spec.Table, Desc: bit(0)}
			want := "SCAN " + spec.Name // in key order, until the limit
			if bit(1) {
				q.From, want = []byte("a"), "USING PRIMARY KEY"
			}
			if bit(2) {
				q.To, want = []byte("b"), "USING PRIMARY KEY"
			}
			if bit(3) {
				q.Prefix, want = []byte("ab"), "USING PRIMARY KEY"
			}
			for i := spec.Tags - 1; i >= 0; i-- {
				if bit(4 + i) {
					q.Tags[i] = "tag"
					want = fmt.Sprintf("INDEX %s_t%d (t%d=?", spec.Name, i+1, i+1)
				}
			}
			text, args, err := scanSQL(spec, &q)
			if err != nil {
				t.Fatal(err)
			}
			checkPlan(t, s, text, args, want)
		}
		for i := range spec.Tags + 1 {
			q := store.Query{Table: spec.Table, ExpiredBefore: 5}
			if i > 0 {
				q.Tags[i-1] = "tag"
			}
			text, args, err := scanSQL(spec, &q)
			if err != nil {
				t.Fatal(err)
			}
			checkPlan(t, s, text, args, fmt.Sprintf("INDEX %s_expires (expires>? AND expires<?)", spec.Name))
		}
	}
}

func checkPlan(t *testing.T, s *Store, text string, args []driver.Value, want string) {
	t.Helper()
	stmt, err := s.tables.conn.prepare("EXPLAIN QUERY PLAN " + text)
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range args {
		stmt.bind(arg)
	}
	var plan []string
	err = stmt.query(t.Context(), func(row []driver.Value) error {
		plan = append(plan, row[3].(string))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(plan, "; "); !strings.Contains(got, want) || len(plan) != 1 {
		t.Errorf("%s\nplan: %s\nwant: %s", text, got, want)
	}
}
