package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// Addresses at the two sides of a wire, which are one Ethernet segment.
const (
	leftAddr   = "192.0.2.1"
	rightAddr  = "192.0.2.2"
	leftAddr6  = "2001:db8::1"
	rightAddr6 = "2001:db8::2"

	jumboMTU = 9000
)

// newWire is two hosts with a daemon as a bump in the wire between them. Nobody has been told the other's hardware address.
func newWire(t *testing.T) (left, right *lab.Host, d *daemon) {
	t.Helper()
	l := openLab(t)
	left, box, right := openHost(t, l, "left"), openHost(t, l, "box"), openHost(t, l, "right")
	side := func(addresses ...string) lab.End { return lab.End{Addresses: prefixes(addresses...)} }
	err := errors.Join(
		l.Link(left, "eth0", box, "a", lab.LinkOptions{A: side(leftAddr+"/24", leftAddr6+"/64"), MTU: jumboMTU}),
		l.Link(right, "eth0", box, "b", lab.LinkOptions{A: side(rightAddr+"/24", rightAddr6+"/64"), MTU: jumboMTU}),
	)
	if err != nil {
		t.Fatal(err)
	}
	d = startDaemon(t, box, "", `
interfaces: [{name: a, mode: native, role: wire, pair: b}, {name: b, mode: native, role: wire, pair: a}]
networks: {prefixes: [192.0.2.2, "2001:db8::2"]}
hostgroups: {default: {thresholds: {incoming: {pps: 1000}}, quiet: 500ms, ban_time: 1s}}
`)
	return left, right, d
}

