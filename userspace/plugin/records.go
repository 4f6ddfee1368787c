package plugin

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	"weir/userspace/plugin/pluginpb"
	"weir/userspace/traffic"
)

// Bounds of what one record may say.
const (
	mostOff    = time.Hour // of a record's time from now
	mostFrame  = math.MaxUint16
	mostLength = 1 << 18
	mostReason = 200     // characters
	mostCount  = 1 << 45 // packets or bytes of one flow record
)

// addrIn reads an address without zone; an IPv4-mapped address means the IPv4 address.
func addrIn(field, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s %q: expected an address", field, clip(text, 80))
	}
	return a.Unmap(), nil
}

// prefixIn reads an address, or a prefix without host bits.
func prefixIn(field, text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s %q: expected an address or a prefix such as 192.0.2.0/24", field, clip(text, 80))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s %q: host bits are set; expected %s", field, text, p.Masked())
	}
	return p, nil
}

// clip keeps a text short enough to be quoted.
func clip(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// words checks a text that people are to read.
func words(field, text string) error {
	if n := len([]rune(text)); n > mostReason {
		return fmt.Errorf("%s has %d characters; expected at most %d", field, n, mostReason)
	}
	if strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return fmt.Errorf("%s holds control characters", field)
	}
	return nil
}

// timeIn reads a time that is near now; absent: the zero time.
func timeIn(field string, t *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fmt.Errorf("%s: not a time", field)
	}
	at := t.AsTime()
	if off := at.Sub(now); off > mostOff || off < -mostOff {
		return time.Time{}, fmt.Errorf("%s %s: more than %s from now", field, at.Format(time.RFC3339), mostOff)
	}
	return at, nil
}

// nanoseconds is a time as traffic.Flow has it, 0 for none.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// within checks numbers that protobuf has no type for.
func within(checks ...bound) error {
	for _, c := range checks {
		if c.value > c.most {
			return fmt.Errorf("%s %d: expected at most %d", c.field, c.value, c.most)
		}
	}
	return nil
}

type bound struct {
	field       string
	value, most uint64
}

// flowIn reads one flow record into out.
func flowIn(f *pluginpb.Flow, now time.Time, out *traffic.Flow) error {
	if f == nil {
		return errors.New("it is empty")
	}
	source, sourceErr := addrIn("source", f.GetSource())
	destination, destinationErr := addrIn("destination", f.GetDestination())
	start, startErr := timeIn("start", f.GetStart(), now)
	end, endErr := timeIn("end", f.GetEnd(), now)
	boundErr := within(
		bound{"source_port", uint64(f.GetSourcePort()), math.MaxUint16}, bound{"destination_port", uint64(f.GetDestinationPort()), math.MaxUint16},
		bound{"protocol", uint64(f.GetProtocol()), math.MaxUint8}, bound{"tcp_flags", uint64(f.GetTcpFlags()), math.MaxUint8},
		bound{"packets", f.GetPackets(), mostCount}, bound{"bytes", f.GetBytes(), mostCount},
		bound{"tos", uint64(f.GetTos()), math.MaxUint8}, bound{"vlan", uint64(f.GetVlan()), 4095},
	)
	for _, err := range []error{sourceErr, destinationErr, startErr, endErr, boundErr} {
		if err != nil {
			return err
		}
	}
	switch {
	case source.Is4() != destination.Is4():
		return errors.New("source and destination are of two IP versions")
	case f.GetPackets() == 0:
		return errors.New("packets 0: expected at least 1")
	case f.GetBytes() < f.GetPackets():
		return fmt.Errorf("bytes %d: fewer than packets", f.GetBytes())
	case !start.IsZero() && !end.IsZero() && end.Before(start):
		return errors.New("end is before start")
	}
	if start.IsZero() {
		start = end
	}
	if end.IsZero() {
		end = start
	}
	fragment, err := fragmentIn(f.GetFragment())
	if err != nil {
		return err
	}
	exporter := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if f.GetExporter() != "" {
		if exporter, err = addrIn("exporter", f.GetExporter()); err != nil {
			return err
		}
	}
	format, err := formatIn(f.GetFormat())
	if err != nil {
		return err
	}
	*out = traffic.Flow{
		Packet: traffic.Packet{
			Src: source, Dst: destination, SrcPort: uint16(f.GetSourcePort()), DstPort: uint16(f.GetDestinationPort()),
			Protocol: uint8(f.GetProtocol()), TCPFlags: uint8(f.GetTcpFlags()), Fragment: fragment,
		},
		Packets: f.GetPackets(), Bytes: f.GetBytes(), Start: nanoseconds(start), End: nanoseconds(end),
		Rate: max(f.GetRate(), 1), RateOrigin: traffic.RateAssumed, Source: format, Dropped: f.GetDropped(), TOS: uint8(f.GetTos()),
		VLAN: uint16(f.GetVlan()), Exporter: exporter, Input: f.GetInput(), Output: f.GetOutput(), SrcAS: f.GetSourceAs(), DstAS: f.GetDestinationAs(),
	}
	if f.GetRate() != 0 {
		out.RateOrigin = traffic.RateRecord
	}
	if format.SFlow() {
		out.Length = uint32(min(f.GetBytes()/f.GetPackets(), mostLength))
	}
	return nil
}

