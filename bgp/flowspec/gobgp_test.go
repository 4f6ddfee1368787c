package flowspec

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"weir/userspace/traffic"
)

// peer is GoBGP's NLRI of one IP version.
type peer interface {
	DecodeFromBytes([]byte, ...*bgp.MarshallingOption) error
	Serialize(...*bgp.MarshallingOption) ([]byte, error)
	String() string
}

func decodeByGoBGP(route Route) (*bgp.FlowSpecNLRI, peer, error) {
	if route.IPv6 {
		n := bgp.NewFlowSpecIPv6Unicast(nil)
		return &n.FlowSpecNLRI, n, n.DecodeFromBytes(route.NLRI)
	}
	n := bgp.NewFlowSpecIPv4Unicast(nil)
	return &n.FlowSpecNLRI, n, n.DecodeFromBytes(route.NLRI)
}

// TestGoBGPReads: GoBGP reads in our bytes the operators and values that we mean, and writes the same bytes.
func TestGoBGPReads(t *testing.T) {
	r := rand.New(rand.NewPCG(5575, 7674))
	compared := 0
	for i := range 5000 {
		rule := randomRule(r, i%2 == 0, false)
		route, err := Marshal(rule)
		if err != nil {
			t.Fatal(err)
		}
		if len(route.NLRI) > 1+238 { // see TestGoBGPLimits
			continue
		}
		compared++
		nlri, n, err := decodeByGoBGP(route)
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		if b, err := n.Serialize(); err != nil || !bytes.Equal(b, route.NLRI) {
			t.Fatalf("%s: GoBGP writes %x, %v, want %x", rule, b, err, route.NLRI)
		}
		if diff := cmp.Diff(said(t, nlri.Value), meant(&rule)); diff != "" {
			t.Fatalf("%s: GoBGP reads %s (-got +want)\n%s", rule, n, diff)
		}
	}
	if compared < 4000 {
		t.Errorf("only %d rules were compared", compared)
	}
}

// item is an operator with its value; prefixes are items with text.
type item struct {
	Kind, Op uint8
	Value    uint64
	Prefix   string
}

func said(t *testing.T, components []bgp.FlowSpecComponentInterface) []item {
	t.Helper()
	var all []item
	add := func(i item) { all = append(all, i) }
	for _, c := range components {
		switch c := c.(type) {
		case *bgp.FlowSpecDestinationPrefix:
			add(item{Kind: 1, Prefix: c.Prefix.String()})
		case *bgp.FlowSpecSourcePrefix:
			add(item{Kind: 2, Prefix: c.Prefix.String()})
		case *bgp.FlowSpecDestinationPrefix6:
			add(item{Kind: 1, Prefix: c.Prefix.String()})
		case *bgp.FlowSpecSourcePrefix6:
			add(item{Kind: 2, Prefix: c.Prefix.String()})
		case *bgp.FlowSpecComponent:
			for _, i := range c.Items {
				add(item{Kind: uint8(c.Type()), Op: i.Op & 0x47, Value: i.Value})
			}
		default:
			t.Fatalf("GoBGP reads a %T", c)
		}
	}
	return all
}

func meant(r *traffic.Rule) []item {
	var all []item
	add := func(i item, and bool) {
		if and {
			i.Op |= 0x40
		}
		all = append(all, i)
	}
	if r.Destination.IsValid() {
		add(item{Kind: 1, Prefix: r.Destination.String()}, false)
	}
	if r.Source.IsValid() {
		add(item{Kind: 2, Prefix: r.Source.String()}, false)
	}
	for kind := uint8(3); kind <= 13; kind++ {
		if terms, _ := r.Terms(kind); terms != nil {
			for _, x := range *terms {
				add(item{Kind: kind, Op: uint8(x.Op), Value: uint64(x.Value)}, x.And)
			}
		}
		if masks, _ := r.Masks(kind); masks != nil {
			for _, x := range *masks {
				i := item{Kind: kind, Op: 1, Value: uint64(x.Bits)}
				if x.Any {
					i.Op = 0
				}
				if x.Not {
					i.Op |= 2
				}
				add(i, x.And)
			}
		}
	}
	return all
}

