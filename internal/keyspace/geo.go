package keyspace

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// GEOADD and its relatives. A place is a member of a sorted set whose score is 52 bits of longitude and latitude, interleaved. Searches look at all
// members: there is no index of cells.

const (
	geoLatMax   = 85.05112878
	geoLonMax   = 180.0
	geoStep     = 26
	earthRadius = 6372797.560856 // m
)

// interleave spreads the bits of two numbers, those of y at the odd places.
func interleave(x, y uint32) uint64 {
	spread := func(n uint32) uint64 {
		v := uint64(n)
		v = (v | v<<16) & 0x0000ffff0000ffff
		v = (v | v<<8) & 0x00ff00ff00ff00ff
		v = (v | v<<4) & 0x0f0f0f0f0f0f0f0f
		v = (v | v<<2) & 0x3333333333333333
		return (v | v<<1) & 0x5555555555555555
	}
	return spread(x) | spread(y)<<1
}

func deinterleave(v uint64) (x, y uint32) {
	squash := func(v uint64) uint32 {
		v &= 0x5555555555555555
		v = (v | v>>1) & 0x3333333333333333
		v = (v | v>>2) & 0x0f0f0f0f0f0f0f0f
		v = (v | v>>4) & 0x00ff00ff00ff00ff
		v = (v | v>>8) & 0x0000ffff0000ffff
		return uint32(v | v>>16)
	}
	return squash(v), squash(v >> 1)
}

func geoEncode(lon, lat, latMax float64) uint64 {
	cell := func(v, limit float64) uint32 { return uint32((v + limit) / (2 * limit) * (1 << geoStep)) }
	return interleave(cell(lat, latMax), cell(lon, geoLonMax))
}

// geoDecode gives the middle of a cell.
func geoDecode(score float64) (lon, lat float64) {
	y, x := deinterleave(uint64(score))
	mid := func(cell uint32, limit float64) float64 {
		const cells = 1 << geoStep
		low := -limit + float64(cell)/cells*(2*limit)
		high := -limit + float64(cell+1)/cells*(2*limit)
		return min(max((low+high)/2, -limit), limit)
	}
	return mid(x, geoLonMax), mid(y, geoLatMax)
}

func radians(deg float64) float64 { return deg * (math.Pi / 180) }

// geoDistance is the way along a great circle, in m.
func geoDistance(lon1, lat1, lon2, lat2 float64) float64 {
	v := math.Sin((radians(lon2) - radians(lon1)) / 2)
	if v == 0 {
		return earthRadius * math.Abs(radians(lat2)-radians(lat1))
	}
	u := math.Sin((radians(lat2) - radians(lat1)) / 2)
	a := u*u + math.Cos(radians(lat1))*math.Cos(radians(lat2))*v*v
	return 2 * earthRadius * math.Asin(math.Sqrt(a))
}

func geoUnit(s string) (m float64, bad reply.Reply, ok bool) {
	switch {
	case isWord(s, "m"):
		return 1, null, true
	case isWord(s, "km"):
		return 1000, null, true
	case isWord(s, "ft"):
		return 0.3048, null, true
	case isWord(s, "mi"):
		return 1609.34, null, true
	}
	return 0, reply.Fail("ERR unsupported unit provided. please use M, KM, FT, MI"), false
}

func parsePlace(lon, lat string) (x, y float64, bad reply.Reply, ok bool) {
	x, ok1 := parseScore(lon)
	y, ok2 := parseScore(lat)
	if !ok1 || !ok2 {
		return 0, 0, errFloat, false
	}
	if x < -geoLonMax || x > geoLonMax || y < -geoLatMax || y > geoLatMax {
		return 0, 0, reply.Fail("ERR invalid longitude,latitude pair " + strconv.FormatFloat(x, 'f', 6, 64) + "," + strconv.FormatFloat(y, 'f', 6, 64)), false
	}
	return x, y, null, true
}

