package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// pipeDelay is how long a program's pipes are waited for once it has ended: what it has left running may hold them open for ever.
const pipeDelay = 500 * time.Millisecond

// Why a program is ended that has not ended itself.
var (
	errNoHello = errors.New("it has not said Hello in time")
	errSilent  = errors.New("it has not called for longer than it promised")
)

// supervise keeps the program running until ctx ends.
func (p *Plugin) supervise(ctx context.Context) {
	l := &p.options.Limits
	backoff := l.BackoffFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := p.once(ctx)
		p.count(func(s *Stats) {
			if s.Up {
				s.Since = time.Now()
			}
			s.Up = false
		})
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= l.BackoffLast {
			backoff = l.BackoffFirst
		}
		p.count(func(s *Stats) { s.Restarts++ })
		p.blame(err)
		p.log.Warn("plug-in ended", "error", err, "ran", time.Since(began), "restart_in", backoff)
		pause := time.NewTimer(backoff)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		backoff = min(2*backoff, l.BackoffLast)
	}
}

// once runs the program until it ends, has to be ended, or ctx ends. It returns why.
func (p *Plugin) once(ctx context.Context) error {
	s := &session{last: time.Now(), greeted: make(chan struct{})}
	p.mu.Lock()
	p.session = s
	p.stats.Starts++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.session = nil
	}()
	r, err := p.start()
	if err != nil {
		return err
	}
	p.log.Info("plug-in started", "pid", r.cmd.Process.Pid)
	hello := time.NewTimer(p.options.Limits.Start)
	defer hello.Stop()
	signs := time.NewTicker(time.Second)
	defer signs.Stop()
	greeted := s.greeted
	for {
		select {
		case err := <-r.ended:
			return err
		case <-greeted:
			greeted = nil
			hello.Stop()
		case <-hello.C:
			return r.end(p.options.Limits.Grace, errNoHello)
		case now := <-signs.C:
			if p.silent(s, now) {
				return r.end(p.options.Limits.Grace, errSilent)
			}
		case <-ctx.Done():
			return r.end(p.options.Limits.Grace, ctx.Err())
		}
	}
}

// silent reports whether the program has broken its promise to call.
func (p *Plugin) silent(s *session, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.alive > 0 && now.Sub(s.last) > s.alive
}

// running is a program and all that it has started.
type running struct {
	cmd   *exec.Cmd
	ended chan error // gets how it ended, once

	mu     sync.Mutex
	reaped bool // its number may be another's by now
}

// start starts the program as the leader of a process group of its own.
func (p *Plugin) start() (*running, error) {
	o := &p.options
	who, err := o.lookup()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(o.Command[0], o.Command[1:]...)
	cmd.Dir, cmd.WaitDelay = "/", pipeDelay
	cmd.Env = o.environment(who)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if who != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid), Groups: who.groups}
	}
	// It is Wait that closes it, or the end of this process, whatever that is.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Command[0], err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Command[0], err)
	}
	r := &running{cmd: cmd, ended: make(chan error, 1)}
	go func() {
		err := r.wait()
		p.output.finish()
		r.ended <- err
	}()
	return r, nil
}

// environment is what the program finds in its own: nothing of Weir's but what programs need to run at all.
func (o *Options) environment(who *account) []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		value, set := os.LookupEnv(key)
		if key == "HOME" && who != nil {
			value, set = who.home, true
		}
		if set {
			env = append(env, key+"="+value)
		}
	}
	env = append(env, o.Environment...)
	return append(env, "WEIR_PLUGIN_SOCKET="+o.socket(), "WEIR_PLUGIN_NAME="+o.Name)
}

// wait returns how the program has ended, when what it had started is killed.
func (r *running) wait() error {
	if awaitEnd(r.cmd.Process.Pid) {
		// Its number is still its own, so the group that is killed by it is too.
		r.kill(syscall.SIGKILL)
		r.forget()
	}
	err := r.cmd.Wait()
	r.forget()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return errors.New("it has ended by itself")
	}
	return fmt.Errorf("it has ended: %w", err)
}

// forget has no more signals sent: the number is free, or about to be.
func (r *running) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reaped = true
}

// kill sends a signal to the program and all that it has started, if it is still there.
func (r *running) kill(signal syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reaped {
		// There is nobody to tell that it is gone already, which is the only way to fail.
		_ = syscall.Kill(-r.cmd.Process.Pid, signal)
	}
}

// end asks the program to end, kills what is left after the grace, and returns why.
func (r *running) end(grace time.Duration, why error) error {
	r.kill(syscall.SIGTERM)
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-r.ended:
	case <-patience.C:
		r.kill(syscall.SIGKILL)
		<-r.ended
	}
	return why
}
