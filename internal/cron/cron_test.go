package cron

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests must not depend on what the machine has

	robfig "github.com/robfig/cron/v3"
)

var everything = Options{Seconds: true, Descriptors: true}

func mustParse(t testing.TB, spec string) *Schedule {
	t.Helper()
	s, err := Parse(spec, everything)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustTime(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestNext(t *testing.T) {
	t.Parallel()
	f := func(spec, after string, want ...string) {
		t.Helper()
		s, now := mustParse(t, spec), mustTime(t, after)
		for _, want := range want {
			got := s.Next(now)
			if got.Format(time.RFC3339) != want {
				t.Errorf("%s after %s fires at %s, want %s", spec, now.Format(time.RFC3339), got.Format(time.RFC3339), want)
			}
			now = got
		}
	}

	f(`* * * * *`, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z")
	f(`* * * * * *`, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z")
	f(`*/20 5 * * * *`, "2026-01-01T00:05:20Z", "2026-01-01T00:05:40Z", "2026-01-01T01:05:00Z")
	f(`30 2 * * *`, "2026-01-01T02:30:00Z", "2026-01-02T02:30:00Z")
	f(`59 23 31 12 *`, "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z")
	f(`0 0 29 2 *`, "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z")
	f(`0 0 29 2 *`, "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z")
	f(`0 0 31 * *`, "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z")
	f(`5/20 1-3,8 * * *`, "2026-01-01T03:45:00Z", "2026-01-01T08:05:00Z", "2026-01-01T08:25:00Z", "2026-01-01T08:45:00Z")
	f(`0 12 * jan-MAR/2 Mon`, "2026-01-26T12:00:00Z", "2026-03-02T12:00:00Z")
	f(`0 0 13 * 5`, "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z")
	f(`0 0 13 * ?`, "2026-11-01T00:00:00Z", "2026-11-13T00:00:00Z", "2026-12-13T00:00:00Z")
	f(`0 0 * * 7`, "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z")
	f(`0 0 * * 6-7`, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-28T00:00:00Z")
	f(`0 0 * * SUN,,`, "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z")
	f(`TZ=Asia/Kolkata 0 9 * * *`, "2026-01-01T00:00:00Z", "2026-01-01T03:30:00Z")
	f(`CRON_TZ=America/New_York  0 9 * * *`, "2026-01-01T00:00:00Z", "2026-01-01T14:00:00Z")
	f(`@hourly`, "2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z")
	f(`@weekly`, "2026-01-01T00:30:00Z", "2026-01-04T00:00:00Z")
	f(`TZ=Europe/Vienna @daily`, "2026-01-01T00:30:00Z", "2026-01-01T23:00:00Z")
	f(`@every 90m`, "2026-01-01T00:30:07Z", "2026-01-01T02:00:07Z")
	f(`@every 1500ms`, "2026-01-01T00:30:07Z", "2026-01-01T00:30:08Z")
	f(`@every 1ms`, "2026-01-01T00:30:07Z", "2026-01-01T00:30:08Z")

	got := mustParse(t, `* * * * *`).Next(mustTime(t, "2026-01-01T00:00:59.999999999Z"))
	if want := mustTime(t, "2026-01-01T00:01:00Z"); !got.Equal(want) {
		t.Errorf("a nanosecond before %v, Next is %v", want, got)
	}
}

// TestDaylightSaving has the promises of the package comment. Times are local.
func TestDaylightSaving(t *testing.T) {
	t.Parallel()
	f := func(zone, spec, after string, want ...string) {
		t.Helper()
		s, now := mustParse(t, "TZ="+zone+" "+spec), mustTime(t, after)
		for _, want := range want {
			now = s.Next(now)
			if got := now.In(s.zone).Format("01-02T15:04Z07:00"); got != want {
				t.Errorf("%s in %s fires at %s, want %s", spec, zone, got, want)
			}
		}
	}

	// New York leaves out 02:00 to 03:00 on 8 March 2026.
	const ny = "America/New_York"
	f(ny, `30 2 * * *`, "2026-03-07T03:00:00-05:00", "03-08T03:00-04:00", "03-09T02:30-04:00")
	f(ny, `30 2 * * *`, "2026-03-08T02:59:59-04:00", "03-08T03:00-04:00", "03-09T02:30-04:00")
	f(ny, `30 2 * * *`, "2026-03-08T03:00:00-04:00", "03-09T02:30-04:00")
	f(ny, `0,30 2 * * *`, "2026-03-07T03:00:00-05:00", "03-08T03:00-04:00", "03-09T02:00-04:00", "03-09T02:30-04:00")
	f(ny, `0 2,3 * * *`, "2026-03-07T04:00:00-05:00", "03-08T03:00-04:00", "03-09T02:00-04:00")
	f(ny, `0 3 * * *`, "2026-03-07T04:00:00-05:00", "03-08T03:00-04:00", "03-09T03:00-04:00")
	f(ny, `30 2 8 3 *`, "2025-03-09T00:00:00-05:00", "03-08T03:00-04:00", "03-08T02:30-05:00")
	f(ny, `0 * * * *`, "2026-03-08T00:30:00-05:00", "03-08T01:00-05:00", "03-08T03:00-04:00", "03-08T04:00-04:00")
	f(ny, `*/30 2 * * *`, "2026-03-07T02:30:00-05:00", "03-09T02:00-04:00")
	f(ny, `30 */2 * * *`, "2026-03-08T00:30:00-05:00", "03-08T04:30-04:00")

	// It goes through 01:00 to 02:00 twice on 1 November 2026.
	f(ny, `30 1 * * *`, "2026-10-31T02:00:00-04:00", "11-01T01:30-04:00", "11-02T01:30-05:00")
	f(ny, `30 1 * * *`, "2026-11-01T01:10:00-05:00", "11-02T01:30-05:00")
	f(ny, `0 2 * * *`, "2026-10-31T02:00:00-04:00", "11-01T02:00-05:00", "11-02T02:00-05:00")
	f(ny, `0 1-2 * * *`, "2026-10-31T02:00:00-04:00", "11-01T01:00-04:00", "11-01T02:00-05:00", "11-02T01:00-05:00")
	f(ny, `0 * * * *`, "2026-11-01T00:30:00-04:00",
		"11-01T01:00-04:00", "11-01T01:00-05:00", "11-01T02:00-05:00", "11-01T03:00-05:00")
	f(ny, `*/30 1 * * *`, "2026-11-01T00:30:00-04:00",
		"11-01T01:00-04:00", "11-01T01:30-04:00", "11-01T01:00-05:00", "11-01T01:30-05:00", "11-02T01:00-05:00")
	f(ny, `30 ? * * *`, "2026-11-01T01:00:00-04:00", "11-01T01:30-04:00", "11-01T01:30-05:00")

	// Santiago leaves out the first hour of 6 September 2026 and has the last one of 4 April twice.
	f("America/Santiago", `0 0 * * *`, "2026-09-05T12:00:00-04:00", "09-06T01:00-03:00", "09-07T00:00-03:00")
	f("America/Santiago", `0 0 6 * *`, "2026-09-05T12:00:00-04:00", "09-06T01:00-03:00", "10-06T00:00-03:00")
	f("America/Santiago", `0 0 * * 0`, "2026-09-05T12:00:00-04:00", "09-06T01:00-03:00", "09-13T00:00-03:00")
	f("America/Santiago", `30 23 * * *`, "2026-04-04T12:00:00-03:00", "04-04T23:30-03:00", "04-05T23:30-04:00")
	f("America/Santiago", `0 0 * * *`, "2026-04-04T12:00:00-03:00", "04-05T00:00-04:00", "04-06T00:00-04:00")

	// Lord Howe moves by half an hour: forwards on 4 October 2026 at 02:00, back on 5 April at 02:00.
	f("Australia/Lord_Howe", `15 2 * * *`, "2026-10-03T03:00:00+10:30", "10-04T02:30+11:00", "10-05T02:15+11:00")
	f("Australia/Lord_Howe", `30 2 * * *`, "2026-10-03T03:00:00+10:30", "10-04T02:30+11:00", "10-05T02:30+11:00")
	f("Australia/Lord_Howe", `45 1 * * *`, "2026-04-04T03:00:00+11:00", "04-05T01:45+11:00", "04-06T01:45+10:30")
	f("Australia/Lord_Howe", `45 * * * *`, "2026-04-05T01:00:00+11:00", "04-05T01:45+11:00", "04-05T01:45+10:30", "04-05T02:45+10:30")

	// Far ahead, on the last days of a leap year. See zoneBounds.
	f(ny, `30 2 * * *`, "2096-12-29T03:00:00-05:00", "12-30T02:30-05:00", "12-31T02:30-05:00", "01-01T02:30-05:00")
	f(ny, `0 */12 * * *`, "2096-12-30T12:00:00-05:00", "12-31T00:00-05:00", "12-31T12:00-05:00", "01-01T00:00-05:00")
	f("America/Santiago", `0 0 29 2 *`, "2096-02-29T00:00:00-03:00", "02-29T00:00-03:00")

	// Apia had no 30 December 2011 at all.
	f("Pacific/Apia", `0 12 * * *`, "2011-12-29T10:00:00-10:00", "12-29T12:00-10:00", "12-31T00:00+14:00", "12-31T12:00+14:00")
	f("Pacific/Apia", `0 12 30 12 *`, "2011-12-29T10:00:00-10:00", "12-31T00:00+14:00", "12-30T12:00+14:00")
	f("Pacific/Apia", `0 */12 * * *`, "2011-12-29T10:00:00-10:00", "12-29T12:00-10:00", "12-31T00:00+14:00", "12-31T12:00+14:00")
}

// TestFixedTimesFireOnce walks years of changing clocks: every day has its firing, whatever its clock does. Apia is not
// among the zones: there the midnight of the day that was left out fires together with the next.
func TestFixedTimesFireOnce(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{
		"America/New_York", "America/Santiago", "Australia/Lord_Howe", "Europe/Dublin", "Africa/Casablanca",
		"Asia/Tehran", "America/Sao_Paulo", "Antarctica/Troll", "Africa/Cairo",
	} {
		for _, clock := range []string{"0 0", "15 0", "30 1", "0 2", "30 2", "59 23"} {
			s := mustParse(t, "TZ="+zone+" "+clock+" * * *")
			from := time.Date(2000, 1, 1, 12, 0, 0, 0, s.zone)
			until := time.Date(2060, 1, 1, 12, 0, 0, 0, s.zone)
			count, now := 0, from
			for ; !now.After(until); now = s.Next(now) {
				count++
			}
			// The number of dates does not depend on the zone, nor does the number of firings after the first "now".
			days := int(time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC).Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Hours() / 24)
			if count-1 != days {
				t.Errorf("%v fires %d times in %d days", s, count-1, days)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	f := func(spec, want string) {
		t.Helper()
		if _, err := Parse(spec, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %q in it", spec, err, want)
		}
	}

	f(``, `has 0 fields: allowed are 5`)
	f(`* * * *`, `has 4 fields`)
	f(`0 * * * * *`, `has 6 fields`)
	f(`@hourly`, `@hourly is not allowed here`)
	f(`60 * * * *`, `minute "60": allowed are 0 to 59`)
	f(`* 24 * * *`, `hour "24": allowed are 0 to 23`)
	f(`* * 0 * *`, `day of month "0": allowed are 1 to 31`)
	f(`* * * 13 *`, `month "13": allowed are 1 to 12, JAN to DEC`)
	f(`* * * * 8`, `day of week "8": allowed are 0 to 6, SUN to SAT`)
	f(`* * * anf *`, `month "anf"`)
	f(`* * * * mond`, `day of week "mond"`)
	f(`-1 * * * *`, `minute "-1"`)
	f(`+1 * * * *`, `minute "+1"`)
	f(`1-2-3 * * * *`, `minute "1-2-3"`)
	f(`*-5 * * * *`, `minute "*-5"`)
	f(`5-1 * * * *`, `minute "5-1" starts after it ends`)
	f(`*/0 * * * *`, `minute "*/0": a step is a number from 1 on`)
	f(`*/ * * * *`, `a step is a number`)
	f(`*/5/5 * * * *`, `a step is a number`)
	f(`, * * * *`, `minute ","`)
	f(`99999999999999999999 * * * *`, `minute "99999999999999999999"`)
	f(`TZ= * * * * *`, `time zone "": allowed`)
	f(`TZ=Local * * * * *`, `time zone "Local": allowed`)
	f(`TZ=Europe/Atlantis * * * * *`, `time zone "Europe/Atlantis" is not known`)
	f(`TZ=../../etc/passwd * * * * *`, `is not known`)
	f(`TZ=UTC`, `has 0 fields`)
	f(`0 0 30 2 *`, `never fires`)
	f(`0 0 31 2,4,6,9,11 *`, `never fires`)
	f(strings.Repeat("0", 2000)+` * * * *`, `at most 1024`)

	for _, spec := range []string{`@every`, `@every x`, `@every 0s`, `@every -5m`, `@Hourly`, `@`} {
		if s, err := Parse(spec, everything); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", spec, s)
		}
	}
	// With the other day field it can fire after all.
	mustParse(t, `0 0 30 2 1`)
	if got, want := mustParse(t, ` TZ=UTC  0 0 * * * `).String(), ` TZ=UTC  0 0 * * * `; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

// TestAgreesWithRobfig compares thousands of random expressions, in UTC where the two have the same rules.
func TestAgreesWithRobfig(t *testing.T) {
	t.Parallel()
	parser := robfig.NewParser(robfig.SecondOptional | robfig.Minute | robfig.Hour | robfig.Dom | robfig.Month | robfig.Dow)
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		spec := randomSpec(rng)
		theirs, err := parser.Parse("TZ=UTC " + spec)
		if err != nil {
			t.Fatalf("seed %d: robfig refuses %q: %v", seed, spec, err)
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rng.Int64N(int64(5 * 365 * 24 * time.Hour))))
		ours, err := Parse(spec, everything)
		if err != nil {
			if !theirs.Next(now).IsZero() {
				t.Errorf("seed %d: Parse(%q): %v, but robfig fires at %v", seed, spec, err, theirs.Next(now))
			}
			continue
		}
		for range 10 {
			want := theirs.Next(now)
			if want.IsZero() {
				break // it looks ahead for five years only
			}
			if got := ours.Next(now); !got.Equal(want) {
				t.Fatalf("seed %d: %q after %v fires at %v, robfig says %v", seed, spec, now, got, want)
			}
			now = want
		}
	}
}

func randomSpec(rng *rand.Rand) string {
	var fields []string
	for i, rule := range fieldRules {
		if i == 0 && rng.IntN(2) == 0 {
			continue
		}
		items := make([]string, 1+rng.IntN(2))
		for i := range items {
			items[i] = randomItem(rng, rule)
		}
		fields = append(fields, strings.Join(items, ","))
	}
	return strings.Join(fields, " ")
}

func randomItem(rng *rand.Rand, rule fieldRule) string {
	a := rule.min + rng.IntN(rule.max-rule.min+1)
	b := a + rng.IntN(rule.max-a+1)
	switch rng.IntN(8) {
	case 0, 1:
		return "*"
	case 2:
		return "?"
	case 3:
		return fmt.Sprintf("*/%d", 1+rng.IntN(rule.max))
	case 4:
		return fmt.Sprintf("%d-%d", a, b)
	case 5:
		return fmt.Sprintf("%d-%d/%d", a, b, 1+rng.IntN(5))
	case 6:
		return fmt.Sprintf("%d/%d", a, 1+rng.IntN(20))
	}
	if rule.names != "" {
		at := 3 * (a - rule.min)
		return strings.ToUpper(rule.names[at:at+1]) + rule.names[at+1:at+3]
	}
	return fmt.Sprint(a)
}

func FuzzParse(f *testing.F) {
	for _, spec := range []string{
		`* * * * *`, `0 0 29 2 *`, `TZ=America/New_York 30 2 * * *`, `CRON_TZ=Pacific/Apia */7 1-5/2 ? jan-DEC MON,7`,
		`@every 1h30m`, `@hourly`, `59 59 23 31 12 *`, `TZ=Australia/Lord_Howe 15 1,2 * * 0`,
	} {
		f.Add(spec, int64(1_767_225_600))
	}
	f.Fuzz(func(t *testing.T, spec string, unix int64) {
		s, err := Parse(spec, everything)
		if err != nil {
			return
		}
		const span = 400 * 365 * 24 * 3600
		now := time.Unix(unix%span, unix&0xffff)
		for range 50 {
			next := s.Next(now)
			if !next.After(now) || next.Nanosecond() != 0 || s.every == 0 && next.Sub(now) > searchYears*366*24*time.Hour {
				t.Fatalf("%q after %v fires at %v", spec, now, next)
			}
			now = next
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, spec := range []string{
		`* * * * *`, `TZ=America/New_York 30 2 * * *`, `0 0 29 2 *`, `TZ=Europe/Vienna 0 0 29 2 *`,
	} {
		b.Run(spec, func(b *testing.B) {
			b.ReportAllocs()
			s := mustParse(b, spec)
			now := time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				s.Next(now)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Parse(`*/5 1-5 * jan-mar MON,FRI`, Options{})
	}
}

func TestLast(t *testing.T) {
	t.Parallel()
	f := func(spec, after string, want ...string) {
		t.Helper()
		s, err := Parse(spec, Options{Last: true})
		if err != nil {
			t.Error(err)
			return
		}
		now := mustTime(t, after)
		for _, want := range want {
			if now = s.Next(now); now.Format(time.RFC3339) != want {
				t.Errorf("%s fires at %s, want %s", spec, now.Format(time.RFC3339), want)
			}
		}
	}
	f(`0 0 L * *`, "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z", "2028-04-30T00:00:00Z")
	f(`0 0 l 2 *`, "2028-03-01T00:00:00Z", "2029-02-28T00:00:00Z")
	f(`0 0 15,L * *`, "2026-11-01T00:00:00Z", "2026-11-15T00:00:00Z", "2026-11-30T00:00:00Z")
	f(`0 9 * * 5L`, "2026-11-01T00:00:00Z", "2026-11-27T09:00:00Z", "2026-12-25T09:00:00Z", "2027-01-29T09:00:00Z")
	f(`0 9 * * friL`, "2026-11-01T00:00:00Z", "2026-11-27T09:00:00Z")
	f(`0 9 * * 7L`, "2026-11-01T00:00:00Z", "2026-11-29T09:00:00Z")
	f(`0 9 * * 0L`, "2026-11-01T00:00:00Z", "2026-11-29T09:00:00Z")
	f(`0 9 * * 1,3L`, "2026-11-17T00:00:00Z", "2026-11-23T09:00:00Z", "2026-11-25T09:00:00Z", "2026-11-30T09:00:00Z")
	f(`0 0 L * 5L`, "2026-11-01T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-30T00:00:00Z")
	f(`TZ=Asia/Tokyo 0 0 L * *`, "2026-11-01T00:00:00Z", "2026-11-29T15:00:00Z")

	for _, spec := range []string{`L * * * *`, `* L * * *`, `* * * L *`, `* * * * L`, `* * * * 8L`, `* * 5L * *`, `* * L-2 * *`, `* * L/2 * *`, `* * LL * *`, `* * * * LL`, `* * 1-L * *`} {
		if _, err := Parse(spec, Options{Last: true}); err == nil {
			t.Errorf("%s is allowed", spec)
		}
	}
	for _, spec := range []string{`0 0 L * *`, `0 0 * * 5L`} {
		if _, err := Parse(spec, everything); err == nil {
			t.Errorf("%s is allowed although it was not asked for", spec)
		}
	}
}

func TestZones(t *testing.T) {
	t.Parallel()
	all := Zones()
	if len(all) < 400 {
		t.Errorf("%d zones", len(all))
	}
	for _, name := range all {
		if _, err := time.LoadLocation(name); err != nil {
			t.Error(err)
		}
	}
}
