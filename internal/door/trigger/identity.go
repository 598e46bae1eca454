package trigger

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Section 3: who asks.

// DevKey is the secret key that development hands out; any other that begins like it is accepted as well.
const DevKey = "tr_dev_quartet"

// DevToken is the access token that development suggests to the CLI.
const DevToken = "tr_pat_quartet"

// accessPrefix begins personal access tokens.
const accessPrefix = "tr_pat_"

// caller is who sent a request: someone with the key of an environment, with a public token of it, or with an access token.
type caller struct {
	env        *environment // nil: whoever has an access token may use all
	claims     *claims      // of a public token
	additional bool         // it has a key with which no public tokens are signed
}

type callerKey struct{}

func callerOf(r *http.Request) *caller {
	if c, ok := r.Context().Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}

// claims are those of a public token: section 13.1.
type claims struct {
	Sub    string   `json:"sub"`
	Pub    bool     `json:"pub"`
	Scopes []string `json:"scopes"`
	Exp    int64    `json:"exp"`
	Once   bool     `json:"otu,omitempty"`

	Issuer   string          `json:"iss,omitempty"`
	Audience json.RawMessage `json:"aud,omitempty"` // text, or a list of them
	Issued   int64           `json:"iat,omitempty"`
	Realtime json.RawMessage `json:"realtime,omitempty"`
}

var errKey = fail(http.StatusUnauthorized, "Invalid or Missing API key")

// authenticate finds out who sent a request.
func (d *Door) authenticate(r *http.Request) (*caller, error) {
	if c, err := d.trusted(r); c != nil || err != nil {
		return c, err
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, &inputError{status: http.StatusUnauthorized, body: map[string]any{
			"title": "Unauthorized", "status": http.StatusUnauthorized, "type": "about:blank", "detail": "No authorization header provided",
			"error": "No authorization header provided",
		}}
	}
	token, ok := strings.CutPrefix(header, "Bearer ")
	token = strings.TrimSpace(token)
	switch {
	case !ok || token == "":
		return nil, errKey
	case strings.Count(token, ".") == 2 && !strings.HasPrefix(token, "tr_"):
		return d.publicCaller(r, token)
	case strings.HasPrefix(token, accessPrefix):
		if !d.tokens.valid(token) {
			return nil, fail(http.StatusUnauthorized, "Invalid or Missing Access Token")
		}
		return &caller{}, nil
	}
	env, err := d.keyOwner(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if env, err = d.branch(r.Context(), env, branchOf(r)); err != nil {
		return nil, err
	}
	return &caller{env: env, additional: additionalForm.MatchString(token)}, nil
}

// additionalForm is how clients know the keys that an environment has beside its own: they do not sign public tokens with them, but ask for some.
var additionalForm = regexp.MustCompile(`^tr_(dev|stg|prod|preview)_sk_[0-9a-zA-Z]{24}$`)

// additionalKey makes such a key.
func additionalKey(slug string) string { return "tr_" + keyMarks[slug] + "_sk_" + rand.Text()[:24] }

// keyholder is the name of the environment whose keys open this one: a branch has those of its parent.
func (env *environment) keyholder() string { return env.environmentName(env.Project, env.Slug, "") }

// keyOwner is the environment of a secret key. In development a key that nobody has is one of the first project's.
func (d *Door) keyOwner(ctx context.Context, key string) (*environment, error) {
	var found *environment
	if additionalForm.MatchString(key) {
		if t := d.tokens.find(key); t != nil && t.Env != "" {
			found = d.named(t.Env)
		}
	}
	for _, env := range d.all() { // each, so that the time taken does not tell which
		if env.Branch == "" && env.key.Load().Equal(key) {
			found = env
		}
	}
	if found != nil {
		return found, nil
	}
	slug := keySlug(key)
	if !d.cfg.Dev || slug == "" {
		return nil, errKey
	}
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	env, err := d.make(ctx, "", slug, "")
	if err == nil {
		env.seen.note(key)
	}
	return env, err
}

func (d *Door) publicCaller(r *http.Request, token string) (*caller, error) {
	unusable := fail(http.StatusUnauthorized, "Public Access Token is invalid. See https://trigger.dev/docs/frontend/overview#authentication for more information.")
	signed, sig, _ := strings.Cut(token[strings.Index(token, ".")+1:], ".")
	payload, err := base64.RawURLEncoding.DecodeString(signed)
	if err != nil {
		return nil, unusable
	}
	mac, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		return nil, unusable
	}
	c := &claims{}
	if err := json.Unmarshal(payload, c); err != nil || !c.Pub {
		return nil, unusable
	}
	env := d.find(func(env *environment) bool { return env.id == c.Sub })
	text := token[:len(token)-len(sig)-1]
	if env == nil || !slices.ContainsFunc(env.signing(), func(k string) bool { return hmac.Equal(sign(k, text), mac) }) {
		return nil, unusable
	}
	if c.Exp != 0 && d.cfg.Now().Unix() >= c.Exp {
		return nil, fail(http.StatusUnauthorized, "Public Access Token has expired. See https://trigger.dev/docs/frontend/overview#authentication for more information.")
	}
	return &caller{env: env, claims: c}, nil
}

