package analyze

import (
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// carpet reports whether the packets are spread over many destinations that are neighbours, none of which has most of them. Outgoing traffic of
// a server goes to many clients as well, but those are not neighbours.
func carpet(samples []Seen, direction traffic.Direction) (Pattern, bool) {
	const least, most, within = 16, 0.5, 0.9
	destinations := map[netip.Addr]uint64{}
	var all, busiest uint64
	for i := range samples {
		destinations[samples[i].Packet.Dst] += samples[i].weight()
		all += samples[i].weight()
	}
	four := uint64(0)
	for a, n := range destinations {
		busiest = max(busiest, n)
		if a.Is4() {
			four += n
		}
	}
	if len(destinations) < least || share(busiest, all) > most {
		return Pattern{}, false
	}
	prefix := common(destinations, share(four, all) >= 0.5, uint64(within*float64(all)))
	hosts := 0
	for a := range destinations {
		if prefix.Contains(a) {
			hosts++
		}
	}
	neighbours := 16
	if prefix.Addr().Is6() {
		neighbours = 32
	}
	if direction != traffic.Incoming && prefix.Bits() < neighbours {
		return Pattern{}, false
	}
	n := float64(len(samples))
	return Pattern{Name: CarpetBombing, Confidence: proofHeader * n / (n + doubt), Prefix: prefix,
		Evidence: fmt.Sprintf("%d destinations, %d of them in %s, the busiest has %s of the packets", len(destinations), hosts, prefix, percent(share(busiest, all)))}, true
}

// common is the longest prefix of one IP version that holds at least so many packets.
func common(destinations map[netip.Addr]uint64, four bool, least uint64) netip.Prefix {
	current, bits := netip.IPv6Unspecified(), 128
	if four {
		current, bits = netip.IPv4Unspecified(), 32
	}
	prefix := netip.PrefixFrom(current, 0)
	for length := 1; length <= bits; length++ {
		inside := map[netip.Prefix]uint64{}
		for a, n := range destinations {
			if prefix.Contains(a) {
				inside[netip.PrefixFrom(a, length).Masked()] += n
			}
		}
		found := false
		for p, n := range inside { // at most two, and only one can hold more than half
			if n >= least {
				prefix, found = p, true
			}
		}
		if !found {
			break
		}
	}
	return prefix
}

// pulses reports whether the packets come in bursts with silence between them.
func pulses(samples []Seen, from, to time.Time) (Pattern, bool) {
	const (
		finest, most = 100 * time.Millisecond, 1000 // of the bins of time
		bursts       = 3
		silence      = 3  // bins between two bursts
		dense        = 10 // samples in the busiest bins: else a gap may be chance
	)
	span := to.Sub(from)
	width := max(finest, span/most+1)
	bins := make([]int, int(span/width)+1)
	if len(bins) < bursts*(silence+1) {
		return Pattern{}, false
	}
	busiest := 0
	for i := range samples {
		bin := &bins[samples[i].Time.Sub(from)/width]
		*bin++
		busiest = max(busiest, *bin)
	}
	if busiest < dense {
		return Pattern{}, false
	}
	var starts []int
	quiet, active, inside := silence, 0, 0
	for i, n := range bins {
		if n*10 < busiest {
			quiet++
			continue
		}
		if quiet >= silence {
			starts = append(starts, i)
		}
		quiet = 0
		active++
		inside += n
	}
	// Silence is silent: hardly anything between the bursts, which fill at most three quarters of the time.
	if len(starts) < bursts || inside*10 < len(samples)*9 || active*4 > len(bins)*3 {
		return Pattern{}, false
	}
	period := time.Duration(starts[len(starts)-1]-starts[0]) * width / time.Duration(len(starts)-1)
	length := time.Duration(active) * width / time.Duration(len(starts))
	n := float64(len(starts))
	return Pattern{Name: Pulses, Confidence: n / (n + 1), Evidence: fmt.Sprintf("%d bursts of about %s, one every %s, and hardly anything between them",
		len(starts), length.Round(finest), period.Round(finest))}, true
}
