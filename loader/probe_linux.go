package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	bpfFolder = "/sys/fs/bpf"
	// oldestKernel is the oldest that the data plane is tested on.
	oldestKernel = 5<<16 | 10<<8
)

// Probe finds out what this kernel, this machine and this user may do: whatever can be tried is tried, in a network
// namespace made for it that ends with the call. It then looks at the named interfaces of the process's own namespace,
// or at all but the loopback when none is named, and changes nothing there.
func Probe(ctx context.Context, interfaces ...string) []Finding {
	var all []Finding
	for _, probe := range []func() []Finding{
		probeKernel, probeRights, probePrograms, probeAttach,
		func() []Finding { return probeInterfaces(ctx, interfaces) },
	} {
		if err := ctx.Err(); err != nil {
			return append(all, Finding{Name: "probe", Detail: "ended early: " + err.Error(), Remedy: "run it again with more time"})
		}
		all = append(all, probe()...)
	}
	return all
}

// judge makes a finding of the outcome of a try.
func judge(name string, optional bool, err error, good, remedy string) Finding {
	if err == nil {
		return Finding{Name: name, OK: true, Optional: optional, Detail: good}
	}
	if words := strings.TrimPrefix(remedyOf(err), "; "); words != "" && !errors.Is(err, ebpf.ErrNotSupported) {
		remedy = words
	}
	return Finding{Name: name, Optional: optional, Detail: err.Error(), Remedy: remedy}
}

func probeKernel() []Finding {
	var name unix.Utsname
	release := "unknown"
	if err := unix.Uname(&name); err == nil {
		release = unix.ByteSliceToString(name.Release[:])
	}
	version, err := features.LinuxVersionCode()
	kernel := judge("kernel", false, err, "Linux "+release, "run on Linux 5.10 or newer")
	if err == nil && version < oldestKernel {
		kernel.OK, kernel.Remedy = false, "run on Linux 5.10 or newer"
	}

	_, err = os.Stat("/sys/kernel/btf/vmlinux")
	btf := judge("btf", true, err, "the kernel describes its types", "nothing to do: only tracing tools need it (CONFIG_DEBUG_INFO_BTF)")

	jit := Finding{Name: "jit", Detail: "programs are compiled to machine code", OK: true}
	text, err := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	if value := strings.TrimSpace(string(text)); err != nil || value == "0" {
		jit.OK, jit.Detail = false, "programs are interpreted, at many times the cost"
		jit.Remedy = "sysctl -w net.core.bpf_jit_enable=1"
	}
	return []Finding{kernel, btf, jit}
}

func probeRights() []Finding {
	capabilities := Finding{Name: "capabilities", OK: true, Detail: "CAP_NET_ADMIN and CAP_BPF are there"}
	if missing := missingCapabilities(); len(missing) > 0 {
		capabilities.OK, capabilities.Detail = false, "missing: "+strings.Join(missing, ", ")
		capabilities.Remedy = "run as root, or grant them (AmbientCapabilities= in the systemd unit)"
	}

	memory := Finding{Name: "locked_memory", OK: true, Detail: "maps do not count as locked memory"}
	var limit unix.Rlimit
	version, err := features.LinuxVersionCode()
	if err == nil && version < memcgSince {
		memory.Detail = "no limit"
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil || limit.Cur != unix.RLIM_INFINITY {
			memory.OK, memory.Detail, memory.Remedy = false, fmt.Sprintf("limited to %d bytes", limit.Cur), memoryLimit
		}
	}

	var fs unix.Statfs_t
	err = unix.Statfs(bpfFolder, &fs)
	if err == nil && uint32(fs.Type) != unix.BPF_FS_MAGIC {
		err = errors.New("none is mounted at " + bpfFolder)
	}
	pins := judge("bpffs", true, err, "mounted at "+bpfFolder, "mount -t bpf bpf "+bpfFolder+"; without it nothing outlives the daemon")
	return []Finding{capabilities, memory, pins}
}

func probePrograms() []Finding {
	fragments, err := smallProgram(ebpf.XDP, 2, unix.BPF_F_XDP_HAS_FRAGS)
	if err == nil {
		fragments.Close()
	}
	return []Finding{
		judge("xdp", false, features.HaveProgramType(ebpf.XDP), "programs load", "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET"),
		judge("xdp_frags", true, err, "frames in several pieces can be read: jumbo frames in native mode",
			"use Linux 5.18 or newer for jumbo frames in native mode, or mode generic"),
		judge("ring_buffer", true, features.HaveMapType(ebpf.RingBuf), "samples can be taken", "use Linux 5.8 or newer"),
		judge("mmapable_arrays", false, features.HaveMapFlag(features.BPF_F_MMAPABLE), "counters can be read in place", "use Linux 5.5 or newer"),
	}
}

// smallProgram loads a program that only returns a verdict.
func smallProgram(kind ebpf.ProgramType, verdict int32, flags uint32) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "weir_probe",
		Type:         kind,
		License:      "Dual BSD/GPL",
		Flags:        flags,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
}

// probeAttach tries every way to attach, on a veth pair in a namespace of its own.
func probeAttach() []Finding {
	result := make(chan []Finding, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and the namespace with the thread.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- []Finding{judge("attach", false, fmt.Errorf("make network namespace: %w", err), "", "run as root")}
			return
		}
		result <- attachEverything()
	}()
	return <-result
}

func attachEverything() []Finding {
	pass, err := smallProgram(ebpf.XDP, 2, 0)
	if err != nil {
		return []Finding{judge("xdp_attach", false, err, "", "see the finding about xdp")}
	}
	defer pass.Close()
	next, err := smallProgram(ebpf.SchedCLS, -1, 0)
	if err != nil {
		return []Finding{judge("egress", true, err, "", "use a kernel with CONFIG_NET_CLS_BPF to count what this machine sends")}
	}
	defer next.Close()

	const loopback = 1
	generic, err := link.AttachXDP(link.XDPOptions{Program: pass, Interface: loopback, Flags: link.XDPGenericMode})
	all := []Finding{judge("xdp_generic", false, closeTried(generic, err), "works on every interface", "use Linux 5.9 or newer")}

	index := loopback
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "weir-probe0"}, PeerName: "weir-probe1"}
	err = netlink.LinkAdd(veth)
	if err == nil {
		var device netlink.Link
		if device, err = netlink.LinkByName(veth.Name); err == nil {
			index = device.Attrs().Index
			var native link.Link
			native, err = link.AttachXDP(link.XDPOptions{Program: pass, Interface: index, Flags: link.XDPDriverMode})
			err = closeTried(native, err)
		}
	}
	all = append(all, judge("xdp_native", true, err, "works on veth", "needed by weir demo only: modprobe veth"))

	tcx, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: next, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
	all = append(all, judge("tcx", true, closeTried(tcx, err), "egress programs attach by links", "nothing to do: Linux before 6.6 uses a clsact filter"))

	clsact := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	err = netlink.QdiscAdd(clsact)
	if err == nil {
		err = netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: filterHandle, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          next.FD(), Name: filterName, DirectAction: true,
		})
	}
	return append(all, judge("clsact", true, err, "egress programs attach as filters", "modprobe sch_ingress cls_bpf; needed for egress without tcx"))
}

func closeTried(l link.Link, err error) error {
	if err != nil {
		return err
	}
	return l.Close()
}
