package kafka

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"weir/userspace/traffic"
)

// decoder turns messages into flow records. It is for one goroutine, and allocates nothing but errors.
type decoder struct {
	schema  schema
	format  Format
	framing Framing
	rate    uint32 // of records that name none; 0: unknown
	emit    func(*traffic.Flow)

	numbers   [numberCount]uint64
	addresses [columnCount - numberCount]netip.Addr
	flow      traffic.Flow
	records   uint64
	notIP     uint64
}

func newDecoder(o *Options) (*decoder, error) {
	text := o.Schema
	switch {
	case text != "":
	case o.Format == Akvorado:
		text = akvorado
	default:
		text = goFlow2
	}
	s, err := parseSchema(text)
	if err != nil {
		return nil, err
	}
	framing := o.Framing
	if o.Format == Akvorado && framing == FramingAuto && o.Schema == "" {
		framing = FramingPlain
	}
	return &decoder{schema: *s, format: o.Format, framing: framing, rate: o.Rate, emit: o.Sink}, nil
}

var errEmpty = errors.New("message is empty")

// message decodes the value of one Kafka record. Flows before what is broken have been handed on.
func (d *decoder) message(b []byte) error {
	if len(b) == 0 {
		return errEmpty
	}
	switch d.framing {
	case FramingPlain:
		return d.record(b)
	case FramingAuto:
		// A message as long as its first number says has its length before it. A message without could begin so, too: then its first field's
		// tag would be its length, and what follows would not be a message.
		if length, n := protowire.ConsumeVarint(b); n > 0 && length == uint64(len(b)-n) && d.record(b[n:]) == nil {
			return nil
		}
		return d.record(b)
	}
	for len(b) > 0 {
		one, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return fmt.Errorf("length before a message: %w; is the framing right?", protowire.ParseError(n))
		}
		if err := d.record(one); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// record decodes one message.
func (d *decoder) record(b []byte) error {
	d.numbers = [numberCount]uint64{}
	d.addresses = [columnCount - numberCount]netip.Addr{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("tag: %w", protowire.ParseError(n))
		}
		b = b[n:]
		c := unused
		if number < mostFields {
			c = d.schema[number]
		}
		switch {
		case c == unused:
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return fmt.Errorf("field %d: %w", number, protowire.ParseError(n))
			}
		case c.address():
			if n = d.address(c, kind, b); n < 0 {
				return fmt.Errorf("field %d: not an address; are the messages of this schema?", number)
			}
		default:
			if kind != protowire.VarintType {
				return fmt.Errorf("field %d: not a number; are the messages of this schema?", number)
			}
			if d.numbers[c], n = protowire.ConsumeVarint(b); n < 0 {
				return fmt.Errorf("field %d: %w", number, protowire.ParseError(n))
			}
		}
		b = b[n:]
	}
	return d.finish()
}

// address reads 4 or 16 bytes, or none. It returns the bytes consumed, negative when they are no address.
func (d *decoder) address(c column, kind protowire.Type, b []byte) int {
	if kind != protowire.BytesType {
		return -1
	}
	v, n := protowire.ConsumeBytes(b)
	if n < 0 || len(v) == 0 {
		return n
	}
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		return -1
	}
	d.addresses[c-numberCount] = a.Unmap()
	return n
}

