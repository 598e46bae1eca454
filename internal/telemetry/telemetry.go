// Package telemetry is what operators see of a running server: logs, metrics and health.
package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Logger makes the server's logger. level is debug, info, warn or error; format is text or json.
func Logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log-level %q is not debug, info, warn or error", level)
	}
	opt := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return nil, fmt.Errorf("log-format %q is not text or json", format)
}

// Metrics is a registry of its own, served at /metrics.
type Metrics struct{ reg *prometheus.Registry }

// NewMetrics makes a registry with the process's own metrics.
func NewMetrics() *Metrics {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Metrics{reg}
}

// Counter adds a metric that only grows, read when it is scraped.
func (m *Metrics) Counter(name, help string, read func() float64) {
	m.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// Gauge adds a metric that goes up and down, read when it is scraped.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler { return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{}) }

// Health knows whether the server does its work.
type Health struct {
	mu     sync.Mutex
	checks []check
}

type check struct {
	name string
	run  func() error
}

// Add adds a check that must pass for the server to be ready.
func (h *Health) Add(name string, run func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, run})
}

// Ready is GET /readyz: 200 when every check passes, else 503 and which one did not.
func (h *Health) Ready(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	failed := map[string]string{}
	for _, c := range h.checks {
		if err := c.run(); err != nil {
			failed[c.name] = err.Error()
		}
	}
	status, body := http.StatusOK, map[string]any{"status": "ready"}
	if len(failed) > 0 {
		status, body = http.StatusServiceUnavailable, map[string]any{"status": "not ready", "failed": failed}
	}
	writeJSON(w, status, body)
}

// Live is GET /healthz: 200 as long as the process answers.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, and there is nobody to tell
}
