package investigate

import (
	"cmp"
	"net/netip"
	"slices"

	"weir/userspace/traffic"
)

// Sources returns up to n of the sources of an attack, those with the most of its sampled packets first. Of an attack that comes from a
// host of ours, they are whom it goes to.
func (b *Book) Sources(t traffic.Target, n int) []traffic.SourceShare {
	a := b.attacks[side{t.Prefix, t.Direction}]
	if a == nil {
		return nil
	}
	counts := map[netip.Addr]uint64{}
	var all uint64
	for i := range a.samples {
		s := &a.samples[i]
		other := s.Packet.Src
		if t.Direction == traffic.Outgoing {
			other = s.Packet.Dst
		}
		counts[other] += uint64(max(s.Rate, 1))
		all += uint64(max(s.Rate, 1))
	}
	list := make([]traffic.SourceShare, 0, len(counts))
	for source, count := range counts {
		list = append(list, traffic.SourceShare{Source: source, Share: float64(count) / float64(all)})
	}
	slices.SortFunc(list, func(x, y traffic.SourceShare) int {
		return cmp.Or(cmp.Compare(y.Share, x.Share), x.Source.Compare(y.Source))
	})
	return slices.Clip(list[:min(n, len(list))])
}
