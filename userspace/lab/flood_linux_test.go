package lab

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// counter is an XDP program that counts and drops.
func counter(t testing.TB, flags uint32) (*ebpf.Program, func() uint64) {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Apache-2.0", Flags: flags,
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("out"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := prog.Close(); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return prog, func() uint64 {
		var n uint64
		if err := m.Lookup(uint32(0), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

func openFlood(t testing.TB, opts FloodOptions) *Flood {
	t.Helper()
	f, err := NewFlood(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestFloodReachesXDP(t *testing.T) {
	l := openLab(t)
	a, b := pair(t, l)
	prog, received := counter(t, 0)
	err := b.Do(func() error {
		index, err := b.index("eth0")
		if err != nil {
			return err
		}
		attached, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
		if err != nil {
			return err
		}
		t.Cleanup(func() {
			if err := attached.Close(); err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f := openFlood(t, FloodOptions{
		Frame: frame4(), Host: a, Interface: "eth0", SrcPorts: 0xffff,
		Sources: Addresses{Random, netip.MustParsePrefix("198.18.0.0/15")},
	})
	if first, err := f.FirstPacket(); err != nil || !first.IsZero() {
		t.Errorf("first packet at %v, %v before any", first, err)
	}
	started := time.Now()
	sent, err := f.Run(t.Context(), 0, 100_000)
	if err != nil || sent != 100_000 {
		t.Fatalf("sent %d, %v; want 100000", sent, err)
	}
	// On a busy machine the receiver's ring runs over; what it lost is the sender's to count. The stack's multicast listener
	// reports come on top of the flood.
	until(t, "what was sent to arrive or be lost", func() bool {
		s, err := a.Stats("eth0")
		if err != nil {
			t.Fatal(err)
		}
		return received() > 0 && received()+s.TxDropped >= sent
	})
	if first, err := f.FirstPacket(); err != nil || first.Before(started) || first.After(time.Now()) {
		t.Errorf("first packet at %v, %v; want after %v", first, err, started)
	}
	// Paced: exactly the limit, the sum over runs is kept.
	if sent, err = f.Run(t.Context(), 50_000, 1000); err != nil || sent != 1000 {
		t.Errorf("sent %d, %v; want 1000", sent, err)
	}
	if total, err := f.Sent(); err != nil || total != 101_000 {
		t.Errorf("sent %d in all, %v; want 101000", total, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if sent, err = f.Run(ctx, 0, 0); err != nil || sent != 0 {
		t.Errorf("sent %d, %v under an ended context; want none", sent, err)
	}
}

// capture opens a packet socket on the host's interface.
func capture(t *testing.T, h *Host, ifname string) int {
	t.Helper()
	fd := -1
	err := h.Do(func() (err error) {
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		index, err := h.index(ifname)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	})
	return fd
}

// TestFloodPackets looks at the packets themselves: decodable, checksums right, addresses and ports out of what was asked for.
func TestFloodPackets(t *testing.T) {
	sweep4 := func(n int) (want []string) {
		for i := range n {
			want = append(want, netip.AddrFrom4([4]byte{203, 0, 113, byte(i % 256)}).String())
		}
		return want
	}
	tests := []struct {
		name     string
		frame    func() Frame
		sources  Addresses
		dsts     Addresses
		layers   []string
		wantDsts []string // nil: random
	}{
		{"udp", frame4, Addresses{Random, netip.MustParsePrefix("198.18.0.0/15")}, Addresses{Sweep, netip.MustParsePrefix("203.0.113.0/24")},
			[]string{"Ethernet", "IPv4", "UDP", "Payload"}, sweep4(300)},
		{"syn", func() Frame {
			f := frame4()
			f.Protocol, f.TCPFlags, f.Length = traffic.ProtoTCP, traffic.FlagSYN, 61
			return f
		}, Addresses{Random, netip.MustParsePrefix("198.18.0.0/15")}, Addresses{Random, netip.MustParsePrefix("203.0.113.0/24")},
			[]string{"Ethernet", "IPv4", "TCP", "Payload"}, nil},
		{"icmp", func() Frame {
			f := frame4()
			f.Protocol = traffic.ProtoICMP
			return f
		}, Addresses{}, Addresses{Sweep, netip.MustParsePrefix("203.0.113.0/24")},
			[]string{"Ethernet", "IPv4", "ICMPv4", "Payload"}, sweep4(300)},
		{"fragments", func() Frame {
			f := frame4()
			f.Fragment = traffic.LaterFragment
			return f
		}, Addresses{}, Addresses{Sweep, netip.MustParsePrefix("203.0.113.0/24")},
			[]string{"Ethernet", "IPv4", "Fragment"}, sweep4(300)},
		{"udp over IPv6", func() Frame {
			f := frame6()
			f.Length = 300
			return f
		}, Addresses{Random, netip.MustParsePrefix("2001:db8:1::/48")}, Addresses{Random, netip.MustParsePrefix("2001:db8:2::/64")},
			[]string{"Ethernet", "IPv6", "UDP", "Payload"}, nil},
		{"icmpv6", func() Frame {
			f := frame6()
			f.Protocol = traffic.ProtoICMPv6
			return f
		}, Addresses{Random, netip.MustParsePrefix("2001:db8:1::/48")}, Addresses{Random, netip.MustParsePrefix("2001:db8:2::/64")},
			[]string{"Ethernet", "IPv6", "ICMPv6", "ICMPv6Echo"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := openLab(t)
			a, b := pair(t, l)
			fd := capture(t, b, "eth0")
			f := openFlood(t, FloodOptions{
				Frame: tt.frame(), Host: a, Interface: "eth0", Sources: tt.sources, Destinations: tt.dsts, SrcPorts: 0xffff, DstPorts: 0x00ff,
			})
			if sent, err := f.Run(t.Context(), 0, 300); err != nil || sent != 300 {
				t.Fatalf("sent %d, %v; want 300", sent, err)
			}
			template := tt.frame()
			length := max(template.Length, FrameBytesMin)
			if plain, err := template.Bytes(); err == nil {
				length = len(plain)
			}
			var got []decoded
			buffer := make([]byte, 4096)
			for len(got) < 300 {
				n, _, err := unix.Recvfrom(fd, buffer, 0)
				if err != nil {
					t.Fatalf("after %d packets: %v", len(got), err)
				}
				if string(buffer[6:12]) == string(mac1) && n == length && buffer[0] == mac2[0] {
					got = append(got, decode(t, buffer[:n]))
				}
			}
			checkPackets(t, got, tt.layers, tt.sources, tt.dsts, tt.wantDsts)
		})
	}
}

func checkPackets(t *testing.T, got []decoded, layers []string, sources, dsts Addresses, wantDsts []string) {
	t.Helper()
	distinct := map[string]bool{}
	for i, d := range got {
		if diff := cmp.Diff(d.Layers, layers); diff != "" || d.Error != "" {
			t.Fatalf("packet %d: error %q, layers (-got +want):\n%s", i, d.Error, diff)
		}
		if sources.Prefix.IsValid() && !sources.Prefix.Contains(netip.MustParseAddr(d.Src)) {
			t.Fatalf("packet %d comes from %s, outside of %s", i, d.Src, sources.Prefix)
		}
		if !dsts.Prefix.Contains(netip.MustParseAddr(d.Dst)) {
			t.Fatalf("packet %d goes to %s, outside of %s", i, d.Dst, dsts.Prefix)
		}
		if wantDsts != nil && d.Dst != wantDsts[i] {
			t.Fatalf("packet %d goes to %s, want %s", i, d.Dst, wantDsts[i])
		}
		distinct[d.Src+d.Dst] = true
	}
	if len(distinct) < 250 {
		t.Errorf("only %d of 300 packets differ in their addresses", len(distinct))
	}
}

func TestFloodBench(t *testing.T) {
	need.Root(t)
	f := openFlood(t, FloodOptions{Frame: frame4(), Destinations: Addresses{Random, netip.MustParsePrefix("10.0.0.0/16")}})
	for _, tt := range []struct {
		name  string
		flags uint32
	}{{"linear", 0}, {"multi-buffer", hasFrags}, {"linear again", 0}} {
		prog, received := counter(t, tt.flags)
		ns, err := f.Bench(prog, 10_000)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := received(); got < 10_000 || ns <= 0 {
			t.Errorf("%s: %d packets in %v ns each, want at least 10000", tt.name, got, ns)
		}
	}
	if _, err := f.Run(t.Context(), 0, 1); err == nil {
		t.Error("a benchmark's flood was run without an interface")
	}
}

func TestFloodRefuses(t *testing.T) {
	for name, mutate := range map[string]func(*FloodOptions){
		"an interface without host":     func(o *FloodOptions) { o.Interface = "eth0" },
		"a prefix of the other family":  func(o *FloodOptions) { o.Sources = Addresses{Random, netip.MustParsePrefix("2001:db8::/32")} },
		"a spread that is none":         func(o *FloodOptions) { o.Destinations.Spread = 9 },
		"a frame without addresses":     func(o *FloodOptions) { o.Frame.Src, o.Frame.Dst = netip.Addr{}, netip.Addr{} },
		"a random spread over no range": func(o *FloodOptions) { o.Sources.Spread = Random },
	} {
		opts := FloodOptions{Frame: frame4()}
		mutate(&opts)
		if _, err := NewFlood(opts); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func BenchmarkFloodXDP(b *testing.B) {
	l := openLab(b)
	x, y := pair(b, l)
	prog, _ := counter(b, 0)
	if err := y.Do(func() error {
		index, err := y.index("eth0")
		if err != nil {
			return err
		}
		attached, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: index, Flags: link.XDPDriverMode})
		if err != nil {
			return err
		}
		b.Cleanup(func() {
			if err := attached.Close(); err != nil {
				b.Error(err)
			}
		})
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	f := openFlood(b, FloodOptions{Frame: frame4(), Host: x, Interface: "eth0", SrcPorts: 0xffff})
	b.ResetTimer()
	if _, err := f.Run(b.Context(), 0, uint64(b.N)); err != nil {
		b.Fatal(err)
	}
}
