package taskpool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
)

// Path is where a server answers the pools of other machines.
const Path = "/engine/v1/pool"

// Client is the source of runs of a pool on another machine than the server. It implements [Source].
type Client struct {
	server string
	token  auth.Secret
	http   *http.Client
}

// NewClient makes the client of a server, by its URL and its token for workers.
func NewClient(server string, token auth.Secret) *Client {
	dial := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &Client{
		server: strings.TrimSuffix(server, "/"), token: token,
		http: &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dial.DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: time.Minute,
		}},
	}
}

// Completed is the body of what a pool says of an attempt.
type Completed struct {
	Run    Run             `json:"run"`
	Result json.RawMessage `json:"result"`
}

// do asks the server; the caller closes the body.
func (c *Client) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+Path+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	r, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if r.StatusCode < 300 {
		return r, nil
	}
	text, _ := io.ReadAll(io.LimitReader(r.Body, 1024)) // what there is of it
	_ = r.Body.Close()                                  // it was read
	if r.StatusCode == http.StatusConflict {
		return nil, ErrLost
	}
	return nil, fmt.Errorf("%s %s: %s: %s", method, path, r.Status, bytes.TrimSpace(text))
}

func ask[T any](ctx context.Context, c *Client, path string, in any) (*T, error) {
	r, err := c.do(ctx, http.MethodPost, path, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }() // it was only read
	out := new(T)
	return out, json.NewDecoder(r.Body).Decode(out)
}

// Lease implements [Source].
func (c *Client) Lease(ctx context.Context, most int) ([]Run, error) {
	runs, err := ask[[]Run](ctx, c, "/lease", map[string]int{"most": most})
	if err != nil {
		return nil, err
	}
	return *runs, nil
}

// Start implements [Source].
func (c *Client) Start(ctx context.Context, r Run) (*Attempt, error) {
	return ask[Attempt](ctx, c, "/start", r)
}

// Complete implements [Source].
func (c *Client) Complete(ctx context.Context, r Run, result json.RawMessage) (*Outcome, error) {
	return ask[Outcome](ctx, c, "/complete", Completed{r, result})
}

// Heartbeat implements [Source].
func (c *Client) Heartbeat(ctx context.Context, r Run) error {
	_, err := ask[struct{}](ctx, c, "/heartbeat", r)
	return err
}

// Latest implements [Source].
func (c *Client) Latest(ctx context.Context, r Run) (*State, error) {
	return ask[State](ctx, c, "/latest", r)
}

// Notices implements [Source].
func (c *Client) Notices(ctx context.Context, fn func(string)) error {
	r, err := c.do(ctx, http.MethodGet, "/notices", nil)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }() // it was only read
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if run := lines.Text(); run != "" { // an empty one says that the server is there
			fn(run)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Bundle implements [Source].
func (c *Client) Bundle(ctx context.Context, env, deployment string) (io.ReadCloser, []byte, error) {
	q := "?env=" + url.QueryEscape(env) + "&deployment=" + url.QueryEscape(deployment)
	r, err := c.do(ctx, http.MethodGet, "/index"+q, nil)
	if err != nil {
		return nil, nil, err
	}
	index, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, nil, err
	}
	if r, err = c.do(ctx, http.MethodGet, "/bundle"+q, nil); err != nil {
		return nil, nil, err
	}
	return r.Body, index, nil
}
