package trigger

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 2.2: a project has environments, each with keys, tasks, runs and schedules of its own. They appear when somebody names them first. An
// environment of this door is an environment of the engine.

// Environments of a project, by their slugs in URLs.
const (
	slugDev     = "dev"
	slugStaging = "staging"
	slugProd    = "prod"
	slugPreview = "preview"
)

// environmentTypes are the types by slug.
var environmentTypes = map[string]string{slugDev: "DEVELOPMENT", slugStaging: "STAGING", slugProd: "PRODUCTION", slugPreview: "PREVIEW"}

// keyMarks are what the secret keys of an environment have behind tr_.
var keyMarks = map[string]string{slugDev: "dev", slugStaging: "stg", slugProd: "prod", slugPreview: "preview"}

// Limits of what somebody may name.
const (
	maxEnvironments = 500
	maxBranch       = 200 // bytes of a branch's name
)

// refForm is a project's ref; it stands in keys and in the names of environments.
var refForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// environment is one of a project's environments.
type environment struct {
	*Door
	environmentRow
	id  string // friendly: the subject of tokens
	key atomic.Pointer[auth.Secret]

	paused      atomic.Bool // as its queue is
	workers     workers
	deployments deployments
	vars        variables
	overrides   overrides
	channels    channels
	lists       lists
	presence    presence
	seen        seenKeys
}

// environmentRow is what is stored of an environment.
type environmentRow struct {
	Name      string `json:"name"`              // the engine's
	Project   string `json:"project,omitempty"` // ref; "": the first project's
	Slug      string `json:"slug"`
	Branch    string `json:"branch,omitempty"`
	SealedKey []byte `json:"key,omitempty"` // nil: the key is configured, or the parent's
	CreatedAt int64  `json:"createdAt"`
}

// deployed says that versions come here by deployments, and not from a CLI that is connected.
func (env *environment) deployed() bool { return env.Slug != slugDev }

// typ is the type as the SDK names it.
func (env *environment) typ() string { return environmentTypes[env.Slug] }

// ref is the project's.
func (env *environment) ref() string { return cmp.Or(env.Project, env.firstProject()) }

// view is how workers are told of the environment.
func (env *environment) view() map[string]any {
	v := map[string]any{"id": env.id, "slug": env.Slug, "type": env.typ()}
	if env.Branch != "" {
		v["branchName"] = env.Branch
	}
	return v
}

// environments are those that are known, with the projects that they belong to.
type environments struct {
	mu       sync.RWMutex
	list     []*environment // in the order of their making
	projects []projectRow   // the first one's environments have short names

	making sync.Mutex // held while an environment or project is made
}

// projectRow is what is stored of a project.
type projectRow struct {
	Ref       string `json:"ref"`
	Name      string `json:"name,omitempty"` // "": the ref
	CreatedAt int64  `json:"createdAt"`
}

// defaultRef is the ref of the first project while nobody has named one.
const defaultRef = "proj_quartet"

func (d *Door) firstProject() string {
	d.envs.mu.RLock()
	defer d.envs.mu.RUnlock()
	if len(d.envs.projects) == 0 {
		return defaultRef
	}
	return d.envs.projects[0].Ref
}

// all are the environments that are known.
func (d *Door) all() []*environment {
	d.envs.mu.RLock()
	defer d.envs.mu.RUnlock()
	return slices.Clone(d.envs.list)
}

// Environments are the names of the environments that this door has beside the server's own.
func (d *Door) Environments() []string {
	var names []string
	for _, env := range d.all() {
		if env.Name != d.cfg.Env {
			names = append(names, env.Name)
		}
	}
	return names
}

// find is the first environment for which is is true; nil when there is none.
func (d *Door) find(is func(*environment) bool) *environment {
	d.envs.mu.RLock()
	defer d.envs.mu.RUnlock()
	for _, env := range d.envs.list {
		if is(env) {
			return env
		}
	}
	return nil
}

func (d *Door) named(name string) *environment {
	return d.find(func(env *environment) bool { return env.Name == name })
}

// Keys of the rows of this door in Meta that are about no environment.
var (
	environmentRows = []byte("trigger-environment\x00")
	projectRows     = []byte("trigger-projects")
)

