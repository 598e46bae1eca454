package qstash

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// known is the token of section 8.3, which the receiver of the JavaScript client takes.
const (
	knownKey  = "sig_test_current"
	knownURL  = "https://app.example/a"
	knownBody = `{"n":1}`
	known     = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiIiLCJib2R5IjoiS18wVTlEMFhfSHpxSk9DUmVvaDV0TEw0Z0xpNjdzRzUyUS02cldWZWNiMD0iLCJleHAiOjQxMDI0NDQ4MDAs" +
		"ImlhdCI6MTc2MDAwMDAwMCwiaXNzIjoiVXBzdGFzaCIsImp0aSI6Imp3dF8xIiwibmJmIjowLCJzdWIiOiJodHRwczovL2FwcC5leGFtcGxlL2EifQ.yt3sutqwebjSzfITkuFd8lfMLoR2YCMACUHsKqdPMOU"
)

func tokenClaims(t *testing.T, token, key string, now time.Time) (jwt.MapClaims, error) {
	t.Helper()
	c := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return []byte(key), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("Upstash"), jwt.WithTimeFunc(func() time.Time { return now }))
	return c, err
}

// TestSignatureIsTheKnownOne: but for the audience, which need not be there, and for how long it lasts, our token says
// what the known one says.
func TestSignatureIsTheKnownOne(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_760_000_000, 0)
	want, err := tokenClaims(t, known, knownKey, now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := sign(knownKey, knownURL, []byte(knownBody), now, "jwt_1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tokenClaims(t, token, knownKey, now)
	if err != nil {
		t.Fatal(err)
	}
	delete(want, "aud")
	want["exp"] = 1_760_000_300.0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, want := token[:36], known[:36]; got != want {
		t.Errorf("the header is %s, want %s", got, want)
	}
}

func TestSignatureVerifies(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_760_000_000, 0)
	token, err := sign("a", "https://a/?x=1&y=<2>", nil, now, "jwt_2")
	if err != nil {
		t.Fatal(err)
	}
	f := func(key string, after time.Duration, ok bool) {
		t.Helper()
		c, err := tokenClaims(t, token, key, now.Add(after))
		if (err == nil) != ok {
			t.Errorf("with the key %s after %s: %v", key, after, err)
		}
		if err == nil && (c["sub"] != "https://a/?x=1&y=<2>" || c["body"] != "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=") {
			t.Errorf("claims are %v", c)
		}
	}
	f("a", 0, true)
	f("a", -time.Hour, true)
	f("a", 299*time.Second, true)
	f("a", 301*time.Second, false)
	f("b", 0, false)
}
