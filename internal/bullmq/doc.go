// Package bullmq reads and writes the queues of the BullMQ packages as they are in Redis: what the dashboard shows and does, and what
// Go programs need to share queues with Node workers.
//
// It speaks to a server through [Redis], an ordinary client's commands, so the server may be Quartet's own or one that a user already
// runs. Every change is one Lua script (scripts/), since it must be as atomic as BullMQ's own.
package bullmq
