//go:build !linux

package loader

import (
	"context"
	"runtime"
)

// Probe says that the data plane needs Linux.
func Probe(context.Context, ...string) []Finding {
	return []Finding{{
		Name:   "kernel",
		Detail: runtime.GOOS + " has no XDP",
		Remedy: "run Weir on Linux 5.10 or newer, or use flow collection or capture here",
	}}
}
