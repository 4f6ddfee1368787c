package traffic

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
)

// RuleActionKind says what happens to the packets of a rule.
type RuleActionKind uint8

// The kinds, with the extended community that carries them in BGP: type and sub-type.
const (
	RuleAccept      RuleActionKind = iota // let pass: no community; stands alone
	RuleDiscard                           // 0x8006 with rate 0 (RFC 8955 section 7.1)
	RuleRateBytes                         // 0x8006: at most Rate bytes per second (RFC 8955 section 7.1)
	RuleRatePackets                       // 0x800c: at most Rate packets per second (RFC 8955 section 7.2)
	RuleMark                              // 0x8009: set DSCP (RFC 8955 section 7.5)
	RuleRedirectVRF                       // 0x8008, 0x8108, 0x8208 (RFC 8955 section 7.4), 0x000d (RFC 8956 section 6.1): to the VRF that imports Target
	RuleRedirectIP                        // 0x010c, 0x000c (draft-ietf-idr-flowspec-redirect-ip): towards Address instead
	RuleCopyIP                            // the same with the C bit: a copy towards Address, the packet itself goes on
	RuleSample                            // 0x8007, S bit (RFC 8955 section 7.3): sample and log
	RuleContinue                          // 0x8007, T bit (RFC 8955 section 7.3): also look at the rules behind this one
	RuleActionKindCount
)

var ruleActionKindNames = [RuleActionKindCount]string{
	"accept", "discard", "rate-bytes", "rate-packets", "mark", "redirect-vrf", "redirect", "copy", "sample", "continue",
}

// String returns the kind's word in the text form.
func (k RuleActionKind) String() string {
	if k < RuleActionKindCount {
		return ruleActionKindNames[k]
	}
	return fmt.Sprintf("action(%d)", uint8(k))
}

// RuleAction is one thing that happens to the packets of a rule. Fields that the kind does not use are zero.
type RuleAction struct {
	Kind    RuleActionKind
	Rate    float32     // RuleRateBytes, RuleRatePackets: per second, greater than 0
	DSCP    uint8       // RuleMark: 0 to 63
	Target  RouteTarget // RuleRedirectVRF
	Address netip.Addr  // RuleRedirectIP, RuleCopyIP: IPv4 or IPv6
}

// RouteTarget is a VPN's route target in one of its four forms: AS of 2 octets and value of 4 (RFC 4360), IPv4 address and value of 2
// (RFC 4360), AS of 4 octets and value of 2 (RFC 5668), IPv6 address and value of 2 (RFC 5701).
type RouteTarget struct {
	AS      uint32
	Wide    bool       // the AS is of the form of 4 octets; always true over 65535
	Address netip.Addr // instead of the AS
	Value   uint32
}

// String returns AS:VALUE, ASL:VALUE (4 octets although 2 would do), IPV4:VALUE or [IPV6]:VALUE.
func (t RouteTarget) String() string {
	value := ":" + strconv.FormatUint(uint64(t.Value), 10)
	as := strconv.FormatUint(uint64(t.AS), 10)
	switch {
	case t.Address.Is4():
		return t.Address.String() + value
	case t.Address.IsValid():
		return "[" + t.Address.String() + "]" + value
	case t.Wide && t.AS <= math.MaxUint16:
		return as + "L" + value
	}
	return as + value
}

// largest is the largest Value that the form has room for.
func (t RouteTarget) largest() uint32 {
	if t.Address.IsValid() || t.Wide || t.AS > math.MaxUint16 {
		return math.MaxUint16
	}
	return math.MaxUint32
}

// String returns the action as it stands in the text form.
func (a RuleAction) String() string {
	switch a.Kind {
	case RuleRateBytes, RuleRatePackets:
		return a.Kind.String() + " " + strconv.FormatFloat(float64(a.Rate), 'f', -1, 32)
	case RuleMark:
		return a.Kind.String() + " " + strconv.Itoa(int(a.DSCP))
	case RuleRedirectVRF:
		return a.Kind.String() + " " + a.Target.String()
	case RuleRedirectIP, RuleCopyIP:
		return a.Kind.String() + " " + a.Address.String()
	}
	return a.Kind.String()
}

// problem says what is wrong with an action by itself, or nothing.
func (a RuleAction) problem() string {
	switch a.Kind {
	case RuleAccept, RuleDiscard, RuleSample, RuleContinue:
	case RuleRateBytes, RuleRatePackets:
		if !(a.Rate > 0) || math.IsInf(float64(a.Rate), 0) {
			return "a rate is a number greater than 0 per second; to drop everything, write discard"
		}
	case RuleMark:
		if a.DSCP > 63 {
			return fmt.Sprintf("DSCP %d is out of range; expected 0 to 63", a.DSCP)
		}
	case RuleRedirectVRF:
		t := a.Target
		switch {
		case t.Value > t.largest():
			return fmt.Sprintf("the value of route target %s is too large; expected at most %d", t, t.largest())
		case t.Address.Is4In6() || t.Address.Zone() != "" || t.Address.IsValid() && (t.AS != 0 || t.Wide):
			return fmt.Sprintf("route target %s is not one; expected AS:VALUE, IPV4:VALUE or [IPV6]:VALUE", t)
		}
	case RuleRedirectIP, RuleCopyIP:
		if !a.Address.IsValid() || a.Address.Is4In6() || a.Address.Zone() != "" || a.Address.IsUnspecified() || a.Address.IsMulticast() {
			return fmt.Sprintf("packets cannot be sent to %s; expected the address of a host", a.Address)
		}
	default:
		return fmt.Sprintf("there is no action %d", uint8(a.Kind))
	}
	return ""
}

// canonical clears the fields that the kind does not use.
func (a RuleAction) canonical() RuleAction {
	c := RuleAction{Kind: a.Kind}
	switch a.Kind {
	case RuleRateBytes, RuleRatePackets:
		c.Rate = a.Rate
	case RuleMark:
		c.DSCP = a.DSCP
	case RuleRedirectVRF:
		c.Target = a.Target
		c.Target.Wide = !a.Target.Address.IsValid() && (a.Target.Wide || a.Target.AS > math.MaxUint16)
	case RuleRedirectIP, RuleCopyIP:
		c.Address = a.Address
	}
	return c
}

// canonicalActions orders actions and leaves out repeated ones.
func canonicalActions(actions []RuleAction) []RuleAction {
	c := make([]RuleAction, 0, len(actions))
	for _, a := range actions {
		c = append(c, a.canonical())
	}
	slices.SortStableFunc(c, func(a, b RuleAction) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Address.Compare(b.Address))
	})
	return nilIfEmpty(slices.Compact(c))
}
