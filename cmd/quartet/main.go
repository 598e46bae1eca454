// Command quartet runs a Quartet server: see its README, or quartet --help.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // time zones in a container that has none; the system's copy wins if present
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is main without the process: results go to out, everything else to errOut.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	cmd, err := parse(args, out, errOut)
	if err != nil {
		fmt.Fprintf(errOut, "quartet: %v\n", err)
		return exitUsage
	}
	if cmd == nil {
		return exitDone // it was --help
	}
	if err := cmd(ctx); err != nil {
		fmt.Fprintf(errOut, "quartet: %v\n", err)
		return exitFailed
	}
	return exitDone
}
