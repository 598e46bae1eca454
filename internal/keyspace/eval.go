package keyspace

import (
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// EVAL, EVALSHA, EVAL_RO, EVALSHA_RO and SCRIPT. Bodies are kept under their SHA-1, and in the store: clients that ask for one by its
// hash find it after a restart too.

// maxBodies bounds the cache of scripts: beyond it the whole cache is dropped, and clients send what they need again.
const maxBodies = 256 << 20

var errNoScript = reply.Fail("NOSCRIPT No matching script. Please use EVAL.")

func eval(c *call) reply.Reply      { return c.eval(true, false) }
func evalSHA(c *call) reply.Reply   { return c.eval(false, false) }
func evalRO(c *call) reply.Reply    { return c.eval(true, true) }
func evalSHARO(c *call) reply.Reply { return c.eval(false, true) }
func scriptHash(body string) string { sum := sha1.Sum([]byte(body)); return hex.EncodeToString(sum[:]) }

func (c *call) eval(body, readOnly bool) reply.Reply {
	n, ok := parseInt(c.args[2])
	switch {
	case !ok:
		return errInteger
	case n > int64(len(c.args)-3):
		return reply.Fail("ERR Number of keys can't be greater than number of args")
	case n < 0:
		return reply.Fail("ERR Number of keys can't be negative")
	}
	s := Script{Keys: c.args[3 : 3+n], Args: c.args[3+n:], ReadOnly: readOnly}
	if body {
		s.Body, s.SHA = c.args[1], scriptHash(c.args[1])
		if bad, ok := c.m.learn(s.SHA, s.Body); !ok {
			return bad
		}
	} else {
		s.SHA = strings.ToLower(c.args[1])
		if s.Body, ok = c.m.scripts[s.SHA]; !ok {
			return errNoScript
		}
	}
	return c.runScript(&s)
}

func (c *call) runScript(s *Script) reply.Reply {
	flags := shebang(s.Body)
	if slices.Contains(flags, "no-writes") {
		s.ReadOnly = true
	} else if s.ReadOnly && flags != nil {
		return reply.Fail("ERR Can not execute a script with write flag using *_ro command.")
	}
	inner := call{db: c.db, client: c.client, micros: c.micros, nested: true, script: true}
	s.Call = func(args []string) reply.Reply {
		inner.args = args
		r := c.m.callFromScript(&inner, s.ReadOnly)
		return r
	}
	return c.m.cfg.Scripts.Run(s)
}

// callFromScript runs a command for a script. SELECT in a script holds until its end.
func (m *Machine) callFromScript(of *call, readOnly bool) reply.Reply {
	s, bad := Check(of.args)
	switch {
	case s != nil:
	case strings.HasPrefix(bad.Str, "ERR wrong number"):
		return reply.Fail("ERR Wrong number of args calling Redis command from script")
	case strings.HasPrefix(bad.Str, "ERR unknown command"):
		return reply.Fail("ERR Unknown Redis command called from script")
	default:
		return bad
	}
	switch {
	case s.Flags&NoScript != 0:
		return reply.Fail("ERR This Redis command is not allowed from script")
	case readOnly && s.Flags&(Write|MayReplicate) != 0:
		return reply.Fail("ERR Write commands are not allowed from read-only scripts.")
	}
	c := m.enter(*of)
	r := m.run(s, c)
	of.db = c.db
	m.leave()
	return r
}

// shebang returns the flags that a script's first line names, nil if there is no such line.
func shebang(body string) []string {
	if !strings.HasPrefix(body, "#!") {
		return nil
	}
	line, _, _ := strings.Cut(body, "\n")
	flags := []string{}
	for _, word := range strings.Fields(line)[1:] {
		if list, ok := strings.CutPrefix(word, "flags="); ok {
			flags = append(flags, strings.Split(list, ",")...)
		}
	}
	return flags
}

// learn keeps a script that is new.
func (m *Machine) learn(sha, body string) (bad reply.Reply, ok bool) {
	if _, known := m.scripts[sha]; known {
		return null, true
	}
	if m.cfg.Scripts == nil {
		return reply.Fail("ERR scripts are not available here"), false
	}
	if err := m.cfg.Scripts.Compile(sha, body); err != nil {
		return reply.Fail("ERR Error compiling script (new function): " + oneLine(err.Error())), false
	}
	if m.bodies+int64(len(body)) > maxBodies {
		m.flushScripts()
	}
	m.keepScript(sha, body)
	key := append(append(m.alloc(1+len(sha)), rowScript), sha...)
	m.putRow(key, append(m.alloc(max(1, len(body))), body...), false)
	return null, true
}

func (m *Machine) keepScript(sha, body string) {
	m.scripts[sha] = body
	m.bodies += int64(len(body))
}

func (m *Machine) flushScripts() {
	shas := make([]string, 0, len(m.scripts))
	for sha := range m.scripts { // sorted below
		shas = append(shas, sha)
	}
	slices.Sort(shas)
	for _, sha := range shas {
		m.deleteRow(append([]byte{rowScript}, sha...))
	}
	clear(m.scripts)
	m.bodies = 0
	if m.cfg.Scripts != nil {
		m.cfg.Scripts.Forget()
	}
}

func scriptLoad(c *call) reply.Reply {
	sha := scriptHash(c.args[2])
	if bad, ok := c.m.learn(sha, c.args[2]); !ok {
		return bad
	}
	return reply.Of(sha)
}

func scriptExists(c *call) reply.Reply {
	elems := make([]reply.Reply, 0, len(c.args)-2)
	for _, sha := range c.args[2:] {
		_, ok := c.m.scripts[strings.ToLower(sha)]
		elems = append(elems, flag(ok))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func scriptFlush(c *call) reply.Reply {
	if len(c.args) > 3 || len(c.args) == 3 && !isWord(c.args[2], "ASYNC") && !isWord(c.args[2], "SYNC") {
		return reply.Fail("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
	}
	c.m.flushScripts()
	return reply.OK
}
