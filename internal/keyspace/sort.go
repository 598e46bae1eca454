package keyspace

import (
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// SORT and SORT_RO.

// sorting is what one SORT is told.
type sorting struct {
	by      string
	hasBy   bool
	never   bool // a BY without a star was among the options
	gets    []string
	desc    bool
	alpha   bool
	offset  int64
	count   int64
	store   string
	storing bool
}

func sortCommand(c *call) reply.Reply { return c.sort(true) }
func sortRO(c *call) reply.Reply      { return c.sort(false) }

func (c *call) sortOptions(stores bool) (s sorting, bad reply.Reply, ok bool) {
	s.count = -1
	for i := 2; i < len(c.args); i++ {
		a := c.args[i]
		left := len(c.args) - i - 1
		switch {
		case isWord(a, "ASC"):
			s.desc = false
		case isWord(a, "DESC"):
			s.desc = true
		case isWord(a, "ALPHA"):
			s.alpha = true
		case isWord(a, "LIMIT") && left >= 2:
			var ok1, ok2 bool
			s.offset, ok1 = parseInt(c.args[i+1])
			s.count, ok2 = parseInt(c.args[i+2])
			if !ok1 || !ok2 {
				return s, errInteger, false
			}
			i += 2
		case stores && isWord(a, "STORE") && left >= 1:
			i++
			s.store, s.storing = c.args[i], true
		case isWord(a, "BY") && left >= 1:
			i++
			s.by, s.hasBy = c.args[i], true
			s.never = s.never || !strings.Contains(s.by, "*")
		case isWord(a, "GET") && left >= 1:
			i++
			s.gets = append(s.gets, c.args[i])
		default:
			return s, errSyntax, false
		}
	}
	return s, null, true
}

// lookup resolves a pattern of BY or GET for an element.
func (c *call) lookup(pattern, element string) (val string, ok bool) {
	if pattern == "#" {
		return element, true
	}
	before, after, ok := strings.Cut(pattern, "*")
	if !ok {
		return "", false
	}
	field := ""
	if i := strings.Index(after, "->"); i >= 0 && i+2 < len(after) {
		after, field = after[:i], after[i+2:]
	}
	key := before + element + after
	if field != "" {
		it, h, ok := open[*hash](c, key)
		if !ok || it == nil {
			return "", false
		}
		return h.Get(field)
	}
	val, there, ok := c.text(key)
	return val, there && ok
}

func (c *call) sort(stores bool) reply.Reply {
	s, bad, ok := c.sortOptions(stores)
	if !ok {
		return bad
	}
	var elems []string
	unordered := false
	if it := c.find(c.args[1]); it != nil {
		switch v := it.val.(type) {
		case *list:
			v.Range(0, v.Len(), func(val string) bool {
				elems = append(elems, val)
				return true
			})
		case *set:
			elems = v.members()
			unordered = true
		case *zset:
			for _, e := range v.all() {
				elems = append(elems, e.member)
			}
		default:
			return wrongType
		}
	}
	from := min(max(s.offset, 0), int64(len(elems)))
	to := int64(len(elems))
	if s.count >= 0 {
		to = min(to, from+min(s.count, to))
	}
	if !s.never {
		if elems, ok = c.sorted(&s, elems); !ok {
			return reply.Fail("ERR One or more scores can't be converted into double")
		}
	} else {
		if unordered && s.storing {
			slices.Sort(elems)
		}
		if _, z, _ := open[*zset](c, c.args[1]); z != nil && s.desc {
			slices.Reverse(elems)
		}
	}
	return c.sortReply(&s, elems[from:max(from, to)])
}

func (c *call) sorted(s *sorting, elems []string) ([]string, bool) {
	type weighed struct {
		elem, key string
		missing   bool
		weight    float64
	}
	all := make([]weighed, len(elems))
	for i, e := range elems {
		w := weighed{elem: e, key: e}
		if s.hasBy {
			var ok bool
			w.key, ok = c.lookup(s.by, e)
			w.missing = !ok
		}
		if !s.alpha && !w.missing {
			f, ok := parseScore(w.key)
			if !ok && w.key != "" { // which strtod takes for 0
				return nil, false
			}
			w.weight = f
		}
		all[i] = w
	}
	slices.SortStableFunc(all, func(a, b weighed) int {
		n := 0
		switch {
		case !s.alpha && a.weight != b.weight:
			n = 1
			if a.weight < b.weight {
				n = -1
			}
		case s.alpha && a.missing != b.missing:
			n = 1
			if a.missing {
				n = -1
			}
		case s.alpha:
			n = strings.Compare(a.key, b.key)
		default:
			n = strings.Compare(a.elem, b.elem)
		}
		if s.desc {
			n = -n
		}
		return n
	})
	for i := range all {
		elems[i] = all[i].elem
	}
	return elems, true
}

func (c *call) sortReply(s *sorting, elems []string) reply.Reply {
	var out []reply.Reply
	for _, e := range elems {
		if len(s.gets) == 0 {
			out = append(out, reply.Of(e))
		}
		for _, g := range s.gets {
			if val, ok := c.lookup(g, e); ok {
				out = append(out, reply.Of(val))
			} else {
				out = append(out, null)
			}
		}
	}
	if !s.storing {
		return reply.Reply{Kind: reply.Array, Elems: out}
	}
	if len(out) == 0 {
		c.find(s.store)
		c.remove(s.store)
		return zero
	}
	l := new(list)
	it := c.replace(s.store, l, false)
	for _, r := range out {
		c.push(it, l, r.Str, false)
	}
	c.ready(s.store)
	return reply.Num(int64(len(out)))
}
