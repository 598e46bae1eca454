package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/store"
)

// model is what a store must agree with: a map for each table.
type model struct {
	rows map[store.Table]map[string]store.Record
	ever map[store.Table]map[string]bool // keys that were appended at any time, deleted ones too
}

func newModel() model {
	m := model{rows: make(map[store.Table]map[string]store.Record), ever: make(map[store.Table]map[string]bool)}
	for _, spec := range store.Tables {
		m.rows[spec.Table] = make(map[string]store.Record)
		m.ever[spec.Table] = make(map[string]bool)
	}
	return m
}

func (m model) apply(records []store.Record) {
	for _, r := range records {
		m.ever[r.Table][string(r.Key)] = true
		if r.Value == nil {
			delete(m.rows[r.Table], string(r.Key))
		} else {
			m.rows[r.Table][string(r.Key)] = r
		}
	}
}

// parts returns every partition of a table that ever had a row.
func (m model) parts(spec store.Spec) map[string]bool {
	parts := make(map[string]bool)
	for key := range m.ever[spec.Table] {
		parts[key[:spec.Part]] = true
	}
	return parts
}

// query does what Scan does, the slow and obvious way.
func (m model) query(q store.Query) []store.Row {
	var rows []store.Row
	for key, r := range m.rows[q.Table] {
		if selects(q, key, r) {
			rows = append(rows, store.Row{Key: r.Key, Value: r.Value})
		}
	}
	sortRows(rows)
	if q.Desc {
		slices.Reverse(rows)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = store.DefaultLimit
	}
	return rows[:min(len(rows), limit, store.MaxLimit)]
}

func selects(q store.Query, key string, r store.Record) bool {
	if q.ExpiredBefore != 0 {
		return r.Expires > 0 && r.Expires < q.ExpiredBefore
	}
	for i, tag := range q.Tags {
		if tag != "" && r.Tags[i] != tag {
			return false
		}
	}
	return strings.HasPrefix(key, string(q.Prefix)) && key >= string(q.From) && (q.To == nil || key < string(q.To))
}

func sortRows(rows []store.Row) {
	slices.SortFunc(rows, func(a, b store.Row) int { return bytes.Compare(a.Key, b.Key) })
}

func describe(q store.Query) string {
	return fmt.Sprintf("%v prefix=%q tags=%q from=%q to=%q desc=%v limit=%d expired<%d",
		q.Table, q.Prefix, q.Tags, q.From, q.To, q.Desc, q.Limit, q.ExpiredBefore)
}

// tags are the values that random records use. One is the beginning of another, on purpose.
var tags = []string{"a", "ab", "b"}

// randomBatch makes records that collide often: few keys, many overwrites and deletes, some fresh keys.
func randomBatch(r *rand.Rand, m model) []store.Record {
	batch := make([]store.Record, 1+r.IntN(12))
	for i := range batch {
		spec := store.Tables[r.IntN(len(store.Tables))]
		key := fmt.Sprintf("key-%02d", r.IntN(15))
		fresh := r.IntN(3) == 0
		if fresh {
			key = fmt.Sprintf("new-%x", r.Uint64())
		}
		if spec.Part > 0 {
			key = fmt.Sprintf("%0*d", spec.Part, r.IntN(3)) + key
		}
		record := store.Record{Table: spec.Table, Key: []byte(key)}
		if r.IntN(3) == 0 {
			record.Key = recentKey(r, m, spec.Table, key)
			fresh = false
		} else {
			record.Value = fmt.Appendf([]byte{}, "%.*x", r.IntN(40), r.Uint64())
			record.Fresh = fresh
			for j := range spec.Tags {
				record.Tags[j] = append(tags, "")[r.IntN(len(tags)+1)]
			}
			if r.IntN(3) == 0 {
				record.Expires = 1 + r.Int64N(100)
			}
		}
		batch[i] = record
		m.ever[spec.Table][string(record.Key)] = true
	}
	// Delete some fresh keys of this very batch, as short jobs do.
	for _, record := range batch {
		if record.Fresh && r.IntN(2) == 0 {
			batch = append(batch, store.Record{Table: record.Table, Key: record.Key})
		}
	}
	return batch
}

// recentKey picks a key that a delete will find, most of the time.
func recentKey(r *rand.Rand, m model, table store.Table, otherwise string) []byte {
	keys := slices.Sorted(maps.Keys(m.rows[table]))
	if len(keys) == 0 || r.IntN(4) == 0 {
		return []byte(otherwise)
	}
	return []byte(keys[r.IntN(len(keys))])
}
