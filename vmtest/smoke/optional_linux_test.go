package smoke

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Values of enum and flags in linux/bpf.h.
const (
	testXDPLiveFrames = 1 << 1
	xdpHasFrags       = 1 << 5
)

func pass(kind ebpf.ProgramType, flags uint32) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Type: kind, License: "Dual BSD/GPL", Flags: flags, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}}
}

func loads(spec *ebpf.ProgramSpec) error {
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	return prog.Close()
}

// run returns what the program returns for an empty frame.
func run(spec *ebpf.ProgramSpec, flags uint32) (uint32, error) {
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return 0, err
	}
	defer prog.Close()
	return prog.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: 1, Flags: flags})
}

// refused tells a kernel that does not know something from a probe that went wrong.
func refused(err error) bool {
	var rejected *ebpf.VerifierError
	return errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) || errors.As(err, &rejected)
}

// TestOptional asks for what a kernel may have: a skip says that it is missing, and the kernel's reason.
func TestOptional(t *testing.T) {
	helper := func(h asm.BuiltinFunc) func() error {
		return func() error { return features.HaveProgramHelper(ebpf.XDP, h) }
	}
	for _, tt := range []struct {
		name string
		have func() error
	}{
		{"bpf_loop", helper(asm.FnLoop)},
		{"timer", helper(asm.FnTimerInit)},
		{"coarse clock", helper(asm.FnKtimeGetCoarseNs)},
		{"xdp_load_bytes", helper(asm.FnXdpLoadBytes)},
		{"dynptr", helper(asm.FnDynptrFromMem)},
		{"raw SYN cookie", helper(asm.FnTcpRawGenSyncookieIpv4)},
		{"arena", func() error { return features.HaveMapType(ebpf.Arena) }},
		{"multi-buffer XDP", func() error { return loads(pass(ebpf.XDP, xdpHasFrags)) }},
		{"fetching atomic", func() error {
			add := asm.FetchAdd.Mem(asm.RFP, asm.R1, asm.DWord, -8)
			add.Constant = int64(asm.FetchAdd >> 8) // the library's own encoding leaves out which operation it is, which makes it a plain addition
			got, err := run(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{
				asm.Mov.Imm(asm.R1, 40),
				asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
				asm.Mov.Imm(asm.R1, 2),
				add,
				asm.LoadMem(asm.R0, asm.RFP, -8, asm.DWord),
				asm.Sub.Reg(asm.R0, asm.R1),
				asm.Return(),
			}}, 0)
			if err == nil && got != 2 {
				return fmt.Errorf("the sum less the value before it is %d: the addition does not fetch: %w", got, ebpf.ErrNotSupported)
			}
			return err
		}},
		{"live frames", func() error {
			// A kernel that does not look at the flag returns the program's own verdict; live frames have none to return.
			got, err := run(pass(ebpf.XDP, 0), testXDPLiveFrames)
			if err == nil && got == 2 {
				return fmt.Errorf("the flag is ignored: %w", ebpf.ErrNotSupported)
			}
			return err
		}},
		{"tcx", func() error {
			prog, err := ebpf.NewProgram(pass(ebpf.SchedCLS, 0))
			if err != nil {
				return err
			}
			defer prog.Close()
			attached, err := link.AttachTCX(link.TCXOptions{Program: prog, Interface: up(t, "lo").Index, Attach: ebpf.AttachTCXEgress})
			if err != nil {
				return err
			}
			return attached.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			if err := tt.have(); refused(err) {
				t.Skip(err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
