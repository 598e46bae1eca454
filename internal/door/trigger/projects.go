package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Sections 3.3 to 3.6: what the CLI asks about users, projects, environments and branches. There is one organisation, and everybody who is let in is its
// one user.

func (d *Door) projectRoutes() {
	d.personal("GET /api/v1/whoami", (*Door).whoami)
	d.personal("GET /api/v2/whoami", (*Door).whoami)
	d.personal("GET /api/v1/orgs", func(d *Door, _ *http.Request) (any, error) { return []any{organization()}, nil })
	d.personal("POST /api/v1/orgs", func(d *Door, _ *http.Request) (any, error) {
		return nil, fail(http.StatusBadRequest, "A server has one organization, quartet: create projects in it")
	})
	d.personal("GET /api/v1/projects", (*Door).listProjects)
	d.personal("POST /api/v1/orgs/{org}/projects", (*Door).createProject)
	d.personal("GET /api/v1/projects/runtimes", (*Door).listRuntimes)
	d.personal("GET /api/v1/projects/{ref}", (*Door).project)
	d.personal("PATCH /api/v1/projects/{ref}", (*Door).renameProject)
	d.personal("POST /api/v1/projects/{ref}/init", func(d *Door, r *http.Request) (any, error) {
		return map[string]string{"id": projectID(r.PathValue("ref")), "initializedAt": iso(d.cfg.Now().UnixMilli())}, nil
	})
	d.perEnvironment("GET", "", (*Door).projectEnv)
	d.perEnvironment("POST", "/jwt", (*Door).mintFor)
	d.perEnvironment("GET", "/workers/{tag}", (*Door).taggedWorker)
	d.personal("GET /api/v1/projects/{ref}/environments", (*Door).listEnvironments)
	d.personal("GET /api/v1/projects/{ref}/dev-status", (*Door).devStatus)
	d.personal("GET /api/v1/projects/{ref}/runs", (*Door).listProjectRuns)
	d.personal("GET /api/v1/projects/{ref}/branches", (*Door).listBranches)
	d.personal("POST /api/v1/projects/{ref}/branches", (*Door).createBranch)
	d.personal("POST /api/v1/projects/{ref}/branches/archive", (*Door).archiveBranch)
	d.anyone("GET /api/v1/platform-notifications", func(d *Door, _ *http.Request) (any, error) { return map[string]any{"notification": nil}, nil })
}

// perEnvironment adds an endpoint below /api/v1/projects/{ref}/{env}. The paths are spelled out, because others have a word where these have the
// environment.
func (d *Door) perEnvironment(method, path string, h func(*Door, *http.Request) (any, error)) {
	for _, slug := range []string{slugDev, slugStaging, "stg", slugProd, slugPreview} {
		d.personal(method+" /api/v1/projects/{ref}/"+slug+path, func(d *Door, r *http.Request) (any, error) {
			r.SetPathValue("env", slug)
			return h(d, r)
		})
	}
}

func (d *Door) whoami(r *http.Request) (any, error) {
	v := map[string]any{"userId": "user_1", "email": "developer@quartet.local", "dashboardUrl": origin(r)}
	if ref := r.URL.Query().Get("projectRef"); ref != "" {
		v["project"] = map[string]string{"name": d.projectNamed(ref).name(), "url": origin(r), "orgTitle": "Quartet"}
	}
	return v, nil
}

const organizationID = "org_1"

func organization() map[string]any {
	return map[string]any{"id": organizationID, "title": "Quartet", "slug": "quartet", "createdAt": time.UnixMilli(0).UTC()}
}

// shortOrganization is how tasks and alerts are told of it.
func shortOrganization() map[string]any {
	return map[string]any{"id": organizationID, "slug": "quartet", "name": "Quartet"}
}

func projectID(ref string) string { return strings.TrimPrefix(ref, "proj_") }

func projectView(p projectRow) map[string]any {
	return map[string]any{
		"id": projectID(p.Ref), "externalRef": p.Ref, "name": p.name(), "slug": p.Ref, "createdAt": time.UnixMilli(p.CreatedAt).UTC(), "organization": organization(),
	}
}

func (d *Door) listProjects(*http.Request) (any, error) {
	d.envs.mu.RLock()
	defer d.envs.mu.RUnlock()
	list := []any{}
	for _, p := range d.envs.projects {
		list = append(list, projectView(p))
	}
	return list, nil
}

// createProject is POST /api/v1/orgs/{org}/projects {name}.
func (d *Door) createProject(r *http.Request) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	ref := "proj_" + strings.Trim(strings.ToLower(queueStrip.ReplaceAllString(strings.ReplaceAll(in.Name, " ", "-"), "")), "-/")
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	if in.Name == "" || !refForm.MatchString(ref) || ref == "proj_" {
		return nil, fail(http.StatusBadRequest, "the project's name must have letters or digits, and at most 59 of them")
	}
	if _, err := d.useProject(r.Context(), ref); err != nil {
		return nil, err
	}
	err := d.nameProject(r.Context(), ref, in.Name)
	return projectView(d.projectNamed(ref)), err
}

