package resp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// AUTH, HELLO and what there is of ACL: every user may do everything.

const defaultUser = "default"

var errPassword = reply.Fail("WRONGPASS invalid username-password pair or user is disabled.")

// open says that clients need no password.
func (d *Door) open() bool { return d.cfg.Password == "" }

// knows checks a user's password in a time that does not depend on it.
func (d *Door) knows(user, password string) bool {
	want, ok := d.cfg.Users[user]
	if user == defaultUser {
		if d.open() {
			return true
		}
		want, ok = d.cfg.Password, true
	}
	a, b := sha256.Sum256([]byte(want.Reveal())), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok
}

func (c *conn) become(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user = user
	c.parser.stranger = false
}

func authenticate(c *conn, args []string) {
	if len(args) > 3 {
		c.respond(errSyntax)
		return
	}
	user, password := defaultUser, args[1]
	if len(args) == 3 {
		user, password = args[1], args[2]
	} else if c.door.open() {
		c.respond(reply.Fail("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"))
		return
	}
	if !c.door.knows(user, password) {
		c.respond(errPassword)
		return
	}
	c.become(user)
	c.respond(reply.OK)
}

// hello chooses the version of the protocol. Its own reply is in the version that it chose.
func hello(c *conn, args []string) {
	proto, user, name, bad, ok := c.parseHello(args)
	if !ok {
		c.respond(bad)
		return
	}
	if user != "" {
		c.become(user)
	}
	if c.user == "" {
		c.respond(reply.Fail("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"))
		return
	}
	c.mu.Lock()
	c.proto = proto
	if name != nil {
		c.name = *name
	}
	c.mu.Unlock()
	c.respond(reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
		reply.Of("server"), reply.Of("redis"), reply.Of("version"), reply.Of(version), reply.Of("proto"), reply.Num(int64(proto)),
		reply.Of("id"), reply.Num(int64(c.id)), reply.Of("mode"), reply.Of("standalone"), reply.Of("role"), reply.Of("master"),
		reply.Of("modules"),
		{Kind: reply.Array},
	}})
}

// parseHello reads the arguments of HELLO: the version, a user who has given the right password, and a name.
func (c *conn) parseHello(args []string) (proto int, user string, name *string, bad reply.Reply, ok bool) {
	proto = c.proto
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return 0, "", nil, reply.Fail("ERR Protocol version is not an integer or out of range"), false
		}
		if n != 2 && n != 3 {
			return 0, "", nil, reply.Fail("NOPROTO unsupported protocol version"), false
		}
		proto = n
	}
	for i := 2; i < len(args); i++ {
		switch more := len(args) - i - 1; {
		case strings.EqualFold(args[i], "auth") && more >= 2:
			if !c.door.knows(args[i+1], args[i+2]) {
				return 0, "", nil, errPassword, false
			}
			user = args[i+1]
			i += 2
		case strings.EqualFold(args[i], "setname") && more >= 1:
			if !validName(args[i+1]) {
				return 0, "", nil, errName, false
			}
			name = &args[i+1]
			i++
		default:
			return 0, "", nil, reply.Fail("ERR Syntax error in HELLO option '" + clean(args[i]) + "'"), false
		}
	}
	return proto, user, name, reply.Reply{}, true
}

// clean makes what a client sent fit for an error reply.
func clean(s string) string {
	s = s[:min(len(s), 128)]
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}

func (d *Door) users() []string {
	names := slices.Sorted(maps.Keys(d.cfg.Users))
	return append([]string{defaultUser}, slices.DeleteFunc(names, func(n string) bool { return n == defaultUser })...)
}

func aclWhoAmI(c *conn, _ []string) reply.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	return reply.Of(c.user)
}

func aclUsers(c *conn, _ []string) reply.Reply {
	var elems []reply.Reply
	for _, u := range c.door.users() {
		elems = append(elems, reply.Of(u))
	}
	return reply.List(elems...)
}

func aclList(c *conn, _ []string) reply.Reply {
	var elems []reply.Reply
	for _, u := range c.door.users() {
		pass := ""
		if u == defaultUser && c.door.open() {
			pass = " nopass"
		}
		elems = append(elems, reply.Of("user "+u+" on"+pass+" sanitize-payload ~* &* +@all"))
	}
	return reply.List(elems...)
}

func aclGetUser(c *conn, args []string) reply.Reply {
	if !slices.Contains(c.door.users(), args[2]) {
		return reply.Reply{Kind: reply.NullArray}
	}
	flags := []reply.Reply{reply.Of("on"), reply.Of("sanitize-payload")}
	if args[2] == defaultUser && c.door.open() {
		flags = append(flags, reply.Of("nopass"))
	}
	return reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
		reply.Of("flags"),
		{Kind: reply.Set, Elems: flags},
		reply.Of("passwords"),
		{Kind: reply.Array},
		reply.Of("commands"), reply.Of("+@all"),
		reply.Of("keys"), reply.Of("~*"), reply.Of("channels"), reply.Of("&*"), reply.Of("selectors"),
		{Kind: reply.Array},
	}}
}

func aclCat(_ *conn, args []string) reply.Reply {
	if len(args) > 2 {
		return reply.Fail("ERR Unknown category '" + clean(args[2]) + "'")
	}
	var elems []reply.Reply
	for cat := range strings.FieldsSeq("keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow blocking dangerous connection transaction scripting") {
		elems = append(elems, reply.Of(cat))
	}
	return reply.List(elems...)
}

func aclGenPass(_ *conn, args []string) reply.Reply {
	bits := 256
	if len(args) > 2 {
		n, err := strconv.Atoi(args[2])
		if err != nil || n < 1 || n > 4096 {
			return reply.Fail("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096")
		}
		bits = n
	}
	digits := (bits + 3) / 4
	b := make([]byte, (digits+1)/2)
	_, _ = rand.Read(b) // never fails
	return reply.Of(hex.EncodeToString(b)[:digits])
}
