package trigger

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/durable"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
	"github.com/quartetjobs/quartet/internal/taskpool"
)

// Section 21: trigger deploy bundles the code where it is called and uploads it; the server makes a version of it.

// Limits of deployments.
const (
	maxBundle      = 512 << 20       // bytes of an archive
	maxDeployments = maxWorkers + 50 // those that failed included
	maxExternal    = 128             // characters of an external id
	buildTime      = 15 * time.Minute
	buildPause     = 5 * time.Second // after an error of the server's own
)

// Statuses of a deployment.
const (
	deployPending  = "PENDING"
	deployBuilding = "BUILDING"
	deployIndexing = "DEPLOYING"
	deployDone     = "DEPLOYED"
	deployFailed   = "FAILED"
	deployCanceled = "CANCELED"
	deployTimedOut = "TIMED_OUT"
)

// deployment is one version that somebody deployed. A value that others can see is never changed.
type deployment struct {
	ID          string          `json:"id"` // friendly
	Short       string          `json:"shortCode"`
	Version     string          `json:"version"`
	Status      string          `json:"status"`
	ContentHash string          `json:"contentHash"`
	Artifact    string          `json:"artifact"`
	Runtime     string          `json:"runtime,omitempty"`
	External    string          `json:"externalId,omitempty"`
	Git         json.RawMessage `json:"git,omitempty"`
	Unpromoted  bool            `json:"skipPromotion,omitempty"`
	By          string          `json:"triggeredVia,omitempty"`
	CreatedAt   int64           `json:"createdAt"`
	DeployedAt  int64           `json:"deployedAt,omitempty"`
	EndedAt     int64           `json:"endedAt,omitempty"`
	Worker      string          `json:"worker,omitempty"` // friendly
	Error       *buildError     `json:"error,omitempty"`
	Reason      string          `json:"canceledReason,omitempty"`
}

// buildError is why a deployment failed, in the words of whoever found out.
type buildError struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
	Stderr  string `json:"stderr,omitempty"`
}

func (p *deployment) final() bool {
	return p.Status == deployDone || p.Status == deployFailed || p.Status == deployCanceled || p.Status == deployTimedOut
}

// deployments are an environment's, oldest first.
type deployments struct {
	mu   sync.RWMutex
	list []*deployment
}

func (s *deployments) all() []*deployment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.list)
}

func (s *deployments) find(is func(*deployment) bool) *deployment {
	list := s.all()
	for _, p := range slices.Backward(list) { // the newest counts
		if is(p) {
			return p
		}
	}
	return nil
}

func (s *deployments) named(id string) *deployment {
	return s.find(func(p *deployment) bool { return p.ID == id })
}

func (s *deployments) set(p *deployment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.list, func(o *deployment) bool { return o.ID == p.ID }); i >= 0 {
		s.list[i] = p
	} else {
		s.list = append(s.list, p)
	}
}

func (s *deployments) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(p *deployment) bool { return p.ID == id })
}

func (d *Door) deploymentRoutes() {
	d.route("POST /api/v1/artifacts", secret, (*environment).createArtifact)
	d.mux.HandleFunc("POST /api/v1/artifacts/{env}/{key}", d.upload)
	d.route("POST /api/v1/deployments", secret, (*environment).createDeployment)
	d.route("GET /api/v1/deployments", secret, (*environment).listDeployments)
	d.route("GET /api/v1/deployments/{id}", secret, (*environment).getDeployment)
	d.route("POST /api/v1/deployments/{id}/promote", secret, (*environment).promote)
	d.route("POST /api/v1/deployments/{id}/cancel", secret, (*environment).cancelDeployment)
	d.route("POST /api/v1/deployments/{id}/fail", secret, (*environment).failDeployment)
	d.route("POST /api/v1/deployments/{id}/background-workers", secret, (*environment).indexed)
	d.perEnvironment("GET", "/deploy-settings", func(*Door, *http.Request) (any, error) {
		return map[string]string{"build_path": "native_local_bundle"}, nil
	})
}