func geoadd(c *call) reply.Reply {
	var o zaddOptions
	i := 2
options:
	for ; i < len(c.args); i++ {
		switch a := c.args[i]; {
		case isWord(a, "NX"):
			o.nx = true
		case isWord(a, "XX"):
			o.xx = true
		case isWord(a, "CH"):
			o.ch = true
		default:
			break options
		}
	}
	if (len(c.args)-i)%3 != 0 || o.nx && o.xx || i == len(c.args) {
		return errSyntax
	}
	var pairs []string
	for ; i < len(c.args); i += 3 {
		lon, lat, bad, ok := parsePlace(c.args[i], c.args[i+1])
		if !ok {
			return bad
		}
		pairs = append(pairs, formatInt(int64(geoEncode(lon, lat, geoLatMax))), c.args[i+2])
	}
	return c.zadd(c.args[1], pairs, o)
}

func geopos(c *call) reply.Reply {
	it, z, ok := open[*zset](c, c.args[1])
	if !ok {
		return wrongType
	}
	elems := make([]reply.Reply, len(c.args)-2)
	for i, member := range c.args[2:] {
		elems[i] = nullArray
		if it == nil {
			continue
		}
		if score, ok := z.Score(member); ok {
			elems[i] = positionReply(score)
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func positionReply(score float64) reply.Reply {
	lon, lat := geoDecode(score)
	return reply.List(reply.Of(humanFloat(lon)), reply.Of(humanFloat(lat)))
}

// humanFloat writes up to 17 digits behind the point, as long doubles are written.
func humanFloat(f float64) string {
	text, _, _ := addFloats(strconv.FormatFloat(f, 'g', -1, 64), "0", errFloat)
	exact := strconv.FormatFloat(f, 'f', 17, 64)
	for exact[len(exact)-1] == '0' {
		exact = exact[:len(exact)-1]
	}
	if exact[len(exact)-1] == '.' {
		return text
	}
	return exact
}

func geodist(c *call) reply.Reply {
	if len(c.args) > 5 {
		return errSyntax
	}
	unit := 1.0
	if len(c.args) == 5 {
		var bad reply.Reply
		var ok bool
		if unit, bad, ok = geoUnit(c.args[4]); !ok {
			return bad
		}
	}
	it, z, ok := open[*zset](c, c.args[1])
	switch {
	case !ok:
		return wrongType
	case it == nil:
		return null
	}
	a, ok1 := z.Score(c.args[2])
	b, ok2 := z.Score(c.args[3])
	if !ok1 || !ok2 {
		return null
	}
	lon1, lat1 := geoDecode(a)
	lon2, lat2 := geoDecode(b)
	return distanceReply(geoDistance(lon1, lat1, lon2, lat2) / unit)
}

func distanceReply(d float64) reply.Reply { return reply.Of(strconv.FormatFloat(d, 'f', 4, 64)) }

func geohash(c *call) reply.Reply {
	const alphabet = "0123456789bcdefghjkmnpqrstuvwxyz"
	it, z, ok := open[*zset](c, c.args[1])
	if !ok {
		return wrongType
	}
	elems := make([]reply.Reply, len(c.args)-2)
	for i, member := range c.args[2:] {
		if it == nil {
			continue
		}
		score, ok := z.Score(member)
		if !ok {
			continue
		}
		lon, lat := geoDecode(score)
		cell := geoEncode(lon, lat, 90) // the standard has other limits
		var b [11]byte
		for j := range b {
			digit := uint64(0)
			if j < 10 { // 52 bits are ten digits and a bit; the last is always 0
				digit = cell >> (52 - (j+1)*5) & 31
			}
			b[j] = alphabet[digit]
		}
		elems[i] = reply.Of(string(b[:]))
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

// geoSearch is a search: what is found, and what is said of it.
type geoSearch struct {
	lon, lat                 float64
	radius, width, height    float64 // m; a circle if there is a radius
	byRadius, byBox, placed  bool
	unit                     float64
	dist, hash, coord        bool
	asc, desc, any           bool
	count                    int64
	store                    string
	storing, storingDistance bool
}

// found is a member that lies within a search.
type found struct {
	scored
	dist float64
}

func (s *geoSearch) run(z *zset) []found {
	var out []found
	z.Range(0, z.Len(), false, func(member string, score float64) bool {
		lon, lat := geoDecode(score)
		d := geoDistance(s.lon, s.lat, lon, lat)
		if s.byRadius && d > s.radius {
			return true
		}
		if s.byBox && (geoDistance(lon, lat, s.lon, lat) > s.width/2 || geoDistance(s.lon, lat, s.lon, s.lat) > s.height/2) {
			return true
		}
		out = append(out, found{scored{member, score}, d})
		return !s.any || int64(len(out)) < s.count
	})
	if s.count > 0 && !s.desc && !s.any {
		s.asc = true // the nearest ones are meant
	}
	if s.asc || s.desc {
		slices.SortStableFunc(out, func(a, b found) int {
			if s.desc {
				a, b = b, a
			}
			return cmp.Compare(a.dist, b.dist)
		})
	}
	if s.count > 0 && int64(len(out)) > s.count {
		out = out[:s.count]
	}
	return out
}

// geoOptions reads options from an index on. what says which command's: 's' GEOSEARCH, 't' GEOSEARCHSTORE, 'r' GEORADIUS, 'o' its read-only form.
func (c *call) geoOptions(s *geoSearch, z *zset, from int, what byte) (bad reply.Reply, ok bool) {
	search := what == 's' || what == 't'
	for i := from; i < len(c.args); i++ {
		a := c.args[i]
		left := len(c.args) - i - 1
		switch {
		case isWord(a, "WITHDIST"):
			s.dist = true
		case isWord(a, "WITHHASH"):
			s.hash = true
		case isWord(a, "WITHCOORD"):
			s.coord = true
		case isWord(a, "ANY"):
			s.any = true
		case isWord(a, "ASC"):
			s.asc, s.desc = true, false
		case isWord(a, "DESC"):
			s.asc, s.desc = false, true
		case isWord(a, "COUNT") && left >= 1:
			i++
			if s.count, ok = parseInt(c.args[i]); !ok {
				return errInteger, false
			}
			if s.count <= 0 {
				return reply.Fail("ERR COUNT must be > 0"), false
			}
		case what == 'r' && left >= 1 && (isWord(a, "STORE") || isWord(a, "STOREDIST")):
			s.storing, s.storingDistance = true, isWord(a, "STOREDIST")
			i++
			s.store = c.args[i]
		case what == 't' && isWord(a, "STOREDIST"):
			s.storingDistance = true
		case search && left >= 1 && isWord(a, "FROMMEMBER") && !s.placed:
			i++
			if bad, ok := s.from(z, c.args[i]); !ok {
				return bad, false
			}
		case search && left >= 2 && isWord(a, "FROMLONLAT") && !s.placed:
			if s.lon, s.lat, bad, ok = parsePlace(c.args[i+1], c.args[i+2]); !ok {
				return bad, false
			}
			s.placed = true
			i += 2
		case search && left >= 2 && isWord(a, "BYRADIUS") && !s.byRadius && !s.byBox:
			if bad, ok := s.circle(c.args[i+1], c.args[i+2]); !ok {
				return bad, false
			}
			i += 2
		case search && left >= 3 && isWord(a, "BYBOX") && !s.byRadius && !s.byBox:
			if bad, ok := s.box(c.args[i+1], c.args[i+2], c.args[i+3]); !ok {
				return bad, false
			}
			i += 3
		default:
			return errSyntax, false
		}
	}
	name := Lookup(c.args[0]).Name
	switch {
	case s.storing && (s.dist || s.hash || s.coord):
		who := "STORE option in GEORADIUS"
		if what == 't' {
			who = "GEOSEARCHSTORE"
		}
		return reply.Fail("ERR " + who + " is not compatible with WITHDIST, WITHHASH and WITHCOORD options"), false
	case search && !s.placed:
		return reply.Fail("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + name), false
	case search && !s.byRadius && !s.byBox:
		return reply.Fail("ERR exactly one of BYRADIUS and BYBOX can be specified for " + name), false
	case s.any && s.count == 0:
		return reply.Fail("ERR the ANY argument requires COUNT argument"), false
	}
	return null, true
}

func (s *geoSearch) from(z *zset, member string) (bad reply.Reply, ok bool) {
	s.placed = true
	if z == nil {
		return null, true // nothing is found anyway
	}
	score, ok := z.Score(member)
	if !ok {
		return reply.Fail("ERR could not decode requested zset member"), false
	}
	s.lon, s.lat = geoDecode(score)
	return null, true
}

func (s *geoSearch) circle(radius, unit string) (bad reply.Reply, ok bool) {
	r, ok := parseScore(radius)
	if !ok {
		return reply.Fail("ERR need numeric radius"), false
	}
	if r < 0 {
		return reply.Fail("ERR radius cannot be negative"), false
	}
	if s.unit, bad, ok = geoUnit(unit); !ok {
		return bad, false
	}
	s.radius, s.byRadius = r*s.unit, true
	return null, true
}

func (s *geoSearch) box(width, height, unit string) (bad reply.Reply, ok bool) {
	w, ok := parseScore(width)
	if !ok {
		return reply.Fail("ERR need numeric width"), false
	}
	h, ok := parseScore(height)
	if !ok {
		return reply.Fail("ERR need numeric height"), false
	}
	if w < 0 || h < 0 {
		return reply.Fail("ERR height or width cannot be negative"), false
	}
	if s.unit, bad, ok = geoUnit(unit); !ok {
		return bad, false
	}
	s.width, s.height, s.byBox = w*s.unit, h*s.unit, true
	return null, true
}

func (c *call) geoAnswer(s *geoSearch, z *zset) reply.Reply {
	var all []found
	if z != nil {
		all = s.run(z)
	}
	if s.storing {
		members := make([]scored, len(all))
		for i, f := range all {
			members[i] = f.scored
			if s.storingDistance {
				members[i].score = f.dist / s.unit
			}
		}
		return c.storeScored(s.store, members)
	}
	elems := make([]reply.Reply, len(all))
	for i, f := range all {
		one := []reply.Reply{reply.Of(f.member)}
		if s.dist {
			one = append(one, distanceReply(f.dist/s.unit))
		}
		if s.hash {
			one = append(one, reply.Num(int64(f.score)))
		}
		if s.coord {
			one = append(one, positionReply(f.score))
		}
		if elems[i] = one[0]; len(one) > 1 {
			elems[i] = reply.List(one...)
		}
	}
	return reply.Reply{Kind: reply.Array, Elems: elems}
}

func geosearch(c *call) reply.Reply { return c.geosearch(1, 's') }

func geosearchstore(c *call) reply.Reply { return c.geosearch(2, 't') }

func (c *call) geosearch(at int, what byte) reply.Reply {
	_, z, ok := open[*zset](c, c.args[at])
	if !ok {
		return wrongType
	}
	s := geoSearch{unit: 1}
	if what == 't' {
		s.storing, s.store = true, c.args[1]
	}
	if bad, ok := c.geoOptions(&s, z, at+1, what); !ok {
		return bad
	}
	return c.geoAnswer(&s, z)
}

func georadius(c *call) reply.Reply           { return c.georadius('r', false) }
func georadiusRO(c *call) reply.Reply         { return c.georadius('o', false) }
func georadiusbymember(c *call) reply.Reply   { return c.georadius('r', true) }
func georadiusbymemberRO(c *call) reply.Reply { return c.georadius('o', true) }

func (c *call) georadius(what byte, byMember bool) reply.Reply {
	_, z, ok := open[*zset](c, c.args[1])
	if !ok {
		return wrongType
	}
	s := geoSearch{unit: 1}
	at := 4
	var bad reply.Reply
	if byMember {
		at = 3
		bad, ok = s.from(z, c.args[2])
	} else {
		s.lon, s.lat, bad, ok = parsePlace(c.args[2], c.args[3])
	}
	if !ok {
		return bad
	}
	if !byMember || z != nil { // without a set Redis does not look at them
		if bad, ok := s.circle(c.args[at], c.args[at+1]); !ok {
			return bad
		}
	}
	if bad, ok := c.geoOptions(&s, z, at+2, what); !ok {
		return bad
	}
	return c.geoAnswer(&s, z)
}

// geoKeys finds the keys of GEORADIUS and GEORADIUSBYMEMBER: what is searched, and where it is stored.
func geoKeys(args []string) []string { return withStore(args, 5) }
