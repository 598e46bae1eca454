package qstash

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDestinations(t *testing.T) {
	t.Parallel()
	f := func(rest, want string, ours ...string) {
		t.Helper()
		query := url.Values{}
		for i := 0; i < len(ours); i += 2 {
			query.Add(ours[i], ours[i+1])
		}
		got, gotQuery, err := destination("/v2/Publish/"+rest, "/v2/publish/")
		if err != nil || got != want || !cmp.Equal(gotQuery, query) {
			t.Errorf("%s is %s with %v, %v; want %s with %v", rest, got, gotQuery, err, want, query)
		}
	}
	f("https://app.example/hook", "https://app.example/hook")
	f("http://127.0.0.1:3000", "http://127.0.0.1:3000")
	f("https://app.example/a//b/./../%2F%20", "https://app.example/a//b/./../%2F%20")
	f("HTTPS://App.example/", "HTTPS://App.example/")
	f("https:/app.example/x", "https://app.example/x")
	f("https%3A%2F%2Fapp.example%2Fhook%3Fx%3D1", "https://app.example/hook?x=1")
	f("https%3A%2F%2Fapp.example%2F%2520", "https://app.example/%20")
	f("https%3A/app.example", "https://app.example")
	f("https://app.example/https://other.example/", "https://app.example/https://other.example/")

	f("https://app.example/hook?x=1&y=%20+&x=2", "https://app.example/hook?x=1&y=%20+&x=2")
	f("https://app.example/hook?", "https://app.example/hook?")
	f("https://app.example/hook?a?b=c", "https://app.example/hook?a?b=c")
	f("https://app.example/hook?%zz&&=", "https://app.example/hook?%zz&&=")
	f("https://app.example/hook?x=1&upstash-retries=3&Upstash-Delay=100s&qstash_token=T&y", "https://app.example/hook?x=1&y",
		"upstash-retries", "3", "upstash-delay", "100s", "qstash_token", "T")
	f("https://app.example/hook?qstash_token=a%3D", "https://app.example/hook", "qstash_token", "a=")
	f("https://app.example/?upstash-cron=*/5+*%20*+*+*&upstash-label=a&upstash-label=b", "https://app.example/",
		"upstash-cron", "*/5 * * * *", "upstash-label", "a", "upstash-label", "b")
	f("https%3A%2F%2Fapp.example%3Fx%3D1?y=2&upstash-retries=0", "https://app.example?x=1&y=2", "upstash-retries", "0")
	f("https%3A%2F%2Fapp.example?y=2", "https://app.example?y=2")

	f("my-group", "my-group")
	f("_my.group?upstash-retries=1&x=1", "_my.group", "upstash-retries", "1")
	f("api/llm", "api/llm")
	f("my%20group", "my group")
}

func TestBadDestinations(t *testing.T) {
	t.Parallel()
	f := func(requestURI, want string) {
		t.Helper()
		got, _, err := destination(requestURI, "/v2/publish/")
		var in *inputError
		if !errors.As(err, &in) || in.status != http.StatusBadRequest || !strings.Contains(in.msg, want) {
			t.Errorf("%s is %s, %v; want an error with %s", requestURI, got, err, want)
		}
	}
	const empty = "a non-empty destination must be provided"
	f("/v2/publish/", empty)
	f("/v2/publish", empty)
	f("", empty)
	f("/v2/publish/?x=1", empty)
	f("/v2/publish/%20", empty)
	f("/v2/publish/ftp://files.example/x", "must begin with http:// or https://")
	f("/v2/publish/ftp%3A%2F%2Ffiles.example", "must begin with http")
	f("/v2/publish/mailto:a@b.example", "must begin with http")
	f("/v2/publish/localhost:3000/x", "must begin with http")
	f("/v2/publish/https:app.example", "must begin with http")
	f("/v2/publish/https://", "no host")
	f("/v2/publish/https:///x", "no host")
	f("/v2/publish/https://:80/", "no host")
	f("/v2/publish/https://app.example:x/", "no URL")
	f("/v2/publish/https://app.example/%zz", "no URL")
	f("/v2/publish/%zz", "invalid URL escape")
	f("/v2/publish/https://app.example?upstash-delay=%zz", "upstash-delay")
}

func TestIsURL(t *testing.T) {
	t.Parallel()
	f := func(in string, want bool) {
		t.Helper()
		if isURL(in) != want {
			t.Errorf("%s is a URL: %v, want %v", in, !want, want)
		}
	}
	f("http://a", true)
	f("HTTPS://a", true)
	f("http", false)
	f("group", false)
	f("", false)
}

func FuzzDestinations(f *testing.F) {
	for _, s := range []string{
		"https://app.example/hook?x=1&upstash-retries=3&qstash_token=T", "https%3A%2F%2Fapp.example%2Fhook%3Fx%3D1?y=2", "https:/app.example", "my-group", "ftp://x", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		dest, query, err := destination("/v2/publish/"+rest, "/v2/publish/")
		if err != nil {
			return
		}
		if dest == "" || strings.Contains(dest, ":") && !isURL(dest) {
			t.Errorf("%q is %q", rest, dest)
		}
		if hasWebScheme(rest) && len(query) == 0 && dest != rest {
			t.Errorf("%q was changed to %q", rest, dest)
		}
		for name := range query {
			if name != "qstash_token" && !strings.HasPrefix(name, "upstash-") {
				t.Errorf("%q was taken for ours in %q", name, rest)
			}
		}
		if again, err := parseDestination(dest); isURL(dest) && !strings.Contains(dest, "?") && (err != nil || again != dest) {
			t.Errorf("%q is %q, and then %q, %v", rest, dest, again, err)
		}
	})
}
