package afpacket

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"weir/userspace/lab"
	"weir/userspace/traffic"
)

// sendUDP sends one datagram.
func sendUDP(w *wire, h *lab.Host, from, to netip.AddrPort, payload []byte) {
	w.t.Helper()
	w.in(h, func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		_, err = c.Write(payload)
		return errors.Join(err, c.Close())
	})
}

// An interface that goes down or away is told, waited for, and captured from again by all workers.
func TestInterfaceGoes(t *testing.T) {
	w := newWire(t, 0)
	for _, tt := range []struct {
		name        string
		leave, come func()
	}{
		{"down", func() { w.up(false) }, func() { w.up(true) }},
		{"away", w.remove, w.link},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			r := w.run(Options{Workers: 3, Fanout: FanoutLB, Promiscuous: true})
			w.send(frame(100), 1000, 30, 0)
			r.count(30)
			tt.leave()
			r.await("the loss to be told", func(_ []seen, s traffic.CaptureStats) bool { return s.Error != "" })
			tt.come()
			r.await("the way back", func(_ []seen, s traffic.CaptureStats) bool { return s.Restarts == 1 && s.Error == "" })
			if w.device().Promisc != 1 {
				t.Error("no longer promiscuous")
			}
			w.send(frame(100), 1000, 30, 0)
			r.count(60)
			if s := r.Stats(); s.Restarts != 1 || s.KernelDrop != 0 {
				t.Errorf("%+v", s)
			}
			r.stop()
			if n := w.sockets(); n != 0 || w.device().Promisc != 0 {
				t.Errorf("%d packet sockets are left, promiscuity %d", n, w.device().Promisc)
			}
		})
	}
}

// What came just before the interface went is not lost, although its block is not full.
func TestLastFrames(t *testing.T) {
	w := newWire(t, 0)
	for range 5 {
		r := w.run(Options{Workers: 2, Fanout: FanoutLB})
		w.send(frame(100), 0, 101, 0)
		w.up(false)
		r.count(101)
		w.up(true)
		r.stop()
	}
}

// An interface that is down at first is waited for.
func TestOpensDown(t *testing.T) {
	w := newWire(t, 0)
	w.up(false)
	r := w.run(Options{Workers: 2})
	r.await("it to be told", func(_ []seen, s traffic.CaptureStats) bool {
		return s.Error == "the interface is down; bring it up: ip link set dev in up"
	})
	w.up(true)
	r.await("the interface", func(_ []seen, s traffic.CaptureStats) bool { return s.Error == "" })
	w.send(frame(100), 1000, 10, 0)
	r.count(10)
}

// An engine that waits for its interface stops, too.
func TestStopsWhileWaiting(t *testing.T) {
	w := newWire(t, 0)
	r := w.run(Options{Workers: 3, Fanout: FanoutLB})
	w.up(false)
	r.await("the loss to be told", func(_ []seen, s traffic.CaptureStats) bool { return s.Error != "" })
	r.stop()
	if n := w.sockets(); n != 0 {
		t.Errorf("%d packet sockets are left", n)
	}
}

// Jumbo frames come whole as to their length, also when they are larger than a block of the ring.
func TestJumbo(t *testing.T) {
	w := newWire(t, 9000)
	r := w.run(Options{Workers: 1, Blocks: 4, BlockSize: 4096, SnapLength: 65535})
	before := 0
	for _, payload := range []int{8972, 3000, 8972} {
		sendUDP(w, w.sender, netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.2:53"), make([]byte, payload))
		r.await("the frame", func(frames []seen, _ traffic.CaptureStats) bool {
			for i, f := range frames[before:] { // neighbour discovery may come behind it
				if int(f.Length) == 42+payload && len(f.Data) > 3000 && len(f.Data) < 4096 {
					before += i + 1
					return true
				}
			}
			return false
		})
	}
	if s := r.Stats(); s.KernelDrop != 0 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// retransmitted is how many bytes of payload a connection has sent again.
func retransmitted(c *net.TCPConn) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Bytes_retrans)
		}
	})
	return n, errors.Join(err, controlErr)
}

// A TCP stream that the kernel's offloads have put together counts as the frames that it was, to the byte.
func TestOffload(t *testing.T) {
	w := newWire(t, 0)
	const sent = 4 << 20
	r := w.run(Options{Workers: 1})
	var server net.Listener
	w.in(w.receiver, func() (err error) {
		server, err = net.Listen("tcp", "192.0.2.2:0")
		return err
	})
	t.Cleanup(func() { server.Close() })
	done := make(chan error, 1)
	go func() {
		c, err := server.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, c)
			err = errors.Join(err, c.Close())
		}
		done <- err
	}()
	want := sent // and what was sent twice: it has been on the wire twice
	w.in(w.sender, func() error {
		c, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			return err
		}
		_, err = c.Write(make([]byte, sent))
		err = errors.Join(err, c.(*net.TCPConn).CloseWrite())
		if _, end := io.ReadAll(c); end != nil { // until all has come
			err = errors.Join(err, end)
		}
		again, infoErr := retransmitted(c.(*net.TCPConn))
		want += again
		return errors.Join(err, infoErr, c.Close())
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	port := uint16(server.Addr().(*net.TCPAddr).Port)
	var frames, bytes, longest, joined int
	r.await("the stream", func(all []seen, _ traffic.CaptureStats) bool {
		frames, bytes, longest, joined = 0, 0, 0, 0
		for _, f := range all {
			if len(f.Data) < 54 || f.Data[23] != traffic.ProtoTCP || binary.BigEndian.Uint16(f.Data[36:]) != port {
				continue
			}
			if header := int(headerBytes(f.Data, traffic.LinkEthernet)); int(f.Length) > header {
				frames++
				bytes += int(f.Length) - header
				longest = max(longest, int(f.Length))
				if int(binary.BigEndian.Uint16(f.Data[16:]))+14 > 1514 {
					joined++
				}
			}
		}
		return bytes >= want
	})
	if joined == 0 {
		t.Error("nothing was put together: the test shows nothing")
	}
	if bytes != want || longest != 1514 || frames < sent/1460 || frames > sent/1000 {
		t.Errorf("%d bytes in %d frames, of which the longest has %d bytes; sent were %d bytes", bytes, frames, longest, want)
	}
}
