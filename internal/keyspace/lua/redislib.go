package lua

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Version is the version of Redis that scripts are told, and clients too.
const Version = "7.0.15"

const versionNumber = 7<<16 | 0<<8 | 15

var redisConstants = map[string]value{
	"LOG_DEBUG": number(0), "LOG_VERBOSE": number(1), "LOG_NOTICE": number(2), "LOG_WARNING": number(3),
	"REPL_NONE": number(0), "REPL_AOF": number(1), "REPL_SLAVE": number(2), "REPL_REPLICA": number(2), "REPL_ALL": number(3),
	"REDIS_VERSION": str(Version), "REDIS_VERSION_NUM": number(versionNumber),
}

var redisFuncs = natives{
	"call": redisCall, "pcall": redisPcall,
	"error_reply": redisErrorReply, "status_reply": redisStatusReply,
	"sha1hex": redisSHA1, "log": redisLog, "setresp": redisSetResp,
	"replicate_commands": func(f *frame) { f.ret(trueValue) },
	"set_repl":           redisSetRepl,
	"breakpoint":         func(f *frame) { f.ret(falseValue) },
	"debug":              func(*frame) {},
	"acl_check_cmd":      redisACLCheck,
}

func redisCall(f *frame) {
	r := f.command()
	if r.Kind == reply.Error {
		f.e.raise(errorTable(r.Str))
	}
	f.ret(f.e.fromReply(r))
}

func redisPcall(f *frame) {
	r := f.command()
	if r.Kind == reply.Error {
		f.ret(errorTable(r.Str))
		return
	}
	f.ret(f.e.fromReply(r))
}

// command runs the command that the arguments are.
func (f *frame) command() reply.Reply {
	e := f.e
	if len(f.args) == 0 {
		return reply.Fail("ERR Please specify at least one argument for this redis lib call")
	}
	words := e.words[:0]
	for _, v := range f.args {
		switch r := v.ref.(type) {
		case string:
			words = append(words, r)
		case *tag:
			if r != numberTag {
				return badArguments
			}
			var buf [32]byte
			words = append(words, string(reply.AppendFloat(buf[:0], v.num)))
		default:
			return badArguments
		}
	}
	e.words = words
	if e.state.Load() == running {
		if s := keyspace.Lookup(words[0]); s != nil && s.Flags&(keyspace.Write|keyspace.MayReplicate) != 0 {
			e.state.Store(writing)
		}
	}
	r := e.run.script.Call(words)
	if cap(words) > 1024 {
		e.words = nil
	} else {
		clear(words)
	}
	return r
}

var badArguments = reply.Fail("ERR Lua redis lib command arguments must be strings or integers")

func errorTable(text string) value {
	t := &table{}
	t.setString("err", str(text))
	return value{ref: t}
}

func redisErrorReply(f *frame) {
	if len(f.args) != 1 || f.args[0].kind() != "string" {
		f.ret(errorTable("ERR wrong number or type of arguments"))
		return
	}
	text := strings.TrimRight(strings.TrimPrefix(f.text(0), "-"), "\r\n")
	if !strings.Contains(text, " ") {
		text = "ERR " + text
	}
	f.ret(errorTable(text))
}

func redisStatusReply(f *frame) {
	if len(f.args) != 1 || f.args[0].kind() != "string" {
		f.ret(errorTable("ERR wrong number or type of arguments"))
		return
	}
	t := &table{}
	t.setString("ok", f.args[0])
	f.ret(value{ref: t})
}

// refuse raises an error of the library as redis.call does, without a position.
func (f *frame) refuse(text string) { f.e.raise(errorTable("ERR " + text)) }

func redisSHA1(f *frame) {
	if len(f.args) != 1 {
		f.refuse("wrong number of arguments")
	}
	s := f.text(0)
	f.e.step(len(s) / 64)
	sum := sha1.Sum([]byte(s))
	f.ret(str(hex.EncodeToString(sum[:])))
}

func redisLog(f *frame) {
	if len(f.args) < 2 {
		f.refuse("redis.log() requires two arguments or more.")
	}
	if !f.args[0].isNumber() {
		f.refuse("First argument must be a number (log level).")
	}
	level := int(f.args[0].num)
	if level < 0 || level > 3 {
		f.refuse("Invalid debug level.")
	}
	if f.e.Log == nil {
		return
	}
	var parts []string
	for _, v := range f.args[1:] {
		if s, ok := toText(v); ok {
			parts = append(parts, s)
		}
	}
	f.e.Log(level, strings.Join(parts, " "))
}

func redisSetResp(f *frame) {
	if len(f.args) != 1 {
		f.refuse("redis.setresp() requires one argument.")
	}
	n, _ := toNumber(f.args[0])
	if n != 2 && n != 3 {
		f.refuse("RESP version must be 2 or 3.")
	}
	f.e.run.resp3 = n == 3
}

func redisSetRepl(f *frame) {
	if len(f.args) != 1 {
		f.refuse("redis.set_repl() requires one argument.")
	}
	if n := f.num(0); n != 0 && n != 1 && n != 2 && n != 3 {
		f.refuse("Invalid replication flags. Please use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
	}
}

func redisACLCheck(f *frame) {
	if len(f.args) == 0 {
		f.refuse("Please specify at least one argument for this redis.acl_check_cmd() call")
	}
	if keyspace.Lookup(f.text(0)) == nil {
		f.refuse("Invalid command passed to redis.acl_check_cmd()")
	}
	f.ret(trueValue)
}
