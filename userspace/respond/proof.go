package respond

import (
	"time"

	"weir/userspace/traffic"
)

// A rule in shadow is judged when it has counted for so long. Where nobody knows what the target's ordinary traffic is, so many ordinary
// samples have to do, of which it may have met so many.
const (
	judgeAfter   = 2 * time.Second
	normalEnough = 50
	mostHarm     = 0.01
)

// Met takes in what rules have met, by their numbers, as it was read now.
func (b *Book) Met(now time.Time, hits map[uint64]traffic.Count) {
	for _, r := range b.list {
		h := hits[r.ID]
		if elapsed := now.Sub(r.upTo).Seconds(); !r.upTo.IsZero() && elapsed > 0 {
			r.Rate = traffic.Count{
				Packets: uint64(float64(h.Packets-r.hits.Packets)/elapsed + 0.5),
				Bytes:   uint64(float64(h.Bytes-r.hits.Bytes)/elapsed + 0.5),
			}
		}
		r.hits, r.upTo = h, now
	}
}

// Passing is what of a target's rates nothing holds back. What rules have met is taken off the protocols that they are for; all else that is
// dropped is taken off evenly.
func (b *Book) Passing(t traffic.Target, c traffic.Counts) traffic.Counts {
	dropped := c.Dropped
	if dropped.Packets == 0 {
		return c
	}
	for _, a := range b.list {
		if a.Target != t || a.Shadow || a.Purpose != Filter || len(a.Rule.Protocols) == 0 {
			continue
		}
		met := a.Rate
		for _, part := range protocolParts(&a.Rule, &c) {
			less(part, met)
		}
		less(&c.Total, met)
		less(&dropped, met)
	}
	if before := c.Total; before.Packets > 0 && dropped.Packets > 0 {
		share := 1 - min(1, float64(dropped.Packets)/float64(before.Packets))
		scale := func(n *uint64) { *n = uint64(float64(*n) * share) }
		for _, part := range []*traffic.Count{&c.Total, &c.TCP, &c.UDP, &c.ICMP, &c.TCPSYN, &c.Fragments} {
			scale(&part.Packets)
			scale(&part.Bytes)
		}
		scale(&c.Flows)
	}
	c.Dropped = traffic.Count{}
	return c
}

// protocolParts are the parts of c that a rule's packets are counted in; none where it is for several protocols.
func protocolParts(rule *traffic.Rule, c *traffic.Counts) []*traffic.Count {
	var parts []*traffic.Count
	for _, p := range []struct {
		number uint32
		part   *traffic.Count
	}{{traffic.ProtoTCP, &c.TCP}, {traffic.ProtoUDP, &c.UDP}, {traffic.ProtoICMP, &c.ICMP}, {traffic.ProtoICMPv6, &c.ICMP}} {
		if rule.Protocols.Match(p.number) {
			parts = append(parts, p.part)
		}
	}
	if len(parts) != 1 {
		return nil
	}
	if parts[0] == &c.TCP && len(rule.TCPFlags) > 0 && rule.TCPFlags.Match(traffic.FlagSYN) && !rule.TCPFlags.Match(traffic.FlagACK) {
		parts = append(parts, &c.TCPSYN)
	}
	return parts
}

// less takes b off a, which stays at least 0.
func less(a *traffic.Count, b traffic.Count) {
	a.Packets -= min(a.Packets, b.Packets)
	a.Bytes -= min(a.Bytes, b.Bytes)
}

// Proof is why a rule in shadow may be put in force.
type Proof struct {
	*Rule
	Left       float64 // packets per second that would pass then
	Ordinary   float64 // that the target has when it is not attacked; only if Known
	Known      bool
	Collateral float64 // of the ordinary samples
}

// Prove finds those rules in shadow whose cost live traffic has confirmed: what would pass without what they meet is what the target
// had before the attack, or all of that but a part, the tolerance. ordinary is what a target has when it is not attacked, in packets per second;
// false while nobody knows. Rules that are found count as proven from now on.
func (b *Book) Prove(now time.Time, tolerance float64, ordinary func(traffic.Target) (float64, bool)) []Proof {
	var proofs []Proof
	for _, all := range b.list {
		if all.Purpose != Count || all.Rate.Packets == 0 {
			continue
		}
		usual, known := ordinary(all.Target)
		passes := float64(all.Rate.Packets)
		for _, r := range b.list {
			if r.Attack != all.Attack || r.Purpose != Filter {
				continue
			}
			left := passes - float64(r.Rate.Packets)
			if !r.Shadow || r.Proven {
				passes = left
				continue
			}
			confirmed := left >= (1-tolerance)*usual
			if !known {
				confirmed = r.normal >= normalEnough && r.collateral <= mostHarm
			}
			if r.Rate.Packets == 0 || now.Sub(r.Since) < judgeAfter || !confirmed {
				continue
			}
			r.Proven, passes = true, left
			proofs = append(proofs, Proof{r, left, usual, known, r.collateral})
		}
	}
	return proofs
}
