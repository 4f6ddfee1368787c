package snabb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	restartPause = 500 * time.Millisecond
	lookEvery    = 250 * time.Millisecond
	silence      = 5 * time.Second
	firstSilence = 30 * time.Second // a NIC takes its time to come up
	// How long Snabb has to give its devices back before it is killed.
	grace     = 700 * time.Millisecond
	lookGroup = 10 * time.Millisecond
)

// child is how the process is run.
type child struct {
	program string
	args    []string
	env     []string
	script  string   // a temporary file; empty: none
	mode    *os.File // holds promiscuous mode; nil: not wanted

	silence, firstSilence time.Duration // how long a heartbeat may stay out, and how long until the first
}

// prepare makes the ring, and finds what is to be run.
func (e *Engine) prepare() (err error) {
	if e.target.kind == "ring" {
		e.shared, err = attachRing(e.target.args[0], e.opts.RingBytes)
		return err
	}
	program, err := exec.LookPath(e.opts.Program)
	if err != nil {
		return fmt.Errorf("find Snabb: %w; build it (https://github.com/snabbco/snabb) and set options.program to its path, or choose the engine afpacket", err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("run Snabb for %s: it drives devices itself, and only root may; run as root, or run Snabb as root by other means and read its ring (ring:PATH)",
			e.opts.Interface)
	}
	if err := within(e.opts.Namespace, e.target.check); err != nil {
		return fmt.Errorf("snabb source %s: %w", e.opts.Interface, err)
	}
	c := &child{program: program, env: os.Environ(), silence: silence, firstSilence: firstSilence}
	if e.shared, err = makeRing(e.opts.RingPath, e.opts.RingBytes); err != nil {
		return err
	}
	err = c.arrange(e)
	if err == nil && e.opts.Promiscuous && e.target.kind == "raw" {
		err = within(e.opts.Namespace, func() (err error) { c.mode, err = promiscuous(e.target.args[0]); return err })
	}
	if err != nil {
		return errors.Join(err, c.close(), e.shared.close())
	}
	e.child = c
	return nil
}

// check finds out whether there is anything to receive from.
func (t *target) check() error {
	var err error
	switch name := t.args[0]; t.kind {
	case "raw":
		_, err = net.InterfaceByName(name)
	case "pcap":
		_, err = os.Stat(name)
	case "firehose":
		if _, err = os.Stat(filepath.Join("/sys/bus/pci/devices", strings.ToLower(name))); err != nil {
			err = fmt.Errorf("no such device; see lspci -D: %w", err)
		}
	}
	return err
}

// within runs f in a network namespace; nil: the process's own.
func within(namespace *os.File, f func() error) error {
	if namespace == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and with it its namespace
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// arrange composes the command line.
func (c *child) arrange(e *Engine) error {
	if e.target.kind == "firehose" {
		plugin, err := findPlugin(e.opts.Script)
		if err != nil {
			return err
		}
		c.args = []string{"firehose", "--input", e.target.args[0], plugin}
		c.env = append(c.env, "WEIR_RING="+e.shared.path())
		return nil
	}
	path := e.opts.Script
	if path == "" {
		file, err := os.CreateTemp("", "weir-*.lua")
		if err != nil {
			return fmt.Errorf("write Snabb's script: %w", err)
		}
		c.script, path = file.Name(), file.Name()
		_, err = file.Write(script)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("write Snabb's script: %w", err)
		}
	} else if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find Snabb's script: %w", err)
	}
	c.args = append([]string{"snsh", path, e.shared.path(), e.target.kind}, e.target.args...)
	return nil
}

const pluginName = "weir-firehose.so"

// findPlugin finds the plug-in of `snabb firehose`: as configured, beside the program, or where packages put it.
func findPlugin(path string) (string, error) {
	places := []string{path}
	if path == "" {
		places = []string{filepath.Join("/usr/lib/weir", pluginName), filepath.Join("/usr/local/lib/weir", pluginName)}
		if self, err := os.Executable(); err == nil {
			places = append([]string{filepath.Join(filepath.Dir(self), pluginName)}, places...)
		}
	}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return filepath.Abs(p) // a name without a slash would be looked for among the system's libraries
		}
	}
	return "", fmt.Errorf("find Snabb's plug-in: nothing at %s; make it by `make snabb-firehose`, and name it in options.script", strings.Join(places, ", "))
}

