package taskpool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/quartetjobs/quartet/internal/durable"
)

// Build is a deployment that is to be made runnable.
type Build struct {
	Deployment string
	Project    string // ref
	Archive    string // file
	Env        map[string]string
	Indexing   func() error // called when the bundle is complete and its tasks are about to be looked for
}

const npm = "npm"

// The manifests of a bundle: section 21.2.
const (
	buildManifest = "build.json"
	indexManifest = "index.json"
	ready         = ".ready" // marks a directory that is complete
)

// dir is where a deployment's bundle is unpacked.
func (p *Pool) dir(deployment string) string { return filepath.Join(p.cfg.Dir, deployment) }

// Build unpacks a bundle, installs what it does not contain, and lets its own code tell the server of its tasks. A BuildError says what is wrong with it.
func (p *Pool) Build(ctx context.Context, b Build) error {
	if p.node == "" {
		return badBundle("this server finds no node to run tasks with: install Node.js, or set --node")
	}
	p.complain()
	archive, err := os.Open(b.Archive)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }() // it was only read
	dir := p.dir(b.Deployment)
	if err := p.prepare(ctx, b.Project, dir, archive); err != nil {
		return err
	}
	if err := b.Indexing(); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, buildManifest))
	if err != nil {
		return err
	}
	var m struct {
		Index string `json:"indexControllerEntryPoint"`
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.Index == "" {
		return badBundle("build.json names no indexControllerEntryPoint: deploy with a CLI of version 4.8 or later")
	}
	if err := p.own(dir, b.Project); err != nil {
		return err
	}
	if err := p.run(ctx, b.Project, dir, b.Env, "indexing", p.node, m.Index); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, indexManifest)); err != nil {
		return badBundle("indexing wrote no index.json")
	}
	return p.seal(dir)
}

// prepare makes a directory of a bundle from nothing: dependencies first, because installing removes what it does not know.
func (p *Pool) prepare(ctx context.Context, project, dir string, archive io.ReadSeeker) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unpack(archive, dir, func(name string) bool { return name == "package.json" || name == buildManifest }); err != nil {
		return err
	}
	if err := p.install(ctx, project, dir); err != nil {
		return err
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := unpack(archive, dir, func(string) bool { return true }); err != nil {
		return err
	}
	name := filepath.Join(dir, buildManifest)
	raw, err := os.ReadFile(name)
	if err != nil {
		return badBundle("the bundle has no build.json")
	}
	return os.WriteFile(name, relocate(raw, buildRoot, dir), 0o644)
}

// install fetches what the bundle does not contain, and runs the commands of build extensions.
func (p *Pool) install(ctx context.Context, project, dir string) error {
	var pkg struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return badBundle("the bundle has no package.json")
	}
	if err := json.Unmarshal(raw, &pkg); err != nil {
		return badBundle("the package.json of the bundle cannot be read: %v", err)
	}
	var m struct {
		Build struct {
			Commands []string          `json:"commands"`
			Env      map[string]string `json:"env"`
		} `json:"build"`
		Image struct {
			Packages     []string `json:"pkgs"`
			Instructions []string `json:"instructions"`
		} `json:"image"`
	}
	if raw, err = os.ReadFile(filepath.Join(dir, buildManifest)); err != nil {
		return badBundle("the bundle has no build.json")
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return badBundle("the build.json of the bundle cannot be read: %v", err)
	}
	if n := len(m.Image.Instructions); n > 0 {
		return badBundle("a build extension asks for %d instructions of a container image (%s), which this server has none of: install what it needs on the server, and remove the extension", n, m.Image.Instructions[0])
	}
	if len(m.Image.Packages) > 0 {
		p.cfg.Log.Warn("a build extension asks for system packages; they must be on this machine", "packages", m.Image.Packages)
	}
	if err := p.own(dir, project); err != nil {
		return err
	}
	if len(pkg.Dependencies) > 0 {
		if _, err := exec.LookPath(npm); err != nil {
			return badBundle("the bundle has dependencies, and this server finds no npm to install them with")
		}
		if err := p.run(ctx, project, dir, m.Build.Env, "npm install", npm, "install", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"); err != nil {
			return err
		}
	}
	for _, c := range m.Build.Commands {
		if err := p.run(ctx, project, dir, m.Build.Env, c, "/bin/sh", "-c", c); err != nil {
			return err
		}
	}
	return nil
}

