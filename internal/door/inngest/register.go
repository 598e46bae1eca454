package inngest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// maxRegisterBytes bounds a registration; functions are small, and there may be some thousands.
const maxRegisterBytes = 16 << 20

// registration is the body of POST /fn/register, and what an in-band sync is turned into: section 6.2.
type registration struct {
	URL          string            `json:"url"`
	DeployType   string            `json:"deployType"`
	Framework    string            `json:"framework"`
	AppName      string            `json:"appName"`
	AppVersion   string            `json:"appVersion"`
	Functions    []json.RawMessage `json:"functions"`
	SDK          string            `json:"sdk"`
	V            string            `json:"v"`
	Capabilities json.RawMessage   `json:"capabilities"`
	Headers      struct {
		Env      string `json:"env"`
		Platform string `json:"platform"`
	} `json:"headers"`
}

// appMeta is what the door keeps about an app for display.
type appMeta struct {
	SDK        string `json:"sdk"`
	Framework  string `json:"framework,omitempty"`
	AppVersion string `json:"appVersion,omitempty"`
	Method     string `json:"method"`          // "serve" or "connect"
	Error      string `json:"error,omitempty"` // code of section 6.4 or the reason a registration was refused
	Discovered bool   `json:"discovered,omitempty"`
}

// register is POST /fn/register.
func (d *Door) register(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	if want := r.Header.Get("X-Inngest-Expected-Server-Kind"); want != "" && want != d.kind() {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": fmt.Sprintf("Expected server kind %s, got %s", want, d.kind()), "status": 400})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRegisterBytes))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("Invalid request: it is larger than %d bytes", maxRegisterBytes))
		return
	}
	var reg registration
	if err := json.Unmarshal(body, &reg); err != nil {
		writeError(w, http.StatusBadRequest, "", "Invalid request: "+err.Error())
		return
	}
	reply, err := d.apply(r.Context(), env.Name, &reg)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		writeError(w, http.StatusBadRequest, "", refused.msg)
	case err != nil:
		d.writeFailure(w, r, err)
	default:
		writeJSON(w, http.StatusOK, map[string]any{
			"ok": true, "modified": reply.Modified, "sync_id": uuid.NewString(), "app_id": uuid.UUID(appID(env.Name, reg.AppName)).String(),
		})
	}
}

// refusal is a registration that is not accepted; the old one stays.
type refusal struct{ msg string }

func (e *refusal) Error() string { return e.msg }

// apply validates a registration and gives it to the engine.
func (d *Door) apply(ctx context.Context, env string, reg *registration) (engine.RegisterReply, error) {
	var none engine.RegisterReply
	if reg.AppName == "" {
		return none, &refusal{"App ID required"}
	}
	if err := d.keepSpelling(ctx, env, reg); err != nil {
		return none, err
	}
	fns, err := functions(env, reg)
	if err != nil {
		d.refused(ctx, env, reg, err)
		return none, err
	}
	sum, err := checksum(reg)
	if err != nil {
		return none, err
	}
	meta, err := json.Marshal(appMeta{
		SDK: reg.SDK, Framework: reg.Framework, AppVersion: reg.AppVersion, Method: "serve",
		Discovered: d.apps.discovered(reg.URL),
	})
	if err != nil {
		return none, err
	}
	v, err := d.cfg.Host.Submit(ctx, &engine.Register{
		App:       engine.App{ID: appID(env, reg.AppName), Env: env, Name: reg.AppName, Door: Name, URL: normalURL(reg.URL), Checksum: sum, Meta: meta},
		Functions: fns,
	})
	if err != nil {
		return none, err
	}
	reply := v.(engine.RegisterReply)
	if reply.Err != nil {
		return none, &refusal{"At least one function is invalid: " + reply.Err.Error()}
	}
	d.apps.registered(env, reg.AppName, normalURL(reg.URL))
	if reply.Modified {
		d.cfg.Log.Info("app registered", "env", env, "app", reg.AppName, "functions", len(fns), "url", reg.URL)
	}
	return reply, nil
}

