// Package dispatch makes outbound calls to addresses that users name: pooled connections, time and size limits, and
// rules about where a call may go that hold for every hop of a redirect and for every address a name resolves to.
package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// Config of a Client. Zero fields take the defaults that are named.
type Config struct {
	// DenyPrivate refuses loopback and private addresses. Link-local addresses, where clouds keep their metadata, are
	// refused always.
	DenyPrivate bool
	Timeout     time.Duration // of one call, redirects included; default 2 hours
	MaxBody     int64         // bytes of an answer that are read; default 8 MiB
	MaxRedirect int           // hops that are followed; default 60
	MaxIdle     int           // idle connections kept per host; default 256
}

// Client makes calls. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
	wg   sync.WaitGroup
	stop context.CancelCauseFunc
	ctx  context.Context
}

// Request is one call.
type Request struct {
	Method  string
	URL     string
	Header  http.Header
	Body    []byte
	Timeout time.Duration // shortens the client's
	// KeepRedirects returns a redirect as it is instead of following it.
	KeepRedirects bool
}

// Response is what came back.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	URL    string // where it came from, after redirects
}

// ErrTooLarge: the answer was longer than the limit. The Response that comes with it has the beginning.
var ErrTooLarge = errors.New("the response is too large")

// ErrStopped: the client is shutting down and cut the call off.
var ErrStopped = errors.New("dispatch is stopping")

// AddressError says that a call was not made because of where it would have gone.
type AddressError struct {
	Addr netip.Addr
	Why  string
}

func (e *AddressError) Error() string { return fmt.Sprintf("refused to call %s: %s", e.Addr, e.Why) }

// New makes a client.
func New(cfg Config) *Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Hour)
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 8<<20)
	cfg.MaxRedirect = cmp.Or(cfg.MaxRedirect, 60)
	cfg.MaxIdle = cmp.Or(cfg.MaxIdle, 256)
	c := &Client{cfg: cfg}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	dialer := &net.Dialer{
		Timeout: 10 * time.Second, KeepAlive: 30 * time.Second,
		// Control sees the address that is really dialled, after name resolution: a name cannot be made to point
		// somewhere else between a check and the call.
		Control: func(_, address string, _ syscall.RawConn) error { return c.checkAddress(address) },
	}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: loopback(dialer.DialContext), MaxIdleConns: 4 * cfg.MaxIdle, MaxIdleConnsPerHost: cfg.MaxIdle,
			IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 1 << 20,
			ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
	}
	return c
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// loopback tries the other address of this machine when nobody listens at the one that was asked for: what is known as 127.0.0.1
// may have been started again listening on ::1 only, which is what localhost means to some.
func loopback(next dial) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		other := map[string]string{"127.0.0.1": "::1", "::1": "127.0.0.1", "localhost": "::1"}
		host, port, splitErr := net.SplitHostPort(address)
		if splitErr == nil && other[host] != "" {
			if conn, otherErr := next(ctx, network, net.JoinHostPort(other[host], port)); otherErr == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}

func (c *Client) checkAddress(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("parse address %q: %w", address, err)
	}
	a := ap.Addr().Unmap()
	switch {
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a == netip.MustParseAddr("fd00:ec2::254"), a == netip.MustParseAddr("100.100.100.200"):
		return &AddressError{a, "link-local, multicast and metadata addresses are never called"}
	case c.cfg.DenyPrivate && (a.IsPrivate() || a.IsLoopback() || a.IsUnspecified()):
		return &AddressError{a, "private addresses are not allowed by this server's settings"}
	}
	return nil
}

// CheckURL says whether a URL is one that could be called at all.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("parse URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("URL %q must begin with http:// or https://", raw)
	}
	if u.Host == "" {
		return fmt.Errorf("URL %q has no host", raw)
	}
	return nil
}

// Do makes a call. Redirects are followed with the same method, headers and body. A Response is returned for every
// status; an error means that there was none, or with ErrTooLarge only a part of it.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	c.wg.Add(1)
	defer c.wg.Done()
	timeout := c.cfg.Timeout
	if r.Timeout > 0 {
		timeout = min(timeout, r.Timeout)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()

	target := r.URL
	for hop := 0; ; hop++ {
		resp, next, err := c.once(ctx, r, target)
		if err != nil {
			if c.ctx.Err() != nil {
				return resp, ErrStopped
			}
			if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
				err = cause
			}
			return resp, err
		}
		if next == "" {
			return resp, nil
		}
		if hop == c.cfg.MaxRedirect {
			return nil, fmt.Errorf("more than %d redirects", c.cfg.MaxRedirect)
		}
		target = next
	}
}

func (c *Client) once(ctx context.Context, r *Request, target string) (*Response, string, error) {
	if err := CheckURL(target); err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return nil, "", err
	}
	maps.Copy(req.Header, r.Header)
	if len(r.Body) == 0 {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the caller knows the URL
		}
		return nil, "", err
	}
	defer resp.Body.Close()
	if loc := resp.Header.Get("Location"); loc != "" && isRedirect(resp.StatusCode) && !r.KeepRedirects {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		next, err := resp.Request.URL.Parse(loc)
		if err != nil {
			return nil, "", fmt.Errorf("redirect to %q: %w", loc, err)
		}
		return nil, next.String(), nil
	}
	out := &Response{Status: resp.StatusCode, Header: resp.Header, URL: target}
	out.Body, err = readAll(resp, c.cfg.MaxBody)
	return out, "", err
}

func readAll(resp *http.Response, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if int64(buf.Len()) > limit {
		return buf.Bytes()[:limit], fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	if err != nil {
		return buf.Bytes(), fmt.Errorf("read response: %w", err)
	}
	return buf.Bytes(), nil
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// Drain waits for the calls that are out. When ctx ends first it cuts them off.
func (c *Client) Drain(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		c.stop(ErrStopped)
		<-done
	}
	c.http.CloseIdleConnections()
}
