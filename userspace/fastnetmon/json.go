// Package fastnetmon writes attacks in the forms that FastNetMon's users have programs for: its JSON, and the names of its keys.
package fastnetmon

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// The actions that the JSON tells of.
const (
	Ban   = "ban"
	Unban = "unban"
)

// document is the JSON that FastNetMon gives to Redis and MongoDB. Traffic is in bytes per second, and in bits per second where the name says so.
type document struct {
	Scope   string   `json:"alert_scope"` // host, hostgroup; prefix is Weir's own
	IP      string   `json:"ip"`
	Action  string   `json:"action"`
	Details details  `json:"attack_details"`
	Packets []packet `json:"packet_dump_detailed,omitempty"`
}

type details struct {
	UUID     string `json:"attack_uuid"`
	Group    string `json:"host_group"`
	Protocol string `json:"protocol_version"` // IPv4 or IPv6

	InTraffic  uint64 `json:"total_incoming_traffic"`
	InBits     uint64 `json:"total_incoming_traffic_bits"`
	OutTraffic uint64 `json:"total_outgoing_traffic"`
	OutBits    uint64 `json:"total_outgoing_traffic_bits"`
	InPPS      uint64 `json:"total_incoming_pps"`
	OutPPS     uint64 `json:"total_outgoing_pps"`
	InFlows    uint64 `json:"total_incoming_flows"`
	OutFlows   uint64 `json:"total_outgoing_flows"`

	kinds []kind
}

// kind is one kind of traffic, whose name is part of its keys.
type kind struct {
	name    string
	in, out traffic.Count
}

// MarshalJSON writes the keys of kinds behind the others, in FastNetMon's order.
func (d details) MarshalJSON() ([]byte, error) {
	type plain details
	text, err := json.Marshal(plain(d))
	if err != nil {
		return nil, err
	}
	text = text[:len(text)-1]
	for _, k := range d.kinds {
		for _, way := range []struct {
			name string
			traffic.Count
		}{{"incoming", k.in}, {"outgoing", k.out}} {
			for _, v := range []struct {
				name  string
				value uint64
			}{{"traffic", way.Bytes}, {"traffic_bits", way.Bytes * 8}, {"pps", way.Packets}} {
				number, err := json.Marshal(v.value)
				if err != nil {
					return nil, err
				}
				text = append(append(text, `,"`+way.name+"_"+k.name+"_"+v.name+`":`...), number...)
			}
		}
	}
	return append(text, '}'), nil
}

// packet is one packet of packet_dump_detailed. What Weir does not know of a single packet is as FastNetMon writes what it does not know.
type packet struct {
	Timestamp   int64   `json:"timestamp"`  // in whole seconds
	IPVersion   string  `json:"ip_version"` // ipv4 or ipv6
	Source      string  `json:"source_ip"`
	Destination string  `json:"destination_ip"`
	SourceAS    uint32  `json:"source_asn"`
	DestAS      uint32  `json:"destination_asn"`
	SourceLand  string  `json:"source_country"`
	DestLand    string  `json:"destination_country"`
	Input       uint32  `json:"input_interface"`
	Output      uint32  `json:"output_interface"`
	SourcePort  *uint16 `json:"source_port,omitempty"` // of TCP and UDP alone
	DestPort    *uint16 `json:"destination_port,omitempty"`
	Agent       string  `json:"agent_address"`
	TCPFlags    string  `json:"tcp_flags,omitempty"` // of TCP alone; "-" for none
	Forwarding  string  `json:"forwarding_status"`
	Fragment    bool    `json:"fragmentation"`
	Packets     int     `json:"packets"`
	Length      uint32  `json:"length"`    // of the frame
	IPLength    uint32  `json:"ip_length"` // of the frame behind the Ethernet header
	TTL         uint8   `json:"ttl"`
	Ratio       uint32  `json:"sample_ratio"`
	Protocol    string  `json:"protocol"` // tcp, udp, icmp or unknown
}

const ethernetHeader = 14

