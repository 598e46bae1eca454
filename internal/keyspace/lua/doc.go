// Package lua runs the scripts of the keyspace: Lua 5.1 with the globals, libraries, conversions and error texts of Redis 7.0.
// [Engine] is what package keyspace wants of it.
//
// A script is parsed once (lex.go, parse.go) and compiled to Go closures (compile.go, statement.go, call.go). Scripts can change
// no global, so a name that is no local is known when a script is compiled: library functions, locals that only ever
// name one ("local rcall = redis.call") and functions that capture nothing else are constants. BullMQ's scripts, which define
// some thirty functions before they begin, so begin at once.
//
// Nothing of a run is left for the next one: what scripts share (globals, libraries, the metatable of strings) is read-only, and KEYS
// and ARGV are filled afresh. A run is bounded in turns of loops and calls, in bytes, in depth and by [Engine.Kill], so a script that
// would never end, ends with an error.
//
// Where Lua leaves open what happens, this package says: pairs goes through the array and then through the other keys in the
// order in which they were set, and # is the length of the array part. It differs from Redis in these points: a script's
// functions and coroutines are not collected before it ends, calls nest to a depth of 6,000 instead of 20,000, string.dump and
// load of compiled code do not exist, collectgarbage does nothing, and an error text names no variable for a few rare
// expressions.
package lua
