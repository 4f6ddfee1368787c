package bench

import (
	"fmt"
	"net/netip"
	"time"
)

// BGPOptions says what BGP measures.
type BGPOptions struct {
	Runs     int // 0: 50
	JSON     bool
	Progress func(done, size int64) // of the runs; nil: not shown
}

func (o *BGPOptions) complete() error {
	if o.Runs == 0 {
		o.Runs = 50
	}
	if o.Runs < 0 || o.Runs > MaxRuns {
		return fmt.Errorf("bench bgp: %d runs; expected 1 to %d", o.Runs, MaxRuns)
	}
	return nil
}

// Announcing sums up the runs. The percentiles are by nearest rank: under 100 runs, the 99th is the worst.
type Announcing struct {
	Runs int     `json:"runs"`
	P50  float64 `json:"p50_ms"` // from the detection of an attack to its blackhole in the router's tables
	P99  float64 `json:"p99_ms"`
}

func summarizeBGP(latencies []time.Duration) Announcing {
	var ms []float64
	for _, l := range latencies {
		ms = append(ms, float64(l.Microseconds())/1000)
	}
	return Announcing{Runs: len(ms), P50: quantile(ms, 0.5), P99: quantile(ms, 0.99)}
}

// session is who speaks BGP with whom: private AS numbers, on a link of its own.
type session struct {
	guard, router     netip.Prefix
	guardAS, routerAS uint32
	community         uint32
}

func newSession() session {
	return session{
		guard: netip.MustParsePrefix("192.0.2.1/30"), router: netip.MustParsePrefix("192.0.2.2/30"),
		guardAS: 64512, routerAS: 64513, community: 65535<<16 | 666, // BLACKHOLE (RFC 7999)
	}
}

// configuration is the daemon's part of it. Routes have a next hop that the router does not ask for: it drops.
func (s session) configuration() string {
	return fmt.Sprintf(`bgp:
  router_id: %s
  as: %d
  on_stop: withdraw
  max_routes: %d
  peers:
    - {name: router, address: %s, as: %d, local_address: %s, families: [ipv4-unicast]}
  actions:
    rtbh:
      kind: blackhole
      next_hop: {ipv4: 192.0.2.1, ipv6: off}
      communities: [blackhole, no-export]
`, s.guard.Addr(), s.guardAS, MaxRuns, s.router.Addr(), s.routerAS, s.guard.Addr())
}
