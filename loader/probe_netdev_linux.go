package loader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func probeInterfaces(ctx context.Context, names []string) []Finding {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE) // the others may be modules that are not there
	if err != nil {
		return []Finding{judge("interfaces", false, fmt.Errorf("open netlink sockets: %w", err), "", "allow AF_NETLINK to this process")}
	}
	defer h.Close()
	var devices []netlink.Link
	var all []Finding
	if len(names) == 0 {
		if devices, err = h.LinkList(); err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return []Finding{judge("interfaces", false, fmt.Errorf("list interfaces: %w", err), "", "allow AF_NETLINK to this process")}
		}
		devices = slices.DeleteFunc(devices, func(d netlink.Link) bool { return d.Attrs().Flags&net.FlagLoopback != 0 })
	}
	for _, name := range names {
		device, err := h.LinkByName(name)
		if err != nil {
			all = append(all, Finding{Name: "interface", Interface: name, Detail: err.Error(), Remedy: existing(h)})
			continue
		}
		devices = append(devices, device)
	}
	for _, device := range devices {
		if ctx.Err() != nil {
			break
		}
		all = append(all, probeInterface(device)...)
	}
	return all
}

func probeInterface(device netlink.Link) []Finding {
	attrs := device.Attrs()
	name, driver := attrs.Name, driverOf(device)
	state := "down"
	if attrs.Flags&net.FlagUp != 0 {
		state = "up"
	}
	all := []Finding{
		{Name: "driver", OK: true, Detail: driver + ", " + state},
		probeNative(attrs.Index, name, driver),
		probeMTU(attrs.MTU, name),
		probeQueues(attrs, driver),
		probeOffloads(name, driver),
		{Name: "xdp_program", OK: true, Detail: "none"},
	}
	if other := carriedBy(device); other != nil {
		all[len(all)-1] = Finding{Name: "xdp_program", Detail: fmt.Sprintf("%q (id %d, %s)", other.name, other.id, attachedName(other.mode)),
			Remedy: "none if it is Weir's own; else " + other.Error()}
	}
	for n := range all {
		all[n].Interface = name
	}
	return all
}

// probeNative asks the kernel where it knows; before Linux 6.3 only a try would tell, which could interrupt traffic.
func probeNative(index int, name, driver string) Finding {
	f := Finding{Name: "native_xdp", Optional: true}
	can, err := xdpFeatures(index)
	switch {
	case errors.Is(err, ebpf.ErrNotSupported):
		f.OK, f.Detail = true, "unknown: kernels before 6.3 do not say; mode auto tries and tells"
	case err != nil:
		f.Detail, f.Remedy = err.Error(), "mode auto tries and tells"
	case can&xdpBasic == 0:
		f.Detail, f.Remedy = "driver "+driver+" has none", "mode auto uses generic, at several times the cost; see whether "+name+" has a newer driver"
	default:
		f.OK = true
		parts := []string{"yes"}
		for _, p := range []struct {
			bit  uint64
			text string
		}{{xdpRedirect, "redirects"}, {xdpTransmit, "transmits for others"}, {xdpFragments, "jumbo frames"}} {
			if can&p.bit == 0 {
				parts = append(parts, "not: "+p.text)
			} else {
				parts = append(parts, p.text)
			}
		}
		f.Detail = strings.Join(parts, ", ")
		if can&xdpTransmit == 0 && driver == "veth" {
			f.Remedy = "for role wire on veth: ethtool -K OTHER_END gro on"
		}
	}
	return f
}

func probeMTU(mtu int, name string) Finding {
	f := Finding{Name: "mtu", OK: true, Optional: true, Detail: fmt.Sprintf("%d bytes", mtu)}
	if mtu > oneBufferMTU {
		f.Detail += ", more than a driver without jumbo frames takes in native mode"
		f.Remedy = fmt.Sprintf("if native mode is refused: ip link set dev %s mtu %d, or mode generic", name, oneBufferMTU)
	}
	return f
}

func probeQueues(attrs *netlink.LinkAttrs, driver string) Finding {
	f := Finding{Name: "queues", OK: true, Optional: true}
	c, err := channelsOf(attrs.Name)
	if err != nil {
		f.Detail = fmt.Sprintf("rx %d, tx %d", attrs.NumRxQueues, attrs.NumTxQueues)
		return f
	}
	f.Detail = fmt.Sprintf("rx %d of %d, tx %d of %d, combined %d of %d", c.rx, c.maxRX, c.tx, c.maxTX, c.combined, c.maxCombined)
	if driver != "veth" && c.maxCombined > 1 && c.combined > c.maxCombined/2 {
		f.Remedy = fmt.Sprintf("if native mode is refused: ethtool -L %s combined %d leaves it queues to transmit by", attrs.Name, c.maxCombined/2)
	}
	return f
}

func probeOffloads(name, driver string) Finding {
	f := Finding{Name: "offloads", OK: true, Optional: true, Detail: "none in the way"}
	var found, remedies []string
	for _, offload := range offloadsOf(name) {
		found = append(found, offload+" glues packets together before they are counted")
		remedies = append(remedies, fmt.Sprintf("ethtool -K %s %s off", name, offload))
	}
	if driver != "veth" && stripsTags(name) {
		found = append(found, "rxvlan takes VLAN tags off before XDP, which role wire would lose")
		remedies = append(remedies, fmt.Sprintf("for role wire: ethtool -K %s rxvlan off", name))
	}
	if len(found) > 0 {
		f.OK, f.Detail, f.Remedy = false, strings.Join(found, "; "), strings.Join(remedies, "; ")
	}
	return f
}
