package notify

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// Packet is one sampled packet of the attack for the report's dump.
type Packet struct {
	Time   time.Time
	Packet traffic.Packet
	Rate   uint32 // one packet in Rate was sampled
}

// dominance is the share of an attack's packets that makes it a flood of one kind.
const dominance = 0.9

// AttackType names the attack by FastNetMon's rule: more than 90 % of the packets in its direction are of one kind, tried in this order:
// syn_flood, icmp_flood, ip_fragmentation, udp_flood; else unknown.
func AttackType(a *traffic.Attack) string {
	c := ofDirection(a)
	most := func(packets uint64) bool { return float64(packets) > dominance*float64(c.Total.Packets) }
	switch {
	case most(c.TCPSYN.Packets):
		return "syn_flood"
	case most(c.ICMP.Packets):
		return "icmp_flood"
	case most(c.Fragments.Packets):
		return "ip_fragmentation"
	case most(c.UDP.Packets):
		return "udp_flood"
	}
	return "unknown"
}

// AttackProtocol names the protocol with the most packets in the attack's direction: tcp, udp or icmp (which is ICMPv6 for IPv6); unknown when there are none.
func AttackProtocol(a *traffic.Attack) string {
	c := ofDirection(a)
	switch most := max(c.TCP.Packets, c.UDP.Packets, c.ICMP.Packets); most {
	case 0:
		return "unknown"
	case c.TCP.Packets:
		return "tcp"
	case c.UDP.Packets:
		return "udp"
	}
	return "icmp"
}

func ofDirection(a *traffic.Attack) *traffic.Counts {
	if a.Target.Direction == traffic.Outgoing {
		return &a.Rate.Outgoing
	}
	return &a.Rate.Incoming
}

// Subject is what the script gets as its first argument: the address, the prefix in CIDR notation, or the hostgroup's name.
func Subject(t traffic.Target) string {
	if t.Scope == traffic.ScopeGroup {
		return t.Group
	}
	return t.String()
}

// power is the attack's strength when it was banned and its strongest, in packets per second in its direction.
func power(r *traffic.Record) (initial, peak uint64) {
	return r.Ban.Power, max(r.Ban.Power, r.Attack.Peak.Total.Packets)
}

// Report writes what the script reads on its standard input: FastNetMon's text, line by line, with a dump of the packets at hand.
// The flow dump that follows there is empty: Weir counts flows and does not keep them.
func Report(r *traffic.Record, packets []Packet) string {
	var b strings.Builder
	a := &r.Attack
	initial, peak := power(r)
	fmt.Fprintf(&b, "IP: %s\n", Subject(a.Target))
	fmt.Fprintf(&b, "Attack type: %s\n", AttackType(a))
	fmt.Fprintf(&b, "Initial attack power: %d packets per second\n", initial)
	fmt.Fprintf(&b, "Peak attack power: %d packets per second\n", peak)
	fmt.Fprintf(&b, "Attack direction: %s\n", a.Target.Direction)
	fmt.Fprintf(&b, "Attack protocol: %s\n", AttackProtocol(a))
	in, out := &a.Rate.Incoming, &a.Rate.Outgoing
	fmt.Fprintf(&b, "Total incoming traffic: %d mbps\n", mbps(in.Total.Bytes))
	fmt.Fprintf(&b, "Total outgoing traffic: %d mbps\n", mbps(out.Total.Bytes))
	fmt.Fprintf(&b, "Total incoming pps: %d packets per second\n", in.Total.Packets)
	fmt.Fprintf(&b, "Total outgoing pps: %d packets per second\n", out.Total.Packets)
	fmt.Fprintf(&b, "Total incoming flows: %d flows per second\n", in.Flows)
	fmt.Fprintf(&b, "Total outgoing flows: %d flows per second\n", out.Flows)
	fourLines(&b, "ip fragmented", in.Fragments, out.Fragments)
	fourLines(&b, "dropped", in.Dropped, out.Dropped)
	fourLines(&b, "tcp", in.TCP, out.TCP)
	fourLines(&b, "syn tcp", in.TCPSYN, out.TCPSYN)
	fourLines(&b, "udp", in.UDP, out.UDP)
	fourLines(&b, "icmp", in.ICMP, out.ICMP)
	b.WriteString("\n\n\nAttack traffic dump\n\n")
	for i := range packets {
		packets[i].write(&b)
	}
	b.WriteString("\n\nFlow dump\n\n")
	return b.String()
}

func fourLines(b *strings.Builder, name string, in, out traffic.Count) {
	fmt.Fprintf(b, "Incoming %s traffic: %d mbps\n", name, mbps(in.Bytes))
	fmt.Fprintf(b, "Outgoing %s traffic: %d mbps\n", name, mbps(out.Bytes))
	fmt.Fprintf(b, "Incoming %s pps: %d packets per second\n", name, in.Packets)
	fmt.Fprintf(b, "Outgoing %s pps: %d packets per second\n", name, out.Packets)
}

// mbps turns bytes per second into whole Mbit/s, rounded down.
func mbps(bytes uint64) uint64 { return bytes/1_000_000*8 + bytes%1_000_000*8/1_000_000 }

// write prints one line of the packet dump, in local time and with the spaces that scripts may split by.
func (p *Packet) write(b *strings.Builder) {
	q := &p.Packet
	fmt.Fprintf(b, "%s %s:%d > %s:%d protocol: %s",
		p.Time.Local().Format("2006-01-02 15:04:05.000000"), q.Src, q.SrcPort, q.Dst, q.DstPort, protocolName(q.Protocol))
	if q.Protocol == traffic.ProtoTCP {
		b.WriteString(" flags: " + flagNames(q.TCPFlags))
	}
	fragment := 0
	if q.Fragment != traffic.Whole {
		fragment = 1
	}
	fmt.Fprintf(b, " frag: %d  packets: 1 size: %d bytes ttl: %d sample ratio: %d  \n", fragment, q.Length, q.TTL, p.Rate)
}

func flagNames(flags uint8) string {
	var names []string
	for i, name := range [...]string{"fin", "syn", "rst", "psh", "ack", "urg"} {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ",")
}

// protocolName gives the names of IANA's registry that turn up in practice, in lower case and with "_" for "-"; others by number.
func protocolName(p uint8) string {
	switch p {
	case 0:
		return "hopopt"
	case traffic.ProtoICMP:
		return "icmp"
	case 2:
		return "igmp"
	case 4:
		return "ipv4"
	case traffic.ProtoTCP:
		return "tcp"
	case traffic.ProtoUDP:
		return "udp"
	case 33:
		return "dccp"
	case 41:
		return "ipv6"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case traffic.ProtoICMPv6:
		return "ipv6_icmp"
	case 89:
		return "ospfigp"
	case 103:
		return "pim"
	case 112:
		return "vrrp"
	case 115:
		return "l2tp"
	case 132:
		return "sctp"
	case 136:
		return "udplite"
	}
	return "unknown_" + strconv.Itoa(int(p))
}