// run runs a step of a build as the project's user.
func (p *Pool) run(ctx context.Context, project, dir string, env map[string]string, what, name string, args ...string) error {
	home, err := p.home(project)
	if err != nil {
		return err
	}
	out := &tail{most: 16 << 10}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = environ(home, env, "NODE_ENV=production")
	if name == npm {
		cmd.Env = append(cmd.Env, installing()...)
	}
	cmd.WaitDelay = 5 * time.Second
	p.confine(cmd, project)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	if err := p.spawn.run(cmd); err != nil {
		if ctx.Err() != nil {
			return &BuildError{Message: what + " was stopped", Output: out.String()}
		}
		return &BuildError{Message: fmt.Sprintf("%s failed: %v", what, err), Output: out.String()}
	}
	return nil
}

// passed are the variables of the server that its children get too: what installers and TLS need, and nothing that is secret.
var passed = []string{
	"PATH", "LANG", "LC_ALL", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

// environ is the environment of a child.
func environ(home string, vars map[string]string, more ...string) []string {
	env := append([]string{"HOME=" + home, "TMPDIR=" + home}, more...)
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for k, v := range vars { // a process does not mind the order
		env = append(env, k+"="+v)
	}
	return env
}

// installing are the variables of the server that say where packages come from. Tasks do not get them: there may be a token among them.
func installing() (env []string) {
	for _, kv := range os.Environ() {
		if strings.HasPrefix(strings.ToLower(kv), "npm_config_") {
			env = append(env, kv)
		}
	}
	return env
}

// home is the directory that a project's processes may write to.
func (p *Pool) home(project string) (string, error) {
	dir := filepath.Join(p.cfg.Dir, "home", project)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, p.own(dir, project)
}

// seal marks a directory as complete, and takes it from the project's user, who could change the code of later runs.
func (p *Pool) seal(dir string) error {
	if err := p.disown(dir); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, ready), nil, 0o644), durable.SyncDir(dir))
}

// ensure makes the bundle of a run's deployment runnable here: on the machine that built it, it is.
func (p *Pool) ensure(ctx context.Context, r Run) (dir string, err error) {
	dir = p.dir(r.Deployment)
	defer p.preparing.Lock(r.Deployment)()
	if _, err := os.Stat(filepath.Join(dir, ready)); err == nil {
		return dir, nil
	}
	archive, index, err := p.cfg.Source.Bundle(ctx, r.Env, r.Deployment)
	if err != nil {
		return "", err
	}
	name := dir + ".tar.gz"
	err = durable.WriteFile(name, archive)
	if err = errors.Join(err, archive.Close()); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(name) }() // it can be fetched again
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := p.prepare(ctx, r.Project, dir, f); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, indexManifest), relocate(index, buildRoot, dir), 0o644); err != nil {
		return "", err
	}
	return dir, p.seal(dir)
}

// Index is what indexing made of a deployment, as it is in a bundle anywhere.
func (p *Pool) Index(deployment string) ([]byte, error) {
	dir := p.dir(deployment)
	raw, err := os.ReadFile(filepath.Join(dir, indexManifest))
	if err != nil {
		return nil, err
	}
	return relocate(raw, dir, buildRoot), nil
}

// Forget removes what is unpacked of a deployment. Processes that have its code loaded go on.
func (p *Pool) Forget(deployment string) {
	if err := os.RemoveAll(p.dir(deployment)); err != nil {
		p.cfg.Log.Warn("remove a deployment's directory", "deployment", deployment, "err", err)
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	most int
	buf  []byte
	all  int
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all += len(b)
	all := len(b)
	b = b[max(0, all-t.most):]
	t.buf = append(t.buf, b...)
	if n := len(t.buf) - t.most; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return all, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all > len(t.buf) {
		return "…" + strings.ToValidUTF8(string(t.buf), "")
	}
	return strings.ToValidUTF8(string(t.buf), "")
}
