package flowspec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// Types and sub-types of the extended communities that carry actions (IANA "BGP Extended Communities").
const (
	rateBytes        = 0x8006 // RFC 8955 section 7.1
	trafficAction    = 0x8007 // RFC 8955 section 7.3
	redirectAS2      = 0x8008 // RFC 8955 section 7.4
	redirectIPv4     = 0x8108
	redirectAS4      = 0x8208
	mark             = 0x8009 // RFC 8955 section 7.5
	ratePackets      = 0x800c // RFC 8955 section 7.2
	redirectToIPv4   = 0x010c // draft-ietf-idr-flowspec-redirect-ip: "Flow-spec Redirect to IPv4"
	redirectNextHop  = 0x0800 // draft-simpson-idr-flowspec-redirect: the address is the route's next hop
	redirectToIPv6   = 0x000c // path attribute 25; draft-ietf-idr-flowspec-redirect-ip: "Flow-spec Redirect to IPv6"
	redirectIPv6     = 0x000d // path attribute 25; RFC 8956 section 6.1
	redirectIPv6Old  = 0x800b // path attribute 25; of drafts before RFC 8956, and GoBGP v3; read, never written
	actionContinue   = 0x01   // T: last bit of the traffic action
	actionSample     = 0x02   // S
	redirectWithCopy = 0x01   // C: last bit of a redirection to an address
)

// appendActions writes actions as communities.
func appendActions(route *Route, actions []traffic.RuleAction, nextHop bool) error {
	var flags byte
	for _, a := range actions {
		var c [8]byte
		copies := a.Kind == traffic.RuleCopyIP
		switch a.Kind {
		case traffic.RuleAccept:
			continue
		case traffic.RuleSample:
			flags |= actionSample
			continue
		case traffic.RuleContinue:
			flags |= actionContinue
			continue
		case traffic.RuleDiscard:
			c = rate(rateBytes, 0)
		case traffic.RuleRateBytes:
			c = rate(rateBytes, a.Rate)
		case traffic.RuleRatePackets:
			c = rate(ratePackets, a.Rate)
		case traffic.RuleMark:
			c = community(mark)
			c[7] = a.DSCP
		case traffic.RuleRedirectVRF:
			if a.Target.Address.Is6() {
				route.IPv6Communities = append(route.IPv6Communities, ipv6Community(redirectIPv6, a.Target.Address, uint16(a.Target.Value)))
				continue
			}
			c = target(a.Target)
		case traffic.RuleRedirectIP, traffic.RuleCopyIP:
			switch {
			case nextHop && route.NextHop.IsValid():
				return errors.New("the next hop is one address; write one redirect")
			case nextHop:
				route.NextHop = a.Address
				c = community(redirectNextHop)
			case a.Address.Is6():
				route.IPv6Communities = append(route.IPv6Communities, ipv6Community(redirectToIPv6, a.Address, copyBit(copies)))
				continue
			default:
				c = community(redirectToIPv4)
				address := a.Address.As4()
				copy(c[2:], address[:])
			}
			c[7] = byte(copyBit(copies))
		}
		route.Communities = append(route.Communities, c)
	}
	if flags != 0 {
		c := community(trafficAction)
		c[7] = flags
		route.Communities = append(route.Communities, c)
	}
	return nil
}

func copyBit(copies bool) uint16 {
	if copies {
		return redirectWithCopy
	}
	return 0
}

func community(kind uint16) (c [8]byte) {
	binary.BigEndian.PutUint16(c[:], kind)
	return c
}

func ipv6Community(kind uint16, address netip.Addr, value uint16) (c [20]byte) {
	binary.BigEndian.PutUint16(c[:], kind)
	a := address.As16()
	copy(c[2:], a[:])
	binary.BigEndian.PutUint16(c[18:], value)
	return c
}

// rate writes a rate per second. The two bytes between, an AS that is only for information, stay 0.
func rate(kind uint16, perSecond float32) [8]byte {
	c := community(kind)
	binary.BigEndian.PutUint32(c[4:], math.Float32bits(perSecond))
	return c
}

func target(t traffic.RouteTarget) (c [8]byte) {
	switch {
	case t.Address.IsValid():
		c = community(redirectIPv4)
		address := t.Address.As4()
		copy(c[2:], address[:])
		binary.BigEndian.PutUint16(c[6:], uint16(t.Value))
	case t.Wide:
		c = community(redirectAS4)
		binary.BigEndian.PutUint32(c[2:], t.AS)
		binary.BigEndian.PutUint16(c[6:], uint16(t.Value))
	default:
		c = community(redirectAS2)
		binary.BigEndian.PutUint16(c[2:], uint16(t.AS))
		binary.BigEndian.PutUint32(c[4:], t.Value)
	}
	return c
}

