package data

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// random is a source and small strings from it, a few of them long enough to make a structure change its form.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 7))} }

func (r random) word(n int) string {
	w := fmt.Sprint("w", r.IntN(n))
	if r.IntN(60) == 0 {
		w += strings.Repeat("x", r.IntN(6000))
	}
	return w
}

type pair struct{ Field, Value string }

func TestDictAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := newRandom(seed)
		var d Dict
		var model []pair
		seqs := map[string]uint64{}
		for step := range 3000 {
			field := fmt.Sprint("f", r.IntN(2+int(seed)*10))
			i := slices.IndexFunc(model, func(p pair) bool { return p.Field == field })
			if r.IntN(3) > 0 {
				value := r.word(50)
				seq, added, _ := d.Set(field, value)
				if added != (i < 0) || !added && seq != seqs[field] {
					t.Fatalf("seed %d step %d: set %s gave number %d, added %v", seed, step, field, seq, added)
				}
				seqs[field] = seq
				if i < 0 {
					model = append(model, pair{field, value})
				} else {
					model[i].Value = value
				}
			} else {
				_, ok, _ := d.Delete(field)
				if ok != (i >= 0) {
					t.Fatalf("seed %d step %d: delete %s gave %v", seed, step, field, ok)
				}
				if i >= 0 {
					model = slices.Delete(model, i, i+1)
				}
			}
			if step%50 == 0 {
				checkDict(t, &d, model, r)
			}
		}
	}
}

func checkDict(t *testing.T, d *Dict, model []pair, r random) {
	t.Helper()
	var got []pair
	last := int64(-1)
	d.Each(func(f, v string, seq uint64) bool {
		if int64(seq) <= last {
			t.Fatalf("numbers are not in order: %d after %d", seq, last)
		}
		last = int64(seq)
		got = append(got, pair{f, v})
		return true
	})
	if diff := cmp.Diff(model, got); diff != "" && len(model)+len(got) > 0 {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	scanned := map[string]int{}
	for cursor := uint64(0); ; {
		cursor = d.Scan(cursor, 1+r.IntN(7), func(f, _ string) { scanned[f]++ })
		if cursor == 0 {
			break
		}
	}
	for _, p := range model {
		if v, ok := d.Get(p.Field); !ok || v != p.Value || d.Size(p.Field) != len(v) {
			t.Fatalf("get %s: %q %v, want %q", p.Field, v, ok, p.Value)
		}
		if scanned[p.Field] != 1 {
			t.Fatalf("a scan met %s %d times", p.Field, scanned[p.Field])
		}
	}
	if len(scanned) != len(model) || d.Len() != len(model) {
		t.Fatalf("%d fields, %d scanned, want %d", d.Len(), len(scanned), len(model))
	}
}

// TestScanMeetsWhatStays scans a table that grows and shrinks meanwhile.
func TestScanMeetsWhatStays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := newRandom(seed)
		var table Table[int]
		for i := range 500 {
			table.Insert(fmt.Sprint("stays", i), i)
		}
		met := map[string]bool{}
		for cursor, round := uint64(0), 0; ; round++ {
			cursor = table.Scan(cursor, 10, func(i uint32) { met[table.Key(i)] = true })
			if cursor == 0 {
				break
			}
			for range r.IntN(200) {
				if k := fmt.Sprint("passes", r.IntN(5000)); table.Find(k) == None {
					table.Insert(k, 0)
				} else {
					table.Delete(table.Find(k))
				}
			}
		}
		for i := range 500 {
			if k := fmt.Sprint("stays", i); !met[k] {
				t.Fatalf("seed %d: the scan missed %s", seed, k)
			}
		}
	}
}

func TestTableShrinks(t *testing.T) {
	t.Parallel()
	var table Table[int]
	for i := range 100_000 {
		table.Insert(fmt.Sprint(i), i)
	}
	for i := 1000; i < 100_000; i++ {
		table.Delete(table.Find(fmt.Sprint(i)))
		if table.Sparse() {
			table.Shrink(nil)
		}
	}
	if table.Slots() > 20_000 {
		t.Errorf("a table of %d entries has room for %d", table.Len(), table.Slots())
	}
	for i := range 1000 {
		if at := table.Find(fmt.Sprint(i)); at == None || *table.At(at) != i {
			t.Fatalf("entry %d was lost", i)
		}
	}
}

func TestListAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := newRandom(seed)
		var l List
		var model []string
		rows := map[int64]string{} // what the records would say
		set := func(pos int64, v string) {
			if _, there := rows[pos]; there {
				t.Fatalf("seed %d: position %d is given twice", seed, pos)
			}
			if l.Fresh(pos); l.Fresh(pos) {
				t.Fatalf("position %d is fresh twice", pos)
			}
			rows[pos] = v
		}
		take := func(pos int64, v string) {
			if rows[pos] != v {
				t.Fatalf("seed %d: position %d holds %q, not %q", seed, pos, rows[pos], v)
			}
			delete(rows, pos)
		}
		for step := range 2500 {
			v := r.word(20)
			switch n := r.IntN(12); {
			case n < 3:
				set(l.PushLeft(v), v)
				model = slices.Insert(model, 0, v)
			case n < 6:
				set(l.PushRight(v), v)
				model = append(model, v)
			case len(model) == 0:
			case n < 7:
				v, pos := l.PopLeft()
				take(pos, model[0])
				if v != model[0] {
					t.Fatalf("popped %q, want %q", v, model[0])
				}
				model = model[1:]
			case n < 8:
				v, pos := l.PopRight()
				take(pos, model[len(model)-1])
				if v != model[len(model)-1] {
					t.Fatalf("popped %q, want %q", v, model[len(model)-1])
				}
				model = model[:len(model)-1]
			case n < 9:
				i := r.IntN(len(model))
				pos, _ := l.SetAt(i, v)
				take(pos, model[i])
				rows[pos] = v
				model[i] = v
			case n < 10 || seed%4 == 0:
				i := r.IntN(len(model))
				if seed%2 == 0 {
					i = len(model) / 2 // always the same place
				}
				fresh := map[int64]string{}
				pos := l.InsertAt(i, v, func(from, to int64, val string) {
					take(from, val)
					fresh[to] = val
				})
				for p, val := range fresh {
					l.Fresh(p)
					rows[p] = val
				}
				set(pos, v)
				model = slices.Insert(model, i, v)
			default:
				v, limit, right := model[r.IntN(len(model))], r.IntN(3), r.IntN(2) == 0
				want := removeFrom(&model, v, limit, right)
				if got := l.Remove(v, limit, right, func(pos int64) { take(pos, v) }); got != want {
					t.Fatalf("removed %d, want %d", got, want)
				}
			}
			if step%50 == 0 {
				checkList(t, &l, model, rows, r)
			}
		}
	}
}

func removeFrom(model *[]string, v string, limit int, right bool) (n int) {
	if right {
		slices.Reverse(*model)
		defer func() { slices.Reverse(*model) }()
	}
	for i := 0; i < len(*model); {
		if (*model)[i] == v && (limit == 0 || n < limit) {
			*model = slices.Delete(*model, i, i+1)
			n++
		} else {
			i++
		}
	}
	return n
}

func checkList(t *testing.T, l *List, model []string, rows map[int64]string, r random) {
	t.Helper()
	var got []string
	last, first := int64(0), true
	l.Each(func(v []byte, pos int64) bool {
		if !first && pos <= last || rows[pos] != string(v) {
			t.Fatalf("position %d after %d holds %q, its row %q", pos, last, v, rows[pos])
		}
		last, first = pos, false
		got = append(got, string(v))
		return true
	})
	if !slices.Equal(got, model) || l.Len() != len(model) || len(rows) != len(model) {
		t.Fatalf("a list of %d with %d rows:\n%q\nwant\n%q", l.Len(), len(rows), got, model)
	}
	if len(model) == 0 {
		return
	}
	i := r.IntN(len(model))
	if l.At(i) != model[i] {
		t.Fatalf("at %d is %q, want %q", i, l.At(i), model[i])
	}
	to := i + r.IntN(len(model)-i)
	got = got[:0]
	l.Range(i, to, func(v string) bool { got = append(got, v); return true })
	if !slices.Equal(got, model[i:to]) {
		t.Fatalf("range %d to %d is %q", i, to, got)
	}
	for _, right := range []bool{false, true} {
		var found, want []int
		l.Find(model[i], right, 0, func(i int) bool { found = append(found, i); return true })
		for j := range model {
			if model[j] == model[i] {
				want = append(want, j)
			}
		}
		if right {
			slices.Reverse(want)
		}
		if !slices.Equal(found, want) {
			t.Fatalf("found %v, want %v", found, want)
		}
	}
}

