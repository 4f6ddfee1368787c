package loader_test

import (
	"iter"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

const (
	xdpDrop     = 1
	xdpPass     = 2
	xdpRedirect = 4
)

const (
	host4 = "198.51.100.7"
	host6 = "2001:db8:2::7"
)

// Every branch of the parser: packet in, verdict, and exactly the counters that moved.
func TestXDPCounts(t *testing.T) {
	in4 := func(f []byte, parts ...string) map[string]uint64 {
		return counted(host4, traffic.Incoming, f, 4, parts...)
	}
	in6 := func(f []byte, parts ...string) map[string]uint64 {
		return counted(host6, traffic.Incoming, f, 6, parts...)
	}
	from := func(src, dst string) pt.Mutation {
		return func(f *pt.Frame) { f.Src, f.Dst = netip.MustParseAddr(src), netip.MustParseAddr(dst) }
	}
	short := func(m map[string]uint64, a traffic.Anomaly) map[string]uint64 {
		m["anomaly "+a.String()] = 1
		return m
	}
	type row struct {
		name  string
		frame []byte
		want  func(frame []byte) map[string]uint64
	}
	reason := func(r traffic.Reason) func([]byte) map[string]uint64 {
		return func(f []byte) map[string]uint64 { return exit(r, 0, f) }
	}
	parts4 := func(parts ...string) func([]byte) map[string]uint64 {
		return func(f []byte) map[string]uint64 { return in4(f, parts...) }
	}
	parts6 := func(parts ...string) func([]byte) map[string]uint64 {
		return func(f []byte) map[string]uint64 { return in6(f, parts...) }
	}
	tags := func(n int) pt.Mutation {
		return func(f *pt.Frame) {
			for range n {
				pt.VLAN(pt.TypeQinQ, 7)(f)
			}
		}
	}
	rows := []row{
		{"udp4", pt.UDP4().Bytes(), parts4("UDP")},
		{"tcp4 syn", pt.TCP4().Bytes(), parts4("TCP", "TCPSYN")},
		{"tcp4 syn-ack", pt.TCP4(pt.Flags(traffic.FlagSYN | traffic.FlagACK)).Bytes(), parts4("TCP")},
		{"tcp4 ack", pt.TCP4(pt.Flags(traffic.FlagACK)).Bytes(), parts4("TCP")},
		{"icmp4", pt.ICMP4().Bytes(), parts4("ICMP")},
		{"icmp6 in ipv4 is no icmp", pt.UDP4(pt.Upper(traffic.ProtoICMPv6)).Bytes(), parts4()},
		{"esp4", pt.UDP4(pt.Upper(pt.ESP)).Bytes(), parts4()},
		{"options4", pt.UDP4(pt.Options(40)).Bytes(), parts4("UDP")},
		{"first fragment4", pt.UDP4(pt.Fragmented4(pt.MoreFragments)).Bytes(), parts4("UDP", "Fragment")},
		{"later fragment4", pt.UDP4(pt.Fragmented4(185)).Bytes(), parts4("UDP", "Fragment")},
		{"don't fragment", pt.UDP4(pt.Fragmented4(pt.DontFragment)).Bytes(), parts4("UDP")},
		{"one tag", pt.UDP4(pt.VLAN(pt.TypeVLAN, 5)).Bytes(), parts4("UDP")},
		{"three tags", pt.UDP4(pt.VLAN(pt.TypeVLAN, 5), pt.VLAN(pt.TypeQinQ, 6), pt.VLAN(pt.TypeQinQOld, 7)).Bytes(), parts4("UDP")},
		{"four tags", pt.UDP4(tags(4)).Bytes(), reason(traffic.ReasonVLANDepth)},
		{"one label", pt.UDP4(pt.MPLS(1)).Bytes(), parts4("UDP")},
		{"eight labels", pt.UDP6(pt.MPLS(8)).Bytes(), parts6("UDP")},
		{"nine labels", pt.UDP4(pt.MPLS(9)).Bytes(), reason(traffic.ReasonMPLSDepth)},
		{"tag and labels", pt.TCP6(pt.VLAN(pt.TypeVLAN, 5), pt.MPLS(2)).Bytes(), parts6("TCP", "TCPSYN")},
		{"jumbo", pt.UDP4(pt.Payload(3000)).Bytes(), parts4("UDP")},
		{"cut label", pt.Cut(pt.UDP4(pt.MPLS(2)).Bytes(), 14+6), reason(traffic.ReasonShortMPLS)},
		{"cut tag", pt.Cut(pt.UDP4(pt.VLAN(pt.TypeVLAN, 5), pt.VLAN(pt.TypeQinQ, 5)).Bytes(), 14+4+2), reason(traffic.ReasonShortVLAN)},
		{"arp", pt.UDP4(pt.Ethertype(pt.TypeARP)).Bytes(), reason(traffic.ReasonARP)},
		{"lldp", pt.UDP4(pt.Ethertype(pt.TypeLLDP)).Bytes(), reason(traffic.ReasonNotIP)},
		{"cut ipv4", pt.Cut(pt.UDP4().Bytes(), 14+19), reason(traffic.ReasonShortIPv4)},
		{"cut options", pt.Cut(pt.UDP4(pt.Options(40)).Bytes(), 14+59), reason(traffic.ReasonShortIPv4)},
		{"ipv4 with version 5", pt.Set(pt.UDP4().Bytes(), 14, 0x55), reason(traffic.ReasonBadIPv4)},
		{"ipv4 with header length 4", pt.Set(pt.UDP4().Bytes(), 14, 0x44), reason(traffic.ReasonBadIPv4)},
		{"ipv4 with total length 19", pt.Set(pt.UDP4().Bytes(), 16, 0, 19), reason(traffic.ReasonBadIPv4)},
		{"cut udp4", pt.Cut(pt.UDP4().Bytes(), 14+20+7), func(f []byte) map[string]uint64 {
			return short(in4(f, "UDP"), traffic.AnomalyShortTransport)
		}},
		{"cut tcp4", pt.Cut(pt.TCP4().Bytes(), 14+20+19), func(f []byte) map[string]uint64 {
			return short(in4(f, "TCP"), traffic.AnomalyShortTransport)
		}},
		{"udp6", pt.UDP6().Bytes(), parts6("UDP")},
		{"tcp6 syn", pt.TCP6().Bytes(), parts6("TCP", "TCPSYN")},
		{"icmp6", pt.ICMP6().Bytes(), parts6("ICMP")},
		{"icmp4 in ipv6 is no icmp", pt.UDP6(pt.Upper(traffic.ProtoICMP)).Bytes(), parts6()},
		{"cut ipv6", pt.Cut(pt.UDP6().Bytes(), 14+39), reason(traffic.ReasonShortIPv6)},
		{"ipv6 with version 4", pt.Set(pt.UDP6().Bytes(), 14, 0x40), reason(traffic.ReasonBadIPv6)},
		{"extensions", pt.UDP6(pt.Extended(pt.HopByHop, 1, 16), pt.Extended(pt.Routing, 1, 24), pt.Extended(pt.AH, 1, 12), pt.Extended(pt.Destination, 1, 8)).Bytes(), parts6("UDP")},
		{"eight extensions", pt.UDP6(pt.Extended(pt.Destination, 8, 8)).Bytes(), parts6("UDP")},
		{"nine extensions", pt.UDP6(pt.Extended(pt.Destination, 9, 8)).Bytes(), func(f []byte) map[string]uint64 {
			return short(in6(f), traffic.AnomalyExtensionDepth)
		}},
		{"cut extension", pt.Cut(pt.UDP6(pt.Extended(pt.Destination, 1, 64)).Bytes(), 14+40+63), func(f []byte) map[string]uint64 {
			return short(in6(f), traffic.AnomalyShortExtension)
		}},
		{"first fragment6", pt.UDP6(pt.Fragmented6(0, true)).Bytes(), parts6("UDP", "Fragment")},
		{"later fragment6", pt.UDP6(pt.Fragmented6(100, false)).Bytes(), parts6("UDP", "Fragment")},
		{"atomic fragment6", pt.UDP6(pt.Fragmented6(0, false)).Bytes(), parts6("UDP")},
		{"outgoing4", pt.UDP4(from(host4, "192.0.2.1")).Bytes(), func(f []byte) map[string]uint64 {
			return counted(host4, traffic.Outgoing, f, 4, "UDP")
		}},
		{"outgoing6", pt.UDP6(from(host6, "2001:db8:1::1")).Bytes(), func(f []byte) map[string]uint64 {
			return counted(host6, traffic.Outgoing, f, 6, "UDP")
		}},
		{"internal4", pt.UDP4(from("198.51.100.9", host4)).Bytes(), func(f []byte) map[string]uint64 {
			n := uint64(len(f))
			return with(exit(traffic.ReasonInternal, 4, f), hostMoved(host4, traffic.Incoming, n, "UDP"), hostMoved("198.51.100.9", traffic.Outgoing, n, "UDP"))
		}},
		{"internal6", pt.UDP6(from("2001:db8:2::9", host6)).Bytes(), func(f []byte) map[string]uint64 {
			n := uint64(len(f))
			return with(exit(traffic.ReasonInternal, 6, f), hostMoved(host6, traffic.Incoming, n, "UDP"), hostMoved("2001:db8:2::9", traffic.Outgoing, n, "UDP"))
		}},
		{"other4", pt.UDP4(from("192.0.2.1", "192.0.2.2")).Bytes(), func(f []byte) map[string]uint64 { return exit(traffic.ReasonOther, 4, f) }},
		{"other6", pt.UDP6(from("2001:db8:1::1", "2001:db8:3::1")).Bytes(), func(f []byte) map[string]uint64 { return exit(traffic.ReasonOther, 6, f) }},
		{"ipv4 beyond the budget", pt.UDP4(from("192.0.2.1", "10.1.2.3")).Bytes(), func(f []byte) map[string]uint64 {
			return counted("10.1.2.3", traffic.Incoming, f, 4, "UDP")
		}},
	}
	p := load(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			p.Flip() // every flow is new again
			before := p.moved()
			if got := p.xdp(t, loader.Host, r.frame); got != xdpPass {
				t.Errorf("verdict %d, want XDP_PASS", got)
			}
			if diff := cmp.Diff(since(before, p.moved()), r.want(r.frame)); diff != "" {
				t.Errorf("counters (-got +want):\n%s", diff)
			}
		})
	}
}

