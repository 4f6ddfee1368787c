//go:build !linux

package bgp

import (
	"errors"
	"net/netip"
	"syscall"
)

func setMD5(syscall.RawConn, netip.Addr, string) error {
	return errors.New("set TCP-MD5 password: not available on this system; it needs Linux")
}

func md5Works() bool { return false }

func setLeastTTL(syscall.RawConn, bool, int) error {
	return errors.New("set least TTL: not available on this system; TTL security needs Linux")
}

func md5Failures() (uint64, error) { return 0, errors.ErrUnsupported }
