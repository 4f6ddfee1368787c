package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// CPUs is how many CPUs the kernel may ever have: each has cells of its own.
func CPUs() (int, error) {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return 0, fmt.Errorf("count CPUs: %w", err)
	}
	return n, nil
}
