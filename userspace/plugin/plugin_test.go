package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// entry is one line of the log.
type entry struct{ message, line, err string }

// listener is a log that a test can wait for. What the program prints is apart from the rest: nothing orders the two.
type listener struct {
	slog.Handler
	lines, messages chan entry
}

func newListener() *listener {
	return &listener{Handler: slog.DiscardHandler, lines: make(chan entry, 4096), messages: make(chan entry, 4096)}
}

func (*listener) Enabled(context.Context, slog.Level) bool { return true }
func (l *listener) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *listener) Handle(_ context.Context, r slog.Record) error {
	e := entry{message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "line":
			e.line = a.Value.String()
		case "error":
			e.err = a.Value.String()
		}
		return true
	})
	to := l.messages
	if e.message == "plug-in says" {
		to = l.lines
	}
	select {
	case to <- e:
	default:
	}
	return nil
}

// until returns the lines that the program prints up to one that begins so.
func (l *listener) until(t *testing.T, last string) []string {
	t.Helper()
	var lines []string
	late := time.After(patience)
	for {
		select {
		case e := <-l.lines:
			if strings.HasPrefix(e.line, last) {
				return append(lines, e.line)
			}
			lines = append(lines, e.line)
		case <-late:
			t.Fatalf("the program has not said %q, but\n%s", last, strings.Join(lines, "\n"))
		}
	}
}

// message returns the next line of the log with a message.
func (l *listener) message(t *testing.T, message string) entry {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case e := <-l.messages:
			if e.message == message {
				return e
			}
		case <-late:
			t.Fatalf("the log does not say %q", message)
		}
	}
}

// shortDir is a folder with a path that a Unix socket's fits behind.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
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

func testOptions(t *testing.T, mode string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Name: "test", Command: []string{self}, Kinds: []Kind{KindSource, KindSink, KindDetector, KindMitigator}, Folder: shortDir(t),
		Environment: []string{modeVariable + "=" + mode},
		Limits:      Limits{BackoffFirst: time.Millisecond, BackoffLast: time.Hour, Grace: time.Millisecond},
	}
}

// nothing are callbacks that do nothing.
func nothing() Callbacks {
	return Callbacks{
		Flows: func([]traffic.Flow) {}, Frames: func([]traffic.Frame) {}, Detect: func(Detection) error { return nil },
		Applied: func(uint64, []Result) {},
	}
}

