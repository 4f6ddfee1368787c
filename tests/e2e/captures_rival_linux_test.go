package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/tests/need"
	"weir/tests/routers"
	"weir/userspace/lab"
)

// TestFastNetMonCaptures has Weir and Debian's FastNetMon capture the same flood from the same veth at the same time, both by AF_PACKET:
// both count it. What each process took in CPU time for a packet is logged. It is that of the whole process, what it spends on looking at
// the hosts included; what the kernel spends on copying into the rings of both is the flood's.
func TestFastNetMonCaptures(t *testing.T) {
	need.Root(t)
	fastnetmon := need.Tool(t, "fastnetmon", "fastnetmon")
	const (
		rate    = 200_000 // packets a second
		packets = 5 * rate
		ours    = "198.18.0.0/16"
	)
	for name, hosts := range map[string]string{"256 hosts": "198.18.0.0/24", "65536 hosts": ours} {
		t.Run(name, func(t *testing.T) {
			l := openLab(t)
			b := &bed{lab: l, world: openHost(t, l, "world"), router: openHost(t, l, "router")}
			b.joinWorld(t)
			d := startDaemon(t, b.router, "", fmt.Sprintf(`
interfaces: [{name: out, role: mirror, engine: afpacket}]
networks: {prefixes: [%s]}
hostgroups: {default: {thresholds: {pps: 100M}, actions: [notify]}}
`, ours))
			folder := t.TempDir()
			config, list := filepath.Join(folder, "fastnetmon.conf"), filepath.Join(folder, "networks")
			for path, text := range map[string]string{
				list: ours + "\n",
				config: "disable_usage_report = on\nenable_ban = off\nnetworks_list_path = " + list + "\nwhite_list_path = " + list + ".none\n" +
					"mirror_afpacket = on\ninterfaces = out\n" +
					"process_incoming_traffic = on\nprocess_outgoing_traffic = on\nenable_connection_tracking = on\nmonitor_local_ip_addresses = off\n" +
					"prometheus = on\nprometheus_port = 9209\nprometheus_host = 127.0.0.1\ncli_stats_file_path = " + filepath.Join(folder, "stats") + "\n" +
					"cli_stats_ipv6_file_path = " + filepath.Join(folder, "stats6") + "\npid_path = " + filepath.Join(folder, "pid") + "\n",
			} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := packetSockets(t, b.router)
			rival := routers.Start(t, b.router, nil, fastnetmon, "--configuration_file", config, "--log_file", filepath.Join(folder, "log"), "--disable_pid_logic")
			routers.Until(t, "fastnetmon captures", func() (bool, string) { return packetSockets(t, b.router) > before, rival.Output() })
			const metric = "fastnetmon_total_simple_packets_processed"
			countedAtFirst, theirsAtFirst, arrivedAtFirst := d.received(t), rivalCount(t, b.router, metric), b.arrivedAtRouter(t)
			ourTime, theirTime := cpuTime(t, d.process.Pid), cpuTime(t, rival.PID())

			frame := frame(t, b.world, b.router, "out", worldAddr, netip.MustParsePrefix(hosts).Addr().Next().String())
			f, err := lab.NewFlood(lab.FloodOptions{
				Host: b.world, Interface: "eth0", Frame: frame, Destinations: lab.Addresses{Spread: lab.Random, Prefix: netip.MustParsePrefix(hosts)}, SrcPorts: 0xffff,
			})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			sent, err := f.Run(t.Context(), rate, packets)
			took := time.Since(began)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if err != nil || sent != packets {
				t.Fatalf("sent %d of %d packets: %v", sent, packets, err)
			}
			arrived := b.arrivedAtRouter(t) - arrivedAtFirst // on a busy machine, the veth itself loses some
			until(t, fmt.Sprintf("Weir to have counted or dropped %d packets", arrived), func() bool {
				return d.received(t)-countedAtFirst+d.capture(t).Capture.Kernel >= arrived
			})
			usedOurs := cpuTime(t, d.process.Pid) - ourTime
			counted := d.received(t) - countedAtFirst
			until(t, "fastnetmon to be done", func() bool { // it does not say what it drops
				n := rivalCount(t, b.router, metric)
				return n-theirsAtFirst >= float64(arrived)/2
			})
			usedTheirs, theirs := cpuTime(t, rival.PID())-theirTime, rivalCount(t, b.router, metric)-theirsAtFirst
			perOurs, perTheirs := float64(usedOurs)/float64(counted), float64(usedTheirs)/theirs
			t.Logf("%d packets in %s, %d of them arrived: Weir %d, %s, %.0f ns each; fastnetmon %.0f, %s, %.0f ns each; Weir / fastnetmon %.2f",
				sent, took.Round(time.Millisecond), arrived, counted, usedOurs, perOurs, theirs, usedTheirs, perTheirs, perOurs/perTheirs)
		})
	}
}

// arrivedAtRouter is how many packets have come to the router from the world.
func (b *bed) arrivedAtRouter(t *testing.T) uint64 {
	t.Helper()
	s, err := b.router.Stats("out")
	if err != nil {
		t.Fatal(err)
	}
	return s.RxPackets
}

// received is how many frames the daemon's only capture has handed over.
func (d *daemon) received(t *testing.T) uint64 {
	t.Helper()
	return d.capture(t).Capture.Received
}
