package keyspace

import "github.com/quartetjobs/quartet/internal/keyspace/reply"

// Databases is the number of databases, as SELECT counts them.
const Databases = 16

// Command is what the machine takes: [Do], [Exec], [Watch], [Unwatch], [Unblock], [Forget] or [Count].
type Command interface{ command() }

// Do runs one command for a client. The caller has checked with [Lookup] and [Spec.Check] that it exists and has as many
// arguments as it needs, and that it is not one of the server's own.
type Do struct {
	Client  uint64 // whose command it is; 0: nobody's, which never blocks
	Request uint64 // comes back with the Answer of a command that blocks
	DB      int    // 0 to Databases-1
	// Args is the name and the arguments. The machine keeps parts of them: each must have memory of its own.
	Args []string
	// Micros is when the command was read, in µs since the epoch. It gives TIME what the machine's milliseconds lack.
	Micros int64
}

// Exec runs a transaction: the commands that were queued since MULTI, in order, with nothing in between. Commands that block do not. Its reply
// is the array of theirs, or a null array if a key that the client watches was changed. Either way the client watches nothing afterwards.
type Exec struct {
	Client uint64
	DB     int
	Queued [][]string // as Do.Args; commands of the server are passed to Server.Answer, SELECT is the machine's
	Micros int64
}

// Watch makes the client's next Exec fail if one of the keys is changed, deleted or expires before it. It counts from its place
// in the order of commands and is not durable.
type Watch struct {
	Client uint64
	DB     int
	Keys   []string
}

// Unwatch forgets everything that the client watches.
type Unwatch struct{ Client uint64 }

// Unblock answers the blocked command of a client, with an error or as if its time were up. The reply is 1, or 0 if it was
// not blocked.
type Unblock struct {
	Client uint64
	Error  bool
}

// Forget says that a connection is gone: nothing is popped for it any more and it watches nothing.
type Forget struct{ Client uint64 }

// Count asks for the numbers of INFO.
type Count struct{}

func (*Do) command()      {}
func (*Exec) command()    {}
func (*Watch) command()   {}
func (*Unwatch) command() {}
func (*Unblock) command() {}
func (*Forget) command()  {}
func (*Count) command()   {}

// Result is what Apply returns.
type Result struct {
	Reply reply.Reply
	// Blocked says that there is no reply yet: it comes as an Answer, possibly before the Result itself is released.
	Blocked bool
	DB      int    // the database that the client uses from now on: SELECT in a transaction changes it
	Stats   *Stats // of Count
}
