package trigger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 3.4: a CLI that logs in with a browser gets an access token once somebody who may use the dashboard has said so there.

// Limits of logging in.
const (
	codeLife  = 10 * time.Minute
	maxCodes  = 1000
	maxTokens = 1000
)

// ApprovePath is the page of the dashboard that a CLI sends its user to, with the code behind it.
const ApprovePath = "/trigger/login/"

// accessToken is what is stored of a token, or of a key that an environment has beside its own; it is itself known to its owner alone.
type accessToken struct {
	Env       string `json:"env,omitempty"` // of a key: the environment's name
	Hash      string `json:"hash"`
	Name      string `json:"name"`
	Hint      string `json:"hint"` // its last characters
	CreatedAt int64  `json:"createdAt"`
}

// tokens are the access tokens that open the server, and the log-ins that wait for somebody's word.
type tokens struct {
	any  bool // development: each does
	mu   sync.RWMutex
	list []accessToken

	codes map[string]*loginCode
}

// loginCode is a log-in that is under way. It is kept in memory only: after a restart the user begins again.
type loginCode struct {
	challenge string // PKCE: what a verifier hashes to, if one is sent; "": any
	expires   time.Time
	token     string // "": nobody has said yes
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (t *tokens) valid(token string) bool {
	if t.any {
		return true
	}
	known := t.find(token)
	return known != nil && known.Env == ""
}

// find is what is known of a token or key; nil: nothing.
func (t *tokens) find(token string) (found *accessToken) {
	hash := hashToken(token)
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.list { // each, so that the time taken does not tell which
		if secretEqual(t.list[i].Hash, hash) {
			found = &t.list[i]
		}
	}
	return found
}

var tokenRows = []byte("trigger-tokens")

// loadTokens reads the access tokens; those that the server was started with are not stored.
func (d *Door) loadTokens(ctx context.Context) error {
	raw, ok, err := d.cfg.Host.Get(ctx, store.Meta, tokenRows)
	if err != nil {
		return err
	}
	var list []accessToken
	if ok {
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
	}
	for _, t := range d.cfg.AccessTokens {
		list = append(list, accessToken{Hash: hashToken(t.Reveal()), Name: "configured"})
	}
	d.tokens.mu.Lock()
	defer d.tokens.mu.Unlock()
	d.tokens.any, d.tokens.list, d.tokens.codes = d.cfg.Dev, list, map[string]*loginCode{}
	return nil
}

// saveTokens stores a changed list. The caller holds the lock named "tokens".
func (d *Door) saveTokens(ctx context.Context, list []accessToken) error {
	kept := slices.DeleteFunc(slices.Clone(list), func(t accessToken) bool { return t.CreatedAt == 0 })
	if err := d.put(ctx, engine.RowPut{Table: store.Meta, Key: tokenRows, Value: mustJSON(kept)}); err != nil {
		return err
	}
	d.tokens.mu.Lock()
	d.tokens.list = list
	d.tokens.mu.Unlock()
	return nil
}

// newAccessToken makes an access token.
func (d *Door) newAccessToken(ctx context.Context, name string) (string, error) {
	return d.addToken(ctx, accessPrefix+strings.ToLower(rand.Text()+rand.Text()[:14]), accessToken{Name: name})
}

// addToken keeps what is to be known of a new token or key, and returns it.
func (d *Door) addToken(ctx context.Context, token string, t accessToken) (string, error) {
	defer d.locks.Lock("tokens")()
	d.tokens.mu.RLock()
	list := slices.Clone(d.tokens.list)
	d.tokens.mu.RUnlock()
	if len(list) >= maxTokens {
		return "", invalid("there are %d access tokens and additional keys: delete those that nobody needs", maxTokens)
	}
	t.Hash, t.Hint, t.CreatedAt = hashToken(token), token[len(token)-4:], d.cfg.Now().UnixMilli()
	return token, d.saveTokens(ctx, append(list, t))
}

// dropToken ends the life of the token with a hash.
func (d *Door) dropToken(ctx context.Context, hash string) error {
	defer d.locks.Lock("tokens")()
	d.tokens.mu.RLock()
	list := slices.Clone(d.tokens.list)
	d.tokens.mu.RUnlock()
	kept := slices.DeleteFunc(list, func(t accessToken) bool { return t.Hash == hash && t.CreatedAt > 0 })
	return d.saveTokens(ctx, kept)
}

func (d *Door) loginRoutes() {
	d.anyone("POST /api/v1/authorization-code", (*Door).beginLogin)
	d.anyone("POST /api/v1/token", (*Door).endLogin)
}

// beginLogin is POST /api/v1/authorization-code.
func (d *Door) beginLogin(r *http.Request) (any, error) {
	var in struct {
		Challenge string `json:"codeChallenge"`
		Method    string `json:"codeChallengeMethod"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Challenge != "" && in.Method != "S256" || len(in.Challenge) > 128 {
		return nil, fail(http.StatusBadRequest, "codeChallengeMethod must be S256")
	}
	now := d.cfg.Now()
	code := strings.ToLower(rand.Text())
	t := &d.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, c := range t.codes {
		if now.After(c.expires) {
			delete(t.codes, k)
		}
	}
	if len(t.codes) >= maxCodes {
		return nil, fail(http.StatusTooManyRequests, "Too many log-ins are waiting")
	}
	t.codes[code] = &loginCode{challenge: in.Challenge, expires: now.Add(codeLife)}
	return map[string]string{"authorizationCode": code, "url": origin(r) + ApprovePath + url.PathEscape(code)}, nil
}

// endLogin is POST /api/v1/token: the CLI asks until there is a token.
func (d *Door) endLogin(r *http.Request) (any, error) {
	var in struct {
		Code     string `json:"authorizationCode"`
		Verifier string `json:"codeVerifier"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Code == "" {
		return nil, invalid("authorizationCode is missing")
	}
	t := &d.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.codes[in.Code]
	// A CLI that polls proves nothing but that it knows the code; one that sends a verifier means it.
	if c == nil || d.cfg.Now().After(c.expires) || c.challenge != "" && in.Verifier != "" && !secretEqual(hashToken(in.Verifier), c.challenge) {
		return nil, fail(http.StatusBadRequest, "Invalid authorization code, or code expired")
	}
	if c.token == "" {
		return map[string]any{"token": nil}, nil
	}
	delete(t.codes, in.Code)
	return map[string]any{"token": map[string]string{"token": c.token, "obfuscatedToken": obfuscated(c.token)}}, nil
}

func obfuscated(token string) string {
	return token[:len(accessPrefix)+4] + "****" + token[len(token)-4:]
}

// approve lets the CLI in that shows a code.
func (d *Door) approve(ctx context.Context, code string) error {
	d.tokens.mu.RLock()
	c := d.tokens.codes[code]
	known := c != nil && d.cfg.Now().Before(c.expires)
	d.tokens.mu.RUnlock()
	if !known {
		return fail(http.StatusNotFound, "The code is not known, or has expired: start trigger login again")
	}
	token, err := d.newAccessToken(ctx, "trigger login")
	if err != nil {
		return err
	}
	d.tokens.mu.Lock()
	defer d.tokens.mu.Unlock()
	c.token = token
	return nil
}
