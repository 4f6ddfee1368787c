package packet_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/packet"
	. "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

func parser(t testing.TB, tunnels traffic.Tunnels) *packet.Parser {
	t.Helper()
	p, err := packet.NewParser(tunnels)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// holds tells what a parser makes of a frame: want's addresses, or the reason.
func holds(t *testing.T, p *packet.Parser, frame []byte, want *Frame, reason traffic.Reason, anomaly traffic.Anomaly) {
	t.Helper()
	packet := traffic.Packet{}
	if want != nil {
		packet = want.Parsed()
		packet.Anomaly = anomaly
		if want.Fragment != 0 {
			packet.Fragment = traffic.FirstFragment
		}
	}
	packet.Length = 7777
	got := traffic.Packet{SrcPort: 9}
	if r := p.Parse(frame, 7777, &got); r != reason {
		t.Errorf("got %s, want %s", r, reason)
	}
	if diff := cmp.Diff(packet, got, equateAddr); diff != "" {
		t.Errorf("packet (-want +got)\n%s", diff)
	}
}

// TestTunnels: of every encapsulation, the addresses inside, those outside, and what is seen where nobody looks.
func TestTunnels(t *testing.T) {
	for _, tt := range Tunnels() {
		outside, reason := tt.Outside, traffic.ReasonOK
		if outside == nil {
			reason = traffic.ReasonNotIP
		}
		only := func(inner bool) traffic.Tunnels {
			only := tt.Only
			only.Inner, only.Depth = inner, 1
			return only
		}
		t.Run(tt.Name, func(t *testing.T) {
			for name, tunnels := range map[string]traffic.Tunnels{"all": AllTunnels(true, 8), "only": only(true)} {
				t.Run(name, func(t *testing.T) { holds(t, parser(t, tunnels), tt.Frame, &tt.Inside, traffic.ReasonOK, 0) })
			}
			for name, tunnels := range map[string]traffic.Tunnels{"outer": AllTunnels(false, 8), "only outer": only(false)} {
				t.Run(name, func(t *testing.T) {
					if outside == nil {
						holds(t, parser(t, tunnels), tt.Frame, &tt.Inside, traffic.ReasonOK, 0)
					} else {
						holds(t, parser(t, tunnels), tt.Frame, outside, traffic.ReasonOK, 0)
					}
				})
			}
			if mistaken := strings.Contains(tt.Name, "address of 4") || strings.Contains(tt.Name, "address of 6"); !mistaken {
				t.Run("off", func(t *testing.T) {
					holds(t, parser(t, traffic.Tunnels{Inner: true, Depth: 3}), tt.Frame, outside, reason, 0)
				})
			}
		})
	}
}

// nested is n packets of IPv4 in each other, and what is innermost.
func nested(n int) ([]byte, Frame) {
	inner := TCP4(Between("203.0.113.1", "203.0.113.2"))
	outer := inner
	for range n {
		outer = UDP4(Upper(IPv4InIP), Carry(outer.Network()))
	}
	return outer.Bytes(), inner
}

// TestTunnelDepth: as deep as is allowed, and one deeper.
func TestTunnelDepth(t *testing.T) {
	for depth := 1; depth <= traffic.TunnelDepth; depth++ {
		p := parser(t, AllTunnels(true, depth))
		frame, inner := nested(depth)
		holds(t, p, frame, &inner, traffic.ReasonOK, 0)
		frame, _ = nested(depth + 1)
		last := UDP4(Upper(IPv4InIP))
		holds(t, p, frame, &last, traffic.ReasonOK, traffic.AnomalyTunnelDepth)
	}
	inside := UDP4()
	lengths := UDP4(Upper(GREInIP), Carry(GRE(0, 3)))
	holds(t, parser(t, AllTunnels(true, 1)), UDP4(Upper(IPv4InIP), Carry(lengths.Network())).Bytes(), &lengths, traffic.ReasonOK, 0)
	wire := func(frame []byte) []byte { return Raw(TypeMPLS, Labels(1), make([]byte, 4), frame) }
	holds(t, parser(t, AllTunnels(false, 2)), wire(wire(inside.Bytes())), &inside, traffic.ReasonOK, 0)
	holds(t, parser(t, AllTunnels(false, 2)), wire(wire(wire(inside.Bytes()))), nil, traffic.ReasonTunnelDepth, 0)
}

// TestTunnelsBroken: what cannot be read inside counts for what is outside.
func TestTunnelsBroken(t *testing.T) {
	all := parser(t, AllTunnels(true, 4))
	inside := TCP4()
	to := func(port uint16, carried ...[]byte) Frame { return UDP4(Port(port), Carry(carried...)) }
	over := func(protocol uint8, carried ...[]byte) Frame { return UDP4(Upper(protocol), Carry(carried...)) }
	const whole, broken = traffic.AnomalyNone, traffic.AnomalyBrokenTunnel
	for name, tt := range map[string]struct {
		outside Frame
		anomaly traffic.Anomaly
	}{
		"IPv4 of version 5":            {over(IPv4InIP, Set(inside.Network(), 0, 0x55)), broken},
		"IPv4 that is cut off":         {over(IPv4InIP, Cut(inside.Network(), 19)), broken},
		"nothing":                      {over(IPv6InIP), broken},
		"GRE of 3 bytes":               {over(GREInIP, make([]byte, 3)), broken},
		"GRE without its key":          {over(GREInIP, GRE(0x2000, TypeIPv4)[:7]), broken},
		"GRE of version 1":             {over(GREInIP, GRE(1, TypeIPv4), inside.Network()), whole},
		"GRE with routing":             {over(GREInIP, GRE(0x4000, TypeIPv4), inside.Network()), whole},
		"GRE keepalive":                {over(GREInIP, GRE(0, 0)), whole},
		"GRE with ARP":                 {over(GREInIP, GRE(0, TypeARP), make([]byte, 28)), whole},
		"GRE with four tags":           {over(GREInIP, GRE(0, TypeVLAN), []byte{0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0}), broken},
		"GRE with nine labels":         {over(GREInIP, GRE(0, TypeMPLS), Labels(9)), broken},
		"ERSPAN II of version 2":       {over(GREInIP, GRE(0x1000, 0x88be), []byte{0x20, 0, 0, 0, 0, 0, 0, 0}, inside.Bytes()), whole},
		"ERSPAN III of 11 bytes":       {over(GREInIP, GRE(0x1000, 0x22eb), make([]byte, 11)), broken},
		"ERSPAN III of InfiniBand":     {over(GREInIP, GRE(0x1000, 0x22eb), []byte{0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 << 2, 0}, inside.Bytes()), whole},
		"VXLAN of 7 bytes":             {to(4789, VXLAN(0)[:7]), broken},
		"VXLAN without a network":      {to(4789, make([]byte, 8), inside.Bytes()), whole},
		"VXLAN with a service header":  {to(4789, VXLAN(4), inside.Bytes()), whole},
		"VXLAN with 13 bytes inside":   {to(4789, VXLAN(0), inside.Bytes()[:13]), broken},
		"VXLAN with spanning tree":     {to(4789, VXLAN(0), Raw(0x26, make([]byte, 40))), whole},
		"GENEVE of version 1":          {to(6081, Set(GENEVE(TypeIPv4, 0), 0, 0x40), inside.Network()), whole},
		"GENEVE control":               {to(6081, Set(GENEVE(TypeIPv4, 0), 1, 0x80), inside.Network()), whole},
		"GENEVE without its options":   {to(6081, GENEVE(TypeIPv4, 2)[:15]), broken},
		"GTP-U echo":                   {to(2152, Set(GTPU(true), 1, 1)), whole},
		"GTP'":                         {to(2152, Set(GTPU(false), 0, 0x20), inside.Network()), whole},
		"GTP-U with 3 bytes of option": {to(2152, GTPU(true)[:11]), broken},
		"GTP-U extension of no length": {to(2152, Set(GTPU(false, 1), 12, 0), inside.Network()), broken},
		"GTP-U extension cut off":      {to(2152, GTPU(false, 3)[:20]), broken},
		"GTP-U with five extensions":   {to(2152, GTPU(false, 1, 1, 1, 1, 1), inside.Network()), broken},
		"GTP-U of no IP":               {to(2152, GTPU(false), []byte{0x10, 1, 2, 3}), whole},
		"L2TP control":                 {to(1701, []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}), whole},
		"L2TP of version 1":            {to(1701, []byte{0, 1, 0, 0, 0, 0, 0, 0}), whole},
		"L2TP with a long offset":      {to(1701, L2TP(0x0200, 256), []byte{0, 0x21}, inside.Network()), broken},
		"L2TP without its offset":      {to(1701, L2TP(0x0200, 9)[:16]), broken},
		"L2TP with link control":       {to(1701, L2TP(0, 0), []byte{0xff, 3, 0xc0, 0x21, 1, 1, 0, 4}), whole},
		"L2TP with one byte of PPP":    {to(1701, L2TP(0, 0), []byte{0}), broken},
		"L2TPv3 control":               {over(L2TPInIP, make([]byte, 4), inside.Bytes()), whole},
		"L2TPv3 without a session":     {over(L2TPInIP, make([]byte, 3)), broken},
		"L2TPv3 with anything":         {over(L2TPInIP, L2TPv3(16), inside.Bytes()), whole},
	} {
		t.Run(name, func(t *testing.T) { holds(t, all, tt.outside.Bytes(), &tt.outside, traffic.ReasonOK, tt.anomaly) })
	}
	later := UDP4(Fragmented4(9), Upper(IPv4InIP), Carry(inside.Network()))
	var got traffic.Packet
	if r := all.Parse(later.Bytes(), 1, &got); r != traffic.ReasonOK || got.Dst != later.Dst || got.Fragment != traffic.LaterFragment {
		t.Errorf("later fragment: %s, %+v", r, got)
	}
	for name, tt := range map[string]struct {
		frame []byte
		want  traffic.Reason
	}{
		"5 bytes of PPPoE":      {Raw(0x8864, PPPoESession(0x21)[:5]), traffic.ReasonShortTunnel},
		"7 bytes of PPPoE":      {Raw(0x8864, PPPoESession(0x21)[:7]), traffic.ReasonShortTunnel},
		"PPPoE of version 2":    {Raw(0x8864, Set(PPPoESession(0x21), 0, 0x22), inside.Network()), traffic.ReasonNotIP},
		"PPPoE padding":         {Raw(0x8864, Set(PPPoESession(0x21), 1, 9), inside.Network()), traffic.ReasonNotIP},
		"PPPoE link control":    {Raw(0x8864, PPPoESession(0xc021), inside.Network()), traffic.ReasonNotIP},
		"PPPoE with IPv4 cut":   {Raw(0x8864, PPPoESession(0x21), inside.Network()[:19]), traffic.ReasonShortIPv4},
		"pseudo-wire with ARP":  {Raw(TypeMPLS, Labels(1), make([]byte, 4), Raw(TypeARP, make([]byte, 28))), traffic.ReasonARP},
		"associated channel":    {Raw(TypeMPLS, Labels(1), []byte{0x10, 0, 0, 0x21}, inside.Network()), traffic.ReasonNotIP},
		"nothing behind labels": {Raw(TypeMPLS, Labels(1)), traffic.ReasonNotIP},
	} {
		t.Run(name, func(t *testing.T) { holds(t, all, tt.frame, nil, tt.want, 0) })
	}
}

