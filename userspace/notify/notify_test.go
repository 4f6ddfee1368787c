//go:build unix

package notify

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// guard ends a test that would hang; nothing is said about how long things take.
const guard = 30 * time.Second

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify script.sh") // the space is part of the test
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// syncBuffer is a log that may be written and read by several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newNotifier(t *testing.T, o Options) (*Notifier, *syncBuffer) {
	t.Helper()
	log := &syncBuffer{}
	if o.Grace == 0 {
		o.Grace = guard
	}
	n, err := New(o, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return n, log
}

// drain runs n until all that is queued is done.
func drain(t *testing.T, n *Notifier) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // Run makes the waiting calls before it ends
	wait(t, func() {
		if err := n.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func wait(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(guard):
		t.Fatal("hangs")
	}
}

func note(action string, target traffic.Target) Notification {
	return Notification{Action: action, Record: attacked(target)}
}

func ended(outcome Outcome, times uint64) Stats {
	var s Stats
	s.Ended[outcome] = times
	return s
}

func TestContract(t *testing.T) {
	tests := []struct {
		name  string
		call  Notification
		args  string
		stdin string
	}{
		{"ban", note(ActionBan, host("10.0.0.1")), "10.0.0.1\nincoming\n54321\nban\n", golden(t, "ban.txt")},
		{"unban", note(ActionUnban, host("10.0.0.1")), "10.0.0.1\nincoming\n54321\nunban\n", ""},
		{"attack_details", func() Notification {
			c := note(ActionDetails, host("2001:db8::15"))
			c.Record.Attack.Target.Direction = traffic.Outgoing
			c.Packets = samplePackets()
			return c
		}(), "2001:db8::15\noutgoing\n54321\nattack_details\n", golden(t, "attack_details.txt")},
	}
	for _, first := range []string{"#!/bin/sh\n", "# no interpreter is named\n"} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				path := script(t, first+`dir=$(dirname "$0")
printf '%s\n' "$@" > "$dir/args"
cat > "$dir/stdin"
echo "$WEIR_ATTACK_ID $WEIR_SCOPE $WEIR_HOSTGROUP $WEIR_DRY_RUN" > "$dir/env"
`)
				n, log := newNotifier(t, Options{Path: path})
				if !n.Notify(tt.call) {
					t.Fatal("the call was not taken")
				}
				drain(t, n)
				for name, want := range map[string]string{"args": tt.args, "stdin": tt.stdin, "env": "20240102T030405.000-0000 host web 0\n"} {
					got, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
					if err != nil {
						t.Fatal(err, log)
					}
					if diff := cmp.Diff(string(got), want); diff != "" {
						t.Errorf("%s (-got +want):\n%s", name, diff)
					}
				}
				if diff := cmp.Diff(n.Stats(), ended(Succeeded, 1)); diff != "" {
					t.Errorf("stats (-got +want):\n%s", diff)
				}
			})
		}
	}
}

// bulky is a call whose text is larger than a pipe holds.
func bulky() Notification {
	c := note(ActionBan, host("10.0.0.1"))
	for range 2000 {
		c.Packets = append(c.Packets, samplePackets()...)
	}
	return c
}

func TestOutcomes(t *testing.T) {
	folder := t.TempDir()
	tests := []struct {
		name    string
		path    string
		timeout time.Duration
		want    Stats
		log     string
	}{
		{"exit 1", script(t, "#!/bin/sh\ncat >/dev/null\necho to stdout\necho to stderr >&2\nexit 1\n"), 0, ended(Failed, 1), "to stdout\\nto stderr"},
		{"killed by a signal", script(t, "#!/bin/sh\nkill -9 $$\n"), 0, ended(Failed, 1), "signal: killed"},
		{"prints without end", script(t, "#!/bin/sh\ni=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; exit 3\n"), 0, ended(Failed, 1), "..."},
		{"does not read and ends", script(t, "#!/bin/sh\nexit 0\n"), 0, ended(Succeeded, 1), ""},
		{"closes its input and goes on", script(t, "#!/bin/sh\nexec <&-\necho done\n"), 0, ended(Succeeded, 1), ""},
		{"hangs without reading", script(t, "#!/bin/sh\nexec sleep 600\n"), 200 * time.Millisecond, ended(TimedOut, 1), "outcome=timed_out"},
		{"missing", filepath.Join(folder, "missing.sh"), 0, ended(Missing, 1), "outcome=missing"},
		{"without its interpreter", script(t, "#!/nowhere/at/all\n"), 0, ended(Missing, 1), "interpreter"},
		{"a folder", folder, 0, ended(NotExecutable, 1), "outcome=not_executable"},
		{"not executable", func() string {
			path := script(t, "#!/bin/sh\n")
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
			return path
		}(), 0, ended(NotExecutable, 1), "chmod +x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, log := newNotifier(t, Options{Path: tt.path, Timeout: tt.timeout})
			n.Notify(bulky())
			drain(t, n)
			if diff := cmp.Diff(n.Stats(), tt.want); diff != "" {
				t.Errorf("stats (-got +want):\n%s\n%s", diff, log)
			}
			if got := log.String(); !strings.Contains(got, tt.log) || tt.log == "" && got != "" {
				t.Errorf("log %q, want something with %q", got, tt.log)
			}
			if len(log.String()) > 2000 {
				t.Errorf("the log has %d bytes", len(log.String()))
			}
		})
	}
}

