package investigate

import (
	"net/netip"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// mostFamiliar is the share of an attack's packets up to which those of familiar conversations are taken for ordinary. An attack that comes
// from where ordinary traffic comes from is told by its packets, or not at all.
const mostFamiliar = 0.5

// conversation is who used to speak with the target, and about what: an address of the other side (in IPv6 its /64), and the port of the service, for
// which the lower one is taken. The other one changes with each connection, and each question to a resolver.
type conversation struct {
	other    netip.Prefix
	protocol uint8
	theirs   bool // the port is the other side's
	port     uint16
}

func conversationOf(s *analyze.Seen, outgoing bool) conversation {
	p := &s.Packet
	other, near, far := p.Src, p.DstPort, p.SrcPort
	if outgoing {
		other, near, far = p.Dst, p.SrcPort, p.DstPort
	}
	bits := 32
	if other.Is6() {
		bits = 64
	}
	prefix, err := other.Prefix(bits)
	if err != nil {
		return conversation{}
	}
	return conversation{prefix, p.Protocol, far < near, min(near, far)}
}

// split takes what goes on as before the attack out of its samples: the packets of conversations that ordinary traffic had. share is their part of all
// packets. Nothing is taken out where that is too much to be true.
func split(samples, normal []analyze.Seen, direction traffic.Direction) (attack, familiar []analyze.Seen, share float64) {
	outgoing := direction == traffic.Outgoing
	known := make(map[conversation]bool, len(normal))
	for i := range normal {
		known[conversationOf(&normal[i], outgoing)] = true
	}
	var all, old uint64
	for i := range samples {
		weight := uint64(max(samples[i].Rate, 1))
		all += weight
		if known[conversationOf(&samples[i], outgoing)] {
			old += weight
			familiar = append(familiar, samples[i])
		} else {
			attack = append(attack, samples[i])
		}
	}
	if all == 0 || float64(old) > mostFamiliar*float64(all) {
		return samples, nil, 0
	}
	return attack, familiar, float64(old) / float64(all)
}
