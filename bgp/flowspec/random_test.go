package flowspec

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// randomRule returns any rule that FlowSpec can carry.
func randomRule(r *rand.Rand, ipv6, offsets bool) traffic.Rule {
	rule := traffic.Rule{Version: 4, Actions: []traffic.RuleAction{{Kind: traffic.RuleDiscard}}}
	prefix := func() (netip.Prefix, uint8) {
		if !ipv6 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}), r.IntN(33)), 0
		}
		var a [16]byte
		for i := range a {
			a[i] = byte(r.Uint32())
		}
		length := r.IntN(129)
		offset := 0
		if offsets && length > 0 && r.IntN(2) == 0 {
			offset = r.IntN(length)
		}
		return netip.PrefixFrom(netip.AddrFrom16(a), length), uint8(offset)
	}
	if ipv6 {
		rule.Version = 6
	}
	if r.IntN(4) > 0 {
		rule.Destination, rule.DestinationOffset = prefix()
	}
	if r.IntN(4) == 0 {
		rule.Source, rule.SourceOffset = prefix()
	}
	for kind := byte(typeProtocol); kind <= typeFlowLabel; kind++ {
		n := max(0, r.IntN(6)-2)
		switch {
		case kind == typeProtocol: // so that there is a condition
			n = max(1, n)
		case kind == typeFlowLabel && !ipv6:
			n = 0
		}
		for i := range n {
			if terms, largest := rule.Terms(kind); terms != nil {
				*terms = append(*terms, traffic.Term{And: i > 0 && r.IntN(2) == 0, Op: traffic.Operator(r.IntN(8)), Value: r.Uint32N(largest + 1)})
			}
			if masks, all := rule.Masks(kind); masks != nil {
				bits := uint16(r.Uint32()) & all
				if ipv6 && kind == typeFragment {
					bits &^= traffic.FragmentDont
				}
				*masks = append(*masks, traffic.Mask{And: i > 0 && r.IntN(2) == 0, Not: r.IntN(2) == 0, Any: r.IntN(2) == 0, Bits: bits})
			}
		}
	}
	return rule.Canonical()
}

// TestRoundTrip: any rule comes back from its bytes and from its text as it was.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(8955, 8956))
	for i := range 5000 {
		want := randomRule(r, i%2 == 0, true)
		route, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Unmarshal(route)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if diff := cmp.Diff(got, want, sameRule); diff != "" {
			t.Fatalf("%s (-got +want)\n%s", want, diff)
		}
		text := parse(t, want.String())
		if diff := cmp.Diff(text, want, sameRule); diff != "" {
			t.Fatalf("%s (-got +want)\n%s", want, diff)
		}
	}
}

// FuzzUnmarshal: any bytes are a valid rule or an error, never both; what is a rule encodes to bytes that decode to it.
func FuzzUnmarshal(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		route, err := Marshal(randomRule(r, i%2 == 0, true))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(route.IPv6, route.NLRI, []byte("\x80\x06\x00\x00\x44\x7a\x00\x00\x01\x0c\xc0\x00\x02\x01\x00\x00"), []byte("\x00\x0c 0123456789abcdef\x00\x00"))
	}
	f.Fuzz(func(t *testing.T, ipv6 bool, nlri, communities, communities6 []byte) {
		route := Route{IPv6: ipv6, NLRI: nlri, NextHop: netip.AddrFrom4([4]byte{192, 0, 2, 1})}
		for ; len(communities) >= 8; communities = communities[8:] {
			route.Communities = append(route.Communities, [8]byte(communities))
		}
		for ; len(communities6) >= 20; communities6 = communities6[20:] {
			route.IPv6Communities = append(route.IPv6Communities, [20]byte(communities6))
		}
		got, err := Unmarshal(route)
		if err != nil {
			if diff := cmp.Diff(got, traffic.Rule{}, sameRule); diff != "" {
				t.Errorf("got a rule beside an error: %s", diff)
			}
			return
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		again, err := Marshal(got)
		if err != nil {
			if len(nlri) < 1600 { // wider flow labels may not fit in any more
				t.Fatal(err)
			}
			return
		}
		back, err := Unmarshal(again)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if diff := cmp.Diff(back, got, sameRule); diff != "" {
			t.Errorf("(-got +want)\n%s", diff)
		}
		third, err := Marshal(back)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(third, again, sameRule); diff != "" {
			t.Errorf("the bytes are not stable (-got +want)\n%s", diff)
		}
		if text := got.String(); len(text) > 0 {
			if r, err := traffic.ParseRule(text); err != nil || !r.Equal(got) {
				t.Errorf("%q reads back as %v, %v", text, r, err)
			}
		}
	})
}
