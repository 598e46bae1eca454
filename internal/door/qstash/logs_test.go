package qstash

import (
	"encoding/base64"
	"net/url"
	"testing"
)

func TestListsShowAsMuchOfABodyAsIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		param, body, want string
	}{
		{"", "hello", "hello"},
		{"-1", "hello", "hello"},
		{"5", "hello", "hello"},
		{"2", "hello", "he"},
		{"3", "a€b", "a"},
		{"4", "a€b", "a€"},
		{"2", "\xff\xfe\xfd", "\xff\xfe"},
	} {
		n, err := trimOf(url.Values{"trimBody": {c.param}})
		if err != nil {
			t.Fatal(err)
		}
		m := &message{Body: []byte(c.body)}
		e := logEntry{State: stateCreated}
		got, err := base64.StdEncoding.DecodeString(e.event(m.cut(n)).Body)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("trimBody %q of %q: %q, want %q", c.param, c.body, got, c.want)
		}
		if string(m.Body) != c.body {
			t.Errorf("trimBody %q changed the message to %q", c.param, m.Body)
		}
	}
	secret := &message{Body: []byte("secret")}
	secret.Redact.Body = true
	if secret.cut(2).shownBody64() != secret.shownBody64() {
		t.Error("the fingerprint of a body that is not shown depends on how much of it is asked for")
	}
	if (*message)(nil).cut(2) != nil {
		t.Error("a message that is gone has a body")
	}
	if _, err := trimOf(url.Values{"trimBody": {"x"}}); err == nil {
		t.Error("trimBody x is taken")
	}
}