// Document writes the JSON about a ban or its end.
func Document(action string, c *traffic.Change) ([]byte, error) {
	a := &c.Record.Attack
	in, out := &a.Rate.Incoming, &a.Rate.Outgoing
	group := c.Group
	if group == "" {
		group = a.Target.Group
	}
	d := document{
		Scope: a.Target.Scope.String(), IP: subject(a.Target), Action: action,
		Details: details{
			UUID: UUID(a.ID), Group: group, Protocol: "IPv4",
			InTraffic: in.Total.Bytes, InBits: in.Total.Bytes * 8, OutTraffic: out.Total.Bytes, OutBits: out.Total.Bytes * 8,
			InPPS: in.Total.Packets, OutPPS: out.Total.Packets, InFlows: in.Flows, OutFlows: out.Flows,
			kinds: []kind{
				{"dropped", in.Dropped, out.Dropped}, {"ip_fragmented", in.Fragments, out.Fragments}, {"tcp", in.TCP, out.TCP},
				{"syn_tcp", in.TCPSYN, out.TCPSYN}, {"udp", in.UDP, out.UDP}, {"icmp", in.ICMP, out.ICMP},
			},
		},
	}
	if a.Target.Prefix.Addr().Is6() {
		d.Details.Protocol = "IPv6"
	}
	for i := range c.Packets {
		d.Packets = append(d.Packets, packetOf(&c.Packets[i]))
	}
	return json.Marshal(&d)
}

func packetOf(s *traffic.SampledPacket) packet {
	p := packet{
		Timestamp: s.Time.Unix(), IPVersion: "ipv4", Source: s.Src.String(), Destination: s.Dst.String(), Agent: "0.0.0.0", Forwarding: "unknown",
		Fragment: s.Fragment != traffic.Whole, Packets: 1, Length: s.Length, IPLength: max(s.Length, ethernetHeader) - ethernetHeader,
		TTL: s.TTL, Ratio: max(s.Rate, 1), Protocol: protocol(s.Protocol),
	}
	if s.Src.Is6() {
		p.IPVersion = "ipv6"
	}
	if s.Protocol == traffic.ProtoTCP || s.Protocol == traffic.ProtoUDP {
		p.SourcePort, p.DestPort = &s.SrcPort, &s.DstPort
	}
	if s.Protocol == traffic.ProtoTCP {
		p.TCPFlags = flags(s.TCPFlags)
	}
	return p
}

func protocol(number uint8) string {
	switch number {
	case traffic.ProtoTCP:
		return "tcp"
	case traffic.ProtoUDP:
		return "udp"
	case traffic.ProtoICMP:
		return "icmp"
	}
	return "unknown"
}

func flags(bits uint8) string {
	var names []string
	for i, name := range [...]string{"fin", "syn", "rst", "psh", "ack", "urg"} {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ",")
}

// UUID is the UUID that FastNetMon's users know an attack by: of version 8 (RFC 9562 section 5.8), made of Weir's id, so that all sinks give the same.
func UUID(id string) string {
	h := sha256.Sum256([]byte(id))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// subject is the attacked address, prefix or hostgroup.
func subject(t traffic.Target) string {
	if t.Scope == traffic.ScopeGroup {
		return t.Group
	}
	return t.String()
}

// Key is what keys of Redis begin with: "[PREFIX_]ADDRESS".
func Key(prefix string, t traffic.Target) string {
	if prefix == "" {
		return subject(t)
	}
	return prefix + "_" + subject(t)
}

// Field is the name of the one field that a document of MongoDB has: "A_B_C_D_information_DD_MM_YY_HH:MM:SS", in local time.
func Field(t traffic.Target, at time.Time) string {
	return Underscored(t.Prefix, subject(t)) + "_information_" + at.Local().Format("02_01_06_15:04:05")
}

// Underscored is an address with underscores, or a prefix with its length behind another one; text where there is no prefix.
func Underscored(p netip.Prefix, text string) string {
	if p.IsValid() {
		text = p.String()
		if p.IsSingleIP() {
			text = p.Addr().String()
		}
	}
	return strings.NewReplacer(".", "_", ":", "_", "/", "_").Replace(text)
}
