package bgp_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"weir/bgp"
	"weir/tests/need"
	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// frr is FRR's bgpd alone.
type frr struct {
	*program
	folder string
}

func startFRR(t *testing.T, h *lab.Host, config string) *frr {
	t.Helper()
	daemon := need.Tool(t, "/usr/lib/frr/bgpd", "frr")
	need.Tool(t, "vtysh", "frr")
	path := write(t, "bgpd.conf", config)
	folder := filepath.Dir(path)
	f := &frr{start(t, h, daemon, "-f", path, "-i", filepath.Join(folder, "pid"), "--vty_socket", folder, "-Z", "-S", "-P", "0", "-l", "::", "-l", "0.0.0.0"), folder}
	eventually(t, "FRR answers", func() bool {
		_, err := run(h, "vtysh", "--vty_socket", folder, "-d", "bgpd", "-c", "show bgp summary")
		return err == nil
	})
	return f
}

func (f *frr) show(what string) string {
	f.t.Helper()
	text, err := run(f.host, "vtysh", "--vty_socket", f.folder, "-d", "bgpd", "-c", "show "+what)
	if err != nil {
		f.t.Fatalf("vtysh show %s: %v\n%s", what, err, text)
	}
	return text
}

func startGoBGP(t *testing.T, h *lab.Host, config string) *program {
	t.Helper()
	daemon := need.Tool(t, "gobgpd", "gobgpd")
	need.Tool(t, "gobgp", "gobgpd")
	p := start(t, h, daemon, "-f", write(t, "gobgpd.toml", config), "--api-hosts", "127.0.0.1:50051", "--pprof-disable")
	eventually(t, "gobgpd answers", func() bool {
		_, err := run(h, "gobgp", "global")
		return err == nil
	})
	return p
}

func rule(t *testing.T, text string) traffic.Announcement {
	t.Helper()
	r, err := traffic.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return traffic.Announcement{Rule: &r, Owner: "manual"}
}

