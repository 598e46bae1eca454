package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Describe says in words when s fires, by the clock of its zone, which is left out: "At 09:00 on Monday to Friday".
func (s *Schedule) Describe() string {
	if s.every > 0 {
		return "Every " + s.every.String()
	}
	text, fixed := s.describeClock()
	days := s.describeDays()
	if days == "" && fixed {
		days = "every day"
	}
	for _, part := range []string{days, s.describeMonths()} {
		if part != "" {
			text += " " + part
		}
	}
	return text
}

// describeClock says at which times; fixed, that these are some of a day.
func (s *Schedule) describeClock() (text string, fixed bool) {
	minutes, hours := s.minute.values(), s.hour.values()
	seconds := ""
	if v := s.second.values(); len(v) != 1 || v[0] != 0 {
		seconds = "at " + among("second", s.second, 60) + " of "
	}
	upper := func(text string) string {
		if seconds != "" {
			text = seconds + strings.TrimPrefix(text, "at ")
		}
		return strings.ToUpper(text[:1]) + text[1:]
	}
	switch {
	case len(minutes) <= 2 && len(hours) <= 4 && seconds == "":
		var times []string
		for _, h := range hours {
			for _, m := range minutes {
				times = append(times, fmt.Sprintf("%02d:%02d", h, m))
			}
		}
		return "At " + list(times), true
	case s.hour.any:
		return upper(within("minute", s.minute, 60, "every hour")), false
	case len(minutes) == 1 && minutes[0] == 0 && seconds == "":
		return upper(every("hour", s.hour, 24)), false
	}
	return upper(within("minute", s.minute, 60, among("hour", s.hour, 24))), false
}

// within says which minutes of which hours.
func within(unit string, in set, size int, outer string) string {
	text := every(unit, in, size)
	switch {
	case strings.HasPrefix(text, "every ") && outer == "every hour":
		return text
	case strings.HasPrefix(text, "every "):
		return text + " of " + outer
	case outer == "every hour" && len(in.values()) == 1 && in.first() == 0:
		return outer
	}
	return "at " + text + " of " + outer
}

// every is "every 5 minutes" for values at even distances all around, and what among says otherwise.
func every(unit string, in set, size int) string {
	v := in.values()
	if len(v) == size {
		return "every " + unit
	}
	if n := size / len(v); len(v) > 1 && v[0] == 0 && size%len(v) == 0 && even(v, n) {
		return fmt.Sprintf("every %d %ss", n, unit)
	}
	return among(unit, in, size)
}

func even(v []int, distance int) bool {
	for i := 1; i < len(v); i++ {
		if v[i]-v[i-1] != distance {
			return false
		}
	}
	return true
}

// among names values: "minute 5", "hours 9 to 17".
func among(unit string, in set, size int) string {
	v := in.values()
	if len(v) == size {
		return "every " + unit
	}
	text := ranges(v, strconv.Itoa)
	if len(v) > 1 {
		unit += "s"
	}
	return unit + " " + text
}

func (s *Schedule) describeDays() string {
	var parts []string
	if !s.dom.any {
		if v := s.dom.values(); len(v) > 0 {
			parts = append(parts, "on "+among("day", s.dom, 31)+" of the month")
		}
		if s.dom.last != 0 {
			parts = append(parts, "on the last day of the month")
		}
	}
	if !s.dow.any {
		day := func(d int) string { return time.Weekday(d).String() }
		if v := s.dow.values(); len(v) > 0 {
			parts = append(parts, "on "+ranges(v, day))
		}
		if s.dow.last != 0 {
			parts = append(parts, "on the last "+ranges(set{bits: uint64(s.dow.last)}.values(), day)+" of the month")
		}
	}
	return strings.Join(parts, " or ")
}

func (s *Schedule) describeMonths() string {
	if v := s.month.values(); len(v) < 12 {
		return "in " + ranges(v, func(m int) string { return time.Month(m).String() })
	}
	return ""
}

// ranges names values, three or more that follow each other by the first and the last.
func ranges(v []int, name func(int) string) string {
	var parts []string
	for i := 0; i < len(v); i++ {
		j := i
		for j+1 < len(v) && v[j+1] == v[j]+1 {
			j++
		}
		if j-i >= 2 {
			parts = append(parts, name(v[i])+" to "+name(v[j]))
			i = j
			continue
		}
		parts = append(parts, name(v[i]))
	}
	return list(parts)
}

// list joins words as a sentence does.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// values are those of a set, in order.
func (s set) values() []int {
	v := make([]int, 0, bits.OnesCount64(s.bits))
	for rest := s.bits; rest != 0; rest &= rest - 1 {
		v = append(v, bits.TrailingZeros64(rest))
	}
	return v
}
