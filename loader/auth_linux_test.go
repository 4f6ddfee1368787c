package loader_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

const xdpTX = 3

func loadAuth(t testing.TB) plane {
	t.Helper()
	return loadPlan(t, func(p *loader.Plan) { p.Authenticate = 4096 })
}

func (p plane) arm(t testing.TB, target string, a loader.Authentication) {
	t.Helper()
	if a.Until == 0 {
		a.Until = time.Hour
	}
	if err := p.SetAuthentication(netip.MustParsePrefix(target), a); err != nil {
		t.Fatal(err)
	}
}

func (p plane) authStats(t testing.TB) loader.AuthStats {
	t.Helper()
	stats, err := p.AuthStats()
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// give returns the verdict on a frame, and what the program has made of it.
func (p plane) give(t testing.TB, role loader.Role, frame []byte) (uint32, []byte) {
	t.Helper()
	prog, err := p.XDP(role)
	if err != nil {
		t.Fatal(err)
	}
	opts := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+512)}
	ret, err := prog.Run(opts)
	if err != nil {
		t.Fatal(err)
	}
	return ret, opts.DataOut
}

// numbered gives a frame's TCP header a sequence number.
func numbered(f pt.Frame, number uint32) []byte {
	b := f.Bytes()
	binary.BigEndian.PutUint32(b[len(b)-len(f.Payload)-16:], number)
	return b
}

// challenged sends a SYN and returns the cookie that it is answered with.
func (p plane) challenged(t testing.TB, syn pt.Frame, number uint32) uint32 {
	t.Helper()
	verdict, out := p.give(t, loader.Host, numbered(syn, number))
	if verdict != xdpTX {
		t.Fatalf("verdict %d on a SYN, want XDP_TX", verdict)
	}
	return binary.BigEndian.Uint32(out[len(syn.Bytes())-len(syn.Payload)-20+8:])
}

// sum16 is the sum of RFC 1071, not yet complemented.
func sum16(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	sum = sum&0xffff + sum>>16
	return uint16(sum + sum>>16)
}

// A SYN is answered by exactly the frame that RFC 9293 has a TCP answer with a RST.
func TestChallenge(t *testing.T) {
	plain := func(f *pt.Frame) { f.Payload = nil }
	p := loadAuth(t)
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthSYN})
	p.arm(t, "2001:db8:2::7/128", loader.Authentication{Mode: loader.AuthSYN})
	for _, tt := range []struct {
		name string
		role loader.Role
		syn  pt.Frame
	}{
		{"ipv4", loader.Host, pt.TCP4(plain)},
		{"ipv4, wire", loader.Wire, pt.TCP4(plain)},
		{"ipv4, with data", loader.Host, pt.TCP4(pt.Payload(1000))},
		{"ipv4, one tag", loader.Host, pt.TCP4(plain, pt.VLAN(pt.TypeVLAN, 5))},
		{"ipv4, one tag, with data", loader.Host, pt.TCP4(pt.VLAN(pt.TypeVLAN, 5), pt.Payload(33))},
		{"ipv4, three tags", loader.Host, pt.TCP4(pt.VLAN(pt.TypeVLAN, 5), pt.VLAN(pt.TypeQinQ, 6), pt.VLAN(pt.TypeQinQOld, 7))},
		{"ipv4, ecn", loader.Host, pt.TCP4(plain, pt.Flags(traffic.FlagSYN|0xc0))},
		{"ipv6", loader.Host, pt.TCP6(plain)},
		{"ipv6, wire, two tags, with data", loader.Wire, pt.TCP6(pt.Payload(500), pt.VLAN(pt.TypeQinQ, 5), pt.VLAN(pt.TypeVLAN, 6))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.Flip()
			before := p.moved()
			frame := numbered(tt.syn, 1000)
			verdict, out := p.give(t, tt.role, frame)
			if verdict != xdpTX {
				t.Fatalf("verdict %d, want XDP_TX", verdict)
			}
			if len(out) > len(frame) {
				t.Errorf("%d bytes are answered by %d", len(frame), len(out))
			}
			if diff := cmp.Diff(out, challengeTo(tt.syn, out)); diff != "" {
				t.Errorf("answer (-got +want):\n%s", diff)
			}
			family, host := 4, host4
			if tt.syn.Src.Is6() {
				family, host = 6, host6
			}
			want := with(exit(traffic.ReasonChallenged, family, frame), hostMoved(host, traffic.Incoming, uint64(len(frame)), "TCP", "TCPSYN", "Dropped"))
			if diff := cmp.Diff(since(before, p.moved()), want); diff != "" {
				t.Errorf("counters (-got +want):\n%s", diff)
			}
		})
	}
}