func fragmentIn(f pluginpb.Fragment) (traffic.Fragment, error) {
	if f < 0 || f > pluginpb.Fragment_FRAGMENT_LATER {
		return 0, fmt.Errorf("fragment %d: no such part", f)
	}
	return traffic.Fragment(f), nil
}

// formatIn reads a flow record's format.
func formatIn(name string) (traffic.FlowSource, error) {
	if name == "" {
		return traffic.IPFIX, nil
	}
	var names []string
	for f := range traffic.FlowSourceCount {
		if f.String() == name {
			return f, nil
		}
		names = append(names, f.String())
	}
	return 0, fmt.Errorf("format %q: expected one of %s", clip(name, 80), strings.Join(names, ", "))
}

// frameIn reads one captured frame into out, which refers to the message's bytes.
func frameIn(f *pluginpb.Packet, now time.Time, out *traffic.Frame) error {
	if f == nil || len(f.GetFrame()) == 0 {
		return errors.New("frame is empty")
	}
	at, err := timeIn("time", f.GetTime(), now)
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = now
	}
	length := uint64(f.GetLength())
	if length == 0 {
		length = uint64(len(f.GetFrame()))
	}
	if err := within(
		bound{"bytes of frame", uint64(len(f.GetFrame())), mostFrame}, bound{"length", length, mostLength},
		bound{"interface", uint64(f.GetInterface()), math.MaxInt32},
	); err != nil {
		return err
	}
	if length < uint64(len(f.GetFrame())) {
		return fmt.Errorf("length %d: shorter than the frame's %d bytes", length, len(f.GetFrame()))
	}
	if f.GetLink() < 0 || f.GetLink() > pluginpb.Link_LINK_NULL {
		return fmt.Errorf("link %d: no such link type", f.GetLink())
	}
	*out = traffic.Frame{
		Data: f.GetFrame(), Length: uint32(length), Time: at.UnixNano(), Interface: int32(f.GetInterface()), Link: traffic.Link(f.GetLink()),
	}
	return nil
}

// detectionIn reads what a detector says. The kind is DetectionEnded or DetectionStarted.
func detectionIn(r *pluginpb.DetectRequest, now time.Time) (*Detection, error) {
	d := &Detection{Kind: DetectionStarted, Metric: traffic.PPS, Reason: r.GetReason(), Started: now, At: now}
	var err error
	if d.Target, err = prefixIn("target", r.GetTarget()); err != nil {
		return nil, err
	}
	switch r.GetDirection() {
	case pluginpb.Direction_DIRECTION_INCOMING, pluginpb.Direction_DIRECTION_OUTGOING:
		d.Direction = traffic.Direction(r.GetDirection() - 1)
	default:
		return nil, errors.New("direction: expected incoming or outgoing")
	}
	if err := words("reason", d.Reason); err != nil {
		return nil, err
	}
	if r.GetEnded() {
		d.Kind = DetectionEnded
		return d, nil
	}
	if strings.TrimSpace(d.Reason) == "" {
		return nil, errors.New("reason: say why it is an attack")
	}
	if r.GetMetric() != "" {
		if d.Metric, err = traffic.ParseMetric(clip(r.GetMetric(), 80)); err != nil {
			return nil, err
		}
	}
	for _, n := range []struct {
		field string
		value float64
		out   *float64
	}{{"value", r.GetValue(), &d.Value}, {"limit", r.GetLimit(), &d.Limit}} {
		if !(n.value >= 0 && n.value <= mostRate) {
			return nil, fmt.Errorf("%s %g: expected 0 to %g", n.field, n.value, float64(mostRate))
		}
		*n.out = n.value * d.Metric.Scale()
	}
	started, err := timeIn("started", r.GetStarted(), now)
	if err != nil {
		return nil, err
	}
	if started.After(now) {
		return nil, errors.New("started: in the future")
	}
	if !started.IsZero() {
		d.Started = started
	}
	return d, nil
}

// mostRate is what no rate exceeds, in a metric's unit per second.
const mostRate = 1e15
