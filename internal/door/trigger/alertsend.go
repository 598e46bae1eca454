package trigger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/history"
	"github.com/quartetjobs/quartet/internal/shard"
)

// An alert that is not taken is sent again after 5 s, 10 s and so on, for two hours altogether.
const (
	alertAttempts = 16
	alertTimeout  = 15 * time.Second
	alertPause    = 5 * time.Second
	alertLongest  = 15 * time.Minute
	alertsAtOnce  = 5 // of a channel, however much fails at once
)

// alert is what a run of a channel is about.
type alert struct {
	Type       string `json:"type"`
	Run        string `json:"run,omitempty"`        // friendly
	Deployment string `json:"deployment,omitempty"` // friendly
	Test       bool   `json:"test,omitempty"`
}

// alert starts the run of a channel that tells of something, once for each key; with none whenever it is called.
func (env *environment) alert(ctx context.Context, ch *channel, a *alert, key string) (engine.ID, error) {
	rep, err := do[engine.StartReply](ctx, env, &engine.Start{
		Env: env.Name, Slug: channelSlug + ch.ID, Key: key, Run: env.newID(), Events: []engine.Event{{Name: a.Type, Data: mustJSON(a), Internal: true, Source: "trigger.dev"}},
	})
	return rep.Run, err
}

// lateAlerts is for how long after its end a deployment is told of if the server was killed before it could, in ms. An alert has a key for longer, so
// that none is sent twice.
const lateAlerts = engine.Hour

