package cron

import "testing"

func TestDescribe(t *testing.T) {
	t.Parallel()
	f := func(spec, want string) {
		t.Helper()
		s, err := Parse(spec, Options{Seconds: true, Descriptors: true, Last: true})
		if err != nil {
			t.Error(err)
			return
		}
		if got := s.Describe(); got != want {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
	f(`* * * * *`, "Every minute")
	f(`*/5 * * * *`, "Every 5 minutes")
	f(`0 * * * *`, "Every hour")
	f(`5 * * * *`, "At minute 5 of every hour")
	f(`5,35 * * * *`, "At minutes 5 and 35 of every hour")
	f(`0,30 * * * *`, "Every 30 minutes")
	f(`0 */2 * * *`, "Every 2 hours")
	f(`15 */6 * * *`, "At 00:15, 06:15, 12:15 and 18:15 every day")
	f(`15 */3 * * *`, "At minute 15 of hours 0, 3, 6, 9, 12, 15, 18 and 21")
	f(`*/10 9-17 * * MON-FRI`, "Every 10 minutes of hours 9 to 17 on Monday to Friday")
	f(`0 9 * * *`, "At 09:00 every day")
	f(`TZ=Europe/Berlin 30 2 * * MON-FRI`, "At 02:30 on Monday to Friday")
	f(`0 9,12,18 * * SAT,SUN`, "At 09:00, 12:00 and 18:00 on Sunday and Saturday")
	f(`0 0 1,15 * *`, "At 00:00 on days 1 and 15 of the month")
	f(`0 0 1 1 *`, "At 00:00 on day 1 of the month in January")
	f(`0 0 13 * 5`, "At 00:00 on day 13 of the month or on Friday")
	f(`0 12 * 6-8,12 *`, "At 12:00 every day in June to August and December")
	f(`0 0 L * *`, "At 00:00 on the last day of the month")
	f(`0 9 * * 5L`, "At 09:00 on the last Friday of the month")
	f(`0 9 15,L * *`, "At 09:00 on day 15 of the month or on the last day of the month")
	f(`*/20 * * * * *`, "At seconds 0, 20 and 40 of every minute")
	f(`30 0 9 * * *`, "At second 30 of minute 0 of hour 9")
	f(`@hourly`, "Every hour")
	f(`@weekly`, "At 00:00 on Sunday")
	f(`@every 90m`, "Every 1h30m0s")
}
