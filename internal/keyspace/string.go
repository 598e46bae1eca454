package keyspace

import (
	"math"
	"math/big"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// Strings: GET, SET and their relatives.

// text opens a key that must hold a string.
func (c *call) text(key string) (val string, there, ok bool) {
	it, s, ok := open[str](c, key)
	return string(s), it != nil, ok
}

func get(c *call) reply.Reply {
	val, there, ok := c.text(c.args[1])
	switch {
	case !ok:
		return wrongType
	case !there:
		return null
	}
	return reply.Of(val)
}

// isExpiry reports whether the argument at an index is EX, PX, EXAT or PXAT with one behind it. It may repeat an earlier one, whose
// argument is at before.
func (c *call) isExpiry(i, before int) bool {
	a := c.args[i]
	if !isWord(a, "EX") && !isWord(a, "PX") && !isWord(a, "EXAT") && !isWord(a, "PXAT") || i+1 == len(c.args) {
		return false
	}
	return before == 0 || strings.EqualFold(c.args[before-1], a)
}

// expiryOption reads EX, PX, EXAT or PXAT and its argument, as SET and GETEX take them.
func (c *call) expiryOption(option, arg, name string) (at int64, bad reply.Reply, ok bool) {
	n, ok := parseInt(arg)
	if !ok {
		return 0, errInteger, false
	}
	seconds := len(option) == 2 && (option[0]|0x20) == 'e' || len(option) == 4 && (option[0]|0x20) == 'e'
	return c.expiryTime(n, seconds, len(option) == 4, name)
}

// expiryTime turns what a command says into ms since the epoch.
func (c *call) expiryTime(n int64, seconds, absolute bool, name string) (at int64, bad reply.Reply, ok bool) {
	invalid := reply.Fail("ERR invalid expire time in '" + name + "' command")
	if n <= 0 || seconds && n > math.MaxInt64/1000 {
		return 0, invalid, false
	}
	if seconds {
		n *= 1000
	}
	if !absolute {
		if n > math.MaxInt64-c.m.now {
			return 0, invalid, false
		}
		n += c.m.now
	}
	return n, null, true
}

func setCommand(c *call) reply.Reply {
	var nx, xx, get, keep bool
	expiry := 0 // the index of the argument that says when
	for i := 3; i < len(c.args); i++ {
		a := c.args[i]
		switch {
		case isWord(a, "NX") && !xx:
			nx = true
		case isWord(a, "XX") && !nx:
			xx = true
		case isWord(a, "GET"):
			get = true
		case isWord(a, "KEEPTTL") && expiry == 0:
			keep = true
		case !keep && c.isExpiry(i, expiry):
			i++
			expiry = i
		default:
			return errSyntax
		}
	}
	var at int64
	if expiry != 0 {
		var bad reply.Reply
		var ok bool
		if at, bad, ok = c.expiryOption(c.args[expiry-1], c.args[expiry], "set"); !ok {
			return bad
		}
	}
	return c.setWith(c.args[1], c.args[2], nx, xx, get, keep, at)
}

func (c *call) setWith(key, val string, nx, xx, get, keep bool, at int64) reply.Reply {
	answer := reply.OK
	if get {
		old, there, ok := c.text(key)
		if !ok {
			return wrongType
		}
		answer = null
		if there {
			answer = reply.Of(old)
		}
	}
	if nx || xx {
		if there := c.find(key) != nil; there == nx {
			if get {
				return answer
			}
			return null
		}
	}
	it := c.setString(key, val, keep)
	if at != 0 {
		c.m.setExpiry(c.db, key, it, at)
		if at < c.m.now {
			c.remove(key)
		}
	}
	return answer
}

func setnx(c *call) reply.Reply {
	if c.find(c.args[1]) != nil {
		return zero
	}
	c.setString(c.args[1], c.args[2], false)
	return one
}

func setex(c *call) reply.Reply  { return c.storeFor("setex", true) }
func psetex(c *call) reply.Reply { return c.storeFor("psetex", false) }

func (c *call) storeFor(name string, seconds bool) reply.Reply {
	n, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	at, bad, ok := c.expiryTime(n, seconds, false, name)
	if !ok {
		return bad
	}
	return c.setWith(c.args[1], c.args[3], false, false, false, false, at)
}

func getset(c *call) reply.Reply {
	return c.setWith(c.args[1], c.args[2], false, false, true, false, 0)
}

func getdel(c *call) reply.Reply {
	r := get(c)
	if r.Kind == reply.Bulk {
		c.remove(c.args[1])
	}
	return r
}

func getex(c *call) reply.Reply {
	expiry, persist := 0, false
	for i := 2; i < len(c.args); i++ {
		switch {
		case isWord(c.args[i], "PERSIST") && expiry == 0:
			persist = true
		case !persist && c.isExpiry(i, expiry):
			i++
			expiry = i
		default:
			return errSyntax
		}
	}
	r := get(c)
	if r.Kind != reply.Bulk {
		return r
	}
	var at int64
	if expiry != 0 {
		var bad reply.Reply
		var ok bool
		if at, bad, ok = c.expiryOption(c.args[expiry-1], c.args[expiry], "getex"); !ok {
			return bad
		}
	}
	key := c.args[1]
	switch it := c.find(key); {
	case at != 0 && at < c.m.now:
		c.remove(key)
	case at != 0:
		c.m.setExpiry(c.db, key, it, at)
		c.touch(key)
	case persist && it.expires != 0:
		c.m.setExpiry(c.db, key, it, 0)
		c.touch(key)
	}
	return r
}

func mget(c *call) reply.Reply {
	elems := make([]reply.Reply, len(c.args)-1)
	for i, key := range c.args[1:] {
		if val, there, ok := c.text(key); there && ok {
			elems[i] = reply.Of(val)
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func mset(c *call) reply.Reply {
	if len(c.args)%2 == 0 {
		return wrongArity("mset")
	}
	for i := 1; i < len(c.args); i += 2 {
		c.setString(c.args[i], c.args[i+1], false)
	}
	return reply.OK
}

func msetnx(c *call) reply.Reply {
	if len(c.args)%2 == 0 {
		return wrongArity("msetnx")
	}
	for i := 1; i < len(c.args); i += 2 {
		if c.find(c.args[i]) != nil {
			return zero
		}
	}
	mset(c)
	return one
}

func incr(c *call) reply.Reply { return c.incrBy(1) }
func decr(c *call) reply.Reply { return c.incrBy(-1) }

func incrby(c *call) reply.Reply {
	n, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	return c.incrBy(n)
}

func decrby(c *call) reply.Reply {
	n, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	if n == math.MinInt64 {
		return reply.Fail("ERR decrement would overflow")
	}
	return c.incrBy(-n)
}

func (c *call) incrBy(n int64) reply.Reply {
	key := c.args[1]
	val, there, ok := c.text(key)
	if !ok {
		return wrongType
	}
	old := int64(0)
	if there {
		if old, ok = parseInt(val); !ok {
			return errInteger
		}
	}
	if n > 0 && old > math.MaxInt64-n || n < 0 && old < math.MinInt64-n {
		return errOverflow
	}
	c.setString(key, formatInt(old+n), true)
	return reply.Num(old + n)
}

func incrbyfloat(c *call) reply.Reply {
	key := c.args[1]
	val, there, ok := c.text(key)
	if !ok {
		return wrongType
	}
	if !there {
		val = "0"
	}
	sum, bad, ok := addFloats(val, c.args[2], errFloat)
	if !ok {
		return bad
	}
	c.setString(key, sum, true)
	return reply.Of(sum)
}

// addFloats adds with the precision of a long double, 64 bits of mantissa, and writes the sum with up to 17 digits behind the point.
func addFloats(a, b string, badValue reply.Reply) (sum string, bad reply.Reply, ok bool) {
	x, ok := parseLong(a)
	if !ok {
		return "", badValue, false
	}
	y, ok := parseLong(b)
	if !ok {
		return "", errFloat, false
	}
	if x.IsInf() || y.IsInf() {
		return "", reply.Fail("ERR increment would produce NaN or Infinity"), false
	}
	text := new(big.Float).SetPrec(64).Add(x, y).Text('f', 17)
	text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	if text == "-0" || text == "" {
		text = "0"
	}
	return text, null, true
}

func parseLong(s string) (*big.Float, bool) {
	f, ok, over := parseFloat(s)
	if !ok || f != f || over && len(s) > 400 {
		return nil, false
	}
	if math.IsInf(f, 0) && !over {
		return new(big.Float).SetInf(f < 0), true
	}
	x, _, err := big.ParseFloat(s, 0, 64, big.ToNearestEven)
	return x, err == nil
}

func appendCommand(c *call) reply.Reply {
	key := c.args[1]
	val, there, ok := c.text(key)
	if !ok {
		return wrongType
	}
	if len(val)+len(c.args[2]) > maxString {
		return errTooLong
	}
	if c.args[2] != "" || !there {
		c.setString(key, val+c.args[2], true)
	}
	return reply.Num(int64(len(val) + len(c.args[2])))
}

func strlen(c *call) reply.Reply {
	val, _, ok := c.text(c.args[1])
	if !ok {
		return wrongType
	}
	return reply.Num(int64(len(val)))
}

func getrange(c *call) reply.Reply {
	start, stop, ok := parseSpan(c.args[2], c.args[3])
	if !ok {
		return errInteger
	}
	val, _, ok := c.text(c.args[1])
	if !ok {
		return wrongType
	}
	n := int64(len(val))
	if start < 0 && stop < 0 && start > stop {
		return reply.Of("")
	}
	if start < 0 {
		start = max(0, start+n)
	}
	if stop < 0 {
		stop = max(0, stop+n)
	}
	stop = min(stop, n-1)
	if start > stop || n == 0 {
		return reply.Of("")
	}
	return reply.Of(val[start : stop+1])
}

func setrange(c *call) reply.Reply {
	key := c.args[1]
	at, ok := parseInt(c.args[2])
	if !ok {
		return errInteger
	}
	if at < 0 {
		return reply.Fail("ERR offset is out of range")
	}
	val, _, ok := c.text(key)
	if !ok {
		return wrongType
	}
	patch := c.args[3]
	if patch == "" {
		return reply.Num(int64(len(val)))
	}
	if at > maxString-int64(len(patch)) {
		return errTooLong
	}
	b := make([]byte, max(len(val), int(at)+len(patch)))
	copy(b, val)
	copy(b[at:], patch)
	c.setString(key, string(b), true)
	return reply.Num(int64(len(b)))
}
