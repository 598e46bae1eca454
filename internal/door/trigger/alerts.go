package trigger

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/quartetjobs/quartet/internal/dispatch"
	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 26: an alert channel is an address that is told of runs and deployments that failed. Each is a function of the engine, and an alert a run of it:
// it is tried again until the address answers, outlives the server, and stands in the list of runs with what went wrong.

const (
	channelSlug   = "trigger-alert/"
	channelPrefix = "alert_channel_"
	maxChannels   = 50 // of an environment
)

// What channels are told of.
const (
	alertRunFailed  = "alert.run.failed"
	alertDeployed   = "alert.deployment.success"
	alertUndeployed = "alert.deployment.failed"
)

var alertTypes = []string{alertRunFailed, alertUndeployed, alertDeployed}

// channel is an address that is told.
type channel struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	URL       string   `json:"url"`
	Sealed    []byte   `json:"secret"` // that alerts are signed with
	Types     []string `json:"types"`
	Origin    string   `json:"origin"` // of the dashboard, as who made the channel knew it
	CreatedAt int64    `json:"createdAt"`
}

// channels are those of an environment, oldest first.
type channels struct {
	mu   sync.RWMutex
	list []*channel
}

func (c *channels) all() []*channel {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.list)
}

// wanting are the channels that are told of a type of alert.
func (c *channels) wanting(typ string) []*channel {
	return slices.DeleteFunc(c.all(), func(ch *channel) bool { return !slices.Contains(ch.Types, typ) })
}

func (c *channels) named(id string) *channel {
	list := c.all()
	if i := slices.IndexFunc(list, func(ch *channel) bool { return ch.ID == id }); i >= 0 {
		return list[i]
	}
	return nil
}

func (d *Door) alertRoutes() {
	d.route("GET "+inside+"alerts", secret, (*environment).listChannels)
	d.route("POST "+inside+"alerts", secret, (*environment).createChannel)
	d.route("DELETE "+inside+"alerts/{id}", secret, (*environment).deleteChannel)
	d.route("POST "+inside+"alerts/{id}/test", secret, (*environment).testChannel)
}

func (env *environment) loadChannels(ctx context.Context) error {
	list, err := readRows[channel](ctx, env, "alert")
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *channel) int { return cmp.Compare(a.ID, b.ID) })
	env.channels.list = list
	return nil
}

func (env *environment) channelSecret(ch *channel) (string, error) {
	return env.cfg.Box.Open(ch.Sealed, "alert\x00"+env.Name+"\x00"+ch.ID)
}

func channelView(ch *channel) map[string]any {
	return map[string]any{"id": ch.ID, "name": ch.Name, "url": ch.URL, "types": ch.Types, "createdAt": iso(ch.CreatedAt), "function": channelSlug + ch.ID}
}

func (env *environment) listChannels(*http.Request) (any, error) {
	list := []any{}
	for _, ch := range env.channels.all() {
		list = append(list, channelView(ch))
	}
	return map[string]any{"channels": list, "types": alertTypes}, nil
}

// createChannel makes a channel. Its secret is in the answer, and never again.
func (env *environment) createChannel(r *http.Request) (any, error) {
	var in struct {
		Name, URL, Secret string
		Types             []string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	switch err := dispatch.CheckURL(in.URL); {
	case in.Name == "" || len(in.Name) > 100:
		return nil, fail(http.StatusBadRequest, "a channel needs a name of at most 100 characters")
	case err != nil || len(in.URL) > 2000:
		return nil, fail(http.StatusBadRequest, "the address must be a URL that begins with http:// or https://")
	case len(in.Types) == 0 || slices.ContainsFunc(in.Types, func(t string) bool { return !slices.Contains(alertTypes, t) }):
		return nil, fail(http.StatusBadRequest, "types must be some of %s", strings.Join(alertTypes, ", "))
	case len(in.Secret) > 500:
		return nil, fail(http.StatusBadRequest, "the secret is longer than 500 characters")
	}
	in.Secret = cmp.Or(in.Secret, "whsec_"+rand.Text())
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	if len(env.channels.all()) >= maxChannels {
		return nil, invalid("there are %d channels already", maxChannels)
	}
	ch := &channel{ID: friendly(channelPrefix, env.newID()), Name: in.Name, URL: in.URL, Types: in.Types, Origin: origin(r), CreatedAt: env.cfg.Now().UnixMilli()}
	ch.Sealed = env.cfg.Box.Seal(in.Secret, "alert\x00"+env.Name+"\x00"+ch.ID)
	if err := env.registerCalled(r.Context(), engine.Function{
		Slug: channelSlug + ch.ID, Name: "alerts to " + ch.Name, Config: json.RawMessage(`{}`), MaxAttempts: alertAttempts,
		Flow: engine.Flow{Concurrency: []engine.Concurrency{{Limit: alertsAtOnce, Scope: engine.ScopeFunction}}},
	}); err != nil {
		return nil, err
	}
	if err := env.put(r.Context(), engine.RowPut{Table: store.Meta, Key: env.metaKey("alert", ch.ID), Value: mustJSON(ch)}); err != nil {
		return nil, err
	}
	env.channels.mu.Lock()
	env.channels.list = append(env.channels.list, ch)
	env.channels.mu.Unlock()
	if err := env.registerTasks(r.Context(), env.current(), env.taskNames()); err != nil { // from now on their failures are told of
		return nil, err
	}
	v := channelView(ch)
	v["secret"] = in.Secret
	return v, nil
}

func (env *environment) findChannel(r *http.Request) (*channel, error) {
	if ch := env.channels.named(r.PathValue("id")); ch != nil {
		return ch, nil
	}
	return nil, fail(http.StatusNotFound, "Channel not found")
}

func (env *environment) deleteChannel(r *http.Request) (any, error) {
	ch, err := env.findChannel(r)
	if err != nil {
		return nil, err
	}
	env.workers.register.Lock()
	defer env.workers.register.Unlock()
	if err := env.dropChannel(r.Context(), ch); err != nil {
		return nil, err
	}
	return succeeded, env.registerTasks(r.Context(), env.current(), env.taskNames())
}

func (env *environment) dropChannel(ctx context.Context, ch *channel) error {
	if err := env.dropCalled(ctx, channelSlug+ch.ID, env.metaKey("alert", ch.ID)); err != nil {
		return err
	}
	env.channels.mu.Lock()
	defer env.channels.mu.Unlock()
	env.channels.list = slices.DeleteFunc(env.channels.list, func(o *channel) bool { return o.ID == ch.ID })
	return nil
}

// testChannel sends an alert about a run that does not exist.
func (env *environment) testChannel(r *http.Request) (any, error) {
	ch, err := env.findChannel(r)
	if err != nil {
		return nil, err
	}
	run, err := env.alert(r.Context(), ch, &alert{Type: alertRunFailed, Test: true}, "")
	return map[string]string{"run": run.String()}, err
}
