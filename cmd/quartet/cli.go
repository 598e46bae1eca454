package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/quartetjobs/quartet/internal/auth"
)

// cli is every command, flag, variable and help text.
type cli struct {
	Dev     devCmd     `cmd:"" help:"Run a development server: any key is accepted, apps on this machine are found."`
	Serve   serveCmd   `cmd:"" aliases:"start" help:"Run a production server: keys are required, nothing is open by default."`
	Worker  workerCmd  `cmd:"" help:"Execute deployed Trigger.dev tasks of a server on another machine."`
	Env     envCmd     `cmd:"" help:"Print the environment variables that point the SDKs at a server."`
	Keys    keysCmd    `cmd:"" help:"Print the keys that a running production server made for itself, or rotate its signing keys."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// common are the flags of dev and serve.
type common struct {
	Config     string      `placeholder:"FILE" env:"QUARTET_CONFIG" help:"Config file in YAML with the flags' names as keys. Flags win over variables, variables over the file."`
	Listen     string      `default:"127.0.0.1:8288" env:"QUARTET_LISTEN" help:"Address for HTTP: SDKs, dashboard, metrics."`
	Host       string      `hidden:"" env:"INNGEST_HOST" help:"The host of --listen."`
	Port       int         `hidden:"" short:"p" env:"INNGEST_PORT" help:"The port of --listen."`
	Redis      string      `default:"127.0.0.1:6379" env:"QUARTET_REDIS" help:"Address for the Redis protocol (BullMQ), or off."`
	RedisSafe  string      `name:"redis-durability" default:"always" enum:"always,everysec" env:"QUARTET_REDIS_DURABILITY" help:"always answers when a change is on disk, everysec at once and writes within a second."`
	RedisCert  string      `name:"redis-tls-cert" placeholder:"FILE" env:"QUARTET_REDIS_TLS_CERT" help:"Certificate in PEM form: the Redis address speaks TLS."`
	RedisKey   string      `name:"redis-tls-key" placeholder:"FILE" env:"QUARTET_REDIS_TLS_KEY" help:"Its private key."`
	RedisUp    auth.Secret `name:"redis-upstream" placeholder:"URL" env:"QUARTET_REDIS_UPSTREAM" help:"redis:// address of a Redis that you run: the dashboard shows its BullMQ queues too."`
	Store      string      `env:"QUARTET_STORE" help:"A postgres:// address instead of --data. This version does not support it yet."`
	LogLevel   string      `default:"info" short:"l" env:"QUARTET_LOG_LEVEL,INNGEST_LOG_LEVEL" help:"debug, info, warn or error."`
	JSON       bool        `hidden:"" name:"json" env:"INNGEST_JSON" help:"The same as --log-format=json."`
	Verbose    bool        `hidden:"" short:"v" env:"INNGEST_VERBOSE" help:"The same as --log-level=debug."`
	Retention  span        `default:"30d" env:"QUARTET_RETENTION" help:"Age at which ended runs and events are deleted, like 12h or 30d; 0 keeps them. Failed runs are kept four times as long."`
	App        []string    `name:"app" aliases:"sdk-url" short:"u" placeholder:"URL" env:"QUARTET_APP,INNGEST_SDK_URL" help:"URL of an app to ask for its functions at start, like http://localhost:3000/api/inngest. May be repeated."`
	Poll       span        `aliases:"poll-interval" env:"QUARTET_POLL,INNGEST_POLL_INTERVAL" default:"${poll}" help:"Time between asking known apps for their functions again, like 5s; a bare number is seconds; 0 does not."`
	Retry      span        `aliases:"retry-interval" env:"QUARTET_RETRY,INNGEST_RETRY_INTERVAL" default:"0" help:"Flat time between attempts, like 10s, instead of each protocol's own table."`
	MaxCalls   int         `default:"2000" env:"QUARTET_MAX_CALLS" help:"Calls that may be out at once."`
	PerTarget  int         `name:"max-calls-per-target" default:"500" env:"QUARTET_MAX_CALLS_PER_TARGET" help:"Calls that may be out at once to one scheme, host and port."`
	Private    string      `default:"allow" enum:"allow,deny" env:"QUARTET_PRIVATE_TARGETS" help:"Whether apps may be at loopback and private addresses: allow or deny. Link-local and metadata addresses never may."`
	Tasks      string      `name:"tasks" default:"here" enum:"here,off" env:"QUARTET_TASKS" help:"here executes deployed tasks on this machine; off leaves them to quartet worker on others."`
	EnvLimit   int         `name:"environment-concurrency" default:"100" env:"QUARTET_ENVIRONMENT_CONCURRENCY" help:"Trigger.dev runs that each environment executes at once, on all machines together, unless the dashboard sets another limit; development executes at most 25."`
	EncryptKey auth.Secret `name:"encryption-key" env:"QUARTET_ENCRYPTION_KEY" help:"Key that encrypts environment variables and generated keys in the store. Without one the server keeps a key of its own in the data directory."`
	taskFlags
	Persist bool          `hidden:"" env:"INNGEST_PERSIST" help:"Has no effect: data is kept unless --data is :memory:."`
	Drain   time.Duration `default:"10s" env:"QUARTET_DRAIN" help:"How long a stopping server waits for calls that are out."`
}

// The flags without a place in --help, and the variables that begin with INNGEST_, are those of the server that Inngest's documentation
// starts: its commands work here too.

// span is a duration that may also be given in days, or as a bare number of seconds.
type span time.Duration

// UnmarshalText reads Go's notation, a number with the unit d, or one without a unit.
func (s *span) UnmarshalText(b []byte) error {
	text := string(b)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		if _, err := fmt.Sscanf(days, "%g", &n); err != nil {
			return fmt.Errorf("%q is not a number of days", text)
		}
		*s = span(n * 24 * float64(time.Hour))
		return nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		*s = span(n * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(text)
	*s = span(d)
	return err
}

type versionCmd struct{}

// exit is how kong's --help is turned into a return.
type exit struct{ code int }

// parse reads the command line and returns what is to be done; nil when it has been done, as for --help.
func parse(args []string, out, errOut io.Writer) (cmd func(context.Context) error, err error) {
	var c cli
	file, err := readConfig(configPath(args))
	if err != nil {
		return nil, err
	}
	parser, err := kong.New(&c,
		kong.Name("quartet"),
		kong.Description("Durable functions, tasks, queues and HTTP messages for the official SDKs of Inngest, Trigger.dev, BullMQ and QStash, in one binary."),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { panic(exit{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"poll": defaultPoll(args), "uid": baseUID()},
		kong.Resolvers(file),
	)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exit); !ok {
				panic(r)
			}
			cmd, err = nil, nil
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		return nil, fmt.Errorf("%w\nTry: quartet --help", err)
	}
	switch kctx.Command() {
	case "dev":
		return func(ctx context.Context) error { return c.Dev.run(ctx, out, errOut) }, nil
	case "serve":
		return func(ctx context.Context) error { return c.Serve.run(ctx, errOut) }, nil
	case "worker":
		return func(ctx context.Context) error { return c.Worker.run(ctx, errOut) }, nil
	case "env":
		return func(context.Context) error { return c.Env.run(out) }, nil
	case "keys":
		return func(ctx context.Context) error { return c.Keys.run(ctx, out) }, nil
	}
	return func(context.Context) error {
		_, err := fmt.Fprintln(out, "quartet", version())
		return err
	}, nil
}

// baseUID: only root can run tasks as others.
func baseUID() string {
	if os.Geteuid() == 0 {
		return defaultUID
	}
	return "0"
}

// defaultPoll: only a development server asks its apps again and again.
func defaultPoll(args []string) string {
	if len(args) > 0 && args[0] == "dev" {
		return "5s"
	}
	return "0s"
}

// configPath finds --config before anything is parsed, since the file gives the other flags their values.
func configPath(args []string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("QUARTET_CONFIG")
}

// configFile gives flags their values from a YAML file.
type configFile struct {
	path   string
	values map[string]any
}

// readConfig reads a config file; no path means none.
func readConfig(path string) (*configFile, error) {
	f := &configFile{path: path}
	if path == "" {
		return f, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if err := yaml.Unmarshal(raw, &f.values); err != nil {
		return nil, fmt.Errorf("config file %s: %w", path, err)
	}
	return f, nil
}

// Validate refuses keys that no command knows. Kong calls it after everything was resolved.
func (f *configFile) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, cmd := range app.Children {
		for _, flag := range cmd.Flags {
			known[flag.Name] = true
		}
	}
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(f.values)) {
		if !known[k] {
			errs = append(errs, fmt.Errorf("config file %s: unknown key %q", f.path, k))
		}
	}
	return errors.Join(errs...)
}

// Resolve is asked for flags that neither the command line nor a variable set.
func (f *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := f.values[flag.Name]
	if !ok || flag.Name == "config" {
		return nil, nil
	}
	for _, e := range flag.Envs {
		if _, set := os.LookupEnv(e); set {
			return nil, nil // kong asks resolvers last, but they would overwrite
		}
	}
	if list, ok := v.([]any); ok {
		var parts []string
		for _, e := range list {
			parts = append(parts, fmt.Sprint(e))
		}
		return strings.Join(parts, ","), nil
	}
	return fmt.Sprint(v), nil
}

// version is what the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	return v
}
