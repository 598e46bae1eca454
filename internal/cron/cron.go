// Package cron parses cron expressions and says when they fire next.
//
// [Parse] reads the usual five fields (minute, hour, day of month, month, day of week), in a time zone if the
// expression starts with TZ=Area/City, and refuses what can never fire. [Schedule.Next] is then a pure function:
//
//	s, err := cron.Parse("TZ=Europe/Vienna 30 2 * * MON-FRI", cron.Options{})
//	next := s.Next(now)
//
// # Daylight saving
//
// People expect two different things when clocks change, and the expression tells which. A schedule follows real time
// if its second, minute or hour field has a * or ? in it, with or without a step: it fires whenever the local clock
// matches, so "0 * * * *" fires in both of two hours called 01:00, and not for an hour that is left out. Any other
// schedule has fixed times, and each of those fires exactly once, at the first moment at which the local clock has
// reached it: the first 01:30 of two, and for a 02:30 that is left out the moment after the gap. Times that fall into
// the same gap fire together, once.
package cron

import (
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Options says what [Parse] accepts beyond five fields.
type Options struct {
	Seconds     bool // a field for the seconds in front of the others; without it a schedule fires at second 0
	Descriptors bool // @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, and @every with a duration
	Last        bool // L as a day of the month, which is its last, and as a day of the week like 5L, which is the month's last Friday
}

// Schedule is a parsed cron expression. It is immutable and safe for concurrent use.
type Schedule struct {
	spec  string
	zone  *time.Location
	every time.Duration // of @every; then there are no fields

	second, minute, hour, dom, month, dow set
}

// String returns the expression as it was written.
func (s *Schedule) String() string { return s.spec }

// Next returns the first time after the given one at which s fires, in UTC. It is a whole second.
//
// An @every schedule has no times of its own: it fires when its duration, in whole seconds, has passed since the second
// that after lies in, so a caller that passes the time of the last firing gets an even pace.
func (s *Schedule) Next(after time.Time) time.Time {
	after = after.UTC()
	if s.every > 0 {
		return after.Truncate(time.Second).Add(s.every)
	}
	return s.nextIn(after)
}

// nextIn goes from one change of the zone's offset to the next. In between the local clock is the UTC clock moved, so
// the question is only which moved times match.
func (s *Schedule) nextIn(after time.Time) time.Time {
	from := after.Truncate(time.Second).Add(time.Second)
	due := localSearch{schedule: s}
	for {
		start, end := s.zoneBounds(from)
		offset := offsetAt(from, s.zone)
		local := from.Unix() + offset
		if !s.realTime() && !start.IsZero() {
			// Up to here the local clock has been before, by the offset that held until start.
			reached := start.Unix() + offsetAt(start.Add(-time.Second), s.zone)
			leftOut := start.Unix() + offset
			if start.After(after) && due.from(reached) < leftOut {
				return start.UTC()
			}
			local = max(local, reached)
		}
		next := time.Unix(due.from(local)-offset, 0)
		if end.IsZero() || next.Before(end) {
			return next.UTC()
		}
		from = end
	}
}

// localSearch remembers the last answer of nextLocal: a rare schedule has the same for years of changing clocks.
type localSearch struct {
	schedule     *Schedule
	asked, found int64
	valid        bool
}

func (l *localSearch) from(local int64) int64 {
	if !l.valid || local < l.asked || local > l.found {
		l.asked, l.found, l.valid = local, l.schedule.nextLocal(local), true
	}
	return l.found
}

// zoneBounds returns a span around t in which the zone's offset stays the same, zero times standing for no bound.
//
// Beyond the changes that a zone's file lists, Go counts every year as 365 days, so on the last day of a leap year the
// end is not after t. No zone changes its clock between that day and the next.
func (s *Schedule) zoneBounds(t time.Time) (start, end time.Time) {
	start, end = t.In(s.zone).ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		end = t.Add(24 * time.Hour)
	}
	return start, end
}

func offsetAt(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	return int64(offset)
}

// realTime reports which of the two rules in the package comment s goes by.
func (s *Schedule) realTime() bool {
	return s.second.wild || s.minute.wild || s.hour.wild
}

// searchYears is how far any schedule can be away from its next firing: a 29 February that the end of a century skips
// takes eight years.
const searchYears = 9

// never is later than any time.
const never = 1<<63 - 1

// nextLocal returns the first matching time from the given one on. Both are readings of the local clock, as seconds
// since its 1970, so there are no zones in here.
func (s *Schedule) nextLocal(from int64) int64 {
	t := time.Unix(from, 0).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	for last := year + searchYears; year <= last; {
		if s.month.has(int(month)) {
			for ; day <= daysIn(year, month); day++ {
				if !s.onDay(year, month, day) {
					hour, minute, second = 0, 0, 0
					continue
				}
				if h, m, sec, ok := s.nextClock(hour, minute, second); ok {
					return time.Date(year, month, day, h, m, sec, 0, time.UTC).Unix()
				}
				hour, minute, second = 0, 0, 0
			}
		}
		day, hour, minute, second = 1, 0, 0, 0
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return never
}

// onDay reports whether s fires on a day. If the day of the month and the day of the week are both restricted, either
// will do.
func (s *Schedule) onDay(year int, month time.Month, day int) bool {
	weekday := int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday())
	left := daysIn(year, month) - day
	onDOM := s.dom.has(day) || left == 0 && s.dom.last != 0
	onDOW := s.dow.has(weekday) || left < 7 && s.dow.last>>weekday&1 != 0
	if s.dom.any || s.dow.any {
		return onDOM && onDOW
	}
	return onDOM || onDOW
}

// nextClock returns the first matching time of day from the given one on.
func (s *Schedule) nextClock(hour, minute, second int) (h, m, sec int, ok bool) {
	if s.hour.has(hour) {
		if s.minute.has(minute) {
			if sec, ok = s.second.from(second); ok {
				return hour, minute, sec, true
			}
		}
		if m, ok = s.minute.from(minute + 1); ok {
			return hour, m, s.second.first(), true
		}
	}
	h, ok = s.hour.from(hour + 1)
	return h, s.minute.first(), s.second.first(), ok
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// set is what a field allows.
type set struct {
	bits uint64 // a bit for each value
	last uint8  // a bit for each day of the week whose last one in a month it is; not 0 for the last day of a month
	any  bool   // has a * or ? without a step: the field does not restrict
	wild bool   // has a * or ?, with or without a step
}

func (s set) has(value int) bool { return s.bits>>value&1 != 0 }

// first returns the smallest value. There always is one.
func (s set) first() int { return bits.TrailingZeros64(s.bits) }

// from returns the smallest value that is at least min.
func (s set) from(min int) (int, bool) {
	rest := s.bits >> min << min
	return bits.TrailingZeros64(rest), rest != 0
}

// zoneOf splits a leading TZ=Area/City or CRON_TZ=Area/City off spec.
func zoneOf(spec string) (*time.Location, string, error) {
	name, found := strings.CutPrefix(spec, "CRON_TZ=")
	if !found {
		name, found = strings.CutPrefix(spec, "TZ=")
	}
	if !found {
		return time.UTC, spec, nil
	}
	rest := ""
	if i := strings.IndexAny(name, " \t"); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	// The empty name and "Local" mean something to Go, but not the same on every machine that may run the schedule.
	if name == "" || name == "Local" {
		return nil, "", fmt.Errorf("time zone %q: allowed are names such as UTC or Europe/Vienna", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, "", fmt.Errorf("time zone %q is not known: allowed are names such as UTC or Europe/Vienna", name)
	}
	return zone, rest, nil
}
