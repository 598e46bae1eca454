// Package shard hosts a machine: it gives it commands and time, makes what it says durable, and only then lets
// anything out.
//
// A [Core] is the order of things without goroutines: apply commands, seal a batch, append it, release its replies and
// effects. A [Host] runs a core: a loop that applies while the committer's fsync is under way (pipelined group commit), a
// folder, and recovery. Package sim drives a core by itself.
//
// A commit that fails is fatal to the memory it came from: the host drops the machine, acquires the shard again and
// recovers from what is durable. Who waited is told that the outcome is unknown, and retries.
package shard
