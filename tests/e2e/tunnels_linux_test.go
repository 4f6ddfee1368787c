package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"weir/userspace/packet/packettest"
)

// TestTunnels: packets in tunnels of every kind are counted for the hosts inside, or for those outside, as the configuration says, by
// the program in the kernel and by the parser of user space.
func TestTunnels(t *testing.T) {
	const each = 3
	tunnels := packettest.Tunnels()
	const most = 1000 // of a frame in user space, of which engines hand over no more than 512 bytes: longer ones here are all headers
	for _, tt := range []struct{ engine, account string }{{"xdp", "inner"}, {"xdp", "outer"}, {"afpacket", "inner"}, {"afpacket", "outer"}} {
		t.Run(tt.engine+"/"+tt.account, func(t *testing.T) {
			l := openLab(t)
			b := &bed{lab: l, world: openHost(t, l, "world"), router: openHost(t, l, "router")}
			b.joinWorld(t)
			d := startDaemon(t, b.router, "", fmt.Sprintf(`
interfaces: [{name: out, engine: %s, role: mirror}]
networks: {prefixes: [198.51.100.0/24, "2001:db8:2::/64", "192.0.2.0/24", "203.0.113.0/24", "2001:db8:7::/64"]}
memory: {cells: 64MB}
hostgroups: {default: {thresholds: {}}}
tunnels: {account: %s, mpls: on, pppoe: on, gre: on, erspan: on, ipip: on, vxlan: [4789, 8472], geneve: on, gtpu: on, l2tp: on, l2tpv3: on}
`, tt.engine, tt.account))
			want := map[netip.Addr]uint64{}
			fd := packetSocket(t, b.world, unix.ETH_P_ALL)
			for _, tunnel := range tunnels {
				if tt.engine != "xdp" && len(tunnel.Frame) > most {
					continue
				}
				counted := tunnel.Inside
				if tt.account == "outer" && tunnel.Outside != nil {
					counted = *tunnel.Outside
				}
				want[counted.Dst] += each
				for range each {
					if _, err := unix.Write(fd, tunnel.Frame); err != nil {
						t.Fatalf("send %s: %v", tunnel.Name, err)
					}
				}
			}
			if len(want) < 2 {
				t.Fatalf("hosts of one family only: %v", want)
			}
			for host, packets := range want {
				until(t, fmt.Sprintf("%d packets to %s to be counted", packets, host), func() bool { return d.incoming(t, host.String()) >= packets })
				if got := d.incoming(t, host.String()); got != packets {
					t.Errorf("%s: %d packets, want %d", host, got, packets)
				}
			}
		})
	}
}
