package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/server"
	"github.com/quartetjobs/quartet/internal/telemetry"
)

type devCmd struct {
	common
	Data        string      `default:"./.quartet" aliases:"sqlite-dir" env:"QUARTET_DATA,INNGEST_SQLITE_DIR" help:"Directory for the data, or :memory: to keep nothing."`
	LogFormat   string      `default:"text" env:"QUARTET_LOG_FORMAT" help:"text or json."`
	NoDiscovery bool        `env:"QUARTET_NO_DISCOVERY,INNGEST_NO_DISCOVERY" help:"Do not look for apps on this machine."`
	NoPoll      bool        `hidden:"" env:"INNGEST_NO_POLL" help:"The same as --poll=0."`
	SigningKey  auth.Secret `env:"QUARTET_SIGNING_KEY,INNGEST_SIGNING_KEY" help:"Sign calls with this key, for apps that verify signatures in development."`
}

type serveCmd struct {
	common
	Data         string        `default:"./data" aliases:"sqlite-dir" env:"QUARTET_DATA,INNGEST_SQLITE_DIR" help:"Directory for the data."`
	LogFormat    string        `default:"json" env:"QUARTET_LOG_FORMAT" help:"text or json."`
	SigningKey   []auth.Secret `env:"QUARTET_SIGNING_KEY,INNGEST_SIGNING_KEY" help:"Key that signs calls and opens the API: an even number of hexadecimal digits. A second one is accepted too, for rotation. Required."`
	EventKey     []auth.Secret `env:"QUARTET_EVENT_KEY,INNGEST_EVENT_KEY" help:"Key that may send events. May be repeated. Required."`
	RedisPass    auth.Secret   `name:"redis-password" env:"QUARTET_REDIS_PASSWORD" help:"Password of Redis clients, for the user default. Without one the Redis address is not opened."`
	RedisUser    []string      `placeholder:"NAME:PASSWORD" env:"QUARTET_REDIS_USER" help:"Another user of Redis clients. May be repeated."`
	DashboardKey auth.Secret   `env:"QUARTET_DASHBOARD_KEY" help:"Key that opens the dashboard and /metrics. Required."`
	TriggerKey   []auth.Secret `env:"QUARTET_TRIGGER_KEY" help:"Secret key of an environment of Trigger.dev clients, which begins with tr_prod_, tr_stg_, tr_preview_ or tr_dev_. May be repeated; the first is for the environment that the other SDKs use too. Without one they are not let in."`
	TriggerToken []auth.Secret `env:"QUARTET_TRIGGER_TOKEN" help:"Access token of Trigger.dev's CLI, which begins with tr_pat_. May be repeated. A CLI also gets one by trigger login."`
	WorkerToken  auth.Secret   `env:"QUARTET_WORKER_TOKEN" help:"Token of quartet worker on other machines. Without one there are none."`
}

func (c *devCmd) run(ctx context.Context, out, errOut io.Writer) error {
	env := auth.Environment{Name: auth.DefaultEnvironment}
	if c.SigningKey != "" {
		env.SigningKeys = []auth.Secret{c.SigningKey}
	}
	cfg, err := c.config(errOut, c.LogFormat)
	if err != nil {
		return err
	}
	cfg.Data, cfg.Discover = c.Data, !c.NoDiscovery
	if c.NoPoll {
		cfg.PollInterval = 0
	}
	cfg.Keys = auth.Keys{Dev: true, Environments: []auth.Environment{env}}
	cfg.Redis.Optional = true
	return serve(ctx, cfg, func(addr, redis string) {
		fmt.Fprintf(out, "\n  Quartet %s is running.\n\n  Dashboard   http://%s\n  Data        %s\n\n  Point your SDKs at it:\n\n", version(), addr, c.Data)
		for _, kv := range server.Environment(addr, &cfg.Keys, redis) {
			fmt.Fprintf(out, "    %s=%s\n", kv[0], kv[1])
		}
		fmt.Fprintln(out)
		warnIfOpen(cfg.Log, addr)
		if u, err := url.Parse(redis); err == nil && redis != "" {
			warnIfOpen(cfg.Log, u.Host)
		}
	})
}

// warnIfOpen tells of an address without keys that is not this machine's alone.
func warnIfOpen(log *slog.Logger, addr string) {
	if host, err := netip.ParseAddrPort(addr); err == nil && !host.Addr().IsLoopback() {
		log.Warn("a development server asks for no keys, and this one can be reached from other machines", "addr", addr)
	}
}

func (c *serveCmd) run(ctx context.Context, errOut io.Writer) error {
	cfg, err := c.config(errOut, c.LogFormat)
	if err != nil {
		return err
	}
	cfg.Data = c.Data
	cfg.Keys = auth.Keys{
		Environments: []auth.Environment{{Name: auth.DefaultEnvironment, SigningKeys: c.SigningKey, EventKeys: c.EventKey}},
		Dashboard:    c.DashboardKey,
		Trigger:      c.TriggerKey, TriggerTokens: c.TriggerToken,
	}
	cfg.Tasks.WorkerToken = c.WorkerToken
	if err := c.redis(&cfg.Redis); err != nil {
		return err
	}
	return serve(ctx, cfg, func(addr, _ string) {
		cfg.Log.Info("serving", "addr", addr, "redis", cfg.Redis.Listen, "version", version())
	})
}

