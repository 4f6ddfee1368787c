// Package flowspec turns rules into BGP flow specifications and back: the NLRI and communities of RFC 8955 and RFC 8956, byte by byte, without a BGP speaker.
package flowspec

import (
	"errors"
	"fmt"
	"net/netip"

	"weir/userspace/traffic"
)

// SAFI is the subsequent address family of flow specifications outside VPNs (RFC 8955 section 4.1).
const SAFI = 133

// MaxNLRI is the longest NLRI value, its length field not counted (RFC 8955 section 4.1).
const MaxNLRI = 4095

// Route is a flow specification as it stands in a BGP UPDATE: AFI 1 or 2, SAFI 133.
type Route struct {
	IPv6            bool       // AFI 2 instead of 1
	NLRI            []byte     // one NLRI, its length field (1 or 2 bytes) in front
	Communities     [][8]byte  // extended communities (RFC 4360), path attribute 16, in network byte order
	IPv6Communities [][20]byte // IPv6 address specific extended communities (RFC 5701), path attribute 25
	NextHop         netip.Addr // of MP_REACH_NLRI; only the older form of redirection to an address looks at it
}

// Marshal returns a rule's flow specification. Equal rules give equal bytes: a withdrawal finds its announcement. Redirection to an
// address is written as in draft-ietf-idr-flowspec-redirect-ip: the address stands in the community. An error says what FlowSpec
// cannot carry: payload bytes, a rule for both IP versions, or more than MaxNLRI bytes.
func Marshal(r traffic.Rule) (Route, error) { return marshal(r, false) }

// MarshalNextHop does as Marshal, but writes redirection to an address as in draft-simpson-idr-flowspec-redirect, which older routers
// know: community 0x0800, and the address is the route's next hop, so there can be only one.
func MarshalNextHop(r traffic.Rule) (Route, error) { return marshal(r, true) }

func marshal(r traffic.Rule, nextHop bool) (Route, error) {
	fail := func(cause error) (Route, error) {
		return Route{}, fmt.Errorf("encode rule %q as flow specification: %w", r, cause)
	}
	if err := r.Validate(); err != nil {
		return fail(err)
	}
	r = r.Canonical()
	family := r.Family()
	switch {
	case family == 0:
		return fail(errors.New("nothing says for which IP version it is; add a prefix, or family ipv4 or family ipv6"))
	case len(r.Payload) > 0:
		return fail(errors.New("BGP cannot carry payload bytes; leave payload out, or use the rule in XDP only"))
	}
	route := Route{IPv6: family == 6}
	var value []byte
	for _, c := range components(&r) {
		value = append(append(value, c.kind), c.body...)
	}
	if len(value) > MaxNLRI {
		return fail(fmt.Errorf("it takes %d bytes, and FlowSpec has room for %d; split its longest list into two rules", len(value), MaxNLRI))
	}
	route.NLRI = append(appendLength(nil, len(value)), value...)
	if err := appendActions(&route, r.Actions, nextHop); err != nil {
		return fail(err)
	}
	return route, nil
}

// appendLength writes the length of an NLRI value: one byte below 240, else two whose first four bits are set (RFC 8955 section 4.1).
func appendLength(b []byte, n int) []byte {
	if n < 0xf0 {
		return append(b, byte(n))
	}
	return append(b, 0xf0|byte(n>>8), byte(n))
}

// Unmarshal returns the rule of a flow specification, canonical and valid. Communities that are no FlowSpec action are passed over; a
// route without any action means accept. Several rates, or other contradicting actions, are an error, as are unknown component
// types and components out of order, which RFC 8955 section 4.2 calls malformed. Bits that the RFCs tell receivers to ignore are ignored.
func Unmarshal(route Route) (traffic.Rule, error) {
	fail := func(cause error) (traffic.Rule, error) {
		return traffic.Rule{}, fmt.Errorf("decode flow specification: %w", cause)
	}
	r := traffic.Rule{Version: 4}
	if route.IPv6 {
		r.Version = 6
	}
	value, err := cutLength(route.NLRI)
	if err != nil {
		return fail(err)
	}
	if err := decodeComponents(&r, value, route.IPv6); err != nil {
		return fail(err)
	}
	if r.Actions, err = decodeActions(route); err != nil {
		return fail(err)
	}
	r = r.Canonical()
	if err := r.Validate(); err != nil {
		return fail(err)
	}
	return r, nil
}

// cutLength takes the length off the front of an NLRI, which must end where the length says.
func cutLength(nlri []byte) ([]byte, error) {
	if len(nlri) == 0 {
		return nil, errors.New("the NLRI is empty")
	}
	length, rest := int(nlri[0]), nlri[1:]
	if length >= 0xf0 {
		if len(nlri) < 2 {
			return nil, errors.New("the NLRI ends within its length")
		}
		length, rest = length&0x0f<<8|int(nlri[1]), nlri[2:]
	}
	if len(rest) != length {
		return nil, fmt.Errorf("the NLRI has %d bytes behind its length, which says %d", len(rest), length)
	}
	return rest, nil
}
