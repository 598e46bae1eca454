package qstash

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSeconds(t *testing.T) {
	t.Parallel()
	f := func(in string, want int64) {
		t.Helper()
		got, err := parseSeconds(in)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %d, %v; want %d", in, got, err, want)
		}
	}
	f("10s", 10)
	f("1m", 60)
	f("2h", 7200)
	f("1d10h30m", 34*3600+30*60)
	f("1d2h3m4s", 86400+2*3600+3*60+4)
	f("4s1d", 86404)
	f("0s", 0)
	f("0", 0)
	f("20", 20)
	f(" 5m ", 300)
	f("007s", 7)
	f("106751d", 106751*86400)
	f("9223372036", 9223372036)

	f("", -1)
	f(" ", -1)
	f("s", -1)
	f("-5s", -1)
	f("-5", -1)
	f("+5s", -1)
	f("1.5s", -1)
	f("1s1s", -1)
	f("1d10", -1)
	f("1 d", -1)
	f("1w", -1)
	f("1ms", -1)
	f("10S", -1)
	f("soon", -1)
	f("1e3", -1)
	f("٣s", -1)
	f("9223372037", -1)
	f("106751d24h", -1)
	f("106752d", -1)
	f("99999999999999999999s", -1)
	f("153722867280912931m", -1)
}

func TestNotBefore(t *testing.T) {
	t.Parallel()
	f := func(in string, want int64) {
		t.Helper()
		got, err := parseNotBefore(in)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %d, %v; want %d", in, got, err, want)
		}
	}
	f("1700000001", 1700000001000)
	f("1700000001.25", 1700000001250)
	f("1700000001.9999", 1700000002000)
	f(" 1700000001 ", 1700000001000)
	f("0", 0)
	f("0.001", 1)

	f("", -1)
	f("-1", -1)
	f("1700000001.", -1)
	f(".5", -1)
	f("1e9", -1)
	f("0x10", -1)
	f("Inf", -1)
	f("NaN", -1)
	f("1_000", -1)
	f("1.5.5", -1)
	f("10s", -1)
	f("2027-01-15", -1)
	f("1700000001000", -1)
	f(strings.Repeat("9", 400), -1)
}

