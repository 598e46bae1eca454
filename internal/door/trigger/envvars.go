package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 12: variables that task processes get with each attempt. Their values are encrypted in the store, each for its name and environment.

// Limits of variables.
const (
	maxVariables = 1000
	maxVariable  = 64 << 10 // bytes of a value
	maxAllValues = 1 << 20  // bytes of an environment's values
)

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,255}$`)

// reserved are set by the server.
var reserved = []string{"TRIGGER_SECRET_KEY", "TRIGGER_API_URL"}

// variable is one of an environment's.
type variable struct {
	Sealed []byte `json:"value"`
	Secret bool   `json:"secret,omitempty"` // its value is not shown again
	Size   int    `json:"size"`
}

// variables are those of an environment, by name. A map that is in use is never changed.
type variables struct {
	mu sync.RWMutex
	of map[string]variable
}

func (d *Door) variableRoutes() {
	d.route("GET /api/v1/projects/{ref}/envvars", secret, (*environment).taskVariables)
	d.personal("GET /api/v1/projects/{ref}/envvars/{env}", inEnvironment((*environment).listVariables))
	d.personal("POST /api/v1/projects/{ref}/envvars/{env}", inEnvironment((*environment).createVariable))
	d.personal("POST /api/v1/projects/{ref}/envvars/{env}/import", inEnvironment((*environment).importVariables))
	d.personal("GET /api/v1/projects/{ref}/envvars/{env}/{name}", inEnvironment((*environment).getVariable))
	d.personal("PUT /api/v1/projects/{ref}/envvars/{env}/{name}", inEnvironment((*environment).updateVariable))
	d.personal("POST /api/v1/projects/{ref}/envvars/{env}/{name}", inEnvironment((*environment).updateVariable))
	d.personal("DELETE /api/v1/projects/{ref}/envvars/{env}/{name}", inEnvironment((*environment).deleteVariable))
}

// inEnvironment lets a handler answer for the environment that the path names.
func inEnvironment(h handler) func(d *Door, r *http.Request) (any, error) {
	return func(d *Door, r *http.Request) (any, error) {
		env, err := d.environmentOf(r, r.PathValue("env"))
		if err != nil {
			return nil, err
		}
		return h(env, r)
	}
}

func (env *environment) loadVariables(ctx context.Context) error {
	raw, ok, err := env.cfg.Host.Get(ctx, store.Meta, env.metaKey("variables", ""))
	if err != nil || !ok {
		return err
	}
	return json.Unmarshal(raw, &env.vars.of)
}

// sealedFor is what a value is sealed for.
func (env *environment) sealedFor(name string) string {
	return "variable\x00" + env.Name + "\x00" + name
}

func (env *environment) stored() map[string]variable {
	env.vars.mu.RLock()
	defer env.vars.mu.RUnlock()
	return env.vars.of
}

// own are the variables of an environment and, below them, those of the environment that it is a branch of.
func (env *environment) own() (map[string]string, error) {
	out := map[string]string{}
	if env.Branch != "" {
		if parent := env.named(env.environmentName(env.Project, env.Slug, "")); parent != nil {
			of, err := parent.own()
			if err != nil {
				return nil, err
			}
			out = of
		}
	}
	for name, v := range env.stored() { // each by its name
		text, err := env.cfg.Box.Open(v.Sealed, env.sealedFor(name))
		if err != nil {
			return nil, fmt.Errorf("the variable %s of the environment %s: %w", name, env.Name, err)
		}
		out[name] = text
	}
	return out, nil
}

// variables are all that a task process gets: section 18.8. o is where it reaches the server.
func (env *environment) variables(o string) (map[string]string, error) {
	vars, err := env.own()
	if err != nil {
		return nil, err
	}
	maps.Copy(vars, map[string]string{
		"TRIGGER_API_URL": o, "TRIGGER_STREAM_URL": o, "TRIGGER_REALTIME_STREAM_VERSION": "v1",
		"TRIGGER_OTEL_EXPORTER_OTLP_ENDPOINT": o + "/otel", "OTEL_EXPORTER_OTLP_ENDPOINT": o + "/otel", "TRIGGER_ORG_ID": organizationID,
	})
	if env.deployed() {
		vars["TRIGGER_SECRET_KEY"] = env.secretKey()
	}
	if env.Branch != "" {
		vars["TRIGGER_PREVIEW_BRANCH"] = env.Branch
	}
	return vars, nil
}

// taskVariables is GET /api/v1/projects/{ref}/envvars: for the CLI and for indexing.
func (env *environment) taskVariables(r *http.Request) (any, error) {
	vars, err := env.variables(origin(r))
	return map[string]any{"variables": vars}, err
}

// changeVariables stores what change makes of a copy of the variables.
func (env *environment) changeVariables(ctx context.Context, change func(of map[string]variable) error) error {
	defer env.locks.Lock("variables\x00" + env.Name)()
	of := maps.Clone(env.stored())
	if of == nil {
		of = map[string]variable{}
	}
	if err := change(of); err != nil {
		return err
	}
	size := 0
	for _, v := range of {
		size += v.Size
	}
	if len(of) > maxVariables || size > maxAllValues {
		return invalid("an environment can have %d variables with %d bytes in all", maxVariables, maxAllValues)
	}
	row := engine.RowPut{Table: store.Meta, Key: env.metaKey("variables", ""), Value: mustJSON(of)}
	if err := env.put(ctx, row); err != nil {
		return err
	}
	env.vars.mu.Lock()
	env.vars.of = of
	env.vars.mu.Unlock()
	return nil
}

func (env *environment) seal(name, value string, hidden bool) variable {
	return variable{Sealed: env.cfg.Box.Seal(value, env.sealedFor(name)), Secret: hidden, Size: len(value)}
}

// checkVariable says what is wrong with a variable; "" when nothing is.
func checkVariable(name, value string) string {
	switch {
	case !variableForm.MatchString(name):
		return "is no name of a variable: letters, digits and _, which do not begin with a digit"
	case slices.Contains(reserved, name):
		return "is set by the server"
	case len(value) > maxVariable:
		return fmt.Sprintf("has a value of more than %d bytes", maxVariable)
	case strings.ContainsRune(value, 0):
		return "has a value with a NUL"
	}
	return ""
}

const redactedValue = "<redacted>"

func (env *environment) viewVariable(name string, v variable) (any, error) {
	value := redactedValue
	if !v.Secret {
		var err error
		if value, err = env.cfg.Box.Open(v.Sealed, env.sealedFor(name)); err != nil {
			return nil, err
		}
	}
	return map[string]any{"name": name, "value": value, "isSecret": v.Secret}, nil
}

// listVariables is GET /api/v1/projects/{ref}/envvars/{env}.
func (env *environment) listVariables(*http.Request) (any, error) {
	of := env.stored()
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		v, err := env.viewVariable(name, of[name])
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

var succeeded = map[string]bool{"success": true}

// createVariable is POST /api/v1/projects/{ref}/envvars/{env}; one that exists gets the value.
func (env *environment) createVariable(r *http.Request) (any, error) {
	var in struct {
		Name   string  `json:"name"`
		Value  *string `json:"value"`
		Secret bool    `json:"isSecret"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Name == "" || in.Value == nil {
		return nil, fail(http.StatusBadRequest, "Invalid request body: name and value are required")
	}
	if wrong := checkVariable(in.Name, *in.Value); wrong != "" {
		return nil, fail(http.StatusBadRequest, "%s %s", in.Name, wrong)
	}
	return succeeded, env.changeVariables(r.Context(), func(of map[string]variable) error {
		of[in.Name] = env.seal(in.Name, *in.Value, in.Secret)
		return nil
	})
}

