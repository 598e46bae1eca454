package auth

import (
	"fmt"
	"strings"
	"testing"
)

const (
	key      = "signkey-test-12345678"
	otherKey = "signkey-prod-abcdef00"
	// sha256 of the bytes 12 34 56 78.
	keyHash = "b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c"
)

func production() *Keys {
	return &Keys{
		Environments: []Environment{
			{Name: "default", EventKeys: []Secret{"ev1", "ev2"}, SigningKeys: []Secret{key, "ffff"}},
			{Name: "staging", EventKeys: []Secret{"ev3"}, SigningKeys: []Secret{otherKey}},
		},
		Dashboard: "dash",
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	k := production()
	f := func(header, want string) {
		t.Helper()
		got := "nobody"
		if e, ok := k.BearerEnvironment(header); ok {
			got = e.Name
		}
		if got != want {
			t.Errorf("%q is %s, want %s", header, got, want)
		}
	}
	f("Bearer "+key, "default")
	f("Bearer 12345678", "default")
	f("Bearer "+keyHash, "default")
	f("Bearer signkey-test-"+keyHash, "default")
	f("Bearer signkey-branch-"+keyHash, "default")
	f("Bearer ffff", "default")
	f("Bearer "+otherKey, "staging")
	f("Bearer ", "nobody")
	f("", "nobody")
	f("Basic "+key, "nobody")
	f("Bearer undefined", "nobody")
	f("Bearer 1234567", "nobody")
	f("Bearer "+keyHash[1:], "nobody")
}

func TestEventKeys(t *testing.T) {
	t.Parallel()
	k := production()
	for given, want := range map[string]string{"ev1": "default", "ev2": "default", "ev3": "staging"} {
		if e, ok := k.EventEnvironment(given); !ok || e.Name != want {
			t.Errorf("%s is not a key of %s", given, want)
		}
	}
	for _, given := range []string{"", "ev", "EV1", "ev1 "} {
		if e, ok := k.EventEnvironment(given); ok {
			t.Errorf("%q opens %s", given, e.Name)
		}
	}
}

func TestDevelopmentAcceptsAnything(t *testing.T) {
	t.Parallel()
	k := &Keys{Dev: true, Environments: []Environment{{Name: "default"}}}
	if err := k.Validate(); err != nil {
		t.Error(err)
	}
	if _, ok := k.BearerEnvironment("Bearer undefined"); !ok {
		t.Error("a bearer token was refused")
	}
	if _, ok := k.EventEnvironment("NO_EVENT_KEY_SET"); !ok {
		t.Error("an event key was refused")
	}
}

// TestNothingIsOpen: a production server reports everything that is missing at once.
func TestNothingIsOpen(t *testing.T) {
	t.Parallel()
	err := (&Keys{Environments: []Environment{{Name: "default", SigningKeys: []Secret{"not hex"}}, {Name: "other"}}}).Validate()
	for _, want := range []string{
		"environment default: signing-key must be", "environment default: event-key is required", "environment other: signing-key is required",
		"dashboard-key is required",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err := production().Validate(); err != nil {
		t.Error(err)
	}
	if (&Keys{}).Validate() == nil {
		t.Error("no environment at all is accepted")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := struct{ Key Secret }{"hunter2"}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.Key, s.Key)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret was printed: %s", text)
		}
	}
}
