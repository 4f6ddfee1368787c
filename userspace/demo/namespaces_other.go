//go:build !linux

package demo

import (
	"context"
	"log/slog"
)

// whyUserSpace says why the kernel's story cannot be told; empty when it can.
func whyUserSpace(opts Options) string {
	if opts.UserSpace {
		return "as asked for"
	}
	return "network namespaces and XDP need Linux"
}

func playNamespaces(context.Context, *teller, *slog.Logger) (Summary, error) {
	return Summary{}, errNoNamespaces
}
