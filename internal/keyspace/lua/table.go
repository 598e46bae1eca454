package lua

import "math"

// table is a Lua table: an array part for the keys 1 to len(arr), whose last element is never nil, and a list of the other keys in
// the order in which they were first set. A key that is removed keeps its place until the list is next rebuilt, so that a table can
// be emptied while one goes through it.
type table struct {
	arr      []value
	list     []entry
	index    map[any]int32 // of list, once it is longer than listScan
	live     int           // entries of list that are not nil
	numbers  int           // entries of list whose key is a number
	meta     *table
	readonly bool
}

type entry struct{ key, val value }

const listScan = 8

// What tables cost, for the bound on a script's memory.
const (
	tableBytes = 96
	slotBytes  = 24
	entryBytes = 2 * slotBytes
)

// mapKey is how a key is found in index.
func mapKey(k value) any {
	if k.isNumber() {
		return k.num
	}
	return k.ref
}

func (t *table) find(k value) int {
	if t.index != nil {
		if i, ok := t.index[mapKey(k)]; ok {
			return int(i)
		}
		return -1
	}
	for i := range t.list {
		if rawEqual(t.list[i].key, k) {
			return i
		}
	}
	return -1
}

func (t *table) findString(k string) int {
	if t.index != nil {
		if i, ok := t.index[k]; ok {
			return int(i)
		}
		return -1
	}
	for i := range t.list {
		if s, ok := t.list[i].key.ref.(string); ok && s == k {
			return i
		}
	}
	return -1
}

// arrayIndex is the place of a key in an array, -1 if it can have none.
func arrayIndex(k value) int {
	if k.isNumber() && k.num >= 1 && k.num < 1<<31 {
		if i := int(k.num); float64(i) == k.num {
			return i - 1
		}
	}
	return -1
}

func (t *table) get(k value) value {
	if s, ok := k.ref.(string); ok {
		return t.getString(s)
	}
	if i := arrayIndex(k); i >= 0 && i < len(t.arr) {
		return t.arr[i]
	}
	if len(t.list) == 0 {
		return nilValue
	}
	if i := t.find(k); i >= 0 {
		return t.list[i].val
	}
	return nilValue
}

func (t *table) getString(k string) value {
	if i := t.findString(k); i >= 0 {
		return t.list[i].val
	}
	return nilValue
}

// getInt gets the element at n, counted from 1.
func (t *table) getInt(n int) value {
	if n >= 1 && n <= len(t.arr) {
		return t.arr[n-1]
	}
	return t.get(number(float64(n)))
}

// set stores a value without asking metamethods and reports how many bytes the table grew by. The key is neither nil nor NaN.
func (t *table) set(k, v value) int {
	i := arrayIndex(k)
	switch {
	case i >= 0 && i < len(t.arr):
		t.arr[i] = v
		if v.isNil() && i == len(t.arr)-1 {
			t.trim()
		}
		return 0
	case i >= 0 && i == len(t.arr):
		return t.push(k, v)
	}
	return t.setList(k, v)
}

func (t *table) setString(k string, v value) int { return t.setList(str(k), v) }

// append adds an element behind the array part.
func (t *table) append(v value) { t.push(number(float64(len(t.arr)+1)), v) }

func (t *table) push(k, v value) int {
	if v.isNil() {
		if t.numbers > 0 {
			t.setList(k, v)
		}
		return 0
	}
	if t.numbers > 0 {
		t.remove(k)
	}
	t.arr = append(t.arr, v)
	for t.numbers > 0 { // what was set ahead of its turn moves in
		next := number(float64(len(t.arr) + 1))
		i := t.find(next)
		if i < 0 || t.list[i].val.isNil() {
			break
		}
		t.arr = append(t.arr, t.list[i].val)
		t.remove(next)
	}
	return slotBytes
}

func (t *table) trim() {
	n := len(t.arr)
	for n > 0 && t.arr[n-1].isNil() {
		n--
	}
	t.arr = t.arr[:n]
}

func (t *table) remove(k value) {
	if i := t.find(k); i >= 0 && !t.list[i].val.isNil() {
		t.list[i].val = nilValue
		t.live--
	}
}

func (t *table) setList(k, v value) int {
	if i := t.find(k); i >= 0 {
		switch {
		case v.isNil() && !t.list[i].val.isNil():
			t.live--
		case !v.isNil() && t.list[i].val.isNil():
			t.live++
		}
		t.list[i].val = v
		return 0
	}
	if v.isNil() {
		return 0
	}
	if len(t.list) >= listScan && t.live < len(t.list)/2 {
		t.rebuild()
	}
	if k.isNumber() {
		t.numbers++
	}
	t.list = append(t.list, entry{k, v})
	t.live++
	switch {
	case t.index != nil:
		t.index[mapKey(k)] = int32(len(t.list) - 1)
	case len(t.list) > listScan:
		t.reindex()
	}
	return entryBytes
}

func (t *table) rebuild() {
	kept := t.list[:0]
	t.numbers = 0
	for _, e := range t.list {
		if !e.val.isNil() {
			kept = append(kept, e)
			if e.key.isNumber() {
				t.numbers++
			}
		}
	}
	clear(t.list[len(kept):])
	t.list, t.index = kept, nil
	if len(kept) > listScan {
		t.reindex()
	}
}

func (t *table) reindex() {
	t.index = make(map[any]int32, 2*len(t.list))
	for i := range t.list {
		t.index[mapKey(t.list[i].key)] = int32(i)
	}
}

// next gives the first entry at or after a position and the position behind it; 0 is the beginning.
func (t *table) next(at int) (k, v value, after int) {
	for ; at < len(t.arr); at++ {
		if !t.arr[at].isNil() {
			return number(float64(at + 1)), t.arr[at], at + 1
		}
	}
	for i := at - len(t.arr); i < len(t.list); i++ {
		if e := &t.list[i]; !e.val.isNil() {
			return e.key, e.val, len(t.arr) + i + 1
		}
	}
	return nilValue, nilValue, 0
}

// position is where next goes on after a key, -1 if the key is not in the table.
func (t *table) position(k value) int {
	if k.isNil() {
		return 0
	}
	if i := arrayIndex(k); i >= 0 && i < len(t.arr) {
		return i + 1
	}
	if i := t.find(k); i >= 0 {
		return len(t.arr) + i + 1
	}
	if i := arrayIndex(k); i >= 0 && i <= cap(t.arr) { // the end of the array was removed while one went through it
		return len(t.arr)
	}
	return -1
}

func (t *table) metamethod(name string) value {
	if t.meta == nil {
		return nilValue
	}
	return t.meta.getString(name)
}

func isNaN(v value) bool { return v.isNumber() && math.IsNaN(v.num) }
