package lab

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/tests/need"
)

// Two routers: what one has as a route with the community becomes the other's blackhole, which the kernel tells of at once.
func TestBird(t *testing.T) {
	need.Root(t)
	need.Tool(t, "bird", "bird2")
	l, a, b := twoRouters(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	changes, err := b.WatchRoutes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	peer := BirdPeer{
		Address: netip.MustParseAddr("10.0.0.2"), AS: 65001, Neighbour: netip.MustParseAddr("10.0.0.1"), NeighbourAS: 64500,
		Blackhole: 65535<<16 | 666, Password: "secret", GracefulRestartSeconds: 60,
	}
	taker, err := StartBird(b, peer.Config())
	if err != nil {
		t.Fatal(err)
	}
	giver, err := StartBird(a, `router id 10.0.0.1;
protocol device {}
protocol static {
  ipv4;
  route 203.0.113.10/32 blackhole { bgp_community.add((65535, 666)); };
  route 203.0.113.11/32 blackhole { bgp_community.add((64500, 666)); };
}
protocol bgp up { local 10.0.0.1 as 64500; neighbor 10.0.0.2 as 65001; multihop; connect delay time 1; password "secret"; ipv4 { import none; export all; }; }
`)
	if err != nil {
		t.Fatal(err)
	}
	if err := taker.Await(ctx, "weir: State changed to up"); err != nil {
		t.Fatal(err)
	}
	got := []RouteChange{<-changes}
	if text, err := taker.Ask(ctx, "show route all"); err != nil || !strings.Contains(text, "BGP.community: (65535,666)") || strings.Contains(text, "203.0.113.11/32") {
		t.Errorf("show route all: %v\n%s", err, text)
	}
	if err := giver.Close(); err != nil {
		t.Error(err)
	}
	if _, err := taker.Ask(ctx, "disable weir"); err != nil {
		t.Error(err)
	}
	got = append(got, <-changes)
	want := []RouteChange{{Prefix: netip.MustParsePrefix("203.0.113.10/32")}, {Prefix: netip.MustParsePrefix("203.0.113.10/32"), Removed: true}}
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(RouteChange{}, "At"), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("changes of routes (-got +want):\n%s", diff)
	}
	if got[0].At.After(got[1].At) || got[0].At.IsZero() {
		t.Errorf("at %s and %s", got[0].At, got[1].At)
	}
	if _, err := taker.Ask(ctx, "show nonsense"); err == nil {
		t.Error("a command that there is none of was answered")
	}
	if _, err := giver.Ask(ctx, "show status"); err == nil {
		t.Error("a router that has ended answers")
	}
	pid := taker.process.Pid
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("BIRD is left running: %v", err)
	}
	if _, err := os.Stat(taker.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("BIRD's files are left: %v", err)
	}
}

func twoRouters(t *testing.T) (l *Lab, a, b *Host) {
	t.Helper()
	l, err := New(t.Context(), "weir-test-bird")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if a, err = l.Host("a"); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Host("b"); err != nil {
		t.Fatal(err)
	}
	end := func(p string) End { return End{Addresses: []netip.Prefix{netip.MustParsePrefix(p)}} }
	if err := l.Link(a, "eth0", b, "eth0", LinkOptions{A: end("10.0.0.1/24"), B: end("10.0.0.2/24")}); err != nil {
		t.Fatal(err)
	}
	return l, a, b
}

// What cannot start says why, and leaves nothing.
func TestBirdRefused(t *testing.T) {
	if _, err := findBird("no-such-bird"); !errors.Is(err, ErrNoBird) {
		t.Errorf("not installed: got %v", err)
	}
	need.Root(t)
	need.Tool(t, "bird", "bird2")
	t.Setenv("TMPDIR", t.TempDir())
	l, a, _ := twoRouters(t)
	if _, err := StartBird(a, "nonsense;"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("a wrong configuration: got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := StartBird(a, "router id 10.0.0.1;"); err == nil {
		t.Error("a closed lab has a router")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