// challengeTo is what a SYN is to be answered with; the sequence numbers, which are random, are those of got.
func challengeTo(syn pt.Frame, got []byte) []byte {
	f := syn
	f.Src, f.Dst, f.SrcPort, f.DstPort = syn.Dst, syn.Src, syn.DstPort, syn.SrcPort
	f.Payload, f.TCPFlags, f.Fragment = nil, traffic.FlagSYN|traffic.FlagACK, pt.DontFragment
	b := f.Bytes()
	copy(b, syn.Bytes()[6:12])
	copy(b[6:], syn.Bytes()[:6])
	tcp := b[len(b)-20:]
	if len(got) >= len(b) {
		copy(tcp[4:12], got[len(b)-16:])
	}
	tcp[14], tcp[15] = 0xff, 0xff
	pseudo := append(append(f.Src.AsSlice(), f.Dst.AsSlice()...), 0, traffic.ProtoTCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], ^sum16(pseudo, tcp))
	if n := min(len(syn.Bytes()), 60) - len(b); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	return b
}

// What answers a challenge rightly is proven, whatever it sends from then on; what does not, is not.
func TestProof(t *testing.T) {
	rst := pt.Flags(traffic.FlagRST)
	for _, family := range []struct {
		name           string
		tcp            func(...pt.Mutation) pt.Frame
		same, stranger string // another address that one proof is good for, and one that it is not
	}{
		{"ipv4", pt.TCP4, "192.0.2.1", "192.0.2.2"},
		{"ipv6", pt.TCP6, "2001:db8:1::2", "2001:db8:1:1::1"},
	} {
		t.Run(family.name, func(t *testing.T) {
			p := loadAuth(t)
			for _, host := range []string{"198.51.100.7/32", "198.51.100.8/32", "2001:db8:2::7/128", "2001:db8:2::8/128"} {
				p.arm(t, host, loader.Authentication{Mode: loader.AuthSYN})
			}
			syn := family.tcp()
			number := p.challenged(t, syn, 1000)
			want := func(what string, frame []byte, verdict uint32) {
				t.Helper()
				if got, _ := p.give(t, loader.Host, frame); got != verdict {
					t.Errorf("%s: verdict %d, want %d", what, got, verdict)
				}
			}
			want("a RST with another number", numbered(family.tcp(rst), number+1), xdpPass)
			want("the same from another port", numbered(family.tcp(rst, func(f *pt.Frame) { f.SrcPort++ }), number), xdpPass)
			want("the same to another port", numbered(family.tcp(rst, pt.Port(80)), number), xdpPass)
			want("the same from another address", numbered(family.tcp(rst, source(family.stranger)), number), xdpPass)
			want("a SYN before the proof", numbered(syn, 1000), xdpTX)
			if stats := p.authStats(t); stats.Sources != 0 || stats.Proofs != 0 {
				t.Errorf("statistics %+v before any proof", stats)
			}
			want("the answer", numbered(family.tcp(rst), number), xdpDrop)
			want("a SYN after the proof", numbered(syn, 1000), xdpPass)
			want("one from what shares the proof", numbered(family.tcp(source(family.same)), 7), xdpPass)
			want("one from another source", numbered(family.tcp(source(family.stranger)), 7), xdpTX)
			other := family.tcp(func(f *pt.Frame) { f.Dst = f.Dst.Next() })
			want("one to another host under authentication", numbered(other, 7), xdpPass)
			want("the answer again", numbered(family.tcp(rst), number), xdpDrop)
			diff := cmp.Diff(p.authStats(t), loader.AuthStats{Hosts: 4, Sources: 1, Room: 4096, Challenged: 3, Proofs: 1})
			if diff != "" {
				t.Errorf("statistics (-got +want):\n%s", diff)
			}
		})
	}
}

func source(a string) pt.Mutation { return func(f *pt.Frame) { f.Src = netip.MustParseAddr(a) } }