func (env *environment) loadDeployments(ctx context.Context) error {
	list, err := readRows[deployment](ctx, env, "deployment")
	if err != nil {
		return err
	}
	env.deployments.list = list
	slices.SortFunc(env.deployments.list, func(a, b *deployment) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// changeDeployment stores what change makes of a copy of a deployment.
func (env *environment) changeDeployment(ctx context.Context, id string, change func(p *deployment) error) (*deployment, error) {
	defer env.locks.Lock("deployment\x00" + id)()
	old := env.deployments.named(id)
	if old == nil {
		return nil, fail(http.StatusNotFound, "Deployment not found")
	}
	p := *old
	if err := change(&p); err != nil {
		return nil, err
	}
	if p.final() && !old.final() {
		p.EndedAt = env.cfg.Now().UnixMilli()
		defer env.tellLate()
	}
	return &p, env.saveDeployment(ctx, &p)
}

func (env *environment) saveDeployment(ctx context.Context, p *deployment) error {
	row := engine.RowPut{Table: store.Meta, Key: env.metaKey("deployment", p.ID), Value: mustJSON(p)}
	if err := env.put(ctx, row); err != nil {
		return err
	}
	env.deployments.set(p)
	return nil
}

var artifactForm = regexp.MustCompile(`^[a-z0-9]{26}$`)

const (
	artifactPrefix = "bundles/"
	archiveSuffix  = ".tar.gz"
)

// archive is the file of an artifact.
func (d *Door) archive(key string) string {
	return filepath.Join(d.cfg.Bundles, strings.TrimPrefix(key, artifactPrefix)+archiveSuffix)
}

// sweepBundles removes archives that nobody made a deployment of in the time in which they could be uploaded.
func (d *Door) sweepBundles() error {
	used := map[string]bool{}
	for _, env := range d.all() {
		for _, p := range env.deployments.all() {
			used[d.archive(p.Artifact)] = true
		}
	}
	files, err := os.ReadDir(d.cfg.Bundles)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, f := range files {
		key, ok := strings.CutSuffix(f.Name(), archiveSuffix)
		if name := d.archive(key); ok && !used[name] {
			if info, err := f.Info(); err == nil && time.Since(info.ModTime()) >= urlLife {
				if err := os.Remove(name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// createArtifact is POST /api/v1/artifacts: section 21.1. Whoever has the URL may upload until it expires.
func (env *environment) createArtifact(r *http.Request) (any, error) {
	var in struct {
		Type   string `json:"type"`
		Length int64  `json:"contentLength"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Type != "deployment_bundle":
		return nil, fail(http.StatusBadRequest, "This server takes bundles that were made by trigger deploy: use a CLI that has --local-bundle")
	case in.Length > maxBundle:
		return nil, fail(http.StatusRequestEntityTooLarge, "The bundle is larger than %d MiB", maxBundle>>20)
	case !env.deployed():
		return nil, fail(http.StatusBadRequest, "Nothing can be deployed to dev: it has what trigger dev offers")
	case env.pool == nil:
		return nil, fail(http.StatusNotImplemented, "This server has no directory to keep bundles in: start it with --data")
	}
	key := strings.ToLower(rand.Text())
	until := env.cfg.Now().Add(urlLife)
	expires := strconv.FormatInt(until.Unix(), 10)
	return &accepted{http.StatusCreated, nil, map[string]any{
		"artifactKey":  artifactPrefix + key,
		"uploadUrl":    origin(r) + "/api/v1/artifacts/" + env.id + "/" + key + "?expires=" + expires + "&sig=" + env.packetSig("artifact\x00"+key, expires),
		"uploadFields": map[string]string{"key": key}, "expiresAt": iso(until.UnixMilli()),
	}}, nil
}

// upload is where an archive goes. It is on disk before the answer.
func (d *Door) upload(w http.ResponseWriter, r *http.Request) {
	err := d.takeUpload(w, r)
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Door) takeUpload(w http.ResponseWriter, r *http.Request) error {
	key, q := r.PathValue("key"), r.URL.Query()
	env := d.find(func(env *environment) bool { return env.id == r.PathValue("env") })
	until, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || env == nil || d.cfg.Now().Unix() > until || !artifactForm.MatchString(key) ||
		!secretEqual(env.packetSig("artifact\x00"+key, q.Get("expires")), q.Get("sig")) {
		return fail(http.StatusForbidden, "The URL has expired or is not valid")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBundle+1<<20)
	form, err := r.MultipartReader()
	if err != nil {
		return fail(http.StatusBadRequest, "The upload is no form: %v", err)
	}
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return fail(http.StatusBadRequest, "The form has no file")
		case err != nil:
			return err
		case part.FormName() != "file":
			continue
		}
		return durable.WriteFile(d.archive(key), part)
	}
}

// createDeployment is POST /api/v1/deployments.
func (env *environment) createDeployment(r *http.Request) (any, error) {
	var in struct {
		ContentHash string          `json:"contentHash"`
		Git         json.RawMessage `json:"gitMeta"`
		Runtime     string          `json:"runtime"`
		Artifact    string          `json:"artifactKey"`
		Unpromoted  bool            `json:"skipPromotion"`
		By          string          `json:"triggeredVia"`
		External    string          `json:"externalId"`
		Force       bool            `json:"force"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	key, ok := strings.CutPrefix(in.Artifact, artifactPrefix)
	switch {
	case !ok || !artifactForm.MatchString(key):
		return nil, fail(http.StatusBadRequest, "This server runs bundles, and no container images: deploy with --native-build --local-bundle, and a CLI that has it")
	case len(in.External) > maxExternal:
		return nil, fail(http.StatusBadRequest, "externalId must be %d characters or less", maxExternal)
	}
	if _, err := os.Stat(env.archive(key)); err != nil {
		return nil, fail(http.StatusBadRequest, "The bundle %s was not uploaded", in.Artifact)
	}
	defer env.locks.Lock("deploy\x00" + env.Name)()
	if in.External != "" {
		old := env.deployments.find(func(p *deployment) bool { return p.External == in.External })
		switch {
		case old == nil:
		case !old.final():
			return nil, fail(http.StatusConflict, "A deployment for the external id %s is under way", in.External)
		case old.Status == deployDone && !in.Force:
			v := env.deploymentView(old)
			v["outcome"] = "existing"
			return v, nil
		}
	}
	env.workers.register.Lock()
	p := &deployment{
		ID: friendly(deploymentPrefix, env.newID()), Short: strings.ToLower(rand.Text()[:8]), Version: env.nextVersion(), Status: deployPending,
		ContentHash: in.ContentHash, Artifact: in.Artifact, Runtime: in.Runtime, External: in.External, Git: in.Git, Unpromoted: in.Unpromoted, By: in.By,
		CreatedAt: env.cfg.Now().UnixMilli(),
	}
	err := env.saveDeployment(r.Context(), p)
	env.workers.register.Unlock()
	if err != nil {
		return nil, err
	}
	env.forgetDeployments(r.Context())
	env.cfg.Log.Info("deployment", "env", env.Name, "version", p.Version, "id", p.ID)
	env.builds.start(env, p.ID)
	v := env.deploymentView(p)
	v["outcome"] = "created"
	return v, nil
}

// forgetDeployments drops the oldest where there are too many: those that no run can be bound to any more.
func (env *environment) forgetDeployments(ctx context.Context) {
	list := env.deployments.all()
	tooMany := len(list) - maxDeployments
	for _, p := range list {
		if tooMany <= 0 {
			return
		}
		if !p.final() || env.workers.named(p.Worker) != nil {
			continue
		}
		row := engine.RowPut{Table: store.Meta, Key: env.metaKey("deployment", p.ID)}
		if err := env.put(ctx, row); err != nil {
			return // the next one tries again
		}
		env.deployments.drop(p.ID)
		env.pool.Forget(p.ID)
		_ = os.Remove(env.archive(p.Artifact)) // a file that stays does no harm
		tooMany--
	}
}

// builds makes versions of deployments, one after the other: each takes a processor, and npm.
type builds struct {
	ctx  context.Context
	turn chan struct{}
	all  sync.WaitGroup
}

func (b *builds) start(env *environment, id string) {
	b.all.Go(func() {
		select {
		case b.turn <- struct{}{}:
			defer func() { <-b.turn }()
		case <-b.ctx.Done():
			return
		}
		for {
			err := env.build(b.ctx, id)
			if err == nil || b.ctx.Err() != nil {
				return
			}
			env.cfg.Log.Error("a deployment stands still and is tried again", "env", env.Name, "id", id, "err", err)
			select {
			case <-time.After(buildPause):
			case <-b.ctx.Done():
				return
			}
		}
	})
}

// resume goes on with deployments that a stop interrupted.
func (b *builds) resume(envs []*environment) {
	for _, env := range envs {
		for _, p := range env.deployments.all() {
			if !p.final() {
				b.start(env, p.ID)
			}
		}
	}
}

// build makes a version of a deployment. It may be done again from the beginning.
func (env *environment) build(ctx context.Context, id string) error {
	step := func(status string) (*deployment, error) {
		return env.changeDeployment(ctx, id, func(p *deployment) error {
			if p.final() {
				return errStopped
			}
			p.Status = status
			return nil
		})
	}
	p, err := step(deployBuilding)
	if err != nil {
		return ignoreStopped(err)
	}
	origin := env.cfg.Origin()
	vars, err := env.variables(origin)
	if err != nil {
		return err
	}
	maps.Copy(vars, map[string]string{
		"TRIGGER_PROJECT_ID": projectID(env.ref()), "TRIGGER_PROJECT_REF": env.ref(), "TRIGGER_DEPLOYMENT_ID": id, "TRIGGER_DEPLOYMENT_VERSION": p.Version,
		"TRIGGER_CONTENT_HASH": p.ContentHash, "NODE_ENV": "production",
	})
	limited, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	failed := env.pool.Build(limited, taskpool.Build{Deployment: id, Project: env.ref(), Archive: env.archive(p.Artifact), Env: vars, Indexing: func() error {
		_, err := step(deployIndexing)
		return err
	}})
	if ctx.Err() != nil {
		return nil // it is resumed
	}
	done := false
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	_, err = env.changeDeployment(ctx, id, func(p *deployment) error {
		switch {
		case p.final():
			return errStopped
		case limited.Err() != nil:
			p.Status, p.Error = deployTimedOut, &buildError{Name: "TimeoutError", Message: "the version was not ready after " + buildTime.String()}
		case failed != nil:
			p.Status, p.Error = deployFailed, describe(failed)
		case env.workers.named(p.Worker) == nil:
			p.Status, p.Error = deployFailed, &buildError{Name: "IndexError", Message: "indexing ended without telling of any tasks"}
		default:
			p.Status, p.DeployedAt, done = deployDone, env.cfg.Now().UnixMilli(), true
		}
		if done && !p.Unpromoted { // before it is said: after a crash in between all is done again
			return env.handTo(ctx, env.workers.named(p.Worker))
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return err
	case !done:
		env.pool.Forget(id)
		return nil
	}
	env.work.wake() // runs may wait for this version
	return nil
}

// errStopped says that a deployment has ended in the meantime.
var errStopped = errors.New("the deployment has ended")

func ignoreStopped(err error) error {
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

func describe(err error) *buildError {
	var b *taskpool.BuildError
	if errors.As(err, &b) {
		return &buildError{Name: "BuildError", Message: b.Message, Stderr: b.Output}
	}
	return &buildError{Name: "BuildError", Message: err.Error()}
}

// indexed is POST /api/v1/deployments/{id}/background-workers: indexing tells what there is in the bundle.
func (env *environment) indexed(r *http.Request) (any, error) {
	m, err := readManifest(r)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	p := env.deployments.named(id)
	switch {
	case p == nil:
		return nil, fail(http.StatusNotFound, "Deployment not found")
	case p.final():
		return nil, fail(http.StatusBadRequest, "The deployment has ended: it is %s", p.Status)
	}
	w := env.worker(m, p.Version)
	if old := env.workers.named(p.Worker); old != nil {
		w.ID = old.ID // indexed again
	}
	w.Deployment = id
	if err := env.keep(r.Context(), w); err != nil {
		return nil, err
	}
	// Its tasks may be triggered from now on, for this version; other runs of them wait until it is promoted.
	names := env.taskNames()
	for _, t := range w.Tasks {
		names[t.ID] = true
	}
	if err := env.registerTasks(r.Context(), env.current(), names); err != nil {
		return nil, err
	}
	env.workers.mu.Lock()
	env.workers.tasks = names
	env.workers.mu.Unlock()
	_, err = env.changeDeployment(r.Context(), id, func(p *deployment) error {
		p.Worker, p.Runtime = w.ID, cmp.Or(w.Runtime, p.Runtime)
		return nil
	})
	return registered(w), err
}

// promoteTo makes a deployment's worker the current one.
func (env *environment) promoteTo(ctx context.Context, p *deployment) error {
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	w := env.workers.named(p.Worker)
	if w == nil {
		return fail(http.StatusBadRequest, "The deployment has no worker any more: deploy it again")
	}
	if err := env.handTo(ctx, w); err != nil {
		return err
	}
	env.work.wake()
	return nil
}

// promote is POST /api/v1/deployments/{version}/promote; an id or a short code names it as well.
func (env *environment) promote(r *http.Request) (any, error) {
	p := env.findDeployment(r.PathValue("id"))
	switch {
	case p == nil:
		return nil, fail(http.StatusNotFound, "Deployment not found")
	case p.Status != deployDone:
		return nil, fail(http.StatusBadRequest, "Deployment is %s, and cannot be promoted", p.Status)
	}
	if now := env.current(); now != nil {
		switch {
		case now.ID == p.Worker && env.workers.isHanded(p.Worker):
			return nil, fail(http.StatusBadRequest, "Deployment is already the current deployment")
		case !newer(p.Version, now.Version) && r.URL.Query().Get("allowRollbacks") != "true":
			return nil, fail(http.StatusBadRequest, "Cannot promote a deployment that is older than the current deployment.")
		}
	}
	if err := env.promoteTo(r.Context(), p); err != nil {
		return nil, err
	}
	return map[string]string{"id": p.ID, "version": p.Version, "shortCode": p.Short}, nil
}

// newer compares versions: a day, and a number of the day.
func newer(a, b string) bool {
	read := func(v string) (day string, n int) {
		day, text, _ := strings.Cut(v, ".")
		n, _ = strconv.Atoi(text) // it is ours
		return day, n
	}
	da, na := read(a)
	db, nb := read(b)
	return da > db || da == db && na > nb
}

func (env *environment) findDeployment(name string) *deployment {
	switch name {
	case "current":
		if w := env.current(); w != nil {
			return env.deployments.named(w.Deployment)
		}
		return nil
	case "latest":
		return env.deployments.find(func(*deployment) bool { return true })
	}
	return env.deployments.find(func(p *deployment) bool { return p.ID == name || p.Version == name || p.Short == name })
}

// cancelDeployment is POST /api/v1/deployments/{id}/cancel.
func (env *environment) cancelDeployment(r *http.Request) (any, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if len(in.Reason) > 200 {
		return nil, fail(http.StatusBadRequest, "reason must be 200 characters or less")
	}
	_, err := env.changeDeployment(r.Context(), r.PathValue("id"), func(p *deployment) error {
		if p.final() {
			return fail(http.StatusConflict, "Deployment is already %s", p.Status)
		}
		p.Status, p.Reason = deployCanceled, in.Reason
		return nil
	})
	return &accepted{http.StatusNoContent, nil, nil}, err
}

// failDeployment is POST /api/v1/deployments/{id}/fail: indexing says why it cannot go on.
func (env *environment) failDeployment(r *http.Request) (any, error) {
	var in struct {
		Error buildError `json:"error"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	_, err := env.changeDeployment(r.Context(), id, func(p *deployment) error {
		if p.final() {
			return errStopped
		}
		p.Status, p.Error = deployFailed, &in.Error
		return nil
	})
	return map[string]string{"id": id}, ignoreStopped(err)
}

// deploymentView is section 21.3.
func (env *environment) deploymentView(p *deployment) map[string]any {
	v := map[string]any{
		"id": p.ID, "status": p.Status, "contentHash": p.ContentHash, "shortCode": p.Short, "version": p.Version, "imageReference": nil, "imagePlatform": "linux/amd64",
		"imageTag": "bundle/" + p.Short, "isBuilt": p.final(), "createdAt": iso(p.CreatedAt), "runtime": orNull(p.Runtime), "runtimeVersion": nil,
	}
	if p.External != "" {
		v["externalId"] = p.External
	}
	if p.DeployedAt > 0 {
		v["deployedAt"] = iso(p.DeployedAt)
	}
	if len(p.Git) > 0 {
		v["git"] = p.Git
	}
	if p.Reason != "" {
		v["canceledReason"] = p.Reason
	}
	if p.Error != nil {
		v["errorData"], v["error"] = p.Error, p.Error
	}
	if w := env.workers.named(p.Worker); w != nil {
		tasks := []any{}
		for i := range w.Tasks {
			tasks = append(tasks, map[string]any{"id": w.Tasks[i].ID, "slug": w.Tasks[i].ID, "filePath": w.Tasks[i].FilePath, "exportName": w.Tasks[i].Export})
		}
		v["worker"] = map[string]any{"id": w.ID, "version": w.Version, "tasks": tasks}
		v["runtimeVersion"] = orNull(w.RuntimeIs)
	}
	if now := env.current(); now != nil {
		v["isPromoted"] = now.Deployment == p.ID
	}
	return v
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// getDeployment is GET /api/v1/deployments/{id}; current and latest are names too.
func (env *environment) getDeployment(r *http.Request) (any, error) {
	p := env.findDeployment(r.PathValue("id"))
	if p == nil {
		return nil, fail(http.StatusNotFound, "Deployment not found")
	}
	return env.deploymentView(p), nil
}

// listDeployments is GET /api/v1/deployments, newest first.
func (env *environment) listDeployments(r *http.Request) (any, error) {
	q := r.URL.Query()
	size := 20
	if n, err := strconv.Atoi(q.Get("page[size]")); err == nil {
		size = min(max(n, 5), 100)
	}
	from, to := int64(0), int64(1<<62)
	if t, ok := parseWhen(q.Get("from"), env.cfg.Now()); ok {
		from = t
	}
	if t, ok := parseWhen(q.Get("to"), env.cfg.Now()); ok {
		to = t
	}
	if t, ok := parseDuration(q.Get("period")); ok {
		from = env.cfg.Now().Add(-t).UnixMilli()
	}
	data, pagination := []any{}, map[string]string{}
	after := q.Get("page[after]")
	list := env.deployments.all()
	for _, p := range slices.Backward(list) {
		if after != "" && p.ID >= after || q.Get("status") != "" && !slices.Contains(strings.Split(q.Get("status"), ","), p.Status) || p.CreatedAt < from || p.CreatedAt > to {
			continue
		}
		if len(data) == size {
			pagination["next"] = data[size-1].(map[string]any)["id"].(string)
			break
		}
		data = append(data, env.deploymentView(p))
	}
	return map[string]any{"data": data, "pagination": pagination}, nil
}