// decodeActions reads the actions among a route's communities; none is accept.
func decodeActions(route Route) ([]traffic.RuleAction, error) {
	var actions []traffic.RuleAction
	for _, c := range route.Communities {
		found, err := decodeCommunity(c, route.NextHop)
		if err != nil {
			return nil, fmt.Errorf("community %x: %w", c, err)
		}
		actions = append(actions, found...)
	}
	for _, c := range route.IPv6Communities {
		address, value := netip.AddrFrom16([16]byte(c[2:18])), binary.BigEndian.Uint16(c[18:])
		switch binary.BigEndian.Uint16(c[:]) {
		case redirectToIPv6:
			actions = append(actions, redirect(address, value&redirectWithCopy != 0))
		case redirectIPv6, redirectIPv6Old:
			actions = append(actions, vrf(traffic.RouteTarget{Address: address, Value: uint32(value)}))
		}
	}
	if len(actions) == 0 {
		return []traffic.RuleAction{{Kind: traffic.RuleAccept}}, nil
	}
	discards := func(a traffic.RuleAction) bool { return a.Kind == traffic.RuleDiscard }
	if slices.ContainsFunc(actions, discards) { // a rate has nothing left to limit
		actions = slices.DeleteFunc(actions, func(a traffic.RuleAction) bool { return a.Kind == traffic.RuleRateBytes })
	}
	return actions, nil
}

func decodeCommunity(c [8]byte, nextHop netip.Addr) ([]traffic.RuleAction, error) {
	var a traffic.RuleAction
	switch kind := binary.BigEndian.Uint16(c[:]); kind {
	case rateBytes, ratePackets:
		a.Kind, a.Rate = traffic.RuleRateBytes, math.Float32frombits(binary.BigEndian.Uint32(c[4:]))
		if kind == ratePackets {
			a.Kind = traffic.RuleRatePackets
		}
		switch {
		case math.IsNaN(float64(a.Rate)) || math.IsInf(float64(a.Rate), 0):
			return nil, errors.New("its rate is no number")
		case a.Rate <= 0: // negative ones are to be treated as 0 (RFC 8955 section 7.1)
			a = traffic.RuleAction{Kind: traffic.RuleDiscard}
		}
	case trafficAction:
		var actions []traffic.RuleAction
		if c[7]&actionSample != 0 {
			actions = append(actions, traffic.RuleAction{Kind: traffic.RuleSample})
		}
		if c[7]&actionContinue != 0 {
			actions = append(actions, traffic.RuleAction{Kind: traffic.RuleContinue})
		}
		return actions, nil
	case mark:
		a.Kind, a.DSCP = traffic.RuleMark, c[7]&0x3f
	case redirectAS2:
		a = vrf(traffic.RouteTarget{AS: uint32(binary.BigEndian.Uint16(c[2:])), Value: binary.BigEndian.Uint32(c[4:])})
	case redirectIPv4:
		a = vrf(traffic.RouteTarget{Address: netip.AddrFrom4([4]byte(c[2:6])), Value: uint32(binary.BigEndian.Uint16(c[6:]))})
	case redirectAS4:
		a = vrf(traffic.RouteTarget{AS: binary.BigEndian.Uint32(c[2:]), Wide: true, Value: uint32(binary.BigEndian.Uint16(c[6:]))})
	case redirectToIPv4:
		a = redirect(netip.AddrFrom4([4]byte(c[2:6])), c[7]&redirectWithCopy != 0)
	case redirectNextHop:
		if !nextHop.IsValid() {
			return nil, errors.New("it redirects to the route's next hop, and the route has none")
		}
		a = redirect(nextHop, c[7]&redirectWithCopy != 0)
	default:
		return nil, nil
	}
	return []traffic.RuleAction{a}, nil
}

func vrf(t traffic.RouteTarget) traffic.RuleAction {
	return traffic.RuleAction{Kind: traffic.RuleRedirectVRF, Target: t}
}

func redirect(address netip.Addr, copies bool) traffic.RuleAction {
	if copies {
		return traffic.RuleAction{Kind: traffic.RuleCopyIP, Address: address}
	}
	return traffic.RuleAction{Kind: traffic.RuleRedirectIP, Address: address}
}
