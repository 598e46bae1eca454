package main

import "github.com/quartetjobs/quartet/internal/server"

// taskFlags are the flags about executing deployed Trigger.dev tasks.
type taskFlags struct {
	Tasks       string `name:"tasks" default:"here" enum:"here,off" env:"QUARTET_TASKS" help:"here executes deployed tasks on this machine; off leaves them to quartet worker on others."`
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

func (f *taskFlags) tasks() server.Tasks {
	return server.Tasks{
		Off: f.Tasks == "off", Node: f.Node, Active: f.Concurrency, Processes: f.Processes, Reuse: f.Reuse, BaseUID: f.BaseUID, Cgroup: f.Cgroup,
		Official: f.Controller == "official",
	}
}
