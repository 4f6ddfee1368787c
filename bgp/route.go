package bgp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"weir/bgp/flowspec"
	"weir/userspace/traffic"
)

// route is one announcement as the child takes it: without the choice of peers, and a rule as the bytes of its NLRI.
type route struct {
	ID           string       `json:"id"` // what is announced: family and NLRI. A peer has at most one route of an ID
	Family       Family       `json:"family"`
	Prefix       netip.Prefix `json:"prefix,omitzero"`
	NLRI         []byte       `json:"nlri,omitempty"` // FlowSpec, with its length
	NextHop      netip.Addr   `json:"next_hop,omitzero"`
	Communities  []uint32     `json:"communities,omitempty"`
	Large        [][3]uint32  `json:"large,omitempty"`
	Extended     [][]byte     `json:"extended,omitempty"`      // 8 bytes each
	IPv6Extended [][]byte     `json:"ipv6_extended,omitempty"` // 20 bytes each (RFC 5701)
	LocalPref    *uint32      `json:"local_pref,omitempty"`
	MED          *uint32      `json:"med,omitempty"`
	Prepend      int          `json:"prepend,omitempty"`
}

// newRoute turns an announcement into a route, or says why it cannot be announced.
func newRoute(a *traffic.Announcement) (*route, error) {
	r := &route{
		Family: Family(a.Family()), Communities: a.Communities, Large: a.LargeCommunities, LocalPref: a.LocalPref, MED: a.MED, Prepend: a.Prepend,
	}
	for _, e := range a.ExtendedCommunities {
		r.Extended = append(r.Extended, e[:])
	}
	// So much fits into one message (RFC 4271 section 4.1), whatever else is in it.
	if len(a.Communities) > maxCommunities || len(a.LargeCommunities) > maxCommunities || len(a.ExtendedCommunities) > maxCommunities {
		return nil, fmt.Errorf("announce %s: at most %d communities of each kind can be sent", a.Route(), maxCommunities)
	}
	if a.Prepend < 0 || a.Prepend > maxPrepend {
		return nil, fmt.Errorf("prepend %d: must be 0 to %d", a.Prepend, maxPrepend)
	}
	if a.Rule != nil {
		if err := r.setRule(a.Rule); err != nil {
			return nil, err
		}
		return r, nil
	}
	if !a.Prefix.IsValid() {
		return nil, errors.New("announce nothing: neither a prefix nor a rule is given")
	}
	if a.Prefix.Addr().Is4In6() {
		return nil, fmt.Errorf("announce %s: write it as an IPv4 prefix", a.Prefix)
	}
	r.Prefix = a.Prefix.Masked()
	r.NextHop = a.NextHop
	if !a.NextHop.IsValid() {
		return nil, fmt.Errorf("announce %s: a next hop is missing", r.Prefix)
	}
	if a.NextHop.IsUnspecified() || a.NextHop.Is4() != a.Prefix.Addr().Is4() {
		return nil, fmt.Errorf("announce %s: the next hop %s must be an address of its family", r.Prefix, a.NextHop)
	}
	r.ID = string(r.Family) + " " + r.Prefix.String()
	return r, nil
}

const maxCommunities = 100

// longestRule is the longest FlowSpec NLRI, without its length, that has a length of one octet. GoBGP v3 writes longer ones wrongly.
const longestRule = 238

func (r *route) setRule(rule *traffic.Rule) error {
	if r.Family == "" {
		return fmt.Errorf("announce rule %s: it must say which IP version it is for, by a prefix or by itself", rule)
	}
	if rule.DestinationOffset != 0 || rule.SourceOffset != 0 {
		return fmt.Errorf("announce rule %s: GoBGP v3 writes prefixes with an offset wrongly; leave the offset out", rule)
	}
	wire, err := flowspec.Marshal(*rule)
	if err != nil {
		return fmt.Errorf("announce rule: %w", err)
	}
	if len(wire.NLRI)-1 > longestRule {
		return fmt.Errorf("announce rule %s: it takes %d bytes, and the speaker can send %d; split it into several rules", rule, len(wire.NLRI)-1, longestRule)
	}
	r.ID, r.NLRI = string(r.Family)+" "+hex.EncodeToString(wire.NLRI), wire.NLRI
	for _, c := range wire.Communities {
		r.Extended = append(r.Extended, c[:])
	}
	for _, c := range wire.IPv6Communities {
		r.IPv6Extended = append(r.IPv6Extended, c[:])
	}
	return nil
}