// TestGoBGPWrites: what GoBGP makes of its own text form, we read as the rule that we mean by ours.
func TestGoBGPWrites(t *testing.T) {
	for _, tt := range []struct{ gobgp, ours string }{
		{"destination 203.0.113.7/32 source 10.0.0.0/8 protocol ==udp port ==53 ==80 destination-port >=137&<=139 source-port !=123",
			"destination 203.0.113.7/32 source 10.0.0.0/8 protocol udp port 53,80 destination-port 137-139 source-port !=123"},
		{"destination 203.0.113.7/32 icmp-type ==8 icmp-code ==0 packet-length >=1000&<=1400 dscp ==46", "destination 203.0.113.7/32 icmp-type 8 icmp-code 0 length 1000-1400 dscp 46"},
		{"destination 203.0.113.7/32 tcp-flags ==SA", "destination 203.0.113.7/32 tcp-flags syn+ack"},
		{"destination 203.0.113.7/32 tcp-flags S&!A", "destination 203.0.113.7/32 tcp-flags any:syn&!any:ack"},
		{"destination 203.0.113.7/32 fragment ==is-fragment", "destination 203.0.113.7/32 fragment is-fragment"},
		{"destination 203.0.113.7/32 fragment !=is-fragment+first-fragment", "destination 203.0.113.7/32 fragment !is-fragment+first-fragment"},
		{"destination 2001:db8::7/128 protocol ==tcp label ==100", "destination 2001:db8::7/128 protocol tcp flow-label 100"},
	} {
		t.Run(tt.gobgp, func(t *testing.T) {
			family, ipv6 := bgp.RF_FS_IPv4_UC, strings.Contains(tt.gobgp, "2001:")
			if ipv6 {
				family = bgp.RF_FS_IPv6_UC
			}
			components, err := bgp.ParseFlowSpecComponents(family, tt.gobgp)
			if err != nil {
				t.Fatal(err)
			}
			var n peer = bgp.NewFlowSpecIPv4Unicast(components)
			if ipv6 {
				n = bgp.NewFlowSpecIPv6Unicast(components)
			}
			b, err := n.Serialize()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Unmarshal(Route{IPv6: ipv6, NLRI: b})
			if err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			if diff := cmp.Diff(got, parse(t, tt.ours+" then accept"), sameRule); diff != "" {
				t.Errorf("%x (-got +want)\n%s", b, diff)
			}
		})
	}
}

// TestGoBGPCommunities: both write the same communities, and GoBGP passes those on that it does not know.
func TestGoBGPCommunities(t *testing.T) {
	for _, tt := range []struct {
		action string
		want   bgp.ExtendedCommunityInterface // nil: one that GoBGP knows only as bytes
	}{
		{"discard", bgp.NewTrafficRateExtended(0, 0)},
		{"rate-bytes 125000", bgp.NewTrafficRateExtended(0, 125000)},
		{"sample", bgp.NewTrafficActionExtended(false, true)},
		{"continue", bgp.NewTrafficActionExtended(true, false)},
		{"sample continue", bgp.NewTrafficActionExtended(true, true)},
		{"redirect-vrf 65000:100000", bgp.NewRedirectTwoOctetAsSpecificExtended(65000, 100000)},
		{"redirect-vrf 192.0.2.1:100", bgp.NewRedirectIPv4AddressSpecificExtended("192.0.2.1", 100)},
		{"redirect-vrf 4200000000:100", bgp.NewRedirectFourOctetAsSpecificExtended(4200000000, 100)},
		{"mark 46", bgp.NewTrafficRemarkExtended(46)},
		{"redirect 192.0.2.1", bgp.NewIPv4AddressSpecificExtended(0x0c, "192.0.2.1", 0, true)},
		{"copy 192.0.2.1", bgp.NewIPv4AddressSpecificExtended(0x0c, "192.0.2.1", 1, true)},
		{"rate-packets 1000", nil},
	} {
		t.Run(tt.action, func(t *testing.T) {
			route, err := Marshal(parse(t, "destination 203.0.113.7/32 then "+tt.action))
			if err != nil || len(route.Communities) != 1 {
				t.Fatalf("got %v, %v", route, err)
			}
			ours := route.Communities[0]
			if tt.want != nil {
				if b, err := tt.want.Serialize(); err != nil || !bytes.Equal(b, ours[:]) {
					t.Errorf("got %x, GoBGP writes %x, %v", ours, b, err)
				}
			}
			read, err := bgp.ParseExtended(ours[:])
			if err != nil {
				t.Fatal(err)
			}
			if b, err := read.Serialize(); err != nil || !bytes.Equal(b, ours[:]) {
				t.Errorf("GoBGP passes %x on as %x, %v", ours, b, err)
			}
		})
	}
}

