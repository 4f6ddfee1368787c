package sflow

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weir/userspace/packet"
	"weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// The datagrams of the tests are put together by XDR's few rules: numbers, and opaque bytes with their length before them.

func words(v ...uint32) []byte {
	var b []byte
	for _, w := range v {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func pad(b []byte) []byte {
	return append(b, make([]byte, -len(b)&3)...)
}

// opaque is variable-length opaque data.
func opaque(b []byte) []byte { return pad(join(words(uint32(len(b))), b)) }

// tagged is a sample or a record: format, length, content.
func tagged(format uint32, content ...[]byte) []byte {
	return join(words(format), opaque(join(content...)))
}

// addr is an address with its type.
func addr(s string) []byte {
	a := netip.MustParseAddr(s)
	if a.Is4() {
		return join(words(addressIPv4), a.AsSlice())
	}
	return join(words(addressIPv6), a.AsSlice())
}

// head is what stands before the samples of a datagram.
type head struct {
	version               uint32
	agent                 string
	sub, sequence, uptime uint32
}

func base() head {
	return head{version: 5, agent: "192.0.2.254", sub: 7, sequence: 100, uptime: 60_000}
}

func (h head) with(samples ...[]byte) []byte {
	b := join(words(h.version), addr(h.agent))
	if h.version == 5 {
		b = join(b, words(h.sub))
	}
	return join(b, words(h.sequence, h.uptime, uint32(len(samples))), join(samples...))
}

// flow is a flow sample: of interface 3, one in 100, from 3 to 4.
type flow struct{ sequence, id, rate, pool, drops, input, output uint32 }

func plain() flow { return flow{sequence: 1, id: 3, rate: 100, pool: 100, input: 3, output: 4} }

func (x flow) with(records ...[]byte) []byte {
	return tagged(sampleFlow, words(x.sequence, x.id, x.rate, x.pool, x.drops, x.input, x.output, uint32(len(records))), join(records...))
}

// raw is a sampled_header of a frame that was length bytes long.
func raw(protocol, length, stripped uint32, header []byte) []byte {
	return tagged(recordHeader, words(protocol, length, stripped), opaque(header))
}

// ethernet is raw for a whole frame, as the specification has it: with FCS in the length, and without it in the header.
func ethernet(f packettest.Frame) []byte {
	b := f.Bytes()
	return raw(headerEthernet, uint32(len(b))+4, 4, b)
}

// spelledTCP4 and spelledUDP6 are the contents of sampled_ipv4 and sampled_ipv6.
func spelledTCP4() []byte {
	return join(words(1500, 6), netip.MustParseAddr("192.0.2.1").AsSlice(), netip.MustParseAddr("198.51.100.7").AsSlice(), words(40000, 443, 0x12, 0xb8))
}

func spelledUDP6() []byte {
	return join(words(900, 17), netip.MustParseAddr("2001:db8:1::1").AsSlice(), netip.MustParseAddr("2001:db8:2::7").AsSlice(), words(40000, 53, 0, 4))
}

// gatewayRecord is extended_gateway: of AS 64500 to AS 64511 by a sequence and a set.
func gatewayRecord(next string) []byte {
	return join(addr(next), words(64496, 64500, 64501, 2, 2, 2, 64502, 64503, 1, 1, 64511, 1, 0xfde80001, 100))
}

// interfaceCounters are the 88 bytes of if_counters for interface 3: 10 Gbit/s and up.
func interfaceCounters() []byte {
	return join(words(3, 6, 2, 1410065408, 1, 3), words(1, 0, 10, 20, 30, 40, 50, 0), words(2, 5, 11, 21, 0xffffffff, 41, 51, 0))
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// agentAddress is what the agent of base calls itself.
func agentAddress() netip.Addr { return netip.MustParseAddr(base().agent) }

func exporter() netip.Addr { return netip.MustParseAddr("203.0.113.1") }

func session(options ...func(*Options)) *Session {
	o := Options{Frame: packet.ParseLink}
	for _, set := range options {
		set(&o)
	}
	return NewSession(exporter(), &o)
}

// decode returns what a session tells of datagrams; headers are copied, since they are valid for the call alone.
func decode(s *Session, datagrams ...[]byte) (flows []traffic.Flow, err error) {
	for i, b := range datagrams {
		if err = s.Decode(b, noon().Add(time.Duration(i)*time.Second), func(f *traffic.Flow) {
			c := *f
			c.Header = append([]byte(nil), f.Header...)
			flows = append(flows, c)
		}); err != nil {
			return flows, err
		}
	}
	return flows, nil
}
