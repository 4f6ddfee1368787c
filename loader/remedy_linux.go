package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// oneBufferMTU is about the largest MTU, in bytes, at which a driver in native mode has a frame in one piece: a memory
// page of 4096 bytes less the room that XDP and the socket buffer need. The exact figure is the driver's.
const oneBufferMTU = 3498

const (
	linksSince  = 5<<16 | 9<<8  // Linux 5.9: XDP by BPF links
	memcgSince  = 5<<16 | 11<<8 // Linux 5.11: BPF memory no longer counts as locked
	memoryLimit = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit"
)

// refusal is why the kernel did not take an XDP program, in its words where it has some, and what to do about it.
type refusal struct {
	device, driver string
	mtu            int // bytes
	mode           Mode
	cause          error
	said           string // the kernel's own words; "" when it gave none
	offloads       []string
}

func (r *refusal) Unwrap() error { return r.cause }

func (r *refusal) Error() string {
	cause := r.cause.Error()
	if errno := unix.Errno(0); errors.As(r.cause, &errno) {
		cause = errno.Error() // without the library's own words, which say nothing more
		if errno == errnoNotSupported {
			cause = "operation not supported"
		}
	}
	if r.unsupported() {
		cause = fmt.Sprintf("driver %s has no native XDP: operation not supported", r.driver)
	} else if r.said != "" {
		cause = fmt.Sprintf("%s (%s)", r.said, cause)
	}
	if remedy := r.remedy(); remedy != "" {
		return cause + "; " + remedy
	}
	return cause
}

// errnoNotSupported is ENOTSUPP (include/linux/errno.h), which is none of user space's but which drivers return.
const errnoNotSupported = unix.Errno(524)

func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, errnoNotSupported)
}

// unsupported tells that the driver has no native mode at all, as opposed to one that something stands in the way of.
func (r *refusal) unsupported() bool {
	return r.mode == Native && unsupported(r.cause) && r.remedyByWords() == "" && !r.tooLarge()
}

// tooLarge tells that the MTU is to blame, by the numbers that drivers return for it.
func (r *refusal) tooLarge() bool {
	if errors.Is(r.cause, unix.ERANGE) {
		return true
	}
	return r.mtu > oneBufferMTU && r.said == "" && (errors.Is(r.cause, unix.EINVAL) || errors.Is(r.cause, errnoNotSupported))
}

func (r *refusal) remedy() string {
	switch {
	case errors.Is(r.cause, unix.EBUSY), errors.Is(r.cause, unix.EEXIST):
		return fmt.Sprintf("another XDP program came first: see ip -details link show dev %s", r.device)
	case errors.Is(r.cause, unix.ENODEV):
		return "the interface has vanished meanwhile"
	}
	if words := remedyOf(r.cause); words != "" {
		return strings.TrimPrefix(words, "; ")
	}
	if words := r.remedyByWords(); words != "" {
		return words
	}
	switch {
	case r.tooLarge():
		return r.lowerMTU()
	case errors.Is(r.cause, unix.ENOSPC):
		return r.moreQueues()
	case unsupported(r.cause) && r.mode == Native:
		return "use mode auto or generic"
	case len(r.offloads) > 0:
		return r.fewerOffloads()
	}
	return ""
}

// remedyByWords reads the kernel's explanation. Drivers return the same few numbers for everything; their words differ
// but name what stands in the way.
func (r *refusal) remedyByWords() string {
	said := strings.ToLower(r.said)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case said == "":
		return ""
	case has("mtu", "frame size", "too large", "linear", "single buffer", "frags"):
		return r.lowerMTU()
	case has("lro", "gro_hw", "gro-hw", "rxcsum", "header-split", "header split", "striding"):
		return r.fewerOffloads()
	case has("queue", "channel", "ring"):
		return r.moreQueues()
	}
	return ""
}

func (r *refusal) lowerMTU() string {
	if r.driver == "veth" {
		return fmt.Sprintf("native mode takes frames in one piece, up to an MTU of about %d: ip link set mtu %d on the other end of %s, "+
			"or use mode generic", oneBufferMTU, oneBufferMTU, r.device)
	}
	return fmt.Sprintf("native mode of driver %s takes frames in one piece, up to an MTU of about %d, and %s has %d: "+
		"ip link set dev %s mtu %d, or use mode generic", r.driver, oneBufferMTU, r.device, r.mtu, r.device, oneBufferMTU)
}

func (r *refusal) moreQueues() string {
	if r.driver == "veth" {
		return fmt.Sprintf("it needs as many receive queues as its other end has transmit queues: ethtool -L %s rx N, "+
			"or ethtool -L OTHER_END tx 1", r.device)
	}
	return fmt.Sprintf("native mode needs transmit queues of its own, one for each CPU: use fewer channels with ethtool -L %s combined N "+
		"(half of what ethtool -l shows as maximum), or give the virtual machine more queues", r.device)
}

func (r *refusal) fewerOffloads() string {
	switch strings.Join(r.offloads, " ") {
	case "lro":
		return fmt.Sprintf("large receive offload is on: ethtool -K %s lro off", r.device)
	case "rx-gro-hw":
		return fmt.Sprintf("hardware receive offload is on: ethtool -K %s rx-gro-hw off", r.device)
	}
	return fmt.Sprintf("receive offloads stand in the way: ethtool -K %s lro off rx-gro-hw off", r.device)
}

// remedyOf returns what to do about an error of the kernel, beginning with "; ", or "" when there is nothing to be said.
func remedyOf(err error) string {
	version, unknown := features.LinuxVersionCode()
	old := func(since uint32) bool { return unknown == nil && version < since }
	switch {
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL) && old(linksSince):
		return "; this kernel lacks what is needed: Weir needs Linux 5.10 or newer with CONFIG_BPF_SYSCALL; weir doctor says what is missing"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		missing := missingCapabilities()
		if len(missing) > 0 {
			return fmt.Sprintf("; this process lacks %s: run it as root, or grant them (AmbientCapabilities= in the systemd unit)",
				strings.Join(missing, " and "))
		}
		if old(memcgSince) {
			return "; before Linux 5.11 maps count as locked memory, which is limited: " + memoryLimit
		}
		return "; the capabilities are there, so a security module, a container or a lockdown of the kernel forbids it"
	case errors.Is(err, unix.ENOMEM) && old(memcgSince):
		return "; before Linux 5.11 maps count as locked memory, which is limited: " + memoryLimit
	case errors.Is(err, unix.EROFS):
		return "; the file system is read-only: mount a BPF file system (mount -t bpf bpf /sys/fs/bpf)"
	}
	return ""
}

// missingCapabilities returns the names of those that this thread needs and does not have.
func missingCapabilities() []string {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil
	}
	has := func(c uint) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	var missing []string
	if !has(unix.CAP_NET_ADMIN) {
		missing = append(missing, "CAP_NET_ADMIN")
	}
	if !has(unix.CAP_BPF) && !has(unix.CAP_SYS_ADMIN) {
		missing = append(missing, "CAP_BPF")
		if !has(unix.CAP_PERFMON) {
			missing = append(missing, "CAP_PERFMON")
		}
	}
	return missing
}

// existing names the interfaces that there are, for the error about one that there is not.
func existing(h *netlink.Handle) string {
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "and the others cannot be listed: " + err.Error()
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	slices.Sort(names)
	const most = 20
	if extra := len(names) - most; extra > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", extra))
	}
	return "there are " + strings.Join(names, ", ")
}
