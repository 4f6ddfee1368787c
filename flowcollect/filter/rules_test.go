package filter

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

func TestRules(t *testing.T) {
	with := func(change func(*traffic.Flow)) *traffic.Flow {
		f := flow()
		change(f)
		return f
	}
	udp := with(func(f *traffic.Flow) { f.Protocol, f.TCPFlags, f.SrcPort = traffic.ProtoUDP, 0, 53 })
	for _, tt := range []struct {
		rule      string
		hit, miss []*traffic.Flow
	}{
		{"destination 203.0.113.0/24 then discard", []*traffic.Flow{flow()}, []*traffic.Flow{flow6(), with(func(f *traffic.Flow) { f.Dst = f.Src })}},
		{"destination 0.0.0.0/0 then discard", []*traffic.Flow{flow(), udp}, []*traffic.Flow{flow6()}},
		{"source ::/0 then discard", []*traffic.Flow{flow6()}, []*traffic.Flow{flow()}},
		{"source 2001:db8:1::/48 then discard", []*traffic.Flow{flow6()}, []*traffic.Flow{flow(), with(func(f *traffic.Flow) { f.Src, f.Dst = flow6().Dst, flow6().Src })}},
		{"source ::7/120-128 then discard", []*traffic.Flow{flow6()}, []*traffic.Flow{flow(), with(func(f *traffic.Flow) { f.Src, f.Dst = flow6().Dst, flow6().Src })}},
		{"source ::6.100.0.0/96-112 then discard", nil, []*traffic.Flow{flow(), flow6()}},
		{"family ipv6 protocol tcp then discard", []*traffic.Flow{flow6()}, []*traffic.Flow{flow(), udp}},
		{"protocol tcp then discard", []*traffic.Flow{flow6(), flow()}, []*traffic.Flow{udp}},
		{"protocol !=tcp then discard", []*traffic.Flow{udp}, []*traffic.Flow{flow6(), flow()}},
		{"port 443 then discard", []*traffic.Flow{flow(), udp}, []*traffic.Flow{with(func(f *traffic.Flow) { f.Protocol = 47 }),
			with(func(f *traffic.Flow) { f.Fragment = traffic.LaterFragment }), with(func(f *traffic.Flow) { f.Anomaly = traffic.AnomalyShortTransport })}},
		{"source-port 53,123 destination-port >=1&<1024 then discard", []*traffic.Flow{udp}, []*traffic.Flow{flow(), with(func(f *traffic.Flow) { f.SrcPort, f.DstPort = 53, 1024 })}},
		{"source-port 53 then discard", []*traffic.Flow{udp}, []*traffic.Flow{flow()}},
		{"tcp-flags syn&!ack then discard", []*traffic.Flow{with(func(f *traffic.Flow) { f.TCPFlags = traffic.FlagSYN })},
			[]*traffic.Flow{flow(), with(func(f *traffic.Flow) { f.TCPFlags, f.Protocol = traffic.FlagSYN, traffic.ProtoUDP })}},
		{"length 500 then discard", []*traffic.Flow{flow(), with(func(f *traffic.Flow) { f.Packets, f.Bytes = 3, 1502 })}, []*traffic.Flow{flow6(), with(func(f *traffic.Flow) { f.Packets = 0 })}},
		{"length 1500 then discard", []*traffic.Flow{with(func(f *traffic.Flow) { *f = *flow6(); f.VLAN = 0 })}, []*traffic.Flow{flow6(), with(func(f *traffic.Flow) { f.Bytes = 1514 * f.Packets })}},
		{"length 1496 then discard", []*traffic.Flow{flow6()}, nil},
		{"length 1514 then discard", []*traffic.Flow{with(func(f *traffic.Flow) { *f = *flow6(); f.Link = traffic.LinkIP })}, nil},
		{"dscp ef then discard", []*traffic.Flow{flow()}, []*traffic.Flow{with(func(f *traffic.Flow) { f.TOS = 0 })}},
		{"fragment is-fragment then discard", []*traffic.Flow{with(func(f *traffic.Flow) { f.Fragment = traffic.LaterFragment })},
			[]*traffic.Flow{flow(), with(func(f *traffic.Flow) { f.Fragment = traffic.FirstFragment })}},
		{"fragment !any:is-fragment+first-fragment then discard", []*traffic.Flow{flow()},
			[]*traffic.Flow{with(func(f *traffic.Flow) { f.Fragment = traffic.LaterFragment }), with(func(f *traffic.Flow) { f.Fragment = traffic.FirstFragment })}},
		{"port true tcp-flags 0x0 length true dscp true then discard", []*traffic.Flow{flow(), flow6()}, []*traffic.Flow{udp}},
		{"protocol false then discard", nil, []*traffic.Flow{flow(), flow6(), udp}},
	} {
		r := rulesOf(t, tt.rule)
		for n, f := range tt.hit {
			if r.Keep(f) {
				t.Errorf("%s keeps %d", tt.rule, n)
			}
		}
		for n, f := range tt.miss {
			if !r.Keep(f) {
				t.Errorf("%s drops %d", tt.rule, n)
			}
		}
	}
}

