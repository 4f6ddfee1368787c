//go:build !libpcap

package pcap

import (
	"testing"

	"weir/userspace/traffic"
)

// An interface that is down, goes down or goes away is told, waited for, and captured from again: once, when it is there.
func TestInterfaceStaysAway(t *testing.T) {
	for _, tt := range []struct {
		name        string
		start       bool // whether the interface is up when capturing begins
		leave, come func(w *wire)
	}{
		{"down at the start", false, func(*wire) {}, func(w *wire) { w.up(true) }},
		{"down", true, func(w *wire) { w.up(false) }, func(w *wire) { w.up(true) }},
		{"away", true, (*wire).remove, (*wire).link},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWire(t)
			w.up(tt.start)
			e, err := Open(Options{Interface: "in", Namespace: w.namespace(), Promiscuous: true})
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, e)
			tt.leave(w)
			rounds := 0 // more than a second: an engine that took the interface for there would have opened it meanwhile
			r.await("the loss to be told, and to stay", func(_ []seen, s traffic.CaptureStats) bool {
				if rounds++; s.Error == "" {
					rounds = 0
				}
				return rounds > 40
			})
			if s := r.Stats(); s.Restarts != 0 {
				t.Errorf("opened again while the interface was away: %+v", s)
			}
			tt.come(w)
			r.await("the way back", func(_ []seen, s traffic.CaptureStats) bool { return s.Restarts >= 1 && s.Error == "" })
			sent := w.send(frame(100), 1000, 10)
			r.await("frames", func(frames []seen, _ traffic.CaptureStats) bool { return ours(frames, sent, 100) == 10 })
			r.stop()
			if s := r.Stats(); s.Restarts != 1 || s.Mode == "" {
				t.Errorf("got %+v", s)
			}
		})
	}
}
