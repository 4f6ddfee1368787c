package loader

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"weir/tests/need"
	"weir/userspace/networks"
	"weir/userspace/packet"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// maker makes rules and packets out of few values, so that they meet often.
type maker struct{ *rand.Rand }

func (m maker) one(texts ...string) string { return texts[m.IntN(len(texts))] }

// rule returns the text of a rule for one IP version.
func (m maker) rule(six bool) string {
	var b strings.Builder
	add := func(often int, word string, values ...string) {
		if m.IntN(often) == 0 {
			fmt.Fprintf(&b, "%s %s ", word, m.one(values...))
		}
	}
	if six {
		add(1, "destination", "2001:db8:2::7/128", "2001:db8:2::/64", "2001:db8:2::/48", "::7/64-128")
		add(3, "source", "2001:db8:1::1/128", "2001:db8:1::/64", "2001:db8::/32", "::2/120-128")
		add(6, "flow-label", "0", "5", ">=4&<=9")
		add(6, "fragment", "is-fragment", "!any:is-fragment+first-fragment", "last-fragment", "first-fragment")
		add(3, "protocol", "udp", "tcp", "icmpv6", "!=tcp", "tcp,udp")
	} else {
		add(1, "destination", "198.51.100.7/32", "198.51.100.8/32", "198.51.100.0/24", "198.51.100.0/25", "0.0.0.0/0")
		add(3, "source", "192.0.2.1/32", "192.0.2.0/24", "192.0.0.0/8", "192.0.2.2/31")
		add(6, "fragment", "is-fragment", "!any:is-fragment+first-fragment", "dont-fragment", "first-fragment,last-fragment")
		add(3, "protocol", "udp", "tcp", "icmp", "!=tcp", "<17", "tcp,udp")
	}
	add(4, "port", "53", "53,443", "1024-65535", "!=40000", "<100,>40000")
	add(4, "destination-port", "53", "443", "0-1023", "!=53", "true")
	add(4, "source-port", "40000", "53", ">=1024", ">=40000&<=40010")
	add(6, "icmp-type", "8", "128", "!=8", "<200")
	add(6, "icmp-code", "0", ">0")
	add(5, "tcp-flags", "syn&!ack", "any:fin+syn", "!syn", "fin+syn+ack", "0x100")
	add(4, "length", ">=60", "<60", "46-50", "!=47", "1028", ">=400&<=1500")
	add(5, "dscp", "0", "46", "!=0", ">=8&<=40")
	add(6, "payload", "0:77", "0:77656972", "5:73617973", "0:6000/f000&4:20", "14:6f", "20:00")
	return b.String() + "then " + m.one("discard", "discard", "discard", "accept", "sample")
}

// frame returns a packet to the rules' hosts or beside them.
func (m maker) frame(six bool) []byte {
	var mutations []pt.Mutation
	add := func(often int, mutation pt.Mutation) {
		if m.IntN(often) == 0 {
			mutations = append(mutations, mutation)
		}
	}
	add(5, pt.VLAN(pt.TypeVLAN, 5))
	add(3, pt.Payload([]int{0, 1, 4, 18, 19, 20, 500, 1000}[m.IntN(8)]))
	kinds := []func(...pt.Mutation) pt.Frame{pt.UDP4, pt.TCP4, pt.ICMP4}
	if six {
		kinds = []func(...pt.Mutation) pt.Frame{pt.UDP6, pt.TCP6, pt.ICMP6}
		add(6, pt.Extended(pt.HopByHop, 1, 8))
		add(4, pt.Fragmented6(uint16(m.IntN(2)*9), m.IntN(2) == 0))
	} else {
		add(6, pt.Options(8))
		add(4, pt.Fragmented4([]uint16{pt.MoreFragments, pt.DontFragment, 9, 9 | pt.MoreFragments, pt.DontFragment | 9}[m.IntN(5)]))
	}
	add(12, pt.Upper(132))
	f := kinds[m.IntN(3)](mutations...)
	if f.SrcPort != 0 {
		f.SrcPort, f.DstPort = []uint16{40000, 53, 40005, 99}[m.IntN(4)], []uint16{443, 53, 40000, 0, 65535}[m.IntN(5)]
	}
	if f.Protocol == traffic.ProtoTCP {
		f.TCPFlags = []uint8{2, 0x12, 0x10, 1, 0x13, 0xff, 0}[m.IntN(7)]
	}
	if m.IntN(3) == 0 {
		f.Dst = []netip.Addr{f.Dst.Next(), f.Dst.Prev()}[m.IntN(2)]
	}
	if m.IntN(3) == 0 {
		f.Src = f.Src.Next()
	}
	b := f.Bytes()
	at := ipAt(b)
	if m.IntN(3) == 0 { // DSCP, flow label
		if six {
			b[at], b[at+1], b[at+3] = 0x60|0xb, 0x85, 5
		} else {
			b[at+1] = 46<<2 | 1
		}
	}
	if m.IntN(20) == 0 {
		b = b[:max(len(b)-m.IntN(40), min(len(b), 60))]
	}
	return b
}

