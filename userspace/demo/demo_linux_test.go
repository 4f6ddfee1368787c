package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/tests/need"
	"weir/userspace/api/weirpb"
	"weir/userspace/config"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

func nothingLeft(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/" + labPrefix + "-*", filepath.Join(os.TempDir(), labPrefix+"-*"), pins} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestNamespaceStory(t *testing.T) {
	need.Root(t)
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	got, err := Run(t.Context(), Options{Out: &out, JSON: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	nothingLeft(t)
	events := parseLines(t, out.String())
	if errors.Is(liveFrames(), ebpf.ErrNotSupported) {
		if events[0].Event != "mode" || !strings.Contains(events[0].Text, "Linux 5.18") || !got.Passed {
			t.Errorf("on an old kernel, got %+v and %+v; want the user-space story and why", events[0], got)
		}
		return
	}
	if events[0].Event != "setup" {
		t.Fatalf("the kernel's story was not told: %+v", events[0])
	}
	// With BIRD installed the router is part of the story, and without it the story says so.
	want := wholeStory
	if _, err := exec.LookPath("bird"); err == nil {
		want = []string{"attack", "detected", "dropped", "announced", "attack_stopped", "ended", "released", "withdrawn", "summary"}
		if got.BGPMS == nil || *got.BGPMS <= 0 {
			t.Errorf("got %+v, want how long the router took", got)
		}
	} else if got.BGPMS != nil || !strings.Contains(out.String(), "without a router") {
		t.Errorf("got %+v and %s; want no router, and why", got, out.String())
	}
	if diff := cmp.Diff(turningPoints(events), want); diff != "" {
		t.Errorf("turning points (-got +want):\n%s\n%s", diff, out.String())
	}
	if !got.Passed || got.DetectedMS <= 0 || got.DroppedMS < got.DetectedMS || got.LeakedPackets == 0 || got.AttackPPS <= thresholdPPS {
		t.Errorf("got %+v, want a story that passes\n%s", got, out.String())
	}
}

// until is a writer that calls stop when a text has been written.
type until struct {
	text string
	stop func()
}

func (u *until) Write(b []byte) (int, error) {
	if strings.Contains(string(b), u.text) {
		u.stop()
	}
	return len(b), nil
}

func TestNamespaceStoryIsCutOff(t *testing.T) {
	need.Root(t)
	t.Setenv("TMPDIR", t.TempDir())
	for _, at := range []string{`"setup"`, `"attack"`, `"dropped"`} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Run(ctx, Options{Out: &until{at, cancel}, JSON: true})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cut off at %s: got %v, want the context's error", at, err)
		}
		nothingLeft(t)
	}
}

// TestLiveFrames holds the probe against the kernel's release: the flag came with Linux 5.18.
func TestLiveFrames(t *testing.T) {
	need.Root(t)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	var want error
	if major < 5 || major == 5 && minor < 18 {
		want = ebpf.ErrNotSupported
	}
	if err := liveFrames(); !errors.Is(err, want) {
		t.Errorf("on Linux %d.%d: got %v, want %v", major, minor, err, want)
	}
}

