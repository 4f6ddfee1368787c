package traffic

import "fmt"

// Reason says why a packet left the program: it is enum reason of bpf/abi.h, value for value.
type Reason uint8

// The first four are the directions of packets that were counted and not dropped; user-space parsers return OK for all four.
const (
	ReasonIncoming      Reason = iota // counted for its destination
	ReasonOutgoing                    // counted for its source
	ReasonInternal                    // counted for both
	ReasonOther                       // IP, but neither address is ours
	ReasonBannedIn                    // counted, and dropped by the verdict of its destination
	ReasonBannedOut                   // counted, and dropped by the verdict of its source
	ReasonARP                         // ARP and RARP
	ReasonNotIP                       // any other network protocol: LLDP, spanning tree, ...
	ReasonShortEthernet               // fewer bytes than an Ethernet header
	ReasonShortVLAN                   // cut off within a VLAN tag
	ReasonVLANDepth                   // more than 3 VLAN tags
	ReasonShortMPLS                   // cut off within the MPLS label stack
	ReasonMPLSDepth                   // more than 8 MPLS labels
	ReasonShortIPv4                   // cut off within the IPv4 header or its options
	ReasonBadIPv4                     // version, header length or total length impossible
	ReasonShortIPv6                   // cut off within the IPv6 header
	ReasonBadIPv6                     // version is not 6
	ReasonShortTunnel                 // cut off within a PPPoE or PPP header
	ReasonTunnelDepth                 // PPPoE and pseudo-wires within each other, deeper than is looked
	ReasonFilteredIn                  // counted, and dropped by a rule or a list of sources; its destination is ours
	ReasonFilteredOut                 // the same; only its source is ours
	ReasonChallenged                  // counted, and answered by a challenge in its host's place: a SYN of a source that is not proven
	ReasonProven                      // counted, and dropped: the answer to a challenge, by which its source is proven
	ReasonUnproven                    // counted, and dropped because its source is not proven
	ReasonCount

	// ReasonOK is what a parser returns for a packet whose addresses could be read.
	ReasonOK = ReasonIncoming
)

var reasonNames = [ReasonCount]string{
	"incoming", "outgoing", "internal", "other", "banned_in", "banned_out", "arp", "not_ip", "short_ethernet", "short_vlan",
	"vlan_depth", "short_mpls", "mpls_depth", "short_ipv4", "bad_ipv4", "short_ipv6", "bad_ipv6", "short_tunnel", "tunnel_depth",
	"filtered_in", "filtered_out", "challenged", "proven", "unproven",
}

// String returns the reason's name as it stands in JSON and metrics.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Counted reports whether packets that leave for this reason are in a host's cells.
func (r Reason) Counted() bool {
	switch r {
	case ReasonBannedIn, ReasonBannedOut, ReasonFilteredIn, ReasonFilteredOut, ReasonChallenged, ReasonProven, ReasonUnproven:
		return true
	}
	return r <= ReasonInternal
}

// Anomaly says what is broken in a packet whose addresses could be read; the packet is counted for its host all the same.
// It is enum anomaly of bpf/abi.h, value for value.
type Anomaly uint8

const (
	AnomalyNone           Anomaly = iota
	AnomalyShortTransport         // cut off within the TCP, UDP or ICMP header: counted by protocol, without ports or flags
	AnomalyShortExtension         // cut off within an IPv6 extension header: counted without protocol
	AnomalyExtensionDepth         // more than 8 IPv6 extension headers: counted without protocol
	AnomalyBrokenTunnel           // what is in the tunnel is cut off or broken: counted for the last addresses outside of that
	AnomalyTunnelDepth            // tunnels within each other, deeper than is looked: the same
	AnomalyCount
)

var anomalyNames = [AnomalyCount]string{"none", "short_transport", "short_extension", "extension_depth", "broken_tunnel", "tunnel_depth"}

// String returns the anomaly's name as it stands in JSON and metrics.
func (a Anomaly) String() string {
	if a < AnomalyCount {
		return anomalyNames[a]
	}
	return fmt.Sprintf("anomaly(%d)", uint8(a))
}
