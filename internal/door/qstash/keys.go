package qstash

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// What the client's development mode expects of a server: section 16.2.
const (
	devToken   = "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0="
	devCurrent = "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r"
	devNext    = "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs"
)

// identity is who may send, and what deliveries are signed with: a row of Meta, made at the first start.
type identity struct {
	Token   string `json:"token"`
	Current string `json:"current"`
	Next    string `json:"next"`
}

// Keys are the variables of the client: the token and both signing keys.
type Keys struct{ Token, Current, Next string }

// DevKeys are those of a development server that never rotated its own.
var DevKeys = Keys{devToken, devCurrent, devNext}

// Keys reads the door's keys.
func (d *Door) Keys(ctx context.Context) (Keys, error) {
	k, err := d.keys(ctx)
	if err != nil {
		return Keys{}, err
	}
	return Keys(*k), nil
}

// keys reads the row, and writes it the first time.
func (d *Door) keys(ctx context.Context) (*identity, error) {
	if k := d.identity.Load(); k != nil {
		return k, nil
	}
	d.changes.Lock()
	defer d.changes.Unlock()
	raw, ok, err := d.cfg.Host.Get(ctx, store.Meta, d.metaKey("keys", ""))
	if err != nil {
		return nil, err
	}
	k := &identity{}
	if ok {
		if err := json.Unmarshal(raw, k); err != nil {
			return nil, err
		}
	} else {
		if d.cfg.Dev {
			*k = identity{devToken, devCurrent, devNext}
		} else {
			*k = identity{newToken(), newKey(), newKey()}
		}
		if err := d.putKeys(ctx, k); err != nil {
			return nil, err
		}
	}
	d.identity.Store(k)
	return k, nil
}

func (d *Door) putKeys(ctx context.Context, k *identity) error {
	_, err := d.cfg.Host.Submit(ctx, &engine.Put{Rows: []engine.RowPut{{Table: store.Meta, Key: d.metaKey("keys", ""), Value: mustJSON(k)}}})
	return err
}

// newToken is standard base64 of a JSON object with a user, which some clients read: section 2.2.
func newToken() string {
	return base64.StdEncoding.EncodeToString(mustJSON(map[string]string{"UserID": "quartet", "Password": rand.Text()}))
}

func newKey() string { return "sig_" + rand.Text() }

// foreign refuses what a page of another site makes a browser send.
var foreign = http.NewCrossOriginProtection()

// authenticate checks the token: section 2.2. A development server takes any, but nothing that a strange web page makes the developer's
// own browser send, which would let it reach whatever this machine can.
func (d *Door) authenticate(r *http.Request) error {
	if d.cfg.Dev {
		if err := foreign.Check(r); err != nil {
			return &inputError{http.StatusForbidden, "a development server takes no requests from pages of other sites"}
		}
		return nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = r.URL.Query().Get("qstash_token")
	}
	k, err := d.keys(r.Context())
	if err != nil {
		return err
	}
	if token == "" || !auth.Secret(k.Token).Equal(strings.TrimSpace(token)) {
		return &inputError{http.StatusUnauthorized, "the token is missing or wrong"}
	}
	return nil
}

// serveKeys is GET /v2/keys and POST /v2/keys/rotate. Whom the dashboard let in also reads the token, which is shown nowhere else.
func (d *Door) serveKeys(w http.ResponseWriter, r *http.Request, rest string) error {
	switch verb := strings.ToLower(strings.Trim(rest, "/")); {
	case verb == "" && r.Method == http.MethodGet:
		k, err := d.keys(r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, map[string]string{"current": k.Current, "next": k.Next})
	case verb == "all" && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/dashboard/"):
		k, err := d.keys(r.Context())
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, k)
	case verb == "rotate":
		return d.serveRotate(w, r, "")
	}
	return wrongMethod(r)
}

// serveRotate is POST /v2/keys/rotate, and POST /v2/rotate of the Go client: receivers that have the old pair verify with their next key.
func (d *Door) serveRotate(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := allow(r, http.MethodPost); err != nil {
		return err
	}
	k, err := d.keys(r.Context())
	if err != nil {
		return err
	}
	d.changes.Lock()
	defer d.changes.Unlock()
	next := &identity{Token: k.Token, Current: k.Next, Next: newKey()}
	if err := d.putKeys(r.Context(), next); err != nil {
		return err
	}
	d.identity.Store(next)
	return writeJSON(w, http.StatusOK, map[string]string{"current": next.Current, "next": next.Next})
}
