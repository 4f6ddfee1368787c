package filter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"weir/userspace/traffic"
)

// Rules are filters in the language of docs/RULES.md, compiled. The first rule that matches a record decides: discard drops it, accept keeps
// it. What no rule matches is kept. Rules may be used by several goroutines.
type Rules struct {
	rules   []rule
	texts   []string
	index   [2][256][]uint16 // by IP version (IPv4 first) and protocol: the rules that can match
	shared  []atomic.Uint64  // hits by Keep: of each rule, and behind them of none
	mu      sync.Mutex
	workers []*Matcher
}

const maxRules = 1 << 16

// Compile translates rules. The error names the rule that a filter of flow records cannot have: one with another action than discard or accept,
// or with a condition on what flow records do not tell.
func Compile(rules []traffic.Rule) (*Rules, error) {
	c := &Rules{shared: make([]atomic.Uint64, len(rules)+1)}
	if len(rules) > maxRules {
		return nil, fmt.Errorf("compile flow filter: %d rules are too many; expected at most %d", len(rules), maxRules)
	}
	for i := range rules {
		r, err := compileRule(&rules[i])
		if err != nil {
			return nil, fmt.Errorf("compile flow filter: rule %d, %s: %w", i+1, &rules[i], err)
		}
		c.rules = append(c.rules, r)
		c.texts = append(c.texts, rules[i].String())
	}
	c.sort()
	return c, nil
}

// sort makes the index. Protocols with the same rules share a list.
func (c *Rules) sort() {
	lists := map[string][]uint16{}
	for v, family := range []int{4, 6} {
		for protocol := range 256 {
			var list []uint16
			var key []byte
			for n := range c.rules {
				if c.rules[n].concerns(family, protocol) {
					list = append(list, uint16(n))
					key = binary.BigEndian.AppendUint16(key, uint16(n))
				}
			}
			if known, ok := lists[string(key)]; ok {
				list = known
			}
			lists[string(key)] = list
			c.index[v][protocol] = list
		}
	}
}

// Keep reports whether a record is to count. It does not allocate.
func (c *Rules) Keep(f *traffic.Flow) bool {
	n, keep := c.decide(f)
	c.shared[n].Add(1)
	return keep
}

// Matcher is the same rules for one goroutine, which counts its hits for itself: others do not slow it down.
type Matcher struct {
	rules *Rules
	hits  []atomic.Uint64
}

// New makes a Matcher for one goroutine.
func (c *Rules) New() *Matcher {
	m := &Matcher{rules: c, hits: make([]atomic.Uint64, len(c.rules)+1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = append(c.workers, m)
	return m
}

// Keep reports whether a record is to count. It does not allocate.
func (m *Matcher) Keep(f *traffic.Flow) bool {
	n, keep := m.rules.decide(f)
	add(&m.hits[n])
	return keep
}

// RuleHits is how many records a rule has decided about.
type RuleHits struct {
	Rule string
	Hits uint64
}

// RuleStats is what rules have done, Matchers included.
type RuleStats struct {
	Calls, Dropped uint64
	Rules          []RuleHits // in their order
}

// Stats may be called at any time.
func (c *Rules) Stats() RuleStats {
	hits := make([]uint64, len(c.shared))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.shared {
		hits[i] = c.shared[i].Load()
		for _, m := range c.workers {
			hits[i] += m.hits[i].Load()
		}
	}
	var s RuleStats
	for i, n := range hits {
		s.Calls += n
		if i == len(c.rules) {
			break
		}
		if !c.rules[i].accept {
			s.Dropped += n
		}
		s.Rules = append(s.Rules, RuleHits{c.texts[i], n})
	}
	return s
}

// wide is an address in two numbers. An IPv4 address is the lower half of the second.
type wide struct{ hi, lo uint64 }

func widen(a netip.Addr) wide {
	if a.Is4() {
		b := a.As4()
		return wide{0, uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// subject is what rules compare of a record, made once for all of them.
type subject struct {
	src, dst wide
	flow     *traffic.Flow
	ports    bool // it has ports
	tcp      bool // it has TCP flags
}

// decide returns the index of the rule that decides, or the number of rules, and whether to keep the record.
func (c *Rules) decide(f *traffic.Flow) (int, bool) {
	version := 1
	if f.Dst.Is4() {
		version = 0
	}
	list := c.index[version][f.Protocol]
	if len(list) == 0 {
		return len(c.rules), true
	}
	s := subject{src: widen(f.Src), dst: widen(f.Dst), flow: f}
	if f.Fragment != traffic.LaterFragment && f.Anomaly == traffic.AnomalyNone {
		s.tcp = f.Protocol == traffic.ProtoTCP
		s.ports = s.tcp || f.Protocol == traffic.ProtoUDP
	}
	for _, n := range list {
		r := &c.rules[n]
		if r.addressed(s.src, s.dst) && (r.flags == 0 || r.matches(&s)) {
			return int(n), r.accept
		}
	}
	return len(c.rules), true
}

// Lengths in bytes of what sFlow counts and IP does not.
const (
	ethernetBytes = 14
	tagBytes      = 4
)

// meanLength is how long the record's IP packets are on average. sFlow counts whole frames: Ethernet's header is taken off, with one tag where
// the record has a VLAN.
func meanLength(f *traffic.Flow) uint32 {
	if f.Packets == 0 {
		return 0
	}
	length := f.Bytes / f.Packets
	if f.Source.SFlow() && f.Link == traffic.LinkEthernet {
		front := uint64(ethernetBytes)
		if f.VLAN != 0 {
			front += tagBytes
		}
		length -= min(length, front)
	}
	return uint32(min(length, 0xffff))
}
