package data

// Sorted is a sorted set: members by score and then by their bytes. Every member has a number that it keeps. The zero Sorted
// is empty.
type Sorted struct {
	table Table[scored]
	tree  tree
	next  uint64
}

type scored struct {
	score float64
	seq   uint64
}

// Len is the number of members.
func (s *Sorted) Len() int { return s.table.Len() }

func (s *Sorted) less(a, b uint32) bool {
	x, y := s.table.slot(a), s.table.slot(b)
	if x.val.score != y.val.score {
		return x.val.score < y.val.score
	}
	return x.key < y.key
}

// Score returns the score of a member.
func (s *Sorted) Score(member string) (score float64, ok bool) {
	i := s.table.Find(member)
	if i == None {
		return 0, false
	}
	return s.table.At(i).score, true
}

// Set gives a member a score. It returns the member's number and whether it is new.
func (s *Sorted) Set(member string, score float64) (seq uint64, added bool) {
	i := s.table.Find(member)
	if i == None {
		s.Restore(member, score, s.next)
		return s.next - 1, true
	}
	at := s.table.At(i)
	if at.score != score {
		s.tree.remove(i, s.less)
		at.score = score
		s.tree.insert(i, s.less)
	}
	return at.seq, false
}

// Restore puts a member back under the number that it had.
func (s *Sorted) Restore(member string, score float64, seq uint64) {
	i := s.table.Insert(member, scored{score, seq})
	s.tree.insert(i, s.less)
	s.next = max(s.next, seq+1)
}

// Delete removes a member and returns the number that it had.
func (s *Sorted) Delete(member string) (seq uint64, ok bool) {
	i := s.table.Find(member)
	if i == None {
		return 0, false
	}
	return s.delete(i), true
}

func (s *Sorted) delete(i uint32) uint64 {
	seq := s.table.At(i).seq
	s.tree.remove(i, s.less)
	s.table.Delete(i)
	if s.table.Sparse() {
		ids := make([]uint32, s.table.Slots())
		s.table.Shrink(func(from, to uint32) { ids[from] = to })
		if s.tree.root != nil {
			s.tree.root.rename(ids)
		}
	}
	return seq
}

func (n *node) rename(ids []uint32) {
	for i := range n.ids {
		n.ids[i] = ids[n.ids[i]]
	}
	for _, k := range n.kids {
		k.rename(ids)
	}
}

// DeleteAt removes the member with a rank.
func (s *Sorted) DeleteAt(rank int) (member string, score float64, seq uint64) {
	i := s.tree.at(rank)
	member, score = s.table.Key(i), s.table.At(i).score
	return member, score, s.delete(i)
}

// Rank is the number of members in front of one.
func (s *Sorted) Rank(member string) (rank int, ok bool) {
	i := s.table.Find(member)
	if i == None {
		return 0, false
	}
	return s.tree.rank(i, s.less), true
}

// Count is the number of members for which before holds; those must be in front of all others.
func (s *Sorted) Count(before func(member string, score float64) bool) int {
	return s.tree.count(func(id uint32) bool {
		e := s.table.slot(id)
		return before(e.key, e.val.score)
	})
}

// Range calls fn with the members of the ranks from up to and without to, in order or backwards, until it returns false. fn
// must not change the set.
func (s *Sorted) Range(from, to int, back bool, fn func(member string, score float64) bool) {
	if s.tree.root == nil || from >= to {
		return
	}
	visit := func(id uint32) bool {
		e := s.table.slot(id)
		return fn(e.key, e.val.score)
	}
	if back {
		s.tree.root.walkBack(from, to, visit)
	} else {
		s.tree.root.walk(from, to, visit)
	}
}

// Each calls fn with every member, its score and its number, in no order that means something.
func (s *Sorted) Each(fn func(member string, score float64, seq uint64) bool) {
	s.table.Each(func(i uint32) bool {
		e := s.table.slot(i)
		return fn(e.key, e.val.score, e.val.seq)
	})
}

// Numbers calls fn with the numbers of members, at most limit, and forgets those members: a big set is torn down in slices, in
// which nothing else may be asked of it. more is true if some are left.
func (s *Sorted) Numbers(limit int, fn func(seq uint64)) (more bool) {
	t := &s.table
	for limit > 0 && t.used > 0 {
		t.used--
		limit--
		if t.Live(t.used) {
			fn(t.At(t.used).seq)
		}
	}
	return t.used > 0
}

// Random returns a member and its score; r are random numbers. The set must not be empty.
func (s *Sorted) Random(r func() uint64) (member string, score float64) {
	i := s.table.Random(r)
	return s.table.Key(i), s.table.At(i).score
}

// Scan calls fn with members from a cursor on, at least count of them, and returns the next cursor, 0 at the end.
func (s *Sorted) Scan(cursor uint64, count int, fn func(member string, score float64)) (next uint64) {
	return s.table.Scan(cursor, count, func(i uint32) { fn(s.table.Key(i), s.table.At(i).score) })
}

// Short reports whether there are at most n members and none is longer than size; see Dict.Short.
func (s *Sorted) Short(n, size int) bool {
	if s.Len() > n {
		return false
	}
	short := true
	s.Each(func(member string, _ float64, _ uint64) bool {
		short = len(member) <= size
		return short
	})
	return short
}
