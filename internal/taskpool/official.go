package taskpool

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// official lets the controller of the bundle drive the run: section 21.5. It speaks to the server itself, so it goes on when this program ends, and the server is
// told by it, or finds out in time.
func (d *drive) official(ctx context.Context) {
	p := d.pool
	dir, err := p.ensure(ctx, d.run)
	var cmd *exec.Cmd
	if err == nil {
		cmd, err = p.controller(d.run, dir)
	}
	out := &tail{most: 16 << 10}
	if err == nil {
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 5*time.Second
		err = p.spawn.start(cmd)
	}
	if err != nil {
		p.cfg.Log.Error("start the controller of a run", "run", d.run.ID, "deployment", d.run.Deployment, "err", err)
		return // its lease runs out, and it is handed out again
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			_ = killGroup(cmd.Process.Pid) // what it left behind
			if err != nil {
				p.cfg.Log.Warn("controller", "run", d.run.ID, "err", err, "output", out.String())
			}
			return
		case <-d.noticed:
			d.seeWaiting(ctx)
		case <-look.C:
			d.seeWaiting(ctx)
		case <-d.quit:
			_ = terminateGroup(cmd.Process.Pid) // it may have ended
			select {
			case <-ended:
			case <-time.After(killGrace):
			}
			_ = killGroup(cmd.Process.Pid) // it may have ended
			return
		}
	}
}

// seeWaiting makes room for others while the run waits.
func (d *drive) seeWaiting(ctx context.Context) {
	if s, err := d.pool.cfg.Source.Latest(ctx, d.run); err == nil {
		d.pool.wait(d, s.waits())
	}
}

// controller is the command that drives a run.
func (p *Pool) controller(r Run, dir string) (*exec.Cmd, error) {
	raw, err := os.ReadFile(filepath.Join(dir, indexManifest))
	if err != nil {
		return nil, err
	}
	var m struct {
		Controller string `json:"controllerEntryPoint"`
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.Controller == "" {
		return nil, badBundle("index.json names no controllerEntryPoint")
	}
	server, err := url.Parse(p.cfg.Server)
	if err != nil {
		return nil, err
	}
	port := server.Port()
	if port == "" {
		port = strconv.Itoa(map[string]int{"http": 80, "https": 443}[server.Scheme])
	}
	home, err := p.home(r.Project)
	if err != nil {
		return nil, err
	}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	cmd := exec.Command(p.node, m.Controller)
	cmd.Dir = dir
	cmd.Env = environ(home, map[string]string{
		"TRIGGER_CONTENT_HASH": r.Hash, "TRIGGER_PROJECT_ID": r.Project, "TRIGGER_PROJECT_REF": r.Project, "TRIGGER_DEPLOYMENT_ID": r.Token,
		"TRIGGER_DEPLOYMENT_FRIENDLY_ID": r.Deployment, "TRIGGER_DEPLOYMENT_VERSION": r.Version, "TRIGGER_ENV_ID": r.Env,
		"OTEL_EXPORTER_OTLP_ENDPOINT": p.cfg.Server + "/otel", "TRIGGER_RUNNER_ID": "runner_" + r.ID, "TRIGGER_POD_SCHEDULED_AT_MS": now, "TRIGGER_DEQUEUED_AT_MS": now,
		"TRIGGER_SUPERVISOR_API_PROTOCOL": server.Scheme, "TRIGGER_SUPERVISOR_API_DOMAIN": hostOf(server), "TRIGGER_SUPERVISOR_API_PORT": port,
		"TRIGGER_WORKER_INSTANCE_NAME": "quartet", "TRIGGER_RUN_ID": r.ID, "TRIGGER_SNAPSHOT_ID": r.Snapshot, "NODE_ENV": "production",
		"TRIGGER_MACHINE_CPU": strconv.FormatFloat(r.Machine.CPU, 'g', -1, 64), "TRIGGER_MACHINE_MEMORY": strconv.FormatFloat(r.Machine.Memory, 'g', -1, 64),
	})
	p.confine(cmd, r.Project)
	return cmd, nil
}

// hostOf is a URL's host as it stands in another URL.
func hostOf(u *url.URL) string {
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.To4() == nil {
		return "[" + u.Hostname() + "]"
	}
	return u.Hostname()
}
