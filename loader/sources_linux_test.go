package loader_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
)

func loadSources(t *testing.T, sources int) plane {
	t.Helper()
	return loadPlan(t, func(p *loader.Plan) { p.Sources = sources })
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func from(build func(...pt.Mutation) pt.Frame, a netip.Addr) []byte {
	return build(func(f *pt.Frame) { f.Src = a }).Bytes()
}

// The longest prefix that holds a source decides, whichever list it is on; random lists, random sources in and around them.
func TestSourcesInKernel(t *testing.T) {
	p := loadSources(t, 4096)
	random := rand.New(rand.NewPCG(1, 2))
	address := func(six bool) netip.Addr {
		var b [16]byte
		for i := range b {
			b[i] = byte(random.IntN(3)) << random.IntN(8)
		}
		if six {
			b[0], b[1] = 0x20, 1
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{100, b[1], b[2], b[3]})
	}
	allowed, blocked := 0, 0
	for round := range 20 {
		var lists [2][]netip.Prefix
		lengths := [2][]int{{5, 8, 16, 20, 24, 25, 29, 32}, {20, 32, 40, 64, 100, 128}}
		for range 300 {
			six := random.IntN(2)
			bits := lengths[six][random.IntN(len(lengths[six]))]
			which := random.IntN(2)
			lists[which] = append(lists[which], netip.PrefixFrom(address(six == 1), bits).Masked())
		}
		if err := p.SetSources(lists[0], lists[1]); err != nil {
			t.Fatal(err)
		}
		p.setRules(t, "destination 198.51.100.7/32 protocol udp then discard", "destination 2001:db8:2::7/128 protocol udp then discard")
		for range 200 {
			six := random.IntN(2) == 1
			a := address(six)
			longest, allow, block := -1, false, false
			for which, list := range lists {
				for _, x := range list {
					if !x.Contains(a) || x.Bits() < longest {
						continue
					}
					if x.Bits() > longest {
						longest, allow, block = x.Bits(), false, false
					}
					allow, block = allow || which == 0, block || which == 1
				}
			}
			// Without rules, what is blocked differs from the rest; with them, what is allowed does.
			tcp, udp := pt.TCP4, pt.UDP4
			if six {
				tcp, udp = pt.TCP6, pt.UDP6
			}
			wantTCP, wantUDP := uint32(xdpPassed), uint32(xdpDropped)
			switch {
			case allow:
				wantUDP = xdpPassed
				allowed++
			case block:
				wantTCP = xdpDropped
				blocked++
			}
			if got := p.xdp(t, loader.Host, from(tcp, a)); got != wantTCP {
				t.Fatalf("round %d: %s (allow %v, block %v, /%d): got %d, want %d", round, a, allow, block, longest, got, wantTCP)
			}
			if got := p.xdp(t, loader.Host, from(udp, a)); got != wantUDP {
				t.Fatalf("round %d: %s (allow %v, block %v, /%d) under a rule: got %d, want %d", round, a, allow, block, longest, got, wantUDP)
			}
		}
	}
	if allowed < 100 || blocked < 100 {
		t.Errorf("%d sources were allowed, %d blocked: too few", allowed, blocked)
	}
	c := p.Counters()
	if c.SourceAllowed != uint64(2*allowed) || c.SourceBlocked != uint64(2*blocked) {
		t.Errorf("counted %d allowed, %d blocked; want %d, %d", c.SourceAllowed, c.SourceBlocked, 2*allowed, 2*blocked)
	}
	if err := p.SetSources(nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := p.xdp(t, loader.Host, pt.TCP4().Bytes()); got != xdpPassed {
		t.Errorf("without lists: got %d", got)
	}
}

func TestSourcesRefused(t *testing.T) {
	p := loadSources(t, 20)
	if err := p.SetSources(nil, prefixes("192.0.2.0/24")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		block []netip.Prefix
		want  string
	}{
		{"too many", slices.Repeat(prefixes("10.0.0.0/8"), 21), "21 prefixes are more than the 20"},
		{"no prefix", []netip.Prefix{{}}, "is not a prefix"},
		{"too many lengths", manyLengths(), "yet another length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := p.SetSources(nil, tt.block); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := p.xdp(t, loader.Host, pt.UDP4().Bytes()); got != xdpDropped {
				t.Error("the lists before did not stay")
			}
		})
	}
}

func manyLengths() (list []netip.Prefix) {
	for bits := range loader.MaxLengths + 1 {
		list = append(list, netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), 40+bits))
	}
	return list
}
