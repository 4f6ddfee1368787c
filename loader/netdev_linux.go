package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// driverOf returns the name that ethtool -i shows, or the kind of a device that has no such thing. The calling thread is
// in the namespace of the device.
func driverOf(device netlink.Link) string {
	driver := device.Type()
	withEthtool(func(fd int) error {
		info, err := unix.IoctlGetEthtoolDrvinfo(fd, device.Attrs().Name)
		if err == nil {
			if name := unix.ByteSliceToString(info.Driver[:]); name != "" {
				driver = name
			}
		}
		return err
	})
	return driver
}

// withEthtool runs do with a socket of the calling thread's namespace. Not every device answers: errors only mean that.
func withEthtool(do func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	return do(fd)
}

// ethtool passes a command's buffer to the driver: SIOCETHTOOL of linux/sockios.h with struct ifreq.
func ethtool(fd int, name string, buffer []byte) error {
	if len(name) >= unix.IFNAMSIZ {
		return unix.EINVAL
	}
	// struct ifreq: the name, then a union of at least 16 bytes that begins with the pointer.
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}
	copy(request.name[:], name)
	request.data = unsafe.Pointer(&buffer[0])
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(buffer)
	if errno != 0 {
		return errno
	}
	return nil
}

const (
	stringSetFeatures = 4  // ETH_SS_FEATURES (linux/ethtool.h)
	stringLength      = 32 // ETH_GSTRING_LEN
)

// featuresOf returns the switches of ethtool -k, by the kernel's names for them, that are on.
func featuresOf(name string) ([]string, error) {
	var on []string
	err := withEthtool(func(fd int) error {
		order := binary.NativeEndian
		// struct ethtool_sset_info: cmd, reserved, u64 mask, then a count for each bit of the mask.
		info := make([]byte, 20)
		order.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
		order.PutUint64(info[8:], 1<<stringSetFeatures)
		if err := ethtool(fd, name, info); err != nil {
			return err
		}
		count := int(order.Uint32(info[16:]))
		// struct ethtool_gstrings: cmd, set, len, strings.
		names := make([]byte, 12+count*stringLength)
		order.PutUint32(names, unix.ETHTOOL_GSTRINGS)
		order.PutUint32(names[4:], stringSetFeatures)
		order.PutUint32(names[8:], uint32(count))
		if err := ethtool(fd, name, names); err != nil {
			return err
		}
		// struct ethtool_gfeatures: cmd, number of blocks, blocks of available, requested, active, never_changed.
		blocks := (count + 31) / 32
		bits := make([]byte, 8+blocks*16)
		order.PutUint32(bits, unix.ETHTOOL_GFEATURES)
		order.PutUint32(bits[4:], uint32(blocks))
		if err := ethtool(fd, name, bits); err != nil {
			return err
		}
		for n := range count {
			active := order.Uint32(bits[8+n/32*16+8:])
			if active&(1<<(n%32)) != 0 {
				text, _, _ := bytes.Cut(names[12+n*stringLength:12+(n+1)*stringLength], []byte{0})
				on = append(on, string(text))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read features of %q: %w", name, err)
	}
	return on, nil
}

// offloadsOf returns those of the switched-on offloads that glue packets together before XDP, by ethtool -K's names.
func offloadsOf(name string) []string {
	on, err := featuresOf(name)
	if err != nil {
		return nil // a device without features has no offloads
	}
	var found []string
	if slices.Contains(on, "rx-lro") {
		found = append(found, "lro")
	}
	if slices.Contains(on, "rx-gro-hw") {
		found = append(found, "rx-gro-hw")
	}
	return found
}

// stripsTags tells whether the hardware takes VLAN tags off frames before XDP sees them.
func stripsTags(name string) bool {
	on, err := featuresOf(name)
	return err == nil && slices.Contains(on, "rx-vlan-hw-parse")
}

// channels are an interface's queues as ethtool -l shows them.
type channels struct {
	maxRX, maxTX, maxCombined, rx, tx, combined uint32
}

func channelsOf(name string) (c channels, err error) {
	err = withEthtool(func(fd int) error {
		// struct ethtool_channels: cmd, then maximum and present count of rx, tx, other, combined.
		b := make([]byte, 36)
		order := binary.NativeEndian
		order.PutUint32(b, unix.ETHTOOL_GCHANNELS)
		if err := ethtool(fd, name, b); err != nil {
			return err
		}
		c = channels{
			maxRX: order.Uint32(b[4:]), maxTX: order.Uint32(b[8:]), maxCombined: order.Uint32(b[16:]),
			rx: order.Uint32(b[20:]), tx: order.Uint32(b[24:]), combined: order.Uint32(b[32:]),
		}
		return nil
	})
	return c, err
}

// What a driver's native XDP can do: enum netdev_xdp_act of linux/netdev.h.
const (
	xdpBasic      = 1 << 0
	xdpRedirect   = 1 << 1
	xdpTransmit   = 1 << 2
	xdpFragments  = 1 << 5
	netdevGet     = 1 // NETDEV_CMD_DEV_GET
	netdevIfindex = 1 // NETDEV_A_DEV_IFINDEX
	netdevXDP     = 3 // NETDEV_A_DEV_XDP_FEATURES
)

// genericHeader is struct genlmsghdr of linux/genetlink.h: command, version, and two reserved bytes that the kernel wants
// to be zero. The netlink library's own type sends two bytes of whatever lies behind it in memory.
type genericHeader [nl.SizeofGenlmsg]byte

func (genericHeader) Len() int { return nl.SizeofGenlmsg }

func (h genericHeader) Serialize() []byte { return h[:] }

// xdpFeatures asks the kernel what the driver says of itself, by the "netdev" family of generic netlink (Linux 6.3 and
// newer); ebpf.ErrNotSupported where there is no such family. The calling thread is in the namespace of the interface.
func xdpFeatures(index int) (uint64, error) {
	family, err := netlink.GenlFamilyGet("netdev")
	if errors.Is(err, unix.ENOENT) {
		return 0, fmt.Errorf("ask for XDP features: %w", ebpf.ErrNotSupported)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for XDP features: %w", err)
	}
	request := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	request.AddData(genericHeader{netdevGet, 1})
	request.AddData(nl.NewRtAttr(netdevIfindex, nl.Uint32Attr(uint32(index))))
	answers, err := request.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for XDP features of interface %d: %w", index, err)
	}
	for _, answer := range answers {
		if len(answer) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(answer[nl.SizeofGenlmsg:])
		if err != nil {
			return 0, fmt.Errorf("read XDP features of interface %d: %w", index, err)
		}
		for _, attr := range attrs {
			if attr.Attr.Type == netdevXDP && len(attr.Value) >= 8 {
				return binary.NativeEndian.Uint64(attr.Value), nil
			}
		}
	}
	return 0, fmt.Errorf("read XDP features of interface %d: the answer has none", index)
}

// warn notes settings of the interface that do harm though XDP works.
func (t *attachment) warn(log *slog.Logger) {
	t.status.Warnings = nil
	name := t.conf.Name
	if t.conf.Role == Wire && t.status.Driver != "veth" && stripsTags(name) {
		t.status.Warnings = append(t.status.Warnings, fmt.Sprintf(
			"the hardware takes VLAN tags off, and frames leave the wire without them: ethtool -K %s rxvlan off", name))
	}
	if t.status.Mode == Native {
		for _, offload := range offloadsOf(name) {
			t.status.Warnings = append(t.status.Warnings, fmt.Sprintf(
				"%s glues packets together before they are counted: ethtool -K %s %s off", offload, name, offload))
		}
	}
	if t.conf.Role == Wire && t.status.Mode == Native {
		if can, err := xdpFeatures(t.status.Index); err == nil && can&xdpTransmit == 0 {
			remedy := "use mode generic"
			if t.status.Driver == "veth" {
				remedy = "switch GRO on at its other end (ethtool -K OTHER_END gro on), or use mode generic"
			}
			t.status.Warnings = append(t.status.Warnings, fmt.Sprintf(
				"the driver cannot transmit frames that come from the pair: %s", remedy))
		}
	}
	for _, w := range t.status.Warnings {
		log.Warn("interface setting does harm", "interface", name, "warning", w)
	}
}

// explain asks for the same attachment once more in the older way, by a netlink message: its answer carries the driver's
// own words, for which BPF links have no place. "" when there are none.
func explain(index int, program *ebpf.Program, mode link.XDPAttachFlags) string {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			return ""
		}
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return ""
	}
	errno, said := setXDP(fd, index, int32(program.FD()), uint32(mode)|unix.XDP_FLAGS_UPDATE_IF_NOEXIST, -1)
	runtime.KeepAlive(program)
	if errno != 0 {
		return said
	}
	// It works by now, all of a sudden: taken back, so that the attachment stays one by link. Only our own is removed.
	setXDP(fd, index, -1, uint32(mode)|unix.XDP_FLAGS_REPLACE, int32(program.FD()))
	return ""
}