// TestLabelsOverIP: with pseudo-wires looked into, IP behind labels is IP still, and no tunnel.
func TestLabelsOverIP(t *testing.T) {
	for _, f := range []Frame{TCP4(MPLS(3)), UDP6(MPLS(1)), UDP4(MPLS(2), Payload(1400))} {
		for _, inner := range []bool{false, true} {
			frame := f.Bytes()
			var got traffic.Packet
			if r := parser(t, traffic.Tunnels{MPLS: true, Depth: 1, Inner: inner}).Parse(frame, uint32(len(frame)), &got); r != traffic.ReasonOK {
				t.Errorf("got %s", r)
			}
			if diff := cmp.Diff(f.Parsed(), got, equateAddr); diff != "" {
				t.Errorf("packet (-want +got)\n%s", diff)
			}
		}
	}
}

// TestDoubtful: what might be read in two ways is read in the likely one.
func TestDoubtful(t *testing.T) {
	later := func(p *traffic.Packet) {
		p.SrcPort, p.DstPort, p.Fragment = 0, 0, traffic.LaterFragment
	}
	for name, want := range map[string]struct {
		of     Frame
		but    func(*traffic.Packet)
		reason traffic.Reason
	}{
		"IPv4 behind labels from 8.0.69":     {of: UDP4(Between("8.0.69.1", "198.51.100.7"))},
		"IPv6 behind labels from :0800:4500": {of: UDP6(Between("2001:db8:800:4500::1", "2001:db8:2::7"))},
		"L2TPv3 that fits twice":             {of: UDP4(), but: later},
		"pseudo-wire with discovery":         {reason: traffic.ReasonNotIP},
	} {
		t.Run(name, func(t *testing.T) {
			frame := Doubtful()[name]
			var p, got traffic.Packet
			if want.reason == traffic.ReasonOK {
				p = want.of.Parsed()
			}
			if want.but != nil {
				want.but(&p)
			}
			p.Length = uint32(len(frame))
			if r := parser(t, AllTunnels(true, 2)).Parse(frame, p.Length, &got); r != want.reason {
				t.Errorf("got %s, want %s", r, want.reason)
			}
			if diff := cmp.Diff(p, got, equateAddr); diff != "" {
				t.Errorf("packet (-want +got)\n%s", diff)
			}
		})
	}
}

func TestNewParserRefuses(t *testing.T) {
	for want, tunnels := range map[string]traffic.Tunnels{
		"5 VXLAN ports": {VXLAN: []uint16{1, 2, 3, 4, 5}, Depth: 1}, "depth 9": {GRE: true, Depth: 9}, "no depth": {GRE: true}, "depth -1": {Depth: -1},
	} {
		if _, err := packet.NewParser(tunnels); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestTunnelsDoNotAllocate(t *testing.T) {
	p := parser(t, AllTunnels(true, 8))
	frame, _ := nested(8)
	var packet traffic.Packet
	if n := testing.AllocsPerRun(100, func() { p.Parse(frame, 1, &packet) }); n != 0 {
		t.Errorf("allocations per packet: got %v, want 0", n)
	}
}