func ipAt(frame []byte) int {
	if binary.BigEndian.Uint16(frame[12:]) == pt.TypeVLAN {
		return 18
	}
	return 14
}

// factsOf reads what rules look at, without the code under test.
func factsOf(t testing.TB, frame []byte) (f traffic.Facts) {
	t.Helper()
	if reason := packet.Parse(frame, uint32(len(frame)), &f.Packet); reason != traffic.ReasonOK {
		t.Fatalf("parse: %s", reason)
	}
	ip := frame[ipAt(frame):]
	var behind []byte
	if f.Packet.Dst.Is4() {
		f.IPLength, f.DSCP = uint32(binary.BigEndian.Uint16(ip[2:])), ip[1]>>2
		offset := binary.BigEndian.Uint16(ip[6:])
		f.Fragments = traffic.FragmentBits(offset&pt.DontFragment != 0, offset&pt.MoreFragments != 0, offset&0x1fff)
		behind = ip[int(ip[0]&0xf)*4:]
	} else {
		first := binary.BigEndian.Uint32(ip)
		f.IPLength, f.DSCP, f.FlowLabel = uint32(binary.BigEndian.Uint16(ip[4:]))+40, uint8(first>>22&0x3f), first&0xfffff
		next := ip[6]
		behind = ip[40:]
		for (next == pt.HopByHop || next == pt.FragmentV6) && len(behind) >= 8 {
			if next == pt.FragmentV6 {
				offset := binary.BigEndian.Uint16(behind[2:])
				f.Fragments = traffic.FragmentBits(false, offset&1 != 0, offset>>3)
			}
			next, behind = behind[0], behind[8:]
		}
	}
	if f.Packet.Fragment == traffic.LaterFragment || f.Packet.Anomaly != traffic.AnomalyNone {
		return f
	}
	switch f.Packet.Protocol {
	case traffic.ProtoTCP:
		f.TCPFlags = binary.BigEndian.Uint16(behind[12:]) & 0xfff
		f.Payload = behind[min(int(behind[12]>>4)*4, len(behind)):]
	case traffic.ProtoUDP:
		f.Payload = behind[8:]
	case traffic.ProtoICMP, traffic.ProtoICMPv6:
		f.ICMPType, f.ICMPCode, f.Payload = behind[0], behind[1], behind
	default:
		f.Payload = behind
	}
	return f
}

// decide is what SetRules promises: the rule that decides (-1: none), and those that have the packet as a hit.
func decide(entries []RuleEntry, f *traffic.Facts) (decides int, hits map[uint64]bool) {
	decides, hits = -1, map[uint64]bool{}
	for _, passes := range []bool{true, false} {
		for i := range entries {
			e := &entries[i]
			kind := e.Rule.Actions[0].Kind
			if !e.Rule.Match(f) {
				continue
			}
			if e.Mode == Shadow || kind == traffic.RuleSample {
				hits[e.ID] = true
			} else if decides < 0 && (kind == traffic.RuleAccept) == passes {
				decides = i
				hits[e.ID] = true
			}
		}
	}
	return decides, hits
}

