package lua

import "sort"

var tableFuncs = natives{
	"concat": tableConcat, "insert": tableInsert, "remove": tableRemove, "sort": tableSort, "maxn": tableMaxN,
	"getn": func(f *frame) { f.ret(number(float64(len(f.table(0).arr)))) },
	"setn": func(f *frame) {
		f.table(0)
		f.fail("'setn' is obsolete")
	},
	"foreach": tableForEach, "foreachi": tableForEachI,
}

func tableConcat(f *frame) {
	t := f.table(0)
	sep := ""
	if !f.arg(1).isNil() {
		sep = f.text(1)
	}
	from := f.intOr(2, 1)
	to := f.intOr(3, len(t.arr))
	b := f.e.buf[:0]
	for i := from; i <= to; i++ {
		v := t.getInt(i)
		s, ok := toText(v)
		if !ok {
			f.fail("invalid value (%s) at index %d in table for 'concat'", v.kind(), i)
		}
		f.e.step(1)
		f.e.charge(len(s) + len(sep))
		b = append(b, s...)
		if i < to {
			b = append(b, sep...)
		}
	}
	f.e.keepBuf(b)
	f.ret(str(string(b)))
}

func tableInsert(f *frame) {
	t := f.writable(0)
	n := len(t.arr) + 1
	switch len(f.args) {
	case 2:
		f.e.grew(t.set(number(float64(n)), f.args[1]))
	case 3:
		at := f.int(1)
		v := f.args[2]
		if at >= 1 && at < n {
			f.e.step((n - at) / 16)
			f.e.charge(slotBytes)
			t.push(number(float64(n)), t.arr[n-2])
			copy(t.arr[at:n-1], t.arr[at-1:n-2])
			t.arr[at-1] = v
			return
		}
		if at > n {
			n = at
		}
		for i := n; i > at; i-- {
			f.e.step(1)
			f.e.grew(t.set(number(float64(i)), t.getInt(i-1)))
		}
		f.e.grew(t.set(number(float64(at)), v))
	default:
		f.fail("wrong number of arguments to 'insert'")
	}
}

func tableRemove(f *frame) {
	t := f.writable(0)
	n := len(t.arr)
	at := f.intOr(1, n)
	if at < 1 || at > n {
		f.n, f.many = 0, nil
		return
	}
	v := t.arr[at-1]
	f.e.step((n - at) / 16)
	copy(t.arr[at-1:], t.arr[at:])
	t.arr[n-1] = nilValue
	t.trim()
	f.ret(v)
}

func tableMaxN(f *frame) {
	t := f.table(0)
	n := float64(len(t.arr))
	for _, e := range t.list {
		if e.key.isNumber() && !e.val.isNil() && e.key.num > n {
			n = e.key.num
		}
	}
	f.ret(number(n))
}

func tableForEach(f *frame) {
	t := f.table(0)
	fn := f.function(1)
	for at := 0; ; {
		k, v, after := t.next(at)
		if k.isNil() {
			return
		}
		f.e.step(1)
		if r := f.e.callBack(fn, k, v).first(); !r.isNil() {
			f.ret(r)
			return
		}
		at = after
	}
}

func tableForEachI(f *frame) {
	t := f.table(0)
	fn := f.function(1)
	for i := 1; i <= len(t.arr); i++ {
		f.e.step(1)
		if r := f.e.callBack(fn, number(float64(i)), t.getInt(i)).first(); !r.isNil() {
			f.ret(r)
			return
		}
	}
}

func tableSort(f *frame) {
	t := f.writable(0)
	by := f.arg(1)
	if !by.isNil() {
		f.function(1)
	}
	defer t.trim() // a comparison that likes holes may move them to the end
	sort.Sort(&sorter{f: f, arr: t.arr, by: by})
}

// sorter orders an array. A comparison that contradicts itself gives some order and no harm.
type sorter struct {
	f   *frame
	arr []value
	by  value
}

func (s *sorter) Len() int      { return len(s.arr) }
func (s *sorter) Swap(i, j int) { s.arr[i], s.arr[j] = s.arr[j], s.arr[i] }

func (s *sorter) Less(i, j int) bool {
	s.f.e.step(1)
	if s.by.isNil() {
		return s.f.e.less(s.arr[i], s.arr[j])
	}
	return s.f.e.callBack(s.by, s.arr[i], s.arr[j]).first().truthy()
}
