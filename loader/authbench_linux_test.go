package loader_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"weir/loader"
	pt "weir/userspace/packet/packettest"
	"weir/userspace/traffic"
)

// refresher is a program that writes the first bytes of a frame anew and goes on to subject: challenges are written in place, and
// the kernel's test run gives each round what the one before has left.
func refresher(b *testing.B, frame []byte, subject *ebpf.Program) *ebpf.Program {
	b.Helper()
	jumps, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { jumps.Close() })
	if err := jumps.Put(uint32(0), subject); err != nil {
		b.Fatal(err)
	}
	const data, end = 0, 4 // struct xdp_md
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, data, asm.Word), asm.LoadMem(asm.R3, asm.R1, end, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, int32(len(frame))), asm.JGT.Reg(asm.R4, asm.R3, "exit"),
	}
	for at := 0; at < len(frame); at += 4 {
		code = append(code, asm.StoreImm(asm.R2, int16(at), int64(int32(binary.NativeEndian.Uint32(frame[at:]))), asm.Word))
	}
	code = append(code, asm.LoadMapPtr(asm.R2, jumps.FD()), asm.Mov.Imm(asm.R3, 0), asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"), asm.Return())
	spec := &ebpf.ProgramSpec{Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Dual BSD/GPL", Instructions: code}
	if features.HaveProgramHelper(ebpf.XDP, asm.FnXdpGetBuffLen) == nil {
		spec.Flags = unix.BPF_F_XDP_HAS_FRAGS // as the one that is jumped to
	}
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { prog.Close() })
	return prog
}

// What a packet costs in nanoseconds; "floor" is parse-and-drop of it.
func BenchmarkAuthentication(b *testing.B) {
	plain := func(f *pt.Frame) { f.Payload = make([]byte, 8) } // 62 bytes, less than which nothing is cut off
	syn4, syn6 := pt.TCP4(plain), pt.TCP6(func(f *pt.Frame) { f.Payload = nil })
	rst := pt.TCP4(plain, pt.Flags(traffic.FlagRST))
	armed := func(target string, mode loader.AuthMode) func(plane) {
		return func(p plane) { p.arm(b, target, loader.Authentication{Mode: mode, Until: time.Hour}) }
	}
	for _, bench := range []struct {
		name   string
		frame  pt.Frame
		before func(plane)
		want   uint32 // 0: the floor
	}{
		{"floor", syn4, func(plane) {}, 0},
		{"no room for proofs", syn4, nil, xdpPass},
		{"nobody is under authentication", syn4, func(plane) {}, xdpPass},
		{"another host is", syn4, armed("198.51.100.200/32", loader.AuthAll), xdpPass},
		{"proven", syn4, func(p plane) {
			armed("198.51.100.7/32", loader.AuthAll)(p)
			number := p.challenged(b, syn4, 0)
			p.give(b, loader.Host, numbered(rst, number))
		}, xdpPass},
		{"challenged", syn4, armed("198.51.100.7/32", loader.AuthSYN), xdpTX},
		{"unanswered", syn4, func(p plane) {
			armed("198.51.100.7/32", loader.AuthSYN)(p)
			if err := p.SetAuthLimits(loader.AuthLimits{Lifetime: time.Hour, Answers: 1}); err != nil {
				b.Fatal(err)
			}
		}, xdpDrop},
		{"wrong answer", rst, armed("198.51.100.7/32", loader.AuthAll), xdpDrop},
		{"floor, IPv6", syn6, func(plane) {}, 0},
		{"challenged, IPv6", syn6, armed("2001:db8:2::7/128", loader.AuthSYN), xdpTX},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := load(b)
			if bench.before != nil {
				p = loadAuth(b)
				if err := p.SetAuthLimits(loader.AuthLimits{Lifetime: time.Hour, Answers: 1_000_000_000}); err != nil {
					b.Fatal(err)
				}
				bench.before(p)
			}
			prog, err := p.XDP(loader.Host)
			if bench.want == 0 {
				prog, err = p.Floor()
			}
			if err != nil {
				b.Fatal(err)
			}
			frame := bench.frame.Bytes()
			prog = refresher(b, frame[:len(frame)/4*4], prog)
			verdict, took, err := prog.Benchmark(frame, max(b.N, 2), b.ResetTimer)
			if err != nil || bench.want != 0 && verdict != bench.want {
				b.Fatalf("verdict %d, %v; want %d", verdict, err, bench.want)
			}
			b.ReportMetric(float64(took.Nanoseconds()), "ns/packet") // by the kernel's own clock
		})
	}
}
