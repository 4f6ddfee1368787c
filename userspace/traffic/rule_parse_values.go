package traffic

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// comparison is a piece of a condition's value between commas and ampersands.
type comparison struct {
	text string
	at   int  // byte offset in the rule's text
	and  bool // an ampersand stands before it
}

// comparisons cuts a condition's value into its pieces.
func (p *ruleParser) comparisons(word string, at int, expected string) ([]comparison, error) {
	var found []comparison
	start, and := 0, false
	for i := 0; i <= len(word); i++ {
		if i < len(word) && word[i] != ',' && word[i] != '&' {
			continue
		}
		if i == start {
			return nil, p.errorAt(at+i, "a comparison is missing; expected %s", expected)
		}
		found = append(found, comparison{word[start:i], at + start, and})
		if i < len(word) {
			start, and = i+1, word[i] == '&'
		}
	}
	return found, nil
}

func (p *ruleParser) terms(c condition, terms *Terms) error {
	expected := fmt.Sprintf("comparisons with 0 to %d such as %s", c.max, example(c.Name))
	word, at, err := p.value(c.Name, expected)
	if err != nil {
		return err
	}
	pieces, err := p.comparisons(word, at, expected)
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		found, err := p.term(c, piece)
		if err != nil {
			return err
		}
		found[0].And = piece.and
		*terms = append(*terms, found...)
	}
	return nil
}

// term reads one comparison, or a range, which is two.
func (p *ruleParser) term(c condition, piece comparison) (Terms, error) {
	operator, text := splitOperator(piece.text)
	switch {
	case operator == Equal && piece.text == "true":
		return Terms{{Op: True}}, nil
	case operator == Equal && piece.text == "false":
		return Terms{{Op: False}}, nil
	}
	at := piece.at + len(piece.text) - len(text)
	first, last, isRange := strings.Cut(text, "-")
	if _, isNumber := parseNumber(first, math.MaxUint32); !isRange || !isNumber {
		value, ok := c.number(text)
		if !ok {
			return nil, p.errorAt(at, "%s is not a value of %s; expected 0 to %d, such as %s", quote(text), c.Name, c.max, example(c.Name))
		}
		return Terms{{Op: operator, Value: value}}, nil
	}
	low, lowOK := c.number(first)
	high, highOK := c.number(last)
	switch {
	case text != piece.text:
		return nil, p.errorAt(piece.at, "a range stands without an operator; expected %s", text)
	case !lowOK:
		return nil, p.errorAt(at, "%s is not a value of %s; expected 0 to %d", quote(first), c.Name, c.max)
	case !highOK:
		return nil, p.errorAt(at+len(first)+1, "%s is not a value of %s; expected 0 to %d", quote(last), c.Name, c.max)
	case low > high:
		return nil, p.errorAt(at, "range %s ends before it begins; did you mean %s-%s?", text, last, first)
	}
	return Terms{{Op: GreaterOrEqual, Value: low}, {And: true, Op: LessOrEqual, Value: high}}, nil
}

// splitOperator cuts an operator off the front of a comparison; none is Equal.
func splitOperator(text string) (Operator, string) {
	for _, o := range []struct {
		sign string
		op   Operator
	}{{">=", GreaterOrEqual}, {"<=", LessOrEqual}, {"!=", NotEqual}, {"==", Equal}, {">", Greater}, {"<", Less}, {"=", Equal}} {
		if rest, found := strings.CutPrefix(text, o.sign); found {
			return o.op, rest
		}
	}
	return Equal, text
}

// number reads a value of a condition: a number, or a name where the condition has some.
func (c *condition) number(text string) (uint32, bool) {
	if c.Name == "protocol" {
		for _, known := range protocols() {
			if known.name == text {
				return known.number, true
			}
		}
	}
	if n, ok := dscpNumber(text); ok && c.Name == "dscp" {
		return n, true
	}
	return parseNumber(text, c.max)
}

// example is what an operator could write.
func example(condition string) string {
	switch condition {
	case "protocol":
		return "udp or tcp,udp"
	case "length":
		return "1000 or >=400&<=1500"
	case "icmp-type", "icmp-code":
		return "8 or 0,8"
	case "dscp":
		return "46 or ef"
	case "tcp-flags":
		return "syn&!ack, fin+syn or any:syn+rst"
	case "fragment":
		return "is-fragment or any:first-fragment+last-fragment"
	case "flow-label":
		return "0 or !=0"
	}
	return "53, 53,123 or 1024-65535"
}

func (p *ruleParser) masks(c condition, masks *Masks) error {
	names := bitNames(c.Name)
	expected := "bits such as " + example(c.Name)
	word, at, err := p.value(c.Name, expected)
	if err != nil {
		return err
	}
	pieces, err := p.comparisons(word, at, expected)
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		text := piece.text
		m := Mask{And: piece.and}
		text, m.Not = strings.CutPrefix(text, "!")
		text, m.Any = strings.CutPrefix(text, "any:")
		at := piece.at + len(piece.text) - len(text)
		for name := range strings.SplitSeq(text, "+") {
			bits, ok := bitsOf(name, names, c.max)
			if !ok {
				return p.errorAt(at, "%s is not a bit of %s; expected %s, or bits as 0x0 to 0x%x", quote(name), c.Name, list(names), c.max)
			}
			m.Bits |= bits
			at += len(name) + 1
		}
		*masks = append(*masks, m)
	}
	return nil
}

