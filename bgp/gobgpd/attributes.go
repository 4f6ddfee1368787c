package gobgpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"weir/bgp/flowspec"
	"weir/bgp/gobgpd/gobgppb"
	"weir/userspace/traffic"
)

// Path attributes (IANA "BGP Path Attributes") and their flags (RFC 4271 section 4.3).
const (
	attributeOrigin              = 1
	attributeASPath              = 2
	attributeNextHop             = 3
	attributeMED                 = 4
	attributeLocalPref           = 5
	attributeCommunities         = 8
	attributeMPReach             = 14
	attributeExtendedCommunities = 16
	attributeIPv6Communities     = 25 // RFC 5701
	attributeLargeCommunities    = 32

	flagOptional   = 0x80
	flagTransitive = 0x40
	flagExtended   = 0x10 // length of two octets
)

// Address families (IANA "Address Family Numbers", "SAFI Values").
const (
	afiIPv4      = 1
	afiIPv6      = 2
	safiUnicast  = 1
	safiFlowSpec = 133 // RFC 8955
)

const (
	asSequence     = 2 // segment type of an AS path, RFC 4271 section 4.3
	maxPrepend     = 255
	maxCommunities = 4000 / 4 // what surely fits into an UPDATE of 4096 bytes
)

// path turns an announcement into what GoBGP takes: NLRI and attributes as in an UPDATE message. as is GoBGP's own number, which is
// needed where it is prepended. key is the same for what replaces one another.
func path(a traffic.Announcement, as uint32) (key string, p *gobgppb.Path, err error) {
	var nlri []byte
	var ipv6 [][20]byte
	family := &gobgppb.Family{Afi: afiIPv4, Safi: safiUnicast}
	extended := a.ExtendedCommunities
	nextHop := a.NextHop
	if a.Rule != nil {
		route, err := flowspec.Marshal(*a.Rule)
		if err != nil {
			return "", nil, err
		}
		nlri, ipv6 = route.NLRI, route.IPv6Communities
		extended = append(slices.Clone(route.Communities), extended...)
		family.Safi = safiFlowSpec
		nextHop = netip.IPv4Unspecified() // RFC 8955 section 4: none; GoBGP wants one and leaves it out
		if a.Rule.Family() == 6 {
			family.Afi, nextHop = afiIPv6, netip.IPv6Unspecified()
		}
	} else {
		p := a.Prefix
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return "", nil, fmt.Errorf("%s is no prefix: its address has bits beyond its length, or is IPv4 written as IPv6", p)
		}
		if !nextHop.IsValid() || nextHop.Is4() != p.Addr().Is4() || nextHop.Is4In6() || nextHop.Zone() != "" {
			return "", nil, fmt.Errorf("%s needs a next hop of its own family, and has %s", p, nextHop)
		}
		if p.Addr().Is6() {
			family.Afi = afiIPv6
		}
		nlri = append([]byte{byte(p.Bits())}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
	}
	if n := len(a.Communities) + 2*len(extended) + 3*len(a.LargeCommunities) + 5*len(ipv6); n > maxCommunities {
		return "", nil, errors.New("it has more communities than fit into a BGP message")
	}
	attributes, err := attributes(a, as, extended, ipv6)
	if err != nil {
		return "", nil, err
	}
	if family.Afi == afiIPv4 && family.Safi == safiUnicast {
		attributes = append(attributes, attribute(flagTransitive, attributeNextHop, nextHop.AsSlice()))
	} else {
		hop := nextHop.AsSlice()
		value := append([]byte{0, byte(family.Afi), byte(family.Safi), byte(len(hop))}, hop...)
		value = append(append(value, 0), nlri...) // an octet reserved, RFC 4760 section 3
		attributes = append(attributes, attribute(flagOptional, attributeMPReach, value))
	}
	path := &gobgppb.Path{Family: family, NlriBinary: nlri, PattrsBinary: attributes}
	return pathKey(path), path, nil
}

// pathKey is family and NLRI.
func pathKey(p *gobgppb.Path) string {
	return fmt.Sprintf("%d/%d %x", p.GetFamily().GetAfi(), p.GetFamily().GetSafi(), p.GetNlriBinary())
}

// attributes are those that do not depend on the family.
func attributes(a traffic.Announcement, as uint32, extended [][8]byte, ipv6 [][20]byte) ([][]byte, error) {
	all := [][]byte{attribute(flagTransitive, attributeOrigin, []byte{0})} // IGP
	b := binary.BigEndian
	switch {
	case a.Prepend < 0 || a.Prepend > maxPrepend:
		return nil, fmt.Errorf("cannot prepend the AS %d times: 0 to %d are possible", a.Prepend, maxPrepend)
	case a.Prepend > 0: // GoBGP itself adds its number once more where it sends the path to another AS
		value := []byte{asSequence, byte(a.Prepend)}
		for range a.Prepend {
			value = b.AppendUint32(value, as)
		}
		all = append(all, attribute(flagTransitive, attributeASPath, value))
	}
	for _, number := range []struct {
		value *uint32
		flags byte
		kind  byte
	}{{a.MED, flagOptional, attributeMED}, {a.LocalPref, flagTransitive, attributeLocalPref}} {
		if number.value != nil {
			all = append(all, attribute(number.flags, number.kind, b.AppendUint32(nil, *number.value)))
		}
	}
	var standard, large, wide, wider []byte
	for _, c := range a.Communities {
		standard = b.AppendUint32(standard, c)
	}
	for _, c := range extended {
		wide = append(wide, c[:]...)
	}
	for _, c := range ipv6 {
		wider = append(wider, c[:]...)
	}
	for _, c := range a.LargeCommunities {
		for _, part := range c {
			large = b.AppendUint32(large, part)
		}
	}
	for _, list := range []struct {
		value []byte
		kind  byte
	}{
		{standard, attributeCommunities}, {wide, attributeExtendedCommunities},
		{wider, attributeIPv6Communities}, {large, attributeLargeCommunities},
	} {
		if len(list.value) > 0 {
			all = append(all, attribute(flagOptional|flagTransitive, list.kind, list.value))
		}
	}
	return all, nil
}

// attribute writes one attribute with its header (RFC 4271 section 4.3).
func attribute(flags, kind byte, value []byte) []byte {
	if len(value) > math.MaxUint8 {
		b := []byte{flags | flagExtended, kind}
		return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	return append([]byte{flags, kind, byte(len(value))}, value...)
}

// attributeValue is the opposite; ok is false for what is no attribute.
func attributeValue(b []byte) (kind byte, value []byte, ok bool) {
	if len(b) < 3 {
		return 0, nil, false
	}
	header, length := 3, int(b[2])
	if b[0]&flagExtended != 0 {
		if len(b) < 4 {
			return 0, nil, false
		}
		header, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	}
	return b[1], b[header:], len(b) == header+length
}
