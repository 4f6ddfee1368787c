//go:build !linux

package daemon

import "weir/userspace/config"

// dropRights has nothing to give up where rights are not divided as on Linux.
func dropRights(*config.Config) error { return nil }
