package loader

import "weir/userspace/traffic"

// TUNNEL_ bits of bpf/abi.h.
const (
	lookPseudowire = 1 << iota
	lookPPPoE
	lookGRE
	lookERSPAN
	lookIPIP
	lookUDP
	lookL2TPv3
)

// look has the programs look into tunnels.
func (s *weirSettings) look(t traffic.Tunnels) {
	copy(s.VxlanPorts[:], t.VXLAN)
	s.GenevePort, s.GtpuPort, s.L2tpPort = t.GENEVE, t.GTPU, t.L2TP
	s.TunnelDepth = uint8(t.Depth)
	if t.Inner {
		s.Inner = 1
	}
	for _, kind := range []struct {
		on  bool
		bit uint16
	}{
		{t.MPLS, lookPseudowire}, {t.PPPoE, lookPPPoE}, {t.GRE, lookGRE}, {t.ERSPAN, lookERSPAN}, {t.IPIP, lookIPIP},
		{len(t.VXLAN) > 0 || t.GENEVE|t.GTPU|t.L2TP != 0, lookUDP}, {t.L2TPv3, lookL2TPv3},
	} {
		if kind.on {
			s.Tunnels |= kind.bit
		}
	}
}
