package main

import (
	"context"
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/server"
	"github.com/quartetjobs/quartet/internal/taskpool"
	"github.com/quartetjobs/quartet/internal/telemetry"
)

// taskFlags are the flags about executing deployed Trigger.dev tasks.
type taskFlags struct {
	Node        string `placeholder:"PATH" env:"QUARTET_NODE" help:"Program that runs deployed tasks; by default the node in PATH."`
	Concurrency int    `name:"task-concurrency" default:"0" env:"QUARTET_TASK_CONCURRENCY" help:"Deployed tasks that may execute at once, those that wait left out; 0: four for each processor."`
	Processes   int    `name:"task-processes" default:"0" env:"QUARTET_TASK_PROCESSES" help:"Task processes that there may be, the waiting and the idle included; 0: one for each 256 MiB of memory."`
	Reuse       int    `name:"task-reuse" default:"50" env:"QUARTET_TASK_REUSE" help:"Runs that one task process executes; 1 gives each run a process of its own."`
	BaseUID     int    `name:"task-uid" default:"${uid}" env:"QUARTET_TASK_UID" help:"First of the user ids under which tasks run, one for each project; 0 runs them as the server's own user. Needs root."`
	Cgroup      string `name:"task-cgroup" placeholder:"DIR" env:"QUARTET_TASK_CGROUP" help:"Control group (version 2) in which tasks are bounded; by default one of their own where the server is root and there are any."`
	Controller  string `name:"task-controller" default:"quartet" enum:"quartet,official" env:"QUARTET_TASK_CONTROLLER" help:"quartet drives task processes itself; official lets the controller in each bundle do it, which is slower."`
}

// defaultUID is the first user id for tasks where the server can choose one.
const defaultUID = "410000"

func (f *taskFlags) tasks(where string) server.Tasks {
	return server.Tasks{
		Off: where == "off", Node: f.Node, Active: f.Concurrency, Processes: f.Processes, Reuse: f.Reuse, BaseUID: f.BaseUID, Cgroup: f.Cgroup,
		Official: f.Controller == "official",
	}
}

// workerCmd is a pool of task processes on another machine than the server.
type workerCmd struct {
	Server string        `required:"" placeholder:"URL" env:"QUARTET_SERVER" help:"URL of the server, at which tasks reach it too."`
	Token  auth.Secret   `name:"worker-token" required:"" env:"QUARTET_WORKER_TOKEN" help:"The server's --worker-token."`
	Data   string        `default:"./worker" env:"QUARTET_DATA" help:"Directory for the code of deployments; it may be lost."`
	Drain  time.Duration `default:"10s" env:"QUARTET_DRAIN" help:"How long a stopping worker waits for tasks."`
	taskFlags
	LogFormat string `default:"json" env:"QUARTET_LOG_FORMAT" help:"text or json."`
	LogLevel  string `default:"info" short:"l" env:"QUARTET_LOG_LEVEL" help:"debug, info, warn or error."`
}

func (c *workerCmd) run(ctx context.Context, errOut io.Writer) error {
	keepPrivate()
	log, err := telemetry.Logger(errOut, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	if u, err := url.Parse(c.Server); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("--server must be a URL like https://quartet.example.com")
	}
	p, err := taskpool.New(taskpool.Config{
		Source: taskpool.NewClient(c.Server, c.Token), Dir: c.Data, Log: log, Node: c.Node, Active: c.Concurrency, Processes: c.Processes, Reuse: c.Reuse, BaseUID: c.BaseUID,
		Cgroup: c.Cgroup, Drain: c.Drain, Official: c.Controller == "official", Server: c.Server,
	})
	if err != nil {
		return err
	}
	if !p.Able() {
		return errors.New("there is no node to run tasks with: install Node.js, or set --node")
	}
	log.Info("executing tasks", "server", c.Server, "version", version())
	return p.Run(ctx)
}
