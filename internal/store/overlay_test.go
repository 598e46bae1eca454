package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rec(table Table, key, value string, fresh bool) Record {
	r := Record{Table: table, Key: []byte(key), Fresh: fresh}
	if value != "-" {
		r.Value = []byte(value)
	}
	return r
}

// content prints a generation the way a fold would write it.
func content(g *Generation) string {
	var parts []string
	for _, spec := range Tables {
		for _, r := range g.Records(nil, spec.Table) {
			if r.Value == nil {
				parts = append(parts, "-"+string(r.Key))
			} else {
				parts = append(parts, string(r.Key)+"="+string(r.Value))
			}
		}
	}
	return strings.Join(parts, " ")
}

func TestOverlayFresh(t *testing.T) {
	// Each record is "key=value", "key=-" for a delete, or with "+" before it for a fresh one; "|" is a seal.
	f := func(script, want string) {
		t.Helper()
		o := NewOverlay()
		seq := uint64(0)
		for word := range strings.FieldsSeq(script) {
			if word == "|" {
				o.Seal()
				continue
			}
			word, fresh := strings.CutPrefix(word, "+")
			key, value, _ := strings.Cut(word, "=")
			seq++
			o.Append(seq, []Record{rec(Live, key, value, fresh)})
		}
		var got []string
		for g := o.Seal(); g != nil; g = o.Seal() {
			got = append(got, content(g))
			o.Folded()
		}
		if s := strings.Join(got, " | "); s != want {
			t.Errorf("%s\n got %q\nwant %q", script, s, want)
		}
	}
	f("a=1 a=2", "a=2")
	f("a=1 a=-", "-a")
	f("+a=1 a=2", "a=2")
	f("+a=1 a=-", "")
	f("+a=1 a=2 a=-", "")
	f("+a=1 b=1 a=- c=1", "b=1 c=1")
	f("+a=1 | a=-", "a=1 | -a") // the fold has taken it
	f("+a=1 | b=1 a=2 a=-", "a=1 | -a b=1")
	f("+a=1 a=- a=3", "a=3")
	f("+a=1 a=- a=3 a=-", "-a")
	f("a=- +a=1 a=-", "-a") // a wrong hint after a record that the overlay knows
	f("b=2 a=1 | c=3 a=- |", "a=1 b=2 | -a c=3")
	f("| |", "")
}

