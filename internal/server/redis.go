package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/bullmq"
	"github.com/quartetjobs/quartet/internal/dashboard"
	"github.com/quartetjobs/quartet/internal/door/resp"
	"github.com/quartetjobs/quartet/internal/shard"
	"github.com/quartetjobs/quartet/internal/telemetry"
)

// Redis configures the Redis door.
type Redis struct {
	Listen   string // empty or "off": no door
	Optional bool   // go on without it when another process has the address
	Password auth.Secret
	Users    map[string]auth.Secret
	Everysec bool
	TLSCert  string // files of a certificate and its key; empty: no TLS
	TLSKey   string
	Upstream string // URL of a Redis of the user's own, whose BullMQ queues the dashboard shows too
}

// validate refuses a door that anyone may use, except in development.
func (r Redis) validate(dev bool) error {
	if !r.Off() && !dev && r.Password == "" {
		return errors.New("redis-password is required: choose the password of Redis clients, or turn them off with --redis=off")
	}
	return nil
}

// Off says that there is to be no Redis door.
func (r Redis) Off() bool { return r.Listen == "" || strings.EqualFold(r.Listen, "off") }

// URL is how clients reach a door at an address; without its password if it has one.
func (r Redis) URL(addr string) string {
	u := url.URL{Scheme: "redis", Host: strings.Replace(addr, "0.0.0.0", "127.0.0.1", 1)}
	if r.TLSCert != "" {
		u.Scheme = "rediss"
	}
	if r.Password != "" {
		u.User = url.UserPassword("default", r.Password.Reveal())
	}
	return u.String()
}

// listenRedis opens the listener, unless the door is off or may be left out and cannot be had.
func (s *Server) listenRedis() error {
	r := s.cfg.Redis
	if r.Off() {
		return nil
	}
	var cert tls.Certificate
	if r.TLSCert != "" {
		var err error
		if cert, err = tls.LoadX509KeyPair(r.TLSCert, r.TLSKey); err != nil {
			return fmt.Errorf("--redis-tls-cert: %w", err)
		}
	}
	ln, err := net.Listen("tcp", r.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && r.Optional:
		s.cfg.Log.Warn("the Redis door stays closed, because another process, probably a Redis, has its address; choose another with --redis", "addr", r.Listen)
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another process, probably a Redis: choose another address with --redis or QUARTET_REDIS, or off", r.Listen)
	case err != nil:
		return fmt.Errorf("--redis %s: %w", r.Listen, err)
	}
	if r.TLSCert != "" {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	s.redisLn = ln
	return nil
}

// openRedis makes the door and the shard of the keyspace.
func (s *Server) openRedis() {
	r := s.cfg.Redis
	s.redis = resp.New(resp.Config{Password: r.Password, Users: r.Users, Everysec: r.Everysec, Log: s.cfg.Log.With("component", resp.Name)})
	s.keys = shard.NewKeyspace(shard.KeyspaceConfig{
		Store: s.store, Keyspace: s.redis.Keyspace, Effect: s.redis.Effect, Lost: s.redis.Lost, Observe: s.redis.Observe, Everysec: r.Everysec,
		Log: s.cfg.Log.With("component", "keyspace"),
	})
	s.redis.Use(s.keys)
}

// RedisURL is how clients reach the Redis door, empty if there is none.
func (s *Server) RedisURL() string {
	if s.redisLn == nil {
		return ""
	}
	return s.cfg.Redis.URL(s.redisLn.Addr().String())
}

// jobSources are the servers whose BullMQ queues the dashboard shows.
func (s *Server) jobSources() ([]dashboard.JobSource, error) {
	var list []dashboard.JobSource
	if s.redis != nil {
		list = append(list, dashboard.JobSource{ID: "own", Name: "this server", Redis: bullmq.Over(s.redis.Dial), Loose: s.cfg.Redis.Everysec})
	}
	if up := s.cfg.Redis.Upstream; up != "" {
		c, err := bullmq.Dial(up)
		if err != nil {
			return nil, fmt.Errorf("--redis-upstream: %w", err)
		}
		u, err := url.Parse(up)
		if err != nil {
			return nil, fmt.Errorf("--redis-upstream: %w", err)
		}
		list = append(list, dashboard.JobSource{ID: "upstream", Name: u.Host, Redis: c})
	}
	return list, nil
}

func (s *Server) redisMetrics(m *telemetry.Metrics) {
	m.Gauge("quartet_redis_connections", "Redis clients that are connected.", func() float64 { return float64(s.redis.Clients()) })
	m.Counter("quartet_redis_commands_total", "Redis commands received.", func() float64 { return float64(s.redis.Commands()) })
	m.Counter("quartet_keyspace_commits_total", "Batches of the keyspace made durable.", func() float64 { return float64(s.keys.Stats().Batches) })
	m.Counter("quartet_keyspace_records_total", "Records of the keyspace made durable.", func() float64 { return float64(s.keys.Stats().Records) })
	m.Counter("quartet_keyspace_overloads_total", "Commands that had to wait because the inbox was full.", func() float64 { return float64(s.keys.Stats().Overloads) })
	m.Counter("quartet_keyspace_restarts_total", "Recoveries of the keyspace after a failed commit.", func() float64 { return float64(s.keys.Stats().Restarts) })
	m.Counter("quartet_keyspace_commit_seconds_total", "Time the keyspace spent waiting for the disk.", func() float64 { return s.keys.Stats().CommitTime.Seconds() })
}
