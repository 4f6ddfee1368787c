//go:build !libpfring || !linux

package pfring

import "fmt"

// openLibrary says that what only the library can open is not built in.
func openLibrary(o *Options) (source, error) {
	return nil, fmt.Errorf("PF_RING device %s: only libpfring can open it; build Weir with the tag libpfring, or name an interface of the kernel", o.Interface)
}
