//go:build !libpcap

package pcap

import (
	"testing"

	"github.com/vishvananda/netlink"

	"weir/userspace/traffic"
)

// An interface that goes down or away is told, waited for, and captured from again.
func TestInterfaceGoes(t *testing.T) {
	w := newWire(t)
	for _, tt := range []struct {
		name        string
		leave, come func()
	}{
		{"down", func() { w.up(false) }, func() { w.up(true) }},
		{"away", w.remove, w.link},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			e, err := Open(Options{Interface: "in", Namespace: w.namespace()})
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, e)
			sent := w.send(frame(100), 1000, 10)
			r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, 256) == 10 })
			tt.leave()
			r.await("the loss to be told", func(_ []seen, s traffic.CaptureStats) bool { return s.Error != "" })
			tt.come()
			r.await("the way back", func(_ []seen, s traffic.CaptureStats) bool { return s.Restarts == 1 && s.Error == "" })
			w.send(frame(100), 1000, 10)
			r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, 256) == 20 })
			r.stop()
		})
	}
}

func (w *wire) up(up bool) {
	w.t.Helper()
	if err := w.receiver.SetUp("in", up); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) remove() {
	w.t.Helper()
	if err := w.receiver.Do(func() error {
		link, err := netlink.LinkByName("in")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}); err != nil {
		w.t.Fatal(err)
	}
}

// Handing a frame over costs no allocation.
func BenchmarkNext(b *testing.B) {
	w := newWire(b)
	var s source
	if err := w.receiver.Do(func() (err error) {
		s, err = openSource(&Options{Interface: "in", SnapLength: 256, Buffer: 64 << 20})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	defer s.close()
	var f traffic.Frame
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		b.StopTimer()
		before := w.arrived()
		w.send(frame(100), 0, uint64(min(b.N-done, 10000)))
		n := int(w.arrived() - before) // the wire itself may have lost some
		b.StartTimer()
		for got := 0; got < n; {
			ok, err := s.next(&f)
			if err != nil {
				b.Fatal(err)
			}
			if ok {
				got++
			} else if lost, err := s.drops(); err != nil || lost > 0 {
				b.Fatalf("%d of %d frames, %d lost: %v", got, n, lost, err)
			}
		}
		done += max(n, 1)
	}
}
