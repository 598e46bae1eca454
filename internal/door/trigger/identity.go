package trigger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Section 3: who asks.

// environmentID is the subject of tokens. There is one environment.
const environmentID = "env_dev"

// DevKey is the secret key that development hands out; any other that begins like it is accepted as well.
const DevKey = "tr_dev_quartet"

// DevToken is the access token that development suggests to the CLI.
const DevToken = "tr_pat_quartet"

// caller is who sent a request.
type caller struct {
	key    string  // the secret key or access token
	claims *claims // of a public token
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
	Once   bool     `json:"otu"`
}

// secretKey is the key that the server gives out.
func (d *Door) secretKey() string {
	if k := d.cfg.Key.Reveal(); k != "" {
		return k
	}
	return DevKey
}

// authenticate finds out who sent a request.
func (d *Door) authenticate(r *http.Request) (*caller, error) {
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
	case strings.Count(token, ".") == 2 && !strings.HasPrefix(token, "tr_"):
		return d.publicCaller(token)
	case d.cfg.Key != "" && d.cfg.Key.Equal(token):
		return &caller{key: token}, nil
	case d.cfg.Dev && strings.HasPrefix(token, "tr_"):
		d.keys.note(token)
		return &caller{key: token}, nil
	}
	return nil, fail(http.StatusUnauthorized, "Invalid or Missing API key")
}

func (d *Door) publicCaller(token string) (*caller, error) {
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
	keys := []string{d.secretKey()}
	if d.cfg.Dev {
		keys = append(keys, d.keys.list()...)
	}
	text := token[:len(token)-len(sig)-1]
	if !slices.ContainsFunc(keys, func(k string) bool { return hmac.Equal(sign(k, text), mac) }) {
		return nil, unusable
	}
	c := &claims{}
	if err := json.Unmarshal(payload, c); err != nil || !c.Pub {
		return nil, unusable
	}
	if c.Exp != 0 && d.cfg.Now().Unix() >= c.Exp {
		return nil, fail(http.StatusUnauthorized, "Public Access Token has expired. See https://trigger.dev/docs/frontend/overview#authentication for more information.")
	}
	return &caller{claims: c}, nil
}

func sign(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text)) // a hash does not fail
	return h.Sum(nil)
}

// mint makes a public token: section 13.1.
func (d *Door) mint(scopes []string, life time.Duration) string {
	now := d.cfg.Now().Unix()
	payload, _ := json.Marshal(map[string]any{ // strings and numbers always marshal
		"sub": environmentID, "pub": true, "scopes": scopes, "iss": "https://id.trigger.dev", "aud": "https://api.trigger.dev", "iat": now,
		"exp": now + int64(life/time.Second),
	})
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(d.secretKey(), text))
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
func (d *Door) tokenHeaders(r *http.Request, scopes ...string) http.Header {
	h := http.Header{}
	b, _ := json.Marshal(map[string]any{"sub": environmentID, "pub": true}) // strings always marshal
	h.Set("X-Trigger-Jwt-Claims", string(b))
	if callerOf(r).claims != nil {
		h.Set("X-Trigger-Jwt", d.mint(scopes, time.Hour))
	}
	return h
}

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
