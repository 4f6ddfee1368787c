// Package routers starts BIRD, ExaBGP and GoBGP in a lab's namespaces, for tests, and asks them what they know.
package routers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/userspace/lab"
)

const (
	patience = 30 * time.Second // for anything that a router has to do
	interval = 20 * time.Millisecond
)

// Process is a program running in a namespace. It is ended with the test, and its output is logged where the test has failed.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and its output is complete

	mu     sync.Mutex
	output bytes.Buffer
}

// Start runs a program in a host's namespace, nil for our own, with env added to our environment.
func Start(t testing.TB, host *lab.Host, env []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{name: name, cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second // children may hold the output
	start := p.cmd.Start
	if host != nil {
		start = func() error { return host.Do(p.cmd.Start) } // a process begins in the namespace of the thread that starts it
	}
	if err := start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // that it was killed; what else there is to say is in its output
	}()
	t.Cleanup(func() {
		p.end(t, syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Errorf("%s does not end by SIGTERM", name)
			p.Kill(t)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.Output())
		}
	})
	return p
}

// Write takes the program's output.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the program has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// Kill ends the program by SIGKILL and waits for that. Children that do not end by themselves then are left alone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.end(t, syscall.SIGKILL)
	<-p.done
}

// Stop ends the program by SIGTERM and waits for that.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.end(t, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%s does not end by SIGTERM", p.name)
	}
}

func (p *Process) end(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("end %s: %v", p.name, err)
	}
}

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Until waits for something that no event tells of. What it waits for has half a minute; state is reported if it does not come.
func Until(t testing.TB, what string, done func() (ok bool, state string)) {
	t.Helper()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	timeout := time.After(patience)
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("%s did not happen within %v; the last state:\n%s", what, patience, state)
		}
	}
}

// folder makes a folder for a program's files with a name short enough for sockets, which t.TempDir's are not.
func folder(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("weir-%s-", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
