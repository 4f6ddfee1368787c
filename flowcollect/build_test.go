package flowcollect

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// The datagrams of the tests: NetFlow v5 and v9, IPFIX and sFlow v5, each from a valid base.

func at(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func from(s string) netip.AddrPort { return netip.AddrPortFrom(addr(s), 50000) }

// one is one record of a test.
type one struct {
	src, dst      string
	port          uint16
	packets       uint32
	input, output uint16
	seconds       int // how long it took
}

func (o one) complete() one {
	if o.src == "" {
		o.src = "198.51.100.1"
	}
	if o.dst == "" {
		o.dst = "192.0.2.1"
	}
	if o.packets == 0 {
		o.packets = 10
	}
	return o
}

const bytesPerPacket = 100

// netflow5 is a datagram of version 5; sampling is the header's word: mode and interval.
func netflow5(sequence uint32, sampling uint16, records ...one) []byte {
	const uptime = 1_000_000_000
	b := binary.BigEndian.AppendUint16(nil, 5)
	b = binary.BigEndian.AppendUint16(b, uint16(len(records)))
	b = binary.BigEndian.AppendUint32(b, uptime)
	b = binary.BigEndian.AppendUint32(b, uint32(at(0).Unix()))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = append(b, 0, 1)
	b = binary.BigEndian.AppendUint16(b, sampling)
	for _, o := range records {
		o = o.complete()
		src, dst := addr(o.src).As4(), addr(o.dst).As4()
		r := append(append(src[:], dst[:]...), 0, 0, 0, 0)
		r = binary.BigEndian.AppendUint16(r, o.input)
		r = binary.BigEndian.AppendUint16(r, o.output)
		r = binary.BigEndian.AppendUint32(r, o.packets)
		r = binary.BigEndian.AppendUint32(r, o.packets*bytesPerPacket)
		r = binary.BigEndian.AppendUint32(r, uptime-uint32(o.seconds)*1000)
		r = binary.BigEndian.AppendUint32(r, uptime)
		r = binary.BigEndian.AppendUint16(r, o.port)
		r = binary.BigEndian.AppendUint16(r, 53)
		r = append(r, 0, 0, traffic.ProtoUDP, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		b = append(b, r...)
	}
	return b
}

// exported sets the time in the header of a datagram of version 5 or 9.
func exported(now time.Time, b []byte) []byte {
	binary.BigEndian.PutUint32(b[8:], uint32(now.Unix()))
	return b
}

// set is a set of v9 or IPFIX.
func set(id uint16, content ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 0, 0)
	for _, c := range content {
		b = append(b, c...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// words16 is numbers of 16 bits.
func words16(v ...uint16) []byte {
	var b []byte
	for _, w := range v {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return b
}

// fields are those of the tests' template: addresses, ports, protocol, packets and bytes, interfaces, direction.
func fields() []byte {
	return words16(8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 2, 4, 1, 4, 10, 2, 14, 2, 61, 1)
}

const fieldCount = 10

// data is a record by that template.
func (o one) data(side byte) []byte {
	o = o.complete()
	src, dst := addr(o.src).As4(), addr(o.dst).As4()
	b := append(src[:], dst[:]...)
	b = append(b, words16(o.port, 53)...)
	b = append(b, traffic.ProtoUDP)
	b = binary.BigEndian.AppendUint32(b, o.packets)
	b = binary.BigEndian.AppendUint32(b, o.packets*bytesPerPacket)
	b = append(b, words16(o.input, o.output)...)
	return append(b, side)
}

// netflow9 is a datagram of version 9.
func netflow9(sequence, domain uint32, sets ...[]byte) []byte {
	b := words16(9, uint16(len(sets)))
	b = binary.BigEndian.AppendUint32(b, 1_000_000)
	b = binary.BigEndian.AppendUint32(b, uint32(at(0).Unix()))
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, domain)
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

// template9 is the template of fields as number 256, for v9.
func template9() []byte { return set(0, words16(256, fieldCount), fields()) }

// ipfix is an IPFIX message.
func ipfix(sequence, domain uint32, sets ...[]byte) []byte {
	b := words16(10, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(at(0).Unix()))
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, domain)
	for _, s := range sets {
		b = append(b, s...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// template10 is the template of fields as number 256, for IPFIX.
func template10() []byte { return set(2, words16(256, fieldCount), fields()) }

// sflow5 is a datagram with one sample, a UDP packet of 100 bytes between the record's hosts.
func sflow5(agent string, sequence, rate uint32, o one) []byte {
	return sflow5Of(agent, sequence, rate, sequence*rate, o)
}

// sflow5Of is the same of an agent that has counted so many packets.
func sflow5Of(agent string, sequence, rate, pool uint32, o one) []byte {
	o = o.complete()
	u32 := binary.BigEndian.AppendUint32
	src, dst := addr(o.src).As4(), addr(o.dst).As4()
	const length = bytesPerPacket
	frame := append(make([]byte, 12), 8, 0, 0x45, 0, 0, length-14, 0, 0, 0, 0, 64, traffic.ProtoUDP, 0, 0)
	frame = append(append(frame, src[:]...), dst[:]...)
	frame = append(frame, words16(o.port, 53, length-34, 0)...)
	frame = append(frame, 0, 0) // XDR: in fours
	var raw []byte
	for _, w := range []uint32{1, length, 0, uint32(len(frame))} {
		raw = u32(raw, w)
	}
	raw = append(raw, frame...)
	var sample []byte
	for _, w := range []uint32{sequence, uint32(o.input), rate, pool, 0, uint32(o.input), uint32(o.output), 1, 1, uint32(len(raw))} {
		sample = u32(sample, w)
	}
	sample = append(sample, raw...)
	a := addr(agent).As4()
	b := append(u32(u32(nil, 5), 1), a[:]...)
	for _, w := range []uint32{0, sequence, 1000 * sequence, 1, 1, uint32(len(sample))} {
		b = u32(b, w)
	}
	return append(b, sample...)
}

// bed is a decoder whose records are kept.
type bed struct {
	*Decoder
	t       testing.TB
	flows   []traffic.Flow
	packets uint64 // scaled
}

func newBed(t testing.TB, o Options) *bed {
	b := &bed{t: t}
	o.Frame = packet.ParseLink
	o.Sink = func(int) func(*traffic.Flow) {
		return func(f *traffic.Flow) {
			kept := *f
			kept.Header = nil
			b.flows = append(b.flows, kept)
			b.packets += f.Packets * uint64(f.Rate)
		}
	}
	b.Decoder = NewDecoder(&o, 0)
	return b
}

// take has datagrams decoded that all can be read.
func (b *bed) take(sender string, now time.Time, datagrams ...[]byte) {
	b.t.Helper()
	for i, d := range datagrams {
		if err := b.Datagram(from(sender), d, now); err != nil {
			b.t.Fatalf("datagram %d of %s: %v", i, sender, err)
		}
	}
}

// only is the state of the one exporter that there is.
func (b *bed) only(now time.Time) ExporterState {
	b.t.Helper()
	all := b.Exporters(now)
	if len(all) != 1 {
		b.t.Fatalf("there are %d exporters; want 1", len(all))
	}
	return all[0]
}