// A cookie that would acknowledge the SYN, and so not be answered by a RST, is never sent; what is sent instead is as good a proof.
func TestCookieAcknowledgesNothing(t *testing.T) {
	p := loadAuth(t)
	p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: loader.AuthSYN})
	number := p.challenged(t, pt.TCP4(), 0)
	for _, ahead := range []uint32{0, 1, 2, 1460, 65535} {
		got := p.challenged(t, pt.TCP4(), number-ahead)
		if got-(number-ahead) <= 1<<17 {
			t.Errorf("a SYN with number %d is answered with %d, which is %d ahead", number-ahead, got, got-(number-ahead))
		}
		before := p.Counters().Exits[1][traffic.ReasonProven].Packets
		p.give(t, loader.Host, numbered(pt.TCP4(pt.Flags(traffic.FlagRST)), got))
		if p.Counters().Exits[1][traffic.ReasonProven].Packets != before+1 {
			t.Errorf("number %d is no proof", got)
		}
		p.ForgetProofs()
	}
}

// Each kind of packet of a source that is not proven, in each mode: by whom it leaves.
func TestAuthenticationModes(t *testing.T) {
	syn, ack, fin, rst := uint8(traffic.FlagSYN), uint8(traffic.FlagACK), uint8(traffic.FlagFIN), uint8(traffic.FlagRST)
	p := loadAuth(t)
	const in, chal, un = traffic.ReasonIncoming, traffic.ReasonChallenged, traffic.ReasonUnproven
	for _, tt := range []struct {
		name              string
		frame             []byte
		syn, replies, all traffic.Reason
	}{
		{"syn", pt.TCP4().Bytes(), chal, chal, chal},
		{"syn-ack", pt.TCP4(pt.Flags(syn | ack)).Bytes(), in, un, un},
		{"ack", pt.TCP4(pt.Flags(ack)).Bytes(), in, in, un},
		{"fin", pt.TCP4(pt.Flags(fin)).Bytes(), in, in, un},
		{"rst", pt.TCP4(pt.Flags(rst)).Bytes(), in, in, un},
		{"rst-ack", pt.TCP4(pt.Flags(rst | ack)).Bytes(), in, in, un},
		{"no flags", pt.TCP4(pt.Flags(0)).Bytes(), in, in, un},
		{"syn-fin", pt.TCP4(pt.Flags(syn | fin)).Bytes(), un, un, un},
		{"syn-rst", pt.TCP4(pt.Flags(syn | rst)).Bytes(), un, un, un},
		{"all flags", pt.TCP4(pt.Flags(0xff)).Bytes(), in, un, un},
		{"syn with ip options", pt.TCP4(pt.Options(8)).Bytes(), un, un, un},
		{"syn in a first fragment", pt.TCP4(pt.Fragmented4(pt.MoreFragments)).Bytes(), un, un, un},
		{"a later fragment", pt.TCP4(pt.Fragmented4(185)).Bytes(), in, in, un},
		{"cut off", pt.Cut(pt.TCP4().Bytes(), 14+20+13), in, in, un},
		{"syn behind labels", pt.TCP4(pt.MPLS(1)).Bytes(), in, in, in},
		{"udp", pt.UDP4().Bytes(), in, in, in},
		{"ipv6 syn", pt.TCP6().Bytes(), chal, chal, chal},
		{"ipv6 syn behind an extension header", pt.TCP6(pt.Extended(pt.Destination, 1, 8)).Bytes(), un, un, un},
		{"ipv6 ack", pt.TCP6(pt.Flags(ack)).Bytes(), in, in, un},
		{"syn to another host", pt.TCP4(func(f *pt.Frame) { f.Dst = netip.MustParseAddr("198.51.100.9") }).Bytes(), in, in, in},
	} {
		for mode, want := range map[loader.AuthMode]traffic.Reason{loader.AuthOff: in, loader.AuthSYN: tt.syn, loader.AuthReplies: tt.replies, loader.AuthAll: tt.all} {
			t.Run(fmt.Sprintf("%s, %s", tt.name, mode), func(t *testing.T) {
				p.arm(t, "198.51.100.7/32", loader.Authentication{Mode: mode})
				p.arm(t, "2001:db8:2::7/128", loader.Authentication{Mode: mode})
				for role, verdict := range map[loader.Role]map[traffic.Reason]uint32{
					loader.Host:   {in: xdpPass, chal: xdpTX, un: xdpDrop},
					loader.Mirror: {in: xdpDrop, chal: xdpDrop, un: xdpDrop},
				} {
					before := p.Counters().Exits
					if got, _ := p.give(t, role, tt.frame); got != verdict[want] {
						t.Errorf("%s: verdict %d, want %d", role, got, verdict[want])
					}
					want := want
					if role == loader.Mirror {
						want = in
					}
					after := p.Counters().Exits
					if after[1][want].Packets+after[2][want].Packets != before[1][want].Packets+before[2][want].Packets+1 {
						t.Errorf("%s: it did not leave as %s", role, want)
					}
				}
			})
		}
	}
}