// start runs a plug-in; stop ends it, which the test's end does too.
func start(t *testing.T, o Options, c Callbacks) (p *Plugin, log *listener, stop func()) {
	t.Helper()
	log = newListener()
	p, err := New(o, c, slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return p, log, stop
}

func TestCrashingProgramIsStartedAgain(t *testing.T) {
	p, log, stop := start(t, testOptions(t, "crash"), nothing())
	for range 3 {
		if got := log.message(t, "plug-in ended"); got.err != "it has ended: exit status 3" {
			t.Errorf("error %q", got.err)
		}
	}
	stop()
	s := p.Stats()
	if s.Up || s.Restarts < 3 || s.Starts < s.Restarts || s.LastError != "it has ended: exit status 3" {
		t.Errorf("stats %+v", s)
	}
}

func TestMissingProgramIsTriedAgain(t *testing.T) {
	o := testOptions(t, "fine")
	o.Command = []string{"/nonexistent/program"}
	p, log, _ := start(t, o, nothing())
	for range 2 {
		if got := log.message(t, "plug-in ended"); !strings.Contains(got.err, "no such file") {
			t.Errorf("error %q", got.err)
		}
	}
	if s := p.Stats(); s.Restarts < 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestHangingProgramIsStartedAgain(t *testing.T) {
	for mode, want := range map[string]error{"mute": errNoHello, "silent": errSilent} {
		t.Run(mode, func(t *testing.T) {
			o := testOptions(t, mode)
			if mode == "mute" {
				o.Limits.Start = 10 * time.Millisecond
			}
			_, log, _ := start(t, o, nothing())
			if got := log.message(t, "plug-in ended"); got.err != want.Error() {
				t.Errorf("error %q, want %q", got.err, want)
			}
			log.message(t, "plug-in started")
		})
	}
}

// A request that never ends is ended, and the program can go on.
func TestHangingRequestIsEnded(t *testing.T) {
	o := testOptions(t, "slow")
	o.Limits.Patience = 50 * time.Millisecond
	_, log, _ := start(t, o, nothing())
	log.until(t, "ended with")
	log.message(t, "plug-in is up")
}

// Nothing that the program has started outlives it, whether it is stopped or leaves by itself.
func TestChildrenAreKilled(t *testing.T) {
	for _, mode := range []string{"stubborn", "leaving"} {
		t.Run(mode, func(t *testing.T) {
			o := testOptions(t, mode)
			o.Limits.Start = time.Hour
			path := filepath.Join(shortDir(t), "alive")
			alive, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer alive.Close()
			o.Environment = append(o.Environment, aliveVariable+"="+path)
			_, log, stop := start(t, o, nothing())
			child, err := alive.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer child.Close()
			if mode == "stubborn" {
				log.message(t, "plug-in is up")
				stop()
			} else if _, err := child.Write([]byte("go")); err != nil {
				t.Fatal(err)
			}
			if err := child.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if n, err := child.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the child still runs: %d bytes, error %v", n, err)
			}
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	o := testOptions(t, "noise")
	o.Limits.Lines = 10
	p, log, _ := start(t, o, nothing())
	if got := len(log.until(t, "line 9 ")); got != 10 {
		t.Errorf("%d lines before the tenth ended", got)
	}
	log.message(t, "plug-in is up")
	// The pipe may still hold some: but at most what fits in it is not counted yet.
	if s := p.Stats(); s.Silenced < 900 {
		t.Errorf("%d lines silenced", s.Silenced)
	}
}

func TestCallsAreChecked(t *testing.T) {
	o := testOptions(t, "early")
	o.Kinds = []Kind{KindSink}
	p, log, _ := start(t, o, nothing())
	want := []string{
		`400 {"code":"failed_precondition","message":"say Hello first"} <nil>`,
		`403 {"code":"permission_denied","message":"the configuration does not allow it to be a mitigator; add that to its kinds"} <nil>`,
		`200 {"name":`,
		`403 {"code":"permission_denied","message":"only for a source: name that kind in Hello"} <nil>`,
		`400 {"code":"invalid_argument","message":"after 7: no change has had that number since Weir was started; begin with 0"} <nil>`,
		`400 {"code":"invalid_argument"`,
		`400 {"code":"invalid_argument"`,
		`404 404 page not found`,
		`done`,
	}
	got := log.until(t, "done")
	if len(got) != len(want) {
		t.Fatalf("lines %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("line %d: %s, want %s", i, got[i], want[i])
		}
	}
	if s := p.Stats(); s.Failed != 6 {
		t.Errorf("%d calls failed, want 6", s.Failed)
	}
}

func TestFloodIsRefused(t *testing.T) {
	o := testOptions(t, "flood")
	o.Limits.Flows, o.Limits.Message = 5000, 1<<20
	got := 0
	c := nothing()
	c.Flows = func(flows []traffic.Flow) { got += len(flows) }
	p, log, _ := start(t, o, c)
	lines := log.until(t, "done")
	want := []string{"5000 unknown <nil>", "5000 resource_exhausted", "5001 resource_exhausted", "400 {", "resource_exhausted", "done"}
	if len(lines) != len(want) {
		t.Fatalf("lines %q", lines)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("line %d: %s, want %s", i, lines[i], want[i])
		}
	}
	s := p.Stats()
	if got != 5000 || s.Flows != 5000 || s.Flooded < 30001 || s.Failed != 4 {
		t.Errorf("%d flow records came; stats %+v", got, s)
	}
}

func TestTooManyCallsAreRefused(t *testing.T) {
	o := testOptions(t, "calls")
	o.Limits.Calls = 1
	p, log, _ := start(t, o, nothing())
	if got := log.until(t, "call:"); !strings.Contains(got[len(got)-1], "resource_exhausted: 1 calls are under way already") {
		t.Errorf("lines %q", got)
	}
	if s := p.Stats(); s.Failed == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestSourceAndDetector(t *testing.T) {
	var flows, frames int
	var said []string
	p, log, stop := start(t, testOptions(t, "talk"), Callbacks{
		Flows:  func(f []traffic.Flow) { flows += len(f) },
		Frames: func(f []traffic.Frame) { frames += len(f) },
		Detect: func(d Detection) error {
			if d.Target == netip.MustParsePrefix("203.0.113.1/32") {
				return errors.New("not ours")
			}
			said = append(said, fmt.Sprintf("%s %s %s %s %s %g %g %q", d.Plugin, d.Kind, d.Target, d.Direction, d.Metric, d.Value, d.Limit, d.Reason))
			return nil
		},
		Applied: func(uint64, []Result) {},
	})
	each := `2 1 1 source "nobody": expected an address 1 frame is empty`
	wantLines := []string{each, each, each, each, "200 true false", "200 true false", "200 true false", "200 false false", "200 false false", "400 false true", "done"}
	if diff := cmp.Diff(wantLines, log.until(t, "done")); diff != "" {
		t.Errorf("output (-want +got)\n%s", diff)
	}
	s := p.Stats()
	if flows != 8 || frames != 4 || s.Flows != 8 || s.Packets != 4 || s.Refused != 9 || s.Detections != 2 || s.Detected != 1 {
		t.Errorf("%d flow records, %d frames, stats %+v", flows, frames, s)
	}
	stop()
	want := []string{
		`test started 192.0.2.9/32 incoming mbps 5e+06 1e+06 "odd"`,
		`test continues 192.0.2.9/32 incoming pps 0 0 "odd still"`,
		`test started 192.0.2.10/32 incoming pps 0 0 "odd"`,
		`test ended 192.0.2.9/32 incoming pps 0 0 ""`,
		`test ended 192.0.2.10/32 incoming pps 0 0 "the plug-in was stopped"`,
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("detections (-want +got)\n%s", diff)
	}
}

func nilLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
