package traffic

import (
	"fmt"
	"strings"
)

// Metric names one measured rate that a threshold can be set on.
type Metric uint8

// Packets per second, bits per second (thresholds are written in Mbit/s, 10^6 bits), and flows per second.
const (
	PPS Metric = iota
	BPS
	FPS
	TCPPPS
	TCPBPS
	UDPPPS
	UDPBPS
	ICMPPPS
	ICMPBPS
	TCPSYNPPS
	TCPSYNBPS
	FragmentsPPS
	FragmentsBPS
	MetricCount
)

// The names as they stand in configuration and JSON; those in mbps hold a BPS metric divided by 10^6.
var metricNames = [MetricCount]string{
	"pps", "mbps", "flows", "tcp_pps", "tcp_mbps", "udp_pps", "udp_mbps", "icmp_pps", "icmp_mbps",
	"tcp_syn_pps", "tcp_syn_mbps", "fragments_pps", "fragments_mbps",
}

// String returns the metric's name as it stands in configuration and JSON.
func (m Metric) String() string {
	if m < MetricCount {
		return metricNames[m]
	}
	return fmt.Sprintf("metric(%d)", uint8(m))
}

// ParseMetric is the inverse of String.
func ParseMetric(name string) (Metric, error) {
	for m, n := range metricNames {
		if n == name {
			return Metric(m), nil
		}
	}
	return 0, fmt.Errorf("unknown metric %q; expected one of %s", name, strings.Join(metricNames[:], ", "))
}

// Bits reports whether the metric counts bits; its threshold is then written in Mbit/s.
func (m Metric) Bits() bool {
	switch m {
	case BPS, TCPBPS, UDPBPS, ICMPBPS, TCPSYNBPS, FragmentsBPS:
		return true
	}
	return false
}

// Scale is what one unit of the metric as an operator writes it stands for: 10^6 for Mbit/s, else 1.
func (m Metric) Scale() float64 {
	if m.Bits() {
		return 1e6
	}
	return 1
}

// Of returns the metric's quantity in c: packets, bits or flows, not divided by any time.
func (m Metric) Of(c *Counts) uint64 {
	switch m {
	case PPS:
		return c.Total.Packets
	case BPS:
		return c.Total.Bytes * 8
	case FPS:
		return c.Flows
	case TCPPPS:
		return c.TCP.Packets
	case TCPBPS:
		return c.TCP.Bytes * 8
	case UDPPPS:
		return c.UDP.Packets
	case UDPBPS:
		return c.UDP.Bytes * 8
	case ICMPPPS:
		return c.ICMP.Packets
	case ICMPBPS:
		return c.ICMP.Bytes * 8
	case TCPSYNPPS:
		return c.TCPSYN.Packets
	case TCPSYNBPS:
		return c.TCPSYN.Bytes * 8
	case FragmentsPPS:
		return c.Fragments.Packets
	case FragmentsBPS:
		return c.Fragments.Bytes * 8
	}
	return 0
}

// Limits holds one threshold per metric, in units per second (packets, bits, flows); 0 is no threshold.
type Limits [MetricCount]float64

// Any reports whether at least one threshold is set.
func (l *Limits) Any() bool { return *l != Limits{} }
