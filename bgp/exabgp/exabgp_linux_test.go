package exabgp

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/tests/routers"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// bird has a session over each IP version, each with tables of its own: t4 and t6, f4 and f6 over IPv4, u4 and u6 over IPv6.
const birdConfig = `
router id 10.0.0.2;
ipv4 table t4; ipv6 table t6; flow4 table f4; flow6 table f6;
ipv4 table u4; ipv6 table u6;
protocol bgp four {
  local 10.0.0.2 port 1790 as 65002; neighbor 10.0.0.1 as 65001; passive; multihop;
  ipv4 { table t4; import all; export none; };
  ipv6 { table t6; import all; export none; };
  flow4 { table f4; import all; export none; };
  flow6 { table f6; import all; export none; };
}
protocol bgp six {
  local fd00::2 port 1790 as 65002; neighbor fd00::1 as 65001; passive; multihop;
  ipv4 { table u4; import all; export none; };
  ipv6 { table u6; import all; export none; };
}
`

func neighbor(local, peer, families, api string) string {
	return fmt.Sprintf(`neighbor %s {
  router-id 10.0.0.1; local-address %s; local-as 65001; peer-as 65002;
  family { %s }
  %s
}
`, peer, local, families, api)
}

// bed is BIRD and a place for ExaBGP in a namespace each. ExaBGP reads its commands itself, or has them copied.
func bed(t *testing.T, copied bool) (*routers.ExaBGP, *routers.Bird) {
	t.Helper()
	need.Root(t)
	l, err := lab.New(context.Background(), fmt.Sprintf("weirexabgp%d-%s", os.Getpid(), strings.ToLower(t.Name())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	exabgpHost, err := l.Host("exabgp")
	if err != nil {
		t.Fatal(err)
	}
	birdHost, err := l.Host("bird")
	if err != nil {
		t.Fatal(err)
	}
	end := func(addresses ...string) (e lab.End) {
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, netip.MustParsePrefix(a))
		}
		return e
	}
	if err := l.Link(exabgpHost, "eth0", birdHost, "eth0", lab.LinkOptions{A: end("10.0.0.1/24", "fd00::1/64"), B: end("10.0.0.2/24", "fd00::2/64")}); err != nil {
		t.Fatal(err)
	}
	api := ""
	if copied {
		api = "api { processes [ weir ]; }"
	}
	neighbors := neighbor("10.0.0.1", "10.0.0.2", "ipv4 unicast; ipv6 unicast; ipv4 flow; ipv6 flow;", api) +
		neighbor("fd00::1", "fd00::2", "ipv4 unicast; ipv6 unicast;", api)
	return routers.NewExaBGP(t, exabgpHost, neighbors, copied), routers.StartBird(t, birdHost, birdConfig)
}

// table waits for one of BIRD's tables to be as wanted: attributes by prefix or flow.
func table(t *testing.T, bird *routers.Bird, name string, want map[string][]string) {
	t.Helper()
	routers.Until(t, "BIRD's table "+name, func() (bool, string) {
		diff := cmp.Diff(bird.Routes(t, name), want)
		return diff == "", "(-got +want)\n" + diff
	})
}

