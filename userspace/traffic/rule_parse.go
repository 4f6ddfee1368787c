package traffic

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// RuleError says where a rule's text is wrong.
type RuleError struct {
	Column  int    // of the text, in characters, starting at 1
	Message string // what is there, and what was expected
}

// Error returns "column N: MESSAGE".
func (e *RuleError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// ParseRule reads a rule's text form, described in docs/RULES.md: conditions in any order, then, actions. The rule is valid and
// canonical, or the error is a *RuleError that names the column and what was expected there.
func ParseRule(text string) (Rule, error) {
	p := &ruleParser{text: text, places: map[string]int{}}
	r, err := p.rule()
	if err != nil {
		return Rule{}, err
	}
	if bad, found := r.firstProblem(); found {
		at, known := p.places[bad.where]
		if !known {
			at = p.places["then"]
		}
		return Rule{}, p.errorAt(at, "%s", bad.what)
	}
	return r.Canonical(), nil
}

// ruleParser walks over the words of a rule.
type ruleParser struct {
	text   string
	next   int            // byte offset behind the last word
	places map[string]int // byte offsets of the words of conditions and actions
}

func (p *ruleParser) errorAt(offset int, format string, args ...any) error {
	return &RuleError{utf8.RuneCountInString(p.text[:offset]) + 1, fmt.Sprintf(format, args...)}
}

// word returns the next word and its byte offset; "" at the end of the text.
func (p *ruleParser) word() (string, int) {
	const blank = " \t"
	start := p.next
	for start < len(p.text) && strings.IndexByte(blank, p.text[start]) >= 0 {
		start++
	}
	end := start
	for end < len(p.text) && strings.IndexByte(blank, p.text[end]) < 0 {
		end++
	}
	p.next = end
	return p.text[start:end], start
}

// value returns the word behind a condition or action.
func (p *ruleParser) value(name, expected string) (string, int, error) {
	word, at := p.word()
	if word == "" || word == "then" {
		return "", 0, p.errorAt(at, "%s has no value; expected %s", name, expected)
	}
	return word, at, nil
}

func (p *ruleParser) rule() (Rule, error) {
	var r Rule
	for {
		word, at := p.word()
		if _, twice := p.places[word]; twice {
			return r, p.errorAt(at, "%s stands twice; %s", word, remedyTwice(word))
		}
		var err error
		switch word {
		case "":
			return r, p.errorAt(at, "the rule has no action; expected then and one of %s", list(ruleActionKindNames[:]))
		case "then":
			p.places[word] = at
			return r, p.actions(&r)
		case "family":
			err = p.family(&r)
		default:
			err = p.condition(&r, word, at)
		}
		if err != nil {
			return r, err
		}
		p.places[word] = at
	}
}

// remedyTwice says what to write instead of one condition twice.
func remedyTwice(condition string) string {
	switch condition {
	case "family", "destination", "source":
		return "write two rules"
	case "payload":
		return "join its values by &"
	}
	return "join its values by a comma, for or, or by &, for and"
}

func (p *ruleParser) family(r *Rule) error {
	word, at, err := p.value("family", "ipv4 or ipv6")
	switch {
	case err != nil:
		return err
	case word == "ipv4":
		r.Version = 4
	case word == "ipv6":
		r.Version = 6
	default:
		return p.errorAt(at, "%s is not an IP version; expected ipv4 or ipv6", quote(word))
	}
	return nil
}

func (p *ruleParser) condition(r *Rule, name string, at int) error {
	for _, c := range conditions() {
		switch {
		case c.Name != name:
			continue
		case c.terms != nil:
			return p.terms(c, c.terms(r))
		case c.masks != nil:
			return p.masks(c, c.masks(r))
		case name == "payload":
			return p.payload(r)
		}
		word, at, err := p.value(name, "a prefix such as 192.0.2.7/32 or 2001:db8::/48")
		if err != nil {
			return err
		}
		prefix, offset, place, what := parsePrefix(word)
		if what != "" {
			return p.errorAt(at+place, "%s", what)
		}
		if name == "destination" {
			r.Destination, r.DestinationOffset = prefix, offset
		} else {
			r.Source, r.SourceOffset = prefix, offset
		}
		return nil
	}
	if slices.Contains(ruleActionKindNames[:], name) {
		return p.errorAt(at, "%s is an action; expected then before the actions", name)
	}
	names := []string{"family"}
	for _, c := range conditions() {
		names = append(names, c.Name)
	}
	return p.unknown(name, at, "a condition", append(names, "then"))
}

// unknown is the error for a word that is none of names.
func (p *ruleParser) unknown(word string, at int, kind string, names []string) error {
	if meant := meant(word); meant != "" {
		return p.errorAt(at, "%s is not %s; did you mean %s?", quote(word), kind, meant)
	}
	return p.errorAt(at, "%s is not %s; expected one of %s", quote(word), kind, list(names))
}

// meant returns our word for one that another system uses.
func meant(word string) string {
	switch strings.ToLower(word) {
	case "dst", "dest", "to", "destination-address", "destination-prefix":
		return "destination"
	case "src", "from", "source-address", "source-prefix":
		return "source"
	case "proto", "next-header", "ip-protocol":
		return "protocol"
	case "dport", "dst-port", "destinationport":
		return "destination-port"
	case "sport", "src-port", "sourceport":
		return "source-port"
	case "packet-length", "len", "size", "packet-size":
		return "length"
	case "tcp-flag", "flags", "tcpflags":
		return "tcp-flags"
	case "fragments", "frag":
		return "fragment"
	case "traffic-class", "tos":
		return "dscp"
	case "drop", "deny", "block", "blackhole":
		return "discard"
	case "rate-limit", "rate", "police", "limit":
		return "rate-bytes (bytes per second) or rate-packets"
	case "permit", "pass", "allow":
		return "accept"
	case "redirect-to-nexthop", "redirect-ip", "redirect-to-ip", "next-hop", "nexthop":
		return "redirect"
	case "rt", "vrf", "route-target":
		return "redirect-vrf"
	case "remark", "set-dscp":
		return "mark"
	}
	return ""
}

func quote(word string) string { return strconv.Quote(word) }

// list writes "a, b or c".
func list(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// parseNumber reads digits, or hexadecimal ones behind 0x; nothing else, and not more than largest.
func parseNumber(text string, largest uint32) (uint32, bool) {
	digits, base := text, 10
	if rest, isHex := strings.CutPrefix(text, "0x"); isHex {
		digits, base = rest, 16
	}
	if digits == "" || digits[0] == '+' || digits[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, base, 32)
	return uint32(n), err == nil && uint32(n) <= largest
}