// maxProjectName bounds the name of a project, in bytes.
const maxProjectName = 100

// nameProject gives a project a name. The caller holds making.
func (d *Door) nameProject(ctx context.Context, ref, name string) error {
	if name == "" || len(name) > maxProjectName {
		return fail(http.StatusBadRequest, "the project's name must have 1 to %d characters", maxProjectName)
	}
	d.envs.mu.RLock()
	list := slices.Clone(d.envs.projects)
	d.envs.mu.RUnlock()
	i := slices.IndexFunc(list, func(p projectRow) bool { return p.Ref == ref })
	if i < 0 {
		return fail(http.StatusNotFound, "Project not found")
	}
	list[i].Name = name
	return d.saveProjects(ctx, list)
}

// renameProject is PATCH /api/v1/projects/{ref} {name}; the ref stays.
func (d *Door) renameProject(r *http.Request) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	ref := r.PathValue("ref")
	return map[string]string{"id": projectID(ref), "name": in.Name}, d.nameProject(r.Context(), ref, in.Name)
}

// projectNamed is the project with a ref, also if nobody has used it yet.
func (d *Door) projectNamed(ref string) projectRow {
	d.envs.mu.RLock()
	defer d.envs.mu.RUnlock()
	for _, p := range d.envs.projects {
		if p.Ref == ref {
			return p
		}
	}
	return projectRow{Ref: ref, CreatedAt: d.cfg.Now().UnixMilli()}
}

func (p projectRow) name() string { return cmp.Or(p.Name, p.Ref) }

// short is how tasks and alerts are told of a project.
func (p projectRow) short() map[string]any {
	return map[string]any{"id": projectID(p.Ref), "ref": p.Ref, "slug": p.Ref, "name": p.name()}
}

// listRuntimes is GET /api/v1/projects/runtimes: what the current versions in production run on.
func (d *Door) listRuntimes(*http.Request) (any, error) {
	list := []any{}
	for _, env := range d.all() {
		if env.Slug != slugProd {
			continue
		}
		p := d.projectNamed(env.ref())
		v := map[string]any{
			"organization": map[string]any{"title": "Quartet", "slug": "quartet"}, "environment": map[string]any{"slug": env.Slug}, "deployment": nil,
			"project": map[string]any{"name": p.name(), "slug": p.Ref, "externalRef": p.Ref},
		}
		if w := env.current(); w != nil {
			if p := env.deployments.named(w.Deployment); p != nil {
				var major any
				if n, err := strconv.Atoi(strings.SplitN(strings.TrimPrefix(w.RuntimeIs, "v"), ".", 2)[0]); err == nil && strings.HasPrefix(w.Runtime, "node") {
					major = n
				}
				v["deployment"] = map[string]any{
					"runtime": orNull(w.Runtime), "runtimeVersion": orNull(w.RuntimeIs), "nodeMajor": major, "deployedAt": iso(p.DeployedAt), "shortCode": p.Short,
				}
			}
		}
		list = append(list, v)
	}
	return list, nil
}

// project is GET /api/v1/projects/{ref}. A ref that nobody has used yet may be used.
func (d *Door) project(r *http.Request) (any, error) {
	ref := r.PathValue("ref")
	if !refForm.MatchString(ref) {
		return nil, fail(http.StatusNotFound, "Project not found")
	}
	return projectView(d.projectNamed(ref)), nil
}

// environmentOf is the environment that a path names, for a caller with an access token; one with a key has that key's.
func (d *Door) environmentOf(r *http.Request, slug string) (*environment, error) {
	c := callerOf(r)
	if c.env == nil {
		return d.use(r.Context(), r.PathValue("ref"), slug, branchOf(r))
	}
	if slug == "stg" {
		slug = slugStaging
	}
	if c.env.Slug != slug {
		return nil, fail(http.StatusNotFound, "Environment not found")
	}
	if ref := r.PathValue("ref"); ref != c.env.Project {
		// The first to name the project gives it its ref.
		env, err := d.use(r.Context(), ref, slug, branchOf(r))
		if err != nil || env != c.env {
			return nil, errors.Join(err, fail(http.StatusNotFound, "Project not found"))
		}
	}
	return c.env, nil
}

// projectEnv is GET /api/v1/projects/{ref}/{env}.
func (d *Door) projectEnv(r *http.Request) (any, error) {
	env, err := d.environmentOf(r, r.PathValue("env"))
	if err != nil {
		return nil, err
	}
	key := env.secretKey()
	if text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); callerOf(r).env != nil {
		key = strings.TrimSpace(text) // in development it may be another
	}
	return map[string]any{"apiKey": key, "name": env.ref(), "apiUrl": origin(r), "projectId": projectID(env.ref())}, nil
}

