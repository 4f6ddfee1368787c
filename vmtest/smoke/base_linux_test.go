package smoke

import (
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weir/tests/need"
)

// isolate moves the test's thread into a network namespace of its own. The thread stays locked, so that the runtime ends
// it with the test's goroutine, and the namespace and everything in it with the thread.
func isolate(t *testing.T) {
	t.Helper()
	need.Root(t)
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	handle, err := netns.New()
	if err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := handle.Close(); err != nil {
			t.Error(err)
		}
	})
	up(t, "lo")
}

func up(t *testing.T, name string) *net.Interface {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// witness is an XDP program that writes each frame's length into a ring buffer and passes it on.
func witness(t *testing.T) (*ebpf.Program, *ringbuf.Reader) {
	t.Helper()
	events, err := ebpf.NewMap(&ebpf.MapSpec{Name: "events", Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
	if err != nil {
		t.Fatalf("make ring buffer: %v", err)
	}
	t.Cleanup(func() { events.Close() })
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "witness", Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word), // xdp_md.data_end
		asm.LoadMem(asm.R3, asm.R1, 0, asm.Word), // xdp_md.data
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord),
		asm.LoadMapPtr(asm.R1, events.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Imm(asm.R3, 8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
		asm.Mov.Imm(asm.R0, 2), // XDP_PASS
		asm.Return(),
	}})
	if err != nil {
		t.Fatalf("load program: %v", err)
	}
	t.Cleanup(func() { prog.Close() })
	reader, err := ringbuf.NewReader(events)
	if err != nil {
		t.Fatalf("read ring buffer: %v", err)
	}
	t.Cleanup(func() { reader.Close() })
	reader.SetDeadline(time.Now().Add(20 * time.Second))
	return prog, reader
}

// send writes one frame to an interface.
func send(t *testing.T, to *net.Interface, frame []byte) {
	t.Helper()
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open packet socket: %v", err)
	}
	defer unix.Close(s)
	if err := unix.Sendto(s, frame, 0, &unix.SockaddrLinklayer{Ifindex: to.Index, Protocol: 0x88b5 << 8 & 0xffff}); err != nil {
		t.Fatalf("send to %s: %v", to.Name, err)
	}
}

func TestXDP(t *testing.T) {
	// An ethertype for local experiments: nothing else of this length and type is on the wire.
	frame := make([]byte, 777)
	binary.BigEndian.PutUint16(frame[12:], 0x88b5)
	for _, tt := range []struct {
		name       string
		from, to   string // from is where the frame is sent
		attachment link.XDPAttachFlags
	}{
		{"lo generic", "lo", "lo", link.XDPGenericMode},
		{"veth native", "smoke0", "smoke1", link.XDPDriverMode},
		{"veth generic", "smoke0", "smoke1", link.XDPGenericMode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			if tt.from != "lo" {
				if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: tt.from}, PeerName: tt.to}); err != nil {
					t.Fatalf("make veth pair: %v", err)
				}
				up(t, tt.to)
			}
			prog, events := witness(t)
			attached, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: up(t, tt.to).Index, Flags: tt.attachment})
			if err != nil {
				t.Fatalf("attach: %v", err)
			}
			t.Cleanup(func() { attached.Close() })
			send(t, up(t, tt.from), frame)
			for {
				record, err := events.Read()
				if err != nil {
					t.Fatalf("the program did not see the frame: %v", err)
				}
				if binary.NativeEndian.Uint64(record.RawSample) == uint64(len(frame)) {
					return
				}
			}
		})
	}
}

// TestBase holds what README promises for the oldest kernel.
func TestBase(t *testing.T) {
	isolate(t)
	for _, m := range []ebpf.MapType{ebpf.Array, ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie, ebpf.PerCPUArray, ebpf.DevMap, ebpf.RingBuf} {
		if err := features.HaveMapType(m); err != nil {
			t.Errorf("map type %s: %v", m, err)
		}
	}
	if err := features.HaveBoundedLoops(); err != nil {
		t.Errorf("bounded loops: %v", err)
	}
	if _, err := btf.LoadKernelSpec(); err != nil {
		t.Errorf("kernel types: %v", err)
	}
	cells, err := ebpf.NewMap(&ebpf.MapSpec{Name: "cells", Type: ebpf.Array, KeySize: 4, ValueSize: 64, MaxEntries: 1024, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		t.Fatalf("make an array to be mapped: %v", err)
	}
	defer cells.Close()
	memory, err := cells.Memory()
	if err != nil {
		t.Fatalf("map the array: %v", err)
	}
	if _, err := memory.WriteAt([]byte{42}, 64); err != nil {
		t.Fatal(err)
	}
	var cell [64]byte
	if err := cells.Lookup(uint32(1), &cell); err != nil || cell[0] != 42 {
		t.Errorf("what was written to mapped memory reads back as %d, %v", cell[0], err)
	}
}
