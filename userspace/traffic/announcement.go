package traffic

import (
	"net/netip"
	"slices"
	"strings"
)

// Announcement is one route that BGP peers are to have: a blackhole, a diversion or, with a Rule, a FlowSpec rule. It is a wish;
// what became of it is the speaker's to say.
type Announcement struct {
	Prefix  netip.Prefix // what is announced; unused where Rule is set
	NextHop netip.Addr   // of the prefix's family; unused where Rule is set
	Rule    *Rule        // announced as FlowSpec (RFC 8955, RFC 8956) with its actions

	Communities         []uint32    // RFC 1997: AS in the upper 16 bits
	LargeCommunities    [][3]uint32 // RFC 8092
	ExtendedCommunities [][8]byte   // RFC 4360, in network byte order; those of the rule's actions come by themselves
	LocalPref           *uint32     // nil: 100. Sent to peers of our own AS only
	MED                 *uint32     // nil: none
	Prepend             int         // eBGP: how often our own AS stands in the path beyond what BGP itself adds

	Peers []string // names of the peers that are told; empty: all
	Owner string   // the attack's identifier, or "manual"
}

// Family is the address family as operators write it: "ipv4-unicast", "ipv6-unicast", "ipv4-flowspec" or "ipv6-flowspec".
// It is empty for an announcement of nothing, and for a rule that is for both IP versions.
func (a Announcement) Family() string {
	if a.Rule == nil {
		switch {
		case !a.Prefix.IsValid():
			return ""
		case a.Prefix.Addr().Is4():
			return "ipv4-unicast"
		}
		return "ipv6-unicast"
	}
	switch a.Rule.Family() {
	case 4:
		return "ipv4-flowspec"
	case 6:
		return "ipv6-flowspec"
	}
	return ""
}

// Route is what is announced as text: the prefix, or the rule.
func (a Announcement) Route() string {
	if a.Rule != nil {
		return a.Rule.String()
	}
	return a.Prefix.Masked().String()
}

// Key says what the announcement is: its family, what it announces, and to whom. Of two announcements with one key the later one
// replaces the other. The order of the peers does not matter; the rule's actions do not either, for they are attributes in BGP.
func (a Announcement) Key() string {
	key := a.Family() + " " + a.Route()
	if a.Rule != nil {
		match := *a.Rule
		match.Actions = nil
		key = a.Family() + " " + match.String()
	}
	if len(a.Peers) == 0 {
		return key
	}
	peers := slices.Clone(a.Peers)
	slices.Sort(peers)
	return key + " to " + strings.Join(slices.Compact(peers), ",")
}
