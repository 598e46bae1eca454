// Package resp is the Redis door: it speaks the Redis protocol, versions 2 and 3, over the keyspace.
//
// A connection has two goroutines. The reader parses commands (parse.go), answers those about connections itself (commands.go and
// the files beside it) and posts the others to the shard of the keyspace, many at a time, so that a pipeline shares one commit. Each
// command takes a place in the connection's queue of replies (output.go); the writer sends replies in the order of their
// places. A command that blocks holds up the commands behind it on the same connection only, and while it does the reader
// goes on reading, so that a connection that is gone is forgotten at once.
//
// Limits ([Limits]) bound what a client can make the server hold. A client that does not read its replies is cut off.
package resp
