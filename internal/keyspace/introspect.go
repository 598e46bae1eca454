package keyspace

import (
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// COMMAND and its subcommands.

func commandCommand(*call) reply.Reply {
	elems := make([]reply.Reply, len(Specs))
	for i, s := range Specs {
		elems[i] = s.info()
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// info is what COMMAND says about a command. Categories, tips and the descriptions of keys are left empty.
func (s *Spec) info() reply.Reply {
	var flags []reply.Reply
	for _, n := range s.FlagNames() {
		flags = append(flags, reply.Reply{Kind: reply.Status, Str: n})
	}
	subs := make([]reply.Reply, len(s.Subs))
	for i, sub := range s.Subs {
		subs[i] = sub.info()
	}
	none := reply.Reply{Kind: reply.Set}
	return reply.List(
		reply.Of(s.Name), reply.Num(int64(s.Arity)), reply.Reply{Kind: reply.Set, Elems: flags},
		reply.Num(int64(s.First)), reply.Num(int64(s.Last)), reply.Num(int64(s.Step)),
		none, empty, empty, reply.Reply{Kind: reply.Array, Elems: subs},
	)
}

func commandCount(*call) reply.Reply { return reply.Num(int64(len(Specs))) }

// lookupPath finds a command, or a subcommand by "container|name".
func lookupPath(name string) *Spec {
	name, sub, isSub := strings.Cut(name, "|")
	s := Lookup(name)
	if s != nil && isSub {
		return s.sub(sub)
	}
	return s
}

func commandInfo(c *call) reply.Reply {
	if len(c.args) == 2 {
		return commandCommand(c)
	}
	elems := make([]reply.Reply, len(c.args)-2)
	for i, name := range c.args[2:] {
		if s := lookupPath(name); s != nil {
			elems[i] = s.info()
		} else {
			elems[i] = nullArray
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func commandDocs(c *call) reply.Reply {
	var elems []reply.Reply
	add := func(s *Spec) {
		elems = append(elems, reply.Of(s.Name), reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
			reply.Of("summary"), reply.Of(""), reply.Of("since"), reply.Of("1.0.0"), reply.Of("group"), reply.Of("generic"),
		}})
	}
	if len(c.args) == 2 {
		for _, s := range Specs {
			add(s)
		}
	}
	for _, name := range c.args[2:] {
		if s := lookupPath(name); s != nil {
			add(s)
		}
	}
	return reply.Reply{Kind: reply.Map, Elems: elems}
}

func commandList(c *call) reply.Reply {
	pattern := ""
	switch {
	case len(c.args) == 2:
	case len(c.args) == 5 && isWord(c.args[2], "FILTERBY") && isWord(c.args[3], "PATTERN"):
		pattern = c.args[4]
	default:
		return errSyntax
	}
	var elems []reply.Reply
	for _, s := range Specs {
		if pattern == "" || match(pattern, s.Name) {
			elems = append(elems, reply.Of(s.Name))
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// keysOf finds the keys of the command that begins at the third argument.
func (c *call) keysOf() (s *Spec, keys []string, bad reply.Reply, ok bool) {
	args := c.args[2:]
	s, bad = Check(args)
	switch {
	case s == nil && strings.HasPrefix(bad.Str, "ERR wrong number"):
		return nil, nil, reply.Fail("ERR Invalid number of arguments specified for command"), false
	case s == nil:
		return nil, nil, reply.Fail("ERR Invalid command specified"), false
	case s.First == 0 && s.keys == nil:
		return nil, nil, reply.Fail("ERR The command has no key arguments"), false
	}
	if keys = s.Keys(args); len(keys) == 0 {
		return nil, nil, reply.Fail("ERR Invalid arguments specified for command"), false
	}
	return s, keys, null, true
}

func commandGetKeys(c *call) reply.Reply {
	_, keys, bad, ok := c.keysOf()
	if !ok {
		return bad
	}
	return flat(keys)
}

func commandGetKeysAndFlags(c *call) reply.Reply {
	s, keys, bad, ok := c.keysOf()
	if !ok {
		return bad
	}
	flags := []string{"RO", "access"}
	if s.Flags&Write != 0 {
		flags = []string{"RW", "access", "update"}
	}
	elems := make([]reply.Reply, len(keys))
	for i, k := range keys {
		elems[i] = reply.List(reply.Of(k), flat(flags))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// countedKeys finds the keys behind their number, which is the argument with an index.
func countedKeys(at int) func([]string) []string {
	return func(args []string) []string {
		if len(args) <= at {
			return nil
		}
		n, ok := parseInt(args[at])
		if !ok || n < 0 || n > int64(len(args)-at-1) {
			return nil
		}
		return args[at+1 : at+1+int(n)]
	}
}

// storeKeys finds the destination and the counted keys of ZUNIONSTORE and its like.
func storeKeys(args []string) []string {
	if len(args) < 3 {
		return nil
	}
	return append([]string{args[1]}, countedKeys(2)(args)...)
}

// streamKeys finds the keys of XREAD and XREADGROUP.
func streamKeys(args []string) []string {
	for i := 1; i < len(args); i++ {
		if isWord(args[i], "STREAMS") {
			rest := args[i+1:]
			return rest[:len(rest)/2]
		}
	}
	return nil
}

// sortKeys finds the keys of SORT: what is sorted, and where it is stored.
func sortKeys(args []string) []string { return withStore(args, 2) }

// withStore finds the first key and the one behind the last STORE or STOREDIST.
func withStore(args []string, from int) []string {
	keys := []string{args[1]}
	for i := from; i+1 < len(args); i++ {
		if isWord(args[i], "STORE") || isWord(args[i], "STOREDIST") {
			keys = append(keys[:1], args[i+1])
		}
	}
	return keys
}