// TestFirstRuleDecides: and the others are not counted.
func TestFirstRuleDecides(t *testing.T) {
	r := rulesOf(t, "source 198.51.100.7/32 then accept", "source 198.51.100.0/24 then discard", "protocol tcp then discard", "protocol udp then accept")
	neighbour := flow()
	neighbour.Src = netip.MustParseAddr("198.51.100.8")
	gre := flow6()
	gre.Protocol = 47
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			m := r.New()
			got := []bool{m.Keep(flow()), m.Keep(neighbour), m.Keep(flow6()), m.Keep(gre), r.Keep(neighbour)}
			if diff := cmp.Diff(got, []bool{true, false, false, true, false}); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			r.Stats()
		})
	}
	wg.Wait()
	want := RuleStats{Calls: 15, Dropped: 9, Rules: []RuleHits{
		{"source 198.51.100.7/32 then accept", 3}, {"source 198.51.100.0/24 then discard", 6}, {"protocol tcp then discard", 3}, {"protocol udp then accept", 0},
	}}
	if diff := cmp.Diff(r.Stats(), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if empty := rulesOf(t); !empty.Keep(flow()) || empty.Stats().Calls != 1 {
		t.Error("no rules drop")
	}
}

func TestCompileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"protocol tcp then rate-bytes 1M":                  `a flow record is counted or not: expected "then discard" or "then accept" alone; to count a part, use a script`,
		"protocol tcp then discard sample":                 `a flow record is counted or not: expected "then discard" or "then accept" alone; to count a part, use a script`,
		"protocol icmp icmp-type 8 then discard":           "icmp-type: flow records do not tell it",
		"protocol icmp icmp-code 0 then discard":           "icmp-code: flow records do not tell it",
		"family ipv6 flow-label 1 then discard":            "flow-label: flow records do not tell it",
		"protocol udp payload 0:00 then discard":           "payload: flow records do not tell it",
		"family ipv4 fragment dont-fragment then discard":  "fragment: flow records tell is-fragment and first-fragment only",
		"fragment !is-fragment,last-fragment then discard": "fragment: flow records tell is-fragment and first-fragment only",
	} {
		r, err := traffic.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Compile([]traffic.Rule{{Protocols: traffic.Terms{{Op: traffic.Equal, Value: 1}}, Actions: []traffic.RuleAction{{Kind: traffic.RuleAccept}}}, r})
		if want := "compile flow filter: rule 2, " + r.String() + ": " + want; err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
	if _, err := Compile([]traffic.Rule{{}}); err == nil {
		t.Error("the zero rule is compiled")
	}
	if _, err := Compile(make([]traffic.Rule, maxRules+1)); err == nil {
		t.Error("too many rules are compiled")
	}
}

