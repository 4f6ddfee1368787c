package packet

import (
	"weir/userspace/traffic"
)

// tunnel is a header that hides another packet.
type tunnel uint8

const (
	noTunnel tunnel = iota
	pseudowire
	pppoe
	gre
	ipv4InIP
	ipv6InIP
	vxlan
	geneve
	gtpu
	l2tp
	l2tpv3
)

// Parser is Parse with a look into tunnels. It does not change, so many goroutines may use one.
type Parser struct {
	tunnels traffic.Tunnels
	look    bool
	ports   []tunnelPort
}

type tunnelPort struct {
	port   uint16
	tunnel tunnel
}

// NewParser returns a parser that looks into t's tunnels; the error says which of t's bounds is broken.
func NewParser(t traffic.Tunnels) (*Parser, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	p := &Parser{tunnels: t.Effective()}
	p.look = p.tunnels.Any()
	for _, port := range p.tunnels.VXLAN {
		p.ports = append(p.ports, tunnelPort{port, vxlan})
	}
	for _, one := range []tunnelPort{{p.tunnels.GENEVE, geneve}, {p.tunnels.GTPU, gtpu}, {p.tunnels.L2TP, l2tp}} {
		if one.port != 0 {
			p.ports = append(p.ports, one)
		}
	}
	return p, nil
}

// Parse is the package's Parse with a look into tunnels. Where addresses inside count and can be read, all of packet but its length is
// what stands inside; where they cannot, it is what stands outside, with traffic.AnomalyBrokenTunnel or AnomalyTunnelDepth unless what is
// inside is merely no IP packet.
func (t *Parser) Parse(frame []byte, wireLength uint32, packet *traffic.Packet) traffic.Reason {
	return t.ParseLink(traffic.LinkEthernet, frame, wireLength, packet)
}

// ParseLink is Parse for what begins with any link layer.
func (t *Parser) ParseLink(link traffic.Link, frame []byte, wireLength uint32, packet *traffic.Packet) traffic.Reason {
	if !t.look {
		return ParseLink(link, frame, wireLength, packet)
	}
	*packet = traffic.Packet{Length: wireLength}
	ethertype, b, reason := skipLink(link, frame)
	if reason != traffic.ReasonOK {
		return reason
	}
	unseen := int(wireLength) - len(frame) // bytes on the wire behind what was captured
	found, b, reason := t.network(ethertype, b, unseen, packet)
	if found == noTunnel {
		return reason
	}
	return t.inside(found, b, unseen, packet)
}

// inside goes on with a tunnel's header in b. packet has the addresses outside, if there are any.
func (t *Parser) inside(found tunnel, b []byte, unseen int, packet *traffic.Packet) traffic.Reason {
	outside := *packet // the last that could be read
	for depth := 0; found != noTunnel; depth++ {
		*packet = traffic.Packet{Length: outside.Length}
		next, rest, reason := t.open(found, b, unseen)
		if reason == traffic.ReasonOK && depth == t.tunnels.Depth {
			reason = traffic.ReasonTunnelDepth
		}
		var ethertype uint16
		if reason == traffic.ReasonOK {
			ethertype, rest, reason = next.skip(rest)
		}
		if reason == traffic.ReasonOK {
			found, b, reason = t.network(ethertype, rest, unseen, packet)
		}
		switch {
		case packet.Src.IsValid():
			outside = *packet
		case reason != traffic.ReasonOK && outside.Src.IsValid():
			outside.Anomaly = broken(reason)
			*packet = outside
			return traffic.ReasonOK
		case reason != traffic.ReasonOK:
			return reason
		}
	}
	return traffic.ReasonOK
}

// broken is the anomaly of a packet in which there was no other for the reason.
func broken(inside traffic.Reason) traffic.Anomaly {
	switch inside {
	case traffic.ReasonNotIP, traffic.ReasonARP:
		return traffic.AnomalyNone
	case traffic.ReasonTunnelDepth:
		return traffic.AnomalyTunnelDepth
	}
	return traffic.AnomalyBrokenTunnel
}

