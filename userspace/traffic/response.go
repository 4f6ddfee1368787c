package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// RuleUse is what is done with the rules that an analysis has found against an attack.
type RuleUse uint8

const (
	RulesUnused  RuleUse = iota
	RulesShadow          // each counts only, until live traffic has confirmed what it would cost
	RulesEnforce         // they are in force at once
	RuleUseCount
)

var ruleUseNames = [RuleUseCount]string{"none", "shadow", "filter"}

// String returns the use's name as it stands in configuration and JSON.
func (u RuleUse) String() string {
	if u < RuleUseCount {
		return ruleUseNames[u]
	}
	return fmt.Sprintf("rule use(%d)", uint8(u))
}

// MarshalText writes the use's name.
func (u RuleUse) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (u *RuleUse) UnmarshalText(text []byte) error {
	i := slices.Index(ruleUseNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("unknown use of rules %q; expected one of %s", text, strings.Join(ruleUseNames[:], ", "))
	}
	*u = RuleUse(i)
	return nil
}

// Challenge says which packets to an attacked host must come from a source that has proven itself to be a real TCP stack.
type Challenge uint8

const (
	ChallengeNone    Challenge = iota
	ChallengeSYN               // those that open a connection
	ChallengeReplies           // and those that answer one
	ChallengeAll               // all of TCP
	ChallengeCount
)

var challengeNames = [ChallengeCount]string{"none", "syn", "replies", "all"}

// String returns the challenge's name as it stands in configuration and JSON.
func (c Challenge) String() string {
	if c < ChallengeCount {
		return challengeNames[c]
	}
	return fmt.Sprintf("challenge(%d)", uint8(c))
}

// MarshalText writes the challenge's name.
func (c Challenge) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Challenge) UnmarshalText(text []byte) error {
	i := slices.Index(challengeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("unknown challenge %q; expected one of %s", text, strings.Join(challengeNames[:], ", "))
	}
	*c = Challenge(i)
	return nil
}

// Response is what one rung of a hostgroup's ladder does about an attack. It is a value; nobody changes what Announce and History hold.
type Response struct {
	Rung         int          `json:"rung"`  // from 1, the weakest
	Rungs        int          `json:"rungs"` // of the ladder
	Since        time.Time    `json:"since"`
	Rules        RuleUse      `json:"rules"`
	LimitPackets uint64       `json:"limit_packets,omitempty"` // XDP lets so many packets a second through to the target; 0: all
	LimitBytes   uint64       `json:"limit_bytes,omitempty"`   // and so many frame bytes a second; 0: all
	Challenge    Challenge    `json:"challenge"`
	Announce     []string     `json:"announce,omitempty"` // names of BGP actions
	Hides        bool         `json:"hides,omitempty"`    // what is announced keeps the attack from us: that it is over shows only when the response ends
	Probing      bool         `json:"probing,omitempty"`  // a stronger response has just ended, to see whether the attack is still there
	History      []RungChange `json:"history,omitempty"`  // the steps so far, the oldest first
}

// RungChange is one step on a ladder, with its arithmetic.
type RungChange struct {
	At   time.Time `json:"at"`
	Rung int       `json:"rung"`
	Why  string    `json:"why"`
}

// Acts reports whether the response holds anything back.
func (r *Response) Acts() bool {
	return r.Rules != RulesUnused || r.LimitPackets > 0 || r.LimitBytes > 0 || r.Challenge != ChallengeNone || len(r.Announce) > 0
}

// String says in short what the response does, such as "filter, limit 50000 pps, scrub".
func (r *Response) String() string {
	var words []string
	if r.Rules != RulesUnused {
		words = append(words, r.Rules.String())
	}
	if r.LimitPackets > 0 {
		words = append(words, fmt.Sprintf("limit %d pps", r.LimitPackets))
	}
	if r.LimitBytes > 0 {
		words = append(words, fmt.Sprintf("limit %g mbps", float64(r.LimitBytes)*8/1e6))
	}
	if r.Challenge != ChallengeNone {
		words = append(words, "authenticate "+r.Challenge.String())
	}
	words = append(words, r.Announce...)
	if len(words) == 0 {
		return "watch"
	}
	return strings.Join(words, ", ")
}
