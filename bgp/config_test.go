package bgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	valid := func() Config {
		return Config{
			RouterID: netip.MustParseAddr("192.0.2.1"), AS: 4200000000, Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:179")},
			Peers: []Peer{
				{Name: "a", Address: netip.MustParseAddr("10.0.0.2"), AS: 65001, Passive: true, TTLSecurity: 1},
				{Name: "b", Address: netip.MustParseAddr("fe80::2%eth0"), AS: 4200000000, MaxRoutes: map[Family]int{IPv4FlowSpec: 10}, Families: Families()},
			},
		}
	}
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"router ID", func(c *Config) { c.RouterID = netip.MustParseAddr("::1") }, "router ID ::1: must be an IPv4 address"},
		{"AS", func(c *Config) { c.AS = 0 }, "AS 0: must be"},
		{"listen", func(c *Config) { c.Listen = []netip.AddrPort{{}} }, "listen address"},
		{"restart time", func(c *Config) { c.GracefulRestart.Time = 2 * time.Hour }, "graceful restart time 2h0m0s: must be 1 s to 4095 s"},
		{"long-lived time", func(c *Config) { c.GracefulRestart.LongLivedTime = -1 }, "long-lived graceful restart time -1ns"},
		{"long-lived alone", func(c *Config) { c.GracefulRestart = GracefulRestart{Disabled: true, LongLivedTime: time.Hour} }, "long-lived graceful restart: needs graceful restart"},
		{"nameless", func(c *Config) { c.Peers[0].Name = "" }, "needs a name"},
		{"name twice", func(c *Config) { c.Peers[0].Name = "b" }, "peer b: the name is taken"},
		{"address twice", func(c *Config) { c.Peers[1].Address = netip.MustParseAddr("::ffff:10.0.0.2") }, "peer b: another peer has address 10.0.0.2"},
		{"address", func(c *Config) { c.Peers[0].Address = netip.MustParseAddr("224.0.0.1") }, "peer a: address 224.0.0.1: must be that of one router"},
		{"local address", func(c *Config) { c.Peers[0].LocalAddress = netip.MustParseAddr("::1") }, "peer a: local address ::1: must be of the family of 10.0.0.2"},
		{"peer AS", func(c *Config) { c.Peers[0].AS = 0 }, "peer a: AS 0"},
		{"password", func(c *Config) { c.Peers[0].Password = strings.Repeat("x", 81) }, "peer a: password: must be at most 80 bytes"},
		{"passive", func(c *Config) { c.Listen = nil }, "peer a: passive: needs an address to listen on"},
		{"multihop", func(c *Config) { c.Peers[0].Multihop = 2 }, "peer a: multihop and TTL security exclude each other"},
		{"hold time", func(c *Config) { c.Peers[0].HoldTime = time.Second }, "peer a: hold time 1s"},
		{"keepalive", func(c *Config) { c.Peers[0].KeepAlive = 90 * time.Second }, "peer a: keepalive time 1m30s"},
		{"retry", func(c *Config) { c.Peers[0].ConnectRetry = time.Millisecond }, "peer a: connect retry time 1ms"},
		{"no family", func(c *Config) { c.Peers[0].Families = []Family{} }, "peer a: needs an address family"},
		{"family", func(c *Config) { c.Peers[0].Families = []Family{"ipv5"} }, `peer a: unknown address family "ipv5"`},
		{"prepend", func(c *Config) { c.Peers[0].Prepend = 65 }, "peer a: prepend 65"},
		{"maximum", func(c *Config) { c.Peers[0].MaxRoutes = map[Family]int{"x": 1} }, `peer a: maximum of 1 routes of "x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := valid()
			tt.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