func TestUnicastAtBIRD(t *testing.T) {
	exabgp, bird := bed(t, false)
	p, _ := run(t, Options{Path: exabgp.Pipe, AS: 65001, Neighbors: map[string]netip.Addr{
		"four": netip.MustParseAddr("10.0.0.2"), "six": netip.MustParseAddr("fd00::2"),
	}})
	to := func(a traffic.Announcement, peers ...string) traffic.Announcement { a.Peers = peers; return a }
	plain, plain6 := blackhole("203.0.113.7/32", "192.0.2.1"), blackhole("2001:db8:bad::/48", "100::1")
	rich := with(blackhole("203.0.113.0/24", "192.0.2.9"), func(a *traffic.Announcement) {
		a.Communities = []uint32{0xffff029a, 0xffffff01}
		a.LargeCommunities = [][3]uint32{{4200000000, 1, 2}}
		a.ExtendedCommunities = [][8]byte{{0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 100}}
		a.MED, a.Prepend = new(uint32), 2
		*a.MED = 5
	})
	p.Apply([]traffic.Announcement{plain, plain6, to(rich, "four")})

	// ExaBGP comes up late, and gets the whole set.
	process := exabgp.Start(t)
	community := "BGP.community: (65001,666)"
	table(t, bird, "t4", map[string][]string{
		"203.0.113.7/32": {"BGP.as_path: 65001", community, "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"},
		"203.0.113.0/24": {
			"BGP.as_path: 65001 65001 65001", "BGP.community: (65535,666) (65535,65281)", "BGP.ext_community: (rt, 65001, 100)",
			"BGP.large_community: (4200000000, 1, 2)", "BGP.local_pref: 100", "BGP.med: 5", "BGP.next_hop: 192.0.2.9", "BGP.origin: IGP",
		},
	})
	table(t, bird, "t6", map[string][]string{
		"2001:db8:bad::/48": {"BGP.as_path: 65001", community, "BGP.local_pref: 100", "BGP.next_hop: 100::1", "BGP.origin: IGP"},
	})
	table(t, bird, "u4", map[string][]string{
		"203.0.113.7/32": {"BGP.as_path: 65001", community, "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"},
	})

	// One neighbor is told otherwise, and one no more.
	p.Apply([]traffic.Announcement{plain, to(with(plain, func(a *traffic.Announcement) { a.Communities = nil }), "six"), to(rich, "six"), plain6})
	table(t, bird, "u4", map[string][]string{
		"203.0.113.7/32": {"BGP.as_path: 65001", "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"},
		"203.0.113.0/24": {
			"BGP.as_path: 65001 65001 65001", "BGP.community: (65535,666) (65535,65281)", "BGP.ext_community: (rt, 65001, 100)",
			"BGP.large_community: (4200000000, 1, 2)", "BGP.local_pref: 100", "BGP.med: 5", "BGP.next_hop: 192.0.2.9", "BGP.origin: IGP",
		},
	})
	table(t, bird, "t4", map[string][]string{
		"203.0.113.7/32": {"BGP.as_path: 65001", community, "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"},
	})

	// ExaBGP is killed, one route goes meanwhile, and one comes.
	process.Kill(t)
	waitFor(t, p, "the loss of ExaBGP", func(s Stats) bool { return !s.Reader })
	p.Apply([]traffic.Announcement{plain6, blackhole("198.51.100.0/24", "192.0.2.1")})
	exabgp.Start(t)
	for _, name := range []string{"t4", "u4"} {
		table(t, bird, name, map[string][]string{
			"198.51.100.0/24": {"BGP.as_path: 65001", community, "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"},
		})
	}
	p.Apply(nil)
	for _, name := range []string{"t4", "t6", "u4", "u6"} {
		table(t, bird, name, map[string][]string{})
	}
}

func TestFlowSpecAtBIRD(t *testing.T) {
	exabgp, bird := bed(t, true)
	p, _ := run(t, Options{Path: exabgp.Pipe})
	exabgp.Start(t)
	rules, flow4, flow6 := routers.Flows()
	var set []traffic.Announcement
	for _, text := range rules {
		set = append(set, rule(t, text))
	}
	p.Apply(set)
	table(t, bird, "f4", flow4)
	table(t, bird, "f6", flow6)
	p.Apply(nil)
	table(t, bird, "f4", map[string][]string{})
	table(t, bird, "f6", map[string][]string{})
}

// More than fits into the pipe, and into the answers' pipe if there were answers.
func TestManyAtBIRD(t *testing.T) {
	exabgp, bird := bed(t, false)
	p, _ := run(t, Options{Path: exabgp.Pipe})
	exabgp.Start(t)
	const n = 5000
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	for round, want := range []int{n, 0} {
		p.Apply(hosts(numbers[:want]...))
		routers.Until(t, fmt.Sprintf("round %d: %d routes in BIRD", round, want), func() (bool, string) {
			count := bird.Show(t, "route", "table", "t4", "count")
			return strings.HasPrefix(count, fmt.Sprintf("%d of %d routes", want, want)), count
		})
	}
	if s := p.Stats(); s.Readers != 1 || s.Announced != n || s.Withdrawn != n || s.Pending != 0 {
		t.Errorf("got %+v, want %d announced and withdrawn, to one reader", s, n)
	}
}

// A process that ends without taking its routes back leaves them to the next one.
func TestNextProcess(t *testing.T) {
	exabgp, bird := bed(t, false)
	exabgp.Start(t)
	before := []traffic.Announcement{blackhole("203.0.113.7/32", "192.0.2.1"), blackhole("203.0.113.8/32", "192.0.2.1")}
	routes := map[string][]string{}
	for _, a := range before {
		routes[a.Prefix.String()] = []string{
			"BGP.as_path: 65001", "BGP.community: (65001,666)", "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP",
		}
	}
	p, stop := run(t, Options{Path: exabgp.Pipe})
	p.Apply(before)
	table(t, bird, "t4", routes)
	stop()
	table(t, bird, "t4", routes)
	p, _ = run(t, Options{Path: exabgp.Pipe})
	p.Adopt(before)
	p.Apply(before[1:])
	delete(routes, "203.0.113.7/32")
	table(t, bird, "t4", routes)
}
