// Package signature finds the fewest rules that stop most of an attack and least of a host's normal traffic.
package signature

import (
	"net/netip"

	"weir/userspace/analyze"
	"weir/userspace/traffic"
)

// Options say what is asked of the rules. The zero value of each field stands for its default.
type Options struct {
	Coverage   float64 // the share of the attack to stop; default 0.95
	Collateral float64 // the share of normal traffic that it may cost, all rules together; default 0.01
	MaxRules   int     // default 8, at most 64
	// Background is the share of the attack's samples that is normal traffic in all likelihood: the rate before the attack by the rate
	// now, 0 to 0.9. Coverage is counted of the rest.
	Background float64
	Baseline   *Baseline            // whose histograms bound the collateral; nil: none. Its samples are not looked at: pass Samples()
	Actions    []traffic.RuleAction // of each rule; default discard
}

// maxSamples of each kind are looked at, evenly chosen, so that time and memory are bounded.
const maxSamples = 16384

// worthwhile is the share of the attack below which rules are not worth having.
const worthwhile = 0.2

func (o Options) withDefaults() Options {
	if !(o.Coverage > 0 && o.Coverage <= 1) {
		o.Coverage = 0.95
	}
	if !(o.Collateral > 0 && o.Collateral <= 1) {
		o.Collateral = 0.01
	}
	if o.MaxRules <= 0 {
		o.MaxRules = 8
	}
	o.MaxRules = min(o.MaxRules, 64)
	if !(o.Background > 0) {
		o.Background = 0
	}
	o.Background = min(o.Background, 0.9)
	if len(o.Actions) == 0 {
		o.Actions = []traffic.RuleAction{{Kind: traffic.RuleDiscard}}
	}
	return o
}

// Infer finds the fewest rules that cover most of the attack's samples and least of the normal ones. A sample counts for as many packets
// as its Rate says. The same input gives the same result. Every rule has the target's prefix as its destination (of an outgoing attack:
// as its source); a hostgroup as a whole has none, and gets no rules. The samples may be anything at all.
func Infer(target traffic.Target, attack, normal []analyze.Seen, o Options) Result {
	o = o.withDefaults()
	var r Result
	if !target.Prefix.IsValid() {
		r.Indistinguishable, r.Why = true, "a rule needs the prefix of a host or network, and "+target.String()+" has none"
		r.RouterRules = r.Set
		return r
	}
	outgoing := target.Direction == traffic.Outgoing
	all := len(attack) + len(normal)
	attack, normal = ofTarget(attack, target.Prefix, outgoing), ofTarget(normal, target.Prefix, outgoing)
	r.Ignored = all - len(attack) - len(normal)
	attack, normal = thin(attack), thin(normal)
	r.Attack, r.Normal = len(attack), len(normal)
	if len(attack) == 0 {
		r.Indistinguishable, r.Why = true, "there are no samples of the attack on "+target.String()
		r.RouterRules = r.Set
		return r
	}
	w := work{target: target.Prefix, outgoing: outgoing, options: o}
	w.pool = pool{attack: newTable(attack, outgoing), normal: newTable(normal, outgoing), prior: newTable(ordinary(target.Prefix, outgoing), outgoing),
		known: map[string]*condition{}, thought: map[uint64]bool{}}
	var chosen []chosen
	r.Set, chosen = w.find(false, nil)
	switch {
	case outgoing:
		r.RouterRules = Set{Indistinguishable: true, Why: "a router takes rules only for destinations inside our networks, and those of an outgoing attack are outside"}
	case usesPayload(r.Rules) || usesPayload(r.Left):
		r.RouterRules, _ = w.find(true, chosen)
	default:
		r.RouterRules = r.Set
	}
	r.Evidence = evidence(w.pool.attack, w.pool.normal)
	return r
}

// ofTarget returns the samples that are of the target.
func ofTarget(samples []analyze.Seen, near netip.Prefix, outgoing bool) []analyze.Seen {
	list := make([]analyze.Seen, 0, len(samples))
	for i := range samples {
		p := &samples[i].Packet
		at, other := p.Dst, p.Src
		if outgoing {
			at, other = other, at
		}
		if near.Contains(at) && at.Is4() == other.Is4() && other.IsValid() {
			list = append(list, samples[i])
		}
	}
	return list
}

// thin chooses samples evenly.
func thin(samples []analyze.Seen) []analyze.Seen {
	if len(samples) <= maxSamples {
		return samples
	}
	list := make([]analyze.Seen, maxSamples)
	for i := range list {
		list[i] = samples[i*len(samples)/maxSamples]
	}
	return list
}

func usesPayload(rules []Found) bool {
	for i := range rules {
		if len(rules[i].Rule.Payload) > 0 {
			return true
		}
	}
	return false
}
