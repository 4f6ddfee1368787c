package analyze

import (
	"encoding/binary"

	"weir/userspace/analyze/dissect"
	"weir/userspace/traffic"
)

// IP protocols that are attacks of their own (IANA).
const (
	protoIPIP = 4
	protoIPv6 = 41
	protoGRE  = 47
	protoESP  = 50
)

// How sure a class is by what proves it.
const (
	proofPayload = 0.99 // the payload and the port
	proofBytes   = 0.9  // the payload, on an unusual port
	proofHeader  = 0.97 // fields that say it
	proofPort    = 0.5  // nothing but a port
	proofAbsence = 0.85 // nothing else fits
)

// mark is what is found in one sample.
type mark struct {
	class  string
	detail string
	proof  float64
	known  bool   // the payload is of a known protocol ...
	usual  bool   // ... and a port is one of its own
	of     string // what Vector.Of is to say: the class of the answers that an ICMP error came with, or of the requests that a connection is for
}

// classify says what one sample is on its own; what needs the others is decided later: a UDPFlood may become a narrower one, and what
// belongs to connections a ConnectionFlood.
func classify(s *Seen) mark {
	p := &s.Packet
	switch {
	case p.Fragment == traffic.LaterFragment:
		return mark{class: FragmentFlood, proof: proofHeader}
	case p.Anomaly != traffic.AnomalyNone:
		return mark{class: MalformedFlood, detail: "broken or missing headers", proof: proofAbsence}
	}
	var m mark
	switch p.Protocol {
	case traffic.ProtoTCP:
		m = classifyTCP(s)
	case traffic.ProtoUDP:
		m = classifyUDP(s)
	case traffic.ProtoICMP, traffic.ProtoICMPv6:
		if (p.Protocol == traffic.ProtoICMP) == p.Src.Is4() {
			m = mark{class: ICMPFlood, detail: icmpWord(s), proof: proofHeader, of: quoted(s)}
		} else {
			m = mark{class: OtherProtocolFlood, proof: proofHeader}
		}
	case protoGRE:
		m = mark{class: GREFlood, proof: proofHeader}
	case protoESP:
		m = mark{class: ESPFlood, proof: proofHeader}
	case protoIPIP, protoIPv6:
		m = mark{class: IPInIPFlood, proof: proofHeader}
	default:
		m = mark{class: OtherProtocolFlood, proof: proofHeader}
	}
	if p.Fragment == traffic.FirstFragment && !m.usual {
		return mark{class: FragmentFlood, detail: m.class, proof: proofHeader}
	}
	return m
}

// icmpWord names the types that floods and their echoes have (RFC 792, RFC 4443).
func icmpWord(s *Seen) string {
	const six = 0x100
	kind := int(s.ICMPType)
	if s.Packet.Protocol == traffic.ProtoICMPv6 {
		kind |= six
	}
	switch kind {
	case 0, six | 129:
		return "echo reply"
	case 8, six | 128:
		return "echo request"
	case 3, six | 1:
		return "unreachable"
	case 11, six | 3:
		return "time exceeded"
	case 5, six | 137:
		return "redirect"
	case 13:
		return "timestamp request"
	case six | 2:
		return "packet too big"
	case six | 135:
		return "neighbour solicitation"
	}
	return "other types"
}

// quoted looks at the packet that an ICMP error quotes (RFC 792, RFC 4443): where questions are sent in our name, we get the errors as well.
func quoted(s *Seen) string {
	const header = 8
	isError := s.ICMPType == 3 || s.ICMPType == 11 || s.ICMPType == 5
	if s.Packet.Protocol == traffic.ProtoICMPv6 {
		isError = s.ICMPType >= 1 && s.ICMPType <= 4
	}
	if !isError || len(s.Payload) <= header {
		return ""
	}
	inner, ok := Look(s.Payload[header:], traffic.LinkIP, 0, s.Time, 1)
	if !ok {
		return ""
	}
	ports := s.Payload[header:]
	switch {
	case inner.Packet.Src.Is4():
		ports = ports[min(len(ports), int(ports[0]&0xf)*4):]
	default:
		ports = ports[min(len(ports), ipv6Header):]
	}
	if len(ports) < 4 { // a router need not quote more of a transport header
		return ""
	}
	port := binary.BigEndian.Uint16(ports[2:])
	switch inner.Packet.Protocol {
	case traffic.ProtoTCP:
		return SYNACKReflection
	case traffic.ProtoUDP:
		if name, known := dissect.ByPort(traffic.ProtoUDP, port); known {
			return Amplification(name)
		}
	}
	return ""
}

// classifyTCP goes by the flags; what is carried counts where it is known.
func classifyTCP(s *Seen) mark {
	const six = traffic.FlagFIN | traffic.FlagSYN | traffic.FlagRST | traffic.FlagPSH | traffic.FlagACK | traffic.FlagURG
	header := func(class, detail string) mark { return mark{class: class, detail: detail, proof: proofHeader} }
	flags := s.Packet.TCPFlags & six
	has := func(bits uint8) bool { return flags&bits == bits }
	switch {
	case flags == 0:
		return header(OddFlagsFlood, "no flags")
	case flags == six:
		return header(AllFlagsFlood, "")
	case has(traffic.FlagSYN | traffic.FlagFIN), has(traffic.FlagSYN | traffic.FlagRST), has(traffic.FlagFIN | traffic.FlagRST):
		return header(OddFlagsFlood, "flags that exclude each other")
	case flags == traffic.FlagFIN|traffic.FlagPSH|traffic.FlagURG:
		return header(OddFlagsFlood, "xmas: FIN, PSH and URG")
	case has(traffic.FlagSYN | traffic.FlagACK):
		return header(SYNACKReflection, "SYN and ACK")
	case has(traffic.FlagSYN):
		if flags != traffic.FlagSYN {
			return header(SYNFlood, "SYN with PSH or URG")
		}
		return header(SYNFlood, "")
	case has(traffic.FlagRST):
		return header(RSTFlood, "")
	case has(traffic.FlagFIN):
		return header(FINFlood, "")
	case !has(traffic.FlagACK):
		return header(OddFlagsFlood, "PSH or URG without ACK")
	}
	if m, ok := known(s); ok {
		return m
	}
	if s.PayloadLength > 0 {
		return header(ACKFlood, "with payload")
	}
	return header(ACKFlood, "without payload")
}

func classifyUDP(s *Seen) mark {
	if s.PayloadLength == 0 {
		return mark{class: UDPEmptyFlood, proof: proofHeader}
	}
	if m, ok := known(s); ok {
		return m
	}
	if len(s.Payload) == 0 {
		if name, ok := dissect.ByPort(traffic.ProtoUDP, s.Packet.SrcPort); ok {
			return mark{class: Amplification(name), detail: "by the port alone: no payload was sampled", proof: proofPort}
		}
		return mark{class: UDPFlood, detail: "no payload was sampled", proof: proofPort}
	}
	return mark{class: UDPFlood, proof: proofAbsence}
}

// known is the class of a payload that is of a protocol we know.
func known(s *Seen) (mark, bool) {
	found, ok := dissect.Payload(s.Packet.Protocol, s.Packet.SrcPort, s.Packet.DstPort, s.Payload)
	if !ok {
		return mark{}, false
	}
	m := mark{class: Requests(found.Name), detail: found.Detail, proof: proofBytes, known: true, usual: found.Usual}
	if found.Amplifies && found.Role == dissect.Reply {
		m.class = Amplification(found.Name)
	}
	if found.Usual {
		m.proof = proofPayload
	}
	return m, true
}
