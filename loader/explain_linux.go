package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// explainLoad adds what an operator can do about a failure to create maps or to load programs.
func explainLoad(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return fmt.Errorf("%w; this kernel's verifier refuses the program: `weir doctor` tells what the kernel lacks", err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; run as root, or with the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w; lower memory.cells in the configuration or free memory", err)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("%w; a map is larger than this kernel allows: lower memory.cells in the configuration", err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w; needs Linux 5.10 or newer: `weir doctor` tells what the kernel lacks", err)
	}
	return err
}
