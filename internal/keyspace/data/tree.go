package data

import "slices"

// Bounds of a tree's nodes.
const (
	leafMax  = 128
	innerMax = 48
)

// tree keeps numbers in an order that its owner defines, and knows the rank of each: a B+ tree with counts.
type tree struct{ root *node }

type node struct {
	ids  []uint32 // of a leaf; of an inner node, the first id below each kid
	kids []*node  // nil in a leaf
	size int      // ids in the leaves below
}

// insert adds an id that is not there.
func (t *tree) insert(id uint32, less func(a, b uint32) bool) {
	if t.root == nil {
		t.root = &node{ids: []uint32{id}, size: 1}
		return
	}
	if right := t.root.insert(id, less); right != nil {
		left := t.root
		t.root = &node{ids: []uint32{left.ids[0], right.ids[0]}, kids: []*node{left, right}, size: left.size + right.size}
	}
}

// insert returns the right half of the node if that had to be split.
func (n *node) insert(id uint32, less func(a, b uint32) bool) (right *node) {
	n.size++
	if n.kids == nil {
		i := n.after(id, less)
		if i == len(n.ids) && i == leafMax { // in order: leave full leaves behind
			n.size--
			return &node{ids: append(make([]uint32, 0, leafMax/2), id), size: 1}
		}
		n.ids = slices.Insert(n.ids, i, id)
		if len(n.ids) <= leafMax {
			return nil
		}
		half := len(n.ids) / 2
		right = &node{ids: slices.Clone(n.ids[half:])}
		n.ids = n.ids[:half:half]
		right.size, n.size = len(right.ids), half
		return right
	}
	i := max(0, n.after(id, less)-1)
	split := n.kids[i].insert(id, less)
	n.ids[i] = n.kids[i].ids[0]
	if split == nil {
		return nil
	}
	n.ids = slices.Insert(n.ids, i+1, split.ids[0])
	n.kids = slices.Insert(n.kids, i+1, split)
	if len(n.kids) <= innerMax {
		return nil
	}
	half := len(n.kids) / 2
	right = &node{ids: slices.Clone(n.ids[half:]), kids: slices.Clone(n.kids[half:])}
	clear(n.kids[half:])
	n.ids, n.kids = n.ids[:half], n.kids[:half]
	for _, k := range right.kids {
		right.size += k.size
	}
	n.size -= right.size
	return right
}

// after is the number of ids of the node itself that are not greater than id.
func (n *node) after(id uint32, less func(a, b uint32) bool) int {
	lo, hi := 0, len(n.ids)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if less(id, n.ids[mid]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// remove takes an id out and returns its rank.
func (t *tree) remove(id uint32, less func(a, b uint32) bool) int {
	rank := t.root.remove(id, less)
	for len(t.root.kids) == 1 {
		t.root = t.root.kids[0]
	}
	if t.root.size == 0 {
		t.root = nil
	}
	return rank
}

func (n *node) remove(id uint32, less func(a, b uint32) bool) (rank int) {
	n.size--
	i := n.after(id, less) - 1
	if n.kids == nil {
		n.ids = slices.Delete(n.ids, i, i+1)
		return i
	}
	for _, k := range n.kids[:i] {
		rank += k.size
	}
	k := n.kids[i]
	rank += k.remove(id, less)
	switch {
	case k.size == 0:
		n.ids = slices.Delete(n.ids, i, i+1)
		n.kids = slices.Delete(n.kids, i, i+1)
		return rank
	case i+1 < len(n.kids) && k.merges(n.kids[i+1]):
		k.take(n.kids[i+1])
		n.ids = slices.Delete(n.ids, i+1, i+2)
		n.kids = slices.Delete(n.kids, i+1, i+2)
	case i > 0 && n.kids[i-1].merges(k):
		n.kids[i-1].take(k)
		n.ids = slices.Delete(n.ids, i, i+1)
		n.kids = slices.Delete(n.kids, i, i+1)
		i--
	}
	n.ids[i] = n.kids[i].ids[0]
	return rank
}

// merges reports whether a node and the one to its right fit well into one.
func (n *node) merges(right *node) bool {
	if n.kids == nil {
		return len(n.ids)+len(right.ids) <= leafMax/2
	}
	return len(n.ids)+len(right.ids) <= innerMax/2
}

func (n *node) take(right *node) {
	n.ids = append(n.ids, right.ids...)
	n.kids = append(n.kids, right.kids...)
	n.size += right.size
}

// rank is the number of ids before id.
func (t *tree) rank(id uint32, less func(a, b uint32) bool) int {
	rank := 0
	n := t.root
	for n.kids != nil {
		i := n.after(id, less) - 1
		for _, k := range n.kids[:i] {
			rank += k.size
		}
		n = n.kids[i]
	}
	return rank + n.after(id, less) - 1
}

// count is the number of ids for which before holds; those are in front of all others.
func (t *tree) count(before func(id uint32) bool) int {
	n := t.root
	if n == nil {
		return 0
	}
	rank := 0
	for n.kids != nil {
		i := max(0, n.holds(before)-1)
		for _, k := range n.kids[:i] {
			rank += k.size
		}
		n = n.kids[i]
	}
	return rank + n.holds(before)
}

func (n *node) holds(before func(id uint32) bool) int {
	lo, hi := 0, len(n.ids)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if before(n.ids[mid]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// at returns the id with a rank.
func (t *tree) at(rank int) uint32 {
	n := t.root
	for n.kids != nil {
		i := 0
		for rank >= n.kids[i].size {
			rank -= n.kids[i].size
			i++
		}
		n = n.kids[i]
	}
	return n.ids[rank]
}

// walk calls fn with the ids of the ranks from up to and without to, until it returns false.
func (n *node) walk(from, to int, fn func(id uint32) bool) bool {
	if n.kids == nil {
		for _, id := range n.ids[max(from, 0):min(to, len(n.ids))] {
			if !fn(id) {
				return false
			}
		}
		return true
	}
	for _, k := range n.kids {
		if to <= 0 {
			break
		}
		if from < k.size && !k.walk(from, to, fn) {
			return false
		}
		from -= k.size
		to -= k.size
	}
	return true
}

// walkBack is walk in the reverse order.
func (n *node) walkBack(from, to int, fn func(id uint32) bool) bool {
	if n.kids == nil {
		ids := n.ids[max(from, 0):min(to, len(n.ids))]
		for i := len(ids) - 1; i >= 0; i-- {
			if !fn(ids[i]) {
				return false
			}
		}
		return true
	}
	start := n.size
	for i := len(n.kids) - 1; i >= 0; i-- {
		k := n.kids[i]
		start -= k.size
		if start+k.size <= from {
			break
		}
		if start < to && !k.walkBack(from-start, to-start, fn) {
			return false
		}
	}
	return true
}
