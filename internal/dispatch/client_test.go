package dispatch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, c *Client, url string) (*Response, error) {
	t.Helper()
	return c.Do(t.Context(), &Request{Method: http.MethodGet, URL: url})
}

// TestAddresses: where a call may go is decided for the address that is dialled, whatever its name.
func TestAddresses(t *testing.T) {
	t.Parallel()
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	port := url[strings.LastIndexByte(url, ':'):]
	f := func(deny bool, url string, refused bool) {
		t.Helper()
		_, err := New(Config{DenyPrivate: deny, Timeout: 5 * time.Second}).Do(t.Context(), &Request{Method: http.MethodGet, URL: url})
		var ae *AddressError
		if got := errors.As(err, &ae); got != refused {
			t.Errorf("deny private %v, %s: %v, want refused %v", deny, url, err, refused)
		}
	}
	f(false, url, false)
	f(false, "http://localhost"+port, false)
	for _, deny := range []bool{false, true} {
		f(deny, "http://169.254.169.254/latest/meta-data", true)
		f(deny, "http://[fe80::1]/", true)
		f(deny, "http://[::ffff:169.254.169.254]/", true)
		f(deny, "http://[fd00:ec2::254]/", true)
		f(deny, "http://100.100.100.200/", true)
		f(deny, "http://224.0.0.1/", true)
	}
	f(true, url, true)
	f(true, "http://localhost"+port, true)
	f(true, "http://10.0.0.1/", true)
	f(true, "http://192.168.1.1/", true)
	f(true, "http://[fc00::1]/", true)
	f(true, "http://0.0.0.0"+port, true)
}

func TestRedirectsAreCheckedAgain(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	})
	_, err := get(t, New(Config{}), url)
	var ae *AddressError
	if !errors.As(err, &ae) {
		t.Errorf("a redirect to a metadata address gave %v", err)
	}
	file := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "file:///etc/passwd")
		w.WriteHeader(http.StatusFound)
	})
	if _, err := get(t, New(Config{}), file); err == nil || !strings.Contains(err.Error(), "http://") {
		t.Errorf("a redirect to a file gave %v", err)
	}
}

func TestRedirectsKeepTheRequest(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/there?x=1", status)
				return
			}
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, r.Method+" "+r.URL.String()+" "+r.Header.Get("X-Mine")+" "+string(body))
		})
		resp, err := New(Config{}).Do(t.Context(), &Request{Method: http.MethodPost, URL: url, Header: http.Header{"X-Mine": {"yes"}}, Body: []byte("hello")})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(resp.Body), "POST /there?x=1 yes hello"; got != want || resp.URL != url+"/there?x=1" {
			t.Errorf("%d: %q from %s, want %q", status, got, resp.URL, want)
		}
	}
	loop := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	if _, err := get(t, New(Config{MaxRedirect: 3}), loop); err == nil || !strings.Contains(err.Error(), "3 redirects") {
		t.Errorf("an endless redirect gave %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "only this")
		case "/never":
			<-r.Context().Done()
		}
	})
	c := New(Config{MaxBody: 100})
	resp, err := get(t, c, url+"/large")
	if !errors.Is(err, ErrTooLarge) || len(resp.Body) != 100 {
		t.Errorf("an answer over the limit gave %v with %d bytes", err, len(resp.Body))
	}
	resp, err = get(t, c, url+"/cut")
	if err == nil || string(resp.Body) != "only this" {
		t.Errorf("an answer that was cut off gave %v with %q", err, resp.Body)
	}
	_, err = c.Do(t.Context(), &Request{Method: http.MethodGet, URL: url + "/never", Timeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("a call that took too long gave %v", err)
	}
}

// TestDrain: a call that is out may end; when the time for that is over it is cut off, and says that it was the server.
func TestDrain(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	call := func(c *Client) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.Do(context.Background(), &Request{Method: http.MethodGet, URL: url})
			done <- err
		}()
		<-arrived
		return done
	}
	c := New(Config{})
	done := call(c)
	close(release)
	c.Drain(t.Context())
	if err := <-done; err != nil {
		t.Errorf("a call that ended while draining gave %v", err)
	}

	release = make(chan struct{})
	c = New(Config{})
	done = call(c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Drain(ctx)
	if err := <-done; !errors.Is(err, ErrStopped) {
		t.Errorf("a call that was cut off gave %v", err)
	}
}

// TestLoopbackHasTwoAddresses: an app that listens on ::1 only is found under the address 127.0.0.1 too.
func TestLoopbackHasTwoAddresses(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 loopback")
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "six") })}
	go func() { _ = s.Serve(ln) }() // ends with Close
	t.Cleanup(func() { _ = s.Close() })
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := get(t, New(Config{}), "http://127.0.0.1:"+port)
	if err != nil || string(resp.Body) != "six" {
		t.Errorf("the app on [::1] was not found: %v", err)
	}
}
