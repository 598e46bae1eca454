package gosdk

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/inngest/inngestgo"
)

func TestRegistrationOutOfBand(t *testing.T) {
	s, a := setup(t, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "one", Name: "First"}, "test/go", func(context.Context, in) (any, error) { return "done", nil })
	})
	var list struct {
		Functions []struct{ Slug, Name string }
	}
	s.get("/functions", &list)
	if len(list.Functions) != 1 || list.Functions[0].Slug != "app-one" || list.Functions[0].Name != "First" {
		t.Fatalf("functions are %+v", list.Functions)
	}
	a.send("test/go", nil)
	r, _ := s.result("app-one")
	r.want(t, "completed", `"done"`)
}

// TestProduction syncs in band, which a production server does since Go refuses an unsigned request, and makes signed calls.
func TestProduction(t *testing.T) {
	t.Parallel()
	s := start(t, "serve")
	a := s.serve(inngestgo.ClientOpts{}, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "one"}, "test/go", func(context.Context, in) (any, error) { return 1, nil })
	})
	if status, body := a.register(); status != http.StatusUnauthorized {
		t.Errorf("an unsigned sync was answered %d %s", status, body)
	}
	s.sync(a.url)
	a.send("test/go", nil)
	r, _ := s.result("app-one")
	r.want(t, "completed", `1`)
	if sig := a.calls.all()[0].Get("X-Inngest-Signature"); !strings.HasPrefix(sig, "t=") {
		t.Errorf("the call's signature is %q", sig)
	}
}

// TestFallbackKey: an app that has the new key first and the server's as fallback is served in both directions.
func TestFallbackKey(t *testing.T) {
	t.Parallel()
	s := start(t, "serve")
	a := s.serve(inngestgo.ClientOpts{SigningKey: inngestgo.Ptr("signkey-test-00ff"), SigningKeyFallback: inngestgo.Ptr(signingKey)}, func(c inngestgo.Client) {
		function(c, inngestgo.FunctionOpts{ID: "one"}, "test/go", func(context.Context, in) (any, error) { return 1, nil })
	})
	s.sync(a.url)
	a.send("test/go", nil)
	r, _ := s.result("app-one")
	r.want(t, "completed", `1`)
}

func TestWrongEventKey(t *testing.T) {
	t.Parallel()
	s := start(t, "serve")
	c, err := inngestgo.NewClient(inngestgo.ClientOpts{AppID: "app", Dev: inngestgo.Ptr(false), EventKey: inngestgo.Ptr("wrong"), EventAPIBaseURL: &s.url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), inngestgo.Event{Name: "test/go", Data: map[string]any{}}); err == nil {
		t.Error("an event with a wrong key was accepted")
	}
}
