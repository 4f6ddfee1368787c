package traffic

import "time"

// Analysis is what samples of an attack's packets tell of it. It is a value: whoever holds one holds a snapshot, and changes nothing in it.
type Analysis struct {
	At         time.Time `json:"at"`      // when it was made
	Samples    int       `json:"samples"` // of the attack
	Normal     int       `json:"normal"`  // of the target's ordinary traffic, which collateral was measured on
	Class      string    `json:"class"`   // such as "dns_amplification", "multi_vector" or "unclassified"
	Confidence float64   `json:"confidence"`
	Vectors    []Vector  `json:"vectors,omitempty"`  // the largest share first
	Patterns   []string  `json:"patterns,omitempty"` // such as "carpet_bombing: ..."
	Sources    string    `json:"sources"`            // forged, reflectors, real or unclear
	Evidence   []string  `json:"evidence,omitempty"` // sentences
	Rules      RuleSet   `json:"rules"`              // the narrowest that stop it, for XDP
	Router     RuleSet   `json:"router_rules"`       // the same without what only XDP can do
}

// Vector is one kind of packets of an attack.
type Vector struct {
	Class      string   `json:"class"`
	Share      float64  `json:"share"` // of the attack's packets, 0 to 1
	Confidence float64  `json:"confidence"`
	Evidence   []string `json:"evidence,omitempty"`
}

// RuleSet is rules that together stop an attack. Shares are 0 to 1, of packets.
type RuleSet struct {
	Rules      []MeasuredRule `json:"rules,omitempty"`
	Left       []MeasuredRule `json:"left,omitempty"` // for which there was no room, or which are not worth having
	Coverage   float64        `json:"coverage"`       // of the attack
	Collateral float64        `json:"collateral"`     // of normal traffic
	Why        string         `json:"why,omitempty"`  // there are none, or fewer than wanted
}

// MeasuredRule is a rule and what it would do.
type MeasuredRule struct {
	Rule       string  `json:"rule"` // in its text form
	Coverage   float64 `json:"coverage"`
	Collateral float64 `json:"collateral"`
	Text       string  `json:"text"` // "drops 99.1 % of the attack, 0.04 % of normal"
}
