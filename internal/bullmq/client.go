package bullmq

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// Client is a [Redis] that speaks to a server over the network.
type Client struct{ c *redis.Client }

// Dial makes a client of a URL like redis://user:password@host:6379/0. Nothing is sent until it is used, and it connects again by itself.
func Dial(url string) (*Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("bullmq: %w", err)
	}
	return newClient(o), nil
}

// Over makes a client of connections that dial makes, for a server in the same process.
func Over(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return newClient(&redis.Options{
		Addr: "local", Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }, PoolSize: 4, DisableIdentity: true,
	})
}

func newClient(o *redis.Options) *Client {
	o.Protocol, o.ClientName = 2, "quartet"
	return &Client{redis.NewClient(o)}
}

// Do implements [Redis].
func (c *Client) Do(ctx context.Context, args ...any) (any, error) {
	v, err := c.c.Do(ctx, args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return v, err
}

// Pipeline implements [Redis].
func (c *Client) Pipeline(ctx context.Context, commands [][]any) ([]any, error) {
	p := c.c.Pipeline()
	cmds := make([]*redis.Cmd, len(commands))
	for i, args := range commands {
		cmds[i] = p.Do(ctx, args...)
	}
	_, err := p.Exec(ctx) // also says what single commands say, which is asked for below
	out := make([]any, len(cmds))
	for i, cmd := range cmds {
		v, e := cmd.Result()
		var server redis.Error
		switch {
		case errors.Is(e, redis.Nil):
		case errors.As(e, &server):
			out[i] = e
		case e != nil:
			return nil, err
		default:
			out[i] = v
		}
	}
	return out, nil
}

// Close ends its connections.
func (c *Client) Close() error { return c.c.Close() }