// since is what has moved between two readings.
func since(before, after map[string]uint64) map[string]uint64 {
	for name, n := range before {
		if after[name] -= n; after[name] == 0 {
			delete(after, name)
		}
	}
	return after
}

func one(slot uint32) iter.Seq[uint32] { return slices.Values([]uint32{slot}) }

func (p plane) ban(t *testing.T, host string, dir traffic.Direction, d time.Duration) {
	t.Helper()
	a := netip.MustParseAddr(host)
	slot, ok := p.layout.DenseSlot(a)
	if !ok {
		var err error
		if slot, err = p.Admit(a); err != nil {
			t.Fatal(err)
		}
	}
	v := loader.Verdict{Action: traffic.ActionDrop, Until: d}
	if d == 0 {
		v.Action = traffic.ActionNone
	}
	if err := p.SetVerdict(one(slot), dir, v); err != nil {
		t.Fatal(err)
	}
}

// Who is banned in which direction, what comes, and what becomes of it, in each role.
func TestXDPVerdicts(t *testing.T) {
	solicitation := pt.Set(pt.ICMP6().Bytes(), 14+40, 135)
	reply := func(f *pt.Frame) { f.Src, f.Dst = f.Dst, f.Src }
	p := load(t)
	for _, tt := range []struct {
		name   string
		host   string // banned
		dir    traffic.Direction
		role   loader.Role
		frame  []byte
		want   uint32
		reason traffic.Reason
	}{
		{"banned ipv4 host", host4, traffic.Incoming, loader.Host, pt.UDP4().Bytes(), xdpDrop, traffic.ReasonBannedIn},
		{"banned ipv6 host", host6, traffic.Incoming, loader.Host, pt.UDP6().Bytes(), xdpDrop, traffic.ReasonBannedIn},
		{"banned host beyond the budget", "10.0.0.1", traffic.Incoming, loader.Host,
			pt.UDP4(func(f *pt.Frame) { f.Dst = netip.MustParseAddr("10.0.0.1") }).Bytes(), xdpDrop, traffic.ReasonBannedIn},
		{"what a banned host answers", host4, traffic.Incoming, loader.Host, pt.UDP4(reply).Bytes(), xdpPass, traffic.ReasonOutgoing},
		{"attacker of ours", host4, traffic.Outgoing, loader.Host, pt.UDP4(reply).Bytes(), xdpDrop, traffic.ReasonBannedOut},
		{"attacker of ours, ipv6", host6, traffic.Outgoing, loader.Host, pt.UDP6(reply).Bytes(), xdpDrop, traffic.ReasonBannedOut},
		{"another host", "198.51.100.8", traffic.Incoming, loader.Host, pt.UDP4().Bytes(), xdpPass, traffic.ReasonIncoming},
		{"wire", host4, traffic.Incoming, loader.Wire, pt.UDP4().Bytes(), xdpDrop, traffic.ReasonBannedIn},
		{"mirror drops all, and counts no drop", host4, traffic.Incoming, loader.Mirror, pt.UDP4().Bytes(), xdpDrop, traffic.ReasonIncoming},
		{"mirror without a ban", host6, traffic.Incoming, loader.Mirror, pt.UDP4().Bytes(), xdpDrop, traffic.ReasonIncoming},
		{"mirror passes arp", host4, traffic.Incoming, loader.Mirror, pt.UDP4(pt.Ethertype(pt.TypeARP)).Bytes(), xdpPass, traffic.ReasonARP},
		{"mirror passes neighbour discovery", host4, traffic.Incoming, loader.Mirror, solicitation, xdpPass, traffic.ReasonIncoming},
		{"mirror drops lldp", host4, traffic.Incoming, loader.Mirror, pt.UDP4(pt.Ethertype(pt.TypeLLDP)).Bytes(), xdpDrop, traffic.ReasonNotIP},
		{"neighbour discovery of a banned host", host6, traffic.Incoming, loader.Host, solicitation, xdpPass, traffic.ReasonIncoming},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.ban(t, tt.host, tt.dir, time.Hour)
			defer p.ban(t, tt.host, tt.dir, 0)
			before := p.moved()
			if got := p.xdp(t, tt.role, tt.frame); got != tt.want {
				t.Errorf("verdict %d, want %d", got, tt.want)
			}
			moved := since(before, p.moved())
			family := map[bool]string{true: "0", false: "4"}[tt.reason > traffic.ReasonBannedOut]
			if family == "4" && len(tt.frame) > 13 && tt.frame[12] == 0x86 {
				family = "6"
			}
			if moved["exit "+tt.reason.String()+"/"+family] != 1 {
				t.Errorf("did not leave as %s: %v", tt.reason, moved)
			}
			dropped := uint64(0)
			for name, n := range moved {
				if len(name) > 14 && name[len(name)-14:] == "DroppedPackets" {
					dropped += n
				}
			}
			if wantDropped := tt.reason == traffic.ReasonBannedIn || tt.reason == traffic.ReasonBannedOut; dropped != map[bool]uint64{true: 1}[wantDropped] {
				t.Errorf("%d packets counted as dropped", dropped)
			}
		})
	}
}

// A banned packet is counted whole: in all counters of its host, and as dropped besides.
func TestBannedTrafficStillCounts(t *testing.T) {
	p := load(t)
	p.ban(t, host4, traffic.Incoming, time.Hour)
	frame := pt.TCP4(pt.VLAN(pt.TypeVLAN, 9)).Bytes()
	p.xdp(t, loader.Host, frame)
	want := with(exit(traffic.ReasonBannedIn, 4, frame), hostMoved(host4, traffic.Incoming, uint64(len(frame)), "TCP", "TCPSYN", "Dropped"))
	if diff := cmp.Diff(p.moved(), want); diff != "" {
		t.Errorf("counters (-got +want):\n%s", diff)
	}
}
