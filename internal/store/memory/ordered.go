package memory

import (
	"iter"
	"slices"
	"strings"
)

// ordered is a map that keeps its keys in order: a list of blocks of sorted entries, which is about as fast as a B-tree of
// two levels up to some millions of entries, and much less code.
type ordered[V any] struct {
	blocks [][]entry[V] // none is empty
}

type entry[V any] struct {
	key   string
	value V
}

// maxBlock is where a block splits in two. Inserting moves half a block on average.
const maxBlock = 512

// find returns where a key is, or where it would be inserted.
func (o *ordered[V]) find(key string) (block, index int, found bool) {
	// The last block that starts at or before the key.
	block, found = slices.BinarySearchFunc(o.blocks, key, func(b []entry[V], key string) int {
		return strings.Compare(b[0].key, key)
	})
	if !found && block > 0 {
		block--
	}
	if block == len(o.blocks) {
		return block, 0, false
	}
	index, found = slices.BinarySearchFunc(o.blocks[block], key, func(e entry[V], key string) int {
		return strings.Compare(e.key, key)
	})
	return block, index, found
}

func (o *ordered[V]) get(key string) (value V, ok bool) {
	b, i, found := o.find(key)
	if !found {
		return value, false
	}
	return o.blocks[b][i].value, true
}

func (o *ordered[V]) set(key string, value V) {
	b, i, found := o.find(key)
	switch {
	case found:
		o.blocks[b][i].value = value
		return
	case b == len(o.blocks):
		o.blocks = append(o.blocks, nil)
	}
	block := slices.Insert(o.blocks[b], i, entry[V]{key, value})
	if len(block) <= maxBlock {
		o.blocks[b] = block
		return
	}
	// Keys mostly ascend, so the lower half is kept full and the upper one gets the room.
	cut := len(block) * 7 / 8
	o.blocks[b] = slices.Clip(block[:cut])
	o.blocks = slices.Insert(o.blocks, b+1, slices.Clone(block[cut:]))
}

func (o *ordered[V]) delete(key string) {
	b, i, found := o.find(key)
	if !found {
		return
	}
	o.blocks[b] = slices.Delete(o.blocks[b], i, i+1)
	if len(o.blocks[b]) == 0 {
		o.blocks = slices.Delete(o.blocks, b, b+1)
	}
}

// ascend yields the entries with key >= from and, unless to is empty, < to. The map must not change meanwhile.
func (o *ordered[V]) ascend(from, to string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		b, i, _ := o.find(from)
		for ; b < len(o.blocks); b, i = b+1, 0 {
			for _, e := range o.blocks[b][i:] {
				if to != "" && e.key >= to || !yield(e.key, e.value) {
					return
				}
			}
		}
	}
}

// descend yields what ascend does, the last first.
func (o *ordered[V]) descend(from, to string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		b, i := len(o.blocks), 0
		if to != "" {
			b, i, _ = o.find(to)
		}
		for {
			if i == 0 {
				if b == 0 {
					return
				}
				b--
				i = len(o.blocks[b])
			}
			i--
			if e := o.blocks[b][i]; e.key < from || !yield(e.key, e.value) {
				return
			}
		}
	}
}