func TestLabels(t *testing.T) {
	t.Parallel()
	f := func(in string, want ...string) {
		t.Helper()
		got, err := parseLabels(in)
		if (err != nil) != (want == nil) || !cmp.Equal(got, want) {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
	f("a", "a")
	f("b, a ,c.d-e_F9", "b", "a", "c.d-e_F9")
	f("")
	f("a,")
	f("a b")
	f("a,,b")
	f("é")
	f("a:b")
}

func TestNames(t *testing.T) {
	t.Parallel()
	f := func(in string, ok bool) {
		t.Helper()
		if err := parseName("queue", in); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "queue name") {
			t.Errorf("%q: %v", in, err)
		}
	}
	f("mail", true)
	f("-_x.9", true)
	f(strings.Repeat("x", maxName), true)
	f(strings.Repeat("x", maxName+1), false)
	f("", false)
	f("my queue", false)
	f("a/b", false)
	f("a:b", false)
	f("ü", false)
}

func TestRedact(t *testing.T) {
	t.Parallel()
	f := func(in string, want redact, ok bool) {
		t.Helper()
		got, err := parseRedact(in)
		if (err == nil) != ok || !cmp.Equal(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", in, got, err, want)
		}
	}
	f("body", redact{Body: true}, true)
	f("body,header[Authorization]", redact{Body: true, Headers: []string{"Authorization"}}, true)
	f("headers[x-one], header[X-ONE] ,header[two]", redact{Headers: []string{"X-One", "Two"}}, true)
	f("header, body", redact{Body: true, AllHeaders: true}, true)
	f("headers", redact{AllHeaders: true}, true)
	f("", redact{}, false)
	f("body,", redact{}, false)
	f("query", redact{}, false)
	f("body[x]", redact{}, false)
	f("header[]", redact{}, false)
	f("header[x", redact{}, false)
	f("header[a b]", redact{}, false)
	f("header[x]y", redact{}, false)
	f("headerx]", redact{}, false)
}

func TestFlow(t *testing.T) {
	t.Parallel()
	f := func(key, value string, want *flow) {
		t.Helper()
		got, err := parseFlow(key, value)
		if (err == nil) != (want != nil) || !cmp.Equal(got, want) {
			t.Errorf("%q, %q is %+v, %v; want %+v", key, value, got, err, want)
		}
	}
	f("k", "parallelism=2, rate=1, period=1m", &flow{"k", 2, 1, 60})
	f("k", "rate=10,period=60", &flow{"k", 0, 10, 60})
	f("a/b c", "parallelism=5", &flow{"a/b c", 5, 0, 1})
	f("k", " rate = 3 ", &flow{"k", 0, 3, 1})
	f("k", "period=7d, rate=1", &flow{"k", 0, 1, 604800})

	f("k", "", nil)
	f("", "rate=1", nil)
	f("k", "period=1m", nil)
	f("k", "rate", nil)
	f("k", "rate=", nil)
	f("k", "rate=0", nil)
	f("k", "rate=-1", nil)
	f("k", "rate=+1", nil)
	f("k", "rate=1.5", nil)
	f("k", "rate=1,", nil)
	f("k", "rate=1,rate=2", nil)
	f("k", "rate=1,period=0", nil)
	f("k", "rate=1,period=7d1s", nil)
	f("k", "rate=1,period=1s,period=2s", nil)
	f("k", "rate=1,burst=2", nil)
	f("k", "rate=99999999999", nil)
	f(strings.Repeat("k", maxName+1), "rate=1", nil)
	if got, err := parseFlow("", ""); got != nil || err != nil {
		t.Errorf("nothing is %+v, %v", got, err)
	}
}

func TestCron(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		got, err := parseCron(in)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
	f("*/10 * * * * ", "*/10 * * * *")
	f("CRON_TZ=Europe/Paris 0 5 * * *", "CRON_TZ=Europe/Paris 0 5 * * *")
	f("TZ=America/New_York 0 5 * * MON-FRI", "TZ=America/New_York 0 5 * * MON-FRI")
	f("0 0 1 JAN,jul ?", "0 0 1 JAN,jul ?")
	f("@hourly", "@hourly")
	f("CRON_TZ=Asia/Tokyo @daily", "CRON_TZ=Asia/Tokyo @daily")

	f("", "")
	f("* * * *", "")
	f("0 * * * * *", "")
	f("61 * * * *", "")
	f("0 0 31 2 *", "")
	f("CRON_TZ=Mars/Olympus * * * * *", "")
	f("CRON_TZ=Europe/Paris", "")
	f("@every 1s", "")
	f("@often", "")
}

func FuzzSyntax(f *testing.F) {
	for _, s := range []string{
		"1d10h30m", "20", "0s", "1700000001.25", "a, b", "body,header[Authorization]", "parallelism=2, rate=1, period=1m", "CRON_TZ=Europe/Paris 0 5 * * *", "-1", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parseSeconds(s); err == nil && (v < 0 || v > maxSeconds) {
			t.Errorf("duration %q is %d", s, v)
		}
		if v, err := parseNotBefore(s); err == nil && (v < 0 || v > maxSeconds*1000) {
			t.Errorf("time %q is %d", s, v)
		}
		if v, err := parseLabels(s); err == nil {
			if again, err := parseLabels(strings.Join(v, ",")); err != nil || !cmp.Equal(again, v) {
				t.Errorf("labels %q are %q, and then %q, %v", s, v, again, err)
			}
		}
		if v, err := parseRedact(s); err == nil && !v.Body && !v.AllHeaders && len(v.Headers) == 0 {
			t.Errorf("%q redacts nothing", s)
		}
		if v, err := parseFlow("k", s); err == nil && (v.Parallelism < 0 || v.Rate < 0 || v.Parallelism+v.Rate < 1 || v.Period < 1 || v.Period > maxPeriod) {
			t.Errorf("flow control %q is %+v", s, v)
		}
		if v, err := parseCron(s); err == nil {
			if again, err := parseCron(v); err != nil || again != v {
				t.Errorf("cron %q is %q, and then %q, %v", s, v, again, err)
			}
		}
	})
}
