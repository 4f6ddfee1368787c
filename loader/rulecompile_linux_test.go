package loader

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"weir/userspace/traffic"
)

func forEver(*RuleEntry) (uint32, uint32, bool) { return 0, ruleForever, false }

func compileTexts(t *testing.T, room ruleSizes, texts ...string) (*ruleSetup, *ruleImage, error) {
	t.Helper()
	entries := make([]RuleEntry, len(texts))
	for i, text := range texts {
		r, err := traffic.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		entries[i] = RuleEntry{Rule: r, ID: uint64(i)}
	}
	s, err := compileRules(entries, room, forEver)
	if err != nil {
		return nil, nil, err
	}
	im, err := s.crowdedImage(room)
	return s, im, err
}

func manyTexts(n int, text func(i int) string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = text(i)
	}
	return list
}

// What goes beyond a bound is refused, and the error names the rule and what of it is too much.
func TestRulesRefused(t *testing.T) {
	const host = "destination 192.0.2.1/32 "
	digits := "0123456789abcdef"
	for _, tt := range []struct {
		name  string
		rules []string
		want  []string
	}{
		{"no address", []string{"protocol udp then discard"}, []string{"rule 0 (protocol udp then discard)", "names no address"}},
		{"action of routers", []string{host + "then redirect 192.0.2.9"}, []string{"redirect", "XDP cannot"}},
		{"payload runs", []string{host + "payload 0:00&1:00&2:00 then discard"}, []string{"payload", "3 runs"}},
		{"flow labels", []string{"destination 2001:db8::1/128 flow-label >5 then discard"}, []string{"flow-label", "256 keys"}},
		{"chain", manyTexts(5, func(i int) string { return host + "payload 0:0" + digits[i:i+1] + " then discard" }), []string{"rule 4 ", "at most 4"}},
		{"shapes", manyTexts(33, func(i int) string {
			return "destination 2001:db8::/" + []string{"64", "65", "66"}[i%3] + " source 2001:db8::/" + string('3'+rune(i/3%7)) + string('2'+rune(i/21)) + " then discard"
		}), []string{"32 kinds of match"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := compileTexts(t, (&Plan{}).ruleSizes(), tt.rules...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestRulesBeyondRoom(t *testing.T) {
	room := ruleSizes{rules: 2, keys: 4, buckets: 64, bloom: 256, guard: 1 << 11, complex: 1}
	for name, tt := range map[string]struct {
		rules []string
		want  string
	}{
		"rules":  {[]string{"destination 192.0.2.1/32 then discard", "destination 192.0.2.2/32 then discard", "destination 192.0.2.3/32 then discard"}, "3 are more than the 2"},
		"keys":   {[]string{"destination 192.0.2.1/32 destination-port 1-5 then discard"}, "5 keys, more than the 4"},
		"limits": {[]string{"destination 192.0.2.1/32 then rate-packets 5", "destination 192.0.2.2/32 then rate-packets 5"}, "more than 1 rules have payloads or limits"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := compileTexts(t, room, tt.rules...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// lookUp finds what the tables have for a packet, as match_shape of bpf/rule.h does: the order of the first rule without payload, or -1.
func lookUp(im *ruleImage, f *traffic.Facts, has uint32) int {
	p := &f.Packet
	var exact, class [ruleWords]uint32
	values := [fieldCount]uint32{uint32(p.SrcPort), uint32(p.DstPort), f.IPLength, uint32(f.TCPFlags), uint32(p.Protocol),
		uint32(f.ICMPType), uint32(f.ICMPCode), uint32(f.DSCP), uint32(f.Fragments), f.FlowLabel}
	for field, where := range places() {
		exact[where.word] |= values[field] << where.shift
		if where.classes >= 0 && im.classes != nil {
			class[where.word] |= uint32(im.classes[where.classes+int(values[field])]) << where.shift
		}
	}
	for i, a := range [][]byte{p.Dst.AsSlice(), p.Src.AsSlice()} {
		narrow, wide := addressWords(a)
		exact[i] = narrow
		copy(exact[wordDestination6+3*i:], wide[:])
	}
	best, secret := -1, ruleSecret(im.set.Secret)
	for _, shape := range im.set.Shape[:im.set.Shapes] {
		if shape.Needs&^has != 0 {
			continue
		}
		var key [ruleWords]uint32
		for i := range key {
			key[i] = exact[i] & shape.Mask[i]
			if i < wordsNarrow {
				key[i] |= class[i] & shape.Classes[i]
			}
		}
		key[wordRest] |= shape.Number
		n := wordsNarrow
		if has&hasIPv6 != 0 {
			n = ruleWords
		}
		a, b := hashKey(&secret, &key, n)
		for _, bucket := range []uint32{uint32(b>>32) & im.set.BucketMask, uint32(b>>45) & im.set.BucketMask} {
			for _, e := range im.buckets[bucket].Entry {
				if e.Tag != max(a, 1) {
					continue
				}
				order := int(e.Rule)
				if e.Word>>ruleWordBits == rulingLook {
					order = int(im.rules[e.Rule].Order)
				}
				if best < 0 || order < best {
					best = order
				}
			}
		}
	}
	return best
}

func hasOf(f *traffic.Facts) uint32 {
	has := uint32(hasIPv4)
	if f.Packet.Dst.Is6() {
		has = hasIPv6
	}
	if f.Packet.Fragment == traffic.LaterFragment || f.Packet.Anomaly != traffic.AnomalyNone {
		return has
	}
	switch f.Packet.Protocol {
	case traffic.ProtoTCP:
		return has | hasPorts | hasTCP
	case traffic.ProtoUDP:
		return has | hasPorts
	case traffic.ProtoICMP, traffic.ProtoICMPv6:
		if (f.Packet.Protocol == traffic.ProtoICMPv6) == f.Packet.Dst.Is6() {
			return has | hasICMP
		}
	}
	return has
}

// The tables find the first rule that matches, for random rules without payload and random packets.
func TestRuleTables(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(8, 9))}
	refused, found := 0, 0
	for round := range 200 {
		var entries []RuleEntry
		for _, e := range m.entries(t, 1+m.IntN(25)) {
			e.Mode = Enforce
			if e.Rule.Payload == nil && e.Rule.Actions[0].Kind != traffic.RuleSample {
				entries = append(entries, e)
			}
		}
		s, err := compileRules(entries, (&Plan{}).ruleSizes(), forEver)
		if err == nil {
			var im *ruleImage
			if im, err = s.crowdedImage((&Plan{}).ruleSizes()); err == nil {
				for range 50 {
					f := factsOf(t, m.frame(m.IntN(2) == 0))
					want := -1
					for order := range s.rules {
						if want < 0 && s.rules[order].entry.Rule.Match(&f) {
							want = order
							found++
						}
					}
					if got := lookUp(im, &f, hasOf(&f)); got != want {
						t.Fatalf("round %d: %+v: got rule %d, want %d", round, f, got, want)
					}
				}
			}
		}
		if err != nil {
			if !beyondBounds(err) {
				t.Fatal(err)
			}
			refused++
		}
	}
	if refused > 60 || found < 1000 {
		t.Errorf("%d rounds of 200 were refused, %d packets found a rule", refused, found)
	}
}

// A hundred thousand rules find their places, and each is found again.
func TestManyRules(t *testing.T) {
	entries := make([]RuleEntry, 100_000)
	for i := range entries {
		r := traffic.Rule{Destination: netip.PrefixFrom(addr4(0x0a000000+uint32(i)/3), 32), Protocols: traffic.Terms{{Op: traffic.Equal, Value: uint32(i % 3)}},
			Actions: []traffic.RuleAction{{Kind: traffic.RuleDiscard}}}
		entries[i] = RuleEntry{Rule: r, ID: uint64(i)}
	}
	room := (&Plan{Rules: len(entries)}).ruleSizes()
	s, err := compileRules(entries, room, forEver)
	if err != nil {
		t.Fatal(err)
	}
	im, err := s.crowdedImage(room)
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		f := traffic.Facts{Packet: traffic.Packet{Dst: entries[i].Rule.Destination.Addr(), Src: addr4(1), Protocol: uint8(i % 3)}}
		if got := lookUp(im, &f, hasIPv4); got != i {
			t.Fatalf("rule %d: found %d", i, got)
		}
	}
	if _, err := s.image(ruleSizes{rules: 1 << 17, keys: 1000}, ruleSecret{}); err == nil {
		t.Error("more keys than there is room for were entered")
	}
}