// importVariables is POST …/import, as JSON or as a form with a dotenv file.
func (env *environment) importVariables(r *http.Request) (any, error) {
	var in struct {
		Variables map[string]string `json:"variables"`
		Parent    map[string]string `json:"parentVariables"`
		Override  bool              `json:"override"`
		Secret    bool              `json:"isSecret"`
	}
	if typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); typ == "multipart/form-data" {
		file, _, err := r.FormFile("variables")
		if err != nil {
			return nil, fail(http.StatusBadRequest, "Invalid request body: the form has no file variables")
		}
		defer func() { _ = file.Close() }() // it was only read
		text, err := io.ReadAll(file)
		if err != nil {
			return nil, err
		}
		in.Variables, in.Override = parseDotenv(string(text)), r.FormValue("override") == "true"
	} else if err := decode(r, &in); err != nil {
		return nil, err
	}
	for _, name := range reserved {
		delete(in.Variables, name)
		delete(in.Parent, name)
	}
	if len(in.Variables)+len(in.Parent) == 0 {
		return nil, fail(http.StatusBadRequest, "No variables are left to import")
	}
	if err := env.importAll(r.Context(), in.Variables, in.Override, in.Secret); err != nil {
		return nil, err
	}
	if len(in.Parent) > 0 {
		parent := env
		if env.Branch != "" {
			if of := env.named(env.environmentName(env.Project, env.Slug, "")); of != nil {
				parent = of
			}
		}
		if err := parent.importAll(r.Context(), in.Parent, in.Override, in.Secret); err != nil {
			return nil, err
		}
	}
	return succeeded, nil
}