// Two generations against a plain map, reads and counts included.
func TestOverlayAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		o := NewOverlay()
		tables := map[string]string{} // what folds wrote
		model := map[string]string{}  // what reads must see
		parts := []string{"0000000000000000", "1111111111111111"}
		for step := range 200 {
			if r.IntN(20) == 0 {
				if g := o.Seal(); g != nil && r.IntN(3) > 0 { // else: a fold that failed
					for _, rec := range g.Records(nil, Steps) {
						if rec.Value == nil {
							delete(tables, string(rec.Key))
						} else {
							tables[string(rec.Key)] = string(rec.Value)
						}
					}
					o.Folded()
				}
				continue
			}
			key := parts[r.IntN(2)] + fmt.Sprint(r.IntN(8))
			fresh := r.IntN(2) == 0
			if fresh {
				key += fmt.Sprint("+", step)
			}
			batch := []Record{rec(Steps, key, fmt.Sprint(step), fresh)}
			model[key] = fmt.Sprint(step)
			if r.IntN(2) == 0 {
				batch = append(batch, rec(Steps, key, "-", false))
				delete(model, key)
			}
			o.Append(uint64(step+1), batch)
			checkOverlay(t, o, tables, model, parts)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkOverlay(t *testing.T, o *Overlay, tables, model map[string]string, parts []string) {
	t.Helper()
	for key, want := range model {
		value, ok := o.Get(Steps, []byte(key))
		got := string(value)
		if !ok {
			got = tables[key]
		}
		if got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	for _, part := range parts {
		unfolded, _ := o.Partition(Steps, []byte(part))
		got := Merge(unfolded, sorted(tables, part), false)
		want := sorted(model, part)
		if !slices.EqualFunc(got, want, func(a, b Row) bool {
			return string(a.Key) == string(b.Key) && string(a.Value) == string(b.Value)
		}) {
			t.Errorf("partition %s (-want +got):\n%s", part, cmp.Diff(want, got))
		}
	}
}

func sorted(m map[string]string, prefix string) []Row {
	rows := []Row{}
	for k, v := range m {
		if strings.HasPrefix(k, prefix) {
			rows = append(rows, Row{Key: []byte(k), Value: []byte(v)})
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return rows
}

func TestOverlayGivesMemoryBack(t *testing.T) {
	o := NewOverlay()
	for i := range keepSlots + 1 {
		o.Append(uint64(i+1), []Record{rec(Live, fmt.Sprint(i), "v", false)})
	}
	if n, bytes := o.Unfolded(); n != keepSlots+1 || bytes == 0 {
		t.Errorf("%d records and %d bytes wait", n, bytes)
	}
	o.Seal()
	o.Folded()
	if o.spare.tables[Live].slots != nil {
		t.Error("the memory of a burst is kept")
	}
	if n, bytes := o.Unfolded(); n != 0 || bytes != 0 || o.Holds(Live) {
		t.Errorf("%d records and %d bytes wait after the fold", n, bytes)
	}
}

func TestKeyRange(t *testing.T) {
	f := func(prefix, from, to string, wantFrom, wantTo string) {
		t.Helper()
		q := Query{Prefix: []byte(prefix), From: []byte(from)}
		if to != "" {
			q.To = []byte(to)
		}
		if gotFrom, gotTo := q.KeyRange(); string(gotFrom) != wantFrom || string(gotTo) != wantTo {
			t.Errorf("prefix %q from %q to %q: %q to %q, want %q to %q", prefix, from, to, gotFrom, gotTo, wantFrom, wantTo)
		}
	}
	f("", "", "", "", "")
	f("ab", "", "", "ab", "ac")
	f("a\xff", "", "", "a\xff", "b")
	f("\xff\xff", "", "", "\xff\xff", "")
	f("ab", "abc", "abd", "abc", "abd")
	f("ab", "a", "b", "ab", "ac")
	f("ab", "b", "", "b", "ac") // empty, as it should be
}

// One job's records: two tables, put and deleted within a fold.
func BenchmarkOverlay(b *testing.B) {
	o := NewOverlay()
	const jobs = 250
	keys := make([][]byte, 8*jobs)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%016d", i)
	}
	value := make([]byte, 200)
	batch := make([]Record, 0, 2*jobs)
	seq, n := uint64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		batch = batch[:0]
		for range jobs {
			key := keys[n%len(keys)]
			n++
			batch = append(batch, Record{Table: Live, Key: key, Value: value, Fresh: true}, Record{Table: Live, Key: key})
		}
		seq++
		o.Append(seq, batch)
		if seq%40 == 0 {
			o.Seal()
			o.Folded()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2*jobs), "ns/record")
}

// TestOverlayOfLargeBatches: records that were only noted are seen by whoever reads, in the order of their batches, and folded with the rest.
func TestOverlayOfLargeBatches(t *testing.T) {
	t.Parallel()
	o := NewOverlay()
	large := func(value string) []Record {
		var records []Record
		for i := range 2 * fewRecords {
			records = append(records, Record{Table: Meta, Key: fmt.Append(nil, "k", i), Value: []byte(value)})
		}
		return records
	}
	expect := func(key, want string) {
		t.Helper()
		if v, found := o.Get(Meta, []byte(key)); !found || string(v) != want {
			t.Errorf("%s is %q, found %v, want %q", key, v, found, want)
		}
	}
	o.Append(1, large("a"))
	o.Append(2, large("b"))
	if !o.Pending() {
		t.Fatal("nothing is pending")
	}
	expect("k5", "b")
	if o.Pending() {
		t.Error("something is pending after a read")
	}
	o.Append(3, large("c"))
	o.Append(4, []Record{{Table: Meta, Key: []byte("k5"), Value: []byte("d")}})
	expect("k5", "d")
	expect("k6", "c")
	o.Append(5, large("e"))
	g := o.Seal()
	if g.Through() != 5 || len(g.Records(nil, Meta)) != 2*fewRecords {
		t.Errorf("sealed through %d with %d records", g.Through(), len(g.Records(nil, Meta)))
	}
	o.Append(6, large("f"))
	expect("k5", "f")
	o.Folded()
	expect("k5", "f")
	o.Append(7, large("g"))
	o.Absorb()
	if records, bytes := o.Unfolded(); o.Pending() || records != 2*fewRecords || bytes == 0 {
		t.Errorf("pending %v, %d records of %d bytes", o.Pending(), records, bytes)
	}
}
