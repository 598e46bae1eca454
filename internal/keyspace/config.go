package keyspace

import "github.com/quartetjobs/quartet/internal/keyspace/reply"

// Config of a Machine. Zero fields do without.
type Config struct {
	Scripts Scripts // nil: EVAL and its relatives are refused
	Server  Server  // nil: nobody listens, and the server's commands are refused in scripts and transactions
	// Random is the source of SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER and RANDOMKEY, 64 random bits a call; nil: always the same sequence.
	Random func() uint64
	// Limit is the number of bytes of keys and values over which commands that may need memory are answered with -OOM; 0: none.
	Limit int64
}

// Server is what the machine asks the server for while it applies a command. What it answers goes into replies only, never into
// the keyspace by the machine's own doing. It must not call the machine.
type Server interface {
	// Receivers is how many clients a message on a channel would reach now.
	Receivers(channel string, shard bool) int
	// Answer runs one of the server's own commands, one marked with Outside, within a transaction or script of the client.
	Answer(client uint64, db int, args []string) reply.Reply
}