func (env *environment) importAll(ctx context.Context, vars map[string]string, override, hidden bool) error {
	return env.changeVariables(ctx, func(of map[string]variable) error {
		var wrong []any
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			msg := checkVariable(name, vars[name])
			if _, exists := of[name]; exists && !override {
				msg = "Variable already set in " + env.Slug
			}
			if msg != "" {
				wrong = append(wrong, map[string]string{"key": name, "error": msg})
				continue
			}
			of[name] = env.seal(name, vars[name], hidden)
		}
		if wrong != nil {
			return &inputError{status: http.StatusBadRequest, body: map[string]any{"error": "Some variables cannot be set", "variableErrors": wrong}}
		}
		return nil
	})
}

// parseDotenv reads a file of lines NAME=VALUE.
func parseDotenv(text string) map[string]string {
	vars := map[string]string{}
	for len(text) > 0 {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if quote := value + " "; strings.ContainsRune("\"'`", rune(quote[0])) {
			value, text = quoted(value, text)
		} else if i := strings.Index(value, " #"); i >= 0 {
			value = strings.TrimSpace(value[:i])
		}
		vars[name] = value
	}
	return vars
}

// quoted reads a value that begins with a quotation mark and may go on over lines. What has no end is taken as it is.
func quoted(value, text string) (string, string) {
	mark := value[0]
	all := value[1:] + "\n" + text
	for i := 0; i < len(all); i++ {
		switch {
		case all[i] == '\\' && mark == '"':
			i++
		case all[i] == mark:
			inner := all[:i]
			if mark == '"' {
				inner = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\\`, `\`).Replace(inner)
			}
			_, rest, _ := strings.Cut(all[i+1:], "\n")
			return inner, rest
		}
	}
	return value, text
}

func (env *environment) getVariable(r *http.Request) (any, error) {
	name := r.PathValue("name")
	v, ok := env.stored()[name]
	if !ok {
		return nil, fail(http.StatusNotFound, "Environment variable not found")
	}
	return env.viewVariable(name, v)
}

// updateVariable is PUT …/{name} with {value}.
func (env *environment) updateVariable(r *http.Request) (any, error) {
	var in struct {
		Value *string `json:"value"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	if in.Value == nil {
		return nil, fail(http.StatusBadRequest, "Invalid request body: value is required")
	}
	if wrong := checkVariable(name, *in.Value); wrong != "" {
		return nil, fail(http.StatusBadRequest, "%s %s", name, wrong)
	}
	return succeeded, env.changeVariables(r.Context(), func(of map[string]variable) error {
		old, ok := of[name]
		if !ok {
			return fail(http.StatusNotFound, "Environment variable not found")
		}
		of[name] = env.seal(name, *in.Value, old.Secret)
		return nil
	})
}

func (env *environment) deleteVariable(r *http.Request) (any, error) {
	name := r.PathValue("name")
	return succeeded, env.changeVariables(r.Context(), func(of map[string]variable) error {
		if _, ok := of[name]; !ok {
			return fail(http.StatusNotFound, "Environment variable not found")
		}
		delete(of, name)
		return nil
	})
}
