package bgp

import (
	"bytes"
	"encoding/binary"
	"fmt"

	api "github.com/osrg/gobgp/v3/api"
	gobgp "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// apiPath is a route as GoBGP takes it: NLRI and path attributes in their wire format, which GoBGP's own parser reads. What GoBGP
// would write differently to the peer is refused: a filter must be the one that was asked for, or none.
func apiPath(r *route, as uint32, prepend int) (*api.Path, error) {
	nlri, err := newNLRI(r)
	if err != nil {
		return nil, err
	}
	wire, err := nlri.Serialize()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.ID, err)
	}
	if r.NLRI != nil && !bytes.Equal(wire, r.NLRI) {
		return nil, fmt.Errorf("encode %s: GoBGP writes the rule differently: %x instead of %x", r.ID, wire, r.NLRI)
	}
	p := &api.Path{Family: apiFamily(r.Family), NlriBinary: wire}
	for _, a := range attributes(r, nlri, as, prepend) {
		b, err := a.Serialize()
		if err != nil {
			return nil, fmt.Errorf("encode attribute %s of %s: %w", a.GetType(), r.ID, err)
		}
		p.PattrsBinary = append(p.PattrsBinary, b)
	}
	for code, values := range map[uint8][][]byte{
		uint8(gobgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES): r.Extended, uint8(gobgp.BGP_ATTR_TYPE_IP6_EXTENDED_COMMUNITIES): r.IPv6Extended,
	} {
		if len(values) == 0 {
			continue
		}
		b, err := rawAttribute(code, bytes.Join(values, nil))
		if err != nil {
			return nil, fmt.Errorf("encode extended communities of %s: %w", r.ID, err)
		}
		p.PattrsBinary = append(p.PattrsBinary, b)
	}
	return p, nil
}

func newNLRI(r *route) (gobgp.AddrPrefixInterface, error) {
	bits, address := uint8(r.Prefix.Bits()), r.Prefix.Addr().String()
	switch r.Family {
	case IPv4Unicast:
		return gobgp.NewIPAddrPrefix(bits, address), nil
	case IPv6Unicast:
		return gobgp.NewIPv6AddrPrefix(bits, address), nil
	}
	afi, safi := r.Family.code()
	nlri, err := gobgp.NewPrefixFromRouteFamily(afi, safi)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.ID, err)
	}
	if len(r.NLRI) < 2 || int(r.NLRI[0]) != len(r.NLRI)-1 || len(r.NLRI)-1 > longestRule {
		return nil, fmt.Errorf("encode %s: the NLRI's length is wrong", r.ID)
	}
	if err := nlri.DecodeFromBytes(r.NLRI); err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.ID, err)
	}
	return nlri, nil
}

// attributes returns all but the extended communities. GoBGP takes the next hop out of NEXT_HOP or MP_REACH_NLRI and writes it
// anew, drops LOCAL_PREF towards eBGP peers, and prepends our AS to the path towards them.
func attributes(r *route, nlri gobgp.AddrPrefixInterface, as uint32, prepend int) []gobgp.PathAttributeInterface {
	all := []gobgp.PathAttributeInterface{gobgp.NewPathAttributeOrigin(gobgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	if prepend > 0 {
		path := make([]uint32, prepend)
		for i := range path {
			path[i] = as
		}
		all = append(all, gobgp.NewPathAttributeAsPath([]gobgp.AsPathParamInterface{gobgp.NewAs4PathParam(gobgp.BGP_ASPATH_ATTR_TYPE_SEQ, path)}))
	}
	switch r.Family {
	case IPv4Unicast:
		all = append(all, gobgp.NewPathAttributeNextHop(r.NextHop.String()))
	case IPv6Unicast:
		all = append(all, gobgp.NewPathAttributeMpReachNLRI(r.NextHop.String(), []gobgp.AddrPrefixInterface{nlri}))
	default: // FlowSpec has no next hop on the wire (RFC 8955 section 4), but GoBGP's table wants one
		all = append(all, gobgp.NewPathAttributeNextHop("0.0.0.0"))
	}
	if r.MED != nil {
		all = append(all, gobgp.NewPathAttributeMultiExitDisc(*r.MED))
	}
	if r.LocalPref != nil {
		all = append(all, gobgp.NewPathAttributeLocalPref(*r.LocalPref))
	}
	if len(r.Communities) > 0 {
		all = append(all, gobgp.NewPathAttributeCommunities(r.Communities))
	}
	if len(r.Large) > 0 {
		large := make([]*gobgp.LargeCommunity, len(r.Large))
		for i, l := range r.Large {
			large[i] = gobgp.NewLargeCommunity(l[0], l[1], l[2])
		}
		all = append(all, gobgp.NewPathAttributeLargeCommunities(large))
	}
	return all
}

// rawAttribute is an optional transitive attribute with the given value (RFC 4271 section 4.3). GoBGP must read and write the same.
func rawAttribute(code uint8, value []byte) ([]byte, error) {
	const optional, transitive, extended = 0x80, 0x40, 0x10
	b := []byte{optional | transitive, code, byte(len(value))}
	if len(value) > 255 {
		b = binary.BigEndian.AppendUint16([]byte{optional | transitive | extended, code}, uint16(len(value)))
	}
	b = append(b, value...)
	a, err := gobgp.GetPathAttribute(b)
	if err != nil {
		return nil, err
	}
	if err := a.DecodeFromBytes(b); err != nil {
		return nil, err
	}
	again, err := a.Serialize()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("GoBGP writes them differently: %x instead of %x", again, b)
	}
	return b, nil
}
