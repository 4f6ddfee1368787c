//go:build libpcap

package pcap

import (
	"errors"
	"fmt"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcap"

	"weir/userspace/traffic"
)

const permissionRemedy = "run as root, or with the capability CAP_NET_RAW on Linux"

// library is a live capture of libpcap. The tag libpcap builds it in, which takes cgo and libpcap's headers.
type library struct {
	handle *pcap.Handle
	link   traffic.Link
}

// openSource opens the interface by libpcap.
func openSource(o *Options) (source, error) {
	if o.Namespace != nil {
		return nil, errors.New("libpcap captures in the process's own network namespace only")
	}
	if isDown(o.Interface) {
		return nil, errDown
	}
	inactive, err := pcap.NewInactiveHandle(o.Interface)
	if err != nil {
		return nil, err
	}
	defer inactive.CleanUp()
	if err := errors.Join(inactive.SetSnapLen(o.SnapLength), inactive.SetBufferSize(o.Buffer), inactive.SetPromisc(o.Promiscuous),
		inactive.SetTimeout(wait), inactive.SetImmediateMode(false)); err != nil {
		return nil, fmt.Errorf("set options: %w", err)
	}
	handle, err := inactive.Activate()
	if err != nil {
		return nil, fmt.Errorf("activate: %w", err)
	}
	if err := handle.SetDirection(pcap.DirectionIn); err != nil { // what this machine sends is not what arrives
		handle.Close()
		return nil, fmt.Errorf("leave sent frames out: %w", err)
	}
	l := &library{handle: handle}
	switch handle.LinkType() {
	case layers.LinkTypeEthernet:
		l.link = traffic.LinkEthernet
	case layers.LinkTypeLinuxSLL:
		l.link = traffic.LinkSLL
	case layers.LinkTypeLinuxSLL2:
		l.link = traffic.LinkSLL2
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		l.link = traffic.LinkNull
	case layers.LinkTypeRaw:
		l.link = traffic.LinkIP
	case layers.LinkTypePPP:
		l.link = traffic.LinkPPP
	default:
		handle.Close()
		return nil, fmt.Errorf("interface has link type %s, which is not understood; expected Ethernet, Linux cooked, loopback, raw IP or PPP", handle.LinkType())
	}
	return l, nil
}

func (l *library) mode() string { return pcap.Version() }

func (l *library) next(f *traffic.Frame) (bool, error) {
	data, info, err := l.handle.ZeroCopyReadPacketData()
	switch {
	case errors.Is(err, pcap.NextErrorTimeoutExpired):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read: %w", err)
	}
	*f = traffic.Frame{Data: data, Length: uint32(info.Length), Time: info.Timestamp.UnixNano(), Interface: int32(info.InterfaceIndex), Link: l.link}
	return true, nil
}

func (l *library) drops() (uint64, error) {
	stats, err := l.handle.Stats()
	if err != nil {
		return 0, fmt.Errorf("read statistics: %w", err)
	}
	return uint64(stats.PacketsDropped) + uint64(stats.PacketsIfDropped), nil
}

func (l *library) close() error {
	l.handle.Close()
	return nil
}

// Probe says whether this user may capture.
func Probe() (available bool, why, remedy string) {
	devices, err := pcap.FindAllDevs()
	switch {
	case err != nil:
		return false, err.Error(), permissionRemedy
	case len(devices) == 0:
		return false, "libpcap shows no interface to this user", permissionRemedy
	}
	return true, pcap.Version(), ""
}
