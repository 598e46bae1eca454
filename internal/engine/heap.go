package engine

// heapItem is what a heap holds: it knows its order and remembers its place, so that it can be taken out from the
// middle. An item is in at most one heap at a time; place -1 means none.
type heapItem[T any] interface {
	before(T) bool
	place() *int32
}

// heap is a binary min-heap whose items know their place.
type heap[T heapItem[T]] struct{ items []T }

func (h *heap[T]) len() int { return len(h.items) }
func (h *heap[T]) top() T   { return h.items[0] }

func (h *heap[T]) push(x T) {
	*x.place() = int32(len(h.items))
	h.items = append(h.items, x)
	h.up(len(h.items) - 1)
}

func (h *heap[T]) pop() T {
	x := h.items[0]
	h.removeAt(0)
	return x
}

func (h *heap[T]) remove(x T) { h.removeAt(int(*x.place())) }

// fix restores the order after x changed its key.
func (h *heap[T]) fix(x T) {
	i := int(*x.place())
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) removeAt(i int) {
	x := h.items[i]
	last := len(h.items) - 1
	moved := h.items[last]
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	if i != last {
		h.items[i] = moved
		*moved.place() = int32(i)
		h.fix(moved)
	}
	*x.place() = -1
	if cap(h.items) > 1024 && len(h.items) < cap(h.items)/4 {
		h.items = append(make([]T, 0, len(h.items)*2), h.items...)
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.items[i].place() = int32(i)
	*h.items[j].place() = int32(j)
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !h.items[i].before(h.items[p]) {
			return
		}
		h.swap(i, p)
		i = p
	}
}

func (h *heap[T]) down(i int) bool {
	start := i
	for {
		c := 2*i + 1
		if c >= len(h.items) {
			break
		}
		if c+1 < len(h.items) && h.items[c+1].before(h.items[c]) {
			c++
		}
		if !h.items[c].before(h.items[i]) {
			break
		}
		h.swap(i, c)
		i = c
	}
	return i > start
}