// fifo makes a named pipe. It returns its path and a function that waits for the next line written to it: "closed" when no writer is left.
func fifo(t *testing.T) (path string, line func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		f, err := os.Open(path)
		if err != nil {
			lines <- err.Error()
			return
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		for s.Scan() {
			lines <- s.Text()
		}
		if err := s.Err(); err != nil {
			lines <- err.Error()
		}
	}()
	line = func() string {
		select {
		case text, more := <-lines:
			if !more {
				return "closed"
			}
			return text
		case <-time.After(guard):
			return "still open"
		}
	}
	return path, line
}

func TestTimeoutKillsChildrenToo(t *testing.T) {
	path, line := fifo(t)
	n, _ := newNotifier(t, Options{Path: script(t, "#!/bin/sh\nexec 9>'"+path+"'\necho here >&9\nsleep 600 &\nsleep 600\n"), Timeout: 3 * time.Second})
	n.Notify(note(ActionUnban, host("10.0.0.1")))
	drain(t, n)
	if diff := cmp.Diff([]string{line(), line()}, []string{"here", "closed"}); diff != "" {
		t.Errorf("a child of the script outlives it (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(n.Stats(), ended(TimedOut, 1)); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
}

func TestChildThatKeepsThePipeOpen(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	n, log := newNotifier(t, Options{Path: script(t, "#!/bin/sh\nsleep 600 &\necho $! > '"+pidFile+"'\n")})
	n.Notify(bulky())
	drain(t, n)
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err, log)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the script's child is not left alone: %v", err)
	}
	want := ended(Succeeded, 1)
	want.LeftOpen = 1
	if diff := cmp.Diff(n.Stats(), want); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
}

func TestShutdownInterruptsAfterItsGrace(t *testing.T) {
	path, line := fifo(t)
	n, _ := newNotifier(t, Options{
		Path: script(t, "#!/bin/sh\nexec 9>'"+path+"'\necho here >&9\nexec sleep 600\n"), Concurrency: 1, Grace: 100 * time.Millisecond,
	})
	for _, c := range []Notification{note(ActionBan, host("10.0.0.1")), note(ActionUnban, host("10.0.0.1")), note(ActionBan, host("10.0.0.2"))} {
		n.Notify(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- n.Run(ctx) }()
	if got := line(); got != "here" {
		t.Fatalf("the script says %q", got)
	}
	cancel()
	wait(t, func() {
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	if got := line(); got != "closed" {
		t.Errorf("the script outlives the shutdown: %q", got)
	}
	want := ended(Interrupted, 1)
	want.Rejected = 2
	if diff := cmp.Diff(n.Stats(), want); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
	if n.Notify(note(ActionBan, host("10.0.0.1"))) {
		t.Error("a call was taken after the end")
	}
}

func TestQueueIsBounded(t *testing.T) {
	n, log := newNotifier(t, Options{Path: script(t, "#!/bin/sh\n"), Queue: 2})
	var got []bool
	for i, action := range []string{ActionBan, ActionBan, ActionBan, ActionDetails, ActionUnban, ActionUnban, ActionUnban} {
		got = append(got, n.Notify(note(action, host(fmt.Sprintf("10.0.0.%d", i)))))
	}
	want := []bool{true, true, false, false, true, true, false}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("calls taken (-got +want):\n%s", diff)
	}
	if s := n.Stats(); s.Queued != 4 || s.Rejected != 3 {
		t.Errorf("%d queued and %d rejected, want 4 and 3", s.Queued, s.Rejected)
	}
	if c := strings.Count(log.String(), "queue full"); c != 3 {
		t.Errorf("%d lines in the log, want 3:\n%s", c, log)
	}
	drain(t, n)
	if s := n.Stats(); s.Queued != 0 || s.Ended[Succeeded] != 4 {
		t.Errorf("%d queued and %d done, want 0 and 4", s.Queued, s.Ended[Succeeded])
	}
}

func TestHundredTargetsInOrder(t *testing.T) {
	path := script(t, "#!/bin/sh\necho \"$4\" >> \"$(dirname \"$0\")/$1-$2\"\n")
	n, log := newNotifier(t, Options{Path: path})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- n.Run(ctx) }()
	actions := []string{ActionBan, ActionDetails, ActionUnban}
	for _, action := range actions {
		for i := range 100 {
			if !n.Notify(note(action, host(fmt.Sprintf("10.0.0.%d", i)))) {
				t.Fatal("a call was not taken")
			}
		}
	}
	cancel()
	wait(t, func() {
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	for i := range 100 {
		got, err := os.ReadFile(filepath.Join(filepath.Dir(path), fmt.Sprintf("10.0.0.%d-incoming", i)))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(actions, "\n") + "\n"; string(got) != want {
			t.Errorf("10.0.0.%d: calls %q, want %q", i, got, want)
		}
	}
	if diff := cmp.Diff(n.Stats(), ended(Succeeded, 300)); diff != "" {
		t.Errorf("stats (-got +want):\n%s\n%s", diff, log)
	}
}

func TestLogIsBounded(t *testing.T) {
	n, log := newNotifier(t, Options{Path: filepath.Join(t.TempDir(), "missing")})
	for i := range 100 {
		n.Notify(note(ActionBan, host(fmt.Sprintf("10.0.0.%d", i))))
	}
	drain(t, n)
	want := ended(Missing, 100)
	want.Silenced = 100 - linesPerPeriod
	if diff := cmp.Diff(n.Stats(), want); diff != "" {
		t.Errorf("stats (-got +want):\n%s", diff)
	}
	if c := strings.Count(log.String(), "\n"); c != linesPerPeriod {
		t.Errorf("%d lines in the log, want %d", c, linesPerPeriod)
	}
}

func TestPathMustBeAbsolute(t *testing.T) {
	for _, path := range []string{"", "notify.sh", "./notify.sh"} {
		if _, err := New(Options{Path: path}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
			t.Errorf("path %q: error %v", path, err)
		}
	}
}