// keepSpelling lets a function whose address is the registered one under another name of this machine keep the name that it has: an
// app that is found as localhost and asked to register as 127.0.0.1 has not changed.
func (d *Door) keepSpelling(ctx context.Context, env string, reg *registration) error {
	if !isLoopback(reg.URL) {
		return nil
	}
	for i, raw := range reg.Functions {
		var w wireFunction
		if json.Unmarshal(raw, &w) != nil {
			continue // functions says what is wrong with it
		}
		for _, step := range w.Steps {
			row, ok, err := d.cfg.Host.Get(ctx, store.Functions, engine.FunctionKey(env, w.ID))
			if err != nil {
				return err
			}
			var fn engine.Function
			var old target
			if !ok || json.Unmarshal(row, &fn) != nil || json.Unmarshal(fn.Config, &old) != nil {
				continue
			}
			if now := step.Runtime.URL; now != old.URL && isLoopback(now) && normalURL(now) == normalURL(old.URL) {
				reg.Functions[i] = replaceString(raw, now, old.URL)
			}
		}
	}
	return nil
}

// replaceString replaces a string in JSON, as JavaScript or as Go would have written it.
func replaceString(raw []byte, from, to string) []byte {
	quote := func(s string, escapeHTML bool) []byte {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escapeHTML)
		_ = enc.Encode(s) // strings always encode
		return bytes.TrimSpace(b.Bytes())
	}
	for _, escapeHTML := range []bool{false, true} {
		raw = bytes.ReplaceAll(raw, quote(from, escapeHTML), quote(to, escapeHTML))
	}
	return raw
}

// functions translates a registration's functions. All must be right, or none is taken.
func functions(env string, reg *registration) ([]engine.Function, error) {
	fns := make([]engine.Function, 0, len(reg.Functions))
	seen := map[string]bool{}
	var problems []string
	for _, raw := range reg.Functions {
		f, err := function(env, reg.AppName, reg.SDK, raw)
		var syntax *syntaxError
		switch {
		case errors.As(err, &syntax):
			return nil, &refusal{"Invalid request: " + err.Error()}
		case err != nil:
			problems = append(problems, err.Error())
			continue
		case seen[f.Slug]:
			problems = append(problems, fmt.Sprintf("function %s is listed twice", f.Slug))
			continue
		}
		seen[f.Slug] = true
		fns = append(fns, *f)
	}
	if len(problems) > 0 {
		return nil, &refusal{"At least one function is invalid: " + strings.Join(problems, "; ")}
	}
	return fns, nil
}

// refused shows on an app that its last registration was not accepted.
func (d *Door) refused(ctx context.Context, env string, reg *registration, cause error) {
	meta, err := json.Marshal(appMeta{SDK: reg.SDK, Framework: reg.Framework, AppVersion: reg.AppVersion, Method: "serve", Error: cause.Error()})
	if err == nil {
		_, err = d.cfg.Host.Submit(ctx, &engine.SetAppMeta{Env: env, Name: reg.AppName, Meta: meta})
	}
	if err != nil {
		d.cfg.Log.Debug("app error not recorded", "err", err)
	}
}

// checksum is equal for equal registrations; what an SDK merely observed about itself is not part of it.
func checksum(reg *registration) (string, error) {
	var b bytes.Buffer
	for _, s := range []string{normalURL(reg.URL), reg.Framework, reg.AppName, reg.AppVersion, reg.SDK} {
		b.WriteString(s)
		b.WriteByte(0)
	}
	for _, f := range reg.Functions {
		if err := json.Compact(&b, f); err != nil {
			return "", err
		}
		b.WriteByte(0)
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// normalURL makes the names of this machine equal and removes what only one deploy has: section 6.2.
func normalURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	if isLoopback(raw) {
		u.Host = "localhost"
		if p := portOf(raw); p != "" {
			u.Host += ":" + p
		}
	}
	if q := u.Query(); q.Has("deployId") {
		q.Del("deployId")
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// isLoopback says whether a URL is at one of the names of this machine.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1", "0.0.0.0":
		return true
	}
	return false
}

func portOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Port()
}

// remove is DELETE /fn/remove?url=: section 6.5.
func (d *Door) remove(w http.ResponseWriter, r *http.Request, env *auth.Environment) {
	want := normalURL(r.URL.Query().Get("url"))
	apps, err := d.loadApps(r.Context(), env.Name)
	if err != nil {
		d.writeFailure(w, r, err)
		return
	}
	for _, a := range apps {
		if a.URL == want {
			if _, err := d.cfg.Host.Submit(r.Context(), &engine.RemoveApp{Env: env.Name, Name: a.Name}); err != nil {
				d.writeFailure(w, r, err)
				return
			}
			d.apps.forget(env.Name, a.Name)
			w.WriteHeader(http.StatusOK)
			return
		}
	}
	writeError(w, http.StatusNotFound, "", "App not found: "+want)
}
