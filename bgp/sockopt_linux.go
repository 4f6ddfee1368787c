package bgp

import (
	"bufio"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const ipv6LeastHops = 73 // IPV6_MINHOPCOUNT of linux/in6.h

// setMD5 signs segments to an address and takes only such from it (TCP_MD5SIG of linux/tcp.h). On a listener there is a password for each peer.
func setMD5(c syscall.RawConn, address netip.Addr, password string) error {
	key := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(key.Key[:], password)
	if address.Is4() {
		key.Addr.Family = unix.AF_INET
		a := address.As4()
		copy(key.Addr.Data[2:], a[:]) // struct sockaddr_in: behind the port
	} else {
		key.Addr.Family = unix.AF_INET6
		a := address.As16()
		copy(key.Addr.Data[6:], a[:]) // struct sockaddr_in6: behind port and flow label
	}
	return onSocket(c, "TCP-MD5 password", func(fd int) error {
		return unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key)
	})
}

// md5Works reports whether the kernel has TCP-MD5.
func md5Works() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	key := unix.TCPMD5Sig{Keylen: 1}
	key.Addr.Family = unix.AF_INET
	key.Addr.Data[2], key.Addr.Data[5], key.Key[0] = 127, 1, 'x'
	err = unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key)
	return unix.Close(fd) == nil && err == nil
}

// setLeastTTL drops packets that arrive with less (RFC 5082).
func setLeastTTL(c syscall.RawConn, v4 bool, ttl int) error {
	return onSocket(c, "least TTL", func(fd int) error {
		if v4 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, ttl)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, ipv6LeastHops, ttl)
	})
}

// md5Failures is how many segments the kernel has dropped for their TCP-MD5 signature: missing, unexpected or wrong. It counts
// for the whole network namespace (TcpExt of /proc/net/netstat).
func md5Failures() (uint64, error) {
	f, err := os.Open("/proc/net/netstat")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // read only
	var names []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		var sum uint64
		for i, name := range names {
			if i < len(fields) && strings.HasPrefix(name, "TCPMD5") {
				n, err := strconv.ParseUint(fields[i], 10, 64)
				if err != nil {
					return 0, err
				}
				sum += n
			}
		}
		return sum, nil
	}
	return 0, os.ErrNotExist
}