func (m maker) entries(t testing.TB, n int) []RuleEntry {
	t.Helper()
	var entries []RuleEntry
	for i := range n {
		r, err := traffic.ParseRule(m.rule(m.IntN(2) == 0))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, RuleEntry{Rule: r, ID: uint64(i + 100), Mode: RuleMode(max(m.IntN(5)-3, 0))})
	}
	return entries
}

// beyondBounds reports whether an error is one of those that say what is too much.
func beyondBounds(err error) bool {
	for _, what := range []string{"kinds of match already", "rules before it look at the same values", "come to more than 256 keys", "come to"} {
		if strings.Contains(err.Error(), what) {
			return true
		}
	}
	return false
}

// The kernel decides what the rules themselves say, for random rules and packets.
func TestRulesInKernel(t *testing.T) {
	need.Root(t)
	l, err := networks.NewLayout([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:2::/48")},
		networks.Budget{Dense: 256, Dynamic: 64, FoldHosts: 16})
	if err != nil {
		t.Fatal(err)
	}
	plan := Plan{Locate4: l.Locate4(), Filter6: l.Filter6(), DenseSlots: l.DenseSlots(), Slots: l.Slots(), FoldHosts: l.FoldHosts()}
	for _, n := range l.DynamicNetworks() {
		plan.Dynamic = append(plan.Dynamic, Network{Prefix: n, Divided: networks.Divided(n)})
	}
	d, err := Load(plan)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	prog, err := d.XDP(Host)
	if err != nil {
		t.Fatal(err)
	}
	m := maker{rand.New(rand.NewPCG(3, 5))}
	rounds, refused, decisions := 150, 0, 0
	if testing.Short() {
		rounds = 20
	}
	for round := range rounds {
		entries := m.entries(t, 1+m.IntN(14))
		if err := d.SetRules(time.Now(), entries); err != nil {
			if !beyondBounds(err) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		for range 100 {
			frame := m.frame(m.IntN(2) == 0)
			f := factsOf(t, frame)
			decides, hits := decide(entries, &f)
			want := uint32(xdpPass)
			if decides >= 0 {
				decisions++
				if entries[decides].Rule.Actions[0].Kind == traffic.RuleDiscard {
					want = xdpDrop
				}
			}
			before := hitsByID(t, d)
			got, err := prog.Run(&ebpf.RunOptions{Data: frame})
			if err != nil {
				t.Fatal(err)
			}
			after := hitsByID(t, d)
			bad := got != want
			for i := range entries {
				id := entries[i].ID
				if (after[id]-before[id] == 1) != hits[id] || after[id]-before[id] > 1 {
					t.Errorf("rule %d: %d more hits, want one: %v", id, after[id]-before[id], hits[id])
					bad = true
				}
			}
			if bad {
				for i := range entries {
					t.Logf("%d mode %d: %s", entries[i].ID, entries[i].Mode, entries[i].Rule.String())
				}
				t.Fatalf("round %d: %+v\n% x\ngot %d, want %d by rule %d", round, f, frame, got, want, decides)
			}
		}
	}
	if refused > rounds/3 || decisions < rounds*10 {
		t.Errorf("%d of %d rounds were refused, %d packets decided: too few", refused, rounds, decisions)
	}
	t.Logf("%d of %d rounds refused, %d packets decided", refused, rounds, decisions)
}

func hitsByID(t testing.TB, d *DataPlane) map[uint64]uint64 {
	t.Helper()
	hits, err := d.RuleHits()
	if err != nil {
		t.Fatal(err)
	}
	m := map[uint64]uint64{}
	for _, h := range hits {
		m[h.ID] = h.Packets
	}
	return m
}
