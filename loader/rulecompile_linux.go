package loader

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"structs"

	"weir/userspace/traffic"
)

// enum ruling of bpf/abi_rules.h
const (
	rulingNone = iota
	rulingDrop
	rulingPass
	rulingLimit
	rulingCountOnly
	rulingLook
)

const (
	ruleForever  = 1 << 27
	ruleWordBits = verdictActionShift
)

// compiledRule is a rule as the tables know it. Its order is its place among the compiled.
type compiledRule struct {
	entry  *RuleEntry
	word   uint32 // what and until when; rule.word of bpf/abi_rules.h
	until  uint32 // units from now; 0: for ever
	loose  bool   // it only counts
	sample bool
	limit  weirRuleLimit
}

// plain reports whether an entry of the table can hold all of the rule.
func (c *compiledRule) plain() bool {
	return c.word>>ruleWordBits != rulingLimit && !c.sample && len(c.entry.Rule.Payload) == 0
}

// ruleTime turns the ends of rules into the kernel's; units is 0 for ever.
type ruleTime func(*RuleEntry) (units uint32, word uint32, expired bool)

// ruleSetup is what all rules of one generation come to before they are entered.
type ruleSetup struct {
	rules      []compiledRule
	conditions []conditions
	shapes     []ruleShape
	shapeOf    []int                // by condition
	sets       [fieldCount]setTable // of the fields that go by classes
	anyClass   bool
}

// kernelShape is struct shape of bpf/abi_rules.h.
type kernelShape struct {
	_       structs.HostLayout
	Mask    [ruleWords]uint32
	Classes [wordsNarrow]uint32
	Needs   uint32
	First   uint32
	Number  uint32
	Loose   uint32
}

// ruleShape is a kind of match.
type ruleShape struct {
	kernel kernelShape
	loose  bool
}

// compileRules turns rules into shapes and classes. Of the rules that a packet matches, the first one decides; those that let
// pass come before all others.
func compileRules(entries []RuleEntry, room ruleSizes, end ruleTime) (*ruleSetup, error) {
	s := &ruleSetup{}
	if err := s.order(entries, end); err != nil {
		return nil, err
	}
	if len(s.rules) > room.rules {
		return nil, fmt.Errorf("compile rules: %d are more than the %d that there is room for; raise the room for rules", len(s.rules), room.rules)
	}
	cache := &maskCache{map[string]values{}}
	for order := range s.rules {
		for _, c := range conditionsOf(order, &s.rules[order].entry.Rule, s.rules[order].loose, cache) {
			c.coarsen()
			s.conditions = append(s.conditions, c)
		}
	}
	if err := s.divide(); err != nil {
		return nil, err
	}
	return s, s.shape()
}

// order checks the rules and puts them into the order in which they decide.
func (s *ruleSetup) order(entries []RuleEntry, end ruleTime) error {
	s.rules = make([]compiledRule, 0, len(entries))
	for i := range entries {
		c := compiledRule{entry: &entries[i]}
		var expired bool
		c.until, c.word, expired = end(c.entry)
		if expired {
			continue
		}
		if err := c.act(); err != nil {
			return err
		}
		s.rules = append(s.rules, c)
	}
	slices.SortStableFunc(s.rules, func(a, b compiledRule) int { return a.rank() - b.rank() })
	return nil
}

func (c *compiledRule) rank() int {
	if c.word>>ruleWordBits == rulingPass {
		return 0
	}
	return 1
}

// act checks a rule and reads its actions.
func (c *compiledRule) act() error {
	e := c.entry
	if err := e.Rule.Validate(); err != nil {
		return fmt.Errorf("compile rule %d (%s): %w", e.ID, e.Rule.String(), err)
	}
	if !e.Rule.Destination.IsValid() && !e.Rule.Source.IsValid() {
		return e.wrong("destination", "the rule names no address; give the prefix of ours that it is for")
	}
	if len(e.Rule.Payload) > MaxRulePayloads {
		return e.wrong("payload", fmt.Sprintf("%d runs of bytes are more than %d", len(e.Rule.Payload), MaxRulePayloads))
	}
	ruling := uint32(rulingCountOnly)
	for _, a := range e.Rule.Actions {
		switch a.Kind {
		case traffic.RuleAccept:
			ruling = rulingPass
		case traffic.RuleDiscard:
			ruling = rulingDrop
		case traffic.RuleRateBytes, traffic.RuleRatePackets:
			if ruling != rulingDrop {
				ruling = rulingLimit
			}
			c.limit.Burst = limitBurst
			if a.Kind == traffic.RuleRateBytes {
				c.limit.PerByte = limitCost(a.Rate)
			} else {
				c.limit.PerPacket = limitCost(a.Rate)
			}
		case traffic.RuleSample:
			c.sample = true
		default:
			return e.wrong(a.Kind.String(), "XDP cannot do this; announce the rule to routers instead")
		}
	}
	if e.Mode == Shadow {
		ruling = rulingCountOnly
	}
	c.loose = ruling == rulingCountOnly
	c.word |= ruling << ruleWordBits
	return nil
}

