// Command weir is the daemon and its command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes: scripts rely on them.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2 // the command line itself is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args, wired(), terminal{out: os.Stdout, err: os.Stderr, colour: colourful(os.Stdout)})
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code; all that goes wrong is told on the terminal's error stream.
func execute(ctx context.Context, args []string, c commands, term terminal) int {
	app := newApp(c, term)
	err := app.RunContext(ctx, arrange(app, args))
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errTold):
		return exitFailed
	case errors.As(err, &usage):
		complain(term.err, "weir: %v\nTry `weir%s --help`.\n", err, usage.command)
		return exitUsage
	}
	complain(term.err, "weir: %v\n", err)
	return exitFailed
}

// complain writes to the error stream; when that is gone too there is nobody left to tell.
func complain(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...)
}
