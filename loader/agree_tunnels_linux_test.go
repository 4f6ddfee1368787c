package loader

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// tunnelSeeds are all encapsulations, and some within each other.
func tunnelSeeds() [][]byte {
	var all [][]byte
	inside := pt.TCP4(pt.Between("203.0.113.1", "203.0.113.2"))
	for _, tunnel := range pt.Tunnels() {
		all = append(all, tunnel.Frame)
		wire := pt.Raw(pt.TypeMPLS, pt.Labels(1), make([]byte, 4), tunnel.Frame)
		all = append(all, pt.UDP6(pt.Port(4789), pt.Carry(pt.VXLAN(0), wire)).Bytes())
	}
	doubtful := pt.Doubtful()
	for _, name := range slices.Sorted(maps.Keys(doubtful)) {
		all = append(all, doubtful[name])
	}
	lengths := pt.UDP4(pt.Upper(pt.GREInIP), pt.Carry(pt.GRE(0, 3)))
	all = append(all, pt.UDP4(pt.Upper(pt.IPv4InIP), pt.Carry(lengths.Network())).Bytes())
	deep := inside
	for range 2 * traffic.TunnelDepth {
		deep = pt.UDP4(pt.Upper(pt.GREInIP), pt.Carry(pt.GRE(0, pt.TypeMPLS), pt.Labels(1), deep.Network()))
		all = append(all, deep.Bytes())
	}
	wires := inside.Bytes()
	for range traffic.TunnelDepth + 2 {
		wires = pt.Raw(pt.TypeMPLS, pt.Labels(1), make([]byte, 4), wires)
		all = append(all, wires)
	}
	solicitation := pt.Set(pt.ICMP6().Network(), 40, 135)
	return append(all, pt.UDP4(pt.Upper(pt.IPv6InIP), pt.Carry(solicitation)).Bytes())
}

// settings are what the parsers are held against each other with.
func tunnelSettings() map[string]traffic.Tunnels {
	few := traffic.Tunnels{GRE: true, VXLAN: []uint16{4789}, MPLS: true, Inner: true, Depth: 3}
	return map[string]traffic.Tunnels{
		"none": {Inner: true, Depth: 4}, "outer": pt.AllTunnels(false, 2), "inner": pt.AllTunnels(true, 8), "inner, one deep": pt.AllTunnels(true, 1), "few": few,
	}
}

// Every encapsulation, cut at every length, is the same to both parsers.
func TestParsersAgreeOnTunnels(t *testing.T) {
	for name, tunnels := range tunnelSettings() {
		t.Run(name, func(t *testing.T) { newParsers(t, tunnels).agreeOnCuts(t, tunnelSeeds()) })
	}
}

// Encapsulations with random bytes changed are the same to both parsers.
func TestParsersAgreeOnDamagedTunnels(t *testing.T) {
	for name, tunnels := range tunnelSettings() {
		t.Run(name, func(t *testing.T) { newParsers(t, tunnels).agreeOnDamage(t, tunnelSeeds(), 20_000) })
	}
}

// Tunnels put together at random, of headers that are right but for an odd byte, are the same to both parsers.
func TestParsersAgreeOnRandomTunnels(t *testing.T) {
	for name, tunnels := range tunnelSettings() {
		t.Run(name, func(t *testing.T) {
			k, random := newParsers(t, tunnels), rand.New(rand.NewPCG(3, 5))
			n := 5_000
			if testing.Short() {
				n /= 10
			}
			for range n {
				frame := stack(random, 1+random.IntN(6))
				if random.IntN(2) == 0 {
					frame[12+random.IntN(len(frame)-12)] = byte(random.Uint32())
				}
				k.agree(t, frame)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// stack is an Ethernet frame with up to n tunnels within each other.
func stack(random *rand.Rand, n int) []byte {
	seeds := pt.Tunnels()
	frame := seeds[random.IntN(len(seeds))].Frame
	for range n {
		outside := []pt.Mutation{pt.Fragmented4(uint16(random.IntN(12)/11) << 13), pt.VLAN(pt.TypeVLAN, 3)}[:random.IntN(3)]
		over := func(protocol uint8, parts ...[]byte) []byte {
			return pt.UDP4(append(outside, pt.Upper(protocol), pt.Carry(parts...))...).Bytes()
		}
		to := func(port uint16, parts ...[]byte) []byte {
			return pt.UDP6(append(outside, pt.Port(port), pt.Carry(parts...))...).Bytes()
		}
		switch random.IntN(8) {
		case 0:
			frame = over(pt.GREInIP, pt.GRE([]uint16{0, 0x2000, 0xb000}[random.IntN(3)], 0x6558), frame)
		case 1:
			frame = over(pt.L2TPInIP, pt.L2TPv3(4*random.IntN(4)), frame)
		case 2:
			frame = over(pt.GREInIP, pt.GRE(0, 0x88be), frame)
		case 3:
			frame = to(8472, pt.VXLAN(3), frame)
		case 4:
			frame = to(6081, pt.GENEVE(0x6558, random.IntN(64)), frame)
		case 5:
			frame = to(1701, []byte{0, 3, 0, 0}, pt.L2TPv3(4*random.IntN(4)), frame)
		case 6:
			frame = pt.Raw(pt.TypeMPLS, pt.Labels(1+random.IntN(9)), make([]byte, 4*random.IntN(2)), frame)
		case 7: // only an IP packet goes into these
			inside := pt.Set(frame, 0)[14:]
			frame = slices.Clone([][]byte{
				over(pt.IPv4InIP, inside), over(pt.IPv6InIP, inside), to(2152, pt.GTPU(true, 1), inside), pt.Raw(0x8864, pt.PPPoESession(0x21), inside),
				to(1701, pt.L2TP(0x4000, 0), []byte{0xff, 3, 0, 0x57}, inside),
			}[random.IntN(5)])
		}
	}
	return slices.Clone(frame)
}
