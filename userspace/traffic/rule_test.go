package traffic

import (
	"errors"
	"flag"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the .out files anew")

var sameRule = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})

func discard(r Rule) Rule {
	r.Actions = []RuleAction{{Kind: RuleDiscard}}
	return r
}

// TestParseRule reads what people write, compares every field, and expects it printed in the one canonical form, which reads back as the same.
func TestParseRule(t *testing.T) {
	victim := netip.MustParsePrefix("203.0.113.7/32")
	for _, tt := range []struct {
		name, text, canonical string
		want                  Rule
	}{
		{"amplification", "destination 203.0.113.7 protocol udp source-port 53,123 length >=400&<=1500 fragment is-fragment then discard",
			"destination 203.0.113.7/32 protocol udp source-port 53,123 length >=400&<=1500 fragment is-fragment then discard",
			discard(Rule{Destination: victim, Protocols: Terms{{Op: Equal, Value: 17}}, SourcePorts: Terms{{Op: Equal, Value: 53}, {Op: Equal, Value: 123}},
				Lengths: Terms{{Op: GreaterOrEqual, Value: 400}, {And: true, Op: LessOrEqual, Value: 1500}}, Fragments: Masks{{Bits: FragmentIs}}})},
		{"any order, tabs, ranges and signs", "protocol ==17\tsource-port 1-5,!=9  destination 203.0.113.7/32 then  discard ",
			"destination 203.0.113.7/32 protocol udp source-port >=1&<=5,!=9 then discard",
			discard(Rule{Destination: victim, Protocols: Terms{{Op: Equal, Value: 17}},
				SourcePorts: Terms{{Op: GreaterOrEqual, Value: 1}, {And: true, Op: LessOrEqual, Value: 5}, {Op: NotEqual, Value: 9}}})},
		{"tcp flags", "destination 203.0.113.7/32 tcp-flags syn&!ack,any:fin+rst+0x100,!0x0 then discard",
			"destination 203.0.113.7/32 tcp-flags syn&!ack,any:fin+rst+0x100,!0x0 then discard",
			discard(Rule{Destination: victim, TCPFlags: Masks{{Bits: FlagSYN}, {And: true, Not: true, Bits: FlagACK}, {Any: true, Bits: FlagFIN | FlagRST | 0x100}, {Not: true}}})},
		{"all conditions of IPv6", "destination 2001:db8::/48 source ::1:0:0/64-96 protocol !=tcp port true destination-port >1 source-port <2 icmp-type 0x80 icmp-code false tcp-flags 0xfff length 65535 dscp ef fragment any:first-fragment+last-fragment flow-label 0xfffff then discard",
			"destination 2001:db8::/48 source ::1:0:0/64-96 protocol !=tcp port true destination-port >1 source-port <2 icmp-type 128 icmp-code false tcp-flags fin+syn+rst+psh+ack+urg+ece+cwr+0xf00 length 65535 dscp 46 fragment any:first-fragment+last-fragment flow-label 1048575 then discard",
			discard(Rule{Destination: netip.MustParsePrefix("2001:db8::/48"), Source: netip.MustParsePrefix("::1:0:0/96"), SourceOffset: 64,
				Protocols: Terms{{Op: NotEqual, Value: 6}}, Ports: Terms{{Op: True}}, DestinationPorts: Terms{{Op: Greater, Value: 1}},
				SourcePorts: Terms{{Op: Less, Value: 2}}, ICMPTypes: Terms{{Op: Equal, Value: 128}}, ICMPCodes: Terms{{}}, TCPFlags: Masks{{Bits: 0xfff}},
				Lengths: Terms{{Op: Equal, Value: 65535}}, DSCPs: Terms{{Op: Equal, Value: 46}},
				Fragments: Masks{{Any: true, Bits: FragmentFirst | FragmentLast}}, FlowLabels: Terms{{Op: Equal, Value: 0xfffff}}})},
		{"family needed", "family ipv6 protocol 255 then accept", "family ipv6 protocol 255 then accept",
			Rule{Version: 6, Protocols: Terms{{Op: Equal, Value: 255}}, Actions: []RuleAction{{Kind: RuleAccept}}}},
		{"family not needed", "family ipv4 destination 203.0.113.7/32 then accept", "destination 203.0.113.7/32 then accept",
			Rule{Destination: victim, Actions: []RuleAction{{Kind: RuleAccept}}}},
		{"payload", "destination 203.0.113.7/32 payload 0:FFffffff54&4:8000/8000&9:01/ff then discard",
			"destination 203.0.113.7/32 payload 0:ffffffff54&4:8000/8000&9:01 then discard",
			discard(Rule{Destination: victim, Payload: []Payload{{0, "\xff\xff\xff\xff\x54", ""}, {4, "\x80\x00", "\x80\x00"}, {9, "\x01", ""}}})},
		{"actions", "destination 203.0.113.7/32 then continue sample redirect-vrf 65000:4294967295 mark af41 rate-packets 10k rate-bytes 12.5M redirect 2001:db8::1 redirect 192.0.2.1",
			"destination 203.0.113.7/32 then rate-bytes 12500000 rate-packets 10000 mark 34 redirect-vrf 65000:4294967295 redirect 192.0.2.1 redirect 2001:db8::1 sample continue",
			Rule{Destination: victim, Actions: []RuleAction{{Kind: RuleRateBytes, Rate: 12.5e6}, {Kind: RuleRatePackets, Rate: 1e4}, {Kind: RuleMark, DSCP: 34},
				{Kind: RuleRedirectVRF, Target: RouteTarget{AS: 65000, Value: math.MaxUint32}}, {Kind: RuleRedirectIP, Address: netip.MustParseAddr("192.0.2.1")},
				{Kind: RuleRedirectIP, Address: netip.MustParseAddr("2001:db8::1")}, {Kind: RuleSample}, {Kind: RuleContinue}}}},
		{"wide AS", "destination 203.0.113.7/32 then redirect-vrf 65000L:1", "destination 203.0.113.7/32 then redirect-vrf 65000L:1",
			Rule{Destination: victim, Actions: []RuleAction{{Kind: RuleRedirectVRF, Target: RouteTarget{AS: 65000, Wide: true, Value: 1}}}}},
		{"AS that is wide anyway", "destination 203.0.113.7/32 then redirect-vrf 4200000000:1", "destination 203.0.113.7/32 then redirect-vrf 4200000000:1",
			Rule{Destination: victim, Actions: []RuleAction{{Kind: RuleRedirectVRF, Target: RouteTarget{AS: 4200000000, Wide: true, Value: 1}}}}},
		{"route targets by address", "destination 203.0.113.7/32 then redirect-vrf [2001:db8::1]:7", "destination 203.0.113.7/32 then redirect-vrf [2001:db8::1]:7",
			Rule{Destination: victim, Actions: []RuleAction{{Kind: RuleRedirectVRF, Target: RouteTarget{Address: netip.MustParseAddr("2001:db8::1"), Value: 7}}}}},
		{"copies", "destination 203.0.113.7/32 then copy 192.0.2.1", "destination 203.0.113.7/32 then copy 192.0.2.1",
			Rule{Destination: victim, Actions: []RuleAction{{Kind: RuleCopyIP, Address: netip.MustParseAddr("192.0.2.1")}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRule(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, tt.want, sameRule); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			if diff := cmp.Diff(got.String(), tt.canonical); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			again, err := ParseRule(tt.canonical)
			if err != nil || !again.Equal(got) {
				t.Errorf("the canonical form reads back as %v, %v", again, err)
			}
		})
	}
}

// TestRuleErrors holds the messages of testdata/rule/*.rule, one rule a line, against the .out files: what operators read is the product.
func TestRuleErrors(t *testing.T) {
	paths, err := filepath.Glob("testdata/rule/*.rule")
	if err != nil || len(paths) == 0 {
		t.Fatalf("got golden files %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".rule"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for line := range strings.Lines(string(data)) {
				text := strings.TrimSuffix(line, "\n")
				r, err := ParseRule(text)
				var e *RuleError
				if !errors.As(err, &e) {
					t.Errorf("%s\nis rule %v, want an error", text, r)
					continue
				}
				out.WriteString(text + "\n" + strings.Repeat(" ", e.Column-1) + "^ " + err.Error() + "\n")
			}
			golden := strings.TrimSuffix(path, ".rule") + ".out"
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(out.String(), string(want)); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestValidate is for rules that no text can say.
func TestValidate(t *testing.T) {
	base := func() Rule { return discard(Rule{Destination: netip.MustParsePrefix("203.0.113.7/32")}) }
	for _, tt := range []struct {
		name   string
		change func(*Rule)
		want   string
	}{
		{"the base", func(*Rule) {}, ""},
		{"host bits", func(r *Rule) { r.Source = netip.MustParsePrefix("192.0.2.1/24") }, "source: 192.0.2.1/24 has bits set that are not compared; did you mean 192.0.2.0/24?"},
		{"mapped", func(r *Rule) { r.Source = netip.MustParsePrefix("::ffff:192.0.2.1/128") }, "source: ::ffff:192.0.2.1/128 is an IPv4 prefix in IPv6 notation"},
		{"offset without prefix", func(r *Rule) { r.SourceOffset = 3 }, "source: an offset needs a prefix"},
		{"offset of IPv4", func(r *Rule) { r.DestinationOffset = 3 }, "destination: IPv4 prefixes have no offset"},
		{"family", func(r *Rule) { r.Version = 5 }, "family: there is no IP version 5; expected ipv4 or ipv6"},
		{"and first", func(r *Rule) { r.Ports = Terms{{And: true, Op: Equal}} }, "port: the first comparison has none before it to be joined with"},
		{"mask and first", func(r *Rule) { r.TCPFlags = Masks{{And: true}} }, "tcp-flags: the first comparison has none before it to be joined with"},
		{"operator", func(r *Rule) { r.Ports = Terms{{Op: 8}} }, "port: there is no operator 8"},
		{"value", func(r *Rule) { r.DSCPs = Terms{{Op: Equal, Value: 64}} }, "dscp: 64 is out of range; expected 0 to 63"},
		{"bits", func(r *Rule) { r.TCPFlags = Masks{{Bits: 0x1000}} }, "tcp-flags: bits 0x1000 are out of range; expected 0x0 to 0xfff"},
		{"action", func(r *Rule) { r.Actions = []RuleAction{{Kind: 99}} }, "action(99): there is no action 99"},
		{"NaN", func(r *Rule) { r.Actions = []RuleAction{{Kind: RuleRateBytes, Rate: float32(math.NaN())}} }, "rate-bytes: a rate is a number greater than 0 per second; to drop everything, write discard"},
		{"target", func(r *Rule) {
			r.Actions = []RuleAction{{Kind: RuleRedirectVRF, Target: RouteTarget{AS: 70000, Value: 70000}}}
		}, "redirect-vrf: the value of route target 70000:70000 is too large; expected at most 65535"},
		{"payload without bytes", func(r *Rule) { r.Payload = []Payload{{}} }, "payload: 0 bytes cannot be compared; expected 1 to 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := base()
			tt.change(&r)
			got := ""
			if err := r.Validate(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	terms := func(text string) (Terms, Masks, Payload) {
		r, err := ParseRule("family ipv4 " + text + " then discard")
		if err != nil {
			t.Fatal(err)
		}
		return r.Ports, r.TCPFlags, append(r.Payload, Payload{})[0]
	}
	for _, tt := range []struct {
		text      string
		hit, miss []uint32
	}{
		{"port 53", []uint32{53}, []uint32{0, 52, 54, 65535}},
		{"port !=53", []uint32{52, 54}, []uint32{53}},
		{"port 5-7,9", []uint32{5, 6, 7, 9}, []uint32{4, 8, 10}},
		{"port 9,5-7", []uint32{5, 6, 7, 9}, []uint32{4, 8, 10}},
		{"port >5&<7&!=6", nil, []uint32{4, 5, 6, 7}},
		{"port <5,>=7", []uint32{4, 7, 8}, []uint32{5, 6}},
		{"port 1&2,3", []uint32{3}, []uint32{1, 2}},
		{"port true", []uint32{0, 65535}, nil},
		{"port false", nil, []uint32{0, 65535}},
		{"port false,1", []uint32{1}, []uint32{0}},
		{"tcp-flags syn", []uint32{2, 3}, []uint32{0, 1}},
		{"tcp-flags syn+ack", []uint32{0x12, 0x13}, []uint32{2, 0x10}},
		{"tcp-flags any:syn+ack", []uint32{0x12, 2, 0x10}, []uint32{0, 1}},
		{"tcp-flags !any:syn+ack", []uint32{0, 1}, []uint32{0x12, 2, 0x10}},
		{"tcp-flags syn&!ack", []uint32{2, 3}, []uint32{0x12, 0x10, 0}},
		{"tcp-flags 0x0", []uint32{0, 2}, nil},
		{"tcp-flags any:0x0", nil, []uint32{0, 2}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			ports, flags, _ := terms(tt.text)
			match := func(v uint32) bool { return ports.Match(v) && flags.Match(uint16(v)) }
			for _, v := range tt.hit {
				if !match(v) {
					t.Errorf("%d does not match", v)
				}
			}
			for _, v := range tt.miss {
				if match(v) {
					t.Errorf("%d matches", v)
				}
			}
		})
	}
	_, _, p := terms("payload 1:a05f/f0ff")
	for payload, want := range map[string]bool{"\x00\xa3\x5f": true, "\x00\xa3\x5f\x00": true, "\x00\xb3\x5f": false, "\x00\xa3\x5e": false, "\x00\xa3": false, "": false} {
		if got := p.Match([]byte(payload)); got != want {
			t.Errorf("payload %x: got %v, want %v", payload, got, want)
		}
	}
}

func TestFamily(t *testing.T) {
	for text, want := range map[string]int{
		"destination 192.0.2.0/24": 4, "source 2001:db8::/32": 6, "family ipv4 protocol 1": 4, "family ipv6 protocol 1": 6,
		"flow-label 1": 6, "protocol 1": 0,
	} {
		r, err := ParseRule(text + " then discard")
		if err != nil || r.Family() != want {
			t.Errorf("%s: got %d, %v, want %d", text, r.Family(), err, want)
		}
	}
}

// TestRuleDocument: the rules of the documentation are rules, and it names every condition and action.
func TestRuleDocument(t *testing.T) {
	data, err := os.ReadFile("../../docs/RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	examples := 0
	for i, block := range strings.Split(text, "```") {
		body, isRules := strings.CutPrefix(block, "rule\n")
		if i%2 == 0 || !isRules {
			continue
		}
		for line := range strings.Lines(body) {
			examples++
			if _, err := ParseRule(strings.TrimSpace(line)); err != nil {
				t.Errorf("%s%v", line, err)
			}
		}
	}
	if examples < 10 {
		t.Errorf("got %d examples", examples)
	}
	words := ruleActionKindNames[:]
	for _, c := range conditions() {
		words = append(words, c.Name)
	}
	for _, word := range words {
		if !strings.Contains(text, "| `"+word+"` |") {
			t.Errorf("%s is not documented", word)
		}
	}
}

// FuzzParseRule: any text is a valid rule or an error inside the text; a rule prints as a text that reads back as the same and prints the same.
func FuzzParseRule(f *testing.F) {
	for _, pattern := range []string{"testdata/rule/*.rule", "../../docs/RULES.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("got seeds %v, %v", paths, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			for line := range strings.Lines(string(data)) {
				f.Add(strings.TrimSpace(line))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		var e *RuleError
		switch {
		case errors.As(err, &e):
			if e.Message == "" || e.Column < 1 || e.Column > utf8.RuneCountInString(text)+1 {
				t.Errorf("got %+v in a text of %d characters", e, utf8.RuneCountInString(text))
			}
			if diff := cmp.Diff(r, Rule{}, sameRule); diff != "" {
				t.Errorf("got a rule beside an error: %s", diff)
			}
			return
		case err != nil:
			t.Fatalf("got %T %v, want a *RuleError", err, err)
		}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", r, err)
		}
		again, err := ParseRule(r.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, r, err)
		}
		if diff := cmp.Diff(again, r, sameRule); diff != "" {
			t.Errorf("%q reads back differently (-got +want)\n%s", r, diff)
		}
		if diff := cmp.Diff(again.Canonical(), again, sameRule); diff != "" {
			t.Errorf("%q is not canonical (-got +want)\n%s", r, diff)
		}
	})
}
