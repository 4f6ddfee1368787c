package bench

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"time"

	"weir/loader"
	"weir/userspace/traffic"
)

// fewRules is what many rules are compared with: one of each kind.
const fewRules = 5

// portOfRules is the source port of packets that rules are to drop: that of the stream of one flow to each host.
const portOfRules = 1234

// ruleOf is the i-th of rules of mixed shapes. hit has every fifth drop the packets of one flow.
func ruleOf(i int, to netip.Prefix, hit bool) traffic.Rule {
	const discard, equal = traffic.RuleDiscard, traffic.Equal
	one := func(v int) traffic.Terms { return traffic.Terms{{Op: equal, Value: uint32(v)}} }
	r := traffic.Rule{Destination: to, Protocols: one(traffic.ProtoUDP), Actions: []traffic.RuleAction{{Kind: discard}}}
	port := 2000 + i*7%60000
	switch i % fewRules {
	case 0:
		if hit {
			port = portOfRules
		}
		r.SourcePorts = one(port)
	case 1:
		r.Protocols, r.Source = nil, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, byte(i >> 8), byte(i), 0}), 24)
	case 2:
		r.DestinationPorts, r.SourcePorts = one(1+i%1000), one(port)
	case 3:
		r.Protocols, r.DestinationPorts = one(traffic.ProtoTCP), one(port)
		r.TCPFlags = traffic.Masks{{Bits: traffic.FlagSYN}, {And: true, Not: true, Bits: traffic.FlagACK}}
	case 4:
		r.Lengths = traffic.Terms{{Op: traffic.GreaterOrEqual, Value: uint32(400 + i/fewRules%10*100)}, {And: true, Op: traffic.LessOrEqual, Value: 1500}}
	}
	return r
}

// setRules has n rules, in turn for all of the measured hosts: for one each, or for as many as it takes to leave none out.
func (b *bed) setRules(n int, hit bool) error {
	each := 1
	for each < b.hosts && each*(n/fewRules) < b.hosts {
		each *= 2
	}
	entries := make([]loader.RuleEntry, n)
	for i := range entries {
		first := i / fewRules * each % b.hosts
		to := netip.PrefixFrom(nthHost(b.measured, first), 33-bits.Len(uint(each)))
		entries[i] = loader.RuleEntry{Rule: ruleOf(i, to, hit), ID: uint64(i)}
	}
	return b.plane.SetRules(time.Now(), entries)
}

func nthHost(network netip.Prefix, n int) netip.Addr {
	a := network.Addr().As4()
	for i := 3; i >= 0; i-- {
		n += int(a[i])
		a[i], n = byte(n), n>>8
	}
	return netip.AddrFrom4(a)
}

// filterPhases measures few rules and many, over packets that none of them is for and over packets that one of them drops.
func (b *bed) filterPhases() []phase {
	var phases []phase
	for _, x := range []struct {
		name  string
		rules int
	}{{"rules5", fewRules}, {"rules1m", b.filters}} {
		misses := b.subject(x.name, b.weir, b.fresh, traffic.ReasonIncoming)
		misses.astray = 100 // random ports meet those of a rule now and then
		phases = append(phases,
			phase{
				before:   func() error { return b.setRules(x.rules, false) },
				subjects: []*subject{misses},
			},
			phase{
				before:   func() error { return b.setRules(x.rules, true) },
				subjects: []*subject{b.subject(x.name+"_dropped", b.weir, b.same, traffic.ReasonFilteredIn)},
			})
	}
	return append(phases, b.sourcePhases()...)
}

// sourcePhases measures a list of sources that are let pass against none, over packets from all over to hosts under few rules:
// without rules, nobody looks at such a list.
func (b *bed) sourcePhases() []phase {
	none, many := b.subject("sources0", b.weir, b.wide, traffic.ReasonIncoming), b.subject("sources1m", b.weir, b.wide, traffic.ReasonIncoming)
	none.astray, many.astray = 100, 100 // some sources are ours
	return []phase{
		{
			before:   func() error { return b.setRules(fewRules, false) },
			subjects: []*subject{none},
		},
		{
			before:   func() error { return b.plane.SetSources(randomPrefixes(b.filters), nil) },
			subjects: []*subject{many},
		},
	}
}

// randomPrefixes are n networks and hosts, always the same ones: half of 24 bits, a quarter hosts, a quarter of 17 to 31 bits.
func randomPrefixes(n int) []netip.Prefix {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]netip.Prefix, n)
	for i := range list {
		length := [4]int{24, 24, 32, 17 + random.IntN(15)}[i%4]
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], random.Uint32())
		list[i] = netip.PrefixFrom(netip.AddrFrom4(a), length).Masked()
	}
	return list
}
