package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
	"weir/userspace/lab"
)

// record is one line of the daemon's log.
type record struct{ level, message, line string }

func (r record) String() string { return r.line }

// daemon is `weir run` as a process of its own inside a namespace.
type daemon struct {
	program string
	host    *lab.Host
	folder  string // of everything that it writes, but for pins
	pins    string
	script  string   // its notify script; "": none
	as      []string // the program that starts it, with arguments; empty: it is started as it is

	process *os.Process
	ended   chan struct{} // closed once the process is gone
	result  error         // of the process, once ended is closed
	log     *feed[record]
	changes *feed[*weirpb.Attack]
	client  weirpbconnect.WeirClient

	errorsExpected bool // the log may hold errors
}

// newDaemon prepares a daemon without starting it. When the test ends it is stopped, and must have gone well and left nothing behind.
func newDaemon(t *testing.T, host *lab.Host, script string) *daemon {
	t.Helper()
	d := &daemon{
		program: program(t), host: host, folder: t.TempDir(), script: script,
		pins: filepath.Join(bpfFolder, fmt.Sprintf("weir-e2e-%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")))),
	}
	t.Cleanup(func() {
		if d.process != nil {
			d.stop(t)
		}
		left, err := os.ReadDir(d.pins)
		if len(left) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("pins are left in %s: %v, %v", d.pins, left, err)
		}
		if err := os.RemoveAll(d.pins); err != nil {
			t.Error(err)
		}
	})
	return d
}

// startDaemon starts a daemon with a configuration; see configure.
func startDaemon(t *testing.T, host *lab.Host, script, body string) *daemon {
	t.Helper()
	d := newDaemon(t, host, script)
	d.configure(t, body)
	d.start(t)
	return d
}

func (d *daemon) socket() string { return filepath.Join(d.folder, "weir.sock") }
func (d *daemon) config() string { return filepath.Join(d.folder, "weir.yaml") }

// configure writes the configuration: body holds what the test is about, the rest follows.
func (d *daemon) configure(t *testing.T, body string) {
	t.Helper()
	text := body + fmt.Sprintf(`
detection: {warm_up: 0}
mitigation: {expiry: 5s, probe: {look: 2s}}
api: {socket: %s, group: ""}
prometheus: {listen: "127.0.0.1:9465"}
store: {path: %s}
log: {level: debug, format: json}
pin: {path: %s}
`, d.socket(), filepath.Join(d.folder, "weir.db"), d.pins)
	if d.script != "" {
		text += fmt.Sprintf("notify: {script: {path: %s, details: false}}\n", d.script)
	}
	if err := os.WriteFile(d.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the program, waits until it says that it is running, and watches its attacks.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	d.log, d.changes, d.ended = &feed[record]{}, &feed[*weirpb.Attack]{}, make(chan struct{})
	line := append(slices.Clone(d.as), d.program, "run", "--config", d.config())
	cmd := exec.Command(line[0], line[1:]...)
	// The kernel ends the daemon when the thread that started it ends: the one below, or the whole test process if it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() {
		defer close(d.ended)
		// A child is in the namespace of the thread that starts it; the thread stays until the child has ended.
		d.result = d.host.Do(func() error {
			err := cmd.Start()
			started <- err
			if err != nil {
				return err
			}
			err = d.read(output)
			return errors.Join(cmd.Wait(), err)
		})
	}()
	if err := <-started; err != nil {
		t.Fatalf("start weir: %v", err)
	}
	d.process = cmd.Process
	d.said(t, 0, "running")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if d.client, err = api.Dial(ctx, d.socket()); err != nil {
		t.Fatal(err)
	}
	d.watch(t)
}

// read takes the log until the process ends.
func (d *daemon) read(output io.Reader) error {
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var r struct{ Level, Msg string }
			if json.Unmarshal(line, &r) != nil {
				r.Level, r.Msg = "ERROR", "not a record of the log" // a panic, or what is said before the log begins
			}
			d.log.add(record{level: r.Level, message: r.Msg, line: string(bytes.TrimSpace(line))})
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrClosed) {
				return nil
			}
			return err
		}
	}
}

// watch follows the attacks by the API's stream, and returns when it is in place.
func (d *daemon) watch(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := d.client.WatchAttacks(ctx, connect.NewRequest(&weirpb.WatchAttacksRequest{}))
	if err != nil || !stream.Receive() {
		cancel()
		t.Fatalf("watch attacks: %v, %v", err, stream.Err())
	}
	changes, done := d.changes, make(chan struct{})
	go func() {
		defer close(done)
		for stream.Receive() {
			if a := stream.Msg().GetAttack(); a != nil {
				changes.add(a)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// said waits for a message of the log.
func (d *daemon) said(t *testing.T, mark int, message string) record {
	t.Helper()
	return d.log.await(t, fmt.Sprintf("log message %q", message), mark, d.ended, func(r record) bool { return r.message == message })
}

// phase waits for a change that brings the attack on a target into a phase.
func (d *daemon) phase(t *testing.T, mark int, target string, phase weirpb.Phase) *weirpb.Attack {
	t.Helper()
	return d.changes.await(t, fmt.Sprintf("%s of the attack on %s", api.EnumName(phase), target), mark, d.ended, func(a *weirpb.Attack) bool {
		return a.GetTarget() == target && a.GetPhase() == phase
	})
}

// stop asks the daemon to end as an init system does, and checks that it did so well.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	if !d.wait() {
		d.signal(t, syscall.SIGKILL)
		<-d.ended
		t.Errorf("weir has not ended within %s of SIGTERM", patience)
	}
	d.process = nil
	if d.result != nil {
		t.Errorf("weir ended by %v", d.result)
	}
	for _, r := range d.log.all() {
		if r.level == "ERROR" && !d.errorsExpected {
			t.Errorf("the daemon logged an error: %s", r)
		}
	}
	if t.Failed() {
		for _, r := range d.log.all() {
			t.Log(r)
		}
	}
}

// kill ends the daemon without a chance to do anything about it.
func (d *daemon) kill(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGKILL)
	<-d.ended
	d.process = nil
}

func (d *daemon) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := d.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal weir: %v", err)
	}
}

func (d *daemon) wait() bool {
	select {
	case <-d.ended:
		return true
	case <-time.After(patience):
		return false
	}
}
