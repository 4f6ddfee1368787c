package detect

import "weir/userspace/traffic"

// portion returns the part f (0 to 1) of c, each counter rounded down.
func portion(c *traffic.Counts, f float64) traffic.Counts {
	return traffic.Counts{
		Total:     portionOf(c.Total, f),
		Flows:     min(c.Flows, uint64(float64(c.Flows)*f)),
		TCP:       portionOf(c.TCP, f),
		UDP:       portionOf(c.UDP, f),
		ICMP:      portionOf(c.ICMP, f),
		TCPSYN:    portionOf(c.TCPSYN, f),
		Fragments: portionOf(c.Fragments, f),
		Dropped:   portionOf(c.Dropped, f),
		Unseen:    min(c.Unseen, uint64(float64(c.Unseen)*f)),
	}
}

// The product of a very large counter can round up to more than the counter.
func portionOf(c traffic.Count, f float64) traffic.Count {
	return traffic.Count{
		Packets: min(c.Packets, uint64(float64(c.Packets)*f)),
		Bytes:   min(c.Bytes, uint64(float64(c.Bytes)*f)),
	}
}

// perSecond returns c as rates, when it was counted within ns nanoseconds.
func perSecond(c *traffic.Counts, ns int64) traffic.Counts {
	factor := 1e9 / float64(ns)
	rate := func(v uint64) uint64 { return uint64(min(float64(v)*factor, 1<<63)) }
	both := func(c traffic.Count) traffic.Count {
		return traffic.Count{Packets: rate(c.Packets), Bytes: rate(c.Bytes)}
	}
	return traffic.Counts{
		Total:     both(c.Total),
		Flows:     rate(c.Flows),
		TCP:       both(c.TCP),
		UDP:       both(c.UDP),
		ICMP:      both(c.ICMP),
		TCPSYN:    both(c.TCPSYN),
		Fragments: both(c.Fragments),
		Dropped:   both(c.Dropped),
		Unseen:    rate(c.Unseen),
	}
}

// least returns the smaller of each counter, so that it can be taken off both.
func least(a, b *traffic.Counts) traffic.Counts {
	count := func(a, b traffic.Count) traffic.Count {
		return traffic.Count{Packets: min(a.Packets, b.Packets), Bytes: min(a.Bytes, b.Bytes)}
	}
	return traffic.Counts{
		Total:     count(a.Total, b.Total),
		Flows:     min(a.Flows, b.Flows),
		TCP:       count(a.TCP, b.TCP),
		UDP:       count(a.UDP, b.UDP),
		ICMP:      count(a.ICMP, b.ICMP),
		TCPSYN:    count(a.TCPSYN, b.TCPSYN),
		Fragments: count(a.Fragments, b.Fragments),
		Dropped:   count(a.Dropped, b.Dropped),
		Unseen:    min(a.Unseen, b.Unseen),
	}
}

// floorDiv divides rounding down, also for times before 1970.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
