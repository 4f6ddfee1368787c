package detect

import (
	"math"

	"weir/userspace/traffic"
)

// Error bars. Where only some packets were seen and each stands for others, the true number of packets of a kind is known the better the
// more of that kind were seen: with n seen that stand for N, the estimate is off by N x sqrt((1 - n/N) / n), one standard
// deviation (packet sampling theory of sFlow, sflow.org/packetSamplingBasics, with the correction for how much was seen). So the rate is at
// least value x (1 - z sqrt((1 - n/N) / n)), z being how many standard deviations the confidence asks for on one side. How many
// packets of a kind were seen is not counted: it is the kind's part of all packets seen. Bits follow from packets, as the sizes of sampled
// packets are those of the others; flows are not scaled and have no error bars. It is taken that one source tells of a host: where
// sampled and unsampled ones are mixed, the bound is somewhat too high.

// deviations is how many standard deviations below the mean a normal distribution has all but the given share above it.
func deviations(confidence float64) float64 { return math.Sqrt2 * math.Erfinv(2*confidence-1) }

// packetsOf is the metric of the packets that a metric is measured by; false for flows.
func packetsOf(m traffic.Metric) (traffic.Metric, bool) {
	switch {
	case m == traffic.FPS:
		return 0, false
	case m.Bits():
		return m - 1, true
	}
	return m, true
}

// bound is how far a measured rate can be trusted.
type bound struct {
	part float64 // of the rate: it is at least so much
	seen float64 // packets that the rate was inferred from
	used bool    // there was something to infer
}

// boundOf is the bound for n packets seen that stand for total, of which part is of the kind that is measured.
func boundOf(z, seen, total, part float64) bound {
	n := seen * part
	if seen >= total || z <= 0 {
		return bound{part: 1, seen: n}
	}
	if n <= 0 {
		return bound{used: true}
	}
	return bound{part: max(0, 1-z*math.Sqrt((1-seen/total)/n)), seen: n, used: true}
}

// write notes in a trip how sure it is.
func (b *bound) write(t *traffic.Trip, confidence float64) {
	if b.used {
		t.Lower, t.Seen, t.Confidence = t.Value*b.part, uint64(b.seen+0.5), confidence
	}
}
