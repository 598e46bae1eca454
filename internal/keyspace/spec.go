package keyspace

import (
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Flags say what a command does, as COMMAND INFO shows it.
type Flags uint32

// The flags.
const (
	Write        Flags = 1 << iota
	ReadOnly           // changes nothing
	DenyOOM            // may need memory
	NoScript           // not allowed in scripts
	Blocking           // may wait; within scripts and transactions it does not
	Fast               // constant or logarithmic time
	MovableKeys        // where the keys are depends on the arguments
	PubSub             // about channels
	Admin              // not for ordinary users
	Loading            // allowed while the data is being loaded
	Stale              // allowed on replicas that lost their master
	NoAuth             // allowed before AUTH
	NoMulti            // not allowed in a transaction
	SkipMonitor        // MONITOR does not show it
	MayReplicate       // a script with it may change something
	Outside            // the server's, not the machine's; not shown
)

var flagNames = [...]string{
	"write", "readonly", "denyoom", "noscript", "blocking", "fast", "movablekeys", "pubsub", "admin", "loading", "stale", "no_auth",
	"no_multi", "skip_monitor", "may_replicate",
}

// Spec describes a command or a subcommand.
type Spec struct {
	Name  string // in lower case; a subcommand's is "container|name"
	Arity int    // number of arguments with the name (and the subcommand's); negative: at least that many
	Flags Flags
	// First, Last and Step say which arguments are keys: from First to Last, where -1 is the last argument, every Step-th.
	// All are 0 if there are none or they are found by keys.
	First, Last, Step int
	Subs              []*Spec

	run  func(*call) reply.Reply
	keys func(args []string) []string
}

// Lookup finds a command by its name in any case, nil if there is none. Subcommands are in its Subs.
func Lookup(name string) *Spec {
	var buf [32]byte
	if len(name) > len(buf) {
		return nil
	}
	b := buf[:len(name)]
	for i := range b {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	return byName[string(b)]
}

// Check finds the command that args is, or says why it is none: an unknown command or subcommand, or the wrong number of
// arguments. It does what a server does before it runs or queues a command. args must not be empty.
func Check(args []string) (*Spec, reply.Reply) {
	s := Lookup(args[0])
	if s == nil {
		return nil, unknownCommand(args)
	}
	if s.Subs != nil && len(args) >= 2 {
		sub := s.sub(args[1])
		if sub == nil {
			return nil, reply.Fail("ERR unknown subcommand '" + clip(args[1], 128) + "'. Try " + strings.ToUpper(s.Name) + " HELP.")
		}
		s = sub
	}
	if s.Arity > 0 && len(args) != s.Arity || len(args) < -s.Arity {
		return nil, wrongArity(s.Name)
	}
	return s, reply.Reply{}
}

func (s *Spec) sub(name string) *Spec {
	for _, sub := range s.Subs {
		if strings.EqualFold(sub.Name[len(s.Name)+1:], name) {
			return sub
		}
	}
	return nil
}

// Keys returns the keys among the arguments of a call of the command.
func (s *Spec) Keys(args []string) []string {
	if s.keys != nil {
		return s.keys(args)
	}
	if s.First == 0 {
		return nil
	}
	last := s.Last
	if last < 0 {
		last += len(args)
	}
	var keys []string
	for i := s.First; i <= last && i < len(args); i += s.Step {
		keys = append(keys, args[i])
	}
	return keys
}

// FlagNames lists the flags as COMMAND INFO does.
func (s *Spec) FlagNames() []string {
	var names []string
	for i, n := range flagNames {
		if s.Flags&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

func unknownCommand(args []string) reply.Reply {
	var b strings.Builder
	b.WriteString("ERR unknown command '")
	b.WriteString(oneLine(clip(args[0], 128)))
	b.WriteString("', with args beginning with: ")
	room := 128
	for _, a := range args[1:] {
		if room <= 0 {
			break
		}
		part := "'" + oneLine(clip(a, room)) + "' "
		room -= len(part)
		b.WriteString(part)
	}
	return reply.Fail(b.String())
}

func wrongArity(name string) reply.Reply {
	return reply.Fail("ERR wrong number of arguments for '" + name + "' command")
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// oneLine keeps an error reply on its line. It ends where a string of C would.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if strings.ContainsAny(s, "\r\n") {
		return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
	}
	return s
}
