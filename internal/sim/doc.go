// Package sim runs years of a server in seconds: the engine and the shard's core on a store that loses what was not
// synced, with a clock and a chance of its own, against apps that fail, hang, answer twice and are forgotten by a crash.
//
// One seed decides everything, so a failing seed is the bug report: the failure prints the command that replays it.
// The invariants are in check.go; a feature of the engine comes with the invariant that guards it.
package sim
