package investigate_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/capture/pcapfile"
	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// to has a frame go to the victim.
func to(f *packettest.Frame) {
	f.Dst = netip.MustParseAddr(victim4)
	if f.Src.Is6() {
		f.Dst = netip.MustParseAddr(victim6)
	}
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// direct are the floods that need no server, as the tools of attackers make them: sources and ports by chance.
func direct() []flood {
	const fin, syn, rst, psh, ack, urg = traffic.FlagFIN, traffic.FlagSYN, traffic.FlagRST, traffic.FlagPSH, traffic.FlagACK, traffic.FlagURG
	spread := func(random *rand.Rand) packettest.Mutation {
		return func(f *packettest.Frame) { f.Src, f.SrcPort = public(random), uint16(random.Uint32()) }
	}
	tcp := func(flags uint8, payload int) func(int, *rand.Rand) []byte {
		return func(_ int, r *rand.Rand) []byte {
			return packettest.TCP4(spread(r), to, packettest.Flags(flags), func(f *packettest.Frame) { f.Payload = noise(r, payload) }).Bytes()
		}
	}
	udp := func(port uint16, payload func(i int, r *rand.Rand) []byte) func(int, *rand.Rand) []byte {
		return func(i int, r *rand.Rand) []byte {
			return packettest.UDP4(spread(r), to, func(f *packettest.Frame) { f.DstPort, f.Payload = port, payload(i, r) }).Bytes()
		}
	}
	upper := func(protocol uint8) func(int, *rand.Rand) []byte {
		return func(_ int, r *rand.Rand) []byte {
			return packettest.UDP4(packettest.Upper(protocol), to, packettest.Payload(200+r.IntN(900)), func(f *packettest.Frame) { f.Src = public(r) }).Bytes()
		}
	}
	return []flood{
		{"SYN", analyze.SYNFlood, tcp(syn, 0)},
		{"SYN with ECN", analyze.SYNFlood, tcp(syn|traffic.FlagECE|traffic.FlagCWR, 0)},
		{"SYN with payload", analyze.SYNFlood, tcp(syn, 900)},
		{"SYN and ACK", analyze.SYNACKReflection, tcp(syn|ack, 0)},
		{"ACK", analyze.ACKFlood, tcp(ack, 0)},
		{"ACK with payload", analyze.ACKFlood, tcp(psh|ack, 100)},
		{"RST", analyze.RSTFlood, tcp(rst, 0)},
		{"FIN", analyze.FINFlood, tcp(fin|ack, 0)},
		{"xmas", analyze.OddFlagsFlood, tcp(fin|psh|urg, 0)},
		{"null", analyze.OddFlagsFlood, tcp(0, 0)},
		{"all flags", analyze.AllFlagsFlood, tcp(0xff, 0)},
		{"random payload", analyze.UDPRandomFlood, udp(80, func(_ int, r *rand.Rand) []byte { return noise(r, 100+r.IntN(900)) })},
		{"random payload to the game", analyze.UDPRandomFlood, udp(27015, func(_ int, r *rand.Rand) []byte { return noise(r, 1000) })},
		{"fixed payload", analyze.UDPFixedFlood, udp(27015, func(int, *rand.Rand) []byte { return slices.Repeat([]byte("A"), 64) })},
		{"fixed payload of any length", analyze.UDPFixedFlood, udp(9999, func(_ int, r *rand.Rand) []byte { return make([]byte, 20+r.IntN(500)) })},
		{"empty", analyze.UDPEmptyFlood, udp(27015, func(int, *rand.Rand) []byte { return nil })},
		{"echo requests", analyze.ICMPFlood, func(_ int, r *rand.Rand) []byte {
			return packettest.ICMP4(to, packettest.Payload(1000), func(f *packettest.Frame) { f.Src = public(r) }).Bytes()
		}},
		{"fragments", analyze.FragmentFlood, func(i int, r *rand.Rand) []byte {
			return packettest.UDP4(to, packettest.Fragmented4(uint16(1+i%180)|packettest.MoreFragments), packettest.Payload(1000), func(f *packettest.Frame) { f.Src = public(r) }).Bytes()
		}},
		{"GRE", analyze.GREFlood, upper(47)},
		{"ESP", analyze.ESPFlood, upper(50)},
		{"IP in IP", analyze.IPInIPFlood, upper(4)},
		{"other protocols", analyze.OtherProtocolFlood, func(i int, r *rand.Rand) []byte { return upper(uint8(200+i%50))(i, r) }},
		{"connections", analyze.ConnectionFlood, func(i int, _ *rand.Rand) []byte {
			// Half of the packets are samples: of each step there are two packets, one of which is.
			flags := []uint8{syn, ack, psh | ack, fin | ack}[i/2%4]
			return packettest.TCP4(to, packettest.Flags(flags), packettest.Payload(0), func(f *packettest.Frame) { f.Src, f.SrcPort = reflector(i/8%50), uint16(1024+i/8) }).Bytes()
		}},
	}
}

// direct6 are floods of IPv6.
func direct6() []flood {
	source := func(r *rand.Rand) packettest.Mutation {
		return func(f *packettest.Frame) {
			b := [16]byte{0: 0x2a, 1: 0x02, 2: byte(r.Uint32()), 3: byte(r.Uint32()), 15: byte(r.Uint32())}
			f.Src, f.SrcPort = netip.AddrFrom16(b), uint16(r.Uint32())
		}
	}
	return []flood{
		{"SYN", analyze.SYNFlood, func(_ int, r *rand.Rand) []byte {
			return packettest.TCP6(source(r), to, packettest.Payload(0)).Bytes()
		}},
		{"echo requests", analyze.ICMPFlood, func(_ int, r *rand.Rand) []byte {
			return packettest.ICMP6(source(r), to, packettest.Payload(1000)).Bytes()
		}},
		{"fragments", analyze.FragmentFlood, func(i int, r *rand.Rand) []byte {
			return packettest.UDP6(source(r), to, packettest.Fragmented6(uint16(1+i%100), true), packettest.Payload(900)).Bytes()
		}},
		{"broken headers", analyze.MalformedFlood, func(_ int, r *rand.Rand) []byte {
			return packettest.UDP6(source(r), to, packettest.Extended(packettest.Destination, 9, 8)).Bytes()
		}},
		{"random payload", analyze.UDPRandomFlood, func(_ int, r *rand.Rand) []byte {
			return packettest.UDP6(source(r), to, func(f *packettest.Frame) { f.DstPort, f.Payload = 80, noise(r, 700) }).Bytes()
		}},
	}
}

// TestFloodsBesideOrdinary: the same of floods that need no server, when they are half, most and nearly all of the traffic.
func TestFloodsBesideOrdinary(t *testing.T) {
	for _, host := range []struct {
		name   string
		floods []flood
	}{{victim4, direct()}, {victim6, direct6()}} {
		for _, scale := range []float64{0.2, 1, 3} {
			m := newMix(t, host.name, scale)
			for _, f := range host.floods {
				t.Run(f.name+" to "+host.name, func(t *testing.T) {
					is, fresh := m.attacked(t, &f, 2000)
					m.check(t, &f, is, fresh)
				})
			}
		}
	}
}

// recorded reads a capture of the folder beside the project, as frames to the victim.
func recorded(t *testing.T, file string) (frames [][]byte) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "attacks", file)
	if _, err := os.Stat(path); err != nil {
		t.Skip("no such capture beside the project")
	}
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		var f traffic.Frame
		if err := r.Next(&f); errors.Is(err, io.EOF) {
			return frames
		} else if err != nil {
			t.Fatal(err)
		}
		const destination = 14 + 16 // of IPv4 in Ethernet
		if len(f.Data) < destination+4 || f.Link != traffic.LinkEthernet || f.Data[12] != 8 || f.Data[13] != 0 || int(f.Length) != len(f.Data) {
			continue
		}
		frame := slices.Clone(f.Data)
		copy(frame[destination:], netip.MustParseAddr(victim4).AsSlice())
		frames = append(frames, frame)
	}
}

// TestCapturesBesideOrdinary: the same of recorded attacks.
func TestCapturesBesideOrdinary(t *testing.T) {
	for _, tt := range []struct{ file, class string }{
		{"amp.TCP.reflection.SYNACK.pcap", analyze.SYNACKReflection},
		{"amp.UDP.isakmp.pcap", "ike_amplification"},
		{"amp.UDP.snmp.src161.pcapng", "snmp_amplification"},
		{"pkt.TCP.synflood.spoofed.pcap", analyze.SYNFlood},
	} {
		t.Run(tt.file, func(t *testing.T) {
			frames := recorded(t, tt.file)
			// Weir may have been there for long, or since a moment ago.
			for _, known := range []time.Duration{attackAfter, 3 * time.Second, 1500 * time.Millisecond, 0} {
				m := newMix(t, victim4, 1)
				m.from = attackAfter - known
				f := flood{tt.file + ", beside what is known for " + known.String(), tt.class, func(i int, _ *rand.Rand) []byte { return frames[i%len(frames)] }}
				is, fresh := m.attacked(t, &f, min(2000, len(frames)/2))
				if known == 0 { // then nobody knows what the rest is
					f.class = is.Class
				}
				m.check(t, &f, is, fresh)
			}
		})
	}
}
