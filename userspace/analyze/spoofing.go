package analyze

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// Bogon reports whether an address cannot be a source on the Internet: special-purpose, multicast or not given to anybody (IANA "IPv4" and "IPv6
// Special-Purpose Address Registry", RFC 6890; IPv6 unicast is 2000::/3 so far).
func Bogon(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		switch b[0] {
		case 0, 10, 127:
			return true
		case 100:
			return b[1]&0xc0 == 64
		case 169:
			return b[1] == 254
		case 172:
			return b[1]&0xf0 == 16
		case 192:
			return b[1] == 168 || b[1] == 0 && (b[2] == 0 || b[2] == 2)
		case 198:
			return b[1]&0xfe == 18 || b[1] == 51 && b[2] == 100
		case 203:
			return b[1] == 0 && b[2] == 113
		}
		return b[0] >= 224
	}
	b := a.As16()
	switch {
	case b[0]&0xe0 != 0x20:
		return !(b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b) // translated IPv4 (RFC 6052)
	case b[0] == 0x20 && b[1] == 0x01:
		return b[2] == 0x0d && b[3] == 0xb8 || b[2] == 0 && b[3] == 2 && b[4] == 0 && b[5] == 0 // documentation, benchmarks
	}
	return b[0] == 0x3f && b[1] == 0xff && b[2]&0xf0 == 0
}

// source is what is seen of one address.
type source struct {
	packets  uint64
	samples  int
	low, top uint8 // TTL
}

// spoofing weighs what the sources tell. reflected is the share of packets that are answers of reflectors, whose addresses are real.
func spoofing(samples []Seen, direction traffic.Direction, ours func(netip.Addr) bool, reflected float64) Spoofing {
	var s Spoofing
	var all, impossible, bogons, wrong, land uint64
	var ttls [256]uint64
	var firstBytes [256]bool
	seen := map[netip.Addr]source{}
	for i := range samples {
		p, weight := &samples[i].Packet, samples[i].weight()
		isOurs := ours != nil && ours(p.Src)
		isBogon := Bogon(p.Src) && !(isOurs && direction != traffic.Incoming)
		isWrong := ours != nil && (direction == traffic.Incoming && isOurs || direction == traffic.Outgoing && !isOurs)
		isLand := p.Src == p.Dst
		for _, c := range []struct {
			is  bool
			sum *uint64
		}{{true, &all}, {isBogon, &bogons}, {isWrong, &wrong}, {isLand, &land}, {isBogon || isWrong || isLand, &impossible}} {
			if c.is {
				*c.sum += weight
			}
		}
		ttls[samples[i].TTL] += weight
		if p.Src.Is4() {
			firstBytes[p.Src.As4()[0]] = true
		}
		o, known := seen[p.Src]
		if !known {
			o.low = samples[i].TTL
		}
		o.packets += weight
		o.samples++
		o.low, o.top = min(o.low, samples[i].TTL), max(o.top, samples[i].TTL)
		seen[p.Src] = o
	}
	s.Impossible, s.Bogons, s.WrongSide, s.Land = share(impossible, all), share(bogons, all), share(wrong, all), share(land, all)
	s.Sources = len(seen)
	repeated, wavering := 0, 0
	for _, o := range seen {
		s.TopSource = max(s.TopSource, share(o.packets, all))
		if o.samples > 1 {
			repeated++
			if o.top-o.low > 4 { // paths change, but seldom by much
				wavering++
			}
		}
	}
	for _, is := range firstBytes {
		if is {
			s.FirstBytes++
		}
	}
	s.TTLLow, s.TTLHigh = middle(&ttls, all)
	for _, n := range ttls {
		if n > 0 {
			s.TTLs++
		}
	}
	s.judge(len(samples), repeated, wavering, direction, ours != nil, reflected)
	return s
}

// middle is the range of TTLs that leaves out at most a twentieth of the packets on each side.
func middle(ttls *[256]uint64, all uint64) (low, high uint8) {
	cut := all / 20
	var below uint64
	low = uint8(slices.IndexFunc(ttls[:], func(n uint64) bool { below += n; return below > cut }))
	var above uint64
	for i := len(ttls) - 1; i >= 0; i-- {
		if above += ttls[i]; above > cut {
			return low, uint8(i)
		}
	}
	return low, low
}

// judge reaches the verdict and says why.
func (s *Spoofing) judge(samples, repeated, wavering int, direction traffic.Direction, known bool, reflected float64) {
	say := func(format string, args ...any) { s.Evidence = append(s.Evidence, fmt.Sprintf(format, args...)) }
	const enough = 50 // samples: fewer say nothing about spread
	once := float64(s.Sources) / float64(max(samples, 1))
	narrow := int(s.TTLHigh)-int(s.TTLLow) <= 8
	if s.Impossible > 0 {
		where := "incoming from our own networks"
		if direction == traffic.Outgoing {
			where = "leaving with addresses that are not ours"
		}
		line := fmt.Sprintf("%s of the packets have impossible sources: %s reserved or unassigned", percent(s.Impossible), percent(s.Bogons))
		if known {
			line += fmt.Sprintf(", %s %s", percent(s.WrongSide), where)
		}
		if s.Land > 0 {
			line += fmt.Sprintf(", %s the destination itself", percent(s.Land))
		}
		say("%s", line)
	} else {
		say("no source is impossible")
	}
	say("%d sources in %d samples, %s of the packets from the busiest; %d different first bytes of IPv4 addresses", s.Sources, samples, percent(s.TopSource), s.FirstBytes)
	say("%d different TTLs, nine tenths of the packets between %d and %d", s.TTLs, s.TTLLow, s.TTLHigh)
	if repeated > 0 {
		say("%d of %d sources that were seen more than once change their TTL", wavering, repeated)
	}
	const forged, rare, spread = 0.05, 0.5, 100
	switch {
	case reflected >= 0.5:
		s.Verdict = SourcesReflectors
		if direction == traffic.Outgoing {
			say("our own servers answer questions that were forged: they are used as reflectors")
			break
		}
		say("the sources are servers that answer: the addresses are real, the questions were forged")
	case s.Impossible >= forged:
		s.Verdict = SourcesForged
		say("forged: nobody sends from these addresses")
	case samples < enough:
		s.Verdict = SourcesUnclear
		say("too few samples to judge the sources by their spread")
	case once >= rare && s.FirstBytes >= spread && narrow:
		s.Verdict = SourcesForged
		say("forged: sources from everywhere, hardly one of them twice, but all from the same distance")
	case repeated >= enough/5 && wavering*2 >= repeated:
		s.Verdict = SourcesForged
		say("forged: the same sources come from different distances")
	case once < rare && wavering*10 <= repeated:
		s.Verdict = SourcesReal
		say("probably real: the same sources again and again, each from the same distance")
	default:
		s.Verdict = SourcesUnclear
		say("nothing proves the sources forged or real")
	}
}
