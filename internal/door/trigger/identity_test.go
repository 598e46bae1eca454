package trigger

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
)

func TestScopes(t *testing.T) {
	t.Parallel()
	f := func(has, want string, ok bool) {
		t.Helper()
		if got := covers(has, want); got != ok {
			t.Errorf("%s covers %s: %v", has, want, got)
		}
	}
	f("read:runs:run_1", "read:runs:run_1", true)
	f("read:runs:run_1", "read:runs:run_2", false)
	f("read:runs:run_1", "read:runs", false)
	f("read:runs", "read:runs:run_1", true)
	f("read:tags:user:1", "read:tags:user:1", true)
	f("read:tags:user", "read:tags:user:1", false)
	f("write:tasks:a", "trigger:tasks:a", true)
	f("read:tasks:a", "trigger:tasks:a", false)
	f("trigger:tasks:a", "write:tasks:a", false)
	f("read:all", "read:runs:run_1", true)
	f("read", "read:runs:run_1", false)
	f("", "read:runs:run_1", false)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	door := func(dev bool, key string) *Door {
		return &Door{cfg: Config{Dev: dev, Key: auth.Secret(key), Now: func() time.Time { return now }}}
	}
	try := func(d *Door, token string) bool {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", token)
		_, err := d.authenticate(r)
		return err == nil
	}
	dev, prod := door(true, ""), door(false, "tr_dev_0123456789abcdef")
	for token, want := range map[string][2]bool{
		"Bearer tr_dev_anything":         {true, false},
		"Bearer tr_dev_0123456789abcdef": {true, true},
		"Bearer tr_pat_anything":         {true, false},
		"Bearer sk_live":                 {false, false},
		"Bearer ":                        {false, false},
		"tr_dev_0123456789abcdef":        {false, false},
		"Basic tr_dev_0123456789abcdef":  {false, false},
	} {
		if got := [2]bool{try(dev, token), try(prod, token)}; got != want {
			t.Errorf("%s: %v, want %v", token, got, want)
		}
	}
	token := prod.mint([]string{"read:runs"}, time.Minute)
	if !try(prod, "Bearer "+token) {
		t.Error("a token of the server's own is refused")
	}
	if try(door(true, ""), "Bearer "+token) || try(prod, "Bearer "+token[:len(token)-2]+"xx") || try(prod, "Bearer ..") {
		t.Error("a token that the key did not sign is accepted")
	}
	now = now.Add(time.Minute)
	if try(prod, "Bearer "+token) {
		t.Error("an expired token is accepted")
	}
}
