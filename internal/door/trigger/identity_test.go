package trigger

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
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

// emptyHost is a shard with nothing in it, which keeps nothing.
type emptyHost struct{}

func (emptyHost) Submit(_ context.Context, cmd engine.Command) (any, error) {
	switch cmd.(type) {
	case *engine.Register:
		return engine.RegisterReply{}, nil
	case *engine.ReadQueues:
		return []engine.QueueState(nil), nil
	}
	return nil, nil
}

func (emptyHost) Post(engine.Command, func(any, error)) error { return nil }
func (emptyHost) Get(context.Context, store.Table, []byte) ([]byte, bool, error) {
	return nil, false, nil
}

func (emptyHost) List(context.Context, store.Table, []byte) ([]store.Row, error) { return nil, nil }

func (emptyHost) Scan(context.Context, store.Query) ([]store.Row, error) { return nil, nil }
func (emptyHost) Ready() <-chan struct{}                                 { return nil }

func TestKeys(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	door := func(dev bool, keys ...auth.Secret) *Door {
		d := New(Config{Host: emptyHost{}, Dev: dev, Env: "default", Box: auth.NewBox("x"), Keys: keys, Now: func() time.Time { return now }})
		if err := errors.Join(d.loadTokens(t.Context()), d.load(t.Context())); err != nil {
			t.Fatal(err)
		}
		return d
	}
	who := func(d *Door, token string) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", token)
		c, err := d.authenticate(r)
		switch {
		case err != nil:
			return ""
		case c.env == nil:
			return "all"
		}
		return c.env.Name
	}
	dev, prod := door(true), door(false, "tr_prod_0123456789abcdef", "tr_stg_0123456789abcdef")
	for token, want := range map[string][2]string{
		"Bearer tr_dev_anything":          {"default", ""},
		"Bearer tr_prod_anything":         {"prod", ""},
		"Bearer tr_prod_0123456789abcdef": {"prod", "default"},
		"Bearer tr_stg_0123456789abcdef":  {"staging", "staging"},
		"Bearer tr_pat_anything":          {"all", ""},
		"Bearer sk_live":                  {"", ""},
		"Bearer ":                         {"", ""},
		"tr_dev_0123456789abcdef":         {"", ""},
		"Basic tr_dev_0123456789abcdef":   {"", ""},
	} {
		if got := [2]string{who(dev, token), who(prod, token)}; got != want {
			t.Errorf("%s: %q, want %q", token, got, want)
		}
	}
	env := prod.named("default")
	token := env.mint(&claims{Scopes: []string{"read:runs"}}, time.Minute)
	if who(prod, "Bearer "+token) != "default" {
		t.Error("a token of the server's own is refused")
	}
	if who(dev, "Bearer "+token) != "" || who(prod, "Bearer "+token[:len(token)-2]+"xx") != "" || who(prod, "Bearer ..") != "" {
		t.Error("a token that the key did not sign is accepted")
	}
	now = now.Add(time.Minute)
	if who(prod, "Bearer "+token) != "" {
		t.Error("an expired token is accepted")
	}

	// Keys that an environment has beside its own open it until they are revoked, and are no access tokens.
	staging := prod.named("staging")
	key, err := prod.addToken(t.Context(), additionalKey(staging.Slug), accessToken{Env: staging.keyholder(), Name: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	if got := who(prod, "Bearer "+key); got != "staging" || !additionalForm.MatchString(key) {
		t.Errorf("the key %s opens %q", key, got)
	}
	if prod.tokens.valid(key) {
		t.Error("a key is an access token")
	}
	if err := prod.dropToken(t.Context(), hashToken(key)); err != nil {
		t.Fatal(err)
	}
	if got := who(prod, "Bearer "+key); got != "" {
		t.Errorf("a key that was revoked opens %q", got)
	}
}

func TestPublicTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run := b.trigger()
	mint := func(body string, want int) string {
		t.Helper()
		var v struct {
			Token string `json:"token"`
		}
		b.json("POST", "/api/v1/auth/public-tokens", body, want, &v)
		return v.Token
	}
	read := func(token string) int {
		t.Helper()
		status, _ := b.do("GET", "/api/v3/runs/"+run, nil, "Authorization", "Bearer "+token)
		return status
	}
	for body, want := range map[string]int{
		`{"scopes":["read:runs"]}`: 200, `{"scopes":["read:runs:run_other"]}`: 403, `{"scopes":["read:runs"],"expirationTime":"1h"}`: 200,
		fmt.Sprintf(`{"scopes":["read:runs"],"expirationTime":%d,"realtime":{"skipColumns":["payload"]}}`, b.now.Load()/1000+60): 200,
	} {
		if got := read(mint(body, 200)); got != want {
			t.Errorf("with %s: status %d, want %d", body, got, want)
		}
	}
	once := mint(`{"scopes":["trigger:tasks:told"],"oneTimeUse":true}`, 200)
	for _, want := range []int{200, 422} {
		if status, out := b.do("POST", "/api/v1/tasks/told/trigger", []byte(`{}`), "Authorization", "Bearer "+once); status != want {
			t.Errorf("used once: status %d, want %d: %s", status, want, out)
		}
	}
	for _, bad := range []string{`{}`, `{"scopes":[]}`, `{"scopes":["read:runs"],"expirationTime":"soon"}`, `{"scopes":["read:runs"],"expirationTime":1}`} {
		mint(bad, 400)
	}
	if status, _ := b.do("POST", "/api/v1/auth/public-tokens", []byte(`{"scopes":["admin"]}`), "Authorization", "Bearer "+mint(`{"scopes":["read:runs"]}`, 200)); status != 401 && status != 403 {
		t.Errorf("with a public token itself: status %d", status)
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	got := parseDotenv("# comment\nA=1\nexport B = two words # not this\nC=\"x\\ny\"\nD='a\nb' rest\nE=\n=no\nF=\"open\nG=7")
	want := map[string]string{"A": "1", "B": "two words", "C": "x\ny", "D": "a\nb", "E": "", "F": "\"open", "G": "7"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	f := func(a, b string, want bool) {
		t.Helper()
		if newer(a, b) != want {
			t.Errorf("%s is newer than %s: %v", a, b, !want)
		}
	}
	f("20260301.2", "20260301.1", true)
	f("20260301.10", "20260301.9", true)
	f("20260301.1", "20260301.1", false)
	f("20260302.1", "20260301.9", true)
	f("20260301.9", "20260302.1", false)
}

// TestTokenForOneUse: it starts one run, also when the server forgets what it has in memory.
func TestTokenForOneUse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	claims := `{"sub":"` + b.env().id + `","pub":true,"scopes":["write:tasks:told"],"otu":true,"exp":` + fmt.Sprint(b.now.Load()/1000+86_400) + `}`
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	token := head + "." + base64.RawURLEncoding.EncodeToString(sign(DevKey, head))
	try := func(want int, when string) {
		t.Helper()
		if status, out := b.do("POST", "/api/v1/tasks/told/trigger", []byte(`{}`), "Authorization", "Bearer "+token); status != want {
			t.Errorf("%s: status %d, want %d: %s", when, status, want, out)
		}
	}
	try(200, "first")
	try(422, "again")
	b.door.requests.mu.Lock()
	clear(b.door.requests.answers[0])
	clear(b.door.requests.answers[1])
	b.door.requests.mu.Unlock()
	try(422, "after a restart")
	b.now.Add(86_400_000)
	try(401, "when it has expired")
}
