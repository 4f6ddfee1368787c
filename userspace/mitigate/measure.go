package mitigate

import (
	"time"

	"weir/userspace/traffic"
)

// inDirection returns the half of both that goes the attack's way.
func inDirection(a *traffic.Attack, both *traffic.TwoWay) *traffic.Counts {
	if a.Target.Direction == traffic.Outgoing {
		return &both.Outgoing
	}
	return &both.Incoming
}

// measure notes the attack's rates, which have held for the last elapsed.
func measure(a *traffic.Attack, rates traffic.TwoWay, elapsed time.Duration) {
	a.Rate = rates
	rate := counters(inDirection(a, &a.Rate))
	peak, volume := counters(&a.Peak), counters(&a.Volume)
	for i, r := range rate {
		*peak[i] = max(*peak[i], *r)
		if elapsed > 0 {
			*volume[i] += uint64(float64(*r)*elapsed.Seconds() + 0.5)
		}
	}
}

// counters lists every number of c.
func counters(c *traffic.Counts) [15]*uint64 {
	return [...]*uint64{
		&c.Total.Packets, &c.Total.Bytes, &c.Flows,
		&c.TCP.Packets, &c.TCP.Bytes, &c.UDP.Packets, &c.UDP.Bytes, &c.ICMP.Packets, &c.ICMP.Bytes,
		&c.TCPSYN.Packets, &c.TCPSYN.Bytes, &c.Fragments.Packets, &c.Fragments.Bytes, &c.Dropped.Packets, &c.Dropped.Bytes,
	}
}