// network reads what is behind an ethertype up to the transport header, and fills in packet, or up to a tunnel's header that comes before.
// It returns the next tunnel's header, if there is one; else the reason why there are no addresses.
func (t *Parser) network(ethertype uint16, b []byte, unseen int, packet *traffic.Packet) (_ tunnel, _ []byte, reason traffic.Reason) {
	if isTag(ethertype) {
		if ethertype, b, reason = skipTags(ethertype, b); reason != traffic.ReasonOK {
			return noTunnel, nil, reason
		}
	}
	switch ethertype {
	case etherMPLS, etherMPLSMany:
		if b, reason = skipLabels(b); reason != traffic.ReasonOK {
			return noTunnel, nil, reason
		}
		ethertype = version(b)
		if _, ethernet := skipControlWord(b, len(b)+unseen); t.tunnels.MPLS && ethernet {
			return pseudowire, b, traffic.ReasonOK
		}
	case etherPPPoE:
		if t.tunnels.PPPoE {
			return pppoe, b, traffic.ReasonOK
		}
	}
	b, reason = parseNetwork(ethertype, b, packet)
	if reason != traffic.ReasonOK || !t.tunnels.Inner || b == nil || packet.Anomaly != traffic.AnomalyNone {
		return noTunnel, nil, reason
	}
	return t.behindIP(packet), b, traffic.ReasonOK
}

// behindIP tells which tunnel a packet's transport header is, if any.
func (t *Parser) behindIP(packet *traffic.Packet) tunnel {
	switch packet.Protocol {
	case traffic.ProtoUDP:
		for i := range t.ports {
			if one := &t.ports[i]; packet.DstPort == one.port || one.tunnel == l2tp && packet.SrcPort == one.port {
				return one.tunnel
			}
		}
	case protoIPv4:
		if t.tunnels.IPIP {
			return ipv4InIP
		}
	case protoIPv6:
		if t.tunnels.IPIP {
			return ipv6InIP
		}
	case protoGRE:
		if t.tunnels.GRE || t.tunnels.ERSPAN {
			return gre
		}
	case protoL2TP:
		if t.tunnels.L2TPv3 {
			return l2tpv3
		}
	}
	return noTunnel
}

// content is what a tunnel's header says that follows it: an ethertype, or one of these.
type content int

const (
	ethernet content = -1 - iota
	ppp
	anyIP // of whatever version
)

// skip goes behind the header of what is in a tunnel, if it has one that is to be skipped, and returns the ethertype of what follows.
func (c content) skip(b []byte) (uint16, []byte, traffic.Reason) {
	switch c {
	case ethernet:
		return skipLink(traffic.LinkEthernet, b)
	case ppp:
		return skipLink(traffic.LinkPPP, b)
	case anyIP:
		return skipLink(traffic.LinkIP, b)
	}
	return uint16(c), b, traffic.ReasonOK
}

// open goes behind a tunnel's header. One that is cut off is traffic.ReasonShortTunnel; what is of another version, or no data, is
// traffic.ReasonNotIP.
func (t *Parser) open(found tunnel, b []byte, unseen int) (content, []byte, traffic.Reason) {
	switch found {
	case pseudowire:
		b, _ = skipControlWord(b, len(b)+unseen)
		return ethernet, b, traffic.ReasonOK
	case pppoe:
		return openPPPoE(b)
	case ipv4InIP:
		return etherIPv4, b, traffic.ReasonOK
	case ipv6InIP:
		return etherIPv6, b, traffic.ReasonOK
	case gre:
		return t.openGRE(b)
	case l2tpv3:
		return openL2TPv3(b)
	}
	if len(b) < udpBytes {
		return 0, nil, traffic.ReasonShortTunnel
	}
	switch b = b[udpBytes:]; found {
	case vxlan:
		return openVXLAN(b)
	case geneve:
		return openGENEVE(b)
	case gtpu:
		return openGTPU(b)
	case l2tp:
		return t.openL2TP(b)
	}
	return 0, nil, traffic.ReasonNotIP
}
