package gobgpd

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/tests/routers"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

const birdConfig = `
router id 10.0.0.2;
ipv4 table t4; ipv6 table t6; flow4 table f4; flow6 table f6;
protocol bgp gobgp {
  local 10.0.0.2 as 65002; neighbor 10.0.0.1 port 1790 as 65001; multihop; # else next hops must be reachable
  connect delay time 1; connect retry time 1; error wait time 1,1;
  ipv4 { table t4; import all; export none; };
  ipv6 { table t6; import all; export none; };
  flow4 { table f4; import all; export none; };
  flow6 { table f6; import all; export none; };
}
`

const gobgpConfig = `
[global.config]
  as = 65001
  router-id = "10.0.0.1"
  port = 1790
[[neighbors]]
  [neighbors.config]
    neighbor-address = "10.0.0.2"
    peer-as = 65002
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.ebgp-multihop.config]
    enabled = true
    multihop-ttl = 5
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-flowspec"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-flowspec"
`

// versions are the programs that the tests run against.
func versions() []struct {
	name    string
	api     int
	program func(testing.TB) string
} {
	return []struct {
		name    string
		api     int
		program func(testing.TB) string
	}{{"3", 3, routers.GoBGP3}, {"4", 4, routers.GoBGP4}}
}

// bed is BIRD and a place for gobgpd in a namespace each.
func bed(t *testing.T, program string) (*routers.GoBGP, *routers.Bird) {
	t.Helper()
	l, err := lab.New(context.Background(), fmt.Sprintf("weirgobgp%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	gobgpHost, err := l.Host("gobgp")
	if err != nil {
		t.Fatal(err)
	}
	birdHost, err := l.Host("bird")
	if err != nil {
		t.Fatal(err)
	}
	end := func(address string) lab.End {
		return lab.End{Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	if err := l.Link(gobgpHost, "eth0", birdHost, "eth0", lab.LinkOptions{A: end("10.0.0.1/24"), B: end("10.0.0.2/24")}); err != nil {
		t.Fatal(err)
	}
	return routers.NewGoBGP(t, gobgpHost, program, gobgpConfig), routers.StartBird(t, birdHost, birdConfig)
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
	need.Root(t)
	for _, v := range versions() {
		t.Run(v.name, func(t *testing.T) {
			gobgp, bird := bed(t, v.program(t))
			c, _ := run(t, Options{Address: routers.GoBGPAddress, Dial: gobgp.Dial, Check: 100 * time.Millisecond})
			plain, plain6 := blackhole("203.0.113.7/32", "192.0.2.1"), blackhole("2001:db8:bad::/48", "100::1")
			rich := with(blackhole("203.0.113.0/24", "192.0.2.9"), func(a *traffic.Announcement) {
				a.Communities = []uint32{0xffff029a, 0xffffff01}
				a.LargeCommunities = [][3]uint32{{4200000000, 1, 2}}
				a.ExtendedCommunities = [][8]byte{{0x00, 0x02, 0xfd, 0xe9, 0, 0, 0, 100}}
				a.MED, a.LocalPref, a.Prepend = new(uint32), new(uint32), 2
				*a.MED = 5
				a.Peers = []string{"elsewhere", "gobgp"}
			})
			other := with(blackhole("203.0.113.9/32", "192.0.2.1"), func(a *traffic.Announcement) { a.Peers = []string{"elsewhere"} })
			c.Apply([]traffic.Announcement{plain, plain6, rich, other})
			waitFor(t, c, "an attempt to connect", func(s State) bool { return strings.Contains(s.Error, "refused") && s.Pending == 3 && s.Routes == 3 })

			// gobgpd comes up late, and gets the whole set.
			process := gobgp.Start(t)
			simple := func(nextHop string) []string {
				return []string{"BGP.as_path: 65001", "BGP.community: (65001,666)", "BGP.local_pref: 100", "BGP.next_hop: " + nextHop, "BGP.origin: IGP"}
			}
			all := map[string][]string{
				"203.0.113.7/32": simple("192.0.2.1"),
				"203.0.113.0/24": {
					"BGP.as_path: 65001 65001 65001", "BGP.community: (65535,666) (65535,65281)", "BGP.ext_community: (rt, 65001, 100)",
					"BGP.large_community: (4200000000, 1, 2)", "BGP.local_pref: 100", "BGP.med: 5", "BGP.next_hop: 192.0.2.9", "BGP.origin: IGP",
				},
			}
			table(t, bird, "t4", all)
			table(t, bird, "t6", map[string][]string{"2001:db8:bad::/48": simple("100::1")})
			waitFor(t, c, "the session", func(s State) bool { return len(s.Peers) == 1 && s.Peers[0].Session == "established" && s.Pending == 0 })
			got := c.State()
			want := State{
				Connected: true, Since: got.Since, API: v.api, AS: 65001, RouterID: netip.MustParseAddr("10.0.0.1"),
				Peers: []Peer{{"10.0.0.2", 65002, "established"}}, Connections: 1, Announced: 3, Routes: 3,
			}
			if diff := cmp.Diff(got, want, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}

			// gobgpd is killed, one route goes meanwhile, one changes.
			process.Kill(t)
			waitFor(t, c, "the loss of gobgpd", func(s State) bool { return !s.Connected })
			c.Apply([]traffic.Announcement{with(plain, func(a *traffic.Announcement) { a.Communities = nil }), rich})
			gobgp.Start(t)
			all["203.0.113.7/32"] = []string{"BGP.as_path: 65001", "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"}
			table(t, bird, "t4", all)
			table(t, bird, "t6", map[string][]string{})
			c.Apply(nil)
			table(t, bird, "t4", map[string][]string{})
			waitFor(t, c, "everything done", func(s State) bool { return s.Pending == 0 && s.Withdrawn == 3 && s.Restored == 0 && s.Connections == 2 })
		})
	}
}

func TestFlowSpecAtBIRD(t *testing.T) {
	need.Root(t)
	for _, v := range versions() {
		t.Run(v.name, func(t *testing.T) {
			gobgp, bird := bed(t, v.program(t))
			gobgp.Start(t)
			c, _ := run(t, Options{Address: routers.GoBGPAddress, Dial: gobgp.Dial, Check: 50 * time.Millisecond})
			rules, flow4, flow6 := routers.Flows()
			var set []traffic.Announcement
			for _, text := range rules {
				set = append(set, rule(t, text))
			}
			c.Apply(set)
			table(t, bird, "f4", flow4)
			table(t, bird, "f6", flow6)
			c.Apply(nil)
			table(t, bird, "f4", map[string][]string{})
			table(t, bird, "f6", map[string][]string{})
			if s := c.State(); s.Restored > 0 {
				t.Errorf("%d announcements seemed lost or changed in gobgpd, which nobody has touched", s.Restored)
			}
		})
	}
}

// Announcements that somebody deletes or changes in gobgpd come back.
func TestRestored(t *testing.T) {
	need.Root(t)
	command := need.Tool(t, "gobgp", "gobgpd")
	gobgp, bird := bed(t, routers.GoBGP3(t))
	gobgp.Start(t)
	c, _ := run(t, Options{Address: routers.GoBGPAddress, Dial: gobgp.Dial, Check: 50 * time.Millisecond})
	flow := rule(t, "destination 203.0.113.8/32 then discard")
	c.Apply([]traffic.Announcement{blackhole("203.0.113.7/32", "192.0.2.1"), blackhole("2001:db8:bad::/48", "100::1"), flow})
	waitFor(t, c, "everything done", func(s State) bool { return s.Pending == 0 && s.Announced == 3 })
	for i, words := range []string{
		"global rib del 203.0.113.7/32",
		"global rib -a ipv6 del 2001:db8:bad::/48",
		"global rib add 203.0.113.7/32 nexthop 192.0.2.1 community 65001:1",
		"global rib -a ipv4-flowspec del match destination 203.0.113.8/32",
		"global rib del all",
	} {
		before := c.State().Restored
		if out, err := gobgp.Command(command, strings.Fields(words)...); err != nil {
			t.Fatalf("gobgp %s: %v\n%s", words, err, out)
		}
		waitFor(t, c, "restoring after "+words, func(s State) bool { return s.Restored > before && s.Pending == 0 })
		if i == 0 {
			table(t, bird, "t4", map[string][]string{
				"203.0.113.7/32": {"BGP.as_path: 65001", "BGP.community: (65001,666)", "BGP.local_pref: 100", "BGP.next_hop: 192.0.2.1", "BGP.origin: IGP"},
			})
		}
	}
	if s := c.State(); s.Connections != 1 {
		t.Errorf("%d connections, want the first one still", s.Connections)
	}
}

// As many as an operator may ever blackhole at once, and checks of them all the while.
func TestManyAtBIRD(t *testing.T) {
	need.Root(t)
	for _, v := range versions() {
		t.Run(v.name, func(t *testing.T) {
			gobgp, bird := bed(t, v.program(t))
			gobgp.Start(t)
			c, _ := run(t, Options{Address: routers.GoBGPAddress, Dial: gobgp.Dial, Check: 100 * time.Millisecond})
			waitFor(t, c, "the session", func(s State) bool { return len(s.Peers) == 1 && s.Peers[0].Session == "established" })
			const n = 10_000
			var all []traffic.Announcement
			for i := range n {
				all = append(all, blackhole(fmt.Sprintf("10.%d.%d.%d/32", 1+i>>16, i>>8&255, i&255), "192.0.2.1"))
			}
			for _, want := range []int{n, 0} {
				began := time.Now()
				c.Apply(all[:want])
				routers.Until(t, fmt.Sprintf("%d routes in BIRD", want), func() (bool, string) {
					count := bird.Show(t, "route", "table", "t4", "count")
					return strings.HasPrefix(count, fmt.Sprintf("%d of %d routes", want, want)), count
				})
				t.Logf("%d routes after %v", want, time.Since(began))
				waitFor(t, c, "everything done", func(s State) bool { return s.Pending == 0 })
			}
			if s := c.State(); s.Restored != 0 || s.Connections != 1 || s.Announced != n || s.Withdrawn != n {
				t.Errorf("got %+v, want %d announced and withdrawn, none restored, one connection", s, n)
			}
		})
	}
}
