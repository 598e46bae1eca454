package keyspace

import "github.com/quartetjobs/quartet/internal/keyspace/reply"

// Scripts runs scripts for the machine; package keyspace/lua does.
type Scripts interface {
	// Compile reports what is wrong with the text of a script, nil if nothing is: the text that follows "ERR Error compiling script
	// (new function): ". It is called once for each body that is new, and may keep what it compiled under sha.
	Compile(sha, body string) error
	// Run runs a script that Compile has accepted, in this life of the server or in an earlier one. Its reply is the command's, an
	// error of the script included.
	Run(s *Script) reply.Reply
	// Forget drops what was compiled: SCRIPT FLUSH.
	Forget()
}

// Script is one run of a script.
type Script struct {
	SHA        string // of the body, 40 lower-case hex digits
	Body       string // a first line that begins with "#!" is for the machine and not Lua
	Keys, Args []string
	ReadOnly   bool
	// Call runs a command in the caller's database, with the time frozen and nothing in between. Error replies have the texts that scripts
	// see. It keeps parts of args: strings must have memory of their own, the slice need not.
	Call func(args []string) reply.Reply
}