func TestSortedAgainstModel(t *testing.T) {
	t.Parallel()
	type member struct {
		name  string
		score float64
	}
	order := func(a, b member) int {
		if a.score != b.score {
			return int(a.score - b.score)
		}
		return strings.Compare(a.name, b.name)
	}
	for seed := range uint64(20) {
		r := newRandom(seed)
		var s Sorted
		model := map[string]float64{}
		for step := range 6000 {
			name := fmt.Sprint("m", r.IntN(10+int(seed)*300))
			old, there := model[name]
			switch n := r.IntN(10); {
			case n < 6 || step < 2000:
				score := float64(r.IntN(50))
				if seed%3 == 0 {
					score = float64(step)
				}
				_, added := s.Set(name, score)
				if added == there {
					t.Fatalf("added %s: %v", name, added)
				}
				model[name] = score
			case n < 9:
				if _, ok := s.Delete(name); ok != there {
					t.Fatalf("deleted %s: %v", name, ok)
				}
				delete(model, name)
			case len(model) > 0:
				rank := r.IntN(len(model))
				name, score, _ := s.DeleteAt(rank)
				if got, ok := model[name]; !ok || got != score {
					t.Fatalf("deleted %s with score %v at %d", name, score, rank)
				}
				delete(model, name)
			}
			_ = old
			if step%500 != 0 {
				continue
			}
			var want, got []member
			for name, score := range model {
				want = append(want, member{name, score})
			}
			slices.SortFunc(want, order)
			s.Range(0, s.Len(), false, func(name string, score float64) bool {
				got = append(got, member{name, score})
				return true
			})
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d step %d: %d members in the wrong order, want %d", seed, step, len(got), len(want))
			}
			for i := range want {
				if rank, ok := s.Rank(want[i].name); !ok || rank != i {
					t.Fatalf("rank of %s is %d, want %d", want[i].name, rank, i)
				}
			}
			if len(want) > 3 {
				from := r.IntN(len(want))
				to := from + r.IntN(len(want)-from)
				var back []member
				s.Range(from, to, true, func(name string, score float64) bool {
					back = append(back, member{name, score})
					return true
				})
				slices.Reverse(back)
				if !slices.Equal(back, want[from:to]) {
					t.Fatalf("backwards from %d to %d: %v", from, to, back)
				}
				limit := want[from].score
				n := s.Count(func(_ string, score float64) bool { return score < limit })
				if want := slices.IndexFunc(want, func(m member) bool { return m.score >= limit }); n != want {
					t.Fatalf("%d are below %v, want %d", n, limit, want)
				}
			}
		}
	}
}

func TestStreamAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := newRandom(seed)
		var s Stream
		var model []Entry
		var last ID
		for step := range 3000 {
			switch n := r.IntN(20); {
			case n < 14:
				if r.IntN(2) == 0 {
					last.Seq++
				} else {
					last = ID{last.MS + uint64(r.IntN(1000)) + 1, uint64(r.IntN(3))}
				}
				e := Entry{last, []string{"event", r.word(30), "", "x"}[:2*r.IntN(3)]}
				s.Add(e.ID, e.Fields)
				model = append(model, e)
			case len(model) == 0:
			case n < 18:
				i := r.IntN(len(model))
				_, first := s.Delete(model[i].ID)
				if _, again := s.Delete(model[i].ID); !first || again {
					t.Fatalf("%s was deleted wrongly", model[i].ID)
				}
				model = slices.Delete(model, i, i+1)
			case n == 18:
				keep := r.IntN(2 * len(model))
				before := len(model)
				model = model[max(0, len(model)-keep):]
				if got := s.Cut(Trim{Keep: keep}, func(ID, int) {}); got != before-len(model) {
					t.Fatalf("cut %d", got)
				}
			default:
				id := model[r.IntN(len(model))].ID
				whole := r.IntN(2) == 0
				n := s.Cut(Trim{MinID: &id, Whole: whole}, func(ID, int) {})
				if !whole && (n >= len(model) || model[n].ID != id) {
					t.Fatalf("cut %d before %s", n, id)
				}
				model = model[n:]
			}
			if step%50 != 0 || len(model) == 0 {
				continue
			}
			a, b := r.IntN(len(model)), r.IntN(len(model))
			a, b = min(a, b), max(a, b)
			var got, back []Entry
			s.Range(model[a].ID, model[b].ID, func(e Entry) bool { got = append(got, e); return true })
			s.RangeBack(model[a].ID, model[b].ID, func(e Entry) bool { back = append(back, e); return true })
			slices.Reverse(back)
			if diff := cmp.Diff(fmt.Sprint(model[a:b+1]), fmt.Sprint(got)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(got, back); diff != "" {
				t.Fatalf("backwards:\n%s", diff)
			}
			first, _ := s.First()
			end, _ := s.Last()
			if first != model[0].ID || end != model[len(model)-1].ID || s.Len() != len(model) {
				t.Fatalf("%d from %s to %s", s.Len(), first, end)
			}
		}
	}
}
