package notify

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/userspace/traffic"
)

// What is kept of a script's output, and how long its pipes are waited for once it has ended or was killed:
// what it has left running may hold them open for ever.
const (
	outputBytes = 512
	pipeDelay   = 500 * time.Millisecond
)

// errTimeout is why a call was ended that took too long.
var errTimeout = errors.New("timeout")

// call runs the script once, and counts and logs how it went.
func (n *Notifier) call(work context.Context, c Notification) {
	ctx, cancel := context.WithTimeoutCause(work, n.options.Timeout, errTimeout)
	defer cancel()
	n.stats.running.Add(1)
	defer n.stats.running.Add(-1)

	initial, _ := power(&c.Record)
	t := c.Record.Attack.Target
	args := []string{Subject(t), t.Direction.String(), strconv.FormatUint(initial, 10), c.Action}
	began := time.Now()
	out, err := n.run(ctx, n.options.Path, args, c)
	if errors.Is(err, syscall.ENOEXEC) {
		// A script without "#!" in its first line: FastNetMon's shell runs it, so must we.
		out, err = n.run(ctx, "/bin/sh", append([]string{n.options.Path}, args...), c)
	}
	kind, remedy := classify(ctx, err)
	n.stats.ended[kind].Add(1)
	if kind == Succeeded {
		n.log.log.Debug("notify script called", "subject", args[0], "direction", args[1], "action", c.Action, "took", time.Since(began))
		return
	}
	n.log.bounded().Warn("notify script failed", "subject", args[0], "direction", args[1], "action", c.Action, "outcome", kind.String(),
		"error", err, "remedy", remedy, "output", out, "took", time.Since(began))
}

// run starts a program with the notification on its standard input and waits for its end. It returns the beginning of what it has printed.
func (n *Notifier) run(ctx context.Context, program string, args []string, c Notification) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), environment(&c.Record)...)
	cmd.WaitDelay = pipeDelay
	ownGroup(cmd)
	if c.Action != ActionUnban {
		cmd.Stdin = strings.NewReader(Report(&c.Record, c.Packets))
	}
	var out head
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		n.stats.leftOpen.Add(1) // it has ended well, and something that it started goes on: that is its own business
		err = nil
	}
	return out.String(), err
}

func environment(r *traffic.Record) []string {
	dry := "0"
	if r.Ban.DryRun {
		dry = "1"
	}
	a := &r.Attack
	return []string{
		"WEIR_ATTACK_ID=" + a.ID, "WEIR_SCOPE=" + a.Target.Scope.String(), "WEIR_HOSTGROUP=" + a.Target.Group, "WEIR_DRY_RUN=" + dry,
	}
}

// classify says how a call ended, and what the operator can do about it.
func classify(ctx context.Context, err error) (Outcome, string) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return Succeeded, ""
	case errors.Is(context.Cause(ctx), errTimeout):
		return TimedOut, "make the script quicker, let it go on in the background, or raise the timeout"
	case errors.Is(context.Cause(ctx), errShutdown):
		return Interrupted, "none needed: it was running when the daemon stopped"
	case errors.Is(err, fs.ErrNotExist):
		return Missing, "put the script there, correct its path, or install the interpreter that its first line names"
	case errors.Is(err, fs.ErrPermission):
		return NotExecutable, "make the script executable (chmod +x) and its folders accessible to the daemon"
	case errors.As(err, &exit):
		return Failed, "see the script's output"
	}
	return NotStarted, "see the error"
}

// head keeps the beginning of what is written to it and takes the rest without a word. It is written to by one goroutine, before Wait returns
// or not at all any more.
type head struct{ buf bytes.Buffer }

// Write never fails: a script must not be stopped for what it prints.
func (h *head) Write(p []byte) (int, error) {
	if room := outputBytes - h.buf.Len(); room > 0 {
		h.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String returns what was kept.
func (h *head) String() string {
	s := strings.ToValidUTF8(h.buf.String(), "?")
	if h.buf.Len() == outputBytes {
		s += "..."
	}
	return strings.TrimSpace(s)
}