// secretKey is the key that the server gives out.
func (env *environment) secretKey() string { return env.key.Load().Reveal() }

// signing are the keys with which clients may have signed tokens.
func (env *environment) signing() []string {
	return append([]string{env.secretKey()}, env.seen.list()...)
}

func sign(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text)) // a hash does not fail
	return h.Sum(nil)
}

// mint makes a public token of what is to be in it, but for what is always the same: section 13.1.
func (env *environment) mint(c *claims, life time.Duration) string {
	now := env.cfg.Now().Unix()
	c.Sub, c.Pub, c.Issuer, c.Audience, c.Issued, c.Exp = env.id, true, "https://id.trigger.dev", json.RawMessage(`"https://api.trigger.dev"`), now, now+int64(life/time.Second)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(mustJSON(c))
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(env.secretKey(), text))
}

// permit refuses a public token that has none of the scopes, each an action and a resource like "read:runs:run_1": section 13.3.
func permit(r *http.Request, scopes ...string) error {
	c := callerOf(r).claims
	if c == nil {
		return nil
	}
	for _, has := range c.Scopes {
		if has == "admin" || has == "*" || slices.ContainsFunc(scopes, func(want string) bool { return covers(has, want) }) {
			return nil
		}
	}
	return &inputError{status: http.StatusForbidden, body: map[string]any{"error": "Unauthorized", "code": "unauthorized", "param": "access_token", "type": "authorization"}}
}

func covers(has, want string) bool {
	hs, ws := strings.SplitN(has, ":", 3), strings.SplitN(want, ":", 3)
	if len(hs) < 2 || len(ws) < 2 {
		return false
	}
	action := hs[0] == ws[0] || hs[0] == "*" || hs[0] == "admin" || hs[0] == "write" && (ws[0] == "trigger" || ws[0] == "batchTrigger")
	return action && (hs[1] == ws[1] || hs[1] == "all") && (len(hs) < 3 || len(ws) == 3 && hs[2] == ws[2])
}

// tokenHeaders let the client have a public token for what it made: section 6.1.
func (env *environment) tokenHeaders(r *http.Request, scopes ...string) http.Header {
	h := http.Header{}
	b, _ := json.Marshal(map[string]any{"sub": env.id, "pub": true}) // strings always marshal
	h.Set("X-Trigger-Jwt-Claims", string(b))
	if c := callerOf(r); c.claims != nil || c.additional {
		h.Set("X-Trigger-Jwt", env.mint(&claims{Scopes: scopes}, time.Hour))
	}
	return h
}

// publicToken is POST /api/v1/auth/public-tokens: section 13.2.
func (env *environment) publicToken(r *http.Request) (any, error) {
	var in struct {
		Scopes   []string        `json:"scopes"`
		Expires  json.RawMessage `json:"expirationTime"` // s since 1970, or for how long
		Once     bool            `json:"oneTimeUse"`
		Realtime json.RawMessage `json:"realtime"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Scopes) == 0 || len(in.Scopes) > maxScopes {
		return nil, fail(http.StatusBadRequest, "scopes must be from 1 to %d", maxScopes)
	}
	life := 15 * time.Minute
	if at := scalar(in.Expires); at != "" {
		n, err := strconv.ParseInt(at, 10, 64)
		t, ok := parseDuration(at)
		switch {
		case err == nil:
			life = time.Unix(n, 0).Sub(env.cfg.Now())
		case ok:
			life = t
		}
		if err != nil && !ok || life <= 0 {
			return nil, fail(http.StatusBadRequest, "expirationTime must be in the future: seconds since 1970, or a duration like 1h")
		}
	}
	return map[string]string{"token": env.mint(&claims{Scopes: in.Scopes, Once: in.Once, Realtime: in.Realtime}, life)}, nil
}

// maxScopes bounds the scopes of one token.
const maxScopes = 100

// seenKeys are the keys that development has seen: clients sign tokens with them.
type seenKeys struct {
	mu   sync.Mutex
	keys []string // the latest last
}

// maxSeenKeys bounds how many of them are remembered.
const maxSeenKeys = 64

func (s *seenKeys) note(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.keys, key) {
		return
	}
	if s.keys = append(s.keys, key); len(s.keys) > maxSeenKeys {
		s.keys = slices.Delete(s.keys, 0, 1)
	}
}

func (s *seenKeys) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.keys)
}
