package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a Quartet server in a process of its own.
type child struct {
	cmd *exec.Cmd
	url string
	dir string
	log bytes.Buffer
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512, MaxConnsPerHost: 0}}

var buildOnce = sync.OnceValues(func() (string, error) {
	if *binary != "" {
		return *binary, nil
	}
	bin := filepath.Join(os.TempDir(), "quartet-bench-bin-"+strconv.Itoa(os.Getpid()))
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/quartet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

func startChild(dir string, args ...string) (*child, error) {
	bin, err := buildOnce()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().String()
	ln.Close()
	c := &child{url: "http://" + addr, dir: dir}
	c.cmd = exec.Command(bin, append([]string{"dev", "--listen=" + addr, "--redis=off", "--data=" + dir, "--no-discovery", "--poll=0s", "--log-level=warn"}, args...)...)
	c.cmd.Stderr = &c.log
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		resp, err := client.Get(c.url + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return c, nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the server is not ready: %v\n%s", err, c.log.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	_ = c.cmd.Wait()
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// cpu is what the server has used.
func (c *child) cpu() time.Duration { return cpuOf(c.cmd.Process.Pid) }

func cpuOf(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	ut, _ := strconv.Atoi(f[11])
	st, _ := strconv.Atoi(f[12])
	return time.Duration(ut+st) * 10 * time.Millisecond
}

// rss is the server's resident memory in bytes.
func (c *child) rss() int64 { return rssOf(c.cmd.Process.Pid) }

func rssOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func post(url string, body []byte) ([]byte, error) {
	resp, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %d %.200s", url, resp.StatusCode, out)
	}
	return out, err
}

func (c *child) send(events []byte) error {
	_, err := post(c.url+"/e/bench", events)
	return err
}

// app is a minimal app: no SDK, just the protocol.
type app struct {
	srv *http.Server
	url string
}

// startApp serves handle at /api/inngest for the functions that it registers.
func startApp(c *child, functions map[string]string, handle http.HandlerFunc) (*app, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &app{url: "http://" + ln.Addr().String() + "/api/inngest"}
	a.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Inngest-Sdk", "bench:v1")
		w.Header().Set("X-Inngest-Req-Version", "2")
		handle(w, r)
	})}
	go func() {
		if err := a.srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "app:", err)
		}
	}()
	return a, a.register(c, functions)
}

func (a *app) register(c *child, functions map[string]string) error {
	var fns []any
	for id, event := range functions {
		fns = append(fns, map[string]any{
			"id": "bench-" + id, "name": id, "triggers": []any{map[string]any{"event": event}},
			"steps": map[string]any{"step": map[string]any{
				"id": "step", "name": "step", "retries": map[string]any{"attempts": 20},
				"runtime": map[string]any{"type": "http", "url": a.url + "?fnId=bench-" + id + "&stepId=step"},
			}},
		})
	}
	body, err := json.Marshal(map[string]any{"url": a.url, "appName": "bench", "functions": fns, "sdk": "js:v4.0.0", "v": "0.1"})
	if err != nil {
		return err
	}
	_, err = post(c.url+"/fn/register", body)
	return err
}

func (a *app) close() { _ = a.srv.Shutdown(context.Background()) }
