package bgp_test

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/bgp"
	"weir/userspace/traffic"
)

// watch looks at a router's tables all the time until stop is called, which returns the least number of routes, and how often it looked.
func watch(b *bird) (stop func() (least, looks int)) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	least, looks := math.MaxInt, 0
	done.Go(func() {
		for ctx.Err() == nil {
			text, err := run(b.host, "birdc", "-s", b.socket, "show route count")
			if n, ok := total(text); err == nil && ok {
				looks++
				least = min(least, n)
			}
		}
	})
	return func() (int, int) {
		cancel()
		done.Wait()
		return least, looks
	}
}

// total is how many routes there are in all tables.
func total(text string) (n int, ok bool) {
	_, text, _ = strings.Cut(text, "Total: ")
	_, err := fmt.Sscanf(text, "%d of", &n)
	return n, err == nil
}

func (b *bird) waitTotal(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("BIRD has %d routes", n), func() bool {
		have, ok := total(b.show("route count"))
		return ok && have == n
	})
}

// A speaker that is killed, by SIGKILL again and again, is back at once, and the routes never leave the peers.
func TestKilled(t *testing.T) {
	s := newScene(t)
	outside := startBIRD(t, s.router(1), birdPeer("weir", 1, 65001, false, ""))
	inside := startBIRD(t, s.router(2), birdPeer("weir", 2, ourAS, true, ""))
	sp := s.speak(bgp.Config{
		GracefulRestart: bgp.GracefulRestart{Time: 77 * time.Second, LongLivedTime: 600 * time.Second},
		Peers:           []bgp.Peer{{Name: "outside", Address: v4(1), AS: 65001, Multihop: 2}, {Name: "inside", Address: v6(2), AS: ourAS}},
	})
	wanted := append(blackholes(3000), blackhole("2001:db8::7/128"))
	sp.Apply(wanted)
	sp.waitEstablished("outside", "inside")
	for _, b := range []*bird{outside, inside} {
		b.waitTotal(len(wanted))
	}
	// What BIRD has been told: the routes of all families are kept meanwhile, and the speaker has just started.
	for _, want := range []string{"Restart time: 77", "Restart recovery", "AF supported: ipv4 ipv6", "AF preserved: ipv4 ipv6", "Long-lived graceful restart", "LL stale time: 600"} {
		if text := outside.show("protocols all weir"); !strings.Contains(neighbourPart(text), want) {
			t.Errorf("%q is missing in\n%s", want, neighbourPart(text))
		}
	}
	stops := []func() (int, int){watch(outside), watch(inside)}
	for range 3 {
		pid := sp.State().PID
		at := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another speaker runs", func() bool { st := sp.State(); return st.Up && st.PID != pid })
		back := time.Since(at)
		sp.waitEstablished("outside", "inside")
		t.Logf("back after %s, both sessions after %s", back.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
		if !strings.Contains(sp.log.String(), "signal: killed") {
			t.Error("the log does not say how the speaker ended")
		}
		// Routes that were not told again before the next end would be given up: RFC 4724 keeps stale ones for one restart only.
		for _, b := range []*bird{outside, inside} {
			eventually(t, "all routes to be told again", func() bool {
				text := b.show("protocols all weir")
				return strings.Contains(text, "Established") && !strings.Contains(text, "graceful restart active")
			})
			b.waitTotal(len(wanted))
		}
	}
	for i, stop := range stops {
		least, looks := stop()
		t.Logf("router %d: %d looks", i+1, looks)
		if least < len(wanted) || looks < 10 {
			t.Errorf("router %d: once there were only %d routes; %d looks", i+1, least, looks)
		}
	}
	if st := sp.State(); st.Restarts != 3 {
		t.Errorf("%d restarts are counted", st.Restarts)
	}
}

// neighbourPart is what BIRD says of our capabilities.
func neighbourPart(text string) string {
	_, part, _ := strings.Cut(text, "Neighbor capabilities")
	return part
}

// A daemon that starts again, or that is told to keep the routes, loses nothing; one that is told to withdraw leaves nothing, at once.
func TestStop(t *testing.T) {
	for name, keep := range map[string]bool{"keep": true, "withdraw": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			b := startBIRD(t, s.router(1), birdPeer("weir", 1, 65001, false, ""))
			c := bgp.Config{KeepOnStop: keep, Peers: []bgp.Peer{{Name: "a", Address: v4(1), AS: 65001, Multihop: 2}}}
			sp := s.speak(c)
			const count = 1000
			sp.Apply(blackholes(count))
			sp.waitEstablished("a")
			b.waitTotal(count)
			stop := watch(b)
			pid := sp.State().PID
			sp.stop()
			if err := syscall.Kill(pid, 0); err == nil {
				t.Errorf("process %d is still there", pid)
			}
			eventually(t, "BIRD has noticed", func() bool { return !strings.Contains(b.show("protocols"), "Established") })
			if !keep {
				stop()
				if n, _ := total(b.show("route count")); n > 0 {
					t.Errorf("%d routes are left", n)
				}
				return
			}
			again := s.speak(c)
			again.Apply(blackholes(count - 1)) // one is over: BIRD finds that out by End-of-RIB
			again.waitEstablished("a")
			b.waitTotal(count - 1)
			if least, looks := stop(); least < count-1 || looks < 3 {
				t.Errorf("once there were only %d routes; %d looks", least, looks)
			}
		})
	}
}

// Ten thousand blackholes, and a router that starts again.
func TestMany(t *testing.T) {
	const count = 10_000
	s := newScene(t)
	b := startBIRD(t, s.router(1), birdPeer("weir", 1, 65001, false, ""))
	sp := s.speak(bgp.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:179")},
		Peers:  []bgp.Peer{{Name: "a", Address: v4(1), AS: 65001, Multihop: 2, MaxRoutes: map[bgp.Family]int{bgp.IPv4Unicast: count}}},
	})
	sp.Apply(nil)
	sp.waitEstablished("a")
	all := blackholes(count + 5)
	at := time.Now()
	sp.Apply(all)
	b.waitTotal(count)
	t.Logf("%d routes announced in %s", count, time.Since(at).Round(time.Millisecond))
	p := sp.peer("a")
	if p.Routes[bgp.IPv4Unicast] != count || p.Refused[bgp.IPv4Unicast] != 5 {
		t.Errorf("%d routes, %d refused", p.Routes[bgp.IPv4Unicast], p.Refused[bgp.IPv4Unicast])
	}
	if r := sp.State().Routes[count].Peers; len(r) != 1 || r[0].Error != "over the maximum of 10000 routes of ipv4-unicast" {
		t.Errorf("%+v", r)
	}
	t.Logf("the speaker has %d MiB", resident(t, sp.State().PID)>>20)
	b.kill()
	eventually(t, "the session is lost", func() bool { return sp.peer("a").Session != bgp.Established })
	at = time.Now()
	b.start()
	b.waitUp()
	b.waitTotal(count)
	t.Logf("%d routes again %s after the router's start", count, time.Since(at).Round(time.Millisecond))
	at = time.Now()
	sp.Apply(all[:1])
	eventually(t, "one route is left", func() bool {
		return strings.Contains(b.show("route count"), "1 of 1 routes for 1 networks in table master4")
	})
	t.Logf("%d routes withdrawn in %s", count-1, time.Since(at).Round(time.Millisecond))
}

// blackholes are as many as wanted.
func blackholes(n int) []traffic.Announcement {
	all := make([]traffic.Announcement, n)
	for i := range all {
		all[i] = blackhole(netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}), 32).String(), 65535<<16|666)
	}
	return all
}

// resident is the memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
