package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"weir/userspace/traffic"
)

// ruleField is a number that rules look at.
type ruleField int

const (
	fieldSourcePort ruleField = iota
	fieldDestinationPort
	fieldLength
	fieldTCPFlags
	fieldProtocol
	fieldICMPType
	fieldICMPCode
	fieldDSCP
	fieldFragments
	fieldFlowLabel
	fieldCount
)

// Words of a key: enum rule_word of bpf/abi_rules.h.
const (
	wordDestination = iota
	wordSource
	wordPorts
	wordKinds
	wordSizes
	wordRest
	wordDestination6
	wordSource6 = wordDestination6 + 3
	ruleWords   = wordSource6 + 3
	wordsNarrow = wordDestination6
)

// HAS_ bits of bpf/abi_rules.h.
const (
	hasIPv4 = 1 << iota
	hasIPv6
	hasPorts
	hasTCP
	hasICMP
)

// classCount is CLASS_COUNT of bpf/abi_rules.h.
const classCount = 2<<16 + classLengths + 4096 + 3*256 + 64

const classLengths = 65600

// place is where a field is in a key, and where its classes are.
type place struct {
	name    string
	word    int
	shift   int
	mask    uint32 // of the field, not shifted
	largest uint32
	classes int // index of the first in rule_classes; -1: the field has none
}

func places() [fieldCount]place {
	const flags = 2<<16 + classLengths
	return [fieldCount]place{
		fieldSourcePort:      {"source-port", wordPorts, 16, 0xffff, 0xffff, 0},
		fieldDestinationPort: {"destination-port", wordPorts, 0, 0xffff, 0xffff, 1 << 16},
		fieldLength:          {"length", wordSizes, 12, 0xfffff, classLengths - 1, 2 << 16},
		fieldTCPFlags:        {"tcp-flags", wordSizes, 0, 0xfff, 0xfff, flags},
		fieldProtocol:        {"protocol", wordKinds, 24, 0xff, 0xff, flags + 4096},
		fieldICMPType:        {"icmp-type", wordKinds, 16, 0xff, 0xff, flags + 4096 + 256},
		fieldICMPCode:        {"icmp-code", wordKinds, 8, 0xff, 0xff, flags + 4096 + 2*256},
		fieldDSCP:            {"dscp", wordKinds, 0, 0xff, 0x3f, flags + 4096 + 3*256},
		fieldFragments:       {"fragment", wordRest, 24, 0xf, 0xf, -1},
		fieldFlowLabel:       {"flow-label", wordRest, 0, 0xfffff, 0xfffff, -1},
	}
}

// conditions are a rule's numbers as sets. A rule on ports, whichever of the two, is two of these.
type conditions struct {
	order  int
	sets   [fieldCount]values
	needs  uint32
	coarse [fieldCount]bool // by classes, because the values are too many
}

// conditionsOf returns what a rule's numbers must be: any of those returned. No packet meets two of a loose rule, or it would count twice.
func conditionsOf(order int, r *traffic.Rule, loose bool, masks *maskCache) []conditions {
	where := places()
	c := conditions{order: order, needs: hasIPv4}
	if r.Family() == 6 {
		c.needs = hasIPv6
	}
	for _, x := range [...]struct {
		field ruleField
		terms traffic.Terms
	}{
		{fieldSourcePort, r.SourcePorts}, {fieldDestinationPort, r.DestinationPorts}, {fieldLength, r.Lengths},
		{fieldProtocol, r.Protocols}, {fieldICMPType, r.ICMPTypes}, {fieldICMPCode, r.ICMPCodes}, {fieldDSCP, r.DSCPs},
		{fieldFlowLabel, r.FlowLabels},
	} {
		c.sets[x.field] = termValues(x.terms, where[x.field].largest)
	}
	c.sets[fieldTCPFlags] = masks.values(r.TCPFlags)
	c.sets[fieldFragments] = fragmentValues(r.Fragments)
	if len(r.Ports)+len(r.SourcePorts)+len(r.DestinationPorts) > 0 {
		c.needs |= hasPorts
	}
	if len(r.TCPFlags) > 0 {
		c.needs |= hasTCP
	}
	if len(r.ICMPTypes)+len(r.ICMPCodes) > 0 {
		c.needs |= hasICMP
	}
	if len(r.Ports) == 0 {
		return []conditions{c}
	}
	ports := termValues(r.Ports, where[fieldSourcePort].largest)
	from, to := c, c
	from.sets[fieldSourcePort] = ports.and(c.sets[fieldSourcePort])
	to.sets[fieldDestinationPort] = ports.and(c.sets[fieldDestinationPort])
	if loose {
		to.sets[fieldSourcePort] = ports.not(where[fieldSourcePort].largest).and(c.sets[fieldSourcePort])
	}
	return []conditions{from, to}
}

// maskCache remembers the sets of TCP flags: making one takes 4096 comparisons, and rules have few different ones.
type maskCache struct{ known map[string]values }

func (m *maskCache) values(masks traffic.Masks) values {
	if len(masks) == 0 {
		return nil
	}
	key := fmt.Sprint(masks)
	v, ok := m.known[key]
	if !ok {
		v = maskValues(masks, 0xfff)
		m.known[key] = v
	}
	return v
}

// exactMost is how many values of one field are entered each; more are classes.
const exactMost = 16

// coarsen decides which fields go by classes: those with too many values, and the largest while all together are too many.
func (c *conditions) coarsen() {
	where := places()
	product, largest := 1, -1
	for {
		product, largest = 1, -1
		for f, v := range c.sets {
			n := v.count()
			if v == nil || c.coarse[f] {
				continue
			}
			if n > exactMost && where[f].classes >= 0 {
				c.coarse[f] = true
				continue
			}
			product *= max(n, 1)
			if where[f].classes >= 0 && n > 1 && (largest < 0 || n > c.sets[largest].count()) {
				largest = f
			}
		}
		if product <= MaxRuleKeys || largest < 0 {
			return
		}
		c.coarse[largest] = true
	}
}

// addressWords are an address' words, narrow first, then the three of IPv6.
func addressWords(b []byte) (narrow uint32, wide [3]uint32) {
	if len(b) == 4 {
		return binary.BigEndian.Uint32(b), wide
	}
	for i := range wide {
		wide[i] = binary.LittleEndian.Uint32(b[8-4*i:])
	}
	return binary.LittleEndian.Uint32(b[12:]), wide
}

// prefixMask has a bit set where a prefix is compared.
func prefixMask(p netip.Prefix, offset uint8) []byte {
	mask := make([]byte, p.Addr().BitLen()/8)
	for bit := int(offset); bit < p.Bits(); bit++ {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return mask
}