// TestWire passes every kind of frame through, and drops what is banned.
func TestWire(t *testing.T) {
	left, right, d := newWire(t)
	for _, i := range d.status(t).GetInterfaces() {
		if !i.GetAttached() || i.GetMode() != "native" || i.GetPair() == "" {
			t.Fatalf("interface %v; want it attached in native mode, with a pair", i)
		}
	}
	// Neither side knows the other's hardware address: this is ARP and neighbour discovery too.
	for _, ends := range [][2]string{{leftAddr, rightAddr}, {leftAddr6, rightAddr6}} {
		ping(t, left, ends[1])
		ping(t, right, ends[0])
		known(t, left, ends[1], right)
		known(t, right, ends[0], left)
		at := netip.AddrPortFrom(addr(ends[1]), servicePort)
		if _, err := lab.Serve(right, at); err != nil {
			t.Fatal(err)
		}
		p, err := lab.Probe(left, at, lab.ProbeOptions{Timeout: 900 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		undisturbed(t, "requests over TCP to "+ends[1], p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		jumbo(t, left, right, ends[1])
	}
	lldp(t, left, right)
	for _, host := range []string{rightAddr, rightAddr6} {
		until(t, "traffic of "+host+" to be counted in both directions", func() bool {
			return d.incoming(t, host) >= 10 && d.total(t, host, weirpb.Direction_DIRECTION_OUTGOING).GetTotal().GetPackets() >= 10
		})
	}

	f := flood(t, floodPPS, lab.FloodOptions{
		Host: left, Frame: frame(t, left, right, "eth0", leftAddr, rightAddr), SrcPorts: 0xffff,
		Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	d.phase(t, 0, rightAddr, weirpb.Phase_PHASE_MITIGATED)
	f.blocked(t, "the flood on a banned host behind the wire", right)
	ping(t, left, rightAddr6) // the same machine's other address is another host
	f.stop(t)
	d.phase(t, 0, rightAddr, weirpb.Phase_PHASE_OVER)
	ping(t, left, rightAddr)
}

// TestMirror feeds copies to an interface: they are counted, attacks are seen, and the box's own stack gets nothing of it.
func TestMirror(t *testing.T) {
	l := openLab(t)
	left, box := openHost(t, l, "left"), openHost(t, l, "box")
	err := l.Link(left, "eth0", box, "eth0", lab.LinkOptions{
		A: lab.End{Addresses: prefixes(leftAddr+"/24", leftAddr6+"/64")}, B: lab.End{Addresses: prefixes(rightAddr+"/24", rightAddr6+"/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	script := newScript(t)
	d := startDaemon(t, box, script.path, `
interfaces: [{name: eth0, mode: native, role: mirror}]
networks: {prefixes: [192.0.2.2, "2001:db8::2"]}
hostgroups: {default: {thresholds: {incoming: {pps: 1000}}, quiet: 500ms, ban_time: 1s, actions: [notify]}}
`)
	before := counter(t, box, "Ip", "InReceives")
	f := flood(t, floodPPS, lab.FloodOptions{Host: left, Frame: frame(t, left, box, "eth0", leftAddr, rightAddr), SrcPorts: 0xffff})
	attack := d.phase(t, 0, rightAddr, weirpb.Phase_PHASE_ACTIVE)
	checkAttack(t, attack, weirpb.Direction_DIRECTION_INCOMING)
	checkBanCall(t, script.await(t, rightAddr, "ban"), attack)
	f.more(t, 5000)
	f.stop(t)
	d.phase(t, 0, rightAddr, weirpb.Phase_PHASE_OVER)
	sent, err := f.Sent()
	if err != nil {
		t.Fatal(err)
	}
	if counted := d.incoming(t, rightAddr); counted < sent/2 || counted > sent {
		t.Errorf("%d of %d packets were counted", counted, sent)
	}
	// To make contact, hosts still find each other's hardware address.
	for _, to := range []string{rightAddr, rightAddr6} {
		conn := dial(t, left, "udp", net.JoinHostPort(to, "9"))
		if _, err := conn.Write([]byte("copy")); err != nil {
			t.Error(err)
		}
		until(t, "the hardware address of "+to, func() bool { return hardwareAddress(t, left, to) != nil })
		known(t, left, to, box)
	}
	if got := counter(t, box, "Ip", "InReceives") - before; got > 0 {
		t.Errorf("%d packets of a mirror have come to the stack", got)
	}
}

// ping exchanges one ICMP or ICMPv6 echo (RFC 792, RFC 4443 section 4.1).
func ping(t *testing.T, from *lab.Host, to string) {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if addr(to).Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	conn := dial(t, from, network, to).(*net.IPConn)
	message := append([]byte{request, 0, 0, 0, 0x12, 0x34, 0, 1}, "are you there"...)
	if addr(to).Is4() { // for IPv6 the kernel does it
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	if _, err := conn.Write(message); err != nil {
		t.Fatalf("ping %s: %v", to, err)
	}
	for answer := make([]byte, 1500); ; {
		n, _, err := conn.ReadFrom(answer) // without the IP header, unlike Read
		if err != nil {
			t.Fatalf("ping %s: %v", to, err)
		}
		if n == len(message) && answer[0] == reply && bytes.Equal(answer[4:n], message[4:]) {
			return
		}
	}
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := range b {
		sum += uint32(b[i]) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// dial opens a socket in a host's namespace, with a deadline.
func dial(t *testing.T, h *lab.Host, network, to string) (conn net.Conn) {
	t.Helper()
	err := h.Do(func() (err error) {
		var d net.Dialer
		if conn, err = d.DialContext(context.Background(), network, to); err != nil {
			return err
		}
		return conn.SetDeadline(time.Now().Add(patience))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// hardwareAddress is what a host knows of another's; nil when it knows none.
func hardwareAddress(t *testing.T, h *lab.Host, of string) (found net.HardwareAddr) {
	t.Helper()
	err := h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		all, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
		for _, n := range all {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr(of) && n.State&(netlink.NUD_INCOMPLETE|netlink.NUD_FAILED) == 0 {
				found = n.HardwareAddr
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// known checks that a host has found out another's hardware address.
func known(t *testing.T, h *lab.Host, of string, other *lab.Host) {
	t.Helper()
	want, err := other.MAC("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if got := hardwareAddress(t, h, of); !bytes.Equal(got, want) {
		t.Errorf("%s takes %s to be at %v, want %v", h.Name(), of, got, want)
	}
}

// jumbo sends one datagram that fills a jumbo frame; the kernel sends it whole or not at all.
func jumbo(t *testing.T, from, to *lab.Host, address string) {
	t.Helper()
	var server net.PacketConn
	err := to.Do(func() (err error) {
		var c net.ListenConfig
		if server, err = c.ListenPacket(context.Background(), "udp", net.JoinHostPort(address, "9000")); err != nil {
			return err
		}
		return server.SetDeadline(time.Now().Add(patience))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	headers := 28
	if addr(address).Is6() {
		headers = 48
	}
	payload, buffer := bytes.Repeat([]byte("jumbo frame "), 800)[:jumboMTU-headers], make([]byte, 1<<16)
	before, err := to.Stats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, from, "udp", net.JoinHostPort(address, "9000")).Write(payload); err != nil {
		t.Fatalf("send a jumbo frame to %s: %v", address, err)
	}
	n, _, err := server.ReadFrom(buffer)
	if err != nil || !bytes.Equal(buffer[:n], payload) {
		t.Errorf("jumbo frame to %s: %d bytes arrived, %v; want %d, the same", address, n, err, len(payload))
	}
	if after, err := to.Stats("eth0"); err != nil || after.RxPackets-before.RxPackets > 5 {
		t.Errorf("jumbo frame to %s: it came as %d packets, %v", address, after.RxPackets-before.RxPackets, err)
	}
}

// lldp sends a frame of a protocol that is not IP, to an address that bridges keep to themselves (IEEE 802.1AB).
func lldp(t *testing.T, from, to *lab.Host) {
	t.Helper()
	const etherLLDP = 0x88cc
	mac, err := from.MAC("eth0")
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{1, 0x80, 0xc2, 0, 0, 0x0e}, mac...)
	frame = append(append(frame, etherLLDP>>8, etherLLDP&0xff), "\x02\x02\x07a\x04\x02\x05b\x06\x02\x00\x78\x00\x00"...)
	frame = append(frame, make([]byte, 60-len(frame))...)
	receiver, sender := packetSocket(t, to, etherLLDP), packetSocket(t, from, etherLLDP)
	if _, err := unix.Write(sender, frame); err != nil {
		t.Fatalf("send LLDP frame: %v", err)
	}
	got := make([]byte, 2000)
	n, err := unix.Read(receiver, got)
	if err != nil || !bytes.Equal(got[:n], frame) {
		t.Errorf("LLDP frame: got %x, %v; want %x", got[:max(n, 0)], err, frame)
	}
}

// packetSocket opens a socket for whole frames of a type on a host's eth0.
func packetSocket(t *testing.T, h *lab.Host, etherType uint16) int {
	t.Helper()
	fd := -1
	err := h.Do(func() (err error) {
		protocol := etherType<<8 | etherType>>8
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol)); err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(patience))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link.Index})
	})
	if fd >= 0 {
		t.Cleanup(func() {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
