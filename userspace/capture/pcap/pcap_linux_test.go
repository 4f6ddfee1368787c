package pcap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// Frames come out as they were sent: tagged, cut off, or larger than what is taken of them; each with its length on the wire and a time.
func TestWire(t *testing.T) {
	w := newWire(t)
	for _, tt := range []struct {
		name         string
		length, snap int
		vlans        []uint16
	}{
		{name: "small", length: 60},
		{name: "cut off", length: 1400, snap: 96},
		{name: "whole", length: 1400, snap: 65535},
		{name: "tagged", length: 200, vlans: []uint16{7}},
		{name: "tagged twice", length: 200, vlans: []uint16{7, 4001}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			before := time.Now().UnixNano()
			r := w.open(Options{Interface: "in", SnapLength: tt.snap})
			captured := defaultSnapLength
			if tt.snap > 0 {
				captured = tt.snap
			}
			flood, sent := w.flood(frame(tt.length, tt.vlans...))
			const lots, lot = 10, 50
			for i := range lots {
				if n, err := flood.Run(t.Context(), 20000, lot); err != nil || n != lot {
					t.Fatalf("sent %d of %d: %v", n, lot, err)
				}
				r.await("all frames of a lot", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, captured) == (i+1)*lot })
			}
			r.stop()
			for _, f := range r.frames {
				if f.Time < before || f.Time > time.Now().UnixNano() || f.Link != traffic.LinkEthernet || len(f.Data) > captured+4 {
					t.Fatalf("got a frame of %v at %d, %d of %d bytes; began at %d", f.Link, f.Time, len(f.Data), f.Length, before)
				}
			}
			if s := r.Stats(); s.Engine != "pcap" || s.Interface != "in" || s.Workers != 1 || s.Mode == "" || int(s.Received) != len(r.frames) || s.KernelDrop != 0 || s.Error != "" {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// What found no room is counted.
func TestDrops(t *testing.T) {
	w := newWire(t)
	r := w.open(Options{Interface: "in", Buffer: 100 << 10})
	before := w.arrived()
	r.hold.Lock()
	w.send(frame(1000), 200000, 20000)
	r.hold.Unlock()
	arrived := w.arrived() - before
	r.await("all frames", func(_ []seen, s traffic.CaptureStats) bool {
		return s.KernelDrop > 0 && s.Received+s.KernelDrop >= arrived
	})
	r.stop()
	if s := r.Stats(); s.Received == 0 || s.Received >= arrived || s.Received+s.KernelDrop > arrived+100 {
		t.Errorf("%d frames arrived: %+v", arrived, s)
	}
}

// Promiscuous mode is set while the engine runs, and only if it is asked for.
func TestPromiscuous(t *testing.T) {
	w := newWire(t)
	mode := func() (n int) {
		t.Helper()
		if err := w.receiver.Do(func() error {
			link, err := netlink.LinkByName("in")
			if err == nil {
				n = link.Attrs().Promisc
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, wanted := range []bool{false, true} {
		r := w.open(Options{Interface: "in", Promiscuous: wanted})
		if got := mode() == 1; got != wanted {
			t.Errorf("while it runs, promiscuous: %v, want %v", got, wanted)
		}
		r.stop()
		if got := mode(); got != 0 {
			t.Errorf("afterwards, promiscuous: %d, want 0", got)
		}
	}
}

// On lo, each frame arrives once.
func TestLoopback(t *testing.T) {
	w := newWire(t)
	for _, name := range []string{"lo", "any"} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			r := w.open(Options{Interface: name})
			const most = 20
			if err := w.receiver.Do(func() error {
				conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					return err
				}
				for i := range most {
					if _, err := conn.WriteTo(fmt.Appendf(nil, "datagram %2d %s", i, strings.Repeat("x", 88)), conn.LocalAddr()); err != nil {
						return err
					}
				}
				return conn.Close()
			}); err != nil {
				t.Fatal(err)
			}
			r.await("the last datagram", func(frames []seen, _ traffic.CaptureStats) bool { return datagram(frames, most-1) > 0 })
			r.stop()
			for i := range most {
				if got := datagram(r.frames, i); got > 1 {
					t.Errorf("datagram %d came %d times", i, got)
				}
			}
		})
	}
}

func datagram(frames []seen, i int) (n int) {
	for _, f := range frames {
		if strings.Contains(string(f.Data), fmt.Sprintf("datagram %2d", i)) && f.Data[len(f.Data)-1] == 'x' {
			n++
		}
	}
	return n
}

func TestProbe(t *testing.T) {
	need.Root(t)
	if available, why, remedy := Probe(); !available || why == "" || remedy != "" {
		t.Errorf("got %v, %q, %q", available, why, remedy)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Options{}); err == nil || !strings.Contains(err.Error(), "no interface") {
		t.Errorf("no name: got %v", err)
	}
	if _, err := Open(Options{Interface: "none0"}); err == nil || !strings.Contains(err.Error(), "capture from none0: ") {
		t.Errorf("no interface: got %v", err)
	}
	e := &Engine{opts: Options{Interface: "eth1"}}
	if err := e.explain(fmt.Errorf("socket: %w", os.ErrPermission)); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), permissionRemedy) {
		t.Errorf("no right: got %v", err)
	}
}