// TestGoBGPCompare: both put IPv4 rules into the same order. (GoBGP shifts IPv6 prefixes by the wrong number of bits.)
func TestGoBGPCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for range 3000 {
		a := randomRule(r, false, false)
		b := randomRule(r, false, false)
		if r.IntN(2) == 0 {
			b.Version, b.Destination = 4, a.Destination
			b = b.Canonical()
		}
		var both [2]*bgp.FlowSpecNLRI
		for i, rule := range []traffic.Rule{a, b} {
			route, err := Marshal(rule)
			if err != nil {
				t.Fatal(err)
			}
			if len(route.NLRI) > 1+238 {
				break
			}
			if both[i], _, err = decodeByGoBGP(route); err != nil {
				t.Fatal(err)
			}
		}
		if both[0] == nil || both[1] == nil {
			continue
		}
		theirs, err := bgp.CompareFlowSpecNLRI(both[0], both[1])
		if err != nil {
			t.Fatal(err)
		}
		if got := Compare(a, b); got != -theirs {
			t.Fatalf("%s\n%s\ngot %d, GoBGP %d (its sign is the other way)", a, b, got, theirs)
		}
	}
}

// TestGoBGPLimits shows what GoBGP v3.37.0 cannot carry, which the linter's profile of it refuses: values of more than 238 bytes, and
// IPv6 prefixes with an offset.
func TestGoBGPLimits(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		size       int // of the NLRI's value
		carried    bool
	}{
		{"238 bytes", "family ipv4 source-port 256" + strings.Repeat(",256", 78) + " then discard", 238, true},
		{"239 bytes", "family ipv4 source-port 1,1,256" + strings.Repeat(",256", 77) + " then discard", 239, false},
		{"241 bytes", "family ipv4 source-port 256" + strings.Repeat(",256", 79) + " then discard", 241, false},
		{"prefix", "destination 2001:db8::12/128 protocol tcp port 1,2,3,4,5,6,7,8 then discard", 2 + 17 + 3 + 17, true},
		{"offset", "destination ::12/120-128 protocol tcp port 1,2,3,4,5,6,7,8 then discard", 2 + 2 + 3 + 17, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rule := parse(t, tt.rule)
			route, err := Marshal(rule)
			if err != nil {
				t.Fatal(err)
			}
			value, err := cutLength(route.NLRI)
			if err != nil || len(value) != tt.size {
				t.Fatalf("got %d bytes, %v, want %d", len(value), err, tt.size)
			}
			carried := false
			nlri, n, err := decodeByGoBGP(route)
			if err == nil {
				b, err := n.Serialize()
				carried = err == nil && bytes.Equal(b, route.NLRI) && cmp.Equal(said(t, nlri.Value), meant(&rule))
			}
			if carried != tt.carried {
				t.Errorf("GoBGP carries %x: got %v, want %v", route.NLRI, carried, tt.carried)
			}
		})
	}
}