// finish makes a flow record of what the message said, and hands it on.
func (d *decoder) finish() error {
	v := &d.numbers
	source, destination := d.addresses[src-numberCount], d.addresses[dst-numberCount]
	switch {
	case v[srcPort] > math.MaxUint16 || v[dstPort] > math.MaxUint16 || v[protocol] > math.MaxUint8:
		return fmt.Errorf("protocol %d, ports %d and %d: out of range; are the messages of this schema?", v[protocol], v[srcPort], v[dstPort])
	case d.format == Akvorado && v[etherType] != 0x800 && v[etherType] != 0x86dd:
		// Akvorado always says which of the two it is: this is the surest sign of other numbers than ours.
		return fmt.Errorf("ethernet type %#x: neither IPv4 nor IPv6; give the schema of this version of Akvorado", v[etherType])
	case !source.IsValid() || !destination.IsValid():
		d.notIP++
		return nil
	case source.Is4() != destination.Is4():
		return fmt.Errorf("from %s to %s: not of one IP version", source, destination)
	}
	f := &d.flow
	*f = traffic.Flow{
		Packet: traffic.Packet{
			Src: source, Dst: destination, Protocol: uint8(v[protocol]), TCPFlags: uint8(v[tcpFlags]), TTL: uint8(min(v[ttl], math.MaxUint8)),
		},
		Packets: v[packetCount], Bytes: v[byteCount], TOS: uint8(v[tos]), Dropped: v[forwarding] >= 128 && v[forwarding] <= 191,
		Source: traffic.IPFIX, Exporter: d.addresses[exporter-numberCount], NextHop: d.addresses[nextHop-numberCount],
		Domain: uint32(v[domain]), Input: uint32(v[input]), Output: uint32(v[output]), SrcAS: uint32(v[srcAS]), DstAS: uint32(v[dstAS]),
		SrcMask: uint8(min(v[srcMask], 128)), DstMask: uint8(min(v[dstMask], 128)), VLAN: uint16(v[vlan]),
	}
	if f.VLAN == 0 {
		f.VLAN = uint16(v[srcVLAN])
	}
	// Exporters of NetFlow put the ICMP type and code there.
	if f.Protocol != traffic.ProtoICMP && f.Protocol != traffic.ProtoICMPv6 {
		f.SrcPort, f.DstPort = uint16(v[srcPort]), uint16(v[dstPort])
	}
	const moreFragments = 1
	switch {
	case v[fragmentOffset] != 0:
		f.Fragment = traffic.LaterFragment
	case v[ipFlags]&moreFragments != 0:
		f.Fragment = traffic.FirstFragment
	}
	d.origin(f)
	d.times(f)
	d.records++
	d.emit(f)
	return nil
}

// origin fills in the protocol that the record came by, its sampling rate and where it was metered.
func (d *decoder) origin(f *traffic.Flow) {
	v := &d.numbers
	switch v[flowType] { // GoFlow2's enum FlowType
	case 1:
		f.Source = traffic.SFlow5
		if f.Packets == 1 {
			f.Length = uint32(min(f.Bytes, math.MaxUint32))
		}
	case 2:
		f.Source = traffic.NetFlow5
	case 3:
		f.Source = traffic.NetFlow9
	}
	ingress, egress := uint64(math.MaxUint64), uint64(1) // IPFIX's flowDirection, whose 0 cannot be told from a field that is not there
	if d.format == Akvorado {
		ingress, egress = 1, 2
	}
	switch v[direction] {
	case ingress:
		f.Side = traffic.SideIngress
	case egress:
		f.Side = traffic.SideEgress
	}
	switch {
	case v[samplingRate] > 0:
		f.Rate, f.RateOrigin = uint32(min(v[samplingRate], math.MaxUint32)), traffic.RateRecord
	case d.rate > 0:
		f.Rate, f.RateOrigin = d.rate, traffic.RateConfigured
	default:
		f.Rate, f.RateOrigin = 1, traffic.RateUnknown
	}
}

// times fills in when the flow was: where that is not known, when the sender received it.
func (d *decoder) times(f *traffic.Flow) {
	f.Start, f.End = d.time(startNS, start), d.time(endNS, end)
	if f.End == 0 {
		f.End = f.Start
	}
	if f.End == 0 {
		f.End = d.time(receivedNS, received)
	}
	if f.Start == 0 || f.Start > f.End {
		f.Start = f.End
	}
}

// time is what one of two columns says in nanoseconds since 1970; 0: nothing, or nonsense.
func (d *decoder) time(ns, s column) int64 {
	const most = math.MaxInt64 / uint64(time.Second)
	switch {
	case d.numbers[ns] > 0 && d.numbers[ns] <= math.MaxInt64:
		return int64(d.numbers[ns])
	case d.numbers[s] <= most:
		return int64(d.numbers[s]) * int64(time.Second)
	}
	return 0
}
