package traffic

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// String returns the rule's canonical text form, which ParseRule reads back as the same rule; docs/RULES.md describes it.
func (r Rule) String() string {
	r = r.Canonical()
	var words []string
	switch r.Version {
	case 0:
	case 4, 6:
		words = append(words, "family", "ipv"+strconv.Itoa(int(r.Version)))
	default:
		words = append(words, "family", strconv.Itoa(int(r.Version)))
	}
	for _, c := range conditions() {
		var text string
		switch {
		case c.Name == "destination" && r.Destination.IsValid():
			text = formatPrefix(r.Destination, r.DestinationOffset)
		case c.Name == "source" && r.Source.IsValid():
			text = formatPrefix(r.Source, r.SourceOffset)
		case c.Name == "payload":
			text = formatPayload(r.Payload)
		case c.terms != nil:
			text = formatTerms(*c.terms(&r), c.Name == "protocol")
		case c.masks != nil:
			text = formatMasks(*c.masks(&r), bitNames(c.Name))
		}
		if text != "" {
			words = append(words, c.Name, text)
		}
	}
	words = append(words, "then")
	for _, a := range r.Actions {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// The words of operators; True and False stand without a value.
var operatorNames = [8]string{"false", "", ">", ">=", "<", "<=", "!=", "true"}

func formatTerms(terms Terms, protocol bool) string {
	var b strings.Builder
	for i, t := range terms {
		b.WriteString(joint(i, t.And))
		b.WriteString(operatorNames[t.Op&True])
		switch {
		case t.Op == True || t.Op == False:
		case protocol && (t.Op == Equal || t.Op == NotEqual):
			b.WriteString(protocolName(t.Value))
		default:
			b.WriteString(strconv.FormatUint(uint64(t.Value), 10))
		}
	}
	return b.String()
}

func formatMasks(masks Masks, names []string) string {
	var b strings.Builder
	for i, m := range masks {
		b.WriteString(joint(i, m.And))
		if m.Not {
			b.WriteByte('!')
		}
		if m.Any {
			b.WriteString("any:")
		}
		var parts []string
		rest := m.Bits
		for bit, name := range names {
			if m.Bits>>bit&1 == 1 {
				parts = append(parts, name)
				rest &^= 1 << bit
			}
		}
		if rest != 0 || len(parts) == 0 {
			parts = append(parts, "0x"+strconv.FormatUint(uint64(rest), 16))
		}
		b.WriteString(strings.Join(parts, "+"))
	}
	return b.String()
}

func joint(i int, and bool) string {
	switch {
	case i == 0:
		return ""
	case and:
		return "&"
	}
	return ","
}

func formatPayload(payload []Payload) string {
	var parts []string
	for _, p := range payload {
		text := strconv.Itoa(int(p.Offset)) + ":" + hex.EncodeToString([]byte(p.Value))
		if p.Mask != "" {
			text += "/" + hex.EncodeToString([]byte(p.Mask))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "&")
}

// canonical leaves out a mask of ones and clears the bits of the value that are not compared.
func (p Payload) canonical() Payload {
	if p.Mask == strings.Repeat("\xff", len(p.Value)) {
		p.Mask = ""
	}
	if len(p.Mask) != len(p.Value) {
		return p
	}
	value := []byte(p.Value)
	for i := range value {
		value[i] &= p.Mask[i]
	}
	p.Value = string(value)
	return p
}

// bitNames returns the names of a condition's bits, the lowest first.
func bitNames(condition string) []string {
	if condition == "fragment" {
		return []string{"dont-fragment", "is-fragment", "first-fragment", "last-fragment"}
	}
	return []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"}
}

// protocol is an IP protocol (IANA "Protocol Numbers") that the text form knows by name.
type protocol struct {
	name   string
	number uint32
}

func protocols() []protocol {
	return []protocol{
		{"icmp", ProtoICMP}, {"igmp", 2}, {"ipip", 4}, {"tcp", ProtoTCP}, {"udp", ProtoUDP}, {"dccp", 33}, {"ipv6", 41}, {"gre", 47},
		{"esp", 50}, {"ah", 51}, {"icmpv6", ProtoICMPv6}, {"ospf", 89}, {"pim", 103}, {"vrrp", 112}, {"l2tp", 115}, {"sctp", 132}, {"udplite", 136},
	}
}

func protocolName(number uint32) string {
	for _, p := range protocols() {
		if p.number == number {
			return p.name
		}
	}
	return strconv.FormatUint(uint64(number), 10)
}

// dscpNumber reads the name of a code point (RFC 2474, 2597, 3246, 5865), which is read but not written.
func dscpNumber(name string) (uint32, bool) {
	switch name {
	case "ef":
		return 46, true
	case "va":
		return 44, true
	}
	var class, drop uint32
	switch {
	case len(name) == 3 && strings.HasPrefix(name, "cs"):
		class = uint32(name[2] - '0')
		return class * 8, class <= 7
	case len(name) == 4 && strings.HasPrefix(name, "af"):
		class, drop = uint32(name[2]-'0'), uint32(name[3]-'0')
		return class*8 + drop*2, class >= 1 && class <= 4 && drop >= 1 && drop <= 3
	}
	return 0, false
}
