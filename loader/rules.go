package loader

import (
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// RuleMode says whether a rule's actions happen.
type RuleMode uint8

const (
	Enforce RuleMode = iota
	Shadow           // the rule's packets are counted, and nothing else happens to them
)

// RuleEntry is a rule that the kernel is to apply.
type RuleEntry struct {
	Rule  traffic.Rule
	Mode  RuleMode
	Until time.Time // the kernel ends it by its own clock; zero: never
	ID    uint64    // of the caller's choice, under which hits are counted; one rule each
}

// RuleHits is what a rule has done since it was first set.
type RuleHits struct {
	ID      uint64
	Packets uint64
	Bytes   uint64        // frames on the wire
	Idle    time.Duration // since the last packet
}

// Bounds of what rules may come to. A rule that goes beyond them is refused, and the error names what is too much.
const (
	MaxRules        = 1 << 22
	MaxSources      = 1 << 22
	MaxLengths      = 16  // lengths of the IPv6 prefixes in lists of sources
	MaxRuleShapes   = 32  // kinds of match that rules of one time may have: which fields they look at, and how long their prefixes are
	MaxRuleKeys     = 256 // entries of the table that one rule may take: values or classes of values, of all its conditions multiplied
	MaxRulePayloads = 2   // runs of bytes in one rule
	MaxRuleChain    = 4   // rules that look at the very same values and differ in payload or expiry only
)

// defaultRules is the room for rules in a plan that does not say.
const defaultRules = 4096

// ruleSizes is the room that a plan gives to rules and what they are kept in, per generation. All are powers of two.
type ruleSizes struct{ rules, keys, buckets, bloom, guard, complex int }

func (p *Plan) ruleSizes() ruleSizes {
	rules := p.Rules
	if rules == 0 {
		rules = defaultRules
	}
	s := ruleSizes{rules: powerOfTwo(rules), keys: powerOfTwo(rules*3/2 + 8192), complex: powerOfTwo(max(rules/4, 1024))}
	s.buckets = s.keys / 2              // half full
	s.bloom = s.keys * 16 / 64          // 16 bits per key, three of them set: 1 of 170 packets that match nothing gets past
	s.guard = max(s.keys*8, 1<<20) / 64 // 8 bits per key, and enough for all hosts of a /16
	return s
}

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func (e *RuleEntry) wrong(where, what string) error {
	return fmt.Errorf("compile rule %d (%s): %s: %s", e.ID, e.Rule.String(), where, what)
}