// defaultRedis is the default of --redis.
const defaultRedis = "127.0.0.1:6379"

// redis sets who may use the Redis door. Without a password it stays closed, unless somebody asked for it, who then hears what is missing.
func (c *serveCmd) redis(r *server.Redis) error {
	if c.RedisPass == "" && c.Redis == defaultRedis {
		r.Listen = "off"
	}
	if r.Off() {
		return nil
	}
	r.Password, r.Users = c.RedisPass, map[string]auth.Secret{}
	for _, u := range c.RedisUser {
		name, password, ok := strings.Cut(u, ":")
		if !ok || name == "" || password == "" || name == "default" {
			return errors.New("--redis-user must be NAME:PASSWORD, and its name not default")
		}
		r.Users[name] = auth.Secret(password)
	}
	return nil
}

// config turns the flags that dev and serve share into the server's.
func (c *common) config(errOut io.Writer, format string) (server.Config, error) {
	level := c.LogLevel
	if c.Verbose {
		level = "debug"
	}
	if c.JSON {
		format = "json"
	}
	log, err := telemetry.Logger(errOut, level, format)
	if err != nil {
		return server.Config{}, err
	}
	if c.Store != "" {
		return server.Config{}, errors.New("--store: PostgreSQL is not supported by this version; use --data")
	}
	if (c.RedisCert == "") != (c.RedisKey == "") {
		return server.Config{}, errors.New("--redis-tls-cert and --redis-tls-key go together")
	}
	listen, err := c.listen()
	if err != nil {
		return server.Config{}, err
	}
	if c.EnvLimit < 1 {
		return server.Config{}, errors.New("--environment-concurrency must be 1 or more; the dashboard can pause an environment")
	}
	tasks := c.tasks(c.Tasks)
	tasks.Limit = c.EnvLimit
	return server.Config{
		Listen: listen, Retention: time.Duration(c.Retention), URLs: c.App, PollInterval: time.Duration(c.Poll), Retry: time.Duration(c.Retry),
		Redis: server.Redis{Listen: c.Redis, Everysec: c.RedisSafe == "everysec", TLSCert: c.RedisCert, TLSKey: c.RedisKey, Upstream: c.RedisUp.Reveal()},
		Tasks: tasks, EncryptionKey: c.EncryptKey, DenyPrivate: c.Private == "deny", MaxCalls: c.MaxCalls, PerTarget: c.PerTarget, DrainTimeout: c.Drain, Version: version(), Log: log,
	}, nil
}

// listen is --listen with the parts that --host and --port give.
func (c *common) listen() (string, error) {
	if c.Host == "" && c.Port == 0 {
		return c.Listen, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	if c.Host != "" {
		host = c.Host
	}
	if c.Port != 0 {
		port = strconv.Itoa(c.Port)
	}
	return net.JoinHostPort(host, port), nil
}

// serve runs a server and says when it is ready.
func serve(ctx context.Context, cfg server.Config, ready func(addr, redis string)) error {
	keepPrivate()
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-s.Ready():
			ready(s.Addr().String(), s.RedisURL())
		case <-ctx.Done():
		}
	}()
	if err := s.Run(ctx); err != nil {
		return err
	}
	cfg.Log.Log(context.WithoutCancel(ctx), slog.LevelInfo, "stopped")
	return nil
}

type envCmd struct {
	Listen     string      `default:"127.0.0.1:8288" env:"QUARTET_LISTEN" help:"Address of the server."`
	Redis      string      `default:"127.0.0.1:6379" env:"QUARTET_REDIS" help:"Its address for the Redis protocol, or off."`
	RedisPass  auth.Secret `name:"redis-password" env:"QUARTET_REDIS_PASSWORD" help:"Password of Redis clients of a production server."`
	Format     string      `default:"shell" enum:"shell,dotenv" help:"shell prints export lines, dotenv the lines of a .env.local file."`
	SigningKey auth.Secret `env:"QUARTET_SIGNING_KEY" help:"Signing key of a production server. Without one the variables are for a development server."`
	EventKey   auth.Secret `env:"QUARTET_EVENT_KEY" help:"Event key of a production server."`
	TriggerKey auth.Secret `env:"QUARTET_TRIGGER_KEY" help:"Secret key of Trigger.dev clients of a production server."`
}

func (c *envCmd) run(out io.Writer) error {
	keys := auth.Keys{Dev: true, Environments: []auth.Environment{{Name: auth.DefaultEnvironment}}}
	if c.SigningKey != "" || c.EventKey != "" {
		if c.SigningKey == "" || c.EventKey == "" {
			return errors.New("give both --signing-key and --event-key, or neither for a development server")
		}
		keys = auth.Keys{Environments: []auth.Environment{{
			Name: auth.DefaultEnvironment, SigningKeys: []auth.Secret{c.SigningKey}, EventKeys: []auth.Secret{c.EventKey},
		}}}
		if c.TriggerKey != "" {
			keys.Trigger = []auth.Secret{c.TriggerKey}
		}
	}
	redis := ""
	if r := (server.Redis{Listen: c.Redis, Password: c.RedisPass}); !r.Off() {
		redis = r.URL(c.Redis)
	}
	for _, kv := range server.Environment(c.Listen, &keys, redis) {
		format := "export %s=%q\n"
		if c.Format == "dotenv" {
			format = "%s=%s\n"
		}
		if _, err := fmt.Fprintf(out, format, kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}