func TestWhyNoFlood(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{nil, ""},
		{fmt.Errorf("probe: %w", ebpf.ErrNotSupported), "this kernel is too old to send a flood in XDP live frames, which need Linux 5.18"},
		{unix.EPERM, "XDP cannot be tried here (operation not permitted)"},
	}
	for _, tt := range tests {
		if got := whyNoFlood(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestConfiguration(t *testing.T) {
	s, folder := newScene(), filepath.Join(t.TempDir(), `a "b"`)
	load := func(router bool) *config.Config {
		file := filepath.Join(t.TempDir(), "weir.yaml")
		if err := os.WriteFile(file, []byte(configuration(s, folder, router)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := load(false)
	type values struct {
		Socket, Store, Pins, Metrics string
		PPS                          float64
		Window, Quiet, Ban           time.Duration
		Drop, Notify                 bool
	}
	g := cfg.Hostgroups[0]
	got := values{
		cfg.API.Socket, cfg.Store.Path, cfg.Pin.Path, cfg.Prometheus.Listen,
		g.Host[traffic.Incoming][traffic.PPS], g.Window, g.Quiet, g.BanTime, g.Drop, g.Notify,
	}
	want := values{folder + "/weir.sock", folder + "/weir.db", pins, "", thresholdPPS, window, quiet, banTime, true, false}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("configuration (-got +want):\n%s", diff)
	}
	if cfg.BGP.Speaks() {
		t.Error("without a router, the daemon speaks BGP")
	}
	cfg = load(true)
	if g := cfg.Hostgroups[0]; !cfg.BGP.Speaks() || !g.Drop || g.Notify || cmp.Diff(g.Actions, []string{"rtbh"}) != "" {
		t.Errorf("with a router: BGP %+v, hostgroup %+v", cfg.BGP, g)
	}
}

func TestTurnOf(t *testing.T) {
	victim := newScene().victim
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		prefix  string
		removed bool
		want    turning
		ok      bool
	}{
		{"203.0.113.10/32", false, turning{turn: turnAnnounced, at: at}, true},
		{"203.0.113.10/32", true, turning{turn: turnWithdrawn, at: at}, true},
		{"203.0.113.20/32", false, turning{}, false},
		{"203.0.113.0/24", false, turning{}, false},
	} {
		got, ok := turnOf(lab.RouteChange{Prefix: netip.MustParsePrefix(tt.prefix), Removed: tt.removed, At: at}, victim)
		if ok != tt.ok || got != tt.want {
			t.Errorf("%s, removed %t: got %+v, %t; want %+v, %t", tt.prefix, tt.removed, got, ok, tt.want, tt.ok)
		}
	}
}

func TestTurnsOf(t *testing.T) {
	b := &scrubber{victim: newScene().victim}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	attack := func(change func(*weirpb.Attack)) *weirpb.Attack {
		a := &weirpb.Attack{
			Target: b.victim.String(), Direction: weirpb.Direction_DIRECTION_INCOMING, Detected: timestamppb.New(at),
			Metric: weirpb.Metric_METRIC_MBPS, Value: 2, Threshold: 1, Counted: 5, Window: durationpb.New(time.Second),
		}
		change(a)
		return a
	}
	detected := turning{turnDetected, at, traffic.Trip{Metric: traffic.BPS, Count: 5, Window: time.Second, Value: 2e6, Limit: 1e6}}
	tests := []struct {
		name   string
		attack *weirpb.Attack
		want   []turning
	}{
		{"begun", attack(func(*weirpb.Attack) {}), []turning{detected}},
		{"over", attack(func(a *weirpb.Attack) { a.Ended = timestamppb.New(at.Add(time.Minute)) }),
			[]turning{detected, {turn: turnEnded, at: at.Add(time.Minute)}}},
		{"by hand", attack(func(a *weirpb.Attack) { a.Metric = weirpb.Metric_METRIC_UNSPECIFIED }), []turning{{turn: turnDetected, at: at}}},
		{"another host's", attack(func(a *weirpb.Attack) { a.Target = "203.0.113.20" }), nil},
		{"outgoing", attack(func(a *weirpb.Attack) { a.Direction = weirpb.Direction_DIRECTION_OUTGOING }), nil},
		{"none", nil, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(b.turnsOf(tt.attack), tt.want, cmp.AllowUnexported(turning{})); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.name, diff)
		}
	}
}

func TestInForce(t *testing.T) {
	s := newScene()
	b := &scrubber{victim: s.victim, turns: make(chan turning, 1)}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	target := func(host netip.Addr, dir traffic.Direction) traffic.Target {
		return traffic.Target{Scope: traffic.ScopeHost, Prefix: netip.PrefixFrom(host, 32), Direction: dir}
	}
	b.inForce(target(s.neighbour, traffic.Incoming), at, at.Add(time.Minute))
	b.inForce(target(s.victim, traffic.Outgoing), at, at.Add(time.Minute))
	if len(b.turns) != 0 {
		t.Errorf("%+v is not about packets to the victim", <-b.turns)
	}
	for _, tt := range []struct {
		until time.Time
		want  turn
	}{{at.Add(time.Minute), turnDropped}, {time.Time{}, turnReleased}} {
		b.inForce(target(s.victim, traffic.Incoming), at, tt.until)
		b.inForce(target(s.victim, traffic.Incoming), at, tt.until) // must not wait
		if got := <-b.turns; got != (turning{turn: tt.want, at: at}) {
			t.Errorf("until %s: got %+v, want %v", tt.until, got, tt.want)
		}
	}
}
