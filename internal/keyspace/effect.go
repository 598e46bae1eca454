package keyspace

import "github.com/quartetjobs/quartet/internal/keyspace/reply"

// Effect is something that may happen once the command that caused it is durable.
type Effect interface{ effect() }

// Answer is the reply to a command that blocked.
type Answer struct {
	Client, Request uint64
	Reply           reply.Reply
}

// Message is to be given to the subscribers of a channel.
type Message struct {
	Channel, Payload string
	Shard            bool // published with SPUBLISH, for those who used SSUBSCRIBE
}

func (*Answer) effect()  {}
func (*Message) effect() {}