func (c *child) close() error {
	var errs []error
	if c.mode != nil {
		errs = append(errs, c.mode.Close())
	}
	if c.script != "" {
		errs = append(errs, os.Remove(c.script))
	}
	return errors.Join(errs...)
}

// supervise keeps Snabb running until ctx ends.
func (e *Engine) supervise(ctx context.Context) {
	err := within(e.opts.Namespace, func() error {
		// The child's death signal comes when the thread that started it ends, which is before the process's end unless it is held.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		e.keep(ctx)
		return nil
	})
	if err != nil {
		e.tell(err.Error())
	}
}

func (e *Engine) keep(ctx context.Context) {
	said := &lines{log: e.log}
	for ctx.Err() == nil {
		err := e.once(ctx, said)
		if ctx.Err() != nil {
			return
		}
		text := err.Error()
		if last := said.latest(); last != "" {
			text += ": " + last
		}
		e.tell(text)
		said.ended(text)
		e.restarts.Add(1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartPause):
		}
	}
}

// once runs Snabb until it ends by itself, falls silent, or ctx ends. It always returns an error.
func (e *Engine) once(ctx context.Context, said *lines) error {
	cmd := exec.Command(e.child.program, e.child.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = e.child.env, said, said, grace/7
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", e.child.program, err)
	}
	ended := make(chan struct{})
	go func() {
		awaitExit(cmd.Process.Pid)
		close(ended)
	}()
	err := e.watch(ctx, ended)
	endGroup(cmd.Process.Pid)
	<-ended
	status := cmd.Wait()
	switch {
	case err != nil:
		return err
	case status == nil:
		return errors.New("snabb ended by itself")
	}
	return fmt.Errorf("snabb ended: %w", status)
}

// endGroup ends a process group whose leader is not waited for yet, so that its number is nobody else's. Snabb has forked a process of
// its own, which gives devices and memory back once the first one has ended: it has time for that.
func endGroup(leader int) {
	signal := func(s unix.Signal) { _ = unix.Kill(-leader, s) } // an error: nobody is left
	signal(unix.SIGTERM)
	for begun := time.Now(); lives(leader); time.Sleep(lookGroup) {
		if time.Since(begun) > grace {
			signal(unix.SIGKILL)
			return
		}
	}
}

// lives reports whether a process group has processes that have not ended. Those that have, and that nobody waits for, do not count.
func lives(group int) bool {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE PARENT GROUP ...: the name may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" && fields[0] != "X" {
			return true
		}
	}
	return false
}

// awaitExit returns when a child has ended, and leaves it to be waited for.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// watch returns when the process has ended, without an error, or when it must, with one.
func (e *Engine) watch(ctx context.Context, ended <-chan struct{}) error {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	before, since, allowed := e.shared.heartbeat(), time.Now(), e.child.firstSilence
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return nil
		case now := <-ticks.C:
			if beat := e.shared.heartbeat(); beat != before {
				before, since, allowed = beat, now, e.child.silence
				e.tell("")
			} else if now.Sub(since) > allowed {
				return fmt.Errorf("snabb gave no sign of life for %s", allowed)
			}
		}
	}
}

// listen says whether somebody writes into a ring that is not ours.
func (e *Engine) listen(ctx context.Context) {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	before, since := e.shared.heartbeat(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			if beat := e.shared.heartbeat(); beat != before {
				before, since = beat, now
				e.tell("")
			} else if now.Sub(since) > silence {
				e.tell(fmt.Sprintf("nobody has written to %s for %s", e.target.args[0], silence))
			}
		}
	}
}

// Probe says whether Snabb can be run.
func Probe() (available bool, why, remedy string) {
	path, err := exec.LookPath(defaultProgram)
	switch {
	case err != nil:
		return false, "snabb is not in $PATH", "build it (https://github.com/snabbco/snabb), and name it in options.program"
	case os.Geteuid() != 0:
		return false, "snabb runs as root only", "run as root, or run Snabb as root by other means and read its ring (ring:PATH)"
	}
	return true, path, ""
}