// TestRulesAgree holds compiled rules against what the vocabulary itself says of each condition, with rules and records by chance.
func TestRulesAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	of := func(n ...uint32) uint32 { return n[random.IntN(len(n))] }
	terms := func(values ...uint32) (out traffic.Terms) {
		for n := range random.IntN(4) {
			out = append(out, traffic.Term{And: n > 0 && random.IntN(2) == 0, Op: traffic.Operator(1 + random.IntN(7)), Value: of(values...)})
		}
		return out
	}
	addrs := []netip.Addr{
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.3.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"),
		netip.MustParseAddr("2001:db9::1"), netip.MustParseAddr("::c000:201"),
	}
	prefix := func() netip.Prefix {
		if random.IntN(2) == 0 {
			return netip.Prefix{}
		}
		a := addrs[random.IntN(len(addrs))]
		return netip.PrefixFrom(a, random.IntN(a.BitLen()+1)).Masked()
	}
	hits := 0
	for range 10000 {
		var list []traffic.Rule
		for len(list) < 3 {
			r := traffic.Rule{
				Destination: prefix(), Source: prefix(), Protocols: terms(6, 17, 47), Ports: terms(53, 80), DestinationPorts: terms(53, 80, 81),
				SourcePorts: terms(53, 65535), Lengths: terms(0, 500, 65535), DSCPs: terms(0, 46, 63),
				Actions: []traffic.RuleAction{{Kind: traffic.RuleActionKind(random.IntN(2))}},
			}
			if r.Validate() == nil {
				list = append(list, r)
			}
		}
		c, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		f := flow()
		for {
			f.Src, f.Dst = addrs[random.IntN(len(addrs))], addrs[random.IntN(len(addrs))]
			if f.Src.Is4() == f.Dst.Is4() {
				break
			}
		}
		f.Protocol, f.TOS = uint8(of(6, 17, 47)), uint8(of(0, 184, 255))
		f.SrcPort, f.DstPort = uint16(of(0, 53, 54, 65535)), uint16(of(53, 80, 81))
		f.Packets, f.Bytes = 2, uint64(of(0, 1000, 1002, 1<<30))
		want := slices.IndexFunc(list, func(r traffic.Rule) bool { return says(&r, f) })
		if want < 0 {
			want = len(list)
		} else {
			hits++
		}
		if got, keep := c.decide(f); got != want || keep != (want == len(list) || list[want].Actions[0].Kind == traffic.RuleAccept) {
			t.Fatalf("rules %v\nrecord %+v\ngot %d, %v, want %d", list, f, got, keep, want)
		}
	}
	if hits < 1000 {
		t.Errorf("only %d records were hit", hits)
	}
}

// says is what a rule says of a TCP, UDP or GRE record, slowly.
func says(r *traffic.Rule, f *traffic.Flow) bool {
	ported := f.Protocol != 47
	length := uint32(min(f.Bytes/f.Packets, 65535))
	return (!r.Destination.IsValid() || r.Destination.Contains(f.Dst)) && (!r.Source.IsValid() || r.Source.Contains(f.Src)) &&
		r.Protocols.Match(uint32(f.Protocol)) && r.Lengths.Match(length) && r.DSCPs.Match(uint32(f.TOS>>2)) &&
		(len(r.Ports) == 0 || ported && (r.Ports.Match(uint32(f.SrcPort)) || r.Ports.Match(uint32(f.DstPort)))) &&
		(len(r.DestinationPorts) == 0 || ported && r.DestinationPorts.Match(uint32(f.DstPort))) &&
		(len(r.SourcePorts) == 0 || ported && r.SourcePorts.Match(uint32(f.SrcPort)))
}

func TestRulesAllocate(t *testing.T) {
	m := rulesOf(t, "source 10.0.0.0/8 then discard", "port 443 length >100 then accept").New()
	f := flow()
	if n := testing.AllocsPerRun(1000, func() { m.Keep(f) }); n != 0 {
		t.Errorf("got %v allocations a record", n)
	}
}