// A limit is kept in 1/1024 ns of the time that a packet or byte takes up. A tenth of a second's worth may come at once.
const limitBurst = 1e8 * 1024

// limitCost keeps within what 64 bits hold for the longest packet.
func limitCost(rate float32) uint64 {
	return uint64(min(max(math.Round(1e9*1024/float64(rate)), 1), 1<<46))
}

// divide makes the classes of all fields that need them.
func (s *ruleSetup) divide() error {
	for i := range s.conditions {
		c := &s.conditions[i]
		for f, v := range c.sets {
			if c.coarse[f] && s.sets[f].id(v) == maxSets {
				return s.rules[c.order].entry.wrong(places()[f].name,
					fmt.Sprintf("the rules have more than %d different sets of it; write fewer, or single values", maxSets))
			}
		}
	}
	for f := range s.sets {
		s.sets[f].divide()
		s.anyClass = s.anyClass || len(s.sets[f].all) > 0
	}
	return nil
}

// shape finds the kinds of match, and puts them into the order in which the kernel looks: those that count only, then by the
// first rule of each.
func (s *ruleSetup) shape() error {
	known := map[ruleShape]int{}
	s.shapeOf = make([]int, len(s.conditions))
	for i := range s.conditions {
		c := &s.conditions[i]
		rule := &s.rules[c.order]
		one := ruleShape{kernel: c.mask(&rule.entry.Rule), loose: rule.loose}
		at, ok := known[one]
		if !ok {
			if at = len(s.shapes); at == MaxRuleShapes {
				return rule.entry.wrong("shape", fmt.Sprintf("the rules before it have %d kinds of match already; have more rules look at the same conditions", at))
			}
			known[one] = at
			first := one
			first.kernel.First = uint32(c.order)
			s.shapes = append(s.shapes, first)
		}
		s.shapeOf[i] = at
	}
	s.sortShapes()
	return nil
}

func (s *ruleSetup) sortShapes() {
	order := make([]int, len(s.shapes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := s.shapes[a], s.shapes[b]; {
		case x.loose != y.loose && x.loose:
			return -1
		case x.loose != y.loose:
			return 1
		default:
			return int(x.kernel.First) - int(y.kernel.First)
		}
	})
	sorted, to := make([]ruleShape, len(order)), make([]int, len(order))
	for i, from := range order {
		shape := s.shapes[from]
		if shape.loose {
			shape.kernel.Loose = 1
		}
		shape.kernel.Number = uint32(i&0xf)<<20 | uint32(i>>4)<<28
		sorted[i], to[from] = shape, i
	}
	s.shapes = sorted
	for i := range s.shapeOf {
		s.shapeOf[i] = to[s.shapeOf[i]]
	}
}

// mask is the conditions' shape: which bits of which words they look at.
func (c *conditions) mask(r *traffic.Rule) (m kernelShape) {
	m.Needs = c.needs
	for f, where := range places() {
		switch {
		case c.sets[f] == nil:
		case c.coarse[f]:
			m.Classes[where.word] |= where.mask << where.shift
		default:
			m.Mask[where.word] |= where.mask << where.shift
		}
	}
	for i, x := range []struct {
		prefix netip.Prefix
		offset uint8
	}{{r.Destination, r.DestinationOffset}, {r.Source, r.SourceOffset}} {
		if !x.prefix.IsValid() {
			continue
		}
		narrow, wide := addressWords(prefixMask(x.prefix, x.offset))
		m.Mask[wordDestination+i] = narrow
		copy(m.Mask[wordDestination6+3*i:], wide[:])
	}
	return m
}
