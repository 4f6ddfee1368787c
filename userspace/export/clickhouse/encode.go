package clickhouse

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// Values in ClickHouse's format RowBinary: those of a row one after another, numbers with the lowest byte first, no type in front of them.

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, t := range texts {
		b = appendText(b, t)
	}
	return b
}

func appendNumber(b []byte, n uint64) []byte { return binary.LittleEndian.AppendUint64(b, n) }

func appendReal(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

func appendBool(b []byte, yes bool) []byte {
	if yes {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendTime appends a DateTime: whole seconds in 32 bits. A zero time, and what does not fit, becomes the nearest that does.
func appendTime(b []byte, t time.Time) []byte {
	return binary.LittleEndian.AppendUint32(b, seconds(t.Unix()))
}

func seconds(unix int64) uint32 { return uint32(min(max(unix, 0), math.MaxUint32)) }

// appendMilliseconds appends milliseconds since 1970, and 0 for no time at all.
func appendMilliseconds(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return appendNumber(b, 0)
	}
	return appendNumber(b, uint64(t.UnixMilli()))
}

// appendAddr appends the 16 bytes of a FixedString(16) or IPv6, with IPv4 as ::ffff:a.b.c.d. No address is "::".
func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		a = netip.IPv6Unspecified()
	}
	bytes := a.As16()
	return append(b, bytes[:]...)
}

// appendPrefix appends an address as text, with its length where that says something or is asked for.
func appendPrefix(b []byte, p netip.Prefix, length bool) []byte {
	start := len(b)
	b = append(b, 0) // the length of the text, which always fits into one byte
	switch {
	case !p.IsValid():
	case length || !p.IsSingleIP():
		b = p.AppendTo(b)
	default:
		b = p.Addr().AppendTo(b)
	}
	b[start] = byte(len(b) - start - 1)
	return b
}

// counters are the columns that appendCounters fills, in its order.
func counters() []string {
	return []string{
		"packets", "bits",
		"tcp_packets", "tcp_bits", "udp_packets", "udp_bits", "icmp_packets", "icmp_bits",
		"fragmented_packets", "fragmented_bits", "tcp_syn_packets", "tcp_syn_bits",
	}
}

// appendCounters appends what every table of traffic has.
func appendCounters(b []byte, c *traffic.Counts) []byte {
	b = appendCount(b, c.Total)
	b = appendCount(b, c.TCP)
	b = appendCount(b, c.UDP)
	b = appendCount(b, c.ICMP)
	b = appendCount(b, c.Fragments)
	return appendCount(b, c.TCPSYN)
}

func appendCount(b []byte, c traffic.Count) []byte {
	b = binary.LittleEndian.AppendUint64(b, c.Packets)
	return binary.LittleEndian.AppendUint64(b, c.Bytes*8)
}

// appendAll appends every counter: those of counters, the flows, and what was dropped.
func appendAll(b []byte, c *traffic.Counts) []byte {
	b = appendCounters(b, c)
	b = appendNumber(b, c.Flows)
	return appendCount(b, c.Dropped)
}
