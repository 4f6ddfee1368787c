package hosts

import (
	"testing"
	"time"

	"weir/userspace/traffic"
)

// TestLumps: what is too little to matter is counted at once, until it is too much; who has an account has it spread.
func TestLumps(t *testing.T) {
	s := newSpreading()
	add := func(packets uint64, want uint32) {
		t.Helper()
		s.CountFlow(record(packets, lasting(time.Minute)))
		if got := s.cells[traffic.Incoming][1].Packets; got != want {
			t.Errorf("after a record of %d packets: %d counted, want %d", packets, got, want)
		}
	}
	add(40, 40)
	add(24, 64)
	for range lumpTicks {
		s.step()
	}
	add(64, 128)
	add(2, 129) // no room in the lump of this second: only the first packet
	if s.spread.used != 1 {
		t.Errorf("%d accounts, want 1", s.spread.used)
	}
	s.run(2 * time.Minute)
	if got := s.cells[traffic.Incoming][1].Packets; got != 130 || s.spread.used != 0 {
		t.Errorf("in the end: %d packets, %d accounts; want 130 and none", got, s.spread.used)
	}
	add(3, 133)
	s.CountFlow(record(10_000, lasting(time.Minute)))
	add(3, 135) // the first of each
}
