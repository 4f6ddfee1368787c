package loader_test

import (
	"testing"

	"github.com/cilium/ebpf"

	"weir/loader"
)

// instructionsMost is how far the verifier's work may grow before somebody looks at why: it gives up at a million, and older
// kernels follow more ways than newer ones. With rules it is 293,000 under Linux 6.1.
const instructionsMost = 400_000

// How much work the programs are for the verifier; `make test` prints it.
func TestProgramSizes(t *testing.T) {
	p := loadAuth(t)
	for name, get := range map[string]func() (*ebpf.Program, error){
		"xdp, host":   func() (*ebpf.Program, error) { return p.XDP(loader.Host) },
		"xdp, wire":   func() (*ebpf.Program, error) { return p.XDP(loader.Wire) },
		"xdp, mirror": func() (*ebpf.Program, error) { return p.XDP(loader.Mirror) },
		"tc, egress":  p.Egress,
	} {
		prog, err := get()
		if err != nil {
			t.Fatal(err)
		}
		info, err := prog.Info()
		if err != nil {
			t.Fatal(err)
		}
		size, err := info.TranslatedSize()
		if err != nil || size == 0 {
			t.Errorf("%s: %d bytes of instructions, %v", name, size, err)
		}
		verified, ok := info.VerifiedInstructions() // 5.16
		t.Logf("%s: %d instructions, the verifier looked at %d (known: %v)", name, size/8, verified, ok)
		if verified > instructionsMost {
			t.Errorf("%s: the verifier looked at %d instructions, want at most %d", name, verified, instructionsMost)
		}
	}
}
