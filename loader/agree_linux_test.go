package loader

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/userspace/packet"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// parsed is what a parser made of a frame.
type parsed struct {
	Reason           traffic.Reason
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Protocol, Flags  uint8
	Fragment         bool
	Anomaly          traffic.Anomaly
}

// parsers are both parsers with the same settings: the kernel's is read by what the program leaves behind.
type parsers struct {
	plane *DataPlane
	prog  *ebpf.Program
	user  *packet.Parser
}

func newParsers(t testing.TB, tunnels traffic.Tunnels) parsers {
	t.Helper()
	need.Root(t)
	user, err := packet.NewParser(tunnels)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(Plan{Locate4: make([]uint32, 1<<16), Slots: 1, DenseSlots: 1, Tunnels: tunnels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	prog, err := d.XDP(Host)
	if err != nil {
		t.Fatal(err)
	}
	return parsers{d, prog, user}
}

func (k parsers) inKernel(t testing.TB, frame []byte) parsed {
	t.Helper()
	before := k.plane.Counters()
	inHand := k.plane.maps["in_hand"]
	for cpu := range uint32(k.plane.cpus) {
		if err := inHand.Put(cpu, weirPacket{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.prog.Run(&ebpf.RunOptions{Data: frame}); err != nil {
		t.Fatalf("run on % x: %v", frame, err)
	}
	var p weirPacket
	for cpu := uint32(0); p.Packets == 0; cpu++ {
		if err := inHand.Lookup(cpu, &p); err != nil {
			t.Fatalf("no CPU has seen the packet: %v", err)
		}
	}
	out := parsed{Reason: leftBy(t, before, k.plane.Counters())}
	if out.Reason != traffic.ReasonOther { // the networks are none, so this is what a good packet leaves by
		return out
	}
	out.Reason = traffic.ReasonOK
	if p.Family == 1 {
		out.Src, out.Dst = addr4(p.Source4), addr4(p.Destination4)
	} else {
		out.Src, out.Dst = prefixOf(p.Source, 128).Addr(), prefixOf(p.Destination, 128).Addr()
		if out.Src.Is4() {
			out.Src = netip.AddrFrom16(out.Src.As16())
		}
		if out.Dst.Is4() {
			out.Dst = netip.AddrFrom16(out.Dst.As16())
		}
	}
	out.SrcPort, out.DstPort, out.Protocol, out.Flags = p.SourcePort, p.DestinationPort, p.Protocol, p.TcpFlags
	out.Fragment, out.Anomaly = p.Fragment != 0, traffic.Anomaly(p.Anomaly)
	return out
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

// leftBy is the one reason that was counted in between.
func leftBy(t testing.TB, before, after Counters) traffic.Reason {
	t.Helper()
	var left []traffic.Reason
	for family := range after.Exits {
		for reason := range after.Exits[family] {
			if n := after.Exits[family][reason].Packets - before.Exits[family][reason].Packets; n == 1 {
				left = append(left, traffic.Reason(reason))
			} else if n != 0 {
				t.Fatalf("one packet was counted %d times as %s", n, traffic.Reason(reason))
			}
		}
	}
	if len(left) != 1 {
		t.Fatalf("the packet left for the reasons %v, want exactly one", left)
	}
	return left[0]
}

func (k parsers) inUserSpace(frame []byte) parsed {
	var p traffic.Packet
	out := parsed{Reason: k.user.Parse(frame, uint32(len(frame)), &p)}
	if out.Reason != traffic.ReasonOK {
		return out
	}
	out.Src, out.Dst, out.SrcPort, out.DstPort = p.Src, p.Dst, p.SrcPort, p.DstPort
	out.Protocol, out.Flags, out.Fragment, out.Anomaly = p.Protocol, p.TCPFlags, p.Fragment != traffic.Whole, p.Anomaly
	return out
}

func (k parsers) agree(t testing.TB, frame []byte) {
	t.Helper()
	got, want := k.inKernel(t, frame), k.inUserSpace(frame)
	if diff := cmp.Diff(got, want, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("XDP and user space disagree on % x (-xdp +user space):\n%s", frame, diff)
	}
}

func seeds() [][]byte {
	nd := pt.Set(pt.ICMP6().Bytes(), 54, 135)
	return [][]byte{
		pt.UDP4().Bytes(), pt.TCP4().Bytes(), pt.ICMP4().Bytes(), pt.UDP6().Bytes(), pt.TCP6().Bytes(), pt.ICMP6().Bytes(), nd,
		pt.UDP4(pt.VLAN(pt.TypeVLAN, 5), pt.VLAN(pt.TypeQinQ, 6), pt.VLAN(pt.TypeQinQOld, 7)).Bytes(),
		pt.UDP4(pt.VLAN(pt.TypeVLAN, 5), pt.VLAN(pt.TypeVLAN, 6), pt.VLAN(pt.TypeVLAN, 7), pt.VLAN(pt.TypeVLAN, 8)).Bytes(),
		pt.UDP6(pt.MPLS(8)).Bytes(), pt.UDP4(pt.MPLS(9)).Bytes(), pt.UDP4(pt.Options(40)).Bytes(),
		pt.UDP4(pt.Fragmented4(pt.MoreFragments)).Bytes(), pt.UDP4(pt.Fragmented4(99)).Bytes(),
		pt.UDP6(pt.Fragmented6(0, true)).Bytes(), pt.UDP6(pt.Fragmented6(9, false)).Bytes(), pt.UDP6(pt.Fragmented6(0, false)).Bytes(),
		pt.TCP6(pt.Extended(pt.HopByHop, 1, 16), pt.Extended(pt.Routing, 2, 24), pt.Extended(pt.AH, 1, 12), pt.Extended(pt.Mobility, 1, 8)).Bytes(),
		pt.UDP6(pt.Extended(pt.Destination, 8, 8)).Bytes(), pt.UDP6(pt.Extended(pt.Shim6, 9, 8)).Bytes(),
		pt.UDP6(pt.Extended(pt.AH, 1, 1028)).Bytes(), pt.UDP4(pt.Ethertype(pt.TypeLLDP)).Bytes(), pt.UDP4(pt.Ethertype(pt.TypeRARP)).Bytes(),
	}
}

// shortest is what BPF_PROG_TEST_RUN takes: an Ethernet header. Shorter frames cannot reach XDP either.
const shortest = 14

// Every seed, cut at every length, is the same to both parsers.
func TestParsersAgree(t *testing.T) {
	newParsers(t, traffic.Tunnels{}).agreeOnCuts(t, seeds())
}

func (k parsers) agreeOnCuts(t *testing.T, seeds [][]byte) {
	t.Helper()
	step := 1
	if testing.Short() { // what a cut does is the same under every kernel
		step = 8
	}
	for i, seed := range seeds {
		for n := len(seed); n >= shortest; n -= step {
			k.agree(t, pt.Cut(seed, n))
		}
		if step > 1 {
			k.agree(t, pt.Cut(seed, shortest+i%max(1, min(step, len(seed)-shortest))))
		}
	}
}

// Frames with random bytes changed are the same to both parsers; 20,000 of them, always the same ones, or a tenth where time is short.
func TestParsersAgreeOnDamage(t *testing.T) {
	newParsers(t, traffic.Tunnels{}).agreeOnDamage(t, seeds(), 20_000)
}

func (k parsers) agreeOnDamage(t *testing.T, seeds [][]byte, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 11))
	if testing.Short() {
		n /= 10
	}
	for range n {
		frame := pt.Set(seeds[random.IntN(len(seeds))], 0)
		for range 1 + random.IntN(4) {
			frame[12+random.IntN(len(frame)-12)] = byte(random.Uint32())
		}
		k.agree(t, frame[:shortest+random.IntN(len(frame)-shortest+1)])
		if t.Failed() {
			return
		}
	}
}

func FuzzParsersAgree(f *testing.F) {
	plain, outer, inner := newParsers(f, traffic.Tunnels{}), newParsers(f, pt.AllTunnels(false, 2)), newParsers(f, pt.AllTunnels(true, 8))
	for _, seed := range append(seeds(), tunnelSeeds()...) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < shortest || len(frame) > 3000 {
			t.Skip()
		}
		plain.agree(t, frame)
		outer.agree(t, frame)
		inner.agree(t, frame)
	})
}
