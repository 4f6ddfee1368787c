package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"weir/tests/need"
	"weir/tests/routers"
	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// collectorConfig is a configuration that collects flow records and attaches to nothing.
const collectorConfig = `
flows: {listen: ["127.0.0.1:2055"], allow: [127.0.0.0/8], workers: 2%s}
networks: {prefixes: [192.0.2.0/24]}
hostgroups: {default: {%s, actions: [notify], quiet: 500ms, ban_time: 1s}}
`

const noThreshold = "thresholds: {pps: 10M}"

// sent is what a test's hosts have sent: UDP datagrams to the victim.
const (
	sentPackets = 2000
	sentPayload = 172
	sentBytes   = sentPackets * (sentPayload + 28) // of IP packets, as NetFlow counts
)

// send has the world send its datagrams to the victim: each to the next of so many ports.
func (b *bed) send(t *testing.T, ports int) {
	t.Helper()
	err := b.world.Do(func() error {
		raw, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		defer raw.Close()
		payload := make([]byte, sentPayload)
		for i := range sentPackets {
			to := netip.AddrPortFrom(addr(victimAddr), uint16(40000+i%ports))
			if _, err := raw.WriteToUDPAddrPort(payload, to); err != nil {
				return err
			}
			if i%50 == 49 { // an exporter's socket holds only so much
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// arrived waits until the victim's total is at least so many packets, and returns it.
func arrived(t *testing.T, d *daemon, packets uint64) *weirpb.Counts {
	t.Helper()
	until(t, fmt.Sprintf("%d packets in the flow records about the victim", packets), func() bool {
		return d.total(t, victimAddr, weirpb.Direction_DIRECTION_INCOMING).GetTotal().GetPackets() >= packets
	})
	return d.total(t, victimAddr, weirpb.Direction_DIRECTION_INCOMING)
}

// TestProbes has pmacct's probes watch real packets: what Weir counts is what was sent, exactly or within sampling's bound.
func TestProbes(t *testing.T) {
	need.Root(t)
	pmacctd := need.Tool(t, "pmacctd", "pmacct")
	const timeouts = "nfprobe_timeouts: tcp=1:udp=1:icmp=1:general=1:maxlife=2:expint=1\n"
	for _, tt := range []struct {
		name, config string
		rate         uint64
	}{
		{"NetFlow v5", "plugins: nfprobe\nnfprobe_receiver: 127.0.0.1:2055\nnfprobe_version: 5\n" + timeouts, 1},
		{"NetFlow v9", "plugins: nfprobe\nnfprobe_receiver: 127.0.0.1:2055\nnfprobe_version: 9\n" + timeouts, 1},
		{"IPFIX", "plugins: nfprobe\nnfprobe_receiver: 127.0.0.1:2055\nnfprobe_version: 10\n" + timeouts, 1},
		{"sFlow", "plugins: sfprobe\nsfprobe_receiver: 127.0.0.1:2055\nsfprobe_agentip: 192.0.2.1\nsampling_rate: 10\n", 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", fmt.Sprintf(collectorConfig, "", noThreshold))
			config := filepath.Join(t.TempDir(), "pmacctd.conf")
			text := "daemonize: false\npcap_interface: out" +
				"\naggregate: src_host, dst_host, src_port, dst_port, proto, tos\n" + tt.config
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			probe := routers.Start(t, b.router, nil, pmacctd, "-f", config)
			routers.Until(t, "pmacctd captures", func() (bool, string) {
				return packetSockets(t, b.router) > 0 && strings.Contains(probe.Output(), "link type is"), probe.Output()
			})
			b.send(t, 20)
			defer func() { t.Log(d.weir(t, "exporters").out, probe.Output()) }()
			want := uint64(sentPackets)
			if tt.rate > 1 {
				want = sentPackets * 7 / 10
			}
			got := arrived(t, d, want).GetTotal()
			if tt.rate == 1 {
				if got.GetPackets() != sentPackets || got.GetBytes() != sentBytes {
					t.Errorf("counted %d packets and %d bytes; want %d and %d", got.GetPackets(), got.GetBytes(), sentPackets, sentBytes)
				}
				return
			}
			// Four standard deviations of a count of samples.
			bound := 4 * math.Sqrt(float64(sentPackets*tt.rate))
			if off := math.Abs(float64(got.GetPackets()) - sentPackets); off > bound {
				t.Errorf("estimated %d packets; want %d +- %.0f", got.GetPackets(), sentPackets, bound)
			}
		})
	}
}

// packetSockets is how many packet sockets are bound to an interface of a namespace and receive.
func packetSockets(t *testing.T, h *lab.Host) (n int) {
	t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/packet")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		// sk RefCnt Type Proto Iface R Rmem User Inode
		if c := strings.Fields(line); len(c) > 5 && c[4] != "0" && c[5] == "1" {
			n++
		}
	}
	return n
}

// writeCapture writes the datagrams that send sends into a pcap file, a millisecond apart.
func writeCapture(t *testing.T, ports int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sent.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-time.Minute)
	for i := range sentPackets {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(worldAddr), DstIP: net.ParseIP(victimAddr)}
		udp := &layers.UDP{SrcPort: 40000, DstPort: layers.UDPPort(40000 + i%ports)}
		if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		buffer := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4},
			ip, udp, gopacket.Payload(make([]byte, sentPayload)))
		if err != nil {
			t.Fatal(err)
		}
		info := gopacket.CaptureInfo{Timestamp: begin.Add(time.Duration(i) * time.Millisecond), CaptureLength: len(buffer.Bytes()), Length: len(buffer.Bytes())}
		if err := w.WritePacket(info, buffer.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSoftflowd has softflowd export what is in a file: all of it arrives.
func TestSoftflowd(t *testing.T) {
	need.Root(t)
	softflowd := need.Tool(t, "softflowd", "softflowd")
	for _, version := range []string{"1", "5", "9", "10"} {
		t.Run("version "+version, func(t *testing.T) {
			b := newBed(t)
			d := startDaemon(t, b.router, "", fmt.Sprintf(collectorConfig, "", noThreshold))
			runIn(t, b.router, softflowd, "-d", "-r", writeCapture(t, 20), "-n", "127.0.0.1:2055", "-v", version, "-c", "none", "-p", filepath.Join(t.TempDir(), "pid"))
			got := arrived(t, d, sentPackets).GetTotal()
			if got.GetPackets() != sentPackets || got.GetBytes() != sentBytes {
				t.Errorf("counted %d packets and %d bytes; want %d and %d", got.GetPackets(), got.GetBytes(), sentPackets, sentBytes)
			}
		})
	}
}

// runIn runs a program in a host's namespace to its end.
func runIn(t *testing.T, h *lab.Host, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.Namespace(), name}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// TestNfreplay has nfdump's collector store what softflowd exports, and its replay send that to Weir.
func TestNfreplay(t *testing.T) {
	need.Root(t)
	softflowd, nfcapd, nfreplay := need.Tool(t, "softflowd", "softflowd"), need.Tool(t, "nfcapd", "nfdump"), need.Tool(t, "nfreplay", "nfdump")
	b := newBed(t)
	d := startDaemon(t, b.router, "", fmt.Sprintf(collectorConfig, "", noThreshold))
	folder := t.TempDir()
	store := routers.Start(t, b.router, nil, nfcapd, "-w", folder, "-p", "9995", "-b", "127.0.0.1")
	routers.Until(t, "nfcapd listens", func() (bool, string) {
		_, bound := udpSocket(t, b.router, 9995)
		return bound, store.Output()
	})
	runIn(t, b.router, softflowd, "-d", "-r", writeCapture(t, 20), "-n", "127.0.0.1:9995", "-v", "9", "-c", "none", "-p", filepath.Join(t.TempDir(), "pid"))
	routers.Until(t, "nfcapd has taken all in", func() (bool, string) {
		waiting, _ := udpSocket(t, b.router, 9995)
		return waiting == 0, store.Output()
	})
	store.Stop(t)
	files, err := filepath.Glob(filepath.Join(folder, "nfcapd.2*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of nfcapd: %v, %v; want one\n%s", files, err, store.Output())
	}
	runIn(t, b.router, nfreplay, "-r", files[0], "-H", "127.0.0.1", "-p", "2055", "-v", "9")
	got := arrived(t, d, sentPackets).GetTotal()
	if got.GetPackets() != sentPackets || got.GetBytes() != sentBytes {
		t.Errorf("counted %d packets and %d bytes; want %d and %d", got.GetPackets(), got.GetBytes(), sentPackets, sentBytes)
	}
}

// udpSocket is how many bytes wait in the socket of a UDP port in a namespace, and whether there is one. The kernel's table is
// hexadecimal: the local address is its second column, the queues its fifth.
func udpSocket(t *testing.T, h *lab.Host, port uint16) (waiting uint64, bound bool) {
	t.Helper()
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/udp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		columns := strings.Fields(line)
		if len(columns) < 5 || !strings.HasSuffix(columns[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		_, in, _ := strings.Cut(columns[4], ":")
		if waiting, err = strconv.ParseUint(in, 16, 64); err != nil {
			t.Fatal(err)
		}
		return waiting, true
	}
	return 0, false
}

// TestFlowAttack floods a host with flow records only: the attack is found, told, and over when the records say so.
func TestFlowAttack(t *testing.T) {
	need.Root(t)
	b, script := newBed(t), newScript(t)
	d := startDaemon(t, b.router, script.path, fmt.Sprintf(collectorConfig, "", hostThreshold))
	var sequence uint32
	err := b.router.Do(func() error {
		c, err := net.Dial("udp", "127.0.0.1:2055")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 20 {
			if _, err := c.Write(v5Flood(sequence, 30, 100)); err != nil {
				return err
			}
			sequence += 30
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	attack := d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_ACTIVE)
	if attack.GetMetric() != weirpb.Metric_METRIC_PPS || attack.GetThreshold() != thresholdPPS || attack.GetCounted() <= thresholdPPS {
		t.Errorf("attack %v; want one of more than %d packets within a second", attack, thresholdPPS)
	}
	script.await(t, victimAddr, "ban")
	d.phase(t, 0, victimAddr, weirpb.Phase_PHASE_OVER)
	status := d.status(t)
	if status.GetFlows().GetRecords() != 600 || status.GetFlows().GetDatagrams() != 20 {
		t.Errorf("flow status %v; want 600 records in 20 datagrams", status.GetFlows())
	}
}

// v5Flood is a NetFlow v5 datagram about so many flows to the victim, each of so many packets that came within the last tenth of a second.
func v5Flood(sequence uint32, flows, packets int) []byte {
	b := binary.BigEndian.AppendUint16(nil, 5)
	b = binary.BigEndian.AppendUint16(b, uint16(flows))
	b = binary.BigEndian.AppendUint32(b, 1_000_000)
	b = binary.BigEndian.AppendUint32(b, uint32(time.Now().Unix()))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = append(b, 0, 0, 0, 0)
	for i := range flows {
		source := addr(worldAddr).As4()
		victim := addr(victimAddr).As4()
		b = append(b, source[:]...)
		b = append(b, victim[:]...)
		b = append(b, make([]byte, 8)...)
		b = binary.BigEndian.AppendUint32(b, uint32(packets))
		b = binary.BigEndian.AppendUint32(b, uint32(packets*100))
		b = binary.BigEndian.AppendUint32(b, 999_900)
		b = binary.BigEndian.AppendUint32(b, 1_000_000)
		b = binary.BigEndian.AppendUint16(b, uint16(1024+i))
		b = binary.BigEndian.AppendUint16(b, 80)
		b = append(b, 0, 0, 17, 0)
		b = append(b, make([]byte, 8)...)
	}
	return b
}