// mintFor is POST /api/v1/projects/{ref}/{env}/jwt.
func (d *Door) mintFor(r *http.Request) (any, error) {
	var in struct {
		Claims struct {
			Scopes []string `json:"scopes"`
		} `json:"claims"`
		Expiration json.RawMessage `json:"expirationTime"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	env, err := d.environmentOf(r, r.PathValue("env"))
	if err != nil {
		return nil, err
	}
	life := time.Hour
	if t, ok := parseDuration(scalar(in.Expiration)); ok {
		life = t
	}
	return map[string]string{"token": env.mint(&claims{Scopes: in.Claims.Scopes}, life), "environmentId": env.id}, nil
}

// taggedWorker is GET /api/v1/projects/{ref}/{env}/workers/current.
func (d *Door) taggedWorker(r *http.Request) (any, error) {
	env, err := d.environmentOf(r, r.PathValue("env"))
	if err != nil {
		return nil, err
	}
	w := env.current()
	if tag := r.PathValue("tag"); tag != "current" {
		w = env.workers.version(tag)
	}
	if w == nil {
		return nil, fail(http.StatusNotFound, "Worker not found")
	}
	tasks := []any{}
	for i := range w.Tasks {
		t := &w.Tasks[i]
		tasks = append(tasks, map[string]any{"id": t.ID, "slug": t.ID, "filePath": t.FilePath, "triggerSource": strings.ToUpper(t.source()), "createdAt": iso(w.CreatedAt)})
	}
	return map[string]any{
		"worker": map[string]any{"id": w.ID, "version": w.Version, "engine": "V2", "sdkVersion": w.SDK, "cliVersion": w.CLI, "tasks": tasks},
		"urls":   map[string]string{"runs": origin(r) + "/runs"},
	}, nil
}

// ofProject are a project's environments.
func (d *Door) ofProject(ref string) []*environment {
	return slices.DeleteFunc(d.all(), func(env *environment) bool { return env.ref() != ref })
}

// listEnvironments is GET /api/v1/projects/{ref}/environments.
func (d *Door) listEnvironments(r *http.Request) (any, error) {
	list := []any{}
	for _, env := range d.ofProject(r.PathValue("ref")) {
		var branch any
		if env.Branch != "" {
			branch = env.Branch
		}
		list = append(list, map[string]any{
			"id": env.id, "slug": env.Slug, "type": env.typ(), "isBranchableEnvironment": env.Slug == slugPreview && env.Branch == "", "branchName": branch,
			"paused": env.paused.Load(),
		})
	}
	return list, nil
}

func (d *Door) devStatus(r *http.Request) (any, error) {
	on := slices.ContainsFunc(d.ofProject(r.PathValue("ref")), func(env *environment) bool { return env.connected() })
	return map[string]bool{"isConnected": on}, nil
}

// listBranches is GET /api/v1/projects/{ref}/branches.
func (d *Door) listBranches(r *http.Request) (any, error) {
	list := []any{}
	for _, env := range d.ofProject(r.PathValue("ref")) {
		if env.Branch != "" {
			list = append(list, map[string]any{"id": env.id, "name": env.Branch, "createdAt": iso(env.CreatedAt), "updatedAt": iso(env.CreatedAt), "isPaused": false})
		}
	}
	return map[string]any{"branches": list}, nil
}

// createBranch is POST /api/v1/projects/{ref}/branches; one that exists stays as it is.
func (d *Door) createBranch(r *http.Request) (any, error) {
	var in struct {
		Env    string `json:"env"`
		Branch string `json:"branch"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Branch == "" {
		return nil, fail(http.StatusBadRequest, "Invalid branch name")
	}
	env, err := d.use(r.Context(), r.PathValue("ref"), branchSlug(in.Env), in.Branch)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": env.id}, nil
}

// branchSlug is an environment as requests about branches name it.
func branchSlug(name string) string {
	if name == "development" || name == slugDev {
		return slugDev
	}
	return slugPreview
}

// archiveBranch is POST /api/v1/projects/{ref}/branches/archive: the branch is forgotten, its runs stay until they are old.
func (d *Door) archiveBranch(r *http.Request) (any, error) {
	var in struct {
		Env    string `json:"env"`
		Branch string `json:"branch"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	d.envs.making.Lock()
	defer d.envs.making.Unlock()
	slug := branchSlug(in.Env)
	env := d.find(func(env *environment) bool { return env.Branch == in.Branch && env.Slug == slug })
	if in.Branch == "" || env == nil || env.ref() != r.PathValue("ref") {
		return nil, fail(http.StatusNotFound, "Branch not found")
	}
	if err := env.retire(r.Context()); err != nil {
		return nil, err
	}
	if err := d.put(r.Context(), engine.RowPut{Table: store.Meta, Key: environmentKey(env.Name)}); err != nil {
		return nil, err
	}
	d.envs.mu.Lock()
	d.envs.list = slices.DeleteFunc(d.envs.list, func(e *environment) bool { return e == env })
	d.envs.mu.Unlock()
	return map[string]any{"id": env.id, "branch": map[string]string{"id": env.id, "name": env.Branch}}, nil
}
