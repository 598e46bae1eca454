// Package engine is durable execution as a pure state machine: events start runs of functions, runs are made of
// memoized steps, and flow control says when a call of a run may be made.
//
// The machine does no I/O, reads no clock and starts no goroutine. A host (package shard) gives it one [Command] at a
// time together with the time, and gets back a reply, the [store.Record]s that make the change durable, and the
// [Effect]s that may happen once it is. Equal state, time and command give equal results, which is what lets
// package sim run years of failures in seconds.
//
// The vocabulary is that of docs/architecture.md. The engine knows no protocol: a door translates what its SDK says into
// commands and [Op]s, and translates effects into calls. Where a protocol needs its own words in something durable (the
// name of the event that a clock sends, say) the door passes them in with the function.
//
// Where to look: event.go matches events, start.go decides whether and when a run begins, report.go applies what a
// call answered, schedule.go chooses which call is made next, finish.go ends runs, recover.go reads everything back.
package engine
