package kafka

import (
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"weir/userspace/traffic"
)

// The encoders of weirkafka/weir.proto. They append to a buffer that is used again and again: generated code would allocate a message,
// and one for each of its parts, for every host.

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// nanoseconds since 1970; 0 for the zero time and for times before.
func nanoseconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixNano(), 0))
}

func appendPrefix(b []byte, field protowire.Number, p netip.Prefix) []byte {
	if !p.IsValid() {
		return b
	}
	b, at := open(b, field)
	b = appendAddress(b, 1, p.Addr())
	b = appendUint(b, 2, uint64(p.Bits()))
	return shut(b, at)
}

func appendCount(b []byte, field protowire.Number, c *traffic.Count) []byte {
	if *c == (traffic.Count{}) {
		return b
	}
	b, at := open(b, field)
	b = appendUint(b, 1, c.Packets)
	b = appendUint(b, 2, c.Bytes)
	return shut(b, at)
}

func appendCounts(b []byte, field protowire.Number, c *traffic.Counts) []byte {
	if *c == (traffic.Counts{}) {
		return b
	}
	b, at := open(b, field)
	b = appendCount(b, 1, &c.Total)
	b = appendUint(b, 2, c.Flows)
	b = appendCount(b, 3, &c.TCP)
	b = appendCount(b, 4, &c.UDP)
	b = appendCount(b, 5, &c.ICMP)
	b = appendCount(b, 6, &c.TCPSYN)
	b = appendCount(b, 7, &c.Fragments)
	b = appendCount(b, 8, &c.Dropped)
	return shut(b, at)
}

func appendTwoWay(b []byte, field protowire.Number, r *traffic.TwoWay) []byte {
	b, at := open(b, field)
	b = appendCounts(b, 1, &r.Incoming)
	b = appendCounts(b, 2, &r.Outgoing)
	return shut(b, at)
}

func appendHost(b []byte, at time.Time, h *traffic.HostRate) []byte {
	b = appendUint(b, 1, nanoseconds(at))
	b, inner := open(b, 2)
	b = appendPrefix(b, 1, h.Host)
	b = appendString(b, 2, h.Group)
	b = appendTwoWay(b, 3, &h.TwoWay)
	return shut(b, inner)
}

func appendNetwork(b []byte, at time.Time, n *traffic.NetworkRate) []byte {
	b = appendUint(b, 1, nanoseconds(at))
	b, inner := open(b, 3)
	b = appendPrefix(b, 1, n.Prefix)
	b = appendTwoWay(b, 2, &n.TwoWay)
	return shut(b, inner)
}

func appendGroup(b []byte, at time.Time, g *traffic.GroupRate) []byte {
	b = appendUint(b, 1, nanoseconds(at))
	b, inner := open(b, 4)
	b = appendString(b, 1, g.Name)
	b = appendTwoWay(b, 2, &g.TwoWay)
	return shut(b, inner)
}

func appendTotal(b []byte, at time.Time, version int, d traffic.Direction, c *traffic.Counts) []byte {
	b = appendUint(b, 1, nanoseconds(at))
	b, inner := open(b, 5)
	b = appendUint(b, 1, uint64(version))
	b = appendUint(b, 2, uint64(d))
	b = appendCounts(b, 3, c)
	return shut(b, inner)
}

func appendFlow(b []byte, f *traffic.Flow, _ time.Time) []byte {
	b = appendUint(b, 1, uint64(max(f.Start, 0)))
	b = appendUint(b, 2, uint64(max(f.End, 0)))
	b = appendUint(b, 3, uint64(f.Source))
	b = appendAddress(b, 4, f.Exporter)
	b = appendUint(b, 5, uint64(f.Domain))
	b = appendAddress(b, 6, f.Src)
	b = appendAddress(b, 7, f.Dst)
	b = appendUint(b, 8, uint64(f.Protocol))
	b = appendUint(b, 9, uint64(f.SrcPort))
	b = appendUint(b, 10, uint64(f.DstPort))
	b = appendUint(b, 11, uint64(f.TCPFlags))
	b = appendUint(b, 12, uint64(f.TTL))
	b = appendUint(b, 13, uint64(f.TOS))
	b = appendUint(b, 14, uint64(f.Fragment))
	b = appendUint(b, 15, f.Packets)
	b = appendUint(b, 16, f.Bytes)
	b = appendUint(b, 17, uint64(f.Rate))
	b = appendBool(b, 18, f.RateOrigin == traffic.RateUnknown)
	b = appendUint(b, 19, uint64(f.Input))
	b = appendUint(b, 20, uint64(f.Output))
	b = appendUint(b, 21, uint64(f.SrcAS))
	b = appendUint(b, 22, uint64(f.DstAS))
	b = appendAddress(b, 23, f.NextHop)
	b = appendUint(b, 24, uint64(f.SrcMask))
	b = appendUint(b, 25, uint64(f.DstMask))
	b = appendUint(b, 26, uint64(f.VLAN))
	b = appendUint(b, 27, uint64(f.Side))
	return appendBool(b, 28, f.Dropped)
}