// FlowSpec of both IP versions as other implementations show it.
func TestFlowSpec(t *testing.T) {
	s := newScene(t)
	f := startFRR(t, s.router(1), fmt.Sprintf(`
router bgp 65001
 bgp router-id 192.0.2.101
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor %s remote-as %d
 neighbor %s timers connect 1
 address-family ipv4 unicast
  neighbor %s activate
 address-family ipv4 flowspec
  neighbor %s activate
 address-family ipv6 flowspec
  neighbor %s activate
`, our4(1), ourAS, our4(1), our4(1), our4(1), our4(1)))
	families := ""
	for _, family := range bgp.Families() {
		families += fmt.Sprintf("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = %q\n[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n", family)
	}
	g := startGoBGP(t, s.router(2), fmt.Sprintf(`
[global.config]
as = 65002
router-id = "192.0.2.102"
[[neighbors]]
[neighbors.config]
neighbor-address = "%s"
peer-as = %d
[neighbors.transport.config]
passive-mode = true
[neighbors.graceful-restart.config]
enabled = true
restart-time = 60
%s`, our6(2), ourAS, families))
	all := []bgp.Family{bgp.IPv4Unicast, bgp.IPv4FlowSpec, bgp.IPv6FlowSpec}
	sp := s.speak(bgp.Config{Peers: []bgp.Peer{
		{Name: "frr", Address: v4(1), AS: 65001, Families: all},
		{Name: "gobgp", Address: v6(2), AS: 65002, Families: bgp.Families()},
		{Name: "without", Address: v4(2), AS: 65002}, // no session either
	}})
	long := "destination 203.0.113.9/32 protocol udp source-port " + strings.TrimSuffix(strings.Repeat("53,123,161,389,", 30), ",") + " then discard"
	want := []traffic.Announcement{
		rule(t, "destination 203.0.113.7/32 protocol udp source-port 53,123 length >=400&<=1500 fragment is-fragment then discard"),
		rule(t, "destination 203.0.113.8/32 protocol tcp destination-port 80 tcp-flags syn then rate-bytes 125000"),
		rule(t, "destination 2001:db8::7/128 protocol udp source-port 53 then discard"),
		rule(t, "destination 2001:db8::8/128 protocol udp destination-port >1023 then redirect-vrf 65000:99"),
		rule(t, long),
		blackhole("203.0.113.7/32"),
	}
	sp.Apply(want)
	sp.waitEstablished("frr", "gobgp")
	for _, tt := range []struct {
		name string
		show func() string
		want []string
	}{
		{"FRR IPv4", func() string { return f.show("bgp ipv4 flowspec detail") }, []string{
			"Destination Address 203.0.113.7/32", "IP Protocol = 17", "Source Port = 53 , = 123", "Packet Length >= 400 , <= 1500", "Packet Fragment = 2", "FS:rate 0.000000",
			"Destination Address 203.0.113.8/32", "Destination Port = 80", "FS:rate 125000.000000",
		}},
		{"FRR IPv6", func() string { return f.show("bgp ipv6 flowspec detail") }, []string{
			"Destination Address 2001:db8::7/128", "Source Port = 53", "Destination Address 2001:db8::8/128", "Destination Port > 1023", "FS:redirect VRF RT:65000:99",
		}},
		{"FRR unicast", func() string { return f.show("bgp ipv4 unicast") }, []string{"203.0.113.7/32"}},
		{"GoBGP IPv4", gobgpTable(t, g, "ipv4-flowspec"), []string{
			"[destination: 203.0.113.7/32][protocol: ==udp][source-port: ==53 ==123][packet-length: >=400&<=1500][fragment: =is-fragment]", "{Extcomms: [discard]}",
			"[destination: 203.0.113.8/32][protocol: ==tcp][destination-port: ==80]", "{Extcomms: [rate: 125000.000000]}",
		}},
		{"GoBGP IPv6", gobgpTable(t, g, "ipv6-flowspec"), []string{
			"[destination: 2001:db8::7/128/0]", "[destination: 2001:db8::8/128/0]", "{Extcomms: [redirect: 65000:99]}",
		}},
		{"GoBGP unicast", gobgpTable(t, g, "ipv4"), []string{"203.0.113.7/32"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text string
			contains := func(w string) bool { return strings.Contains(text, w) }
			defer func() {
				if t.Failed() {
					t.Log(text)
				}
			}()
			eventually(t, "the rules are there", func() bool {
				text = tt.show()
				return contains(tt.want[0])
			})
			for _, w := range tt.want {
				if !contains(w) {
					t.Errorf("%q is missing in\n%s", w, text)
				}
			}
		})
	}
	routes := sp.State().Routes
	if r := routes[4]; !strings.Contains(r.Error, "split it into several rules") {
		t.Errorf("the rule that is too long: %+v", r)
	}
	if r := routes[5]; len(r.Peers) != 3 || r.Peers[0].Error != "" || r.Peers[0].Since.IsZero() || r.Peers[2].Error != "the session is not up" {
		t.Errorf("%+v", r)
	}
	t.Run("replaced and withdrawn", func(t *testing.T) {
		// The same match with another action is the same route.
		sp.Apply([]traffic.Announcement{rule(t, "destination 203.0.113.8/32 protocol tcp destination-port 80 tcp-flags syn then discard")})
		table4, table6 := gobgpTable(t, g, "ipv4-flowspec"), gobgpTable(t, g, "ipv6-flowspec")
		eventually(t, "one rule is left", func() bool {
			text := table4()
			return !strings.Contains(text, "203.0.113.7") && !strings.Contains(text, "rate") && strings.Contains(text, "discard") && !strings.Contains(table6(), "2001:db8")
		})
		eventually(t, "one rule is left at FRR", func() bool {
			text := f.show("bgp ipv4 flowspec detail")
			return !strings.Contains(text, "203.0.113.7") && strings.Contains(text, "203.0.113.8") && !strings.Contains(f.show("bgp ipv6 flowspec detail"), "2001:db8")
		})
	})
}

func gobgpTable(t *testing.T, g *program, family string) func() string {
	return func() string {
		text, err := run(g.host, "gobgp", "global", "rib", "-a", family)
		if err != nil {
			t.Fatalf("gobgp global rib -a %s: %v\n%s", family, err, text)
		}
		return text
	}
}
