package lab

import (
	"net/netip"
	"testing"
	"time"
)

// until polls cond; the deadline is only there so that a broken test ends.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestServeAndProbe(t *testing.T) {
	for _, tt := range []struct{ name, network, addr string }{
		{"tcp", "tcp", "192.0.2.2:8080"},
		{"udp", "udp", "192.0.2.2:8080"},
		{"tcp over IPv6", "tcp", "[2001:db8::2]:8080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := openLab(t)
			a, b := pair(t, l)
			addr := netip.MustParseAddrPort(tt.addr)
			server, err := Serve(b, addr)
			if err != nil {
				t.Fatal(err)
			}
			prober, err := Probe(a, addr, ProbeOptions{Network: tt.network, Interval: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			until(t, "20 answers", func() bool { return prober.Stats().OK >= 20 })
			if s := prober.Stats(); s.Failed != 0 || s.Last != nil || s.Median <= 0 {
				t.Errorf("got %+v, want no failure and a latency", s)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			until(t, "a failure after the server has gone", func() bool { return prober.Stats().Failed > 0 })
			if server.Served() < 20 {
				t.Errorf("the server has answered %d requests, want at least 20", server.Served())
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if _, err := Probe(a, addr, ProbeOptions{}); err == nil {
				t.Error("a probe began in a closed lab")
			}
		})
	}
}

func TestProbeRefusesNetwork(t *testing.T) {
	if _, err := Probe(&Host{}, netip.AddrPort{}, ProbeOptions{Network: "sctp"}); err == nil {
		t.Error("an unknown network was taken")
	}
}
