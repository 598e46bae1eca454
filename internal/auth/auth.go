// Package auth holds environments and their keys, and compares them in constant time.
package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Secret is a key or password. It prints, logs and marshals as REDACTED; Reveal gives the text.
type Secret string

const redacted = "REDACTED"

// String hides the secret.
func (Secret) String() string { return redacted }

// GoString hides the secret.
func (Secret) GoString() string { return redacted }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal is the secret's text.
func (s Secret) Reveal() string { return string(s) }

// Equal compares in time that depends on the lengths only.
func (s Secret) Equal(text string) bool {
	a, b := sha256.Sum256([]byte(s)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Environment is an isolation unit with its own keys.
type Environment struct {
	Name        string
	EventKeys   []Secret // accepted for sending events
	SigningKeys []Secret // accepted on the API; the first one signs calls
}

// Keys is what a server accepts. In development it accepts anything.
type Keys struct {
	Dev          bool
	Environments []Environment
	// Dashboard opens the dashboard and its API.
	Dashboard Secret
	// Trigger are the secret keys of Trigger.dev clients, one for each environment that their second part names; without any, and not in development,
	// their door is closed. The first one's environment is the server's own.
	Trigger []Secret
	// TriggerTokens are access tokens of Trigger.dev's CLI.
	TriggerTokens []Secret
}

// DefaultEnvironment is the name of the environment that exists without any configuration.
const DefaultEnvironment = "default"

// Validate reports every missing or unusable key.
func (k *Keys) Validate() error {
	if len(k.Environments) == 0 {
		return errors.New("no environment is configured")
	}
	var errs []error
	for _, e := range k.Environments {
		for _, s := range e.SigningKeys {
			if _, err := hex.DecodeString(TrimKeyPrefix(s.Reveal())); err != nil {
				errs = append(errs, fmt.Errorf("environment %s: signing-key must be an even number of hexadecimal digits, with or without a signkey-…- prefix", e.Name))
			}
		}
		if k.Dev {
			continue
		}
		if len(e.SigningKeys) == 0 {
			errs = append(errs, fmt.Errorf("environment %s: signing-key is required", e.Name))
		}
		if len(e.EventKeys) == 0 {
			errs = append(errs, fmt.Errorf("environment %s: event-key is required", e.Name))
		}
	}
	seen := map[string]bool{}
	for _, s := range k.Trigger {
		mark := triggerKey.FindString(s.Reveal())
		switch {
		case mark == "" || len(s) < 20:
			errs = append(errs, errors.New("trigger-key must begin with tr_prod_, tr_stg_, tr_preview_ or tr_dev_ and have at least 20 characters"))
		case seen[mark]:
			errs = append(errs, fmt.Errorf("there are two trigger-keys that begin with %s", mark))
		}
		seen[mark] = true
	}
	for _, s := range k.TriggerTokens {
		if !strings.HasPrefix(s.Reveal(), "tr_pat_") || len(s) < 20 {
			errs = append(errs, errors.New("trigger-token must begin with tr_pat_ and have at least 20 characters"))
		}
	}
	if !k.Dev && k.Dashboard == "" {
		errs = append(errs, errors.New("dashboard-key is required"))
	}
	return errors.Join(errs...)
}

// EventEnvironment finds the environment that an event key belongs to.
func (k *Keys) EventEnvironment(key string) (*Environment, bool) {
	if k.Dev {
		return &k.Environments[0], true
	}
	return k.find(func(e *Environment) bool {
		ok := false
		for _, s := range e.EventKeys {
			ok = s.Equal(key) || ok
		}
		return ok
	})
}

// BearerEnvironment finds the environment that a bearer token, a signing key or its hash, belongs to.
func (k *Keys) BearerEnvironment(authorization string) (*Environment, bool) {
	if k.Dev {
		return &k.Environments[0], true
	}
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return nil, false
	}
	token = TrimKeyPrefix(strings.TrimSpace(token))
	return k.find(func(e *Environment) bool {
		ok := false
		for _, s := range e.SigningKeys {
			plain := TrimKeyPrefix(s.Reveal())
			ok = Secret(plain).Equal(token) || Secret(HashKey(s.Reveal())).Equal(token) || ok
		}
		return ok
	})
}

// find looks at every environment, so that the time taken does not tell which one matched.
func (k *Keys) find(match func(*Environment) bool) (found *Environment, ok bool) {
	for i := range k.Environments {
		if match(&k.Environments[i]) {
			found, ok = &k.Environments[i], true
		}
	}
	return found, ok
}

// Named finds an environment by name.
func (k *Keys) Named(name string) (*Environment, bool) {
	for i := range k.Environments {
		if k.Environments[i].Name == name {
			return &k.Environments[i], true
		}
	}
	return nil, false
}

var triggerKey = regexp.MustCompile(`^tr_(dev|stg|prod|preview)_`)

var keyPrefix = regexp.MustCompile(`^signkey-\w+-`)

// TrimKeyPrefix removes the part of a signing key that only says what it is for.
func TrimKeyPrefix(key string) string { return keyPrefix.ReplaceAllString(key, "") }

// HashKey is the hash of a signing key without its prefix, as SDKs send it: hex(sha256(the key's bytes)).
func HashKey(key string) string {
	raw, err := hex.DecodeString(TrimKeyPrefix(key))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
