package exabgp

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"weir/userspace/traffic"
)

// actions writes what happens to the packets of a rule, and the announcement's communities, each as " NAME VALUE;". Extended
// communities that ExaBGP has no words for are written as their bytes.
func actions(a traffic.Announcement) (string, error) {
	var words []string
	var raw [][8]byte
	var flags uint8
	for _, action := range a.Rule.Actions {
		switch word, community, err := then(action); {
		case err != nil:
			return "", err
		case action.Kind == traffic.RuleSample || action.Kind == traffic.RuleContinue:
			flags |= community[7]
		case word != "":
			words = append(words, word)
		default:
			raw = append(raw, community)
		}
	}
	if flags != 0 {
		raw = append(raw, [8]byte{0x80, 0x07, 7: flags})
	}
	a.ExtendedCommunities = append(raw, a.ExtendedCommunities...)
	for _, list := range communities(a) {
		words = append(words, strings.TrimSpace(list))
	}
	return " " + strings.Join(words, "; ") + ";", nil
}

// maxWordRate is the greatest rate that ExaBGP takes as it is: it makes less of greater ones.
const maxWordRate = 1e12

// then returns ExaBGP's word for an action or, where it has none, the extended community: see traffic.RuleAction for the sources.
func then(a traffic.RuleAction) (word string, community [8]byte, err error) {
	b := binary.BigEndian
	switch a.Kind {
	case traffic.RuleAccept:
		return "accept", community, nil
	case traffic.RuleDiscard:
		return "discard", community, nil
	case traffic.RuleRateBytes:
		if r := float64(a.Rate); r == math.Trunc(r) && r <= maxWordRate {
			return fmt.Sprintf("rate-limit %.0f", r), community, nil
		}
		community = [8]byte{0x80, 0x06}
		b.PutUint32(community[4:], math.Float32bits(a.Rate))
	case traffic.RuleRatePackets:
		community = [8]byte{0x80, 0x0c}
		b.PutUint32(community[4:], math.Float32bits(a.Rate))
	case traffic.RuleMark:
		return fmt.Sprintf("mark %d", a.DSCP), community, nil
	case traffic.RuleSample:
		community = [8]byte{0x80, 0x07, 7: 0x02}
	case traffic.RuleContinue:
		community = [8]byte{0x80, 0x07, 7: 0x01}
	case traffic.RuleRedirectVRF:
		return target(a.Target)
	case traffic.RuleRedirectIP:
		return "redirect-to-nexthop-ietf " + a.Address.String(), community, nil
	case traffic.RuleCopyIP:
		if !a.Address.Is4() {
			return "", community, fmt.Errorf("ExaBGP cannot encode copies towards IPv6 addresses: %s", a)
		}
		community = [8]byte{0x01, 0x0c, 7: 0x01}
		copy(community[2:], a.Address.AsSlice())
	default:
		return "", community, fmt.Errorf("ExaBGP knows no action %s", a)
	}
	return "", community, nil
}

// target is the redirection to the VRF that imports a route target.
func target(t traffic.RouteTarget) (word string, community [8]byte, err error) {
	b := binary.BigEndian
	switch {
	case t.Address.Is6():
		return "", community, fmt.Errorf("ExaBGP cannot encode redirection to IPv6 route targets: %s", t)
	case t.Address.IsValid():
		community = [8]byte{0x81, 0x08}
		copy(community[2:], t.Address.AsSlice())
		b.PutUint16(community[6:], uint16(t.Value))
		return "", community, nil
	case t.Wide && t.AS <= math.MaxUint16:
		// It would take the number for one of 2 octets; and it trips over these communities where they are given as bytes.
		return "", community, fmt.Errorf("ExaBGP cannot encode redirection to route targets with 4 octets for a small AS: %s", t)
	}
	return fmt.Sprintf("redirect %d:%d", t.AS, t.Value), community, nil
}