// tellLate tells of deployments that ended a short while ago, unless that was done. It does not block.
func (env *environment) tellLate() {
	env.calls.Insist(env.cfg.Log, "alerts about deployments", func(ctx context.Context) error {
		for _, p := range env.deployments.all() {
			a := &alert{Type: alertUndeployed, Deployment: p.ID}
			switch {
			case p.EndedAt < env.cfg.Now().UnixMilli()-lateAlerts, p.Status == deployCanceled:
				continue
			case p.Status == deployDone:
				a.Type = alertDeployed
			}
			for _, ch := range env.channels.wanting(a.Type) {
				if ch.CreatedAt > p.EndedAt {
					continue
				}
				if _, err := env.alert(ctx, ch, a, a.Type+"\x00"+p.ID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Settle hears that a run has failed. It does not block.
func (d *Door) Settle(s *engine.Settle) {
	d.calls.Insist(d.cfg.Log.With("run", s.Run), "alerts about a run that failed", func(ctx context.Context) error {
		select {
		case <-d.prepared:
		case <-time.After(time.Second):
			return shard.ErrUnavailable
		}
		if env := d.named(s.Env); env != nil && s.Status == engine.Failed {
			id := friendly(runPrefix, s.Run)
			for _, ch := range env.channels.wanting(alertRunFailed) {
				if _, err := env.alert(ctx, ch, &alert{Type: alertRunFailed, Run: id}, alertRunFailed+"\x00"+id); err != nil {
					return err
				}
			}
		}
		_, err := d.cfg.Host.Submit(ctx, &engine.Settled{Facts: []engine.ID{s.Run}})
		return err
	})
}

// deliver sends an alert.
func (d *Door) deliver(ctx context.Context, c *engine.Call) *engine.Report {
	pause := min(alertPause<<min(c.Attempt, 20), alertLongest)
	return d.called(ctx, c, "AlertError", pause, func(env *environment) (any, error) { return env.send(ctx, c) })
}

func (env *environment) send(ctx context.Context, c *engine.Call) (any, error) {
	ch := env.channels.named(strings.TrimPrefix(c.Fn.Slug, channelSlug))
	if ch == nil {
		return skipped("its channel is no more"), nil
	}
	ev, err := history.Event(ctx, env.cfg.Host, env.Name, c.Events[0])
	if err != nil || ev == nil {
		return skipped("what it is about is not in the store"), err
	}
	a := &alert{}
	if err := json.Unmarshal(ev.Data, a); err != nil {
		return nil, err
	}
	object, err := env.alertObject(ctx, ch, a)
	if err != nil || object == nil {
		return skipped("what it is about is not in the store any more"), err
	}
	key, err := env.channelSecret(ch)
	if err != nil {
		return nil, fmt.Errorf("open the secret of the channel: %w", err)
	}
	body := mustJSON(map[string]any{
		"id": friendly("alert_", c.Run), "created": iso(int64(c.Run.Time())), "webhookVersion": "v1", "type": a.Type, "object": object,
	})
	resp, err := env.cfg.Client.Do(ctx, &dispatch.Request{
		Method: http.MethodPost, URL: ch.URL, Body: body, Timeout: alertTimeout,
		Header: http.Header{"Content-Type": {"application/json"}, "X-Trigger-Signature-Hmacsha256": {hex.EncodeToString(sign(key, string(body)))}},
	})
	switch {
	case resp == nil && err != nil:
		return nil, err
	case resp.Status < 200 || resp.Status > 299:
		return nil, fmt.Errorf("%s answered with status %d: %.500s", ch.URL, resp.Status, resp.Body)
	}
	return map[string]int{"status": resp.Status}, nil
}

// alertObject is what an alert says; nil when what it is about is gone.
func (env *environment) alertObject(ctx context.Context, ch *channel, a *alert) (map[string]any, error) {
	v := map[string]any{"environment": env.view(), "organization": shortOrganization(), "project": env.projectNamed(env.ref()).short()}
	switch {
	case a.Test:
		env.testObject(v, ch)
		return v, nil
	case a.Type == alertRunFailed:
		ok, err := env.runObject(ctx, v, ch, a.Run)
		if err != nil || !ok {
			return nil, err
		}
		return v, nil
	}
	p := env.deployments.named(a.Deployment)
	if p == nil {
		return nil, nil
	}
	env.deploymentObject(v, p)
	return v, nil
}

// runObject is the part of an alert that is about a run.
func (env *environment) runObject(ctx context.Context, v map[string]any, ch *channel, run string) (ok bool, err error) {
	id, ok := parseID(runPrefix, run)
	if !ok {
		return false, nil
	}
	rec, err := env.read(ctx, id)
	if err != nil || rec == nil {
		return false, err
	}
	w := env.workers.named(rec.note.Worker)
	status := env.status(rec, engine.LeaseState{})
	e := rec.failure()
	if e == nil || status == statusCanceled { // as those are whose development worker went away
		return false, nil
	}
	m := map[string]any{
		"id": run, "number": 0, "status": publicName(status, false), "createdAt": iso(rec.QueuedAt), "isTest": rec.opts.Test,
		"tags": append([]string{}, rec.note.Tags...), "error": alertError(e), "isOutOfMemoryError": strings.HasSuffix(e.Code, "OOM_KILLED"),
		"machine": machineFor(&rec.opts, &rec.note, w.task(rec.opts.Task)).Name, "dashboardUrl": ch.Origin + "/runs/" + rec.ID.String(),
	}
	for name, at := range map[string]int64{"startedAt": rec.Started, "completedAt": rec.Ended} {
		if at > 0 {
			m[name] = iso(at)
		}
	}
	if rec.opts.UserKey != "" {
		m["idempotencyKey"] = rec.opts.UserKey
	}
	v["task"], v["run"] = alertTask(rec.opts.Task, w), m
	return true, nil
}

// alertTask is the task of a run that failed; w is nil when no version of it began.
func alertTask(id string, w *worker) map[string]any {
	v := map[string]any{"id": id, "filePath": "", "version": "", "sdkVersion": "", "cliVersion": ""}
	if w == nil {
		return v
	}
	v["version"], v["sdkVersion"], v["cliVersion"] = w.Version, w.SDK, w.CLI
	if t := w.task(id); t != nil {
		v["filePath"] = t.FilePath
		if t.Export != "" {
			v["exportName"] = t.Export
		}
	}
	return v
}

// alertError is an error with everything that its type has, be it empty.
func alertError(e *taskError) map[string]any {
	switch e.Type {
	case "STRING_ERROR", "CUSTOM_ERROR":
		return map[string]any{"type": e.Type, "raw": e.Raw}
	case "INTERNAL_ERROR":
		return map[string]any{"type": e.Type, "code": e.Code, "message": e.Message, "stackTrace": e.StackTrace}
	}
	return map[string]any{"type": "BUILT_IN_ERROR", "name": e.Name, "message": e.Message, "stackTrace": e.StackTrace}
}

// testObject is an alert about a run that does not exist.
func (env *environment) testObject(v map[string]any, ch *channel) {
	now := iso(env.cfg.Now().UnixMilli())
	v["task"] = alertTask("test-alert", env.current())
	v["run"] = map[string]any{
		"id": "run_test", "number": 0, "status": "FAILED", "createdAt": now, "startedAt": now, "completedAt": now, "isTest": true, "tags": []string{},
		"error":              alertError(&taskError{Type: "BUILT_IN_ERROR", Name: "Error", Message: "This is a test of the alert channel " + ch.Name + ". Nothing has failed."}),
		"isOutOfMemoryError": false, "machine": defaultMachine, "dashboardUrl": ch.Origin + "/tasks/alerts",
	}
}

// deploymentObject is the part of an alert that is about a deployment.
func (env *environment) deploymentObject(v map[string]any, p *deployment) {
	m := map[string]any{"id": p.ID, "status": p.Status, "version": p.Version, "shortCode": p.Short}
	v["deployment"] = m
	if git := alertGit(p.Git); git != nil {
		v["git"] = git
	}
	if p.Status != deployDone {
		m["failedAt"] = iso(p.EndedAt)
		e := map[string]any{"name": "DeployError", "message": "the deployment failed"}
		if p.Error != nil {
			e["name"], e["message"] = p.Error.Name, p.Error.Message
			for name, text := range map[string]string{"stack": p.Error.Stack, "stderr": p.Error.Stderr} {
				if text != "" {
					e[name] = text
				}
			}
		}
		v["error"] = e
		return
	}
	m["deployedAt"] = iso(p.DeployedAt)
	tasks := []any{}
	if w := env.workers.named(p.Worker); w != nil {
		for i := range w.Tasks {
			t := map[string]any{"id": w.Tasks[i].ID, "filePath": w.Tasks[i].FilePath, "triggerSource": w.Tasks[i].source()}
			if w.Tasks[i].Export != "" {
				t["exportName"] = w.Tasks[i].Export
			}
			tasks = append(tasks, t)
		}
	}
	v["tasks"] = tasks
}

// alertGit is where deployed code comes from, if what the CLI told of it is enough for links.
func alertGit(raw json.RawMessage) map[string]any {
	var g struct {
		Provider string `json:"provider"`
		Message  string `json:"commitMessage"`
		Ref      string `json:"commitRef"`
		Sha      string `json:"commitSha"`
		Remote   string `json:"remoteUrl"`
		Pull     int    `json:"pullRequestNumber"`
		Title    string `json:"pullRequestTitle"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &g) != nil {
		return nil
	}
	base := strings.TrimSuffix(g.Remote, ".git")
	if rest, ok := strings.CutPrefix(base, "git@"); ok {
		base = "https://" + strings.Replace(rest, ":", "/", 1)
	}
	if g.Sha == "" || g.Ref == "" || !strings.HasPrefix(base, "https://") {
		return nil
	}
	v := map[string]any{"branch": g.Ref, "commitSha": g.Sha, "commitMessage": g.Message, "commitUrl": base + "/commit/" + g.Sha, "branchUrl": base + "/tree/" + g.Ref}
	if g.Provider != "" {
		v["provider"] = g.Provider
	}
	if g.Pull > 0 {
		v["pullRequestNumber"], v["pullRequestTitle"], v["pullRequestUrl"] = g.Pull, g.Title, fmt.Sprintf("%s/pull/%d", base, g.Pull)
	}
	return v
}