const (
	xdpFD         = 1 // IFLA_XDP_FD (linux/if_link.h)
	xdpFlags      = 3 // IFLA_XDP_FLAGS
	xdpExpectedFD = 8 // IFLA_XDP_EXPECTED_FD
)

// setXDP sends one RTM_SETLINK and returns the error number and the text of the answer.
func setXDP(socket, index int, program int32, flags uint32, expected int32) (unix.Errno, string) {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	device := nl.NewIfInfomsg(unix.AF_UNSPEC)
	device.Index = int32(index)
	request.AddData(device)
	xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
	xdp.AddRtAttr(xdpFD, nl.Uint32Attr(uint32(program)))
	xdp.AddRtAttr(xdpFlags, nl.Uint32Attr(flags))
	if expected >= 0 {
		xdp.AddRtAttr(xdpExpectedFD, nl.Uint32Attr(uint32(expected)))
	}
	request.AddData(xdp)
	if err := unix.Sendto(socket, request.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return unix.EIO, ""
	}
	buffer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(socket, buffer, 0)
	// struct nlmsghdr, then struct nlmsgerr: the error and the header of the request; then attributes.
	const header, attributes = unix.SizeofNlMsghdr, unix.SizeofNlMsghdr + 4 + unix.SizeofNlMsghdr
	if err != nil || n < attributes {
		return unix.EIO, ""
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(buffer[header:])))
	attrs, err := nl.ParseRouteAttr(buffer[attributes:n])
	if err != nil {
		return errno, ""
	}
	for _, attr := range attrs {
		if attr.Attr.Type == unix.NLMSGERR_ATTR_MSG {
			return errno, unix.ByteSliceToString(attr.Value)
		}
	}
	return errno, ""
}
