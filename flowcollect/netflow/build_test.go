package netflow

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// The datagrams of the tests are put together from numbers of 1, 2, 4 and 8 bytes and addresses.

func join(parts ...[]byte) []byte {
	b := []byte{}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func u8(v ...uint8) []byte { return v }

func u16(v ...uint16) []byte {
	var b []byte
	for _, n := range v {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

func u32(v ...uint32) []byte {
	var b []byte
	for _, n := range v {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func u64(v ...uint64) []byte {
	var b []byte
	for _, n := range v {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// sized is n in so many bytes.
func sized(n uint64, size int) []byte {
	b := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(b[len(b)-8:], n)
	return b[len(b)-size:]
}

// text is a field of variable length.
func text(b []byte) []byte {
	if len(b) < 255 {
		return join(u8(uint8(len(b))), b)
	}
	return join(u8(255), u16(uint16(len(b))), b)
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func at(seconds int) time.Time { return noon().Add(time.Duration(seconds) * time.Second) }

// The exporter of the tests has been up for 1,000,000 s at noon, and its clock is 100 s slow.
const (
	upAtNoon = uint32(1_000_000_000)
	behind   = 100
)

func exportedAt(seconds int) uint32 { return uint32(at(seconds).Unix() - behind) }

// v9 and ipfix are datagrams that are exported so many seconds after noon.
func v9(sequence uint32, seconds int, sets ...[]byte) []byte {
	return v9Of(7, sequence, seconds, sets...)
}

func v9Of(domain, sequence uint32, seconds int, sets ...[]byte) []byte {
	return join(u16(9, uint16(len(sets))), u32(upAtNoon+uint32(seconds)*1000, exportedAt(seconds), sequence, domain), join(sets...))
}

func ipfix(sequence uint32, seconds int, sets ...[]byte) []byte {
	return ipfixOf(7, sequence, seconds, sets...)
}

func ipfixOf(domain, sequence uint32, seconds int, sets ...[]byte) []byte {
	all := join(sets...)
	return join(u16(10, uint16(ipfixHeaderBytes+len(all))), u32(exportedAt(seconds), sequence, domain), all)
}

func setOf(id uint16, content ...[]byte) []byte {
	all := join(content...)
	return join(u16(id, uint16(setHeaderBytes+len(all))), all)
}

// announce is a template: elements with their lengths, in turn.
func announce(id uint16, fields ...uint16) []byte {
	return join(u16(id, uint16(len(fields)/2)), u16(fields...))
}

// announceAny is announce for IPFIX, where the upper bit of an element says that an enterprise number of two words follows.
func announceAny(id uint16, fields ...uint16) []byte {
	count := 0
	for at := 0; at < len(fields); count++ {
		if fields[at]&0x8000 != 0 {
			at += 2
		}
		at += 2
	}
	return join(u16(id, uint16(count)), u16(fields...))
}

func announceOptions9(id uint16, scopes int, fields ...uint16) []byte {
	return join(u16(id, uint16(scopes*4), uint16(len(fields)*2-scopes*4)), u16(fields...))
}

func announceOptions10(id uint16, scopes int, fields ...uint16) []byte {
	return join(u16(id, uint16(len(fields)/2), uint16(scopes)), u16(fields...))
}

// plain are the fields of an ordinary template of IPv4 flows, and record is a record of it that took the 20 s up to 5 s before noon.
func plain() []uint16 {
	return []uint16{
		ieSource4, 4, ieDestination4, 4, iePackets, 4, ieOctets, 4, ieFirstSwitched, 4, ieLastSwitched, 4, ieSourcePort, 2,
		ieDestinationPort, 2, ieProtocol, 1, ieTCPFlags, 1, ieTOS, 1, ieDirection, 1, ieInput, 4, ieOutput, 4,
	}
}

func record(packets uint32) []byte {
	return join(ip("192.0.2.1"), ip("198.51.100.7"), u32(packets, packets*100, upAtNoon-25_000, upAtNoon-5_000), u16(40000, 443), u8(6, 0x1b, 0xb8, 1), u32(3, 4))
}

// recorded is what is told of record.
func recorded(source traffic.FlowSource, packets uint32) traffic.Flow {
	return traffic.Flow{
		Packet: traffic.Packet{
			Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.7"), SrcPort: 40000, DstPort: 443,
			Protocol: traffic.ProtoTCP, TCPFlags: 0x1b,
		},
		Packets: uint64(packets), Bytes: uint64(packets) * 100, Start: at(-25).UnixNano(), End: at(-5).UnixNano(), Rate: 1, Source: source,
		Side: traffic.SideEgress, TOS: 0xb8, Exporter: exporter(), Domain: 7, Input: 3, Output: 4,
	}
}

func exporter() netip.Addr { return netip.MustParseAddr("203.0.113.1") }

func session(options ...func(*Options)) *Session {
	o := Options{Frame: packet.ParseLink}
	for _, set := range options {
		set(&o)
	}
	return NewSession(exporter(), &o)
}

// take is what a session tells of a datagram that arrives so many seconds after noon.
func take(t testing.TB, s *Session, seconds int, b []byte) []traffic.Flow {
	t.Helper()
	flows, err := decode(s, at(seconds), b)
	if err != nil {
		t.Fatal(err)
	}
	return flows
}

// decode copies headers, since they are valid for the call alone.
func decode(s *Session, now time.Time, b []byte) (flows []traffic.Flow, err error) {
	err = s.Decode(b, now, func(f *traffic.Flow) {
		c := *f
		c.Header = append([]byte(nil), f.Header...)
		flows = append(flows, c)
	})
	return flows, err
}

// only is the state of the only domain.
func only(t testing.TB, s *Session) Domain {
	t.Helper()
	h := s.Health(noon())
	if len(h.Domains) != 1 {
		t.Fatalf("%d domains, want 1", len(h.Domains))
	}
	return h.Domains[0]
}
