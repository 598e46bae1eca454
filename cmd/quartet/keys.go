package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
)

// keysCmd asks a running server for what it made at its first start: the token of QStash clients and the keys that sign deliveries.
type keysCmd struct {
	Server       string      `default:"http://127.0.0.1:8288" env:"QUARTET_SERVER" help:"URL of the server."`
	DashboardKey auth.Secret `env:"QUARTET_DASHBOARD_KEY" help:"Key of the server's dashboard."`
	Rotate       bool        `help:"Make the next signing key the current one and a new next key; apps verify with their next key until they have the new pair."`
}

func (c *keysCmd) run(ctx context.Context, out io.Writer) error {
	if c.Rotate {
		if _, err := c.ask(ctx, http.MethodPost, "/v2/keys/rotate"); err != nil {
			return err
		}
	}
	raw, err := c.ask(ctx, http.MethodGet, "/v2/keys/all")
	if err != nil {
		return err
	}
	var k struct{ Token, Current, Next string }
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	_, err = fmt.Fprintf(out, "QSTASH_URL=%s\nQSTASH_TOKEN=%s\nQSTASH_CURRENT_SIGNING_KEY=%s\nQSTASH_NEXT_SIGNING_KEY=%s\n", c.Server, k.Token, k.Current, k.Next)
	return err
}

func (c *keysCmd) ask(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Server, "/")+"/api/dashboard/qstash"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.DashboardKey.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w\nTry: --server or QUARTET_SERVER", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, fmt.Errorf("the server does not know this key\nTry: --dashboard-key or QUARTET_DASHBOARD_KEY")
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s: %s", resp.Status, body)
	}
	return body, nil
}