func bitsOf(name string, names []string, all uint32) (uint16, bool) {
	for bit, n := range names {
		if n == name {
			return 1 << bit, true
		}
	}
	n, ok := parseNumber(name, all)
	return uint16(n), ok && strings.HasPrefix(name, "0x")
}

func (p *ruleParser) payload(r *Rule) error {
	const expected = "OFFSET:HEX or OFFSET:HEX/MASK such as 0:ffffffff54 or 2:8000/8000"
	word, at, err := p.value("payload", expected)
	if err != nil {
		return err
	}
	pieces, err := p.comparisons(word, at, expected)
	if err != nil {
		return err
	}
	for i, piece := range pieces {
		if i > 0 && !piece.and {
			return p.errorAt(piece.at-1, "payload bytes all have to match; expected & instead of a comma")
		}
		number, bytes, _ := strings.Cut(piece.text, ":")
		offset, ok := parseNumber(number, MaxPayloadOffset)
		if !ok {
			return p.errorAt(piece.at, "%s is not an offset; expected %s, with offsets of 0 to %d", quote(number), expected, MaxPayloadOffset)
		}
		text, mask, masked := strings.Cut(bytes, "/")
		place := piece.at + min(len(number)+1, len(piece.text))
		value, err := hex.DecodeString(text)
		if err != nil || len(value) == 0 {
			return p.errorAt(place, "%s is not hexadecimal bytes; expected %s", quote(text), expected)
		}
		bits, err := hex.DecodeString(mask)
		if err != nil || masked && len(bits) == 0 {
			return p.errorAt(place+len(text)+1, "%s is not a hexadecimal mask; expected %s", quote(mask), expected)
		}
		r.Payload = append(r.Payload, Payload{Offset: uint16(offset), Value: string(value), Mask: string(bits)})
	}
	return nil
}

func (p *ruleParser) actions(r *Rule) error {
	for {
		word, at := p.word()
		if word == "" {
			return nil
		}
		kind := RuleActionKind(0)
		for kind < RuleActionKindCount && ruleActionKindNames[kind] != word {
			kind++
		}
		if kind == RuleActionKindCount {
			return p.unknown(word, at, "an action", ruleActionKindNames[:])
		}
		p.places[word] = at
		a := RuleAction{Kind: kind}
		if err := p.argument(&a, word); err != nil {
			return err
		}
		r.Actions = append(r.Actions, a)
	}
}

// argument reads what stands behind an action's word.
func (p *ruleParser) argument(a *RuleAction, name string) error {
	var expected string
	var read func(text string) bool
	switch a.Kind {
	case RuleRateBytes:
		expected, read = "bytes per second such as 125000 or 12.5M", a.rate
	case RuleRatePackets:
		expected, read = "packets per second such as 1000 or 10k", a.rate
	case RuleMark:
		expected, read = "a DSCP of 0 to 63, or a name such as af11 or ef", a.dscp
	case RuleRedirectVRF:
		expected, read = "a route target such as 65000:100, 4200000000:100, 65000L:100, 192.0.2.1:100 or [2001:db8::1]:100", a.target
	case RuleRedirectIP, RuleCopyIP:
		expected, read = "an address such as 192.0.2.1 or 2001:db8::1", a.address
	default:
		return nil
	}
	word, at, err := p.value(name, expected)
	if err == nil && !read(word) {
		err = p.errorAt(at, "%s is not a value of %s; expected %s", quote(word), name, expected)
	}
	return err
}

func (a *RuleAction) rate(text string) bool {
	scale := 1.0
	for _, u := range []struct {
		suffix string
		factor float64
	}{{"k", 1e3}, {"M", 1e6}, {"G", 1e9}} {
		if rest, found := strings.CutSuffix(text, u.suffix); found {
			text, scale = rest, u.factor
		}
	}
	if strings.Trim(text, "0123456789.") != "" {
		return false
	}
	if scale == 1 { // as String writes it: rounded once
		rate, err := strconv.ParseFloat(text, 32)
		a.Rate = float32(rate)
		return err == nil
	}
	rate, err := strconv.ParseFloat(text, 64)
	a.Rate = float32(rate * scale)
	return err == nil
}

func (a *RuleAction) dscp(text string) bool {
	n, ok := dscpNumber(text)
	if !ok {
		n, ok = parseNumber(text, 63)
	}
	a.DSCP = uint8(n)
	return ok
}

func (a *RuleAction) address(text string) bool {
	var err error
	a.Address, err = netip.ParseAddr(text)
	return err == nil
}

func (a *RuleAction) target(text string) bool {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return false
	}
	var ok bool
	if a.Target.Value, ok = parseNumber(text[colon+1:], math.MaxUint32); !ok {
		return false
	}
	admin := text[:colon]
	if inner, found := strings.CutPrefix(admin, "["); found {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		a.Target.Address = addr
		return closed && err == nil && addr.Is6()
	}
	if addr, err := netip.ParseAddr(admin); err == nil {
		a.Target.Address = addr
		return addr.Is4()
	}
	number, wide := strings.CutSuffix(admin, "L")
	a.Target.AS, ok = parseNumber(number, math.MaxUint32)
	a.Target.Wide = wide || a.Target.AS > math.MaxUint16
	return ok
}
