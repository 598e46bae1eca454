// Package keyspace is the Redis data model as a pure state machine: commands in, replies, records and effects out. It
// reads no clock, draws no chance by itself and does no I/O; package shard hosts it.
//
// A connection's command is a [Do]. A transaction is one [Exec] with everything that was queued, and a script is one command
// too: nothing comes between their parts. A command that blocks is answered by an [Answer] effect later; the machine holds who
// waits, in order, with exact deadlines.
//
// What a command changes it names as records at the grain of one hash field, list slot, set member, sorted-set member or
// stream entry (record.go says how they are keyed), so a small write to a big key is small. The structures themselves are in
// package keyspace/data.
//
// Commands about connections (HELLO, CLIENT, SUBSCRIBE …) are the server's. They are in the table of commands all the same,
// marked with [Outside], because COMMAND shows them and because transactions and scripts may hold them.
package keyspace