func environmentKey(name string) []byte { return append(slices.Clone(environmentRows), name...) }

// load reads the projects and environments, and what is registered in each.
func (d *Door) load(ctx context.Context) error {
	d.envs.mu.Lock()
	d.envs.list, d.envs.projects = nil, nil
	d.envs.mu.Unlock()
	raw, ok, err := d.cfg.Host.Get(ctx, store.Meta, projectRows)
	if err != nil {
		return err
	}
	if ok {
		if err := json.Unmarshal(raw, &d.envs.projects); err != nil {
			return fmt.Errorf("decode projects: %w", err)
		}
	}
	rows, err := d.cfg.Host.Scan(ctx, store.Query{Table: store.Meta, Prefix: environmentRows, Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	for _, row := range rows {
		var r environmentRow
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return fmt.Errorf("decode an environment: %w", err)
		}
		if err := d.open(ctx, r); err != nil {
			return err
		}
	}
	// The server's own is always there, and those that keys are configured for.
	slugs := []string{d.mainSlug()}
	for _, k := range d.cfg.Keys {
		slugs = append(slugs, keySlug(k.Reveal()))
	}
	for _, slug := range slugs {
		if name := d.environmentName("", slug, ""); d.named(name) == nil {
			if err := d.open(ctx, environmentRow{Name: name, Slug: slug}); err != nil {
				return err
			}
		}
	}
	return nil
}

// open makes an environment known.
func (d *Door) open(ctx context.Context, row environmentRow) error {
	sum := sha256.Sum256([]byte(row.Name))
	env := &environment{Door: d, environmentRow: row, id: "env_" + hex.EncodeToString(sum[:10])}
	key, err := d.keyOf(&row)
	if err != nil {
		return err
	}
	env.key.Store(&key)
	if err := errors.Join(env.load(ctx), env.loadVariables(ctx), env.loadDeployments(ctx), env.loadOverrides(ctx), env.loadLimit(ctx), env.loadChannels(ctx), env.settle(ctx)); err != nil {
		return err
	}
	d.envs.mu.Lock()
	defer d.envs.mu.Unlock()
	d.envs.list = append(d.envs.list, env)
	return nil
}

// keyOf is the secret key of an environment.
func (d *Door) keyOf(row *environmentRow) (auth.Secret, error) {
	if len(row.SealedKey) > 0 {
		key, err := d.cfg.Box.Open(row.SealedKey, row.Name)
		if err != nil {
			return "", fmt.Errorf("the key of the environment %s: %w", row.Name, err)
		}
		return auth.Secret(key), nil
	}
	if row.Branch != "" {
		if parent := d.named(d.environmentName(row.Project, row.Slug, "")); parent != nil {
			return *parent.key.Load(), nil
		}
	}
	if key := d.configured(row.Slug); row.Project == "" && key != "" {
		return key, nil
	}
	return "", fmt.Errorf("the environment %s has no key: start the server with its trigger-key", row.Name)
}

// configured is the key of an environment of the first project that the server was started with; "" when there is none.
func (d *Door) configured(slug string) auth.Secret {
	for _, k := range d.cfg.Keys {
		if keySlug(k.Reveal()) == slug {
			return k
		}
	}
	if d.cfg.Dev {
		return auth.Secret("tr_" + keyMarks[slug] + "_quartet")
	}
	return ""
}

// keySlug is the slug of the environment that a secret key says it is for; "" when it says nothing.
func keySlug(key string) string {
	for slug, mark := range keyMarks {
		if strings.HasPrefix(key, "tr_"+mark+"_") {
			return slug
		}
	}
	return ""
}

// mainSlug is the slug of the environment that is the server's own, where the other doors' work is as well.
func (d *Door) mainSlug() string {
	if len(d.cfg.Keys) > 0 {
		return cmp.Or(keySlug(d.cfg.Keys[0].Reveal()), slugProd)
	}
	return slugDev
}

// environmentName is the engine's name of an environment; project is "" for the first one.
func (d *Door) environmentName(project, slug, branch string) string {
	name := slug
	switch {
	case project != "":
		name = project + "/" + slug
	case branch == "" && slug == d.mainSlug():
		return d.cfg.Env
	}
	if branch != "" {
		name += "/" + branch
	}
	return name
}

// use finds an environment of a project by its ref and slug, and makes both if there are none: a ref that is asked for with an access token is the
// beginning of a project.
func (d *Door) use(ctx context.Context, ref, slug, branch string) (*environment, error) {
	if slug == "stg" {
		slug = slugStaging
	}
	if branch == "default" {
		branch = ""
	}
	switch {
	case environmentTypes[slug] == "":
		return nil, fail(http.StatusNotFound, "Environment not found")
	case !refForm.MatchString(ref):
		return nil, fail(http.StatusNotFound, "Project not found")
	case branch != "" && (slug != slugPreview && slug != slugDev || len(branch) > maxBranch):
		return nil, fail(http.StatusBadRequest, "Invalid branch name")
	}
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	project, err := d.useProject(ctx, ref)
	if err != nil {
		return nil, err
	}
	if env := d.named(d.environmentName(project, slug, branch)); env != nil {
		return env, nil
	}
	if branch != "" {
		if _, err := d.make(ctx, project, slug, ""); err != nil {
			return nil, err
		}
	}
	return d.make(ctx, project, slug, branch)
}

// useProject is the project of a ref as it stands in environmentRow; it is made if there is none.
func (d *Door) useProject(ctx context.Context, ref string) (string, error) {
	d.envs.mu.RLock()
	list := d.envs.projects
	d.envs.mu.RUnlock()
	if i := slices.IndexFunc(list, func(p projectRow) bool { return p.Ref == ref }); i >= 0 {
		if i == 0 {
			return "", nil
		}
		return ref, nil
	}
	if len(list) >= maxEnvironments {
		return "", invalid("there are more than %d projects", maxEnvironments)
	}
	list = append(slices.Clone(list), projectRow{Ref: ref, CreatedAt: d.cfg.Now().UnixMilli()})
	if err := d.saveProjects(ctx, list); err != nil {
		return "", err
	}
	if len(list) == 1 {
		return "", nil
	}
	return ref, nil
}

func (d *Door) saveProjects(ctx context.Context, list []projectRow) error {
	if err := d.put(ctx, engine.RowPut{Table: store.Meta, Key: projectRows, Value: mustJSON(list)}); err != nil {
		return err
	}
	d.envs.mu.Lock()
	defer d.envs.mu.Unlock()
	d.envs.projects = list
	return nil
}

// make makes an environment, unless it exists. The caller holds making.
func (d *Door) make(ctx context.Context, project, slug, branch string) (*environment, error) {
	row := environmentRow{Name: d.environmentName(project, slug, branch), Project: project, Slug: slug, Branch: branch, CreatedAt: d.cfg.Now().UnixMilli()}
	if env := d.named(row.Name); env != nil {
		return env, nil
	}
	if len(d.all()) >= maxEnvironments {
		return nil, invalid("there are more than %d environments", maxEnvironments)
	}
	if branch == "" && (project != "" || d.configured(slug) == "") {
		row.SealedKey = d.cfg.Box.Seal(newKey(slug), row.Name)
	}
	put := engine.RowPut{Table: store.Meta, Key: environmentKey(row.Name), Value: mustJSON(row)}
	if err := d.put(ctx, put); err != nil {
		return nil, err
	}
	if err := d.open(ctx, row); err != nil {
		return nil, err
	}
	return d.named(row.Name), nil
}

// newKey makes a secret key.
func newKey(slug string) string { return "tr_" + keyMarks[slug] + "_" + rand.Text()[:24] }

// branchOf is the branch that a request is about: section 2.2.
func branchOf(r *http.Request) string {
	if b := r.Header.Get("X-Trigger-Branch"); b != "default" {
		return b
	}
	return ""
}

// branch is the environment of a branch of env; env itself without one. Development makes branches as they are named.
func (d *Door) branch(ctx context.Context, env *environment, branch string) (*environment, error) {
	if branch == "" || env.Slug != slugPreview && env.Slug != slugDev {
		return env, nil
	}
	if of := d.named(d.environmentName(env.Project, env.Slug, branch)); of != nil {
		return of, nil
	}
	if !d.cfg.Dev {
		return nil, fail(http.StatusNotFound, "Branch not found")
	}
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	return d.make(ctx, env.Project, env.Slug, branch)
}
