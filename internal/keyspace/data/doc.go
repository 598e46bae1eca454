// Package data holds the structures of the keyspace: what a hash, a set, a list, a sorted set and a stream are in memory.
//
// They are made for few pointers, because a keyspace of millions of keys is what the garbage collector has to look at: small
// hashes and sets are one slice of bytes, lists and streams are blocks of bytes, sorted sets are trees of numbers. Each element
// has a number or a position that stays the same for as long as it lives, which is what its record is keyed by.
//
// Nothing here knows of commands, records or time.
package data
