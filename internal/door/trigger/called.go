package trigger

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/quartetjobs/quartet/internal/calls"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Beside the tasks, which workers pull, there are functions whose calls this door makes itself: of schedules, which trigger tasks, and of alert channels. Each is
// an app of its own, named by its slug.

// functionID is the engine's id of what has a name in the environment.
func (env *environment) functionID(name string) engine.UUID {
	return engine.UUID(uuid.NewSHA1(idSpace, []byte(env.Name+"\x00"+name)))
}

// registerCalled makes or changes a function that is called. What all of them have in common is filled in.
func (env *environment) registerCalled(ctx context.Context, fn engine.Function) error {
	fn.ID, fn.Env, fn.App, fn.Door, fn.Silent = env.functionID(fn.Slug), env.Name, fn.Slug, Name, true
	rep, err := do[engine.RegisterReply](ctx, env, &engine.Register{
		App: engine.App{ID: env.functionID("app\x00" + fn.Slug), Env: env.Name, Name: fn.Slug, Door: Name, Checksum: string(fn.Config)}, Functions: []engine.Function{fn},
	})
	if err != nil {
		return err
	}
	return rep.Err
}

// dropCalled forgets a function that is called, and the row that belongs to it.
func (env *environment) dropCalled(ctx context.Context, slug string, row []byte) error {
	if err := env.put(ctx, engine.RowPut{Table: store.Meta, Key: row}); err != nil {
		return err
	}
	_, err := env.cfg.Host.Submit(ctx, &engine.RemoveApp{Env: env.Name, Name: slug})
	return err
}

// Call makes a call: a tick or an alert. It does not block.
func (d *Door) Call(c *engine.Call) {
	if strings.HasPrefix(c.Fn.Slug, channelSlug) {
		d.calls.Go(c, d.deliver)
		return
	}
	d.calls.Go(c, d.tick)
}

// called does what a call is for, and reports its outcome. What fails has an error of the name failure, and is done again after a pause.
func (d *Door) called(ctx context.Context, c *engine.Call, failure string, pause time.Duration, do func(*environment) (any, error)) *engine.Report {
	select {
	case <-d.prepared:
	case <-ctx.Done():
		return nil
	}
	v, err := skipped("its environment is no more"), error(nil)
	if env := d.named(c.Fn.Env); env != nil {
		v, err = do(env)
	}
	rep := &engine.Report{Run: c.Run, Request: c.Request}
	switch {
	case calls.Gone(err):
		return nil
	case err != nil:
		rep.Ops = []engine.Op{{
			Kind: engine.OpRunFailed, RetryAt: d.cfg.Now().Add(pause).UnixMilli(), Value: mustJSON(map[string]string{"name": failure, "message": err.Error()}),
		}}
	default:
		rep.Ops = []engine.Op{{Kind: engine.OpRunDone, Value: mustJSON(v)}}
	}
	return rep
}

// skipped is the outcome of a call for which there was nothing to do.
func skipped(why string) any { return map[string]string{"skipped": why} }
